"""Finding what is due and nobody was woken for."""

from __future__ import annotations

from django.db.models import Q
from django.utils import timezone

from appointments.models import Booking, Cancellation
from appointments.services import sync
from appointments.services.queue import (
    PROCESS_BOOKING,
    PROCESS_CANCELLATION,
    SYNC_CONNECTION,
    wake,
)

MOST = 500


def sweep() -> None:
    """
    Wake the worker for all that is due.

    The ledger is the queue: whatever a lost task left behind is found here within a minute.
    """
    now = timezone.now()
    for pk in Cancellation.objects.due(now).order_by("due_at").values_list("pk", flat=True)[:MOST]:
        wake(PROCESS_CANCELLATION, pk)
    free = Q(lease_until__isnull=True) | Q(lease_until__lte=now)
    bookings = Booking.objects.filter(free, due_at__lte=now).order_by("due_at")
    for pk in bookings.values_list("pk", flat=True)[:MOST]:
        wake(PROCESS_BOOKING, pk)
    for connection in sync.due_connections(now):
        wake(SYNC_CONNECTION, connection.pk)
