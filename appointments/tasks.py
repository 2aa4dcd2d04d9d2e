"""What the worker can be woken for. Each task is one service call."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver
from django.tasks import task
from django.tasks.signals import task_finished
from huey import crontab
from huey.contrib.djhuey import HUEY, db_periodic_task
from huey.contrib.djhuey.tasks_backend import KEY

from appointments.services import book, lanes, send, sync, trace
from appointments.services.sweep import sweep


@task
def process_cancellation(pk: int) -> None:
    send.process(pk)


@task
def process_booking(pk: int) -> None:
    book.process(pk)


@task
def sync_connection(pk: int) -> None:
    sync.sync_if_due(pk)


@task
def call_in(connection_id: int) -> None:
    lanes.call_in(connection_id)


@task
def trace_later_ones(pk: int) -> None:
    trace.trace(pk)


@receiver(task_finished)
def forget_result(*, task_result: Any, **_: Any) -> None:
    """Nobody asks for results, and the store keeps them for ever; the ledger says what happened."""
    HUEY.get(KEY % task_result.id)


@db_periodic_task(crontab(minute="*"))  # type: ignore[untyped-decorator]
def every_minute() -> None:
    sweep()
