"""
Rows of the list, and whether anything in them has changed.

The price of a list is its template, not its query, so rows are plain dictionaries of finished
text, made from bare columns: no model objects, and no filters in the template.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Any, TypedDict

from django.db.models import Max, Q
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from appointments.domain import LIVE, Scope, Status
from appointments.models import (
    Attendee,
    Booking,
    BookingEvent,
    Cancellation,
    CancellationEvent,
    Connection,
    ConnectionHealth,
)
from appointments.models.appointments import AppointmentQuerySet, is_sought
from appointments.models.bookings import UNSETTLED_BOOKINGS
from appointments.models.cancellations import OPEN, UNSETTLED, State, Verdict
from appointments.phrases import person as name_of
from appointments.services.trace import cancelled_with
from appointments.views.polling import token_of
from appointments.views.when import day_nearness, day_title, moment_or_lane
from appointments.wording import cancelled_with_earlier

PAGE_SIZE = 50
CHUNK = 500
"""Rows read at once where all are wanted."""
LONGEST_TEXT = 200
"""Characters of one cell; providers may send any length."""

WORDS: Mapping[str, Promise] = {
    Status.BOOKED: gettext_lazy("Booked"),
    Status.PENDING: gettext_lazy("Pending"),
    Status.CANCELLED: gettext_lazy("Cancelled"),
    Status.COMPLETED: gettext_lazy("Completed"),
    Status.GONE: gettext_lazy("No longer listed"),
    Status.OTHER: gettext_lazy("Unclear"),
}
OPEN_WORDS: Mapping[str, Promise] = {
    State.REQUESTED: gettext_lazy("To be cancelled"),
    State.SENDING: gettext_lazy("Cancelling"),
    State.UNKNOWN: gettext_lazy("Outcome unknown"),
    State.NEEDS_HUMAN: gettext_lazy("Needs a person"),
}

CHANGE_WORDS: Mapping[str, Promise] = {
    Booking.Kind.MOVE: gettext_lazy("Moving"),
    Booking.Kind.CONFIRM: gettext_lazy("Confirming"),
}

_ONE_LEAVES = gettext_lazy("Booked; %(name)s is being removed")
_ONE_UNKNOWN = gettext_lazy("Booked; unknown whether %(name)s is removed")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KEY = re.compile(r"(-?\d{1,17})-(\d{1,18})", re.ASCII)

_WHEN = ("starts_at", "ends_at", "day", "session", "batch", "window_starts", "window_ends")
COLUMNS = (
    "pk",
    "sorts_at",
    "connection_id",
    "external_id",
    "status",
    "provider_status",
    *_WHEN,
    "title",
    "host",
    "practitioner",
    "reference",
    "is_paid",
    "cancelled_by",
    "cancel_reason",
    "content",
    "changed_here_at",
)

_SOON: Sequence[tuple[str, timedelta]] = (
    ("hour", timedelta(hours=1)),
    ("two", timedelta(hours=2)),
)
"""How soon a booking begins that the list points out, the sooner first."""

type Raw = dict[str, Any]
type Person = tuple[str, str, str]
"""Name, e-mail address, telephone number."""


class Row(TypedDict):
    """One line of the list, ready to print."""

    pk: int
    url: str
    cancel_url: str
    start: str
    end: str
    lane: str
    window: str
    elsewhere: str
    """The window on the clock of the practice, if that shows another time."""
    opens: str
    closes: str
    is_past: bool
    soon: str
    """`hour` or `two`, if it begins within so many hours."""
    who: str
    others: int
    others_label: str
    contact: str
    what: str
    detail: str
    host: str
    is_noted: bool
    """Whether *host* was noted here, not said by the provider."""
    provider: str
    account: str
    status: str
    word: str
    why: str
    open_url: str
    can_cancel: bool
    pick_label: str
    cancel_label: str


class Day(TypedDict):
    day: str
    title: str
    nearness: str
    rows: list[Row]
    can_pick: bool
    """Whether "choose all" would choose anything: what is over is left out of it."""


@dataclass(frozen=True, kw_only=True)
class Slice:
    """At most `PAGE_SIZE` bookings, and the keys of the pages around it."""

    raw: Sequence[Raw]
    earlier: str
    later: str


def key_of(raw: Raw) -> str:
    """Where a row stands in the list, as it appears in an address."""
    return f"{(raw['sorts_at'] - _EPOCH) // timedelta(microseconds=1)}-{raw['pk']}"


def read_key(text: str) -> tuple[datetime, int] | None:
    """The reverse; None for what is no key."""
    if (match := _KEY.fullmatch(text)) is None:
        return None
    try:
        return _EPOCH + timedelta(microseconds=int(match[1])), int(match[2])
    except OverflowError:
        return None


def slice_of(found: AppointmentQuerySet, *, after: str = "", before: str = "") -> Slice:
    """
    Cut one page out of *found*, behind or in front of a row.

    By key, never by number: a page costs the same wherever it is, and no row is shown twice
    because another one came in between.
    """
    if (key := read_key(before)) is not None:
        return _backwards(found, key)
    start = read_key(after)
    if start is not None:
        found = found.filter(sorts_at__gte=start[0]).after(*start)
    raw = list(found.in_order().values(*COLUMNS)[: PAGE_SIZE + 1])
    later = key_of(raw[PAGE_SIZE - 1]) if len(raw) > PAGE_SIZE else ""
    raw = raw[:PAGE_SIZE]
    earlier = key_of(raw[0]) if start is not None and raw else ""
    return Slice(raw=raw, earlier=earlier, later=later)


def _backwards(found: AppointmentQuerySet, key: tuple[datetime, int]) -> Slice:
    sorts_at, pk = key
    found = found.filter(sorts_at__lte=sorts_at).before(sorts_at, pk)
    raw = list(found.order_by("-sorts_at", "-pk").values(*COLUMNS)[: PAGE_SIZE + 1])
    has_more = len(raw) > PAGE_SIZE
    raw = raw[:PAGE_SIZE][::-1]
    return Slice(
        raw=raw,
        earlier=key_of(raw[0]) if has_more else "",
        later=key_of(raw[-1]) if raw else "",
    )


def all_of(found: AppointmentQuerySet) -> Iterator[list[Raw]]:
    """
    Everything of *found* in list order, at most `CHUNK` at a time.

    By key, so that no cursor stays open while somebody's computer is slow to take a file.
    """
    rest = found
    while raw := list(rest.in_order().values(*COLUMNS)[:CHUNK]):
        yield raw
        if len(raw) < CHUNK:
            return
        last = raw[-1]
        rest = found.filter(sorts_at__gte=last["sorts_at"]).after(last["sorts_at"], last["pk"])


def look_of(raw: Sequence[Raw], *, connections: Iterable[Connection]) -> str:
    """
    Short text that changes when the list would look different, also because time went by.

    How long ago a connection was read is left out: it changes by itself, and the page counts it.
    """
    now, today = timezone.now(), timezone.localdate()
    by_key = {one.pk: one for one in connections}
    columns = ("pk", "content", "status", "changed_here_at", "practitioner")
    seen = [tuple(one[name] for name in columns) for one in raw]
    hours = [
        (_soon(one, now=now), _is_past(one, by_key[one["connection_id"]], now=now)) for one in raw
    ]
    health = [
        (one.pk, one.health.failing_since, one.health.failure, _next_try(one.health))
        for one in by_key.values()
        if hasattr(one, "health")
    ]
    newest = [
        model.objects.aggregate(newest=Max("pk"))["newest"]
        for model in (CancellationEvent, BookingEvent)
    ]
    return token_of(seen, hours, health, newest, today)


def _next_try(health: ConnectionHealth) -> object:
    """Of a failing connection it is shown; of the others it changes by itself."""
    return health.next_sync_at if health.is_failing else None


def days_of(
    raw: Sequence[Raw],
    *,
    connections: Mapping[int, Connection],
    may_cancel: bool,
    query: str = "",
    filters: str = "",
) -> list[Day]:
    """
    The rows of a page by day, with the people and the newest cancellation of each.

    Of a group, whoever *query* looks for stands first. *filters* are those of the list, as they
    follow the question mark: an opened appointment needs them to know what comes next.
    """
    maker = RowMaker(
        raw, connections=connections, may_cancel=may_cancel, query=query, filters=filters
    )
    rows = ((maker.day(one), maker.row(one)) for one in raw)
    return [
        {
            **empty_day(day),
            "rows": of_day,
            "can_pick": any(row["can_cancel"] and not row["is_past"] for row in of_day),
        }
        for day, group in groupby(rows, key=lambda pair: pair[0])
        for of_day in [[row for _, row in group]]
    ]


def empty_day(day: date) -> Day:
    """The heading of *day*, without rows."""
    today = timezone.localdate()
    return Day(
        day=day.isoformat(),
        title=capfirst(day_title(day, today=today)),
        nearness=day_nearness(day, today=today),
        rows=[],
        can_pick=False,
    )


class RowMaker:
    """Looks up once for all rows what a row needs."""

    def __init__(
        self,
        raw: Sequence[Raw],
        *,
        connections: Mapping[int, Connection],
        may_cancel: bool = False,
        query: str = "",
        filters: str = "",
    ) -> None:
        pks = [one["pk"] for one in raw]
        self.connections, self.may_cancel = connections, may_cancel
        self.people = _people(pks)
        self.query = query
        self.cancellations = _newest_cancellations(pks)
        self.with_earlier = cancelled_with([one["pk"] for one in raw if self._may_be_later(one)])
        changes = Booking.objects.open().changes().filter(appointment__in=pks)
        self.changes = {one.appointment_id: one for one in changes}
        self.now, self.desk = timezone.now(), timezone.get_default_timezone()
        self.root, self.filters = reverse("appointments"), f"?{filters}" if filters else ""
        # Looked up once: of each there are fifty on a page.
        self.pick_label = _("Choose %(who)s")
        self.cancel_label = _("Cancel appointment with %(who)s")
        accounts = [one.provider for one in connections.values()]
        self.shared = {slug for slug in accounts if accounts.count(slug) > 1}

    def day(self, raw: Raw) -> date:
        return raw["sorts_at"].astimezone(self.desk).date()  # type: ignore[no-any-return]

    def row(self, raw: Raw) -> Row:
        connection = self.connections[raw["connection_id"]]
        people = self._wanted_first(self.people.get(raw["pk"], []))
        newest = self.cancellations.get(raw["pk"])
        open_one: Cancellation | Booking | None = self.changes.get(raw["pk"])
        if newest is not None and newest.state in OPEN:
            open_one = newest
        facts = {name: raw[name] for name in _WHEN}
        when = moment_or_lane(**facts, zone=connection.zone)
        # Two addresses for each of fifty rows: `reverse` would be a tenth of the page's time.
        url = f"{self.root}appointments/{raw['pk']}/"
        word, status = word_of(raw["status"], raw["provider_status"]), raw["status"]
        if open_one is not None:
            word, status = _open_word(open_one), open_one.state
        who, others = _clip(_name(people, raw)), max(0, len(people) - 1)
        is_cancelled = status == Status.CANCELLED
        why = self._why_cancelled(raw, connection) if is_cancelled else ""
        return Row(
            pk=raw["pk"],
            url=f"{url}{self.filters}",
            cancel_url=f"{url}cancel/",
            start=when.start,
            end=when.end,
            lane=when.lane,
            window=when.window,
            elsewhere=when.elsewhere,
            opens=when.opens,
            closes=when.closes,
            is_past=_is_past(raw, connection, now=self.now),
            soon=_soon(raw, now=self.now),
            who=who,
            others=others,
            others_label=_others(others),
            contact=_clip(_contact(people)),
            what=_clip(raw["title"]),
            detail=_clip(" · ".join(_details(raw))),
            host=_clip(raw["host"] or raw["practitioner"]),
            is_noted=bool(raw["practitioner"] and not raw["host"]),
            provider=self._place(connection),
            account=connection.name,
            status=status,
            word=word,
            why=_clip(why),
            open_url=open_one.get_absolute_url() if open_one else "",
            can_cancel=self.may_cancel and not open_one and self._can_cancel(raw, connection),
            pick_label=self.pick_label % {"who": who},
            cancel_label=self.cancel_label % {"who": who},
        )

    def _wanted_first(self, people: list[Person]) -> list[Person]:
        if not self.query or len(people) < 2:
            return people
        return sorted(people, key=lambda one: not _is_sought(one, self.query))

    def _place(self, connection: Connection) -> str:
        """The provider, and which account of it where there are several."""
        label = connection.provider_label
        return f"{label} · {connection.name}" if connection.provider in self.shared else label

    def _may_be_later(self, raw: Raw) -> bool:
        """Whether "this and later ones" of an earlier occurrence may have taken it away."""
        return (
            raw["status"] == Status.CANCELLED
            and raw["pk"] not in self.cancellations
            and self.connections[raw["connection_id"]].capabilities.following
        )

    def _why_cancelled(self, raw: Raw, connection: Connection) -> str:
        """By whom of us and why; or that it was done at the provider, and what it says of that."""
        mine, earlier = self.cancellations.get(raw["pk"]), self.with_earlier.get(raw["pk"])
        if mine is not None and mine.state == State.SETTLED:
            who, why = _("as %(name)s found out") % {"name": name_of(mine.settled_by)}, mine.reason
        elif mine is not None:
            who, why = _("by %(name)s") % {"name": name_of(mine.requested_by)}, mine.reason
        elif earlier is not None:
            who, why = cancelled_with_earlier(earlier), earlier.reason
        else:
            values = {"provider": connection.provider_label, "name": raw["cancelled_by"]}
            who = _("at %(provider)s, by %(name)s") if values["name"] else _("at %(provider)s")
            who, why = who % values, raw["cancel_reason"]
        return ": ".join(part for part in (who, why) if part)

    def _can_cancel(self, raw: Raw, connection: Connection) -> bool:
        """The same answer as `services.cancel.obstacles`, from bare columns."""
        can = connection.capabilities
        policy = connection.known_policy
        return (
            can.cancels
            and raw["status"] in LIVE
            and (can.cancels_past or not _is_past(raw, connection, now=self.now))
            and (policy is None or policy.allowed)
        )


def _is_past(raw: Raw, connection: Connection, *, now: datetime) -> bool:
    """The same answer as `Appointment.is_past`: a day without a clock time is the practice's."""
    if ends_at := raw["ends_at"] or raw["starts_at"]:
        return bool(ends_at < now)
    return bool(raw["day"] < now.astimezone(connection.zone).date())


def _soon(raw: Raw, *, now: datetime) -> str:
    """Whether it begins within the next hours; nothing of what is cancelled or has no time."""
    starts_at = raw["starts_at"]
    if starts_at is None or starts_at < now or raw["status"] not in LIVE:
        return ""
    return next((word for word, period in _SOON if starts_at - now <= period), "")


def _is_sought(person: Person, query: str) -> bool:
    name, email, phone = person
    return is_sought(query, name=name, email=email, phone=phone)


def _people(pks: Sequence[int]) -> dict[int, list[Person]]:
    found: dict[int, list[Person]] = {}
    columns = ("appointment_id", "name", "email", "phone")
    rows = Attendee.objects.filter(appointment_id__in=pks).order_by("appointment_id", "position")
    for pk, name, email, phone in rows.values_list(*columns):
        found.setdefault(pk, []).append((name, email, phone))
    return found


def _newest_cancellations(pks: Sequence[int]) -> dict[int, Cancellation]:
    """For each booking the open cancellation, otherwise the newest that took all of it away."""
    found: dict[int, Cancellation] = {}
    rows = Cancellation.objects.filter(appointment_id__in=pks).filter(
        Q(state__in=OPEN)
        | (Q(state=State.CONFIRMED) | Q(state=State.SETTLED, why=Verdict.CANCELLED))
        & ~Q(scope=Scope.ATTENDEE)
    )
    for one in rows.select_related("requested_by", "settled_by").order_by("pk"):
        known = found.get(one.appointment_id)
        if known is None or known.state not in OPEN:
            found[one.appointment_id] = one
    return found


def _name(people: Sequence[Person], raw: Raw) -> str:
    if people:
        name, email, phone = people[0]
        return name or email or phone or _("Unnamed person")
    return str(raw["title"] or raw["reference"] or raw["external_id"])


def _others(count: int) -> str:
    if not count:
        return ""
    return ngettext("%(count)d more", "%(count)d more", count) % {"count": count}


def _contact(people: Sequence[Person]) -> str:
    if len(people) != 1:
        return ""
    name, email, phone = people[0]
    return phone or (email if name else "")


def _details(raw: Raw) -> Iterable[str]:
    if raw["reference"]:
        yield _("Ref. %(reference)s") % {"reference": raw["reference"]}
    if raw["is_paid"]:
        yield _("paid")


def word_of(status: str, theirs: str) -> str:
    """The status in our word, or in the provider's where we have none."""
    if status == Status.OTHER and theirs:
        return _clip(_("“%(text)s”") % {"text": theirs})
    return str(WORDS[status])


def _open_word(open_one: Cancellation | Booking) -> str:
    """What is under way with a booking, or that nobody knows."""
    if isinstance(open_one, Booking) and open_one.state not in UNSETTLED_BOOKINGS:
        return str(CHANGE_WORDS[open_one.kind])
    if isinstance(open_one, Cancellation) and open_one.scope == Scope.ATTENDEE:
        # The others of the group stay booked, whatever becomes of this one.
        words = _ONE_UNKNOWN if open_one.state in UNSETTLED else _ONE_LEAVES
        return _clip(words % {"name": open_one.person})
    return str(OPEN_WORDS[open_one.state])


def _clip(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"
