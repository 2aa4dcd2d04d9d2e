"""The list to take along: day sheets on paper, and all of it as a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, islice
from typing import Any

from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from appointments.connection_wording import read_moment, unread_notice
from appointments.models import Connection
from appointments.models.appointments import AppointmentQuerySet
from appointments.models.appointments import name_of as called
from appointments.views.files import csv_stream
from appointments.views.filters import (
    Accounts,
    Span,
    Wanted,
    account_names,
    address,
    bookings_in_words,
)
from appointments.views.request import StaffRequest, needs
from appointments.views.rows import Raw, Row, RowMaker, all_of
from appointments.views.when import day_title

MOST_ON_PAPER = 1000
"""Appointments that are printed at once."""


@require_safe
@needs()
def day_sheet(request: StaffRequest) -> HttpResponse:
    """The days that the address asks for, to be printed; without an end, the first of them."""
    accounts = Accounts.read()
    wanted = Wanted.by(request.GET, accounts)
    span = Span(first=wanted.span.first, last=wanted.span.last or wanted.span.first)
    lines = list(islice(_lines(wanted.on(span), accounts.used), MOST_ON_PAPER + 1))
    context = {
        "days": [
            {"title": day_title(day, today=timezone.localdate()), "lines": list(group)}
            for day, group in groupby(lines[:MOST_ON_PAPER], key=lambda line: line["day"])
        ],
        "first": day_title(span.first, today=timezone.localdate()),
        "is_cut": len(lines) > MOST_ON_PAPER,
        "most": MOST_ON_PAPER,
        "filters": bookings_in_words(wanted.kept, account_names()),
        "printed_at": timezone.now(),
        "sources": [
            {"connection": one, "read": read_moment(one)}
            for one in accounts.used.values()
            if wanted.may_show(one)
        ],
        "unread": unread_notice(
            [one for one in accounts.used.values() if wanted.may_show(one)], span.farthest
        ),
        "zone": settings.TIME_ZONE,
        "back": address(wanted.kept),
    }
    return render(request, "appointments/day_sheet.html", context)


@require_safe
@needs()
def list_file(request: StaffRequest) -> StreamingHttpResponse:
    """Everything that the filters of the list leave, as a CSV file."""
    accounts = Accounts.read()
    wanted = Wanted.by(request.GET, accounts)
    cells = (_cells(line) for line in _lines(wanted.found(), accounts.used))
    return csv_stream(_name_of_file(wanted.span), _header(), cells)


def _name_of_file(span: Span) -> str:
    """After the days that the file holds, so that two of them are told apart."""
    if span.last is None:
        return f"appointments-from-{span.first}.csv"
    if span.last == span.first:
        return f"appointments-{span.first}.csv"
    return f"appointments-{span.first}-to-{span.last}.csv"


def _lines(
    found: AppointmentQuerySet, connections: Mapping[int, Connection]
) -> Iterator[dict[str, Any]]:
    """Each booking with all its people, a chunk at a time."""
    for some in all_of(found):
        maker = RowMaker(some, connections=connections)
        for raw in some:
            yield {
                "day": maker.day(raw),
                "row": maker.row(raw),
                "raw": raw,
                "people": [
                    {"name": called(name or email or phone), "email": email, "phone": phone}
                    for name, email, phone in maker.people.get(raw["pk"], [])
                ],
            }


def _header() -> tuple[str, ...]:
    return (
        _("Day"),
        _("Start"),
        _("End"),
        _("Session"),
        _("Time zone"),
        _("Person"),
        _("Phone"),
        _("E-mail"),
        _("What"),
        _("With"),
        _("With, as noted here"),
        _("Provider"),
        _("Account"),
        _("Reference"),
        _("Provider id"),
        _("Status"),
        _("Why cancelled"),
    )


def _cells(line: Mapping[str, Any]) -> tuple[str, ...]:
    """One booking; the people of a group share the cells, in the same order in each."""
    row: Row = line["row"]
    raw: Raw = line["raw"]
    return (
        line["day"].isoformat(),
        row["start"] or row["opens"],
        row["end"] or row["closes"],
        row["lane"],
        settings.TIME_ZONE,
        _joined(one["name"] for one in line["people"]),
        _joined(one["phone"] for one in line["people"]),
        _joined(one["email"] for one in line["people"]),
        raw["title"],
        raw["host"],
        raw["practitioner"],
        row["provider"],
        row["account"],
        raw["reference"],
        raw["external_id"],
        row["word"],
        row["why"],
    )


def _joined(parts: Iterable[str]) -> str:
    return "; ".join(parts)
