"""
Refreshing our copy of a connection's bookings.

Pages are written as they come, so a long listing never stands in memory. What a *complete* run did
not see is no longer listed, which proves nothing: it is read one by one where the provider can, and
otherwise called *gone*. A run that looks wrong keeps what it read and judges nothing absent.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max, Q
from django.utils import timezone

from appointments.domain import (
    LIVE,
    DateWindow,
    ProviderError,
    RateLimited,
    Status,
)
from appointments.models import Appointment, Cancellation, Connection, ConnectionHealth, SyncRun
from appointments.models.appointments import day_start
from appointments.models.cancellations import DONE
from appointments.models.secrets import CannotDecrypt
from appointments.providers.base import Provider
from appointments.services import limits
from appointments.services.limits import Urgency
from appointments.services.queue import SYNC_CONNECTION, wake
from appointments.services.records import store

logger = logging.getLogger(__name__)

SUSPICIOUS_SHARE = 0.2
SUSPICIOUS_COUNT = 20
"""More than this share, and at least this many, of the coming bookings gone: not believed."""
SINGLE_READS = 15
"""Missing bookings read one by one in a run; the next run reads the next."""
READ_ALONE_EVERY = timedelta(minutes=15)
REJECTED_KEPT = 50
SILENT_FOR = timedelta(minutes=2)
"""A run that wrote no page for so long was killed; the next one begins anew."""
RUNS_KEPT = timedelta(days=7)
LONGEST_PAUSE = timedelta(hours=1)
SIDE_FACTS_EVERY = timedelta(hours=1)
LATER_DAYS_EVERY = timedelta(hours=1)


BY_HAND_EVERY = timedelta(seconds=20)
"""Sooner after the last one, no press begins a refresh: requests of a day are counted."""


def sync_soon(connection: Connection) -> None:
    """Have the worker refresh *connection* now."""
    _plan(connection, timezone.now())
    wake(SYNC_CONNECTION, connection.pk)


def sync_by_hand(connection: Connection) -> None:
    """The same for somebody who pressed a button, perhaps for the tenth time."""
    now = timezone.now()
    last = connection.sync_runs.aggregate(at=Max("started_at"))["at"]
    if last is None or last + BY_HAND_EVERY <= now:
        sync_soon(connection)
    else:
        _plan(connection, last + BY_HAND_EVERY)


def _plan(connection: Connection, at: datetime) -> None:
    health = health_of(connection)
    ConnectionHealth.objects.filter(pk=health.pk).update(next_sync_at=at)


def sync_if_due(pk: int) -> None:
    """Refresh connection *pk*, unless its pause is not over: tasks may come twice."""
    due = Connection.objects.active().filter(pk=pk, health__next_sync_at__lte=timezone.now())
    connection = due.first()
    if connection is None:
        return
    now = timezone.now()
    if limits.usage(connection, now=now).left_for_sync == 0:
        # Also if somebody asked for it, by saving the connection for instance.
        _note(connection, pause=limits.midnight(now) - now)
        return
    sync(connection, sparing=True)


def due_connections(now: datetime) -> list[Connection]:
    """Connections whose pause is over."""
    for connection in Connection.objects.active().filter(health=None):
        health_of(connection)
    return list(Connection.objects.active().filter(health__next_sync_at__lte=now))


def health_of(connection: Connection) -> ConnectionHealth:
    return ConnectionHealth.objects.get_or_create(connection=connection)[0]


def sync(connection: Connection, *, sparing: bool = False) -> SyncRun | None:
    """
    Read all bookings of *connection* from yesterday to the horizon; None if a run is under way.

    With *sparing*, later days are left out where they cost requests and were read lately.

    Raises nothing that a provider causes: the run and the connection's health say what happened.
    """
    run = _begin(connection, sparing=sparing)
    if run is None:
        return None
    health_of(connection)
    used_before = _used(connection)
    try:
        is_believed = _read(connection, run)
    except RateLimited as error:
        if error.why == "own_limit":
            # People go first, and it works: no failure, only later.
            _end(run, SyncRun.Outcome.FAILED, why=error.why)
            _note(connection, pause=_rest(connection))
        else:
            # Without a figure that makes sense, as long as the connection stays closed for it.
            _fail(run, error.why, wait=limits.LONGEST_CLOSURE if error.wait is None else error.wait)
    except ProviderError as error:
        _fail(run, error.why)
    except CannotDecrypt:
        _fail(run, "cannot_decrypt", wait=LONGEST_PAUSE)
    except Exception:
        _fail(run, "internal")
        raise
    else:
        if is_believed:
            _end(run, SyncRun.Outcome.COMPLETE)
            _note_success(run, cost=_used(connection) - used_before)
        else:
            _end(run, SyncRun.Outcome.DISCARDED, why="suspicious")
            _note_failure(connection, "suspicious", pause=_rest(connection))
    return run


def _read(connection: Connection, run: SyncRun) -> bool:
    """Read everything; whether what was missing could be judged."""
    client = limits.client(connection, Urgency.SYNC)
    with closing(client.http):
        seen = _read_pages(connection, client, run)
        is_believed = _judge_missing(connection, client, run, seen)
        _side_facts(connection, client)
    return is_believed


def _begin(connection: Connection, *, sparing: bool) -> SyncRun | None:
    now = timezone.now()
    running = SyncRun.objects.filter(connection=connection, outcome=SyncRun.Outcome.RUNNING)
    running.filter(alive_at__lt=now - SILENT_FOR).update(
        outcome=SyncRun.Outcome.FAILED, why="interrupted", finished_at=now
    )
    today = timezone.localdate(timezone=connection.zone)
    SyncRun.objects.filter(connection=connection, started_at__lt=now - RUNS_KEPT).delete()
    try:
        with transaction.atomic():
            return SyncRun.objects.create(
                connection=connection,
                started_at=now,
                first_day=today - timedelta(days=1),
                last_day=_last_day(connection, today, now=now, sparing=sparing),
            )
    except IntegrityError:
        return None


def _last_day(connection: Connection, today: date, *, now: datetime, sparing: bool) -> date:
    """How far to read: where a listing costs a request a day, later days only once an hour."""
    can = connection.capabilities
    whole = connection.read_to
    if not sparing or can.near_days is None:
        return whole
    read_lately = SyncRun.objects.filter(
        connection=connection,
        outcome=SyncRun.Outcome.COMPLETE,
        last_day=whole,
        started_at__gt=now - LATER_DAYS_EVERY,
    )
    return today + timedelta(days=can.near_days) if read_lately.exists() else whole


def _read_pages(connection: Connection, client: Provider, run: SyncRun) -> set[str]:
    """Write every page; the ids that were seen, readable or not."""
    seen: set[str] = set()
    for page in client.pages(DateWindow(first=run.first_day, last=run.last_day)):
        stored = store(connection, page.records, read_at=run.started_at)
        seen |= {one.external_id for one in page.records}
        seen |= {one.external_id for one in page.rejected if one.external_id}
        run.pages += 1
        run.seen += len(page.records)
        run.written += stored.written
        run.rejected += len(page.rejected)
        run.rejected_ids = (run.rejected_ids + [one.external_id or "?" for one in page.rejected])[
            :REJECTED_KEPT
        ]
        run.save()  # Sign of life: a run that says nothing for a while was killed.
    return seen


# --- what was not seen ------------------------------------------------------------------------


def _judge_missing(connection: Connection, client: Provider, run: SyncRun, seen: set[str]) -> bool:
    """Look into coming bookings that this run did not see; False if the run is not believed."""
    coming = dict(_coming(connection, run))
    missing = [pk for external_id, pk in coming.items() if external_id not in seen]
    run.missing = len(missing)
    if _is_suspicious(len(missing), of=len(coming)) and not _seen_before(connection, run):
        return False
    rows = Appointment.objects.filter(pk__in=missing).select_related("connection")
    patient = rows.filter(
        Q(read_alone_at=None) | Q(read_alone_at__lt=run.started_at - READ_ALONE_EVERY)
    )
    for row in patient.in_order()[:SINGLE_READS]:
        _look_into(row, client)
        run.save()  # A sign of life: each may have waited for its turn.
    return True


def _coming(connection: Connection, run: SyncRun) -> Iterator[tuple[str, int]]:
    now = timezone.now()
    own = Cancellation.objects.filter(
        connection=connection, state__in=DONE, settled_at__gte=now - timedelta(days=1)
    )
    return (
        Appointment.objects.filter(
            connection=connection,
            status__in=LIVE,
            sorts_at__gte=now,
            sorts_at__lt=day_start(run.last_day),
            seen_at__lt=run.started_at,
        )
        .exclude(pk__in=own.values("appointment"))
        .values_list("external_id", "pk")
        .iterator()
    )


def _is_suspicious(missing: int, *, of: int) -> bool:
    return missing >= SUSPICIOUS_COUNT and missing > SUSPICIOUS_SHARE * of


def _seen_before(connection: Connection, run: SyncRun) -> bool:
    """Whether the run before was discarded for the same gap: a second look confirms it."""
    before = (
        SyncRun.objects.filter(
            connection=connection, started_at__lt=run.started_at, last_day__gte=run.last_day
        )
        .exclude(outcome__in=(SyncRun.Outcome.RUNNING, SyncRun.Outcome.FAILED))
        .first()
    )
    return (
        before is not None
        and before.outcome == SyncRun.Outcome.DISCARDED
        and before.missing <= run.missing
    )


def _look_into(row: Appointment, client: Provider) -> None:
    """Ask for one missing booking by itself; what cannot be found is *gone*, never cancelled."""
    read_at = timezone.now()
    Appointment.objects.filter(pk=row.pk).update(read_alone_at=read_at)
    try:
        found = client.read(row.ref())
    except ProviderError:
        return  # The next run asks again; until then the row stays as it was.
    if found is not None:
        store(row.connection, [found], read_at=read_at)
        return
    Appointment.objects.filter(pk=row.pk, status__in=LIVE).update(
        status=Status.GONE, missing_since=read_at, content=""
    )


# --- policy and services ----------------------------------------------------------------------


def _side_facts(connection: Connection, client: Provider) -> None:
    """Policy and services change rarely: read them once an hour, and live without them."""
    now = timezone.now()
    read_at = connection.policy.get("read_at")
    if read_at and now - datetime.fromisoformat(read_at) < SIDE_FACTS_EVERY:
        return
    facts: dict[str, object] = {"read_at": now.isoformat()}
    try:
        if client.capabilities.has_policy:
            policy = client.policy()
            facts |= {
                "allowed": policy.allowed,
                "notice_hours": policy.notice / timedelta(hours=1),
                "time_zone": policy.time_zone,
            }
        offers = [
            {"id": one.external_id, "name": one.name, "hosts": list(one.hosts)}
            for one in client.services()
        ]
    except ProviderError as error:
        logger.warning("Policy or services of connection %s: %s", connection.pk, error.why)
        return
    Connection.objects.filter(pk=connection.pk).update(policy=facts, offers=offers)


# --- how it ended -----------------------------------------------------------------------------


def _fail(run: SyncRun, why: str, *, wait: timedelta | None = None) -> None:
    _end(run, SyncRun.Outcome.FAILED, why=why)
    pause = max(_backoff(run.connection), wait or timedelta(0))
    _note_failure(run.connection, why, pause=min(pause, LONGEST_PAUSE))


def _end(run: SyncRun, outcome: SyncRun.Outcome, *, why: str = "") -> None:
    run.outcome, run.why, run.finished_at = outcome, why[:120], timezone.now()
    run.save()


def _note_success(run: SyncRun, *, cost: int) -> None:
    _note(
        run.connection,
        pause=max(_rest(run.connection), _sparing(run.connection, cost=cost)),
        read_at=run.started_at,
        failing_since=None,
        failure="",
        failures=0,
    )


def _note_failure(connection: Connection, why: str, *, pause: timedelta) -> None:
    health = health_of(connection)
    _note(
        connection,
        pause=pause,
        failing_since=health.failing_since or timezone.now(),
        failure=why[:60],
        failures=health.failures + 1,
    )


def _note(connection: Connection, *, pause: timedelta, **values: Any) -> None:
    """Write down how it went, and have the worker come back after *pause*."""
    again_at = timezone.now() + pause
    ConnectionHealth.objects.filter(connection=connection).update(next_sync_at=again_at, **values)
    wake(SYNC_CONNECTION, connection.pk, at=again_at)


def _rest(connection: Connection) -> timedelta:
    return timedelta(minutes=connection.capabilities.sync_minutes)


def _used(connection: Connection) -> int:
    return limits.usage(connection, now=timezone.now()).used


def _sparing(connection: Connection, *, cost: int) -> timedelta:
    """
    The pause with which runs of *cost* requests last until the day's quota begins anew.

    Zero where no quota is known.
    """
    now = timezone.now()
    left = limits.usage(connection, now=now).left_for_sync
    if left is None:
        return timedelta(0)
    until_midnight = limits.midnight(now) - now
    runs = left // max(cost, 1)
    return until_midnight / runs if runs else until_midnight


def _backoff(connection: Connection) -> timedelta:
    doublings = min(health_of(connection).failures, 6)
    return min(_rest(connection) * (1 << doublings), LONGEST_PAUSE)
