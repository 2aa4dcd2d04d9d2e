"""
Histories worth telling: ones that once failed, and ones that chance seldom tells.

Each is a history of the machine, step by step, with the properties checked after every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from appointments.models import Cancellation
from appointments.models.cancellations import State
from tests.properties.histories import (
    CareValidateHistories,
    Ground,
    Histories,
    HuskyVoiceHistories,
    MeetergoHistories,
    MijnKlantportaalHistories,
)

FIRST = ("anna", 0, "whole", 0)
MACHINES = [
    MijnKlantportaalHistories,
    MeetergoHistories,
    CareValidateHistories,
    HuskyVoiceHistories,
]


@contextmanager
def telling(machine: type[Histories], ground: Ground) -> Iterator[Callable[..., None]]:
    """A history, told by calling `then` with a rule of *machine* and what it takes."""
    machine.ground = ground
    history = machine()

    def then(rule: str, *args: Any, **named: Any) -> None:
        getattr(history, rule)(*args, **named)
        history.properties_hold()

    try:
        yield then
    finally:
        history.teardown()


def the_state() -> State:
    return State(Cancellation.objects.get().state)


@pytest.mark.parametrize("machine", MACHINES)
def test_a_lost_worker_noticed_late_and_a_silent_provider_reach_a_person_in_time(
    machine: type[Histories], ground: Ground
) -> None:
    """Found: it stayed *unknown* for three quarters of an hour instead of half an hour."""
    with telling(machine, ground) as then:
        then("begin", rude=False, clicks=FIRST, mishap="", works=0)
        then("work_and_die_on_the_wire", number=0, moment="cancel before")
        then("wait", seconds=130)
        then("work_for_half_an_hour", weather="500")
        assert the_state() == State.NEEDS_HUMAN


@pytest.mark.parametrize("machine", MACHINES)
def test_a_request_carried_out_long_after_its_answer_was_lost_is_confirmed(
    machine: type[Histories], ground: Ground
) -> None:
    """The read says "still booked" all the while, and proves nothing."""
    with telling(machine, ground) as then:
        then("begin", rude=True, clicks=FIRST, mishap="timeout, done later", works=1)
        then("reads_go_wrong", slug=0, weather="500")  # so that none asks for a harmless repeat
        then("wait", seconds=400)
        then("work", number=0)
        assert the_state() == State.UNKNOWN
        then("act_late", number=0)
        then("reads_go_wrong", slug=0, weather="")
        then("work_for_half_an_hour", weather="")
        assert the_state() == State.CONFIRMED


@pytest.mark.parametrize("machine", MACHINES)
def test_an_answer_that_the_database_cannot_take_comes_back_and_counts(
    machine: type[Histories], ground: Ground
) -> None:
    with telling(machine, ground) as then:
        then("begin", rude=True, clicks=FIRST, mishap="", works=0)
        then("work_and_have_no_database_for_the_answer", number=0)
        assert the_state() == State.SENDING
        then("bring_back_what_was_kept")
        then("work", number=0, times=2)
        assert the_state() == State.CONFIRMED


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("statement", range(2, 42, 8))
def test_a_worker_killed_anywhere_leaves_what_the_next_one_understands(
    machine: type[Histories], statement: int, ground: Ground
) -> None:
    with telling(machine, ground) as then:
        then("begin", rude=True, clicks=FIRST, mishap="", works=0)
        then("work_and_die_at_a_statement", number=0, statement=statement)
        then("wait", seconds=61)
        then("work_for_half_an_hour", weather="")
        assert the_state() not in (State.REQUESTED, State.SENDING, State.UNKNOWN)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("mishap", ["reset", "answer lost"])
def test_what_vanishes_is_never_shown_as_cancelled(
    machine: type[Histories], mishap: str, ground: Ground
) -> None:
    """Absence is no proof, neither for the intent nor in the list."""
    with telling(machine, ground) as then:
        then("begin", rude=False, clicks=FIRST, mishap=mishap, works=1)
        then("somebody_changes_it_there", number=0, what="vanish")
        then("sync", slug=0)
        then("work", number=0)
        then("sync", slug=0)
        then("work_for_half_an_hour", weather="")
        assert the_state() == State.NEEDS_HUMAN


@pytest.mark.parametrize("machine", MACHINES)
def test_a_listing_that_began_before_a_success_opens_nothing_again(
    machine: type[Histories], ground: Ground
) -> None:
    """The provider confirms while its listing, made before, is on its way to us."""
    with telling(machine, ground) as then:
        then("begin", rude=True, clicks=FIRST, mishap="", works=0)
        then("meanwhile", moment="read after", what="work", number=0, seconds=0)
        then("sync", slug=0)
        assert the_state() == State.CONFIRMED
        then("cancel", ("bas", 0, "whole", 0), "", 2)
        assert the_state() == State.CONFIRMED


@pytest.mark.parametrize("machine", MACHINES)
def test_nobody_can_judge_while_a_request_may_still_act(
    machine: type[Histories], ground: Ground
) -> None:
    with telling(machine, ground) as then:
        then("begin", rude=True, clicks=FIRST, mishap="timeout, done later", works=2)
        then("settle_by_hand", who="bas", number=0)
        then("send_again", who="bas", number=0)
        then("act_late", number=0)
        then("work_for_half_an_hour", weather="")
        assert the_state() == State.CONFIRMED


@pytest.mark.parametrize("machine", MACHINES)
def test_whoever_may_no_longer_cancel_has_nothing_sent(
    machine: type[Histories], ground: Ground
) -> None:
    with telling(machine, ground) as then:
        then("begin", rude=False, clicks=FIRST, mishap="", works=0)
        then("change_permission", who="anna", may=False)
        then("work", number=0)
        assert the_state() == State.WITHDRAWN
