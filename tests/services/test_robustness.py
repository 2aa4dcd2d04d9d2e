"""Faults that were found once and must not come back."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from cryptography.fernet import Fernet
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from huey.contrib.djhuey import HUEY
from huey.contrib.djhuey.tasks_backend import KEY

from appointments import tasks
from appointments.domain import Scope, Status
from appointments.models import Appointment, Booking, Cancellation, Connection, ProviderCall
from appointments.models.cancellations import State
from appointments.models.secrets import CannotDecrypt
from appointments.sandbox.core import Fault
from appointments.sandbox.people import PEOPLE
from appointments.services.cancel import Conflict, ConflictKind, take_back
from appointments.services.facts import booking_of
from appointments.services.records import store
from appointments.services.schedule import ask_to_schedule
from appointments.services.send import process
from appointments.services.settle import read_again
from appointments.services.trace import trace
from appointments.wording import consequence, outcome
from tests.desk import Desk, answers, wait_until
from tests.services.test_schedule import request_for

type Callbacks = Any


def boom(desk: Desk, slug: str, **how: Any) -> None:
    desk.fault(slug, "status", status=500, body={"message": "boom"}, **how)


def test_an_older_listing_does_not_undo_what_the_look_found_cancelled(desk: Desk) -> None:
    """*Already* protects the row as *confirmed* does."""
    appointment = desk.book("mijnklantportaal")
    before, old = timezone.now(), booking_of(appointment)
    cancellation = desk.ask(appointment)
    book = desk.world("mijnklantportaal").state["appointments"]
    book[appointment.external_id]["status"] = "canceled"
    assert desk.work(cancellation).state == State.ALREADY

    store(desk.connection("mijnklantportaal"), [old], read_at=before)

    appointment.refresh_from_db()
    assert appointment.status == Status.CANCELLED


def test_taking_back_from_an_old_page_after_an_unknown_call_claims_nothing(desk: Desk) -> None:
    """The page knows nothing of the call in between; the row does."""
    cancellation = desk.ask(desk.book("mijnklantportaal"))
    page = Cancellation.objects.get(pk=cancellation.pk)
    boom(desk, "mijnklantportaal")
    desk.work(cancellation)
    assert desk.work(cancellation).state == State.REQUESTED

    take_back(page, by=desk.staff)

    cancellation.refresh_from_db()
    assert cancellation.state == State.UNKNOWN


def test_later_occurrences_are_traced_however_it_was_confirmed(
    desk: Desk, django_capture_on_commit_callbacks: Callbacks
) -> None:
    """Confirmed by a read after a lost answer: the later ones are looked at all the same."""
    for number in range(3):
        start = desk.soon + timedelta(days=7 * number)
        desk.add("meetergo", who=PEOPLE[15:16], start=start, series="physio")
    desk.read("meetergo")
    first = Appointment.objects.in_order().select_related("connection")[0]
    desk.fault("meetergo", "lose_answer")
    cancellation = desk.cancel(first, scope=Scope.FOLLOWING)
    assert cancellation.state == State.UNKNOWN

    with django_capture_on_commit_callbacks() as woken:
        desk.work(cancellation)
    trace(cancellation.pk)

    assert cancellation.state == State.CONFIRMED
    assert woken
    cancellation.refresh_from_db()
    assert cancellation.later_ones is not None
    assert len(cancellation.later_ones) == 2


def test_an_unreadable_key_does_not_keep_an_unknown_from_a_person(
    desk: Desk, settings: Any
) -> None:
    """Not the provider's fault and not a read either: after half an hour somebody must know."""
    boom(desk, "meetergo")
    cancellation = desk.cancel(desk.book("meetergo"))
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]

    with (
        time_machine.travel(timezone.now() + timedelta(minutes=31), tick=True),
        suppress(CannotDecrypt),
    ):
        desk.work(cancellation)

    cancellation.refresh_from_db()
    assert cancellation.state == State.NEEDS_HUMAN
    assert cancellation.lease_until is None


def test_an_unreadable_key_before_sending_waits_and_then_is_not_sent(
    desk: Desk, settings: Any
) -> None:
    cancellation = desk.ask(desk.book("meetergo"))
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]

    with suppress(CannotDecrypt):
        desk.work(cancellation)
    cancellation.refresh_from_db()
    assert (cancellation.state, cancellation.why) == (State.REQUESTED, "cannot_decrypt")

    with time_machine.travel(timezone.now() + timedelta(minutes=11), tick=True):
        desk.work(cancellation)
    assert cancellation.state == State.NOT_SENT


def test_a_connection_that_is_switched_off_sends_nothing(desk: Desk) -> None:
    appointment = desk.book("meetergo")
    cancellation = desk.ask(appointment)
    connection = desk.connection("meetergo")
    connection.is_active = False
    connection.save()

    desk.work(cancellation)

    assert (cancellation.state, cancellation.why) == (State.NOT_SENT, "switched_off")
    assert desk.received("meetergo") == []
    again = desk.try_to_ask(desk.row("meetergo", appointment.external_id))
    assert again == Conflict(kind=ConflictKind.SWITCHED_OFF)


def test_asking_for_reads_does_not_push_the_planned_ones_away(desk: Desk) -> None:
    """Six impatient clicks later the next read is still seconds off."""
    boom(desk, "meetergo")
    cancellation = desk.cancel(desk.book("meetergo"))

    for _ in range(6):
        read_again(cancellation, by=desk.staff)
        desk.work(cancellation)

    assert cancellation.due_at is not None
    assert cancellation.due_at - timezone.now() < timedelta(seconds=31)


def test_whoever_finishes_calls_in_the_next_that_waits(
    desk: Desk, settings: Any, django_capture_on_commit_callbacks: Callbacks
) -> None:
    """No polling while a connection is busy: the free place is handed on."""
    settings.CANCELS_IN_FLIGHT = 1
    first, second = desk.ask(desk.book("meetergo")), desk.ask(desk.book("meetergo"))
    Cancellation.objects.filter(pk=first.pk).update(
        lease_key=uuid4(), lease_until=timezone.now() + timedelta(seconds=30)
    )
    with django_capture_on_commit_callbacks() as woken:
        desk.work(second)
    assert woken == []

    Cancellation.objects.filter(pk=first.pk).update(lease_key=None, lease_until=None)
    with django_capture_on_commit_callbacks() as woken:
        desk.work(first)

    second.refresh_from_db()
    assert second.due_at is not None
    assert second.due_at <= timezone.now()
    assert woken


def test_results_of_tasks_do_not_pile_up(db: None) -> None:
    """Whoever runs it, this process or a worker of the browser tests, forgets the result."""
    results = [tasks.process_cancellation.enqueue(424242) for _ in range(5)]
    while (task := HUEY.dequeue()) is not None:
        HUEY.execute(task)

    wait_until(lambda: all(HUEY.get(KEY % one.id, peek=True) is None for one in results))


# --- bookings ---------------------------------------------------------------------------------


def ask_booking(desk: Desk, slug: str = "meetergo") -> Booking:
    desk.book(slug)
    connection = desk.connection(slug)
    connection.refresh_from_db()
    booking = ask_to_schedule(
        connection, by=desk.staff, request=request_for(slug, desk), form_key=uuid4()
    )
    assert isinstance(booking, Booking), booking
    return booking


def test_a_booking_with_an_unreadable_key_does_not_look_sent(desk: Desk, settings: Any) -> None:
    booking = ask_booking(desk)
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]

    desk.work_booking(booking)

    assert (booking.state, booking.why) == (Booking.State.NOT_SENT, "cannot_decrypt")


def test_another_booking_of_the_same_person_is_not_taken_for_ours(desk: Desk) -> None:
    """Somebody else booked them at another time: our own outcome stays unknown."""
    booking = ask_booking(desk)
    boom(desk, "meetergo", operation="schedule")
    desk.work_booking(booking)
    desk.add("meetergo", who=PEOPLE[2:3], start=booking.starts_at + timedelta(hours=3))

    desk.work_booking(booking)

    assert booking.state == Booking.State.UNKNOWN


def test_a_booking_that_cannot_be_read_is_not_called_unbooked(desk: Desk) -> None:
    """To a person, and with the truth: we could not look."""
    booking = ask_booking(desk)
    boom(desk, "meetergo", operation="schedule")
    desk.work_booking(booking)
    boom(desk, "meetergo", operation="list", times=None)

    with time_machine.travel(timezone.now() + timedelta(minutes=17), tick=True):
        desk.work_booking(booking)

    assert (booking.state, booking.why) == (Booking.State.NEEDS_HUMAN, "unreadable")


# --- administration ---------------------------------------------------------------------------


@pytest.fixture
def admin(db: None, client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root", password="root-pw"))
    return client


def test_staff_without_permission_cannot_delete_a_connection(desk: Desk, client: Client) -> None:
    connection = desk.connection("meetergo")
    client.force_login(User.objects.create_user("clerk", is_staff=True))

    client.post(f"/admin/appointments/connection/{connection.pk}/delete/", {"post": "yes"})

    connection.refresh_from_db()


def test_a_key_is_never_shown_and_survives_an_empty_field(desk: Desk, admin: Client) -> None:
    connection = desk.connection("meetergo")
    address = f"/admin/appointments/connection/{connection.pk}/change/"
    page = admin.get(address).content.decode()
    assert connection.credentials["api_key"] not in page

    posted = {
        "name": "New name",
        "provider": "meetergo",
        "base_url": connection.base_url,
        "time_zone": "Europe/Berlin",
        "is_active": "on",
    }
    assert admin.post(address, posted).status_code == 302

    before = connection.credentials
    connection.refresh_from_db()
    assert connection.name == "New name"
    assert connection.credentials == before


def test_a_new_address_asks_for_the_key_again(desk: Desk, admin: Client) -> None:
    """A slip in the address must not send a stored key to somebody else's host."""
    connection = desk.connection("meetergo")
    address = f"/admin/appointments/connection/{connection.pk}/change/"
    posted = {
        "name": connection.name,
        "provider": "meetergo",
        "base_url": "http://127.0.0.1:7/elsewhere",
        "time_zone": "Europe/Berlin",
        "is_active": "on",
    }

    answer = admin.post(address, posted)

    assert answer.status_code == 200
    assert "enter the key again" in answer.content.decode()


def test_a_connection_can_be_made_and_tested_in_the_admin(desk: Desk, admin: Client) -> None:
    world = desk.world("huskyvoice")
    posted = {
        "name": "Clinic",
        "provider": "huskyvoice",
        "base_url": desk.server.base_url("huskyvoice"),
        "time_zone": "Asia/Kolkata",
        "is_active": "on",
        "credential_api_key": world.credentials["api_key"],
    }
    answer = admin.post("/admin/appointments/connection/add/", posted)
    assert answer.status_code == 302, answer.content.decode()

    made = Connection.objects.get(name="Clinic")
    assert made.credentials == dict(world.credentials)
    tested = admin.post(
        "/admin/appointments/connection/",
        {"action": "test_connection", "_selected_action": [made.pk]},
        follow=True,
    )
    assert "Clinic: works." in tested.content.decode()


@pytest.mark.parametrize(
    "model",
    [
        "connection",
        "appointment",
        "cancellation",
        "booking",
        "batch",
        "reasonpreset",
        "syncrun",
    ],
)
def test_admin_pages_open(model: str, desk: Desk, admin: Client) -> None:
    cancellation = desk.cancel(desk.book("meetergo"))
    address = f"/admin/appointments/{model}/"

    assert admin.get(address).status_code == 200
    keys = {"connection": cancellation.connection_id, "appointment": cancellation.appointment_id}
    if model in ("connection", "appointment", "cancellation"):
        key = keys.get(model, cancellation.pk)
        assert admin.get(f"{address}{key}/change/").status_code == 200


def test_the_ledger_cannot_be_changed_in_the_admin(desk: Desk, admin: Client) -> None:
    cancellation = desk.cancel(desk.book("meetergo"))
    address = f"/admin/appointments/cancellation/{cancellation.pk}"

    assert admin.post(f"{address}/change/", {"state": "refused"}).status_code == 403
    assert admin.post(f"{address}/delete/", {"post": "yes"}).status_code == 403


# --- what contradicts us ----------------------------------------------------------------------


def test_a_reader_that_lags_does_not_offer_a_second_cancel_that_mails(desk: Desk) -> None:
    """Confirmed, yet listed in its old version: said aloud, and not opened again."""
    appointment = desk.book("meetergo")
    old = booking_of(appointment)
    cancellation = desk.cancel(appointment)

    store(desk.connection("meetergo"), [old], read_at=timezone.now())

    appointment.refresh_from_db()
    cancellation.refresh_from_db()
    assert appointment.status == Status.CANCELLED
    assert cancellation.state == State.CONFIRMED
    assert outcome(cancellation).tone == "alarm"
    assert cancellation in Cancellation.objects.for_people(timezone.now())
    desk.read("meetergo")
    cancellation.refresh_from_db()
    assert cancellation.contradicted_at is None
    assert outcome(cancellation).tone == "good"


def test_a_removed_person_who_is_listed_again_is_said_aloud(desk: Desk) -> None:
    appointment = desk.book("meetergo", people=3)
    old = booking_of(appointment)
    cancellation = desk.work(desk.remove(appointment, PEOPLE[16]))

    store(desk.connection("meetergo"), [old], read_at=timezone.now())

    cancellation.refresh_from_db()
    assert outcome(cancellation).tone == "alarm"
    assert appointment.attendees.filter(email=PEOPLE[16].email).count() == 0


def test_a_booking_opened_anew_at_the_provider_can_be_cancelled_again(desk: Desk) -> None:
    """A version that is newer than our cancellation is good evidence."""
    appointment = desk.book("meetergo")
    old = booking_of(appointment)
    desk.cancel(appointment)
    fresh = replace(old, updated_at=timezone.now() + timedelta(minutes=1))

    store(desk.connection("meetergo"), [fresh], read_at=timezone.now())

    appointment.refresh_from_db()
    assert appointment.status == Status.BOOKED


def test_somebody_who_stays_keeps_her_key_when_another_leaves(desk: Desk) -> None:
    """An open dialog holds it: it must not say that she is not booked any more."""
    appointment = desk.book("meetergo", people=3)
    before = appointment.attendees.get(email=PEOPLE[17].email).pk

    desk.work(desk.remove(appointment, PEOPLE[15]))
    desk.read("meetergo")

    assert appointment.attendees.get(email=PEOPLE[17].email).pk == before


def test_names_cannot_turn_a_warning_around(desk: Desk) -> None:
    """Characters that change the direction of writing are left out of what we call people."""
    hostile = replace(PEOPLE[15], first_name="Jan\u202e\u2066", last_name="\u2067Smit")
    appointment = desk.book("meetergo", who=[hostile])

    assert appointment.attendees.get().label == "Jan Smit"
    assert "\u202e" not in consequence(appointment)


@pytest.mark.parametrize("location", ["http://xn--a/", "//\x7f", "http://[::1"])
def test_a_redirect_that_cannot_be_read_is_an_unknown_outcome(location: str, desk: Desk) -> None:
    appointment = desk.book("meetergo")
    desk.fault("meetergo", "status", status=307, headers={"Location": location})

    cancellation = desk.cancel(appointment)

    assert cancellation.state == State.UNKNOWN
    assert answers(cancellation) == ["unknown"]


# --- finding people ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "last", "typed"),
    [
        ("Ida", "Sørensen", "Sorensen"),
        ("Ida", "Sørensen", "soerensen"),
        ("Hannah", "Schäfer", "Schaefer"),
        ("Hannah", "Schäfer", "schafer"),
        ("James", "O'Connor", "o\u2019connor"),
        ("Sanne", "de Vries", "de vries, sanne"),
        ("Mehmet", "Y\u0131lmaz", "yilmaz"),
        ("Łukasz", "Weiß", "lukasz weiss"),
    ],
)
def test_people_are_found_however_their_name_is_typed(
    first: str, last: str, typed: str, desk: Desk
) -> None:
    who = replace(PEOPLE[0], first_name=first, last_name=last)
    appointment = desk.book("meetergo", who=[who])

    assert list(Appointment.objects.matching(typed)) == [appointment]


@pytest.mark.parametrize("typed", ["06 5550 101", "+31 (0)6 5550101", "5550101", "0031 6 5550101"])
def test_a_number_is_found_however_it_is_written(typed: str, desk: Desk) -> None:
    appointment = desk.book("meetergo", who=[PEOPLE[0]])

    assert list(Appointment.objects.matching(typed)) == [appointment]


def test_another_appointment_of_the_same_person_is_no_later_occurrence(desk: Desk) -> None:
    """Same kind and person on another weekday: nobody is to hunt for it."""
    week, day = timedelta(days=7), timedelta(days=1)
    for start, series in ((desk.soon, "s"), (desk.soon + week, "s"), (desk.soon + day, "")):
        desk.add("meetergo", who=PEOPLE[15:16], start=start, series=series)
    desk.read("meetergo")
    first = Appointment.objects.in_order().select_related("connection")[0]

    cancellation = desk.cancel(first, scope=Scope.FOLLOWING)
    trace(cancellation.pk)

    cancellation.refresh_from_db()
    assert cancellation.later_ones is not None
    assert [one["seen_cancelled"] for one in cancellation.later_ones] == [True]


def test_a_loss_noticed_late_does_not_keep_an_unreadable_outcome_from_a_person(desk: Desk) -> None:
    """
    The planned reads count from the call, the half hour from when its loss was noticed: the read in
    between, a few seconds too early, must not cost another quarter of an hour.
    """
    cancellation = desk.ask(desk.book("meetergo"))
    start = timezone.now()
    with time_machine.travel(start, tick=False) as clock:
        desk.sandbox.add_fault(Fault(provider="meetergo", operation="*", kind="reset", times=None))
        Cancellation.objects.filter(pk=cancellation.pk).update(
            state=State.SENDING, due_at=start, lease_until=start
        )
        ProviderCall.objects.create(
            cancellation=cancellation, number=1, started_at=start - timedelta(seconds=70), asked={}
        )
        for _ in range(12):
            cancellation.refresh_from_db()
            if cancellation.due_at is None or cancellation.state == State.NEEDS_HUMAN:
                break
            clock.move_to(max(cancellation.due_at, timezone.now()))
            process(cancellation.pk)

    assert (cancellation.state, cancellation.why) == (State.NEEDS_HUMAN, "unreadable")
    assert cancellation.unknown_since is not None
    handed_over = cancellation.events.get(event="handed_over").at
    assert handed_over - cancellation.unknown_since <= timedelta(minutes=31)
