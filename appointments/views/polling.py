"""How a page asks again by itself, and how it is told that nothing is new."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from django.utils import timezone

from appointments.views.request import StaffRequest, is_background

KNOWN = "X-Known"
"""Header with the token of what the page shows."""

QUICK, STEADY, SLOW = "150ms", "1s", "10s"
QUICK_FOR, STEADY_FOR = timedelta(seconds=3), timedelta(minutes=1)


def token_of(*seen: object) -> str:
    """Short text that changes with any of *seen*."""
    return hashlib.blake2b(repr(seen).encode(), digest_size=8).hexdigest()


def knows(request: StaffRequest, token: str) -> bool:
    """Whether a page asked by itself and shows this already."""
    return is_background(request) and request.headers.get(KNOWN) == token


def interval(since: datetime) -> str:
    """How soon to ask again about something asked for at *since*: the longer ago, the later."""
    age = timezone.now() - since
    if age < QUICK_FOR:
        return QUICK
    return STEADY if age < STEADY_FOR else SLOW
