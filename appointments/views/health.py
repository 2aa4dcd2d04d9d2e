"""Whether this installation works, for whatever watches it."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from appointments.models import Booking, Cancellation, ConnectionHealth, SyncRun

PATIENCE = timedelta(minutes=3)
"""The worker looks every minute at what is due; what waits longer is looked at by nobody."""


@login_not_required
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """
    Answer 200 if the database is there and the worker keeps up, otherwise 503.

    The worker is judged by its work: nothing that was due minutes ago may still be waiting.
    """
    try:
        waiting = _has_overdue_work()
    except DatabaseError:
        return JsonResponse({"database": "unreachable", "worker": "unknown"}, status=503)
    worker = "late" if waiting else "ok"
    return JsonResponse({"database": "ok", "worker": worker}, status=503 if waiting else 200)


def _has_overdue_work() -> bool:
    limit = timezone.now() - PATIENCE
    return (
        Cancellation.objects.due(limit).exists()
        or Booking.objects.filter(due_at__lte=limit, lease_until__isnull=True).exists()
        or ConnectionHealth.objects.filter(connection__is_active=True, next_sync_at__lte=limit)
        .exclude(connection__sync_runs__outcome=SyncRun.Outcome.RUNNING)
        .exists()
    )
