"""
Settling what is unknown, by reading.

Nothing is sent from here. A read that shows the booking cancelled confirms it. A read that still
shows it proves nothing until the quiet period is over, because the request may be under way; then
a person decides. Only where a repeat is harmless, and only once and within the intent's lifetime,
the worker is told to send again.
"""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from appointments.domain import BookedAppointment, Facts, ProviderError
from appointments.models import Cancellation
from appointments.models.cancellations import AnswerKind, Event, State
from appointments.services import limits
from appointments.services.cancel import LIFETIME
from appointments.services.effect import has_left, lock_appointment, take_effect, why_left
from appointments.services.lanes import is_held
from appointments.services.limits import Urgency
from appointments.services.queue import PROCESS_CANCELLATION, wake
from appointments.services.records import store

READ_AT = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=5),
    timedelta(minutes=15),
)
"""When an unknown outcome is read, after it became unknown; then every quarter of an hour."""
AFTERWARDS = timedelta(minutes=15)
QUIET = timedelta(minutes=15)
"""Assumed: no request takes effect later than this after its call ended."""
UNREADABLE_FOR = timedelta(minutes=30)
LONGEST_CALL = timedelta(seconds=60)
REPEATS = 1


def next_read(cancellation: Cancellation) -> datetime:
    return planned_read(last_call_ended_at(cancellation))


def planned_read(since: datetime) -> datetime:
    """
    The next of the times at which something that is unknown *since* then is read.

    They do not depend on how often it was read: whoever asks for a read in between does not push
    the planned ones away.
    """
    now = timezone.now()
    planned = (since + after for after in READ_AT)
    return next((when for when in planned if when > now), now + AFTERWARDS)


def become_unknown(cancellation: Cancellation, event: Event, *, why: str) -> None:
    """A call may have been carried out: from now on only reads can tell."""
    due_at = timezone.now() + READ_AT[0]
    cancellation.apply(event, held=cancellation.lease_key, due_at=due_at, why=why)
    wake(PROCESS_CANCELLATION, cancellation.pk, at=due_at)


def read(cancellation: Cancellation) -> None:
    """Read the provider once for an unsettled *cancellation* and draw the conclusion."""
    if cancellation.calls.filter(answer__kind=AnswerKind.OK).exists():
        # The answer came after the lease had run out: it is the provider's word all the same.
        _confirm(cancellation, why="answered_late")
        return
    client = limits.client(cancellation.connection, Urgency.WORK)
    read_at = timezone.now()
    with closing(client.http):
        try:
            seen = client.read(cancellation.appointment.ref())
        except ProviderError:
            could_not_read(cancellation)
            return
    if seen is None:
        _gone(cancellation)
        return
    store(cancellation.connection, [seen], read_at=read_at)
    if has_left(cancellation.scope, cancellation.attendee_external_id, seen):
        _confirm(cancellation, why=why_left(cancellation, seen, why="seen_cancelled"))
        return
    _still_there(cancellation, seen)


def _confirm(cancellation: Cancellation, *, why: str) -> None:
    with transaction.atomic():
        lock_appointment(cancellation)
        cancellation.apply(Event.FOUND_CANCELLED, held=cancellation.lease_key, why=why)
        take_effect(cancellation, at=timezone.now())


def could_not_read(cancellation: Cancellation) -> None:
    """No read today says nothing; after half an hour without one a person has to find out."""
    now = timezone.now()
    until = (cancellation.unknown_since or now) + UNREADABLE_FOR
    if cancellation.state == State.UNKNOWN and now >= until:
        _hand_over(cancellation, Event.HANDED_OVER, why="unreadable")
        return
    # The planned reads count from the call, which may be long over when its loss is noticed.
    _read_later(cancellation, at_latest=until if now < until else None)


def _gone(cancellation: Cancellation) -> None:
    """No longer shown at all: probably cancelled, which is for a person to judge."""
    if cancellation.state == State.UNKNOWN:
        _hand_over(cancellation, Event.FOUND_GONE, why="probably_cancelled")
        return
    _read_later(cancellation, why="probably_cancelled")


def _still_there(cancellation: Cancellation, seen: BookedAppointment) -> None:
    if cancellation.state != State.UNKNOWN:
        _read_later(cancellation, why="still_booked")
        return
    if _may_repeat(cancellation, seen):
        cancellation.apply(
            Event.REPEAT_IS_DUE,
            held=cancellation.lease_key,
            due_at=timezone.now(),
            why="repeat",
            repeats=cancellation.repeats + 1,
            # One of a batch may have hours left; but whoever waits for an outcome has not.
            expires_at=min(cancellation.expires_at, timezone.now() + LIFETIME),
            tries=0,
        )
        wake(PROCESS_CANCELLATION, cancellation.pk)
        return
    if timezone.now() >= last_call_ended_at(cancellation) + QUIET:
        _hand_over(cancellation, Event.HANDED_OVER, why="still_booked")
        return
    _read_later(cancellation)


def _may_repeat(cancellation: Cancellation, seen: BookedAppointment) -> bool:
    return (
        cancellation.connection.capabilities.repeat_is_safe
        and cancellation.repeats < REPEATS
        and not is_held(cancellation)
        and timezone.now() < cancellation.expires_at
        and seen.is_live
        and not cancellation.facts.changes(Facts.of(seen))
        and _is_unheard(cancellation)
    )


def _is_unheard(cancellation: Cancellation) -> bool:
    """Whether it is unknown over a lost answer, and nobody took it back or said no since."""
    last = cancellation.events.filter(after=State.UNKNOWN).last()
    return last is not None and last.event in (Event.UNCLEAR, Event.LEASE_EXPIRED)


def last_call_ended_at(cancellation: Cancellation) -> datetime:
    """When the last request can have stopped travelling."""
    call = cancellation.calls.select_related("answer").last()
    if call is None:
        return cancellation.requested_at
    answer = getattr(call, "answer", None)
    return answer.answered_at if answer is not None else call.started_at + LONGEST_CALL


def _hand_over(cancellation: Cancellation, event: Event, *, why: str) -> None:
    cancellation.apply(
        event, held=cancellation.lease_key, due_at=timezone.now() + AFTERWARDS, why=why
    )


def _read_later(
    cancellation: Cancellation, *, why: str = "", at_latest: datetime | None = None
) -> None:
    """Read again at the next step; *why* replaces what is said of it until then."""
    due_at = next_read(cancellation)
    if at_latest is not None:
        due_at = min(due_at, at_latest)
    Cancellation.objects.filter(pk=cancellation.pk, state=cancellation.state).update(
        due_at=due_at, why=why or cancellation.why
    )
    wake(PROCESS_CANCELLATION, cancellation.pk, at=due_at)
