"""Finding what is due and nobody was woken for."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from appointments.domain import Scope
from appointments.models import Booking, Cancellation
from appointments.models.cancellations import DONE
from appointments.services import batch, lanes, sync
from appointments.services.queue import (
    PROCESS_BOOKING,
    PROCESS_CANCELLATION,
    SYNC_CONNECTION,
    TRACE_LATER_ONES,
    wake,
)

MOST = 500
TRACED_WITHIN = timedelta(hours=1)


def sweep() -> None:
    """
    Wake the worker for all that is due.

    The ledger is the queue: whatever a lost task left behind is found here within a minute.
    """
    now = timezone.now()
    for pk in Cancellation.objects.due(now).order_by("due_at").values_list("pk", flat=True)[:MOST]:
        wake(PROCESS_CANCELLATION, pk)
    for connection_id in lanes.connections_with_waiting():
        lanes.call_in(connection_id, or_later=False)
    batch.finish_stops()
    bookings = Booking.objects.due(now).order_by("due_at")
    for pk in bookings.values_list("pk", flat=True)[:MOST]:
        wake(PROCESS_BOOKING, pk)
    untraced = Cancellation.objects.filter(
        state__in=DONE,
        scope=Scope.FOLLOWING,
        later_ones__isnull=True,
        settled_at__gt=now - TRACED_WITHIN,
    )
    for pk in untraced.values_list("pk", flat=True)[:MOST]:
        wake(TRACE_LATER_ONES, pk)
    for connection in sync.due_connections(now):
        wake(SYNC_CONNECTION, connection.pk)
