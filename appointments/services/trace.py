"""
What became of the later occurrences after "this and later ones".

No provider names its series, so the answer confirms this occurrence only. The later bookings of
the same kind for the same person are read one by one and named as seen cancelled or not yet seen.
"""

from __future__ import annotations

from contextlib import closing
from datetime import time, timedelta

from django.utils import timezone

from appointments.domain import ProviderError, Scope, Status
from appointments.models import Appointment, Cancellation
from appointments.providers.base import Provider
from appointments.services import limits
from appointments.services.cancel import series_key
from appointments.services.limits import Urgency
from appointments.services.queue import TRACE_LATER_ONES, wake
from appointments.services.records import store

MOST = 60
AGAIN_AFTER = timedelta(minutes=2)
GIVE_UP_AFTER = timedelta(minutes=10)


def later_ones(cancellation: Cancellation) -> list[Appointment]:
    """
    The later bookings that "this and later ones" was meant for, as far as can be told.

    Same kind, same person, same host, same weekday and time: another appointment of the same
    person is not to be hunted for.
    """
    this = cancellation.appointment
    candidates = (
        Appointment.objects.filter(connection=cancellation.connection, sorts_at__gt=this.sorts_at)
        .select_related("connection")
        .prefetch_related("attendees")
        .in_order()
    )
    meeting_type = this.locator.get("meeting_type_id", "")
    same_kind = candidates.filter(locator__meeting_type_id=meeting_type, host=this.host)
    return [
        one
        for one in same_kind[: 5 * MOST]
        if cancellation.series_key
        and series_key(one) == cancellation.series_key
        and _time_of_week(one) == _time_of_week(this)
    ][:MOST]


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
        for one in later_ones(cancellation):
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
