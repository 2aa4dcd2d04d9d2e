"""
What our copy shows at the time of something that is to be booked or moved.

A hint for whoever reviews it, never an obstacle: the copy may be old, and two at once may be meant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Q

from appointments.domain import LIVE, ScheduleRequest
from appointments.models import Appointment, Connection
from appointments.models.appointments import fold, holds
from appointments.providers.registry import PROVIDERS
from appointments.services.asked import Offered
from appointments.services.reach import Reach, customer_of
from appointments.services.schedule import MoveWish

LONGEST = timedelta(hours=24)
"""What began earlier than this is not looked for: every question stays within a day."""
MOST_READ = 100
"""Rows of one question, most of which are no clash."""
MOST_SHOWN = 4
MOST_PEOPLE = 20
"""Of a group that is moved, so many are looked for."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """When somebody is to be somewhere, who, and with whom."""

    starts_at: datetime
    ends_at: datetime | None = None
    """None: unknown, so only the start is compared."""
    people: Reach
    host_ids: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    """Names of whom it is with, in any spelling."""
    without: frozenset[int] = field(default_factory=frozenset)
    """Keys of rows that are no clash: what is moved, or replaced."""

    @property
    def end(self) -> datetime:
        """The end; of an unknown one, the next moment."""
        return self.ends_at or self.starts_at + timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True)
class Clash:
    """A live appointment at that time: of the same person, or else with the same host."""

    appointment: Appointment
    person: str = ""
    """Who has it, if it is the same person."""
    host: str = ""
    """Who has it, if it is only the same host."""


def planned_booking(
    connection: Connection,
    request: ScheduleRequest,
    offered: Offered,
    *,
    replaces: Appointment | None = None,
) -> Planned:
    """When and with whom *request* would be."""
    start, end = request.starts_at, request.ends_at
    if request.session and offered.window is not None:
        start, end = offered.hours_on(start, zone=connection.zone)
    elif end is None and offered.minutes:
        end = start + timedelta(minutes=offered.minutes)
    customer = customer_of(connection, request.customer_id)
    people = Reach.of(emails=[request.email], phones=[request.phone])
    # Where a provider books people, what can be booked has their names.
    names = (offered.host, offered.service)
    return Planned(
        starts_at=start,
        ends_at=end,
        people=people | Reach.of_people([customer]) if customer else people,
        host_ids=frozenset({request.host} - {""}),
        hosts=frozenset(one for one in names if one),
        without=frozenset({replaces.pk} if replaces is not None else ()),
    )


def planned_move(appointment: Appointment, to: MoveWish, offered: Offered) -> Planned:
    """When *appointment* would be, with the same people and as long as now."""
    start, end = to.starts_at, None
    if to.session and offered.window is not None:
        start, end = offered.hours_on(start, zone=appointment.connection.zone)
    elif appointment.starts_at is not None and appointment.ends_at is not None:
        end = start + (appointment.ends_at - appointment.starts_at)
    names = (appointment.host, appointment.practitioner)
    return Planned(
        starts_at=start,
        ends_at=end,
        people=Reach.of_people(list(appointment.attendees.all())[:MOST_PEOPLE]),
        host_ids=_host_ids(appointment),
        hosts=frozenset(one for one in names if one),
        without=frozenset({appointment.pk}),
    )


def clashes(planned: Planned) -> list[Clash]:
    """What is booked already at the time of *planned*, the earliest first."""
    by_host, by_person = _with_host(planned), holds(planned.people.likely())
    if not (by_host or by_person):
        return []
    with_hours = Q(starts_at__lt=planned.end) & (
        Q(ends_at__gt=planned.starts_at) | Q(ends_at=None, starts_at__gte=planned.starts_at)
    )
    likely = with_hours & (by_host | by_person)
    if by_person:
        # Within a window a host sees many, one after the other, but nobody can be in two places.
        likely |= Q(starts_at=None, window_starts__isnull=False) & by_person
    found = (
        Appointment.objects.filter(
            likely,
            status__in=LIVE,
            sorts_at__gt=planned.starts_at - LONGEST,
            sorts_at__lt=planned.end,
            connection__provider__in=PROVIDERS,
            connection__is_active=True,
        )
        .exclude(pk__in=planned.without)
        .select_related("connection")
        .prefetch_related("attendees")
        .in_order()[:MOST_READ]
    )
    all_of_them = (_clash(row, planned) for row in found if _overlaps(row, planned))
    return [one for one in all_of_them if one is not None][:MOST_SHOWN]


def _with_host(planned: Planned) -> Q:
    """Rows that may be with one of the hosts: by id, or by the longest word of the name."""
    likely = Q()
    for external_id in sorted(planned.host_ids):
        likely |= Q(locator__host_ids__icontains=external_id)
    for name in sorted(planned.hosts):
        if words := _words(name):
            likely |= Q(host_search__contains=max(sorted(words), key=len))
    return likely


def _overlaps(row: Appointment, planned: Planned) -> bool:
    """The hours of a window are meant on the practice's clock, which no database knows."""
    if row.starts_at is not None:
        return True
    if row.day is None or row.window_starts is None or row.window_ends is None:
        return False
    zone = row.connection.zone
    starts, ends = (
        datetime.combine(row.day, one, tzinfo=zone) for one in (row.window_starts, row.window_ends)
    )
    return starts < planned.end and ends > planned.starts_at


def _clash(row: Appointment, planned: Planned) -> Clash | None:
    same = next((one for one in row.attendees.all() if planned.people.is_of(one)), None)
    if same is not None:
        return Clash(appointment=row, person=same.label)
    if row.starts_at is None:
        return None
    sought = {_words(one) for one in planned.hosts} - {frozenset()}
    for name in (row.host, row.practitioner):
        if _words(name) in sought:
            return Clash(appointment=row, host=name)
    if _host_ids(row) & planned.host_ids:
        return Clash(appointment=row, host=row.is_with)
    return None


def _host_ids(row: Appointment) -> frozenset[str]:
    return frozenset(row.locator.get("host_ids", "").split(",")) - {""}


def _words(name: str) -> frozenset[str]:
    """*name* whatever its case, accents, dots and order: `Adeyemi, Dr` is `Dr. Adeyemi`."""
    return frozenset(re.findall(r"\w+", fold(name)))
