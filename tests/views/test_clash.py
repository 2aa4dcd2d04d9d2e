"""What our copy shows at the time of what is to be booked or moved is said, and blocks nothing."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from appointments.domain import BookedAttendee, Status
from appointments.models import Appointment, Booking, Connection
from appointments.services.records import store
from tests.views.conftest import filled, make_connection, record, review_of
from tests.views.test_changes import path_of

EMILY = BookedAttendee(external_id="e", name="Emily Carter", email="Emily@example.org")
EMMA = BookedAttendee(external_id="v", name="Emma Visser", email="EMMA@example.org")
SERVICE, HOST = "1a1a1a1a-0000-4000-8000-000000000001", "2b2b2b2b-0000-4000-8000-000000000002"


@pytest.fixture
def hudson(db: None) -> Connection:
    return make_connection("carevalidate", name="Hudson")


def tomorrow_at(clock: str) -> datetime:
    """On the desk's clock."""
    day = timezone.localdate() + timedelta(days=1)
    return datetime.combine(day, time.fromisoformat(clock), tzinfo=timezone.get_default_timezone())


def put(connection: Connection, *people: BookedAttendee, **fields: Any) -> Appointment:
    """One more row of our copy, tomorrow from 10 to half past."""
    fields.setdefault("external_id", str(uuid4()))
    start = fields.pop("starts_at", tomorrow_at("10:00"))
    if start is not None:
        fields.setdefault("ends_at", start + timedelta(minutes=30))
    values = {"starts_at": start, "attendees": people} | fields
    store(connection, [record(0, start=tomorrow_at("10:00"), **values)], read_at=timezone.now())
    return Appointment.objects.get(external_id=fields["external_id"])


def warned(answer: Any) -> list[str]:
    """The sentences of the warning; none if there is no warning."""
    found = re.search(
        r'<div class="note note-warning">(.*?)</div>\s*</div>', answer.content.decode(), re.S
    )
    return (
        [html.unescape(one) for one in re.findall(r'<p dir="auto">(.*?)</p>', found[1])]
        if found
        else []
    )


def new_meetergo(connection: Connection, **fields: Any) -> dict[str, Any]:
    """What is typed to book with one host, of a service that is known from a booking."""
    values = {
        "connection": connection.pk,
        "form_key": str(uuid4()),
        "service": SERVICE,
        "host": HOST,
        "name": "Emma Visser",
        "email": "emma@example.org",
        "time_zone": "Europe/Amsterdam",
        "starts_at": f"{tomorrow_at('10:00'):%Y-%m-%dT%H:%M}",
    }
    return values | fields


def known(connection: Connection, *, host: str = "Dr. Adeyemi", **fields: Any) -> Appointment:
    """A booking that makes service and host a choice of the form; on another day."""
    locator = {"meeting_type_id": SERVICE, "host_ids": HOST}
    fields.setdefault("starts_at", tomorrow_at("10:00") + timedelta(days=3))
    return put(connection, host=host, locator=locator, **fields)


# --- the same person --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("starts", "ends", "is_warned"),
    [
        ("10:00", "10:30", True),
        ("09:45", "10:15", True),
        ("10:29", "11:00", True),
        ("09:00", "12:00", True),
        ("09:30", "10:00", False),
        ("10:30", "11:00", False),
    ],
)
def test_the_same_person_at_an_overlapping_time_is_said(
    starts: str, ends: str, is_warned: bool, web: Client, linde: Connection, hudson: Connection
) -> None:
    put(hudson, EMMA, title="Check-up", host="Dr. Adeyemi")
    day = tomorrow_at("10:00").date()

    review = web.post(
        "/schedule/", filled(linde, starts_at=f"{day}T{starts}", ends_at=f"{day}T{ends}")
    )

    sentences = warned(review)
    assert bool(sentences) is is_warned
    if is_warned:
        (sentence,) = sentences
        assert sentence.startswith("Emma Visser already has an appointment at that time: ")
        assert "10:00–10:30, Check-up, with Dr. Adeyemi (CareValidate)." in sentence  # noqa: RUF001


@pytest.mark.parametrize("status", [Status.CANCELLED, Status.COMPLETED, Status.GONE])
def test_what_is_over_is_no_clash(
    status: Status, web: Client, linde: Connection, hudson: Connection
) -> None:
    put(hudson, EMMA, status=status)

    assert warned(web.post("/schedule/", filled(linde))) == []


def test_a_switched_off_account_warns_of_nothing(
    web: Client, linde: Connection, hudson: Connection
) -> None:
    """Its appointments are nowhere to be seen."""
    put(hudson, EMMA)
    Connection.objects.filter(pk=hudson.pk).update(is_active=False)

    assert warned(web.post("/schedule/", filled(linde))) == []


def test_who_is_given_by_number_is_known_at_other_providers(
    web: Client, linde: Connection, hudson: Connection
) -> None:
    put(hudson, EMMA)
    long_ago = timezone.now() - timedelta(days=40)
    number = "cst_7"
    store(
        linde,
        [record(70, start=long_ago, attendees=(replace(EMMA, external_id=number),))],
        read_at=timezone.now(),
    )

    (sentence,) = warned(
        web.post("/schedule/", filled(linde, customer_id=number, name="", email=""))
    )

    assert sentence.startswith("Emma Visser already has an appointment")


def test_nobody_is_known_by_the_name_or_the_end_of_an_address(
    web: Client, linde: Connection, hudson: Connection
) -> None:
    put(hudson, BookedAttendee(external_id="1", name="Emma Visser", email="other@example.org"))
    put(hudson, BookedAttendee(external_id="2", name="Gemma", email="gemma@example.org"))

    assert warned(web.post("/schedule/", filled(linde))) == []


def test_the_same_telephone_in_another_spelling_is_the_same_person(
    web: Client, hudson: Connection
) -> None:
    put(hudson, BookedAttendee(external_id="n", name="Asha Nair", phone="09840-000077"))
    husky = make_connection("huskyvoice", name="Clinic")
    fields = {
        "connection": husky.pk,
        "form_key": str(uuid4()),
        "name": "A. Nair",
        "phone": "+91 98400 00077",
        "service": "General",
        "starts_at": f"{tomorrow_at('10:15'):%Y-%m-%dT%H:%M}",
    }

    (sentence,) = warned(web.post("/schedule/", fields))

    assert sentence.startswith("Asha Nair already has an appointment")


def test_a_window_of_the_same_person_is_compared_on_the_clock_of_its_practice(
    web: Client, linde: Connection
) -> None:
    away = make_connection("huskyvoice", name="Clinic")
    Connection.objects.filter(pk=away.pk).update(time_zone="Asia/Kolkata")
    away.refresh_from_db()
    kolkata = ZoneInfo("Asia/Kolkata")
    there = [tomorrow_at(one).astimezone(kolkata) for one in ("09:30", "11:00")]
    lane = {"starts_at": None, "ends_at": None, "day": there[0].date(), "session": "Afternoon"}
    put(away, EMMA, host="", window=(there[0].time(), there[1].time()), **lane)
    earlier = [one - timedelta(hours=3) for one in there]
    put(away, EMMA, host="", window=(earlier[0].time(), earlier[1].time()), **lane)

    (sentence,) = warned(web.post("/schedule/", filled(linde)))

    assert "Afternoon, 09:30–11:00 (" in sentence  # noqa: RUF001
    assert f"{there[0]:%H:%M}–{there[1]:%H:%M} Kolkata)" in sentence  # noqa: RUF001


# --- the same host ----------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["dr adeyemi", "Adeyemi, Dr.", "DR. ADÉYEMI"])
@pytest.mark.parametrize("is_noted", [False, True])
def test_a_host_who_has_somebody_else_is_said(
    said: str, is_noted: bool, web: Client, meetergo: Connection, hudson: Connection
) -> None:
    """By name at any provider, as it says it or as it was noted here."""
    known(meetergo)
    row = put(hudson, EMILY, host="" if is_noted else said)
    if is_noted:
        web.post(f"{row.get_absolute_url()}with/", {"practitioner": said})

    (sentence,) = warned(web.post("/schedule/", new_meetergo(meetergo)))

    assert sentence.startswith(f"{said} has Emily Carter at that time: ")
    assert sentence.endswith("10:00–10:30 (CareValidate).")  # noqa: RUF001


def test_a_host_is_known_by_the_id_too(web: Client, meetergo: Connection) -> None:
    known(meetergo)
    known(meetergo, host="M. Behrens", attendees=(EMILY,), starts_at=tomorrow_at("10:10"))

    (sentence,) = warned(web.post("/schedule/", new_meetergo(meetergo)))

    assert sentence.startswith("M. Behrens has Emily Carter at that time: ")


def test_another_host_is_no_clash(web: Client, meetergo: Connection, hudson: Connection) -> None:
    known(meetergo)
    put(hudson, EMILY, host="Dr. Adeyemi-Jones")
    put(hudson, EMILY, host="Dr. Behrens")

    assert warned(web.post("/schedule/", new_meetergo(meetergo))) == []


def test_the_length_of_a_service_is_named_and_counts_as_long_as_all_take_as_long(
    web: Client, meetergo: Connection, hudson: Connection
) -> None:
    known(meetergo)
    put(hudson, EMILY, host="Dr. Adeyemi", starts_at=tomorrow_at("10:20"))

    review = web.post("/schedule/", new_meetergo(meetergo))
    assert "10:00 (Europe/Amsterdam), usually until 10:30." in html.unescape(
        review.content.decode()
    )
    assert len(warned(review)) == 1

    other = tomorrow_at("15:00") + timedelta(days=4)
    known(meetergo, starts_at=other, ends_at=other + timedelta(hours=1))
    review = web.post("/schedule/", new_meetergo(meetergo))
    assert "usually until" not in review.content.decode()
    assert warned(review) == []


# --- what is moved or replaced ----------------------------------------------------------------


def test_a_move_says_what_stands_at_the_new_time_and_not_itself(
    web: Client, meetergo: Connection, hudson: Connection
) -> None:
    row = put(meetergo, EMMA, host="Dr. Adeyemi")
    put(hudson, EMILY, host="Dr. Adeyemi", starts_at=tomorrow_at("10:40"))
    fields = {"form_key": str(uuid4()), "version": row.version, "do": "typed"}

    def to(clock: str) -> list[str]:
        return warned(
            web.post(
                path_of(row, "move"),
                fields | {"starts_at": f"{tomorrow_at(clock):%Y-%m-%dT%H:%M}"},
            )
        )

    assert to("10:10") == []
    (sentence,) = to("10:20")
    assert sentence.startswith("Dr. Adeyemi has Emily Carter at that time: ")


def test_what_is_replaced_is_no_clash(web: Client, linde: Connection, hudson: Connection) -> None:
    old = put(hudson, EMMA)
    fields = filled(linde)

    assert len(warned(web.post("/schedule/", fields))) == 1
    assert warned(web.post("/schedule/", fields | {"replaces": old.pk})) == []


# --- only a hint ------------------------------------------------------------------------------


def test_a_clash_stands_in_nobodys_way(web: Client, linde: Connection, hudson: Connection) -> None:
    put(hudson, EMMA)
    fields = filled(linde)

    review = web.post("/schedule/", fields)
    answer = web.post("/schedule/", fields | review_of(review) | {"do": "book"})

    assert warned(review)
    assert answer["Location"] == Booking.objects.get().get_absolute_url()


def test_a_clash_that_came_after_the_review_is_shown_before_anything_is_asked(
    web: Client, linde: Connection, hudson: Connection
) -> None:
    fields = filled(linde)
    seen = review_of(web.post("/schedule/", fields))
    put(hudson, EMMA)

    answer = web.post("/schedule/", fields | seen | {"do": "book"})

    assert answer.status_code == 409
    assert warned(answer)
    assert not Booking.objects.exists()


def test_a_full_day_costs_no_more_questions_and_is_cut(
    web: Client, linde: Connection, hudson: Connection
) -> None:
    fields = filled(linde)
    put(hudson, EMMA)
    web.post("/schedule/", fields)
    with CaptureQueriesContext(database) as few:
        web.post("/schedule/", fields)
    for _number in range(30):
        put(hudson, EMMA)
    with CaptureQueriesContext(database) as many:
        review = web.post("/schedule/", fields)

    assert len(many) == len(few)
    assert len(warned(review)) == 4
