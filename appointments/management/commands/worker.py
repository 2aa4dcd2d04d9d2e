"""The worker: sends cancellations, settles unknown ones, refreshes connections."""

from __future__ import annotations

import logging
import os
import socket
import threading
from functools import partial
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import Error, close_old_connections, connection
from django.utils.module_loading import autodiscover_modules
from huey.contrib.djhuey import HUEY

from appointments.models import WorkerPulse
from appointments.services import queue, spill
from appointments.services.sweep import sweep

logger = logging.getLogger(__name__)

BEAT = 5.0
"""
Seconds between two signs of life, and between two looks for what is due.

The sweep of each minute would find it too; this one is for the case that the queue's own store is
gone and nothing wakes the worker any more. What the queue does not take, the worker does by itself.
"""


class Command(BaseCommand):
    help = "Run the worker until SIGINT or SIGTERM. Several may run, on several machines."

    def handle(self, *args: Any, **options: Any) -> None:
        autodiscover_modules("tasks")
        queue.hands = queue.Hands(settings.WORKER_THREADS)
        stopping = threading.Event()
        pulse = threading.Thread(target=_beat, args=(stopping,), daemon=True)
        pulse.start()
        self.stdout.write("Worker ready.")
        consumer = HUEY.create_consumer(**settings.HUEY["consumer"])
        try:
            consumer.run()
        finally:
            stopping.set()
            pulse.join(timeout=2)
            queue.hands.rest()


def _beat(stopping: threading.Event) -> None:
    name = f"{socket.gethostname()}.{os.getpid()}"
    while True:
        _look(name)
        if stopping.wait(BEAT):
            break
    connection.close()


def _look(name: str) -> None:
    """
    Give a sign of life, and find what is due, first of all what a worker before this one left.

    The database may be away, from the start or for a while: then the next look is the first.
    """
    for step in (partial(WorkerPulse.beat, name), spill.bring_back, sweep):
        try:
            close_old_connections()
            step()
        except Error:
            connection.close()
            logger.warning("No database: the worker waits for it.", exc_info=True)
            return
        except Exception:
            # One that fails must end neither the others nor this thread.
            logger.exception("%s failed.", step)
