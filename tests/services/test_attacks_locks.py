"""Attacks by two transactions that wait for each other; only PostgreSQL lets them get so far."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from types import ModuleType

import pytest
import time_machine
from django.db import connection
from django.utils import timezone

from appointments.domain import Status
from appointments.models import Cancellation
from appointments.models.cancellations import Verdict
from appointments.services import reconcile, records, settle
from appointments.services.facts import booking_of
from appointments.services.records import store
from appointments.services.settle import settle_by_hand
from tests.desk import Desk


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_listing_that_shows_it_cancelled_does_not_block_who_settles_it(
    *, by_hand: bool, transactional_db: None, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = desk.book("meetergo")
    cancellation, began = desk.ask(row), timezone.now()
    shown = replace(booking_of(row), status=Status.CANCELLED)
    desk.fault("meetergo", "lose_answer")
    desk.work(cancellation)
    if by_hand:
        waits = Cancellation.objects.filter(pk=cancellation.pk)
        waits.update(state="needs_human", why="probably_cancelled")
        cancellation.refresh_from_db()
    both_hold_one = threading.Barrier(2)

    def wait_before(module: ModuleType, name: str) -> None:
        act: Callable[..., object] = getattr(module, name)

        def waited(*args: object, **how: object) -> object:
            with suppress(threading.BrokenBarrierError):
                both_hold_one.wait(timeout=1)
            return act(*args, **how)

        monkeypatch.setattr(module, name, waited)

    wait_before(settle if by_hand else reconcile, "take_effect")
    wait_before(records, "_notice")
    monkeypatch.setattr(reconcile, "store", lambda *_, **__: None)
    failed: list[Exception] = []

    def at_once(act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told below
            failed.append(error)
        finally:
            connection.close()

    def settled() -> object:
        if by_hand:
            return settle_by_hand(
                cancellation, by=desk.staff, verdict=Verdict.CANCELLED, reason="I rang them"
            )
        return desk.work(cancellation)

    acts = (settled, lambda: store(row.connection, [shown], read_at=timezone.now()))
    threads = [threading.Thread(target=at_once, args=(act,)) for act in acts]
    with time_machine.travel(began + timedelta(minutes=20), tick=True):
        for one in threads:
            one.start()
        for one in threads:
            one.join()

    assert failed == []
    cancellation.refresh_from_db()
    assert cancellation.state == ("settled" if by_hand else "confirmed")
