"""
Booking an appointment at a provider.

No provider documents a key that makes a repeated booking harmless, so the request is sent once,
whatever comes of it. After a lost answer the provider is read: found is booked, not found by the
end of the quiet period is for a person. What was booked is read back and its time compared with
the time that was meant, because two providers take times without a zone.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from appointments.domain import (
    AccessDenied,
    AwaitsConfirmation,
    BookedAppointment,
    BookingRef,
    CapabilityMissing,
    CredentialsRejected,
    DateWindow,
    NotSent,
    ProviderError,
    RateLimited,
    Refusal,
    Refused,
    ScheduleAnswer,
    Scheduled,
    ScheduleRequest,
    Service,
)
from appointments.models import Appointment, Booking, Connection
from appointments.models.appointments import digits, fold
from appointments.providers.base import Provider
from appointments.services.queue import PROCESS_BOOKING, SYNC_CONNECTION, wake
from appointments.services.reconcile import QUIET, READ_AFTER
from appointments.services.records import store

LIFETIME = timedelta(minutes=10)
LEASE = timedelta(seconds=60)
State = Booking.State


def offers(connection: Connection) -> tuple[Service, ...]:
    """What can be booked at *connection*: the provider's list, or what its bookings show."""
    if connection.services:
        return connection.services
    known: dict[str, Service] = {}
    rows = Appointment.objects.filter(connection=connection).order_by("-sorts_at")
    for title, locator in rows.values_list("title", "locator")[:500]:
        kind = locator.get("meeting_type_id", "")
        if kind and kind not in known:
            hosts = tuple(one for one in locator.get("host_ids", "").split(",") if one)
            known[kind] = Service(external_id=kind, name=title or kind, hosts=hosts)
    return tuple(sorted(known.values(), key=lambda one: one.name.casefold()))


def ask_to_schedule(
    connection: Connection, *, by: User, request: ScheduleRequest, form_key: UUID
) -> Booking:
    """
    Record the intent to book and wake the worker. The same *form_key* again is the same intent.

    Raises:
        PermissionDenied: *by* may not schedule; nothing was recorded.
        CapabilityMissing: a caller's bug: the provider cannot schedule.
    """
    if not by.has_perm("appointments.schedule_appointment"):
        raise PermissionDenied
    if not connection.capabilities.schedules:
        raise CapabilityMissing(f"{connection.provider_label} cannot schedule")
    now = timezone.now()
    try:
        with transaction.atomic():
            booking = Booking.objects.create(
                form_key=form_key,
                connection=connection,
                wish=_wish(request),
                starts_at=request.starts_at,
                requested_by=by,
                requested_at=now,
                expires_at=now + LIFETIME,
                due_at=now,
            )
            wake(PROCESS_BOOKING, booking.pk)
    except IntegrityError:
        return Booking.objects.get(form_key=form_key)
    return booking


def process(pk: int) -> None:
    """Do what booking *pk* waits for, if it is due and nobody else is at it."""
    booking = _lease(pk)
    if booking is None:
        return
    match State(booking.state):
        case State.REQUESTED:
            _advance(booking)
        case State.SENDING:
            # Whoever sent it is gone: it may have been booked.
            _read_later(booking, State.UNKNOWN, why="worker_lost")
        case State.UNKNOWN | State.NEEDS_HUMAN:
            _find(booking)
        case _:
            pass
    Booking.objects.filter(pk=pk).exclude(state=State.SENDING).update(lease_until=None)


def _lease(pk: int) -> Booking | None:
    now = timezone.now()
    free = Booking.objects.filter(pk=pk, due_at__lte=now).filter(
        Q(lease_until__isnull=True) | Q(lease_until__lte=now)
    )
    if free.update(lease_until=now + LEASE) != 1:
        return None
    return Booking.objects.select_related("connection", "requested_by").get(pk=pk)


def _advance(booking: Booking) -> None:
    if timezone.now() >= booking.expires_at:
        _end(booking, State.NOT_SENT, why="lifetime_over")
        return
    if not booking.requested_by.has_perm("appointments.schedule_appointment"):
        _end(booking, State.NOT_SENT, why="access_denied")
        return
    now = timezone.now()
    claimed = Booking.objects.filter(pk=booking.pk, state=State.REQUESTED, sent_at=None).update(
        state=State.SENDING, sent_at=now, due_at=now + LEASE, lease_until=now + LEASE
    )
    if claimed != 1:
        return
    client = booking.connection.client()
    with closing(client.http):
        outcome = _send(client, request_of(booking))
        booking.refresh_from_db()
        _settle(booking, client, outcome)


def _send(client: Provider, request: ScheduleRequest) -> ScheduleAnswer | ProviderError:
    try:
        return client.schedule(request)
    except (CredentialsRejected, AccessDenied) as error:
        credentials = isinstance(error, CredentialsRejected)
        return Refused(why=Refusal.CREDENTIALS if credentials else Refusal.PERMISSION)
    except ProviderError as error:
        return error


def _settle(booking: Booking, client: Provider, outcome: ScheduleAnswer | ProviderError) -> None:
    match outcome:
        case Scheduled():
            _booked(booking, client, outcome)
        case AwaitsConfirmation(said=said):
            _end(booking, State.AWAITS_CONFIRMATION, said=said)
        case Refused(why=why, said=said):
            _end(booking, State.REFUSED, why=why, said=said)
        case NotSent() | RateLimited():
            _end(booking, State.NOT_SENT, why=outcome.why)
        case _:
            _read_later(booking, State.UNKNOWN, why=outcome.why)


# --- reading back -----------------------------------------------------------------------------


def _booked(booking: Booking, client: Provider, answer: Scheduled) -> None:
    """It is booked, readable or not; read it back, so that the times can be compared."""
    shown = answer.appointment
    read_at = timezone.now()
    try:
        if shown is None and answer.external_id:
            shown = client.read(
                BookingRef(external_id=answer.external_id, starts_at=booking.starts_at)
            )
        if shown is None:
            shown = _listed(booking, client)
    except ProviderError:
        shown = answer.appointment
    _confirm(booking, shown, external_id=answer.external_id, read_at=read_at)
    wake(SYNC_CONNECTION, booking.connection_id)


def _find(booking: Booking) -> None:
    """Look for a booking whose answer was lost; never send it again."""
    client, read_at = booking.connection.client(), timezone.now()
    with closing(client.http):
        try:
            shown = _listed(booking, client)
        except ProviderError:
            shown = None
    if shown is not None:
        _confirm(booking, shown, external_id=shown.external_id, read_at=read_at)
        return
    quiet_until = (booking.sent_at or booking.requested_at) + LEASE + QUIET
    over = booking.state == State.NEEDS_HUMAN or timezone.now() >= quiet_until
    _read_later(
        booking, State.NEEDS_HUMAN if over else State.UNKNOWN, why="not_listed" if over else ""
    )


def _listed(booking: Booking, client: Provider) -> BookedAppointment | None:
    """The listed booking that fits: same person, about the same time, and new to us."""
    local = booking.starts_at.astimezone(booking.connection.zone).date()
    window = DateWindow(first=local - timedelta(days=1), last=local + timedelta(days=1))
    known = set(
        Appointment.objects.filter(
            connection=booking.connection, first_seen_at__lt=booking.requested_at
        ).values_list("external_id", flat=True)
    )
    wish = request_of(booking)
    for page in client.pages(window):
        for one in page.records:
            if one.external_id not in known and one.is_live and _fits(one, wish, booking):
                return one
    return None


def _fits(one: BookedAppointment, wish: ScheduleRequest, booking: Booking) -> bool:
    local = booking.starts_at.astimezone(booking.connection.zone).date()
    if one.starts_at is not None:
        # Half a day either way: a booking in the wrong zone must be found, to be shown.
        near = abs(one.starts_at - booking.starts_at) <= timedelta(hours=14)
    else:
        near = one.day is not None and abs((one.day - local).days) <= 1
    return near and any(_is_person(person, wish) for person in one.attendees)


def _is_person(person: Any, wish: ScheduleRequest) -> bool:
    if wish.email and person.email:
        return bool(fold(wish.email) == fold(person.email))
    if wish.phone and person.phone:
        return bool(digits(wish.phone) == digits(person.phone))
    return bool(wish.name) and fold(wish.name) == fold(person.name)


def _confirm(
    booking: Booking,
    shown: BookedAppointment | None,
    *,
    external_id: str,
    read_at: datetime,
) -> None:
    row = None
    if shown is not None:
        store(booking.connection, [_with_title(shown, booking)], read_at=read_at)
        row = Appointment.objects.filter(
            connection=booking.connection, external_id=shown.external_id
        ).first()
    _end(
        booking,
        State.CONFIRMED,
        external_id=external_id or (shown.external_id if shown else ""),
        appointment=row,
        booked_at=shown.starts_at if shown else None,
    )


def _with_title(shown: BookedAppointment, booking: Booking) -> BookedAppointment:
    """MijnKlantportaal does not repeat the title it was given; we know it."""
    return shown if shown.title else replace(shown, title=request_of(booking).title)


# --- rows -------------------------------------------------------------------------------------


def _end(booking: Booking, state: Booking.State, **values: Any) -> None:
    Booking.objects.filter(pk=booking.pk).update(
        state=state, due_at=None, settled_at=timezone.now(), lease_until=None, **values
    )


def _read_later(booking: Booking, state: Booking.State, *, why: str) -> None:
    pause = READ_AFTER[min(booking.reads, len(READ_AFTER) - 1)]
    due_at = timezone.now() + pause
    Booking.objects.filter(pk=booking.pk).update(
        state=state,
        why=why or booking.why,
        due_at=due_at,
        reads=booking.reads + 1,
        lease_until=None,
    )
    wake(PROCESS_BOOKING, booking.pk, at=due_at)


def _wish(request: ScheduleRequest) -> dict[str, Any]:
    values = asdict(request)
    for name in ("starts_at", "ends_at"):
        values[name] = values[name].isoformat() if values[name] else None
    return values


def request_of(booking: Booking) -> ScheduleRequest:
    """What was asked for, as the adapter takes it."""
    values = dict(booking.wish)
    for name in ("starts_at", "ends_at"):
        values[name] = datetime.fromisoformat(values[name]) if values[name] else None
    return ScheduleRequest(**values)
