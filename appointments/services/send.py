"""
The worker's side of a cancellation: lease, look, claim, send once, settle.

    process        what a task calls: does whatever the row's state asks for
    _look          reads the provider; what is cancelled or changed by now is not sent
    _claim         marks it as sending and writes the call row, in one commit
    _send          the one request, on a fresh connection, under a total deadline
    _settle        stores the answer and moves the state, in a second short transaction

No transaction is open while a provider is waited for. A crash at any point leaves a row that
`process` understands: before the claim it is still *requested*; after it, the lease runs out and
the outcome is *unknown*, which is settled by reading and never by sending again.
"""

from __future__ import annotations

import random
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import stamina
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from appointments.domain import (
    AccessDenied,
    Already,
    AnswerNotUnderstood,
    BookedAppointment,
    BookingRef,
    CancelAnswer,
    CancelRequest,
    Confirmed,
    CredentialsRejected,
    Facts,
    NotSent,
    ProviderError,
    RateLimited,
    Refusal,
    Refused,
    Scope,
    Status,
)
from appointments.models import (
    Cancellation,
    Connection,
    ProviderAnswer,
    ProviderCall,
)
from appointments.models.cancellations import (
    OPEN,
    UNSETTLED,
    AnswerKind,
    Event,
    IllegalTransition,
    State,
)
from appointments.models.secrets import CannotDecrypt
from appointments.providers.base import Provider
from appointments.providers.transport import within
from appointments.services import lanes, limits, reconcile, spill
from appointments.services.effect import has_left, take_effect, why_left
from appointments.services.limits import Urgency
from appointments.services.outage import NO_DATABASE
from appointments.services.queue import PROCESS_CANCELLATION, wake
from appointments.services.records import store
from appointments.services.sync import sync_soon

LEASE = timedelta(seconds=60)
"""Longer than any look, send and second look together may take."""
POINTLESS = frozenset({"email_missing", "case_unknown"})
"""Reasons for not sending that no repeat mends."""
WHY_LIMIT = 60
RECORD_FOR = 30.0
"""Seconds for which the database is asked again to keep an answer."""
LONGEST_WAIT = timedelta(seconds=120)
"""A provider that asks for more than this is not waited for by itself."""
LOOK = 25.0
LOOK_HOLDS = timedelta(seconds=30)
"""What a look showed may be another thing after that: then it is looked at again."""
SECOND_LOOK = 15.0
"""Seconds; with a write's 20 they stay below the lease."""
START_WITHIN = timedelta(seconds=20)
"""After the claim: the first byte leaves before that, so that the lease outlasts the rest."""
TRY_AGAIN = (timedelta(seconds=1), timedelta(seconds=4), timedelta(seconds=15))
"""After a request that did not leave us, or a read that failed; give or take half."""


def process(pk: int) -> None:
    """
    Do what cancellation *pk* waits for, if it is due and nobody else is at it.

    Safe to call at any time and any number of times.
    """
    cancellation = _lease(pk)
    if cancellation is None:
        return
    held = cancellation.lease_key
    try:
        match State(cancellation.state):
            case State.REQUESTED:
                _advance(cancellation)
            case State.SENDING:
                # Whoever sent it is gone: it may have been carried out.
                reconcile.become_unknown(cancellation, Event.LEASE_EXPIRED, why="worker_lost")
                lanes.note(cancellation, AnswerKind.UNKNOWN)
            case State.UNKNOWN | State.NEEDS_HUMAN:
                reconcile.read(cancellation)
            case _:
                pass
    except IllegalTransition:
        pass  # Somebody else moved it meanwhile; the row says what is next.
    except lanes.LaneHeld:
        lanes.stand_back(cancellation)
    except Exception as error:
        _stumble(pk, error)
        raise
    finally:
        Cancellation.objects.filter(pk=pk, lease_key=held).exclude(state=State.SENDING).update(
            lease_key=None, lease_until=None
        )
        lanes.call_in(cancellation.connection_id)


def _lease(pk: int) -> Cancellation | None:
    """Take the row for ourselves for a while; None if it is not due, taken, or must wait."""
    now = timezone.now()
    due = Cancellation.objects.due(now).filter(pk=pk)
    with transaction.atomic():
        connection_id = due.values_list("connection", flat=True).first()
        if connection_id is None:
            return None
        # On PostgreSQL the lock makes counting and taking one step; on SQLite the transaction does.
        account = Connection.objects.select_for_update(no_key=True).get(pk=connection_id)
        # Again, now that nobody else is at it: the same task may come twice.
        found = due.select_related(
            "connection", "appointment__connection", "requested_by", "batch__stopped_by"
        ).first()
        if found is None or not lanes.may_begin(found, account, now=now):
            return None
        key, until = uuid4(), now + LEASE
        if due.filter(state=found.state).update(lease_key=key, lease_until=until) != 1:
            return None
    found.lease_key, found.lease_until = key, until
    return found


def _stumble(pk: int, error: Exception) -> None:
    """
    Something failed that is neither the provider's nor the network's: a lost key, a bug of ours.

    The row must not be looked at every minute for ever, nor be forgotten: before sending it waits
    within its lifetime, and what is unknown goes to a person in the end. One that was being sent
    stays so until its lease runs out.
    """
    why = "cannot_decrypt" if isinstance(error, CannotDecrypt) else "internal"
    cancellation = Cancellation.objects.select_related("connection").get(pk=pk)
    if cancellation.state == State.REQUESTED:
        kind = AnswerKind.REFUSED if why == "cannot_decrypt" else AnswerKind.NOT_SENT
        lanes.note(cancellation, kind, why=why)
        _wait(cancellation, why=why)
    elif cancellation.state in UNSETTLED:
        reconcile.could_not_read(cancellation)


def _advance(cancellation: Cancellation) -> None:
    held, now = cancellation.lease_key, timezone.now()
    if (stopped := lanes.stopped_batch(cancellation)) is not None:
        _end(cancellation, Event.TAKEN_BACK, why="taken_back", by=stopped.stopped_by)
        return
    if now >= cancellation.expires_at:
        _end(cancellation, Event.LIFETIME_OVER, why=_lifetime_over(cancellation))
        return
    if not cancellation.asker.has_perm("appointments.cancel_appointment"):
        _end(cancellation, Event.NOT_PERMITTED, why="not_permitted")
        return
    if not cancellation.connection.is_active:
        _end(cancellation, Event.LOOK_REFUSED, why="switched_off")
        return
    client = limits.client(cancellation.connection, Urgency.WORK)
    with closing(client.http):
        looked_at = timezone.now()
        seen = _look(cancellation, client)
        if seen is None:
            return
        request = _request(cancellation, seen)
        client.http.gate.prepay()
        call = _claim(cancellation, held=held, looked_at=looked_at)
        outcome = _send(client, request, before=call.started_at + START_WITHIN)
        if isinstance(outcome, Refused) and not outcome.conclusive:
            outcome = _second_look(client, request, outcome)
    _settle(cancellation, call, outcome)


_NO_CAUSE = ("", lanes.COOLING_OFF, lanes.QUEUED)


def _lifetime_over(cancellation: Cancellation) -> str:
    """What kept it from being sent, if more is known than that its turn never came."""
    return "lifetime_over" if cancellation.why in _NO_CAUSE else cancellation.why


# --- look -------------------------------------------------------------------------------------


def _look(cancellation: Cancellation, client: Provider) -> BookedAppointment | None:
    """The booking as it is now; None if that ended the matter, or it could not be read."""
    read_at = timezone.now()
    try:
        with within(LOOK):
            seen = client.read(cancellation.appointment.ref())
    except ProviderError as error:
        _not_seen(cancellation, error)
        return None
    if seen is None:
        _end(cancellation, Event.FOUND_GONE, why="gone")
        return None
    store(cancellation.connection, [seen], read_at=read_at)
    if has_left(cancellation.scope, cancellation.attendee_external_id, seen):
        with transaction.atomic():
            why = why_left(cancellation, seen, why="found_cancelled")
            _end(cancellation, Event.FOUND_CANCELLED, why=why)
            take_effect(cancellation, at=timezone.now())
        return None
    changes = cancellation.facts.changes(Facts.of(seen))
    if changes or not seen.is_live:
        _end(cancellation, Event.FOUND_CHANGED, why="changed_" + (changes or ("status",))[0])
        return None
    return seen


def _end(cancellation: Cancellation, event: Event, *, why: str, by: User | None = None) -> None:
    """Leave *requested* without sending; after an earlier unknown call that means: read on."""
    due_at = reconcile.next_read(cancellation)
    cancellation.apply(event, due_at=due_at, why=why, by=by, held=cancellation.lease_key)
    if cancellation.is_open:
        wake(PROCESS_CANCELLATION, cancellation.pk, at=due_at)


def _not_seen(cancellation: Cancellation, error: ProviderError) -> None:
    match error:
        case RateLimited(wait=timedelta() as wait) if wait <= LONGEST_WAIT:
            _wait(cancellation, why=error.why, at_least=wait)
        case RateLimited():
            _end(cancellation, Event.LOOK_REFUSED, why=error.why)
            why = lanes.TOO_BUSY if error.why == "rate_limited" else error.why
            lanes.note(cancellation, AnswerKind.LIMITED, why=why)
        case CredentialsRejected() | AccessDenied():
            _end(cancellation, Event.LOOK_REFUSED, why=error.why)
            lanes.note(cancellation, AnswerKind.REFUSED, why=error.why)
        case _:
            lanes.note(cancellation, AnswerKind.NOT_SENT)
            _wait(cancellation, why="unreadable")


def _wait(cancellation: Cancellation, *, why: str, at_least: timedelta = timedelta(0)) -> None:
    """The provider could not be read: nothing is sent unseen, so wait within the lifetime."""
    step = min(cancellation.failed_looks, len(TRY_AGAIN) - 1)
    delay = max(_jittered(TRY_AGAIN[step]), at_least)
    due_at = min(timezone.now() + delay, cancellation.expires_at)
    Cancellation.objects.filter(pk=cancellation.pk, lease_key=cancellation.lease_key).update(
        due_at=due_at, why=why, failed_looks=cancellation.failed_looks + 1
    )
    wake(PROCESS_CANCELLATION, cancellation.pk, at=due_at)


# --- claim and send ---------------------------------------------------------------------------


def _claim(cancellation: Cancellation, *, held: UUID | None, looked_at: datetime) -> ProviderCall:
    """
    Write down, durably, that this request is about to leave.

    Raises:
        IllegalTransition: the lease ran out, it was taken back, or what was seen at *looked_at* may
            no longer hold; nothing may be sent.
        LaneHeld: its batch was paused here or stopped meanwhile; nothing may be sent.
    """
    now = timezone.now()
    if now >= cancellation.expires_at:
        raise IllegalTransition("lifetime over")
    if now - looked_at > LOOK_HOLDS:
        raise IllegalTransition("held up since the look")
    with transaction.atomic():
        if lanes.is_held(cancellation):
            raise lanes.LaneHeld
        cancellation.apply(
            Event.CLAIMED,
            held=held,
            due_at=now + LEASE,
            lease_key=held,
            lease_until=now + LEASE,
        )
        return ProviderCall.objects.create(
            cancellation=cancellation,
            number=cancellation.calls.count() + 1,
            started_at=now,
            asked={
                "scope": cancellation.scope,
                "attendee_id": cancellation.attendee_external_id,
                "with_reason": bool(_reason(cancellation)),
            },
        )


def _request(cancellation: Cancellation, seen: BookedAppointment) -> CancelRequest:
    # A fresh read may know less than the listing did (case id, service): keep what it lacks.
    locator = {**cancellation.appointment.locator, **seen.locator}
    return CancelRequest(
        appointment=replace(seen, locator=locator),
        scope=Scope(cancellation.scope),
        attendee_id=cancellation.attendee_external_id,
        reason=_reason(cancellation),
        email=cancellation.email,
    )


def _reason(cancellation: Cancellation) -> str:
    reaches = cancellation.appointment.capabilities.reason_reaches_provider
    return cancellation.reason if reaches else ""


def _send(
    client: Provider, request: CancelRequest, *, before: datetime
) -> CancelAnswer | ProviderError:
    """
    The answer of the provider, or what went wrong; not sent at all if it is not *before* then.

    Whoever was held up for so long may have lost the lease, and others may have gone on.
    """
    if timezone.now() >= before:
        return NotSent("held_up")
    try:
        return client.cancel(request)
    except (CredentialsRejected, AccessDenied) as error:
        why = Refusal.CREDENTIALS if isinstance(error, CredentialsRejected) else Refusal.PERMISSION
        return Refused(why=why, conclusive=True)
    except ProviderError as error:
        return error


def _second_look(
    client: Provider, request: CancelRequest, refused: Refused
) -> CancelAnswer | ProviderError:
    """The same refusal may mean "no" or "it was cancelled already": what is there now decides."""
    booking = request.appointment
    ref = BookingRef(
        external_id=booking.external_id,
        locator=booking.locator,
        starts_at=booking.starts_at,
        day=booking.day,
    )
    try:
        with within(SECOND_LOOK):
            seen = client.read(ref)
    except ProviderError as error:
        return AnswerNotUnderstood("refused_unreadable", status=error.status)
    if seen is None:
        return AnswerNotUnderstood("refused_and_gone")
    if has_left(request.scope, request.attendee_id, seen):
        return Already(said=refused.said)
    if seen.status is Status.COMPLETED:
        return replace(refused, why=Refusal.OVER)
    return refused if seen.is_live else AnswerNotUnderstood("refused_but_changed")


# --- settle -----------------------------------------------------------------------------------


def _settle(
    cancellation: Cancellation, call: ProviderCall, outcome: CancelAnswer | ProviderError
) -> None:
    """
    Store what came of *call* and move the state, in one commit that is tried for half a minute.

    The answer is all we will ever know of this request, so a database that is locked or gone must
    not lose it: after that half minute it is kept in a file, and comes back from there.

    Raises:
        IllegalTransition: the lease was lost meanwhile and the row is *unknown*; the answer is
            stored all the same, and the reads that follow settle it.
    """
    answer = _answer(call, outcome, at=timezone.now())
    held = cancellation.lease_key
    try:
        for attempt in stamina.retry_context(on=NO_DATABASE, timeout=RECORD_FOR, attempts=None):
            with attempt:
                if attempt.num > 1 and _is_recorded(cancellation, answer):
                    return
                _record_and_move(cancellation, answer, outcome, held=held)
    except NO_DATABASE:
        spill.keep(answer)
        raise
    if cancellation.is_done:
        _show_effect(cancellation, outcome, at=answer.answered_at)


def _is_recorded(cancellation: Cancellation, answer: ProviderAnswer) -> bool:
    """Whether the commit whose end we did not hear of went through; else all is as before it."""
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()
    cancellation.refresh_from_db()
    return ProviderAnswer.objects.filter(call=answer.call_id).exists()


def _record_and_move(
    cancellation: Cancellation,
    answer: ProviderAnswer,
    outcome: CancelAnswer | ProviderError,
    *,
    held: UUID | None,
) -> None:
    try:
        with transaction.atomic():
            step = _meaning(cancellation, outcome)
            _record(answer)
            _move(cancellation, answer, step, held=held)
            lanes.note(cancellation, AnswerKind(answer.kind), why=_for_the_lane(answer, step))
            if cancellation.is_done:
                take_effect(cancellation, at=answer.answered_at)
    except IllegalTransition:
        _record(answer)
        raise


def _for_the_lane(answer: ProviderAnswer, step: _Step) -> str:
    """What the rest of a batch should know of *answer*."""
    gave_up = answer.kind == AnswerKind.LIMITED and step.event is Event.NOTHING_LEFT_US
    return lanes.TOO_BUSY if gave_up and answer.why == "rate_limited" else answer.why


def _record(answer: ProviderAnswer) -> None:
    answer.pk = None  # An attempt that was rolled back may have left one.
    answer.save(force_insert=True)


def _move(
    cancellation: Cancellation, answer: ProviderAnswer, step: _Step, *, held: UUID | None
) -> None:
    changes: dict[str, Any] = {}
    if answer.kind == AnswerKind.NOT_SENT:
        changes["tries"] = cancellation.tries + 1
    due_at = None
    if cancellation.after(step.event) in OPEN:
        due_at = step.due_at or reconcile.next_read(cancellation)
    cancellation.apply(
        step.event,
        held=held,
        due_at=due_at,
        why=step.why,
        said=answer.said,
        **changes,
    )
    if cancellation.is_open:
        wake(PROCESS_CANCELLATION, cancellation.pk, at=due_at)


def _answer(
    call: ProviderCall, outcome: CancelAnswer | ProviderError, *, at: datetime
) -> ProviderAnswer:
    """The row that keeps *outcome*, not yet saved."""
    match outcome:
        case Confirmed(said=said):
            kind, why, status = AnswerKind.OK, "", None
        case Already(said=said):
            kind, why, status = AnswerKind.ALREADY, "said_already", None
        case Refused(why=refusal, said=said):
            kind, why, status = AnswerKind.REFUSED, str(refusal), None
        case ProviderError(why=why, status=status):
            kind, said = _KINDS.get(type(outcome), AnswerKind.UNKNOWN), ""
    return ProviderAnswer(
        call=call, kind=kind, status=status, why=why[:WHY_LIMIT], said=said, answered_at=at
    )


_KINDS: dict[type[ProviderError], AnswerKind] = {
    NotSent: AnswerKind.NOT_SENT,
    RateLimited: AnswerKind.LIMITED,
}


@dataclass(frozen=True, kw_only=True)
class _Step:
    """What an answer means for the ledger."""

    event: Event
    why: str = ""
    due_at: datetime | None = None


def _meaning(cancellation: Cancellation, outcome: CancelAnswer | ProviderError) -> _Step:
    match outcome:
        case Confirmed():
            return _Step(event=Event.PROVIDER_CONFIRMED)
        case Already():
            return _Step(event=Event.PROVIDER_SAID_ALREADY, why="said_already")
        case Refused(why=why):
            return _Step(event=Event.PROVIDER_REFUSED, why=why)
        case NotSent():
            return _nothing_left(cancellation, outcome, _pause(cancellation))
        case RateLimited(wait=wait):
            tried = cancellation.calls.filter(answer__kind=AnswerKind.LIMITED).exists()
            patient = wait is not None and wait <= LONGEST_WAIT and not tried
            return _nothing_left(cancellation, outcome, wait if patient else None)
        case _:
            return _Step(event=Event.UNCLEAR, why=outcome.why[:WHY_LIMIT])


def _nothing_left(
    cancellation: Cancellation, error: ProviderError, pause: timedelta | None
) -> _Step:
    """Nothing was done at the provider: try again within the lifetime, or end as not sent."""
    if error.why in POINTLESS:
        pause = None
    due_at = timezone.now() + pause if pause is not None else None
    if due_at is None or due_at >= cancellation.expires_at:
        return _Step(event=Event.NOTHING_LEFT_US, why=error.why)
    return _Step(event=Event.NOTHING_LEFT_US_YET, why=error.why, due_at=due_at)


def _pause(cancellation: Cancellation) -> timedelta | None:
    if cancellation.tries >= len(TRY_AGAIN):
        return None
    return _jittered(TRY_AGAIN[cancellation.tries])


def _jittered(pause: timedelta) -> timedelta:
    """Give or take half, so that many waiting rows do not come back in step."""
    return pause * random.uniform(0.5, 1.5)  # noqa: S311 - spreads load, guards nothing


def _show_effect(
    cancellation: Cancellation, outcome: CancelAnswer | ProviderError, *, at: datetime
) -> None:
    """
    Bring our copy up to date with what the answer shows; the next listing would do so too.

    For a batch it does: each of hundreds would cost it a fifth of its time.
    """
    is_single = cancellation.batch_id is None
    if is_single and isinstance(outcome, Confirmed) and outcome.appointment is not None:
        store(cancellation.connection, [outcome.appointment], read_at=at)
    if cancellation.scope == Scope.FOLLOWING:
        sync_soon(cancellation.connection)
