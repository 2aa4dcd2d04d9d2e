"""Views of the list under names of one's own."""

from __future__ import annotations

import html
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from appointments.models import SavedFilter
from appointments.models.filters import MOST_FILTERS
from tests.views.conftest import HTMX, Book
from tests.views.test_list import names


def shown(answer: Any) -> str:
    return html.unescape(answer.content.decode())


def test_a_saved_view_opens_what_was_shown(web: Client, book: Book) -> None:
    """Provider, status, with and range; the search only if it is wanted."""
    book(2)
    fields = {"provider": "meetergo", "status": "booked", "with": "Behrens", "range": "week"}

    answer = web.post("/views/", {"name": "Behrens", "q": "person 1", **fields})

    saved = SavedFilter.objects.get()
    assert saved.query == fields
    assert answer.status_code == 303
    assert names(shown(web.get(answer["Location"]))) == ["Person 0", "Person 1"]
    assert ">Behrens</a>" in shown(web.get("/"))

    web.post("/views/", {"name": "One", "q": "person 1", "keep_search": "on"})
    assert SavedFilter.objects.get(name="One").query == {"q": "person 1"}


def test_today_stays_today_and_a_day_stays_that_day(web: Client, book: Book) -> None:
    """A range is kept as a word: tomorrow it shows tomorrow."""
    day = timezone.localdate() + timedelta(days=1)
    noon = timezone.localtime().replace(hour=12) + timedelta(days=1)
    book(1, starts_at=noon)
    relative = web.post("/views/", {"name": "Today", "range": "today"})["Location"]
    fixed = web.post("/views/", {"name": "A day", "from": day, "to": day})["Location"]

    assert names(shown(web.get(relative))) == []
    assert names(shown(web.get(fixed))) == ["Person 0"]
    with time_machine.travel(noon - timedelta(hours=1), tick=False):
        web.logout()
        web.force_login(User.objects.get())
        assert names(shown(web.get(relative))) == ["Person 0"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "Give it a name."),
        ("  ", "Give it a name."),
        ("mornings", "You have one of this name already."),
        ("x" * 61, "at most 60 characters"),
    ],
)
def test_a_wrong_name_is_said_and_what_was_typed_stays(
    name: str, message: str, web: Client, staff: User
) -> None:
    SavedFilter.objects.create(user=staff, name="Mornings")

    answer = web.post("/views/", {"name": name, "status": "booked", "with": "Behrens"})

    page = shown(answer)
    assert answer.status_code == 422
    assert message in page
    if name.strip():
        assert f'value="{name}"' in page
    assert '<input type="hidden" name="with" value="Behrens">' in page
    assert SavedFilter.objects.count() == 1


def test_there_is_a_most(web: Client, staff: User) -> None:
    SavedFilter.objects.bulk_create(
        SavedFilter(user=staff, name=f"View {number}") for number in range(MOST_FILTERS)
    )

    answer = web.post("/views/", {"name": "One more"})

    assert "Delete one first." in shown(answer)
    assert SavedFilter.objects.count() == MOST_FILTERS


def test_one_can_be_renamed_but_not_to_another_ones_name(web: Client, staff: User) -> None:
    first = SavedFilter.objects.create(user=staff, name="First")
    SavedFilter.objects.create(user=staff, name="Second")

    wrong = web.post(f"/views/{first.pk}/rename/", {"name": "SECOND"})
    right = web.post(f"/views/{first.pk}/rename/", {"name": "FIRST"})

    assert wrong.status_code == 422
    assert 'value="SECOND"' in shown(wrong)
    assert right.status_code == 303
    first.refresh_from_db()
    assert first.name == "FIRST"


def test_the_list_opens_with_one_and_the_rest_stays_within_reach(
    web: Client, book: Book, staff: User
) -> None:
    """Only the bare address does: without a filter the list has an address of its own."""
    book(1)
    saved = SavedFilter.objects.create(user=staff, name="Cancelled", query={"status": "cancelled"})
    SavedFilter.objects.create(user=staff, name="Other", is_start=True)

    web.post(f"/views/{saved.pk}/start/")

    assert web.get("/")["Location"] == "/?status=cancelled"
    assert names(shown(web.get("/?range=upcoming"))) == ["Person 0"]
    assert 'href="/?range=upcoming"' in shown(web.get("/?status=cancelled"))
    assert web.get("/?q=&status=", headers=HTMX)["HX-Push-Url"] == "/?range=upcoming"
    web.post(f"/views/{saved.pk}/start/", {"start": "no"})
    assert web.get("/").status_code == 200


def test_nobody_reaches_another_ones_views(web: Client, colleague: User) -> None:
    theirs = SavedFilter.objects.create(user=colleague, name="Theirs", is_start=True)

    for act in ("rename", "delete", "start"):
        assert web.post(f"/views/{theirs.pk}/{act}/", {"name": "Mine"}).status_code == 404
    assert "Theirs" not in shown(web.get("/views/"))
    assert web.get("/").status_code == 200
    theirs.refresh_from_db()
    assert (theirs.name, theirs.is_start) == ("Theirs", True)


def test_a_view_of_an_account_that_is_gone_still_opens(web: Client, staff: User) -> None:
    SavedFilter.objects.create(user=staff, name="Old", query={"connection": "999"})

    page = shown(web.get("/?connection=999"))

    assert "There is no “999” here." in page
    assert "an account that is gone" in shown(web.get("/views/"))


def test_deleting_needs_no_more_than_the_button(web: Client, staff: User) -> None:
    saved = SavedFilter.objects.create(user=staff, name="Old")

    assert web.get(f"/views/{saved.pk}/delete/").status_code == 303
    assert web.post(f"/views/{saved.pk}/delete/").status_code == 303
    assert not SavedFilter.objects.exists()
