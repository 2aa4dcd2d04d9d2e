"""
Asking for a cancellation.

What a member of staff can cause by clicking comes back as a value: a `Cancellation`, or a
`Conflict` that says why none was recorded. Nothing is sent from here; the intent is committed,
and the worker is woken.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.utils import timezone

from appointments.domain import CapabilityMissing, Informs, Scope
from appointments.models import (
    Appointment,
    Attendee,
    Booking,
    Cancellation,
    CancellationEvent,
    ConcernedPerson,
    Connection,
)
from appointments.models.cancellations import Event, IllegalTransition, State
from appointments.services.facts import facts_of
from appointments.services.lanes import COOLING_OFF
from appointments.services.queue import PROCESS_CANCELLATION, wake

LIFETIME = timedelta(minutes=10)
"""How long after the click something may be sent: nobody expects a cancellation to fire later."""


class ConflictKind(StrEnum):
    """Why a cancellation cannot be asked for now."""

    STALE = "stale"
    ALREADY_OPEN = "already_open"
    SERIES_OPEN = "series_open"
    CHANGE_OPEN = "change_open"
    """It is being moved or confirmed, or what came of that is not known yet."""
    NOT_LIVE = "not_live"
    PAST = "past"
    POLICY_FORBIDS = "policy_forbids"
    SWITCHED_OFF = "switched_off"


@dataclass(frozen=True, kw_only=True)
class Conflict:
    kind: ConflictKind
    cancellation: Cancellation | None = None
    """The one in the way, if there is one."""
    booking: Booking | None = None
    """The move or confirmation in the way, if there is one."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a member of staff chose in the dialog."""

    scope: Scope = Scope.WHOLE
    attendee: Attendee | None = None
    """Whom to remove, for `Scope.ATTENDEE`."""
    reason: str = ""
    note: str = ""
    email: str = ""


def ask_to_cancel(
    appointment: Appointment, *, by: User, wish: Wish, form_key: UUID, version: str
) -> Cancellation | Conflict:
    """
    Record the intent to cancel *appointment* and wake the worker.

    The same *form_key* again is the same intent, whatever else it carries. *version* is that of
    the page she saw.

    Raises:
        PermissionDenied: *by* may not cancel; nothing was recorded.
        CapabilityMissing: a caller's bug: the provider has no way to express the wish.
    """
    if not by.has_perm("appointments.cancel_appointment"):
        raise PermissionDenied
    _check_capabilities(appointment, wish)
    try:
        with transaction.atomic():
            # Locks first, then questions: on PostgreSQL two people at once wait here. A series
            # spans rows, so its requests queue up at their connection.
            if series_key(appointment):
                Connection.objects.select_for_update(no_key=True).get(pk=appointment.connection_id)
            row = Appointment.objects.select_for_update().get(pk=appointment.pk)
            if (same := _same(appointment, form_key=form_key)) is not None:
                return same
            if (conflict := conflict_of(row, scope=wish.scope, version=version)) is not None:
                return conflict
            return _record(row, by=by, wish=wish, form_key=form_key)
    except IntegrityError:
        if (winner := _winner(appointment, form_key=form_key)) is None:
            raise
        return winner


def take_back(cancellation: Cancellation, *, by: User) -> Cancellation:
    """Withdraw what has not been sent yet; if it has been, nothing happens."""
    if not by.has_perm("appointments.cancel_appointment"):
        raise PermissionDenied
    # The page may be older than the row: a second look tells whether it can still be taken back.
    for _ in range(2):
        try:
            cancellation.apply(Event.TAKEN_BACK, due_at=timezone.now(), why="taken_back", by=by)
            break
        except IllegalTransition:
            cancellation.refresh_from_db()
    if cancellation.is_open:
        # An earlier call may have been carried out: then the worker goes on reading.
        wake(PROCESS_CANCELLATION, cancellation.pk)
    return cancellation


def obstacles(appointment: Appointment, *, now: datetime | None = None) -> ConflictKind | None:
    """Why cancelling *appointment* is not offered at all; None if it is."""
    capabilities = appointment.capabilities
    if not appointment.connection.is_active:
        return ConflictKind.SWITCHED_OFF
    if not capabilities.cancels or not appointment.is_live:
        return ConflictKind.NOT_LIVE
    if appointment.is_past and not capabilities.cancels_past:
        return ConflictKind.PAST
    policy = appointment.connection.known_policy
    if policy is not None and not policy.allowed:
        return ConflictKind.POLICY_FORBIDS
    return None


def series_key(appointment: Appointment) -> str:
    """
    What ties the occurrences of a series together, as far as anybody can tell from outside.

    Empty for a group and where the provider cannot cancel "this and later ones".
    """
    people = list(appointment.attendees.all())
    kind = appointment.locator.get("meeting_type_id", "")
    if not appointment.capabilities.following or appointment.is_group or len(people) != 1:
        return ""
    return f"{kind}:{people[0].email.casefold()}" if kind and people[0].email else ""


def conflict_of(row: Appointment, *, scope: Scope, version: str) -> Conflict | None:
    """What is in the way of cancelling *row* now, if it was *version* that somebody saw."""
    waiting = Cancellation.objects.open().filter(
        connection=row.connection_id, external_id=row.external_id
    )
    if (other := waiting.first()) is not None:
        return Conflict(kind=ConflictKind.ALREADY_OPEN, cancellation=other)
    if (change := open_change(row)) is not None:
        return Conflict(kind=ConflictKind.CHANGE_OPEN, booking=change)
    return conflict_in(row, scope=scope, version=version)


def open_change(row: Appointment) -> Booking | None:
    """The move or confirmation of *row* whose outcome is open."""
    changes = row.booking_requests.open().changes()
    return changes.select_related("requested_by", "connection").first()


def conflict_in(row: Appointment, *, scope: Scope, version: str) -> Conflict | None:
    """The same of a *row* of which no cancellation, move or confirmation is open."""
    if (kind := obstacles(row)) is not None:
        return Conflict(kind=kind)
    if row.version != version:
        return Conflict(kind=ConflictKind.STALE)
    return series_conflict(row, scope=scope)


def series_conflict(row: Appointment, *, scope: Scope = Scope.WHOLE) -> Conflict | None:
    """
    Of one series either one "this and later ones" is open, or single ones, never both.

    To move one of them is a single one, too.
    """
    key = series_key(row)
    if not key:
        return None
    related = Cancellation.objects.open().filter(connection=row.connection_id, series_key=key)
    if scope is not Scope.FOLLOWING:
        related = related.filter(scope=Scope.FOLLOWING)
    if (other := related.first()) is not None:
        return Conflict(kind=ConflictKind.SERIES_OPEN, cancellation=other)
    if scope is Scope.FOLLOWING:
        changes = Booking.objects.open().changes().filter(connection=row.connection_id)
        for change in changes.select_related("appointment__connection", "requested_by"):
            if change.appointment is not None and series_key(change.appointment) == key:
                return Conflict(kind=ConflictKind.CHANGE_OPEN, booking=change)
    return None


def intent(
    row: Appointment, *, by: User, wish: Wish, form_key: UUID, now: datetime
) -> Cancellation:
    """What is to be recorded for *wish*, not yet saved."""
    return Cancellation(
        form_key=form_key,
        appointment=row,
        connection=row.connection,
        external_id=row.external_id,
        scope=wish.scope,
        attendee_external_id=wish.attendee.external_id if wish.attendee else "",
        attendee_name=wish.attendee.known_as if wish.attendee else "",
        series_key=series_key(row),
        email=wish.email,
        reason=wish.reason,
        note=wish.note,
        expected=facts_of(row).as_json(),
        requested_by=by,
        requested_at=now,
        expires_at=now + settings.COOLING_OFF + LIFETIME,
        due_at=now + settings.COOLING_OFF,
        why=COOLING_OFF if settings.COOLING_OFF else "",
    )


def asked(cancellation: Cancellation) -> CancellationEvent:
    """The first entry of its history, not yet saved."""
    return CancellationEvent(
        cancellation=cancellation,
        at=cancellation.requested_at,
        event=Event.ASKED,
        after=State.REQUESTED,
        by=cancellation.requested_by,
    )


def concerned(cancellation: Cancellation) -> list[ConcernedPerson]:
    """
    Whom *cancellation* concerns as far as we know now, not yet saved.

    Of an appointment that names nobody it is somebody unknown, who has to be told all the same.
    """
    row = cancellation.appointment
    people = list(row.attendees.all())
    if not people:
        return [ConcernedPerson(cancellation=cancellation, is_told=False)]
    tells = row.capabilities.informs is Informs.ALL_PARTICIPANTS
    return [
        ConcernedPerson(
            cancellation=cancellation,
            name=one.name,
            email=one.email,
            phone=one.phone,
            is_told=tells and bool(one.email),
        )
        for one in people
        if cancellation.scope != Scope.ATTENDEE
        or one.external_id == cancellation.attendee_external_id
    ]


def _record(row: Appointment, *, by: User, wish: Wish, form_key: UUID) -> Cancellation:
    cancellation = intent(row, by=by, wish=wish, form_key=form_key, now=timezone.now())
    cancellation.save()
    asked(cancellation).save()
    ConcernedPerson.objects.bulk_create(concerned(cancellation))
    wake(PROCESS_CANCELLATION, cancellation.pk, at=cancellation.due_at)
    return cancellation


def _same(appointment: Appointment, *, form_key: UUID) -> Cancellation | None:
    """The intent that this very dialog recorded before."""
    return Cancellation.objects.filter(form_key=form_key, appointment=appointment).first()


def _winner(appointment: Appointment, *, form_key: UUID) -> Cancellation | Conflict | None:
    """Two requests at once, and a constraint let one through: that one, if it is so."""
    if (same := _same(appointment, form_key=form_key)) is not None:
        return same
    open_ones = Cancellation.objects.open().filter(
        connection=appointment.connection_id, external_id=appointment.external_id
    )
    first = open_ones.first()
    return Conflict(kind=ConflictKind.ALREADY_OPEN, cancellation=first) if first else None


def _check_capabilities(appointment: Appointment, wish: Wish) -> None:
    capabilities, label = appointment.capabilities, appointment.connection.provider_label
    if wish.scope is Scope.ATTENDEE and not (
        capabilities.one_attendee and wish.attendee and wish.attendee.external_id
    ):
        raise CapabilityMissing(f"{label} cannot remove this attendee")
    if wish.scope is Scope.FOLLOWING and not series_key(appointment):
        raise CapabilityMissing(f"{label} cannot cancel later occurrences of this")
