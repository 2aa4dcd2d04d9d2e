"""The list of appointments, and one of them with everything known about it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from appointments.booking_wording import rebooking_notice
from appointments.connection_wording import (
    expiry_notice,
    failing_notice,
    freshness,
    quota_notice,
    quota_used,
    unread_notice,
)
from appointments.days import day_short
from appointments.forms import FilterForm, Range, TagForm, found_first
from appointments.models import (
    Appointment,
    Attendee,
    Booking,
    Cancellation,
    Connection,
    WorkerPulse,
)
from appointments.models.appointments import is_sought, named_first
from appointments.phrases import Notice
from appointments.providers.registry import PROVIDERS
from appointments.services import limits
from appointments.services.batch import running as running_batches
from appointments.services.batch import waiting_for_somebody
from appointments.services.cancel import Conflict, obstacles
from appointments.services.reach import Reach
from appointments.services.schedule import change_obstacle
from appointments.services.sync import sync_by_hand
from appointments.services.tags import practitioners, tag
from appointments.views.filters import (
    DAYS,
    MOST_BEFORE_TODAY,
    Accounts,
    Span,
    Wanted,
    account_names,
    address,
    in_words,
    query_of,
    without,
)
from appointments.views.polling import knows, token_of
from appointments.views.request import (
    MAY_CANCEL,
    MAY_SCHEDULE,
    MAY_TAG,
    StaffRequest,
    is_background,
    needs,
    see_other,
    wants_fragment,
)
from appointments.views.rows import Raw, Slice, days_of, empty_day, look_of, slice_of, word_of
from appointments.views.saved import Saved
from appointments.views.timeline import timeline
from appointments.views.when import clock_elsewhere, day_nearness, day_title, when
from appointments.wording import (
    change_open,
    conflict,
    policy_notice,
    removed_from,
    waiting_for_people,
)

Kind = Booking.Kind
LOOKED_BACK = timedelta(days=90)
"""So far the search offers to go back, for somebody of whom there is much that is over."""
OTHER_BOOKINGS = 8
"""Of the same person, at most this many are shown."""
TYPED = ("q", "with")
"""Filters that answer to every letter."""
MOST_OF_A_GROUP = 3
"""Of a group, at most so many are looked for."""
MOST_RELATED = 40
"""Rows of one question about the same person."""


@require_safe
@needs()
def index(request: StaffRequest) -> HttpResponse:
    """Show the appointments that the address asks for; from today on if it names no day."""
    saved = Saved(request.user)
    if not request.GET and not request.htmx and (start := saved.start()):
        return redirect(start)
    accounts = Accounts.read()
    wanted, connections = Wanted.by(request.GET, accounts), accounts.used
    place = {
        name: key
        for name in ("after", "before")
        if (key := request.GET.get(name)) and wanted.reaches(key)
    }
    # A list that is open stays where it is while time goes by.
    if not place and not is_background(request) and (key := wanted.opens_after()):
        place = {"after": key}
    shown = slice_of(wanted.found(), **place)
    if place and not shown.raw:  # What stood there is gone, or over.
        place = {}
        shown = slice_of(wanted.found())
    past = wanted.before_today(shown)
    is_silent = WorkerPulse.is_silent()
    running = running_batches()
    paused = waiting_for_somebody() if running else []
    now = timezone.now()
    overdue = sum(
        model.objects.overdue_for_people(now).count() for model in (Cancellation, Booking)
    )
    token = token_of(
        look_of([*shown.raw, *past], connections=connections.values()),
        is_silent,
        [one.pk for one in running],
        [one.pk for one in paused],
        overdue,
    )
    if knows(request, token):
        return _nothing_new(connections)

    context = _list_context(request, wanted=wanted, shown=shown, past=past, place=place)
    context["saved"] = saved
    context |= {"token": token, "is_silent": is_silent, "running": running}
    context["paused"] = paused
    context["overdue"] = waiting_for_people(overdue) if overdue else None
    if not wants_fragment(request):
        return render(request, "appointments/list.html", context)
    if is_background(request):
        return render(request, "appointments/list.html#list", context)
    response = render(request, "appointments/list.html#desk", context)
    here = context["here"]
    is_no_step = request.htmx.current_url_abs_path == here or _is_being_typed(request, wanted.kept)
    response["HX-Replace-Url" if is_no_step else "HX-Push-Url"] = here
    return response


def _is_being_typed(request: StaffRequest, kept: Mapping[str, str]) -> bool:
    """Whether this only goes on with a word: nobody wants to go back letter by letter."""
    before = QueryDict(urlsplit(request.htmx.current_url or "").query)
    return any(before.get(name, kept.get(name)) != kept.get(name) for name in TYPED)


@require_safe
@needs()
def detail(request: StaffRequest, pk: int) -> HttpResponse:
    """Show one appointment; beside the list, or as a page of its own."""
    appointment = _whole(pk)
    is_fragment = wants_fragment(request)
    context = detail_context(request, appointment) | _place(request, appointment)
    context["is_page"] = not is_fragment or "page" in request.GET
    name = "appointments/detail.html" + ("#panel" if is_fragment else "")
    return render(request, name, context)


def _whole(pk: int) -> Appointment:
    rows = Appointment.objects.select_related("connection__health", "practitioner_by")
    return get_object_or_404(rows.prefetch_related("attendees"), pk=pk)


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
    wanted: Wanted,
    shown: Slice,
    past: Sequence[Raw],
    place: Mapping[str, str],
) -> dict[str, Any]:
    form, kept, connections = wanted.form, wanted.kept, wanted.accounts.used
    is_free_today = not place and _is_free_today(wanted, shown)
    may_cancel = request.user.has_perm(MAY_CANCEL)
    return {
        "form": form,
        "kept": kept,
        "filters": query_of(kept),
        "connections": [_connection_line(one) for one in connections.values()],
        "warnings": _warnings(connections.values()),
        "days": [
            *([empty_day(timezone.localdate())] if is_free_today else []),
            *days_of(
                [*shown.raw, *past],
                connections=connections,
                may_cancel=may_cancel,
                query=form.cleaned_data.get("q", ""),
                filters=query_of(kept),
            ),
        ],
        "first_past_day": timezone.localdate(past[0]["sorts_at"]).isoformat() if past else "",
        "now_before": _now_before(shown.raw),
        "as_host": _as_host(wanted, shown),
        "only_past": bool(past) and not shown.raw,
        "may_pick": may_cancel,
        "can_pick_all": bool(shown.raw) and wanted.span.last is not None,
        "query": query_of(kept),
        "with_nobody": wanted.with_nobody(),
        "unread": unread_notice(
            [one for one in connections.values() if wanted.may_show(one)], wanted.span.farthest
        ),
        "narrowed": _narrowed(kept),
        "removed": [
            {"sentence": removed_from(one), "url": one.get_absolute_url()}
            for one in wanted.removed()
        ],
        "everything": address({"q": kept["q"]}) if "q" in kept else "",
        "with_anybody": address(without(kept, "with")),
        "zone": settings.TIME_ZONE,
        "here": address(kept | dict(place)),
        "is_filtered": bool(set(kept) - set(DAYS)),
        "pills": _pills(form, kept, connections),
        "all_days": "" if wanted.span == Span.of_range(Range.UPCOMING) else _all_days(kept),
        "more_past": _long_ago(kept) if len(past) == MOST_BEFORE_TODAY else "",
        "next_day": None if shown.raw else _next_day(wanted),
        "without_filters": address({name: kept[name] for name in DAYS if name in kept}),
        "earlier": address(kept | {"before": shown.earlier}) if shown.earlier else "",
        "later": address(kept | {"after": shown.later}) if shown.later else "",
        **_day_links(kept, wanted.span),
    }


def _now_before(raw: Sequence[Raw]) -> int | None:
    """Key of the first of *raw* that has not begun; None if nothing in front of it has."""
    now = timezone.now()
    coming = [one["pk"] for one in raw if one["sorts_at"] >= now]
    return coming[0] if 0 < len(coming) < len(raw) else None


def _narrowed(kept: Mapping[str, str]) -> str:
    """Of a search: whatever else it is held to, in words; empty if to nothing but coming days."""
    rest = without(kept, "q")
    is_everywhere = not rest or rest == {"range": Range.UPCOMING.value}
    return "" if "q" not in kept or is_everywhere else in_words(rest, account_names())


def _as_host(wanted: Wanted, shown: Slice) -> str:
    """Of a search that found nobody: the address that looks for a doctor of that name."""
    kept = wanted.kept
    if shown.raw or "q" not in kept or "with" in kept:
        return ""
    asked = Wanted.by(without(kept, "q", *DAYS) | {"with": kept["q"]}, wanted.accounts)
    return _all_days(asked.kept) if asked.found().exists() else ""


def _all_days(kept: Mapping[str, str]) -> str:
    return address(without(kept, *DAYS) | {"range": Range.UPCOMING.value})


def _is_free_today(wanted: Wanted, shown: Slice) -> bool:
    """Whether a list of everything from today on begins with a later day."""
    is_all = set(wanted.kept) <= set(DAYS) and wanted.span == Span.of_range(Range.UPCOMING)
    first = next((timezone.localdate(one["sorts_at"]) for one in shown.raw), None)
    return is_all and first not in (None, timezone.localdate())


def _next_day(wanted: Wanted) -> dict[str, str] | None:
    """Of days that show nothing: the next one that shows something."""
    following = wanted.next_day()
    if following is None:
        return None
    day = following.isoformat()
    today = timezone.localdate()
    return {
        "title": day_title(following, today=today),
        "nearness": day_nearness(following, today=today),
        "url": address(without(wanted.kept, *DAYS) | {"from": day, "to": day}),
    }


def _long_ago(kept: Mapping[str, str]) -> str:
    first = timezone.localdate() - LOOKED_BACK
    return address(without(kept, *DAYS) | {"from": first.isoformat()})


def _pills(
    form: FilterForm, kept: Mapping[str, str], connections: Mapping[int, Connection]
) -> list[dict[str, Any]]:
    """The filters beside the search, each with the address that removes it if it is set."""
    names = [name for name in form.fields if name in FilterForm.NAMES - {"q", "range"}]
    if not _shares_providers(connections) and not form["connection"].value():
        names.remove("connection")
    removed = {name: address(without(kept, name)) for name in kept}
    return [{"field": form[name], "remove": removed.get(name, "")} for name in names]


def _shares_providers(connections: Mapping[int, Connection]) -> bool:
    """Whether choosing an account says more than choosing its provider."""
    return len({one.provider for one in connections.values()}) < len(connections)


def _day_links(kept: Mapping[str, str], span: Span) -> dict[str, Any]:
    """Arrows that move by as many days as are shown, and the usual ranges."""
    rest, today = without(kept, *DAYS), timezone.localdate()

    def days(first: date, last: date) -> str:
        return address(rest | {"from": first.isoformat(), "to": last.isoformat()})

    length = timedelta(days=span.days)
    last = span.last or span.first
    return {
        "day_before": days(span.first - length, last - length),
        "day_after": days(span.first + length, last + length),
        "other_filters": rest,
        "ranges": [
            {
                "label": one.label,
                "url": address(rest | {"range": one.value}),
                "is_current": span == Span.of_range(one),
                "is_today": one is Range.TODAY,
            }
            for one in Range
        ],
        "first_day": span.first.isoformat(),
        "span_title": _span_title(span, today=today),
    }


def _span_title(span: Span, *, today: date) -> str:
    first = _day_name(span.first, today=today)
    if span.last is None:
        is_near = day_nearness(span.first, today=today)
        return _("From %(day)s") % {"day": first.lower() if is_near else first}
    if span.last == span.first:
        return first
    return _("%(first)s to %(last)s") % {"first": first, "last": day_short(span.last)}


def _day_name(day: date, *, today: date) -> str:
    return day_nearness(day, today=today) or day_short(day)


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
        if notice := failing_notice(one):
            found.append(notice)
        if notice := expiry_notice(one):
            found.append(notice)
        if one.daily_quota and (notice := quota_notice(one, limits.usage(one, now=timezone.now()))):
            found.append(notice)
    return found


@require_http_methods(["GET", "HEAD", "POST"])
@needs()
def read_now(request: StaffRequest, pk: int) -> HttpResponse:
    """Have a connection read at once, instead of when its pause is over."""
    if request.method != "POST":
        return redirect("appointments")
    sync_by_hand(get_object_or_404(Connection.objects.active(), pk=pk))
    if wants_fragment(request):
        return HttpResponse(status=204, headers={"HX-Trigger": "desk-changed"})
    return see_other(reverse("appointments"))


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
    replacements = list(
        appointment.replacements.select_related("requested_by", "connection").prefetch_related(
            "events__by"
        )
    )
    change = next((one for one in bookings if one.is_open and one.kind != Kind.BOOK), None)
    may_cancel = request.user.has_perm(MAY_CANCEL)
    # Where the provider says it, a second name beside it would only be doubted.
    may_note = request.user.has_perm(MAY_TAG) and (
        not appointment.host or bool(appointment.practitioner)
    )
    obstacle = obstacles(appointment)
    is_free = open_one is None and change is None
    looked_for = request.GET.get("q", "")
    people = found_first(appointment.attendees.all(), looked_for)
    return {
        "appointment": appointment,
        "facts": facts(appointment) | ({"who": named_first(people)} if people else {}),
        "status_word": status_word(appointment),
        "people": [{"person": one, "clock": clock_elsewhere(appointment, one)} for one in people],
        "meeting_link": safe_link(appointment.meeting_link),
        "open_cancellation": open_one,
        "obstacle": obstacle,
        "obstacle_sentence": conflict(Conflict(kind=obstacle)) if obstacle else "",
        "may_note": may_note,
        "practitioners": practitioners() if may_note else [],
        "can_cancel": may_cancel and is_free and obstacle is None,
        **_what_else_can_be_done(request, appointment, is_free=is_free),
        "open_change": change_open(change, viewer=request.user) if change else "",
        "change": change,
        "may_cancel": may_cancel,
        "policy": policy_notice(appointment) if appointment.is_live else None,
        **_other_bookings(appointment, people, looked_for=looked_for),
        "timeline": timeline(appointment, cancellations, [*bookings, *replacements]),
        "freshness": freshness(appointment.connection),
        "zone": settings.TIME_ZONE,
    }


@require_http_methods(["GET", "HEAD", "POST"])
@needs(MAY_TAG)
def note_practitioner(request: StaffRequest, pk: int) -> HttpResponse:
    """Note who an appointment is with, and show it anew."""
    appointment = _whole(pk)
    if request.method != "POST":
        return redirect(appointment)
    form = TagForm(request.POST)
    is_valid, is_fragment = form.is_valid(), wants_fragment(request)
    if is_valid:
        tag(appointment, form.cleaned_data["practitioner"], by=request.user)
        if not is_fragment:
            return redirect(f"{appointment.get_absolute_url()}?{request.GET.urlencode()}")
        appointment = _whole(pk)
    context = detail_context(request, appointment) | _place(request, appointment)
    context["is_page"] = not is_fragment or "page" in request.GET
    context["tag_form"] = None if is_valid else form
    name = "appointments/detail.html" + ("#panel" if is_fragment else "")
    response = render(request, name, context, status=200 if is_valid else 422)
    response["HX-Trigger"] = "desk-changed"
    return response


def _place(request: StaffRequest, appointment: Appointment) -> dict[str, Any]:
    """Where *appointment* stands in the list that it was opened from; nothing if from elsewhere."""
    if not FilterForm.NAMES & set(request.GET):
        return {"back": reverse("appointments")}
    wanted = Wanted.by(request.GET, Accounts.read())
    query = query_of(wanted.kept)

    def beside(pk: int | None) -> str:
        return f"{reverse('appointment', args=[pk])}?{query}" if pk else ""

    previous, following = wanted.around(appointment)
    return {
        "back": address(wanted.kept),
        "filters": query,
        "is_in_list": True,
        "previous": beside(previous),
        "next": beside(following),
    }


def _what_else_can_be_done(
    request: StaffRequest, appointment: Appointment, *, is_free: bool
) -> dict[str, Any]:
    """Moving, confirming and rebooking, and the new appointment that takes this one's place."""
    can, may = appointment.capabilities, request.user.has_perm(MAY_SCHEDULE)
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
        and (replacement is None or bool(replacement.replaces_attendee) or replacement.is_undone),
        "replacement": replacement,
        "replacement_notice": rebooking_notice(replacement) if replacement else None,
        "may_schedule": may,
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
        "with": appointment.is_with,
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


def _other_bookings(
    appointment: Appointment, people: Sequence[Attendee], *, looked_for: str
) -> dict[str, Any]:
    """
    Upcoming bookings of the same people at every provider: what stands, and what does not any more.

    By e-mail or phone, and by what one of these shows besides: who gave one provider an address
    and another one address and number is found at a third one that knows only the number. Of a
    group, those whom the list looks for, otherwise the first few.
    """
    sought = [
        one
        for one in people
        if looked_for and is_sought(looked_for, name=one.name, email=one.email, phone=one.phone)
    ]
    of_these = (sought or people)[:MOST_OF_A_GROUP]
    own = Reach.of_people(of_these)
    if not own:
        return {}
    around = (
        Appointment.objects.exclude(pk=appointment.pk)
        .filter(connection__provider__in=PROVIDERS)
        .select_related("connection")
        .prefetch_related("attendees")
    )
    of_late = around.holding(own.likely()).from_day(timezone.localdate() - LOOKED_BACK)
    relatives = [
        one
        for row in of_late.in_order().reverse()[:MOST_RELATED]
        for one in row.attendees.all()
        if own.is_of(one)
    ]
    reach = own | Reach.of_people(relatives)
    found = around.holding(reach.likely()).from_day(timezone.localdate()).in_order()
    theirs = [
        (row, whose)
        for row in found[:MOST_RELATED]
        if (whose := [one.label for one in row.attendees.all() if reach.is_of(one)])
    ]
    stands = [one for one in theirs if one[0].is_live and not one[0].is_past]
    over = [one for one in theirs if one not in stands]
    is_group = len(people) > 1
    addresses = [text for one in of_these for text in (one.email or one.phone,) if text]
    return {
        "others": [_other(*one, is_group=is_group) for one in stands[:OTHER_BOOKINGS]],
        "more_others": max(len(stands) - OTHER_BOOKINGS, 0),
        "all_others": address({"q": addresses[0]}) if addresses else "",
        "not_any_more": [_other(*one, is_group=is_group) for one in over[:OTHER_BOOKINGS]],
    }


def _other(row: Appointment, whose: Sequence[str], *, is_group: bool) -> dict[str, Any]:
    at = when(row)
    return {
        "appointment": row,
        "when": at,
        "day": day_title(at.day, today=timezone.localdate()),
        "word": status_word(row),
        "whose": ", ".join(whose) if is_group else "",
    }
