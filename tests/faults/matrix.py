"""
What happens when: every fault that a provider, the network or we ourselves can cause.

This is a document first. It is read by the tests of this folder, which run every case at every
provider against a server that really misbehaves, and it is printed into the README, so neither
can say what the other does not.

    Ending     where a cancellation stands, and what staff read then
    Refresh    how a refreshing of the list ends
    Case       one fault: what it is, and how it ends
    Chapter    cases that end alike, with the words for the README
    Elsewhere  what is proven by other tests, because no provider is to blame

Three rules hold for every case, so no case repeats them. *Cancelled* is never shown unless the
provider said or shows so. Where nobody knows, it is read 5 s, 30 s, 2, 5 and 15 minutes after the
request, and then a person is asked. And what may have been carried out is never sent again where
that could mail somebody twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import count
from typing import Any

from appointments.models import SyncRun
from appointments.models.cancellations import OPEN, AnswerKind, State
from tests.faults.rude import (
    Bombs,
    BreaksOnReuse,
    Closes,
    Cuts,
    Drips,
    Fault,
    Floods,
    Forgets,
    Hangs,
    Lags,
    NameNotFound,
    NameTakesTooLong,
    NoFreeConnection,
    Redirects,
    Refuses,
    Resets,
    ResetsAtOnce,
    Says,
    SilentHandshake,
    StuckWhileSending,
    Twists,
    Where,
    Works,
    WrongCertificate,
)

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
    at: tuple[str, ...] = PROVIDERS
    """Providers that can have this fault."""

    def ending(self, slug: str) -> Ending:
        return self.cancel_at.get(slug, self.cancel)

    def looking(self, slug: str) -> Ending | None:
        return self.look_at.get(slug, self.look)

    def refreshing(self, slug: str) -> Refresh | None:
        return self.refresh_at.get(slug, self.refresh)

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
        case ending if ending in (BUSY, TURNED_AWAY):
            return WAIT
        case ending if ending == REFUSED and case.cause(slug) in ("credentials", "permission"):
            return Rest(tried=1, paused="refused")
        case _:
            return GO_ON


def all_cases() -> list[Case]:
    return [case for chapter in CHAPTERS for case in chapter.cases]


def all_listings() -> list[Listing]:
    return [listing for chapter in CHAPTERS for listing in chapter.listings]


# --- pieces of answers ------------------------------------------------------------------------


def no(status: int, *, code: str = "") -> Mapping[str, Any]:
    """A failure that each provider could have written: every one looks at its own fields."""
    return {
        "message": "No.",
        "status": status,
        "success": False,
        "error": {"code": code, "message": "No."},
    }


def record_of(slug: str, body: Any) -> Any:
    """The one booking of an answer, where an answer holds one."""
    return body["data"] if slug == HUSKY else body


def without(field_of: Mapping[str, str]) -> Callable[[str, Any], Any]:
    """Take away the field that each provider's yes hangs on."""

    def change(slug: str, body: Any) -> Any:
        record_of(slug, body).pop(field_of[slug]) if slug != CARE else body.pop(field_of[slug])
        return body

    return change


def put(value_at: Mapping[str, tuple[str, Any]]) -> Callable[[str, Any], Any]:
    """Put another value into one field of the answer."""

    def change(slug: str, body: Any) -> Any:
        name, value = value_at[slug]
        (body if slug == CARE else record_of(slug, body))[name] = value
        return body

    return change


PROOF = {MIJN: "status", MEETERGO: "isCancelled", CARE: "success", HUSKY: "status"}
"""The field that says that it is cancelled."""
TEXT = {MIJN: "attendeeName", MEETERGO: "location", CARE: "message", HUSKY: "patient_name"}
"""A field that holds text."""
ID = {MIJN: "id", MEETERGO: "id", CARE: "id", HUSKY: "appointment_id"}
ROWS = {MIJN: "data", MEETERGO: "appointments", CARE: "data", HUSKY: "data"}
"""Where the records of a listing are."""
FULL_PAGE = {MEETERGO: 100, HUSKY: 200}

STILL_BOOKED_VALUE = {
    MIJN: ("status", "scheduled"),
    MEETERGO: ("isCancelled", False),
    CARE: ("success", False),
    HUSKY: ("status", "confirmed"),
}


def still_booked(slug: str, body: Any) -> Any:
    changed = put(STILL_BOOKED_VALUE)(slug, body)
    if slug == MEETERGO:
        changed["cancel"] = None
    return changed


def someone_elses(slug: str, body: Any) -> Any:
    record_of(slug, body)[ID[slug]] = "00000000-0000-4000-8000-000000000000"
    return body


def more(slug: str, body: Any) -> Any:
    return body | {"brandNew": {"deep": [1, 2, {"x": None}]}, "": "", "ключ": 1}


def raw(text: bytes) -> Callable[[str, Any], bytes]:
    """Bytes in place of the answer."""
    return lambda _slug, _body: text


def long_number(slug: str, body: Any) -> bytes:
    """The answer, with a number of 5,000 digits somewhere in it."""
    return json.dumps(body | {"count": 0}).replace('"count": 0', f'"count": {"7" * 5000}').encode()


def same_but_text(slug: str, body: Any) -> bytes:
    return json.dumps(body).encode()


def each(change: Callable[[str, Any], Any], *, first_only: bool = False) -> Any:
    """Change the records of a listing."""

    def listed(slug: str, body: Any) -> Any:
        rows = body[ROWS[slug]]
        for row in rows[:1] if first_only else rows:
            change(slug, row)
        return body

    return listed


def broken_row(name: str, value: Any = None, *, gone: bool = False) -> Any:
    """Break one field of the first record: by its own name at each provider."""
    names: Mapping[str, Mapping[str, str]] = {
        "id": ID,
        "start": {MIJN: "startsAt", MEETERGO: "start", CARE: "start", HUSKY: "date"},
        "text": {MIJN: "attendeeName", MEETERGO: "location", CARE: "title", HUSKY: "patient_name"},
    }

    def change(slug: str, row: Any) -> None:
        key = names[name][slug]
        row.pop(key) if gone else row.__setitem__(key, value)

    return each(change, first_only=True)


def odd_word(slug: str, row: Any) -> None:
    row["status"] = "in-limbo"


def more_in_place(_slug: str, row: Any) -> None:
    row |= {"brandNew": {"deep": [1, 2, {"x": None}]}, "": "", "ключ": 1}


def twice(slug: str, body: Any) -> Any:
    body[ROWS[slug]] *= 2
    return body


def twice_but_older(slug: str, body: Any) -> Any:
    """Each record comes again, as it was before its last change."""
    older = json.loads(json.dumps(body[ROWS[slug]]))
    for row in older:
        row["updatedAt" if slug != HUSKY else "updated_at"] = "2020-01-01T00:00:00.000Z"
        row[TEXT_OF_A_ROW[slug]] = "as it was before"
    body[ROWS[slug]] = body[ROWS[slug]] + older
    return body


TEXT_OF_A_ROW = {MEETERGO: "location", CARE: "title", HUSKY: "assigned_doctor"}


def first_page_for_ever(slug: str, body: Any) -> Any:
    """A full page, and the same one whatever page is asked for."""
    return _full_page(slug, body, numbers=count())


_numbers = count()


def ever_new_pages(slug: str, body: Any) -> Any:
    """A full page of bookings that no page has shown before."""
    return _full_page(slug, body, numbers=_numbers)


def _full_page(slug: str, body: Any, *, numbers: Iterator[int]) -> Any:
    rows = body[ROWS[slug]]
    one = rows[0] if rows else _EVER_SHOWN.get(slug)
    if one is None:
        return body
    _EVER_SHOWN[slug] = one
    body[ROWS[slug]] = [
        {**one, ID[slug]: f"00000000-0000-4000-8000-{next(numbers):012d}"}
        for _ in range(FULL_PAGE[slug])
    ]
    return body


_EVER_SHOWN: dict[str, Any] = {}
"""A record of each provider, to fill pages with that the provider's own book has not."""


def empty(slug: str, body: Any) -> Any:
    body[ROWS[slug]] = []
    return body


def without_the_first(slug: str, body: Any) -> Any:
    body[ROWS[slug]] = body[ROWS[slug]][1:]
    return body


def in_seconds(value: str) -> Says:
    return Says(status=429, body=no(429), headers={"Retry-After": value})


def at_date(*, ahead: timedelta) -> Says:
    """
    A date half a minute on, by a clock that goes *ahead* of ours.

    The answer's own `Date` says how that clock stands.
    """
    now = datetime(2026, 12, 7, 9, tzinfo=UTC) + ahead
    return Says(
        status=429,
        body=no(429),
        headers={
            "Date": format_datetime(now, usegmt=True),
            "Retry-After": format_datetime(now + timedelta(seconds=30), usegmt=True),
        },
    )


def _lower_first(words: str) -> str:
    return words[0].lower() + words[1:]


CANCELS = "tests/services/test_cancel.py"
BY_READING = (
    "Settled by reading; sent once more only at MijnKlantportaal and HuskyVoice, if it is still "
    "booked"
)
FAILING = "Stays as it was, *failing since 10:42*"
AS_BEFORE = "Nothing new: the row stays as it was read last"
NOTHING_SENT = "Nothing was to be sent"
AS_USUAL = "Goes on as usual"


CHAPTERS: tuple[Chapter, ...] = (
    Chapter(
        happens="It cannot be reached, so nothing left us",
        read="*Waiting for …*: nothing was done there yet; in the end *Not sent*: nobody was told",
        again="By itself, three times within half a minute; after that only by you",
        refresh=FAILING,
        cases=(
            Case(
                name="connection-refused",
                words="nobody listens",
                fault=Refuses(),
                cancel=NOT_SENT_YET,
                why="connection",
            ),
            Case(
                name="name-not-found",
                words="its name leads nowhere",
                fault=NameNotFound(),
                cancel=NOT_SENT_YET,
                why="name_lookup",
            ),
            Case(
                name="name-takes-too-long",
                words="its name is looked up for ever",
                fault=NameTakesTooLong(),
                cancel=NOT_SENT_YET,
                why="deadline",
            ),
            Case(
                name="wrong-certificate",
                words="it cannot prove who it is",
                fault=WrongCertificate(),
                cancel=NOT_SENT_YET,
                why="tls",
            ),
            Case(
                name="timeout-before-sending",
                words="it lets us in and never says hello",
                fault=SilentHandshake(),
                cancel=NOT_SENT_YET,
                why="deadline",
            ),
            Case(
                name="no-free-connection",
                words="all our own connections are taken",
                fault=NoFreeConnection(),
                cancel=NOT_SENT_YET,
                why="deadline",
            ),
        ),
    ),
    Chapter(
        happens="The request left us, and no whole answer came back",
        read="*Outcome unknown, we are checking*",
        again=BY_READING,
        refresh=FAILING,
        cases=(
            Case(
                name="timeout-after-applying",
                words="it cancels and never answers",
                fault=Hangs(applied=True),
                cancel=UNKNOWN,
                why="deadline",
            ),
            Case(
                name="timeout-without-applying",
                words="it does nothing and never answers",
                fault=Hangs(),
                cancel=UNKNOWN,
                why="deadline",
            ),
            Case(
                name="stuck-while-sending",
                words="our request is stuck half way",
                fault=StuckWhileSending(),
                cancel=UNKNOWN,
                why="deadline",
            ),
            Case(
                name="reset-at-the-door",
                words="the connection breaks before a word is read",
                fault=ResetsAtOnce(),
                cancel=UNKNOWN,
                why="connection",
            ),
            Case(
                name="reset-before-applying",
                words="it breaks before it cancels",
                fault=Resets(),
                cancel=UNKNOWN,
                why="connection",
            ),
            Case(
                name="reset-after-applying",
                words="it breaks after it cancelled",
                fault=Resets(applied=True),
                cancel=UNKNOWN,
                why="connection",
            ),
            Case(
                name="reset-in-the-middle",
                words="it breaks in the middle of its answer",
                fault=Resets(applied=True, midway=True),
                cancel=UNKNOWN,
                why="connection",
            ),
            Case(
                name="closed-without-a-word",
                words="it hangs up without a word",
                fault=Closes(),
                cancel=UNKNOWN,
                why="connection",
            ),
            Case(
                name="dripping-headers",
                words="its answer drips in too slowly to ever end (head or body)",
                fault=Drips(part="headers"),
                cancel=UNKNOWN,
                why="deadline",
            ),
            Case(
                name="dripping-body",
                words="",
                fault=Drips(part="body"),
                cancel=UNKNOWN,
                why="deadline",
            ),
            Case(
                name="cut-with-a-length",
                words="its answer is cut off, announced or not",
                fault=Cuts(how="length"),
                cancel=UNKNOWN,
                why="connection",
            ),
            Case(
                name="cut-in-chunks",
                words="",
                fault=Cuts(how="chunks"),
                cancel=UNKNOWN,
                why="connection",
            ),
            Case(
                name="cut-without-a-length",
                words="",
                fault=Cuts(how="nothing"),
                cancel=UNKNOWN,
                why="broken_json",
            ),
        ),
    ),
    Chapter(
        happens="It has a fault on its side",
        read="*Outcome unknown, we are checking*",
        again=BY_READING,
        refresh=FAILING,
        cases=(
            *(
                Case(
                    name=f"{status}-{'after' if applied else 'before'}-applying",
                    words=f"{status}" if applied else "",
                    fault=Says(
                        status=status,
                        applied=applied,
                        body=no(status, code="INTERNAL_ERROR"),
                        headers={"Retry-After": "1"} if status == 503 else {},
                    ),
                    cancel=UNKNOWN,
                    why="server_fault" if status >= 500 else "undocumented_status",
                )
                for status in (408, 500, 502, 503, 504)
                for applied in (True, False)
            ),
            Case(
                name="202-not-yet-applied",
                words="202, which promises nothing",
                fault=Says(status=202, body={"message": "Accepted"}),
                cancel=UNKNOWN,
                why="undocumented_status",
            ),
        ),
    ),
    Chapter(
        happens="It answers, but not with anything documented",
        read="*Outcome unknown, we are checking*",
        again=BY_READING,
        refresh="The page is not believed. " + FAILING,
        cases=(
            Case(
                name="invalid-json",
                words="broken JSON",
                fault=Twists(change=raw(b'{"id": "abc", "status": canceled')),
                cancel=UNKNOWN,
                why="broken_json",
            ),
            Case(
                name="web-page",
                words="a web page, whatever its status",
                fault=Says(status=200, body="<!doctype html><h1>Welcome</h1>"),
                cancel=UNKNOWN,
                why="not_json",
            ),
            *(
                Case(
                    name=f"web-page-{status}",
                    words="",
                    fault=Says(status=status, body="<!doctype html><h1>Sorry</h1>"),
                    cancel=UNKNOWN,
                    why="not_json",
                    run_why="not_json" if status in (401, 403) else "undocumented_status",
                )
                for status in (400, 401, 403, 404, 409)
            ),
            Case(
                name="wrong-type",
                words="text that only looks like JSON",
                fault=Twists(
                    change=same_but_text, headers={"Content-Type": "text/plain; charset=utf-8"}
                ),
                cancel=UNKNOWN,
                why="not_json",
            ),
            Case(
                name="200-with-an-error",
                words="a yes with an error in it",
                fault=Says(status=200, body=no(500)),
                cancel=UNKNOWN,
                why="unreadable_answer",
                why_at={CARE: "not_success"},
            ),
            Case(
                name="200-with-nothing",
                words="an empty yes",
                fault=Says(status=200, body=b"", headers={"Content-Type": "application/json"}),
                cancel=UNKNOWN,
                why="broken_json",
            ),
            Case(
                name="204",
                words="",
                fault=Says(status=204, applied=True),
                cancel=UNKNOWN,
                why="undocumented_status",
            ),
            Case(
                name="200-still-booked",
                words="a yes that shows it booked",
                fault=Twists(change=still_booked),
                cancel=UNKNOWN,
                why="not_cancelled",
                why_at={
                    MEETERGO: "not_as_asked",
                    CARE: "not_success",
                    HUSKY: "still_booked",
                },
                look=None,
                refresh=None,
            ),
            Case(
                name="another-booking",
                words="a yes about another booking",
                fault=Twists(change=someone_elses),
                cancel=UNKNOWN,
                why="other_id",
                look=None,
                refresh=None,
                at=(MIJN, MEETERGO, HUSKY),
            ),
            Case(
                name="field-missing",
                words="a yes without the field that says so, or with null in it",
                fault=Twists(change=without(PROOF)),
                cancel=UNKNOWN,
                why="unreadable_answer",
                why_at={MIJN: "not_cancelled", CARE: "not_success"},
                look=None,
                refresh=None,
            ),
            Case(
                name="field-null",
                words="",
                fault=Twists(change=put({slug: (name, None) for slug, name in PROOF.items()})),
                cancel=UNKNOWN,
                why="unreadable_answer",
                why_at={MIJN: "not_cancelled", CARE: "not_success"},
                look=None,
                refresh=None,
            ),
            Case(
                name="unknown-word",
                words="a word that no documentation has",
                fault=Twists(change=put({slug: (name, "gone?") for slug, name in PROOF.items()})),
                cancel=UNKNOWN,
                why="not_cancelled",
                why_at={
                    MEETERGO: "unreadable_answer",
                    CARE: "not_success",
                    HUSKY: "still_booked",
                },
                look=None,
                refresh=None,
            ),
            Case(
                name="nul",
                words="characters or numbers that break other programs",
                fault=Twists(change=put({slug: (key, "a\x00b") for slug, key in TEXT.items()})),
                cancel=UNKNOWN,
                why="unreadable_answer",
                look=None,
                refresh=None,
            ),
            Case(
                name="lone-surrogate",
                words="",
                fault=Twists(change=put({slug: (key, "a\ud800b") for slug, key in TEXT.items()})),
                cancel=UNKNOWN,
                why="unreadable_answer",
                look=None,
                refresh=None,
            ),
            Case(
                name="deep-json",
                words="",
                fault=Twists(change=raw(b'{"data":' * 100_000)),
                cancel=UNKNOWN,
                why="broken_json",
            ),
            Case(
                name="long-number",
                words="",
                fault=Twists(change=long_number),
                cancel=UNKNOWN,
                why="broken_json",
            ),
            Case(
                name="flood",
                words="a hundred megabytes, of which it reads one",
                fault=Floods(),
                cancel=UNKNOWN,
                why="too_large",
            ),
            Case(
                name="gzip-bomb",
                words="a packed answer that unfolds without end",
                fault=Bombs(),
                cancel=UNKNOWN,
                why="encoded",
            ),
        ),
    ),
    Chapter(
        happens="It sends us to another address",
        read="*Outcome unknown, we are checking*",
        again="Nobody goes there. " + BY_READING,
        refresh=FAILING,
        cases=(
            *(
                Case(
                    name=f"redirect-{status}",
                    words=str(status),
                    fault=Redirects(status=status),
                    cancel=UNKNOWN,
                    why="redirected",
                )
                for status in (301, 302, 303, 307, 308)
            ),
            Case(
                name="redirect-after-applying",
                words="",
                fault=Redirects(status=303, applied=True),
                cancel=UNKNOWN,
                why="redirected",
            ),
            Case(
                name="redirect-to-nonsense",
                words="",
                fault=Redirects(status=302, location="http://[::"),
                cancel=UNKNOWN,
                why="connection",
            ),
        ),
    ),
    Chapter(
        happens="It does not accept our key, or the key may not do this",
        read="*Refused by …*, why, and *It is still booked*. Ask an administrator",
        again="Never",
        refresh=FAILING + ". The other providers go on",
        cases=(
            Case(
                name="401",
                words="401",
                fault=Says(status=401, body=no(401, code="UNAUTHORIZED")),
                cancel=REFUSED,
                why="credentials",
                look=MAY_NOT_LOOK,
            ),
            Case(
                name="403-scope",
                words="403",
                fault=Says(status=403, body=no(403, code="INSUFFICIENT_SCOPE")),
                cancel=REFUSED,
                why="permission",
                look=MAY_NOT_LOOK,
                run_why="access_denied",
            ),
            Case(
                name="403-empty",
                words="",
                fault=Says(status=403),
                cancel=REFUSED,
                why="permission",
                why_at={HUSKY: "policy"},
                look=MAY_NOT_LOOK,
                run_why="access_denied",
            ),
        ),
    ),
    Chapter(
        happens="It says no, and a second look shows it still booked",
        read="*Refused by …*, why, and *It is still booked*",
        again="Never by itself; you may mend the cause and ask again",
        refresh=FAILING,
        cases=(
            Case(
                name="403-policy",
                words="its rules do not allow it",
                fault=Says(status=403, body=no(403, code="CANCELLATION_NOT_ALLOWED")),
                cancel=REFUSED,
                why="policy",
                look=None,
                refresh=None,
                at=(HUSKY,),
            ),
            Case(
                name="400",
                words="it does not accept the request (400, 422)",
                fault=Says(status=400, body=no(400)),
                cancel=REFUSED,
                why="invalid",
                why_at={CARE: "email"},
                run_why="undocumented_status",
            ),
            Case(
                name="422",
                words="",
                fault=Says(status=422, body=no(422)),
                cancel=REFUSED,
                why="invalid",
                why_at={CARE: "other", HUSKY: "policy"},
                run_why="undocumented_status",
            ),
            Case(
                name="404",
                words="it says 404",
                fault=Says(status=404, body=no(404, code="NOT_FOUND")),
                cancel=REFUSED,
                why="not_found",
                look=GONE,
                look_at={CARE: UNSEEN},
                run_why="undocumented_status",
            ),
            Case(
                name="409",
                words="it says that something is in the way (409, not at MijnKlantportaal)",
                fault=Says(status=409, body=no(409)),
                cancel=REFUSED,
                why="other",
                why_at={HUSKY: "policy"},
                run_why="undocumented_status",
                at=(MEETERGO, CARE, HUSKY),
            ),
        ),
        elsewhere=(
            Elsewhere(
                words="by its clock it is too late (the dialog warns before, and lets you try)",
                proofs=(
                    f"{CANCELS}::test_huskyvoice_policy_refusal_is_shown_as_refused",
                    "tests/browser/test_cancel.py::test_huskyvoice_with_a_policy_warning",
                ),
            ),
        ),
    ),
    Chapter(
        happens="It says no, and the second look does not show it booked",
        read="*It was already cancelled*, if it shows so; otherwise *Outcome unknown, "
        "we are checking*",
        again="Never where it is gone or cannot be read; then it is for a person",
        refresh=AS_USUAL,
        cases=(
            Case(
                name="409-already",
                words="MijnKlantportaal says that it was cancelled before (409)",
                fault=Says(status=409, applied=True, body=no(409)),
                cancel=ALREADY,
                why="said_already",
                look=None,
                refresh=None,
                at=(MIJN,),
            ),
            Case(
                name="no-but-cancelled",
                words="it says no, and shows it cancelled",
                fault=Says(status=400, applied=True, body=no(400)),
                cancel=ALREADY,
                why="said_already",
                look=None,
                refresh=None,
            ),
            Case(
                name="no-and-gone",
                words="it says 404, and does not show it any more: *probably cancelled*, for a "
                "person",
                fault=Says(status=404, body=no(404, code="NOT_FOUND")),
                then=Forgets(),
                cancel=UNKNOWN,
                why="refused_and_gone",
                settles=dict.fromkeys(PROVIDERS, FORGOTTEN),
                look=None,
                refresh=None,
            ),
            Case(
                name="no-and-unreadable",
                words="it says no, and cannot be read",
                fault=Says(status=400, body=no(400)),
                then=Says(status=503, body=no(503)),
                cancel=UNKNOWN,
                why="refused_unreadable",
                settles=dict.fromkeys(PROVIDERS, SILENT),
                look=None,
                refresh=None,
            ),
        ),
    ),
    Chapter(
        happens="After an unclear answer, reading does not help either",
        read="*Outcome unknown, we are checking*, then *A person has to find out*",
        again=BY_READING,
        refresh=AS_USUAL,
        cases=(
            Case(
                name="silent-from-then-on",
                words="it cannot be read for half an hour",
                fault=Resets(applied=True),
                then=Resets(),
                cancel=UNKNOWN,
                why="connection",
                settles=dict.fromkeys(PROVIDERS, SILENT),
                look=None,
                refresh=None,
            ),
            Case(
                name="forgotten-from-then-on",
                words="it shows it no more: *probably cancelled*",
                fault=Resets(applied=True),
                then=Forgets(),
                cancel=UNKNOWN,
                why="connection",
                settles=dict.fromkeys(PROVIDERS, FORGOTTEN),
                look=None,
                refresh=None,
            ),
            Case(
                name="reader-lags",
                words="it goes on showing what was before",
                fault=Resets(applied=True),
                then=Lags(),
                cancel=UNKNOWN,
                why="connection",
                settles={
                    # A second cancel is harmless here, and its answer proves the first.
                    MIJN: Course(ending=CONFIRMED_ON_REPEAT, answers=("unknown", "already")),
                    HUSKY: Course(ending=CONFIRMED, answers=("unknown", "ok")),
                    MEETERGO: NOBODY_KNOWS,
                    CARE: NOBODY_KNOWS,
                },
                look=None,
                refresh=None,
            ),
        ),
    ),
    Chapter(
        happens="It is busy",
        read="*Waiting for …*: it is busy, and when the next try is; in the end *Not sent*",
        again="Once, by itself, when it asked for; after that only by you",
        refresh=FAILING + ". Never sooner than it asked for, up to an hour",
        cases=(
            Case(
                name="429",
                words="it does not say how long",
                fault=Says(status=429, body=no(429)),
                waits={MIJN: 60, MEETERGO: 30, CARE: 60, HUSKY: 30},
                cancel=BUSY,
                why="rate_limited",
                look=BUSY_BEFORE,
            ),
            Case(
                name="429-seconds",
                words="it gives seconds",
                fault=in_seconds("23"),
                waits=dict.fromkeys(PROVIDERS, 23),
                cancel=BUSY,
                why="rate_limited",
                look=BUSY_BEFORE,
            ),
            Case(
                name="429-date",
                words="it gives a time",
                fault=at_date(ahead=timedelta(0)),
                waits=dict.fromkeys(PROVIDERS, 30),
                cancel=BUSY,
                why="rate_limited",
                look=BUSY_BEFORE,
            ),
            Case(
                name="429-date-by-a-wrong-clock",
                words="its clock is an hour wrong",
                fault=at_date(ahead=timedelta(hours=1)),
                waits=dict.fromkeys(PROVIDERS, 30),
                cancel=BUSY,
                why="rate_limited",
                look=BUSY_BEFORE,
            ),
        ),
    ),
    Chapter(
        happens="It is busy and asks for more than two minutes, or for nonsense",
        read="*Not sent*: the request was turned away, and nobody was told",
        again="Only by you",
        refresh=FAILING,
        cases=(
            *(
                Case(
                    name=f"429-{name}",
                    words=words,
                    fault=in_seconds(value),
                    waits=dict.fromkeys(PROVIDERS, 86400 if name == "a-day" else 120),
                    cancel=TURNED_AWAY,
                    why="rate_limited",
                    look=MAY_NOT_LOOK,
                )
                for name, words, value in (
                    ("a-day", "a day", "86400"),
                    ("overflow", "an absurd number", "9" * 30),
                    ("negative", "", "-5"),
                    ("nan", "", "NaN"),
                    ("a-word", "no number at all", "soon"),
                    ("past", "a time gone by", "Mon, 07 Dec 2015 09:00:00 GMT"),
                )
            ),
            Case(
                name="429-quota",
                words="its daily quota is used up",
                fault=Says(status=429, body=no(429, code="DAILY_QUOTA_EXCEEDED")),
                cancel=TURNED_AWAY,
                why="quota",
                look=MAY_NOT_LOOK,
                at=(HUSKY,),
            ),
        ),
    ),
    Chapter(
        happens="It answers oddly, but clearly",
        read="*Cancelled*, with the time at which it confirmed",
        again="Nothing: it is done",
        refresh=AS_USUAL + "; after a stale connection, *failing since 10:42* until the next try",
        cases=(
            Case(
                name="no-fault",
                words="all is well",
                fault=Works(),
                cancel=CONFIRMED,
                look=None,
                refresh=GOES_ON,
            ),
            Case(
                name="extra-field",
                words="there are fields nobody documented",
                fault=Twists(change=more),
                cancel=CONFIRMED,
                look=None,
                refresh=GOES_ON,
            ),
            Case(
                name="stale-keep-alive",
                words="a kept-alive connection is stale (a cancellation never uses one)",
                fault=BreaksOnReuse(),
                cancel=CONFIRMED,
                look=None,
                refresh=FAILS,
                # Of the four, only meetergo shows a small book in one request.
                refresh_at={MEETERGO: GOES_ON},
                run_why="connection",
            ),
        ),
    ),
    Chapter(
        happens="A listing has records that make no sense",
        read=AS_BEFORE,
        again=NOTHING_SENT,
        refresh="The record is set aside and counted; all others are read",
        listings=(
            *(
                Listing(
                    name=f"record-{name}",
                    words=words,
                    fault=Twists(change=change),
                    refresh=GOES_ON,
                    rejected=1,
                )
                for name, words, change in (
                    ("without-an-id", "no id, or no time", broken_row("id", gone=True)),
                    ("with-null-for-an-id", "", broken_row("id")),
                    ("without-a-time", "", broken_row("start", gone=True)),
                    ("nul", "characters that cannot be kept", broken_row("text", "a\x00b")),
                    ("lone-surrogate", "", broken_row("text", "a\ud800b")),
                )
            ),
            Listing(
                name="extra-fields",
                words="fields nobody documented (which are passed over)",
                fault=Twists(change=each(more_in_place)),
                refresh=GOES_ON,
            ),
            Listing(
                name="twice",
                words="the same one twice (which counts once, as it was changed last)",
                fault=Twists(change=twice),
                refresh=GOES_ON,
            ),
            Listing(
                name="twice-but-older",
                words="",
                fault=Twists(change=twice_but_older),
                refresh=GOES_ON,
                at=(MEETERGO, CARE, HUSKY),
            ),
        ),
    ),
    Chapter(
        happens="A listing has a status that no documentation names",
        read="The provider's own word; it cannot be cancelled from here. At CareValidate, "
        "whatever is listed is booked",
        again=NOTHING_SENT,
        refresh=AS_USUAL,
        listings=(
            Listing(
                name="unknown-status",
                words="",
                fault=Twists(change=each(odd_word)),
                refresh=GOES_ON,
                at=(MIJN, HUSKY),
                status="other",
            ),
            Listing(
                name="unknown-status-where-words-do-not-count",
                words="",
                fault=Twists(change=each(odd_word)),
                refresh=GOES_ON,
                at=(CARE,),
            ),
        ),
    ),
    Chapter(
        happens="A listing turns in circles or never ends",
        read=AS_BEFORE,
        again=NOTHING_SENT,
        refresh="Given up, at the latest after 200 pages. " + FAILING,
        listings=(
            Listing(
                name="pages-loop",
                words="the same page again and again",
                fault=Twists(change=first_page_for_ever),
                refresh=FAILS,
                why="pages_loop",
                at=(MEETERGO, HUSKY),
            ),
            Listing(
                name="pages-without-end",
                words="new pages without end",
                fault=Twists(change=ever_new_pages),
                refresh=FAILS,
                why="pages_loop",
                at=(MEETERGO, HUSKY),
            ),
        ),
    ),
    Chapter(
        happens="Bookings are missing from a listing",
        read="As before, if it can be read by itself; otherwise *no longer listed*. Never "
        "*cancelled*",
        again=NOTHING_SENT,
        refresh="If more than a fifth is gone at once, the listing is not believed, *failing since "
        "10:42*; otherwise each missing one is read by itself",
        listings=(
            Listing(
                name="empty-list",
                words="more than a fifth of them, and at least twenty",
                fault=Twists(change=empty),
                refresh=NOT_BELIEVED,
                why="suspicious",
                bookings=25,
            ),
            Listing(
                name="one-is-missing",
                words="a few, which can be read by themselves",
                fault=Twists(change=without_the_first),
                refresh=GOES_ON,
            ),
            Listing(
                name="missing-and-unreadable",
                words="a few, which cannot",
                fault=Forgets(),
                where="look",
                refresh=GOES_ON,
                status="gone",
            ),
        ),
    ),
    Chapter(
        happens="A listing contradicts what was cancelled here",
        read="*Cancelled*; if a later listing still shows it booked, *Confirmed, but listed as "
        "booked again*, for a person",
        again="Nothing by itself",
        refresh="What a listing says that began before the cancellation is not believed",
        elsewhere=(
            Elsewhere(
                words="it began before the cancellation",
                proofs=("tests/faults/test_sync.py::test_a_listing_that_began_before",),
            ),
            Elsewhere(
                words="it goes on showing it; at CareValidate that is normal for ten minutes",
                proofs=(
                    "tests/faults/test_sync.py::test_a_yes_that_no_listing_bears_out",
                    "tests/services/test_sync.py::"
                    "test_carevalidate_may_linger_and_is_reported_only_after_ten_minutes",
                ),
            ),
        ),
    ),
    Chapter(
        happens="It cannot be read just before sending, for any of the reasons above",
        read="*Waiting for …*: it cannot be read at the moment; in the end *Not sent*",
        again="Nothing is sent unseen. Read again by itself for ten minutes, then only by you",
        refresh=FAILING,
        elsewhere=(
            Elsewhere(
                words="",
                proofs=(
                    "tests/faults/test_cancel.py::test_a_fault_before_sending",
                    "tests/faults/test_cancel.py::test_a_provider_that_cannot_be_read_for_ten_minutes",
                ),
            ),
        ),
    ),
    Chapter(
        happens="The booking is another one by now",
        read="*It was already cancelled*, or *Withdrawn, nothing was sent*, and what changed",
        again="Never",
        refresh=AS_USUAL,
        elsewhere=(
            Elsewhere(
                words="somebody cancelled it at the provider",
                proofs=(
                    f"{CANCELS}::test_what_was_cancelled_meanwhile_is_found_and_nothing_is_sent",
                ),
            ),
            Elsewhere(
                words="its time, its people or its status changed",
                proofs=(f"{CANCELS}::test_a_moved_appointment_is_withdrawn_and_nothing_is_sent",),
            ),
            Elsewhere(
                words="the page was older than that",
                proofs=(f"{CANCELS}::test_a_stale_page_is_told_and_nothing_is_recorded",),
            ),
        ),
    ),
    Chapter(
        happens="Somebody clicks twice, or two people click",
        read="The one outcome; the second person reads who was faster, and when",
        again="Sent once",
        refresh=AS_USUAL,
        elsewhere=(
            Elsewhere(
                words="a double click, *back*, the form sent again",
                proofs=(f"{CANCELS}::test_the_same_form_twice_is_one_intent",),
            ),
            Elsewhere(
                words="two people, or two tabs",
                proofs=(
                    f"{CANCELS}::test_a_second_person_sees_who_was_faster",
                    "tests/browser/test_cancel.py::test_a_second_person_is_told_who_was_faster",
                ),
            ),
        ),
    ),
    Chapter(
        happens="The session ends while the dialog is open",
        read="The login, which leads back to the dialog",
        again="Nothing was recorded; press the button again",
        refresh=AS_USUAL,
        elsewhere=(
            Elsewhere(
                words="",
                proofs=(
                    "tests/browser/test_cancel.py::test_an_expired_session_keeps_what_was_typed",
                    "tests/views/test_access.py::"
                    "test_a_script_without_a_session_gets_an_address_and_no_page",
                ),
            ),
        ),
    ),
    Chapter(
        happens="The worker dies",
        read="As before, if nothing had left us; otherwise *Outcome unknown, we are checking*",
        again="The next worker goes on. What may have been sent is " + _lower_first(BY_READING),
        refresh="The next one begins anew",
        elsewhere=(
            Elsewhere(
                words="before or while it sends",
                proofs=(
                    f"{CANCELS}::"
                    "test_a_worker_lost_while_sending_leaves_an_unknown_that_reads_settle",
                ),
            ),
            Elsewhere(
                words="in the middle of a batch",
                proofs=("tests/services/test_batch.py::test_a_crash_resumes_with_the_rest",),
            ),
        ),
    ),
    Chapter(
        happens="No worker runs",
        read="A warning above the list; the outcome goes on saying that nothing was sent yet",
        again="Never after ten minutes: an old click does not fire later",
        refresh="Stays as it was",
        elsewhere=(
            Elsewhere(
                words="",
                proofs=(
                    "tests/views/test_list.py::test_a_silent_worker_is_said",
                    f"{CANCELS}::test_nothing_is_sent_after_its_lifetime",
                ),
            ),
        ),
    ),
    Chapter(
        happens="The portal's own database cannot be written",
        read="Before sending: an error, and nothing is recorded. After it: *Sending*, until the "
        "answer is recorded",
        again="Without a record nothing is sent. An answer is kept in a file and brought back",
        refresh="Stays as it was",
        elsewhere=(
            Elsewhere(
                words="",
                proofs=(
                    "tests/services/test_spill.py::test_the_answer_comes_back_and_confirms",
                    "tests/services/test_spill.py::test_without_a_database_the_file_stays",
                ),
            ),
        ),
    ),
)
