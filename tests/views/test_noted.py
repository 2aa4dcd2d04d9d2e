"""Who an appointment is with, noted here where no provider says it."""

from __future__ import annotations

import csv
import html
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from appointments.models import Appointment, Connection
from appointments.services.records import store
from tests.views.conftest import HTMX, Book, make_connection, record
from tests.views.test_list import HOSTILE, known, names, text


def shown(answer: Any) -> str:
    return html.unescape(answer.content.decode())


@pytest.fixture
def linde(db: None) -> Connection:
    return make_connection("mijnklantportaal", name="De Linde")


@pytest.fixture
def row(book: Book, linde: Connection) -> Appointment:
    """Of a provider that names no practitioner."""
    return book(connection=linde, host="")[0]


def note(web: Client, row: Appointment, practitioner: str, **how: Any) -> Any:
    return web.post(f"/appointments/{row.pk}/with/", {"practitioner": practitioner}, **how)


def test_one_filter_finds_hosts_and_notes(web: Client, book: Book, row: Appointment) -> None:
    """Marked as ours in the list, chosen again from what was noted before."""
    book(2)

    answer = note(web, row, "Dr. Béhrens-Visser")

    assert answer.status_code == 302
    assert len(names(text(web, "/?range=upcoming&with=behrens"))) == 3
    page = text(web, "/?range=upcoming&with=visser")
    assert names(page) == ["Person 0"]
    assert "Dr. Béhrens-Visser" in page
    assert "noted here, not by the provider" in page
    assert '<option value="Dr. Béhrens-Visser">' in shown(web.get(row.get_absolute_url()))
    (line,) = csv.DictReader(
        web.get("/appointments.csv?with=visser").getvalue().decode("utf-8-sig").splitlines()
    )
    assert (line["With"], line["With, as noted here"]) == ("", "Dr. Béhrens-Visser")


def test_a_sync_leaves_the_note_and_its_filter(
    web: Client, row: Appointment, linde: Connection, staff: User
) -> None:
    """Also one that brings news of the booking."""
    note(web, row, "Dr. Visser")
    later = timezone.now() + timedelta(minutes=5)

    changed = record(0, start=timezone.now() + timedelta(hours=1), host="", title="Another")
    store(linde, [changed], read_at=later)

    row.refresh_from_db()
    assert (row.title, row.practitioner, row.practitioner_by) == ("Another", "Dr. Visser", staff)
    assert names(text(web, "/?range=upcoming&with=visser")) == ["Person 0"]
    assert "Noted here: with Dr. Visser" in shown(web.get(row.get_absolute_url()))


def test_the_list_of_others_learns_of_a_note(web: Client, row: Appointment) -> None:
    before = known(text(web, "/?range=upcoming"))
    note(web, row, "Dr. Visser")
    assert known(text(web, "/?range=upcoming")) != before
    note(web, row, "")

    assert known(text(web, "/?range=upcoming")) == before
    assert names(text(web, "/?range=upcoming&with=visser")) == []
    row.refresh_from_db()
    assert row.practitioner == ""


def test_too_long_a_name_is_said_and_stays(web: Client, row: Appointment) -> None:
    answer = note(web, row, "x" * 81, headers=HTMX)

    assert answer.status_code == 422
    assert "at most 80 characters" in shown(answer)
    assert f'value="{"x" * 81}"' in shown(answer)
    row.refresh_from_db()
    assert row.practitioner == ""


def test_beside_the_list_it_is_drawn_anew(web: Client, row: Appointment) -> None:
    answer = note(web, row, HOSTILE[:80], headers=HTMX)

    assert answer["HX-Trigger"] == "desk-changed"
    assert answer.content.decode().strip().startswith('<article class="detail"')
    assert "<img src=x" not in answer.content.decode()


def test_where_the_provider_says_it_nothing_is_noted(web: Client, book: Book) -> None:
    (row,) = book()

    assert "Note doctor or staff" not in shown(web.get(row.get_absolute_url()))


def test_who_may_not_note_is_not_asked(row: Appointment, client: Client) -> None:
    looker = User.objects.create_user("looker")
    looker.user_permissions.add(Permission.objects.get(codename="view_appointment"))
    client.force_login(looker)

    assert "Note doctor or staff" not in shown(client.get(row.get_absolute_url()))
    assert note(client, row, "Dr. Visser").status_code == 403
