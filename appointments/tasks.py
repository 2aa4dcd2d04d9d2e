"""What the worker can be woken for. Each task is one service call."""

from __future__ import annotations

from django.tasks import task
from huey import crontab
from huey.contrib.djhuey import db_periodic_task

from appointments.models import Connection
from appointments.services import schedule, send, sync, trace
from appointments.services.sweep import sweep


@task
def process_cancellation(pk: int) -> None:
    send.process(pk)


@task
def process_booking(pk: int) -> None:
    schedule.process(pk)


@task
def sync_connection(pk: int) -> None:
    connection = Connection.objects.active().filter(pk=pk).first()
    if connection is not None:
        sync.sync(connection)


@task
def trace_later_ones(pk: int) -> None:
    trace.trace(pk)


@db_periodic_task(crontab(minute="*"))  # type: ignore[untyped-decorator]
def every_minute() -> None:
    sweep()
