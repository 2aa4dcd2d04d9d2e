"""Second thoughts: between the press and the request a cancellation can be taken back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from appointments.models.cancellations import State
from appointments.services import batch as batches
from appointments.services import lanes, send
from appointments.services.cancel import LIFETIME, take_back
from appointments.wording import batch_notice, outcome
from tests.desk import Desk
from tests.services.test_batch import several


@pytest.fixture(autouse=True)
def _ten_seconds(settings: Any) -> None:
    settings.COOLING_OFF = timedelta(seconds=10)


def test_nothing_leaves_before_its_time_and_then_it_does(desk: Desk) -> None:
    start = timezone.now()
    with time_machine.travel(start, tick=False) as clock:
        cancellation = desk.ask(desk.book("meetergo"))
        clock.shift(9.9)
        send.process(cancellation.pk)
        cancellation.refresh_from_db()
        assert cancellation.state == State.REQUESTED
        assert desk.received("meetergo", "read") == desk.received("meetergo") == []
        assert outcome(cancellation).title == "Not sent yet"

        clock.shift(0.2)
        send.process(cancellation.pk)
        cancellation.refresh_from_db()

    assert cancellation.state == State.CONFIRMED
    assert len(desk.received("meetergo")) == 1


def test_taken_back_it_never_leaves(desk: Desk) -> None:
    start = timezone.now()
    with time_machine.travel(start, tick=False) as clock:
        cancellation = desk.ask(desk.book("meetergo"))
        clock.shift(5)
        take_back(cancellation, by=desk.staff)
        clock.shift(20)
        send.process(cancellation.pk)

    cancellation.refresh_from_db()
    assert cancellation.state == State.WITHDRAWN
    assert desk.received("meetergo") == desk.mails("meetergo") == []


def test_its_lifetime_counts_from_when_it_may_leave(desk: Desk) -> None:
    cancellation = desk.ask(desk.book("meetergo"))

    assert cancellation.expires_at - cancellation.requested_at == LIFETIME + timedelta(seconds=10)


def test_a_batch_waits_too_even_if_somebody_is_called_in(desk: Desk) -> None:
    """Whoever finishes calls in the next; that must not cut the time for second thoughts."""
    with time_machine.travel(timezone.now(), tick=False) as clock:
        rows = several(desk, "meetergo", 3)
        batch = batches.ask_for_batch(
            {row.pk: row.version for row in rows}, by=desk.staff, form_key=uuid4()
        )
        connection = desk.connection("meetergo")
        clock.shift(9)
        lanes.call_in(connection.pk)
        assert not batch.cancellations.due(timezone.now()).exists()
        said = batch_notice(batch, batches.progress(batch), is_paused=False)
        assert "until then you can still stop all of it" in said.sentence

        clock.shift(2)
        lanes.call_in(connection.pk)
        assert batch.cancellations.due(timezone.now()).count() == 3


def test_the_page_counts_and_offers_to_take_back(desk: Desk, client: Client) -> None:
    client.force_login(desk.staff)
    row = desk.book("meetergo")
    with time_machine.travel(timezone.now(), tick=False):
        cancellation = desk.ask(row)
        page = client.get(cancellation.get_absolute_url()).content.decode()

    assert "Until then you can take it back." in page
    assert 'data-left="10"' in page
    client.post(f"/cancellations/{cancellation.pk}/take-back/")
    cancellation.refresh_from_db()
    assert cancellation.state == State.WITHDRAWN
