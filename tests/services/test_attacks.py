"""Attacks on batches, lanes, limits and the file of answers that succeeded once."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from appointments.domain import ProviderError
from appointments.models import (
    Appointment,
    Batch,
    Cancellation,
    Connection,
    ProviderAnswer,
    RequestBudget,
)
from appointments.models.cancellations import IllegalTransition, State
from appointments.models.secrets import CannotDecrypt
from appointments.providers.meetergo import Meetergo
from appointments.services import batch as batches
from appointments.services import lanes, limits, send, spill
from appointments.services.limits import Pace, Urgency
from appointments.services.sweep import sweep
from appointments.wording import batch_notice
from tests.desk import Desk, answers
from tests.services.test_batch import ask, lane, several, states, work

postgres_only = pytest.mark.skipif("connection.vendor != 'postgresql'")


def begin(pk: int) -> None:
    """As `call_in` does for one."""
    Cancellation.objects.filter(pk=pk).update(due_at=timezone.now(), why="")


def first_of(batch: Batch) -> Cancellation:
    return batch.cancellations.order_by("pk")[0]


# --- stop ---------------------------------------------------------------------------------------


def test_stop_holds_for_one_that_was_turned_away(desk: Desk, monkeypatch: Any) -> None:
    """On its way while somebody presses stop, turned away as busy: it is sent again after all."""
    batch = ask(desk, several(desk, "meetergo", 2))
    desk.fault("meetergo", "status", status=429, body={}, headers={"Retry-After": "5"})
    cancel, one = send._send, first_of(batch)

    def stopped_meanwhile(*args: Any, **how: Any) -> Any:
        batches.stop(batch, by=desk.staff)
        return cancel(*args, **how)

    begin(one.pk)
    with monkeypatch.context() as patch:
        patch.setattr(send, "_send", stopped_meanwhile)
        send.process(one.pk)
    before = len(desk.received("meetergo"))
    with time_machine.travel(timezone.now() + timedelta(seconds=8), tick=True):
        sweep()
        work(batch)

    assert len(desk.received("meetergo")) == before == 1, "sent again after the stop"


def test_stop_holds_for_the_repeat_of_an_unknown_one(desk: Desk) -> None:
    """Unknown when somebody presses stop; the read shows it booked and it is sent once more."""
    batch = ask(desk, several(desk, "mijnklantportaal", 2))
    desk.fault("mijnklantportaal", "reset", operation="cancel")
    begin(first_of(batch).pk)
    send.process(first_of(batch).pk)
    assert first_of(batch).state == State.UNKNOWN

    batches.stop(batch, by=desk.staff)
    with time_machine.travel(timezone.now() + timedelta(seconds=40), tick=True):
        sweep()
        work(batch)

    assert len(desk.received("mijnklantportaal")) == 1, "sent again after the stop"


def test_stop_holds_from_its_first_commit_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is killed in the middle: nothing more leaves, and the sweep takes it all back."""
    batch = ask(desk, several(desk, "meetergo", 5))
    begin(first_of(batch).pk)

    def killed() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(batches, "finish_stops", killed)
        with pytest.raises(KeyboardInterrupt):
            batches.stop(batch, by=desk.staff)
    work(batch)
    assert desk.received("meetergo") == []

    sweep()
    assert states(batch) == ["withdrawn"] * 5


# --- pausing ------------------------------------------------------------------------------------


def test_an_absurd_retry_after_pauses_or_closes(desk: Desk, settings: Any) -> None:
    """429 with a figure we do not believe: all 20 rows are tried at once, all end as not sent."""
    settings.PROVIDER_PACING = True
    rows = several(desk, "meetergo", 12)
    RequestBudget.objects.all().delete()
    how = {"status": 429, "body": {}, "headers": {"Retry-After": "31536000"}, "times": None}
    desk.fault("meetergo", "status", operation="read", **how)
    batch = ask(desk, rows)
    begun = timezone.now()
    before = len(desk.received("meetergo", "read"))
    end = time.monotonic() + 3
    while time.monotonic() < end:
        work(batch)

    asked = len(desk.received("meetergo", "read")) - before
    took = (timezone.now() - begun).total_seconds()
    assert asked <= 4, f"{asked} requests in {took:.0f} s after the first 429: {states(batch)}"


def test_lost_workers_pause_a_lane(desk: Desk) -> None:
    """The worker is killed at each answer: two outcomes that nobody knows are enough."""
    batch = ask(desk, several(desk, "meetergo", 6))
    later = timezone.now()
    for number in range(2):
        one = batch.cancellations.order_by("pk")[number]
        with time_machine.travel(later, tick=True):
            begin(one.pk)
            held = send._lease(one.pk)
            assert held is not None
            send._claim(held, held=held.lease_key, looked_at=timezone.now())
        later += timedelta(seconds=62)
        with time_machine.travel(later, tick=True):
            send.process(one.pk)

    assert states(batch).count("unknown") == 2
    assert lane(batch, "meetergo").paused_why == "unknown"


def test_a_lost_key_pauses_at_once(desk: Desk) -> None:
    """No request is made, so no pace would hold the rows that fail again and again."""
    rows = several(desk, "meetergo", 30)
    Connection.objects.filter(provider="meetergo").update(sealed_credentials="rubbish")
    batch = ask(desk, rows)
    for _ in range(20):
        lanes.call_in(desk.connection("meetergo").pk)
        for pk in Cancellation.objects.due(timezone.now()).values_list("pk", flat=True):
            with suppress(CannotDecrypt):
                send.process(pk)

    assert lane(batch, "meetergo").paused_why == "refused"
    assert batch.cancellations.filter(why="cannot_decrypt").count() <= 1


# --- held up ------------------------------------------------------------------------------------


def test_nothing_leaves_long_after_its_claim(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that hangs between claim and sending has lost its lease: others have gone on."""
    one = desk.ask(desk.book("meetergo"))
    real = send._send

    def late(*args: Any, **how: Any) -> Any:
        with time_machine.travel(timezone.now() + timedelta(seconds=21), tick=True):
            return real(*args, **how)

    monkeypatch.setattr(send, "_send", late)
    desk.work(one)

    assert desk.received("meetergo") == []
    assert answers(one) == ["not_sent"]


def test_nothing_is_sent_on_an_old_look(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that hangs between look and claim looks again, though nobody took its place."""
    one = desk.ask(desk.book("meetergo"))
    look = send._look

    def late(*args: Any) -> Any:
        seen = look(*args)
        clock.shift(timedelta(seconds=70))
        return seen

    with time_machine.travel(timezone.now(), tick=False) as clock:
        with monkeypatch.context() as patch:
            patch.setattr(send, "_look", late)
            desk.work(one)
        assert (one.state, answers(one)) == (State.REQUESTED, [])

        assert desk.work(one).state == State.CONFIRMED


def test_nothing_is_asked_of_the_database_between_claim_and_sending(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round trip there may hang for as long as it likes."""
    one = desk.ask(desk.book("meetergo"))
    claim, cancel = send._claim, Meetergo.cancel
    asked: list[str] = []

    def watched(*args: Any, **how: Any) -> Any:
        call = claim(*args, **how)
        monkeypatch.setattr(limits._Budgeted, "_pay", lambda self: asked.append("paid"))
        return call

    def sent(self: Any, request: Any) -> Any:
        with CaptureQueriesContext(connection) as queries:
            answer = cancel(self, request)
        asked.extend(one["sql"] for one in queries.captured_queries)
        return answer

    monkeypatch.setattr(send, "_claim", watched)
    monkeypatch.setattr(Meetergo, "cancel", sent)
    desk.work(one)

    assert one.state == State.CONFIRMED
    assert asked == []


# --- turns --------------------------------------------------------------------------------------


def test_an_unknown_one_gets_its_read_while_a_batch_runs(desk: Desk, settings: Any) -> None:
    """Room that becomes free always goes to the batch; the read is pushed away 10 s each time."""
    settings.CANCELS_IN_FLIGHT = 1
    *rows, other = several(desk, "meetergo", 6)
    desk.fault("meetergo", "lose_answer", operation="cancel")
    unknown = desk.cancel(other)
    assert unknown.state == State.UNKNOWN
    batch = ask(desk, rows)
    account = desk.connection("meetergo").pk
    lanes.call_in(account)
    clock = timezone.now() + timedelta(minutes=1)
    tries = 0
    for _ in range(4):
        # A slow provider: each cancellation is under way for ten seconds.
        with time_machine.travel(clock, tick=True):
            pk = batch.cancellations.filter(due_at__lte=clock, state="requested").first()
            held = send._lease(pk.pk) if pk is not None else None
            if held is None:
                break  # The read goes first.
        clock += timedelta(seconds=10)
        with time_machine.travel(clock, tick=True):
            tries += 1
            send.process(unknown.pk)  # it is due, the sweep wakes it
            send._advance(held)
            Cancellation.objects.filter(pk=held.pk).update(lease_key=None, lease_until=None)
            lanes.call_in(account)
        clock += timedelta(milliseconds=200)
    with time_machine.travel(clock, tick=True):
        send.process(unknown.pk)
    unknown.refresh_from_db()
    assert unknown.state == State.CONFIRMED, f"{tries} times due, never read"


def test_a_second_batch_may_live_until_its_turn(desk: Desk) -> None:
    """Its lifetime counts only its own rows: whoever waits behind another batch expires first."""
    rows = several(desk, "huskyvoice", 30)
    first, second = ask(desk, rows[:25]), ask(desk, rows[25:])
    turn = Pace.of(desk.connection("huskyvoice")).interval * limits.WORK_COSTS
    # As with 300 in front: the same 13 minutes.
    ahead = 300 * turn
    assert ahead > timedelta(minutes=10)
    behind_all = first.cancellations.latest("expires_at").expires_at
    assert first_of(second).expires_at > behind_all


def test_no_minute_of_a_batch_sees_more_than_allowed(desk: Desk, settings: Any) -> None:
    """Four begin at once where there is room for one; with a second look each pays three."""
    settings.PROVIDER_PACING = True
    rows = several(desk, "huskyvoice", 70)
    account = desk.connection("huskyvoice")
    RequestBudget.objects.all().delete()
    times: list[datetime] = []
    # By then all are over: refused, and looked at a second time.
    start = timezone.now() + timedelta(days=16)
    with time_machine.travel(start, tick=False) as clock, pytest.MonkeyPatch.context() as patch:
        admit = limits._Budgeted.admit

        def noted(self: Any) -> None:
            admit(self)
            times.append(timezone.now())

        patch.setattr(limits._Budgeted, "admit", noted)
        soon = start + timedelta(days=3)
        Appointment.objects.update(starts_at=soon, ends_at=soon, sorts_at=soon)
        batch = ask(desk, list(Appointment.objects.select_related("connection")[: len(rows)]))
        while timezone.now() < start + timedelta(minutes=2):
            lanes.call_in(account.pk)
            held = [
                send._lease(pk)
                for pk in Cancellation.objects.due(timezone.now()).values_list("pk", flat=True)
            ]
            for one in filter(None, held):
                with suppress(ProviderError, IllegalTransition):
                    send._advance(one)
                Cancellation.objects.filter(pk=one.pk).update(lease_key=None, lease_until=None)
            clock.shift(timedelta(milliseconds=100))
    busiest = max(sum(s <= one < s + timedelta(minutes=1) for one in times) for s in times)
    allowed = account.capabilities.requests_per_minute
    assert busiest <= allowed, f"{busiest} in a minute; {states(batch)[:3]}"


def test_reads_of_unknown_ones_keep_to_the_limit(desk: Desk, settings: Any) -> None:
    settings.PROVIDER_PACING = True
    rows = several(desk, "huskyvoice", 70)
    account = desk.connection("huskyvoice")
    batch = ask(desk, rows)
    Cancellation.objects.update(
        state="needs_human",
        unknown_since=timezone.now() - timedelta(hours=1),
        why="still_booked",
        due_at=timezone.now(),
    )
    RequestBudget.objects.all().delete()
    before = len(desk.received("huskyvoice", "*"))
    begun = time.monotonic()
    for one in batch.cancellations.all():
        send.process(one.pk)
    took = time.monotonic() - begun
    asked = len(desk.received("huskyvoice", "*")) - before
    left = limits.wait_for_work(account)
    assert asked <= 60, f"{asked} requests in {took:.0f} s; a click now waits {left}"


# --- clock --------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["paid_until", "closed_until"])
def test_a_clock_that_was_ahead_does_not_close_a_connection(
    desk: Desk, settings: Any, field: str
) -> None:
    settings.PROVIDER_PACING = True
    one = desk.book("meetergo")
    account = desk.connection("meetergo")
    with time_machine.travel(timezone.now() + timedelta(hours=3), tick=True):
        gate = limits.client(account, Urgency.WORK).http.gate
        gate.admit()
        if field == "closed_until":
            RequestBudget.objects.update(paid_until=None)
            gate.turned_away(timedelta(seconds=30))
    asked = desk.cancel(one)

    assert asked.state == State.CONFIRMED, (asked.why, str(limits.wait_for_work(account)))


def test_a_short_retry_after_does_not_open_a_closed_connection(desk: Desk) -> None:
    account = desk.connection("meetergo")
    gate = limits.client(account, Urgency.WORK).http.gate
    gate.admit()
    gate.turned_away(timedelta(seconds=100))
    gate.turned_away(timedelta(seconds=1))  # another request that was on its way
    assert limits.wait_for_work(account) > timedelta(seconds=60)


# --- words --------------------------------------------------------------------------------------


def test_not_all_are_cancelled_while_one_is_contradicted(desk: Desk) -> None:
    batch = ask(desk, several(desk, "meetergo", 2))
    work(batch)
    batch.cancellations.filter(pk=first_of(batch).pk).update(contradicted_at=timezone.now())
    notice = batch_notice(batch, batches.progress(batch), is_paused=False)
    assert notice.title != "All are cancelled"


def test_not_all_are_cancelled_if_some_were_left_out(desk: Desk) -> None:
    """She ticked three and pressed Cancel 3; two changed since and were left out."""
    rows = several(desk, "meetergo", 3)
    Appointment.objects.filter(pk__in=[one.pk for one in rows[:2]]).update(version="other")
    batch = ask(desk, rows)
    work(batch)
    notice = batch_notice(batch, batches.progress(batch), is_paused=False)
    assert notice.title != "All are cancelled", (notice.sentence, len(batch.excluded))


# --- the file -----------------------------------------------------------------------------------


class Stopping:
    def __init__(self, beats: int) -> None:
        self.left = beats

    def wait(self, _seconds: float) -> bool:
        self.left -= 1
        return self.left <= 0


@pytest.fixture
def kept(tmp_path: Path, settings: Any) -> Path:
    settings.ANSWERS_FILE = tmp_path / "answers.jsonl"
    return tmp_path / "answers.jsonl"


def beat_with(kept: Path, monkeypatch: Any) -> list[int]:
    from appointments.management.commands import worker

    swept: list[int] = []
    monkeypatch.setattr(worker, "close_old_connections", lambda: None)
    monkeypatch.setattr(worker, "sweep", lambda: swept.append(1))
    monkeypatch.setattr("appointments.management.commands.worker.connection.close", lambda: None)
    worker._beat(Stopping(3))  # type: ignore[arg-type]
    return swept


def test_a_file_that_cannot_be_opened_does_not_end_the_heartbeat(
    db: None, kept: Path, monkeypatch: Any
) -> None:
    """Another user's file, a folder, a read-only disk: any OSError kills the pulse for good."""
    kept.mkdir()
    (kept / "x").write_text("x")
    assert len(beat_with(kept, monkeypatch)) == 3


@pytest.mark.parametrize(
    "line",
    [
        '{"call": %d, "kind": "nonsense", "answered_at": "2026-12-07T12:00:00+00:00"}',
        '{"call": %d, "kind": "ok", "extra": 1, "answered_at": "2026-12-07T12:00:00+00:00"}',
        '{"call": %d, "kind": "ok", "said": "\\ud800", "answered_at": "2026-12-07T12:00:00+00:00"}',
        '{"call": %d, "kind": "ok", "status": "x", "answered_at": "2026-12-07T12:00:00+00:00"}',
    ],
)
def test_a_bad_line_does_not_block_the_file(
    desk: Desk, kept: Path, monkeypatch: Any, line: str
) -> None:
    one = desk.ask(desk.book("meetergo"))
    held = send._lease(one.pk)
    assert held is not None
    call = send._claim(held, held=held.lease_key, looked_at=timezone.now())
    kept.write_text(line % call.pk + "\n")
    assert len(beat_with(kept, monkeypatch)) == 3


def test_an_earlier_answer_does_not_take_the_lease_of_a_later_call(desk: Desk, kept: Path) -> None:
    """Call 1's answer comes back while another worker sends call 2: that one's lease ends."""
    one = desk.ask(desk.book("mijnklantportaal"))
    held = send._lease(one.pk)
    assert held is not None
    first = send._claim(held, held=held.lease_key, looked_at=timezone.now())
    spill.keep(ProviderAnswer(call=first, kind="unknown", answered_at=timezone.now()))
    with time_machine.travel(timezone.now() + timedelta(seconds=61), tick=True):
        send.process(one.pk)  # unknown
        with time_machine.travel(timezone.now() + timedelta(seconds=6), tick=True):
            send.process(one.pk)  # still booked: repeat is due
            again = send._lease(one.pk)
            assert again is not None
            assert again.state == State.REQUESTED
            send._claim(again, held=again.lease_key, looked_at=timezone.now())
            spill.bring_back()
            one.refresh_from_db()
            assert one.lease_until is not None
            assert one.lease_until > timezone.now() + timedelta(seconds=30)


def test_a_confirmation_that_comes_after_a_verdict_is_seen(desk: Desk, kept: Path) -> None:
    """Settled by hand as still booked; then the file brings the provider's own yes."""
    one = desk.ask(desk.book("meetergo"))
    held = send._lease(one.pk)
    assert held is not None
    call = send._claim(held, held=held.lease_key, looked_at=timezone.now())
    spill.keep(ProviderAnswer(call=call, kind="ok", answered_at=timezone.now()))
    Cancellation.objects.filter(pk=one.pk).update(
        state="settled",
        why="judged_still_booked",
        due_at=None,
        settled_at=timezone.now(),
        unknown_since=timezone.now(),
        settled_by=desk.staff,
    )
    spill.bring_back()
    one.refresh_from_db()
    seen = Cancellation.objects.for_people(timezone.now()).filter(pk=one.pk).exists()
    assert seen or one.state == State.CONFIRMED, (one.state, one.why, answers(one))


def test_a_missing_folder_is_found_at_the_start_not_at_the_loss(
    desk: Desk, settings: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    settings.ANSWERS_FILE = tmp_path / "not" / "there" / "answers.jsonl"
    one = desk.ask(desk.book("meetergo"))

    def gone(*_: object, **__: object) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(send, "RECORD_FOR", 0.1)
    monkeypatch.setattr(send, "_record_and_move", gone)
    with pytest.raises(OperationalError):
        send.process(one.pk)
    assert (tmp_path / "not" / "there" / "answers.jsonl").exists()


# --- PostgreSQL ---------------------------------------------------------------------------------


def in_thread(work: Any) -> tuple[threading.Thread, list[BaseException]]:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread, errors


@postgres_only
def test_a_single_click_and_a_batch_do_not_deadlock(
    transactional_db: None, desk: Desk, monkeypatch: Any
) -> None:
    """The click locks the row, then needs the connection (foreign key); the batch the other way."""
    from appointments.services import cancel

    rows = several(desk, "huskyvoice", 2)
    has_row, errors_all = threading.Event(), []
    conflict_of = cancel.conflict_of

    def slow(row: Any, **how: Any) -> Any:
        has_row.set()
        time.sleep(1.0)
        return conflict_of(row, **how)

    monkeypatch.setattr(cancel, "conflict_of", slow)
    one, errors_one = in_thread(lambda: desk.ask(rows[0]))
    assert has_row.wait(5)
    two, errors_two = in_thread(lambda: ask(desk, rows))
    one.join(20)
    two.join(20)
    errors_all = errors_one + errors_two
    assert errors_all == [], errors_all


@postgres_only
def test_a_listing_and_a_batch_do_not_deadlock(
    transactional_db: None, desk: Desk, monkeypatch: Any
) -> None:
    from appointments.services import records

    rows = several(desk, "huskyvoice", 2)
    desk.add("huskyvoice")  # new: its insert needs the connection's row
    write, has_rows = records._write, threading.Event()

    def slow(*args: Any) -> Any:
        has_rows.set()
        time.sleep(1.0)
        return write(*args)

    monkeypatch.setattr(records, "_write", slow)
    one, errors_one = in_thread(lambda: desk.read("huskyvoice"))
    assert has_rows.wait(5)
    two, errors_two = in_thread(lambda: ask(desk, rows))
    one.join(20)
    two.join(20)
    assert errors_one + errors_two == []


@postgres_only
def test_a_task_that_comes_twice_costs_nothing(
    transactional_db: None, desk: Desk, settings: Any
) -> None:
    """The second one waits for the lock with what it knew before, and clears the first's lease."""
    settings.CANCELS_IN_FLIGHT = 1
    one = desk.ask(desk.book("meetergo"))
    account = desk.connection("meetergo")
    with transaction.atomic():
        Connection.objects.select_for_update().get(pk=account.pk)
        got: list[Any] = []
        two = [in_thread(lambda: got.append(send._lease(one.pk))) for _ in range(2)]
        time.sleep(1)
    for thread, _ in two:
        thread.join(10)
    leased = [g for g in got if g is not None]
    one.refresh_from_db()
    assert len(leased) == 1
    assert one.lease_key == leased[0].lease_key, (one.lease_key, one.why)


@pytest.mark.parametrize("sweeps", [20])
def test_sweeps_do_not_enqueue_the_same_call_without_end(
    desk: Desk, monkeypatch: Any, sweeps: int
) -> None:
    """A closed connection, one that waits: each sweep (5 s, each worker) books another call."""
    from appointments.services import queue

    one = desk.ask(desk.book("meetergo"))
    lanes.stand_back(one)
    account = desk.connection("meetergo")
    gate = limits.client(account, Urgency.WORK).http.gate
    gate.turned_away(timedelta(seconds=110))
    booked: list[Any] = []
    monkeypatch.setattr(queue, "_enqueue", lambda *a: booked.append(a))
    monkeypatch.setattr(transaction, "on_commit", lambda f, **_: f())
    for _ in range(sweeps):
        sweep()
    calls = [b for b in booked if "call_in" in b[0]]
    assert len(calls) <= 2, f"{len(calls)} tasks for the same moment in {sweeps} sweeps"


def test_switched_off_and_permission_removed_in_mid_batch(desk: Desk, colleague: Any) -> None:
    mine, theirs = several(desk, "meetergo", 3), several(desk, "huskyvoice", 3)
    first, second = ask(desk, mine), ask(desk, theirs, by=colleague)
    colleague.groups.clear()
    Connection.objects.filter(provider="meetergo").update(is_active=False)
    work(first)
    work(second)
    assert states(first) == ["not_sent"] * 3
    assert states(second) == ["withdrawn"] * 3
    assert desk.received("meetergo") == desk.received("huskyvoice") == []


def test_resumed_twice_and_after_the_stop(desk: Desk) -> None:
    """Nothing is left that could go on."""
    rows = several(desk, "meetergo", 6)
    desk.fault("meetergo", "lose_answer", times=2)
    batch = ask(desk, rows)
    work(batch)
    assert lane(batch, "meetergo").paused_at
    batches.stop(batch, by=desk.staff)
    batches.resume(batch, desk.connection("meetergo"), by=desk.staff)
    batches.resume(batch, desk.connection("meetergo"), by=desk.staff)
    with time_machine.travel(timezone.now() + timedelta(minutes=1), tick=True):
        sweep()
        work(batch)
    assert len(desk.received("meetergo")) == 2


@pytest.mark.parametrize("quota", [0, 1, 2**31 - 1])
def test_quotas(desk: Desk, quota: int) -> None:
    from appointments.services.sync import sync

    connection_ = desk.connection("huskyvoice")
    Connection.objects.filter(pk=connection_.pk).update(daily_quota=quota)
    connection_.refresh_from_db()
    with time_machine.travel(datetime.fromisoformat("2026-12-07T23:59:58+00:00"), tick=True):
        run = sync(connection_)
        assert run is not None
        connection_.health.refresh_from_db()
        left = connection_.health.next_sync_at - timezone.now()
    assert timedelta(0) < left <= timedelta(hours=24), left


def test_a_sync_that_waits_for_its_turn_is_not_taken_for_dead(desk: Desk, monkeypatch: Any) -> None:
    """Missing ones are read alone, and each may wait a minute for its turn."""
    from appointments.services import sync as syncs

    for _ in range(5):
        desk.add("huskyvoice")
    desk.read("huskyvoice")
    account = desk.connection("huskyvoice")
    desk.world("huskyvoice").state  # noqa: B018
    monkeypatch.setattr(syncs, "_read_pages", lambda *_: set())  # none is listed any more
    monkeypatch.setattr(syncs, "_side_facts", lambda *_: None)
    second: list[Any] = []
    look = syncs._look_into
    with time_machine.travel(timezone.now() + timedelta(minutes=1), tick=False) as clock:

        def waits(*args: Any) -> None:
            clock.shift(timedelta(seconds=50))  # within PATIENCE
            look(*args)
            if not second:
                other = syncs._begin(account, sparing=True)
                if other is not None:
                    second.append(other)

        monkeypatch.setattr(syncs, "_look_into", waits)
        syncs.sync(account)
    assert second == [], "a second run began beside the first"


def test_many_keep_and_bring_back_at_once(transactional_db: None, desk: Desk, kept: Path) -> None:
    """Each answer exactly once, and the file is empty at the end."""
    from appointments.models import ProviderCall

    calls = []
    for row in several(desk, "meetergo", 12):
        held = send._lease(desk.ask(row).pk)
        if held is None:
            continue
        calls.append(send._claim(held, held=held.lease_key, looked_at=timezone.now()))
        Cancellation.objects.filter(pk=held.pk).update(lease_until=timezone.now())
    threads = []
    for call in calls:

        def keep(call: Any = call) -> None:
            spill.keep(
                ProviderAnswer(
                    call=call, kind="unknown", said="x" * 300_000, answered_at=timezone.now()
                )
            )
            spill.bring_back()

        threads.append(in_thread(keep))
    for thread, errors in threads:
        thread.join(60)
        assert errors == []
    spill.bring_back()
    assert ProviderAnswer.objects.count() == ProviderCall.objects.count() == len(calls)
    assert kept.read_text() == ""
