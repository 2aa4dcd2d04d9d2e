"""What the database itself holds, whoever writes to it."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone

from appointments.models import (
    Cancellation,
    CancellationEvent,
    ProviderAnswer,
    ProviderCall,
    ledger_triggers,
)
from appointments.models.cancellations import (
    AFTER_AN_UNKNOWN_CALL,
    OPEN,
    TRANSITIONS,
    Event,
    IllegalTransition,
    State,
)
from tests.desk import Desk


@pytest.fixture
def done(desk: Desk) -> Cancellation:
    return desk.cancel(desk.book("meetergo"))


@pytest.mark.parametrize("model", [ProviderCall, ProviderAnswer, CancellationEvent])
def test_ledger_rows_refuse_change_and_removal(model: type, done: Cancellation) -> None:
    """Insert-only, by the database: not even raw SQL may touch them."""
    table = model._meta.db_table  # type: ignore[attr-defined]
    for statement in (f"UPDATE {table} SET id = id + 1000", f"DELETE FROM {table}"):  # noqa: S608
        with (
            pytest.raises(DatabaseError, match="insert-only"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)


@pytest.mark.django_db
def test_a_missing_trigger_fails_the_check_and_migrate_brings_it_back() -> None:
    with connection.cursor() as cursor:
        name = "appointments_providercall_no_update"
        on = " ON appointments_providercall" if connection.vendor == "postgresql" else ""
        cursor.execute(f"DROP TRIGGER {name}{on}")

    found = ledger_triggers.check_triggers(None, ["default"])
    assert [one.id for one in found] == ["appointments.E001"]

    call_command("migrate", verbosity=0, interactive=False)
    assert ledger_triggers.missing() == []


def test_two_open_cancellations_of_one_booking_are_refused(desk: Desk) -> None:
    first = desk.ask(desk.book("meetergo"))
    first.pk, first.form_key = None, uuid4()

    with pytest.raises(IntegrityError), transaction.atomic():
        first.save(force_insert=True)


def test_the_same_form_key_twice_is_refused(done: Cancellation) -> None:
    done.pk = None

    with pytest.raises(IntegrityError), transaction.atomic():
        done.save(force_insert=True)


def test_an_open_cancellation_without_a_due_time_is_refused(desk: Desk) -> None:
    """Nothing can be forgotten: what is open has a time at which somebody looks."""
    cancellation = desk.ask(desk.book("meetergo"))

    with pytest.raises(IntegrityError), transaction.atomic():
        Cancellation.objects.filter(pk=cancellation.pk).update(due_at=None)


def test_a_second_answer_to_one_call_is_refused(done: Cancellation) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        ProviderAnswer.objects.create(
            call=done.calls.get(), kind="refused", answered_at=timezone.now()
        )


@pytest.mark.parametrize("state", sorted(set(State) - OPEN))
def test_terminal_states_have_no_way_out(state: State) -> None:
    for table in (TRANSITIONS, AFTER_AN_UNKNOWN_CALL):
        assert not [event for start, event in table if start == state]


@pytest.mark.parametrize(("start", "event"), sorted(AFTER_AN_UNKNOWN_CALL))
def test_after_an_unknown_call_nothing_proves_that_it_was_not_cancelled(
    start: State, event: Event
) -> None:
    """It goes on being unknown or is confirmed; it never becomes refused, withdrawn or not sent."""
    assert (start, event) in TRANSITIONS
    assert AFTER_AN_UNKNOWN_CALL[start, event] in (State.UNKNOWN, State.CONFIRMED)


def test_every_end_without_success_is_overridden_after_an_unknown_call() -> None:
    verdicts = {State.NOT_SENT, State.WITHDRAWN, State.REFUSED, State.ALREADY}
    leading_there = {step for step, to in TRANSITIONS.items() if to in verdicts}

    assert leading_there == set(AFTER_AN_UNKNOWN_CALL)


def test_a_row_that_has_moved_on_is_not_moved_again(desk: Desk) -> None:
    """Two workers with the same row in hand: the second finds that it is too late."""
    cancellation = desk.ask(desk.book("meetergo"))
    stale = Cancellation.objects.get(pk=cancellation.pk)
    cancellation.apply(Event.TAKEN_BACK, why="taken_back")

    with pytest.raises(IllegalTransition):
        stale.apply(Event.LIFETIME_OVER, why="lifetime_over")
    assert cancellation.events.count() == 2
