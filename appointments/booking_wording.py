"""Every sentence about booking, moving, confirming and rebooking."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from appointments.booking_forms import SCHEDULE_LABELS, branch_words
from appointments.codes import in_words
from appointments.connection_wording import failure
from appointments.days import day_long, day_short, hours, moment_short, place, weekday
from appointments.domain import Facts, Informs, ScheduleRequest
from appointments.models import (
    Appointment,
    Attendee,
    Booking,
    BookingEvent,
    Connection,
)
from appointments.models.appointments import name_of
from appointments.models.bookings import (
    JUDGED_DONE,
    BookingEventKind,
    BookingState,
)
from appointments.phrases import Notice, Outcome, clock, moment, person, when_short
from appointments.services.asked import Offered
from appointments.services.clash import Clash
from appointments.services.facts import booking_of
from appointments.services.schedule import (
    NOTHING_OFFERED,
    BookingConflict,
    BookingConflictKind,
)
from appointments.wording import cancellation_open, change_open


def booking_title(booking: Booking) -> str:
    """What was asked for, as a heading."""
    provider = {"provider": booking.connection.provider_label}
    match Booking.Kind(booking.kind):
        case Booking.Kind.BOOK:
            return _("New appointment at %(provider)s") % provider
        case Booking.Kind.MOVE:
            return _("Move at %(provider)s") % provider
        case Booking.Kind.CONFIRM:
            return _("Confirmation at %(provider)s") % provider


def booking_who(booking: Booking) -> str:
    """Whom it concerns, as far as we know."""
    if booking.appointment is not None and booking.kind != Booking.Kind.BOOK:
        return booking.appointment.who
    if named := booking.wish.get("name") or booking.wish.get("email"):
        return name_of(named)
    if booking.appointment is not None:
        return booking.appointment.who
    return name_of(booking.wish.get("customer_id") or "")


def booking_outcome(booking: Booking) -> Outcome:
    """The state of a request to book, to move or to confirm, in words."""
    if booking.is_contradicted:
        return _booking_contradicted(booking)
    return _BOOKING_OUTCOMES[Booking.State(booking.state)](booking)


def _booking_values(booking: Booking) -> dict[str, str]:
    return {
        "provider": booking.connection.provider_label,
        "asked": asked_time(booking),
        "before": time_before(booking),
        "shown": facts_time(booking.shown),
    }


def _booking_requested(booking: Booking) -> Outcome:
    provider = booking.connection.provider_label
    sentence = _("Nothing has been sent to %(provider)s yet.") % {"provider": provider}
    if booking.why:
        sentence = _("%(nothing)s %(why)s Next try at %(time)s, until %(end)s.") % {
            "nothing": sentence,
            "why": failure(booking.why, provider),
            "time": clock(booking.due_at, seconds=True),
            "end": clock(booking.expires_at),
        }
    return Outcome(title=_("Waiting to be sent"), sentence=sentence, step="", tone="waiting")


def _booking_sending(booking: Booking) -> Outcome:
    sentence = {
        Booking.Kind.BOOK: _("It is not booked until the provider says so."),
        Booking.Kind.MOVE: _("It is not moved until the provider says so."),
        Booking.Kind.CONFIRM: _("It is not confirmed until the provider says so."),
    }[Booking.Kind(booking.kind)]
    title = _("Sending to %(provider)s") % _booking_values(booking)
    return Outcome(title=title, sentence=sentence, step="", tone="waiting")


def _booking_done(booking: Booking) -> Outcome:
    values = _booking_values(booking)
    if booking.deviations:
        return _deviating(booking, values)
    kind = Booking.Kind(booking.kind)
    title = {
        Booking.Kind.BOOK: _("Booked"),
        Booking.Kind.MOVE: _("Moved"),
        Booking.Kind.CONFIRM: _("Confirmed"),
    }[kind]
    if booking.shown:
        sentence = _("%(provider)s shows %(shown)s, as asked for.") % values
    else:
        sentence = _("%(provider)s said yes, but shows no time yet to compare yours with.") % values
    step = _who_learns(booking.connection)
    return Outcome(title=title, sentence=sentence, step=step, tone="good")


def _deviating(booking: Booking, values: Mapping[str, str]) -> Outcome:
    """Done, but what was read back is not what was asked for."""
    if "status" in booking.deviations:
        return Outcome(
            title=_("The provider said yes, but it is not booked"),
            sentence=_("%(provider)s does not show it as booked.") % values,
            step=_("Look in %(provider)s itself, and tell the patient what is right.") % values,
            tone="alarm",
        )
    words: Mapping[str, str] = {
        "time": _("You asked for %(asked)s; %(provider)s shows %(shown)s.") % values,
        "session": _("It is in another session than you asked for."),
        "length": _("It is not as long as it should be."),
        "host": _("It is with somebody else now."),
        "people": _("Other people are booked on it now."),
    }
    at_another_time = "time" in booking.deviations
    titles = {
        Booking.Kind.BOOK: _("Booked, but at another time")
        if at_another_time
        else _("Booked, but not as asked for"),
        Booking.Kind.MOVE: _("Moved, but to another time")
        if at_another_time
        else _("Moved, but not as asked for"),
        Booking.Kind.CONFIRM: _("Confirmed, but it changed"),
    }
    return Outcome(
        title=titles[Booking.Kind(booking.kind)],
        sentence=" ".join(words[one] for one in booking.deviations),
        step=_("Check the time zone of this connection, and tell the patient the right time.")
        if at_another_time
        else _("Look in %(provider)s itself, and tell the patient what is right.") % values,
        tone="alarm",
    )


def _booking_noted(booking: Booking) -> Outcome:
    return Outcome(
        title=_("Waiting for confirmation"),
        sentence=_(
            "%(provider)s noted it down, but nothing is booked until the person confirms by mail."
        )
        % _booking_values(booking),
        step=_("Tell them to look at their mail."),
        tone="neutral",
    )


def _booking_refused(booking: Booking) -> Outcome:
    values = _booking_values(booking)
    sentences: Mapping[str, str] = {
        "credentials": _("%(provider)s does not accept our key."),
        "permission": _("Our key may not do this at %(provider)s."),
        "policy": _("The rules at %(provider)s do not allow it."),
        "slot_taken": _("This time is not free at %(provider)s."),
        "duplicate": _("%(provider)s says that this person has a booking already."),
        "quota": _("The account at %(provider)s is used up for now."),
        "not_pending": _("%(provider)s says that it is not pending any more."),
        "not_found": _("%(provider)s does not know it any more."),
    }
    still = {
        Booking.Kind.BOOK: "",
        Booking.Kind.MOVE: _("It stays at %(before)s."),
        Booking.Kind.CONFIRM: _("It is not confirmed."),
    }[Booking.Kind(booking.kind)]
    why = sentences.get(booking.why, _("%(provider)s did not accept the data."))
    steps = {
        Booking.Kind.BOOK: _("Correct it, or choose another time."),
        Booking.Kind.MOVE: _("Choose another time, or book elsewhere."),
        Booking.Kind.CONFIRM: _("Look at the appointment as it is now."),
    }
    return Outcome(
        title=_("Refused by %(provider)s") % values,
        sentence=f"{why} {still}".strip() % values,
        step=steps[Booking.Kind(booking.kind)],
        tone="bad",
    )


def _booking_not_sent(booking: Booking) -> Outcome:
    sentence = {
        Booking.Kind.BOOK: _("Nothing was booked. %(why)s"),
        Booking.Kind.MOVE: _("Nothing was moved. %(why)s"),
        Booking.Kind.CONFIRM: _("Nothing was confirmed. %(why)s"),
    }[Booking.Kind(booking.kind)]
    return Outcome(
        title=_("Not sent"),
        sentence=sentence % {"why": failure(booking.why, booking.connection.provider_label)},
        step=_("Try again later."),
        tone="bad",
    )


def _booking_withdrawn(booking: Booking) -> Outcome:
    values = _booking_values(booking)
    reasons: Mapping[str, str] = {
        "taken_back": _("It was taken back before anything was sent."),
        "already_so": _("%(provider)s shows it so already, so nothing was sent."),
        "gone": _("It is no longer at %(provider)s, so nothing was sent."),
        "changed_time": _("Its time changed at %(provider)s, so nothing was sent."),
        "changed_attendees": _(
            "The people booked on it changed at %(provider)s, so nothing was sent."
        ),
        "changed_status": _("Its status changed at %(provider)s, so nothing was sent."),
    }
    return Outcome(
        title=_("Withdrawn, nothing was sent"),
        sentence=reasons.get(booking.why, _("Nothing was sent.")) % values,
        step=""
        if booking.why == "taken_back"
        else _("Look at the appointment as it is now, then decide again."),
        tone="neutral",
    )


def _booking_unknown(booking: Booking) -> Outcome:
    values = _booking_values(booking) | {"time": clock(booking.due_at, seconds=True)}
    happened = (
        _("The portal was interrupted while it was sending to %(provider)s.")
        if booking.why == "worker_lost"
        else _("The request was sent, but %(provider)s did not answer clearly.")
    )
    may = {
        Booking.Kind.BOOK: _("It may or may not be booked."),
        Booking.Kind.MOVE: _("It may be at %(before)s or at %(asked)s."),
        Booking.Kind.CONFIRM: _("It may or may not be confirmed."),
    }[Booking.Kind(booking.kind)]
    next_check = _("Next check at %(time)s.")
    steps = {
        Booking.Kind.BOOK: _("Do not book it again."),
        Booking.Kind.MOVE: _("Do not move or cancel it."),
        Booking.Kind.CONFIRM: _("Do not confirm or decline it."),
    }
    return Outcome(
        title=_("Outcome unknown, we are checking"),
        sentence=f"{happened} {may} {next_check}" % values,
        step=f"{steps[Booking.Kind(booking.kind)]} "
        + _("You can close this; it stays under Unsettled."),
        tone="alarm",
    )


def _booking_needs_human(booking: Booking) -> Outcome:
    values = _booking_values(booking)
    reasons: Mapping[str, str] = {
        "unreadable": _("%(provider)s could not be read, so we do not know."),
        "not_listed": _("%(provider)s does not list it. It was probably not booked."),
        "gone": _("%(provider)s does not show the appointment any more."),
        "still_as_before": _(
            "%(provider)s still shows it as it was a while after our request: "
            "probably nothing happened."
        ),
        "elsewhere": _("%(provider)s shows it neither as it was nor as asked for."),
        "ended": _("%(provider)s does not show it as booked any more."),
    }
    return Outcome(
        title=_("A person has to find out"),
        sentence=reasons.get(booking.why, _("We could not find out what happened.")) % values,
        step=_("Look in %(provider)s itself before doing anything else.") % values,
        tone="alarm",
    )


def _booking_settled(booking: Booking) -> Outcome:
    values = {"name": person(booking.settled_by), "time": moment(booking.settled_at)}
    is_done = booking.why == JUDGED_DONE
    return Outcome(
        title=_("Settled by hand: done") if is_done else _("Settled by hand: not done"),
        sentence=_("%(name)s found out that it is as asked for (%(time)s).") % values
        if is_done
        else _("%(name)s found out that nothing came of it (%(time)s).") % values,
        step="",
        tone="neutral",
    )


def _booking_contradicted(booking: Booking) -> Outcome:
    values = _booking_values(booking) | {
        "name": person(booking.settled_by),
        "time": moment(booking.settled_at),
    }
    sentence = (
        _(
            "%(name)s had found out that nothing came of it (%(time)s), but %(provider)s shows an "
            "appointment of this person at this time."
        )
        if booking.kind == Booking.Kind.BOOK
        else _(
            "%(name)s had found out that nothing came of it (%(time)s), but %(provider)s shows it "
            "at %(asked)s."
        )
    )
    return Outcome(
        title=_("Settled as not done, but shown as done"),
        sentence=sentence % values,
        step=""
        if booking.kept_both_at
        else _("Look in %(provider)s itself, or ring the patient, before doing anything else.")
        % values,
        tone="neutral" if booking.kept_both_at else "alarm",
    )


def booking_silence(booking: Booking) -> str:
    """What it means for *booking* that no worker runs."""
    match Booking.State(booking.state):
        case Booking.State.REQUESTED:
            what = _("Nothing was sent, and from %(end)s on nothing will be.") % {
                "end": clock(booking.expires_at)
            }
        case Booking.State.SENDING:
            what = _("What came of it is checked as soon as it is back.")
        case _:
            what = _("Nothing is checked until it is back.")
    return _("The worker is not running. %(what)s Tell an administrator.") % {"what": what}


_BOOKING_OUTCOMES: Mapping[BookingState, Callable[[Booking], Outcome]] = {
    Booking.State.REQUESTED: _booking_requested,
    Booking.State.SENDING: _booking_sending,
    Booking.State.CONFIRMED: _booking_done,
    Booking.State.AWAITS_CONFIRMATION: _booking_noted,
    Booking.State.REFUSED: _booking_refused,
    Booking.State.NOT_SENT: _booking_not_sent,
    Booking.State.WITHDRAWN: _booking_withdrawn,
    Booking.State.UNKNOWN: _booking_unknown,
    Booking.State.NEEDS_HUMAN: _booking_needs_human,
    Booking.State.SETTLED: _booking_settled,
}


def asked_time(booking: Booking) -> str:
    """The time that *booking* asks for, on the desk's clock, or its day and session."""
    if session := booking.wish.get("session", ""):
        zone = booking.connection.zone
        day = booking.starts_at.astimezone(zone).date()
        lane = (day.isoformat(), session, booking.wish.get("batch", ""))
        return facts_time(lane, window=Offered.of(booking.wish).window, zone=zone)
    return facts_time((booking.starts_at.isoformat(), booking.wish.get("ends_at") or ""))


def time_before(booking: Booking) -> str:
    """When what *booking* changes was at first."""
    opens = [time.fromisoformat(one) for one in booking.expected.get("window", ())]
    return facts_time(
        booking.expected.get("when", ()),
        window=(opens[0], opens[1]) if len(opens) == 2 else None,
        zone=booking.connection.zone,
    )


def facts_time(
    when: Sequence[str],
    *,
    window: tuple[time, time] | None = None,
    zone: ZoneInfo | None = None,
) -> str:
    """
    `Facts.when` in words: `Mon 23 Nov, 10:00–10:30`, or day and session.

    With *window*, also its hours, which are meant in *zone*: on the desk's clock, and behind it
    the practice's.
    """  # noqa: RUF002
    if len(when) == 3:
        first, session, batch = when
        lane = [in_words(session), batch]
        day = date.fromisoformat(first)
        if window is not None:
            day, shown = _hours_here(day, window, zone=zone or timezone.get_default_timezone())
            lane.append(shown)
        return name_of(", ".join(part for part in (day_short(day), *lane) if part))
    if len(when) != 2 or not when[0]:
        return ""
    start = timezone.localtime(datetime.fromisoformat(when[0]))
    shown = moment_short(start)
    if not when[1]:
        return shown
    end = timezone.localtime(datetime.fromisoformat(when[1]))
    return f"{shown}–{end:%H:%M}"  # noqa: RUF001


def _hours_here(day: date, window: tuple[time, time], *, zone: tzinfo) -> tuple[date, str]:
    """Day and hours on the desk's clock: `05:30–08:00 (10:00–12:30 Kolkata)`."""  # noqa: RUF002
    there = [datetime.combine(day, one, tzinfo=zone) for one in window]
    here = [timezone.localtime(one) for one in there]
    shown = hours(*here)
    if here[0].utcoffset() != there[0].utcoffset():
        other_day = f"{weekday(day)} " if here[0].date() != day else ""
        shown = f"{shown} ({other_day}{hours(*there)} {place(str(zone))})"
    return here[0].date(), shown


def move_consequence(appointment: Appointment, to: str) -> str:
    """One sentence each: what moves, who moves along, and who is told."""
    people = list(appointment.attendees.all())
    values = {
        "who": appointment.who,
        "before": _when_of(appointment),
        "to": name_of(to),
        "count": len(people),
    }
    what = _("Moves the appointment of %(who)s from %(before)s to %(to)s.") % values
    if appointment.is_group or len(people) > 1:
        what = (
            ngettext(
                "Moves the whole group, %(count)d person, from %(before)s to %(to)s. "
                "Nobody can be moved alone.",
                "Moves the whole group, all %(count)d people, from %(before)s to %(to)s. "
                "Nobody can be moved alone.",
                len(people),
            )
            % values
        )
    return f"{what} {_who_learns(appointment.connection)}"


def _when_of(appointment: Appointment) -> str:
    booking = booking_of(appointment)
    zone = appointment.connection.zone
    return facts_time(Facts.of(booking).when, window=booking.window, zone=zone)


def _who_learns(connection: Connection) -> str:
    """
    As true before as after: a review and its outcome say it in the same words.

    What is documented of cancellations is not promised of anything else.
    """
    label = {"provider": connection.provider_label}
    if connection.capabilities.informs is Informs.ALL_PARTICIPANTS:
        return _("%(provider)s presumably mails everyone concerned at once.") % label
    return _("Whether %(provider)s tells anybody is not documented: ring them.") % label


def booking_consequence(
    connection: Connection,
    request: ScheduleRequest,
    offered: Offered,
    *,
    replaces: Appointment | None = None,
    customer: Attendee | None = None,
) -> str:
    """
    What will be asked of which provider, what becomes of the old one, and who is told.

    *customer* is whom the number in *request* stands for, if it has one and that is known.
    """
    values = {
        "provider": connection.provider_label,
        "account": connection.name,
        "who": _person_asked_for(request, customer=customer),
        "what": name_of(", ".join(_asked_parts(connection, request, offered))),
    }
    sentences = [_("Asks %(provider)s (%(account)s) to book for %(who)s: %(what)s.") % values]
    if theirs := _on_their_clock(connection, request):
        sentences.append(theirs)
    if replaces is not None:
        kept = {"when": _when_of(replaces), "provider": replaces.connection.provider_label}
        sentences.append(
            _(
                "The old appointment (%(when)s at %(provider)s) stays booked until the new one "
                "was read back; you cancel it yourself then."
            )
            % kept
        )
    sentences.append(_who_learns(connection))
    return " ".join(sentences)


def clash_sentence(clash: Clash) -> str:
    """What stands at that time already."""
    row = clash.appointment
    values = {
        "provider": row.connection.provider_label,
        "when": _when_of(row),
        "host": name_of(clash.host),
        "who": row.who,
    }
    if not clash.person:
        return _("%(host)s has %(who)s at that time: %(when)s (%(provider)s).") % values
    parts = [values["when"], name_of(row.title) if row.title else ""]
    if row.is_with:
        parts.append(_("with %(host)s") % {"host": name_of(row.is_with)})
    what = ", ".join(part for part in parts if part)
    values |= {"who": name_of(clash.person), "what": what}
    return _("%(who)s already has an appointment at that time: %(what)s (%(provider)s).") % values


def _person_asked_for(request: ScheduleRequest, *, customer: Attendee | None) -> str:
    if not request.customer_id:
        return name_of(request.name or request.email)
    number = {"number": name_of(request.customer_id)}
    if customer is None:
        return _("customer number %(number)s") % number
    return _("%(name)s (customer number %(number)s)") % {**number, "name": customer.label}


def _asked_parts(
    connection: Connection, request: ScheduleRequest, offered: Offered
) -> Iterator[str]:
    """What, with whom, where and when, as far as it was asked for."""
    if what := request.title or offered.service or request.service:
        yield name_of(what)
    if host := offered.host or request.host:
        yield _("with %(host)s") % {"host": name_of(host)}
    if request.location:
        yield value_words("location", request.location)
    if request.branch:
        yield value_words("branch", request.branch)
    yield from when_asked(connection, request, offered)


def when_asked(connection: Connection, request: ScheduleRequest, offered: Offered) -> Iterator[str]:
    """The time asked for, or its window, on the desk's clock, and perhaps the practice's."""
    zone = connection.zone
    desk = timezone.get_default_timezone_name()
    if request.session and offered.window is not None:
        window = offered.hours_on(request.starts_at, zone=zone)
        opens, closes = (timezone.localtime(one) for one in window)
        yield f"{_day(opens.date())}, {value_words('session', request.session)}"
        yield f"{hours(opens, closes)} ({desk})"
        if opens.utcoffset() != opens.astimezone(zone).utcoffset():
            yield _in_zone(opens, closes, zone=zone)
        return
    start = timezone.localtime(request.starts_at)
    span = f"{start:%H:%M}"
    if request.ends_at is not None:
        span = hours(start, timezone.localtime(request.ends_at))
    yield f"{_day(start.date())}, {span} ({desk})"
    if start.utcoffset() != start.astimezone(zone).utcoffset():
        yield _in_zone(start, request.ends_at, zone=zone)
    if request.ends_at is None and offered.minutes:
        end = timezone.localtime(request.starts_at + timedelta(minutes=offered.minutes))
        yield _("usually until %(end)s") % {"end": f"{end:%H:%M}"}
    if request.session:
        yield value_words("session", request.session)


def _day(day: date) -> str:
    """With its year if it is another one: what is asked for far ahead may be a typing error."""
    return day_long(day, year=day.year != timezone.localdate().year)


def _in_zone(start: datetime, end: datetime | None, *, zone: tzinfo) -> str:
    """*start* and *end* on the clock of *zone*, with the day if it is another one there."""
    there = start.astimezone(zone)
    span = f"{there:%H:%M}" if end is None else hours(there, end.astimezone(zone))
    day = f"{weekday(there)} " if there.date() != start.date() else ""
    return _("%(when)s in %(zone)s") % {"when": f"{day}{span}", "zone": zone}


def _on_their_clock(connection: Connection, request: ScheduleRequest) -> str:
    """The start on the clock of the person, unless it is that of the desk or of the practice."""
    if not request.time_zone or request.session:
        return ""
    here, zone = timezone.localtime(request.starts_at), ZoneInfo(request.time_zone)
    said = (here.utcoffset(), here.astimezone(connection.zone).utcoffset())
    if here.astimezone(zone).utcoffset() in said:
        return ""
    there = _in_zone(here, request.ends_at, zone=zone)
    return _("On their own clock that is %(when)s.") % {"when": there}


def wish_words(wish: Mapping[str, Any], offered: Offered) -> list[tuple[str, str]]:
    """Each field that *wish* fills, but for the time, with its label."""
    return [
        (str(label), value_words(name, wish[name], offered))
        for name, label in SCHEDULE_LABELS.items()
        if name not in ("starts_at", "ends_at") and wish.get(name)
    ]


def value_words(name: str, value: str, offered: Offered = NOTHING_OFFERED) -> str:
    """One field of what was asked for, by the name that the form had for it."""
    match name:
        case "service" | "host":
            return getattr(offered, name) or value
        case "location" | "session":
            return in_words(value)
        case "branch":
            return branch_words(value)
        case _:
            return value


def confirm_consequence(appointment: Appointment) -> str:
    """What confirming does, and who is told."""
    what = _("Confirms the appointment of %(who)s on %(when)s.") % {
        "who": appointment.who,
        "when": when_short(appointment),
    }
    return f"{what} {_who_learns(appointment.connection)}"


def booking_conflict(found: BookingConflict, *, viewer: Any = None) -> str:
    """Why nothing was recorded for *viewer*, and what to do."""
    match found.kind:
        case BookingConflictKind.STALE:
            return _(
                "This appointment changed since you opened it. Nothing was sent. "
                "Look at it as it is now, then press the button again."
            )
        case BookingConflictKind.CHANGE_OPEN if found.booking is not None:
            return change_open(found.booking, viewer=viewer)
        case BookingConflictKind.CANCELLATION_OPEN if found.cancellation is not None:
            return _("A cancellation of it is under way. %(asked)s") % {
                "asked": cancellation_open(found.cancellation, viewer=viewer)
            }
        case BookingConflictKind.CHANGE_OPEN | BookingConflictKind.CANCELLATION_OPEN:
            return _("Something else is under way with this appointment. Nothing was sent.")
        case BookingConflictKind.SERIES_OPEN:
            return _(
                "A cancellation that touches this series is under way. Nothing was sent; "
                "wait for its outcome."
            )
        case BookingConflictKind.REBOOKED:
            return _("A new appointment in place of this one was asked for before. Look there.")
        case BookingConflictKind.ASKED_BEFORE:
            return _("The same was asked for before, and its outcome is not known yet. Look there.")
        case BookingConflictKind.BOOKED_BEFORE:
            return _(
                "Exactly this was asked for from here before, and it may stand, so nothing was "
                "sent. Look there."
            )
        case BookingConflictKind.FORM_USED:
            return _(
                "An appointment was asked for from this form before: see how it goes. What "
                "stands here would be another one."
            )
        case BookingConflictKind.NOT_REVIEWED:
            return _(
                "This is not what you looked at last, so nothing was sent. Look at it as it is "
                "now, then press the button again."
            )
        case BookingConflictKind.PERSON_GONE:
            return _(
                "This person is not on the old appointment any more, so nothing was sent. Look at "
                "who is on it now."
            )
        case BookingConflictKind.NOT_LIVE:
            return _("This appointment is not booked any more. Nothing was sent.")
        case BookingConflictKind.NOT_PENDING:
            return _("It is not pending any more, so there is nothing to confirm.")
        case BookingConflictKind.PAST:
            return _("This appointment has begun or is over. Nothing was sent.")
        case BookingConflictKind.SWITCHED_OFF:
            return _("This connection is switched off, so nothing was sent. Ask an administrator.")


def rebooking_notice(booking: Booking) -> Notice:
    """How far a rebooking is: what stands, and what is still to be done."""
    if booking.is_contradicted:
        return Notice(
            sentence=_(
                "The new appointment is shown after all. The old one is still booked: cancel it "
                "only once you know which of the two is right."
            ),
            tone="bad",
        )
    match Booking.State(booking.state):
        case Booking.State.CONFIRMED | Booking.State.SETTLED if booking.stands:
            if booking.has_vanished:
                return Notice(
                    sentence=_(
                        "The new appointment is not shown as booked any more. The old one is "
                        "still booked: cancel it only if nothing is to take its place."
                    ),
                    tone="bad",
                )
            if booking.deviations:
                return Notice(
                    sentence=_(
                        "The new appointment is not as asked for. The old one is still booked: "
                        "cancel it only once you know which of the two is right."
                    ),
                    tone="bad",
                )
            if booking.appointment is None and booking.state == Booking.State.CONFIRMED:
                return Notice(
                    sentence=_(
                        "The new appointment could not be read back yet. The old one is still "
                        "booked: cancel it only once the new one is in the list."
                    ),
                    tone="warning",
                )
            return Notice(
                sentence=_("Both are booked now: the new appointment, and the old one."),
                tone="warning",
            )
        case Booking.State.AWAITS_CONFIRMATION:
            return Notice(
                sentence=_(
                    "The new appointment waits for the person to confirm it. The old one is "
                    "still booked: cancel it only once the new one is in the list."
                ),
                tone="warning",
            )
        case Booking.State.UNKNOWN | Booking.State.NEEDS_HUMAN:
            return Notice(
                sentence=_(
                    "Nobody knows yet whether the new appointment is booked. The old one is "
                    "still booked: do not cancel it."
                ),
                tone="warning",
            )
        case Booking.State.REQUESTED | Booking.State.SENDING:
            return Notice(
                sentence=_("The old appointment stays booked until the new one stands."),
                tone="info",
            )
        case _:
            return Notice(
                sentence=_("There is no new appointment. The old one is still booked."),
                tone="info",
            )


_BOOKING_EVENTS: Mapping[BookingEventKind, Promise] = {
    BookingEventKind.ASKED: gettext_lazy("Asked for"),
    BookingEventKind.CLAIMED: gettext_lazy("Sent to the provider"),
    BookingEventKind.FOUND: gettext_lazy("Read: it is as asked for"),
    BookingEventKind.FOUND_CHANGED: gettext_lazy("Read: it changed, so nothing was sent"),
    BookingEventKind.FOUND_GONE: gettext_lazy("Read: no longer shown by the provider"),
    BookingEventKind.TAKEN_BACK: gettext_lazy("Taken back"),
    BookingEventKind.NOT_PERMITTED: gettext_lazy("Not permitted any more"),
    BookingEventKind.LIFETIME_OVER: gettext_lazy("Waited too long to be sent"),
    BookingEventKind.LOOK_REFUSED: gettext_lazy("Nothing was sent; it could not be"),
    BookingEventKind.NOTHING_LEFT_US: gettext_lazy("Nothing was done; given up"),
    BookingEventKind.PROVIDER_CONFIRMED: gettext_lazy("The provider said yes"),
    BookingEventKind.PROVIDER_NOTED: gettext_lazy("Noted down; the person has to confirm"),
    BookingEventKind.PROVIDER_REFUSED: gettext_lazy("Refused by the provider"),
    BookingEventKind.UNCLEAR: gettext_lazy("No clear answer"),
    BookingEventKind.LEASE_EXPIRED: gettext_lazy("The worker stopped while it was being sent"),
    BookingEventKind.HANDED_OVER: gettext_lazy("Handed over to a person"),
    BookingEventKind.SETTLED_BY_HAND: gettext_lazy("Settled by a person"),
    BookingEventKind.READ_BACK: gettext_lazy("Read back and compared"),
    BookingEventKind.ANSWERED_LATE: gettext_lazy("An answer came late"),
    BookingEventKind.KEPT_BOTH: gettext_lazy("Both appointments are kept"),
    BookingEventKind.ACCEPTED: gettext_lazy("Left as the provider shows it"),
    BookingEventKind.CONTRADICTED: gettext_lazy("Shown as done by the provider after all"),
    BookingEventKind.AGREED: gettext_lazy("Not shown as done any more"),
}


def booking_event_sentence(event: BookingEvent, *, booking: Booking) -> str:
    """One step of the history of *booking*, for the timeline."""
    if event.event == BookingEventKind.READ_BACK and event.why:
        return _("Read back: not as asked for")
    if event.event == BookingEventKind.ASKED and booking.replaces_id:
        return _("Asked to rebook")
    if event.event == BookingEventKind.ASKED:
        return _ASKED[Booking.Kind(booking.kind)]()
    return str(_BOOKING_EVENTS[BookingEventKind(event.event)])


_ASKED: Mapping[Booking.Kind, Callable[[], str]] = {
    Booking.Kind.BOOK: lambda: _("Asked to book"),
    Booking.Kind.MOVE: lambda: _("Asked to move"),
    Booking.Kind.CONFIRM: lambda: _("Asked to confirm"),
}
