"""What goes into the log, and how often."""

from __future__ import annotations

import logging
import threading
import time

PAUSE = 60.0
"""Seconds between two lines that say the same."""


class Seldom(logging.Filter):
    """Lets the same message of a logger through once a minute."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        now, message = time.monotonic(), record.getMessage()
        with self._lock:
            self._said = {one: at for one, at in self._said.items() if now - at < PAUSE}
            return self._said.setdefault(message, now) == now
