"""
Waking the worker.

The ledger in the database is the queue: every open row has a due time. A task only says "look at
row N", and what runs, the row's own claim decides. So a task that is lost costs at most the minute
until the next sweep, and a task that comes twice costs nothing.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from django.db import transaction
from django.tasks import Task
from django.utils import timezone
from django.utils.module_loading import import_string

logger = logging.getLogger(__name__)

PROCESS_CANCELLATION = "appointments.tasks.process_cancellation"
PROCESS_BOOKING = "appointments.tasks.process_booking"
SYNC_CONNECTION = "appointments.tasks.sync_connection"
CALL_IN = "appointments.tasks.call_in"
TRACE_LATER_ONES = "appointments.tasks.trace_later_ones"


def wake(task: str, *args: Any, at: datetime | None = None) -> None:
    """Have *task* run with *args* once the open transaction is committed, not before *at*."""
    transaction.on_commit(lambda: _enqueue(task, args, at))


def _enqueue(path: str, args: tuple[Any, ...], at: datetime | None) -> None:
    task: Task[..., None] = import_string(path)
    if at is not None and at > timezone.now():
        task = task.using(run_after=at)
    try:
        task.enqueue(*args)
    except Exception:
        logger.warning("The task queue did not take %s; the sweep will.", path, exc_info=True)
