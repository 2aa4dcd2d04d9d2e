"""What was done at this desk, and what still waits for somebody."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
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

from appointments.forms import ActivityForm
from appointments.models import Appointment, Booking, Cancellation, Connection, WorkerPulse
from appointments.models.appointments import day_start
from appointments.models.cancellations import CancellationQuerySet, State
from appointments.providers.registry import PROVIDERS
from appointments.services.batch import latest
from appointments.views.appointments import facts
from appointments.views.bookings import state_context as booking_context
from appointments.views.cancellations import MAY_VIEW, state_context
from appointments.views.files import csv_stream
from appointments.views.request import StaffRequest
from appointments.views.rows import CHUNK
from appointments.views.timeline import scope_words
from appointments.views.when import day_title, when
from appointments.wording import (
    age,
    asked_time,
    booking_outcome,
    booking_title,
    booking_who,
    in_a_word,
    person,
    state_choices,
    when_short,
)

PAGE_SIZE = 50
LATEST_BOOKINGS = 20
"""Requests to book, to move or to confirm to which the activity leads back."""
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
    """Show who cancelled what, why, and what came of it; the newest first."""
    form = _form(request)
    found = _found(form.cleaned_data)
    if _ID.fullmatch(before := request.GET.get("before", "")):
        found = found.filter(pk__lt=int(before))
    rows = list(_with_all(found)[: PAGE_SIZE + 1])
    kept = _kept(form)
    context = {
        "form": form,
        "rows": [_row(one) for one in rows[:PAGE_SIZE]],
        "is_filtered": bool(kept),
        "file": f"{reverse('activity-file')}?{urlencode(kept)}",
        "older": _older(kept, rows[PAGE_SIZE - 1].pk) if len(rows) > PAGE_SIZE else "",
        "is_first": not before,
        "batches": []
        if kept or before
        else [
            {"batch": one, "progress": progress, "owner": person(one.requested_by)}
            for one, progress in latest()
        ],
        "bookings": [] if kept or before else _latest_bookings(),
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
    lines = (_cells(one) for one in _all(_found(_form(request).cleaned_data)))
    return csv_stream(f"activity-{timezone.localdate()}.csv", header, lines)


def _all(found: CancellationQuerySet) -> Iterator[Cancellation]:
    """Everything of *found*, the newest first, read a chunk at a time."""
    rest = found
    while some := list(_with_all(rest)[:CHUNK]):
        yield from some
        rest = found.filter(pk__lt=some[-1].pk)


def _with_all(found: CancellationQuerySet) -> QuerySet[Cancellation]:
    return (
        found.select_related("appointment__connection", "connection", "requested_by")
        .prefetch_related("appointment__attendees")
        .order_by("-pk")
    )


def _cells(cancellation: Cancellation) -> tuple[str, ...]:
    settled_at = cancellation.settled_at
    return (
        f"{timezone.localtime(cancellation.requested_at):%Y-%m-%d %H:%M:%S}",
        person(cancellation.requested_by),
        cancellation.attendee_name or cancellation.appointment.who,
        when_short(cancellation.appointment),
        scope_words(cancellation),
        cancellation.reason,
        cancellation.note,
        cancellation.connection.provider_label,
        cancellation.connection.name,
        in_a_word(cancellation),
        f"{timezone.localtime(settled_at):%Y-%m-%d %H:%M:%S}" if settled_at else "",
    )


def _latest_bookings() -> list[dict[str, Any]]:
    """The newest requests to book, to move or to confirm, whatever became of them."""
    rows = Booking.objects.select_related("connection", "appointment__connection", "requested_by")
    return [
        {
            "booking": one,
            "title": booking_title(one),
            "who": booking_who(one),
            "asked_time": asked_time(one),
            "owner": person(one.requested_by),
            "outcome": booking_outcome(one).title,
        }
        for one in rows.prefetch_related("appointment__attendees")[:LATEST_BOOKINGS]
    ]


def _form(request: StaffRequest) -> ActivityForm:
    theirs = Cancellation.objects.filter(requested_by=OuterRef("pk"))
    people = User.objects.filter(Exists(theirs)).order_by("username")
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


def _found(values: Mapping[str, Any]) -> CancellationQuerySet:
    found = Cancellation.objects.all()
    if who := values.get("who"):
        found = found.filter(requested_by=who)
    if state := values.get("state"):
        found = found.filter(state=state)
    if slug := values.get("provider"):
        found = found.filter(connection__provider=slug)
    if query := values.get("q"):
        # Somebody who was removed is no longer part of the booking, but of its cancellation.
        same = Q(appointment__in=Appointment.objects.matching(query))
        found = found.filter(same | Q(attendee_name__icontains=query))
    if first := values.get("from"):
        found = found.filter(requested_at__gte=day_start(first))
    if last := values.get("to"):
        found = found.filter(requested_at__lt=day_start(last + timedelta(days=1)))
    return found


def _row(cancellation: Cancellation) -> dict[str, Any]:
    appointment = cancellation.appointment
    at = when(appointment)
    return {
        "cancellation": cancellation,
        "owner": person(cancellation.requested_by),
        "who": cancellation.person or appointment.who,
        "scope": scope_words(cancellation),
        "when": at,
        "day": day_title(at.day, today=timezone.localdate()),
        "provider": cancellation.connection.provider_label,
        "word": in_a_word(cancellation),
        "mark": State.UNKNOWN if cancellation.contradicted_at else cancellation.state,
    }


def _older(kept: Mapping[str, str], pk: int) -> str:
    return f"{reverse('activity')}?{urlencode({**kept, 'before': pk})}"
