"""
The fresh read while a cancel dialog is open.

A courtesy, not a guard: the worker reads again before it sends. So it is quick or not at all: three
seconds, a few at a time, and none while the connection is failing.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from threading import BoundedSemaphore

from django.utils import timezone

from appointments.domain import Change, Facts, ProviderError, Status
from appointments.models import Appointment
from appointments.models.secrets import CannotDecrypt
from appointments.providers.base import Provider
from appointments.providers.transport import within
from appointments.services import limits
from appointments.services.facts import facts_of
from appointments.services.limits import Urgency
from appointments.services.records import store

PATIENCE = 3.0
"""Seconds, for all requests of one look together."""

_at_once = BoundedSemaphore(4)


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a fresh read showed."""

    appointment: Appointment
    """As it is in our copy now."""
    ok: bool = True
    why: str = ""
    changes: tuple[Change, ...] = ()
    """What this read found moved."""
    outdated: bool = False
    """Whether the page with *version* shows something else than our copy now holds."""
    cancelled: bool = False
    gone: bool = False
    asked_for_invitee: bool = False
    """Whether the provider was asked who the invitee is: it needs an address, and lists none."""
    invitee_email: str = ""
    """What it said; empty if it named none, too."""


def look_at(appointment: Appointment, *, version: str) -> Look | None:
    """Read *appointment* at its provider now; None if this is no moment to ask."""
    health = getattr(appointment.connection, "health", None)
    if (health is not None and health.is_failing) or not _at_once.acquire(blocking=False):
        return None
    try:
        return _look(appointment, version=version)
    finally:
        _at_once.release()


def _look(appointment: Appointment, *, version: str) -> Look:
    before, read_at = facts_of(appointment), timezone.now()
    lacks_email = _lacks_email(appointment)
    try:
        client = limits.client(appointment.connection, Urgency.DIALOG)
    except CannotDecrypt:
        return Look(appointment=appointment, ok=False, why="cannot_decrypt")
    with closing(client.http), within(PATIENCE):
        try:
            seen = client.read(appointment.ref())
            email = _invitee_email(appointment, client) if lacks_email else ""
        except ProviderError as error:
            return Look(appointment=appointment, ok=False, why=error.why)
    if seen is None:
        return Look(appointment=appointment, gone=True)
    store(appointment.connection, [seen], read_at=read_at)
    fresh = Appointment.objects.select_related("connection").get(pk=appointment.pk)
    return Look(
        appointment=fresh,
        changes=before.changes(Facts.of(seen)),
        outdated=fresh.version != version,
        cancelled=seen.status is Status.CANCELLED,
        asked_for_invitee=lacks_email,
        invitee_email=email,
    )


def _lacks_email(appointment: Appointment) -> bool:
    """Whether an address must be sent along that the listing did not show."""
    if not appointment.capabilities.needs_email:
        return False
    return not any(one.email for one in appointment.attendees.all())


def _invitee_email(appointment: Appointment, client: Provider) -> str:
    invitee = client.invitee(appointment.ref())
    return invitee.email if invitee is not None else ""
