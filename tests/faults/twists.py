"""Pieces of answers, and what can be wrong with them, by the names that each provider gives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import count
from typing import Any

from tests.faults.rude import Says
from tests.faults.rules import CARE, HUSKY, MEETERGO, MIJN


def no(status: int, *, code: str = "") -> Mapping[str, Any]:
    """A failure that each provider could have written: every one looks at its own fields."""
    return {
        "message": "No.",
        "status": status,
        "success": False,
        "error": {"code": code, "message": "No."},
    }


def record_of(slug: str, body: Any) -> Any:
    """The one booking of an answer, where an answer holds one."""
    return body["data"] if slug == HUSKY else body


def without(field_of: Mapping[str, str]) -> Callable[[str, Any], Any]:
    """Take away the field that each provider's yes hangs on."""

    def change(slug: str, body: Any) -> Any:
        record_of(slug, body).pop(field_of[slug]) if slug != CARE else body.pop(field_of[slug])
        return body

    return change


def put(value_at: Mapping[str, tuple[str, Any]]) -> Callable[[str, Any], Any]:
    """Put another value into one field of the answer."""

    def change(slug: str, body: Any) -> Any:
        name, value = value_at[slug]
        (body if slug == CARE else record_of(slug, body))[name] = value
        return body

    return change


PROOF = {MIJN: "status", MEETERGO: "isCancelled", CARE: "success", HUSKY: "status"}
"""The field that says that it is cancelled."""
TEXT = {MIJN: "attendeeName", MEETERGO: "location", CARE: "message", HUSKY: "patient_name"}
"""A field that holds text."""
ID = {MIJN: "id", MEETERGO: "id", CARE: "id", HUSKY: "appointment_id"}
ROWS = {MIJN: "data", MEETERGO: "appointments", CARE: "data", HUSKY: "data"}
"""Where the records of a listing are."""
FULL_PAGE = {MEETERGO: 100, HUSKY: 200}

STILL_BOOKED_VALUE = {
    MIJN: ("status", "scheduled"),
    MEETERGO: ("isCancelled", False),
    CARE: ("success", False),
    HUSKY: ("status", "confirmed"),
}


def still_booked(slug: str, body: Any) -> Any:
    changed = put(STILL_BOOKED_VALUE)(slug, body)
    if slug == MEETERGO:
        changed["cancel"] = None
    return changed


def someone_elses(slug: str, body: Any) -> Any:
    record_of(slug, body)[ID[slug]] = "00000000-0000-4000-8000-000000000000"
    return body


def more(slug: str, body: Any) -> Any:
    return body | {"brandNew": {"deep": [1, 2, {"x": None}]}, "": "", "ключ": 1}


def raw(text: bytes) -> Callable[[str, Any], bytes]:
    """Bytes in place of the answer."""
    return lambda _slug, _body: text


def long_number(slug: str, body: Any) -> bytes:
    """The answer, with a number of 5,000 digits somewhere in it."""
    return json.dumps(body | {"count": 0}).replace('"count": 0', f'"count": {"7" * 5000}').encode()


def same_but_text(slug: str, body: Any) -> bytes:
    return json.dumps(body).encode()


def each(change: Callable[[str, Any], Any], *, first_only: bool = False) -> Any:
    """Change the records of a listing."""

    def listed(slug: str, body: Any) -> Any:
        rows = body[ROWS[slug]]
        for row in rows[:1] if first_only else rows:
            change(slug, row)
        return body

    return listed


def broken_row(name: str, value: Any = None, *, gone: bool = False) -> Any:
    """Break one field of the first record: by its own name at each provider."""
    names: Mapping[str, Mapping[str, str]] = {
        "id": ID,
        "start": {MIJN: "startsAt", MEETERGO: "start", CARE: "start", HUSKY: "date"},
        "text": {MIJN: "attendeeName", MEETERGO: "location", CARE: "title", HUSKY: "patient_name"},
    }

    def change(slug: str, row: Any) -> None:
        key = names[name][slug]
        row.pop(key) if gone else row.__setitem__(key, value)

    return each(change, first_only=True)


def odd_word(slug: str, row: Any) -> None:
    row["status"] = "in-limbo"


def more_in_place(_slug: str, row: Any) -> None:
    row |= {"brandNew": {"deep": [1, 2, {"x": None}]}, "": "", "ключ": 1}


def twice(slug: str, body: Any) -> Any:
    body[ROWS[slug]] *= 2
    return body


def twice_but_older(slug: str, body: Any) -> Any:
    """Each record comes again, as it was before its last change."""
    older = json.loads(json.dumps(body[ROWS[slug]]))
    for row in older:
        row["updatedAt" if slug != HUSKY else "updated_at"] = "2020-01-01T00:00:00.000Z"
        row[TEXT_OF_A_ROW[slug]] = "as it was before"
    body[ROWS[slug]] = body[ROWS[slug]] + older
    return body


TEXT_OF_A_ROW = {MEETERGO: "location", CARE: "title", HUSKY: "assigned_doctor"}


def first_page_for_ever(slug: str, body: Any) -> Any:
    """A full page, and the same one whatever page is asked for."""
    return _full_page(slug, body, numbers=count())


_numbers = count()


def ever_new_pages(slug: str, body: Any) -> Any:
    """A full page of bookings that no page has shown before."""
    return _full_page(slug, body, numbers=_numbers)


def _full_page(slug: str, body: Any, *, numbers: Iterator[int]) -> Any:
    rows = body[ROWS[slug]]
    one = rows[0] if rows else _EVER_SHOWN.get(slug)
    if one is None:
        return body
    _EVER_SHOWN[slug] = one
    body[ROWS[slug]] = [
        {**one, ID[slug]: f"00000000-0000-4000-8000-{next(numbers):012d}"}
        for _ in range(FULL_PAGE[slug])
    ]
    return body


_EVER_SHOWN: dict[str, Any] = {}
"""A record of each provider, to fill pages with that the provider's own book has not."""


def empty(slug: str, body: Any) -> Any:
    body[ROWS[slug]] = []
    return body


def without_the_first(slug: str, body: Any) -> Any:
    body[ROWS[slug]] = body[ROWS[slug]][1:]
    return body


def in_seconds(value: str) -> Says:
    return Says(status=429, body=no(429), headers={"Retry-After": value})


def at_date(*, ahead: timedelta) -> Says:
    """
    A date half a minute on, by a clock that goes *ahead* of ours.

    The answer's own `Date` says how that clock stands.
    """
    now = datetime(2026, 12, 7, 9, tzinfo=UTC) + ahead
    return Says(
        status=429,
        body=no(429),
        headers={
            "Date": format_datetime(now, usegmt=True),
            "Retry-After": format_datetime(now + timedelta(seconds=30), usegmt=True),
        },
    )
