"""
Whose turn it is at a connection.

Only so many cancellations are under way at one connection at a time, and only as fast as its
provider allows. The others stand back: they are due when their lifetime ends, and whoever finishes
calls in the next, single ones before those of a batch, then the oldest. The sweep calls in too, for
the case that nobody finishes.

A batch pauses at one connection when it goes wrong there several times in a row, until a person
looks; the other connections go on.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from appointments.models import Batch, BatchLane, Cancellation, Connection
from appointments.models.batches import BatchLaneQuerySet
from appointments.models.cancellations import AnswerKind, State
from appointments.services import limits
from appointments.services.queue import CALL_IN, PROCESS_CANCELLATION, wake

COOLING_OFF = "cooling_off"
"""Why a cancellation waits: whoever asked for it may still think again."""
QUEUED = "queued"
"""Why a cancellation waits: others of its connection go first."""
NOT_SENT_MOST = 3
UNKNOWN_MOST = 2
"""So many in a row pause a batch at one connection."""
PAUSED_FOR = timedelta(minutes=30)
"""So long at least a person can let a paused batch go on; after that it is not sent."""
TOO_BUSY = "too_busy"
"""Turned away for longer than anybody waits: each other one would end the same."""


class LaneHeld(Exception):
    """The batch was paused here or stopped meanwhile: nothing more may be sent."""


def may_begin(cancellation: Cancellation, account: Connection, *, now: datetime) -> bool:
    """
    Whether a due *cancellation* may be worked on now; if not, it is told when to come back.

    The caller holds the lock of *account*, so that counting and leasing are one step.
    """
    under_way = Cancellation.objects.in_flight(account, now).count()
    is_busy = under_way >= settings.CANCELS_IN_FLIGHT
    if cancellation.state == State.SENDING:
        return True  # Its worker is gone: that is only written down.
    if cancellation.state != State.REQUESTED:
        # If it is busy, the read stays due, and whoever finishes calls it in first.
        wait = limits.wait_for_work(account, under_way=under_way)
        if wait:
            _of(cancellation).update(due_at=now + wait)
        return not wait and not is_busy
    if now >= cancellation.expires_at or stopped_batch(cancellation) is not None:
        return True
    if is_busy or is_held(cancellation):
        stand_back(cancellation)
        return False
    if wait := limits.wait_for_work(account, under_way=under_way):
        stand_back(cancellation)
        wake(CALL_IN, account.pk, at=now + wait)
        return False
    return True


def stand_back(cancellation: Cancellation) -> None:
    """Wait until called in, at most until the lifetime is over."""
    _of(cancellation).update(
        due_at=cancellation.expires_at, why=QUEUED, lease_key=None, lease_until=None
    )


def call_in(connection_id: int, *, or_later: bool = True) -> None:
    """
    Let those begin who stand back and for whom there is room now.

    If the pace does not allow it yet, come back then; the sweep comes anyway, without *or_later*.
    """
    now = timezone.now()
    here = Cancellation.objects.filter(connection=connection_id, due_at__isnull=False)
    under_way = here.filter(lease_until__gt=now).count()
    room = settings.CANCELS_IN_FLIGHT - under_way
    ready = here.filter(due_at__lte=now, lease_until=None).order_by("due_at")
    for pk, state in list(ready.values_list("pk", "state")[: max(room, 0)]):
        room -= 1
        # Whoever is called in has been woken. A read has to be woken again, and goes first: an
        # outcome that nobody knows must not wait until a batch is over.
        if state != State.REQUESTED:
            wake(PROCESS_CANCELLATION, pk)
    if room <= 0:
        return
    waiting = here.filter(
        ~BatchLane.objects.of_cancellation(),
        state=State.REQUESTED,
        why=QUEUED,
        lease_until=None,
        requested_at__lte=now - settings.COOLING_OFF,
    ).order_by(F("batch").asc(nulls_first=True), "requested_at", "pk")
    called = list(waiting.values_list("pk", flat=True)[:room])
    if not called:
        return
    account = Connection.objects.get(pk=connection_id)
    if wait := limits.wait_for_work(account, under_way=under_way):
        if or_later:
            wake(CALL_IN, connection_id, at=now + wait)
        return
    for pk in called:
        if here.filter(pk=pk, state=State.REQUESTED, why=QUEUED).update(due_at=now, why=""):
            wake(PROCESS_CANCELLATION, pk)


def connections_with_waiting() -> list[int]:
    """Connections at which somebody stands back."""
    waiting = Cancellation.objects.filter(due_at__isnull=False, state=State.REQUESTED, why=QUEUED)
    return list(waiting.values_list("connection", flat=True).distinct().order_by())


def _of(cancellation: Cancellation) -> QuerySet[Cancellation]:
    return Cancellation.objects.filter(pk=cancellation.pk, state=cancellation.state)


# --- pausing ----------------------------------------------------------------------------------


def is_held(cancellation: Cancellation) -> bool:
    """Whether *cancellation* belongs to a batch that may send nothing at its connection now."""
    return cancellation.batch_id is not None and _lane(cancellation).held().exists()


def stopped_batch(cancellation: Cancellation) -> Batch | None:
    """The batch of *cancellation* if somebody had stopped it for good when it was leased."""
    batch = cancellation.batch
    return batch if batch is not None and batch.stopped_at is not None else None


def note(cancellation: Cancellation, kind: AnswerKind, *, why: str = "") -> None:
    """
    Count how a cancellation of a batch went, and pause its lane if that was once too often.

    Where there is an answer, it belongs into the commit that stores it.
    """
    if cancellation.batch_id is None:
        return
    if kind is AnswerKind.LIMITED and why not in (TOO_BUSY, *_FOR_ALL):
        return  # The whole connection waits, as its provider asked.
    with transaction.atomic():
        lane = _lane(cancellation).select_for_update().get()
        match kind:
            case AnswerKind.NOT_SENT:
                lane.not_sent_running += 1
            case AnswerKind.UNKNOWN:
                lane.unknown_running += 1
            case AnswerKind.LIMITED:
                pass
            case _:
                lane.not_sent_running = lane.unknown_running = 0
        if lane.paused_at is None and (reason := _reason_to_pause(lane, kind, why=why)):
            lane.pause(reason, at=timezone.now())
            _give_time(cancellation, now=timezone.now())
        lane.save()


def _give_time(cancellation: Cancellation, *, now: datetime) -> None:
    """Those that wait behind a pause outlast the reads that tell what became of the others."""
    ends = now + PAUSED_FOR
    waiting = Cancellation.objects.filter(
        batch=cancellation.batch_id,
        connection=cancellation.connection_id,
        state=State.REQUESTED,
        unknown_since=None,
        expires_at__lt=ends,
    ).exclude(pk=cancellation.pk)
    waiting.filter(why=QUEUED).update(due_at=ends)
    waiting.update(expires_at=ends)


def _reason_to_pause(lane: BatchLane, kind: AnswerKind, *, why: str) -> str:
    if why == TOO_BUSY:
        return "busy"
    if kind in (AnswerKind.REFUSED, AnswerKind.LIMITED) and why in _FOR_ALL:
        return "refused"
    if lane.unknown_running >= UNKNOWN_MOST:
        return "unknown"
    return "not_sent" if lane.not_sent_running >= NOT_SENT_MOST else ""


_FOR_ALL = frozenset({"credentials", "permission", "access_denied", "cannot_decrypt", "quota"})
"""Refusals that every other request of this connection would meet too."""


def _lane(cancellation: Cancellation) -> BatchLaneQuerySet:
    return BatchLane.objects.filter(
        batch=cancellation.batch_id, connection=cancellation.connection_id
    )
