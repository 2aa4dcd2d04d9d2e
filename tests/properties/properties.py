"""
The twelve properties, each stated once.

Each takes what the providers saw (`Record`) and what the portal's ledger holds (`Ledger`), and
fails where the two do not go together. They are checked after every step of every history.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

from django.forms.models import model_to_dict

from appointments.domain import Scope, Status
from appointments.models import Cancellation, CancellationEvent, ProviderCall
from appointments.models.cancellations import DONE, OPEN, AnswerKind, Event, State
from tests.properties.record import QUIET, Arrival, Asked, Done, Ledger, Record

LIFETIME = timedelta(minutes=10)
LOOK_IS_FRESH = timedelta(seconds=30)
HALF_AN_HOUR = timedelta(minutes=30)
A_SWEEP = timedelta(minutes=1)
"""What may lie between the moment at which something is due and the worker's look at it."""
MAILS_ON_REPEAT = ("meetergo", "carevalidate")
NOT_CANCELLED = frozenset({State.NOT_SENT, State.WITHDRAWN, State.REFUSED, State.SETTLED})
BLAMELESS = frozenset({AnswerKind.NOT_SENT, AnswerKind.LIMITED, AnswerKind.REFUSED})
"""Answers after which it is certain that the call did nothing."""


def success_rests_on_the_providers_word(record: Record, ledger: Ledger) -> None:
    """
    1. Success is shown only if the provider said so, as documented, or a later read showed it.

    The same goes for our copy in the list, unless a named person judged it to be cancelled.
    """
    for one in ledger.cancellations.values():
        if one.is_done:
            part = _part(one)
            shown = record.was_shown_away(part, since=one.requested_at) or record.was_shown_away(
                (part[0], part[1], ""), since=one.requested_at
            )
            assert shown, f"{one} is shown as done, and nothing said so"
    for row in ledger.appointments:
        key = (row.connection.provider, row.external_id)
        if row.status == Status.CANCELLED and key not in record.verdicts:
            assert record.was_shown_away((*key, "")), f"{key} is listed as cancelled unseen"


def every_call_is_on_record_before_its_first_byte(record: Record, ledger: Ledger) -> None:
    """
    2. The provider's log and the ledger hold the same calls; each was committed before it left.
    """
    arrived = {}
    for arrival in record.arrivals:
        assert arrival.call is not None, f"a request arrived that no row announced: {arrival}"
        assert arrival.open_transactions == 0, "a request left inside an open transaction"
        assert arrival.call not in arrived, "two requests arrived for one row"
        arrived[arrival.call] = arrival
    for key, calls in ledger.calls.items():
        assert [call.number for call in calls] == list(range(1, len(calls) + 1))
        for call in calls:
            answer = ledger.answer(call)
            not_sent = answer is not None and answer.kind == AnswerKind.NOT_SENT
            if call.pk in arrived:
                assert not not_sent, f"call {call.number} of {key} arrived, but counts as not sent"
            else:
                assert not_sent or call.pk in record.killed_calls, (
                    f"call {call.number} of {key} never arrived"
                )


def one_open_intent_per_booking(_record: Record, ledger: Ledger) -> None:
    """
    3. At most one intent per booking is open; of a series either one for "this and later ones",
    alone, or single ones.
    """
    open_ones = [one for one in ledger.cancellations.values() if one.state in OPEN]
    bookings = Counter((one.connection_id, one.external_id) for one in open_ones)
    assert not [key for key, number in bookings.items() if number > 1]
    for one in open_ones:
        if one.scope == Scope.FOLLOWING and one.series_key:
            same = [
                other
                for other in open_ones
                if (other.connection_id, other.series_key) == (one.connection_id, one.series_key)
            ]
            assert same == [one], "two open intents touch one series"


def nothing_is_sent_twice_on_a_guess(record: Record, ledger: Ledger) -> None:
    """
    4. After a call of unknown outcome, meetergo and CareValidate get no second one without a named
    person, a read that shows it booked, and the end of the quiet period. Where a repeat is
    harmless, the worker may repeat once, and says so in the history.
    """
    arrivals = {one.call: one for one in record.arrivals}
    for key, one in ledger.cancellations.items():
        calls = ledger.calls[key]
        on_its_own = 0
        for number, call in enumerate(calls[1:], start=1):
            unsure = [before for before in calls[:number] if _is_unsure(ledger, before)]
            if not unsure:
                continue
            between = _events_between(ledger, key, unsure[-1].number, call.number)
            by_name = [
                event
                for event in between
                if event.event == Event.SENT_AGAIN and event.by and event.detail
            ]
            arrival = arrivals.get(call.pk)
            if by_name:
                on_its_own = 0
                for before in unsure:
                    ended_at = _ended_at(arrivals.get(before.pk), before)
                    assert call.started_at >= ended_at + QUIET, f"{one}: repeated too early"
                assert arrival is None or (arrival.look and arrival.look[1].is_live)
                continue
            on_its_own += 1
            assert one.connection.provider not in MAILS_ON_REPEAT, f"{one}: sent twice on a guess"
            assert any(step.event == Event.REPEAT_IS_DUE for step in between) or any(
                _is_blameless(ledger, before) for before in calls[number - 1 : number]
            ), f"{one}: repeated without a reason"
    for arrival in record.arrivals:
        for _, state in arrival.unsure:
            settled = (State.SETTLED, *DONE)
            assert state in settled, f"a new call beside an unsettled one: {arrival.key}"
    for one in ledger.cancellations.values():
        repeats = [e for e in ledger.events[one.pk] if e.event == Event.REPEAT_IS_DUE]
        assert len(repeats) <= 1, f"{one}: repeated more than once"
        assert not repeats or one.connection.provider not in MAILS_ON_REPEAT


def what_is_cancelled_is_not_asked_for_again(record: Record, _ledger: Ledger) -> None:
    """
    5. After a success nobody can ask for the same again until the provider shows it booked, in a
    newer version where it has versions and a repeat could mail.
    """
    for asked in record.asked:
        for done in asked.done_before:
            if done.scope == Scope.ATTENDEE and done.person != asked.person:
                continue
            assert _was_shown_back(record, asked, done), f"{asked.key} was asked for again"


def recovery_and_sync_never_send(record: Record, _ledger: Ledger) -> None:
    """
    6. Only the worker sends, and only for an intent that it took up as *requested*: never while it
    recovers, reads again, lists, or traces, and never by somebody's click itself.
    """
    for arrival in record.arrivals:
        actor = arrival.actor
        assert actor.kind == "worker", f"{actor.kind} sent a request"
        assert actor.state == State.REQUESTED, f"sent while taking up a row that was {actor.state}"
        assert arrival.cancellation is not None
        assert arrival.cancellation.pk == actor.cancellation, "sent for another intent"


def sent_only_in_time_with_leave_and_as_seen(record: Record, ledger: Ledger) -> None:
    """
    7. Nothing is sent after the intent's lifetime, for somebody who may not cancel (any more), or
    to a booking that, seconds before, was not as staff had seen it.
    """
    pages = {asked.cancellation: asked.page for asked in record.asked}
    for arrival in record.arrivals:
        row = arrival.cancellation
        assert row is not None
        # Held back on its way by less than it takes to get there.
        assert arrival.at <= row.expires_at + timedelta(seconds=1), "sent after its lifetime"
        wanted = [row.requested_at] + [
            one.at
            for one in ledger.events[row.pk]
            if one.event == Event.SENT_AGAIN and one.at <= arrival.at
        ]
        if row.batch_id is None:  # Of a batch, each may wait for its turn.
            assert row.expires_at <= max(wanted) + LIFETIME, "its lifetime is too long"
        assert arrival.asker_may, "sent for somebody who may not cancel"
        assert arrival.look is not None, "sent unseen"
        looked_at, standing = arrival.look
        assert arrival.at - looked_at <= LOOK_IS_FRESH, "sent on an old look"
        assert standing.is_live, "sent to what was not booked"
        assert (standing.when, standing.people) == pages[row.pk], "sent to a changed booking"


def no_verdict_while_a_call_may_still_act(record: Record, ledger: Ledger) -> None:
    """
    8. Nothing is called not cancelled while a call may still act, nor if one has acted.

    A named person's verdict may be wrong about the past, but must wait for the quiet period too.
    """
    for held in record.held:
        row = held.arrival.cancellation
        if held.may_act and row is not None:
            state = ledger.cancellations[row.pk].state
            assert state not in NOT_CANCELLED, f"{row} became {state} while a call may act"
    for arrival in record.arrivals:
        row = arrival.cancellation
        if arrival.acted and row is not None:
            state = ledger.cancellations[row.pk].state
            assert state not in NOT_CANCELLED - {State.SETTLED}, f"it is cancelled, yet {state}"
    arrivals = {one.call: one for one in record.arrivals}
    for key, one in ledger.cancellations.items():
        if one.state in NOT_CANCELLED and one.settled_at is not None:
            for call in ledger.calls[key]:
                if _is_unsure(ledger, call):
                    ended_at = _ended_at(arrivals.get(call.pk), call)
                    assert one.settled_at >= ended_at + QUIET, f"{one}: judged too early"


def nobody_is_left_waiting(record: Record, ledger: Ledger) -> None:
    """
    9. After half an hour of a worker's work every intent that was open before is settled or on
    the list for people, and what was unknown all that time is handed to a person. Only those of a
    batch may wait longer for their turn, as its review says.
    """
    for span in record.half_hours:
        if span.ended_at != ledger.now:
            continue
        listed = set(Cancellation.objects.for_people(ledger.now).values_list("pk", flat=True))
        for one in ledger.cancellations.values():
            may_wait = one.batch_id is not None and one.expires_at > ledger.now
            if one.state in OPEN and not may_wait:
                assert one.pk in listed, f"{one} since {one.requested_at}, and on no list"
            if one.state == State.UNKNOWN:
                assert one.unknown_since is not None
                since = ledger.now - one.unknown_since
                assert since < HALF_AN_HOUR + A_SWEEP, f"{one} for {since}, and no person asked"


def what_is_written_stays_written(record: Record, ledger: Ledger) -> None:
    """10. A settled intent stays as it is, and so does every row of the ledger."""
    for one in ledger.cancellations.values():
        if one.state in OPEN:
            assert one.pk not in record.seen_terminal, f"{one} was settled before"
            continue
        now = (one.state, one.why, one.said, one.settled_at, one.settled_by_id)
        assert record.seen_terminal.setdefault(one.pk, now) == now, f"{one} was changed"
    rows = [
        *(row for calls in ledger.calls.values() for row in calls),
        *(row for events in ledger.events.values() for row in events),
        *filter(None, (ledger.answer(row) for calls in ledger.calls.values() for row in calls)),
    ]
    found = {(type(row).__name__, row.pk): model_to_dict(row) for row in rows}
    for key, values in record.seen_rows.items():
        assert found.get(key) == values, f"{key} was changed or deleted"
    record.seen_rows = found


def nothing_else_is_touched(record: Record, _ledger: Ledger) -> None:
    """
    11. What is sent is what staff confirmed, and no other person and no other occurrence is
    touched at the provider.
    """
    for arrival in record.arrivals:
        row, target = arrival.cancellation, arrival.target
        assert row is not None
        assert target.person == (row.attendee_external_id if row.scope == Scope.ATTENDEE else "")
        assert target.following == (row.scope == Scope.FOLLOWING)
        if arrival.body and "email" in arrival.body:
            assert arrival.body["email"] == row.email
    meant = record.wished | record.outside
    for slug, book in record.books.items():
        for booking, now in book.standings().items():
            before = record.at_first[slug, booking]
            if before.is_live and not now.is_live:
                assert (slug, booking, "") in meant, f"{booking} was cancelled, and nobody asked"
            for person in before.people - now.people:
                assert (slug, booking, person) in meant, f"{person} was removed, and nobody asked"


def nobody_is_mailed_twice(record: Record, _ledger: Ledger) -> None:
    """12. meetergo and CareValidate mail each person at most once about a booking by our doing."""
    mails = Counter(
        (one.key, one.life, one.to) for one in record.mails if one.key[0] in MAILS_ON_REPEAT
    )
    assert not [key for key, number in mails.items() if number > 1], mails


ALL: tuple[Callable[[Record, Ledger], None], ...] = (
    success_rests_on_the_providers_word,
    every_call_is_on_record_before_its_first_byte,
    one_open_intent_per_booking,
    nothing_is_sent_twice_on_a_guess,
    what_is_cancelled_is_not_asked_for_again,
    recovery_and_sync_never_send,
    sent_only_in_time_with_leave_and_as_seen,
    no_verdict_while_a_call_may_still_act,
    nobody_is_left_waiting,
    what_is_written_stays_written,
    nothing_else_is_touched,
    nobody_is_mailed_twice,
)


# --- what they share --------------------------------------------------------------------------


def _part(cancellation: Cancellation) -> tuple[str, str, str]:
    person = cancellation.attendee_external_id if cancellation.scope == Scope.ATTENDEE else ""
    return cancellation.connection.provider, cancellation.external_id, person


def _is_unsure(ledger: Ledger, call: ProviderCall) -> bool:
    answer = ledger.answer(call)
    return answer is None or answer.kind == AnswerKind.UNKNOWN


def _is_blameless(ledger: Ledger, call: ProviderCall) -> bool:
    answer = ledger.answer(call)
    return answer is not None and answer.kind in BLAMELESS


def _events_between(ledger: Ledger, key: int, first: int, second: int) -> list[CancellationEvent]:
    """Events after the claim of call number *first* and before that of number *second*."""
    claims, found = 0, []
    for event in ledger.events[key]:
        claims += event.event == Event.CLAIMED
        if first <= claims < second:
            found.append(event)
    return found


def _ended_at(arrival: Arrival | None, call: ProviderCall) -> datetime:
    """When a call was over; one that never arrived was over at once."""
    return (arrival.ended_at if arrival is not None else None) or call.started_at


def _was_shown_back(record: Record, asked: Asked, done: Done) -> bool:
    """Whether an answer after *done* showed as booked again what it took away."""
    must_be_newer = asked.key[0] in MAILS_ON_REPEAT
    for one in record.shown[asked.key]:
        now = one.standing
        if not done.settled_at <= one.at <= asked.at or not now.is_live:
            continue
        if done.scope == Scope.ATTENDEE and done.person not in now.people:
            continue
        if not must_be_newer or (now.changed_at and now.changed_at > done.settled_at):
            return True
    return False
