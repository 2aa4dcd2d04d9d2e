"""
Keeping to what providers allow, all processes together.

Each request pays from the connection's row in the database: a burst of a fifth of what a minute
allows, and then a steady three quarters of it, so that no minute ever sees more than is allowed
(generic cell rate algorithm). People go first: a sync may use half of the burst, and stands back
while a cancellation pays.

    Urgency.WORK     the worker sends, looks or settles: counted, never held up here, because
                     `wait_for_work` was asked before it began
    Urgency.DIALOG   somebody waits at a page: now, or not at all
    Urgency.SYNC     waits for its turn, and leaves room for people
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from appointments.domain import Gate, RateLimited
from appointments.models import Connection, RequestBudget
from appointments.providers.base import Provider
from appointments.services.outage import NO_DATABASE

logger = logging.getLogger(__name__)

STEADY = 0.75
BURST = 0.2
"""Of what a minute allows. Together below 1: the rest is for requests that were not held up."""
WORK_COSTS = 3
"""Requests that a cancellation may need: the look, the sending, and a second look."""
LONGEST_CLOSURE = timedelta(seconds=120)
"""A provider that asks for more is asked again after this, if a person wants it."""
PATIENCE = timedelta(seconds=60)
"""How long a sync waits for its turn before it gives up."""
KEPT_FOR_PEOPLE = 0.2
"""Of a day's quota: what syncs leave alone."""


class Urgency(Enum):
    """How much a request matters, and so how much of the burst it may use."""

    WORK = math.inf
    DIALOG = 1.0
    SYNC = 0.5


def client(connection: Connection, urgency: Urgency) -> Provider:
    """An adapter for *connection* that keeps to its limits; close its `http` after use."""
    return connection.client(gate=_Budgeted(connection=connection, urgency=urgency))


def wait_for_work(connection: Connection, *, under_way: int = 0) -> timedelta:
    """How long a cancellation must stand back beside *under_way* others; zero if it may begin."""
    budget = RequestBudget.objects.filter(connection=connection).first()
    if budget is None:
        return timedelta(0)
    pace, now = Pace.of(connection), timezone.now()
    return pace.wait(budget, now=now, share=1.0, requests=WORK_COSTS * (1 + under_way))


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What of a day's quota is gone."""

    used: int
    quota: int | None
    """None: not known."""

    @property
    def left_for_sync(self) -> int | None:
        """Requests that a sync may still make today; None: as many as it likes."""
        if self.quota is None:
            return None
        return max(0, math.floor(self.quota * (1 - KEPT_FOR_PEOPLE)) - self.used)


def usage(connection: Connection, *, now: datetime) -> Usage:
    """Requests since midnight UTC, when the provider counts anew."""
    budget = RequestBudget.objects.filter(connection=connection).first()
    return usage_by(budget, connection, now=now)


def usage_by(budget: RequestBudget | None, connection: Connection, *, now: datetime) -> Usage:
    """As `usage`, where the *budget* of *connection* was read already; None: it has none yet."""
    is_today = budget is not None and budget.day == utc_day(now)
    return Usage(used=budget.used if budget and is_today else 0, quota=connection.daily_quota)


def utc_day(now: datetime) -> date:
    return now.astimezone(UTC).date()


def midnight(now: datetime) -> datetime:
    """When the provider begins to count a new day."""
    return (now.astimezone(UTC) + timedelta(days=1)).replace(
        hour=0, minute=0, second=0, microsecond=0
    )


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What a minute allows, as time between two requests and as a burst."""

    interval: timedelta
    burst: int
    """Requests that may come at once."""

    @classmethod
    def of(cls, connection: Connection) -> Pace:
        allowed = connection.capabilities.requests_per_minute
        return cls(
            interval=timedelta(minutes=1) / (allowed * STEADY),
            burst=max(WORK_COSTS, math.floor(allowed * BURST)),
        )

    def wait(
        self, budget: RequestBudget, *, now: datetime, share: float, requests: int
    ) -> timedelta:
        """How long until *requests* more fit into *share* of the burst."""
        closed = _ahead(budget.closed_until, now=now, most=LONGEST_CLOSURE)
        if not settings.PROVIDER_PACING:
            return closed
        room = self.interval * max(0, math.floor(self.burst * share) - requests)
        return max(closed, _ahead(budget.paid_until, now=now, most=self.longest) - room)

    @property
    def longest(self) -> timedelta:
        """How far ahead what is paid may lie: the burst, and as much that was not held up."""
        return 2 * self.burst * self.interval


def _ahead(moment: datetime | None, *, now: datetime, most: timedelta) -> timedelta:
    """
    How far *moment* lies ahead; zero if further than *most*, which it cannot by itself.

    Then a clock was wrong, and that must not close a connection for hours.
    """
    ahead = moment - now if moment is not None else timedelta(0)
    return ahead if timedelta(0) < ahead <= most else timedelta(0)


class _Budgeted(Gate):
    """Pays for each request of one connection."""

    def __init__(self, *, connection: Connection, urgency: Urgency) -> None:
        self.connection = connection
        self.urgency = urgency
        self.pace = Pace.of(connection)
        self.paid = 0

    def prepay(self) -> None:
        self._pay()
        self.paid += 1

    def admit(self) -> None:
        if self.paid:
            self.paid -= 1
            return
        patience = PATIENCE if self.urgency is Urgency.SYNC else timedelta(0)
        give_up_at = timezone.now() + patience
        while wait := self._pay():
            if timezone.now() + wait > give_up_at:
                raise RateLimited("own_limit", wait=wait)
            time.sleep(wait / timedelta(seconds=1))

    def turned_away(self, wait: timedelta | None) -> None:
        # A figure that makes no sense says at least that we come too often.
        closure = LONGEST_CLOSURE if wait is None else min(wait, LONGEST_CLOSURE)
        closed_until = timezone.now() + closure
        try:
            row = RequestBudget.objects.filter(connection=self.connection)
            longest = timezone.now() + LONGEST_CLOSURE
            is_longer = Q(closed_until__gte=closed_until, closed_until__lte=longest)
            row.exclude(is_longer).update(closed_until=closed_until)
        except NO_DATABASE:
            # The answer itself must not be lost over it: nothing was done, and that is known.
            logger.warning("A closure of connection %s was not noted.", self.connection.pk)

    def _pay(self) -> timedelta:
        """Pay for one request; zero if that was possible, otherwise how long to wait."""
        try:
            return self._pay_from_row()
        except NO_DATABASE:
            if self.urgency is not Urgency.WORK:
                raise
            # A figure in a table must not stop a cancellation.
            logger.warning("A request to connection %s was not counted.", self.connection.pk)
            return timedelta(0)

    def _pay_from_row(self) -> timedelta:
        now = timezone.now()
        with transaction.atomic():
            budget = self._row()
            if self.urgency is not Urgency.WORK:
                share = self.urgency.value
                wait = self.pace.wait(budget, now=now, share=share, requests=1)
                if wait > timedelta(0):
                    return wait
            ahead = _ahead(budget.paid_until, now=now, most=self.pace.longest)
            budget.paid_until = now + min(ahead + self.pace.interval, self.pace.longest)
            if budget.day != utc_day(now):
                budget.day, budget.used = utc_day(now), 0
            budget.used += 1
            budget.save(update_fields=("paid_until", "day", "used"))
        return timedelta(0)

    def _row(self) -> RequestBudget:
        rows = RequestBudget.objects.select_for_update()
        return (
            rows.filter(connection=self.connection).first()
            or rows.get_or_create(connection=self.connection)[0]
        )
