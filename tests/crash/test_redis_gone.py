"""
The queue's own store is gone: everything is slower, nothing is wrong.

The ledger in the database is the queue; Redis only wakes the worker.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from appointments.models import Appointment, Cancellation, WorkerPulse
from appointments.models.cancellations import State
from tests.crash.stage import Database, House, Process, Stage
from tests.desk import wait_until

SERVER = shutil.which("redis-server")
QUICK = 10.0
"""Seconds; a page that waits for a Redis that is silent never answers, a busy machine is late."""

# The portal does without Redis, so whoever has none can run the rest; in CI it is installed.
needs_redis = pytest.mark.skipif(SERVER is None, reason="NO REDIS: install redis-server to run it")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def port() -> int:
    """Where Redis should be, and nobody listens."""
    return free_port()


@pytest.fixture(scope="module")
def house(
    port: int,
    make_database: Callable[[str], Database],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[House]:
    """Processes that look for their queue in Redis."""
    environment = {"REDIS_URL": f"redis://127.0.0.1:{port}/0"}
    house = House(tmp_path_factory.mktemp("house"), make_database("sqlite"), environment)
    try:
        house.migrate()
        yield house
    finally:
        house.close()


@contextmanager
def redis_server(port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    assert SERVER is not None
    server = subprocess.Popen(
        [SERVER, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    try:
        with redis.Redis(port=port) as link:
            wait_until(lambda: _answers(link))
        yield server
    finally:
        server.kill()
        server.wait()


def _answers(link: redis.Redis) -> bool:
    try:
        return bool(link.ping())
    except redis.ConnectionError:
        return False


def click(stage: Stage, row: Appointment) -> tuple[Cancellation, float]:
    """The intent that a click recorded, and how many seconds the page took."""
    process = stage.click(row)
    assert process.wait() == 0, process.said
    told = process.told("ANSWERED")
    assert told["status"] == 303
    return Cancellation.objects.get(appointment=row), told["seconds"]


def ends(worker: Process, cancellation: Cancellation) -> State:
    """The state in which *worker* leaves it, within two of its sweeps."""

    def is_closed() -> bool:
        cancellation.refresh_from_db()
        return not cancellation.is_open

    worker.until(is_closed, seconds=15)
    return State(cancellation.state)


def test_without_redis_a_click_is_recorded_quickly_and_carried_out(stage: Stage) -> None:
    early = stage.desk.book("meetergo")
    late = stage.desk.book("huskyvoice")
    waiting, took = click(stage, early)
    assert took < QUICK

    with stage.at_work() as worker:
        assert ends(worker, waiting) == State.CONFIRMED
        while_at_work, took = click(stage, late)
        assert took < QUICK
        assert ends(worker, while_at_work) == State.CONFIRMED
        assert not WorkerPulse.is_silent()
    assert worker.said.count("Error reading from queue") == 1, "The log is flooded."

    assert len(stage.desk.received("meetergo")) == len(stage.desk.received("huskyvoice")) == 1


def test_without_redis_an_unknown_outcome_is_settled_too(stage: Stage) -> None:
    """What has to be looked at later is looked at later, though no queue holds the time."""
    row = stage.desk.book("meetergo")
    stage.desk.fault("meetergo", "lose_answer")
    cancellation, _ = click(stage, row)

    with stage.at_work() as worker:
        assert ends(worker, cancellation) == State.CONFIRMED

    assert cancellation.why == "seen_cancelled"
    assert len(stage.desk.received("meetergo")) == 1


@needs_redis
def test_redis_goes_and_comes_back_and_the_worker_goes_on(
    stage: Stage, port: int, tmp_path: Path
) -> None:
    rows = [stage.desk.book(slug) for slug in ("meetergo", "huskyvoice", "mijnklantportaal")]
    with redis_server(port, tmp_path) as server:
        worker = stage.worker()
        cancellation, _ = click(stage, rows[0])
        assert ends(worker, cancellation) == State.CONFIRMED
        server.kill()
        server.wait()
        cancellation, took = click(stage, rows[1])
        assert took < QUICK
        assert ends(worker, cancellation) == State.CONFIRMED
    with redis_server(port, tmp_path):
        cancellation, _ = click(stage, rows[2])
        assert ends(worker, cancellation) == State.CONFIRMED
        worker.end()

    assert [len(stage.desk.received(row.connection.provider)) for row in rows] == [1, 1, 1]


@needs_redis
def test_redis_that_hangs_holds_nobody_up(stage: Stage, port: int, tmp_path: Path) -> None:
    """It takes connections and says nothing, as a machine does that is out of memory."""
    rows = [stage.desk.book("meetergo") for _ in range(4)]
    with redis_server(port, tmp_path) as server:
        worker = stage.worker()
        worker.until(lambda: "Worker ready." in worker.said)
        server.send_signal(signal.SIGSTOP)
        for row in rows:
            cancellation, took = click(stage, row)
            assert took < QUICK
        for cancellation in Cancellation.objects.all():
            assert ends(worker, cancellation) == State.CONFIRMED
        server.send_signal(signal.SIGCONT)
        worker.end()

    assert len(stage.desk.received("meetergo")) == len(rows)
