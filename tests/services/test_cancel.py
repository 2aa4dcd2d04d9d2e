"""The way of a cancellation through the services, against real HTTP and a real database."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from appointments.domain import CancelRequest, CapabilityMissing, Gate, Scope, Status
from appointments.models import Appointment, Cancellation, ProviderCall
from appointments.models.cancellations import State
from appointments.sandbox.people import PEOPLE
from appointments.services import send
from appointments.services.cancel import Conflict, ConflictKind, take_back
from appointments.services.facts import booking_of
from appointments.services.trace import trace
from tests.desk import SLUGS, Desk, answers, events

every_provider = pytest.mark.parametrize("slug", SLUGS)


@every_provider
def test_a_clear_yes_is_confirmed_and_the_row_is_cancelled(slug: str, desk: Desk) -> None:
    """Asked, read, sent once, confirmed; our copy and the provider's book agree."""
    appointment = desk.book(slug)

    cancellation = desk.cancel(appointment)

    assert cancellation.state == State.CONFIRMED
    assert len(desk.received(slug)) == 1
    assert answers(cancellation) == ["ok"]
    assert events(cancellation) == ["asked", "claimed", "provider_confirmed"]
    appointment.refresh_from_db()
    assert appointment.status == Status.CANCELLED


@every_provider
def test_what_was_cancelled_meanwhile_is_found_and_nothing_is_sent(slug: str, desk: Desk) -> None:
    """Somebody cancelled it at the provider: the look before sending says so."""
    appointment = desk.book(slug)
    cancellation = desk.ask(appointment)
    _cancel_at_provider(desk, appointment)
    sent_by_others = len(desk.received(slug))

    desk.work(cancellation)

    assert cancellation.state == State.ALREADY
    assert len(desk.received(slug)) == sent_by_others
    assert answers(cancellation) == []


@every_provider
@pytest.mark.parametrize("kind", ["lose_answer", "truncate"])
def test_a_lost_answer_is_unknown_and_a_read_settles_it(slug: str, kind: str, desk: Desk) -> None:
    """The provider cancelled but we did not hear it: unknown first, confirmed by reading."""
    appointment = desk.book(slug)
    desk.fault(slug, kind)  # type: ignore[arg-type]
    cancellation = desk.cancel(appointment)
    assert cancellation.state == State.UNKNOWN
    assert answers(cancellation) == ["unknown"]
    appointment.refresh_from_db()
    assert appointment.status == Status.BOOKED

    desk.work(cancellation)

    assert cancellation.state == State.CONFIRMED
    assert cancellation.why == "seen_cancelled"
    assert len(desk.received(slug)) == 1
    appointment.refresh_from_db()
    assert appointment.status == Status.CANCELLED


@pytest.mark.parametrize("slug", ["meetergo", "carevalidate"])
def test_an_unclear_failure_is_never_sent_again_where_it_could_mail_twice(
    slug: str, desk: Desk
) -> None:
    """500 before anything was applied, booking still there: reads only, and then a person."""
    appointment = desk.book(slug)
    desk.fault(slug, "status", status=500, body={"message": "boom"})
    cancellation = desk.cancel(appointment)

    desk.work(cancellation)
    desk.work(cancellation)

    assert cancellation.state == State.UNKNOWN
    assert len(desk.received(slug)) == 1


@pytest.mark.parametrize("slug", ["mijnklantportaal", "huskyvoice"])
def test_an_unclear_failure_is_sent_once_more_where_that_is_harmless(slug: str, desk: Desk) -> None:
    """Still booked after a read: once more, and only once."""
    appointment = desk.book(slug)
    desk.fault(slug, "status", status=500, body={"message": "boom"}, times=None)
    cancellation = desk.cancel(appointment)

    for _ in range(6):
        desk.work(cancellation)

    assert cancellation.state == State.UNKNOWN
    assert answers(cancellation) == ["unknown", "unknown"]
    assert len(desk.received(slug)) == 2


@every_provider
def test_429_waits_as_told_and_then_goes_through(slug: str, desk: Desk) -> None:
    """Turned away: nothing happened there, and the next try succeeds."""
    appointment = desk.book(slug)
    desk.fault(slug, "status", status=429, body={"message": "x"}, headers={"Retry-After": "2"})
    cancellation = desk.cancel(appointment)
    assert cancellation.state == State.REQUESTED
    assert cancellation.due_at is not None
    assert timedelta(0) < cancellation.due_at - timezone.now() <= timedelta(seconds=2)

    # Nobody asks that provider before.
    assert desk.work(cancellation).state == State.REQUESTED
    with time_machine.travel(timezone.now() + timedelta(seconds=3), tick=True):
        desk.work(cancellation)

    assert cancellation.state == State.CONFIRMED
    assert answers(cancellation) == ["limited", "ok"]


@every_provider
def test_an_absurd_wait_ends_as_not_sent(slug: str, desk: Desk) -> None:
    """A provider that wants us to wait for a day is not waited for."""
    appointment = desk.book(slug)
    desk.fault(slug, "status", status=429, body={}, headers={"Retry-After": "86400"})

    cancellation = desk.cancel(appointment)

    assert cancellation.state == State.NOT_SENT
    appointment.refresh_from_db()
    assert appointment.status == Status.BOOKED


@every_provider
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_refused_without_another_look(slug: str, status: int, desk: Desk) -> None:
    """401 and 403 say plainly that nothing was done."""
    appointment = desk.book(slug)
    body: dict[str, Any] = {
        "message": "no",
        "error": {"code": "INSUFFICIENT_SCOPE", "message": "no"},
    }
    if slug == "carevalidate":
        body = {"status": status, "success": False, "message": "no"}
    desk.fault(slug, "status", status=status, body=body)

    cancellation = desk.cancel(appointment)

    assert cancellation.state == State.REFUSED
    assert cancellation.why == ("credentials" if status == 401 else "permission")
    assert len(desk.received(slug)) == 1


@every_provider
def test_an_undocumented_yes_is_not_believed(slug: str, desk: Desk) -> None:
    """200 with a page of HTML: unknown, and the booking stays as it was."""
    appointment = desk.book(slug)
    desk.fault(slug, "html", status=200)

    cancellation = desk.cancel(appointment)

    assert cancellation.state == State.UNKNOWN
    appointment.refresh_from_db()
    assert appointment.status == Status.BOOKED


@every_provider
def test_a_provider_that_cannot_be_read_is_waited_for_and_nothing_is_sent(
    slug: str, desk: Desk
) -> None:
    """The look fails: the intent waits, and ends as not sent when its lifetime is over."""
    appointment = desk.book(slug)
    cancellation = desk.ask(appointment)
    desk.fault(slug, "status", operation="*", status=503, body={"message": "x"}, times=None)
    desk.work(cancellation)
    assert cancellation.state == State.REQUESTED
    assert cancellation.why == "unreadable"

    Cancellation.objects.filter(pk=cancellation.pk).update(expires_at=timezone.now())
    desk.work(cancellation)

    assert cancellation.state == State.NOT_SENT
    assert desk.received(slug) == []


def test_one_person_of_a_group_is_removed_and_the_others_stay(desk: Desk) -> None:
    """Scope sent is scope confirmed: one attendee goes, one mail is sent."""
    appointment = desk.book("meetergo", people=4)

    cancellation = desk.work(desk.remove(appointment, PEOPLE[16]))

    assert cancellation.state == State.CONFIRMED
    appointment.refresh_from_db()
    assert appointment.status == Status.BOOKED
    names = {one.name for one in appointment.attendees.all()}
    assert names == {PEOPLE[n].name for n in (15, 17, 18)}
    assert appointment.version == Appointment.objects.get(pk=appointment.pk).version


def test_whole_group_is_cancelled_for_everybody(desk: Desk) -> None:
    """`cancelAll` goes along, and everybody is mailed once."""
    appointment = desk.book("meetergo", people=3)

    cancellation = desk.cancel(appointment)

    assert cancellation.state == State.CONFIRMED
    assert len({mail["to"] for mail in desk.mails("meetergo")}) == 3


def test_this_and_later_ones_names_the_later_ones_after_reading(desk: Desk) -> None:
    """The provider names no series: later occurrences are read and noted."""
    week = timedelta(days=7)
    who = PEOPLE[15:16]
    for number in range(3):
        desk.add("meetergo", who=who, start=desk.soon + number * week, series="physio")
    desk.read("meetergo")
    first = Appointment.objects.in_order()[0]

    cancellation = desk.cancel(first, scope=Scope.FOLLOWING)
    assert cancellation.state == State.CONFIRMED
    trace(cancellation.pk)

    cancellation.refresh_from_db()
    assert cancellation.later_ones is not None
    assert [one["seen_cancelled"] for one in cancellation.later_ones] == [True, True]
    assert Appointment.objects.filter(status=Status.CANCELLED).count() == 3


def test_carevalidate_absence_after_an_unknown_goes_to_a_person(desk: Desk) -> None:
    """Gone from the list, and no case to look into: probably cancelled, never "confirmed"."""
    appointment = desk.book("carevalidate")
    desk.fault("carevalidate", "lose_answer")
    cancellation = desk.cancel(appointment)
    desk.fault(
        "carevalidate",
        "status",
        operation="case",
        status=404,
        times=None,
        body={"status": 404, "success": False, "message": "Case not found"},
    )

    desk.work(cancellation)

    assert cancellation.state == State.NEEDS_HUMAN
    assert cancellation.why == "probably_cancelled"


def test_carevalidate_wrong_address_is_refused_and_can_be_corrected(desk: Desk) -> None:
    """A 400 while the row is still listed is a refusal; a second intent may follow."""
    appointment = desk.book("carevalidate", booked_with="work@example.com")

    first = desk.cancel(appointment)
    assert first.state == State.REFUSED
    assert first.why == "email"
    second = desk.cancel(appointment, email="work@example.com")

    assert second.state == State.CONFIRMED


def test_a_refusal_of_what_is_gone_by_now_is_not_called_still_booked(desk: Desk) -> None:
    """It cancelled, and answered 400: what is there afterwards decides, not the status alone."""
    desk.fault("meetergo", "replace", status=400, body={"statusCode": 400, "message": "no"})

    cancellation = desk.cancel(desk.book("meetergo"))

    assert cancellation.state == State.ALREADY
    assert answers(cancellation) == ["already"]
    assert len(desk.received("meetergo")) == 1


def test_huskyvoice_policy_refusal_is_shown_as_refused(desk: Desk) -> None:
    """The notice is too short: refused, still booked."""
    tomorrow = (timezone.now() + timedelta(hours=6)).date()
    appointment = desk.book("huskyvoice", day=tomorrow + timedelta(days=1))
    desk.world("huskyvoice").state["policy"]["cancellation_notice_hours"] = 500

    cancellation = desk.cancel(appointment)

    assert cancellation.state == State.REFUSED
    assert cancellation.why == "policy"


# --- one intent -------------------------------------------------------------------------------


def test_the_same_form_twice_is_one_intent(desk: Desk) -> None:
    """Double click, back button, resubmit: the form key makes them one."""
    appointment, key = desk.book("meetergo"), uuid4()

    first = desk.ask(appointment, form_key=key)
    second = desk.ask(appointment, form_key=key)

    assert first == second
    assert Cancellation.objects.count() == 1


def test_a_second_person_sees_who_was_faster(desk: Desk, colleague: User) -> None:
    """One open cancellation per booking, whoever asks."""
    appointment = desk.book("meetergo")
    first = desk.ask(appointment)

    second = desk.try_to_ask(appointment, by=colleague)

    assert second == Conflict(kind=ConflictKind.ALREADY_OPEN, cancellation=first)


def test_a_stale_page_is_told_and_nothing_is_recorded(desk: Desk) -> None:
    """The version of the page must be that of the row."""
    appointment = desk.book("meetergo")

    asked = desk.try_to_ask(appointment, version="0" * 16)

    assert asked == Conflict(kind=ConflictKind.STALE)
    assert not Cancellation.objects.exists()


def test_a_moved_appointment_is_withdrawn_and_nothing_is_sent(desk: Desk) -> None:
    """It moved at the provider after the click: nobody wanted *that* cancelled."""
    appointment = desk.book("mijnklantportaal")
    cancellation = desk.ask(appointment)
    book = desk.world("mijnklantportaal").state["appointments"][appointment.external_id]
    book["startsAt"] = "2031-01-01T10:00:00+01:00"
    book["endsAt"] = "2031-01-01T10:30:00+01:00"

    desk.work(cancellation)

    assert cancellation.state == State.WITHDRAWN
    assert cancellation.why == "changed_time"
    assert desk.received("mijnklantportaal") == []


def test_taken_back_before_sending_is_withdrawn(desk: Desk) -> None:
    cancellation = desk.ask(desk.book("meetergo"))

    take_back(cancellation, by=desk.staff)
    desk.work(cancellation)

    assert cancellation.state == State.WITHDRAWN
    assert desk.received("meetergo") == []


def test_without_permission_nothing_is_recorded(desk: Desk) -> None:
    visitor = User.objects.create_user("visitor")

    with pytest.raises(PermissionDenied):
        desk.try_to_ask(desk.book("meetergo"), by=visitor)
    assert not Cancellation.objects.exists()


def test_permission_lost_before_sending_withdraws(desk: Desk) -> None:
    """A person who may no longer cancel does not cancel through the queue either."""
    cancellation = desk.ask(desk.book("meetergo"))
    desk.staff.groups.clear()

    desk.work(cancellation)

    assert cancellation.state == State.WITHDRAWN
    assert desk.received("meetergo") == []


def test_what_a_provider_cannot_do_is_a_bug_of_the_caller(desk: Desk) -> None:
    with pytest.raises(CapabilityMissing):
        desk.ask(desk.book("mijnklantportaal"), scope=Scope.FOLLOWING)


def test_cancelled_is_not_cancelled_again(desk: Desk) -> None:
    appointment = desk.book("meetergo")
    desk.cancel(appointment)

    again = desk.try_to_ask(desk.row("meetergo", appointment.external_id))

    assert again == Conflict(kind=ConflictKind.NOT_LIVE)


def test_a_series_has_one_open_cancellation_that_touches_it(desk: Desk) -> None:
    """ "This and later ones" blocks single ones of the same person and kind, and the reverse."""
    who = PEOPLE[15:16]
    for number in range(2):
        desk.add("meetergo", who=who, start=desk.soon + timedelta(days=7 * number), series="s")
    desk.read("meetergo")
    first, second = Appointment.objects.in_order().select_related("connection")

    following = desk.ask(first, scope=Scope.FOLLOWING)

    assert desk.try_to_ask(second) == Conflict(
        kind=ConflictKind.SERIES_OPEN, cancellation=following
    )


# --- a worker that dies -----------------------------------------------------------------------


@every_provider
def test_a_worker_lost_while_sending_leaves_an_unknown_that_reads_settle(
    slug: str, desk: Desk
) -> None:
    """Claimed and never answered: recovery reads; it does not send."""
    appointment = desk.book(slug)
    cancellation = desk.ask(appointment)
    _claimed(cancellation)
    Cancellation.objects.filter(pk=cancellation.pk).update(lease_until=timezone.now())

    desk.work(cancellation)
    assert cancellation.state == State.UNKNOWN
    assert cancellation.why == "worker_lost"
    assert desk.received(slug) == []


def test_a_row_that_somebody_holds_is_left_alone(desk: Desk) -> None:
    cancellation = desk.ask(desk.book("meetergo"))
    Cancellation.objects.filter(pk=cancellation.pk).update(
        lease_key=uuid4(), lease_until=timezone.now() + timedelta(seconds=30)
    )

    desk.work(cancellation)

    assert cancellation.state == State.REQUESTED
    assert desk.received("meetergo") == []


def test_a_crowded_connection_makes_the_next_one_wait(desk: Desk, settings: object) -> None:
    """At most so many at a time: one hanging provider never holds all workers."""
    settings.CANCELS_IN_FLIGHT = 1  # type: ignore[attr-defined]
    busy, waiting = desk.ask(desk.book("meetergo")), desk.ask(desk.book("meetergo"))
    Cancellation.objects.filter(pk=busy.pk).update(
        lease_key=uuid4(), lease_until=timezone.now() + timedelta(seconds=30)
    )

    desk.work(waiting)

    assert waiting.state == State.REQUESTED
    assert waiting.due_at is not None
    assert waiting.due_at > timezone.now()


def test_nothing_is_sent_after_its_lifetime(desk: Desk) -> None:
    """A worker that comes back late does not surprise anybody with an old click."""
    cancellation = desk.ask(desk.book("meetergo"))
    Cancellation.objects.filter(pk=cancellation.pk).update(expires_at=timezone.now())

    desk.work(cancellation)

    assert cancellation.state == State.NOT_SENT
    assert desk.received("meetergo") == []


def test_quiet_period_over_and_still_booked_goes_to_a_person(desk: Desk) -> None:
    """15 minutes after the call nothing can be under way any more: a person decides."""
    appointment = desk.book("meetergo")
    desk.fault("meetergo", "status", status=500, body={"message": "boom"})
    cancellation = desk.cancel(appointment)

    with time_machine.travel(timezone.now() + timedelta(minutes=16), tick=True):
        desk.work(cancellation)

    assert cancellation.state == State.NEEDS_HUMAN
    assert cancellation.why == "still_booked"
    assert len(desk.received("meetergo")) == 1


def _claimed(cancellation: Cancellation) -> ProviderCall:
    """As after the claim of a worker that then died."""
    held = uuid4()
    until = timezone.now() + timedelta(seconds=60)
    Cancellation.objects.filter(pk=cancellation.pk).update(lease_key=held, lease_until=until)
    cancellation.refresh_from_db()
    return send._claim(cancellation, held=held, looked_at=timezone.now())


def _cancel_at_provider(desk: Desk, appointment: Appointment) -> None:
    """Somebody else cancels it in the provider's own system."""
    client = appointment.connection.client(gate=Gate())
    email = appointment.attendees.get().email
    with closing(client.http):
        client.cancel(CancelRequest(appointment=booking_of(appointment), email=email))


def test_a_provider_that_asks_for_more_than_two_minutes_is_not_waited_for(desk: Desk) -> None:
    """Nobody expects a cancellation to fire an hour after the click."""
    busy: dict[str, Any] = {"status": 429, "headers": {"Retry-After": "3600"}}
    desk.fault("meetergo", "status", **busy)

    cancellation = desk.cancel(desk.book("meetergo"))

    assert (cancellation.state, answers(cancellation)) == (State.NOT_SENT, ["limited"])


def test_names_that_are_known_are_not_asked_for_again(desk: Desk) -> None:
    """Each request counts towards the day's quota: a look and a cancellation are two."""
    row = desk.book("huskyvoice")
    before = [len(desk.received("huskyvoice", one)) for one in ("services", "read", "cancel")]

    desk.cancel(row)

    after = [len(desk.received("huskyvoice", one)) for one in ("services", "read", "cancel")]
    assert [late - early for early, late in zip(before, after, strict=True)] == [0, 1, 1]
    assert desk.row("huskyvoice", row.external_id).title == row.title != ""
