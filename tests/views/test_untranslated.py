"""Every page, dialog and state, read in a language that shows what is not translated."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from appointments.connection_wording import _FAILURES
from appointments.domain import BookedAttendee, CancellationPolicy, Refusal, Scope, Status
from appointments.models import (
    Appointment,
    Batch,
    BatchLane,
    Booking,
    Cancellation,
    CancellationEvent,
    ConcernedPerson,
    Connection,
    ConnectionHealth,
    ProviderAnswer,
    ProviderCall,
    RequestBudget,
    SavedFilter,
    WorkerPulse,
)
from appointments.models.bookings import BookingState
from appointments.models.cancellations import OPEN, AnswerKind, Event, State
from appointments.sandbox.huskyvoice import WINDOWS
from appointments.services import batch as batches
from appointments.services.cancel import Conflict, ConflictKind, Wish, ask_to_cancel
from appointments.services.facts import facts_of
from appointments.services.limits import utc_day
from appointments.services.records import store
from appointments.wording import conflict, exclusion
from tests.desk import SLUGS, Desk
from tests.services.test_batch import several, work
from tests.views.brackets import outside, speak_in_brackets, untranslated
from tests.views.conftest import HTMX, Book, make_connection, record
from tests.views.test_batches import filled
from tests.views.test_outcome import put

SOON = timedelta(hours=3)


@pytest.fixture(autouse=True)
def _in_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    speak_in_brackets(monkeypatch)


@pytest.fixture
def signed_in(client: Client, desk: Desk) -> Client:
    WorkerPulse.beat("worker of the tests")
    client.force_login(desk.staff)
    return client


def read(answer: Any, status: int = 200, *, data: Iterable[str] = ()) -> str:
    """The page of *answer*, every word of which is translated or the provider's (*data* too)."""
    assert answer.status_code == status
    page: str = answer.content.decode()
    assert "⟦" in page
    assert untranslated(page, data) == []
    return page


# --- the reader itself


@pytest.mark.parametrize(
    "page",
    [
        "<p>Nothing was sent</p>",
        "<p>⟦Nothing⟧ was sent</p>",
        '<p title="Left out">⟦Nothing⟧</p>',
        '<input aria-label="Choose">',
        '<button data-act="Cancel it">⟦Cancel⟧</button>',
        "<p>⟦Removes <b>one</b>⟧ person</p>",
        '<script id="words" type="application/json">{"a": ["⟦Close⟧", "Copied"]}</script>',
    ],
)
def test_a_word_outside_the_brackets_is_seen(page: str, db: None) -> None:
    assert untranslated(page) != []


def test_data_names_and_symbols_are_not_taken_for_ours(staff: User) -> None:
    page = "<p>⟦Asked for by Anna⟧ Anna de Boer · 10:42 (3) <kbd>Esc</kbd> <b lang='nl'>Ja</b>"
    assert untranslated(page) == []
    assert outside("⟦a <b>⟦of⟧</b> c⟧ ok") == ["ok"]


# --- before and around


def test_coming_and_leaving(web: Client, db: None) -> None:
    stranger = Client()
    read(stranger.get("/login/"))
    read(stranger.post("/login/", {"username": "", "password": ""}))
    read(stranger.post("/login/", {"username": "anna", "password": "no"}))
    read(web.get("/logout/"))


def test_what_staff_see_instead_of_a_page(web: Client, colleague: User) -> None:
    read(web.get("/appointments/1/"), 404)
    colleague.groups.clear()
    nobody = Client(raise_request_exception=False)
    nobody.force_login(colleague)
    read(nobody.get("/"), 403)
    read(nobody.get("/", headers=HTMX), 403)
    checked = Client(enforce_csrf_checks=True)
    read(checked.post("/login/", {}), 403)


def test_when_the_portal_itself_fails(
    web: Client, staff: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("appointments.views.filters.Accounts.read", fail)
    client = Client(raise_request_exception=False)
    client.force_login(staff)

    read(client.get("/?range=upcoming"), 500)


# --- the list


def test_the_list_without_anything(web: Client, book: Book) -> None:
    Connection.objects.all().delete()
    read(web.get("/?range=upcoming"))
    book(0)
    read(web.get("/?range=upcoming"))
    read(web.get("/?q=nobody"))
    read(web.get("/?from=2026-12-01&to=2026-11-01&status=nonsense&provider=none"))
    read(web.get("/?from=never&to=1066-10-14&q=" + "1" * 300 + "&with=" + "2" * 300))


@pytest.mark.parametrize("query", ["", "?from=2031-01-02", "?from=2031-01-02&to=2031-01-09"])
def test_the_list_with_every_status(query: str, web: Client, meetergo: Connection) -> None:
    make_connection("meetergo", name="Another account")
    fill(meetergo)
    read(web.get(f"/{query}"))


@pytest.mark.parametrize("state", sorted(OPEN))
def test_the_list_while_something_is_under_way(
    state: State, web: Client, asked: Cancellation
) -> None:
    row = asked.appointment
    put(asked, state)
    Cancellation.objects.update(unknown_since=timezone.now() - timedelta(hours=2))
    read(web.get("/?range=upcoming"))
    read(web.get(row.get_absolute_url()))
    read(web.get(f"/appointments/{row.pk}/cancel/"))


@pytest.mark.parametrize("failure", [*_FAILURES, "never heard of"])
def test_what_is_wrong_with_a_connection(failure: str, web: Client, meetergo: Connection) -> None:
    WorkerPulse.objects.all().delete()
    now = timezone.now()
    ConnectionHealth.objects.create(
        connection=meetergo,
        failure=failure,
        failing_since=now - timedelta(days=2),
        read_at=now - timedelta(days=3),
    )
    Connection.objects.update(credentials_expire_on=timezone.localdate() + timedelta(days=1))
    read(web.get("/?range=upcoming"))
    read(web.get(f"/schedule/?connection={meetergo.pk}"))
    Connection.objects.update(credentials_expire_on=timezone.localdate() - timedelta(days=1))
    read(web.get("/?range=upcoming"))


@pytest.mark.parametrize("used", [0, 799, 990, 1000])
def test_quotas(used: int, web: Client, db: None) -> None:
    connection = make_connection("huskyvoice", name="Clinic")
    Connection.objects.filter(pk=connection.pk).update(daily_quota=1000)
    RequestBudget.objects.create(connection=connection, day=utc_day(timezone.now()), used=used)
    read(web.get("/?range=upcoming"))


def fill(connection: Connection) -> list[Appointment]:
    """One booking of each kind: every status, a group, a session, a person without a name."""
    now = timezone.now()
    people = tuple(
        BookedAttendee(external_id=f"of-group-{n}", name=name, email="", phone="")
        for n, name in enumerate(("Ana", "", "Cy"))
    )
    records = [
        record(n, start=now + SOON, status=status, external_id=f"b-{status}", provider_status="odd")
        for n, status in enumerate(Status)
    ]
    records += [
        record(20, start=now + SOON, external_id="group", is_group=True, attendees=people),
        record(21, start=now + SOON, external_id="nobody", attendees=()),
        record(22, start=now - timedelta(days=2), external_id="past", ends_at=now - SOON),
        record(
            23,
            start=now + SOON,
            external_id="night",
            ends_at=now + timedelta(days=2),
            is_paid=True,
            reference="R-1",
            cancelled_by="host",
            cancel_reason="ill",
            status=Status.CANCELLED,
            cancelled_at=now,
            warnings=("calendar_conflict",),
            location="Room 4",
            meeting_link="https://meet.example/1",
        ),
        record(
            24,
            start=now + SOON,
            external_id="session",
            starts_at=None,
            ends_at=None,
            day=timezone.localdate() + timedelta(days=1),
            session="Vormittag",
        ),
        record(
            25,
            start=now + SOON,
            external_id="lane",
            starts_at=None,
            ends_at=None,
            day=timezone.localdate() + timedelta(days=1),
        ),
    ]
    store(connection, records, read_at=now)
    Appointment.objects.filter(external_id="b-gone").update(missing_since=now)
    return list(Appointment.objects.filter(connection=connection).in_order())


# --- one appointment, and the dialog


def test_every_kind_of_appointment(web: Client, meetergo: Connection) -> None:
    for row in fill(meetergo):
        read(web.get(row.get_absolute_url()))
        read(web.get(row.get_absolute_url(), headers=HTMX))
        read(web.get(f"/appointments/{row.pk}/cancel/"))
        read(web.get(f"/appointments/{row.pk}/cancel/", headers=HTMX))


def test_somebody_who_may_only_look(meetergo: Connection, colleague: User) -> None:
    colleague.groups.clear()
    colleague.user_permissions.add(Permission.objects.get(codename="view_appointment"))
    client = Client()
    client.force_login(colleague)
    for row in fill(meetergo):
        read(client.get(row.get_absolute_url()))
    read(client.get("/?range=upcoming"))


@pytest.mark.parametrize("slug", SLUGS)
def test_the_dialog_of_each_provider(slug: str, desk: Desk, signed_in: Client) -> None:
    row = desk.book(slug)
    address = f"/appointments/{row.pk}/cancel/"
    read(signed_in.get(row.get_absolute_url()))
    read(signed_in.get(address))
    read(signed_in.get(address, headers=HTMX))
    read(signed_in.post(f"/appointments/{row.pk}/look/", {"version": row.version}))
    read(signed_in.post(address, {"reason": "1" * 20_000, "email": "2", "note": "3" * 2000}), 422)
    stale = {"reason": "4", "version": "old", "form_key": str(uuid4()), "email": "a@example.org"}
    read(signed_in.post(address, stale), 409)
    desk.ask(row)
    read(signed_in.post(address, stale | {"form_key": str(uuid4())}), 409)


def test_the_dialog_of_a_group_and_of_a_series(desk: Desk, signed_in: Client) -> None:
    group = desk.book("meetergo", people=3)
    address = f"/appointments/{group.pk}/cancel/"
    read(signed_in.get(address))
    sent = {"version": group.version, "form_key": str(uuid4())}
    read(signed_in.post(address, sent), 422)
    read(signed_in.post(address, sent | {"attendee": "0"}), 422)
    asked = desk.ask(group, scope=Scope.ATTENDEE, attendee=group.attendees.first())
    desk.work(asked)
    desk.read("meetergo")
    read(signed_in.post(address, sent | {"attendee": str(asked.pk)}), 422)
    read(signed_in.get(asked.get_absolute_url()))


def test_what_the_provider_moved_while_the_dialog_is_open(desk: Desk, signed_in: Client) -> None:
    row = desk.book("meetergo")
    look = f"/appointments/{row.pk}/look/"
    read(signed_in.post(look, {"version": "0"}, headers=HTMX))
    desk.fault("meetergo", "status", "read", status=500, times=9)
    read(signed_in.post(look, {"version": row.version}, headers=HTMX))


@pytest.mark.parametrize("hours", [-1, 0, 5, 9999])
def test_the_rules_of_a_provider(hours: int, web: Client, db: None) -> None:
    connection = make_connection("huskyvoice", name="Clinic")
    policy = {"allowed": hours >= 0, "notice_hours": max(0, hours)}
    Connection.objects.filter(pk=connection.pk).update(policy=policy)
    connection.refresh_from_db()
    assert isinstance(connection.known_policy, CancellationPolicy)
    for row in fill(connection):
        read(web.get(f"/appointments/{row.pk}/cancel/"))


# --- what came of it

WHYS = {
    State.REQUESTED: ("", "queued", *_FAILURES),
    State.CONFIRMED: ("said", "seen_cancelled", "whole_cancelled"),
    State.ALREADY: ("said_already", "found_cancelled"),
    State.REFUSED: tuple(Refusal),
    State.NOT_SENT: tuple(_FAILURES),
    State.WITHDRAWN: (
        "taken_back",
        "gone",
        "changed_time",
        "changed_attendees",
        "changed_status",
        "not_permitted",
    ),
    State.UNKNOWN: ("", "worker_lost"),
    State.NEEDS_HUMAN: ("", "probably_cancelled", "still_booked", "unreadable"),
    State.SETTLED: ("judged_cancelled", "judged_booked"),
}


@pytest.fixture
def asked(web: Client, book: Book, staff: User) -> Cancellation:
    return ask(book()[0], by=staff)


def ask(row: Appointment, *, by: User) -> Cancellation:
    wish = Wish(reason="Ill", note="Rang twice", email="a@example.org")
    found = ask_to_cancel(row, by=by, wish=wish, form_key=uuid4(), version=row.version)
    assert isinstance(found, Cancellation)
    return found


@pytest.mark.parametrize("slug", SLUGS)
def test_who_is_told_by_each_provider(slug: str, web: Client, book: Book, staff: User) -> None:
    asked = ask(book(connection=make_connection(slug, name="Practice"))[0], by=staff)
    put(asked, State.CONFIRMED)
    read(web.get(asked.get_absolute_url()))


@pytest.mark.parametrize("state", list(State))
def test_every_outcome(state: State, web: Client, asked: Cancellation, staff: User) -> None:
    for why in WHYS.get(state, ("",)):
        put(asked, state, why=why, settled_by=staff if state == State.SETTLED else None)
        read(web.get(asked.get_absolute_url()))
    for scope in Scope:
        put(asked, state, scope=scope, attendee_external_id="1", settled_by=staff)
        read(web.get(asked.get_absolute_url()))
    put(asked, state, unknown_since=timezone.now() - timedelta(hours=1), settled_by=staff)
    read(web.get(asked.get_absolute_url()))
    read(web.get("/unsettled/"))
    put(asked, state, contradicted_at=timezone.now(), settled_by=staff)
    read(web.get(asked.get_absolute_url()))
    read(web.get("/unsettled/"))
    WorkerPulse.objects.all().delete()
    read(web.get(asked.get_absolute_url()))


def test_while_it_can_still_be_taken_back(
    web: Client, book: Book, staff: User, settings: Any
) -> None:
    settings.COOLING_OFF = timedelta(minutes=1)
    rows = book(3)
    read(web.get(ask(rows[0], by=staff).get_absolute_url()))
    batch = batches.ask_for_batch(
        {one.pk: one.version for one in rows[1:]}, by=staff, form_key=uuid4()
    )
    read(web.get(batch.get_absolute_url()))
    read(web.get("/?range=upcoming"))


@pytest.mark.parametrize("later", [None, [], [True], [True, True], [True, False]])
def test_later_occurrences(later: list[bool] | None, web: Client, asked: Cancellation) -> None:
    found = None if later is None else [{"id": "1", "seen_cancelled": one} for one in later]
    put(asked, State.CONFIRMED, scope=Scope.FOLLOWING, later_ones=found)
    read(web.get(asked.get_absolute_url()))


def test_every_step_of_a_history(web: Client, asked: Cancellation, staff: User) -> None:
    now = timezone.now()
    for event in Event:
        CancellationEvent.objects.create(
            cancellation=asked, at=now, event=event, after=asked.state, by=staff
        )
    for number, kind in enumerate(AnswerKind, start=1):
        call = ProviderCall.objects.create(
            cancellation=asked, number=number, started_at=now, asked={}
        )
        ProviderAnswer.objects.create(call=call, kind=kind, status=500, answered_at=now)
    read(web.get(asked.get_absolute_url()))
    read(web.get(asked.appointment.get_absolute_url()))


def test_what_a_person_decides(web: Client, asked: Cancellation) -> None:
    put(asked, State.NEEDS_HUMAN, unknown_since=timezone.now() - timedelta(hours=2))
    settle = f"{asked.get_absolute_url()}settle/"
    read(web.post(settle, {"reason": ""}), 422)
    read(web.post(settle, {"reason": "rang"}), 422)


@pytest.mark.parametrize("kind", list(ConflictKind))
def test_every_reason_that_stands_against_it(
    kind: ConflictKind, asked: Cancellation, staff: User
) -> None:
    for state in (State.UNKNOWN, State.CONFIRMED):
        put(asked, state)
        asked.refresh_from_db()
        for cancellation in (None, asked):
            for viewer in (None, staff):
                found = Conflict(kind=kind, cancellation=cancellation)
                assert outside(conflict(found, viewer=viewer)) == []
    assert outside(exclusion(kind)) == []


# --- many at once


def test_a_batch_from_the_review_to_the_calls(desk: Desk, signed_in: Client) -> None:
    rows = [*several(desk, "meetergo", 11), *several(desk, "huskyvoice", 2)]
    rows += [desk.book("carevalidate"), desk.book("mijnklantportaal")]
    desk.ask(rows[-1])
    review = signed_in.post("/batches/review/", {"pick": [one.pk for one in rows]}, follow=True)
    sent = filled(read(review))
    read(signed_in.post("/batches/review/", {"pick": []}, follow=True))
    read(signed_in.post("/batches/review/", {"pick": [rows[-1].pk]}, follow=True))
    read(signed_in.post("/batches/review/", {"pick": [rows[0].pk]}, follow=True))
    read(signed_in.post("/batches/", sent | {"count": "3"}), 422)
    read(signed_in.post("/batches/", sent | {"row": []}), 422)
    read(signed_in.post("/batches/", sent | {"form_key": "no", "reason": "1" * 9000}), 422)

    batch = batches.ask_for_batch(
        {one.pk: one.version for one in rows}, by=desk.staff, form_key=uuid4()
    )
    address = batch.get_absolute_url()
    read(signed_in.get(address))
    read(signed_in.get("/?range=upcoming"))
    for why in ("not_sent", "unknown", "busy", "refused"):
        BatchLane.objects.update(paused_at=timezone.now(), paused_why=why)
        read(signed_in.get(address))
    BatchLane.objects.update(paused_at=None, paused_why="")
    work(batch)
    read(signed_in.get(address))
    read(signed_in.get(f"{address}calls/"))
    read(signed_in.get("/activity/"))
    header = signed_in.get(f"{address}calls.csv").content.decode("utf-8-sig").splitlines()[0]
    assert outside(header) == []


@pytest.mark.parametrize("state", list(State))
def test_how_far_a_batch_is(state: State, desk: Desk, signed_in: Client) -> None:
    rows = several(desk, "huskyvoice", 3)
    batch = batches.ask_for_batch(
        {one.pk: one.version for one in rows}, by=desk.staff, form_key=uuid4()
    )
    for fields in ({"why": ""}, {"contradicted_at": timezone.now()}):
        for one in batch.cancellations.all()[1:]:
            put(one, state, settled_by=desk.staff, **fields)
        read(signed_in.get(batch.get_absolute_url()))
        ConcernedPerson.objects.update(phone="+31 6 12345678")
        read(signed_in.get(f"{batch.get_absolute_url()}calls/"))
    Batch.objects.update(stopped_at=timezone.now(), stopped_by=desk.staff)
    read(signed_in.get(batch.get_absolute_url()))


# --- what was done, and scheduling


def test_activity(web: Client, meetergo: Connection, staff: User) -> None:
    read(web.get("/activity/"))
    read(web.get("/activity/?kind=bookings"))
    read(web.get("/activity/?state=confirmed"))
    for number, row in enumerate(fill(meetergo)):
        if row.external_id in ("b-booked", "group", "session"):
            asked = ask(row, by=staff)
            put(asked, list(State)[number % len(State)], settled_by=staff)
    read(web.get("/activity/"))
    read(web.get("/activity/?kind=bookings"))
    read(web.get(f"/activity/?from=2020-01-02&to=2099-01-01&who={staff.pk}&provider=meetergo"))
    read(web.get("/activity/?from=2030-01-02&to=2030-01-01&state=nonsense&who=0&provider=x"))


@pytest.mark.parametrize("slug", SLUGS)
def test_scheduling(slug: str, desk: Desk, signed_in: Client) -> None:
    desk.read(slug)
    connection = desk.connection(slug)
    read(signed_in.get("/schedule/"))
    read(signed_in.get("/schedule/?connection=0"), 404)
    read(signed_in.get(f"/schedule/?connection={connection.pk}"))
    sent = {"connection": connection.pk, "starts_at": "2020-01-01T10:00", "ends_at": "no"}
    read(signed_in.post("/schedule/", sent | {"email": "1", "service": "2", "host": "3"}), 422)
    for moment in ("2027-03-28T02:30", "2027-10-31T02:30", "1066-01-01T00:00"):
        read(signed_in.post("/schedule/", sent | {"starts_at": moment}), 422)


def test_nowhere_to_schedule(web: Client, db: None) -> None:
    read(web.get("/schedule/"))


@pytest.mark.parametrize("state", list(BookingState))
def test_every_outcome_of_a_booking(
    state: BookingState, web: Client, staff: User, meetergo: Connection
) -> None:
    now = timezone.now()
    booking = Booking.objects.create(
        form_key=uuid4(),
        connection=meetergo,
        wish={"name": "Ida", "starts_at": now.isoformat(), "service": "s-1"},
        starts_at=now + SOON,
        state=state,
        requested_by=staff,
        requested_at=now,
        expires_at=now + SOON,
        due_at=now + SOON if state in Booking.OPEN else None,
        said="no",
    )
    for why in (*Refusal, "unreadable", "not_listed", "lifetime_over"):
        Booking.objects.update(why=why)
        read(web.get(booking.get_absolute_url()))
    for booked_at in (now, now + SOON):
        Booking.objects.update(booked_at=booked_at, wish={})
        read(web.get(booking.get_absolute_url()))
        read(web.get("/unsettled/"))


@pytest.mark.parametrize("kind", [Booking.Kind.MOVE, Booking.Kind.CONFIRM])
def test_every_outcome_of_a_change(
    kind: str, web: Client, staff: User, book: Book, meetergo: Connection
) -> None:
    (row,), now = book(), timezone.now()
    booking = Booking.objects.create(
        kind=kind,
        form_key=uuid4(),
        connection=meetergo,
        appointment=row,
        wish={},
        expected=facts_of(row).as_json(),
        starts_at=now + 2 * SOON,
        requested_by=staff,
        requested_at=now,
        expires_at=now + SOON,
        due_at=now,
    )
    for state in BookingState:
        for why in ("", "worker_lost", "unreadable", "gone", "credentials", "slot_taken"):
            Booking.objects.update(state=state, why=why, settled_by=staff, booked_at=now)
            read(web.get(booking.get_absolute_url()))
        read(web.get("/?range=upcoming"))
        read(web.get("/unsettled/"))
    read(web.get(row.get_absolute_url()))


@pytest.mark.parametrize("slug", SLUGS)
def test_moving_confirming_and_rebooking(slug: str, desk: Desk, signed_in: Client) -> None:
    row = desk.book(slug)
    slots = {"do": "slots", "slots_from": str(timezone.localdate()), "slots_days": "7"}
    can = row.capabilities
    for act, is_offered in (("move", can.reschedules), ("confirm", can.confirms_pending)):
        status = 200 if is_offered else 404
        read(signed_in.get(f"{row.get_absolute_url()}{act}/"), status)
    if can.reschedules:
        # Sessions and codes of windows that are only in the provider's answer.
        windows = {one for window in WINDOWS for one in (window.session, window.batch)}
        read(signed_in.post(f"{row.get_absolute_url()}move/", slots), data=windows)
        read(signed_in.post(f"{row.get_absolute_url()}move/", {}), 422)
    connection = desk.connection(slug)
    read(signed_in.get(f"/schedule/?connection={connection.pk}&replacing={row.pk}"))
    read(signed_in.get(f"/schedule/?replacing={row.pk}"))


# --- to take along


def test_views_feeds_and_paper(web: Client, meetergo: Connection, staff: User) -> None:
    fill(meetergo)
    SavedFilter.objects.create(user=staff, name="Mine", query={"status": "booked"})
    read(web.get("/views/"))
    read(web.get("/feeds/"))
    read(web.post("/feeds/", {"source": "", "with_phones": "on"}), 201)
    read(web.post("/feeds/", {"source": "0"}), 422)
    read(web.get("/feeds/"))
    read(web.get("/print/"))
    read(web.get("/print/?status=booked&q=1&provider=meetergo&with=Behrens"))
    for address in ("/appointments.csv", "/activity.csv"):
        content = b"".join(web.get(address))
        assert outside(content.decode("utf-8-sig").splitlines()[0]) == []
