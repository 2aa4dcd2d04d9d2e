"""What was done at this desk, and what still waits for somebody."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from heapq import merge
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from appointments.booking_wording import asked_time, booking_outcome, booking_title, booking_who
from appointments.codes import in_words
from appointments.forms import ActivityForm
from appointments.models import Appointment, Booking, Cancellation, Connection, WorkerPulse
from appointments.models.appointments import day_start
from appointments.models.cancellations import State
from appointments.phrases import age, person, when_short
from appointments.providers.registry import PROVIDERS
from appointments.services.batch import latest
from appointments.views.appointments import facts
from appointments.views.bookings import open_of_the_old
from appointments.views.bookings import state_context as booking_context
from appointments.views.cancellations import state_context
from appointments.views.files import csv_stream
from appointments.views.request import StaffRequest, needs
from appointments.views.rows import CHUNK
from appointments.wording import in_a_word, scope_words, state_choices

PAGE_SIZE = 50
LONGEST_LIST = 200
"""Unsettled ones of each kind on one page, the oldest first."""

_ID = re.compile(r"\d{1,18}", re.ASCII)


@require_safe
@needs()
def unsettled(request: StaffRequest) -> HttpResponse:
    """Show every outcome that is unknown or waits for a person, the oldest first."""
    now = timezone.now()
    cancellations = (
        Cancellation.objects.for_people(now)
        .select_related("appointment__connection", "connection", "requested_by", "settled_by")
        .prefetch_related("appointment__attendees", "people")
        .order_by("requested_at", "pk")
    )
    bookings = (
        Booking.objects.for_people()
        .select_related(
            "connection",
            "appointment__connection",
            "replaces__connection",
            "requested_by",
            "settled_by",
        )
        .prefetch_related("appointment__attendees", "replaces__attendees", open_of_the_old())
        .order_by("requested_at", "pk")
    )
    counts = (cancellations.count(), bookings.count())
    pages = max(1, *(-(-count // LONGEST_LIST) for count in counts))
    page = _page(request.GET.get("page", ""), pages)
    shown = slice((page - 1) * LONGEST_LIST, page * LONGEST_LIST)
    is_silent = WorkerPulse.is_silent()
    context = {
        "items": [
            state_context(one, is_silent=is_silent)
            | {
                "facts": facts(one.appointment),
                "owner": person(one.requested_by),
                "age": age(now - one.requested_at),
            }
            for one in cancellations[shown]
        ],
        "bookings": [
            booking_context(one, is_silent=is_silent)
            | {
                "title": booking_title(one),
                "who": booking_who(one),
                "asked_time": asked_time(one),
                "owner": person(one.requested_by),
                "age": age(now - one.requested_at),
            }
            for one in bookings[shown]
        ],
        "page": page,
        "pages": pages,
        "count": sum(counts),
        "earlier": page - 1,
        "later": page + 1 if page < pages else 0,
    }
    return render(request, "appointments/unsettled.html", context)


def _page(asked: str, pages: int) -> int:
    """The page that is *asked* for; the nearest there is, since settled ones leave the list."""
    return min(max(1, int(asked)), pages) if _ID.fullmatch(asked) else 1


@require_safe
@needs()
def index(request: StaffRequest) -> HttpResponse:
    """Show who asked for what, why, and what came of it; the newest first."""
    form = _form(request)
    place = _place(request.GET.get("before", ""))
    found = _merged(_ledgers(form.cleaned_data), place=place, most=PAGE_SIZE + 1)
    shown = found[:PAGE_SIZE]
    kept = _kept(form)
    context = {
        "form": form,
        "rows": [line for _name, line in shown],
        "is_filtered": bool(set(kept) - {"kind"}),
        "file": f"{reverse('activity-file')}?{urlencode(kept)}",
        "older": _older(kept, place, shown) if len(found) > PAGE_SIZE else "",
        "newest": f"{reverse('activity')}?{urlencode(kept)}",
        "is_first": not place,
        "batches": []
        if kept or place
        else [
            {"batch": one, "progress": progress, "owner": person(one.requested_by)}
            for one, progress in latest()
        ],
    }
    return render(request, "appointments/activity.html", context)


@require_safe
@needs()
def file(request: StaffRequest) -> StreamingHttpResponse:
    """The same as a CSV file, without an end to its length."""
    header = (
        _("Asked for at"),
        _("By"),
        _("Person"),
        _("Appointment"),
        _("What"),
        _("Why"),
        _("Internal note"),
        _("Provider"),
        _("Account"),
        _("Outcome"),
        _("Settled at"),
    )
    streams = [one.all_lines() for one in _ledgers(_form(request).cleaned_data).values()]
    lines = merge(*streams, key=lambda one: one.at, reverse=True)
    cells = (one.cells for one in lines)
    return csv_stream(f"activity-{timezone.localdate()}.csv", header, cells)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One request, as page and file show it."""

    pk: int
    url: str
    at: datetime
    by: str
    who: str
    when: str
    when_exactly: str
    """With its year and in figures, for a file."""
    what: str
    reason: str = ""
    note: str = ""
    connection: Connection
    word: str
    mark: str
    settled_at: datetime | None

    @property
    def cells(self) -> tuple[str, ...]:
        return (
            f"{timezone.localtime(self.at):%Y-%m-%d %H:%M:%S}",
            self.by,
            self.who,
            self.when_exactly,
            self.what,
            self.reason,
            self.note,
            self.connection.provider_label,
            self.connection.name,
            self.word,
            f"{timezone.localtime(self.settled_at):%Y-%m-%d %H:%M:%S}" if self.settled_at else "",
        )


@dataclass(frozen=True)
class Ledger[Request: (Cancellation, Booking)]:
    """All requests of one kind that a filter leaves, and how one reads."""

    found: QuerySet[Request]
    line: Callable[[Request], Line]

    def lines(self, *, before: int | None = None, most: int) -> list[Line]:
        """At most *most* before the one with the key *before*, the newest first."""
        found = self.found if before is None else self.found.filter(pk__lt=before)
        return [self.line(one) for one in found.order_by("-pk")[:most]]

    def all_lines(self) -> Iterator[Line]:
        """Everything, read a chunk at a time."""
        before: int | None = None
        while some := self.lines(before=before, most=CHUNK):
            yield from some
            before = some[-1].pk


type Place = dict[str, int]
"""Of each ledger the key of the line that was shown last; none where nothing was."""


def _ledgers(values: Mapping[str, Any]) -> dict[str, Ledger[Any]]:
    """What the filters leave, each kind of request by its name."""
    both: dict[str, Ledger[Any]] = {
        ActivityForm.CANCELLATIONS: Ledger(_cancellations(values), _cancellation_line),
        ActivityForm.BOOKINGS: Ledger(_bookings(values), _booking_line),
    }
    return {name: one for name, one in both.items() if values.get("kind") in (None, "", name)}


def _merged(
    ledgers: Mapping[str, Ledger[Any]], *, place: Place, most: int
) -> list[tuple[str, Line]]:
    """At most *most* lines behind *place*, the newest first, each with the name of its ledger."""
    streams = [
        [(name, line) for line in ledger.lines(before=place.get(name), most=most)]
        for name, ledger in ledgers.items()
    ]
    return list(merge(*streams, key=lambda one: one[1].at, reverse=True))[:most]


def _place(before: str) -> Place:
    """As `_older` writes it: the keys in the order of the ledgers, what is no key left out."""
    names = (ActivityForm.CANCELLATIONS, ActivityForm.BOOKINGS)
    keys = before.split("-")
    return {name: int(key) for name, key in zip(names, keys, strict=False) if _ID.fullmatch(key)}


def _form(request: StaffRequest) -> ActivityForm:
    asked = Exists(Cancellation.objects.filter(requested_by=OuterRef("pk")))
    booked = Exists(Booking.objects.filter(requested_by=OuterRef("pk")))
    people = User.objects.filter(asked | booked).order_by("username")
    slugs = Connection.objects.values_list("provider", flat=True).order_by().distinct()
    form = ActivityForm(
        request.GET,
        people=[(one.pk, person(one)) for one in people],
        states=_states(request.GET.get("kind", "")),
        providers=[(one, PROVIDERS[one].label) for one in sorted(slugs) if one in PROVIDERS],
    )
    form.is_valid()
    return form


def _states(kind: str) -> list[tuple[str, str]]:
    """Every outcome; what was done is called cancelled only where nothing else can be meant."""
    states = dict(state_choices())
    if kind != ActivityForm.CANCELLATIONS:
        states[State.CONFIRMED] = _("Done")
        states[Booking.State.AWAITS_CONFIRMATION] = _("Unconfirmed")
    return list(states.items())


def _kept(form: ActivityForm) -> dict[str, str]:
    return {name: str(value) for name in form.fields if (value := form.cleaned_data.get(name))}


def _cancellations(values: Mapping[str, Any]) -> QuerySet[Cancellation]:
    found = Cancellation.objects.filter(_asked(values))
    if query := values.get("q"):
        # Somebody who was removed is no longer part of the booking, but of its cancellation.
        same = Q(appointment__in=Appointment.objects.matching(query))
        found = found.filter(same | Q(attendee_name__icontains=query))
    return found.select_related(
        "appointment__connection", "connection", "requested_by"
    ).prefetch_related("appointment__attendees")


def _bookings(values: Mapping[str, Any]) -> QuerySet[Booking]:
    found = Booking.objects.filter(_asked(values))
    if query := values.get("q"):
        # A new appointment has no booking of ours until it was read back.
        same = Q(appointment__in=Appointment.objects.matching(query))
        found = found.filter(same | Q(wish__name__icontains=query))
    return found.select_related(
        "appointment__connection", "connection", "requested_by", "settled_by"
    ).prefetch_related("appointment__attendees")


def _asked(values: Mapping[str, Any]) -> Q:
    """What the filters say of any request."""
    wanted = Q()
    if who := values.get("who"):
        wanted &= Q(requested_by=who)
    if state := values.get("state"):
        wanted &= Q(state=state)
    if slug := values.get("provider"):
        wanted &= Q(connection__provider=slug)
    if first := values.get("from"):
        wanted &= Q(requested_at__gte=day_start(first))
    if last := values.get("to"):
        wanted &= Q(requested_at__lt=day_start(last + timedelta(days=1)))
    return wanted


def _cancellation_line(cancellation: Cancellation) -> Line:
    return Line(
        pk=cancellation.pk,
        url=cancellation.get_absolute_url(),
        at=cancellation.requested_at,
        by=person(cancellation.requested_by),
        who=cancellation.person or cancellation.appointment.who,
        when=when_short(cancellation.appointment),
        when_exactly=_in_figures(
            cancellation.appointment.starts_at,
            cancellation.appointment.day,
            cancellation.appointment.session,
            cancellation.appointment.batch,
        ),
        what=_("Cancellation: %(what)s")
        % {"what": scope_words(cancellation.scope, who=cancellation.person)},
        reason=cancellation.reason,
        note=cancellation.note,
        connection=cancellation.connection,
        word=in_a_word(cancellation),
        mark=State.UNKNOWN if cancellation.contradicted_at else cancellation.state,
        settled_at=cancellation.settled_at,
    )


def _booking_line(booking: Booking) -> Line:
    session = booking.wish.get("session", "")
    day = booking.starts_at.astimezone(booking.connection.zone).date()
    return Line(
        pk=booking.pk,
        url=booking.get_absolute_url(),
        at=booking.requested_at,
        by=person(booking.requested_by),
        who=booking_who(booking),
        when=asked_time(booking),
        when_exactly=_in_figures(
            None if session else booking.starts_at, day, session, booking.wish.get("batch", "")
        ),
        what=booking_title(booking),
        connection=booking.connection,
        word=booking_outcome(booking).title,
        mark=Booking.State.UNKNOWN
        if booking.is_contradicted and not booking.kept_both_at
        else booking.state,
        settled_at=booking.settled_at,
    )


def _in_figures(starts_at: datetime | None, day: date | None, session: str, batch: str) -> str:
    """Day and time on the desk's clock; without a time, the day and the session."""
    if starts_at is not None:
        return f"{timezone.localtime(starts_at):%Y-%m-%d %H:%M}"
    parts = (day.isoformat() if day else "", in_words(session), batch)
    return " ".join(part for part in parts if part)


def _older(kept: Mapping[str, str], place: Place, shown: Sequence[tuple[str, Line]]) -> str:
    last = place | {name: line.pk for name, line in shown}
    names = (ActivityForm.CANCELLATIONS, ActivityForm.BOOKINGS)
    before = "-".join(str(last.get(name, "")) for name in names)
    return f"{reverse('activity')}?{urlencode({**kept, 'before': before})}"
