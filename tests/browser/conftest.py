"""
Headless Chromium against the live server, with a real worker process and the sandbox.

The worker is a process of its own on the same database file, as in an installation; so a test
that sees an outcome on screen has seen the whole way.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, expect
from pytest_django.live_server_helper import LiveServer

from appointments.models import WorkerPulse
from tests.desk import Desk
from tests.processes import environment_of_processes

CHROMIUM = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(name))
    ),
    None,
)
PASSWORD = "front-desk-pw"

expect.set_options(timeout=10_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without a browser: a failure in CI, elsewhere a skip that says what to install."""
    if CHROMIUM is not None or os.environ.get("CI"):
        return
    # Not needed to run the portal, and nothing that pip could bring.
    skip = pytest.mark.skip(reason="NO BROWSER: install Chromium (apt install chromium) to run it")
    for item in items:
        if "tests/browser" in str(item.path):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    assert CHROMIUM is not None, "CI needs Chromium: apt install chromium"
    return {
        "executable_path": CHROMIUM,
        "args": [
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ],
    }


@pytest.fixture(scope="session")
def base_url(live_server: LiveServer) -> str:
    """What `page.goto("/…")` leads to."""
    return str(live_server.url)


@pytest.fixture(scope="session")
def browser_context_args(base_url: str) -> dict[str, Any]:
    return {
        "base_url": base_url,
        "viewport": {"width": 1440, "height": 900},
        "locale": "en-GB",
        "timezone_id": "Europe/Amsterdam",
        "reduced_motion": "reduce",
    }


class Worker:
    """`manage.py worker` on the test's own database; it can be killed and comes back."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "worker"],
            cwd=settings.BASE_DIR,
            env=environment_of_processes(),
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"Worker ready.\n"

    def kill(self) -> None:
        """As the machine does when it has no memory left: at once, whatever it was doing."""
        self.process.kill()
        self._wait()

    def stop(self) -> None:
        self.process.terminate()
        self._wait()

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def _wait(self) -> None:
        self.process.wait(timeout=30)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="session")
def worker(django_db_setup: None, django_db_blocker: Any) -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.stop()


@pytest.fixture
def mortal_worker(worker: Worker) -> Iterator[Worker]:
    """The worker, for a test that kills it: the tests after it have one again."""
    yield worker
    if not worker.is_running:
        worker.start()


@pytest.fixture
def desk(live_server: LiveServer, desk: Desk, worker: Worker) -> Desk:
    """The desk of the services' tests, with a worker at work."""
    WorkerPulse.beat("worker of the tests")
    return desk


@pytest.fixture
def watched() -> Iterator[Callable[[BrowserContext], Page]]:
    """Open pages that fail the test if the browser reports an error or a breach of the policy."""
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and "Content Security Policy" in message.text:
            complaints.append(message.text)

    def watched(context: BrowserContext) -> Page:
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", note)
        return page

    yield watched
    assert complaints == []


@pytest.fixture
def page(
    context: BrowserContext, live_server: LiveServer, watched: Callable[[BrowserContext], Page]
) -> Page:
    return watched(context)


@pytest.fixture
def sit_down(
    live_server: LiveServer,
    new_context: Callable[..., BrowserContext],
    watched: Callable[[BrowserContext], Page],
) -> Callable[..., Page]:
    """A browser of somebody's own, logged in, with the list open; one more for each call."""

    def sit_down(user: User, **how: Any) -> Page:
        client = Client()
        client.force_login(user)
        context = new_context(**how)
        name = settings.SESSION_COOKIE_NAME
        context.add_cookies(
            [{"name": name, "value": client.cookies[name].value, "url": live_server.url}]
        )
        page = watched(context)
        page.goto("/?range=upcoming")
        return page

    return sit_down


@pytest.fixture
def log_in(live_server: LiveServer) -> Callable[..., None]:
    def log_in(page: Page, username: str = "anna") -> None:
        # What the desk books is two days ahead and more, so it is not in the list of today.
        page.goto(f"{live_server.url}/login/?next=/%3Frange%3Dupcoming")
        page.get_by_label("Username").fill(username)
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"{live_server.url}/?range=upcoming")

    return log_in
