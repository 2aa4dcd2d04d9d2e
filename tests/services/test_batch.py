"""Many at once: one intent each, paced and paused per connection, stopped within one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from appointments.models import Appointment, Batch, BatchLane, Cancellation, CancellationEvent
from appointments.models.cancellations import State
from appointments.services import batch as batches
from appointments.services import lanes, send
from appointments.services.cancel import LIFETIME
from appointments.services.sweep import sweep
from tests.desk import SLUGS, Desk, answers

type Callbacks = Callable[..., Any]


def several(desk: Desk, slug: str, count: int) -> list[Appointment]:
    """Bookings at one provider, at times of their own."""
    extra: Callable[[int], dict[str, Any]] = {
        "mijnklantportaal": lambda n: {},
        "meetergo": lambda n: {"start": desk.soon + timedelta(minutes=20 * n)},
        "carevalidate": lambda n: {},
        "huskyvoice": lambda n: {},
    }[slug]
    ids = [desk.add(slug, **extra(n)) for n in range(count)]
    desk.read(slug)
    return [desk.row(slug, one) for one in ids]


def ask(
    desk: Desk, rows: Iterable[Appointment], *, by: User | None = None, key: UUID | None = None
) -> Batch:
    return batches.ask_for_batch(
        {one.pk: one.version for one in rows},
        by=by or desk.staff,
        reason="Practitioner is ill",
        form_key=key or uuid4(),
    )


def work(batch: Batch, *, rounds: int = 50) -> None:
    """What the worker does, one after the other, until nothing is due any more."""
    for _ in range(rounds):
        for connection_id in lanes.connections_with_waiting():
            lanes.call_in(connection_id)
        due = Cancellation.objects.filter(batch=batch).due(timezone.now())
        pks = list(due.values_list("pk", flat=True))
        if not pks:
            return
        for pk in pks:
            send.process(pk)


def states(batch: Batch) -> list[str]:
    return sorted(batch.cancellations.values_list("state", flat=True))


def lane(batch: Batch, slug: str) -> BatchLane:
    return batch.lanes.get(connection__provider=slug)


def test_each_is_cancelled_once_at_all_four(desk: Desk) -> None:
    rows = [row for slug in SLUGS for row in several(desk, slug, 3)]

    batch = ask(desk, rows)
    work(batch)

    assert states(batch) == ["confirmed"] * 12
    assert all(len(desk.received(slug)) == 3 for slug in SLUGS)
    assert batches.progress(batch).is_over


def test_what_cannot_be_cancelled_is_named_beforehand(desk: Desk) -> None:
    """One is open already, one changed since the review, one is cancelled: the rest goes ahead."""
    open_one, stale, cancelled, fine = several(desk, "meetergo", 4)
    desk.ask(open_one)
    Appointment.objects.filter(pk=stale.pk).update(version="another")
    Appointment.objects.filter(pk=cancelled.pk).update(status="cancelled")

    batch = ask(desk, [open_one, stale, cancelled, fine])

    assert {one["appointment"]: one["why"] for one in batch.excluded} == {
        open_one.pk: "already_open",
        stale.pk: "stale",
        cancelled.pk: "not_live",
    }
    assert [one.appointment_id for one in batch.cancellations.all()] == [fine.pk]


def test_the_same_review_sent_twice_is_one_batch(desk: Desk) -> None:
    rows, key = several(desk, "meetergo", 2), uuid4()

    first, second = ask(desk, rows, key=key), ask(desk, rows, key=key)

    assert first == second
    assert Cancellation.objects.count() == 2


def test_two_people_who_choose_the_same_make_one_intent_each(desk: Desk, colleague: User) -> None:
    rows = several(desk, "meetergo", 3)

    first, second = ask(desk, rows[:2]), ask(desk, rows[1:], by=colleague)
    work(first)
    work(second)

    assert [one["why"] for one in second.excluded] == ["already_open"]
    assert len(desk.received("meetergo")) == 3


def test_only_as_many_are_under_way_as_allowed(desk: Desk, settings: Any) -> None:
    settings.CANCELS_IN_FLIGHT = 2
    batch = ask(desk, several(desk, "meetergo", 5))

    lanes.call_in(desk.connection("meetergo").pk)

    assert Cancellation.objects.due(timezone.now()).count() == 2
    sweep()
    assert Cancellation.objects.due(timezone.now()).count() == 2
    assert batches.progress(batch).waiting == 5


def test_a_single_click_goes_before_the_batch(desk: Desk, settings: Any) -> None:
    """Somebody at the desk does not wait for five hundred others."""
    settings.CANCELS_IN_FLIGHT = 1
    *rows, urgent = several(desk, "meetergo", 4)
    ask(desk, rows)
    single = desk.ask(urgent)
    lanes.stand_back(single)

    lanes.call_in(desk.connection("meetergo").pk)

    assert [one.pk for one in Cancellation.objects.due(timezone.now())] == [single.pk]


def test_two_unknown_in_a_row_pause_that_provider_alone(desk: Desk) -> None:
    """What goes wrong at one provider stops there, and nowhere else."""
    rows = [*several(desk, "meetergo", 6), *several(desk, "huskyvoice", 3)]
    desk.fault("meetergo", "lose_answer", times=None)
    batch = ask(desk, rows)

    work(batch)

    assert lane(batch, "meetergo").paused_why == "unknown"
    assert lane(batch, "huskyvoice").paused_at is None
    assert states(batch) == ["confirmed"] * 3 + ["requested"] * 4 + ["unknown"] * 2
    assert len(desk.received("meetergo")) == 2
    assert not batches.progress(batch).is_over


def test_three_that_do_not_leave_us_pause_it(desk: Desk) -> None:
    rows = several(desk, "meetergo", 6)
    desk.fault("meetergo", "reset", operation="read", times=None)

    batch = ask(desk, rows)
    work(batch)

    assert lane(batch, "meetergo").paused_why == "not_sent"
    assert desk.received("meetergo") == []


@pytest.mark.parametrize(("operation", "status"), [("cancel", 401), ("cancel", 403), ("read", 401)])
def test_a_key_that_is_refused_pauses_it_at_once(operation: str, status: int, desk: Desk) -> None:
    rows = several(desk, "meetergo", 6)
    refusal = {"statusCode": status, "message": "no", "error": "no"}
    desk.fault("meetergo", "status", operation=operation, status=status, body=refusal, times=None)

    batch = ask(desk, rows)
    lanes.call_in(desk.connection("meetergo").pk)
    send.process(batch.cancellations.order_by("pk")[0].pk)
    work(batch)

    assert lane(batch, "meetergo").paused_why == "refused"
    assert len(desk.received("meetergo", operation)) == 1


def test_one_that_goes_well_in_between_is_no_series(desk: Desk) -> None:
    rows = several(desk, "meetergo", 5)
    batch = ask(desk, rows)
    for number in range(5):
        if number % 2 == 0:
            desk.fault("meetergo", "lose_answer")
        one = batch.cancellations.order_by("pk")[number]
        Cancellation.objects.filter(pk=one.pk).update(due_at=timezone.now(), why="")
        send.process(one.pk)

    assert lane(batch, "meetergo").paused_at is None
    assert states(batch) == ["confirmed"] * 2 + ["unknown"] * 3


def test_a_pause_holds_what_is_about_to_be_sent(desk: Desk) -> None:
    """Leased and looked at already: the claim itself asks whether the lane is paused."""
    batch = ask(desk, several(desk, "meetergo", 2))
    first = batch.cancellations.order_by("pk")[0]
    Cancellation.objects.filter(pk=first.pk).update(due_at=timezone.now(), why="")
    read = send._look

    def paused_meanwhile(*args: Any) -> Any:
        lane(batch, "meetergo").__class__.objects.update(
            paused_at=timezone.now(), paused_why="unknown"
        )
        return read(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(send, "_look", paused_meanwhile)
        send.process(first.pk)

    first.refresh_from_db()
    assert (first.state, first.why, first.lease_until) == (State.REQUESTED, lanes.QUEUED, None)
    assert desk.received("meetergo") == []


def test_resume_goes_on_where_it_stopped(desk: Desk) -> None:
    rows = several(desk, "meetergo", 6)
    desk.fault("meetergo", "reset", operation="read", times=3)
    batch = ask(desk, rows)
    work(batch)
    with time_machine.travel(timezone.now() + timedelta(minutes=8), tick=True):
        batches.resume(batch, desk.connection("meetergo"), by=desk.staff)
        resumed = lane(batch, "meetergo")
        assert (resumed.paused_at, resumed.resumed_by) == (None, desk.staff)
        with time_machine.travel(timezone.now() + timedelta(minutes=8), tick=True):
            work(batch)

    assert states(batch) == ["confirmed"] * 6
    assert len(desk.received("meetergo")) == 6


def test_a_pause_that_nobody_ends_sends_nothing_late(desk: Desk) -> None:
    rows = several(desk, "meetergo", 6)
    desk.fault("meetergo", "lose_answer", times=2)
    batch = ask(desk, rows)
    work(batch)

    with time_machine.travel(timezone.now() + timedelta(minutes=31), tick=True):
        work(batch)

    assert states(batch) == ["confirmed"] * 2 + ["not_sent"] * 4
    assert len(desk.received("meetergo")) == 2


def test_stop_sends_no_further_one(desk: Desk) -> None:
    """What is on its way gets its outcome; not one more leaves."""
    batch = ask(desk, several(desk, "meetergo", 6))
    under_way = batch.cancellations.order_by("pk")[0]
    cancel = send._send

    def stopped_meanwhile(*args: Any, **how: Any) -> Any:
        batches.stop(batch, by=desk.staff)
        return cancel(*args, **how)

    Cancellation.objects.filter(pk=under_way.pk).update(due_at=timezone.now(), why="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(send, "_send", stopped_meanwhile)
        send.process(under_way.pk)
    work(batch)

    assert states(batch) == ["confirmed"] + ["withdrawn"] * 5
    assert len(desk.received("meetergo")) == 1
    batch.refresh_from_db()
    assert batch.stopped_by == desk.staff
    taken_back = CancellationEvent.objects.filter(event="taken_back", by=desk.staff)
    assert taken_back.count() == 5


def test_never_all_done_while_one_is_unsettled(desk: Desk) -> None:
    rows = several(desk, "meetergo", 3)
    desk.fault("meetergo", "lose_answer")
    batch = ask(desk, rows)
    work(batch)

    progress = batches.progress(batch)

    assert (progress.ended, progress.unclear, progress.is_over) == (2, 1, False)


def test_a_crash_resumes_with_the_rest(desk: Desk) -> None:
    """A worker that dies leaves rows that the sweep calls in; nothing is sent twice."""
    batch = ask(desk, several(desk, "meetergo", 4))
    lanes.call_in(desk.connection("meetergo").pk)
    # Four leases of a worker that is gone; one had claimed and may have sent.
    for pk in batch.cancellations.values_list("pk", flat=True):
        send._lease(pk)
    lost = Cancellation.objects.select_related("connection", "appointment__connection").get(
        pk=batch.cancellations.order_by("pk")[0].pk
    )
    send._claim(lost, held=lost.lease_key, looked_at=timezone.now())

    with time_machine.travel(timezone.now() + timedelta(seconds=61), tick=True):
        sweep()
        work(batch)

    assert states(batch) == ["confirmed"] * 3 + ["unknown"]
    assert len(desk.received("meetergo")) == 3


def test_the_lifetime_grows_with_the_place_in_the_queue(desk: Desk, settings: Any) -> None:
    """The last of many at a slow provider has time to come to its turn, but never two hours."""
    batch = ask(desk, several(desk, "huskyvoice", 10))

    ends = list(batch.cancellations.order_by("pk").values_list("expires_at", flat=True))

    assert ends == sorted(ends)
    assert ends[0] == batch.requested_at + LIFETIME
    assert ends[-1] > ends[0] + timedelta(seconds=20)
    counts = {desk.connection("huskyvoice"): 5000}
    assert batches.lifetime(counts) == timedelta(hours=2)


def test_without_permission_nothing_is_recorded(desk: Desk, django_user_model: Any) -> None:
    rows = several(desk, "meetergo", 2)
    stranger = django_user_model.objects.create_user("stranger")

    with pytest.raises(PermissionDenied):
        ask(desk, rows, by=stranger)

    assert not Batch.objects.exists()
    batch = ask(desk, rows)
    with pytest.raises(PermissionDenied):
        batches.stop(batch, by=stranger)
    with pytest.raises(PermissionDenied):
        batches.resume(batch, desk.connection("meetergo"), by=stranger)
    assert answers(batch.cancellations.first()) == []  # type: ignore[arg-type]
