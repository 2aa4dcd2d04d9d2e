"""
Writing what a provider showed into our copy.

Records come in batches; a record that is the same as before is not written. A record that is
older than what we did to the booking ourselves is dropped: a listing that began before a
cancellation settled knows nothing of it.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import batched
from typing import Any

from django.db import transaction
from django.utils import timezone

from appointments.domain import (
    BookedAppointment,
    BookedAttendee,
    Capabilities,
    Facts,
    Scope,
    Status,
)
from appointments.models import Appointment, Attendee, Cancellation, Connection
from appointments.models.appointments import host_search_text, list_position, search_text
from appointments.services.queue import PROCESS_CANCELLATION, wake
from appointments.services.verdicts import weigh_verdicts

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
_PERSON = ("position", "external_id", "name", "email", "phone", "time_zone", "guests")
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
    believed: list[BookedAppointment] = []
    unchanged = outdated = 0
    for record in records:
        row = known.get(record.external_id)
        if row is not None and _is_outdated(
            row, record, read_at=read_at, capabilities=connection.capabilities
        ):
            outdated += 1
            continue
        believed.append(record)
        made = _row(connection, _remembering(record, row), read_at=read_at)
        if row is not None and _is_the_same(row, made):
            unchanged += 1
            continue
        if row is not None:
            made.first_seen_at = row.first_seen_at
            made.host_search = host_search_text(record.host, row.practitioner)
            _notice(row, record)
        fresh.append((made, record))
    if fresh:
        _write([row for row, _ in fresh], [record for _, record in fresh], connection)
    weigh_verdicts(connection, believed)
    return len(fresh), unchanged, outdated


def _is_the_same(row: Appointment, made: Appointment) -> bool:
    """Also in its place: a window stands elsewhere once the zone of its connection is mended."""
    is_there = row.missing_since is None and row.sorts_at == made.sorts_at
    return is_there and row.content == made.content


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
    _write_attendees({keys[record.external_id]: record for record in records})


def _write_attendees(records: Mapping[int, BookedAppointment]) -> None:
    """
    Bring the people of each appointment (by its key) up to date.

    Somebody who stays keeps her row: an open dialog may hold its key.
    """
    known: dict[int, dict[object, Attendee]] = defaultdict(dict)
    for row in Attendee.objects.filter(appointment__in=records):
        known[row.appointment_id][row.external_id or row.position] = row
    changed: list[Attendee] = []
    fresh: list[Attendee] = []
    for key, record in records.items():
        for position, person in enumerate(_distinct(record.attendees)):
            kept = known[key].pop(person.external_id or position, None)
            row = _attendee(kept or Attendee(appointment_id=key), person, position=position)
            (fresh if kept is None else changed).append(row)
    gone = [row.pk for left in known.values() for row in left.values()]
    Attendee.objects.filter(pk__in=gone).delete()
    Attendee.objects.bulk_update(changed, _PERSON)
    Attendee.objects.bulk_create(fresh)


def _distinct(people: Iterable[BookedAttendee]) -> list[BookedAttendee]:
    """Without a second entry of one id, which some answer may hold."""
    seen: set[str] = set()
    distinct = []
    for one in people:
        if one.external_id and one.external_id in seen:
            continue
        seen.add(one.external_id)
        distinct.append(one)
    return distinct


def _attendee(row: Attendee, person: BookedAttendee, *, position: int) -> Attendee:
    row.position = position
    row.external_id = person.external_id
    row.name, row.email, row.phone = person.name, person.email, person.phone
    row.time_zone = person.time_zone[:SHORT]
    row.guests = list(person.guests)
    return row


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
        sorts_at=list_position(record, zone=connection.zone),
        search=search_text(record),
        host_search=host_search_text(record.host, ""),
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


# --- records that contradict us ---------------------------------------------------------------


def _is_outdated(
    row: Appointment,
    record: BookedAppointment,
    *,
    read_at: datetime,
    capabilities: Capabilities,
) -> bool:
    """
    Whether *record* must not be believed over what a cancellation of ours did.

    A booking that was cancelled here is opened again only on good evidence: on a version that is
    newer than the cancelled one, or where cancelling it twice would be harmless. Otherwise a reader
    that lags would have people mailed a second time.
    """
    if row.changed_here_at is None:
        return False
    if read_at < row.changed_here_at:
        return True
    undone = _undone(row, record)
    if undone is None:
        return False
    if read_at < row.changed_here_at + timedelta(minutes=capabilities.lingers_minutes):
        return True
    _note_contradiction(undone)
    # Our own cancellation makes a new version too: only one after that counts.
    known = max(row.changed_here_at, row.provider_updated_at or row.changed_here_at)
    is_newer = record.updated_at is not None and record.updated_at > known
    return not (is_newer or capabilities.repeat_is_safe)


def _undone(row: Appointment, record: BookedAppointment) -> Cancellation | None:
    """The cancellation of ours that *record* shows as if it had not been."""
    if not record.is_live:
        return None
    done = row.cancellations.cancelled().order_by("-settled_at")
    if row.status == Status.CANCELLED:
        return done.first()
    if row.content and row.content == _content(row, record):
        return None
    listed = {one.external_id for one in record.attendees if one.external_id}
    return done.filter(scope=Scope.ATTENDEE, attendee_external_id__in=listed).first()


def _note_contradiction(cancellation: Cancellation) -> None:
    if cancellation.contradict(why="listed_as_booked"):
        # So that the next record is looked at, whatever it shows.
        Appointment.objects.filter(pk=cancellation.appointment_id).update(content="")


def _notice(row: Appointment, record: BookedAppointment) -> None:
    """Act on a record that shows it cancelled."""
    if record.status != Status.CANCELLED:
        return
    if row.changed_here_at is not None:
        doubted = row.cancellations.filter(contradicted_at__isnull=False)
        doubted.update(contradicted_at=None)
    if row.status != Status.CANCELLED:
        # The read that settles them is the worker's: a listing never moves the ledger.
        unsettled = Cancellation.objects.unsettled().filter(appointment=row)
        unsettled.update(due_at=timezone.now())
        for pk in unsettled.values_list("pk", flat=True):
            wake(PROCESS_CANCELLATION, pk)
