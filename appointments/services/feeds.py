"""
Calendar feeds: who may read what without a login.

The secret is 256 random bits, so its plain SHA-256 is enough: there is nothing to guess, and a
look-up by the hash tells nobody how much of a guess was right.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from datetime import timedelta

from django.contrib.auth.models import User
from django.db.models import Q
from django.utils import timezone

from appointments.models import CalendarFeed

TOKEN_BYTES = 32
NOTED_EVERY = timedelta(minutes=1)
"""How exactly it is kept when a feed was read: not every look is worth a write."""


def make_feed(
    user: User, *, name: str, query: Mapping[str, str], with_phones: bool
) -> tuple[CalendarFeed, str]:
    """Make a feed for *user*; with it comes the secret, which nobody can read again."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    made = CalendarFeed.objects.create(
        user=user,
        name=name,
        query=dict(query),
        with_phones=with_phones,
        token_hash=_hash(token),
    )
    return made, token


def feed_of(token: str) -> CalendarFeed | None:
    """The feed that *token* opens, if its owner may still look at appointments."""
    feed = CalendarFeed.objects.select_related("user").filter(token_hash=_hash(token)).first()
    if feed is None or not feed.user.is_active:
        return None
    return feed if feed.user.has_perm("appointments.view_appointment") else None


def note_read(feed: CalendarFeed) -> None:
    """Keep that *feed* was read just now."""
    now = timezone.now()
    long_ago = Q(last_read_at=None) | Q(last_read_at__lt=now - NOTED_EVERY)
    CalendarFeed.objects.filter(long_ago, pk=feed.pk).update(last_read_at=now)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
