"""Profiles, the ground on which histories begin, and a count of them at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stamina
import time_machine
from django.db import connection as database
from hypothesis import HealthCheck, Phase, settings
from hypothesis.database import DirectoryBasedExampleDatabase

from appointments.providers import transport
from appointments.sandbox.core import Sandbox
from appointments.services.connect import connect
from appointments.services.sync import sync
from tests.conftest import make_user
from tests.desk import ZONES
from tests.properties.books import BOOKS
from tests.properties.histories import SOON, START, TALLY, Ground
from tests.properties.record import Record
from tests.properties.wire import Wire

FAILURES = DirectoryBasedExampleDatabase(Path(__file__).parent / "failures")

COMMON: dict[str, Any] = {
    "database": FAILURES,
    # Without `explain`, which runs a failure some hundred times more.
    "phases": (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    "deadline": None,  # a history is as slow as its machine
    "print_blob": True,
    "report_multiple_bugs": False,
    "suppress_health_check": [
        HealthCheck.too_slow,  # a history is a hundred queries, and meant to be
        HealthCheck.filter_too_much,  # late acts need something held back first
        HealthCheck.data_too_large,
    ],
}
# The same histories each time, so that a change fails for what it changed; the long run is random.
settings.register_profile(
    "quick",
    max_examples=20,
    stateful_step_count=25,
    **COMMON | {"derandomize": True, "database": None},
)
settings.register_profile("long", max_examples=2000, stateful_step_count=40, **COMMON)
settings.register_profile(
    "unshrunk",  # for trying out: the first failure as it was found
    max_examples=200,
    stateful_step_count=25,
    **COMMON | {"phases": (Phase.generate,), "database": None},
)


@pytest.fixture
def profile(request: pytest.FixtureRequest) -> settings:
    """`--hypothesis-profile=long` takes 10,000 histories; without it, enough for every change."""
    name = request.config.getoption("--hypothesis-profile")
    return settings.get_profile(name or "quick")


@pytest.fixture(autouse=True)
def _as_many_tries_on_every_machine() -> Iterator[None]:
    """How often an answer is stored anew must not depend on how busy the machine is."""
    with stamina.set_testing(True, attempts=3):
        yield


@pytest.fixture
def ground(sandbox: Sandbox, db: None, monkeypatch: pytest.MonkeyPatch) -> Ground:
    """Four connections that were read once, and two people at the front desk."""
    books = {slug: BOOKS[slug](world) for slug, world in sandbox.worlds.items()}

    def take(wire: Wire, clock: time_machine.Traveller) -> None:
        monkeypatch.setattr(transport, "_GuardedTransport", lambda **_: wire)
        monkeypatch.setattr(time, "sleep", lambda seconds: clock.shift(seconds))

    with time_machine.travel(START, tick=False) as clock:
        for book in books.values():
            book.fill(SOON)
        record = Record(books, depth=len(database.atomic_blocks))
        take(Wire(sandbox, books, record, clock), clock)
        make_user("anna")
        make_user("bas")
        connections = {}
        for slug, world in sandbox.worlds.items():
            connections[slug], _ = connect(
                slug,
                name=slug,
                base_url=f"http://127.0.0.1{world.base_path}",
                credentials=dict(world.credentials),
                time_zone=ZONES[slug],
            )
            sync(connections[slug])
    return Ground(sandbox=sandbox, books=books, connections=connections, take=take)


# --- the count at the end ---------------------------------------------------------------------


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist hands its count over."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["histories"] = dict(TALLY)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    TALLY.update(node.workeroutput.get("histories", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if TALLY["histories"]:
        terminalreporter.section("histories")
        for what, number in sorted(TALLY.items()):
            terminalreporter.write_line(f"{number:8} {what}")
