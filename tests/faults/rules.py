"""
What a case of the table is, how a cancellation can end, and how it goes on from there.

    Ending     where a cancellation stands, and what staff read then
    Course     how it goes on: reads, repeats, and the end
    Refresh    how a refreshing of the list ends
    Rest       what the rest of a batch does meanwhile
    Case       one fault: what it is, and how it ends
    Listing    a fault that only a listing can have
    Chapter    cases that end alike, with the words for the README
    Elsewhere  what is proven by other tests, because no provider is to blame
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from appointments.models import SyncRun
from appointments.models.cancellations import OPEN, AnswerKind, State
from tests.faults.rude import Fault, Where

MIJN, MEETERGO, CARE, HUSKY = "mijnklantportaal", "meetergo", "carevalidate", "huskyvoice"
PROVIDERS = (MIJN, MEETERGO, CARE, HUSKY)
REPEAT_IS_SAFE = frozenset({MIJN, HUSKY})
"""Where cancelling twice neither mails twice nor touches anything else."""

READ_AFTER = (5, 30, 120, 300, 900)
"""Seconds after the request at which an unknown outcome is read."""
SENT_AFTER = (1, 4, 15)
"""Seconds, give or take half, between tries of which nothing left us."""


# --- how a cancellation ends ------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Ending:
    """Where a cancellation stands."""

    state: State
    kind: AnswerKind | None
    """What the ledger says of the newest call; None if there was no call."""
    title: str
    """What staff read, as the page has it."""
    sentence: str
    """A part of the sentence below the title."""

    @property
    def is_open(self) -> bool:
        return self.state in OPEN


NOT_SENT_YET = Ending(
    state=State.REQUESTED,
    kind=AnswerKind.NOT_SENT,
    title="Waiting for {provider}",
    sentence="Nothing was done there yet.",
)
NOT_SENT = Ending(
    state=State.NOT_SENT,
    kind=AnswerKind.NOT_SENT,
    title="Not sent",
    sentence="Nothing was sent and nobody was told.",
)
BUSY = Ending(
    state=State.REQUESTED,
    kind=AnswerKind.LIMITED,
    title="Waiting for {provider}",
    sentence="{provider} is busy. Next try at",
)
TURNED_AWAY = Ending(
    state=State.NOT_SENT,
    kind=AnswerKind.LIMITED,
    title="Not sent",
    sentence="The request was turned away, so nothing was cancelled and nobody was told.",
)
REFUSED = Ending(
    state=State.REFUSED,
    kind=AnswerKind.REFUSED,
    title="Refused by {provider}",
    sentence="It is still booked.",
)
ALREADY = Ending(
    state=State.ALREADY,
    kind=AnswerKind.ALREADY,
    title="It was already cancelled",
    sentence="{provider} says that it was cancelled before, not by your click.",
)
CONFIRMED = Ending(
    state=State.CONFIRMED,
    kind=AnswerKind.OK,
    title="Cancelled",
    sentence="{provider} confirmed it at",
)
UNKNOWN = Ending(
    state=State.UNKNOWN,
    kind=AnswerKind.UNKNOWN,
    title="Outcome unknown, we are checking",
    sentence="It may or may not be cancelled.",
)
SEEN_CANCELLED = Ending(
    state=State.CONFIRMED,
    kind=AnswerKind.UNKNOWN,
    title="Cancelled",
    sentence="{provider} shows it as cancelled, read at",
)
CONFIRMED_ON_REPEAT = Ending(
    state=State.CONFIRMED,
    kind=AnswerKind.ALREADY,
    title="Cancelled",
    sentence="{provider} confirmed it at",
)
STILL_BOOKED = Ending(
    state=State.NEEDS_HUMAN,
    kind=AnswerKind.UNKNOWN,
    title="A person has to find out",
    sentence="{provider} still shows it as booked a while after our request",
)
PROBABLY_CANCELLED = Ending(
    state=State.NEEDS_HUMAN,
    kind=AnswerKind.UNKNOWN,
    title="A person has to find out",
    sentence="{provider} no longer lists it: it is probably cancelled, but nothing proves it.",
)
UNREADABLE = Ending(
    state=State.NEEDS_HUMAN,
    kind=AnswerKind.UNKNOWN,
    title="A person has to find out",
    sentence="{provider} could not be read for half an hour.",
)
UNSEEN = Ending(
    state=State.REQUESTED,
    kind=None,
    title="Waiting for {provider}",
    sentence="{provider} cannot be read at the moment. Next try at",
)
BUSY_BEFORE = Ending(
    state=State.REQUESTED,
    kind=None,
    title="Waiting for {provider}",
    sentence="{provider} is busy. Next try at",
)
MAY_NOT_LOOK = Ending(
    state=State.NOT_SENT,
    kind=None,
    title="Not sent",
    sentence="nobody was told.",
)
GONE = Ending(
    state=State.WITHDRAWN,
    kind=None,
    title="Withdrawn, nothing was sent",
    sentence="It is no longer at {provider}, so nothing was sent.",
)


@dataclass(frozen=True, kw_only=True)
class Course:
    """How a cancellation goes on after its first answer."""

    ending: Ending
    answers: tuple[str, ...]
    """All of the ledger, in order."""
    reads: tuple[int, ...] = ()
    """Seconds after the last request at which the worker looked."""


NOBODY_KNOWS = Course(ending=STILL_BOOKED, answers=("unknown",), reads=READ_AFTER)
FORGOTTEN = Course(ending=PROBABLY_CANCELLED, answers=("unknown",), reads=READ_AFTER[:1])
SILENT = Course(ending=UNREADABLE, answers=("unknown",), reads=(*READ_AFTER, 1800))


# --- how a refreshing ends --------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Refresh:
    """How a refreshing of the list ends. The bookings that we have are kept in every case."""

    outcome: SyncRun.Outcome
    strip: str
    """Begin of what the strip above the list says of this provider."""


FAILS = Refresh(outcome=SyncRun.Outcome.FAILED, strip="failing since")
NOT_BELIEVED = Refresh(outcome=SyncRun.Outcome.DISCARDED, strip="failing since")
GOES_ON = Refresh(outcome=SyncRun.Outcome.COMPLETE, strip="read ")


# --- the table --------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Case:
    """One fault, met by the cancellation itself, by the read before it, and by a refreshing."""

    name: str
    words: str
    """For the README, as a part of a list."""
    fault: Fault
    then: Fault | None = None
    """What every read meets once the cancellation has been met."""

    cancel: Ending
    cancel_at: Mapping[str, Ending] = field(default_factory=dict)
    """Where a provider differs."""
    why: str = ""
    """Code of the cause in ledger and run; empty: it is none, or differs."""
    why_at: Mapping[str, str] = field(default_factory=dict)
    settles: Mapping[str, Course] | None = None
    """By provider, how it goes on; None: as `course` has it."""
    waits: Mapping[str, int] | None = None
    """By provider, seconds until the next try: as it asks for, or as nonsense is taken."""

    look: Ending | None = UNSEEN
    """The same fault, met by the read before sending; None: that would be another case."""
    look_at: Mapping[str, Ending] = field(default_factory=dict)

    refresh: Refresh | None = FAILS
    """None: a listing does not know this fault."""
    refresh_at: Mapping[str, Refresh] = field(default_factory=dict)
    run_why: str = ""
    """Where it differs from *why*."""
    answer_only: bool = False
    """It is in the answer to a cancellation, and so nothing that is read can have it."""
    at: tuple[str, ...] = PROVIDERS
    """Providers that can have this fault."""

    def ending(self, slug: str) -> Ending:
        return self.cancel_at.get(slug, self.cancel)

    def looking(self, slug: str) -> Ending | None:
        return None if self.answer_only else self.look_at.get(slug, self.look)

    def refreshing(self, slug: str) -> Refresh | None:
        return None if self.answer_only else self.refresh_at.get(slug, self.refresh)

    def cause(self, slug: str) -> str:
        return self.why_at.get(slug, self.why)

    @property
    def is_applied(self) -> bool:
        """Whether it is cancelled at the provider once the fault has been met."""
        return self.fault.applied


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A fault that only a listing can have."""

    name: str
    words: str
    fault: Fault
    refresh: Refresh
    why: str = ""
    at: tuple[str, ...] = PROVIDERS
    rejected: int = 0
    """Records set aside."""
    bookings: int = 2
    """At the provider."""
    status: str = "booked"
    """Of every row of ours, afterwards."""
    where: Where = "list"
    """What meets it: the listing alone, or everything that is read."""


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """What other tests prove."""

    words: str
    proofs: tuple[str, ...]
    """`file::test`, or a folder that is about nothing else."""


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """A line of the README."""

    happens: str
    read: str
    again: str
    refresh: str
    cases: tuple[Case, ...] = ()
    listings: tuple[Listing, ...] = ()
    elsewhere: tuple[Elsewhere, ...] = ()

    @property
    def parts(self) -> list[Case | Listing | Elsewhere]:
        return [*self.cases, *self.listings, *self.elsewhere]


def course(case: Case, slug: str, *, stays: bool) -> Course:
    """
    How *case* goes on at *slug* when the fault is over, or when it *stays*.

    This is the whole of the rules; the table has only the exceptions.
    """
    if case.settles is not None:
        return case.settles[slug]
    first = case.ending(slug)
    match first:
        case _ if first == UNKNOWN and case.is_applied:
            return Course(ending=SEEN_CANCELLED, answers=("unknown",), reads=READ_AFTER[:1])
        case _ if first == UNKNOWN and slug in REPEAT_IS_SAFE:
            if stays:
                return Course(ending=STILL_BOOKED, answers=("unknown", "unknown"), reads=READ_AFTER)
            return Course(ending=CONFIRMED, answers=("unknown", "ok"))
        case _ if first == UNKNOWN:
            return NOBODY_KNOWS
        case _ if first == NOT_SENT_YET and stays:
            return Course(ending=NOT_SENT, answers=("not_sent",) * 4)
        case _ if first == NOT_SENT_YET:
            return Course(ending=CONFIRMED, answers=("not_sent", "ok"))
        case _ if first == BUSY and stays:
            return Course(ending=TURNED_AWAY, answers=("limited", "limited"))
        case _ if first == BUSY:
            return Course(ending=CONFIRMED, answers=("limited", "ok"))
        case _:
            kind = first.kind
            return Course(ending=first, answers=(str(kind),) if kind else ())


# --- how the rest of a batch goes on ----------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Rest:
    """What one provider's part of a batch does when a cancellation of it ends like this."""

    tried: int | None
    """After so many in a row the others are held back; None: each gets its turn."""
    paused: str = ""
    """Why it pauses until a person looks; empty: it does not."""


GO_ON = Rest(tried=None)
WAIT = Rest(tried=1)


def rest_of_batch(case: Case, slug: str) -> Rest:
    """
    What *case* at every cancellation of a batch does to the others at *slug*.

    The parts at other providers never notice.
    """
    match case.ending(slug):
        case ending if ending == NOT_SENT_YET:
            return Rest(tried=3, paused="not_sent")
        case ending if ending == UNKNOWN:
            return Rest(tried=2, paused="unknown")
        case ending if ending == BUSY:
            return WAIT
        case ending if ending == TURNED_AWAY:
            return Rest(tried=1, paused="refused" if case.cause(slug) == "quota" else "busy")
        case ending if ending == REFUSED and case.cause(slug) in ("credentials", "permission"):
            return Rest(tried=1, paused="refused")
        case _:
            return GO_ON


# --- cases, by how they end at once -----------------------------------------------------------


def not_sent(name: str, words: str, fault: Fault, why: str, **more: Any) -> Case:
    return Case(name=name, words=words, fault=fault, why=why, cancel=NOT_SENT_YET, **more)


def unknown(name: str, words: str, fault: Fault, why: str, **more: Any) -> Case:
    return Case(name=name, words=words, fault=fault, why=why, cancel=UNKNOWN, **more)


def refused(name: str, words: str, fault: Fault, why: str, **more: Any) -> Case:
    return Case(name=name, words=words, fault=fault, why=why, cancel=REFUSED, **more)


def already(name: str, words: str, fault: Fault, why: str, **more: Any) -> Case:
    return Case(name=name, words=words, fault=fault, why=why, cancel=ALREADY, **more)


def confirmed(name: str, words: str, fault: Fault, **more: Any) -> Case:
    return Case(name=name, words=words, fault=fault, cancel=CONFIRMED, look=None, **more)


def busy(name: str, words: str, fault: Fault, why: str, **more: Any) -> Case:
    return Case(name=name, words=words, fault=fault, why=why, cancel=BUSY, look=BUSY_BEFORE, **more)


def turned_away(name: str, words: str, fault: Fault, why: str, **more: Any) -> Case:
    return Case(
        name=name, words=words, fault=fault, why=why, cancel=TURNED_AWAY, look=MAY_NOT_LOOK, **more
    )
