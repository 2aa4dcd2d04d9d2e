"""What administrators see and may do, and what the administration keeps from everybody."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from uuid import uuid4

import pytest
from django.contrib import admin as django_admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from appointments.domain import BookedAttendee, Scope
from appointments.models import (
    Appointment,
    Batch,
    BatchLane,
    Booking,
    BookingEvent,
    CalendarFeed,
    Cancellation,
    CancellationEvent,
    ConcernedPerson,
    Connection,
    ConnectionHealth,
    ProviderAnswer,
    ProviderCall,
    ReasonPreset,
    RequestBudget,
    SyncRun,
)
from appointments.models.cancellations import AnswerKind, State
from appointments.providers.registry import PROVIDERS
from appointments.roles import ADMINISTRATORS
from appointments.services.limits import utc_day
from appointments.services.records import store
from tests.desk import Desk
from tests.views.conftest import make_connection, record

pytestmark = pytest.mark.django_db

LEDGER = ("appointment", "cancellation", "booking", "batch", "syncrun")
KEPT = ("connection", "reasonpreset")
LISTS = (
    *(f"appointments/{model}" for model in (*LEDGER, *KEPT, "calendarfeed")),
    "auth/user",
    "auth/group",
)
NASTY = "<script>alert(1)</script> \u202e" + "Wolfeschlegelsteinhausenbergerdorff" * 9
SECRET = "sk_live_made_up_and_secret"
EVENING = datetime(2026, 11, 21, 17, 16, 5, tzinfo=UTC)


def administrator(username: str = "root") -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser(username, password="root-pw"))
    return client


@pytest.fixture
def root(db: None) -> Client:
    return administrator()


def page_of(answer: Any) -> str:
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def fill(number: int = 0, *, name: str = "Person") -> Connection:
    """One of everything that administration shows, each with *name* wherever others write it."""
    mark = f"{name}-{number}"
    user = User.objects.create_user(f"user-{number}", first_name=name[:150], last_name="X")
    user.groups.add(Group.objects.create(name=f"group {number}"))
    connection = Connection(
        name=f"Practice {number}",
        provider="huskyvoice",
        base_url="https://api.huskyvoice.ai",
        time_zone="Asia/Kolkata",
    )
    connection.credentials = {"api_key": SECRET}
    connection.save()
    ConnectionHealth.objects.create(connection=connection, read_at=EVENING)
    RequestBudget.objects.create(connection=connection, day=utc_day(timezone.now()), used=7)
    run = SyncRun.objects.create(
        connection=connection,
        started_at=EVENING,
        outcome="failed",
        why="credentials",
        first_day=EVENING.date(),
        last_day=EVENING.date(),
        rejected_ids=[mark],
    )
    assert run.pk
    people = (
        BookedAttendee(external_id=f"p-{number}", name=mark, email=f"p{number}@example.org"),
        BookedAttendee(external_id=f"q-{number}", name="Somebody else", guests=(mark,)),
    )
    texts = {"title": mark, "host": mark, "location": mark, "reference": mark}
    one = record(number, start=EVENING, attendees=people, warnings=(mark[:60],), **texts)
    store(connection, [one], read_at=EVENING)
    row = Appointment.objects.get(connection=connection)
    preset = {"code": f"code-{number}", "label": mark[:80], "text": mark[:500]}
    ReasonPreset.objects.create(connection=connection, **preset)
    CalendarFeed.objects.create(
        user=user, name=mark[:60], query={"q": mark}, token_hash=f"{number:064d}"
    )
    batch = Batch.objects.create(
        form_key=uuid4(),
        requested_by=user,
        requested_at=EVENING,
        reason=mark,
        excluded=[{"appointment": row.pk, "why": "past"}],
    )
    lane = {"paused_at": EVENING, "paused_why": "busy", "resumed_at": EVENING}
    BatchLane.objects.create(batch=batch, connection=connection, resumed_by=user, **lane)
    cancellation = Cancellation.objects.create(
        form_key=uuid4(),
        batch=batch,
        appointment=row,
        connection=connection,
        external_id=row.external_id,
        scope=Scope.ATTENDEE,
        attendee_external_id="p",
        attendee_name=mark,
        expected={},
        reason=mark,
        note=mark,
        said=mark,
        state=State.REFUSED,
        why="other",
        requested_by=user,
        requested_at=EVENING,
        expires_at=EVENING,
        settled_at=EVENING,
    )
    ConcernedPerson.objects.create(
        cancellation=cancellation, name=mark, is_told=False, reached_at=EVENING, reached_by=user
    )
    CancellationEvent.objects.create(
        cancellation=cancellation,
        at=EVENING,
        event="asked",
        after="requested",
        by=user,
        detail=mark,
    )
    asked = {"scope": "attendee", "attendee_id": mark, "with_reason": True}
    call = ProviderCall.objects.create(
        cancellation=cancellation, number=1, started_at=EVENING, asked=asked
    )
    ProviderAnswer.objects.create(
        call=call, kind=AnswerKind.REFUSED, status=422, said=mark, answered_at=EVENING
    )
    booking = Booking.objects.create(
        form_key=uuid4(),
        connection=connection,
        wish={"name": mark, "email": "a@example.org"},
        starts_at=EVENING,
        replaces=row,
        state=Booking.State.CONFIRMED,
        said=mark,
        appointment=row,
        shown=[EVENING.isoformat(), ""],
        requested_by=user,
        requested_at=EVENING,
        expires_at=EVENING,
    )
    BookingEvent.objects.create(
        booking=booking, at=EVENING, event="asked", after="requested", by=user, detail=mark
    )
    return connection


def page_of_first(client: Client, model: str) -> str:
    """The page of the first object in the list of *model*, found as a person finds it."""
    listed = page_of(client.get(f"/admin/{model}/"))
    found = re.search(rf'href="(/admin/{model}/\d+/change/[^"]*)"', listed)
    assert found is not None
    return page_of(client.get(found[1]))


# --- looking ----------------------------------------------------------------------------------


def test_all_that_is_registered_is_looked_at_here() -> None:
    """So that a model which is added later is tried with the others."""
    registered = {
        f"{model._meta.app_label}/{model._meta.model_name}" for model in django_admin.site._registry
    }
    assert registered == set(LISTS)


@pytest.mark.parametrize("model", LISTS)
def test_every_list_and_page_opens_with_hostile_data(model: str, root: Client) -> None:
    fill(name=NASTY)

    listed = root.get(f"/admin/{model}/").content.decode()
    found = re.findall(rf'href="(/admin/{model}/\d+/change/[^"]*)"', listed)
    assert found
    for address in found:
        opened = root.get(unescape(address))
        assert opened.status_code == 200
        listed += opened.content.decode()

    assert "<script>alert" not in listed


@pytest.mark.parametrize("model", [*LEDGER, "calendarfeed"])
def test_what_is_on_record_is_neither_added_nor_changed_nor_deleted(
    model: str, root: Client
) -> None:
    fill()
    manager = next(
        one for one in django_admin.site._registry if one._meta.model_name == model
    )._default_manager
    before = list(manager.values())
    address = f"/admin/appointments/{model}/"
    key = manager.values_list("pk", flat=True).get()

    assert root.get(f"{address}add/").status_code == 403
    assert root.post(f"{address}add/", {}).status_code == 403
    assert root.post(f"{address}{key}/change/", {"state": "refused"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [key], "post": "yes"}
    if model != "calendarfeed":
        assert root.post(f"{address}{key}/delete/", {"post": "yes"}).status_code == 403
        root.post(address, chosen)

    assert list(manager.values()) == before


def test_a_calendar_feed_is_revoked_here(root: Client) -> None:
    fill()
    feed = CalendarFeed.objects.get()

    root.post(f"/admin/appointments/calendarfeed/{feed.pk}/delete/", {"post": "yes"})

    assert not CalendarFeed.objects.exists()


def test_a_connection_is_never_deleted(root: Client) -> None:
    connection = fill()
    address = "/admin/appointments/connection/"

    assert root.post(f"{address}{connection.pk}/delete/", {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [connection.pk], "post": "yes"}
    root.post(address, chosen)

    assert Connection.objects.filter(pk=connection.pk).exists()


def test_times_are_the_desks_and_the_clock_is_named(root: Client) -> None:
    fill()

    for model in ("appointment", "cancellation", "booking", "batch", "syncrun"):
        listed = page_of(root.get(f"/admin/appointments/{model}/"))
        opened = page_of_first(root, f"appointments/{model}")
        assert "All times are on the clock of Europe/Amsterdam." in listed
        assert "All times are on the clock of Europe/Amsterdam." in opened
        assert "18:16" in listed
        assert "17:16" not in listed + opened
    assert "21 Nov 2026, 18:16:05" in page_of_first(root, "appointments/cancellation")
    there = page_of_first(root, "appointments/appointment")
    assert "21 Nov 2026, 18:16" in there
    assert "21 Nov 2026, 22:46 (Asia/Kolkata)" in there


def test_the_ledger_speaks_the_words_of_the_desk(root: Client) -> None:
    fill(name="Ana")

    cancellation = page_of_first(root, "appointments/cancellation")

    for said in ("Refused by HuskyVoice", "It is still booked", "Asked to cancel", "422", "Ana-0"):
        assert said in cancellation
    batch = page_of_first(root, "appointments/batch")
    assert "It is over; its provider cannot cancel it." in batch
    assert "Paused: HuskyVoice is busy" in batch


@pytest.mark.parametrize("model", LISTS)
def test_a_list_asks_as_much_of_the_database_for_fifty_as_for_five(
    model: str, root: Client
) -> None:
    def asked() -> int:
        with CaptureQueriesContext(database) as queries:
            assert root.get(f"/admin/{model}/").status_code == 200
        return len(queries)

    for number in range(5):
        fill(number)
    asked()  # What Django looks up once for all.
    few = asked()
    for number in range(5, 50):
        fill(number)

    assert asked() == few


# --- finding ----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", sorted({*LISTS} - {"appointments/syncrun"}))
def test_a_search_leaves_what_it_means(model: str, root: Client) -> None:
    fill(1, name="Müller")
    fill(2, name="Jansen")
    sought = {
        "appointments/connection": "practice 1",
        "appointments/batch": "user-1",
        "auth/user": "user-1",
        "auth/group": "group 1",
    }.get(model, "müller")

    both = root.get(f"/admin/{model}/").content.decode()
    one = root.get(f"/admin/{model}/", {"q": sought}).content.decode()
    none = root.get(f"/admin/{model}/", {"q": "nobody of this name"}).content.decode()

    def rows(listed: str) -> int:
        return len(re.findall(r'<th class="field-', listed))

    assert (rows(both) > 1, rows(one), rows(none)) == (True, 1, 0)


def test_a_search_for_appointments_forgives_what_the_desk_forgives(root: Client) -> None:
    fill(1, name="Müller")

    for sought in ("muller", "Person@example", "p1@example.org MULLER"):
        listed = page_of(root.get("/admin/appointments/appointment/", {"q": sought}))
        assert ("Müller" in listed) == ("Person" not in sought)


@pytest.mark.parametrize(
    ("model", "query", "found"),
    [
        ("connection", "health=failing", {"Failing"}),
        ("connection", "health=well", {"Well", "Soon", "Over", "Off"}),
        ("connection", "health=unread", {"Unread"}),
        ("connection", "key=soon", {"Soon"}),
        ("connection", "key=ended", {"Over"}),
        ("connection", "provider=meetergo", {"Unread"}),
        ("connection", "is_active__exact=0", {"Off"}),
    ],
)
def test_filters_of_connections(model: str, query: str, found: set[str], root: Client) -> None:
    names = {"Failing", "Well", "Soon", "Over", "Off", "Unread"}
    today = timezone.localdate()
    for name in names:
        made = make_connection("meetergo" if name == "Unread" else "huskyvoice", name=f"{name} Z")
        read_at = None if name == "Unread" else timezone.now()
        failing = timezone.now() if name == "Failing" else None
        ConnectionHealth.objects.create(connection=made, read_at=read_at, failing_since=failing)
        ends = {"Soon": today + timedelta(days=3), "Over": today - timedelta(days=3)}.get(name)
        Connection.objects.filter(pk=made.pk).update(
            credentials_expire_on=ends, is_active=name != "Off"
        )

    listed = page_of(root.get(f"/admin/appointments/{model}/?{query}"))

    assert {name for name in names if f">{name} Z<" in listed} == found


@pytest.mark.parametrize(
    ("address", "is_found"),
    [
        ("appointment/?status=booked", True),
        ("appointment/?status=cancelled", False),
        ("cancellation/?state__exact=refused", True),
        ("cancellation/?state__exact=unknown", False),
        ("booking/?kind__exact=book", True),
        ("booking/?kind__exact=move", False),
        ("booking/?state__exact=refused", False),
        ("syncrun/?outcome__exact=failed", True),
        ("syncrun/?outcome__exact=complete", False),
        ("reasonpreset/?connection__isnull=True", False),
    ],
)
def test_filters_of_the_ledger(address: str, is_found: bool, root: Client) -> None:
    fill()

    listed = page_of(root.get(f"/admin/appointments/{address}"))

    assert bool(re.search(r'<th class="field-', listed)) is is_found


# --- who may ----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", LISTS)
def test_staff_of_the_desk_are_turned_away(model: str, staff: User) -> None:
    fill()
    client = Client()
    client.force_login(staff)

    for address in ("/admin/", f"/admin/{model}/"):
        answer = client.get(address)
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("model", LISTS)
def test_without_permissions_there_is_nothing_to_see(model: str) -> None:
    fill(name="Ana")
    client = Client()
    client.force_login(User.objects.create_user("clerk", is_staff=True))

    start = page_of(client.get("/admin/"))

    assert client.get(f"/admin/{model}/").status_code == 403
    assert "/admin/appointments/" not in start
    assert "/admin/auth/" not in start


def test_the_group_of_administrators_can_run_it() -> None:
    """Who is in it needs to be no superuser, and cannot become one."""
    fill()
    user = User.objects.create_user("carla", is_staff=True)
    user.groups.add(Group.objects.get(name=ADMINISTRATORS))
    boss = User.objects.create_superuser("boss")
    client = Client()
    client.force_login(user)

    for model in LISTS:
        assert client.get(f"/admin/{model}/").status_code == 200
    assert 'name="credential_api_key"' in page_of_first(client, "appointments/connection")

    own = f"/admin/auth/user/{user.pk}/change/"
    fields = {"username": "carla", "is_active": "on", "is_staff": "on", "is_superuser": "on"}
    assert client.post(own, fields | {"groups": []}).status_code == 302
    user.refresh_from_db()
    assert not user.is_superuser
    client.force_login(user)
    user.groups.add(Group.objects.get(name=ADMINISTRATORS))
    passwords = {"password1": "another-pw-1", "password2": "another-pw-1"}
    theirs = f"/admin/auth/user/{boss.pk}"
    assert client.post(f"{theirs}/password/", passwords).status_code == 403
    assert client.post(f"{theirs}/change/", fields).status_code == 403
    assert client.post(f"{theirs}/delete/", {"post": "yes"}).status_code == 403


def test_who_may_only_look_at_connections_changes_nothing_and_sees_no_key() -> None:
    connection = fill()
    user = User.objects.create_user("clerk", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_connection"))
    client = Client()
    client.force_login(user)
    address = "/admin/appointments/connection/"

    page = page_of(client.get(f"{address}{connection.pk}/change/"))

    assert "credential_" not in page
    assert SECRET not in page
    assert client.post(f"{address}{connection.pk}/change/", {"name": "X"}).status_code == 403
    chosen = {"action": "read_now", "_selected_action": [connection.pk]}
    client.post(address, chosen)
    assert Connection.objects.get().name == "Practice 0"


def test_a_group_is_offered_what_does_something_and_keeps_what_is_chosen(root: Client) -> None:
    group = Group.objects.get(name="Front desk")
    before = set(group.permissions.values_list("codename", flat=True))
    address = f"/admin/auth/group/{group.pk}/change/"

    page = page_of(root.get(address))

    assert "Cancel appointments at the provider" in page
    assert "Administration: change connections" in page
    assert "Can add log entry" not in page
    chosen = re.findall(r'name="permissions" value="(\d+)"[^>]* checked', page)
    assert len(chosen) == len(before)
    assert root.post(address, {"name": "Desk", "permissions": chosen}).status_code == 302
    group.refresh_from_db()
    assert group.name == "Desk"
    assert set(group.permissions.values_list("codename", flat=True)) == before


# --- connections ------------------------------------------------------------------------------


def typed(connection: Connection | None = None, **changed: str) -> dict[str, str]:
    """The form as a browser sends it."""
    fields = {
        "name": connection.name if connection else "Clinic",
        "provider": connection.provider if connection else "huskyvoice",
        "base_url": connection.base_url if connection else "http://127.0.0.1:9100/huskyvoice",
        "time_zone": connection.time_zone if connection else "Asia/Kolkata",
        "is_active": "on",
    }
    return fields | changed


def errors_of(answer: Any) -> dict[str, list[str]]:
    assert answer.status_code == 200
    found: dict[str, list[str]] = answer.context["adminform"].form.errors
    return found


ADD = "/admin/appointments/connection/add/"


def changing(connection: Connection) -> str:
    return f"/admin/appointments/connection/{connection.pk}/change/"


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("base_url", "ftp://api.example.com", "The address must be written as https://"),
        ("base_url", "http://user:pw@127.0.0.1", "must hold no login"),
        ("base_url", "https://api.example.com", "This installation is a rehearsal"),
        ("base_url", "not an address", "holds a space"),
        ("time_zone", "Amsterdam", "There is no time zone “Amsterdam”"),
        ("time_zone", "../etc/passwd", "There is no time zone"),
        ("name", "Cli\u202enic", "printable characters"),
        ("credential_api_key", "two words", "a character that no key has"),
        ("daily_quota", "0", "greater than or equal to 1"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_the_rest_is_kept(
    field: str, value: str, said: str, root: Client
) -> None:
    sent = typed(name="My clinic", credential_api_key=SECRET) | {field: value}

    answer = root.post(ADD, sent)

    assert list(errors_of(answer)) == [field]
    assert said in errors_of(answer)[field][0]
    page = page_of(answer)
    assert 'value="My clinic"' in page or field == "name"
    if field != "credential_api_key":
        assert f'value="{value}"' in page
    assert SECRET not in page
    assert not Connection.objects.exists()


def test_a_key_never_comes_out(root: Client) -> None:
    """Not in the form, not in a message, not in the history."""
    other = "another-secret-key"
    root.post(ADD, typed(credential_api_key=SECRET))
    made = Connection.objects.get()
    assert made.credentials == {"api_key": SECRET}

    pages = [
        root.post(changing(made), typed(made, credential_api_key=other), follow=True),
        root.post(changing(made), typed(made, time_zone="?", credential_api_key=other)),
        root.get(changing(made)),
        root.get(f"/admin/appointments/connection/{made.pk}/history/"),
        root.get("/admin/appointments/connection/"),
        root.get("/admin/"),
    ]

    made.refresh_from_db()
    assert made.credentials == {"api_key": other}
    for page in pages:
        assert SECRET not in page.content.decode()
        assert other not in page.content.decode()
    assert "Changed API key." in page_of(pages[3])
    assert all(SECRET not in one.change_message for one in LogEntry.objects.all())


def test_an_empty_field_keeps_the_key(root: Client) -> None:
    connection = make_connection("huskyvoice", name="Clinic")

    assert root.post(changing(connection), typed(connection, name="New")).status_code == 302

    connection.refresh_from_db()
    assert connection.name == "New"
    assert connection.credentials == {"api_key": "made-up"}


def meetergo_with(**credentials: str) -> Connection:
    connection = make_connection("meetergo", name="Physio")
    connection.credentials = credentials
    connection.save()
    return connection


KEY = "ak_live:0c2f4e6a-8b1d-4f3e-9a57-d6c8b0e2f419:secret"
USER_ID = "71d0c9e2-3f58-4b6a-9c14-8e5a2d7b0f93"


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ({"api_key": f"{KEY}2"}, {"api_key": f"{KEY}2", "user_id": USER_ID}),
        ({"api_key": "rgo-token"}, {"api_key": "rgo-token"}),
        (
            {"user_id": USER_ID.replace("7", "8")},
            {"api_key": KEY, "user_id": USER_ID.replace("7", "8")},
        ),
    ],
    ids=["another key for the same user", "a token instead of a key", "another user"],
)
def test_one_of_two_fields_may_be_changed_alone(
    sent: dict[str, str], stored: dict[str, str], root: Client
) -> None:
    connection = meetergo_with(api_key=KEY, user_id=USER_ID)
    fields = {f"credential_{name}": value for name, value in sent.items()}

    assert root.post(changing(connection), typed(connection, **fields)).status_code == 302

    connection.refresh_from_db()
    assert connection.credentials == stored


@pytest.mark.parametrize("also", [{}, {"credential_user_id": USER_ID}], ids=["nothing", "user id"])
def test_a_stored_key_is_not_sent_to_another_address(also: dict[str, str], root: Client) -> None:
    connection = meetergo_with(api_key=KEY, user_id=USER_ID)
    sent = typed(connection, base_url="http://127.0.0.1:7/elsewhere", **also)

    answer = root.post(changing(connection), sent)

    assert list(errors_of(answer)) == ["credential_api_key"]
    assert "enter the key again" in errors_of(answer)["credential_api_key"][0]
    connection.refresh_from_db()
    assert connection.base_url == "http://127.0.0.1:9"


@pytest.mark.parametrize("key", ["", "a\0b"], ids=["none", "a null"])
def test_a_key_that_cannot_be_read_here_does_not_go_elsewhere_either(
    key: str, root: Client
) -> None:
    """Another process may have the Fernet key for it."""
    connection = make_connection("huskyvoice", name="Clinic")
    Connection.objects.update(sealed_credentials="sealed with a key of another process")
    sent = typed(connection, base_url="http://127.0.0.1:7/elsewhere", credential_api_key=key)

    answer = root.post(changing(connection), sent)

    assert list(errors_of(answer)) == ["credential_api_key"]
    connection.refresh_from_db()
    assert connection.base_url != "http://127.0.0.1:7/elsewhere"


def test_a_wrong_address_does_not_ask_for_the_key_too(root: Client) -> None:
    connection = make_connection("huskyvoice", name="Clinic")

    answer = root.post(changing(connection), typed(connection, base_url="nonsense"))

    assert list(errors_of(answer)) == ["base_url"]


def test_a_new_key_makes_an_unreadable_one_whole(root: Client) -> None:
    connection = make_connection("huskyvoice", name="Clinic")
    Connection.objects.update(sealed_credentials="sealed with a key that is gone")

    sent = typed(connection, credential_api_key=SECRET)
    assert root.post(changing(connection), sent).status_code == 302

    connection.refresh_from_db()
    assert connection.credentials == {"api_key": SECRET}


def test_the_form_names_what_a_provider_needs(root: Client) -> None:
    adding = page_of(root.get(ADD))
    for provider in PROVIDERS.values():
        assert f"{provider.label}: {provider.default_base_url}" in adding
    physio = meetergo_with(api_key=KEY, user_id=USER_ID)
    clinic = make_connection("huskyvoice", name="Clinic")

    assert 'name="credential_user_id"' in page_of(root.get(changing(physio)))
    assert "Begins with ak_live: (key) or rgo- (token)." in page_of(root.get(changing(physio)))
    assert 'name="credential_user_id"' not in page_of(root.get(changing(clinic)))


def test_the_list_says_how_each_connection_is_doing(root: Client) -> None:
    now = timezone.now()
    connection = make_connection("huskyvoice", name="Clinic")
    make_connection("meetergo", name="Off")
    Connection.objects.filter(name="Off").update(is_active=False)
    Connection.objects.filter(name="Clinic").update(
        daily_quota=1000, credentials_expire_on=timezone.localdate() + timedelta(days=3)
    )
    RequestBudget.objects.create(connection=connection, day=utc_day(now), used=730)
    ConnectionHealth.objects.create(
        connection=connection,
        failing_since=now,
        failure="credentials",
        next_sync_at=now + timedelta(minutes=5),
    )

    listed = page_of(root.get("/admin/appointments/connection/"))

    for said in ("HuskyVoice does not accept our key", "Failing since", "Next try at"):
        assert said in listed
    for said in ("730 of 1000", "in 3 days", "switched off"):
        assert said in listed
    RequestBudget.objects.update(day=utc_day(now) - timedelta(days=1))
    assert "0 of 1000" in page_of(root.get("/admin/appointments/connection/"))


def test_a_connection_of_a_provider_that_is_gone_opens(root: Client) -> None:
    """After going back to an older version, say."""
    connection = make_connection("huskyvoice", name="Clinic")
    Connection.objects.update(provider="harbour")

    assert "does not know the provider" in page_of(root.get("/admin/appointments/connection/"))
    page_of(root.get(changing(connection)))
    for action in ("test_connection", "read_now"):
        chosen = {"action": action, "_selected_action": [connection.pk]}
        page_of(root.post("/admin/appointments/connection/", chosen, follow=True))


def test_reading_now_and_testing(desk: Desk, root: Client) -> None:
    works, off = desk.connection("meetergo"), desk.connection("huskyvoice")
    Connection.objects.filter(pk=off.pk).update(is_active=False)
    later = timezone.now() + timedelta(hours=1)
    ConnectionHealth.objects.update(next_sync_at=later)
    address = "/admin/appointments/connection/"

    def act(action: str) -> str:
        chosen = {"action": action, "_selected_action": [works.pk, off.pk]}
        return page_of(root.post(address, chosen, follow=True))

    told = act("read_now")
    assert f"{works.name}: the worker was told to read it now." in told
    assert f"{off.name} is switched off and is not read." in told
    assert ConnectionHealth.objects.get(connection=works).next_sync_at < later
    assert ConnectionHealth.objects.get(connection=off).next_sync_at == later

    off.credentials = {"api_key": "not-this-one"}
    off.save()
    tested = act("test_connection")
    assert f"{works.name}: works." in tested
    assert f"{off.name}: HuskyVoice does not accept our key" in tested
    assert "not-this-one" not in tested


# --- ready-made reasons -----------------------------------------------------------------------


PRESETS = "/admin/appointments/reasonpreset/"


def reason(**changed: Any) -> dict[str, Any]:
    fields = {"label": "Ill", "text": "Your doctor is ill.", "position": "1", "code": "ill"}
    return fields | changed


def test_a_reason_is_kept_for_all_or_for_one(root: Client) -> None:
    physio = make_connection("meetergo", name="Physio")

    assert root.post(f"{PRESETS}add/", reason(is_default="on")).status_code == 302
    own = reason(connection=physio.pk, is_default="on")
    assert root.post(f"{PRESETS}add/", own).status_code == 302

    listed = page_of(root.get(PRESETS))
    assert "all connections" in listed
    assert ReasonPreset.objects.filter(is_default=True).count() == 2
    kept = ReasonPreset.objects.get(connection=physio)
    changed = reason(connection=physio.pk, is_default="on", text="No room.", position="7")
    assert root.post(f"{PRESETS}{kept.pk}/change/", changed).status_code == 302
    kept.refresh_from_db()
    assert (kept.text, kept.position, kept.is_default) == ("No room.", 7, True)


def test_the_form_says_who_reads_the_text(root: Client) -> None:
    page = page_of(root.get(f"{PRESETS}add/"))

    assert "Goes to the patient as it stands here" in page
    assert "the language that the patients of this connection read" in page
    assert "MijnKlantportaal and HuskyVoice take no reason: there it stays in the portal." in page


@pytest.mark.parametrize("is_general", [True, False])
@pytest.mark.parametrize(
    ("field", "changed", "said"),
    [
        ("is_default", {"code": "other", "is_default": "on"}, "“First” is filled in at first here"),
        ("code", {"code": "first"}, "has this code already"),
        ("text", {"text": "\U0001f9b7" * 251}, "502 characters, at most 500"),
        ("text", {"text": ""}, "required"),
        ("position", {"position": "-1"}, "greater than or equal to 0"),
    ],
)
def test_a_wrong_combination_is_said_at_its_field(
    field: str, changed: dict[str, str], said: str, is_general: bool, root: Client
) -> None:
    physio = make_connection("meetergo", name="Physio")
    connection = None if is_general else physio
    ReasonPreset.objects.create(
        code="first", label="First", text="One.", is_default=True, connection=connection
    )
    sent = reason(connection="" if is_general else physio.pk) | changed

    answer = root.post(f"{PRESETS}add/", sent)

    assert list(errors_of(answer)) == [field]
    assert said in errors_of(answer)[field][0]
    assert 'value="Ill"' in page_of(answer)
    assert ReasonPreset.objects.count() == 1


def test_a_reason_that_stays_here_may_be_as_long_as_the_field(root: Client) -> None:
    """What a provider cannot take does not limit what the portal keeps."""
    clinic = make_connection("huskyvoice", name="Clinic")

    sent = reason(connection=clinic.pk, text="\U0001f9b7" * 251)
    assert root.post(f"{PRESETS}add/", sent).status_code == 302


# --- staff and groups -------------------------------------------------------------------------


def test_a_member_of_staff_is_made_and_put_into_a_group(root: Client) -> None:
    desk = Group.objects.get(name="Front desk")
    login = {"username": "eva", "usable_password": "true"}
    login |= {"password1": "a-long-pw-1", "password2": "a-long-pw-1"}

    assert root.post("/admin/auth/user/add/", login).status_code == 302
    eva = User.objects.get(username="eva")
    page = page_of(root.get(f"/admin/auth/user/{eva.pk}/change/"))
    assert "user_permissions" not in page
    sent = {"username": "eva", "first_name": "Eva", "is_active": "on", "groups": [desk.pk]}
    assert root.post(f"/admin/auth/user/{eva.pk}/change/", sent).status_code == 302

    assert User.objects.get(username="eva").has_perm("appointments.cancel_appointment")
    assert "Front desk" in page_of(root.get("/admin/auth/user/"))
