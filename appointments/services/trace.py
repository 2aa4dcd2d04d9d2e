"""
What became of the later occurrences after "this and later ones".

No provider names its series, so the answer confirms this occurrence only. The later bookings of
the same kind for the same person are read one by one and named as seen cancelled or not yet seen.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from datetime import time, timedelta

from django.utils import timezone

from appointments.domain import ProviderError, Scope, Status
from appointments.models import Appointment, Cancellation
from appointments.models.appointments import fold
from appointments.models.cancellations import State
from appointments.providers.base import Provider
from appointments.services import limits
from appointments.services.cancel import series_key
from appointments.services.limits import Urgency
from appointments.services.queue import TRACE_LATER_ONES, wake
from appointments.services.records import store

MOST = 60
AGAIN_AFTER = timedelta(minutes=2)
GIVE_UP_AFTER = timedelta(minutes=10)
CLOCKS_DIFFER = timedelta(minutes=1)
"""How far a provider's clock may be behind ours."""


def later_ones(this: Appointment, *, key: str) -> list[Appointment]:
    """
    Later bookings of the series that *this* belongs to, as far as can be told; *key* ties them.

    Same kind, same person, same host, same weekday and time: another appointment of the same
    person is not to be hunted for.
    """
    if not key:
        return []
    meeting_type = this.locator.get("meeting_type_id", "")
    candidates = (
        Appointment.objects.filter(connection=this.connection_id, sorts_at__gt=this.sorts_at)
        .filter(locator__meeting_type_id=meeting_type, host=this.host)
        .holding([[fold(key.removeprefix(f"{meeting_type}:"))]])
        .select_related("connection")
        .prefetch_related("attendees")
        .in_order()
    )
    return [
        one
        for one in candidates[: 5 * MOST]
        if series_key(one) == key and _time_of_week(one) == _time_of_week(this)
    ][:MOST]


def booked_later_ones(this: Appointment) -> list[Appointment]:
    """What "this and later ones" would take away besides *this*, as our copy knows it."""
    return [one for one in later_ones(this, key=series_key(this)) if one.is_live]


def cancelled_with(keys: Collection[int]) -> dict[int, Cancellation]:
    """
    Of cancelled bookings, the "this and later ones" of ours that took each of them away, by key.

    Only what was read as cancelled right after it, and had not been cancelled before.
    """
    rows = Appointment.objects.filter(pk__in=keys).select_related("connection")
    by_key = {one.pk: one for one in rows.prefetch_related("attendees")}
    series = {series_key(one) for one in by_key.values()} - {""}
    found = Cancellation.objects.filter(
        connection__in={one.connection_id for one in by_key.values()},
        scope=Scope.FOLLOWING,
        state=State.CONFIRMED,
        contradicted_at=None,
        series_key__in=series,
    )
    return {
        one["id"]: cancellation
        for cancellation in found.select_related("requested_by", "appointment").order_by("pk")
        for one in cancellation.later_ones or ()
        if one["seen_cancelled"]
        and one["id"] in by_key
        and not _was_cancelled_before(by_key[one["id"]], cancellation)
    }


def _was_cancelled_before(row: Appointment, cancellation: Cancellation) -> bool:
    """Whether the provider dates the end of *row* before anybody here asked for it."""
    if row.status != Status.CANCELLED or row.cancelled_at is None:
        return False
    return row.cancelled_at < cancellation.requested_at - CLOCKS_DIFFER


def _time_of_week(appointment: Appointment) -> tuple[int, time] | None:
    """Weekday and time on the practice's clock: an occurrence of a series keeps both."""
    if appointment.starts_at is None:
        return None
    local = appointment.starts_at.astimezone(appointment.connection.zone)
    return local.weekday(), local.time()


def trace(pk: int) -> None:
    """Read the later occurrences of cancellation *pk* and note what each read showed."""
    cancellation = Cancellation.objects.select_related("connection", "appointment").get(pk=pk)
    if cancellation.scope != Scope.FOLLOWING or not cancellation.is_done:
        return
    found, client = [], limits.client(cancellation.connection, Urgency.SYNC)
    with closing(client.http):
        for one in later_ones(cancellation.appointment, key=cancellation.series_key):
            if _was_cancelled_before(one, cancellation):
                continue
            if one.status != Status.CANCELLED:
                _read(one, client)
                one.refresh_from_db()
            found.append({"id": one.pk, "seen_cancelled": one.status == Status.CANCELLED})
    Cancellation.objects.filter(pk=pk).update(later_ones=found)
    waited = timezone.now() - (cancellation.settled_at or timezone.now())
    if not all(one["seen_cancelled"] for one in found) and waited < GIVE_UP_AFTER:
        wake(TRACE_LATER_ONES, pk, at=timezone.now() + AGAIN_AFTER)


def _read(row: Appointment, client: Provider) -> None:
    read_at = timezone.now()
    try:
        seen = client.read(row.ref())
    except ProviderError:
        return
    if seen is not None:
        store(row.connection, [seen], read_at=read_at)
