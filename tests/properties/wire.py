"""
The way to the providers, in this process: the sandbox's own worlds answer, or something goes wrong.

It stands where httpx would open a socket, so everything above it is the portal's. (That sockets
fail as they do here is shown by the tests of the transport.) Every request is noted as it
arrives, before it is answered.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from urllib.parse import parse_qs, unquote

import httpx
import time_machine
from django.utils import timezone

from appointments.sandbox.core import Answer, Entry, Request, Sandbox, World
from tests.properties.books import Book, Standing
from tests.properties.record import QUIET, Arrival, Held, Mail, Record

MOMENT = timedelta(milliseconds=150)
"""On the way there, and on the way back: no two things happen at once."""
LAG = timedelta(minutes=10)
"""No reader is further behind than this."""


class Killed(BaseException):
    """The process is killed here. Whoever catches this is not the portal."""


@dataclass(frozen=True, kw_only=True)
class Mishap:
    """One way in which a request goes wrong."""

    applies: bool = False
    """Whether the provider does what it was asked."""
    later: bool = False
    """Whether it may do so later."""
    status: int | None = None
    """Answers this instead of its own answer."""
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    lost: Literal["", "reset", "timeout"] = ""
    """How the answer is lost."""
    cut: bool = False
    """Whether only half of its own answer comes back."""
    seconds: float = 0
    """How long it takes."""
    unreachable: bool = False
    """No byte leaves."""
    lags: bool = False
    """Answers as it would have before its last change."""


NO: Mapping[str, Any] = {"success": False, "message": "No", "status": 0}
PAGE = "<!doctype html><title>Gateway</title>"

OF_A_CANCEL: Mapping[str, Mishap] = {
    "unreachable": Mishap(unreachable=True),
    "answer lost": Mishap(applies=True, lost="reset"),
    "timeout, done": Mishap(applies=True, lost="timeout", seconds=20),
    "reset": Mishap(lost="reset"),
    "timeout, not done": Mishap(lost="timeout", seconds=20),
    "timeout, done later": Mishap(later=True, lost="timeout", seconds=20),
    "504, done later": Mishap(later=True, status=504, body=NO, seconds=15),
    "202, done later": Mishap(later=True, status=202, body={"success": True}),
    "500": Mishap(status=500, body=NO),
    "500, done": Mishap(applies=True, status=500, body=NO),
    "other words": Mishap(status=200, body={"ok": 1}),
    "other words, done": Mishap(applies=True, status=200, body={"ok": 1}),
    "page, done": Mishap(applies=True, status=200, body=PAGE),
    "404 page, done": Mishap(applies=True, status=404, body=PAGE),
    "cut": Mishap(applies=True, cut=True),
    "429": Mishap(status=429, body=NO, headers={"Retry-After": "10"}),
    "429 for long": Mishap(status=429, body=NO, headers={"Retry-After": "90000"}),
    "401": Mishap(status=401, body=NO),
    "403": Mishap(status=403, body=NO),
    "400": Mishap(status=400, body=NO),
    "400, done": Mishap(applies=True, status=400, body=NO),
    "404": Mishap(status=404, body=NO),
    "slow": Mishap(applies=True, seconds=9),
}
OF_A_READ: Mapping[str, Mishap] = {
    "unreachable": Mishap(unreachable=True),
    "reset": Mishap(lost="reset"),
    "timeout": Mishap(lost="timeout", seconds=10),
    "500": Mishap(status=500, body=NO),
    "page": Mishap(status=200, body=PAGE),
    "404 page": Mishap(status=404, body=PAGE),
    "other words": Mishap(status=200, body={"ok": 1}),
    "empty": Mishap(status=200, body={"data": [], "appointments": [], "success": True}),
    "404": Mishap(status=404, body=NO),
    "cut": Mishap(applies=True, cut=True),
    "429": Mishap(status=429, body=NO, headers={"Retry-After": "10"}),
    "429 for long": Mishap(status=429, body=NO, headers={"Retry-After": "90000"}),
    "401": Mishap(status=401, body=NO),
    "slow": Mishap(applies=True, seconds=9),
    "lags": Mishap(applies=True, lags=True),
}


@dataclass(kw_only=True)
class Switchboard:
    """What will happen on the wire next."""

    next_cancel: dict[str, str] = field(default_factory=dict)
    """Mishap of the next cancel request, by provider."""
    next_read: dict[str, str] = field(default_factory=dict)
    weather: dict[str, str] = field(default_factory=dict)
    """Mishap of every read, by provider, until it is taken away."""
    meanwhile: dict[str, Callable[[], None]] = field(default_factory=dict)
    """What others do during the next request: by `cancel before`, `cancel after`, ..."""
    kill: str = ""
    """Where the process is killed: `cancel before`, `cancel after`, `read before`, ..."""


class Wire(httpx.BaseTransport):
    """httpx's way to the sandbox."""

    def __init__(
        self,
        sandbox: Sandbox,
        books: Mapping[str, Book],
        record: Record,
        clock: time_machine.Traveller,
        *,
        rude: bool = False,
    ) -> None:
        """*rude*: meetergo and CareValidate take a second cancellation and mail a second time."""
        self.sandbox = sandbox
        self.books = books
        self.record = record
        self.clock = clock
        self.rude = rude
        self.switchboard = Switchboard()
        self.is_dead = False
        self.is_taking_notes = False
        """While the test itself asks the database: neither dies nor meets an outage."""
        self.past: dict[str, tuple[Any, Any]] = {}
        """By provider: when it changed last, and its state before that."""

    # --- httpx's side

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_dead:
            raise Killed
        self.clock.shift(MOMENT)
        world, ours = self._received(request)
        operation = world.operation(ours)
        kind = "cancel" if operation == "cancel" else "read"
        mishap = self._mishap(world.slug, kind)
        if mishap.unreachable:
            raise httpx.ConnectError("refused", request=request)
        if (trace := request.extensions.get("trace")) is not None:
            trace("http11.send_request_headers.started", {})
        self._log(world, ours, operation)
        arrival = None
        if kind == "cancel":
            target = self.books[world.slug].target(ours)
            self.is_taking_notes = True
            arrival = self.record.note_arrival(world.slug, target, ours.body)
            self.is_taking_notes = False
        self._others(f"{kind} before")
        answer, shown = self._answer(world, ours, operation, mishap, arrival)
        answered_at = timezone.now()
        self._others(f"{kind} after")
        self.clock.shift(MOMENT + timedelta(seconds=mishap.seconds))
        if arrival is not None:
            arrival.ended_at = timezone.now()
        response = self._delivered(request, world, mishap, answer)
        if answer is not None and not (mishap.cut or mishap.status):
            self._note_shown(world.slug, operation, answer, shown, at=answered_at)
        return response

    def _received(self, request: httpx.Request) -> tuple[World, Request]:
        path = unquote(request.url.path)
        world = self.sandbox.world_at(path)
        assert world is not None, path
        raw = request.read()
        return world, Request(
            method=request.method,
            path=path.removeprefix(world.base_path) or "/",
            query=parse_qs(request.url.query.decode(), keep_blank_values=True),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=json.loads(raw) if raw else None,
        )

    def _mishap(self, slug: str, kind: str) -> Mishap:
        board = self.switchboard
        if kind == "cancel":
            name = board.next_cancel.pop(slug, "")
            if name == "400, done":
                # Who says no to what it did, and then shows what was before, deceives everybody.
                for later in (board.weather, board.next_read):
                    if later.get(slug) == "lags":
                        del later[slug]
            return OF_A_CANCEL[name] if name else Mishap(applies=True)
        name = board.next_read.pop(slug, "") or board.weather.get(slug, "")
        return OF_A_READ[name] if name else Mishap(applies=True)

    def _log(self, world: World, request: Request, operation: str) -> None:
        self.sandbox.record(
            Entry(
                provider=world.slug,
                operation=operation,
                method=request.method,
                path=request.path,
                query=request.query,
                headers={},
                body=request.body,
            )
        )

    def _others(self, moment: str) -> None:
        """Let others act while somebody waits for a provider; or have the process killed."""
        if (act := self.switchboard.meanwhile.pop(moment, None)) is not None:
            act()
        if self.switchboard.kill == moment:
            self.switchboard.kill = ""
            self.is_dead = True
            for one in self.record.arrivals[-1:]:
                one.ended_at = one.ended_at or timezone.now()
            raise Killed

    # --- the provider's side

    def _answer(
        self,
        world: World,
        request: Request,
        operation: str,
        mishap: Mishap,
        arrival: Arrival | None,
    ) -> tuple[Answer | None, dict[str, Standing]]:
        """The provider's own answer, and the bookings that it shows, as they then stood."""
        if mishap.later and arrival is not None:
            self._hold(arrival, request, mishap)
        if not mishap.applies:
            return None, {}
        if mishap.lags:
            return self._as_before(world, request, operation)
        if arrival is None:
            answer = deepcopy(self.sandbox.apply(world, request))
        else:
            answer = self.carry_out(request, arrival)
        return answer, self._shown(world, request, operation)

    def _shown(self, world: World, request: Request, operation: str) -> dict[str, Standing]:
        book = self.books[world.slug]
        standings = book.standings()
        return {one: standings[one] for one in book.shown(request, operation) if one in standings}

    def _as_before(
        self, world: World, request: Request, operation: str
    ) -> tuple[Answer | None, dict[str, Standing]]:
        changed_at, before = self.past.get(world.slug, (None, None))
        if changed_at is None or timezone.now() - changed_at > LAG:
            answer = deepcopy(self.sandbox.apply(world, request))
            return answer, self._shown(world, request, operation)
        present = world.state
        world.load(before)
        try:
            # What is left out now may be shown as it was: also what it shows is of before.
            answer = deepcopy(self.sandbox.apply(world, request))
            return answer, self._shown(world, request, operation)
        finally:
            world.load(present)

    def about_to_change(self, slug: str) -> None:
        self.past[slug] = (timezone.now(), deepcopy(self.sandbox.worlds[slug].state))

    def carry_out(self, request: Request, arrival: Arrival) -> Answer:
        """Do what a cancel request asks, and note what came of it."""
        slug = arrival.key[0]
        world, book = self.sandbox.worlds[slug], self.books[slug]
        self.about_to_change(slug)
        forgotten = self.rude and self._forget_that_it_is_cancelled(book, arrival)
        before, mails = book.standings(), len(world.mails)
        answer = deepcopy(self.sandbox.apply(world, request))
        row = book.rows().get(arrival.target.booking)
        if forgotten and row is not None and book.standing(row).is_live:
            book.cancel(row)
        changed = {one for one, now in book.standings().items() if now != before[one]}
        arrival.acted = arrival.acted or bool(changed)
        intent = arrival.cancellation
        for mail in world.mails[mails:]:
            for booking in changed or {arrival.target.booking}:
                key = (slug, booking)
                self.record.mails.append(
                    Mail(
                        key=key,
                        life=self.record.lives[key],
                        to=mail["to"],
                        cancellation=intent.pk if intent else None,
                    )
                )
        return answer

    def _forget_that_it_is_cancelled(self, book: Book, arrival: Arrival) -> bool:
        row = book.rows().get(arrival.target.booking)
        if book.world.slug not in ("meetergo", "carevalidate") or arrival.target.person:
            return False
        if row is None or book.standing(row).is_live:
            return False
        book.reopen(row)
        return True

    def act_late(self, held: Held) -> None:
        held.is_over = True
        self.carry_out(held.request, held.arrival)

    def _hold(self, arrival: Arrival, request: Request, mishap: Mishap) -> None:
        ends_at = timezone.now() + timedelta(seconds=mishap.seconds)
        arrival.held = Held(
            key=arrival.key, request=request, arrival=arrival, until=ends_at + QUIET
        )
        self.record.held.append(arrival.held)

    # --- the way back

    def _delivered(
        self, request: httpx.Request, world: World, mishap: Mishap, answer: Answer | None
    ) -> httpx.Response:
        if mishap.lost == "timeout":
            raise httpx.ReadTimeout("deadline", request=request)
        if mishap.lost == "reset":
            raise httpx.ReadError("reset", request=request)
        if mishap.status is not None:
            answer = Answer(status=mishap.status, body=mishap.body, headers=mishap.headers)
        assert answer is not None
        return _response(request, answer, slug=world.slug, cut=mishap.cut)

    def _note_shown(
        self,
        slug: str,
        operation: str,
        answer: Answer,
        shown: Mapping[str, Standing],
        *,
        at: datetime,
    ) -> None:
        """Note what an answer that arrived whole says of the bookings, as of when it was given."""
        if operation == "cancel" and not _speaks_of_the_booking(slug, answer):
            return
        self.record.note_shown(slug, shown, at=at)


def _speaks_of_the_booking(slug: str, answer: Answer) -> bool:
    """Whether the answer to a cancel request says, as documented, how the booking stands now."""
    return answer.status in (200, 201) or (slug == "mijnklantportaal" and answer.status == 409)


def _response(
    request: httpx.Request, answer: Answer, *, slug: str, cut: bool = False
) -> httpx.Response:
    if isinstance(answer.body, str):
        content, kind = answer.body.encode(), "text/html"
    else:
        content, kind = json.dumps(_worded(slug, answer)).encode(), "application/json"
    return httpx.Response(
        answer.status,
        headers={"Content-Type": kind, **answer.headers},
        content=content[: len(content) // 2] if cut else content,
        request=request,
    )


def _worded(slug: str, answer: Answer) -> Any:
    """A refusal as each provider words it."""
    if answer.body is not NO:
        return answer.body
    body = {**NO, "status": answer.status}
    if slug == "huskyvoice":
        body["error"] = {"code": "VALIDATION_ERROR", "message": "No"}
    return body
