"""The list to take along: the day sheet and the file."""

from __future__ import annotations

import csv
import html
from datetime import datetime, time, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from appointments.domain import BookedAttendee, Status
from appointments.models import Connection, ConnectionHealth
from tests.views.conftest import Book, make_connection
from tests.views.test_list import HOSTILE


def shown(answer: Any) -> str:
    return html.unescape(answer.content.decode())


def noon(days: int = 0) -> datetime:
    day = timezone.localdate() + timedelta(days=days)
    return datetime.combine(day, time(12), tzinfo=timezone.get_default_timezone())


def lines(answer: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(answer.getvalue().decode("utf-8-sig").splitlines()))


# --- on paper


def test_a_sheet_holds_the_day_and_its_filter(web: Client, book: Book) -> None:
    """Without an end, the first day; each day a table of its own."""
    book(1, starts_at=noon(1), title="Tomorrow's")
    day = timezone.localdate() + timedelta(days=1)

    page = shown(web.get(f"/print/?from={day}&with=Behrens"))

    assert "Tomorrow's" in page
    assert "+31 6 55500000" in page
    assert "Only:" in page
    assert "with Behrens" in page
    assert "no appointment" in shown(web.get("/print/"))
    assert "no appointment" in shown(web.get(f"/print/?from={day}&with=somebody"))


def test_each_day_has_its_own_table_with_a_head(web: Client, book: Book) -> None:
    book(1, starts_at=noon(1))
    (first, *_) = book(1, starts_at=noon(1))
    type(first).objects.filter(pk=first.pk).update(sorts_at=noon(2), external_id="moved")
    book(1, starts_at=noon(1))

    page = shown(web.get("/print/?range=week"))

    assert page.count('<table class="paper-day">') == 2
    assert page.count("<thead>") == 2


def test_a_sheet_says_how_old_it_is(web: Client, meetergo: Connection) -> None:
    """Each account that it shows, with when it was read; nobody trusts stale paper."""
    ConnectionHealth.objects.create(
        connection=meetergo, read_at=noon(), failing_since=noon(), failure="credentials"
    )
    make_connection("huskyvoice", name="Clinic")

    page = shown(web.get("/print/"))
    only = shown(web.get("/print/?provider=meetergo"))

    assert "as read on" in page
    assert "at 12:00:00, failing since" in page
    assert "never read" in page
    assert "Printed on" in page
    assert "by Anna de Boer" in page
    assert "Clinic" in page
    assert "Clinic" not in only


def test_all_people_of_a_group_are_on_the_sheet(web: Client, book: Book) -> None:
    group = tuple(
        BookedAttendee(external_id=name, name=name, phone=f"+49 {number}")
        for number, name in enumerate(("Lena Vogt", "Zoë Lindner"), start=30)
    )
    book(starts_at=noon(1), is_group=True, attendees=group)

    page = shown(web.get("/print/?range=tomorrow"))

    for text in ("Lena Vogt", "+49 30", "Zoë Lindner", "+49 31"):
        assert text in page


# --- as a file


def test_the_file_holds_what_the_filters_leave(web: Client, book: Book) -> None:
    """All of it, not one page; and nothing that a spreadsheet would carry out."""
    book(120, title="=1+1")
    other = make_connection("huskyvoice", name="Clinic")
    book(1, connection=other)

    answer = web.get("/appointments.csv?range=upcoming&provider=meetergo")

    found = lines(answer)
    assert answer["Content-Disposition"].startswith('attachment; filename="appointments-')
    assert answer.streaming
    assert "no-store" in answer["Cache-Control"]
    assert [one["Person"] for one in found] == [f"Person {number}" for number in range(120)]
    assert {one["What"] for one in found} == {"'=1+1"}
    assert found[0]["Phone"] == "'+31 6 55500000"
    assert found[0]["Time zone"] == "Europe/Amsterdam"


@pytest.mark.parametrize(
    ("days", "name"),
    [
        ("from=2026-12-01&to=2026-12-01", "appointments-2026-12-01.csv"),
        ("from=2026-12-01&to=2026-12-03", "appointments-2026-12-01-to-2026-12-03.csv"),
        ("from=2026-12-01", "appointments-from-2026-12-01.csv"),
    ],
)
def test_the_file_is_named_after_its_days(days: str, name: str, web: Client, book: Book) -> None:
    answer = web.get(f"/appointments.csv?{days}")

    assert answer["Content-Disposition"] == f'attachment; filename="{name}"'


def test_the_file_says_who_cancelled_and_why(web: Client, book: Book) -> None:
    book(status=Status.CANCELLED, cancelled_by="attendee", cancel_reason=HOSTILE)

    (line,) = lines(web.get("/appointments.csv?range=upcoming"))

    assert (line["Status"], line["Why cancelled"]) == (
        "Cancelled",
        f"at meetergo, by attendee: {HOSTILE}",
    )


def test_a_longer_file_asks_no_more_for_each_line(web: Client, book: Book) -> None:
    book(2)
    web.get("/print/")  # The first page of a session notes when it began.
    with CaptureQueriesContext(database) as few:
        web.get("/appointments.csv?range=upcoming").getvalue()
    book(300)
    with CaptureQueriesContext(database) as many:
        answer = web.get("/appointments.csv?range=upcoming")
        assert len(lines(answer)) == 300

    assert len(many) == len(few)


@pytest.mark.parametrize("address", ["/print/", "/appointments.csv"])
def test_without_permission_there_is_nothing_to_take_along(
    address: str, client: Client, db: None
) -> None:
    client.force_login(User.objects.create_user("stranger"))

    assert client.get(address).status_code == 403
