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
from django.utils.formats import date_format

from appointments.domain import Scope
from appointments.models import Appointment, Booking, Cancellation, Connection, WorkerPulse
from appointments.models.bookings import BookingState
from appointments.models.cancellations import DONE, OPEN, State
from appointments.sandbox.people import PEOPLE
from appointments.services.cancel import Wish, ask_to_cancel
from appointments.services.facts import facts_of
from appointments.services.trace import trace
from tests.desk import Desk
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


def test_news_bring_the_history_and_the_verdict_but_announce_the_state_alone(
    web: Client, asked: Cancellation
) -> None:
    address = asked.get_absolute_url()
    before = shown(web.get(address))
    assert "Handed over to a person" not in before
    long_ago = timezone.now() - timedelta(hours=2)
    put(asked, State.NEEDS_HUMAN, unknown_since=long_ago, requested_at=long_ago)
    asked.events.create(at=timezone.now(), event="handed_over", after=State.NEEDS_HUMAN)

    news = shown(web.get(address, headers=POLL | {"X-Known": known(before)}))

    state, below = news.split("</section>", 1)
    assert f'id="cancellation-{asked.pk}"' in state
    assert 'role="status"' in state
    for part in ("verdict", "history"):
        assert f'id="cancellation-{asked.pk}-{part}"' in before
        swapped = rf'id="cancellation-{asked.pk}-{part}"[^>]* hx-swap-oob="outerMorph"'
        assert re.search(swapped, below)
    assert "Handed over to a person" in below
    assert "What did you find out?" in below
    assert "Looked in meetergo, rang the patient" in below
    assert "hx-swap-oob" not in before
    assert not re.search(r'role="(status|alert)"|aria-live', below)
    assert web.get(address, headers=POLL | {"X-Known": known(news)}).status_code == 204


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


@pytest.mark.parametrize(
    ("policy", "hours", "words"),
    [
        ({"allowed": True, "notice_hours": 24}, 22.5, "22 h were left, it asks for 24 h."),
        ({"allowed": True, "notice_hours": 1.5}, 0.5, "Less than 1 h were left, it asks for 1.5 h"),
        ({"allowed": True, "notice_hours": 24}, -0.2, "0 h were left, it asks for 24 h."),
        ({"allowed": False, "notice_hours": 0}, 22.5, "It allows no cancelling at all."),
        ({"allowed": True, "notice_hours": 2}, 22.5, ""),
        ({}, 22.5, ""),
    ],
)
def test_a_refusal_by_rules_names_the_rule_if_it_is_known(
    policy: dict[str, Any], hours: float, words: str, web: Client, book: Book, staff: User
) -> None:
    """As it was when it was refused: nobody rings a provider about a rule that did not hold."""
    clinic = make_connection("huskyvoice", name="Clinic")
    (row,) = book(connection=clinic, starts_at=timezone.now() + timedelta(hours=hours))
    refused = ask_to_cancel(row, by=staff, wish=Wish(), form_key=uuid4(), version=row.version)
    assert isinstance(refused, Cancellation)
    clinic.policy = policy
    clinic.save()
    put(refused, State.REFUSED, why="policy")

    page = shown(web.get(refused.get_absolute_url()))

    rule = f" {words}" if words else ""
    assert f"The rules at HuskyVoice do not allow it.{rule}" in page
    assert ("asks for" in page or "no cancelling at all" in page) is bool(words)
    Appointment.objects.update(starts_at=timezone.now() + timedelta(hours=1))
    moved = shown(web.get(refused.get_absolute_url()))
    assert ("asks for" in moved) is False


@pytest.mark.parametrize("state", list(State))
def test_nobody_is_offered_to_be_rung_before_it_is_known_what_to_tell_them(
    state: State, web: Client, asked: Cancellation
) -> None:
    put(asked, state)
    assert asked.people.get().phone == "+31 6 55500000"

    is_offered = "tel:+31655500000" in shown(web.get(asked.get_absolute_url()))

    assert is_offered is (state not in (State.REQUESTED, State.SENDING, State.UNKNOWN))


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
        ("before=1-1", False),
        ("before=-1", True),
        ("before=rubbish", True),
        ("kind=cancellations", True),
        ("kind=bookings", False),
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
    assert len(many) == len(few) <= 13


def test_what_the_provider_confirmed_is_called_cancelled(web: Client, asked: Cancellation) -> None:
    """And not any more once a listing shows it as booked again."""
    Cancellation.objects.update(state=State.CONFIRMED, due_at=None, settled_at=timezone.now())
    assert 'data-status="confirmed">Cancelled</span>' in shown(web.get("/activity/"))
    page = shown(web.get("/activity/?kind=cancellations&state=confirmed"))
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
    starts = timezone.localtime(asked.appointment.starts_at)
    assert line["Appointment"] == f"{starts:%Y-%m-%d %H:%M}"
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
    assert "Ida Novak" in web.get("/activity/").text
    assert "Ida Novak" not in web.get("/activity/?kind=cancellations").text
    assert "Ida Novak" not in web.get(f"/activity/?kind=bookings&who={staff.pk}").text
    assert "Person 0" not in web.get("/activity/?kind=bookings&q=novak").text
    file = web.get("/activity.csv?kind=bookings").getvalue().decode("utf-8-sig").splitlines()
    assert len(file) == 3
    assert "Ida Novak" in file[1]
    starts = timezone.localtime(now + timedelta(days=2))
    assert f",{starts:%Y-%m-%d %H:%M}," in file[1]


def test_activity_shows_all_kinds_in_one_order_and_leaves_none_out(
    web: Client, book: Book, meetergo: Connection, staff: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page by page, and in the file; also where many were asked for in the same moment."""
    now = timezone.now()
    for number, row in enumerate(book(7)):
        asked = ask_to_cancel(row, by=staff, wish=Wish(), form_key=uuid4(), version=row.version)
        assert isinstance(asked, Cancellation)
        at = now + timedelta(minutes=number // 2)
        Cancellation.objects.filter(pk=asked.pk).update(requested_at=at)
        if number < 5:
            Booking.objects.create(
                kind="book",
                form_key=uuid4(),
                connection=meetergo,
                wish={"name": f"Ida {number}"},
                starts_at=now + timedelta(days=2),
                state=BookingState.REFUSED,
                requested_by=staff,
                requested_at=now + timedelta(minutes=number),
                expires_at=now,
            )
    monkeypatch.setattr("appointments.views.activity.PAGE_SIZE", 5)

    def lines(page: str) -> list[str]:
        return re.findall(r'<td class="wide"><a href="([^"]+)"', page)

    pages = [shown(web.get("/activity/"))]
    while (older := re.search(r'rel="next" href="([^"]+)"', pages[-1])) is not None:
        pages.append(shown(web.get(older[1])))

    seen = [line for page in pages for line in lines(page)]
    assert [len(lines(page)) for page in pages] == [5, 5, 2]
    everything = [*Cancellation.objects.all(), *Booking.objects.all()]
    assert sorted(seen) == sorted(one.get_absolute_url() for one in everything)
    moments = {one.get_absolute_url(): one.requested_at for one in everything}
    assert [moments[one] for one in seen] == sorted(moments.values(), reverse=True)
    file = csv.DictReader(web.get("/activity.csv").getvalue().decode("utf-8-sig").splitlines())
    told = [line["Asked for at"] for line in file]
    assert len(told) == 12
    assert told == sorted(told, reverse=True)


def test_a_cancellation_tells_its_history_the_newest_first(web: Client, desk: Desk) -> None:
    """As the appointment does."""
    row = desk.book("meetergo")
    cancellation = desk.cancel(row)

    for address in (cancellation.get_absolute_url(), row.get_absolute_url()):
        history = shown(web.get(address)).partition("History</h2>")[2]
        steps = ("Answer: confirmed", "Request 1 sent to meetergo", "Asked to cancel")
        places = [history.index(one) for one in steps]
        assert places == sorted(places)


def test_a_number_from_another_appointment_is_offered_as_on_the_call_list(
    web: Client, asked: Cancellation, book: Book
) -> None:
    """Of a single cancellation, too, whoever has to be rung needs a number."""
    asked.people.update(phone="", email="Person0@example.org")
    record_elsewhere = make_connection("huskyvoice", name="Elsewhere")
    book(connection=record_elsewhere)
    put(asked, State.CONFIRMED)

    page = shown(web.get(asked.get_absolute_url()))

    assert 'href="mailto:Person0@example.org"' in page
    number = page.split('href="tel:+31655500000"', 1)[1]
    assert "from another appointment</span>" in number.split("</li>", 1)[0]
    put(asked, State.UNKNOWN)
    assert "from another appointment" not in shown(web.get(asked.get_absolute_url()))


def test_what_was_pending_and_cancelled_is_called_declined(
    web: Client, book: Book, staff: User
) -> None:
    linde = make_connection("mijnklantportaal", name="De Linde")
    pending, booked = book(2, connection=linde)
    Appointment.objects.filter(pk=pending.pk).update(status="pending")
    pending.refresh_from_db()
    titles = []
    for row in (pending, booked):
        version = facts_of(row).version
        Appointment.objects.filter(pk=row.pk).update(version=version)
        one = ask_to_cancel(row, by=staff, wish=Wish(), form_key=uuid4(), version=version)
        assert isinstance(one, Cancellation)
        put(one, State.CONFIRMED)
        page = shown(web.get(one.get_absolute_url()))
        titles += re.findall(r'class="outcome-title"[^>]*>([^<]+)<', page)

    assert titles == ["Declined", "Cancelled"]


def test_a_later_one_that_was_cancelled_before_is_not_ours(web: Client, desk: Desk) -> None:
    """Who took the later ones away is known of each; the provider's date tells them apart."""
    week = timedelta(days=7)
    for number in range(4):
        desk.add("meetergo", who=PEOPLE[15:16], start=desk.soon + number * week, series="physio")
    desk.read("meetergo")
    first, before, *later = Appointment.objects.in_order()
    desk.cancel(before)
    Appointment.objects.filter(pk=before.pk).update(cancelled_at=timezone.now() - timedelta(days=1))
    Cancellation.objects.filter(appointment=before).update(state=State.WITHDRAWN)

    cancellation = desk.cancel(first, scope=Scope.FOLLOWING, reason="Away")
    trace(cancellation.pk)

    cancellation.refresh_from_db()
    assert cancellation.later_ones is not None
    assert [one["id"] for one in cancellation.later_ones] == [one.pk for one in later]
    day = date_format(timezone.localtime(first.starts_at), "D j M")
    page = web.get("/?range=upcoming").content.decode()
    whys = re.findall(r'title="([^"]*)">\1</span></span>', page)
    assert whys[0] == "by Anna de Boer: Away"
    assert "Anna" not in whys[1]
    assert whys[2:] == [f"by Anna de Boer, with {day}: Away"] * 2
    history = web.get(later[1].get_absolute_url()).content.decode()
    assert f"Cancelled with {day} and all later ones" in history
    assert "Anna de Boer" in history.split(f"Cancelled with {day}", 1)[1]
    others = web.get(before.get_absolute_url()).content.decode()
    assert f"Cancelled with {day}" not in others
