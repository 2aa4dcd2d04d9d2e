"""What only a named person may decide."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
import time_machine
from django.contrib.auth.models import Permission, User
from django.core.exceptions import PermissionDenied
from django.test import Client
from django.utils import timezone

from appointments.domain import Status
from appointments.models import Cancellation, ProviderAnswer, ProviderCall
from appointments.models.cancellations import AnswerKind, State, Verdict
from appointments.services import batch as batches
from appointments.services import lanes
from appointments.services.settle import (
    may_send_again,
    may_settle,
    send_again,
    settle_by_hand,
)
from appointments.wording import outcome
from tests.desk import Desk, answers
from tests.services.test_batch import several


@pytest.fixture
def stuck(desk: Desk) -> Iterator[Cancellation]:
    """Sent, never answered, still booked a quarter of an hour later."""
    desk.fault("meetergo", "status", status=500, body={"message": "boom"})
    cancellation = desk.cancel(desk.book("meetergo"))
    with time_machine.travel(timezone.now() + timedelta(minutes=16), tick=True):
        desk.work(cancellation)
        assert (cancellation.state, cancellation.why) == (State.NEEDS_HUMAN, "still_booked")
        yield cancellation


def test_sent_again_by_a_person_reads_and_sends_once_more(stuck: Cancellation, desk: Desk) -> None:
    send_again(stuck, by=desk.staff, reason="Looked in meetergo: it is still there.")
    desk.work(stuck)

    assert stuck.state == State.CONFIRMED
    assert answers(stuck) == ["unknown", "ok"]
    event = stuck.events.get(event="sent_again")
    assert (event.by, event.detail) == (desk.staff, "Looked in meetergo: it is still there.")


def test_sent_again_finds_it_cancelled_and_sends_nothing(stuck: Cancellation, desk: Desk) -> None:
    """The worker reads before it sends, also on a person's word."""
    for one in desk.world("meetergo").state["appointments"].values():
        one["isCancelled"] = True

    send_again(stuck, by=desk.staff, reason="Try again")
    desk.work(stuck)

    assert stuck.state == State.CONFIRMED
    assert len(desk.received("meetergo")) == 1


@pytest.mark.parametrize(
    ("verdict", "status"),
    [(Verdict.CANCELLED, Status.CANCELLED), (Verdict.STILL_BOOKED, Status.BOOKED)],
)
def test_a_verdict_closes_it_with_name_and_reason(
    verdict: Verdict, status: Status, stuck: Cancellation, desk: Desk
) -> None:
    settle_by_hand(stuck, by=desk.staff, verdict=verdict, reason="Rang the patient")

    assert stuck.state == State.SETTLED
    assert stuck.settled_by == desk.staff
    stuck.appointment.refresh_from_db()
    assert stuck.appointment.status == status
    assert len(desk.received("meetergo")) == 1


def test_no_verdict_before_the_quiet_period_is_over(desk: Desk) -> None:
    """Probably cancelled, says the list; but the request may still be under way."""
    desk.fault("mijnklantportaal", "hang_after", seconds=0)
    appointment = desk.book("mijnklantportaal")
    cancellation = desk.cancel(appointment)
    desk.world("mijnklantportaal").state["appointments"].clear()
    desk.work(cancellation)
    assert cancellation.state == State.NEEDS_HUMAN

    assert not may_settle(cancellation)
    settle_by_hand(cancellation, by=desk.staff, verdict=Verdict.STILL_BOOKED, reason="?")

    cancellation.refresh_from_db()
    assert cancellation.state == State.NEEDS_HUMAN


def test_what_is_probably_cancelled_cannot_be_sent_again(desk: Desk) -> None:
    desk.fault("mijnklantportaal", "lose_answer")
    cancellation = desk.cancel(desk.book("mijnklantportaal"))
    desk.world("mijnklantportaal").state["appointments"].clear()
    desk.work(cancellation)

    with time_machine.travel(timezone.now() + timedelta(minutes=20), tick=True):
        send_again(cancellation, by=desk.staff, reason="?")

    assert cancellation.state == State.NEEDS_HUMAN
    assert len(desk.received("mijnklantportaal")) == 1


def test_without_permission_nobody_settles(stuck: Cancellation, desk: Desk) -> None:
    clerk = User.objects.create_user("clerk")
    clerk.user_permissions.add(Permission.objects.get(codename="cancel_appointment"))

    with pytest.raises(PermissionDenied):
        settle_by_hand(stuck, by=clerk, verdict=Verdict.CANCELLED, reason="x")
    with pytest.raises(PermissionDenied):
        send_again(stuck, by=clerk, reason="x")


def test_the_page_takes_the_verdict_and_asks_for_a_reason(
    stuck: Cancellation, desk: Desk, client: Client
) -> None:
    client.force_login(desk.staff)
    address = f"/cancellations/{stuck.pk}/settle/"

    missing = client.post(address, {"verdict": "booked", "reason": " "})
    assert missing.status_code == 422
    assert "Say how you know" in missing.content.decode()
    assert client.post(address, {"reason": "x", "verdict": "nonsense"}).status_code == 422

    client.post(address, {"verdict": "booked", "reason": "Looked in meetergo"})
    stuck.refresh_from_db()
    assert stuck.state == State.SETTLED
    page = client.get(stuck.get_absolute_url()).content.decode()
    assert "Settled by hand: still booked" in page
    assert "Looked in meetergo" in page


def test_everybody_is_told_of_what_waits_for_a_person_too_long(
    stuck: Cancellation, desk: Desk, client: Client
) -> None:
    """An outcome that nobody looks into for an hour is everybody's business."""
    client.force_login(desk.staff)
    assert "waited for a person" not in client.get("/").content.decode()

    with time_machine.travel(timezone.now() + timedelta(minutes=61), tick=True):
        later = Client()
        later.force_login(desk.staff)
        page = later.get("/").content.decode()

    assert "1 outcome has waited for a person for more than an hour." in page


def test_what_somebody_settled_as_cancelled_and_is_listed_as_booked_is_an_alarm(
    stuck: Cancellation, desk: Desk
) -> None:
    """The word of a person is doubted as a provider's is; the list does not just go back."""
    settle_by_hand(stuck, by=desk.staff, verdict=Verdict.CANCELLED, reason="Rang them")
    with time_machine.travel(timezone.now() + timedelta(minutes=5), tick=True):
        desk.read("meetergo")
        stuck.refresh_from_db()
        said = outcome(stuck)

    assert stuck.contradicted_at is not None
    assert said.tone == "alarm"
    assert "Anna de Boer had found out that it is cancelled" in said.sentence


def test_nothing_is_sent_again_where_the_batch_is_held(desk: Desk) -> None:
    """It would not be sent, so it is not offered; and said to be sent it is not either."""
    rows = several(desk, "meetergo", 2)
    batch = batches.ask_for_batch(
        {row.pk: row.version for row in rows}, by=desk.staff, form_key=uuid4()
    )
    one = batch.cancellations.order_by("pk")[0]
    hours_ago = timezone.now() - timedelta(hours=2)
    Cancellation.objects.filter(pk=one.pk).update(
        state=State.NEEDS_HUMAN, unknown_since=hours_ago, why="still_booked"
    )
    call = ProviderCall.objects.create(cancellation=one, number=1, started_at=hours_ago, asked={})
    ProviderAnswer.objects.create(call=call, kind=AnswerKind.UNKNOWN, answered_at=hours_ago)
    one.refresh_from_db()
    assert may_send_again(one)

    batch.lanes.update(paused_at=timezone.now(), paused_why="unknown")
    assert not may_send_again(one)
    send_again(one, by=desk.staff, reason="They are still listed")
    one.refresh_from_db()
    assert one.state == State.NEEDS_HUMAN


def test_a_pause_leaves_time_to_find_out(desk: Desk) -> None:
    """What waits behind it outlasts the reads that tell what became of the others."""
    rows = several(desk, "meetergo", 4)
    batch = batches.ask_for_batch(
        {row.pk: row.version for row in rows}, by=desk.staff, form_key=uuid4()
    )
    first, *_, last = batch.cancellations.order_by("pk")
    for _ in range(2):
        lanes.note(first, AnswerKind.UNKNOWN)

    assert batch.lanes.get().paused_at is not None
    last.refresh_from_db()
    assert last.expires_at >= timezone.now() + timedelta(minutes=29)
    assert last.due_at == last.expires_at
