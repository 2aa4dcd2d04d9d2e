"""
`kill -9` at each named point, at each provider, and what becomes of it.

Whatever happens: no success is shown that the provider did not confirm, where a repeat could mail
twice nothing is sent a second time, and no intent is lost or out of sight.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from appointments.domain import Gate
from appointments.models import Appointment, Cancellation
from appointments.models.cancellations import State
from appointments.providers.registry import PROVIDERS
from appointments.sandbox.core import Answer, Request, World
from tests.crash.stage import Stage
from tests.desk import SLUGS, answers, wait_until

REPEATED = frozenset(slug for slug in SLUGS if PROVIDERS[slug].capabilities.repeat_is_safe)
ONCE = frozenset(SLUGS) - REPEATED
LEASE_OVER = 61
READ_AGAIN = 70
LIFETIME_OVER = 11 * 60
QUIET_OVER = 17 * 60


@dataclass(frozen=True, kw_only=True)
class Case:
    """One booking whose cancellation lost its process."""

    slug: str
    row: Appointment
    form_key: str

    @property
    def cancellation(self) -> Cancellation:
        return Cancellation.objects.get(form_key=self.form_key)

    @property
    def state(self) -> State:
        return State(self.cancellation.state)

    def received(self, stage: Stage) -> int:
        """Requests to cancel this very booking that arrived."""
        found = [
            one
            for one in stage.desk.sandbox.log
            if (one.provider, one.operation) == (self.slug, "cancel")
        ]
        ids = [f"{one.path} {one.body}" for one in found]
        return sum(self.row.external_id in one for one in ids)

    def is_booked(self) -> bool:
        """Whether the provider itself shows it as booked."""
        client = self.row.connection.client(gate=Gate())
        try:
            seen = client.read(self.row.ref())
        finally:
            client.http.close()
        return seen is not None and seen.is_live


def test_the_providers_differ_in_what_may_be_repeated() -> None:
    assert {"mijnklantportaal", "huskyvoice"} == REPEATED
    assert {"meetergo", "carevalidate"} == ONCE


# --- the stage --------------------------------------------------------------------------------


def booked(stage: Stage, count: int) -> list[Case]:
    """*count* bookings at each provider, with the keys of their dialogs."""
    ids = [(slug, stage.desk.add(slug)) for slug in SLUGS for _ in range(count)]
    for slug in SLUGS:
        stage.desk.read(slug)
    return [
        Case(slug=slug, row=stage.desk.row(slug, found), form_key=str(uuid4()))
        for slug, found in ids
    ]


def ask(stage: Stage, case: Case) -> None:
    stage.desk.ask(case.row, form_key=case.form_key)


def killed_while_working(stage: Stage, at: str, count: int) -> list[Case]:
    """Each case's own worker is killed at *at*."""
    cases = booked(stage, count)
    for case in cases:
        ask(stage, case)
        stage.dies(stage.worker(at={at: "kill"}), at=at)
    return cases


def settle(stage: Stage, cases: list[Case], *states: State, seconds_ahead: int) -> None:
    """Let a worker that is well look at them, some time later, until all are in one of *states*."""
    with stage.at_work(seconds_ahead=seconds_ahead) as worker:
        worker.until(lambda: all(case.state in states for case in cases))


def become_unknown(stage: Stage, cases: list[Case], *, seconds_ahead: int) -> None:
    """Let a worker find out that theirs are gone; on a slow machine it reads some at once."""
    with stage.at_work(seconds_ahead=seconds_ahead) as worker:
        worker.until(lambda: all(case.cancellation.unknown_since for case in cases))


def is_done_once(stage: Stage, case: Case) -> None:
    assert case.state == State.CONFIRMED
    assert not case.is_booked()
    assert case.received(stage) == 1
    nobody_is_told_twice(stage, case.slug)


def nobody_is_told_twice(stage: Stage, slug: str) -> None:
    """All bookings of a test have the same people and words: one mail each for each booking."""
    confirmed = Cancellation.objects.filter(
        connection__provider=slug, state=State.CONFIRMED
    ).count()
    mails = Counter(f"{one['to']} {one['what']}" for one in stage.desk.mails(slug))
    assert set(mails.values()) <= {confirmed}


# --- the web ----------------------------------------------------------------------------------


def clicked_and_killed(stage: Stage, at: str, count: int) -> list[Case]:
    cases = booked(stage, count)
    for case in cases:
        process = stage.click(case.row, form_key=case.form_key, at={at: "kill"})
        stage.dies(process, at=at)
    return cases


def test_killed_before_the_intent_is_committed_nothing_happened(stage: Stage, kills: int) -> None:
    """The click is as if it had not been, and the same dialog can be sent again: one intent."""
    cases = clicked_and_killed(stage, "before intent commit", kills)
    assert not Cancellation.objects.filter(form_key__in=keys(cases)).exists()

    for case in cases:
        again = stage.click(case.row, form_key=case.form_key)
        assert again.wait() == 0, again.said
        assert again.told("ANSWERED")["to"] == case.cancellation.get_absolute_url()
    settle(stage, cases, State.CONFIRMED, seconds_ahead=0)

    for case in cases:
        is_done_once(stage, case)


def test_killed_after_the_intent_is_committed_it_is_carried_out_once(
    stage: Stage, kills: int
) -> None:
    """She saw no answer and sends the dialog again; the next worker finds one intent."""
    cases = clicked_and_killed(stage, "after intent commit", kills)
    assert {case.state for case in cases} == {State.REQUESTED}
    again = stage.click(cases[0].row, form_key=cases[0].form_key)
    assert again.wait() == 0, again.said
    assert Cancellation.objects.filter(form_key__in=keys(cases)).count() == len(cases)

    settle(stage, cases, State.CONFIRMED, seconds_ahead=0)

    for case in cases:
        is_done_once(stage, case)


def keys(cases: list[Case]) -> list[str]:
    return [case.form_key for case in cases]


# --- the worker, nothing sent -----------------------------------------------------------------


@pytest.mark.parametrize("at", ["after lease", "before claim", "before claim commit"])
def test_killed_before_the_claim_the_next_worker_sends_it(
    stage: Stage, kills: int, at: str
) -> None:
    cases = killed_while_working(stage, at, kills)
    assert {case.state for case in cases} == {State.REQUESTED}
    assert [answers(case.cancellation) for case in cases] == [[]] * len(cases)
    assert sum(case.received(stage) for case in cases) == 0

    settle(stage, cases, State.CONFIRMED, seconds_ahead=LEASE_OVER)

    for case in cases:
        is_done_once(stage, case)


@pytest.mark.parametrize("at", ["after claim", "before first byte", "after first byte"])
def test_killed_before_the_request_was_whole_only_a_harmless_repeat_is_sent(
    stage: Stage, kills: int, at: str
) -> None:
    """
    Nobody can know that nothing arrived, so it is *unknown* and is read.

    Where a repeat could mail twice, a person decides once the quiet period is over.
    """
    cases = killed_while_working(stage, at, kills)
    assert {case.state for case in cases} == {State.SENDING}
    assert [answers(case.cancellation) for case in cases] == [["-"]] * len(cases)

    assert sum(case.received(stage) for case in cases) == 0
    become_unknown(stage, cases, seconds_ahead=LEASE_OVER)

    again = [case for case in cases if case.slug in REPEATED]
    never = [case for case in cases if case.slug in ONCE]
    settle(stage, again, State.CONFIRMED, seconds_ahead=READ_AGAIN)
    assert {case.state for case in never} == {State.UNKNOWN}

    settle(stage, never, State.NEEDS_HUMAN, seconds_ahead=QUIET_OVER)
    for case in again:
        is_done_once(stage, case)
    for case in never:
        assert case.received(stage) == 0
        assert case.is_booked()
        assert case.cancellation.why == "still_booked"


def test_killed_after_the_claim_and_found_late_nothing_is_sent(stage: Stage) -> None:
    """After the lifetime not even a harmless repeat leaves: nobody expects it any more."""
    cases = killed_while_working(stage, "after claim", 1)

    become_unknown(stage, cases, seconds_ahead=LIFETIME_OVER)
    settle(stage, cases, State.NEEDS_HUMAN, seconds_ahead=LIFETIME_OVER + QUIET_OVER)

    for case in cases:
        assert case.received(stage) == 0
        assert case.is_booked()


# --- the worker, sent -------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["after last byte", "before answer stored", "before answer commit"])
def test_killed_after_the_request_a_read_confirms_it(stage: Stage, kills: int, at: str) -> None:
    cases = killed_while_working(stage, at, kills)
    for case in cases:
        wait_until(lambda case=case: not case.is_booked())  # type: ignore[misc]
    assert {case.state for case in cases} == {State.SENDING}
    assert [answers(case.cancellation) for case in cases] == [["-"]] * len(cases)

    become_unknown(stage, cases, seconds_ahead=LEASE_OVER)
    settle(stage, cases, State.CONFIRMED, seconds_ahead=READ_AGAIN)

    for case in cases:
        is_done_once(stage, case)
        assert case.cancellation.why == "seen_cancelled"


@pytest.fixture
def held_up(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Each provider carries its first cancellation out only when this is set."""
    released, seen, apply = threading.Event(), set[str](), stage.desk.sandbox.apply

    def late(world: World, request: Request) -> Answer:
        if world.operation(request) == "cancel" and world.slug not in seen:
            seen.add(world.slug)
            released.wait(60)
        return apply(world, request)

    monkeypatch.setattr(stage.desk.sandbox, "apply", late)
    yield released
    released.set()


def test_killed_while_the_provider_is_slow_a_read_that_is_too_early_proves_nothing(
    stage: Stage, held_up: threading.Event
) -> None:
    """
    The first reads still show it booked, because the request is under way.

    Only where a second one is harmless it leaves; nobody is told twice anywhere.
    """
    cases = killed_while_working(stage, "after last byte", 1)
    again = [case for case in cases if case.slug in REPEATED]
    never = [case for case in cases if case.slug in ONCE]

    become_unknown(stage, cases, seconds_ahead=LEASE_OVER)
    settle(stage, again, State.CONFIRMED, seconds_ahead=READ_AGAIN)
    assert {case.state for case in never} == {State.UNKNOWN}
    assert all(case.is_booked() for case in never)
    held_up.set()
    for case in never:
        wait_until(lambda case=case: not case.is_booked())  # type: ignore[misc]
    settle(stage, never, State.CONFIRMED, seconds_ahead=QUIET_OVER)

    for case in cases:
        assert case.received(stage) == (2 if case.slug in REPEATED else 1)
        assert not case.is_booked()
        nobody_is_told_twice(stage, case.slug)


def test_killed_after_the_answer_is_stored_it_stays_confirmed(stage: Stage, kills: int) -> None:
    cases = killed_while_working(stage, "after answer stored", kills)
    assert {case.state for case in cases} == {State.CONFIRMED}

    (other,) = booked(stage, 1)[:1]
    ask(stage, other)
    settle(stage, [other], State.CONFIRMED, seconds_ahead=READ_AGAIN)

    for case in cases:
        is_done_once(stage, case)


# --- all at once ------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["before first byte", "after last byte"])
def test_killed_with_more_under_way_than_may_be_every_intent_ends(stage: Stage, at: str) -> None:
    """Four of each connection were being worked on somehow, and two stood back for them."""
    cases = booked(stage, 6)
    for case in cases:
        ask(stage, case)
    stage.dies(stage.worker(at={at: "kill"}), at=at)

    for seconds_ahead in (LEASE_OVER, READ_AGAIN, 85, 100, QUIET_OVER, QUIET_OVER + 15):
        with stage.at_work(seconds_ahead=seconds_ahead) as worker:
            worker.until(lambda ahead=seconds_ahead: not anything_due(ahead))  # type: ignore[misc]

    for case in cases:
        assert case.state == (State.NEEDS_HUMAN if case.is_booked() else State.CONFIRMED)
        assert case.state == State.CONFIRMED or case.slug in ONCE
        assert case.received(stage) <= (2 if case.slug in REPEATED else 1)
    for slug in SLUGS:
        nobody_is_told_twice(stage, slug)


def anything_due(seconds_ahead: int) -> bool:
    """Whether somebody should look at a row then, or is looking at one."""
    then = timezone.now() + timedelta(seconds=seconds_ahead)
    return Cancellation.objects.filter(due_at__lte=then).exists()
