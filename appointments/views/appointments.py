"""The list of appointments, and one of them with everything known about it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth.decorators import permission_required
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from appointments.forms import FilterForm
from appointments.models import Appointment, Booking, Cancellation, Connection, WorkerPulse
from appointments.models.appointments import AppointmentQuerySet, digits, fold
from appointments.providers.registry import PROVIDERS
from appointments.services import limits
from appointments.services.batch import running as running_batches
from appointments.services.cancel import Conflict, obstacles
from appointments.services.schedule import change_obstacle
from appointments.views.polling import knows, token_of
from appointments.views.request import StaffRequest, is_background, wants_fragment
from appointments.views.rows import Slice, days_of, look_of, slice_of, word_of
from appointments.views.timeline import timeline
from appointments.views.when import clock_elsewhere, day_nearness, day_title, when
from appointments.wording import (
    Notice,
    change_open,
    conflict,
    expiry_notice,
    failure,
    freshness,
    policy_notice,
    quota_notice,
    quota_used,
    rebooking_notice,
    waiting_for_people,
)

Kind = Booking.Kind
OTHER_BOOKINGS = 8
"""Of the same person, at most this many are shown."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """The days that the list shows; no *last*: without end."""

    first: date
    last: date | None

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1 if self.last else 1


@require_safe
@permission_required("appointments.view_appointment", raise_exception=True)
def index(request: StaffRequest) -> HttpResponse:
    """Show the appointments that the address asks for; from today on if it names no day."""
    connections = _connections()
    form = _filter_form(request, connections)
    form.is_valid()
    span = _span(form.cleaned_data)
    shown = slice_of(
        _found(form.cleaned_data, span, connections),
        after=request.GET.get("after", ""),
        before=request.GET.get("before", ""),
    )
    is_silent = WorkerPulse.is_silent()
    running = running_batches()
    now = timezone.now()
    overdue = sum(
        model.objects.overdue_for_people(now).count() for model in (Cancellation, Booking)
    )
    token = token_of(
        look_of(shown.raw, connections=connections.values()),
        is_silent,
        [one.pk for one in running],
        overdue,
    )
    if knows(request, token):
        return _nothing_new(connections)

    context = _list_context(request, form=form, span=span, shown=shown, connections=connections)
    context |= {"token": token, "is_silent": is_silent, "running": running}
    context["overdue"] = waiting_for_people(overdue) if overdue else None
    if not wants_fragment(request):
        return render(request, "appointments/list.html", context)
    if is_background(request):
        return render(request, "appointments/list.html#list", context)
    response = render(request, "appointments/list.html#desk", context)
    response["HX-Replace-Url"] = context["here"]
    return response


@require_safe
@permission_required("appointments.view_appointment", raise_exception=True)
def detail(request: StaffRequest, pk: int) -> HttpResponse:
    """Show one appointment; beside the list, or as a page of its own."""
    appointment = get_object_or_404(
        Appointment.objects.select_related("connection__health").prefetch_related("attendees"),
        pk=pk,
    )
    is_fragment = wants_fragment(request)
    context = detail_context(request, appointment)
    context["is_page"] = not is_fragment or "page" in request.GET
    name = "appointments/detail.html" + ("#panel" if is_fragment else "")
    return render(request, name, context)


def _connections() -> dict[int, Connection]:
    rows = Connection.objects.active().select_related("health").order_by("pk")
    return {one.pk: one for one in rows}


def _of_connections(
    found: AppointmentQuerySet, connections: Mapping[int, Connection]
) -> AppointmentQuerySet:
    """
    Leave out what belongs to connections that are switched off.

    Said by exclusion: a list of what is in would tempt the database to sort it all anew.
    """
    hidden = Connection.objects.exclude(pk__in=list(connections)).values_list("pk", flat=True)
    return found.exclude(connection__in=list(hidden))


def _filter_form(request: StaffRequest, connections: Mapping[int, Connection]) -> FilterForm:
    return FilterForm(
        request.GET,
        providers=sorted(
            {(one.provider, one.provider_label) for one in connections.values()},
            key=lambda pair: pair[1].casefold(),
        ),
        connections=sorted(
            ((one.pk, one.name) for one in connections.values()), key=lambda pair: pair[1]
        ),
    )


def _span(values: Mapping[str, Any]) -> Span:
    first, last = values.get("from"), values.get("to")
    if first is None:
        today = timezone.localdate()
        # Somebody who names only a last day in the past wants to see that day.
        first = min(today, last) if last else today
    return Span(first=first, last=last)


def _found(
    values: Mapping[str, Any], span: Span, connections: Mapping[int, Connection]
) -> AppointmentQuerySet:
    found = _of_connections(Appointment.objects.all(), connections).from_day(span.first)
    if span.last:
        found = found.to_day(span.last)
    if slug := values.get("provider"):
        accounts = [one.pk for one in connections.values() if one.provider == slug]
        found = found.filter(connection__in=accounts)
    if connection := values.get("connection"):
        found = found.filter(connection=connection)
    if status := values.get("status"):
        found = found.filter(status=status)
    if fragment := values.get("with"):
        found = found.with_host(fragment)
    if query := values.get("q"):
        found = found.matching(query)
    return found


def _nothing_new(connections: Mapping[int, Connection]) -> HttpResponse:
    """No rows, only when each connection was read: the page counts on from there."""
    read = {
        str(one.pk): one.health.read_at.isoformat()
        for one in connections.values()
        if hasattr(one, "health") and one.health.read_at
    }
    return HttpResponse(status=204, headers={"HX-Trigger": json.dumps({"desk-read": read})})


def _list_context(
    request: StaffRequest,
    *,
    form: FilterForm,
    span: Span,
    shown: Slice,
    connections: Mapping[int, Connection],
) -> dict[str, Any]:
    kept = _kept(form)
    may_cancel = request.user.has_perm("appointments.cancel_appointment")
    paged = {name: request.GET[name] for name in ("after", "before") if request.GET.get(name)}
    return {
        "form": form,
        "connections": [_connection_line(one) for one in connections.values()],
        "warnings": _warnings(connections.values()),
        "days": days_of(
            shown.raw,
            connections=connections,
            may_cancel=may_cancel,
            query=form.cleaned_data.get("q", ""),
        ),
        "may_pick": may_cancel,
        "zone": settings.TIME_ZONE,
        "here": _address(kept | paged),
        "is_filtered": bool(set(kept) - {"from", "to"}),
        "pills": _pills(form, kept, connections),
        "all_days": _address(_without(kept, "from", "to")),
        "without_filters": _address({name: kept[name] for name in ("from", "to") if name in kept}),
        "earlier": _address(kept | {"before": shown.earlier}) if shown.earlier else "",
        "later": _address(kept | {"after": shown.later}) if shown.later else "",
        **_day_links(kept, span),
    }


def _pills(
    form: FilterForm, kept: Mapping[str, str], connections: Mapping[int, Connection]
) -> list[dict[str, Any]]:
    """The filters beside the search, each with the address that removes it if it is set."""
    names = [name for name in form.fields if name != "q"]
    if not _shares_providers(connections) and not form["connection"].value():
        names.remove("connection")
    removed = {name: _address(_without(kept, name)) for name in kept}
    return [{"field": form[name], "remove": removed.get(name, "")} for name in names]


def _shares_providers(connections: Mapping[int, Connection]) -> bool:
    """Whether choosing an account says more than choosing its provider."""
    return len({one.provider for one in connections.values()}) < len(connections)


def _kept(form: FilterForm) -> dict[str, str]:
    """The filters that hold, as they stand in an address; what is wrong is left out."""
    values = ((name, form.cleaned_data.get(name)) for name in form.fields)
    return {name: str(value) for name, value in values if value}


def _without(kept: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in kept.items() if name not in names}


def _address(query: Mapping[str, str]) -> str:
    root = reverse("appointments")
    return f"{root}?{urlencode(query)}" if query else root


def _day_links(kept: Mapping[str, str], span: Span) -> dict[str, Any]:
    """Arrows that move by as many days as are shown, and the usual ranges."""
    rest, today = _without(kept, "from", "to"), timezone.localdate()

    def days(first: date, last: date) -> str:
        return _address(rest | {"from": first.isoformat(), "to": last.isoformat()})

    length = timedelta(days=span.days)
    last = span.last or span.first
    week = today + timedelta(days=6)
    return {
        "day_before": days(span.first - length, last - length),
        "day_after": days(span.first + length, last + length),
        "ranges": [
            ("Upcoming", _address(rest), span == Span(first=today, last=None)),
            ("Today", days(today, today), span == Span(first=today, last=today)),
            ("7 days", days(today, week), span == Span(first=today, last=week)),
        ],
        "span_title": _span_title(span, today=today),
    }


def _span_title(span: Span, *, today: date) -> str:
    first = _day_name(span.first, today=today)
    if span.last is None:
        return f"From {first.lower()}" if day_nearness(span.first, today=today) else f"From {first}"
    if span.last == span.first:
        return first
    return f"{first} to {span.last:%a} {span.last.day} {span.last:%b}"


def _day_name(day: date, *, today: date) -> str:
    return day_nearness(day, today=today) or f"{day:%a} {day.day} {day:%b}"


def _connection_line(connection: Connection) -> dict[str, Any]:
    """One entry of the strip that says how old our copy is."""
    health = getattr(connection, "health", None)
    failing = health is not None and health.is_failing
    read_at = health.read_at if health is not None and not failing else None
    return {
        "pk": connection.pk,
        "name": connection.name,
        "provider": connection.provider_label,
        "is_failing": failing,
        "read_at": read_at.isoformat() if read_at else "",
        "freshness": freshness(connection),
        "quota": _quota(connection),
    }


def _quota(connection: Connection) -> str:
    """How many of a day's requests are used, where there is such a limit and it is known."""
    if not connection.daily_quota:
        return ""
    return quota_used(limits.usage(connection, now=timezone.now()))


def _warnings(connections: Any) -> list[Notice]:
    """What everybody at the desk should know before trusting the list."""
    found = []
    for one in connections:
        health = getattr(one, "health", None)
        if health is not None and health.is_failing:
            sentence = f"{one.name}: {failure(health.failure, one.provider_label)}"
            found.append(Notice(sentence=f"{sentence} {freshness(one).capitalize()}.", tone="bad"))
        if notice := expiry_notice(one):
            found.append(notice)
        if one.daily_quota and (notice := quota_notice(one, limits.usage(one, now=timezone.now()))):
            found.append(notice)
    return found


# --- one appointment --------------------------------------------------------------------------


def detail_context(request: StaffRequest, appointment: Appointment) -> dict[str, Any]:
    """Everything known about *appointment*, for the panel and the page."""
    cancellations = list(
        appointment.cancellations.select_related("requested_by", "connection").prefetch_related(
            "events__by", "calls__answer"
        )
    )
    open_one = next((one for one in cancellations if one.is_open), None)
    bookings = list(
        appointment.booking_requests.select_related("requested_by", "connection").prefetch_related(
            "events__by"
        )
    )
    change = next((one for one in bookings if one.is_open and one.kind != Kind.BOOK), None)
    may_cancel = request.user.has_perm("appointments.cancel_appointment")
    obstacle = obstacles(appointment)
    is_free = open_one is None and change is None
    return {
        "appointment": appointment,
        "facts": facts(appointment),
        "status_word": status_word(appointment),
        "people": [
            {"person": one, "clock": clock_elsewhere(appointment, one)}
            for one in appointment.attendees.all()
        ],
        "meeting_link": safe_link(appointment.meeting_link),
        "open_cancellation": open_one,
        "obstacle": obstacle,
        "obstacle_sentence": conflict(Conflict(kind=obstacle)) if obstacle else "",
        "can_cancel": may_cancel and is_free and obstacle is None,
        **_what_else_can_be_done(request, appointment, is_free=is_free),
        "open_change": change_open(change, viewer=request.user) if change else "",
        "change": change,
        "may_cancel": may_cancel,
        "policy": policy_notice(appointment) if appointment.is_live else None,
        "others": _other_bookings(appointment),
        "timeline": timeline(appointment, cancellations, bookings),
        "freshness": freshness(appointment.connection),
        "zone": settings.TIME_ZONE,
    }


def _what_else_can_be_done(
    request: StaffRequest, appointment: Appointment, *, is_free: bool
) -> dict[str, Any]:
    """Moving, confirming and rebooking, and the new appointment that takes this one's place."""
    can, may = appointment.capabilities, request.user.has_perm("appointments.schedule_appointment")
    replacement = (
        appointment.replacements.open().first() or appointment.replacements.half_done().first()
    )
    is_offered = may and is_free
    return {
        "can_move": is_offered
        and can.reschedules
        and change_obstacle(appointment, Kind.MOVE) is None,
        "can_confirm": is_offered
        and can.confirms_pending
        and change_obstacle(appointment, Kind.CONFIRM) is None,
        "can_rebook": is_offered
        and appointment.is_live
        # Of a group, another person may be rebooked meanwhile.
        and (replacement is None or bool(replacement.replaces_attendee)),
        "replacement": replacement,
        "replacement_notice": rebooking_notice(replacement) if replacement else None,
    }


def facts(appointment: Appointment) -> dict[str, Any]:
    """What identifies an appointment to the person on the telephone."""
    today = timezone.localdate()
    at = when(appointment)
    return {
        "when": at,
        "day": day_title(at.day, today=today),
        "nearness": day_nearness(at.day, today=today),
        "who": appointment.who,
        "what": appointment.title,
        "with": appointment.host,
        "provider": appointment.connection.provider_label,
        "account": appointment.connection.name,
        "reference": appointment.reference,
        "status": appointment.status,
    }


def status_word(appointment: Appointment) -> str:
    """The status in our word, or in the provider's where we have none."""
    return word_of(appointment.status, appointment.provider_status)


def safe_link(address: str) -> str:
    """*address* if a browser may be sent there, otherwise nothing."""
    return address if address.lower().startswith("https://") and address.isprintable() else ""


def _other_bookings(appointment: Appointment) -> list[dict[str, Any]]:
    """Upcoming bookings of the same people, by e-mail or phone, at every provider."""
    same = Q()
    for one in list(appointment.attendees.all())[:3]:
        if one.email:
            same |= Q(search__contains=fold(one.email))
        if len(number := digits(one.phone)) >= 8:
            same |= Q(search__contains=number[-8:])
    if not same:
        return []
    found = (
        Appointment.objects.filter(same)
        .exclude(pk=appointment.pk)
        .from_day(timezone.localdate())
        .filter(connection__provider__in=PROVIDERS)
        .select_related("connection")
        .in_order()[:OTHER_BOOKINGS]
    )
    today = timezone.localdate()
    return [
        {
            "appointment": one,
            "when": at,
            "day": day_title(at.day, today=today),
            "word": status_word(one),
        }
        for one in found
        for at in [when(one)]
    ]
