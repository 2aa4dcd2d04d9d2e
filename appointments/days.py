"""
Days and moments as the reader's language writes them; the clock has 24 hours in all of them.

How a day is written is a translation like any other, in the letters of Django's `date` filter
(`D` weekday, `l` the whole of it, `j` day, `b M N` short month, `F` the whole of it, `Y` year), so
that a further language needs nothing but its catalog.
"""

from __future__ import annotations

from datetime import date, datetime, time

from django.utils.dateformat import format as written
from django.utils.translation import pgettext


def weekday(day: date) -> str:
    """`Mon`."""
    return written(day, pgettext("date", "D"))


def day_short(day: date) -> str:
    """`Mon 3 Nov`."""
    return written(day, pgettext("date", "D j M"))


def day_year(day: date) -> str:
    """`3 Nov 2026`."""
    return written(day, pgettext("date", "j M Y"))


def day_month(day: date) -> str:
    """`3 November`."""
    return written(day, pgettext("date", "j F"))


def day_long(day: date, *, year: bool = True) -> str:
    """`Monday 3 November 2026`."""
    if year:
        return written(day, pgettext("date", "l j F Y"))
    return written(day, pgettext("date", "l j F"))


def moment_short(at: datetime) -> str:
    """`Mon 3 Nov, 10:42`."""
    return f"{day_short(at)}, {at:%H:%M}"


def moment_long(at: datetime) -> str:
    """`Monday 3 November 2026, 10:42`."""
    return f"{day_long(at)}, {at:%H:%M}"


def moment_year(at: datetime) -> str:
    """`3 Nov 2026, 10:42`."""
    return f"{day_year(at)}, {at:%H:%M}"


def hours(first: time | datetime, last: time | datetime) -> str:
    """`09:00–11:00`."""  # noqa: RUF002
    return f"{first:%H:%M}–{last:%H:%M}"  # noqa: RUF001


def place(zone: str) -> str:
    """The name of *zone* as people say it: `Kolkata`."""
    return zone.rpartition("/")[2].replace("_", " ")


def stamp(at: datetime) -> str:
    """`3 November 2026, 10:42:07`."""
    day = written(at, pgettext("date", "j F Y"))
    return f"{day}, {at:%H:%M:%S}"


def stamp_short(at: datetime) -> str:
    """`3 Nov 10:42:07`."""
    day = written(at, pgettext("date", "j M"))
    return f"{day} {at:%H:%M:%S}"
