"""Whether this installation works, for whatever watches it."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from appointments.models import Booking, Cancellation, WorkerPulse

PATIENCE = timedelta(minutes=3)
"""The worker looks every minute at what is due; what waits longer is looked at by nobody."""


@login_not_required
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """
    Answer 200 if the database is there and a worker is alive and keeps up, otherwise 503.

    A worker that breathes but does nothing counts as late: what was due minutes ago may not wait.
    """
    try:
        worker = _worker()
    except DatabaseError:
        return JsonResponse({"database": "unreachable", "worker": "unknown"}, status=503)
    return JsonResponse({"database": "ok", "worker": worker}, status=200 if worker == "ok" else 503)


def _worker() -> str:
    if WorkerPulse.is_silent():
        return "silent"
    limit = timezone.now() - PATIENCE
    is_late = (
        Cancellation.objects.due(limit).exists()
        or Booking.objects.filter(due_at__lte=limit, lease_until__isnull=True).exists()
    )
    return "late" if is_late else "ok"
