"""
Writing what a provider showed into our copy.

Records come in batches; a record that is the same as before is not written. A record that is
older than what we did to the booking ourselves is dropped: a listing that began before a
cancellation settled knows nothing of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import batched
from typing import Any

from django.db import transaction
from django.utils import timezone

from appointments.domain import BookedAppointment, Facts, Status
from appointments.models import Appointment, Attendee, Cancellation, CancellationEvent, Connection
from appointments.models.appointments import fold, list_position, search_text
from appointments.models.cancellations import DONE, Event
from appointments.services.queue import PROCESS_CANCELLATION, wake

BATCH = 200
SHORT = 100

_FIELDS = (
    "status",
    "provider_status",
    "starts_at",
    "ends_at",
    "day",
    "session",
    "batch",
    "window_starts",
    "window_ends",
    "title",
    "host",
    "location",
    "reference",
    "meeting_link",
    "is_group",
    "is_paid",
    "locator",
    "warnings",
    "cancelled_at",
    "cancelled_by",
    "cancel_reason",
    "provider_updated_at",
)
_WRITTEN = (
    *_FIELDS,
    "version",
    "content",
    "sorts_at",
    "search",
    "host_search",
    "seen_at",
    "missing_since",
)


@dataclass(frozen=True, kw_only=True)
class Stored:
    """How many records were new to us or changed something."""

    written: int
    unchanged: int
    outdated: int


def store(
    connection: Connection, records: Iterable[BookedAppointment], *, read_at: datetime
) -> Stored:
    """
    Keep *records*, which *connection* showed in a read that began at *read_at*.

    Of two records with one id the one that the provider changed last counts.
    """
    written = unchanged = outdated = 0
    for batch in batched(records, BATCH, strict=False):
        newest = {one.external_id: one for one in sorted(batch, key=_age)}
        with transaction.atomic():
            counts = _store_batch(connection, list(newest.values()), read_at=read_at)
        written += counts[0]
        unchanged += counts[1]
        outdated += counts[2]
    return Stored(written=written, unchanged=unchanged, outdated=outdated)


def _store_batch(
    connection: Connection, records: Sequence[BookedAppointment], *, read_at: datetime
) -> tuple[int, int, int]:
    known = {
        row.external_id: row
        # Locked, so that a cancellation which settles meanwhile is not written over.
        for row in Appointment.objects.select_for_update()
        .filter(connection=connection, external_id__in=[one.external_id for one in records])
        .order_by("pk")
    }
    fresh: list[tuple[Appointment, BookedAppointment]] = []
    unchanged = outdated = 0
    for record in records:
        row = known.get(record.external_id)
        lingers = timedelta(minutes=connection.capabilities.lingers_minutes)
        if row is not None and _is_outdated(row, record, read_at=read_at, lingers=lingers):
            outdated += 1
            continue
        made = _row(connection, _remembering(record, row), read_at=read_at)
        if row is not None and row.content == made.content and row.missing_since is None:
            unchanged += 1
            continue
        if row is not None:
            made.first_seen_at = row.first_seen_at
            _notice(row, record)
        fresh.append((made, record))
    if fresh:
        _write([row for row, _ in fresh], [record for _, record in fresh], connection)
    return len(fresh), unchanged, outdated


def _write(
    rows: list[Appointment], records: list[BookedAppointment], connection: Connection
) -> None:
    Appointment.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=("connection", "external_id"),
        update_fields=_WRITTEN,
    )
    keys = dict(
        Appointment.objects.filter(
            connection=connection, external_id__in=[one.external_id for one in records]
        ).values_list("external_id", "pk")
    )
    Attendee.objects.filter(appointment__in=keys.values()).delete()
    Attendee.objects.bulk_create(
        Attendee(
            appointment_id=keys[record.external_id],
            position=position,
            external_id=one.external_id,
            name=one.name,
            email=one.email,
            phone=one.phone,
            time_zone=one.time_zone[:SHORT],
            guests=list(one.guests),
        )
        for record in records
        for position, one in enumerate(record.attendees)
    )


def _row(connection: Connection, record: BookedAppointment, *, read_at: datetime) -> Appointment:
    window = record.window or (None, None)
    row = Appointment(
        connection=connection,
        external_id=record.external_id,
        status=record.status,
        provider_status=record.provider_status,
        starts_at=record.starts_at,
        ends_at=record.ends_at,
        day=record.day,
        session=record.session[:SHORT],
        batch=record.batch[:SHORT],
        window_starts=window[0],
        window_ends=window[1],
        title=record.title,
        host=record.host,
        location=record.location,
        reference=record.reference,
        meeting_link=record.meeting_link,
        is_group=record.is_group,
        is_paid=record.is_paid,
        locator=dict(record.locator),
        warnings=list(record.warnings),
        cancelled_at=record.cancelled_at,
        cancelled_by=record.cancelled_by,
        cancel_reason=record.cancel_reason,
        provider_updated_at=record.updated_at,
        version=Facts.of(record).version,
        sorts_at=list_position(record),
        search=search_text(record),
        host_search=fold(record.host),
        first_seen_at=read_at,
        seen_at=read_at,
    )
    row.content = _content(row, record)
    return row


def _remembering(record: BookedAppointment, row: Appointment | None) -> BookedAppointment:
    """
    *record* with what its provider shows only at times.

    MijnKlantportaal never repeats the title it was given; HuskyVoice shows a window only while it
    is open. What was known once stays known.
    """
    if row is None:
        return record
    if not record.title:
        record = replace(record, title=row.title)
    if record.window is not None or record.day is None:
        return record
    if row.window_starts is None or row.window_ends is None:
        return record
    if (record.day, record.session, record.batch) != (row.day, row.session, row.batch):
        return record
    return replace(record, window=(row.window_starts, row.window_ends))


def _content(row: Appointment, record: BookedAppointment) -> str:
    values: list[Any] = [getattr(row, name) for name in _FIELDS]
    values.append(
        [(a.external_id, a.name, a.email, a.phone, a.time_zone, a.guests) for a in record.attendees]
    )
    text = json.dumps(values, default=str, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _age(record: BookedAppointment) -> tuple[bool, float]:
    when = record.updated_at
    return (when is not None, when.timestamp() if when else 0.0)


def _is_outdated(
    row: Appointment, record: BookedAppointment, *, read_at: datetime, lingers: timedelta
) -> bool:
    if row.changed_here_at is None:
        return False
    if read_at < row.changed_here_at:
        return True
    still_listed = record.is_live and row.status == Status.CANCELLED
    return still_listed and read_at < row.changed_here_at + lingers


def _notice(row: Appointment, record: BookedAppointment) -> None:
    """Act on what a record says about our own cancellations of this booking."""
    if record.is_live and row.status == Status.CANCELLED and row.changed_here_at is not None:
        settled = row.cancellations.filter(state__in=DONE).order_by("-settled_at").first()
        if settled is not None:
            CancellationEvent.objects.create(
                cancellation=settled,
                at=timezone.now(),
                event=Event.CONTRADICTED,
                before=settled.state,
                after=settled.state,
                why="listed_as_booked",
            )
    if record.status == Status.CANCELLED and row.status != Status.CANCELLED:
        # The read that settles them is the worker's: a listing never moves the ledger.
        unsettled = Cancellation.objects.unsettled().filter(appointment=row)
        unsettled.update(due_at=timezone.now())
        for pk in unsettled.values_list("pk", flat=True):
            wake(PROCESS_CANCELLATION, pk)
