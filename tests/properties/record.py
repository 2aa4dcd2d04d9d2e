"""
What happened in one history, noted from the providers' side, and the ledger beside it.

The properties compare the two. Nothing in here comes from the portal's own judgement but the rows
of its ledger, read as they stand.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Q
from django.utils import timezone

from appointments.domain import Scope
from appointments.models import (
    Appointment,
    Cancellation,
    CancellationEvent,
    ProviderAnswer,
    ProviderCall,
)
from appointments.models.cancellations import AnswerKind, Event, State
from tests.properties.books import Book, Standing, Target

QUIET = timedelta(minutes=15)
"""The assumption on which all rests: no request acts later than this after its call has ended."""

type Key = tuple[str, str]
"""Provider and booking."""
type Part = tuple[str, str, str]
"""Provider, booking, and one person on it; no person: the whole booking."""
type Facts = tuple[tuple[str, ...], frozenset[str]]
"""When it is, and who is booked."""


@dataclass(kw_only=True)
class Actor:
    """Whose doing a request is."""

    kind: str
    """`worker`, `sync`, `trace` or `person`."""
    cancellation: int | None = None
    state: str = ""
    """Of that cancellation, when the worker took it up."""
    looks: dict[Key, tuple[datetime, Standing]] = field(default_factory=dict)
    """What this actor was shown last of each booking."""


@dataclass(kw_only=True)
class Arrival:
    """A cancel request that reached its provider, and what the ledger held at that moment."""

    at: datetime
    key: Key
    target: Target
    body: Any
    actor: Actor
    open_transactions: int
    """Of the portal, while it talked to the provider."""
    cancellation: Cancellation | None
    """The row as it was then."""
    call: int | None
    """Key of the row of this very call, if it was there."""
    asker_may: bool
    unsure: tuple[tuple[int, str], ...]
    """Other cancellations of this booking with a call of unknown outcome, and their state then."""
    look: tuple[datetime, Standing] | None
    ended_at: datetime | None = None
    acted: bool = False
    held: Held | None = None


@dataclass(kw_only=True)
class Held:
    """A request that its provider has received and may still carry out."""

    key: Key
    request: Any
    arrival: Arrival
    until: datetime
    """By then it was carried out or never will be."""
    is_over: bool = False

    @property
    def may_act(self) -> bool:
        return not self.is_over and timezone.now() < self.until


@dataclass(frozen=True, kw_only=True)
class Done:
    """A cancellation that has taken effect."""

    settled_at: datetime
    scope: str
    person: str


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A newly recorded intent."""

    at: datetime
    cancellation: int
    key: Key
    page: Facts
    """The booking as staff saw it."""
    person: str
    """Whom it is to remove; empty for the whole."""
    done_before: tuple[Done, ...]
    """Earlier cancellations of it that had taken effect."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One booking in an answer that reached us whole."""

    at: datetime
    """When the provider gave the answer; it may have reached us later."""
    standing: Standing


@dataclass(frozen=True, kw_only=True)
class HalfHour:
    """A time during which a worker looked at everything that was due."""

    began_at: datetime
    ended_at: datetime


@dataclass(frozen=True, kw_only=True)
class Mail:
    """What a provider sent to somebody because of a request of ours."""

    key: Key
    life: int
    """Counts how often the booking was made anew under its id."""
    to: str
    cancellation: int | None


class Record:
    """One history."""

    def __init__(self, books: Mapping[str, Book], *, depth: int) -> None:
        """*depth*: transactions that are the test's own."""
        self.books = books
        self.depth = depth
        self.at_first = {
            (slug, one): standing
            for slug, book in books.items()
            for one, standing in book.standings().items()
        }
        self.actors: list[Actor] = []
        self.arrivals: list[Arrival] = []
        self.held: list[Held] = []
        self.asked: list[Asked] = []
        self.mails: list[Mail] = []
        self.half_hours: list[HalfHour] = []
        self.shown: defaultdict[Key, list[Shown]] = defaultdict(list)
        self.lives: Counter[Key] = Counter()
        self.outside: set[Part] = set()
        """What somebody took away at the provider itself."""
        self.wished: set[Part] = set()
        """What staff wanted taken away, by the intents of which a request arrived."""
        self.verdicts: set[Key] = set()
        """Bookings that a person judged to be cancelled."""
        self.killed_calls: set[int] = set()
        """Calls whose worker was killed before anything left."""
        self.seen_rows: dict[tuple[str, int], dict[str, Any]] = {}
        self.seen_terminal: dict[int, tuple[Any, ...]] = {}

    # --- who acts

    @contextmanager
    def acting(self, actor: Actor) -> Iterator[None]:
        self.actors.append(actor)
        try:
            yield
        finally:
            self.actors.pop()

    @property
    def actor(self) -> Actor:
        return self.actors[-1] if self.actors else Actor(kind="person")

    # --- what arrives and what is shown

    def note_arrival(self, slug: str, target: Target, body: Any) -> Arrival:
        key = (slug, target.booking)
        rows = Cancellation.objects.filter(
            connection__provider=slug, external_id__iexact=target.booking
        )
        row = rows.filter(state=State.SENDING).first()
        call = row.calls.filter(answer=None).last() if row else None
        matched = {one.call for one in self.arrivals}
        others = rows.exclude(pk=row.pk) if row is not None else rows
        unsure = others.filter(calls__in=ProviderCall.objects.filter(_UNKNOWN)).distinct()
        arrival = Arrival(
            at=timezone.now(),
            key=key,
            target=target,
            body=body,
            actor=self.actor,
            open_transactions=len(connection.atomic_blocks) - self.depth,
            cancellation=row,
            call=call.pk if call and call.pk not in matched else None,
            asker_may=row is not None and _may(row),
            unsure=tuple((one.pk, one.state) for one in unsure),
            look=self.actor.looks.get(key),
        )
        self.arrivals.append(arrival)
        if row is not None:
            self.wished |= set(self.parts(row))
        return arrival

    def parts(self, cancellation: Cancellation) -> Iterator[Part]:
        """What *cancellation* is meant to take away, as its provider counts."""
        slug, booking = cancellation.connection.provider, cancellation.external_id
        if cancellation.scope == Scope.ATTENDEE:
            yield slug, booking, cancellation.attendee_external_id
            return
        yield slug, booking, ""
        if cancellation.scope == Scope.FOLLOWING:
            for one in self.books[slug].later(booking):
                yield slug, one, ""

    def note_shown(self, slug: str, standings: Mapping[str, Standing], *, at: datetime) -> None:
        for booking, standing in standings.items():
            self.shown[slug, booking].append(Shown(at=at, standing=standing))
            self.actor.looks[slug, booking] = (at, standing)

    def was_shown_away(self, part: Part, *, since: datetime | None = None) -> bool:
        """Whether an answer showed *part* cancelled or removed."""
        slug, booking, person = part
        return any(
            not one.standing.is_live or (person != "" and person not in one.standing.people)
            for one in self.shown[slug, booking]
            if since is None or one.at >= since
        )


_UNKNOWN = Q(answer=None) | Q(answer__kind=AnswerKind.UNKNOWN)


def _may(cancellation: Cancellation) -> bool:
    """Whether whoever wants this request to leave may cancel, asked of the database anew."""
    again = cancellation.events.filter(event=Event.SENT_AGAIN).last()
    asker = again.by_id if again is not None else cancellation.requested_by_id
    return User.objects.get(pk=asker or 0).has_perm("appointments.cancel_appointment")


class Ledger:
    """
    All rows of the ledger as they stand now.

    Read again only where something was written since: reading is what a step costs most.
    """

    def __init__(self) -> None:
        self.stale = set(LEDGER)
        self.now = timezone.now()
        self.cancellations: dict[int, Cancellation] = {}
        self.calls: defaultdict[int, list[ProviderCall]] = defaultdict(list)
        self.events: defaultdict[int, list[CancellationEvent]] = defaultdict(list)
        self.appointments: list[Appointment] = []

    def note_statement(self, sql: str) -> None:
        """See what *sql* may have changed."""
        if sql.startswith("ROLLBACK"):
            self.stale |= LEDGER
        elif not sql.startswith(("SELECT", "SAVEPOINT", "RELEASE")):
            self.stale |= {table for table in LEDGER if f'"{table}"' in sql}

    def refresh(self) -> None:
        self.now = timezone.now()
        if Cancellation._meta.db_table in self.stale:
            rows = Cancellation.objects.select_related("connection")
            self.cancellations = {one.pk: one for one in rows}
        if self.stale & {ProviderCall._meta.db_table, ProviderAnswer._meta.db_table}:
            self.calls.clear()
            for call in ProviderCall.objects.select_related("answer").order_by("number"):
                self.calls[call.cancellation_id].append(call)
        if CancellationEvent._meta.db_table in self.stale:
            self.events.clear()
            for event in CancellationEvent.objects.order_by("pk"):
                self.events[event.cancellation_id].append(event)
        if Appointment._meta.db_table in self.stale:
            rows_of_ours = Appointment.objects.select_related("connection")
            self.appointments = list(rows_of_ours.only("external_id", "status", "connection"))
        self.stale.clear()

    def answer(self, call: ProviderCall) -> ProviderAnswer | None:
        return getattr(call, "answer", None)


LEDGER = frozenset(
    model._meta.db_table
    for model in (Appointment, Cancellation, CancellationEvent, ProviderAnswer, ProviderCall)
)
