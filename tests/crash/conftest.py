"""Databases and processes for the crash tests, and how many processes were killed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytest_django import DjangoDbBlocker

from appointments.sandbox.core import SandboxServer
from tests.conftest import make_user
from tests.crash.stage import Database, House, PostgresDatabase, SqliteFile, Stage
from tests.desk import Desk

POSTGRES = os.environ.get("TEST_POSTGRES_URL", "")
KILLED = "processes killed"
AT_ONCE = 3
"""Killed at one provider before survivors look at it; a connection takes four at once."""

type MakeHouse = Callable[..., House]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kills",
        type=int,
        default=1,
        help="how often a process is killed at each failpoint, at each provider",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """*kills* at each provider, a few at a time, so that no test takes long."""
    if "kills" in metafunc.fixturenames:
        # Known to a run of everything only after its command line was read.
        wanted = int(metafunc.config.getoption("--kills", 1))
        rounds = [min(AT_ONCE, wanted - done) for done in range(0, wanted, AT_ONCE)]
        metafunc.parametrize("kills", rounds, ids=[str(number) for number in range(len(rounds))])


@pytest.fixture(scope="session")
def make_database(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Database]:
    def make_database(kind: str) -> Database:
        if kind == "sqlite":
            return SqliteFile(tmp_path_factory.mktemp("database"))
        if not POSTGRES:
            assert not os.environ.get("CI"), "CI needs TEST_POSTGRES_URL"
            pytest.skip("NO POSTGRESQL: set TEST_POSTGRES_URL to run it on PostgreSQL too")
        return PostgresDatabase(POSTGRES)

    return make_database


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def house(
    request: pytest.FixtureRequest,
    make_database: Callable[[str], Database],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[House]:
    """A database of the run's own, SQLite or PostgreSQL, with its processes."""
    database = make_database(request.param)
    house = House(tmp_path_factory.mktemp("house"), database)
    try:
        house.migrate()
        yield house
    finally:
        house.close()


@pytest.fixture
def stage(
    house: House,
    server: SandboxServer,
    django_db_blocker: DjangoDbBlocker,
    request: pytest.FixtureRequest,
) -> Iterator[Stage]:
    with django_db_blocker.unblock(), house.opened():
        stage = Stage(house, Desk(server, make_user("anna", first_name="Anna")), request)
        yield stage
        request.node.user_properties.append((KILLED, stage.kills))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many there were, whichever of several test processes killed them."""
    reports = [one for found in terminalreporter.stats.values() for one in found]
    killed = sum(
        count
        for report in reports
        if getattr(report, "when", "") == "teardown"
        for name, count in report.user_properties
        if name == KILLED
    )
    if killed:
        terminalreporter.write_line(f"{killed} {KILLED} with SIGKILL")
