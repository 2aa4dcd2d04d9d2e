"""
Cancelling many appointments at once.

A batch is nothing but one intent each, recorded together: each is looked at, claimed, sent and
settled like any other, so a crash in the middle resumes as always. What cannot be asked for is left
out beforehand and named with the reason. At each connection the batch goes at the pace that its
provider allows, and pauses there alone when it goes wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.utils import timezone

from appointments.domain import Scope
from appointments.models import (
    Appointment,
    Batch,
    BatchLane,
    Cancellation,
    CancellationEvent,
    ConcernedPerson,
    Connection,
)
from appointments.models.cancellations import OPEN, Event, IllegalTransition, State
from appointments.services import lanes, limits
from appointments.services.cancel import (
    LIFETIME,
    Wish,
    asked,
    concerned,
    conflict_of,
    intent,
)
from appointments.services.queue import CALL_IN, wake

MOST = 500
"""Appointments of one batch."""
TYPED_ABOVE = 10
"""With more than this, the number has to be typed before anything is recorded."""
LONGEST = timedelta(hours=2)
"""However slow a provider must be asked: after this nothing more is sent."""
SHORTEST_TURN = timedelta(seconds=2.5)
"""What each appointment adds to the lifetime of those behind it, at least."""
EMAIL_MISSING = "email_missing"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One chosen appointment, as the review shows it."""

    appointment: Appointment
    excluded: str = ""
    """Code of why it cannot be cancelled in a batch; empty if it can."""


def chosen(pks: Iterable[int]) -> list[Appointment]:
    """Those of *pks* that exist, in list order, at most `MOST`."""
    rows = Appointment.objects.filter(pk__in=list(pks)).select_related("connection")
    return list(rows.prefetch_related("attendees").in_order()[:MOST])


def review(rows: Sequence[Appointment]) -> list[Line]:
    """What can be asked for and what cannot. Nothing is recorded."""
    return [Line(appointment=row, excluded=_why_not(row, version=row.version)) for row in rows]


def lifetime_ends(counts: Mapping[Connection, int], *, now: datetime) -> datetime:
    """When nothing more is sent of a batch with *counts* appointments at each connection."""
    return max(_expires(connection, count, now=now) for connection, count in counts.items())


def ask_for_batch(
    versions: Mapping[int, str], *, by: User, reason: str = "", note: str = "", form_key: UUID
) -> Batch:
    """
    Record the intent to cancel each whole appointment of *versions* and wake the worker.

    *versions* holds the version that was reviewed for each appointment's key. What changed since,
    or cannot be cancelled, is left out and named in `Batch.excluded`. The same *form_key* again is
    the same batch.

    Raises:
        PermissionDenied: *by* may not cancel; nothing was recorded.
        ValueError: a caller's bug: nothing is chosen, or too much.
    """
    if not by.has_perm("appointments.cancel_appointment"):
        raise PermissionDenied
    if not 0 < len(versions) <= MOST:
        raise ValueError(f"a batch has 1 to {MOST} appointments")
    if (same := Batch.objects.filter(form_key=form_key).first()) is not None:
        return same
    try:
        with transaction.atomic():
            batch = Batch.objects.create(
                form_key=form_key,
                requested_by=by,
                requested_at=timezone.now(),
                reason=reason,
                note=note,
            )
            _record(batch, versions)
    except IntegrityError:
        # Two requests at once, and a constraint let one through.
        return Batch.objects.get(form_key=form_key)
    return batch


def _record(batch: Batch, versions: Mapping[int, str]) -> None:
    # Locks first, then questions, and always in the same order: two batches at once wait here.
    wanted = Appointment.objects.filter(pk__in=versions)
    accounts = Connection.objects.filter(pk__in=wanted.values("connection")).order_by("pk")
    list(accounts.select_for_update())
    rows = (
        Appointment.objects.select_for_update(of=("self",))
        .select_related("connection")
        .prefetch_related("attendees")
        .order_by("pk")
    )
    intents: list[Cancellation] = []
    places: Counter[Connection] = Counter()
    for row in sorted(rows.filter(pk__in=versions), key=lambda one: (one.sorts_at, one.pk)):
        if why := _why_not(row, version=versions[row.pk]):
            batch.excluded.append({"appointment": row.pk, "why": why})
            continue
        places[row.connection] += 1
        intents.append(_intent(batch, row, place=places[row.connection]))
    BatchLane.objects.bulk_create(
        BatchLane(batch=batch, connection=connection) for connection in places
    )
    Cancellation.objects.bulk_create(intents)
    CancellationEvent.objects.bulk_create(asked(one) for one in intents)
    ConcernedPerson.objects.bulk_create(person for one in intents for person in concerned(one))
    batch.save(update_fields=("excluded",))
    for connection in places:
        wake(CALL_IN, connection.pk)


def _intent(batch: Batch, row: Appointment, *, place: int) -> Cancellation:
    wish = Wish(reason=batch.reason, note=batch.note, email=_email(row))
    one = intent(row, by=batch.requested_by, wish=wish, form_key=uuid4(), now=batch.requested_at)
    one.batch = batch
    one.expires_at = _expires(row.connection, place, now=batch.requested_at)
    one.due_at, one.why = one.expires_at, lanes.QUEUED
    return one


def _email(row: Appointment) -> str:
    if not row.capabilities.needs_email:
        return ""
    return next((one.email for one in row.attendees.all() if one.email), "")


def _why_not(row: Appointment, *, version: str) -> str:
    if (conflict := conflict_of(row, scope=Scope.WHOLE, version=version)) is not None:
        return conflict.kind
    return EMAIL_MISSING if row.capabilities.needs_email and not _email(row) else ""


def _expires(connection: Connection, place: int, *, now: datetime) -> datetime:
    """Lifetime from when the *place*-th of a connection may begin under its pace."""
    turn = max(limits.Pace.of(connection).interval * limits.WORK_COSTS, SHORTEST_TURN)
    return now + min(LIFETIME + turn * (place - 1), LONGEST)


# --- while it runs ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a batch, or one connection's part of it, stands."""

    counts: Mapping[State, int]

    @classmethod
    def of(cls, states: Iterable[str]) -> Progress:
        return cls(counts=Counter(State(one) for one in states))

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def ended(self) -> int:
        return self.total - sum(self.counts.get(state, 0) for state in OPEN)

    @property
    def waiting(self) -> int:
        return self.counts.get(State.REQUESTED, 0)

    @property
    def unclear(self) -> int:
        """Outcomes that nobody knows: as long as there is one, nothing is "all done"."""
        return self.counts.get(State.UNKNOWN, 0) + self.counts.get(State.NEEDS_HUMAN, 0)

    @property
    def is_over(self) -> bool:
        """Whether each has its final outcome."""
        return self.ended == self.total


def running() -> list[Batch]:
    """Batches of which an outcome is still open, the newest first."""
    still_open = Cancellation.objects.filter(due_at__isnull=False, batch__isnull=False)
    rows = Batch.objects.filter(pk__in=still_open.values("batch"))
    return list(rows.select_related("requested_by"))


def progress(batch: Batch) -> Progress:
    return Progress.of(batch.cancellations.values_list("state", flat=True).order_by())


def stop(batch: Batch, *, by: User) -> None:
    """
    Take back all that has not been sent; what is being sent at this moment still gets its outcome.

    Raises:
        PermissionDenied: *by* may not cancel; nothing was changed.
    """
    _check(by)
    now = timezone.now()
    Batch.objects.filter(pk=batch.pk, stopped_at=None).update(stopped_at=now, stopped_by=by)
    # One short transaction each: a worker that is about to claim one must not be kept waiting
    # for all of them, and finds its own taken back.
    for one in batch.cancellations.filter(state=State.REQUESTED).order_by("-due_at", "-pk"):
        _take_back(one, by=by, now=now)


def _take_back(cancellation: Cancellation, *, by: User, now: datetime) -> None:
    # Illegal if it was claimed a moment ago: then its outcome will be known.
    with suppress(IllegalTransition):
        cancellation.apply(Event.TAKEN_BACK, due_at=now, why="taken_back", by=by)


def resume(batch: Batch, connection: Connection, *, by: User) -> None:
    """
    Go on where *batch* was paused at *connection*.

    Those that still wait get a new lifetime, since a person just asked for them again.

    Raises:
        PermissionDenied: *by* may not cancel; nothing was changed.
    """
    _check(by)
    now = timezone.now()
    with transaction.atomic():
        lane = (
            BatchLane.objects.paused()
            .select_for_update()
            .filter(batch=batch, connection=connection)
            .first()
        )
        if lane is None:
            return
        lane.go_on(by=by, at=now)
        lane.save()
        waiting = batch.cancellations.filter(
            connection=connection, state=State.REQUESTED, unknown_since=None
        )
        for place, one in enumerate(waiting.order_by("requested_at", "pk"), start=1):
            ends = _expires(connection, place, now=now)
            waiting.filter(pk=one.pk).update(expires_at=ends)
            waiting.filter(pk=one.pk, why=lanes.QUEUED).update(due_at=ends)
        wake(CALL_IN, connection.pk)


def _check(by: User) -> None:
    if not by.has_perm("appointments.cancel_appointment"):
        raise PermissionDenied
