"""What goes into the log, and how often."""

from __future__ import annotations

import logging
import re
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


class WithoutSecrets(logging.Filter):
    """Takes the secret part out of addresses of calendar feeds: whoever has it may read."""

    _SECRET = re.compile(r"(/feeds/)[\w-]+(?=\.ics)")

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if "/feeds/" in message:
            record.msg, record.args = self._SECRET.sub(r"\1…", message), ()
        return True


def hide_secrets_of_servers() -> None:
    """The same in what the web servers write by themselves, past our settings."""
    for name in ("gunicorn.access", "gunicorn.error", "django.server"):
        logging.getLogger(name).addFilter(WithoutSecrets())
