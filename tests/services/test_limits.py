"""Providers are asked no faster than they allow, by all processes together, and people go first."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import OperationalError
from django.utils import timezone

from appointments.domain import RateLimited
from appointments.models import Connection, RequestBudget, SyncRun
from appointments.models.cancellations import State
from appointments.services import lanes, limits
from appointments.services.limits import Pace, Urgency
from appointments.services.sync import sync, sync_if_due
from tests.desk import Desk, answers

NOON = datetime(2026, 12, 7, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _paced(settings: Any) -> None:
    settings.PROVIDER_PACING = True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[time_machine.Traveller]:
    """A clock that stands still, and moves on by what somebody sleeps."""
    with time_machine.travel(NOON, tick=False) as clock:
        monkeypatch.setattr("appointments.services.limits.time.sleep", clock.shift)
        yield clock


def gate(connection: Connection, urgency: Urgency) -> Any:
    return limits.client(connection, urgency).http.gate


def admitted(connection: Connection, urgency: Urgency) -> int:
    """How many requests go through before one is turned away."""
    count = 0
    while True:
        try:
            gate(connection, urgency).admit()
        except RateLimited:
            return count
        count += 1


@pytest.mark.parametrize("slug", ["mijnklantportaal", "meetergo", "carevalidate", "huskyvoice"])
def test_no_minute_sees_more_than_is_allowed(
    slug: str, desk: Desk, clock: time_machine.Traveller
) -> None:
    """However eager a sync is: counted over every minute of ten."""
    connection = desk.connection(slug)
    allowed = connection.capabilities.requests_per_minute
    times: list[datetime] = []
    shared = [gate(connection, Urgency.SYNC), gate(connection, Urgency.SYNC)]
    while timezone.now() < NOON + timedelta(minutes=3):
        shared[len(times) % 2].admit()
        times.append(timezone.now())

    busiest = max(
        sum(start <= one < start + timedelta(minutes=1) for one in times) for start in times
    )
    assert allowed * 0.7 < busiest <= allowed


def test_a_sync_leaves_room_for_people(desk: Desk, clock: time_machine.Traveller) -> None:
    """Half of the burst is out of a sync's reach, so a dialog is answered at once."""
    connection = desk.connection("huskyvoice")
    for _ in range(30):
        gate(connection, Urgency.SYNC).admit()

    assert admitted(connection, Urgency.DIALOG) >= 5


def test_people_are_told_rather_than_kept_waiting(
    desk: Desk, clock: time_machine.Traveller
) -> None:
    connection = desk.connection("huskyvoice")
    before = timezone.now()

    assert admitted(connection, Urgency.DIALOG) == Pace.of(connection).burst
    assert timezone.now() == before


def test_a_cancellation_stands_back_and_is_called_in(
    desk: Desk, clock: time_machine.Traveller
) -> None:
    """It is neither refused nor sent too fast; it says that it waits for its turn."""
    cancellation = desk.ask(desk.book("huskyvoice"))
    connection = desk.connection("huskyvoice")
    admitted(connection, Urgency.DIALOG)

    desk.work(cancellation)
    assert (cancellation.state, cancellation.why) == (State.REQUESTED, lanes.QUEUED)
    assert desk.received("huskyvoice") == []

    wait = limits.wait_for_work(connection)
    assert timedelta(0) < wait < timedelta(seconds=5)
    lanes.call_in(connection.pk)
    cancellation.refresh_from_db()
    assert cancellation.why == lanes.QUEUED

    clock.shift(wait)
    lanes.call_in(connection.pk)
    cancellation.refresh_from_db()
    assert cancellation.why == ""
    assert desk.work(cancellation).state == State.CONFIRMED


def test_one_that_was_never_called_in_expires_as_not_sent(
    desk: Desk, clock: time_machine.Traveller
) -> None:
    cancellation = desk.ask(desk.book("huskyvoice"))
    lanes.stand_back(cancellation)

    clock.shift(timedelta(minutes=10))
    desk.work(cancellation)

    assert (cancellation.state, cancellation.why) == (State.NOT_SENT, "lifetime_over")


def test_a_provider_that_is_busy_is_left_alone_by_all(
    desk: Desk, clock: time_machine.Traveller
) -> None:
    """One 429 with Retry-After, and nobody asks before that: no dialog, no sync, no cancel."""
    first, second = desk.book("meetergo"), desk.book("meetergo")
    connection = desk.connection("meetergo")
    desk.fault("meetergo", "status", status=429, body={}, headers={"Retry-After": "90"})
    assert answers(desk.cancel(first)) == ["limited"]

    waiting = desk.cancel(second)
    assert (waiting.state, answers(waiting)) == (State.REQUESTED, [])
    with pytest.raises(RateLimited):
        gate(connection, Urgency.DIALOG).admit()
    run = sync(connection)
    assert run is not None
    assert run.why == "own_limit"

    clock.shift(91)
    lanes.call_in(connection.pk)
    assert desk.work(waiting).state == State.CONFIRMED


@pytest.mark.parametrize("figure", ["-5", "soon", "9" * 30])
def test_a_figure_that_makes_no_sense_still_means_too_often(
    figure: str, desk: Desk, clock: time_machine.Traveller
) -> None:
    """The first is not sent; the next of many waits two minutes instead of being turned away."""
    first, second = desk.book("meetergo"), desk.book("meetergo")
    desk.fault("meetergo", "status", status=429, body={}, headers={"Retry-After": figure})
    assert desk.cancel(first).state == State.NOT_SENT

    waiting = desk.cancel(second)
    assert (waiting.state, answers(waiting)) == (State.REQUESTED, [])

    clock.shift(121)
    lanes.call_in(desk.connection("meetergo").pk)
    assert desk.work(waiting).state == State.CONFIRMED


def test_a_busy_answer_is_not_lost_with_the_database(
    desk: Desk, clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says that nothing was done: to forget that would make the outcome unknown."""
    at_work = gate(desk.connection("meetergo"), Urgency.WORK)

    def gone(**_: object) -> None:
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr(RequestBudget.objects, "filter", gone)

    at_work.turned_away(timedelta(seconds=30))


def test_standing_back_for_people_is_no_failure(
    desk: Desk, clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The strip does not turn red because somebody cancels a lot."""
    desk.book("huskyvoice")
    connection = desk.connection("huskyvoice")
    monkeypatch.setattr(limits, "PATIENCE", timedelta(seconds=5))
    RequestBudget.objects.filter(connection=connection).update(
        paid_until=timezone.now() + Pace.of(connection).longest
    )

    run = sync(connection)

    assert run is not None
    assert run.why == "own_limit"
    connection.health.refresh_from_db()
    assert not connection.health.is_failing


def test_a_sync_obeys_retry_after_up_to_an_hour(desk: Desk, clock: time_machine.Traveller) -> None:
    desk.book("meetergo")
    connection = desk.connection("meetergo")
    for asked, obeyed in (("1800", 30), ("7200", 60)):
        headers = {"Retry-After": asked}
        desk.fault("meetergo", "status", operation="list", status=429, body={}, headers=headers)
        sync(connection)
        connection.health.refresh_from_db()
        pause = connection.health.next_sync_at - timezone.now()
        assert pause == timedelta(minutes=obeyed)
        clock.shift(timedelta(hours=2))


# --- a day's quota ----------------------------------------------------------------------------


def test_requests_of_a_day_are_counted_until_midnight_utc(
    desk: Desk, clock: time_machine.Traveller
) -> None:
    desk.book("huskyvoice")
    connection = desk.connection("huskyvoice")
    used = limits.usage(connection, now=timezone.now()).used
    assert used == len(desk.received("huskyvoice", "*"))

    clock.move_to(datetime(2026, 12, 8, 0, 1, tzinfo=UTC))
    assert limits.usage(connection, now=timezone.now()).used == 0


def test_syncs_spread_what_the_quota_leaves_them(desk: Desk, clock: time_machine.Traveller) -> None:
    """With a small quota the list is refreshed less often, and a fifth stays for people."""
    connection = desk.connection("huskyvoice")
    Connection.objects.filter(pk=connection.pk).update(daily_quota=100)
    connection.refresh_from_db()
    desk.read("huskyvoice")
    used = limits.usage(connection, now=timezone.now()).used
    assert 0 < used < 80

    connection.health.refresh_from_db()
    pause = connection.health.next_sync_at - timezone.now()
    assert pause > timedelta(hours=2)

    RequestBudget.objects.filter(connection=connection).update(used=85)
    assert limits.usage(connection, now=timezone.now()).left_for_sync == 0
    desk.read("huskyvoice")
    connection.health.refresh_from_db()
    assert connection.health.next_sync_at == datetime(2026, 12, 8, tzinfo=UTC)


def test_later_days_are_read_only_once_an_hour(desk: Desk, clock: time_machine.Traveller) -> None:
    """Where each day costs a request, most runs read today and tomorrow."""
    connection = desk.connection("huskyvoice")
    days = []
    for _ in range(14):
        clock.shift(timedelta(minutes=5))
        sync_if_due(connection.pk)
        run = SyncRun.objects.filter(connection=connection).latest("started_at")
        days.append((run.last_day - run.first_day).days)

    assert days[0] == 15
    assert set(days[1:12]) == {2}
    assert 15 in days[12:]


def test_staff_read_how_much_of_the_quota_is_used(
    desk: Desk, client: Any, clock: time_machine.Traveller
) -> None:
    desk.book("huskyvoice")
    connection = desk.connection("huskyvoice")
    Connection.objects.filter(pk=connection.pk).update(daily_quota=1000)
    RequestBudget.objects.filter(connection=connection).update(used=640)
    client.force_login(desk.staff)
    assert "640 of 1000 requests today" in client.get("/").content.decode()

    RequestBudget.objects.filter(connection=connection).update(used=800)
    page = client.get("/").content.decode()
    assert "The rest is kept for cancelling" in page

    RequestBudget.objects.filter(connection=connection).update(used=1000)
    page = client.get("/").content.decode()
    assert "all requests of today are used" in page
