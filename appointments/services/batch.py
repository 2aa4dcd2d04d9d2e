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
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from uuid import UUID, uuid4

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from appointments.domain import Scope
from appointments.models import (
    Appointment,
    Batch,
    BatchLane,
    Booking,
    Cancellation,
    CancellationEvent,
    ConcernedPerson,
    Connection,
)
from appointments.models.cancellations import (
    DONE,
    FAILED,
    OPEN,
    UNSETTLED,
    Event,
    IllegalTransition,
    State,
    Verdict,
)
from appointments.services import lanes, limits
from appointments.services.cancel import (
    LIFETIME,
    ConflictKind,
    Wish,
    asked,
    concerned,
    conflict_in,
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
LATEST = 5
"""Batches to which the activity leads back."""
EMAIL_MISSING = "email_missing"
OVER = "over"
NOTHING: Mapping[int, str] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Line:
    """One chosen appointment, as the review shows it."""

    appointment: Appointment
    excluded: str = ""
    """Code of why it cannot be cancelled in a batch; empty if it can."""


def chosen(pks: Iterable[int]) -> list[Appointment]:
    """Those of *pks* that exist, in list order, at most `MOST`."""
    rows = Appointment.objects.filter(pk__in=list(pks)).select_related("connection__health")
    return list(rows.prefetch_related("attendees").in_order()[:MOST])


def review(rows: Sequence[Appointment], *, versions: Mapping[int, str] = NOTHING) -> list[Line]:
    """
    What can be asked for and what cannot. Nothing is recorded.

    *versions*: what a review before this one showed; whatever changed since is left out.
    """
    is_open = _open_ones(rows)
    return [
        Line(
            appointment=row,
            excluded=_why_not(row, version=versions.get(row.pk, row.version), is_open=is_open),
        )
        for row in rows
    ]


def lifetime(counts: Mapping[Connection, int]) -> timedelta:
    """How long something may be sent of a batch with *counts* appointments at each connection."""
    return max(
        _lifetime(connection, _waiting_at(connection) + count)
        for connection, count in counts.items()
    )


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
        if (same := Batch.objects.filter(form_key=form_key).first()) is None:
            raise
        return same
    return batch


def _record(batch: Batch, versions: Mapping[int, str]) -> None:
    # Locks first, then questions, and always in the same order: two batches at once wait here.
    wanted = Appointment.objects.filter(pk__in=versions)
    accounts = Connection.objects.filter(pk__in=wanted.values("connection")).order_by("pk")
    # Not the keys, which every new row that refers to an account locks for itself.
    places = {one.pk: _waiting_at(one) for one in accounts.select_for_update(no_key=True)}
    rows = (
        Appointment.objects.select_for_update(of=("self",))
        .select_related("connection")
        .prefetch_related("attendees")
        .order_by("pk")
    )
    locked = sorted(rows.filter(pk__in=versions), key=lambda one: (one.sorts_at, one.pk))
    is_open = _open_ones(locked)
    intents: list[Cancellation] = []
    for row in locked:
        if why := _why_not(row, version=versions[row.pk], is_open=is_open):
            batch.excluded.append({"appointment": row.pk, "why": why})
            continue
        places[row.connection_id] += 1
        intents.append(_intent(batch, row, place=places[row.connection_id]))
    lanes_of = {one.connection_id for one in intents}
    BatchLane.objects.bulk_create(BatchLane(batch=batch, connection_id=pk) for pk in lanes_of)
    Cancellation.objects.bulk_create(intents)
    CancellationEvent.objects.bulk_create(asked(one) for one in intents)
    ConcernedPerson.objects.bulk_create(person for one in intents for person in concerned(one))
    batch.save(update_fields=("excluded",))
    for pk in lanes_of:
        wake(CALL_IN, pk, at=batch.requested_at + settings.COOLING_OFF)


def _waiting_at(connection: Connection) -> int:
    """Cancellations that have their turn at *connection* before a new one."""
    waiting = Cancellation.objects.filter(
        connection=connection, due_at__isnull=False, state=State.REQUESTED
    )
    return waiting.count()


def _open_ones(rows: Iterable[Appointment]) -> dict[int, ConflictKind]:
    """What is open of which of *rows*, by their keys, in two questions for all."""
    keys = [one.pk for one in rows]
    changed = Booking.objects.open().changes().filter(appointment__in=keys)
    cancelled = Cancellation.objects.open().filter(appointment__in=keys)
    return {
        **dict.fromkeys(changed.values_list("appointment", flat=True), ConflictKind.CHANGE_OPEN),
        **dict.fromkeys(cancelled.values_list("appointment", flat=True), ConflictKind.ALREADY_OPEN),
    }


def _intent(batch: Batch, row: Appointment, *, place: int) -> Cancellation:
    wish = Wish(reason=batch.reason, note=batch.note, email=_email(row))
    one = intent(row, by=batch.requested_by, wish=wish, form_key=uuid4(), now=batch.requested_at)
    one.batch = batch
    one.expires_at = batch.requested_at + settings.COOLING_OFF + _lifetime(row.connection, place)
    one.due_at, one.why = one.expires_at, lanes.QUEUED
    return one


def _email(row: Appointment) -> str:
    if not row.capabilities.needs_email:
        return ""
    return next((one.email for one in row.attendees.all() if one.email), "")


def _why_not(row: Appointment, *, version: str, is_open: Mapping[int, ConflictKind]) -> str:
    if row.pk in is_open:
        return is_open[row.pk]
    if (conflict := conflict_in(row, scope=Scope.WHOLE, version=version)) is not None:
        return conflict.kind
    return EMAIL_MISSING if row.capabilities.needs_email and not _email(row) else ""


def _lifetime(connection: Connection, place: int) -> timedelta:
    """Lifetime of the *place*-th of a connection, which may begin only under its pace."""
    turn = max(limits.Pace.of(connection).interval * limits.WORK_COSTS, SHORTEST_TURN)
    return min(LIFETIME + turn * (place - 1), LONGEST)


# --- while it runs ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a batch, or one connection's part of it, stands."""

    counts: Mapping[State, int]
    contradicted: int = 0
    """Cancelled as staff were told, and listed as booked since."""
    judged: Mapping[str, int] = field(default_factory=dict)
    """Settled by hand, by what was found out."""

    @classmethod
    def of(cls, cancellations: Iterable[tuple[str, str, datetime | None]]) -> Progress:
        """*cancellations*: state and cause of each, and since when it is contradicted."""
        found = list(cancellations)
        return cls(
            counts=Counter(State(state) for state, *_ in found),
            contradicted=sum(since is not None for *_, since in found),
            judged=Counter(why for state, why, _ in found if state == State.SETTLED),
        )

    @property
    def done(self) -> int:
        """Cancelled, as the provider said or showed."""
        return sum(self.counts.get(state, 0) for state in DONE)

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
    def failed(self) -> int:
        """Certainly not cancelled, though nobody wanted it back."""
        still_booked = self.judged.get(Verdict.STILL_BOOKED, 0)
        return still_booked + sum(self.counts.get(state, 0) for state in FAILED)

    @property
    def judged_cancelled(self) -> int:
        """Cancelled as a person found out; no provider said so."""
        return self.judged.get(Verdict.CANCELLED, 0)

    @property
    def for_people(self) -> int:
        """Those of the unclear ones that reading does not settle any more."""
        return self.counts.get(State.NEEDS_HUMAN, 0)

    @property
    def is_moving(self) -> bool:
        """Whether something is still to be sent, or on its way."""
        return bool(self.waiting or self.counts.get(State.SENDING, 0))

    @property
    def unclear(self) -> int:
        """Outcomes that nobody knows: as long as there is one, nothing is "all done"."""
        return sum(self.counts.get(state, 0) for state in UNSETTLED)

    @property
    def is_over(self) -> bool:
        """Whether each has its final outcome."""
        return self.ended == self.total


def running() -> list[Batch]:
    """Batches of which something is still to be sent or on its way, the newest first."""
    moving = Cancellation.objects.filter(
        due_at__isnull=False, batch__isnull=False, state__in=(State.REQUESTED, State.SENDING)
    )
    rows = Batch.objects.filter(pk__in=moving.values("batch"))
    return list(rows.select_related("requested_by"))


def waiting_for_somebody() -> list[BatchLane]:
    """Where a batch is paused with something still to be sent, until a person lets it go on."""
    waiting = Cancellation.objects.filter(
        state=State.REQUESTED,
        due_at__isnull=False,
        batch=OuterRef("batch"),
        connection=OuterRef("connection"),
    )
    paused = BatchLane.objects.paused().filter(Exists(waiting), batch__stopped_at=None)
    return list(paused.select_related("batch__requested_by", "connection"))


def has_unclear(lane: BatchLane) -> bool:
    """Whether nobody knows yet what became of one that was sent from *lane*."""
    sent = Cancellation.objects.filter(batch=lane.batch_id, connection=lane.connection_id)
    return sent.unsettled().exists()


def latest() -> list[tuple[Batch, Progress]]:
    """The newest batches, and how far they are."""
    newest = Batch.objects.select_related("requested_by")[:LATEST]
    return [(one, progress(one)) for one in newest]


def progress(batch: Batch) -> Progress:
    return Progress.of(
        batch.cancellations.values_list("state", "why", "contradicted_at").order_by()
    )


def stop(batch: Batch, *, by: User) -> None:
    """
    Take back all that has not been sent; what is being sent at this moment still gets its outcome.

    Raises:
        PermissionDenied: *by* may not cancel; nothing was changed.
    """
    _check(by)
    # From this commit on nothing more is claimed, whatever becomes of us.
    stopped = Batch.objects.filter(pk=batch.pk, stopped_at=None)
    stopped.update(stopped_at=timezone.now(), stopped_by=by)
    finish_stops()


def finish_stops() -> None:
    """
    Take back what has not been sent of stopped batches.

    One short transaction each: a worker that is about to claim one must not wait for all of them.
    The sweep does it too, for a stop in the middle of which somebody was killed.
    """
    left = Cancellation.objects.filter(
        due_at__isnull=False, state=State.REQUESTED, batch__stopped_at__isnull=False
    ).filter(Q(lease_until=None) | Q(lease_until__lte=timezone.now()))
    for one in left.select_related("batch__stopped_by").order_by("-due_at", "-pk"):
        assert one.batch is not None  # noqa: S101 - asked for above
        # Illegal if somebody else was faster.
        with suppress(IllegalTransition):
            one.apply(
                Event.TAKEN_BACK, due_at=timezone.now(), why="taken_back", by=one.batch.stopped_by
            )


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
            ends = now + _lifetime(connection, place)
            waiting.filter(pk=one.pk).update(expires_at=ends)
            waiting.filter(pk=one.pk, why=lanes.QUEUED).update(due_at=ends)
        wake(CALL_IN, connection.pk)


def _check(by: User) -> None:
    if not by.has_perm("appointments.cancel_appointment"):
        raise PermissionDenied
