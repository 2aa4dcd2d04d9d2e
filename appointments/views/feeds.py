"""Calendar feeds: the page on which people make and revoke theirs, and what calendars read."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.cache import get_conditional_response
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from appointments.forms import FeedForm
from appointments.languages import chosen_by
from appointments.models import Appointment, CalendarFeed, Cancellation
from appointments.models.appointments import AppointmentQuerySet
from appointments.services.feeds import feed_of, make_feed, note_read
from appointments.views.filters import Accounts, Wanted, account_names, bookings_in_words
from appointments.views.ical import calendar
from appointments.views.polling import token_of
from appointments.views.request import StaffRequest, needs
from appointments.views.saved import Saved

DAYS_BACK, DAYS_AHEAD = 7, 90
MOST_EVENTS = 2000
"""What a feed holds at most: the first of its days."""

_FORM = 1
"""Counted up when events are written in another way, so that calendars fetch them anew."""


@require_http_methods(["GET", "HEAD", "POST"])
@needs()
def index(request: StaffRequest) -> HttpResponse:
    """Show one's calendar feeds; a POST makes one and shows its address, this one time."""
    saved = {str(one["filter"].pk): one["filter"] for one in Saved(request.user).views}
    form = FeedForm(
        request.POST if request.method == "POST" else None,
        views=[(pk, one.name) for pk, one in saved.items()],
        count=CalendarFeed.objects.filter(user=request.user).count(),
    )
    if request.method != "POST" or not form.is_valid():
        return _page(request, form, status=422 if request.method == "POST" else 200)
    chosen = saved.get(form.cleaned_data["source"])
    made, token = make_feed(
        request.user,
        name=chosen.name if chosen else "",
        query=chosen.query if chosen else {},
        with_phones=form.cleaned_data["with_phones"],
    )
    address = request.build_absolute_uri(reverse("feed", args=[token]))
    return _page(request, form, status=201, made=made, address=address)


@require_http_methods(["GET", "HEAD", "POST"])
@needs()
def revoke(request: StaffRequest, pk: int) -> HttpResponse:
    """Let an address lead nowhere any more."""
    if request.method == "POST":
        get_object_or_404(CalendarFeed, pk=pk, user=request.user).delete()
    response = redirect("feeds")
    response.status_code = 303
    return response


def _page(request: StaffRequest, form: FeedForm, *, status: int, **made: Any) -> HttpResponse:
    accounts = account_names()
    context = {
        "form": form,
        "rows": [
            {"feed": one, "described": bookings_in_words(one.query, accounts)}
            for one in CalendarFeed.objects.filter(user=request.user)
        ],
        "back": DAYS_BACK,
        "ahead": DAYS_AHEAD,
        "most": MOST_EVENTS,
    }
    return render(request, "appointments/feeds.html", context | made, status=status)


# --- what calendars read ----------------------------------------------------------------------


@login_not_required
@require_safe
def feed(request: HttpRequest, token: str) -> HttpResponse:
    """The calendar behind *token*. Unknown, revoked and no longer permitted look the same."""
    found = feed_of(token)
    if found is None:
        return _private(HttpResponse(_("Not found."), status=404, content_type="text/plain"))
    note_read(found)
    # A calendar asks for no language, and whoever reads it is its owner.
    with translation.override(chosen_by(found.user) or settings.LANGUAGE_CODE):
        return _calendar(request, found)


def _calendar(request: HttpRequest, found: CalendarFeed) -> HttpResponse:
    accounts = Accounts.read()
    bookings = _bookings(found, accounts)
    doubtful = set(Cancellation.objects.unsettled().values_list("appointment_id", flat=True))
    etag = f'"{_etag(found, bookings, accounts, doubtful)}"'
    response = get_conditional_response(request, etag=etag)
    if response is None:
        content = calendar(
            found.label,
            bookings.prefetch_related("attendees"),
            connections=accounts.used,
            with_phones=found.with_phones,
            doubtful=doubtful,
            link=lambda one: request.build_absolute_uri(one.get_absolute_url()),
        )
        response = HttpResponse(content, content_type="text/calendar; charset=utf-8")
        response["Content-Disposition"] = 'inline; filename="appointments.ics"'
    response["ETag"] = etag
    response["Content-Language"] = translation.get_language() or ""
    return _private(response)


def _bookings(feed: CalendarFeed, accounts: Accounts) -> AppointmentQuerySet:
    """What *feed* holds now; nothing if its filters name what is no longer there."""
    wanted = Wanted.by(feed.query, accounts)
    if wanted.form.errors:
        return Appointment.objects.none()
    today = timezone.localdate()
    found = wanted.of_any_day().from_day(today - timedelta(days=DAYS_BACK))
    return found.to_day(today + timedelta(days=DAYS_AHEAD)).in_order()[:MOST_EVENTS]


def _etag(
    feed: CalendarFeed, bookings: AppointmentQuerySet, accounts: Accounts, doubtful: set[int]
) -> str:
    """Short text that changes with the file, without writing the file."""
    rows = bookings.values_list(
        "pk", "status", "content", "seen_at", "changed_here_at", "practitioner_at"
    )
    names = [(one.pk, one.name) for one in accounts.used.values()]
    language = translation.get_language()
    facts = (feed.pk, feed.with_phones, names, sorted(doubtful))
    return token_of(_FORM, language, *facts, list(rows))


def _private(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "private, no-store"
    response["X-Robots-Tag"] = "noindex"
    return response
