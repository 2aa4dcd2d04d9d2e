"""
The mutants: what each breaks, how, and the tests that must notice.

The text to find must occur exactly once in its file. `tests/test_mutants.py` holds that in every
run of the suite, so that a change of the product cannot leave a mutant behind that breaks nothing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Edit:
    file: str
    """Path from the project's root."""
    find: str
    replace: str


@dataclass(frozen=True, kw_only=True)
class Mutant:
    name: str
    breaks: str
    """What goes wrong for people, in one sentence."""
    edits: tuple[Edit, ...]
    caught_by: tuple[str, ...]
    """What pytest is to run: as little as possible."""


SEND = "appointments/services/send.py"
RECONCILE = "appointments/services/reconcile.py"
SETTLE = "appointments/services/settle.py"
EFFECT = "appointments/services/effect.py"
BOOK = "appointments/services/book.py"
SCHEDULE = "appointments/services/schedule.py"
BOOKINGS = "appointments/models/bookings.py"
SYNC = "appointments/services/sync.py"
RECORDS = "appointments/services/records.py"
SCHEDULES = "appointments/views/bookings.py"
ASK = "appointments/services/cancel.py"
BATCH = "appointments/services/batch.py"
BATCH_MODELS = "appointments/models/batches.py"
LANES = "appointments/services/lanes.py"
LIMITS = "appointments/services/limits.py"
LEDGER = "appointments/models/cancellations.py"
MIGRATION = "appointments/migrations/0001_initial.py"
TRANSPORT = "appointments/providers/transport.py"
VIEWS = "appointments/views/cancellations.py"
WORDING = "appointments/wording.py"
ACCESS = "appointments/middleware.py"

CANCELS = "tests/services/test_cancel.py"
CHANGES = "tests/services/test_change.py"
REBOOKS = "tests/services/test_rebook.py"
REVIEWS = "tests/views/test_review.py"
VERDICTS = "tests/services/test_verdicts.py"
UNDER_WAY = "tests/services/test_under_way.py"
ROBUST = "tests/services/test_robustness.py"
SETTLES = "tests/services/test_settle.py"
SYNCS = "tests/services/test_sync.py"
ATTACKS = "tests/services/test_attacks.py"
BATCHES = "tests/services/test_batch.py"
PACE = "tests/services/test_limits.py"
SPILLS = "tests/services/test_spill.py"
HOLDS = "tests/test_ledger.py"
WIRE = "tests/providers/test_transport.py"
DIALOG = "tests/views/test_cancel_dialog.py"
OUTCOME = "tests/views/test_outcome.py"
GATE = "tests/views/test_access.py"


MUTANTS = (
    # --- an answer that did not come
    Mutant(
        name="timeout-is-failure",
        breaks="A request that may have been carried out is called not sent, and sent again.",
        edits=(
            Edit(
                file=TRANSPORT,
                find="""            except httpx.HTTPError as error:
                raise AnswerLost(_code(error)) from error""",
                replace="""            except httpx.HTTPError as error:
                raise NotSent(_code(error)) from error""",
            ),
        ),
        caught_by=(f"{WIRE}::test_slow_answer_is_lost_at_the_deadline",),
    ),
    Mutant(
        name="unclear-is-failure",
        breaks="An unclear answer is shown as a refusal, so people cancel a second time.",
        edits=(
            Edit(
                file=SEND,
                find="return _Step(event=Event.UNCLEAR,",
                replace="return _Step(event=Event.PROVIDER_REFUSED,",
            ),
        ),
        caught_by=(f"{CANCELS}::test_a_lost_answer_is_unknown_and_a_read_settles_it",),
    ),
    Mutant(
        name="resend-after-unknown",
        breaks="What may have been carried out is sent again where a repeat mails people twice.",
        edits=(
            Edit(
                file=RECONCILE,
                find="""        cancellation.connection.capabilities.repeat_is_safe
        and cancellation.repeats""",
                replace="""        cancellation.repeats""",
            ),
        ),
        caught_by=(
            f"{CANCELS}::test_an_unclear_failure_is_never_sent_again_where_it_could_mail_twice",
        ),
    ),
    Mutant(
        name="repeat-without-end",
        breaks="A provider that fails is asked to cancel again and again.",
        edits=(
            Edit(
                file=RECONCILE,
                find="        and cancellation.repeats < REPEATS\n",
                replace="",
            ),
        ),
        caught_by=(f"{CANCELS}::test_an_unclear_failure_is_sent_once_more_where_that_is_harmless",),
    ),
    Mutant(
        name="retry-post-on-5xx",
        breaks="The client repeats a cancel after a 500, behind the ledger's back.",
        edits=(
            Edit(
                file=TRANSPORT,
                find="""                client, request, seconds=self.write_deadline, body_limit=WRITE_BODY_LIMIT
            )
""",
                replace="""                client, request, seconds=self.write_deadline, body_limit=WRITE_BODY_LIMIT
            )
            if reply.status >= 500:
                reply = self._exchange(
                    client, request, seconds=self.write_deadline, body_limit=WRITE_BODY_LIMIT
                )
""",
            ),
        ),
        caught_by=(
            f"{CANCELS}::test_an_unclear_failure_is_never_sent_again_where_it_could_mail_twice",
        ),
    ),
    Mutant(
        name="follow-redirects",
        breaks="Our key and a patient's address go wherever an answer points.",
        edits=(
            Edit(
                file=TRANSPORT,
                find="follow_redirects=False",
                replace="follow_redirects=True",
            ),
        ),
        caught_by=(f"{WIRE}::test_redirect_is_not_followed",),
    ),
    Mutant(
        name="verdict-after-unknown",
        breaks="Taken back after a call that may have been carried out, it says nothing was sent.",
        edits=(
            Edit(
                file=LEDGER,
                find="(State.REQUESTED, Event.TAKEN_BACK): State.UNKNOWN,",
                replace="(State.REQUESTED, Event.TAKEN_BACK): State.WITHDRAWN,",
            ),
        ),
        caught_by=(
            f"{ROBUST}::test_taking_back_from_an_old_page_after_an_unknown_call_claims_nothing",
        ),
    ),
    # --- what is written before and after
    Mutant(
        name="call-row-after-sending",
        breaks="A worker that dies while sending leaves no trace of what it sent.",
        edits=(
            Edit(
                file=SEND,
                find="""        call = _claim(cancellation, held=held, looked_at=looked_at)
        outcome = _send(client, request, before=call.started_at + START_WITHIN)
""",
                replace="""        outcome = _send(client, request, before=timezone.now() + START_WITHIN)
        call = _claim(cancellation, held=held, looked_at=looked_at)
""",
            ),
        ),
        caught_by=(f"{UNDER_WAY}::test_the_call_is_written_down_before_the_provider_hears_of_it",),
    ),
    Mutant(
        name="claim-in-one-transaction-with-sending",
        breaks="A crash while sending undoes the call row, since nothing was committed.",
        edits=(
            Edit(
                file=SEND,
                find="""            case State.REQUESTED:
                _advance(cancellation)
""",
                replace="""            case State.REQUESTED:
                with transaction.atomic():
                    _advance(cancellation)
""",
            ),
        ),
        caught_by=(f"{UNDER_WAY}::test_the_call_is_written_down_before_the_provider_hears_of_it",),
    ),
    Mutant(
        name="late-answer-is-dropped",
        breaks="An answer that comes after the lease ran out is not kept.",
        edits=(
            Edit(
                file=SEND,
                find="""    except IllegalTransition:
        _record(answer)
        raise
""",
                replace="""    except IllegalTransition:
        raise
""",
            ),
        ),
        caught_by=(f"{UNDER_WAY}::test_an_answer_that_comes_after_the_lease_is_kept_and_counts",),
    ),
    Mutant(
        name="recovery-sends",
        breaks="A worker that died while sending is made good by sending again.",
        edits=(
            Edit(
                file=SEND,
                find="""reconcile.become_unknown(cancellation, Event.LEASE_EXPIRED, why="worker_lost")""",
                replace="""cancellation.apply(
                    Event.NOTHING_LEFT_US_YET, held=held, due_at=timezone.now(), lease_key=held
                )
                _advance(cancellation)""",
            ),
        ),
        caught_by=(
            f"{CANCELS}::test_a_worker_lost_while_sending_leaves_an_unknown_that_reads_settle",
        ),
    ),
    # --- success
    Mutant(
        name="optimistic-success",
        breaks="An answer that nobody understood is shown as cancelled.",
        edits=(
            Edit(
                file=SEND,
                find="return _Step(event=Event.UNCLEAR,",
                replace="return _Step(event=Event.PROVIDER_CONFIRMED,",
            ),
        ),
        caught_by=(f"{CANCELS}::test_an_undocumented_yes_is_not_believed",),
    ),
    Mutant(
        name="cancelled-when-sent",
        breaks="The list shows it cancelled as soon as the request leaves.",
        edits=(
            Edit(
                file=SEND,
                find="""            lease_until=now + LEASE,
        )
        return ProviderCall""",
                replace="""            lease_until=now + LEASE,
        )
        take_effect(cancellation, at=now)
        return ProviderCall""",
            ),
        ),
        caught_by=(f"{CANCELS}::test_an_undocumented_yes_is_not_believed",),
    ),
    Mutant(
        name="sending-reads-as-cancelled",
        breaks="The page says cancelled while the request is on its way.",
        edits=(
            Edit(
                file=WORDING,
                find="""title=_("Sending to %(provider)s") % _provider(cancellation),""",
                replace="""title=_("Cancelled"),""",
            ),
        ),
        caught_by=(f"{OUTCOME}::test_only_the_providers_word_is_called_cancelled",),
    ),
    Mutant(
        name="scope-ignores-the-attendee",
        breaks="One person of a group counts as removed while she is still listed.",
        edits=(
            Edit(
                file=EFFECT,
                find="""    return scope == Scope.ATTENDEE and "" not in booked and attendee_id.casefold() not in booked
""",
                replace="""    return scope == Scope.ATTENDEE and "" not in booked
""",
            ),
        ),
        caught_by=(f"{CANCELS}::test_one_person_of_a_group_is_removed_and_the_others_stay",),
    ),
    Mutant(
        name="absence-is-cancelled-in-a-listing",
        breaks="What a listing no longer shows is called cancelled.",
        edits=(
            Edit(
                file=SYNC,
                find="status=Status.GONE, missing_since=read_at",
                replace="status=Status.CANCELLED, missing_since=read_at",
            ),
        ),
        caught_by=(f"{SYNCS}::test_absence_is_never_cancelled",),
    ),
    Mutant(
        name="absence-confirms",
        breaks="After an unknown outcome, a booking that is no longer shown counts as cancelled.",
        edits=(
            Edit(
                file=RECONCILE,
                find="""    if seen is None:
        _gone(cancellation)
""",
                replace="""    if seen is None:
        _confirm(cancellation, why="seen_cancelled")
""",
            ),
        ),
        caught_by=(f"{CANCELS}::test_carevalidate_absence_after_an_unknown_goes_to_a_person",),
    ),
    Mutant(
        name="refusal-without-a-second-look",
        breaks="An answer that may mean that it was cancelled already is shown as still booked.",
        edits=(
            Edit(
                file=SEND,
                find="if isinstance(outcome, Refused) and not outcome.conclusive:",
                replace="if False:",
            ),
        ),
        caught_by=(f"{CANCELS}::test_a_refusal_of_what_is_gone_by_now_is_not_called_still_booked",),
    ),
    # --- our copy
    Mutant(
        name="older-snapshot-wins",
        breaks="A listing that began before a move puts the appointment back.",
        edits=(
            Edit(
                file=RECORDS,
                find="""    if read_at < row.changed_here_at:
        return True
""",
                replace="",
            ),
        ),
        caught_by=(f"{CHANGES}::test_a_listing_that_began_before_the_move_does_not_put_it_back",),
    ),
    Mutant(
        name="sync-overwrites-a-settled-cancellation",
        breaks="A listing that lags offers what was cancelled for a second cancellation.",
        edits=(
            Edit(
                file=RECORDS,
                find="    return not (is_newer or capabilities.repeat_is_safe)\n",
                replace="    return False\n",
            ),
        ),
        caught_by=(f"{ROBUST}::test_a_reader_that_lags_does_not_offer_a_second_cancel_that_mails",),
    ),
    Mutant(
        name="empty-listing-is-believed",
        breaks="A provider's fault empties the list of the day.",
        edits=(
            Edit(
                file=SYNC,
                find="missing >= SUSPICIOUS_COUNT and missing",
                replace="False and missing",
            ),
        ),
        caught_by=(f"{SYNCS}::test_a_list_that_lost_most_rows_is_believed_only_the_second_time",),
    ),
    # --- one intent
    Mutant(
        name="no-unique-form-key",
        breaks="A double click that two processes take at once becomes two cancellations.",
        edits=(
            Edit(
                file=LEDGER,
                find="form_key = models.UUIDField(unique=True)",
                replace="form_key = models.UUIDField()",
            ),
            Edit(
                file=MIGRATION,
                find="""                ('form_key', models.UUIDField(unique=True)),
                ('external_id',""",
                replace="""                ('form_key', models.UUIDField()),
                ('external_id',""",
            ),
        ),
        caught_by=(f"{HOLDS}::test_the_same_form_key_twice_is_refused",),
    ),
    Mutant(
        name="same-form-is-a-new-intent",
        breaks="Sending a dialog again after its outcome is judged as a new wish.",
        edits=(
            Edit(
                file=ASK,
                find="""            if (same := _same(appointment, form_key=form_key)) is not None:
                return same
            if (conflict""",
                replace="""            if (conflict""",
            ),
        ),
        caught_by=(f"{CANCELS}::test_the_same_form_twice_is_one_intent",),
    ),
    Mutant(
        name="two-open-cancellations",
        breaks="Two people at once each cancel the same booking.",
        edits=(
            Edit(
                file=LEDGER,
                find="""                fields=("connection", "external_id"),
                condition=Q(state__in=sorted(OPEN)),""",
                replace="""                fields=("connection", "external_id", "form_key"),
                condition=Q(state__in=sorted(OPEN)),""",
            ),
            Edit(
                file=MIGRATION,
                find="""fields=('connection', 'external_id'), name='one_open_cancellation""",
                replace="""fields=('connection', 'external_id', 'form_key'), name='one_open_cancellation""",
            ),
        ),
        caught_by=(f"{HOLDS}::test_two_open_cancellations_of_one_booking_are_refused",),
    ),
    Mutant(
        name="stale-page-is-taken",
        breaks="A page that shows an old time cancels the new one.",
        edits=(
            Edit(
                file=ASK,
                find="    if row.version != version:\n",
                replace="    if False:\n",
            ),
        ),
        caught_by=(f"{CANCELS}::test_a_stale_page_is_told_and_nothing_is_recorded",),
    ),
    # --- the worker
    Mutant(
        name="nothing-is-leased",
        breaks="Two workers take the same row at once.",
        edits=(
            Edit(
                file=LEDGER,
                find="""        return self.filter(due_at__lte=now).filter(
            Q(lease_until__isnull=True) | Q(lease_until__lte=now)
        )
""",
                replace="""        return self.filter(due_at__lte=now)
""",
            ),
        ),
        caught_by=(f"{CANCELS}::test_a_row_that_somebody_holds_is_left_alone",),
    ),
    Mutant(
        name="claim-is-not-checked",
        breaks="A worker goes on with a row that has moved on without it.",
        edits=(
            Edit(
                file=LEDGER,
                find="            if row.update(**values) != 1:\n",
                replace="            if row.update(**values) > 1:\n",
            ),
        ),
        caught_by=(f"{HOLDS}::test_a_row_that_has_moved_on_is_not_moved_again",),
    ),
    Mutant(
        name="lost-lease-may-claim",
        breaks="A worker that was too slow sends although another one has the row.",
        edits=(
            Edit(
                file=LEDGER,
                find="""            if held is not None:
                row = row.filter(lease_key=held)
""",
                replace="",
            ),
        ),
        caught_by=(f"{UNDER_WAY}::test_whoever_lost_the_lease_sends_nothing",),
    ),
    Mutant(
        name="sent-unseen",
        breaks="What was moved since the click is cancelled all the same.",
        edits=(
            Edit(
                file=SEND,
                find="    if changes or not seen.is_live:\n",
                replace="    if False:\n",
            ),
        ),
        caught_by=(f"{CANCELS}::test_a_moved_appointment_is_withdrawn_and_nothing_is_sent",),
    ),
    Mutant(
        name="old-click-fires",
        breaks="A worker that comes back in the afternoon carries out the clicks of the morning.",
        edits=(
            Edit(
                file=SEND,
                find="""    if now >= cancellation.expires_at:
        _end(cancellation, Event.LIFETIME_OVER, why=_lifetime_over(cancellation))
        return
""",
                replace="",
            ),
        ),
        caught_by=(f"{CANCELS}::test_nothing_is_sent_after_its_lifetime",),
    ),
    Mutant(
        name="permission-counts-only-at-the-click",
        breaks="Somebody who may no longer cancel still does, through the queue.",
        edits=(
            Edit(
                file=SEND,
                find="""    if not cancellation.asker.has_perm("appointments.cancel_appointment"):""",
                replace="    if False:",
            ),
        ),
        caught_by=(f"{CANCELS}::test_permission_lost_before_sending_withdraws",),
    ),
    Mutant(
        name="answer-is-lost-with-the-database",
        breaks="An answer that the database cannot take is forgotten.",
        edits=(
            Edit(
                file=SEND,
                find="        spill.keep(answer)\n        raise\n",
                replace="        raise\n",
            ),
        ),
        caught_by=(f"{SPILLS}::test_the_answer_comes_back_and_confirms",),
    ),
    # --- many at once
    Mutant(
        name="paused-batch-goes-on",
        breaks="A batch that was stopped because it went wrong still sends the next.",
        edits=(
            Edit(
                file=SEND,
                find="""        if lanes.is_held(cancellation):
            raise lanes.LaneHeld
""",
                replace="",
            ),
        ),
        caught_by=(f"{BATCHES}::test_a_pause_holds_what_is_about_to_be_sent",),
    ),
    Mutant(
        name="unknown-does-not-pause-a-batch",
        breaks="A batch goes on although nobody knows what its last requests did.",
        edits=(
            Edit(
                file=LANES,
                find="    if lane.unknown_running >= UNKNOWN_MOST:\n",
                replace="    if False:\n",
            ),
        ),
        caught_by=(f"{BATCHES}::test_two_unknown_in_a_row_pause_that_provider_alone",),
    ),
    Mutant(
        name="same-review-is-a-new-batch",
        breaks="A review that is sent twice records two batches.",
        edits=(
            Edit(
                file=BATCH,
                find="""    if (same := Batch.objects.filter(form_key=form_key).first()) is not None:
        return same
""",
                replace="    form_key = uuid4()\n",
            ),
        ),
        caught_by=(f"{BATCHES}::test_the_same_review_sent_twice_is_one_batch",),
    ),
    Mutant(
        name="all-done-while-one-is-unknown",
        breaks="A batch says that all is done while an outcome is unknown.",
        edits=(
            Edit(
                file=BATCH,
                find="        return self.ended == self.total\n",
                replace="        return self.ended + self.unclear == self.total\n",
            ),
        ),
        caught_by=(f"{BATCHES}::test_never_all_done_while_one_is_unsettled",),
    ),
    Mutant(
        name="stop-stops-nothing",
        breaks="After somebody stopped a batch, the rest of it is sent all the same.",
        edits=(
            Edit(
                file=BATCH,
                find="    stopped.update(stopped_at=timezone.now(), stopped_by=by)\n",
                replace="    stopped.exists()\n",
            ),
        ),
        caught_by=(f"{BATCHES}::test_stop_sends_no_further_one",),
    ),
    Mutant(
        name="stop-only-takes-back",
        breaks="While a stop takes back the rest, one after the other, workers go on sending.",
        edits=(
            Edit(
                file=BATCH_MODELS,
                find="self.filter(Q(paused_at__isnull=False) | Q(batch__stopped_at__isnull=False))",
                replace="self.filter(paused_at__isnull=False)",
            ),
            Edit(
                file=LANES,
                find="    return batch if batch is not None and batch.stopped_at is not None else None\n",
                replace="    return None\n",
            ),
        ),
        caught_by=(f"{ATTACKS}::test_stop_holds_from_its_first_commit_on",),
    ),
    Mutant(
        name="sent-long-after-the-claim",
        breaks="A worker that hung after its claim sends when others have long gone on.",
        edits=(
            Edit(
                file=SEND,
                find="    if timezone.now() >= before:\n",
                replace="    if False:\n",
            ),
        ),
        caught_by=(f"{ATTACKS}::test_nothing_leaves_long_after_its_claim",),
    ),
    Mutant(
        name="pays-after-the-claim",
        breaks="A database that hangs comes between the claim and the first byte.",
        edits=(
            Edit(
                file=SEND,
                find="        client.http.gate.prepay()\n",
                replace="",
            ),
        ),
        caught_by=(f"{ATTACKS}::test_nothing_is_asked_of_the_database_between_claim_and_sending",),
    ),
    Mutant(
        name="faster-than-allowed",
        breaks="Our own requests make the provider turn us away.",
        edits=(
            Edit(
                file=LIMITS,
                find="STEADY = 0.75\n",
                replace="STEADY = 1.5\n",
            ),
        ),
        caught_by=(f"{PACE}::test_no_minute_sees_more_than_is_allowed",),
    ),
    # --- a person's verdict
    Mutant(
        name="no-quiet-period",
        breaks="A verdict is taken while the first request may still take effect.",
        edits=(
            Edit(
                file=RECONCILE,
                find="QUIET = timedelta(minutes=15)\n",
                replace="QUIET = timedelta(0)\n",
            ),
        ),
        caught_by=(f"{SETTLES}::test_no_verdict_before_the_quiet_period_is_over",),
    ),
    Mutant(
        name="probably-cancelled-is-sent-again",
        breaks="A person can have something sent again that is gone from the provider's book.",
        edits=(
            Edit(
                file=SETTLE,
                find="""    is_booked = may_settle(cancellation) and cancellation.why == "still_booked"
""",
                replace="""    is_booked = may_settle(cancellation)
""",
            ),
        ),
        caught_by=(f"{SETTLES}::test_what_is_probably_cancelled_cannot_be_sent_again",),
    ),
    # --- booking, moving, confirming
    Mutant(
        name="lost-move-is-called-refused",
        breaks="A move whose answer was lost is shown as refused, though it may be carried out.",
        edits=(
            Edit(
                file=BOOK,
                find="""            _become_unknown(booking, Event.UNCLEAR, why=outcome.why)
""",
                replace="""            booking.apply(Event.PROVIDER_REFUSED, held=held, why="other")
""",
            ),
        ),
        caught_by=(f"{CHANGES}::test_a_lost_answer_after_it_was_done_is_settled_by_reading",),
    ),
    Mutant(
        name="changed-booking-is-moved-unseen",
        breaks="What somebody changed at the provider meanwhile is moved all the same.",
        edits=(
            Edit(
                file=BOOK,
                find="    if changes or not seen.is_live:\n",
                replace="    if False:\n",
            ),
        ),
        caught_by=(f"{CHANGES}::test_what_changed_at_the_provider_is_not_touched",),
    ),
    Mutant(
        name="deviation-goes-unsaid",
        breaks="It was moved to another time than asked for, and nobody is told.",
        edits=(
            Edit(
                file=BOOK,
                find="    deviations = _deviations(booking, shown)\n",
                replace="    deviations: list[str] = []\n",
            ),
        ),
        caught_by=(f"{CHANGES}::test_a_deviation_is_noted_and_nothing_is_moved_back",),
    ),
    Mutant(
        name="cancelled-while-it-moves",
        breaks="A booking is cancelled while nobody knows where it is being moved.",
        edits=(
            Edit(
                file=ASK,
                find="    if (change := open_change(row)) is not None:\n",
                replace="    if False and (change := open_change(row)) is not None:\n",
            ),
        ),
        caught_by=(f"{CHANGES}::test_an_open_change_keeps_a_cancellation_away_until_it_is_known",),
    ),
    Mutant(
        name="moved-while-it-is-cancelled",
        breaks="A booking is moved while its cancellation is under way.",
        edits=(
            Edit(
                file=SCHEDULE,
                find="    if (cancellation := open_ones.first()) is not None:\n",
                replace="    if False and (cancellation := open_ones.first()) is not None:\n",
            ),
        ),
        caught_by=(f"{CHANGES}::test_an_open_cancellation_keeps_a_change_away",),
    ),
    Mutant(
        name="half-done-is-forgotten",
        breaks="Somebody has two appointments, and no page says so.",
        edits=(
            Edit(
                file=BOOKINGS,
                find="            Q(state__in=(_S.CONFIRMED, _S.AWAITS_CONFIRMATION))\n",
                replace="            Q(state__in=(_S.AWAITS_CONFIRMATION,))\n",
            ),
        ),
        caught_by=(f"{REBOOKS}::test_it_is_half_done_until_the_old_one_is_cancelled",),
    ),
    Mutant(
        name="one-booking-proves-two-requests",
        breaks="Two requests whose answers were lost are both called booked; one of them is not.",
        edits=(
            Edit(
                file=BOOK,
                find="""        *of_others.exclude(external_id="").values_list("external_id", flat=True),
""",
                replace="",
            ),
            Edit(
                file=BOOK,
                find="""        is_mine = booking.kind != Kind.BOOK or not same.exclude(pk=booking.pk).exists()
""",
                replace="""        is_mine = True
""",
            ),
        ),
        caught_by=(f"{REBOOKS}::test_one_booking_at_the_provider_proves_one_request",),
    ),
    # --- what is shown to whom
    Mutant(
        name="colleague-stays-nameless",
        breaks="Whoever was slower does not learn by whom it was cancelled, and when.",
        edits=(
            Edit(
                file=VIEWS,
                find="""        found = replace(found, cancellation=_who_cancelled(fresh))
""",
                replace="        pass\n",
            ),
        ),
        caught_by=(f"{DIALOG}::test_who_cancelled_it_and_when_is_said_after_it_is_over",),
    ),
    Mutant(
        name="silent-worker-is-not-said",
        breaks="She waits for an outcome that nobody is working on, and is not told.",
        edits=(
            Edit(
                file=VIEWS,
                find="silence(cancellation) if is_silent and cancellation.is_moving else",
                replace="silence(cancellation) if False else",
            ),
        ),
        caught_by=(f"{OUTCOME}::test_a_poll_says_that_no_worker_runs_as_long_as_one_is_needed",),
    ),
    # --- a new appointment
    Mutant(
        name="booked-unseen",
        breaks="What was changed after the review is booked, though nobody looked at it.",
        edits=(
            Edit(
                file=SCHEDULES,
                find='if before is None and request.POST.get("reviewed") != review.token:',
                replace="if False:",
            ),
        ),
        caught_by=(f"{REVIEWS}::test_what_was_changed_after_the_review_is_not_booked",),
    ),
    Mutant(
        name="verdict-is-never-doubted",
        breaks="A booking that was settled as not done is listed after all, and nobody is told.",
        edits=(
            Edit(
                file=RECORDS,
                find="    weigh_verdicts(connection, believed)\n",
                replace="",
            ),
        ),
        caught_by=(f"{VERDICTS}::test_a_new_one_that_is_listed_after_all_is_an_alarm",),
    ),
    # --- the session
    Mutant(
        name="login-lands-in-the-page",
        breaks="After a session ended, the login form appears inside the cancel dialog.",
        edits=(
            Edit(
                file=ACCESS,
                find="        if not request.htmx:  # type: ignore[attr-defined]\n",
                replace="        if True:\n",
            ),
        ),
        caught_by=(f"{GATE}::test_a_script_without_a_session_gets_an_address_and_no_page",),
    ),
)
