"""Every page of the administration, read in a language that shows what is not translated."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from appointments.models import Booking, Cancellation, Connection, ConnectionHealth, SyncRun
from appointments.models.bookings import BookingState
from appointments.models.cancellations import State
from appointments.providers.registry import PROVIDERS
from tests.views.brackets import speak_in_brackets, untranslated
from tests.views.conftest import make_connection
from tests.views.test_admin import ADD, LISTS, PRESETS, administrator, changing, fill, reason, typed
from tests.views.test_outcome import put

CODES = ("other",)
"""Codes of the ledger, beside the sentence that says what they mean."""
ADDRESSES = tuple(one.default_base_url for one in PROVIDERS.values())
WRONG = [
    ("base_url", "ftp://example.org"),
    ("base_url", "http://somebody:secret@127.0.0.1"),
    ("base_url", "https://example.org"),
    ("base_url", "two words"),
    ("base_url", "http://[::1"),
    ("base_url", "http://127.0.0.1/" + "x" * 290),
    ("time_zone", "Nowhere"),
    ("name", "\u202e"),
    ("credential_api_key", "two words"),
    ("credential_api_key", ""),
]

_ICON = re.compile(r'<img src="/static/admin/img/[^>]*>')
"""Django gives its own icons alternative texts that no catalog has."""


@pytest.fixture
def root(db: None, monkeypatch: pytest.MonkeyPatch) -> Client:
    client = administrator()
    speak_in_brackets(monkeypatch)
    return client


def read(answer: Any, *, data: Iterable[str] = ()) -> str:
    """The page of *answer*, every word of which is translated or somebody's (*data* too)."""
    assert answer.status_code == 200
    page: str = answer.content.decode()
    assert "⟦" in page
    hashes = ("md5", *re.findall(r"\w+\*{6,}", page))
    assert untranslated(_ICON.sub("", page), (*data, *CODES, *ADDRESSES, *hashes)) == []
    return page


def test_the_start_and_the_doors(root: Client) -> None:
    read(root.get("/admin/"))
    read(root.get("/admin/appointments/"))
    read(root.get("/admin/password_change/"))


@pytest.mark.parametrize("model", LISTS)
def test_every_list_page_and_history(model: str, root: Client) -> None:
    fill()

    listed = read(root.get(f"/admin/{model}/"))
    read(root.get(f"/admin/{model}/", {"q": "nobody"}), data=("nobody",))
    found = re.search(rf'href="(/admin/{model}/(\d+)/change/[^"]*)"', listed)
    assert found is not None
    read(root.get(unescape(found[1])))
    read(root.get(f"/admin/{model}/{found[2]}/history/"))


@pytest.mark.parametrize("state", list(State))
def test_every_state_of_a_cancellation(state: State, root: Client) -> None:
    fill()
    somebody = User.objects.get(username="root")
    put(Cancellation.objects.get(), state, settled_by=somebody if state == State.SETTLED else None)

    read(root.get("/admin/appointments/cancellation/"))
    key = Cancellation.objects.get().pk
    read(root.get(f"/admin/appointments/cancellation/{key}/change/"))


@pytest.mark.parametrize("state", list(BookingState))
def test_every_state_of_a_booking(state: BookingState, root: Client) -> None:
    fill()
    Booking.objects.update(state=state, due_at=timezone.now())

    for kind in Booking.Kind:
        Booking.objects.update(kind=kind)
        read(root.get("/admin/appointments/booking/"))
        key = Booking.objects.get().pk
        read(root.get(f"/admin/appointments/booking/{key}/change/"))


@pytest.mark.parametrize("outcome", list(SyncRun.Outcome))
def test_every_end_of_a_refresh(outcome: SyncRun.Outcome, root: Client) -> None:
    fill()
    SyncRun.objects.update(outcome=outcome)

    read(root.get("/admin/appointments/syncrun/"))
    read(root.get(f"/admin/appointments/syncrun/{SyncRun.objects.get().pk}/change/"))


@pytest.mark.parametrize("days", [-1, 1, 3, 100])
@pytest.mark.parametrize("is_active", [True, False])
def test_connections_in_every_state(days: int, is_active: bool, root: Client) -> None:
    connection = make_connection("huskyvoice", name="Clinic")
    ends = timezone.localdate() + timedelta(days=days)
    Connection.objects.update(credentials_expire_on=ends, daily_quota=9, is_active=is_active)
    read(root.get("/admin/appointments/connection/"))
    ConnectionHealth.objects.create(
        connection=connection, failing_since=timezone.now(), failure="credentials"
    )

    read(root.get("/admin/appointments/connection/"))
    read(root.get(changing(connection)))
    for action in ("test_connection", "read_now"):
        chosen = {"action": action, "_selected_action": [connection.pk]}
        read(root.post("/admin/appointments/connection/", chosen, follow=True))
    Connection.objects.update(provider="harbour")
    read(root.get("/admin/appointments/connection/"), data=("harbour",))


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_what_is_wrong_with_a_connection(field: str, value: str, root: Client) -> None:
    sent = typed(credential_api_key="a-key") | {field: value}

    read(root.post(ADD, sent), data=(*sent.values(), "api_key"))


@pytest.mark.parametrize(
    "credentials",
    [
        {"api_key": "neither"},
        {"api_key": "ak_live:key"},
        {"api_key": "rgo-token", "user_id": "somebody"},
    ],
)
def test_what_is_wrong_with_two_credentials(credentials: dict[str, str], root: Client) -> None:
    sent = typed(provider="meetergo") | {f"credential_{k}": v for k, v in credentials.items()}

    read(root.post(ADD, sent), data=sent.values())


def test_a_connection_is_made_and_changed(root: Client) -> None:
    read(root.get(ADD))
    read(root.post(ADD, typed(credential_api_key="a-key"), follow=True))
    made = Connection.objects.get()
    read(root.post(changing(made), typed(made, base_url="http://127.0.0.1:7/x")), data=("http",))
    sent = typed(made, credential_api_key="another", daily_quota="9")
    read(root.post(changing(made), sent, follow=True))
    read(root.get(f"/admin/appointments/connection/{made.pk}/history/"))


def test_reasons_and_what_is_wrong_with_them(root: Client) -> None:
    sent = reason(is_default="on")
    read(root.get(f"{PRESETS}add/"))
    read(root.post(f"{PRESETS}add/", sent, follow=True))
    read(root.post(f"{PRESETS}add/", sent | {"text": "\U0001f9b7" * 251}))
    read(root.post(f"{PRESETS}add/", {}))


def test_people_and_groups(root: Client) -> None:
    for model in ("user", "group"):
        read(root.get(f"/admin/auth/{model}/add/"))
