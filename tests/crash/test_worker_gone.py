"""
No worker runs: whoever asks for a cancellation learns of it within a minute, and an old click does
not fire when a worker comes back.
"""

from __future__ import annotations

import html
import re
import signal
from datetime import timedelta

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from appointments.models import Cancellation, WorkerPulse
from appointments.models.cancellations import State
from tests.crash.stage import Stage
from tests.desk import SLUGS, answers

POLL = {"HX-Request": "true", "X-Background": "true"}
SAYS = "The worker is not running"
WITHIN = timedelta(seconds=60)
ONE_POLL = {"list": timedelta(seconds=15), "outcome": timedelta(seconds=10)}
"""How long an open page may go without asking again."""


@pytest.fixture
def web(stage: Stage) -> Client:
    client = Client()
    client.force_login(stage.desk.staff)
    return client


def shown(web: Client, address: str, **headers: str) -> str:
    return html.unescape(web.get(address, headers=headers).content.decode())


def polled(web: Client, address: str, page: str) -> str:
    """What an open *page* is told when it asks again by itself."""
    token = re.search(r'"X-Known": "([0-9a-f]+)"', page)
    assert token is not None
    return shown(web, address, **POLL, **{"X-Known": token[1]})


def killed_worker(stage: Stage) -> None:
    """A worker that was alive until just now."""
    worker = stage.worker()
    worker.until(lambda: not WorkerPulse.is_silent())
    worker.signal(signal.SIGKILL)
    stage.dies(worker)


def test_an_open_page_says_within_a_minute_that_the_worker_is_gone(
    stage: Stage, web: Client
) -> None:
    row = stage.desk.book("meetergo")
    killed_worker(stage)
    cancellation = stage.desk.ask(row)
    addresses = {"list": "/", "outcome": cancellation.get_absolute_url()}
    pages = {name: shown(web, address) for name, address in addresses.items()}
    assert not [name for name, page in pages.items() if SAYS in page]
    assert web.get("/healthz").status_code == 200

    for name, address in addresses.items():
        with time_machine.travel(timezone.now() + WITHIN - ONE_POLL[name], tick=False):
            assert SAYS in polled(web, address, pages[name])
    with time_machine.travel(timezone.now() + WITHIN, tick=False):
        health = web.get("/healthz")
        assert (health.status_code, health.json()["worker"]) == (503, "silent")
        assert SAYS in shown(web, "/")
        assert (
            f"from {timezone.localtime(cancellation.expires_at):%H:%M} on nothing will be"
            in shown(web, addresses["outcome"])
        )


def test_an_unknown_outcome_says_that_nobody_is_checking(stage: Stage, web: Client) -> None:
    row = stage.desk.book("meetergo")
    stage.desk.fault("meetergo", "lose_answer")
    cancellation = stage.desk.cancel(row)
    assert cancellation.state == State.UNKNOWN

    for address in (cancellation.get_absolute_url(), "/unsettled/"):
        assert "Nothing is checked until it is back" in shown(web, address)


def test_the_pages_say_nothing_any_more_once_a_worker_is_back(stage: Stage, web: Client) -> None:
    row = stage.desk.book("meetergo")
    cancellation = stage.desk.ask(row)
    page = shown(web, cancellation.get_absolute_url())
    assert SAYS in page

    with stage.at_work() as worker:
        worker.until(lambda: Cancellation.objects.get().state == State.CONFIRMED)
        assert SAYS not in polled(web, cancellation.get_absolute_url(), page)
        assert SAYS not in shown(web, "/")
        assert web.get("/healthz").status_code == 200


def test_what_waited_longer_than_its_lifetime_ends_as_not_sent(stage: Stage, web: Client) -> None:
    """Ten minutes later she has rung the patient or gone home: a worker must not fire it then."""
    killed_worker(stage)
    asked = [stage.desk.ask(stage.desk.book(slug)) for slug in SLUGS]

    with stage.at_work(seconds_ahead=10 * 60 + 1) as worker:
        worker.until(lambda: not Cancellation.objects.open().exists())

    for cancellation in asked:
        cancellation.refresh_from_db()
        assert cancellation.state == State.NOT_SENT
        assert cancellation.why == "lifetime_over"
        assert answers(cancellation) == []
        assert stage.desk.received(cancellation.connection.provider) == []
        assert "Not sent" in shown(web, cancellation.get_absolute_url())


def test_within_its_lifetime_a_worker_that_comes_back_sends_it(stage: Stage) -> None:
    """The other side of the same rule: a short outage costs nobody a click."""
    killed_worker(stage)
    asked = [stage.desk.ask(stage.desk.book(slug)) for slug in SLUGS]

    with stage.at_work(seconds_ahead=9 * 60) as worker:
        worker.until(lambda: not Cancellation.objects.open().exists())

    for cancellation in asked:
        cancellation.refresh_from_db()
        assert cancellation.state == State.CONFIRMED
        assert len(stage.desk.received(cancellation.connection.provider)) == 1
