"""Attacks on what is repeated by itself, after a person had it sent again, that succeeded once."""

from __future__ import annotations

from datetime import timedelta

import time_machine
from django.utils import timezone

from appointments.models import Cancellation
from appointments.services import batch as batches
from appointments.services.cancel import take_back
from appointments.services.settle import may_send_again, send_again
from tests.desk import Desk, events
from tests.services.test_batch import ask as ask_for
from tests.services.test_batch import several


def unknown_until_somebody_sends_it_again(desk: Desk) -> Cancellation:
    """Its answer was lost, and it could not be read before its lifetime was over."""
    cancellation = desk.ask(desk.book("mijnklantportaal"))
    desk.fault("mijnklantportaal", "reset")
    desk.work(cancellation)
    assert cancellation.state == "unknown"
    return cancellation


def test_what_was_sent_again_and_taken_back_is_not_repeated(desk: Desk) -> None:
    cancellation = unknown_until_somebody_sends_it_again(desk)
    with time_machine.travel(timezone.now() + timedelta(minutes=17), tick=True):
        desk.work(cancellation)
        assert (cancellation.state, cancellation.why) == ("needs_human", "still_booked")
        send_again(cancellation, by=desk.staff, reason="I looked")

        take_back(cancellation, by=desk.staff)
        for _ in range(3):
            desk.work(cancellation)

    assert len(desk.received("mijnklantportaal")) == 1
    assert cancellation.state in ("unknown", "needs_human")


def test_what_was_sent_again_and_refused_is_not_repeated(desk: Desk) -> None:
    cancellation = unknown_until_somebody_sends_it_again(desk)
    with time_machine.travel(timezone.now() + timedelta(minutes=17), tick=True):
        desk.work(cancellation)
        send_again(cancellation, by=desk.staff, reason="I looked")
        desk.fault("mijnklantportaal", "status", status=422, body={"message": "not allowed"})

        for _ in range(3):
            desk.work(cancellation)

    assert len(desk.received("mijnklantportaal")) == 2
    assert cancellation.state in ("unknown", "needs_human")


def test_of_a_stopped_batch_nothing_is_offered_to_be_sent_again_that_never_would_be(
    desk: Desk,
) -> None:
    """It was taken back in the name of whoever had stopped the batch, a moment later."""
    batch = ask_for(desk, several(desk, "meetergo", 1))
    desk.fault("meetergo", "reset")
    cancellation = desk.work(batch.cancellations.get())
    assert cancellation.state == "unknown"
    batches.stop(batch, by=desk.staff)
    with time_machine.travel(timezone.now() + timedelta(minutes=17), tick=True):
        desk.work(cancellation)
        assert (cancellation.state, cancellation.why) == ("needs_human", "still_booked")
        offered = may_send_again(cancellation)

        send_again(cancellation, by=desk.staff, reason="I looked")
        desk.work(cancellation)

    assert offered == (len(desk.received("meetergo")) == 2)
    assert "taken_back" not in events(cancellation)
