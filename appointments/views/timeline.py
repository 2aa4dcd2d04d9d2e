"""One history of an appointment: what the provider showed, what we did, what it answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _

from appointments.booking_wording import asked_time, booking_event_sentence
from appointments.domain import Status
from appointments.models import Appointment, Booking, Cancellation, ProviderAnswer, ProviderCall
from appointments.models.bookings import BookingEventKind
from appointments.models.cancellations import AnswerKind, Event
from appointments.phrases import person
from appointments.services.trace import cancelled_with
from appointments.wording import event_sentence, scope_words, with_earlier

_SHOWN_AS_CALLS = frozenset({Event.CLAIMED})
"""Steps that the call itself tells better."""

_TONES = {
    AnswerKind.OK: "good",
    AnswerKind.ALREADY: "neutral",
    AnswerKind.REFUSED: "bad",
    AnswerKind.LIMITED: "waiting",
    AnswerKind.NOT_SENT: "bad",
    AnswerKind.UNKNOWN: "alarm",
}


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One line of the history."""

    at: datetime
    title: str
    who: str = ""
    detail: str = ""
    said: str = ""
    """The provider's own words."""
    tone: str = "neutral"
    url: str = ""


def timeline(
    appointment: Appointment, cancellations: Sequence[Cancellation], bookings: Sequence[Booking]
) -> list[Moment]:
    """Everything that happened to *appointment*, the newest first."""
    moments = list(_of_booking(appointment))
    for one in cancellations:
        moments += of_cancellation(one, url=one.get_absolute_url())
    for booking in bookings:
        moments += of_booking(booking, url=booking.get_absolute_url())
    moments += _with_earlier(appointment)
    return sorted(moments, key=lambda moment: moment.at, reverse=True)


def _with_earlier(appointment: Appointment) -> Iterator[Moment]:
    """That it went with an earlier occurrence of its series, and who wanted that."""
    if appointment.status != Status.CANCELLED or not appointment.capabilities.following:
        return
    for earlier in cancelled_with([appointment.pk]).values():
        yield Moment(
            at=earlier.settled_at or earlier.requested_at,
            title=with_earlier(earlier),
            who=person(earlier.requested_by),
            detail=_wanted(earlier),
            url=earlier.get_absolute_url(),
        )


def of_cancellation(cancellation: Cancellation, *, url: str = "") -> list[Moment]:
    """The steps, requests and answers of one cancellation, the newest first."""
    return _newest_first([*_events(cancellation, url=url), *_calls(cancellation)])


def of_booking(booking: Booking, *, url: str = "") -> list[Moment]:
    """The steps of one request to book, to move or to confirm, the newest first."""
    steps = [
        Moment(
            at=event.at,
            title=booking_event_sentence(event, booking=booking),
            who=person(event.by) if event.by else "",
            detail=_asked_for(booking) if event.event == BookingEventKind.ASKED else event.detail,
            said=booking.said if event.event in _HEARD else "",
            tone=_BOOKING_TONES.get(BookingEventKind(event.event), "neutral"),
            url=url if event.event == BookingEventKind.ASKED else "",
        )
        for event in booking.events.all()
    ]
    return _newest_first(steps)


def _newest_first(steps: Iterable[Moment]) -> list[Moment]:
    """Of the same moment, what came later stands above."""
    return sorted(steps, key=lambda moment: moment.at)[::-1]


_HEARD = frozenset(
    {
        BookingEventKind.PROVIDER_CONFIRMED,
        BookingEventKind.PROVIDER_NOTED,
        BookingEventKind.PROVIDER_REFUSED,
    }
)
_BOOKING_TONES = {
    BookingEventKind.PROVIDER_CONFIRMED: "good",
    BookingEventKind.FOUND: "good",
    BookingEventKind.PROVIDER_REFUSED: "bad",
    BookingEventKind.NOTHING_LEFT_US: "bad",
    BookingEventKind.UNCLEAR: "alarm",
    BookingEventKind.LEASE_EXPIRED: "alarm",
    BookingEventKind.HANDED_OVER: "alarm",
    BookingEventKind.CONTRADICTED: "alarm",
}


def _asked_for(booking: Booking) -> str:
    return "" if booking.kind == Booking.Kind.CONFIRM else asked_time(booking)


def _of_booking(appointment: Appointment) -> Iterator[Moment]:
    provider = {"provider": appointment.connection.provider_label}
    yield Moment(at=appointment.first_seen_at, title=_("First seen at %(provider)s") % provider)
    if appointment.provider_updated_at:
        yield Moment(
            at=appointment.provider_updated_at, title=_("Last changed at %(provider)s") % provider
        )
    if appointment.practitioner_at:
        yield Moment(
            at=appointment.practitioner_at,
            title=_("Noted here: with %(name)s") % {"name": appointment.practitioner}
            if appointment.practitioner
            else _("The note of who it is with was taken away"),
            who=person(appointment.practitioner_by) if appointment.practitioner_by else "",
        )
    if appointment.missing_since:
        yield Moment(
            at=appointment.missing_since,
            title=_("No longer listed by %(provider)s") % provider,
            tone="waiting",
        )
    if appointment.cancelled_at:
        yield Moment(
            at=appointment.cancelled_at,
            title=_("Cancelled, as %(provider)s shows it") % provider,
            who=appointment.cancelled_by,
            said=appointment.cancel_reason,
        )


def _events(cancellation: Cancellation, *, url: str) -> Iterator[Moment]:
    for event in cancellation.events.all():
        if event.event in _SHOWN_AS_CALLS:
            continue
        asked = event.event == Event.ASKED
        yield Moment(
            at=event.at,
            title=event_sentence(event),
            who=person(event.by) if event.by else "",
            detail=_wanted(cancellation) if asked else event.detail,
            url=url if asked else "",
        )


def _wanted(cancellation: Cancellation) -> str:
    parts: Iterable[str] = (
        scope_words(cancellation.scope, who=cancellation.person),
        _("Reason: %(reason)s") % {"reason": cancellation.reason} if cancellation.reason else "",
        _("Note: %(note)s") % {"note": cancellation.note} if cancellation.note else "",
    )
    return "\n".join(part for part in parts if part)


def _calls(cancellation: Cancellation) -> Iterator[Moment]:
    for call in cancellation.calls.all():
        values = {"number": call.number, "provider": cancellation.connection.provider_label}
        yield Moment(
            at=call.started_at, title=_("Request %(number)d sent to %(provider)s") % values
        )
        if (answer := _answer(call)) is not None:
            yield Moment(
                at=answer.answered_at,
                title=_("Answer: %(kind)s") % {"kind": AnswerKind(answer.kind).label},
                detail=f"HTTP {answer.status}" if answer.status else "",
                said=answer.said,
                tone=_TONES[AnswerKind(answer.kind)],
            )


def _answer(call: ProviderCall) -> ProviderAnswer | None:
    return getattr(call, "answer", None)
