"""When an appointment is, as the desk writes it. No clock time is ever made up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from django.utils import timezone
from django.utils.translation import gettext as _

from appointments.codes import in_words
from appointments.days import day_long, hours, place, weekday
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
    """Opening window of the lane, on the desk's clock, as everything else in a list."""
    elsewhere: str = ""
    """The same on the clock of the practice, if that shows another time."""
    opens: str = ""
    closes: str = ""
    """Both ends of the window by themselves, for a table."""


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
        zone=appointment.connection.zone,
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
    zone: ZoneInfo,
) -> When:
    """
    The same from bare columns, for lists that load no model.

    *zone* is the connection's: the hours of a window are meant in it.
    """
    if starts_at is not None:
        return _clock(starts_at, ends_at)
    assert day is not None  # noqa: S101 - a check constraint holds it
    lane = " · ".join(part for part in (in_words(session), batch) if part) or _("Any time")
    if not (window_starts and window_ends):
        return When(day=day, lane=lane)
    there = [datetime.combine(day, one, tzinfo=zone) for one in (window_starts, window_ends)]
    here = [timezone.localtime(one) for one in there]
    elsewhere = ""
    if here[0].utcoffset() != there[0].utcoffset():
        other_day = f"{weekday(day)} " if here[0].date() != day else ""
        elsewhere = f"{other_day}{hours(*there)} {place(zone.key)}"
    return When(
        day=here[0].date(),
        lane=lane,
        window=hours(*here),
        elsewhere=elsewhere,
        opens=f"{here[0]:%H:%M}",
        closes=_end(*here),
    )


def _clock(starts_at: datetime, ends_at: datetime | None) -> When:
    desk = timezone.get_default_timezone()
    start = starts_at.astimezone(desk)
    if ends_at is None:
        return When(day=start.date(), start=f"{start:%H:%M}")
    return When(day=start.date(), start=f"{start:%H:%M}", end=_end(start, ends_at.astimezone(desk)))


def _end(start: datetime, end: datetime) -> str:
    return f"{end:%H:%M}" if end.date() == start.date() else f"{weekday(end)} {end:%H:%M}"


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
