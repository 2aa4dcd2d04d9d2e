"""One history of an appointment: what the provider showed, what we did, what it answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _

from appointments.domain import Scope
from appointments.models import Appointment, Cancellation, ProviderAnswer, ProviderCall
from appointments.models.cancellations import AnswerKind, Event
from appointments.wording import event_sentence, person

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


def timeline(appointment: Appointment, cancellations: Sequence[Cancellation]) -> list[Moment]:
    """Everything that happened to *appointment*, the newest first."""
    moments = list(_of_booking(appointment))
    for one in cancellations:
        moments += of_cancellation(one, url=one.get_absolute_url())
    return sorted(moments, key=lambda moment: moment.at, reverse=True)


def of_cancellation(cancellation: Cancellation, *, url: str = "") -> list[Moment]:
    """The steps, requests and answers of one cancellation, in their order."""
    moments = [*_events(cancellation, url=url), *_calls(cancellation)]
    return sorted(moments, key=lambda moment: moment.at)


def _of_booking(appointment: Appointment) -> Iterator[Moment]:
    provider = appointment.connection.provider_label
    yield Moment(at=appointment.first_seen_at, title=f"First seen at {provider}")
    if appointment.provider_updated_at:
        yield Moment(at=appointment.provider_updated_at, title=f"Last changed at {provider}")
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
            at=appointment.missing_since, title=f"No longer listed by {provider}", tone="waiting"
        )
    if appointment.cancelled_at:
        yield Moment(
            at=appointment.cancelled_at,
            title=f"Cancelled, as {provider} shows it",
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
        scope_words(cancellation),
        f"Reason: {cancellation.reason}" if cancellation.reason else "",
        f"Note: {cancellation.note}" if cancellation.note else "",
    )
    return "\n".join(part for part in parts if part)


def scope_words(cancellation: Cancellation) -> str:
    """What it is meant to take away."""
    match Scope(cancellation.scope):
        case Scope.ATTENDEE:
            return f"Only {cancellation.attendee_name}"
        case Scope.FOLLOWING:
            return "This and all later occurrences"
        case Scope.WHOLE:
            return "The whole appointment"


def _calls(cancellation: Cancellation) -> Iterator[Moment]:
    for call in cancellation.calls.all():
        provider = cancellation.connection.provider_label
        yield Moment(at=call.started_at, title=f"Request {call.number} sent to {provider}")
        if (answer := _answer(call)) is not None:
            yield Moment(
                at=answer.answered_at,
                title=f"Answer: {AnswerKind(answer.kind).label}",
                detail=f"HTTP {answer.status}" if answer.status else "",
                said=answer.said,
                tone=_TONES[AnswerKind(answer.kind)],
            )


def _answer(call: ProviderCall) -> ProviderAnswer | None:
    return getattr(call, "answer", None)
