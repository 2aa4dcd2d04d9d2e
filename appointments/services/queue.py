"""
Waking the worker.

The ledger in the database is the queue: every open row has a due time. A task only says "look at
row N", and what runs, the row's own claim decides. So a task that is lost costs at most the minute
until the next sweep, and a task that comes twice costs nothing.

Where the queue's own store is gone, the worker does here and now what it could not enqueue, and its
sweeps find what somebody else could not.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from django.db import close_old_connections, transaction
from django.tasks import Task
from django.utils import timezone
from django.utils.module_loading import import_string

logger = logging.getLogger(__name__)

PROCESS_CANCELLATION = "appointments.tasks.process_cancellation"
PROCESS_BOOKING = "appointments.tasks.process_booking"
SYNC_CONNECTION = "appointments.tasks.sync_connection"
CALL_IN = "appointments.tasks.call_in"
TRACE_LATER_ONES = "appointments.tasks.trace_later_ones"


REST = 5.0
"""Seconds for which a queue that failed is not asked again: one that hangs must not hold up each
click and each row of a sweep."""


class Hands:
    """Threads of the worker's own, for what the queue did not take. Each task waits once."""

    def __init__(self, count: int) -> None:
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="hands")
        self._waiting: set[tuple[str, tuple[Any, ...]]] = set()
        self._lock = threading.Lock()

    def take(self, path: str, args: tuple[Any, ...]) -> None:
        with self._lock:
            if (path, args) in self._waiting:
                return
            self._waiting.add((path, args))
            self._threads.submit(self._run, path, args)

    def rest(self) -> None:
        """Finish what is under way, and leave the remainder to the next worker's sweep."""
        self._threads.shutdown(cancel_futures=True)

    def _run(self, path: str, args: tuple[Any, ...]) -> None:
        with self._lock:
            self._waiting.discard((path, args))
        close_old_connections()
        try:
            task: Task[..., None] = import_string(path)
            task.call(*args)
        except Exception:
            logger.exception("%s failed.", path)
        finally:
            close_old_connections()


hands: Hands | None = None
"""Set in a worker, and nowhere else: no page waits for a provider."""
_rests_until = 0.0


def wake(task: str, *args: Any, at: datetime | None = None) -> None:
    """Have *task* run with *args* once the open transaction is committed, not before *at*."""
    transaction.on_commit(lambda: _enqueue(task, args, at))


def _enqueue(path: str, args: tuple[Any, ...], at: datetime | None) -> None:
    is_later = at is not None and at > timezone.now()
    if time.monotonic() >= _rests_until and _is_taken(path, args, at if is_later else None):
        return
    if hands is not None and not is_later:
        hands.take(path, args)


def _is_taken(path: str, args: tuple[Any, ...], at: datetime | None) -> bool:
    """Whether the queue has it now."""
    global _rests_until
    task: Task[..., None] = import_string(path)
    try:
        (task.using(run_after=at) if at is not None else task).enqueue(*args)
    except Exception:
        _rests_until = time.monotonic() + REST
        logger.warning("The task queue did not take %s; the sweep will.", path, exc_info=True)
        return False
    return True
