"""
Asking a provider to book an appointment, to move one, or to confirm a pending one.

Nothing is sent from here: the intent is committed, and the worker of `services.book` is woken. What
a member of staff can cause by clicking comes back as a value: a `Booking`, or a `BookingConflict`
that says why none was recorded. What a person can decide about an unknown outcome is here, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.utils import timezone

from appointments.domain import CapabilityMissing, ScheduleRequest, Service, Status
from appointments.models import (
    Appointment,
    Attendee,
    Booking,
    BookingEvent,
    Cancellation,
    Connection,
)
from appointments.models.bookings import JUDGED_DONE, JUDGED_NOT_DONE
from appointments.models.bookings import BookingEventKind as Event
from appointments.models.cancellations import IllegalTransition
from appointments.services.asked import OFFERED, Offered
from appointments.services.cancel import series_conflict, series_key
from appointments.services.facts import facts_of
from appointments.services.queue import PROCESS_BOOKING, wake
from appointments.services.reconcile import QUIET

LIFETIME = timedelta(minutes=10)
"""How long after the click something may be sent."""
LEASE = timedelta(seconds=60)
"""Longer than any look, send and second look together may take."""
NOTHING_OFFERED = Offered()
State = Booking.State
Kind = Booking.Kind


class BookingConflictKind(StrEnum):
    """Why a booking cannot be changed or replaced now."""

    STALE = "stale"
    CHANGE_OPEN = "change_open"
    CANCELLATION_OPEN = "cancellation_open"
    SERIES_OPEN = "series_open"
    REBOOKED = "rebooked"
    ASKED_BEFORE = "asked_before"
    """The same new appointment was asked for, and what came of it is open."""
    BOOKED_BEFORE = "booked_before"
    """Exactly the same one was asked for from here, and may stand."""
    FORM_USED = "form_used"
    """Another new appointment was asked for from this very form."""
    NOT_REVIEWED = "not_reviewed"
    """What was to be booked is not what was shown last."""
    PERSON_GONE = "person_gone"
    """Who was to get the new one is not on the old one any more."""
    NOT_LIVE = "not_live"
    NOT_PENDING = "not_pending"
    PAST = "past"
    SWITCHED_OFF = "switched_off"


@dataclass(frozen=True, kw_only=True)
class BookingConflict:
    kind: BookingConflictKind
    booking: Booking | None = None
    """The move, confirmation or rebooking in the way, if there is one."""
    cancellation: Cancellation | None = None


@dataclass(frozen=True, kw_only=True)
class MoveWish:
    """Where an appointment is to be moved; session and batch where a window was chosen."""

    starts_at: datetime
    session: str = ""
    batch: str = ""


@dataclass(frozen=True, kw_only=True)
class Replacing:
    """What is to be cancelled once the new appointment stands."""

    appointment: Appointment
    attendee: Attendee | None = None
    """If it is a group, the one person who gets the new one."""


@dataclass(frozen=True, kw_only=True)
class Offers:
    """What the schedule form of a connection lets choose from, instead of typing ids."""

    services: tuple[Service, ...]
    host_names: Mapping[str, str]
    """Names of hosts by their id, where a booking shows both."""
    branches: tuple[str, ...]
    """Ids of branches; no provider has a list of them, so they are those of known bookings."""
    minutes: Mapping[str, int] = field(default_factory=dict)
    """How long a booking of a service takes, by its id, where all known ones take as long."""

    def not_with(self, host: str, *, service: str) -> Service | None:
        """The service of that id, if it is known that *host* cannot be booked for it."""
        known = (one for one in self.services if one.external_id == service)
        found = next(known, None)
        wrong = found is not None and found.hosts and host and host not in found.hosts
        return found if wrong else None


def offers(connection: Connection) -> Offers:
    """What can be booked at *connection*: the provider's list, and what its bookings show."""
    titles: dict[str, str] = {}
    hosts: dict[str, set[str]] = defaultdict(set)
    host_names: dict[str, str] = {}
    branches: set[str] = set()
    lengths: dict[str, set[timedelta]] = defaultdict(set)
    rows = Appointment.objects.filter(connection=connection).order_by("-sorts_at")
    columns = ("title", "host", "locator", "starts_at", "ends_at")
    for title, host, locator, starts_at, ends_at in rows.values_list(*columns)[:500]:
        branches.add(locator.get("branch_id", ""))
        ids = [one for one in locator.get("host_ids", "").split(",") if one]
        if len(ids) == 1 and host:
            host_names[ids[0]] = host
        if kind := locator.get("meeting_type_id", ""):
            titles.setdefault(kind, title)
            hosts[kind].update(ids)
            if starts_at and ends_at:
                lengths[kind].add(ends_at - starts_at)
    seen = (
        Service(external_id=kind, name=title or kind, hosts=tuple(sorted(hosts[kind])))
        for kind, title in titles.items()
    )
    return Offers(
        services=connection.services or tuple(sorted(seen, key=lambda one: one.name.casefold())),
        host_names=host_names,
        branches=tuple(sorted(branches - {""})),
        minutes={
            kind: int(one.total_seconds() // 60)
            for kind, (one, *others) in lengths.items()
            if not others
        },
    )


# --- asking -----------------------------------------------------------------------------------


def ask_to_schedule(
    connection: Connection,
    *,
    by: User,
    request: ScheduleRequest,
    form_key: UUID,
    offered: Offered = NOTHING_OFFERED,
) -> Booking | BookingConflict:
    """
    Record the intent to book and wake the worker. The same *form_key* again is the same intent.

    While nobody knows what became of a request, or what it booked stands, exactly the same is not
    asked for a second time.

    Raises:
        PermissionDenied: *by* may not schedule; nothing was recorded.
        CapabilityMissing: a caller's bug: the provider cannot schedule.
    """
    _check_schedules(connection, by=by)
    with transaction.atomic():
        # Locks first, then questions: two windows with the same in them wait here.
        Connection.objects.select_for_update(no_key=True).get(pk=connection.pk)
        if (same := _same(form_key)) is not None:
            return same
        booking = _new_booking(
            connection, by=by, request=request, form_key=form_key, offered=offered
        )
        return _twin_conflict(booking) or _recorded(booking)


def ask_to_rebook(
    connection: Connection,
    *,
    by: User,
    request: ScheduleRequest,
    form_key: UUID,
    replacing: Replacing,
    offered: Offered = NOTHING_OFFERED,
) -> Booking | BookingConflict:
    """
    Book a new appointment in place of another one, which stands until the new one does.

    As with any new one, exactly the same is not asked for a second time.

    Raises:
        PermissionDenied: *by* may not schedule; nothing was recorded.
        CapabilityMissing: a caller's bug: the provider cannot schedule.
    """
    _check_schedules(connection, by=by)
    person = replacing.attendee.external_id if replacing.attendee else ""
    with transaction.atomic():
        # In the order of `_ask_to_change`.
        Connection.objects.select_for_update(no_key=True).get(pk=connection.pk)
        row = Appointment.objects.select_for_update().get(pk=replacing.appointment.pk)
        if (same := _same(form_key)) is not None:
            return same
        if (conflict := replacing_conflict(row, person=person)) is not None:
            return conflict
        booking = _new_booking(
            connection, by=by, request=request, form_key=form_key, offered=offered
        )
        booking.replaces, booking.replaces_attendee = row, person
        return _twin_conflict(booking) or _recorded(booking)


def ask_to_move(
    appointment: Appointment,
    *,
    by: User,
    to: MoveWish,
    form_key: UUID,
    version: str,
    offered: Offered = NOTHING_OFFERED,
) -> Booking | BookingConflict:
    """
    Record the intent to move *appointment*; *version* is that of the page that was seen.

    Raises:
        PermissionDenied: *by* may not schedule; nothing was recorded.
        CapabilityMissing: a caller's bug: the provider moves nothing.
    """
    if not appointment.capabilities.reschedules:
        raise CapabilityMissing(f"{appointment.connection.provider_label} moves no booking")
    wish = asdict(to) | {"starts_at": to.starts_at.isoformat()} | offered.as_json()
    return _ask_to_change(
        appointment,
        Kind.MOVE,
        by=by,
        form_key=form_key,
        version=version,
        at=to.starts_at,
        wish=wish,
    )


def ask_to_confirm(
    appointment: Appointment, *, by: User, form_key: UUID, version: str
) -> Booking | BookingConflict:
    """
    Record the intent to accept a pending *appointment*. To decline it is to cancel it.

    Raises:
        PermissionDenied: *by* may not schedule; nothing was recorded.
        CapabilityMissing: a caller's bug: the provider confirms nothing.
    """
    if not appointment.capabilities.confirms_pending:
        raise CapabilityMissing(f"{appointment.connection.provider_label} confirms nothing")
    return _ask_to_change(
        appointment,
        Kind.CONFIRM,
        by=by,
        form_key=form_key,
        version=version,
        at=appointment.starts_at_the_earliest,
        wish={},
    )


def _ask_to_change(
    appointment: Appointment,
    kind: Booking.Kind,
    *,
    by: User,
    form_key: UUID,
    version: str,
    at: datetime,
    wish: dict[str, Any],
) -> Booking | BookingConflict:
    if not by.has_perm("appointments.schedule_appointment"):
        raise PermissionDenied
    with transaction.atomic():
        # Locks first, then questions, in the order of `ask_to_cancel`: whoever wants to cancel
        # it at this moment waits here, or made us wait.
        if series_key(appointment):
            Connection.objects.select_for_update(no_key=True).get(pk=appointment.connection_id)
        row = Appointment.objects.select_for_update().get(pk=appointment.pk)
        if (same := _same(form_key)) is not None:
            return same
        if (conflict := change_conflict(row, kind, version=version)) is not None:
            return conflict
        booking = _intent(row.connection, by=by, form_key=form_key)
        booking.kind, booking.wish, booking.starts_at = kind, wish, at
        booking.appointment, booking.external_id = row, row.external_id
        hours = [f"{one:%H:%M}" for one in (row.window_starts, row.window_ends) if one]
        booking.expected = facts_of(row).as_json() | {"host": row.host, "window": hours}
        return _recorded(booking)


def _check_schedules(connection: Connection, *, by: User) -> None:
    if not by.has_perm("appointments.schedule_appointment"):
        raise PermissionDenied
    if not connection.capabilities.schedules:
        raise CapabilityMissing(f"{connection.provider_label} cannot schedule")


def _new_booking(
    connection: Connection,
    *,
    by: User,
    request: ScheduleRequest,
    form_key: UUID,
    offered: Offered,
) -> Booking:
    booking = _intent(connection, by=by, form_key=form_key)
    booking.wish = wish_of(request) | offered.as_json()
    booking.starts_at = request.starts_at
    return booking


def _intent(connection: Connection, *, by: User, form_key: UUID) -> Booking:
    now = timezone.now()
    return Booking(
        form_key=form_key,
        connection=connection,
        requested_by=by,
        requested_at=now,
        expires_at=now + LIFETIME,
        due_at=now,
    )


def _recorded(booking: Booking) -> Booking:
    """*booking* in the database with its first entry; or the one of the same form before it."""
    try:
        with transaction.atomic():
            booking.save()
            BookingEvent.objects.create(
                booking=booking,
                at=booking.requested_at,
                event=Event.ASKED,
                after=State.REQUESTED,
                by=booking.requested_by,
            )
            wake(PROCESS_BOOKING, booking.pk)
    except IntegrityError:
        if (same := _same(booking.form_key)) is None:
            raise
        return same
    return booking


def _same(form_key: UUID) -> Booking | None:
    """The intent that this very form recorded before."""
    return Booking.objects.filter(form_key=form_key).first()


def _twin_conflict(booking: Booking) -> BookingConflict | None:
    """
    A request for exactly the same as *booking*, whoever made it, that is open or was carried out.

    Two windows are not always quick enough for the first to be open still when the second asks.
    """
    wish = _moments_read(booking.wish)
    same_time = Booking.objects.select_related("appointment").filter(
        connection=booking.connection, kind=Kind.BOOK, starts_at=booking.starts_at
    )
    twins = [one for one in same_time if _moments_read(one.wish) == wish]
    if (twin := next((one for one in twins if one.is_open), None)) is not None:
        return BookingConflict(kind=BookingConflictKind.ASKED_BEFORE, booking=twin)
    if (twin := next((one for one in twins if _may_stand(one)), None)) is not None:
        return BookingConflict(kind=BookingConflictKind.BOOKED_BEFORE, booking=twin)
    return None


def _may_stand(booking: Booking) -> bool:
    """Whether what *booking* asked for was booked, and nothing shows that it is over."""
    was_booked = (
        booking.stands or booking.is_contradicted or booking.state == State.AWAITS_CONFIRMATION
    )
    return was_booked and not booking.has_vanished


def repeats(
    booking: Booking,
    connection: Connection,
    *,
    request: ScheduleRequest,
    replacing: Replacing | None = None,
) -> bool:
    """Whether *booking* asked for just this: a form that comes once more, not another one."""
    person = replacing.attendee.external_id if replacing and replacing.attendee else ""
    return (
        (booking.kind, booking.connection_id) == (Kind.BOOK, connection.pk)
        and booking.replaces_id == (replacing.appointment.pk if replacing else None)
        and booking.replaces_attendee == person
        and _moments_read(booking.wish) == _moments_read(wish_of(request))
    )


def _moments_read(wish: Mapping[str, Any]) -> dict[str, Any]:
    """What of *wish* is sent, its moments as such: the same one may be written in two zones."""
    moments = {name: wish[name] for name in ("starts_at", "ends_at")}
    sent = {name: value for name, value in wish.items() if name != OFFERED}
    return {
        **sent,
        **{name: datetime.fromisoformat(one) if one else None for name, one in moments.items()},
    }


def wish_of(request: ScheduleRequest) -> dict[str, Any]:
    """*request* as `Booking.wish` keeps it."""
    values = asdict(request)
    for name in ("starts_at", "ends_at"):
        values[name] = values[name].isoformat() if values[name] else None
    return values


# --- what stands against it -------------------------------------------------------------------


def change_conflict(
    row: Appointment, kind: Booking.Kind, *, version: str | None = None
) -> BookingConflict | None:
    """What keeps *row* from being moved or confirmed now; None of *version*: whatever was seen."""
    if (other := row.booking_requests.open().changes().first()) is not None:
        return BookingConflict(kind=BookingConflictKind.CHANGE_OPEN, booking=other)
    open_ones = Cancellation.objects.open().filter(
        connection=row.connection_id, external_id=row.external_id
    )
    if (cancellation := open_ones.first()) is not None:
        return BookingConflict(
            kind=BookingConflictKind.CANCELLATION_OPEN, cancellation=cancellation
        )
    if (obstacle := change_obstacle(row, kind)) is not None:
        return BookingConflict(kind=obstacle)
    if version is not None and row.version != version:
        return BookingConflict(kind=BookingConflictKind.STALE)
    if (series := series_conflict(row)) is not None:
        return BookingConflict(
            kind=BookingConflictKind.SERIES_OPEN, cancellation=series.cancellation
        )
    return None


def change_obstacle(appointment: Appointment, kind: Booking.Kind) -> BookingConflictKind | None:
    """Why moving or confirming *appointment* is not offered at all; None if it is."""
    if not appointment.connection.is_active:
        return BookingConflictKind.SWITCHED_OFF
    if not appointment.is_live:
        return BookingConflictKind.NOT_LIVE
    if kind is Kind.CONFIRM and appointment.status != Status.PENDING:
        return BookingConflictKind.NOT_PENDING
    if appointment.has_begun:
        return BookingConflictKind.PAST
    return None


def replacing_conflict(row: Appointment, *, person: str = "") -> BookingConflict | None:
    """What keeps *row*, or one *person* of it, from being replaced by a new appointment now."""
    if not row.is_live:
        return BookingConflict(kind=BookingConflictKind.NOT_LIVE)
    others = row.replacements.select_related("appointment")
    if person:
        # Who was alone on it when all of it was rebooked is not named.
        others = others.filter(replaces_attendee__in=(person, ""))
    half_done = (one for one in others.half_done() if not one.is_undone)
    other = others.open().first() or next(half_done, None)
    if other is not None:
        return BookingConflict(kind=BookingConflictKind.REBOOKED, booking=other)
    return None


# --- what a person can do about it ------------------------------------------------------------


class BookingVerdict(StrEnum):
    """What somebody found out outside the portal."""

    DONE = JUDGED_DONE
    NOT_DONE = JUDGED_NOT_DONE


def take_back(booking: Booking, *, by: User) -> Booking:
    """Withdraw what has not been sent yet; if it has been, nothing happens."""
    _check_may_schedule(by)
    try:
        booking.apply(Event.TAKEN_BACK, why="taken_back", by=by)
    except IllegalTransition:
        booking.refresh_from_db()
    return booking


def read_again(booking: Booking, *, by: User) -> None:
    """Have the worker read the provider now. Sends nothing that changes anything."""
    _check_may_schedule(by)
    now = timezone.now()
    waiting = Booking.objects.unsettled().filter(pk=booking.pk, due_at__gt=now, lease_until=None)
    if waiting.update(due_at=now):
        wake(PROCESS_BOOKING, booking.pk)


def quiet_from(booking: Booking) -> datetime:
    """From when on the request can take effect no more."""
    return (booking.sent_at or booking.requested_at) + LEASE + QUIET


def may_settle(booking: Booking) -> bool:
    """Whether a verdict may be given now."""
    return booking.state == State.NEEDS_HUMAN and timezone.now() >= quiet_from(booking)


def settle_by_hand(booking: Booking, *, by: User, verdict: BookingVerdict, reason: str) -> Booking:
    """
    Close *booking* with the verdict of a named person; unchanged if that is not possible now.

    Raises:
        PermissionDenied: *by* may not settle; nothing was recorded.
    """
    if not by.has_perms(("appointments.settle_cancellation", "appointments.schedule_appointment")):
        raise PermissionDenied
    if not may_settle(booking):
        return booking
    try:
        booking.apply(Event.SETTLED_BY_HAND, why=verdict, by=by, detail=reason)
    except IllegalTransition:
        booking.refresh_from_db()
    return booking


def keep_both(booking: Booking, *, by: User) -> Booking:
    """
    End a rebooking on the word of *by*: the old appointment stays beside the new one.

    What is shown as done after all, and takes nothing's place, is left as it is shown. Nothing
    happens to anything else, nor while the old one is being cancelled.
    """
    _check_may_schedule(by)
    with transaction.atomic():
        # Whoever asks to cancel the old one at this moment waits here, or made us wait.
        old = (
            Appointment.objects.select_for_update(of=("self",)).filter(replacements=booking).first()
        )
        is_half_done = Booking.objects.half_done().filter(pk=booking.pk).exists()
        mine = Booking.objects.filter(pk=booking.pk, kept_both_at=None)
        if not is_half_done:
            mine = mine.filter(pk__in=Booking.objects.contradicted().values("pk"))
        if old is not None and old.cancellations.open().exists():
            mine = mine.none()
        if mine.update(kept_both_at=timezone.now(), kept_both_by=by):
            booking.note(Event.KEPT_BOTH if is_half_done else Event.ACCEPTED, by=by)
    booking.refresh_from_db()
    return booking


def _check_may_schedule(by: User) -> None:
    if not by.has_perm("appointments.schedule_appointment"):
        raise PermissionDenied
