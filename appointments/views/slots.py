"""Free slots as a page offers them: on the desk's clock, by day, each a button that chooses it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta, tzinfo
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import ngettext

from appointments.booking_forms import SlotField, SlotsForm, branch_words
from appointments.codes import in_words
from appointments.connection_wording import failure
from appointments.days import weekday
from appointments.domain import Slot
from appointments.models import Connection
from appointments.phrases import clock
from appointments.services.slots import FreeSlots, days_at_once, start_in
from appointments.views.when import day_nearness, day_title

SHOW, CHOOSE = "slots", "pick"
"""What the buttons ask for: `do=slots` shows the free ones, `pick=...` chooses one."""


def slots_form(
    connection: Connection, data: Mapping[str, Any], *, first: date | None = None
) -> SlotsForm | None:
    """From when on to look, as typed in *data* if it was; None where no free slots are shown."""
    days = days_at_once(connection)
    if not days:
        return None
    today = timezone.localdate(timezone=connection.zone)
    given = data if "slots_from" in data else None
    return SlotsForm(given, first=max(first or today, today), days=days)


def wanted(
    form: SlotsForm | None,
    data: Mapping[str, Any],
    find: Callable[[date, int], FreeSlots],
    *,
    connection: Connection,
) -> dict[str, Any]:
    """What the page shows of free slots: nothing, unless *data* asks for them."""
    context: dict[str, Any] = {
        "slots_form": form,
        "zone": settings.TIME_ZONE,
        "practice_zone": _other_zone(connection),
    }
    if form is None or data.get("do") != SHOW or not form.is_valid():
        return context
    first, days = form.cleaned_data["slots_from"], form.cleaned_data["slots_days"]
    found = find(first, days)
    return context | {
        "asked_for_slots": True,
        "slots_failure": _failure(found, connection),
        "slots_lack": found.lacks_something,
        "slots_most": len(found.slots) if found.is_cut else 0,
        "slot_days": _by_day(found.slots, connection=connection),
        "slots_asked_at": clock(found.asked_at, seconds=True),
        "slots_last": first + timedelta(days=days - 1),
        "slots_first": first,
    }


def chosen(data: Mapping[str, Any], *, zone: ZoneInfo) -> tuple[Slot, dict[str, str]] | None:
    """The slot that *data* chooses, and the fields that it fills; None if it is none of ours."""
    try:
        slot = SlotField().clean(data.get(CHOOSE, ""))
    except ValidationError:
        return None
    local = start_in(slot).astimezone(zone)
    fields = {
        "slot": SlotField.written(slot),
        "starts_at": f"{local:%Y-%m-%dT%H:%M}",
        "session": slot.session,
        "batch": slot.batch,
        "branch": slot.branch,
        "service": slot.service,
        "host": slot.host,
    }
    if slot.ends_at is not None and not slot.is_window:
        fields["ends_at"] = f"{slot.ends_at.astimezone(zone):%Y-%m-%dT%H:%M}"
    return slot, fields


def slot_words(slot: Slot, *, connection: Connection) -> str:
    """*slot* in one line: day, lane, and time on the desk's clock and perhaps the practice's."""
    local = timezone.localtime(slot.starts_at)
    day = day_title(local.date(), today=timezone.localdate())
    elsewhere = _elsewhere(slot, connection=connection)
    time = f"{_label(slot)} ({elsewhere})" if elsewhere else _label(slot)
    return ", ".join(part for part in (day, _lane(slot), time) if part)


def _other_zone(connection: Connection) -> str:
    """The zone of the practice, if its clock shows another time than the desk's."""
    now = timezone.localtime()
    is_other = now.utcoffset() != now.astimezone(connection.zone).utcoffset()
    return connection.time_zone if is_other else ""


def _failure(found: FreeSlots, connection: Connection) -> str:
    return failure(found.why, connection.provider_label) if found.why else ""


def _by_day(slots: tuple[Slot, ...], *, connection: Connection) -> list[dict[str, Any]]:
    today = timezone.localdate()
    by_day = groupby(slots, key=lambda one: timezone.localtime(one.starts_at).date())
    return [
        {
            "title": day_title(day, today=today),
            "nearness": day_nearness(day, today=today),
            "slots": [_shown(one, connection=connection) for one in group],
        }
        for day, group in by_day
    ]


def _shown(slot: Slot, *, connection: Connection) -> dict[str, Any]:
    return {
        "value": SlotField.written(slot),
        "label": _label(slot),
        "lane": _lane(slot),
        "elsewhere": _elsewhere(slot, connection=connection),
        "branch": branch_words(slot.branch) if slot.branch else "",
        "left": ngettext("%(count)d left", "%(count)d left", slot.left) % {"count": slot.left}
        if slot.left is not None
        else "",
    }


def _label(slot: Slot) -> str:
    return _span(slot, timezone.get_default_timezone())


def _span(slot: Slot, zone: tzinfo) -> str:
    start = slot.starts_at.astimezone(zone)
    if slot.ends_at is None:
        return f"{start:%H:%M}"
    return f"{start:%H:%M}–{slot.ends_at.astimezone(zone):%H:%M}"  # noqa: RUF001


def _lane(slot: Slot) -> str:
    return " · ".join(part for part in (in_words(slot.session), slot.batch) if part)


def _elsewhere(slot: Slot, *, connection: Connection) -> str:
    """The time on the practice's clock, if that is another one than the desk's."""
    theirs, ours = slot.starts_at.astimezone(connection.zone), timezone.localtime(slot.starts_at)
    if theirs.utcoffset() == ours.utcoffset():
        return ""
    day = f"{weekday(theirs)} " if theirs.date() != ours.date() else ""
    place = connection.time_zone.rpartition("/")[2].replace("_", " ")
    return f"{day}{_span(slot, connection.zone)} {place}"
