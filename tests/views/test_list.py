"""The list: what it shows, how it is narrowed, and how it learns of news."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.contrib.auth.models import Permission, User
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from appointments.domain import BookedAttendee, Scope, Status
from appointments.models import Appointment, Cancellation, Connection, ConnectionHealth, WorkerPulse
from appointments.services.cancel import Wish, ask_to_cancel
from appointments.services.records import store
from appointments.views.rows import key_of
from tests.views.conftest import HTMX, POLL, Book, make_connection, record

HOSTILE = """<img src=x onerror=alert(1)>"><b hx-get=/evil>'&"""


def text(web: Client, address: str, **headers: str) -> str:
    return web.get(address, headers=headers).content.decode()


def names(page: str) -> list[str]:
    """The people of the rows, in their order."""
    return [html.unescape(name) for name in re.findall(r'class="who"[^>]*>([^<]*)</a>', page)]


# --- what it shows


def test_from_today_on_the_coming_ones_come_first(web: Client, book: Book) -> None:
    """Yesterday's are not shown; the others stand in the order of their time."""
    tomorrow = timezone.now() + timedelta(days=1)
    book(3, starts_at=tomorrow)
    Appointment.objects.filter(external_id="booking-0").update(
        sorts_at=timezone.now() - timedelta(days=1)
    )

    assert names(text(web, "/?range=upcoming")) == ["Person 1", "Person 2"]


def test_a_session_without_a_clock_time_is_shown_as_such(web: Client, db: None) -> None:
    """No time is made up: session and batch, with the window if it is known."""
    husky = make_connection("huskyvoice", name="Clinic")
    day = timezone.localdate() + timedelta(days=1)
    lane = record(
        0,
        start=timezone.now(),
        starts_at=None,
        ends_at=None,
        day=day,
        session="Morning",
        batch="MA",
        window=(time(9), time(11)),
    )
    store(husky, [lane], read_at=timezone.now())

    page = text(web, "/?range=upcoming")

    assert "Morning · MA" in page
    assert ">09:00–11:00<" in page  # noqa: RUF001


def test_a_window_far_away_stands_where_it_is_here(web: Client, book: Book) -> None:
    """9 o'clock in Kolkata is half past four in Amsterdam: in front of five, and both are said."""
    day = date(timezone.localdate().year + 1, 1, 12)
    here = datetime(day.year, 1, 12, 4, tzinfo=timezone.get_default_timezone())
    book(2, starts_at=here + timedelta(hours=1))
    husky = make_connection("huskyvoice", name="Clinic")
    Connection.objects.filter(pk=husky.pk).update(time_zone="Asia/Kolkata")
    husky.refresh_from_db()
    lane = record(
        7,
        start=here,
        starts_at=None,
        ends_at=None,
        day=day,
        session="Morning",
        window=(time(9), time(11)),
    )
    store(husky, [lane], read_at=timezone.now())

    page = text(web, f"/?from={day}")

    assert names(page) == ["Person 7", "Person 0", "Person 1"]
    assert ">04:30–06:30<" in page  # noqa: RUF001
    assert "(09:00–11:00 Kolkata)" in page  # noqa: RUF001
    file = web.get(f"/appointments.csv?from={day}").getvalue().decode()
    assert f"{day},04:30,06:30,Morning,Europe/Amsterdam,Person 7" in file


def test_the_row_button_has_the_name_of_the_person(web: Client, book: Book) -> None:
    book()

    page = text(web, "/?range=upcoming")

    assert 'aria-label="Cancel appointment with Person 0"' in page
    assert ">Cancel…</button>" in page


def test_an_open_cancellation_takes_the_place_of_the_button(
    web: Client, book: Book, staff: User
) -> None:
    """Its state stands in the row and leads to it; a second one is not offered."""
    (row,) = book()
    asked = ask_to_cancel(row, by=staff, wish=Wish(), form_key=uuid4(), version=row.version)

    page = text(web, "/?range=upcoming")

    assert isinstance(asked, Cancellation)
    assert f'href="/cancellations/{asked.pk}/"' in page
    assert 'data-status="requested"' in page
    assert "Cancel appointment with" not in page


def test_a_cancelled_row_says_who_and_why(web: Client, book: Book, staff: User) -> None:
    """Of us by name, with the reason; otherwise that it was done at the provider."""
    rows = book(3)
    asked = ask_to_cancel(
        rows[0], by=staff, wish=Wish(reason="Ill"), form_key=uuid4(), version=rows[0].version
    )
    assert isinstance(asked, Cancellation)
    Cancellation.objects.update(state="confirmed", due_at=None, settled_at=timezone.now())
    Appointment.objects.update(status=Status.CANCELLED)
    Appointment.objects.filter(pk=rows[1].pk).update(cancelled_by="host", cancel_reason="Praxis zu")

    page = text(web, "/?range=upcoming")

    assert re.findall(r'class="sub" dir="auto" title="([^"]*)"', page) == [
        "by Anna de Boer: Ill",
        "at meetergo, by host: Praxis zu",
        "at meetergo",
    ]


def test_what_begins_soon_is_pointed_out_and_read_aloud(web: Client, book: Book) -> None:
    """Not what is cancelled, and not any more once it began."""
    book(6, starts_at=timezone.now() + timedelta(minutes=10))
    Appointment.objects.filter(external_id="booking-1").update(status=Status.CANCELLED)

    page = text(web, "/?range=upcoming")

    rows = re.findall(r'data-status="(\w+)"(?: data-soon="(\w+)")?>\s', page)
    assert [soon for _status, soon in rows] == ["hour", "", "two", "two", "", ""]
    assert page.count("begins within the hour") == 1
    assert page.count("begins within two hours") == 2


@pytest.mark.usefixtures("noon")
def test_the_list_learns_that_time_went_by(web: Client, book: Book) -> None:
    """The page asks as always; the answer is new as soon as a row begins within the hour."""
    with time_machine.travel(timezone.now(), tick=False) as clock:
        book(1, starts_at=timezone.now() + timedelta(minutes=70))
        WorkerPulse.beat("worker of the tests")
        token = known(text(web, "/?range=upcoming"))
        clock.shift(timedelta(minutes=9))
        WorkerPulse.beat("worker of the tests")
        assert web.get("/?range=upcoming", headers=POLL | {"X-Known": token}).status_code == 204
        clock.shift(timedelta(minutes=2))
        WorkerPulse.beat("worker of the tests")
        answer = web.get("/?range=upcoming", headers=POLL | {"X-Known": token})

    assert answer.status_code == 200
    assert b"begins within the hour" in answer.content


def test_who_may_not_cancel_sees_no_button(db: None, book: Book) -> None:
    looker = User.objects.create_user("looker")
    looker.user_permissions.add(Permission.objects.get(codename="view_appointment"))
    book()
    client = Client()
    client.force_login(looker)

    assert "Cancel…" not in text(client, "/?range=upcoming")


def test_strings_of_a_provider_stay_text(web: Client, book: Book) -> None:
    """Whatever a provider sends is printed, never obeyed."""
    person = BookedAttendee(external_id="p", name=HOSTILE, email=HOSTILE, phone=HOSTILE)
    book(title=HOSTILE, host=HOSTILE, reference=HOSTILE, attendees=(person,))

    page = text(web, "/?range=upcoming")

    assert "<img src=x" not in page
    assert "<b hx-get" not in page
    assert HOSTILE in names(page)


def test_a_word_that_no_documentation_names_is_shown_and_cannot_be_cancelled(
    web: Client, book: Book
) -> None:
    book(status=Status.OTHER, provider_status="no-show")

    page = text(web, "/?range=upcoming")

    assert "“no-show”" in page
    assert "Cancel…" not in page


# --- today


NOON = datetime(2026, 11, 24, 12, tzinfo=ZoneInfo("Europe/Amsterdam"))


@pytest.fixture
def noon() -> Iterator[None]:
    with time_machine.travel(NOON, tick=True):
        yield


@pytest.mark.usefixtures("noon")
def test_the_list_opens_with_today(web: Client, book: Book) -> None:
    """Also what is over of it, and goes on with the days behind it; pressing Today ends there."""
    book(3, starts_at=NOON - timedelta(minutes=45))
    book(1, starts_at=NOON + timedelta(days=1), connection=make_connection("meetergo", name="Two"))

    assert [len(names(text(web, address))) for address in ("/", "/?range=upcoming")] == [4, 4]
    assert names(text(web, "/?range=today")) == ["Person 0", "Person 1", "Person 2"]
    assert text(web, "/").count('class="free-day"') == 0


@pytest.mark.usefixtures("noon")
def test_a_day_without_appointments_is_said_to_be_free(web: Client, book: Book) -> None:
    """Only where today belongs to what is shown, and nobody is looked for."""
    book(60, starts_at=NOON + timedelta(days=2))

    page = text(web, "/")

    assert re.search(r'24 November <span>Today</span></h2>\s*<p class="free-day">No app', page)
    later = re.search(r'rel="next" href="(/[^"]*)"', page)
    assert later is not None
    for address in (html.unescape(later[1]), "/?from=2026-11-25", "/?q=person", "/?range=week"):
        assert 'class="free-day"' not in text(web, address)


def filters_form(page: str) -> str:
    return page.partition('<form id="filters"')[2].partition("</form>")[0]


@pytest.mark.usefixtures("noon")
def test_a_search_that_begins_on_today_looks_through_all_coming_days(
    web: Client, book: Book
) -> None:
    """Unless it is narrowed to today while it stands."""
    book(1, starts_at=NOON + timedelta(days=9))

    assert 'name="range"' not in filters_form(text(web, "/"))
    assert 'name="begun" value="today"' in filters_form(text(web, "/?range=today"))
    assert names(text(web, "/?q=person&begun=today")) == ["Person 0"]
    assert names(text(web, "/?begun=today&status=booked")) == []
    assert names(text(web, "/?status=booked")) == ["Person 0"]
    assert names(text(web, "/?q=person&range=today")) == []
    assert 'name="range" value="today"' in filters_form(text(web, "/?q=person&range=today"))


@pytest.mark.usefixtures("noon")
def test_an_empty_day_leads_to_the_next_one_with_appointments(web: Client, book: Book) -> None:
    book(1, starts_at=NOON + timedelta(days=1))
    book(1, starts_at=NOON + timedelta(days=3), connection=make_connection("meetergo", name="Two"))
    link = '<a href="/?from=2026-11-25&amp;to=2026-11-25">Wednesday 25 November</a> (Tomorrow)'

    assert link in text(web, "/?range=today")
    assert "Thursday 26 November</a>" not in text(web, "/?from=2026-11-25&to=2026-11-25")
    assert "Friday 27 November</a>." in text(web, "/?from=2026-11-26&to=2026-11-26")
    assert "The next day" not in text(web, "/?from=2026-11-28&to=2026-11-28")
    assert "The next day" not in text(web, "/?provider=huskyvoice&from=2026-11-28")


@pytest.mark.usefixtures("noon")
@pytest.mark.parametrize("start", ["/?range=today", "/?range=upcoming"])
def test_a_long_day_opens_at_what_is_going_on(start: str, web: Client, book: Book) -> None:
    """Not at a page of what is over; that is one press back."""
    rows = book(180, starts_at=NOON - timedelta(hours=4))
    for number, row in enumerate(rows):
        row.sorts_at = row.starts_at = NOON + timedelta(minutes=4 * (number - 60))
        row.ends_at = row.starts_at + timedelta(minutes=4)
    Appointment.objects.bulk_update(rows, ["sorts_at", "starts_at", "ends_at"])

    page = text(web, start)

    assert names(page)[0] == "Person 46"
    earlier = re.search(r'rel="prev" href="(/\?[^"]*before[^"]*)"', page)
    assert earlier is not None
    before = names(text(web, html.unescape(earlier[1])))
    assert before == [f"Person {number}" for number in range(46)]
    here = re.search(r'hx-get="(/\?[^"]*after=[^"]*)"', page)
    assert here is not None
    assert names(text(web, html.unescape(here[1]))) == names(page)
    assert names(text(web, f"{start}&q=person"))[0] == "Person 0"
    assert names(text(web, f"/?from={NOON.date()}"))[0] == "Person 46"


@pytest.mark.usefixtures("noon")
def test_a_long_day_that_is_over_does_not_open_empty(web: Client, book: Book) -> None:
    """In the evening nothing is left to open at: never "nothing is booked"."""
    rows = book(60, starts_at=NOON - timedelta(hours=4))
    for number, row in enumerate(rows):
        row.sorts_at = row.starts_at = NOON - timedelta(minutes=200 - number)
        row.ends_at = row.starts_at
    Appointment.objects.bulk_update(rows, ["sorts_at", "starts_at", "ends_at"])

    assert names(text(web, "/?range=today"))[0] == names(text(web, "/"))[0] == "Person 0"
    book(1, starts_at=NOON + timedelta(days=1), connection=make_connection("meetergo", name="Two"))
    assert names(text(web, "/")) == ["Person 0"]
    assert "Earlier" in text(web, "/")


def lanes(count: int, *, session: str = "Evening", window: tuple[time, time] | None = None) -> None:
    """Patients of a session of this day; without a window no clock times are known."""
    husky = make_connection("huskyvoice", name="Clinic")
    lane = {"starts_at": None, "ends_at": None, "day": NOON.date(), "session": session}
    people = [BookedAttendee(name=f"{session} {number}") for number in range(count)]
    records = [
        record(number, start=NOON, window=window, attendees=(one,), **lane)
        for number, one in enumerate(people)
    ]
    store(husky, records, read_at=timezone.now())


@pytest.mark.usefixtures("noon")
@pytest.mark.parametrize("start", ["/", "/?range=today"])
@pytest.mark.parametrize("session", ["Morning", "Evening", "Night"])
def test_who_may_still_come_is_never_behind_the_opening(
    session: str, start: str, web: Client, book: Book
) -> None:
    """Of a session without clock times nobody knows when it is over."""
    lanes(6, session=session)
    book(20, starts_at=NOON - timedelta(hours=11))
    book(3, starts_at=NOON + timedelta(hours=1), connection=make_connection("meetergo", name="2"))

    assert {f"{session} {number}" for number in range(6)} <= set(names(text(web, start)))


def test_sessions_without_clock_times_stand_in_the_order_of_the_day(
    web: Client, book: Book
) -> None:
    with time_machine.travel(NOON.replace(hour=1), tick=True):
        web.force_login(User.objects.get(username="anna"))
        book(2, starts_at=NOON - timedelta(minutes=30))
        lanes(1, session="Evening")
        lane = {"starts_at": None, "ends_at": None, "day": NOON.date(), "session": "Morning"}
        first = record(9, start=NOON, **lane)
        store(Connection.objects.get(name="Clinic"), [first], read_at=timezone.now())

        shown = names(text(web, "/"))

    assert shown == ["Person 9", "Person 0", "Person 1", "Evening 0"]


@pytest.mark.usefixtures("noon")
@pytest.mark.parametrize(("ends", "is_shown"), [(time(18), True), (time(11), False)])
def test_who_is_within_a_window_is_not_behind_the_opening(
    ends: time, is_shown: bool, web: Client, book: Book
) -> None:
    lanes(22, window=(time(8), ends))
    Appointment.objects.update(sorts_at=NOON.replace(hour=8))
    book(3, starts_at=NOON + timedelta(hours=1))

    assert ("Evening 0" in names(text(web, "/"))) is is_shown


@pytest.mark.usefixtures("noon")
def test_a_long_appointment_that_goes_on_is_not_behind_the_opening(web: Client, book: Book) -> None:
    rows = book(30, starts_at=NOON - timedelta(hours=11, minutes=50))
    Appointment.objects.filter(pk=rows[4].pk).update(ends_at=NOON + timedelta(hours=4))

    assert names(text(web, "/"))[0] == "Person 0"
    Appointment.objects.filter(pk=rows[4].pk).update(status="cancelled")
    assert names(text(web, "/"))[0] == "Person 22"


def test_a_remembered_place_does_not_outlive_its_day(web: Client, book: Book, staff: User) -> None:
    """Reloaded the next morning, "today" begins anew, and nothing is said to be in front of it."""
    with time_machine.travel(NOON, tick=True) as clock:
        WorkerPulse.beat("worker of the tests")
        (row,) = book(1, starts_at=NOON - timedelta(hours=3))
        book(
            1, starts_at=NOON + timedelta(days=1), connection=make_connection("meetergo", name="2")
        )
        address = f"/?range=today&after={key_of({'sorts_at': row.sorts_at, 'pk': row.pk})}"
        assert text(web, address).count("Nothing is booked") == 0
        clock.shift(timedelta(days=1))
        web.logout()
        web.force_login(staff)
        page = text(web, address)

    assert names(page) == ["Person 0"]
    assert ">Earlier<" not in page


@pytest.mark.usefixtures("noon")
def test_a_place_whose_rows_are_gone_leads_to_the_beginning(web: Client, book: Book) -> None:
    """Never "nothing found" while there is something."""
    rows = book(3, starts_at=NOON + timedelta(hours=1))
    key = key_of({"sorts_at": rows[1].sorts_at, "pk": rows[1].pk})
    Appointment.objects.filter(pk=rows[2].pk).update(status="cancelled")

    for headers in ({}, POLL):
        answer = web.get(f"/?status=booked&after={key}", headers=headers)
        assert names(answer.content.decode()) == ["Person 0", "Person 1"]


@pytest.mark.usefixtures("noon")
@pytest.mark.parametrize("path", ["/", "/print/"])
def test_of_days_that_nobody_read_nothing_is_said_to_be_free(
    path: str, web: Client, book: Book
) -> None:
    """HuskyVoice is read for fourteen days, the others for sixty."""
    book(1)
    make_connection("huskyvoice", name="Clinic")
    for one in Connection.objects.all():
        ConnectionHealth.objects.create(connection=one, read_at=timezone.now())
    unread = "There may be more, because not everything is read:"

    def shown(query: str) -> str:
        return html.unescape(text(web, f"{path}?{query}"))

    assert unread not in shown("from=2026-11-24&to=2026-12-08")
    assert f"{unread} Clinic up to Tue 8 Dec." in shown("from=2026-11-24&to=2026-12-09")
    assert unread not in shown("from=2026-11-24&to=2026-12-09&provider=meetergo")
    far = shown("from=2027-03-01&to=2027-03-01")
    assert f"{unread} Physio am Park up to Sat 23 Jan, Clinic up to Tue 8 Dec." in far
    assert "Nothing is booked" not in far
    ConnectionHealth.objects.filter(connection__name="Clinic").update(read_at=None)
    assert f"{unread} Clinic not at all yet." in shown("range=today")


@pytest.mark.usefixtures("noon")
def test_who_clears_a_doctors_days_is_told_to_choose_some(web: Client, book: Book) -> None:
    book(1)

    assert "choose days that end" in text(web, "/?with=behrens")
    assert "choose days that end" not in text(web, "/?with=behrens&range=week")


@pytest.mark.usefixtures("noon")
def test_a_filter_does_not_make_today_free(web: Client, book: Book) -> None:
    book(2, starts_at=NOON + timedelta(days=1))
    book(1, starts_at=NOON + timedelta(hours=1), connection=make_connection("huskyvoice", name="2"))

    for query in ("provider=meetergo", "with=behrens&provider=meetergo"):
        page = text(web, f"/?{query}")
        assert len(names(page)) == 2
        assert 'class="free-day"' not in page


@pytest.mark.usefixtures("noon")
def test_the_day_that_was_jumped_to_goes_along_with_the_next_filter(
    web: Client, book: Book
) -> None:
    """And a day that was left is not kept by the browser: its field says that it is empty."""
    jumped = filters_form(text(web, "/?day=2026-11-26"))

    for name in ("from", "to"):
        assert re.search(rf'name="{name}" value="2026-11-26"', jumped)
        assert re.search(rf'name="{name}" value=""', filters_form(text(web, "/")))


@pytest.mark.parametrize(
    ("zone", "now", "is_over"),
    [
        ("America/Los_Angeles", datetime(2026, 11, 24, 4, tzinfo=ZoneInfo("Europe/Amsterdam")), 0),
        ("Asia/Kolkata", datetime(2026, 11, 23, 21, tzinfo=ZoneInfo("Europe/Amsterdam")), 1),
    ],
)
def test_a_window_is_over_when_its_day_is_over_at_the_practice(
    zone: str, now: datetime, is_over: int, web: Client, staff: User
) -> None:
    """What the list offers to cancel is what the dialog takes."""
    husky = make_connection("huskyvoice", name="Clinic")
    Connection.objects.filter(pk=husky.pk).update(time_zone=zone)
    husky.refresh_from_db()
    lane = {"starts_at": None, "ends_at": None, "day": date(2026, 11, 23), "session": "Evening"}
    with time_machine.travel(now, tick=False):
        window = (time(20), time(22))
        store(husky, [record(7, start=now, window=window, **lane)], read_at=now)
        web.force_login(staff)

        page = text(web, "/?from=2026-11-23&to=2026-11-24")

        assert names(page) == ["Person 7"]
        assert Appointment.objects.get().is_past is bool(is_over)
        assert page.count('class="row past"') == is_over
        assert ("Cancel…</button>" in page) is not bool(is_over)


@pytest.mark.usefixtures("noon")
def test_where_the_day_has_come_to_is_marked(web: Client, book: Book) -> None:
    """In front of the first that has not begun; nowhere if all of it is over or to come."""
    rows = book(4, starts_at=NOON - timedelta(minutes=45))

    page = text(web, "/")

    assert page.count("data-now>") == page.count("From now on:") == 1
    marked = re.search(r'id="a(\d+)"[^>]*data-now>', page)
    assert marked is not None
    assert int(marked[1]) == rows[2].pk
    assert "data-now>" not in text(web, "/?q=person3@")


@pytest.mark.usefixtures("noon")
def test_a_day_that_fits_on_the_screen_opens_with_its_beginning(web: Client, book: Book) -> None:
    """And what has opened with it stays so, however much of it is over by and by."""
    rows = book(24, starts_at=NOON - timedelta(hours=10, minutes=45))
    Appointment.objects.filter(pk=rows[0].pk).delete()
    page = text(web, "/")
    assert names(page)[0] == "Person 1"

    book(1, starts_at=NOON - timedelta(hours=9), connection=make_connection("meetergo", name="2"))

    assert names(text(web, "/"))[0] == "Person 20"
    answer = web.get("/?range=upcoming", headers=POLL | {"X-Known": known(page)})
    assert names(answer.content.decode())[0] == "Person 1"


@pytest.mark.usefixtures("noon")
def test_a_doctor_searched_as_a_person_is_pointed_to(web: Client, book: Book) -> None:
    book(1, starts_at=NOON + timedelta(days=2))
    link = 'href="/?with=behrens&amp;range=upcoming">appointments with “behrens”'

    assert link in text(web, "/?q=behrens")
    over = make_connection("huskyvoice", name="Clinic")
    book(1, starts_at=NOON - timedelta(days=9), host="Dr. Sharma", connection=over)
    assert "Doctors and staff" not in text(web, "/?q=sharma")
    assert len(names(text(web, "/?range=upcoming&with=behrens"))) == 1
    assert "Doctors and staff" not in text(web, "/?q=nobody")


def test_whoever_was_removed_from_a_group_is_not_looked_for_in_vain(
    web: Client, book: Book, staff: User
) -> None:
    people = tuple(
        BookedAttendee(external_id=name, name=name) for name in ("Lena Vogt", "Lukas Brandt")
    )
    (group,) = book(is_group=True, attendees=people)
    wish = Wish(scope=Scope.ATTENDEE, attendee=group.attendees.get(name="Lukas Brandt"))
    asked = ask_to_cancel(group, by=staff, wish=wish, form_key=uuid4(), version=group.version)
    assert isinstance(asked, Cancellation)
    group.attendees.filter(name="Lukas Brandt").delete()
    sentence = "Lukas Brandt was removed from the appointment "

    assert sentence not in text(web, "/?q=lukas")
    Cancellation.objects.update(state="confirmed", due_at=None)
    page = text(web, "/?q=lukas")
    assert sentence in page
    assert f'by Anna de Boer. <a href="{asked.get_absolute_url()}">' in page
    assert sentence not in text(web, "/?q=lena")
    Appointment.objects.update(sorts_at=timezone.now() - timedelta(days=2))
    assert sentence not in text(web, "/?q=lukas")


@pytest.mark.parametrize("query", ["oconnor", "o'connor", "O\u2019Connor", "connor"])
def test_a_name_is_found_without_its_apostrophe(query: str, web: Client, book: Book) -> None:
    book(1, attendees=(BookedAttendee(external_id="p", name="James O'Connor"),))

    assert names(text(web, f"/?q={query}")) == ["James O'Connor"]


def test_whoever_is_found_by_another_spelling_stands_first_of_a_group(
    web: Client, book: Book
) -> None:
    people = tuple(BookedAttendee(external_id=n, name=n) for n in ("Omar Haddad", "Ida Sørensen"))
    book(is_group=True, attendees=people)

    for query in ("soerensen", "sorensen", "Sørensen"):
        assert names(text(web, f"/?q={query}")) == ["Ida Sørensen"]


@pytest.mark.parametrize("name", ["Dr Behrens", "behrens katrin", "Dr. Katrin", "Behrens", "rens"])
def test_a_doctor_is_found_as_people_say_the_name(name: str, web: Client, book: Book) -> None:
    book(1, host="Dr. Katrin Behrens")

    assert names(text(web, f"/?with={name}")) == ["Person 0"]
    assert names(text(web, "/?with=Dr+Behrmann")) == []


def test_a_reference_is_found_without_what_stands_between(web: Client, book: Book) -> None:
    book(1, reference="EMR-28 995/b")

    for query in ("emr28995b", "EMR-28", "28+995"):
        assert names(text(web, f"/?q={query}")) == ["Person 0"]


@pytest.mark.usefixtures("noon")
def test_a_search_that_found_some_says_where_it_looked(web: Client, book: Book) -> None:
    book(1)

    everywhere, narrowed = text(web, "/?q=person"), text(web, "/?q=person&range=today")

    assert "Searched here" not in everywhere
    assert "Searched here: Today." in narrowed
    assert 'href="/?q=person">Search everywhere' in narrowed
    assert "Searched here: meetergo · Upcoming." in text(web, "/?q=person&provider=meetergo")


@pytest.mark.usefixtures("noon")
def test_a_search_goes_on_into_the_past_newest_first(web: Client, book: Book) -> None:
    """Behind what is to come, and only where all days are searched."""
    (coming,) = book(1, starts_at=NOON + timedelta(days=2))
    two = make_connection("meetergo", name="Two")
    rows = book(12, connection=two, starts_at=NOON - timedelta(days=3))
    for number, row in enumerate(rows):
        row.sorts_at = row.starts_at = NOON - timedelta(days=20 - number)
        row.ends_at = row.starts_at + timedelta(minutes=30)
    Appointment.objects.bulk_update(rows, ["sorts_at", "starts_at", "ends_at"])

    page = text(web, "/?q=person")

    assert 'href="/?q=person&amp;from=2026-08-26">Look at all of the past 90 days' in page
    newest = [f"Person {number}" for number in range(11, 1, -1)]
    assert names(page) == ["Person 0", *newest]
    assert page.count("Before today, newest first:") == 1
    assert page.index("Before today") > page.index(f'id="a{coming.pk}"')
    assert names(text(web, "/?q=person&range=today")) == []
    assert names(text(web, "/?range=upcoming")) == ["Person 0"]
    for row in (rows[11], coming):
        opened = text(web, f"{row.get_absolute_url()}?q=person")
        assert re.findall(r'rel="(?:prev|next)"[^>]*href', opened) == []


@pytest.mark.usefixtures("noon")
def test_who_has_only_been_here_is_found_too(web: Client, book: Book) -> None:
    book(1, starts_at=NOON - timedelta(days=300))

    page = text(web, "/?q=person")

    assert names(page) == ["Person 0"]
    assert "No coming appointment was found." in page
    assert "Nothing found" not in page


def test_whatever_nobody_knows_the_outcome_of_can_be_listed(
    web: Client, book: Book, staff: User
) -> None:
    rows = book(3)
    for row in rows[:2]:
        ask_to_cancel(row, by=staff, wish=Wish(), form_key=uuid4(), version=row.version)
    Cancellation.objects.filter(appointment=rows[0]).update(state="unknown")

    assert names(text(web, "/?range=upcoming&status=unsettled")) == ["Person 0"]


# --- how it is narrowed


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=person+person3@", ["Person 3"]),
        ("q=PERSON4@EXAMPLE", ["Person 4"]),
        ("q=06+55500002", ["Person 2"]),
        ("q=booking-1", ["Person 1"]),
        ("q=nobody", []),
        ("with=behrens&q=person0@", ["Person 0"]),
        ("with=somebody+else", []),
        ("status=cancelled", []),
        ("status=booked&q=person1@", ["Person 1"]),
        ("provider=meetergo&q=person1@", ["Person 1"]),
        ("provider=huskyvoice", []),
    ],
)
def test_a_filter_in_the_address_narrows_the_list(
    query: str, found: list[str], web: Client, book: Book
) -> None:
    book(5)
    make_connection("huskyvoice", name="Clinic")

    assert names(text(web, f"/?{query}")) == found


def test_whoever_is_looked_for_stands_first_of_a_group(web: Client, book: Book) -> None:
    """Otherwise the row would show a name that nobody searched."""
    group = tuple(
        BookedAttendee(external_id=name, name=name) for name in ("Lena Vogt", "Zoë Lindner")
    )
    book(is_group=True, attendees=group)

    assert names(text(web, "/?range=upcoming")) == ["Lena Vogt"]
    assert names(text(web, "/?q=zoe")) == ["Zoë Lindner"]


def test_days_are_those_of_the_desks_clock(web: Client, book: Book) -> None:
    day = timezone.localdate() + timedelta(days=3)
    book(1, starts_at=timezone.now() + timedelta(days=3))

    assert names(text(web, f"/?from={day}&to={day}")) == ["Person 0"]
    assert names(text(web, f"/?from={day + timedelta(days=1)}")) == []


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("from=2026-13-40", "This is not a day."),
        ("from=0001-01-01", "Ensure this value is greater than or equal to"),
        ("from=2026-12-02&to=2026-12-01", "This day is before the first one."),
        ("provider=nobody", "There is no “nobody” here."),
        ("connection=99", "There is no “99” here."),
        ("status=odd", "There is no “odd” here."),
        ("after=rubbish", ""),
        ("before=9999999999999999-1", ""),
        ("q=%00", "Null characters are not allowed."),
    ],
)
def test_a_wrong_value_is_said_at_its_field_and_the_rest_works(
    query: str, message: str, web: Client, book: Book
) -> None:
    book()

    answer = web.get(f"/?{query}")

    assert answer.status_code == 200
    assert message in html.unescape(answer.content.decode())


def test_pages_follow_each_other_by_key(web: Client, book: Book) -> None:
    """Later and Earlier lead through all rows once, also where two begin together."""
    book(120)
    Appointment.objects.update(sorts_at=timezone.now() + timedelta(hours=2))
    seen: list[str] = []
    address = "/?range=upcoming"
    while address:
        page = text(web, address)
        seen += names(page)
        later = re.search(r'rel="next" href="(/\?range=upcoming&amp;after[^"]*)"', page)
        last, address = address, html.unescape(later[1]) if later else ""

    assert len(seen) == len(set(seen)) == 120
    earlier = re.search(r'rel="prev" href="(/\?range=upcoming&amp;before[^"]*)"', text(web, last))
    assert earlier is not None
    assert names(text(web, html.unescape(earlier[1]))) == seen[50:100]


def test_an_inactive_connection_is_out_of_sight(
    web: Client, book: Book, meetergo: Connection
) -> None:
    book()
    Connection.objects.update(is_active=False)
    make_connection("huskyvoice", name="Clinic")

    assert names(text(web, "/?range=upcoming")) == []


# --- what everybody should know


def test_without_a_connection_it_says_what_an_administrator_does(web: Client) -> None:
    page = text(web, "/?range=upcoming")

    assert "No provider is connected yet" in page
    assert "manage.py connect" in page


def test_a_failing_connection_and_a_key_that_ends_are_said(
    web: Client, meetergo: Connection
) -> None:
    ConnectionHealth.objects.create(
        connection=meetergo, failing_since=timezone.now(), failure="credentials"
    )
    meetergo.credentials_expire_on = date.today() + timedelta(days=5)  # noqa: DTZ011
    meetergo.save()

    page = text(web, "/?range=upcoming")

    assert "Physio am Park: meetergo does not accept our key." in page
    assert "The key of Physio am Park ends on" in page


@pytest.mark.usefixtures("noon")
def test_a_failing_connection_can_be_read_at_once(web: Client, meetergo: Connection) -> None:
    """When it is tried next is said; one press does not wait for that."""
    later = timezone.now() + timedelta(minutes=30)
    health = ConnectionHealth.objects.create(
        connection=meetergo, failing_since=timezone.now(), failure="deadline", next_sync_at=later
    )
    page = text(web, "/?range=upcoming")
    assert f"Next try at {timezone.localtime(later):%H:%M}." in page
    assert "The list shows how it was" not in page
    assert "Read now" in page

    assert web.post(f"/connections/{meetergo.pk}/read/").status_code == 303

    health.refresh_from_db()
    assert health.next_sync_at <= timezone.now()
    page = text(web, "/?range=upcoming")
    assert "It is being tried again." in page
    assert "Read now" not in page


@pytest.mark.usefixtures("noon")
def test_of_a_failing_connection_it_is_said_how_old_the_list_is(
    web: Client, meetergo: Connection
) -> None:
    ConnectionHealth.objects.create(
        connection=meetergo,
        failing_since=NOON - timedelta(minutes=5),
        failure="deadline",
        read_at=NOON - timedelta(minutes=6),
    )

    assert "The list shows how it was at 11:54." in text(web, "/")


def test_hammering_on_read_now_costs_no_requests(web: Client, meetergo: Connection) -> None:
    """A provider allows so many a day; the next one is planned all the same."""
    now = timezone.now()
    health = ConnectionHealth.objects.create(connection=meetergo, failing_since=now)
    run = meetergo.sync_runs.create(
        started_at=now, first_day=now.date(), last_day=now.date(), outcome="failed"
    )

    for _ in range(3):
        web.post(f"/connections/{meetergo.pk}/read/")

    health.refresh_from_db()
    assert health.next_sync_at == run.started_at + timedelta(seconds=20)


def test_a_silent_worker_is_said(web: Client, meetergo: Connection) -> None:
    WorkerPulse.objects.update(seen_at=timezone.now() - timedelta(minutes=5))

    assert "The worker is not running" in text(web, "/?range=upcoming")


# --- how it learns of news


def known(page: str) -> str:
    match = re.search(r'"X-Known": "([0-9a-f]+)"', page)
    assert match is not None
    return match[1]


def test_a_poll_with_nothing_new_gets_no_rows(
    web: Client, book: Book, meetergo: Connection
) -> None:
    """Only when the connections were read: the page counts the ages by itself."""
    book(5)
    ConnectionHealth.objects.create(connection=meetergo, read_at=timezone.now())
    token = known(text(web, "/?range=upcoming"))
    ConnectionHealth.objects.update(read_at=timezone.now())

    answer = web.get("/?range=upcoming", headers=POLL | {"X-Known": token})

    assert answer.status_code == 204
    assert str(meetergo.pk) in json.loads(answer["HX-Trigger"])["desk-read"]


def test_a_poll_after_a_change_gets_the_list_alone(web: Client, book: Book, staff: User) -> None:
    (row,) = book()
    token = known(text(web, "/?range=upcoming"))
    ask_to_cancel(row, by=staff, wish=Wish(), form_key=uuid4(), version=row.version)

    answer = web.get("/?range=upcoming", headers=POLL | {"X-Known": token})

    page = answer.content.decode()
    assert answer.status_code == 200
    assert page.strip().startswith('<div id="list"')
    assert "To be cancelled" in page
    assert known(page) != token


def test_typing_in_the_search_gets_toolbar_and_list(web: Client, book: Book) -> None:
    """The address that the browser shows holds only what is set."""
    book(2)

    answer = web.get("/?q=person+1&status=&provider=&from=", headers=HTMX)

    assert answer["HX-Push-Url"] == "/?q=person+1"
    assert answer.content.decode().strip().startswith('<div id="desk"')


@pytest.mark.parametrize(
    ("before", "now", "header"),
    [
        ("", "q=a", "HX-Push-Url"),
        ("?q=a", "q=an", "HX-Replace-Url"),
        ("?q=a&range=week", "q=an&range=week", "HX-Replace-Url"),
        ("?with=a", "with=an", "HX-Replace-Url"),
        ("?q=an", "q=", "HX-Replace-Url"),
        ("?q=an", "q=an&status=booked", "HX-Push-Url"),
        ("?range=week", "range=today", "HX-Push-Url"),
        ("?q=an", "q=an", "HX-Replace-Url"),
        ("?range=week", "range=week", "HX-Replace-Url"),
    ],
)
def test_back_undoes_a_press_or_a_word_and_not_a_letter(
    before: str, now: str, header: str, web: Client, db: None
) -> None:
    current = HTMX | {"HX-Current-URL": f"http://testserver/{before}"}

    assert header in web.get(f"/?{now}", headers=current)


def test_the_number_of_queries_does_not_grow_with_the_rows(
    web: Client, book: Book, staff: User
) -> None:
    rows = book(5)
    for row in rows:
        ask_to_cancel(row, by=staff, wish=Wish(), form_key=uuid4(), version=row.version)
    web.get("/?range=upcoming")
    with CaptureQueriesContext(database) as few:
        web.get("/?range=upcoming")
    for row in book(50)[5:]:
        ask_to_cancel(row, by=staff, wish=Wish(), form_key=uuid4(), version=row.version)
    with CaptureQueriesContext(database) as many:
        page = web.get("/?range=upcoming").content.decode()

    assert page.count('class="row') >= 50
    assert len(many) == len(few) <= 19


def test_who_names_nobody_is_not_left_out_without_a_word(web: Client, book: Book) -> None:
    """A doctor is ill: what her provider keeps silent about may be hers too."""
    day = timezone.localdate() + timedelta(days=3)
    noon = datetime.combine(day, time(12), timezone.get_current_timezone())
    book(starts_at=noon, external_id="named")
    book(starts_at=noon, external_id="silent", host="")
    book(starts_at=noon, external_id="over", host="", status=Status.CANCELLED)

    page = text(web, f"/?with=behrens&from={day}&to={day}")
    assert "1 more on these days names no doctor or staff" in page
    assert page.count('class="who"') == 1
    assert "names no doctor" not in text(web, f"/?from={day}&to={day}")


def test_a_reference_is_found_as_it_is_printed(web: Client, book: Book) -> None:
    book(2)
    book(external_id="ada", reference="ADA-7")

    assert text(web, "/?q=Ref.+ADA-7").count('class="who"') == 1
