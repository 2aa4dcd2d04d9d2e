"""
Free slots for somebody who waits at a page.

They cost requests, so they are fetched when asked for and never by themselves, a few at a time,
and given up soon: a time may always be typed instead where the provider takes one.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import islice
from threading import BoundedSemaphore

from django.utils import timezone

from appointments.domain import (
    DateWindow,
    ProviderError,
    RescheduleRequest,
    ScheduleRequest,
    Slot,
    SlotQuery,
)
from appointments.models import Appointment, Connection
from appointments.models.secrets import CannotDecrypt
from appointments.providers.transport import within
from appointments.services import limits
from appointments.services.facts import booking_of
from appointments.services.limits import Urgency

PATIENCE = 8.0
"""Seconds, for all requests of one question together."""
MOST_SLOTS = 500
"""Slots of one answer that are kept, the earliest: a provider may send any number."""
AHEAD = timedelta(minutes=5)
"""Of a window that has begun already, this far from now is asked for."""

_LACKING = frozenset({"service_unknown", "host_unknown", "host_elsewhere"})
_at_once = BoundedSemaphore(4)


@dataclass(frozen=True, kw_only=True)
class FreeSlots:
    """What a provider offers, or why nobody knows."""

    slots: tuple[Slot, ...] = ()
    is_cut: bool = False
    """Whether there were more, which are left out."""
    why: str = ""
    """Code of what went wrong; empty: this is all there is."""
    asked_at: datetime

    @property
    def lacks_something(self) -> bool:
        """Whether the question was not asked, since the provider needs to know more."""
        return self.why in _LACKING


def days_at_once(connection: Connection) -> tuple[int, ...]:
    """How many days may be asked for; the first is what a page begins with."""
    can = connection.capabilities
    # Where a day has a quota, each day that is looked at costs some of it.
    wanted = (3, 1, 7) if can.has_daily_quota else (7, 1, 14)
    return tuple(one for one in wanted if one <= can.slot_days)


def slots_to_book(
    connection: Connection, *, first: date, days: int, like: ScheduleRequest
) -> FreeSlots:
    """Free slots for a new appointment with the service, host, branch and session of *like*."""
    return _asked(
        connection,
        SlotQuery(
            window=_window(first, days),
            service=like.service,
            host=like.host,
            branch=like.branch,
            session=like.session,
        ),
    )


def slots_to_move(appointment: Appointment, *, first: date, days: int) -> FreeSlots:
    """Free slots that *appointment* could be moved to."""
    moving, zone = booking_of(appointment), appointment.connection.zone
    found = _asked(appointment.connection, SlotQuery(window=_window(first, days), moving=moving))

    def is_where_it_is(slot: Slot) -> bool:
        request = RescheduleRequest(
            appointment=moving, starts_at=slot.starts_at, session=slot.session, batch=slot.batch
        )
        return request.is_met_by(moving, zone=zone)

    return replace(found, slots=tuple(one for one in found.slots if not is_where_it_is(one)))


def start_in(slot: Slot) -> datetime:
    """The moment to ask for: its start; of a window that has begun already, one that is left."""
    now = timezone.now()
    if not slot.is_window or slot.starts_at > now or slot.ends_at is None:
        return slot.starts_at
    soon = (now + AHEAD).replace(second=0, microsecond=0)
    return min(soon, slot.ends_at)


def _window(first: date, days: int) -> DateWindow:
    return DateWindow(first=first, last=first + timedelta(days=days - 1))


def _asked(connection: Connection, query: SlotQuery) -> FreeSlots:
    now = timezone.now()
    if not _at_once.acquire(blocking=False):
        return FreeSlots(why="own_limit", asked_at=now)
    try:
        found = _found(connection, query)
    except ProviderError as error:
        return FreeSlots(why=error.why, asked_at=now)
    except CannotDecrypt:
        return FreeSlots(why="cannot_decrypt", asked_at=now)
    finally:
        _at_once.release()
    left = list(islice((one for one in found if start_in(one) > now), MOST_SLOTS + 1))
    return FreeSlots(slots=tuple(left[:MOST_SLOTS]), is_cut=len(left) > MOST_SLOTS, asked_at=now)


def _found(connection: Connection, query: SlotQuery) -> tuple[Slot, ...]:
    client = limits.client(connection, Urgency.DIALOG)
    with closing(client.http), within(PATIENCE):
        return client.slots(query)
