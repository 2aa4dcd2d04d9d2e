"""What was done at this desk, and what still waits for somebody."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import permission_required
from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from appointments.booking_wording import asked_time, booking_outcome, booking_title, booking_who
from appointments.forms import ActivityForm
from appointments.models import Appointment, Booking, Cancellation, Connection, WorkerPulse
from appointments.models.appointments import day_start
from appointments.models.cancellations import State
from appointments.providers.registry import PROVIDERS
from appointments.services.batch import latest
from appointments.views.appointments import facts
from appointments.views.bookings import state_context as booking_context
from appointments.views.cancellations import MAY_VIEW, state_context
from appointments.views.files import csv_stream
from appointments.views.request import StaffRequest
from appointments.views.rows import CHUNK
from appointments.views.timeline import scope_words
from appointments.wording import age, in_a_word, person, state_choices, when_short

PAGE_SIZE = 50
LONGEST_LIST = 200
"""Unsettled ones shown at once; the oldest come first, so none is hidden for good."""

_ID = re.compile(r"\d{1,18}", re.ASCII)


@require_safe
@permission_required(MAY_VIEW, raise_exception=True)
def unsettled(request: StaffRequest) -> HttpResponse:
    """Show every outcome that is unknown or waits for a person, the oldest first."""
    now = timezone.now()
    cancellations = (
        Cancellation.objects.for_people(now)
        .select_related("appointment__connection", "connection", "requested_by", "settled_by")
        .prefetch_related("appointment__attendees", "people")
        .order_by("requested_at", "pk")[:LONGEST_LIST]
    )
    bookings = (
        Booking.objects.for_people()
        .select_related(
            "connection", "appointment__connection", "replaces__connection", "requested_by"
        )
        .prefetch_related("appointment__attendees", "replaces__attendees")
        .order_by("requested_at", "pk")[:LONGEST_LIST]
    )
    is_silent = WorkerPulse.is_silent()
    context = {
        "items": [
            state_context(one, is_silent=is_silent)
            | {
                "facts": facts(one.appointment),
                "owner": person(one.requested_by),
                "age": age(now - one.requested_at),
            }
            for one in cancellations
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
            for one in bookings
        ],
    }
    return render(request, "appointments/unsettled.html", context)


@require_safe
@permission_required(MAY_VIEW, raise_exception=True)
def index(request: StaffRequest) -> HttpResponse:
    """Show who asked for what, why, and what came of it; the newest first."""
    form = _form(request)
    ledger = Ledger.of(form.cleaned_data)
    before = request.GET.get("before", "")
    lines = ledger.lines(before=int(before) if _ID.fullmatch(before) else None, most=PAGE_SIZE + 1)
    kept = _kept(form)
    context = {
        "form": form,
        "rows": lines[:PAGE_SIZE],
        "is_filtered": bool(set(kept) - {"kind"}),
        "file": f"{reverse('activity-file')}?{urlencode(kept)}",
        "older": _older(kept, lines[PAGE_SIZE - 1].pk) if len(lines) > PAGE_SIZE else "",
        "is_first": not before,
        "batches": []
        if kept or before
        else [
            {"batch": one, "progress": progress, "owner": person(one.requested_by)}
            for one, progress in latest()
        ],
    }
    return render(request, "appointments/activity.html", context)


@require_safe
@permission_required(MAY_VIEW, raise_exception=True)
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
    cells = (one.cells for one in Ledger.of(_form(request).cleaned_data).all_lines())
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
            self.when,
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

    @staticmethod
    def of(values: Mapping[str, Any]) -> Ledger[Any]:
        if values.get("kind") == ActivityForm.BOOKINGS:
            return Ledger(_bookings(values), _booking_line)
        return Ledger(_cancellations(values), _cancellation_line)

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


def _form(request: StaffRequest) -> ActivityForm:
    asked = Exists(Cancellation.objects.filter(requested_by=OuterRef("pk")))
    booked = Exists(Booking.objects.filter(requested_by=OuterRef("pk")))
    people = User.objects.filter(asked | booked).order_by("username")
    slugs = Connection.objects.values_list("provider", flat=True).order_by().distinct()
    form = ActivityForm(
        request.GET,
        people=[(one.pk, person(one)) for one in people],
        states=state_choices(),
        providers=[(one, PROVIDERS[one].label) for one in sorted(slugs) if one in PROVIDERS],
    )
    form.is_valid()
    return form


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
        "appointment__connection", "connection", "requested_by"
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
        what=scope_words(cancellation),
        reason=cancellation.reason,
        note=cancellation.note,
        connection=cancellation.connection,
        word=in_a_word(cancellation),
        mark=State.UNKNOWN if cancellation.contradicted_at else cancellation.state,
        settled_at=cancellation.settled_at,
    )


def _booking_line(booking: Booking) -> Line:
    return Line(
        pk=booking.pk,
        url=booking.get_absolute_url(),
        at=booking.requested_at,
        by=person(booking.requested_by),
        who=booking_who(booking),
        when=asked_time(booking),
        what=booking_title(booking),
        connection=booking.connection,
        word=booking_outcome(booking).title,
        mark=booking.state,
        settled_at=booking.settled_at,
    )


def _older(kept: Mapping[str, str], pk: int) -> str:
    return f"{reverse('activity')}?{urlencode({**kept, 'before': pk})}"
