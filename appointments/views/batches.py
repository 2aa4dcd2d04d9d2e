"""Cancelling many at once: choose in the list, review, follow, stop and resume."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import islice
from math import ceil
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import permission_required
from django.http import HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import pgettext
from django.views.decorators.http import require_http_methods, require_safe
from django_htmx.http import HttpResponseClientRedirect

from appointments.domain import LIVE
from appointments.forms import BatchForm, keys_of
from appointments.models import (
    Appointment,
    Batch,
    BatchLane,
    Cancellation,
    ConcernedPerson,
    Connection,
    ReasonPreset,
)
from appointments.models.appointments import digits
from appointments.models.cancellations import FAILED, UNSETTLED, State, Verdict
from appointments.services import batch as batches
from appointments.services.batch import Line, Progress
from appointments.services.calls import (
    booked_people,
    cancelled_people,
    note_reached,
    people_to_ring,
)
from appointments.services.lanes import QUEUED
from appointments.views.appointments import facts
from appointments.views.cancellations import presets_of
from appointments.views.files import csv_file
from appointments.views.filters import Accounts, Wanted
from appointments.views.polling import SLOW, STEADY, knows, token_of
from appointments.views.request import StaffRequest, see_other, wants_fragment
from appointments.wording import (
    batch_notice,
    batch_told,
    exclusion,
    failing_notice,
    moment,
    outcome,
    pause_sentence,
    policy_notice,
    queued_title,
    when_short,
)

MAY_VIEW = "appointments.view_appointment"
MAY_CANCEL = "appointments.cancel_appointment"


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required(MAY_CANCEL, raise_exception=True)
def review(request: StaffRequest) -> HttpResponse:
    """
    Show what would happen to each chosen appointment. Records nothing.

    What was chosen goes into the address, so that *back* and a login lead here again.
    """
    if request.method == "POST":
        keys = set(keys_of(request.POST.getlist("pick")))
        if "all" in request.POST:
            keys = _coming(QueryDict(request.POST["all"]))
        cut = {"cut": 1} if len(keys) > batches.MOST else {}
        return see_other(_address("review-batch", batches.chosen(keys), **cut))
    rows = batches.chosen(_keys_in_address(request))
    form = BatchForm(appointments=rows, presets=_presets(rows))
    return _review(request, batches.review(rows), form=form, is_cut="cut" in request.GET)


def _coming(query: QueryDict) -> set[int]:
    """Keys of all that the list would show for *query* on all its pages and is not over."""
    found = Wanted.by(query, Accounts.read()).found().filter(status__in=LIVE).in_order()
    # One more than fits, so that the review can say that it is not all.
    coming = (one.pk for one in found.iterator(chunk_size=batches.MOST) if not one.is_past)
    return set(islice(coming, batches.MOST + 1))


def _presets(rows: Sequence[Appointment]) -> list[ReasonPreset]:
    return presets_of(row.connection_id for row in rows)


def _address(name: str, rows: Sequence[Appointment], **more: int) -> str:
    keys = ".".join(str(row.pk) for row in rows)
    return f"{reverse(name)}?{urlencode({'pick': keys} | more)}"


def _keys_in_address(request: StaffRequest) -> list[int]:
    return keys_of(request.GET.get("pick", "").split("."))


def _review(
    request: StaffRequest,
    lines: Sequence[Line],
    *,
    form: BatchForm,
    is_cut: bool = False,
    status: int = 200,
) -> HttpResponse:
    included = [one.appointment for one in lines if not one.excluded]
    counts = Counter(one.connection for one in included)
    context = {
        "form": form,
        "address": _address("start-batch", [one.appointment for one in lines]),
        "lines": [_line(one, form) for one in lines if not one.excluded],
        "excluded": [
            {"facts": facts(one.appointment), "why": exclusion(one.excluded)}
            for one in lines
            if one.excluded
        ],
        "count": sum(form.is_ticked(one.pk, is_over=one.is_past) for one in included),
        "included": len(included),
        "shown": [one.appointment.pk for one in lines],
        "told": [
            {
                "pk": connection.pk,
                "name": connection.name,
                "count": count,
                "sentence": batch_told(connection),
            }
            for connection, count in sorted(counts.items(), key=lambda pair: pair[0].name)
        ],
        "failing": [notice for one in counts if (notice := failing_notice(one))],
        "minutes": ceil(batches.lifetime(counts) / timedelta(minutes=1)) if counts else 0,
        "typed_above": batches.TYPED_ABOVE,
        "most": batches.MOST,
        "is_cut": is_cut,
    }
    return render(request, "appointments/batch_review.html", context, status=status)


def _line(line: Line, form: BatchForm) -> dict[str, Any]:
    row = line.appointment
    return {
        "facts": facts(row),
        "value": f"{row.pk}:{row.version}",
        "connection": row.connection_id,
        "is_over": row.is_past,
        "policy": policy_notice(row),
        "is_ticked": form.is_ticked(row.pk, is_over=row.is_past),
        "people": row.attendees.count() if row.is_group else 0,
    }


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required(MAY_CANCEL, raise_exception=True)
def start(request: StaffRequest) -> HttpResponse:
    """Record the reviewed batch, if the typed count fits; after a login, review it again."""
    if request.method != "POST":
        rows = batches.chosen(_keys_in_address(request))
        return redirect(_address("review-batch", rows) if rows else "appointments")
    rows = batches.chosen(BatchForm.keys(request.POST))
    form = BatchForm(request.POST, appointments=rows, presets=_presets(rows))
    if not form.is_valid():
        lines = batches.review(rows, versions=form.versions())
        return _review(request, lines, form=form, status=422)
    batch = batches.ask_for_batch(
        form.versions(),
        by=request.user,
        reason=form.cleaned_data["reason"],
        note=form.cleaned_data["note"],
        form_key=form.cleaned_data["form_key"],
    )
    if wants_fragment(request):
        return HttpResponseClientRedirect(batch.get_absolute_url())
    return see_other(batch)


@require_safe
@permission_required(MAY_VIEW, raise_exception=True)
def progress(request: StaffRequest, pk: int) -> HttpResponse:
    """Show how far a batch is; the page asks again by itself while that may change."""
    batch = _batch(pk)
    # The token first: of hundreds of appointments, most polls find nothing new.
    token = _token(batch)
    if knows(request, token):
        return HttpResponse(status=204)
    part = "#progress" if wants_fragment(request) else ""
    context = _progress_context(batch) | {"token": token}
    return render(request, f"appointments/batch.html{part}", context)


def _token(batch: Batch) -> str:
    cancellations = batch.cancellations.order_by("pk")
    lanes = batch.lanes.values_list("pk", "paused_at")
    seen = cancellations.values_list("pk", "state", "why", "contradicted_at")
    return token_of(list(seen), list(lanes), batch.stopped_at)


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required(MAY_CANCEL, raise_exception=True)
def stop(request: StaffRequest, pk: int) -> HttpResponse:
    """Take back what has not been sent."""
    batch = _batch(pk)
    if request.method == "POST":
        batches.stop(batch, by=request.user)
    return redirect(batch)


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required(MAY_CANCEL, raise_exception=True)
def resume(request: StaffRequest, pk: int, connection: int) -> HttpResponse:
    """Go on where the batch was paused at one connection."""
    batch = _batch(pk)
    if request.method == "POST":
        batches.resume(batch, get_object_or_404(Connection, pk=connection), by=request.user)
    return redirect(batch)


@require_safe
@permission_required(MAY_CANCEL, raise_exception=True)
def calls(request: StaffRequest, pk: int) -> HttpResponse:
    """Show whom nobody demonstrably told, to be rung and ticked."""
    return render(request, "appointments/calls.html", _calls_context(_batch(pk)))


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required(MAY_CANCEL, raise_exception=True)
def reached(request: StaffRequest, pk: int, person: int) -> HttpResponse:
    """Tick somebody of the call list, or take the tick back."""
    if request.method != "POST":
        return redirect("calls", pk)
    batch = _batch(pk)
    found = get_object_or_404(people_to_ring(batch), pk=person)
    note_reached(found, by=request.user, is_reached=request.POST.get("reached") == "yes")
    if not wants_fragment(request):
        return redirect("calls", pk)
    return render(request, "appointments/calls.html#calls", _calls_context(batch))


@require_safe
@permission_required(MAY_CANCEL, raise_exception=True)
def calls_file(request: StaffRequest, pk: int) -> HttpResponse:
    """The call list as a CSV file."""
    people = people_to_ring(_batch(pk)).prefetch_related(_ATTENDEES)
    lines = (
        (
            one.label,
            one.phone,
            one.email,
            when_short(one.cancellation.appointment),
            one.cancellation.connection.name,
            one.cancellation.reason,
            _("still booked") if one.cancellation.state in FAILED else _("cancelled"),
            moment(one.reached_at) if one.reached_at else "",
        )
        for one in people
    )
    header = (
        _("Name"),
        _("Phone"),
        _("E-mail"),
        _("Appointment"),
        _("Account"),
        _("Reason"),
        pgettext("column: still booked or cancelled", "Is"),
        _("Reached"),
    )
    return csv_file(f"calls-{pk}.csv", header, lines)


_ATTENDEES = "cancellation__appointment__attendees"


def _calls_context(batch: Batch) -> dict[str, Any]:
    cancelled = _calls(cancelled_people(batch).prefetch_related(_ATTENDEES))
    booked = _calls(booked_people(batch).prefetch_related(_ATTENDEES))
    done = batches.progress(batch)
    return {
        "batch": batch,
        "cancelled": cancelled,
        "booked": booked,
        "total": len(cancelled) + len(booked),
        "reached": sum(one["person"].reached_at is not None for one in [*cancelled, *booked]),
        "open": done.unclear + done.waiting,
    }


def _calls(people: Iterable[ConcernedPerson]) -> list[dict[str, Any]]:
    """By appointment, but all of one person together: one call is enough."""
    together: dict[object, list[ConcernedPerson]] = {}
    for one in people:
        together.setdefault(digits(one.phone)[-8:] or one.email or one.pk, []).append(one)
    return [
        {"person": one, "facts": facts(one.cancellation.appointment), "is_again": place > 0}
        for same in together.values()
        for place, one in enumerate(same)
    ]


def _batch(pk: int) -> Batch:
    return get_object_or_404(Batch.objects.select_related("requested_by", "stopped_by"), pk=pk)


def _progress_context(batch: Batch) -> dict[str, Any]:
    items = list(
        batch.cancellations.select_related("connection", "appointment__connection")
        .prefetch_related("appointment__attendees")
        .order_by("appointment__sorts_at", "appointment_id")
    )
    lanes = list(batch.lanes.select_related("connection"))
    whole = Progress.of((one.state, one.why, one.contradicted_at) for one in items)
    held = {lane.connection_id for lane in lanes if lane.paused_at}
    return {
        "batch": batch,
        "whole": whole,
        "notice": batch_notice(batch, whole, is_paused=any(lane.paused_at for lane in lanes)),
        "lanes": [_lane(lane, items) for lane in lanes],
        "rows": [
            _row(one, is_paused=one.connection_id in held) for one in sorted(items, key=_matters)
        ],
        "excluded": _excluded(batch),
        "can_stop": whole.waiting > 0 and batch.stopped_at is None,
        "to_ring": people_to_ring(batch).count(),
        "left": [] if whole.is_moving else _left(items),
        "poll_delay": _poll_delay(whole),
    }


def _left(items: Sequence[Cancellation]) -> list[int]:
    """Keys of the appointments that this batch certainly left booked."""
    left = FAILED | {State.WITHDRAWN}
    return [
        one.appointment_id for one in items if one.state in left or one.why == Verdict.STILL_BOOKED
    ]


def _poll_delay(progress: Progress) -> str:
    if progress.is_over:
        return ""
    return STEADY if progress.is_moving else SLOW


def _matters(cancellation: Cancellation) -> int:
    """What a person must act on stands first, what went well last."""
    order = (
        UNSETTLED,
        FAILED,
        {State.SENDING},
        {State.WITHDRAWN, State.SETTLED, State.ALREADY},
        {State.REQUESTED},
        {State.CONFIRMED},
    )
    if cancellation.contradicted_at is not None:
        return 0
    return next(place for place, states in enumerate(order) if cancellation.state in states)


def _lane(lane: BatchLane, items: Sequence[Cancellation]) -> dict[str, Any]:
    here = [one for one in items if one.connection_id == lane.connection_id]
    done = Progress.of((one.state, one.why, one.contradicted_at) for one in here)
    return {
        "connection": lane.connection,
        "progress": done,
        "pause": pause_sentence(lane) if lane.paused_at and done.waiting else "",
        "since": lane.paused_at,
        "until": max(
            (one.expires_at for one in here if one.state == State.REQUESTED), default=None
        ),
    }


def _row(cancellation: Cancellation, *, is_paused: bool) -> dict[str, Any]:
    # Of hundreds, not each can look up by itself whether its lane is paused.
    is_queued = cancellation.state == State.REQUESTED and cancellation.why == QUEUED
    found = None if is_queued else outcome(cancellation)
    return {
        "cancellation": cancellation,
        "facts": facts(cancellation.appointment),
        "title": found.title if found else queued_title(cancellation, is_paused=is_paused),
        "why": found.sentence if found is not None and found.tone in ("bad", "alarm") else "",
    }


def _excluded(batch: Batch) -> list[dict[str, Any]]:
    why = {one["appointment"]: one["why"] for one in batch.excluded}
    rows = Appointment.objects.filter(pk__in=why).select_related("connection")
    return [
        {"facts": facts(row), "why": exclusion(why[row.pk])}
        for row in rows.prefetch_related("attendees").in_order()
    ]
