"""Where a cancellation stands: the page, the fragment that asks again, and what can be done."""

from __future__ import annotations

import csv
import html
import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from appointments.models import Appointment, Booking, Cancellation, Connection, WorkerPulse
from appointments.models.bookings import BookingState
from appointments.models.cancellations import DONE, OPEN, State
from appointments.services.cancel import Wish, ask_to_cancel
from tests.views.conftest import HTMX, POLL, Book, make_connection

SAID = "<script>alert(1)</script>"


def shown(answer: Any) -> str:
    return html.unescape(answer.content.decode())


@pytest.fixture
def asked(book: Book, staff: User) -> Cancellation:
    (row,) = book()
    wish = Wish(reason="Ill", note="Rang twice")
    found = ask_to_cancel(row, by=staff, wish=wish, form_key=uuid4(), version=row.version)
    assert isinstance(found, Cancellation)
    return found


def put(cancellation: Cancellation, state: State, **fields: Any) -> None:
    """Put it into *state* without a worker."""
    is_open = state in OPEN
    values = {
        "state": state,
        "due_at": timezone.now() if is_open else None,
        "settled_at": None if is_open else timezone.now(),
    }
    Cancellation.objects.filter(pk=cancellation.pk).update(**(values | fields))


def known(page: str) -> str:
    match = re.search(r'"X-Known": "([0-9a-f]+)"', page)
    assert match is not None
    return match[1]


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_a_page_and_words(
    state: State, web: Client, asked: Cancellation, staff: User
) -> None:
    put(asked, state, settled_by=staff if state == State.SETTLED else None)

    page = shown(web.get(f"/cancellations/{asked.pk}/"))

    assert f'data-state="{state}"' in page
    assert page.count('role="status"') == 1
    assert "Anna de Boer" in page
    assert "Rang twice" in page


@pytest.mark.parametrize("state", [one for one in State if one not in DONE | {State.SETTLED}])
def test_only_the_providers_word_is_called_cancelled(
    state: State, web: Client, asked: Cancellation
) -> None:
    """Neither the colour nor the first words of any other state may pass for success."""
    put(asked, state)

    page = shown(web.get(asked.get_absolute_url(), headers=HTMX))

    title = re.search(r'class="outcome-title"[^>]*>([^<]+)<', page)
    assert title is not None
    assert "cancelled" not in title[1].lower()
    assert 'data-tone="good"' not in page


@pytest.mark.parametrize(
    ("age", "interval"), [(0, "150ms"), (2, "150ms"), (10, "1s"), (120, "10s")]
)
def test_the_page_asks_again_the_later_the_longer_it_takes(
    age: int, interval: str, web: Client, asked: Cancellation
) -> None:
    put(asked, State.SENDING, requested_at=timezone.now() - timedelta(seconds=age))

    assert f'hx-trigger="every {interval}"' in shown(web.get(asked.get_absolute_url()))


@pytest.mark.parametrize("state", [one for one in State if one not in OPEN])
def test_it_stops_asking_once_nothing_can_change(
    state: State, web: Client, asked: Cancellation
) -> None:
    put(asked, state)

    fragment = shown(web.get(asked.get_absolute_url(), headers=POLL))

    assert "hx-trigger" not in fragment.split(">", 1)[0]
    assert fragment.strip().startswith(f'<section id="cancellation-{asked.pk}"')


def test_a_poll_with_nothing_new_is_empty_and_news_reach_the_list(
    web: Client, asked: Cancellation
) -> None:
    put(asked, State.SENDING, requested_at=timezone.now() - timedelta(seconds=20))
    address = asked.get_absolute_url()
    token = known(shown(web.get(address)))

    assert web.get(address, headers=POLL | {"X-Known": token}).status_code == 204
    put(asked, State.CONFIRMED)
    answer = web.get(address, headers=POLL | {"X-Known": token})
    assert answer["HX-Trigger"] == "desk-changed"
    assert 'data-state="confirmed"' in shown(answer)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (State.REQUESTED, "Nothing was sent, and from"),
        (State.SENDING, "What came of it is checked as soon as it is back."),
        (State.UNKNOWN, "Nothing is checked until it is back."),
        (State.CONFIRMED, ""),
    ],
)
def test_a_poll_says_that_no_worker_runs_as_long_as_one_is_needed(
    state: State, words: str, web: Client, asked: Cancellation
) -> None:
    """The state is the same as before; that nobody moves it on is the news."""
    put(asked, state, requested_at=timezone.now() - timedelta(minutes=2))
    address = asked.get_absolute_url()
    page = shown(web.get(address))
    assert "The worker is not running" not in page
    WorkerPulse.objects.update(seen_at=timezone.now() - timedelta(seconds=46))

    if words:
        assert words in shown(web.get(address, headers=POLL | {"X-Known": known(page)}))
    assert ("The worker is not running" in shown(web.get(address))) is bool(words)
    if state == State.UNKNOWN:
        assert words in shown(web.get("/unsettled/"))


def test_words_of_a_provider_are_folded_away_and_stay_text(
    web: Client, asked: Cancellation
) -> None:
    put(asked, State.REFUSED, said=SAID)

    page = web.get(asked.get_absolute_url()).content.decode()

    assert SAID not in page
    assert html.escape(SAID) in page
    assert "<summary>What meetergo said</summary>" in page


def test_what_is_not_sent_yet_can_be_taken_back(web: Client, asked: Cancellation) -> None:
    assert "Take back" in shown(web.get(asked.get_absolute_url()))

    answer = web.post(f"/cancellations/{asked.pk}/take-back/", headers=HTMX)

    assert 'data-state="withdrawn"' in shown(answer)
    asked.refresh_from_db()
    assert asked.state == State.WITHDRAWN


def test_an_unknown_one_can_be_read_again(web: Client, asked: Cancellation) -> None:
    later = timezone.now() + timedelta(minutes=10)
    put(asked, State.UNKNOWN, unknown_since=timezone.now(), due_at=later)

    answer = web.post(f"/cancellations/{asked.pk}/read-again/")

    assert answer["Location"] == asked.get_absolute_url()
    asked.refresh_from_db()
    assert asked.due_at is not None
    assert asked.due_at < later


@pytest.mark.parametrize("act", ["take-back", "read-again"])
def test_a_link_to_an_act_only_leads_to_the_page(
    act: str, web: Client, asked: Cancellation
) -> None:
    """That is where a login leads back to: what was posted is not replayed."""
    assert web.get(f"/cancellations/{asked.pk}/{act}/")["Location"] == asked.get_absolute_url()
    asked.refresh_from_db()
    assert asked.state == State.REQUESTED


@pytest.mark.parametrize("act", ["take-back", "read-again"])
def test_who_may_not_cancel_may_not_act(act: str, asked: Cancellation, db: None) -> None:
    client = Client()
    client.force_login(User.objects.create_user("looker"))

    assert client.post(f"/cancellations/{asked.pk}/{act}/").status_code == 403


# --- unsettled and activity


def test_nothing_unsettled_is_said_calmly(web: Client, asked: Cancellation) -> None:
    assert "Nothing is unsettled" in shown(web.get("/unsettled/"))


def test_the_unsettled_show_owner_age_and_what_to_do(
    web: Client, asked: Cancellation, staff: User, meetergo: Connection
) -> None:
    since = timezone.now() - timedelta(minutes=40)
    put(asked, State.NEEDS_HUMAN, why="still_booked", requested_at=since)
    Booking.objects.create(
        form_key=uuid4(),
        connection=meetergo,
        wish={"name": "Emma Visser"},
        starts_at=timezone.now(),
        state=Booking.State.UNKNOWN,
        requested_by=staff,
        requested_at=since,
        expires_at=since,
        due_at=timezone.now(),
    )

    page = shown(web.get("/unsettled/"))

    assert "Anna de Boer" in page
    assert "40 min ago" in page
    assert "was probably not cancelled" in page
    assert 'href="tel:+31655500000"' in page
    assert "Read again now" in page
    assert "New appointment at meetergo: Emma Visser" in page
    assert '<span class="count">2</span>' in page


@pytest.mark.parametrize(
    ("query", "is_found"),
    [
        ("", True),
        ("state=requested", True),
        ("state=confirmed", False),
        ("from=2026-01-01", True),
        ("to=2026-01-01", False),
        ("state=odd&from=never", True),
        ("provider=meetergo", True),
        ("provider=huskyvoice", False),
        ("q=person+0", True),
        ("q=nobody", False),
        ("before=1", False),
        ("before=rubbish", True),
    ],
)
def test_activity_is_narrowed_by_the_address(
    query: str, is_found: bool, web: Client, asked: Cancellation
) -> None:
    make_connection("huskyvoice", name="Clinic")

    answer = web.get(f"/activity/?{query}")

    assert answer.status_code == 200
    assert (f"/cancellations/{asked.pk}/" in shown(answer)) is is_found


def test_activity_of_one_person(web: Client, asked: Cancellation, colleague: User) -> None:
    row = f"/cancellations/{asked.pk}/"

    assert row in shown(web.get(f"/activity/?who={asked.requested_by_id}"))
    # Somebody who never asked for anything is no choice, and so no filter.
    assert "Select a valid choice" in shown(web.get(f"/activity/?who={colleague.pk}"))


@pytest.mark.parametrize("address", ["/activity/", "/unsettled/"])
def test_the_number_of_queries_does_not_grow(
    address: str, web: Client, book: Book, staff: User
) -> None:
    def ask(count: int) -> None:
        for row in book(count):
            ask_to_cancel(row, by=staff, wish=Wish(), form_key=uuid4(), version=row.version)
        Cancellation.objects.update(state=State.UNKNOWN, unknown_since=timezone.now())

    ask(3)
    web.get(address)
    with CaptureQueriesContext(database) as few:
        web.get(address)
    ask(30)
    with CaptureQueriesContext(database) as many:
        page = shown(web.get(address))

    assert page.count("/cancellations/") >= 30
    assert len(many) == len(few) <= 12


def test_what_the_provider_confirmed_is_called_cancelled(web: Client, asked: Cancellation) -> None:
    """And not any more once a listing shows it as booked again."""
    Cancellation.objects.update(state=State.CONFIRMED, due_at=None, settled_at=timezone.now())
    page = shown(web.get("/activity/?state=confirmed"))
    assert 'data-status="confirmed">Cancelled</span>' in page
    assert '<option value="confirmed" selected>Cancelled</option>' in page

    Cancellation.objects.update(contradicted_at=timezone.now())
    assert 'data-status="unknown">Contradicted</span>' in shown(web.get("/activity/"))


def test_activity_is_saved_as_it_is_filtered(web: Client, asked: Cancellation) -> None:
    Cancellation.objects.update(reason="=1+1", note="\tnote")

    answer = web.get(f"/activity.csv?who={asked.requested_by_id}&from=2026-01-01")
    nothing = web.get("/activity.csv?state=refused")

    (line,) = csv.DictReader(answer.getvalue().decode("utf-8-sig").splitlines())
    assert (line["By"], line["Person"], line["Outcome"]) == ("Anna de Boer", "Person 0", "Waiting")
    assert (line["Why"], line["Internal note"]) == ("'=1+1", "'\tnote")
    assert len(nothing.getvalue().decode().splitlines()) == 1


def test_the_activity_file_asks_no_more_for_each_line(web: Client, book: Book, staff: User) -> None:
    def ask(rows: list[Appointment]) -> None:
        for row in rows:
            ask_to_cancel(row, by=staff, wish=Wish(), form_key=uuid4(), version=row.version)

    ask(book(2))
    web.get("/activity/")
    with CaptureQueriesContext(database) as few:
        web.get("/activity.csv").getvalue()
    ask(book(30)[2:])
    with CaptureQueriesContext(database) as many:
        saved = web.get("/activity.csv").getvalue().decode()

    assert saved.count("Person ") == 30
    assert len(many) == len(few)


def test_activity_shows_moves_and_new_appointments_too(
    web: Client, book: Book, meetergo: Connection, staff: User, colleague: User
) -> None:
    """On a page and in a file of their own, by the same filters."""
    (row,), now = book(), timezone.now()
    for number, (kind, by) in enumerate((("move", staff), ("book", colleague))):
        Booking.objects.create(
            kind=kind,
            form_key=uuid4(),
            connection=meetergo,
            appointment=row if kind == "move" else None,
            wish={"name": "Ida Novak"} if kind == "book" else {},
            starts_at=now + timedelta(days=2),
            state=BookingState.REFUSED,
            requested_by=by,
            requested_at=now + timedelta(seconds=number),
            expires_at=now,
            settled_at=now,
        )

    page = web.get("/activity/?kind=bookings").text
    assert page.index("Ida Novak") < page.index("Person 0")
    assert "Move at meetergo" in page
    assert "Refused" in page
    assert "Ida Novak" not in web.get("/activity/").text
    assert "Ida Novak" not in web.get(f"/activity/?kind=bookings&who={staff.pk}").text
    assert "Person 0" not in web.get("/activity/?kind=bookings&q=novak").text
    file = web.get("/activity.csv?kind=bookings").getvalue().decode("utf-8-sig").splitlines()
    assert len(file) == 3
    assert "Ida Novak" in file[1]
