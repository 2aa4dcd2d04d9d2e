"""
What holds while a request is on its way, seen from another connection to the database.

These tests commit for real, so a worker of the browser tests may be faster than the thread here;
what they assert holds whoever sends.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connections
from django.utils import timezone

from appointments.models import Cancellation
from appointments.models.cancellations import State
from appointments.services import send
from tests.desk import Desk, answers, wait_until

pytestmark = pytest.mark.usefixtures("transactional_db")

LATE = 2.0
"""Seconds that the provider takes: long enough to look around meanwhile."""


@contextmanager
def at_work(cancellation: Cancellation) -> Iterator[None]:
    """A worker in another thread, with a connection of its own; over when it has finished."""

    def work() -> None:
        try:
            send.process(cancellation.pk)
        finally:
            connections.close_all()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        worker.join(timeout=30)
        assert not worker.is_alive()


def state_of(cancellation: Cancellation) -> str:
    return Cancellation.objects.values_list("state", flat=True).get(pk=cancellation.pk)


def test_the_call_is_written_down_before_the_provider_hears_of_it(desk: Desk) -> None:
    """A worker that dies now leaves the trace from which the next one knows what may have been."""
    desk.fault("meetergo", "latency", seconds=LATE)
    cancellation = desk.ask(desk.book("meetergo"))

    with at_work(cancellation):
        wait_until(lambda: desk.received("meetergo") != [])
        assert answers(cancellation) == ["-"]
        assert state_of(cancellation) == State.SENDING

    wait_until(lambda: state_of(cancellation) == State.CONFIRMED)
    assert answers(cancellation) == ["ok"]


def test_whoever_lost_the_lease_sends_nothing(desk: Desk) -> None:
    """Too slow with the look: the row belongs to somebody else by then."""
    cancellation = desk.ask(desk.book("meetergo"))
    read_before = len(desk.received("meetergo", "read"))
    desk.fault("meetergo", "latency", operation="read", seconds=LATE)

    with at_work(cancellation):
        wait_until(lambda: len(desk.received("meetergo", "read")) > read_before)
        Cancellation.objects.filter(pk=cancellation.pk).update(
            lease_key=uuid4(), lease_until=timezone.now() + timedelta(seconds=60)
        )

    assert state_of(cancellation) == State.REQUESTED
    assert answers(cancellation) == []
    assert desk.received("meetergo") == []


def test_an_answer_that_comes_after_the_lease_is_kept_and_counts(desk: Desk) -> None:
    """It is the provider's word, however late: kept, and no second request is needed."""
    desk.fault("meetergo", "latency", seconds=LATE)
    cancellation = desk.ask(desk.book("meetergo"))

    with at_work(cancellation):
        wait_until(lambda: desk.received("meetergo") != [])
        Cancellation.objects.filter(pk=cancellation.pk).update(lease_until=timezone.now())
        desk.work(cancellation)
        assert state_of(cancellation) == State.UNKNOWN

    wait_until(lambda: answers(cancellation) == ["ok"], seconds=2 * LATE)
    desk.work(cancellation)
    wait_until(lambda: state_of(cancellation) == State.CONFIRMED)
    cancellation.refresh_from_db()
    assert cancellation.why == "answered_late"
    assert len(desk.received("meetergo")) == 1
