"""
Every sentence about a cancellation, in one place.

A sentence never says more than is known: "cancelled" only where the provider said so or shows it,
"nothing was sent" only where that is certain, and "we do not know" where we do not. Provider words
are never part of a sentence; pages show them in a fold-out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from appointments.connection_wording import failure
from appointments.domain import (
    CancellationPolicy,
    Change,
    Informs,
    Refusal,
    Scope,
    Status,
)
from appointments.models import (
    Appointment,
    Attendee,
    Batch,
    BatchLane,
    Booking,
    Cancellation,
    CancellationEvent,
)
from appointments.models.appointments import name_of
from appointments.models.bookings import UNSETTLED_BOOKINGS
from appointments.models.cancellations import UNSETTLED, Event, State, Verdict
from appointments.phrases import (
    JUST,
    Notice,
    Outcome,
    at,
    clock,
    day_of,
    moment,
    person,
    when_short,
)
from appointments.services.batch import EMAIL_MISSING, OVER, Progress
from appointments.services.cancel import Conflict, ConflictKind
from appointments.services.facts import facts_of
from appointments.services.lanes import COOLING_OFF, QUEUED, is_held

# --- outcome of a cancellation ----------------------------------------------------------------


def outcome(cancellation: Cancellation) -> Outcome:
    """The state of *cancellation* in words, true for what is known and no more."""
    if cancellation.contradicted_at is not None:
        return _contradicted(cancellation)
    return _OUTCOMES[State(cancellation.state)](cancellation)


def _contradicted(cancellation: Cancellation) -> Outcome:
    if cancellation.why == Verdict.CANCELLED:
        return Outcome(
            title=_("Settled as cancelled, but listed as booked"),
            sentence=_(
                "%(name)s had found out that it is cancelled, and %(provider)s has listed it as "
                "booked since %(since)s."
            )
            % (
                _provider(cancellation)
                | {
                    "name": person(cancellation.settled_by),
                    "since": moment(cancellation.contradicted_at),
                }
            ),
            step=_("Look in %(provider)s itself, or ring the patient, before doing anything else.")
            % _provider(cancellation),
            tone="alarm",
        )
    if cancellation.state == State.SETTLED:
        return Outcome(
            title=_("Settled by hand, but the provider had confirmed it"),
            sentence=_(
                "An answer of %(provider)s that came late says that it is cancelled. "
                "%(name)s had settled it otherwise."
            )
            % (_provider(cancellation) | {"name": person(cancellation.settled_by)}),
            step=_("Look in %(provider)s itself before doing anything else.")
            % _provider(cancellation),
            tone="alarm",
        )
    values = _provider(cancellation) | {
        "confirmed": moment(cancellation.settled_at),
        "since": moment(cancellation.contradicted_at),
    }
    return Outcome(
        title=_("Confirmed, but listed as booked again"),
        sentence=_(
            "%(provider)s had it as cancelled (%(confirmed)s), and has listed it as booked since "
            "%(since)s."
        )
        % values,
        step=_("Look in %(provider)s itself, or ring the patient, before doing anything else.")
        % values,
        tone="alarm",
    )


def _requested(cancellation: Cancellation) -> Outcome:
    provider = cancellation.connection.provider_label
    if cancellation.unknown_since:
        return Outcome(
            title=_("Sending once more"),
            sentence=_("%(provider)s still shows it as booked, so the request is sent once more.")
            % {"provider": provider},
            step="",
            tone="waiting",
        )
    if cancellation.why == QUEUED:
        return _queued(cancellation, is_paused=is_held(cancellation))
    if cooling_off(cancellation):
        return Outcome(
            title=_("Not sent yet"),
            sentence=_("It goes to %(provider)s at %(time)s. Nothing was done and nobody told.")
            % {"provider": provider, "time": clock(cancellation.due_at, seconds=True)},
            step=_("Until then you can take it back."),
            tone="waiting",
        )
    if cancellation.why not in ("", COOLING_OFF):
        return Outcome(
            title=_("Waiting for %(provider)s") % {"provider": provider},
            sentence=_("Nothing was done there yet. %(why)s Next try at %(time)s, until %(end)s.")
            % {
                "why": failure(cancellation.why, provider),
                "time": clock(cancellation.due_at, seconds=True),
                "end": clock(cancellation.expires_at),
            },
            step=_("You can still take it back."),
            tone="waiting",
        )
    return Outcome(
        title=_("Checking with %(provider)s") % {"provider": provider},
        sentence=_("The appointment is read once more before anything is sent."),
        step="",
        tone="waiting",
    )


def cooling_off(cancellation: Cancellation, *, now: datetime | None = None) -> timedelta:
    """How long *cancellation* waits for second thoughts; nothing once it is being worked on."""
    if (cancellation.state, cancellation.why) != (State.REQUESTED, COOLING_OFF):
        return timedelta(0)
    left = (cancellation.due_at or cancellation.expires_at) - (now or timezone.now())
    return max(left, timedelta(0))


def _queued(cancellation: Cancellation, *, is_paused: bool) -> Outcome:
    values = _provider(cancellation) | {"end": clock(cancellation.expires_at)}
    if is_paused:
        sentence = _(
            "Its batch is paused at %(provider)s until a person lets it go on. "
            "Nothing has been sent yet, and nothing is sent after %(end)s."
        )
    else:
        sentence = _(
            "Others go first, because %(provider)s takes only so many requests at a time. "
            "Nothing has been sent yet, and nothing is sent after %(end)s."
        )
    return Outcome(
        title=queued_title(cancellation, is_paused=is_paused),
        sentence=sentence % values,
        step=_("You can still take it back."),
        tone="waiting",
    )


def queued_title(cancellation: Cancellation, *, is_paused: bool) -> str:
    """What *cancellation* waits for, in few words."""
    if is_paused:
        return _("Paused with its batch")
    return _("Waiting for its turn at %(provider)s") % _provider(cancellation)


def _sending(cancellation: Cancellation) -> Outcome:
    return Outcome(
        title=_("Sending to %(provider)s") % _provider(cancellation),
        sentence=_("The request is on its way. It is not cancelled until the provider says so."),
        step="",
        tone="waiting",
    )


_BY_READING = frozenset({"seen_cancelled", "found_cancelled", "whole_cancelled"})


def _confirmed(cancellation: Cancellation) -> Outcome:
    values = _provider(cancellation) | {"time": clock(cancellation.settled_at, seconds=True)}
    if cancellation.why in _BY_READING:
        sentence = _("%(provider)s shows it as cancelled, read at %(time)s.") % values
    else:
        sentence = _("%(provider)s confirmed it at %(time)s.") % values
    return Outcome(
        title=_confirmed_title(cancellation),
        sentence=sentence,
        step=informed(cancellation.appointment),
        tone="good",
    )


def _confirmed_title(cancellation: Cancellation) -> str:
    if cancellation.why == "whole_cancelled":
        return _("The whole appointment is cancelled, not only %(name)s") % {
            "name": cancellation.person
        }
    match Scope(cancellation.scope):
        case Scope.ATTENDEE:
            return _("%(name)s was removed; the appointment goes on") % {
                "name": cancellation.person
            }
        case Scope.FOLLOWING:
            return _later_title(cancellation.later_ones)
        case Scope.WHOLE if _was_declined(cancellation):
            return _("Declined")
        case Scope.WHOLE:
            return _("Cancelled")


def _was_declined(cancellation: Cancellation) -> bool:
    """Whether it was pending when somebody asked to cancel it."""
    is_pending = cancellation.facts.status == Status.PENDING
    return is_pending and cancellation.appointment.capabilities.confirms_pending


def _later_title(later_ones: Sequence[Mapping[str, object]] | None) -> str:
    if later_ones is None:
        return _("This occurrence is cancelled; the later ones are being checked")
    if not later_ones:
        return _("This occurrence is cancelled; we know of no later ones")
    seen, total = sum(bool(one["seen_cancelled"]) for one in later_ones), len(later_ones)
    if seen == total:
        return ngettext(
            "Cancelled, with %(count)d later occurrence",
            "Cancelled, with %(count)d later occurrences",
            total,
        ) % {"count": total}
    return _("Cancelled; of %(total)d later occurrences %(seen)d are seen cancelled so far") % {
        "total": total,
        "seen": seen,
    }


def _already(cancellation: Cancellation) -> Outcome:
    return Outcome(
        title=_("It was already cancelled"),
        sentence=_(
            "%(provider)s shows that it was cancelled before. Your click changed nothing, "
            "and nobody was told again."
        )
        % _provider(cancellation)
        if cancellation.why in _BY_READING
        else _("%(provider)s says that it was cancelled before, not by your click.")
        % _provider(cancellation),
        step="",
        tone="neutral",
    )


def _refused(cancellation: Cancellation) -> Outcome:
    provider = _provider(cancellation)
    reasons: Mapping[str, str] = {
        "credentials": _("%(provider)s does not accept our key.") % provider,
        "permission": _("Our key may not cancel at %(provider)s.") % provider,
        "policy": " ".join(
            filter(
                None,
                (
                    _("The rules at %(provider)s do not allow it.") % provider,
                    _broken_rule(cancellation),
                ),
            )
        ),
        "email": _("%(provider)s did not accept it with this e-mail address.") % provider,
        "quota": _("The account at %(provider)s is used up for now.") % provider,
        "over": _("It is over at %(provider)s, so there is nothing left to cancel.") % provider,
    }
    why = reasons.get(cancellation.why, _("%(provider)s said no.") % provider)
    steps: Mapping[str, str] = {
        "credentials": _("Ask an administrator to enter a new key."),
        "permission": _("Ask an administrator for a key that may cancel."),
        "policy": _("Ask someone who may cancel in %(provider)s itself, or ring the patient.")
        % provider,
        "email": _("Check the address it was booked with, correct it and try again."),
        "quota": _("Ask an administrator, or wait until 00:00 UTC."),
    }
    return Outcome(
        title=_("Refused by %(provider)s") % provider,
        sentence=why
        if cancellation.why == Refusal.OVER
        else _("%(why)s It is still booked.") % {"why": why},
        step=steps.get(
            cancellation.why, _("See what the provider said, or cancel in its own system.")
        ),
        tone="bad",
    )


_FOR_AN_ADMINISTRATOR = frozenset(
    {"credentials", "access_denied", "cannot_decrypt", "switched_off", "wrong_address", "tls"}
)


def _not_sent(cancellation: Cancellation) -> Outcome:
    why = failure(cancellation.why, cancellation.connection.provider_label)
    # Turned away is not the same as never sent, though it comes to the same.
    sentence = (
        _("The request was turned away, so nothing was cancelled and nobody was told. %(why)s")
        if cancellation.why in ("rate_limited", "quota")
        else _("Nothing was sent and nobody was told. %(why)s")
    )
    return Outcome(
        title=_("Not sent"),
        sentence=sentence % {"why": why},
        step=_("Ask an administrator to look at this connection.")
        if cancellation.why in _FOR_AN_ADMINISTRATOR
        else _("Try again when the provider answers, or ring the patient."),
        tone="bad",
    )


def _withdrawn(cancellation: Cancellation) -> Outcome:
    provider = _provider(cancellation)
    reasons: Mapping[str, str] = {
        "taken_back": _("It was taken back before anything was sent."),
        "gone": _("It is no longer at %(provider)s, so nothing was sent.") % provider,
        "changed_time": _("Its time changed at %(provider)s, so nothing was sent.") % provider,
        "changed_attendees": _(
            "The people booked on it changed at %(provider)s, so nothing was sent."
        )
        % provider,
        "changed_status": _("Its status changed at %(provider)s, so nothing was sent.") % provider,
        "not_permitted": _("Your permission to cancel was withdrawn, so nothing was sent."),
    }
    return Outcome(
        title=_("Withdrawn, nothing was sent"),
        sentence=reasons.get(cancellation.why, _("Nothing was sent.")),
        step=""
        if cancellation.why == "taken_back"
        else _("Look at the appointment as it is now, then decide again."),
        tone="neutral",
    )


def _unknown(cancellation: Cancellation) -> Outcome:
    happened = (
        _("The portal was interrupted while it was sending to %(provider)s.")
        if cancellation.why == "worker_lost"
        else _("The request was sent, but %(provider)s did not answer clearly.")
    )
    return Outcome(
        title=_("Outcome unknown, we are checking"),
        sentence=_("%(happened)s It may or may not be cancelled. Next check at %(time)s.")
        % {
            "happened": happened % _provider(cancellation),
            "time": clock(cancellation.due_at, seconds=True),
        },
        step=_("Do not cancel it again. You can close this; it stays under Unsettled."),
        tone="alarm",
    )


def _needs_human(cancellation: Cancellation) -> Outcome:
    provider = _provider(cancellation)
    reasons: Mapping[str, str] = {
        "probably_cancelled": _(
            "%(provider)s no longer lists it: it is probably cancelled, but nothing proves it."
        )
        % provider,
        "still_booked": _(
            "%(provider)s still shows it as booked a while after our request: "
            "it was probably not cancelled."
        )
        % provider,
        "unreadable": _("%(provider)s could not be read for half an hour.") % provider,
    }
    return Outcome(
        title=_("A person has to find out"),
        sentence=reasons.get(cancellation.why, _("We could not find out what happened.")),
        step=_("Look in %(provider)s itself, or ring the patient.") % provider,
        tone="alarm",
    )


def _settled(cancellation: Cancellation) -> Outcome:
    values = {"name": person(cancellation.settled_by), "time": moment(cancellation.settled_at)}
    judged_cancelled = cancellation.why == "judged_cancelled"
    return Outcome(
        title=_("Settled by hand: cancelled")
        if judged_cancelled
        else _("Settled by hand: still booked"),
        sentence=_("%(name)s found out that it is cancelled (%(time)s).") % values
        if judged_cancelled
        else _("%(name)s found out that it is still booked (%(time)s).") % values,
        step="",
        tone="neutral",
    )


_OUTCOMES: Mapping[State, Callable[[Cancellation], Outcome]] = {
    State.REQUESTED: _requested,
    State.SENDING: _sending,
    State.CONFIRMED: _confirmed,
    State.ALREADY: _already,
    State.REFUSED: _refused,
    State.NOT_SENT: _not_sent,
    State.WITHDRAWN: _withdrawn,
    State.UNKNOWN: _unknown,
    State.NEEDS_HUMAN: _needs_human,
    State.SETTLED: _settled,
}


def informed(appointment: Appointment) -> str:
    """Who has been told of a confirmed cancellation, and whom to ring."""
    if appointment.capabilities.informs is Informs.ALL_PARTICIPANTS:
        provider = {"provider": appointment.connection.provider_label}
        return _("%(provider)s mails the people concerned.") % provider
    return who_is_told(appointment)


def who_is_told(appointment: Appointment) -> str:
    """Whom the provider tells of a cancellation, in the same words wherever it is said."""
    sentence = {
        Informs.ALL_PARTICIPANTS: _("%(provider)s mails everyone concerned at once."),
        Informs.PRESUMABLY_INVITEE: _(
            "%(provider)s presumably mails the invitee, but does not promise it: ring them."
        ),
        Informs.NOT_DOCUMENTED: _(
            "Whether %(provider)s tells anybody is not documented: ring them."
        ),
        Informs.PROBABLY_NOBODY: _("%(provider)s may tell nobody: ring them."),
    }[appointment.capabilities.informs]
    return sentence % {"provider": appointment.connection.provider_label}


def cancelled_with_earlier(earlier: Cancellation) -> str:
    """Who took a later occurrence away, and with which: `by Anna de Boer, with Mon 30 Nov`."""
    values = {"name": person(earlier.requested_by), "day": day_of(earlier.appointment)}
    return _("by %(name)s, with %(day)s") % values


def with_earlier(earlier: Cancellation) -> str:
    """The same for the timeline, which names the person by itself."""
    return _("Cancelled with %(day)s and all later ones") % {"day": day_of(earlier.appointment)}


def silence(cancellation: Cancellation) -> str:
    """What it means for *cancellation* that no worker runs."""
    match State(cancellation.state):
        case State.REQUESTED if cancellation.unknown_since is None:
            what = _("Nothing was sent, and from %(end)s on nothing will be.") % {
                "end": clock(cancellation.expires_at)
            }
        case State.REQUESTED | State.SENDING:
            what = _("What came of it is checked as soon as it is back.")
        case _:
            what = _("Nothing is checked until it is back.")
    return _("The worker is not running. %(what)s Tell an administrator.") % {"what": what}


def waiting_for_people(count: int) -> Notice:
    """An alarm about outcomes that wait for somebody for too long."""
    return Notice(
        sentence=ngettext(
            "%(count)d outcome has waited for a person for more than an hour.",
            "%(count)d outcomes have waited for a person for more than an hour.",
            count,
        )
        % {"count": count},
        tone="bad",
    )


def _provider(cancellation: Cancellation) -> dict[str, str]:
    return {"provider": cancellation.connection.provider_label}


# --- before the click -------------------------------------------------------------------------


def consequence(
    appointment: Appointment,
    *,
    scope: Scope = Scope.WHOLE,
    attendee: Attendee | None = None,
    later: Sequence[Appointment] = (),
) -> str:
    """
    One sentence: what will happen to whom, who gets told, and that it is final.

    *later* are the later ones that we know of, for `Scope.FOLLOWING`.
    """
    people = list(appointment.attendees.all())
    return " ".join(
        (
            _what_happens(appointment, people, scope=scope, attendee=attendee, later=later),
            who_is_told(appointment),
            _("This cannot be undone."),
        )
    )


LATER_NAMED = 4
"""Days of later occurrences that are named one by one."""


def later_known(later: Sequence[Appointment]) -> str:
    """How many later occurrences our copy has, and the first days of them."""
    if not later:
        return _("We know of no later ones.")
    days = ", ".join(day_of(one) for one in later[:LATER_NAMED])
    if len(later) > LATER_NAMED:
        days = f"{days}, …"
    return ngettext(
        "As far as we know, that is %(count)d later one: %(days)s.",
        "As far as we know, these are %(count)d later ones: %(days)s.",
        len(later),
    ) % {"count": len(later), "days": days}


def is_declined(appointment: Appointment) -> bool:
    """Whether to cancel *appointment* is to decline what somebody asked for."""
    return appointment.status == Status.PENDING and appointment.capabilities.confirms_pending


def _what_happens(
    appointment: Appointment,
    people: Sequence[Attendee],
    *,
    scope: Scope,
    attendee: Attendee | None,
    later: Sequence[Appointment],
) -> str:
    when = when_short(appointment)
    if scope is Scope.ATTENDEE and attendee is not None:
        return _("Removes %(name)s, one of %(count)d people, from %(when)s; the others stay.") % {
            "name": attendee.label,
            "count": len(people),
            "when": when,
        }
    if scope is Scope.FOLLOWING:
        cancels = _(
            "Cancels the appointment of %(who)s on %(when)s and all later ones of its series."
        ) % {"who": appointment.who, "when": when}
        return f"{cancels} {later_known(later)}"
    if appointment.is_group and not people:
        return _("Cancels the whole appointment on %(when)s for everybody booked.") % {"when": when}
    if appointment.is_group or len(people) > 1:
        return ngettext(
            "Cancels the whole appointment on %(when)s for %(count)d person.",
            "Cancels the whole appointment on %(when)s for all %(count)d people.",
            len(people),
        ) % {"when": when, "count": len(people)}
    if not people:
        return _("Cancels “%(who)s” on %(when)s.") % {"who": appointment.who, "when": when}
    values = {"who": appointment.who, "when": when}
    if is_declined(appointment):
        return _("Declines the appointment that %(who)s asked for on %(when)s.") % values
    return _("Cancels the appointment of %(who)s on %(when)s.") % values


def reason_reader(appointment: Appointment) -> str:
    """Who reads the reason, said beside the field."""
    capabilities, connection = appointment.capabilities, appointment.connection
    if not capabilities.reason_reaches_provider:
        if connection.capabilities.reason_reaches_provider:
            return _("Kept here only: %(provider)s takes no reason for this kind of entry.") % {
                "provider": connection.provider_label
            }
        return _("Kept here only: this provider takes no reason.")
    if capabilities.informs is Informs.ALL_PARTICIPANTS:
        return _("Mailed to the people concerned word for word, not translated.")
    return _(
        "May be mailed to the invitee word for word, not translated: write nothing you would not "
        "tell them."
    )


def email_source(appointment: Appointment, *, listed: Sequence[Attendee]) -> str:
    """Where the address that is filled in comes from; *listed* are the people who have one."""
    provider = {"provider": appointment.connection.provider_label}
    if not listed:
        return _("%(provider)s lists no address: ask which one it was booked with.") % provider
    if len(listed) == 1:
        return _("As %(provider)s lists it for %(name)s.") % (provider | {"name": listed[0].label})
    each = (f"{one.label} ({name_of(one.email)})" for one in listed)
    return _("%(provider)s lists several: %(each)s. Use the one that it was booked with.") % (
        provider | {"each": ", ".join(each)}
    )


def email_of_case(appointment: Appointment, *, is_there: bool) -> str:
    """The same where none was listed and the case behind the appointment was read."""
    provider = {"provider": appointment.connection.provider_label}
    if is_there:
        return (
            _(
                "From the case at %(provider)s. It may have been booked with another address: "
                "ask if in doubt."
            )
            % provider
        )
    return (
        _("Neither the list nor the case at %(provider)s names one: ask which it was booked with.")
        % provider
    )


def policy_notice(appointment: Appointment, *, now: datetime | None = None) -> Notice | None:
    """What the provider's own rules say about cancelling now; None if nothing stands against it."""
    policy = appointment.connection.known_policy
    label = appointment.connection.provider_label
    if policy is None:
        return None
    if not policy.allowed:
        return Notice(
            sentence=_("%(provider)s does not allow cancelling. Ask someone who may do it there.")
            % {"provider": label},
            tone="bad",
        )
    rule = _too_late_by(appointment, policy, at=now or timezone.now())
    if rule is None:
        return None
    if not _begins_at_a_known_time(appointment):
        return Notice(
            sentence=_(
                "The time of day is not known; %(provider)s asks for %(notice)s h of notice and "
                "may refuse. You can still try."
            )
            % rule,
            tone="warning",
        )
    return Notice(
        sentence=capfirst(
            _(
                "%(left)s h left, %(provider)s asks for %(notice)s h. It will probably refuse; "
                "you can still try."
            )
            % rule
        ),
        tone="warning",
    )


def _broken_rule(cancellation: Cancellation) -> str:
    """Which of its rules a provider refused by, as far as we know them; empty if we do not."""
    policy = cancellation.connection.known_policy
    if policy is None:
        return ""
    if not policy.allowed:
        return _("It allows no cancelling at all.")
    row = cancellation.appointment
    if facts_of(row).when != cancellation.facts.when:
        return ""  # It was moved since, and what is left now is not what was left then.
    rule = _too_late_by(row, policy, at=cancellation.settled_at or cancellation.requested_at)
    if rule is None:
        return ""
    if not _begins_at_a_known_time(row):
        return _("It asks for %(notice)s h of notice.") % rule
    return capfirst(_("%(left)s h were left, it asks for %(notice)s h.") % rule)


def _too_late_by(
    appointment: Appointment, policy: CancellationPolicy, *, at: datetime
) -> dict[str, str] | None:
    """How much notice *policy* asks for and how much is left, in hours; None if it is enough."""
    left = appointment.starts_at_the_earliest - at
    if left >= policy.notice:
        return None
    hour = timedelta(hours=1)
    notice = round(policy.notice / hour, 1)
    return {
        "provider": appointment.connection.provider_label,
        "notice": number_format(int(notice) if notice.is_integer() else notice),
        # Whole ones only: 23 h 50 min must not read like the 24 that are asked for.
        "left": _("less than 1") if timedelta(0) < left < hour else str(max(0, left // hour)),
    }


def _begins_at_a_known_time(appointment: Appointment) -> bool:
    return appointment.starts_at is not None or appointment.window_starts is not None


def conflict(found: Conflict, *, viewer: Any = None) -> str:
    """Why nothing was recorded for *viewer*, who was faster and when, and what to do."""
    match found.kind:
        case ConflictKind.STALE:
            return _(
                "This appointment changed since you opened it. Nothing was sent. "
                "Look at it as it is now, then press the button again."
            )
        case ConflictKind.ALREADY_OPEN if found.cancellation is not None:
            return cancellation_open(found.cancellation, viewer=viewer)
        case ConflictKind.ALREADY_OPEN:
            return _("A cancellation of this appointment is under way. Nothing was sent.")
        case ConflictKind.SERIES_OPEN:
            return _(
                "A cancellation that touches this series is under way. Nothing was sent; "
                "wait for its outcome."
            )
        case ConflictKind.CHANGE_OPEN if found.booking is not None:
            return change_open(found.booking, viewer=viewer)
        case ConflictKind.CHANGE_OPEN:
            return _("A move or confirmation of it is under way. Nothing was sent.")
        case ConflictKind.NOT_LIVE if found.cancellation is not None:
            return _cancelled_before(found.cancellation, viewer=viewer)
        case ConflictKind.NOT_LIVE:
            return _("This appointment is not booked any more. Nothing was sent.")
        case ConflictKind.PAST:
            return _("This appointment is over; its provider cannot cancel it. Nothing was sent.")
        case ConflictKind.POLICY_FORBIDS:
            return _("The provider does not allow cancelling. Nothing was sent.")
        case ConflictKind.SWITCHED_OFF:
            return _("This connection is switched off, so nothing was sent. Ask an administrator.")


def scope_words(scope: str, *, who: str = "") -> str:
    """How much of a booking is to be taken away; of a group, of *who* if that is known."""
    match Scope(scope):
        case Scope.ATTENDEE:
            return _("Only %(name)s") % {"name": who} if who else _("One person")
        case Scope.FOLLOWING:
            return _("This and all later occurrences")
        case Scope.WHOLE:
            return _("The whole appointment")


def change_open(booking: Booking, *, viewer: Any = None) -> str:
    """That *booking* is being moved or confirmed, and by whom."""
    values = {
        "name": _("you") if booking.requested_by == viewer else person(booking.requested_by),
        "when": at(booking.requested_at),
    }
    if booking.kind == Booking.Kind.MOVE:
        asked = _("A move of this appointment was asked for by %(name)s %(when)s") % values
    else:
        asked = _("A confirmation of this appointment was asked for by %(name)s %(when)s") % values
    if booking.state in UNSETTLED_BOOKINGS:
        asked = _("%(asked)s, and its outcome is not known yet") % {"asked": asked}
    return _("%(asked)s. Nothing else was sent; wait for its outcome.") % {"asked": asked}


def cancellation_open(cancellation: Cancellation, *, viewer: Any) -> str:
    """That *cancellation* was asked for before, by whom and when."""
    values = {
        "name": person(cancellation.requested_by),
        "when": at(cancellation.requested_at),
    }
    if cancellation.requested_by == viewer:
        asked = _("You asked for this yourself %(when)s") % values
    else:
        asked = _("%(name)s asked for this %(when)s") % values
    if cancellation.state in UNSETTLED:
        asked = _("%(asked)s, and its outcome is not known yet") % {"asked": asked}
    return _("%(asked)s. Nothing else was sent.") % {"asked": asked}


def _cancelled_before(cancellation: Cancellation, *, viewer: Any) -> str:
    values = {
        "name": _("you")
        if cancellation.requested_by == viewer
        else person(cancellation.requested_by),
        "when": at(cancellation.settled_at),
    }
    if timezone.now() - (cancellation.settled_at or timezone.now()) < JUST:
        return _("It was just cancelled by %(name)s, %(when)s. Nothing else was sent.") % values
    return _("It was cancelled by %(name)s %(when)s. Nothing else was sent.") % values


def removed_before(cancellation: Cancellation, *, viewer: Any) -> str:
    """Who was faster with removing one person of a group."""
    return _("%(who)s was removed by %(name)s %(when)s. Nothing else was sent.") % {
        "who": cancellation.person,
        "name": _("you")
        if cancellation.requested_by == viewer
        else person(cancellation.requested_by),
        "when": at(cancellation.settled_at),
    }


def removed_from(cancellation: Cancellation) -> str:
    """Who does not belong to a coming appointment any more, for whoever looks for them in vain."""
    return _("%(who)s was removed from the appointment %(when)s, by %(name)s.") % {
        "who": cancellation.person,
        "when": when_short(cancellation.appointment),
        "name": person(cancellation.requested_by),
    }


def change_sentence(changes: Sequence[Change]) -> str:
    """What moved since the dialog was opened."""
    words = {
        Change.TIME: _("its time"),
        Change.ATTENDEES: _("the people booked on it"),
        Change.STATUS: _("its status"),
    }
    return _("This changed since you opened it: %(what)s.") % {
        "what": ", ".join(words[one] for one in changes)
    }


# --- many at once -----------------------------------------------------------------------------


def exclusion(code: str) -> str:
    """Why a chosen appointment cannot be part of a batch."""
    words: Mapping[str, str] = {
        ConflictKind.STALE: _("It changed since the review."),
        ConflictKind.ALREADY_OPEN: _("A cancellation of it is under way already."),
        ConflictKind.SERIES_OPEN: _("A cancellation of its series is under way."),
        ConflictKind.CHANGE_OPEN: _("A move or confirmation of it is under way."),
        ConflictKind.NOT_LIVE: _("It is not booked any more."),
        ConflictKind.PAST: _("It is over; its provider cannot cancel it."),
        ConflictKind.POLICY_FORBIDS: _("Its provider does not allow cancelling."),
        ConflictKind.SWITCHED_OFF: _("Its connection is switched off."),
        OVER: _("It is over already: tick it in the list if it is meant, too."),
        EMAIL_MISSING: _("Its provider needs the e-mail address: cancel it by itself."),
    }
    return words[code]


def batch_told(appointment: Appointment) -> str:
    """What cancelling *appointment*, and others of its kind, means at its provider."""
    reason = (
        _("The reason is sent along.")
        if appointment.capabilities.reason_reaches_provider
        else _("The reason stays here.")
    )
    return f"{who_is_told(appointment)} {reason}"


def batch_notice(batch: Batch, progress: Progress, *, is_paused: bool) -> Outcome:
    """How far a batch is, in words; never "done" while one outcome is open."""
    values = {"done": progress.done, "total": progress.total, "unclear": progress.unclear}
    sentences = [_("%(done)d of %(total)d are cancelled.") % values]
    begins = batch.requested_at + settings.COOLING_OFF
    if progress.is_moving and begins > timezone.now():
        sentence = _("Nothing is sent before %(time)s: until then you can still stop all of it.")
        sentences = [sentence % {"time": clock(begins, seconds=True)}]
    if progress.judged_cancelled:
        sentences.append(
            ngettext(
                "%(count)d was settled by hand as cancelled.",
                "%(count)d were settled by hand as cancelled.",
                progress.judged_cancelled,
            )
            % {"count": progress.judged_cancelled}
        )
    if checking := progress.unclear - progress.for_people:
        sentences.append(
            ngettext(
                "Of %(unclear)d nobody knows yet: do not cancel it again, we are checking.",
                "Of %(unclear)d nobody knows yet: do not cancel them again, we are checking.",
                checking,
            )
            % {"unclear": checking}
        )
    if progress.for_people:
        sentences.append(
            ngettext(
                "Of %(count)d a person has to find out: see Unsettled.",
                "Of %(count)d a person has to find out: see Unsettled.",
                progress.for_people,
            )
            % {"count": progress.for_people}
        )
    if progress.failed:
        sentences.append(
            ngettext(
                "%(count)d is not cancelled: see why below.",
                "%(count)d are not cancelled: see why below.",
                progress.failed,
            )
            % {"count": progress.failed}
        )
    if progress.contradicted:
        sentences.append(
            ngettext(
                "%(count)d is listed as booked again: look into it.",
                "%(count)d are listed as booked again: look into them.",
                progress.contradicted,
            )
            % {"count": progress.contradicted}
        )
    if batch.excluded:
        sentences.append(
            ngettext("%(count)d was left out.", "%(count)d were left out.", len(batch.excluded))
            % {"count": len(batch.excluded)}
        )
    return Outcome(
        title=_batch_title(batch, progress, is_paused=is_paused),
        sentence=" ".join(sentences),
        step="",
        tone=_batch_tone(batch, progress, is_paused=is_paused),
    )


def _batch_title(batch: Batch, progress: Progress, *, is_paused: bool) -> str:
    if not progress.total:
        return _("None of them could be cancelled")
    if progress.is_over:
        if _is_all_done(batch, progress):
            return _("All are cancelled")
        return _("Stopped") if batch.stopped_at else _("Ended; not all are cancelled")
    if batch.stopped_at:
        if not (out := progress.counts.get(State.SENDING, 0) + progress.unclear):
            return _("Stopped")
        return ngettext(
            "Stopped; the outcome of %(count)d that was sent is still open",
            "Stopped; the outcomes of %(count)d that were sent are still open",
            out,
        ) % {"count": out}
    if progress.waiting and is_paused:
        return _("Paused, waiting for you")
    if progress.waiting or progress.counts.get(State.SENDING, 0):
        return _("Cancelling")
    return _("Nothing more is sent; outcomes are still open")


def _is_all_done(batch: Batch, progress: Progress) -> bool:
    """Whether all that somebody pressed the button for is cancelled, undoubted."""
    return 0 < progress.total == progress.done and not progress.contradicted and not batch.excluded


def _batch_tone(batch: Batch, progress: Progress, *, is_paused: bool) -> str:
    if progress.unclear or progress.contradicted or (is_paused and progress.waiting):
        return "alarm"
    if not progress.is_over:
        return "waiting"
    return "good" if _is_all_done(batch, progress) else "bad"


def pause_sentence(lane: BatchLane, *, is_unclear: bool) -> str:
    """Why a batch goes on at the other connections only; *is_unclear* if an outcome there is."""
    provider = {"provider": lane.connection.provider_label}
    unclear = _(
        "Paused: %(provider)s did not answer clearly several times in a row. "
        "What waits has not been sent."
    )
    then = _("Look at the unclear ones first.") if is_unclear else _("None is unclear any more.")
    return {
        "not_sent": _(
            "Paused: %(provider)s could not be reached several times in a row. "
            "What waits has not been sent."
        ),
        "unknown": f"{unclear} {then}",
        "busy": _(
            "Paused: %(provider)s is busy and asks to wait for longer than two minutes. "
            "What waits has not been sent."
        ),
        "refused": _(
            "Paused: %(provider)s does not accept our key, or the account is used up. "
            "What waits has not been sent. Ask an administrator."
        ),
    }[lane.paused_why] % provider


# --- history ----------------------------------------------------------------------------------

_EVENTS: Mapping[Event, Promise] = {
    Event.ASKED: gettext_lazy("Asked to cancel"),
    Event.CLAIMED: gettext_lazy("About to be sent"),
    Event.FOUND_CANCELLED: gettext_lazy("Read: it is cancelled"),
    Event.FOUND_CHANGED: gettext_lazy("Read: it changed, so nothing was sent"),
    Event.FOUND_GONE: gettext_lazy("Read: no longer shown by the provider"),
    Event.TAKEN_BACK: gettext_lazy("Taken back"),
    Event.NOT_PERMITTED: gettext_lazy("Not permitted any more"),
    Event.LIFETIME_OVER: gettext_lazy("Waited too long to be sent"),
    Event.LOOK_REFUSED: gettext_lazy("The provider did not let us read; nothing was sent"),
    Event.NOTHING_LEFT_US_YET: gettext_lazy("Nothing was done; tried again later"),
    Event.NOTHING_LEFT_US: gettext_lazy("Nothing was done; given up"),
    Event.PROVIDER_CONFIRMED: gettext_lazy("The provider confirmed the cancellation"),
    Event.PROVIDER_SAID_ALREADY: gettext_lazy("The provider: it was cancelled already"),
    Event.PROVIDER_REFUSED: gettext_lazy("Refused by the provider"),
    Event.UNCLEAR: gettext_lazy("No clear answer"),
    Event.LEASE_EXPIRED: gettext_lazy("The worker stopped while it was being sent"),
    Event.REPEAT_IS_DUE: gettext_lazy("Read: still booked; to be sent once more"),
    Event.HANDED_OVER: gettext_lazy("Handed over to a person"),
    Event.SENT_AGAIN: gettext_lazy("Sent again by a person"),
    Event.SETTLED_BY_HAND: gettext_lazy("Settled by a person"),
    Event.CONTRADICTED: gettext_lazy("Listed as booked again by the provider"),
}


def event_sentence(event: CancellationEvent) -> str:
    """One step of the history, for the timeline."""
    return str(_EVENTS[Event(event.event)])


_IN_A_WORD: Mapping[State, Promise] = {
    State.REQUESTED: gettext_lazy("Waiting"),
    State.SENDING: gettext_lazy("Sending"),
    State.CONFIRMED: gettext_lazy("Cancelled"),
    State.ALREADY: gettext_lazy("Already cancelled"),
    State.REFUSED: gettext_lazy("Refused"),
    State.NOT_SENT: gettext_lazy("Not sent"),
    State.WITHDRAWN: gettext_lazy("Withdrawn"),
    State.UNKNOWN: gettext_lazy("Outcome unknown"),
    State.NEEDS_HUMAN: gettext_lazy("Needs a person"),
    State.SETTLED: gettext_lazy("Settled by hand"),
}


def state_choices() -> list[tuple[str, str]]:
    """Every state, in the words of the tables."""
    return [(state.value, str(word)) for state, word in _IN_A_WORD.items()]


def in_a_word(cancellation: Cancellation) -> str:
    """What came of *cancellation*, for tables; not *cancelled* if a later read contradicts it."""
    if cancellation.contradicted_at is not None:
        return _("Contradicted")
    return str(_IN_A_WORD[State(cancellation.state)])
