"""
The worker's side of a booking, a move or a confirmation: lease, look, claim, send once, settle.

    process        what a task calls: does whatever the row's state asks for
    _look          reads what is to be changed; what is another one by now is not sent
    _claim         marks it as sending; the database lets that happen once
    _settle        stores what came of it
    _read_back     reads what the provider has now, and compares it with what was asked
    _read          settles an unknown outcome, by reading and never by sending again

No provider documents a key that makes a repeat harmless, so each request is sent once, whatever
comes of it. After a lost answer the provider is read: what it shows as asked is done; what it does
not show so by the end of the quiet period is for a person.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import uuid4

import stamina
from django.conf import settings
from django.db import connection as database
from django.db import transaction
from django.utils import timezone

from appointments.domain import (
    AccessDenied,
    AnswerNotUnderstood,
    AwaitsConfirmation,
    BookedAppointment,
    BookingRef,
    Confirmed,
    ConfirmRequest,
    CredentialsRejected,
    DateWindow,
    Facts,
    NotSent,
    ProviderError,
    RateLimited,
    Refusal,
    Refused,
    Rescheduled,
    Scheduled,
    Status,
)
from appointments.models import Appointment, Booking, Cancellation, Connection
from appointments.models.bookings import UNSETTLED_BOOKINGS
from appointments.models.bookings import BookingEventKind as Event
from appointments.models.cancellations import IllegalTransition
from appointments.models.secrets import CannotDecrypt
from appointments.providers.base import Provider
from appointments.providers.transport import within
from appointments.services import limits
from appointments.services.asked import Offered, fits, is_somebody_else, move_of, request_of
from appointments.services.facts import booking_of
from appointments.services.limits import Urgency
from appointments.services.outage import NO_DATABASE
from appointments.services.queue import PROCESS_BOOKING, wake
from appointments.services.reconcile import QUIET, planned_read
from appointments.services.records import store
from appointments.services.schedule import LEASE, quiet_from
from appointments.services.sync import sync_soon

CROWDED = timedelta(seconds=3)
LOOK = 25.0
LOOK_HOLDS = timedelta(seconds=30)
"""What a look showed may be another thing after that."""
SECOND_LOOK = 15.0
READ_BACK = 20.0
"""Seconds, each; with a write's 20 those before the settling stay below the lease."""
START_WITHIN = timedelta(seconds=20)
"""After the claim: the first byte leaves before that, so that the lease outlasts the rest."""
TRY_AGAIN = (timedelta(seconds=1), timedelta(seconds=4), timedelta(seconds=15))
"""After a look that failed."""
RECORD_FOR = 30.0
"""Seconds for which the database is asked again to keep an answer."""
WHY_LIMIT = 60
State = Booking.State
Kind = Booking.Kind


@dataclass(frozen=True, kw_only=True)
class AlreadySo:
    """Refused, and a second look shows it as asked all the same."""

    shown: BookedAppointment


type Outcome = (
    Scheduled | AwaitsConfirmation | Rescheduled | Confirmed | Refused | AlreadySo | ProviderError
)


def process(pk: int) -> None:
    """
    Do what booking *pk* waits for, if it is due and nobody else is at it.

    Safe to call at any time and any number of times.
    """
    booking = _lease(pk)
    if booking is None:
        return
    held = booking.lease_key
    try:
        match State(booking.state):
            case State.REQUESTED:
                _advance(booking)
            case State.SENDING:
                # Whoever sent it is gone: it may have been carried out.
                _become_unknown(booking, Event.LEASE_EXPIRED, why="worker_lost")
            case State.UNKNOWN | State.NEEDS_HUMAN:
                _read(booking)
            case State.CONFIRMED:
                _read_back_later(booking)
            case _:
                pass
    except IllegalTransition:
        pass  # Somebody else moved it meanwhile; the row says what is next.
    except Exception:
        _stumble(pk)
        raise
    finally:
        mine = Booking.objects.filter(pk=pk, lease_key=held)
        mine.exclude(state=State.SENDING).update(lease_key=None, lease_until=None)


def _lease(pk: int) -> Booking | None:
    """Take the row for ourselves for a while; None if it is not due, taken, or must wait."""
    now = timezone.now()
    with transaction.atomic():
        found = Booking.objects.due(now).filter(pk=pk).first()
        if found is None:
            return None
        # Counting and taking are one step, together with the cancellations of this account.
        account = Connection.objects.select_for_update(no_key=True).get(pk=found.connection_id)
        if wait := _wait_for_turn(found, account, now=now):
            Booking.objects.due(now).filter(pk=pk).update(due_at=now + wait)
            wake(PROCESS_BOOKING, pk, at=now + wait)
            return None
        taken = Booking.objects.due(now).filter(pk=pk, state=found.state)
        if taken.update(lease_key=uuid4(), lease_until=now + LEASE) != 1:
            return None
    return Booking.objects.select_related(
        "connection", "appointment__connection", "requested_by"
    ).get(pk=pk)


def _wait_for_turn(booking: Booking, account: Connection, *, now: datetime) -> timedelta | None:
    """How long others go first; None if it may begin."""
    if booking.state == State.SENDING:
        return None  # Its worker is gone: that is only written down.
    if booking.state == State.REQUESTED and now >= booking.expires_at:
        return None
    under_way = (
        Booking.objects.in_flight(account, now).count()
        + Cancellation.objects.in_flight(account, now).count()
    )
    if under_way >= settings.CANCELS_IN_FLIGHT:
        # One provider that hangs must not hold all the workers.
        return CROWDED
    return limits.wait_for_work(account, under_way=under_way) or None


def _stumble(pk: int) -> None:
    """
    Something failed that is a bug of ours: it must not keep the row from a person for ever.

    One that was being sent stays so until its lease runs out.
    """
    booking = Booking.objects.select_related("connection").get(pk=pk)
    if booking.state == State.REQUESTED:
        _wait(booking, why="internal")
    elif booking.state in UNSETTLED_BOOKINGS:
        _not_found(booking, why="unreadable")
    elif booking.state == State.CONFIRMED:
        _compare_later(booking)


def _advance(booking: Booking) -> None:
    if timezone.now() >= booking.expires_at:
        _end(booking, Event.LIFETIME_OVER, why=booking.why or "lifetime_over")
        return
    if not booking.requested_by.has_perm("appointments.schedule_appointment"):
        _end(booking, Event.NOT_PERMITTED, why="not_permitted")
        return
    if not booking.connection.is_active:
        _end(booking, Event.LOOK_REFUSED, why="switched_off")
        return
    try:
        client = limits.client(booking.connection, Urgency.WORK)
    except CannotDecrypt:
        _end(booking, Event.LOOK_REFUSED, why="cannot_decrypt")
        return
    with closing(client.http):
        _carry_out(booking, client)


def _carry_out(booking: Booking, client: Provider) -> None:
    looked_at = timezone.now()
    seen: BookedAppointment | None = None
    if booking.kind != Kind.BOOK:
        seen = _look(booking, client)
        if seen is None:
            return
    client.http.gate.prepay()
    claimed_at = _claim(booking, looked_at=looked_at)
    outcome = _send(booking, client, seen, before=claimed_at + START_WITHIN)
    if seen is not None and isinstance(outcome, Refused) and not outcome.conclusive:
        outcome = _second_look(booking, client, outcome)
    answered_at = timezone.now()
    _settle(booking, outcome, at=answered_at)
    if booking.state == State.CONFIRMED:
        _show(booking, outcome, at=answered_at)
        _read_back(booking, client, fallback=_shown_by(outcome))


# --- look -------------------------------------------------------------------------------------


def _look(booking: Booking, client: Provider) -> BookedAppointment | None:
    """What is to be changed, as it is now; None if that ended the matter, or it is unreadable."""
    row, read_at = _row(booking), timezone.now()
    try:
        with within(LOOK):
            seen = client.read(row.ref())
    except ProviderError as error:
        _not_seen(booking, error)
        return None
    if seen is None:
        _end(booking, Event.FOUND_GONE, why="gone")
        return None
    store(booking.connection, [seen], read_at=read_at)
    if _is_as_asked(booking, seen):
        _end(booking, Event.FOUND_CHANGED, why="already_so")
        return None
    changes = booking.facts.changes(Facts.of(seen))
    if changes or not seen.is_live:
        _end(booking, Event.FOUND_CHANGED, why="changed_" + (changes or ("status",))[0])
        return None
    # A fresh read may know less than the listing did: keep what it lacks.
    return replace(seen, locator={**row.locator, **seen.locator})


def _not_seen(booking: Booking, error: ProviderError) -> None:
    match error:
        case CredentialsRejected() | AccessDenied():
            _end(booking, Event.LOOK_REFUSED, why=error.why)
        case RateLimited(wait=wait) if wait is None or wait > LEASE * 2:
            _end(booking, Event.LOOK_REFUSED, why=error.why)
        case RateLimited(wait=timedelta() as wait):
            _wait(booking, why=error.why, at_least=wait)
        case _:
            _wait(booking, why="unreadable")


def _wait(booking: Booking, *, why: str, at_least: timedelta = timedelta(0)) -> None:
    """Nothing is sent unseen, so wait within the lifetime."""
    step = min(booking.failed_looks, len(TRY_AGAIN) - 1)
    due_at = min(timezone.now() + max(TRY_AGAIN[step], at_least), booking.expires_at)
    waiting = Booking.objects.filter(pk=booking.pk, state=State.REQUESTED)
    waiting.update(due_at=due_at, why=why, failed_looks=booking.failed_looks + 1)
    wake(PROCESS_BOOKING, booking.pk, at=due_at)


# --- claim and send ---------------------------------------------------------------------------


def _claim(booking: Booking, *, looked_at: datetime) -> datetime:
    """
    Write down, durably, that this request is about to leave; answer when.

    Raises:
        IllegalTransition: the lease ran out, it was taken back, or what was seen at *looked_at*
            may no longer hold; nothing may be sent.
    """
    now = timezone.now()
    if now >= booking.expires_at or now - looked_at > LOOK_HOLDS:
        raise IllegalTransition("held up")
    booking.apply(
        Event.CLAIMED,
        held=booking.lease_key,
        sent_at=now,
        due_at=now + LEASE,
        lease_key=booking.lease_key,
        lease_until=now + LEASE,
    )
    return now


def _send(
    booking: Booking, client: Provider, seen: BookedAppointment | None, *, before: datetime
) -> Outcome:
    """The answer of the provider, or what went wrong; not sent at all unless *before* then."""
    if timezone.now() >= before:
        return NotSent("held_up")
    try:
        if seen is None:
            return client.schedule(request_of(booking))
        if booking.kind == Kind.MOVE:
            return client.reschedule(move_of(booking, seen))
        return client.confirm(ConfirmRequest(appointment=seen))
    except (CredentialsRejected, AccessDenied) as error:
        credentials = isinstance(error, CredentialsRejected)
        why = Refusal.CREDENTIALS if credentials else Refusal.PERMISSION
        return Refused(why=why, conclusive=True)
    except ProviderError as error:
        return error


def _second_look(booking: Booking, client: Provider, refused: Refused) -> Outcome:
    """A refusal may mean that it is so already: what is there now decides."""
    read_at = timezone.now()
    try:
        with within(SECOND_LOOK):
            seen = client.read(_row(booking).ref())
    except ProviderError as error:
        return AnswerNotUnderstood("refused_unreadable", status=error.status)
    if seen is None:
        return refused
    store(booking.connection, [seen], read_at=read_at)
    return AlreadySo(shown=seen) if _is_as_asked(booking, seen) else refused


# --- settle -----------------------------------------------------------------------------------


def _settle(booking: Booking, outcome: Outcome, *, at: datetime) -> None:
    """
    Move the state along what was answered, in one commit that is tried for half a minute.

    Raises:
        IllegalTransition: the lease was lost meanwhile and the row is *unknown*; the answer stands
            in its history, and the reads that follow settle it.
    """
    for attempt in stamina.retry_context(on=NO_DATABASE, timeout=RECORD_FOR, attempts=None):
        with attempt:
            if attempt.num > 1 and _is_settled(booking):
                return
            try:
                with transaction.atomic():
                    _move(booking, outcome)
                    if booking.state == State.CONFIRMED and booking.appointment_id:
                        # A listing that began before knows nothing of it.
                        row = Appointment.objects.filter(pk=booking.appointment_id)
                        row.update(changed_here_at=at)
            except IllegalTransition:
                _note_late(booking, outcome)
                raise


def _is_settled(booking: Booking) -> bool:
    """Whether the commit whose end we did not hear of went through; else all is as before it."""
    if not database.in_atomic_block:
        database.close_if_unusable_or_obsolete()
    booking.refresh_from_db()
    return booking.state != State.SENDING


def _move(booking: Booking, outcome: Outcome) -> None:
    held = booking.lease_key
    match outcome:
        case Scheduled(external_id=external_id, said=said):
            booking.apply(
                Event.PROVIDER_CONFIRMED,
                held=held,
                said=said,
                external_id=external_id,
                due_at=_first_read_back(),
            )
        case Rescheduled():
            booking.apply(Event.PROVIDER_CONFIRMED, held=held, due_at=_first_read_back())
        case Confirmed(said=said):
            booking.apply(Event.PROVIDER_CONFIRMED, held=held, said=said, due_at=_first_read_back())
        case AlreadySo():
            booking.apply(Event.FOUND, held=held, why="found", due_at=_first_read_back())
        case AwaitsConfirmation(said=said):
            booking.apply(Event.PROVIDER_NOTED, held=held, said=said)
        case Refused(why=why, said=said):
            booking.apply(Event.PROVIDER_REFUSED, held=held, why=why, said=said)
        case NotSent() | RateLimited():
            booking.apply(Event.NOTHING_LEFT_US, held=held, why=outcome.why[:WHY_LIMIT])
        case _:
            _become_unknown(booking, Event.UNCLEAR, why=outcome.why)


def _first_read_back() -> datetime:
    """When it is read back if we should be lost before we have done so ourselves."""
    return timezone.now() + LEASE


def _note_late(booking: Booking, outcome: Outcome) -> None:
    """Keep an answer that came after everybody had given it up."""
    is_done = isinstance(outcome, Scheduled | Rescheduled | Confirmed | AlreadySo)
    booking.note(Event.ANSWERED_LATE, why="ok" if is_done else "")
    if isinstance(outcome, Scheduled) and outcome.external_id:
        Booking.objects.filter(pk=booking.pk).update(external_id=outcome.external_id)


def _become_unknown(booking: Booking, event: Event, *, why: str) -> None:
    """It may have been carried out: from now on only reads can tell."""
    due_at = planned_read(timezone.now())
    booking.apply(event, held=booking.lease_key, due_at=due_at, why=why[:WHY_LIMIT])
    wake(PROCESS_BOOKING, booking.pk, at=due_at)


def _end(booking: Booking, event: Event, *, why: str) -> None:
    booking.apply(event, held=booking.lease_key, why=why[:WHY_LIMIT])


# --- reading back -----------------------------------------------------------------------------


def _shown_by(outcome: Outcome) -> BookedAppointment | None:
    match outcome:
        case Scheduled() | Rescheduled() | Confirmed():
            return outcome.appointment
        case AlreadySo():
            return outcome.shown
        case _:
            return None


def _show(booking: Booking, outcome: Outcome, *, at: datetime) -> None:
    """Bring our copy up to date with what the answer shows; a listing costs more requests."""
    if (shown := _shown_by(outcome)) is not None:
        store(booking.connection, [_as_known(shown, booking)], read_at=at)
    else:
        sync_soon(booking.connection)


def _read_back(
    booking: Booking, client: Provider, *, fallback: BookedAppointment | None = None
) -> None:
    """It is done; read what the provider has now, and compare it with what was asked."""
    read_at = timezone.now()
    try:
        with within(READ_BACK):
            shown = _as_it_is(booking, client)
    except ProviderError:
        shown = None
    shown = shown or fallback
    if shown is not None:
        _link(booking, shown, read_at=read_at)
        return
    _compare_later(booking)


def _compare_later(booking: Booking) -> None:
    """It is done all the same; until it is read, the page says that nothing was compared."""
    asked = booking.sent_at or booking.requested_at
    due_at = planned_read(asked) if timezone.now() < asked + QUIET else None
    Booking.objects.filter(pk=booking.pk, state=State.CONFIRMED).update(due_at=due_at)
    booking.due_at = due_at
    if due_at is not None:
        wake(PROCESS_BOOKING, booking.pk, at=due_at)


def _read_back_later(booking: Booking) -> None:
    client = limits.client(booking.connection, Urgency.WORK)
    with closing(client.http):
        _read_back(booking, client)


def _as_it_is(booking: Booking, client: Provider) -> BookedAppointment | None:
    if booking.kind != Kind.BOOK:
        return client.read(_row(booking).ref())
    if booking.external_id:
        ref = BookingRef(external_id=booking.external_id, starts_at=booking.starts_at)
        if (found := client.read(ref)) is not None:
            return found
    return _listed(booking, client)


def _link(booking: Booking, shown: BookedAppointment, *, read_at: datetime) -> None:
    """Keep what the provider shows, tie it to the request, and note what is not as asked."""
    store(booking.connection, [_as_known(shown, booking)], read_at=read_at)
    deviations = _deviations(booking, shown)
    row = Appointment.objects.filter(
        connection=booking.connection, external_id=shown.external_id
    ).first()
    with transaction.atomic():
        Booking.objects.filter(pk=booking.pk).update(
            appointment=row,
            external_id=shown.external_id,
            booked_at=shown.starts_at,
            shown=list(Facts.of(shown).when),
            deviations=deviations,
            due_at=None,
        )
        booking.note(Event.READ_BACK, why=",".join(deviations)[:WHY_LIMIT])
    booking.refresh_from_db()


def _as_known(shown: BookedAppointment, booking: Booking) -> BookedAppointment:
    """
    *shown* with what we know of it, and the provider does not repeat.

    MijnKlantportaal does not say the title it was given, HuskyVoice not the hours of a window.
    """
    if not shown.title and booking.kind == Kind.BOOK:
        shown = replace(shown, title=request_of(booking).title)
    if shown.window is None and _is_in_the_window(booking, shown):
        shown = replace(shown, window=Offered.of(booking.wish).window)
    return shown


def _is_in_the_window(booking: Booking, shown: BookedAppointment) -> bool:
    """Whether it is in the very window that was asked for; a batch may have been left open."""
    if booking.kind == Kind.CONFIRM:
        return False
    asked = (booking.starts_at.astimezone(booking.connection.zone).date(), booking.wish["session"])
    batch = Offered.of(booking.wish).batch
    return (shown.day, shown.session) == asked and batch in ("", shown.batch)


def _deviations(booking: Booking, shown: BookedAppointment) -> list[str]:
    """What the provider shows otherwise than asked for, or than it was before."""
    if not (shown.status is Status.BOOKED if booking.kind == Kind.CONFIRM else shown.is_live):
        return ["status"]
    found = []
    if not _is_at_the_time(booking, shown):
        found.append("time")
    if booking.kind == Kind.BOOK:
        wish = request_of(booking)
        if wish.session and shown.session and wish.session != shown.session:
            found.append("session")
        if wish.ends_at and shown.ends_at and shown.ends_at - wish.ends_at != _late(booking, shown):
            found.append("length")
        hosts = shown.locator.get("host_ids", "").split(",")
        if wish.host and hosts != [""] and wish.host not in hosts:
            found.append("host")
        if is_somebody_else(shown.attendees, wish):
            found.append("people")
        return found
    before, now = booking.facts, Facts.of(shown)
    if (was := _length(before)) and (now_long := _length(now)) and was != now_long:
        found.append("length")
    if booking.expected.get("host") and shown.host and booking.expected["host"] != shown.host:
        found.append("host")
    if before.attendees and now.attendees and before.attendees != now.attendees:
        found.append("people")
    return found


def _late(booking: Booking, shown: BookedAppointment) -> timedelta:
    """By how much the whole appointment is shifted: that is no other length."""
    return shown.starts_at - booking.starts_at if shown.starts_at else timedelta(0)


def _length(facts: Facts) -> timedelta | None:
    if len(facts.when) != 2 or not all(facts.when):
        return None
    start, end = (datetime.fromisoformat(one) for one in facts.when)
    return end - start


def _is_at_the_time(booking: Booking, shown: BookedAppointment) -> bool:
    if booking.kind == Kind.MOVE:
        request = move_of(booking, booking_of(_row(booking)))
        return request.is_met_by(shown, zone=booking.connection.zone)
    if booking.kind == Kind.CONFIRM:
        return Facts.of(shown).when == booking.facts.when
    if shown.starts_at is not None:
        return shown.starts_at == booking.starts_at
    return shown.day == booking.starts_at.astimezone(booking.connection.zone).date()


# --- unknown outcomes -------------------------------------------------------------------------


def _read(booking: Booking) -> None:
    """Read the provider once for an unsettled *booking* and draw the conclusion."""
    read_at = timezone.now()
    client = limits.client(booking.connection, Urgency.WORK)
    with closing(client.http):
        try:
            with within(LOOK):
                shown = _as_it_is(booking, client)
        except ProviderError:
            _not_found(booking, why="unreadable")
            return
    answered = booking.events.filter(event=Event.ANSWERED_LATE, why="ok").exists()
    if shown is not None and (booking.kind == Kind.BOOK or _is_as_asked(booking, shown)):
        _found(booking, shown, read_at=read_at)
    elif booking.kind == Kind.BOOK and answered:
        # The answer came after the lease had run out: it is the provider's word all the same.
        due_at = planned_read(timezone.now())
        booking.apply(Event.FOUND, held=booking.lease_key, why="answered_late", due_at=due_at)
    elif shown is None:
        _not_found(booking, why="not_listed" if booking.kind == Kind.BOOK else "gone")
    else:
        store(booking.connection, [shown], read_at=read_at)
        _not_so(booking, shown)


def _found(booking: Booking, shown: BookedAppointment, *, read_at: datetime) -> None:
    with transaction.atomic():
        # One after the other: what two workers found at once proves one request.
        Connection.objects.select_for_update(no_key=True).get(pk=booking.connection_id)
        same = Booking.objects.filter(
            connection=booking.connection, kind=Kind.BOOK, external_id=shown.external_id
        )
        is_mine = booking.kind != Kind.BOOK or not same.exclude(pk=booking.pk).exists()
        if is_mine:
            booking.apply(
                Event.FOUND,
                held=booking.lease_key,
                why="found",
                external_id=shown.external_id,
                due_at=_first_read_back(),
            )
    if not is_mine:
        _not_found(booking, why="not_listed")
        return
    _link(booking, shown, read_at=read_at)


def _not_so(booking: Booking, shown: BookedAppointment) -> None:
    """What was to be changed is there, and not as asked."""
    if booking.facts.changes(Facts.of(shown)):
        # Not as it was either: nobody but a person can say what happened.
        why = "elsewhere" if shown.is_live else "ended"
        _read_later(booking, why=why, hand_over=True)
        return
    _not_found(booking, why="still_as_before")


def _not_found(booking: Booking, *, why: str) -> None:
    _read_later(booking, why=why, hand_over=timezone.now() >= quiet_from(booking))


def _read_later(booking: Booking, *, why: str, hand_over: bool) -> None:
    due_at = planned_read(booking.sent_at or booking.requested_at)
    if hand_over and booking.state == State.UNKNOWN:
        booking.apply(Event.HANDED_OVER, held=booking.lease_key, why=why, due_at=due_at)
    else:
        still = Booking.objects.filter(pk=booking.pk, state=booking.state)
        still.update(why=why, due_at=due_at)
    wake(PROCESS_BOOKING, booking.pk, at=due_at)


def _is_as_asked(booking: Booking, seen: BookedAppointment) -> bool:
    """Whether what was to be moved or confirmed is shown so."""
    if booking.kind == Kind.CONFIRM:
        return seen.status is Status.BOOKED
    return move_of(booking, booking_of(_row(booking))).is_met_by(seen, zone=booking.connection.zone)


def _listed(booking: Booking, client: Provider) -> BookedAppointment | None:
    """The listed booking that is ours: same person, same time, and new to us."""
    local = booking.starts_at.astimezone(booking.connection.zone).date()
    window = DateWindow(first=local - timedelta(days=1), last=local + timedelta(days=1))
    of_others = Booking.objects.filter(connection=booking.connection).exclude(pk=booking.pk)
    known = {
        *Appointment.objects.filter(
            connection=booking.connection, first_seen_at__lt=booking.requested_at
        ).values_list("external_id", flat=True),
        # Two requests for the same person and time: one booking proves one of them.
        *of_others.exclude(external_id="").values_list("external_id", flat=True),
    }
    for page in client.pages(window):
        for one in page.records:
            if one.external_id not in known and one.is_live and fits(one, booking):
                return one
    return None


# --- rows -------------------------------------------------------------------------------------


def _row(booking: Booking) -> Appointment:
    """What is to be moved or confirmed; a constraint holds that it is there."""
    assert booking.appointment is not None  # noqa: S101
    return booking.appointment
