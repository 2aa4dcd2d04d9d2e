"""Refreshing our copy: what is written, what is judged absent, and what is not believed."""

from __future__ import annotations

from dataclasses import replace
from datetime import time, timedelta

import pytest
import time_machine
from django.utils import timezone

from appointments.domain import Status
from appointments.models import Appointment, Cancellation, Connection, ConnectionHealth, SyncRun
from appointments.models.cancellations import State, Verdict
from appointments.services.facts import booking_of
from appointments.services.records import store
from appointments.services.settle import settle_by_hand
from appointments.services.sync import due_connections, sync
from appointments.wording import outcome
from tests.desk import SLUGS, Desk

every_provider = pytest.mark.parametrize("slug", SLUGS)


@every_provider
def test_a_listing_is_written_and_an_unchanged_one_is_not_written_again(
    slug: str, desk: Desk
) -> None:
    desk.add(slug)
    desk.add(slug)

    first = sync(desk.connection(slug))
    second = sync(desk.connection(slug))

    assert first is not None
    assert second is not None
    assert (first.outcome, first.seen, first.written) == ("complete", 2, 2)
    assert (second.outcome, second.seen, second.written) == ("complete", 2, 0)
    health = ConnectionHealth.objects.get(connection=desk.connection(slug))
    assert health.read_at == second.started_at
    assert not health.is_failing


def test_a_window_moves_in_the_list_when_the_zone_of_its_connection_is_mended(
    desk: Desk,
) -> None:
    """Nothing of the record changed, only what its hours mean."""
    row = desk.book("huskyvoice")
    seen = replace(booking_of(row), window=(time(9), time(11)))
    store(row.connection, [seen], read_at=timezone.now())
    Connection.objects.update(time_zone="America/New_York")

    store(Connection.objects.get(), [seen], read_at=timezone.now())

    row = Appointment.objects.select_related("connection").get()
    assert row.sorts_at == row.starts_at_the_earliest


@every_provider
@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("status", {"status": 500, "body": {"message": "x"}}),
        ("html", {"status": 200}),
        ("reset", {}),
        ("truncate", {}),
    ],
)
def test_a_failing_listing_keeps_the_rows_and_says_since_when(
    slug: str, kind: str, how: dict[str, object], desk: Desk
) -> None:
    """No row is touched, nothing is called gone, and the next try waits."""
    appointment = desk.book(slug)
    desk.fault(slug, kind, operation="list", **how)  # type: ignore[arg-type]

    run = sync(desk.connection(slug))

    assert run is not None
    assert run.outcome == SyncRun.Outcome.FAILED
    appointment.refresh_from_db()
    assert appointment.status == Status.BOOKED
    health = ConnectionHealth.objects.get(connection=desk.connection(slug))
    assert health.is_failing
    assert health.next_sync_at > timezone.now()


@every_provider
def test_a_refused_key_fails_this_connection_only(slug: str, desk: Desk) -> None:
    other = next(one for one in SLUGS if one != slug)
    desk.book(other)
    connection = desk.connection(slug)
    connection.credentials = dict(connection.credentials) | {"api_key": _other_key(slug)}
    connection.save()

    run = sync(connection)

    assert run is not None
    assert (run.outcome, run.why) == ("failed", "credentials")
    assert not ConnectionHealth.objects.get(connection=desk.connection(other)).is_failing


def test_what_was_cancelled_elsewhere_is_seen(desk: Desk) -> None:
    appointment = desk.book("huskyvoice")
    world = desk.world("huskyvoice")
    for row in world.state["appointments"].values():
        row["status"] = "cancelled"

    desk.read("huskyvoice")

    appointment.refresh_from_db()
    assert appointment.status == Status.CANCELLED
    assert appointment.changed_here_at is None


def test_absence_is_never_cancelled(desk: Desk) -> None:
    """A row that vanished without a trace is gone, not cancelled; when it is back, it is booked."""
    appointment = desk.book("mijnklantportaal")
    book = desk.world("mijnklantportaal").state["appointments"]
    hidden = book.pop(appointment.external_id)

    desk.read("mijnklantportaal")
    appointment.refresh_from_db()
    assert appointment.status == Status.GONE
    assert appointment.missing_since is not None

    book[appointment.external_id] = hidden
    desk.read("mijnklantportaal")
    appointment.refresh_from_db()
    assert appointment.status == Status.BOOKED
    assert appointment.missing_since is None


def test_a_list_that_lost_most_rows_is_believed_only_the_second_time(desk: Desk) -> None:
    """An empty answer can be a fault of theirs: judged only when it stays so."""
    for _ in range(25):
        desk.add("mijnklantportaal")
    desk.read("mijnklantportaal")
    desk.world("mijnklantportaal").state["appointments"].clear()

    first = sync(desk.connection("mijnklantportaal"))
    assert first is not None
    assert first.outcome == SyncRun.Outcome.DISCARDED
    assert not Appointment.objects.filter(status=Status.GONE).exists()

    second = sync(desk.connection("mijnklantportaal"))
    assert second is not None
    assert second.outcome == SyncRun.Outcome.COMPLETE
    sync(desk.connection("mijnklantportaal"))
    # Each was asked for by itself before it was called gone: some in each run.
    assert Appointment.objects.filter(status=Status.GONE).count() == 25
    assert len(desk.received("mijnklantportaal", "read")) == 25


def test_a_listing_that_began_before_a_cancellation_does_not_undo_it(desk: Desk) -> None:
    """The snapshot knew nothing of it: the row stays cancelled."""
    appointment = desk.book("meetergo")
    before, old = timezone.now(), booking_of(appointment)
    assert desk.cancel(appointment).state == State.CONFIRMED

    stored = store(desk.connection("meetergo"), [old], read_at=before)

    assert stored.outdated == 1
    appointment.refresh_from_db()
    assert appointment.status == Status.CANCELLED


def test_a_listing_that_began_before_a_verdict_does_not_undo_it(desk: Desk) -> None:
    """What a person found out counts more than what was read before; a later read may differ."""
    desk.fault("meetergo", "status", status=500, body={"message": "boom"})
    appointment = desk.book("meetergo")
    cancellation = desk.cancel(appointment)
    old = booking_of(appointment)

    with time_machine.travel(timezone.now() + timedelta(minutes=16), tick=True):
        desk.work(cancellation)
        before = timezone.now()
        settle_by_hand(cancellation, by=desk.staff, verdict=Verdict.CANCELLED, reason="Rang them")
        stored = store(desk.connection("meetergo"), [old], read_at=before)

    cancellation.refresh_from_db()
    assert cancellation.state == State.SETTLED
    assert cancellation.contradicted_at is None
    assert stored.outdated == 1
    appointment.refresh_from_db()
    assert appointment.status == Status.CANCELLED


def test_carevalidate_may_linger_and_is_reported_only_after_ten_minutes(desk: Desk) -> None:
    """Calendly stands behind: a row listed for a while after our 200 contradicts nothing yet."""
    desk.world("carevalidate").state["lingers"] = 3600
    appointment = desk.book("carevalidate")
    cancellation = desk.cancel(appointment)
    assert cancellation.state == State.CONFIRMED

    desk.read("carevalidate")
    appointment.refresh_from_db()
    assert appointment.status == Status.CANCELLED

    with time_machine.travel(timezone.now() + timedelta(minutes=11), tick=True):
        desk.read("carevalidate")
    appointment.refresh_from_db()
    # Its version is the old one, so it is not opened again: that could mail people twice.
    assert appointment.status == Status.CANCELLED
    assert cancellation.events.last().event == "contradicted"  # type: ignore[union-attr]
    cancellation.refresh_from_db()
    assert cancellation.state == State.CONFIRMED
    assert outcome(cancellation).tone == "alarm"
    assert cancellation in Cancellation.objects.for_people(timezone.now())


def test_one_broken_record_is_set_aside_and_the_others_are_kept(desk: Desk) -> None:
    good = desk.add("huskyvoice")
    bad = desk.add("huskyvoice")
    desk.world("huskyvoice").state["appointments"][bad]["patient_name"] = "NUL \x00 inside"

    run = sync(desk.connection("huskyvoice"))

    assert run is not None
    assert run.outcome == SyncRun.Outcome.COMPLETE
    assert run.rejected_ids == [bad]
    assert list(Appointment.objects.values_list("external_id", flat=True)) == [good]


def test_only_one_refresh_of_a_connection_runs_at_a_time(desk: Desk) -> None:
    connection = desk.connection("meetergo")
    today = timezone.localdate()
    running = SyncRun.objects.create(
        connection=connection, started_at=timezone.now(), first_day=today, last_day=today
    )

    assert sync(connection) is None

    SyncRun.objects.filter(pk=running.pk).update(alive_at=timezone.now() - timedelta(minutes=3))
    assert sync(connection) is not None
    running.refresh_from_db()
    assert running.why == "interrupted"


def test_policy_and_services_come_along(desk: Desk) -> None:
    desk.read("huskyvoice")

    connection = desk.connection("huskyvoice")
    connection.refresh_from_db()
    assert connection.known_policy is not None
    assert connection.known_policy.allowed
    assert connection.services


def test_a_key_that_cannot_be_decrypted_fails_the_run_and_nothing_else(
    desk: Desk, settings: object
) -> None:
    """Lost CREDENTIAL_KEYS: said, and the stored value is left alone."""
    from cryptography.fernet import Fernet

    connection = desk.connection("meetergo")
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]  # type: ignore[attr-defined]

    assert [one.pk for one in due_connections(timezone.now())] == [connection.pk]
    run = sync(connection)

    assert run is not None
    assert (run.outcome, run.why) == ("failed", "cannot_decrypt")


def _other_key(slug: str) -> str:
    if slug == "meetergo":
        return "ak_live:0c2f4e6a-8b1d-4f3e-9a57-d6c8b0e2f419:wrong"
    return "wrong-key"
