"""Calendar feeds: who makes them, who reads them, and what stands in them."""

from __future__ import annotations

import html
import logging
import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone
from icalendar import Calendar

from appointments.domain import BookedAttendee, Status
from appointments.models import (
    CalendarFeed,
    Cancellation,
    Connection,
    SavedFilter,
    StaffSettings,
)
from appointments.models.cancellations import State
from appointments.models.feeds import MOST_FEEDS
from appointments.services.cancel import Wish, ask_to_cancel
from appointments.services.feeds import make_feed
from appointments.services.records import store
from portal.logs import WithoutSecrets
from tests.views.conftest import Book, make_connection, record
from tests.views.test_list import HOSTILE
from tests.views.test_outcome import put

ADDRESS = re.compile(r'value="http://testserver(/feeds/[\w-]{43}\.ics)"')


def shown(answer: Any) -> str:
    return html.unescape(answer.content.decode())


@pytest.fixture
def address(staff: User) -> str:
    """Of a feed of everything."""
    return address_of(staff)


def address_of(staff: User, **fields: Any) -> str:
    values: dict[str, Any] = {"name": "All", "query": {}, "with_phones": False}
    _feed, token = make_feed(staff, **(values | fields))
    return f"/feeds/{token}.ics"


def events(answer: Any) -> list[Any]:
    """The events of the file; without types, since the library's are unions of everything."""
    return list(Calendar.from_ical(answer.content).walk("VEVENT"))


def noon(days: int) -> datetime:
    return datetime.combine(timezone.localdate() + timedelta(days=days), time(12), tzinfo=UTC)


# --- making and revoking


def test_the_address_is_shown_once_and_kept_nowhere(web: Client, book: Book, staff: User) -> None:
    book()
    view = SavedFilter.objects.create(user=staff, name="Mine", query={"status": "booked"})

    made = web.post("/feeds/", {"source": view.pk, "with_phones": "on"})

    found = ADDRESS.search(shown(made))
    assert made.status_code == 201
    assert found is not None
    feed = CalendarFeed.objects.get()
    assert (feed.name, feed.query, feed.with_phones) == ("Mine", {"status": "booked"}, True)
    secret = found[1].removeprefix("/feeds/").removesuffix(".ics")
    assert secret not in str(CalendarFeed.objects.values())
    assert secret not in shown(web.get("/feeds/"))
    assert len(events(Client().get(found[1]))) == 1
    assert "last read" in shown(web.get("/feeds/"))


def test_a_revoked_address_leads_nowhere(web: Client, address: str) -> None:
    feed = CalendarFeed.objects.get()
    assert Client().get(address).status_code == 200

    assert web.post(f"/feeds/{feed.pk}/revoke/").status_code == 303

    assert Client().get(address).status_code == 404


def test_nobody_sees_or_revokes_another_ones(web: Client, colleague: User) -> None:
    address = address_of(colleague, name="Theirs")
    feed = CalendarFeed.objects.get()

    assert web.post(f"/feeds/{feed.pk}/revoke/").status_code == 404
    assert "Theirs" not in shown(web.get("/feeds/"))
    view = SavedFilter.objects.create(user=colleague, name="View")
    assert web.post("/feeds/", {"source": view.pk}).status_code == 422
    assert Client().get(address).status_code == 200


def test_there_is_a_most(web: Client, staff: User) -> None:
    for _ in range(MOST_FEEDS):
        address_of(staff)

    answer = web.post("/feeds/", {})

    assert answer.status_code == 422
    assert "Revoke one first." in shown(answer)
    assert CalendarFeed.objects.count() == MOST_FEEDS


# --- who may read


def test_whoever_may_no_longer_look_has_no_feed(staff: User, address: str) -> None:
    """Unknown, inactive and without the permission look the same, and go into no cache."""
    unknown = Client().get(f"/feeds/{'x' * 43}.ics")
    staff.is_active = False
    staff.save()
    inactive = Client().get(address)
    staff.is_active = True
    staff.save()
    staff.groups.clear()
    stripped = Client().get(address)
    staff.user_permissions.add(Permission.objects.get(codename="view_appointment"))

    for answer in (unknown, inactive, stripped):
        assert (answer.status_code, answer.content) == (404, b"Not found.")
        assert answer["X-Robots-Tag"] == "noindex"
    assert Client().get(address).status_code == 200
    assert Client().get("/feeds/short.ics").status_code == 404


def test_a_calendar_needs_no_session_and_gets_none(address: str, book: Book) -> None:
    book()

    answer = Client().get(address)

    assert answer["Content-Type"] == "text/calendar; charset=utf-8"
    assert answer.cookies == {}
    assert set(answer["Cache-Control"].split(", ")) == {"private", "no-store"}
    assert answer["X-Robots-Tag"] == "noindex"
    assert Client().post(address).status_code == 405


def test_what_is_known_already_is_not_sent_again(
    address: str, book: Book, meetergo: Connection
) -> None:
    book(2)
    first = Client().get(address)
    same = Client().get(address, headers={"If-None-Match": first["ETag"]})
    changed = record(0, start=timezone.now() + timedelta(hours=1), title="Another")
    store(meetergo, [changed], read_at=timezone.now() + timedelta(seconds=5))
    again = Client().get(address, headers={"If-None-Match": first["ETag"]})

    assert (same.status_code, same.content) == (304, b"")
    assert "no-store" in same["Cache-Control"]
    assert again.status_code == 200
    assert again["ETag"] != first["ETag"]


def test_a_feed_speaks_the_language_of_its_owner(address: str, book: Book, staff: User) -> None:
    """Who fetches it is a server somewhere; what was fetched in another language is stale."""
    book(starts_at=noon(1))
    first = Client().get(address, headers={"Accept-Language": "nl"})
    StaffSettings.objects.create(user=staff, language="de")

    again = Client().get(address, headers={"Accept-Language": "nl", "If-None-Match": first["ETag"]})

    assert "With: Dr. Behrens" in events(first)[0]["DESCRIPTION"]
    assert "Bei: Dr. Behrens" in events(again)[0]["DESCRIPTION"]
    assert again["Content-Language"] == "de"


# --- what stands in it


def test_an_event_says_who_when_and_with_whom(address: str, book: Book) -> None:
    (row,) = book(starts_at=noon(1), reference="ADA-1", location="Room 1")

    (event,) = events(Client().get(address))

    assert event["SUMMARY"] == "Person 0 · Consultation"
    assert event["STATUS"] == "CONFIRMED"
    assert event.decoded("DTSTART") == noon(1)
    assert event.decoded("DTEND") == noon(1) + timedelta(minutes=30)
    assert b"DTSTART:" in event.to_ical()
    assert event["LOCATION"] == "Room 1"
    assert event["URL"] == f"http://testserver{row.get_absolute_url()}"
    for text in ("With: Dr. Behrens", "meetergo, Physio am Park", "Reference: ADA-1"):
        assert text in event["DESCRIPTION"]


def test_addresses_stay_out_and_numbers_too_unless_asked_for(staff: User, book: Book) -> None:
    """Also where nothing but an address is known of somebody."""
    book(1)
    nameless = BookedAttendee(external_id="n", email="n@example.org", phone="+49 1")
    book(2, attendees=(nameless,))

    quiet = Client().get(address_of(staff)).content.decode()
    asked = Client().get(address_of(staff, with_phones=True)).content.decode()

    assert "example.org" not in quiet + asked
    assert "+49 1" not in quiet
    assert "+49 1" in asked
    assert "Unnamed person" in quiet


def test_an_event_keeps_its_name_and_counts_its_changes(
    address: str, book: Book, meetergo: Connection
) -> None:
    start = noon(1)
    with time_machine.travel(timezone.now(), tick=False) as clock:
        book(starts_at=start)
        (before,) = events(Client().get(address))
        clock.shift(timedelta(minutes=5))
        cancelled = record(0, start=start, status=Status.CANCELLED)
        store(meetergo, [cancelled], read_at=timezone.now())
        (after,) = events(Client().get(address))

    assert before["UID"] == after["UID"]
    assert after["SEQUENCE"] > before["SEQUENCE"]
    assert after.decoded("LAST-MODIFIED") > before.decoded("LAST-MODIFIED")
    assert after.decoded("DTSTAMP") == after.decoded("LAST-MODIFIED")
    assert after["STATUS"] == "CANCELLED"
    assert after["SUMMARY"].startswith("Cancelled: ")


@pytest.mark.parametrize(
    ("status", "shown_as", "begins"),
    [
        (Status.PENDING, "TENTATIVE", "Pending: "),
        (Status.GONE, "TENTATIVE", "No longer listed: "),
        (Status.OTHER, "TENTATIVE", "“no-show”: "),
        (Status.COMPLETED, "CONFIRMED", "Person 0"),
    ],
)
def test_what_is_uncertain_is_tentative(
    status: Status, shown_as: str, begins: str, address: str, book: Book
) -> None:
    book(status=status, provider_status="no-show")

    (event,) = events(Client().get(address))

    assert event["STATUS"] == shown_as
    assert event["SUMMARY"].startswith(begins)


def test_where_only_a_day_is_known_no_time_is_made_up(address: str, db: None) -> None:
    husky = make_connection("huskyvoice", name="Clinic")
    day = timezone.localdate() + timedelta(days=1)
    lane = {"starts_at": None, "ends_at": None, "day": day, "session": "Morning"}
    store(husky, [record(0, start=timezone.now(), **lane)], read_at=timezone.now())

    (event,) = events(Client().get(address))

    assert type(event.decoded("DTSTART")) is date
    assert event["SUMMARY"] == "Morning: Person 0 · Consultation"
    assert "DTEND" not in event


@pytest.mark.parametrize(
    "text",
    [
        HOSTILE,
        "a\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\nSUMMARY:forged",
        "semi;colon, comma \\ backslash",
        "\x1b[31m\x07bell",
        "שלום \u202eworld",
        "ü" * 300,
    ],
)
def test_strings_of_a_provider_stay_text(text: str, address: str, book: Book, staff: User) -> None:
    """However they are written, there is one event, in lines of at most 75 bytes."""
    person = BookedAttendee(external_id="p", name=text)
    book(title=text, host=text, reference=text, location=text, attendees=(person,))
    CalendarFeed.objects.update(name=text[:60])

    answer = Client().get(address)

    (event,) = events(answer)
    assert event["STATUS"] == "CONFIRMED"
    assert max(len(line) for line in answer.content.split(b"\r\n")) <= 75
    assert b"\n" not in answer.content.replace(b"\r\n", b"")
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]", answer.content)
    if text.isprintable():
        assert event["LOCATION"] == text


def test_a_feed_has_an_end_on_both_sides(address: str, book: Book) -> None:
    for number, days in enumerate((-9, -6, 89, 92)):
        practice = make_connection("meetergo", name=f"Practice {number}")
        book(1, connection=practice, starts_at=noon(days))

    found = {one.decoded("DTSTART") for one in events(Client().get(address))}

    assert found == {noon(-6), noon(89)}


def test_a_feed_holds_what_its_filters_leave_and_never_more(staff: User, book: Book) -> None:
    """Not even when what it was made for is gone: then it holds nothing."""
    (row,) = book()
    clinic = make_connection("huskyvoice", name="Clinic")
    book(1, connection=clinic)
    mine = address_of(staff, query={"connection": str(row.connection_id), "range": "today"})

    assert len(events(Client().get(mine))) == 1
    Connection.objects.filter(pk=row.connection_id).update(is_active=False)
    assert events(Client().get(mine)) == []


# --- the secret in the log


def test_the_log_holds_no_secret(
    staff: User, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line about a request names the address without what opens it."""
    address = f"/feeds/{'s' * 43}.ics"
    with caplog.at_level(logging.WARNING):
        caplog.handler.addFilter(WithoutSecrets())
        Client().get(address)
    atoms = logging.LogRecord(
        "gunicorn.access", logging.INFO, "", 0, "%(r)s %(s)s", ({"r": address, "s": 200},), None
    )

    assert "sss" not in caplog.text
    assert "/feeds/….ics" in caplog.text
    assert WithoutSecrets().filter(atoms)
    assert atoms.getMessage() == "/feeds/….ics 200"


def test_what_may_be_cancelled_is_tentative(
    address: str, book: Book, staff: User, meetergo: Connection
) -> None:
    """Nobody knows it, so the calendar does not say that it is certain."""
    (row,) = book(starts_at=noon(1))
    first = Client().get(address)
    assert events(first)[0]["STATUS"] == "CONFIRMED"
    asked = ask_to_cancel(row, by=staff, wish=Wish(), form_key=uuid4(), version=row.version)
    assert isinstance(asked, Cancellation)
    put(asked, State.UNKNOWN)

    again = Client().get(address, headers={"If-None-Match": first["ETag"]})
    assert events(again)[0]["STATUS"] == "TENTATIVE"
    assert events(again)[0]["SUMMARY"].startswith("? ")
