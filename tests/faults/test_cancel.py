"""Every fault of the table, at every provider, for one cancellation."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from appointments.domain import Scope, Status
from appointments.models import Appointment, Cancellation
from appointments.models.cancellations import State
from appointments.sandbox.people import PEOPLE
from appointments.services.trace import trace
from tests.desk import SLUGS, Desk, answers
from tests.faults.course import (
    assert_ending,
    assert_promises,
    calls_of,
    every_case,
    go_on,
    is_cancelled,
    known,
    short_reads,
    short_writes,
)
from tests.faults.matrix import all_cases
from tests.faults.rude import Refuses, RudeServer
from tests.faults.rules import (
    BUSY_BEFORE,
    CONFIRMED,
    SENT_AFTER,
    UNSEEN,
    Case,
    Course,
    course,
)

CASES = all_cases()
LASTING = list(
    {
        (case.cancel.kind, case.why): case
        for case in reversed(CASES)
        if case.settles is None and not case.is_applied and case.cancel.is_open
    }.values()
)
"""
In which it makes a difference whether the fault is over by the next request: one of each cause,
because the ledger knows no more of the fault than that.
"""
CAUSES = list(
    {
        (case.cancel.state, case.why, case.is_applied): case
        for case in reversed(CASES)
        if case.then is None and not case.answer_only and "meetergo" in case.at
    }.values()
)
LOOKS = list(
    {
        (case.look, case.why): case
        for case in reversed(CASES)
        if case.look is not None and not case.answer_only
    }.values()
)
"""One of each cause, for the same reason."""


@every_case(CASES)
def test_a_fault_that_passes(case: Case, slug: str, desk: Desk, rude: RudeServer) -> None:
    """
    One request at most, one line in the ledger, and nothing is claimed that nobody knows.

    Then the fault is over, and the worker settles it: by the reads of the table, at their times.
    """
    appointment = known(desk, slug)
    cancellation = desk.ask(appointment)
    with rude.afterwards(case.then):
        with short_writes(case.fault), rude.during(case.fault, "cancel"):
            desk.work(cancellation)

        assert_ending(cancellation, case.ending(slug))
        assert [call.answer.why for call in calls_of(cancellation)] == [case.cause(slug)]
        assert len(desk.received(slug)) == case.fault.arrives
        assert is_cancelled(desk, slug, appointment.external_id) == case.is_applied
        appointment.refresh_from_db()
        assert (appointment.status == Status.CANCELLED) == cancellation.is_done
        assert_promises(desk, slug, cancellation)

        looked_at = go_on(desk, cancellation)

    assert_course(cancellation, course(case, slug, stays=False), looked_at, case=case, slug=slug)
    assert not rude.was_visited_elsewhere()
    assert_promises(desk, slug, cancellation)


@every_case(LASTING)
def test_a_fault_that_stays(case: Case, slug: str, desk: Desk, rude: RudeServer) -> None:
    """Every further request meets it too, and it ends all the same: unsent, or with a person."""
    cancellation = desk.ask(known(desk, slug))

    with short_writes(case.fault):
        looked_at = go_on(desk, cancellation, lasting=lambda: rude.during(case.fault, "cancel"))

    ends = course(case, slug, stays=True)
    assert_course(cancellation, ends, looked_at, case=case, slug=slug)
    assert len(desk.received(slug)) == (len(ends.answers) if case.fault.arrives else 0)
    assert not is_cancelled(desk, slug, cancellation.external_id)
    assert_promises(desk, slug, cancellation)


@every_case(LOOKS)
def test_a_fault_before_sending(case: Case, slug: str, desk: Desk, rude: RudeServer) -> None:
    """What cannot be read is not cancelled unseen; it waits, and goes on when it can be read."""
    expected = case.looking(slug)
    assert expected is not None
    cancellation = desk.ask(known(desk, slug))

    with short_reads(case.fault), rude.during(case.fault, "look"):
        desk.work(cancellation)

    assert_ending(cancellation, expected)
    assert desk.received(slug) == []
    assert not rude.was_visited_elsewhere()
    assert_promises(desk, slug, cancellation)

    go_on(desk, cancellation)

    if expected in (UNSEEN, BUSY_BEFORE):
        assert_ending(cancellation, CONFIRMED)
        assert len(desk.received(slug)) == 1
    assert_promises(desk, slug, cancellation)


@pytest.mark.parametrize("slug", SLUGS)
def test_a_provider_that_cannot_be_read_for_ten_minutes(
    slug: str, desk: Desk, rude: RudeServer
) -> None:
    """An old click does not fire: after its lifetime nothing is sent, and that is said."""
    cancellation = desk.ask(known(desk, slug))

    looked_at = go_on(desk, cancellation, lasting=lambda: rude.during(Refuses(), "look"))

    assert cancellation.state == State.NOT_SENT
    assert answers(cancellation) == []
    assert desk.received(slug) == []
    assert looked_at[-1] >= cancellation.expires_at


@pytest.mark.parametrize("case", [pytest.param(one, id=one.name) for one in CAUSES])
def test_one_person_of_a_group(case: Case, desk: Desk, rude: RudeServer) -> None:
    """Scope sent is scope confirmed, whatever goes wrong: the others stay, untold."""
    appointment = desk.book("meetergo", people=3)
    cancellation = desk.remove(appointment, PEOPLE[16])

    with short_writes(case.fault), rude.during(case.fault, "cancel"):
        desk.work(cancellation)
    go_on(desk, cancellation)

    ends = course(case, "meetergo", stays=False)
    assert cancellation.state == ends.ending.state
    assert answers(cancellation) == list(ends.answers)
    booked = desk.world("meetergo").state["appointments"][appointment.external_id]
    assert not booked["isCancelled"]
    gone = {PEOPLE[16].email} if cancellation.is_done else set()
    assert {one["email"] for one in booked["attendees"]} == {
        one.email for one in PEOPLE[15:18] if one.email not in gone
    }
    assert len(desk.mails("meetergo")) == len(gone)
    assert appointment.attendees.count() == 3 - len(gone)


@pytest.mark.parametrize("case", [pytest.param(one, id=one.name) for one in CAUSES])
def test_this_one_and_the_later_ones(case: Case, desk: Desk, rude: RudeServer) -> None:
    """
    The answer speaks of this occurrence only; each later one is cancelled when a read shows it.

    Whatever goes wrong, one before it stays, and nobody is mailed twice about any.
    """
    week = timedelta(days=7)
    for number in range(4):
        start = desk.soon + number * week
        desk.add("meetergo", who=PEOPLE[15:16], start=start, series="physio")
    desk.read("meetergo")
    before, this, *later = Appointment.objects.in_order().select_related("connection")
    cancellation = desk.ask(this, scope=Scope.FOLLOWING)

    with short_writes(case.fault), rude.during(case.fault, "cancel"):
        desk.work(cancellation)
    assert cancellation.state == case.ending("meetergo").state
    go_on(desk, cancellation)
    trace(cancellation.pk)

    ends = course(case, "meetergo", stays=False)
    assert cancellation.state == ends.ending.state
    assert answers(cancellation) == list(ends.answers)
    cancellation.refresh_from_db()
    # A provider that says "already" has cancelled this one, and who knows about the others.
    is_ours = "ok" in ends.answers or (case.is_applied and cancellation.state == State.CONFIRMED)
    for one in later:
        really = is_cancelled(desk, "meetergo", one.external_id)
        assert really == (is_ours or case.is_applied)
        one.refresh_from_db()
        assert (one.status == Status.CANCELLED) == (really and cancellation.is_done)
    if cancellation.is_done:
        assert cancellation.later_ones == [
            {"id": one.pk, "seen_cancelled": is_cancelled(desk, "meetergo", one.external_id)}
            for one in later
        ]
    else:
        assert cancellation.later_ones is None
    assert not is_cancelled(desk, "meetergo", before.external_id)
    told = [(mail["to"], mail["what"]) for mail in desk.mails("meetergo")]
    assert len(told) == len(set(told))


def assert_course(
    cancellation: Cancellation, ends: Course, looked_at: list[datetime], *, case: Case, slug: str
) -> None:
    """How it ended, by which calls, and when the worker looked."""
    assert_ending(cancellation, ends.ending)
    assert answers(cancellation) == list(ends.answers)
    calls = calls_of(cancellation)
    last = calls[-1].answer.answered_at
    after = [(when - last).total_seconds() for when in looked_at if when > last]
    assert after == pytest.approx(ends.reads, abs=1.5)
    pauses = [
        (later.started_at - earlier.answer.answered_at).total_seconds()
        for earlier, later in pairwise(calls)
    ]
    for pause, call, planned in zip(pauses, calls, SENT_AFTER, strict=False):
        if call.answer.kind == "not_sent":
            assert planned / 2 <= pause <= planned * 1.5 + 1
        if call.answer.kind == "limited":
            assert case.waits is not None
            assert pause == pytest.approx(case.waits[slug], abs=1)
        if call.answer.kind == "unknown":
            assert pause == pytest.approx(5, abs=1.5)
