"""
What must be on the disk before anything leaves us.

No power can be cut here, so two things are held apart: every commit of the ledger goes out over a
connection that forces it to the disk, and the rows are committed before the provider hears a byte.
"""

from __future__ import annotations

import pytest

from appointments.models import Cancellation, ProviderCall
from appointments.models.cancellations import State
from tests.crash.stage import Process, Stage
from tests.desk import SLUGS

DURABLE = {
    "sqlite": {"PRAGMA journal_mode": "wal", "PRAGMA synchronous": 2},
    "postgresql": {"SHOW fsync": "on", "SHOW synchronous_commit": "on"},
}


def is_durable(stage: Stage, process: Process) -> bool:
    return bool(process.told("DURABLE") == DURABLE[stage.vendor])


def test_the_click_is_committed_over_a_connection_that_forces_it_to_the_disk(stage: Stage) -> None:
    row = stage.desk.book("meetergo")

    process = stage.click(row, at={"before intent commit": "report"})

    assert process.wait() == 0, process.said
    assert is_durable(stage, process)


@pytest.mark.parametrize("at", ["before claim commit", "before answer commit"])
def test_the_worker_commits_over_a_connection_that_forces_it_to_the_disk(
    stage: Stage, at: str
) -> None:
    cancellation = stage.desk.ask(stage.desk.book("meetergo"))

    with stage.at_work(at={at: "report"}) as worker:
        worker.until(lambda: Cancellation.objects.get().state == State.CONFIRMED)

    assert is_durable(stage, worker)
    assert cancellation.pk == Cancellation.objects.get().pk


@pytest.mark.parametrize("slug", SLUGS)
def test_intent_and_call_are_committed_before_the_first_byte_leaves(
    stage: Stage, slug: str
) -> None:
    """Another process, this one, sees both rows while the request still stands before its door."""
    cancellation = stage.desk.ask(stage.desk.book(slug))

    worker = stage.worker(at={"before first byte": "hold"})
    worker.held("before first byte")

    assert stage.desk.received(slug) == []
    assert Cancellation.objects.get(pk=cancellation.pk).state == State.SENDING
    assert ProviderCall.objects.filter(cancellation=cancellation).count() == 1

    worker.go_on("before first byte")
    worker.until(lambda: Cancellation.objects.get().state == State.CONFIRMED)
    worker.end()
    assert len(stage.desk.received(slug)) == 1
