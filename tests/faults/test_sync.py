"""Every fault of the table, at every provider, for a refreshing of the list."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from appointments.connection_wording import freshness
from appointments.domain import Status
from appointments.models import Appointment, Connection, ConnectionHealth, SyncRun
from appointments.models.cancellations import State
from appointments.providers import base
from appointments.services.sync import sync
from appointments.wording import outcome
from tests.desk import SLUGS, Desk
from tests.faults.course import every_case, known, short_reads
from tests.faults.matrix import (
    all_cases,
    all_listings,
)
from tests.faults.rude import Fault, Lags, RudeServer, Says, Where
from tests.faults.rules import (
    CARE,
    FAILS,
    GOES_ON,
    PROVIDERS,
    REPEAT_IS_SAFE,
    Case,
    Listing,
    Refresh,
)

CASES = [case for case in all_cases() if case.refreshing(case.at[0]) is not None]
CAUSES = list({(case.run_why or case.why): case for case in reversed(CASES)}.values())
"""One of each, because our side knows no more of the fault than that."""
LONGEST_PAUSE = 3600
"""Seconds."""


def refreshed(
    desk: Desk, slug: str, rude: RudeServer, fault: Fault, *, where: Where = "list"
) -> SyncRun:
    with short_reads(fault), rude.during(fault, where):
        run = sync(desk.connection(slug))
    assert run is not None
    return run


def strip(connection: Connection) -> str:
    """What the strip above the list says, read anew."""
    return freshness(Connection.objects.select_related("health").get(pk=connection.pk))


def contents(slug: str) -> list[dict[str, Any]]:
    """Our rows of one provider, whole."""
    rows = Appointment.objects.filter(connection__provider=slug).order_by("pk")
    return [dict(row) for row in rows.values()]


def assert_strip(desk: Desk, slug: str, refresh: Refresh) -> None:
    assert strip(desk.connection(slug)).startswith(refresh.strip)


@every_case(CASES)
def test_a_refresh(case: Case, slug: str, desk: Desk, rude: RudeServer) -> None:
    """
    Either it is whole, or our rows stay as they are and the strip says since when it fails.

    Nothing is asked twice in one run.
    """
    refresh = case.refreshing(slug)
    assert refresh is not None
    known(desk, slug)
    before = contents(slug)

    run = refreshed(desk, slug, rude, case.fault)

    assert run.outcome == refresh.outcome
    assert_strip(desk, slug, refresh)
    assert desk.received(slug) == []
    assert not rude.was_visited_elsewhere()
    if refresh == GOES_ON:
        return
    assert run.why == (case.run_why or case.cause(slug))
    assert contents(slug) == before
    assert_nothing_asked_twice(desk, slug)
    assert_pause(desk.connection(slug), run, asked=(case.waits or {}).get(slug, 0))


@every_case(CAUSES)
def test_the_refresh_after_a_fault(case: Case, slug: str, desk: Desk, rude: RudeServer) -> None:
    """When the fault is over, the next planned run mends it all."""
    appointment = known(desk, slug)
    refreshed(desk, slug, rude, case.fault)

    health = ConnectionHealth.objects.get(connection=desk.connection(slug))
    with time_machine.travel(health.next_sync_at, tick=True):
        run = sync(desk.connection(slug))
        assert run is not None
        assert run.outcome == SyncRun.Outcome.COMPLETE
        assert_strip(desk, slug, GOES_ON)
    appointment.refresh_from_db()
    assert appointment.status == Status.BOOKED


def assert_nothing_asked_twice(desk: Desk, slug: str) -> None:
    asked = [(one.path, repr(one.query)) for one in desk.sandbox.log if one.operation == "list"][
        slug == CARE :
    ]  # CareValidate was read by listing, before.
    assert len(asked) == len(set(asked))


def assert_pause(connection: Connection, run: SyncRun, *, asked: int) -> None:
    """As long as the provider wants, and no less than usual; but never more than an hour."""
    health = ConnectionHealth.objects.get(connection=connection)
    assert run.finished_at is not None
    usual = connection.capabilities.sync_minutes * 60
    pause = (health.next_sync_at - run.finished_at).total_seconds()
    assert pause == pytest.approx(min(max(usual, asked), LONGEST_PAUSE), abs=1)


@every_case(all_listings())
def test_a_listing(
    case: Listing, slug: str, desk: Desk, rude: RudeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a listing alone can get wrong: no booking of ours is lost or called cancelled."""
    monkeypatch.setattr(base, "MAX_PAGES", 3)
    ids = [desk.add(slug) for _ in range(case.bookings)]
    assert sync(desk.connection(slug)).outcome == SyncRun.Outcome.COMPLETE  # type: ignore[union-attr]
    before = contents(slug)
    assert len(before) == case.bookings

    run = refreshed(desk, slug, rude, case.fault, where=case.where)

    assert (run.outcome, run.why) == (case.refresh.outcome, case.why)
    assert run.rejected == case.rejected
    assert_strip(desk, slug, case.refresh)
    rows = Appointment.objects.filter(external_id__in=ids)
    assert {row.status for row in rows} == {case.status}
    if case.status == "booked":
        assert [_shown(row) for row in contents(slug)[: len(ids)]] == [_shown(r) for r in before]


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """What staff see of a row: without when it was looked at, and the provider's own word."""
    unseen = ("seen_at", "read_alone_at", "content", "provider_status", "missing_since")
    return {name: value for name, value in row.items() if name not in unseen}


@pytest.mark.parametrize("slug", SLUGS)
def test_failing_again_and_again_is_asked_less_and_less(
    slug: str, desk: Desk, rude: RudeServer
) -> None:
    """Twice the pause each time, up to an hour; the time since when it fails stays."""
    connection = desk.connection(slug)
    usual = connection.capabilities.sync_minutes * 60
    pauses: list[float] = []
    since: set[datetime | None] = set()
    with time_machine.travel(timezone.now(), tick=True) as clock:
        for _ in range(8):
            run = refreshed(desk, slug, rude, Says(status=503, body={}))
            health = ConnectionHealth.objects.get(connection=connection)
            assert run.finished_at is not None
            pauses.append((health.next_sync_at - run.finished_at).total_seconds())
            since.add(health.failing_since)
            clock.move_to(health.next_sync_at)

    doubled = [min(usual * 2**number, LONGEST_PAUSE) for number in range(8)]
    assert pauses == pytest.approx(doubled, abs=1)
    assert len(since) == 1


@pytest.mark.parametrize("slug", SLUGS)
def test_one_provider_that_fails_holds_up_no_other(slug: str, desk: Desk, rude: RudeServer) -> None:
    others = [one for one in PROVIDERS if one != slug]
    for one in PROVIDERS:
        known(desk, one)

    refreshed(desk, slug, rude, Says(status=401, body={"message": "No.", "error": "No."}))

    for one in others:
        assert sync(desk.connection(one)).outcome == SyncRun.Outcome.COMPLETE  # type: ignore[union-attr]
        assert_strip(desk, one, GOES_ON)
    assert_strip(desk, slug, FAILS)


@pytest.mark.parametrize("slug", SLUGS)
def test_a_listing_that_began_before(slug: str, desk: Desk, rude: RudeServer) -> None:
    """It read the booking before the cancellation and arrives after it: the row stays cancelled."""
    appointment = known(desk, slug)
    rude.remembers = True
    sync(desk.connection(slug))
    began = timezone.now()
    cancellation = desk.cancel(desk.row(slug, appointment.external_id))
    assert cancellation.state == State.CONFIRMED

    with time_machine.travel(began, tick=True):
        run = refreshed(desk, slug, rude, Lags())

    assert run.outcome == SyncRun.Outcome.COMPLETE
    appointment.refresh_from_db()
    assert appointment.status == Status.CANCELLED
    cancellation.refresh_from_db()
    assert cancellation.contradicted_at is None


@pytest.mark.parametrize("slug", SLUGS)
def test_a_yes_that_no_listing_bears_out(slug: str, desk: Desk, rude: RudeServer) -> None:
    """
    It said yes, and goes on listing it: said aloud, for a person, and never sent again by itself.

    Where a second cancel could mail twice, the row is not even opened for one.
    """
    appointment = known(desk, slug)
    world = desk.world(slug)
    before = json.loads(json.dumps(world.state))
    cancellation = desk.cancel(appointment)
    assert cancellation.state == State.CONFIRMED

    world.load(before)
    with time_machine.travel(timezone.now() + timedelta(minutes=11), tick=True):
        sync(desk.connection(slug))

    cancellation.refresh_from_db()
    assert cancellation.state == State.CONFIRMED
    assert outcome(cancellation).title == "Confirmed, but listed as booked again"
    appointment.refresh_from_db()
    assert (appointment.status == Status.CANCELLED) == (slug not in REPEAT_IS_SAFE)
    assert len(desk.received(slug)) == 1
