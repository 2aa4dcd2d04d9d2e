"""Times, ages and people as every sentence names them, and the shapes a sentence comes in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from appointments.codes import in_words
from appointments.days import day_short, moment_short
from appointments.models import Appointment

JUST = timedelta(minutes=1)
"""How long ago something can have happened that people call "just" now."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What staff read about one cancellation or booking."""

    title: str
    sentence: str
    step: str
    """What to do next; empty if nothing."""
    tone: str
    """`good`, `neutral`, `bad`, `waiting` or `alarm`."""


@dataclass(frozen=True, kw_only=True)
class Notice:
    sentence: str
    tone: str
    """`info`, `warning` or `bad`."""
    read_now: int | None = None
    """Key of the connection that may be read at once, instead of when its pause is over."""


def person(user: object) -> str:
    """A member of staff by name, or by login where no name is known."""
    name = getattr(user, "get_full_name", str)()
    return name or getattr(user, "username", "") or _("somebody")


def clock(when: datetime | None, *, seconds: bool = False) -> str:
    return f"{timezone.localtime(when):{'%H:%M:%S' if seconds else '%H:%M'}}" if when else "-"


def at(when: datetime | None) -> str:
    """`at 10:42`, with the day before it if it was another one."""
    if when is None:
        return ""
    local = timezone.localtime(when)
    if local.date() == timezone.localdate():
        return _("at %(time)s") % {"time": f"{local:%H:%M}"}
    return _("on %(day)s at %(time)s") % {
        "day": day_short(local),
        "time": f"{local:%H:%M}",
    }


def moment(when: datetime | None) -> str:
    if when is None:
        return "-"
    local = timezone.localtime(when)
    if local.date() == timezone.localdate():
        return f"{local:%H:%M}"
    return f"{day_short(local)} {local:%H:%M}"


def when_short(appointment: Appointment) -> str:
    """Day and time of a booking, or day and session where there is no time."""
    if appointment.starts_at is not None:
        return moment_short(timezone.localtime(appointment.starts_at))
    day = day_short(appointment.day) if appointment.day else ""
    lane = (in_words(appointment.session), appointment.batch)
    return ", ".join(part for part in (day, *lane) if part)


def day_of(appointment: Appointment) -> str:
    """The day of a booking on the clock of the desk: `Mon 30 Nov`."""
    if appointment.starts_at is not None:
        return day_short(timezone.localtime(appointment.starts_at))
    return day_short(appointment.day) if appointment.day else ""


def age(period: timedelta) -> str:
    """A period in its largest whole unit: `40 s`, `3 min`, `2 h`, `4 d`."""
    seconds = max(0, int(period.total_seconds()))
    size, text = next(one for one in _ages() if max(seconds, 1) >= one[0])
    return text % {"count": seconds // size}


def _ages() -> list[tuple[int, str]]:
    """Seconds of each unit, the largest first, and how a count of it is written."""
    return [
        (86400, _("%(count)s d")),
        (3600, _("%(count)s h")),
        (60, _("%(count)s min")),
        (1, _("%(count)s s")),
    ]


def script_words() -> dict[str, Any]:
    """
    What the script in the page says; `{}` stands for what it fills in, in that order.

    Where a number counts, the words for one and for more: no language here needs a third form.
    """
    return {
        "session": _(
            "Your session has ended. Nothing was sent, and your text is still here. {}, "
            "then press the button again."
        ),
        "login": _("Log in in a new tab"),
        "forbidden": _(
            "You may not do this. Ask an administrator of the portal. Nothing was sent."
        ),
        "missing": _("This does not exist any more. Nothing was sent."),
        "failed": _(
            "The portal itself failed. You can press the button again: it is carried out once, "
            "however often it arrives."
        ),
        "offline": _(
            "The portal cannot be reached. Your text is still here; press the button again when "
            "the connection is back. It is carried out once, however often it arrives."
        ),
        "close": _("Close"),
        "copied": _("Copied"),
        "length": _("{} of {}"),
        "chosen": [ngettext("{} chosen", "{} chosen", count) for count in (1, 2)],
        "elsewhere": _("{}, {} of them not on this page"),
        "appointments": [ngettext("{} appointment", "{} appointments", count) for count in (1, 2)],
        "read": _("read %(age)s ago") % {"age": "{}"},
        "ages": [(size, text % {"count": "{}"}) for size, text in _ages()],
    }
