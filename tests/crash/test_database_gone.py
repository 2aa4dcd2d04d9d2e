"""
The database is locked (SQLite) or gone (PostgreSQL) just when the provider's answer has arrived.

The answer is heard once: it is recorded as soon as the database is back, and after half a minute it
waits in a file, from which a worker brings it into the ledger.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings

from appointments.models import Cancellation, WorkerPulse
from appointments.models.cancellations import AnswerKind, State
from appointments.services import send
from tests.crash.stage import Process, Stage
from tests.desk import answers

HURRY: dict[str, Any] = {
    "database_patience": 0.5,
    "instead": {
        "appointments.services.send:RECORD_FOR": 3.0,
        "appointments.management.commands.worker:BEAT": 0.5,
    },
}
"""The same order of things, ten times as fast."""
ANSWERED = "before answer stored"
LEASE_OVER, READ_AGAIN = 61, 70


def test_the_true_times_stand_in_the_order_that_these_tests_shorten() -> None:
    """A locked SQLite is waited for, then asked again, all within the lease of a slow send."""
    assert settings.DATABASES["default"].get("OPTIONS", {}).get("timeout", 20) < send.RECORD_FOR
    assert send.LEASE.total_seconds() > send.RECORD_FOR


@contextmanager
def answered_with_no_database(
    stage: Stage, slug: str, *then: str
) -> Iterator[tuple[Cancellation, Process]]:
    """
    The provider has confirmed, and inside nobody can write that down.

    The thread that heard it is held at the points *then* as well.
    """
    cancellation = stage.desk.ask(stage.desk.book(slug))
    worker = stage.worker(at=dict.fromkeys([ANSWERED, *then], "hold"), **HURRY)
    worker.held(ANSWERED)
    assert len(stage.desk.received(slug)) == 1
    with stage.house.database.away():
        worker.go_on(ANSWERED)
        yield cancellation, worker


def is_confirmed(cancellation: Cancellation) -> bool:
    cancellation.refresh_from_db()
    return cancellation.state == State.CONFIRMED


@pytest.mark.parametrize("slug", ["huskyvoice", "carevalidate"])
def test_an_answer_is_recorded_once_the_database_is_back(stage: Stage, slug: str) -> None:
    with answered_with_no_database(stage, slug) as (cancellation, worker):
        time.sleep(1.5)
    worker.until(lambda: is_confirmed(cancellation))
    worker.end()

    assert answers(cancellation) == [AnswerKind.OK]
    assert not stage.house.answers.exists()
    assert len(stage.desk.received(slug)) == 1


def test_a_click_with_no_database_records_nothing_and_can_be_sent_again(stage: Stage) -> None:
    """No row, no call; and nobody is told that anything was asked for."""
    row = stage.desk.book("meetergo")
    form_key = str(uuid4())

    with stage.house.database.away():
        failed = stage.click(row, form_key=form_key, **HURRY)
        assert failed.wait() == 1, failed.said
    assert "OperationalError" in failed.said
    assert not Cancellation.objects.exists()

    again = stage.click(row, form_key=form_key)
    assert again.wait() == 0, again.said
    with stage.at_work() as worker:
        worker.until(lambda: is_confirmed(Cancellation.objects.get(form_key=form_key)))
    assert len(stage.desk.received("meetergo")) == 1


def test_a_worker_that_finds_no_database_waits_for_it(stage: Stage) -> None:
    if stage.vendor == "sqlite":
        pytest.skip("SQLite itself waits for a lock, and a file cannot be out of reach")
    cancellation = stage.desk.ask(stage.desk.book("meetergo"))

    with stage.house.database.away():
        worker = stage.worker(**HURRY)
        worker.until(lambda: "No database: the worker waits for it." in worker.said)
    worker.until(lambda: is_confirmed(cancellation) and not WorkerPulse.is_silent())
    worker.end()

    assert len(stage.desk.received("meetergo")) == 1


# --- longer than anybody can wait -------------------------------------------------------------


def kept(stage: Stage) -> list[dict[str, Any]]:
    """The answers in the file."""
    if not stage.house.answers.exists():
        return []
    lines = stage.house.answers.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line]


def killed_with_the_answer_kept(stage: Stage, slug: str) -> Cancellation:
    """The answer stands in the file, whoever heard it is dead, and the database is back."""
    with answered_with_no_database(stage, slug, "after spill") as found:
        cancellation, worker = found
        worker.held("after spill")
        worker.signal(signal.SIGKILL)
        stage.dies(worker)
    (line,) = kept(stage)
    assert line["kind"] == AnswerKind.OK
    assert answers(cancellation) == ["-"]
    return cancellation


def ends_confirmed_by_its_answer(stage: Stage, cancellation: Cancellation, slug: str) -> None:
    """Two workers, some time apart: the first brings the answer back, the second settles it."""
    for seconds_ahead in (0, READ_AGAIN):
        with stage.at_work(seconds_ahead=seconds_ahead) as worker:
            worker.until(lambda: answers(cancellation) == [AnswerKind.OK])
            worker.until(lambda ahead=seconds_ahead: not ahead or is_confirmed(cancellation))  # type: ignore[misc]

    assert is_confirmed(cancellation)
    assert cancellation.why == "answered_late"
    assert answers(cancellation) == [AnswerKind.OK]
    assert len(stage.desk.received(slug)) == 1
    assert kept(stage) == []


@pytest.mark.parametrize("slug", ["huskyvoice", "carevalidate"])
def test_an_answer_that_nobody_can_record_waits_in_a_file(stage: Stage, slug: str) -> None:
    """The very worker that heard it brings it back, without asking the provider anything."""
    with answered_with_no_database(stage, slug) as (cancellation, worker):
        worker.until(lambda: bool(kept(stage)))
        assert stage.house.answers.stat().st_mode & 0o777 == 0o600
    worker.until(lambda: answers(cancellation) == [AnswerKind.OK])
    worker.end()

    ends_confirmed_by_its_answer(stage, cancellation, slug)


def test_killed_with_the_answer_in_the_file_the_next_worker_brings_it_back(stage: Stage) -> None:
    cancellation = killed_with_the_answer_kept(stage, "meetergo")

    ends_confirmed_by_its_answer(stage, cancellation, "meetergo")


def test_killed_before_the_answer_is_in_the_file_a_read_settles_it(stage: Stage) -> None:
    with answered_with_no_database(stage, "meetergo", "before spill") as found:
        cancellation, worker = found
        worker.held("before spill")
        worker.signal(signal.SIGKILL)
        stage.dies(worker)
    assert kept(stage) == []

    for seconds_ahead in (LEASE_OVER, READ_AGAIN):
        with stage.at_work(seconds_ahead=seconds_ahead) as worker:
            worker.until(lambda: Cancellation.objects.get().unknown_since is not None)
            worker.until(
                lambda ahead=seconds_ahead: ahead == LEASE_OVER or is_confirmed(cancellation)  # type: ignore[misc]
            )

    assert is_confirmed(cancellation)
    assert cancellation.why == "seen_cancelled"
    assert len(stage.desk.received("meetergo")) == 1


@pytest.mark.parametrize("at", ["before bringing back", "after bringing back"])
def test_killed_while_bringing_an_answer_back_it_is_brought_back_once(
    stage: Stage, at: str
) -> None:
    """The line leaves the file only after it is in the ledger, where a second one finds it."""
    cancellation = killed_with_the_answer_kept(stage, "carevalidate")

    stage.dies(stage.worker(at={at: "kill"}), at=at)
    assert len(kept(stage)) == 1

    ends_confirmed_by_its_answer(stage, cancellation, "carevalidate")


def test_a_spoilt_file_still_gives_back_the_answer_that_is_whole(stage: Stage) -> None:
    """Cut off, torn, of another database, told twice: whatever a file can hold after a crash."""
    cancellation = killed_with_the_answer_kept(stage, "meetergo")
    whole = stage.house.answers.read_text(encoding="utf-8").strip()
    stranger = json.dumps(json.loads(whole) | {"call": 424242})
    lines = (whole[:20], "\0" * 4096, "[]", "7", stranger, whole, whole, whole[:-3])
    stage.house.answers.write_text("\n".join(lines), encoding="utf-8")

    ends_confirmed_by_its_answer(stage, cancellation, "meetergo")


def test_a_kept_answer_that_is_cut_off_is_no_answer(stage: Stage) -> None:
    """Half an answer proves nothing: the provider is read."""
    cancellation = killed_with_the_answer_kept(stage, "meetergo")
    whole = stage.house.answers.read_text(encoding="utf-8").strip()
    stage.house.answers.write_text(whole[: len(whole) // 2], encoding="utf-8")

    for seconds_ahead, state in ((LEASE_OVER, State.UNKNOWN), (READ_AGAIN, State.CONFIRMED)):
        with stage.at_work(seconds_ahead=seconds_ahead) as worker:
            worker.until(lambda state=state: Cancellation.objects.get().state == state)  # type: ignore[misc]

    assert Cancellation.objects.get(pk=cancellation.pk).why == "seen_cancelled"
    assert answers(cancellation) == ["-"]
    assert len(stage.desk.received("meetergo")) == 1
