"""Every fault of the table, met by every cancellation of a batch at all four providers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from uuid import uuid4

import pytest
import time_machine
from django.utils import timezone

from appointments.models import Batch, Cancellation
from appointments.models.cancellations import State
from appointments.sandbox.core import Entry
from appointments.services import batch as batches
from appointments.services import lanes, send
from appointments.wording import batch_notice
from tests.desk import Desk, answers
from tests.faults.course import (
    assert_ending,
    every_case,
    is_cancelled,
    known,
    short_writes,
)
from tests.faults.matrix import all_cases
from tests.faults.rude import RudeServer
from tests.faults.rules import (
    CONFIRMED,
    PROVIDERS,
    Case,
    course,
    rest_of_batch,
)

CASES = [case for case in all_cases() if case.then is None]
READS = [case for case in all_cases() if case.then is not None]
"""Those in which reading does not help either."""
KINDS = list({(case.cancel.state, case.cancel.kind): case for case in reversed(CASES)}.values())
"""One of each way in which a cancellation can end at once."""


def batch_at(desk: Desk, counts: Mapping[str, int]) -> Batch:
    """*counts*: how many appointments at each provider."""
    rows = [known(desk, slug) for slug, count in counts.items() for _ in range(count)]
    return batches.ask_for_batch(
        {row.pk: row.version for row in rows},
        by=desk.staff,
        reason="Practitioner is ill",
        form_key=uuid4(),
    )


def enough(case: Case, slug: str) -> int:
    """One more than are tried before the rest is held back."""
    return (rest_of_batch(case, slug).tried or 1) + 1


def at(batch: Batch, slug: str) -> list[Cancellation]:
    return list(
        batch.cancellations.filter(connection__provider=slug)
        .select_related("connection", "appointment__connection")
        .order_by("pk")
    )


def _well(_slug: str) -> AbstractContextManager[None]:
    return nullcontext()


def work(batch: Batch, *, lasting: Callable[[str], AbstractContextManager[None]] = _well) -> None:
    """
    What the worker does by now, without waiting for anything.

    *lasting* gives, for a provider, the fault that a cancellation there meets.
    """
    for _ in range(20):
        for connection_id in lanes.connections_with_waiting():
            lanes.call_in(connection_id)
        due = batch.cancellations.due(timezone.now()).order_by("pk")
        found = list(due.values_list("pk", "connection__provider"))
        if not found:
            return
        for pk, slug in found:
            with lasting(slug):
                send.process(pk)
    raise AssertionError("the worker never rests")


@pytest.mark.parametrize("case", [pytest.param(one, id=one.name) for one in CASES])
def test_what_a_fault_does_to_the_rest(case: Case, desk: Desk, rude: RudeServer) -> None:
    """
    Each ends like a single one; what everybody else would meet as well pauses that provider.

    Never "all done" while there is one of which nobody knows.
    """
    batch = batch_at(desk, {slug: enough(case, slug) for slug in case.at})

    # The clock stands still, or the next try of the first would come in between.
    with short_writes(case.fault), time_machine.travel(timezone.now(), tick=False):
        work(batch, lasting=lambda _slug: rude.during(case.fault, "cancel"))

    for slug in case.at:
        rest = rest_of_batch(case, slug)
        ones = at(batch, slug)
        tried = rest.tried or len(ones)
        for one in ones[:tried]:
            assert_ending(one, case.ending(slug))
        for one in ones[tried:]:
            assert (one.state, one.why) == (State.REQUESTED, lanes.QUEUED)
            assert answers(one) == []
        assert len(desk.received(slug)) == (tried if case.fault.arrives else 0)
        assert batch.lanes.get(connection__provider=slug).paused_why == rest.paused
        for one in ones:
            assert_truth(desk, slug, one)
    progress = batches.progress(batch)
    if any(case.ending(slug).is_open for slug in case.at):
        assert not progress.is_over
    assert progress.unclear == sum(
        one.state == State.UNKNOWN for slug in case.at for one in at(batch, slug)
    )


@every_case(KINDS)
def test_the_other_providers_go_on_and_so_does_this_one_when_told(
    case: Case, slug: str, desk: Desk, rude: RudeServer
) -> None:
    """
    One provider's trouble stays there. When it is over and a person says so, the rest is sent.

    What had its turn is not sent again by that: each goes its own way, as a single one does.
    """
    other = next(one for one in PROVIDERS if one != slug)
    batch = batch_at(desk, {slug: enough(case, slug) + 1, other: 2})
    rest = rest_of_batch(case, slug)

    with short_writes(case.fault), time_machine.travel(timezone.now(), tick=False):
        work(
            batch,
            lasting=lambda here: (
                rude.during(case.fault, "cancel") if here == slug else nullcontext()
            ),
        )
    assert {one.state for one in at(batch, other)} == {State.CONFIRMED}
    if rest.paused:
        batches.resume(batch, desk.connection(slug), by=desk.staff)
    end(batch)

    ends = course(case, slug, stays=False)
    ones = at(batch, slug)
    tried = rest.tried or len(ones)
    for one in ones[:tried]:
        assert_ending(one, ends.ending)
        assert answers(one) == list(ends.answers)
    for one in ones[tried:]:
        assert_ending(one, CONFIRMED)
        assert answers(one) == ["ok"]
    for one in ones:
        assert_truth(desk, slug, one)
    assert batches.progress(batch).is_over == (ends.ending.state != State.NEEDS_HUMAN)


@every_case(READS)
def test_reads_that_do_not_help(case: Case, slug: str, desk: Desk, rude: RudeServer) -> None:
    """
    One outcome stays unclear, and no other is sent unseen; the rest of the batch is over.

    Nobody reads that all are cancelled.
    """
    other = next(one for one in PROVIDERS if one != slug)
    batch = batch_at(desk, {slug: 3, other: 2})
    first, *rest = at(batch, slug)
    lanes.call_in(first.connection_id)

    with rude.afterwards(case.then):
        with short_writes(case.fault), rude.during(case.fault, "cancel"):
            send.process(first.pk)
        end(batch)

        first.refresh_from_db()
        ends = course(case, slug, stays=False)
        assert_ending(first, ends.ending)
        assert answers(first) == list(ends.answers)
        for one in rest:
            one.refresh_from_db()
            assert_truth(desk, slug, one)
            assert one.state == State.CONFIRMED or answers(one) == []
        for one in at(batch, other):
            assert_truth(desk, other, one)
    said = batch_notice(batch, batches.progress(batch), is_paused=False)
    assert (said.tone == "good") == all(one.is_done for one in batch.cancellations.all())


def assert_truth(desk: Desk, slug: str, one: Cancellation) -> None:
    """Nobody reads that it is cancelled unless it is, and nothing left that no ledger knows."""
    if one.is_done:
        assert is_cancelled(desk, slug, one.external_id)
    asked = [entry for entry in desk.sandbox.log if names(entry, one.external_id)]
    assert len(asked) <= len(answers(one))
    assert "-" not in answers(one)


def names(entry: Entry, external_id: str) -> bool:
    """Whether *entry* asks to cancel this very booking."""
    return entry.operation == "cancel" and external_id in f"{entry.path} {entry.body}"


def end(batch: Batch) -> None:
    """Let the worker go on, with the clock, until each has ended or is for a person."""
    with time_machine.travel(timezone.now(), tick=True) as clock:
        for _ in range(60):
            work(batch)
            waiting = batch.cancellations.exclude(state=State.NEEDS_HUMAN)
            next_one = waiting.filter(due_at__isnull=False).order_by("due_at").first()
            if next_one is None:
                return
            assert next_one.due_at is not None
            # Whoever stands back is called in by the sweep, which comes every minute.
            clock.move_to(min(next_one.due_at, timezone.now() + timedelta(minutes=1)))
    raise AssertionError("the batch never ends")
