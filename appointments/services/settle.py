"""
What a person can do about a cancellation whose outcome is unknown.

Reading again is harmless. Sending again and settling by hand are verdicts: they take a named person
with a reason, and the quiet period must be over, so that no earlier request can still take effect.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils import timezone

from appointments.models import Cancellation
from appointments.models.cancellations import Event, IllegalTransition, State
from appointments.services.cancel import LIFETIME
from appointments.services.effect import lock_appointment, take_effect
from appointments.services.lanes import stopped_batch
from appointments.services.queue import PROCESS_CANCELLATION, wake
from appointments.services.reconcile import QUIET, last_call_ended_at


class Verdict(StrEnum):
    """What somebody found out outside the portal."""

    CANCELLED = "judged_cancelled"
    STILL_BOOKED = "judged_still_booked"


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


def quiet_from(cancellation: Cancellation) -> datetime:
    """From when on no earlier request can take effect any more."""
    return last_call_ended_at(cancellation) + QUIET


def may_settle(cancellation: Cancellation) -> bool:
    """Whether a verdict may be given now."""
    return cancellation.state == State.NEEDS_HUMAN and timezone.now() >= quiet_from(cancellation)


def may_send_again(cancellation: Cancellation) -> bool:
    """Whether the last read showed it booked, with no request under way any more."""
    # Of a batch that was stopped nothing leaves any more, whoever asks for it.
    is_open = may_settle(cancellation) and cancellation.why == "still_booked"
    return is_open and stopped_batch(cancellation) is None


def settle_by_hand(
    cancellation: Cancellation, *, by: User, verdict: Verdict, reason: str
) -> Cancellation:
    """
    Close *cancellation* with the verdict of a named person; unchanged if that is not possible now.

    Raises:
        PermissionDenied: *by* may not settle; nothing was recorded.
    """
    _check(by)
    if not may_settle(cancellation):
        return cancellation
    try:
        with transaction.atomic():
            lock_appointment(cancellation)
            cancellation.apply(Event.SETTLED_BY_HAND, why=verdict, by=by, detail=reason)
            if verdict is Verdict.CANCELLED:
                take_effect(cancellation, at=timezone.now())
    except IllegalTransition:
        cancellation.refresh_from_db()
    return cancellation


def send_again(cancellation: Cancellation, *, by: User, reason: str) -> Cancellation:
    """
    Have it sent once more, on the word of a named person; unchanged if that is not possible now.

    The worker reads before it sends, as always, and the intent gets a new lifetime.

    Raises:
        PermissionDenied: *by* may not settle, or may not cancel; nothing was recorded.
    """
    _check(by)
    if not may_send_again(cancellation):
        return cancellation
    now = timezone.now()
    try:
        cancellation.apply(
            Event.SENT_AGAIN,
            by=by,
            detail=reason,
            due_at=now,
            expires_at=now + LIFETIME,
            tries=0,
            failed_looks=0,
        )
    except IllegalTransition:
        cancellation.refresh_from_db()
    else:
        wake(PROCESS_CANCELLATION, cancellation.pk)
    return cancellation


def _check(by: User) -> None:
    wanted = ("appointments.settle_cancellation", "appointments.cancel_appointment")
    if not by.has_perms(wanted):
        raise PermissionDenied
