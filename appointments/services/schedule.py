"""
Booking an appointment at a provider.

No provider documents a key that makes a repeated booking harmless, so the request is sent once,
whatever comes of it. After a lost answer the provider is read: found is booked, not found by the
end of the quiet period is for a person. What was booked is read back and its time compared with
the time that was meant, because two providers take times without a zone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
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
from appointments.models.secrets import CannotDecrypt
from appointments.providers.base import Provider
from appointments.providers.transport import within
from appointments.services import limits
from appointments.services.limits import Urgency
from appointments.services.queue import PROCESS_BOOKING, wake
from appointments.services.reconcile import QUIET, planned_read
from appointments.services.records import store
from appointments.services.sync import sync_soon

LIFETIME = timedelta(minutes=10)
LEASE = timedelta(seconds=60)
CROWDED = timedelta(seconds=3)
READ_BACK = 20.0
"""Seconds for reading back what was booked."""
State = Booking.State


@dataclass(frozen=True, kw_only=True)
class Offers:
    """What the schedule form of a connection lets choose from, instead of typing ids."""

    services: tuple[Service, ...]
    host_names: Mapping[str, str]
    """Names of hosts by their id, where a booking shows both."""
    branches: tuple[str, ...]
    """Ids of branches; no provider has a list of them, so they are those of known bookings."""


def offers(connection: Connection) -> Offers:
    """What can be booked at *connection*: the provider's list, and what its bookings show."""
    titles: dict[str, str] = {}
    hosts: dict[str, set[str]] = defaultdict(set)
    host_names: dict[str, str] = {}
    branches: set[str] = set()
    rows = Appointment.objects.filter(connection=connection).order_by("-sorts_at")
    for title, host, locator in rows.values_list("title", "host", "locator")[:500]:
        branches.add(locator.get("branch_id", ""))
        ids = [one for one in locator.get("host_ids", "").split(",") if one]
        if len(ids) == 1 and host:
            host_names[ids[0]] = host
        if kind := locator.get("meeting_type_id", ""):
            titles.setdefault(kind, title)
            hosts[kind].update(ids)
    seen = (
        Service(external_id=kind, name=title or kind, hosts=tuple(sorted(hosts[kind])))
        for kind, title in titles.items()
    )
    return Offers(
        services=connection.services or tuple(sorted(seen, key=lambda one: one.name.casefold())),
        host_names=host_names,
        branches=tuple(sorted(branches - {""})),
    )


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
    try:
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
    except Exception:
        # A bug of ours must not keep it from a person for ever.
        if booking.state in (State.UNKNOWN, State.NEEDS_HUMAN):
            _not_found(booking, why="unreadable")
        raise
    finally:
        Booking.objects.filter(pk=pk, lease_key=booking.lease_key).exclude(
            state=State.SENDING
        ).update(lease_key=None, lease_until=None)


def _lease(pk: int) -> Booking | None:
    now = timezone.now()
    connection = Booking.objects.values_list("connection", flat=True).filter(pk=pk)
    under_way = Booking.objects.filter(connection__in=connection, lease_until__gt=now)
    if under_way.count() >= settings.CANCELS_IN_FLIGHT:
        # One provider that hangs must not hold all the workers.
        Booking.objects.filter(pk=pk, due_at__lte=now).update(due_at=now + CROWDED)
        wake(PROCESS_BOOKING, pk, at=now + CROWDED)
        return None
    free = Booking.objects.filter(pk=pk, due_at__lte=now).filter(
        Q(lease_until__isnull=True) | Q(lease_until__lte=now)
    )
    if free.update(lease_key=uuid4(), lease_until=now + LEASE) != 1:
        return None
    return Booking.objects.select_related("connection", "requested_by").get(pk=pk)


def _advance(booking: Booking) -> None:
    if timezone.now() >= booking.expires_at:
        _end(booking, State.NOT_SENT, why="lifetime_over")
        return
    if not booking.requested_by.has_perm("appointments.schedule_appointment"):
        _end(booking, State.NOT_SENT, why="not_permitted")
        return
    if not booking.connection.is_active:
        _end(booking, State.NOT_SENT, why="switched_off")
        return
    try:
        client = limits.client(booking.connection, Urgency.WORK)
    except CannotDecrypt:
        _end(booking, State.NOT_SENT, why="cannot_decrypt")
        return
    with closing(client.http):
        now = timezone.now()
        if not _move(
            booking, State.SENDING, sent_at=now, due_at=now + LEASE, lease_until=now + LEASE
        ):
            return
        _settle(booking, client, _send(client, request_of(booking)))


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
    """It is booked: that first, and only then read it back to compare the time."""
    if not _end(booking, State.CONFIRMED, external_id=answer.external_id, said=answer.said):
        return
    sync_soon(booking.connection)
    shown, read_at = answer.appointment, timezone.now()
    try:
        with within(READ_BACK):
            if shown is None and answer.external_id:
                shown = client.read(
                    BookingRef(external_id=answer.external_id, starts_at=booking.starts_at)
                )
            if shown is None:
                shown = _listed(booking, client)
    except ProviderError:
        return  # Booked all the same; the page says that the time was not compared.
    if shown is not None:
        _link(booking, shown, read_at=read_at)


def _find(booking: Booking) -> None:
    """Look for a booking whose answer was lost; never send it again."""
    read_at = timezone.now()
    client = limits.client(booking.connection, Urgency.WORK)
    with closing(client.http):
        try:
            shown = _listed(booking, client)
        except ProviderError:
            _not_found(booking, why="unreadable")
            return
    if shown is None:
        _not_found(booking, why="not_listed")
        return
    if _end(booking, State.CONFIRMED, external_id=shown.external_id, why="found"):
        _link(booking, shown, read_at=read_at)


def _not_found(booking: Booking, *, why: str) -> None:
    quiet_until = (booking.sent_at or booking.requested_at) + LEASE + QUIET
    over = booking.state == State.NEEDS_HUMAN or timezone.now() >= quiet_until
    _read_later(booking, State.NEEDS_HUMAN if over else State.UNKNOWN, why=why)


def _listed(booking: Booking, client: Provider) -> BookedAppointment | None:
    """The listed booking that is ours: same person, same time, and new to us."""
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
    same_time = (
        one.starts_at == booking.starts_at if one.starts_at is not None else one.day == local
    )
    return same_time and any(_is_person(person, wish) for person in one.attendees)


def _is_person(person: Any, wish: ScheduleRequest) -> bool:
    if wish.email and person.email:
        return bool(fold(wish.email) == fold(person.email))
    if wish.phone and person.phone:
        return bool(digits(wish.phone) == digits(person.phone))
    return bool(wish.name) and fold(wish.name) == fold(person.name)


def _link(booking: Booking, shown: BookedAppointment, *, read_at: datetime) -> None:
    """Keep what the provider shows, and tie it to the request."""
    store(booking.connection, [_with_title(shown, booking)], read_at=read_at)
    row = Appointment.objects.filter(
        connection=booking.connection, external_id=shown.external_id
    ).first()
    Booking.objects.filter(pk=booking.pk).update(
        appointment=row, external_id=shown.external_id, booked_at=shown.starts_at
    )


def _with_title(shown: BookedAppointment, booking: Booking) -> BookedAppointment:
    """MijnKlantportaal does not repeat the title it was given; we know it."""
    return shown if shown.title else replace(shown, title=request_of(booking).title)


# --- rows -------------------------------------------------------------------------------------


def _move(booking: Booking, state: Booking.State, **values: Any) -> bool:
    """Change the row if it is still as we hold it; False if somebody else was faster."""
    if booking.state not in Booking.OPEN:
        return False
    mine = Booking.objects.filter(pk=booking.pk, state=booking.state, lease_key=booking.lease_key)
    if mine.update(state=state, **values) != 1:
        return False
    booking.refresh_from_db()
    return True


def _end(booking: Booking, state: Booking.State, **values: Any) -> bool:
    return _move(booking, state, due_at=None, settled_at=timezone.now(), **values)


def _read_later(booking: Booking, state: Booking.State, *, why: str) -> None:
    since = booking.sent_at if booking.state != State.SENDING else None
    due_at = planned_read(since or timezone.now())
    if _move(booking, state, why=why, due_at=due_at, lease_until=None):
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
