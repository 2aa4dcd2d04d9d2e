"""What a person can do about a cancellation whose outcome is unknown."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from appointments.models import Cancellation
from appointments.services.queue import PROCESS_CANCELLATION, wake


def read_again(cancellation: Cancellation, *, by: User) -> None:
    """
    Have the worker read the provider now. Sends nothing that changes anything.

    A click while a read is due or under way asks for nothing new.
    """
    if not by.has_perm("appointments.cancel_appointment"):
        raise PermissionDenied
    now = timezone.now()
    waiting = Cancellation.objects.unsettled().filter(
        pk=cancellation.pk, due_at__gt=now, lease_until=None
    )
    if waiting.update(due_at=now):
        wake(PROCESS_CANCELLATION, cancellation.pk)
