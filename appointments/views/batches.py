"""Cancelling many at once: choose in the list, review, follow, stop and resume."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from math import ceil
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe
from django_htmx.http import HttpResponseClientRedirect

from appointments.connection_wording import failing_notice
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
from appointments.models.cancellations import FAILED, UNSETTLED, State, Verdict
from appointments.phrases import moment, person, when_short
from appointments.services import batch as batches
from appointments.services.batch import Line, Progress
from appointments.services.calls import (
    booked_as,
    booked_people,
    cancelled_people,
    note_reached,
    other_numbers,
    people_to_ring,
)
from appointments.services.lanes import QUEUED
from appointments.services.reach import same_number
from appointments.views.appointments import facts
from appointments.views.cancellations import presets_of
from appointments.views.files import csv_file
from appointments.views.filters import Accounts, Wanted
from appointments.views.polling import SLOW, STEADY, knows, token_of
from appointments.views.request import MAY_CANCEL, StaffRequest, needs, see_other, wants_fragment
from appointments.views.when import when
from appointments.wording import (
    batch_notice,
    batch_told,
    exclusion,
    outcome,
    pause_sentence,
    policy_notice,
    queued_title,
)

MOST_OVER = 50
"""Of what is over: an address has only so much room."""


@require_http_methods(["GET", "HEAD", "POST"])
@needs(MAY_CANCEL)
def review(request: StaffRequest) -> HttpResponse:
    """
    Show what would happen to each chosen appointment. Records nothing.

    What was chosen goes into the address, so that *back* and a login lead here again.
    """
    if request.method == "POST":
        keys = set(keys_of(request.POST.getlist("pick")))
        over: list[int] = []
        if "all" in request.POST:
            keys, over = _shown_by(QueryDict(request.POST["all"]))
        more = _more(over=batches.chosen(over), earlier=_earlier(request.POST))
        if len(keys) > batches.MOST:
            more["cut"] = 1
        return see_other(_address("review-batch", batches.chosen(keys), **more))
    rows = batches.chosen(_keys_in_address(request))
    typed = _typed_before(_earlier(request.GET))
    form = BatchForm(appointments=rows, presets=_presets(rows), typed=typed)
    return _review(request, batches.review(rows), form=form, is_cut="cut" in request.GET)


def _shown_by(query: QueryDict) -> tuple[set[int], list[int]]:
    """
    Keys of all that the list would show for *query* on all its pages: what is to come, and what
    is over, which is named but not chosen.
    """
    found = Wanted.by(query, Accounts.read()).found().filter(status__in=LIVE).in_order()
    coming: set[int] = set()
    over: list[int] = []
    for one in found.iterator(chunk_size=batches.MOST):
        if not one.is_past:
            coming.add(one.pk)
        elif len(over) < MOST_OVER:
            over.append(one.pk)
        # One more than fits, so that the review can say that it is not all.
        if len(coming) > batches.MOST:
            break
    return coming, over


def _earlier(query: QueryDict) -> Batch | None:
    """The batch that left booked what is chosen now, if it is one."""
    return Batch.objects.filter(pk__in=keys_of(query.getlist("earlier")[:1])).first()


def _typed_before(earlier: Batch | None) -> dict[str, str]:
    """What was written for what *earlier* left booked."""
    return {"reason": earlier.reason, "note": earlier.note} if earlier is not None else {}


def _more(*, over: Sequence[Appointment], earlier: Batch | None) -> dict[str, str | int]:
    """What goes along in the address besides the appointments chosen."""
    more: dict[str, str | int] = {}
    if over:
        more["over"] = _joined(over)
    if earlier is not None:
        more["earlier"] = earlier.pk
    return more


def _over_in_address(request: StaffRequest) -> list[Appointment]:
    """What the list showed beside what is chosen, and is over."""
    keys = keys_of(request.GET.get("over", "").split("."))
    return [one for one in batches.chosen(keys[:MOST_OVER]) if one.is_past]


def _presets(rows: Sequence[Appointment]) -> list[ReasonPreset]:
    return presets_of(row.connection_id for row in rows)


def _address(name: str, rows: Sequence[Appointment], **more: str | int) -> str:
    return f"{reverse(name)}?{urlencode({'pick': _joined(rows)} | more)}"


def _joined(rows: Sequence[Appointment]) -> str:
    return ".".join(str(row.pk) for row in rows)


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
    over = _over_in_address(request)
    rows = [one.appointment for one in lines]
    left_out = [one for one in lines if one.excluded]
    left_out += [Line(appointment=one, excluded=batches.OVER) for one in over]
    context = {
        "form": form,
        "address": _address("start-batch", rows, **_more(over=over, earlier=_earlier(request.GET))),
        "lines": [_line(one, form) for one in lines if not one.excluded],
        "excluded": [
            {"facts": facts(one.appointment), "why": exclusion(one.excluded)} for one in left_out
        ],
        "left_out_by": [
            {"count": count, "why": exclusion(code)}
            for code, count in Counter(one.excluded for one in left_out).most_common()
        ],
        "count": sum(form.is_ticked(one.pk, is_over=one.is_past) for one in included),
        "included": len(included),
        "shown": [one.appointment.pk for one in lines],
        "told": _told(included),
        "failing": [notice for one in counts if (notice := failing_notice(one))],
        "minutes": ceil(batches.lifetime(counts) / timedelta(minutes=1)) if counts else 0,
        "typed_above": batches.TYPED_ABOVE,
        "most": batches.MOST,
        "is_cut": is_cut,
    }
    return render(request, "appointments/batch_review.html", context, status=status)


def _told(included: Sequence[Appointment]) -> list[dict[str, Any]]:
    """Who is told by whom, counted: by account, and apart where it knows several kinds."""
    first = {_kind(one): one for one in reversed(included)}
    counts = Counter(_kind(one) for one in included)
    lines = [
        {
            "kind": kind,
            "name": one.connection.name,
            "count": counts[kind],
            "sentence": batch_told(one),
        }
        for kind, one in first.items()
    ]
    return sorted(lines, key=lambda line: (line["name"], line["kind"]))


def _kind(row: Appointment) -> str:
    """What the sentence about who is told depends on."""
    reason = "reason" if row.capabilities.reason_reaches_provider else "silent"
    return f"{row.connection_id}-{row.capabilities.informs}-{reason}"


def _line(line: Line, form: BatchForm) -> dict[str, Any]:
    row = line.appointment
    return {
        "facts": facts(row),
        "value": f"{row.pk}:{row.version}",
        "kind": _kind(row),
        "is_over": row.is_past,
        "policy": policy_notice(row),
        "is_ticked": form.is_ticked(row.pk, is_over=row.is_past),
        "people": row.attendees.count() if row.is_group else 0,
    }


@require_http_methods(["GET", "HEAD", "POST"])
@needs(MAY_CANCEL)
def start(request: StaffRequest) -> HttpResponse:
    """Record the reviewed batch, if the typed count fits; after a login, review it again."""
    if request.method != "POST":
        rows = batches.chosen(_keys_in_address(request))
        more = _more(over=_over_in_address(request), earlier=_earlier(request.GET))
        return redirect(_address("review-batch", rows, **more) if rows else "appointments")
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
@needs()
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
@needs(MAY_CANCEL)
def stop(request: StaffRequest, pk: int) -> HttpResponse:
    """Take back what has not been sent."""
    batch = _batch(pk)
    if request.method == "POST":
        batches.stop(batch, by=request.user)
    return redirect(batch)


@require_http_methods(["GET", "HEAD", "POST"])
@needs(MAY_CANCEL)
def resume(request: StaffRequest, pk: int, connection: int) -> HttpResponse:
    """Go on where the batch was paused at one connection."""
    batch = _batch(pk)
    if request.method == "POST":
        batches.resume(batch, get_object_or_404(Connection, pk=connection), by=request.user)
    return redirect(batch)


@require_safe
@needs(MAY_CANCEL)
def calls(request: StaffRequest, pk: int) -> HttpResponse:
    """Show whom nobody demonstrably told, to be rung and ticked."""
    return render(request, "appointments/calls.html", _calls_context(_batch(pk)))


@require_http_methods(["GET", "HEAD", "POST"])
@needs(MAY_CANCEL)
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
@needs(MAY_CANCEL)
def calls_file(request: StaffRequest, pk: int) -> HttpResponse:
    """The call list as a CSV file, in the order of the page."""
    batch = _batch(pk)
    context = _calls_context(batch)
    lines = [
        _call_line(one, why=why)
        for group, why in (("booked", _("still booked")), ("cancelled", _("cancelled")))
        for one in context[group]
    ]
    header = (
        _("Name"),
        _("Phone"),
        _("Phone from another appointment"),
        _("E-mail"),
        _("Appointment"),
        _("What"),
        _("With"),
        _("Account"),
        _("Why to ring"),
        _("Reached"),
        _("By"),
        _("Reason"),
        _("Note"),
    )
    return csv_file(_calls_name(batch), header, lines)


def _call_line(call: Mapping[str, Any], *, why: str) -> tuple[str, ...]:
    one: ConcernedPerson = call["person"]
    cancellation = one.cancellation
    if not (one.phone or one.email or call["others"]):
        values = {"why": why, "provider": call["facts"]["provider"]}
        why = _("%(why)s; no contact known: look in %(provider)s") % values
    return (
        call["who"],
        one.phone,
        ", ".join(other["phone"] for other in call["others"]),
        one.email,
        when_short(cancellation.appointment),
        call["facts"]["what"],
        call["facts"]["with"],
        cancellation.connection.name,
        why,
        moment(one.reached_at) if one.reached_at else "",
        person(one.reached_by) if one.reached_by else "",
        cancellation.reason,
        cancellation.note,
    )


def _calls_name(batch: Batch) -> str:
    """A file is looked for by the days that it is about: `calls-2026-11-23-batch-7.csv`."""
    rows = Appointment.objects.filter(cancellations__batch=batch).select_related("connection")
    days = sorted({when(one).day for one in rows})
    first_and_last = dict.fromkeys(f"{day:%Y-%m-%d}" for day in (*days[:1], *days[-1:]))
    return f"calls-{'-to-'.join(first_and_last)}-batch-{batch.pk}.csv"


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
        together.setdefault(same_number(one.phone) or one.email or one.pk, []).append(one)
    numbers = other_numbers(one for same in together.values() for one in same)
    return [
        {
            "person": one,
            "facts": facts_of_it,
            "is_again": place > 0,
            "who": facts_of_it["who"] if one.is_unknown else one.label,
            "others": [
                {"phone": other.phone, "name": booked_as(one, other)}
                for other in numbers.get(one.pk, [])
            ],
        }
        for same in together.values()
        for place, one in enumerate(same)
        for facts_of_it in [facts(one.cancellation.appointment)]
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
        "pause": pause_sentence(lane, is_unclear=done.unclear > 0)
        if lane.paused_at and done.waiting
        else "",
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
