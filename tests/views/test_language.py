"""Whose language a page speaks, and that nothing is kept in one."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import translation

from appointments import days
from appointments.domain import BookedAttendee, Scope
from appointments.models import Cancellation, StaffSettings
from appointments.services.feeds import make_feed
from tests.desk import Desk
from tests.views.conftest import POLL, Book

GERMAN = {"Accept-Language": "de-AT,de;q=0.9,en;q=0.5"}


def language_of(client: Client, address: str = "/", **headers: str) -> str:
    page = client.get(address, headers=headers)
    assert f'<html lang="{page["Content-Language"]}">' in page.content.decode()
    return str(page["Content-Language"])


def test_what_a_person_chose_stays_through_logins_and_before_the_browsers_wish(
    web: Client, staff: User
) -> None:
    answer = web.post("/language/", {"language": "nl", "next": "/activity/?who=1"})

    assert (answer.status_code, answer["Location"]) == (303, "/activity/?who=1")
    assert language_of(web, **GERMAN) == "nl"
    web.logout()
    elsewhere = Client()
    elsewhere.force_login(staff)
    assert language_of(elsewhere, **GERMAN) == "nl"
    assert StaffSettings.objects.get(user=staff).language == "nl"


def test_a_person_who_chose_nothing_gets_what_the_browser_asks_for(
    web: Client, colleague: User
) -> None:
    assert language_of(web, **GERMAN) == "de"
    assert language_of(web, **{"Accept-Language": "fi"}) == "en"
    web.post("/language/", {"language": "nl"})

    other = Client()
    other.force_login(colleague)
    assert language_of(other) == "en"


def test_before_the_login_the_browser_remembers(db: None) -> None:
    client = Client()
    assert language_of(client, "/login/", **GERMAN) == "de"

    answer = client.post("/language/", {"language": "nl", "next": "/login/?next=/activity/"})

    assert (answer.status_code, answer["Location"]) == (303, "/login/?next=/activity/")
    assert language_of(client, "/login/", **GERMAN) == "nl"
    assert not StaffSettings.objects.exists()


@pytest.mark.parametrize("code", ["fi", "", "de-AT", "../en"])
def test_a_language_that_is_not_offered_changes_nothing(web: Client, code: str) -> None:
    answer = web.post("/language/", {"language": code})

    assert answer.status_code == 303
    assert not StaffSettings.objects.exists()
    assert language_of(web) == "en"


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "https://evil.example", "/\\evil.example", "", "appointment", "?x=1", "a/b"],
)
def test_changing_the_language_leads_nowhere_else(web: Client, target: str) -> None:
    assert web.post("/language/", {"language": "nl", "next": target})["Location"] == "/"


def test_a_language_that_is_offered_no_more_is_left_alone(web: Client, staff: User) -> None:
    StaffSettings.objects.create(user=staff, language="xx")
    web.force_login(staff)

    assert language_of(web) == "en"


def test_a_chosen_language_costs_no_page_a_question(web: Client) -> None:
    web.get("/", headers=POLL)
    with CaptureQueriesContext(connection) as before:
        web.get("/", headers=POLL)
    web.post("/language/", {"language": "nl"})
    with CaptureQueriesContext(connection) as after:
        web.get("/", headers=POLL)

    assert len(after) == len(before)


def test_each_language_is_named_in_itself(web: Client) -> None:
    page = web.get("/").content.decode()

    buttons = re.findall(r'<button name="language" value="(..)" lang="(..)"(.*?)>.*?(\w+)<', page)
    assert buttons == [
        ("en", "en", ' aria-current="true"', "English"),
        ("nl", "nl", "", "Nederlands"),
        ("de", "de", "", "Deutsch"),
    ]


def test_nothing_is_recorded_in_the_language_of_whoever_asked(
    desk: Desk, book: Book, staff: User
) -> None:
    """Somebody without a name is kept without one, and named by whoever looks."""
    nobody = BookedAttendee(external_id="person-0", name="", email="", phone="")
    other = BookedAttendee(external_id="person-1", name="Bo", email="", phone="")
    (appointment,) = book(attendees=(nobody, other), is_group=True)
    with translation.override("nl"):
        asked = desk.ask(
            appointment, scope=Scope.ATTENDEE, attendee=appointment.attendees.get(position=0)
        )

    assert Cancellation.objects.get(pk=asked.pk).attendee_name == ""
    assert asked.person == "Unnamed person"


def test_a_calendar_speaks_its_owners_language(book: Book, staff: User) -> None:
    """Whoever fetches it is a program that asks for no language; the name is kept in none."""
    book(attendees=(BookedAttendee(external_id="n"),))
    made, token = make_feed(staff, name="", query={}, with_phones=False)
    for code, said in (("nl", "Persoon zonder naam"), ("de", "Person ohne Namen")):
        StaffSettings.objects.update_or_create(user=staff, defaults={"language": code})
        assert said in Client().get(f"/feeds/{token}.ics").content.decode()

    assert made.name == ""
    assert made.label == "All appointments"


@pytest.mark.parametrize(
    ("code", "short", "long"),
    [
        ("en", "Tue 3 Mar, 14:05", "Tuesday 3 March 2026, 14:05"),
        ("nl", "di 3 mrt, 14:05", "dinsdag 3 maart 2026, 14:05"),
        ("de", "Di., 3. März, 14:05", "Dienstag, 3. März 2026, 14:05"),
    ],
)
def test_days_are_written_as_each_language_writes_them(code: str, short: str, long: str) -> None:
    at = datetime(2026, 3, 3, 14, 5, tzinfo=UTC)
    with translation.override(code):
        assert (days.moment_short(at), days.moment_long(at)) == (short, long)
