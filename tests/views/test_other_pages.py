"""Detail, scheduling and health."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.contrib.auth.models import User
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from appointments.booking_forms import ScheduleForm
from appointments.domain import BookedAttendee
from appointments.models import Appointment, Booking, Cancellation, Connection, WorkerPulse
from appointments.services.schedule import offers
from tests.desk import Desk
from tests.views.conftest import HTMX, Book, ask_for, filled, make_connection


def shown(answer: Any) -> str:
    return html.unescape(answer.content.decode())


# --- one appointment


def test_the_detail_says_how_to_reach_the_person(web: Client, book: Book) -> None:
    person = BookedAttendee(
        external_id="p",
        name="Grace Kim",
        email="grace@example.com",
        phone="+1 212 555 0133",
        time_zone="America/New_York",
    )
    noon = datetime.combine(timezone.localdate() + timedelta(days=2), datetime.min.time(), UTC)
    (row,) = book(attendees=(person,), starts_at=noon + timedelta(hours=15), reference="ADA-1")

    page = shown(web.get(row.get_absolute_url()))

    assert 'href="tel:+12125550133"' in page
    assert 'href="mailto:grace@example.com"' in page
    assert "10:00 their time (America/New_York)" in page or "11:00 their time" in page
    assert 'data-copy="ADA-1"' in page


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "http://example.com", "data:text/html,x", " https://x", ""]
)
def test_only_secure_links_are_links(address: str, web: Client, book: Book) -> None:
    (row,) = book(meeting_link=address)

    page = web.get(row.get_absolute_url()).content.decode()

    assert "Open the meeting" not in page
    assert "javascript:" not in page


def test_a_secure_link_tells_the_other_side_nothing(web: Client, book: Book) -> None:
    (row,) = book(meeting_link="https://meet.example/abc")

    page = web.get(row.get_absolute_url()).content.decode()

    assert 'href="https://meet.example/abc" rel="noopener noreferrer"' in page


def test_a_masked_number_is_shown_and_not_dialled(web: Client, book: Book) -> None:
    (row,) = book(attendees=(BookedAttendee(external_id="p", name="A", phone="+3165XXXXXX"),))

    page = web.get(row.get_absolute_url()).content.decode()

    assert "+3165XXXXXX" in page
    assert "tel:" not in page


def test_other_bookings_of_the_same_person_are_shown(web: Client, book: Book) -> None:
    """By address or telephone, at every provider; others' are not."""
    rows = book(2)
    clinic = make_connection("huskyvoice", name="Clinic")
    same = BookedAttendee(external_id="x", name="P. Zero", phone="06-55500000")
    (other,) = book(connection=clinic, attendees=(same,))

    page = shown(web.get(rows[0].get_absolute_url()))

    assert "Also booked" in page
    assert f'href="{other.get_absolute_url()}"' in page
    assert f'href="{rows[1].get_absolute_url()}"' not in page


def also_booked(answer: Any) -> tuple[list[str], list[str]]:
    """Addresses under the heading: of what is to come, and of what is over."""
    section = shown(answer).partition("Also booked</h2>")[2].partition("</section>")[0]
    parts = section.partition("Over or cancelled</h3>")
    live, over = (re.findall(r'href="([^"]*)"', one) for one in (parts[0], parts[2]))
    return live, over


def test_what_stands_of_the_same_person_comes_first_and_what_does_not_apart(
    web: Client, book: Book
) -> None:
    person = BookedAttendee(external_id="p", name="Ann", email="ann@example.org")
    first, second, third = book(3, attendees=(person,))
    Appointment.objects.filter(pk=second.pk).update(status="cancelled")

    assert also_booked(web.get(first.get_absolute_url())) == (
        [third.get_absolute_url()],
        [second.get_absolute_url()],
    )
    page = web.get(first.get_absolute_url())
    assert 'data-status="cancelled">Cancelled' in shown(page)
    Appointment.objects.filter(pk=third.pk).update(status="cancelled")
    assert "Nothing else that is still to come." in shown(web.get(first.get_absolute_url()))


def test_more_bookings_than_are_shown_are_counted(web: Client, book: Book) -> None:
    person = BookedAttendee(external_id="p", name="Ann", email="ann@example.org")
    rows = book(11, attendees=(person,))

    page = shown(web.get(rows[0].get_absolute_url()))

    assert len(also_booked(web.get(rows[0].get_absolute_url()))[0]) == 8 + 1
    assert '<a href="/?q=ann%40example.org">and 2 more</a>' in page


def test_what_is_over_since_this_morning_is_not_to_come(web: Client, book: Book) -> None:
    noon = timezone.localtime().replace(hour=12, minute=0, second=0, microsecond=0)
    with time_machine.travel(noon, tick=True):
        web.force_login(User.objects.get(username="anna"))
        person = BookedAttendee(external_id="p", name="Ann", email="ann@example.org")
        over, later = book(2, attendees=(person,), starts_at=noon - timedelta(hours=3))
        Appointment.objects.filter(pk=later.pk).update(
            starts_at=noon + timedelta(hours=1),
            ends_at=noon + timedelta(hours=2),
            sorts_at=noon + timedelta(hours=1),
        )
        found = also_booked(web.get(later.get_absolute_url()))

    assert found == ([], [over.get_absolute_url()])


def test_of_a_group_it_is_said_whose_other_bookings_they_are(web: Client, book: Book) -> None:
    """And whoever the list looked for is the one whom the page names and looks for."""
    lena, zoe = (
        BookedAttendee(external_id=name, name=name, email=f"{name}@example.org")
        for name in ("Lena", "Zoe")
    )
    (group,) = book(is_group=True, attendees=(lena, zoe))
    other = make_connection("carevalidate", name="Hudson")
    of_lena = book(1, connection=other, attendees=(lena,))[0]
    third = make_connection("huskyvoice", name="Clinic")
    of_zoe = book(1, connection=third, attendees=(zoe,))[0]

    both = shown(web.get(group.get_absolute_url()))
    sought = shown(web.get(f"{group.get_absolute_url()}?q=zoe"))

    assert both.count('<b dir="auto">Lena</b>') == 2
    assert "Lena and 1 more" in both
    assert "Zoe and 1 more" in sought
    assert also_booked(web.get(f"{group.get_absolute_url()}?q=zoe"))[0] == [
        of_zoe.get_absolute_url()
    ]
    assert also_booked(web.get(group.get_absolute_url()))[0] == [
        of_lena.get_absolute_url(),
        of_zoe.get_absolute_url(),
    ]


def test_a_number_known_from_a_relative_leads_to_a_third_provider_and_no_further(
    web: Client, book: Book
) -> None:
    """The first knows an address, the second address and number, the third only the number."""

    def at(slug: str, name: str = "Divya", **known: Any) -> Appointment:
        person = BookedAttendee(external_id="p", name=name, **known)
        (row,) = book(connection=make_connection(slug, name=slug), attendees=(person,))
        return row

    first = at("mijnklantportaal", email="divya@example.org")
    at("meetergo", email="Divya@example.org", phone="+91 98400 00077")
    third = at("huskyvoice", phone="09840000077", email="else@example.org")
    further = at("carevalidate", email="else@example.org")

    live, _over = also_booked(web.get(first.get_absolute_url()))

    assert third.get_absolute_url() in live
    assert further.get_absolute_url() not in live


def test_nobody_is_the_same_person_by_the_end_of_an_address(web: Client, book: Book) -> None:
    ann = BookedAttendee(external_id="p", name="Ann", email="ann@example.org")
    joann = BookedAttendee(external_id="p", name="Ann", email="joann@example.org")
    (row,) = book(attendees=(ann,))
    book(connection=make_connection("carevalidate", name="There"), attendees=(joann,))

    assert also_booked(web.get(row.get_absolute_url())) == ([], [])


def test_the_history_tells_clicks_requests_and_answers(web: Client, desk: Desk) -> None:
    row = desk.book("meetergo")
    desk.cancel(row, reason="Ill")

    page = shown(web.get(row.get_absolute_url()))

    for line in ("First seen at meetergo", "Asked to cancel", "Request 1 sent to meetergo"):
        assert line in page
    assert "Answer: confirmed" in page
    assert "Reason: Ill" in page


def test_beside_the_list_it_comes_alone(web: Client, book: Book) -> None:
    (row,) = book()

    page = shown(web.get(row.get_absolute_url(), headers=HTMX))

    assert page.strip().startswith('<article class="detail"')
    assert "data-close-panel" in page


def test_the_number_of_queries_of_a_detail_does_not_grow(
    web: Client, book: Book, desk: Desk
) -> None:
    group = tuple(
        BookedAttendee(external_id=f"p{n}", name=f"P{n}", email=f"p{n}@example.org")
        for n in range(40)
    )
    (row,) = book(is_group=True, attendees=group[:1])
    web.get(row.get_absolute_url())
    with CaptureQueriesContext(database) as few:
        web.get(row.get_absolute_url())
    book(is_group=True, attendees=group)
    with CaptureQueriesContext(database) as many:
        web.get(row.get_absolute_url())
        dialog = web.get(f"{row.get_absolute_url()}cancel/")

    assert "Everybody (40)" in shown(dialog)
    assert len(few) <= 18
    assert len(many) <= len(few) + 14


# --- scheduling


def test_the_form_has_the_fields_of_its_provider(web: Client, linde: Connection) -> None:
    page = shown(web.get(f"/schedule/?connection={linde.pk}"))

    for name in ("title", "customer_id", "name", "email", "starts_at", "ends_at"):
        assert f'name="{name}"' in page
    assert 'name="host"' not in page
    assert "On the clock of Europe/Amsterdam" in page


def test_the_form_says_up_front_what_is_needed_and_in_which_form(
    web: Client, linde: Connection
) -> None:
    page = shown(web.get(f"/schedule/?connection={linde.pk}"))
    for name in ("customer_id", "name", "email"):
        hint = f'id="id_{name}_helptext">Name and e-mail, or the customer number</span>'
        assert hint in page
        assert f'aria-describedby="id_{name}_helptext"' in page
    assert "optional" not in page

    husky = make_connection("huskyvoice", name="Clinic")
    refused = web.post(f"/schedule/?connection={husky.pk}", filled(husky, phone="06 1234567"))
    assert refused.status_code == 422
    assert "Write it with the country code, as +31 6 12345678." in shown(refused)
    taken = web.post(
        "/schedule/", filled(husky, phone="+31 6 12345678", service="General", session="Morning")
    )
    assert "Is this right?" in shown(taken)


def test_where_the_clocks_differ_each_says_whose_it_is(web: Client, linde: Connection) -> None:
    Connection.objects.update(time_zone="Asia/Kolkata")

    page = shown(web.get(f"/schedule/?connection={linde.pk}"))

    assert "On the clock of the practice, Asia/Kolkata; the desk is in Europe/Amsterdam" in page


def test_the_zones_of_practice_and_desk_come_first(web: Client, linde: Connection) -> None:
    away = make_connection("carevalidate", name="Hudson")
    Connection.objects.filter(pk=away.pk).update(time_zone="America/New_York")

    page = shown(web.get(f"/schedule/?connection={away.pk}"))

    choices = page.partition('name="time_zone"')[2].partition("</select>")[0]
    zones = re.findall(r'<option value="([^"]+)"', choices)
    assert zones[:3] == ["America/New_York", "Europe/Amsterdam", "Africa/Abidjan"]
    assert len(zones) == len(set(zones))


def test_a_wish_is_recorded_and_its_page_asks_again(web: Client, linde: Connection) -> None:
    once = filled(linde)

    answer = ask_for(web, once)
    again = ask_for(web, once)

    booking = Booking.objects.get()
    assert (answer.status_code, answer["Location"]) == (303, f"/bookings/{booking.pk}/")
    assert again["Location"] == answer["Location"]
    page = shown(web.get(f"/bookings/{booking.pk}/"))
    assert 'data-state="requested"' in page
    assert 'hx-trigger="every 150ms,' in page


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ends_at": "2026-01-01T09:00"}, "It would end before it starts."),
        ({"starts_at": "2020-01-01T09:00"}, "This is in the past."),
        ({"starts_at": "soon"}, "This is not a day and time."),
        ({"starts_at": ""}, "This field is required."),
        ({"email": "emma"}, "Enter a valid email address."),
        ({"email": "", "name": ""}, "Needed without a customer number."),
        ({"form_key": ""}, "This form is incomplete."),
    ],
)
def test_a_mistake_is_said_at_its_field_and_nothing_is_sent(
    fields: dict[str, str], message: str, web: Client, linde: Connection
) -> None:
    answer = web.post("/schedule/", filled(linde, title="My own words", **fields))

    assert answer.status_code == 422
    assert message in shown(answer)
    assert "My own words" in shown(answer)
    assert not Booking.objects.exists()


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("2027-03-28T02:30", "this time does not exist in Europe/Amsterdam"),
        ("2027-10-31T02:30", "this time comes twice in Europe/Amsterdam"),
    ],
)
def test_a_time_that_the_clock_skips_or_repeats_is_refused(
    typed: str, message: str, linde: Connection
) -> None:
    form = ScheduleForm(
        filled(linde, starts_at=typed),
        capabilities=linde.capabilities,
        zone=linde.zone,
        offers=offers(linde),
    )

    assert message in form.errors["starts_at"][0]


def test_a_time_is_meant_on_the_clock_of_the_practice(linde: Connection) -> None:
    kolkata = ZoneInfo("Asia/Kolkata")
    values = filled(linde, starts_at="2027-05-01T10:00", ends_at="2027-05-01T10:30")
    form = ScheduleForm(values, capabilities=linde.capabilities, zone=kolkata, offers=offers(linde))

    assert form.is_valid()
    assert form.wish().starts_at == datetime(2027, 5, 1, 4, 30, tzinfo=UTC)


def test_an_unknown_connection_is_said(web: Client, linde: Connection) -> None:
    answer = web.get("/schedule/?connection=999")

    assert answer.status_code == 404
    assert "There is no such connection." in shown(answer)


# --- health


def test_health_needs_no_login_and_counts_the_worker(client: Client, db: None) -> None:
    WorkerPulse.beat("worker of the tests")
    with time_machine.travel(timezone.now() + timedelta(hours=1), tick=True):
        assert client.get("/healthz").status_code == 503

    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"database": "ok", "worker": "ok"})


def test_work_that_waits_too_long_is_unhealthy(client: Client, web: Client, book: Book) -> None:
    (row,) = book()
    dialog = f"{row.get_absolute_url()}cancel/"
    web.post(dialog, {"form_key": str(uuid4()), "version": row.version})
    Cancellation.objects.update(due_at=timezone.now() - timedelta(minutes=10))

    assert client.get("/healthz").json()["worker"] == "late"


# --- through the list, one by one


def beside(page: str) -> dict[str, str]:
    """Addresses of the appointments in front and behind, as the page links them."""
    link = r'rel="(prev|next)" href="(/appointments/[^"]*)" data-'
    return dict(re.findall(link, page))


def test_previous_and_next_follow_the_list_and_its_filter(web: Client, book: Book) -> None:
    """Also from one page of the list to the other, and only where the filter leaves something."""
    rows = book(120)
    Appointment.objects.filter(pk=rows[50].pk).update(status="pending")
    first = re.search(
        r'class="who" href="([^"]*)"', shown(web.get("/?status=booked&range=upcoming&with=beh"))
    )
    assert first is not None

    seen, address = [], first[1]
    for _ in range(119):
        page = shown(web.get(address))
        seen.append(int(address.split("/")[2]))
        address = beside(page).get("next", "")
    back = beside(page)["prev"]

    assert seen == [row.pk for row in rows if row.pk != rows[50].pk]
    assert address == ""
    assert back == f"/appointments/{seen[-2]}/?status=booked&range=upcoming&with=beh"
    assert 'href="/?status=booked&range=upcoming&with=beh">' in page
    assert "prev" not in beside(shown(web.get(first[1])))


def test_beside_the_list_the_next_one_opens_there(web: Client, book: Book) -> None:
    first, second = book(2)

    page = shown(web.get(f"{first.get_absolute_url()}?range=upcoming", headers=HTMX))

    target = f"/appointments/{second.pk}/?range=upcoming"
    assert f'data-next hx-get="{target}" hx-target="#panel"' in page
    assert 'hx-get="/appointments/' in page
    assert beside(shown(web.get(first.get_absolute_url()))) == {}


def test_both_clocks_are_named_where_they_differ(web: Client, book: Book) -> None:
    person = BookedAttendee(external_id="p", name="Grace", time_zone="America/New_York")
    start = datetime(2027, 1, 12, 15, 0, tzinfo=UTC)
    (row,) = book(attendees=(person,), starts_at=start)

    page = shown(web.get(row.get_absolute_url()))

    assert "10:00 their time (America/New_York), 16:00 here (Europe/Amsterdam)" in page


def test_reference_address_and_number_can_be_copied(web: Client, book: Book) -> None:
    (row,) = book(reference="ADA-1")

    page = shown(web.get(row.get_absolute_url()))

    for text in ("ADA-1", "person0@example.org", "+31 6 55500000"):
        assert f'data-copy="{text}"' in page
