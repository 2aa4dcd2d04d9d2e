"""When an appointment is, as the desk writes it. No clock time is ever made up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from django.utils import timezone
from django.utils.translation import gettext as _

from appointments.days import day_long, weekday
from appointments.models import Appointment, Attendee


@dataclass(frozen=True, kw_only=True, slots=True)
class When:
    """Either *start*, or a *lane* where the provider has a session instead of a time."""

    day: date
    start: str = ""
    end: str = ""
    """Empty if unknown; with a day before it if it is another one."""
    lane: str = ""
    window: str = ""
    """Opening window of the lane, on the clock of the practice."""


def when(appointment: Appointment) -> When:
    """Day and time of *appointment* on the desk's clock."""
    return moment_or_lane(
        starts_at=appointment.starts_at,
        ends_at=appointment.ends_at,
        day=appointment.day,
        session=appointment.session,
        batch=appointment.batch,
        window_starts=appointment.window_starts,
        window_ends=appointment.window_ends,
        zone=appointment.connection.time_zone,
    )


def moment_or_lane(
    *,
    starts_at: datetime | None,
    ends_at: datetime | None,
    day: date | None,
    session: str,
    batch: str,
    window_starts: time | None,
    window_ends: time | None,
    zone: str = "",
) -> When:
    """The same from bare columns, for lists that load no model."""
    if starts_at is not None:
        return _clock(starts_at, ends_at)
    assert day is not None  # noqa: S101 - a check constraint holds it
    lane = " · ".join(part for part in (session, batch) if part)
    window = ""
    if window_starts and window_ends:
        window = f"{window_starts:%H:%M}–{window_ends:%H:%M}"  # noqa: RUF001
        if zone and zone != timezone.get_default_timezone_name():
            # All other times are the desk's: this one is not, and has to say so.
            window += f" {zone.rpartition('/')[2].replace('_', ' ')}"
    return When(day=day, lane=lane or _("Any time"), window=window)


def _clock(starts_at: datetime, ends_at: datetime | None) -> When:
    desk = timezone.get_default_timezone()
    start = starts_at.astimezone(desk)
    if ends_at is None:
        return When(day=start.date(), start=f"{start:%H:%M}")
    end = ends_at.astimezone(desk)
    shown = f"{end:%H:%M}" if end.date() == start.date() else f"{weekday(end)} {end:%H:%M}"
    return When(day=start.date(), start=f"{start:%H:%M}", end=shown)


def day_title(day: date, *, today: date) -> str:
    """`Monday 23 November`, with the year if it is not this one."""
    return day_long(day, year=day.year != today.year)


def day_nearness(day: date, *, today: date) -> str:
    """What people call *day*, if they have a word for it."""
    match (day - today).days:
        case -1:
            return _("Yesterday")
        case 0:
            return _("Today")
        case 1:
            return _("Tomorrow")
        case _:
            return ""


def clock_elsewhere(appointment: Appointment, person: Attendee) -> str:
    """The start on *person*'s clock, if it shows another time than the desk's."""
    if appointment.starts_at is None or not person.time_zone:
        return ""
    try:
        theirs = appointment.starts_at.astimezone(ZoneInfo(person.time_zone))
    except (KeyError, ValueError, OSError):  # the provider's word; it may name no zone at all
        return ""
    ours = appointment.starts_at.astimezone(timezone.get_default_timezone())
    if theirs.utcoffset() == ours.utcoffset():
        return ""
    if theirs.date() == ours.date():
        return f"{theirs:%H:%M}"
    return f"{weekday(theirs)} {theirs:%H:%M}"
