"""
Where crashes happen: a database of its own, and processes that die on it.

The test's own process is the provider (its sandbox runs here, so its log can be read) and an
onlooker: its default connection is exchanged for one to the stage's database. Web and worker are
processes of their own, forked by `victim.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import environ
import psycopg
import pytest
from django.conf import settings
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import load_backend
from huey.contrib.djhuey import HUEY
from huey.storage import SqliteStorage

from appointments.models import Appointment
from tests.crash.victim import FAILPOINTS, gate
from tests.desk import Desk

PATIENCE = 60.0
"""Seconds that a process may take for anything before the test fails."""


class Database(ABC):
    """A database that starts empty as often as needed."""

    vendor: str
    url: str

    @abstractmethod
    def keep_as_blank(self) -> None:
        """What is there now, migrated and without rows, is what `renew` goes back to."""

    @abstractmethod
    def renew(self) -> None: ...

    @abstractmethod
    def drop(self) -> None: ...

    @abstractmethod
    @contextmanager
    def away(self) -> Iterator[None]:
        """Nobody can write to it inside."""
        yield


class SqliteFile(Database):
    vendor = "sqlite"

    def __init__(self, folder: Path) -> None:
        self.file, self.blank = folder / "crash.sqlite3", folder / "blank.sqlite3"
        self.url = f"sqlite:///{self.file}"

    def keep_as_blank(self) -> None:
        shutil.copy(self.file, self.blank)

    def renew(self) -> None:
        self.drop()
        shutil.copy(self.blank, self.file)

    def drop(self) -> None:
        for left in self.file.parent.glob(self.file.name + "*"):
            left.unlink()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Another process has begun a write and does not end it."""
        holder = subprocess.Popen(
            [sys.executable, "-c", _HOLD, str(self.file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            holder.stdin.close()
            holder.wait(PATIENCE)
            holder.stdout.close()


_HOLD = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
database.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
database.execute("ROLLBACK")
database.close()
"""


class PostgresDatabase(Database):
    vendor = "postgresql"

    def __init__(self, server: str) -> None:
        """*server* is the address of a database from which others may be made."""
        self.server = server
        self.name = f"portal_crash_{uuid4().hex[:12]}"
        self.blank = f"{self.name}_blank"
        self.url = urlunsplit(urlsplit(server)._replace(path=f"/{self.name}"))
        self._do(f"CREATE DATABASE {self.name}")

    def keep_as_blank(self) -> None:
        self._do(f"CREATE DATABASE {self.blank} TEMPLATE {self.name}")

    def renew(self) -> None:
        self._do(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")
        self._do(f"CREATE DATABASE {self.name} TEMPLATE {self.blank}")

    def drop(self) -> None:
        for name in (self.name, self.blank):
            self._do(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    @contextmanager
    def away(self) -> Iterator[None]:
        """Every connection is broken and no new one is let in, as when the server is gone."""
        connections["default"].close()
        self._do(f"ALTER DATABASE {self.name} ALLOW_CONNECTIONS false")
        self._do(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "  # noqa: S608 - our own name
            f"WHERE datname = '{self.name}'"
        )
        try:
            yield
        finally:
            self._do(f"ALTER DATABASE {self.name} ALLOW_CONNECTIONS true")

    def _do(self, statement: str) -> None:
        with psycopg.connect(self.server, autocommit=True) as link:
            link.execute(statement.encode())


class Process:
    """A process on the stage. `signal` is what killed it, if anything did."""

    def __init__(self, nursery: Nursery, pid: int, output: Path) -> None:
        self.nursery, self.pid, self.output = nursery, pid, output
        self.code: int | None = None

    @property
    def said(self) -> str:
        return self.output.read_text(encoding="utf-8") if self.output.exists() else ""

    def told(self, mark: str) -> Any:
        """The JSON after *mark* in what it said."""
        lines = [line for line in self.said.splitlines() if line.startswith(mark + " ")]
        assert lines, self.said
        return json.loads(lines[0].removeprefix(mark))

    def state(self) -> str | int:
        if self.code is None:
            found = self.nursery.ask({"pid": self.pid})
            if isinstance(found, str):
                return found
            self.code = int(found)
        return self.code

    def until(self, wanted: Callable[[], bool], *, seconds: float = PATIENCE) -> None:
        """Wait for *wanted* while it runs; fails when it ends first."""
        end = time.monotonic() + seconds
        while not wanted():
            state = self.state()
            assert not isinstance(state, int), f"It ended with {state}.\n{self.said}"
            assert time.monotonic() < end, f"Waited in vain.\n{self.said}"
            time.sleep(0.02)

    def wait(self) -> int:
        """How it ended: its code, or the signal as a negative number."""
        end = time.monotonic() + PATIENCE
        while not isinstance(state := self.state(), int):
            assert time.monotonic() < end, f"It is still {state}.\n{self.said}"
            time.sleep(0.01)
        return state

    def signal(self, number: signal.Signals) -> None:
        if self.code is None:
            os.kill(self.pid, number)

    def held(self, point: str) -> None:
        """Wait until one of its threads stands at *point*."""
        self.until(lambda: f"HELD {point}\n" in self.said)

    def go_on(self, point: str) -> None:
        gate(self.output, point).touch()

    def end(self) -> None:
        """Stop it as a service manager does."""
        self.signal(signal.SIGTERM)
        # Negative: it was still starting, and had not yet asked to be told of the signal.
        assert self.wait() in (0, -signal.SIGTERM), self.said


class Nursery:
    """The process that forks the others, with the portal loaded once."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.count = folder, 0
        self.errors = (folder / "nursery.log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.victim"],
            cwd=settings.BASE_DIR,
            env=os.environ | {"DJANGO_SETTINGS_MODULE": "portal.settings"} | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        assert self._answer() == "ready"

    def ask(self, job: Mapping[str, Any]) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def fork(self, **job: Any) -> Process:
        self.count += 1
        output = self.folder / f"process-{self.count}.log"
        return Process(self, self.ask(job | {"output": str(output)}), output)

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(PATIENCE)
        self.process.stdout.close()
        self.errors.close()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (self.folder / "nursery.log").read_text()
        return json.loads(line)


class House:
    """A database with its processes, kept for many tests and emptied before each."""

    def __init__(
        self, folder: Path, database: Database, environment: dict[str, str] | None = None
    ) -> None:
        self.database = database
        self.answers, self.queue = folder / "answers.jsonl", folder / "queue.sqlite3"
        self.nursery = Nursery(
            folder,
            {
                "DATABASE_URL": database.url,
                "QUEUE_FILE": str(self.queue),
                "ANSWERS_FILE": str(self.answers),
                "WORKER_THREADS": "4",
            }
            | (environment or {}),
        )

    def migrate(self) -> None:
        process = self.nursery.fork(command=["migrate", "--verbosity", "0"])
        assert process.wait() == 0, process.said
        self.database.keep_as_blank()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Empty, and the database of this process for as long."""
        self.database.renew()
        self.answers.unlink(missing_ok=True)
        before, onlooker = connections["default"], self._onlooker()
        storage, queue = HUEY.storage, SqliteStorage(HUEY.name, filename=str(self.queue))
        queue.flush_all()
        connections["default"], HUEY.storage = onlooker, queue
        try:
            yield
        finally:
            connections["default"], HUEY.storage = before, storage
            queue.close()
            onlooker.close()

    def close(self) -> None:
        self.nursery.close()
        self.database.drop()

    def _onlooker(self) -> BaseDatabaseWrapper:
        told: dict[str, Any] = environ.Env.db_url_config(self.database.url)
        if told["ENGINE"].endswith("sqlite3"):
            told["OPTIONS"] = {"transaction_mode": "IMMEDIATE", "timeout": 20}
        told = connections.configure_settings({"default": told})["default"]
        made: BaseDatabaseWrapper = load_backend(told["ENGINE"]).DatabaseWrapper(told, "default")
        return made


class Stage:
    """One test on a house: its desk, its processes, its dead."""

    def __init__(self, house: House, desk: Desk, request: pytest.FixtureRequest) -> None:
        self.house, self.desk, self.request = house, desk, request
        self.vendor = house.database.vendor
        self.kills = 0

    def process(self, **job: Any) -> Process:
        return self.house.nursery.fork(**job)

    def worker(self, **job: Any) -> Process:
        return self.process(command=["worker"], **job)

    @contextmanager
    def at_work(self, **job: Any) -> Iterator[Process]:
        """A worker that is well, and is stopped in good order."""
        worker = self.worker(**job)
        yield worker
        worker.end()

    def click(self, row: Appointment, *, form_key: str = "", **job: Any) -> Process:
        """Send the dialog of *row*, as a member of staff does."""
        wish = self.desk.wish(row)
        form = {"form_key": form_key or str(uuid4()), "version": row.version}
        form |= {"reason": wish.reason, "email": wish.email}
        post = {"path": f"{row.get_absolute_url()}cancel/", "form": form, "username": "anna"}
        return self.process(post=post, **job)

    def dies(self, process: Process, *, at: str = "") -> None:
        """Wait until *process* was killed, at the failpoint it was given or by us."""
        assert not at or at in FAILPOINTS
        assert process.wait() == -signal.SIGKILL, f"It was not killed {at}.\n{process.said}"
        self.kills += 1
