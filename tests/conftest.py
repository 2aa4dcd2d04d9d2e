"""What every test gets: no network but loopback, and a ledger that is guarded between flushes."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.db import connection
from django.db.models import AutoField
from django.utils import translation

from appointments.models import ledger_triggers
from appointments.roles import FRONT_DESK, make_groups
from appointments.sandbox import worlds
from appointments.sandbox.core import Sandbox, SandboxServer
from tests.desk import Desk


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A process a core; none of their own where somebody wants to see output or to debug."""
    if config.option.capture == "no" or config.option.usepdb:
        return 0
    return min(os.cpu_count() or 1, 4)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """Keys begin elsewhere in every table, so that no test can guess one or confuse two."""
    models = [one for one in apps.get_models() if isinstance(one._meta.pk, AutoField)]
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        for number, model in enumerate(models, start=1):
            table, column = model._meta.db_table, model._meta.pk.column
            if connection.vendor == "postgresql":
                of_key = "SELECT setval(pg_get_serial_sequence(%s, %s), %s)"
                cursor.execute(of_key, [f'"{table}"', column, 1000 * number])
            else:
                cursor.execute("DELETE FROM sqlite_sequence WHERE name = %s", [table])
                of_key = "INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)"
                cursor.execute(of_key, [table, 1000 * number])


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that reaches for anything but this machine fails."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else "local"
        if isinstance(host, str) and host not in ("127.0.0.1", "::1", "localhost", "local"):
            raise AssertionError(f"A test reached for {host}.")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def _ledger_survives_flushes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Lift the triggers only while the rows of a test with real commits are thrown away."""
    real_commits = "transactional_db" in request.fixturenames or "live_server" in (
        request.fixturenames
    )
    if not real_commits:
        yield
        return
    request.getfixturevalue("transactional_db")
    ledger_triggers.create()
    make_groups(using="default")
    yield
    ledger_triggers.drop()


@pytest.fixture(autouse=True)
def _in_english() -> None:
    """A request leaves its language behind in the thread, which is ours too."""
    translation.activate("en")


@pytest.fixture
def sandbox() -> Sandbox:
    """Four providers without a booking."""
    return worlds.build()


@pytest.fixture
def server(sandbox: Sandbox) -> Iterator[SandboxServer]:
    """The sandbox behind real HTTP."""
    server = SandboxServer(sandbox)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def staff(db: None) -> User:
    """Somebody at the front desk."""
    return make_user("anna", first_name="Anna", last_name="de Boer")


@pytest.fixture
def colleague(db: None) -> User:
    return make_user("bas", first_name="Bas", last_name="Willems")


def make_user(username: str, **names: str) -> User:
    user = User.objects.create_user(username, password="front-desk-pw", **names)
    user.groups.add(Group.objects.get(name=FRONT_DESK))
    return user


@pytest.fixture
def desk(server: SandboxServer, staff: User) -> Desk:
    """A front desk with a connection at each provider."""
    return Desk(server, staff)
