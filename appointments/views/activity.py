"""What was done at this desk, and what still waits for somebody."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import permission_required
from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from appointments.forms import ActivityForm
from appointments.models import Booking, Cancellation, WorkerPulse
from appointments.models.appointments import day_start
from appointments.models.cancellations import CancellationQuerySet
from appointments.services.batch import latest
from appointments.views.appointments import facts
from appointments.views.bookings import state_context as booking_context
from appointments.views.cancellations import MAY_VIEW, state_context
from appointments.views.request import StaffRequest
from appointments.views.timeline import scope_words
from appointments.views.when import day_title, when
from appointments.wording import age, asked_time, booking_title, booking_who, person

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
    """Show who cancelled what, why, and what came of it; the newest first."""
    theirs = Cancellation.objects.filter(requested_by=OuterRef("pk"))
    people = User.objects.filter(Exists(theirs)).order_by("username")
    form = ActivityForm(request.GET, people=[(one.pk, person(one)) for one in people])
    form.is_valid()
    found = _found(form.cleaned_data)
    if _ID.fullmatch(before := request.GET.get("before", "")):
        found = found.filter(pk__lt=int(before))
    rows = list(
        found.select_related("appointment__connection", "connection", "requested_by")
        .prefetch_related("appointment__attendees")
        .order_by("-pk")[: PAGE_SIZE + 1]
    )
    kept = {name: str(value) for name in form.fields if (value := form.cleaned_data.get(name))}
    context = {
        "form": form,
        "rows": [_row(one) for one in rows[:PAGE_SIZE]],
        "is_filtered": bool(kept),
        "older": _older(kept, rows[PAGE_SIZE - 1].pk) if len(rows) > PAGE_SIZE else "",
        "is_first": not before,
        "batches": []
        if kept or before
        else [
            {"batch": one, "progress": progress, "owner": person(one.requested_by)}
            for one, progress in latest()
        ],
    }
    return render(request, "appointments/activity.html", context)


def _found(values: Mapping[str, Any]) -> CancellationQuerySet:
    found = Cancellation.objects.all()
    if who := values.get("who"):
        found = found.filter(requested_by=who)
    if state := values.get("state"):
        found = found.filter(state=state)
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
        "who": cancellation.attendee_name or appointment.who,
        "scope": scope_words(cancellation),
        "when": at,
        "day": day_title(at.day, today=timezone.localdate()),
        "provider": cancellation.connection.provider_label,
        "word": cancellation.get_state_display(),
    }


def _older(kept: Mapping[str, str], pk: int) -> str:
    return f"{reverse('activity')}?{urlencode({**kept, 'before': pk})}"
