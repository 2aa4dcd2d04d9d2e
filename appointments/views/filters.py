"""What an address of the list asks for: which days, which bookings, and how it is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from appointments.days import day_year
from appointments.domain import LIVE, Scope
from appointments.forms import OUTCOME_UNKNOWN, UNSETTLED, FilterForm, Range
from appointments.models import Appointment, Booking, Cancellation, Connection
from appointments.models.appointments import AppointmentQuerySet, day_start
from appointments.providers.registry import PROVIDERS
from appointments.views.rows import COLUMNS, WORDS, Raw, Slice, key_of, read_key

LONG_BEGUN = timedelta(hours=1)
"""So long after its beginning an appointment is no longer what the desk opens a day with."""

SEEN_AT_ONCE = 20
"""Rows that a large screen shows without scrolling."""

MOST_BEFORE_TODAY = 10

MOST_REMOVED = 5

DAYS = ("range", "from", "to")
"""Fields that say which days; all others say which bookings."""

_RANGES: Mapping[str, tuple[int, int | None]] = {
    Range.UPCOMING: (0, None),
    Range.TODAY: (0, 1),
    Range.TOMORROW: (1, 1),
    Range.WEEK: (0, 7),
    Range.MONTH: (0, 30),
}
"""Days from today on that a range begins, and how many it has; None: without end."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """The days that the list shows; no *last*: without end."""

    first: date
    last: date | None

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1 if self.last else 1

    @property
    def farthest(self) -> date:
        """The last day; of a list without end, the day that it begins with."""
        return self.last or self.first

    def holds(self, moment: datetime) -> bool:
        day = timezone.localdate(moment)
        return self.first <= day and (self.last is None or day <= self.last)

    @classmethod
    def of_range(cls, name: str) -> Span:
        """The days of one of the usual ranges, as it is today."""
        begins, length = _RANGES[name]
        first = timezone.localdate() + timedelta(days=begins)
        return cls(first=first, last=first + timedelta(days=length - 1) if length else None)


@dataclass(frozen=True, kw_only=True)
class Accounts:
    """All connections, read at once: those in use, and those that every list leaves out."""

    used: Mapping[int, Connection]
    hidden: Sequence[int]

    @classmethod
    def read(cls) -> Accounts:
        rows = list(Connection.objects.select_related("health").order_by("pk"))
        used = {one.pk: one for one in rows if one.is_active and one.provider in PROVIDERS}
        return cls(used=used, hidden=[one.pk for one in rows if one.pk not in used])


@dataclass(frozen=True)
class Wanted:
    """The filters of one address; what is wrong in it is left out."""

    form: FilterForm
    accounts: Accounts

    @classmethod
    def by(cls, data: Mapping[str, Any], accounts: Accounts) -> Wanted:
        connections = accounts.used
        form = FilterForm(
            data,
            providers=sorted(
                {(one.provider, one.provider_label) for one in connections.values()},
                key=lambda pair: pair[1].casefold(),
            ),
            connections=sorted(
                ((one.pk, one.name) for one in connections.values()), key=lambda pair: pair[1]
            ),
        )
        form.is_valid()
        return cls(form, accounts)

    @property
    def values(self) -> Mapping[str, Any]:
        return self.form.cleaned_data

    @cached_property
    def kept(self) -> dict[str, str]:
        """The filters that hold, as they stand in an address."""
        names = (name for name in self.form.fields if name in FilterForm.NAMES)
        return {name: str(value) for name in names if (value := self.values.get(name))}

    @cached_property
    def span(self) -> Span:
        first: date | None = self.values.get("from")
        last: date | None = self.values.get("to")
        if first is not None:
            return Span(first=first, last=last)
        if last is not None:
            # Somebody who names only a last day in the past wants to see that day.
            return Span(first=min(timezone.localdate(), last), last=last)
        return Span.of_range(self.values.get("range") or Range.UPCOMING)

    def found(self) -> AppointmentQuerySet:
        """The bookings of these days that the filters leave."""
        return self.on(self.span)

    def on(self, span: Span) -> AppointmentQuerySet:
        """The bookings of the days of *span* that the filters leave."""
        found = self.of_any_day().from_day(span.first)
        return found.to_day(span.last) if span.last else found

    def opens_after(self) -> str:
        """
        The key that a long day of today opens behind; empty if it opens at its beginning.

        What began long ago and is over is then no longer what the desk looks for first.
        """
        today, now = timezone.localdate(), timezone.now()
        if self.values.get("q") or self.span.first != today or self.span.last not in (None, today):
            return ""
        long_begun = self.found().filter(sorts_at__lt=now - LONG_BEGUN)
        if not (key := _key_behind(long_begun)):
            return ""
        # Whoever is still there, or may still come, is never left out of sight.
        perhaps = long_begun.filter(Q(ends_at__gt=now) | Q(starts_at=None), status__in=LIVE)
        windows = ("window_starts", "window_ends")
        for row in perhaps.in_order().values("sorts_at", "pk", "starts_at", *windows):
            if row["starts_at"] is not None or _may_still_come(row, now=now):
                return _key_behind(long_begun.before(row["sorts_at"], row["pk"]))
        return key

    def reaches(self, key: str) -> bool:
        """Whether the place of *key* is not in front of these days, as one of yesterday is."""
        place = read_key(key)
        return place is None or timezone.localdate(place[0]) >= self.span.first

    def next_day(self) -> date | None:
        """The first day after these with anything that the filters leave."""
        if self.span.last is None:
            return None
        later = self.of_any_day().from_day(self.span.last + timedelta(days=1)).in_order()
        moment = later.values_list("sorts_at", flat=True).first()
        return timezone.localdate(moment) if moment else None

    def before_today(self, shown: Slice) -> list[Raw]:
        """
        Whom a search through all coming days finds before them, the newest first.

        Behind the last page of *shown*: who is looked for may ring about what is over.
        """
        is_everywhere = self.values.get("q") and self.span == Span.of_range(Range.UPCOMING)
        if not is_everywhere or shown.later:
            return []
        earlier = self.of_any_day().to_day(self.span.first - timedelta(days=1))
        return list(earlier.order_by("-sorts_at", "-pk").values(*COLUMNS)[:MOST_BEFORE_TODAY])

    def removed(self) -> list[Cancellation]:
        """Whom a search cannot find because they were removed from a coming group appointment."""
        if not (query := self.values.get("q")):
            return []
        rows = Cancellation.objects.cancelled().filter(
            scope=Scope.ATTENDEE,
            attendee_name__icontains=query,
            appointment__sorts_at__gte=day_start(timezone.localdate()),
        )
        names = rows.select_related("appointment__connection", "requested_by")
        return list(names.order_by("appointment__sorts_at", "pk")[:MOST_REMOVED])

    def with_nobody(self) -> int:
        """
        How many live bookings of these days a filter by doctor or staff hides because nobody is
        named; none where it cannot hide much, or the days have no end.
        """
        if not self.values.get("with") or self.span.last is None:
            return 0
        others = Wanted.by({**self.kept, "with": ""}, self.accounts)
        return others.found().filter(host_search="", status__in=LIVE).count()

    def around(self, appointment: Appointment) -> tuple[int | None, int | None]:
        """Keys of the bookings in front of and behind *appointment*, on whatever page they are."""
        if not self.span.holds(appointment.sorts_at):
            return None, None
        place, found = (appointment.sorts_at, appointment.pk), self.found()
        earlier = found.filter(sorts_at__lte=appointment.sorts_at).before(*place)
        later = found.filter(sorts_at__gte=appointment.sorts_at).after(*place)
        return (
            earlier.order_by("-sorts_at", "-pk").values_list("pk", flat=True).first(),
            later.in_order().values_list("pk", flat=True).first(),
        )

    def may_show(self, connection: Connection) -> bool:
        """Whether the filters leave bookings of *connection*."""
        slug, account = self.values.get("provider"), self.values.get("connection")
        return (not slug or slug == connection.provider) and (
            not account or account == str(connection.pk)
        )

    def of_any_day(self) -> AppointmentQuerySet:
        """The bookings that the filters leave, whatever the days."""
        return self._of_any_day.all()

    @cached_property
    def _of_any_day(self) -> AppointmentQuerySet:
        # By exclusion: a list of what is in would tempt the database to sort it all anew.
        found: AppointmentQuerySet = Appointment.objects.exclude(
            connection__in=self.accounts.hidden
        )
        if slug := self.values.get("provider"):
            accounts = [one.pk for one in self.accounts.used.values() if one.provider == slug]
            found = found.filter(connection__in=accounts)
        if connection := self.values.get("connection"):
            found = found.filter(connection=connection)
        if status := self.values.get("status"):
            found = found.filter(
                _whose_outcome_is_unknown() if status == UNSETTLED else Q(status=status)
            )
        if fragment := self.values.get("with"):
            found = found.with_host(fragment)
        if query := self.values.get("q"):
            found = found.matching(query)
        return found


def _key_behind(rows: AppointmentQuerySet) -> str:
    """Behind the last of *rows*, if they are too many for a screen."""
    newest = rows.order_by("-sorts_at", "-pk").values("sorts_at", "pk")[:SEEN_AT_ONCE]
    found = [dict(row) for row in newest]
    return key_of(found[0]) if len(found) == SEEN_AT_ONCE else ""


def _may_still_come(row: Mapping[str, Any], *, now: datetime) -> bool:
    """Of a session: until its window is over, or its day, where that is all that is known."""
    starts, ends = row["window_starts"], row["window_ends"]
    if starts is None or ends is None:
        return True
    length = datetime.combine(now.date(), ends) - datetime.combine(now.date(), starts)
    over: bool = row["sorts_at"] + length <= now
    return not over


def _whose_outcome_is_unknown() -> Q:
    asked = Cancellation.objects.unsettled(), Booking.objects.unsettled().changes()
    cancellations, changes = (rows.values("appointment") for rows in asked)
    return Q(pk__in=cancellations) | Q(pk__in=changes)


def without(kept: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in kept.items() if name not in names}


def query_of(kept: Mapping[str, str]) -> str:
    """
    *kept* as it follows the question mark; never empty.

    The bare address is somebody's start view, so the list without any filter needs a name.
    """
    return urlencode(kept or {"range": Range.UPCOMING.value})


def address(kept: Mapping[str, str]) -> str:
    """The list with these filters."""
    return f"{reverse('appointments')}?{query_of(kept)}"


# --- in words ---------------------------------------------------------------------------------


def account_names() -> dict[str, str]:
    return {str(pk): name for pk, name in Connection.objects.values_list("pk", "name")}


def in_words(query: Mapping[str, str], accounts: Mapping[str, str]) -> str:
    """*query* for people, as `meetergo · Booked · with Behrens · 7 days`."""
    parts = (bookings_in_words(query, accounts), _days_in_words(query))
    return " · ".join(part for part in parts if part)


def bookings_in_words(query: Mapping[str, str], accounts: Mapping[str, str]) -> str:
    """The same without the days; empty if there is no filter."""
    return " · ".join(_bookings_in_words(query, accounts))


def _bookings_in_words(query: Mapping[str, str], accounts: Mapping[str, str]) -> Iterator[str]:
    if search := query.get("q"):
        yield _("“%(text)s”") % {"text": search}
    if slug := query.get("provider"):
        yield PROVIDERS[slug].label if slug in PROVIDERS else slug
    if account := query.get("connection"):
        yield accounts.get(account, _("an account that is gone"))
    if status := query.get("status"):
        yield str(OUTCOME_UNKNOWN if status == UNSETTLED else WORDS.get(status, status))
    if host := query.get("with"):
        yield _("with %(name)s") % {"name": host}


def _days_in_words(query: Mapping[str, str]) -> str:
    first, last = (_day_in_words(query.get(name, "")) for name in ("from", "to"))
    if first and last:
        days = {"first": first, "last": last}
        return first if first == last else _("%(first)s to %(last)s") % days
    if first:
        return _("from %(day)s") % {"day": first}
    if last:
        return _("until %(day)s") % {"day": last}
    return str(Range(query.get("range") or Range.UPCOMING).label)


def _day_in_words(day: str) -> str:
    return day_year(date.fromisoformat(day)) if day else ""
