"""
A server that behaves as badly as the network allows, with the sandbox's four providers behind it.

It speaks over sockets of its own, byte by byte, because no library's server can cut a chunk, drip
a header or refuse the second connection. What it answers with is the sandbox's true answer, so a
test can ask afterwards what really happened at the provider: was it cancelled, who was mailed.

    Fault           one way to misbehave, as plain data
      Says ...      on the wire: meets a request of the operation it is meant for
      AtTheDoor     when connecting: lets some connections in first, so that "it can be read, but
                    the cancellation cannot be sent" is possible
      Inside        on our side of the wire: names that are not found, no free connection
    RudeServer      the server; `during` switches one fault on for a while
"""

from __future__ import annotations

import gzip
import json
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from itertools import count
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qs, unquote, urlsplit

import httpcore
import pytest

from appointments.providers import transport
from appointments.sandbox.core import Answer, Entry, Request, Sandbox, World
from tests.faults.certificates import trusted, untrusted

type Where = Literal["look", "cancel", "list"]
"""What fails: the read just before sending, the cancellation itself, or the refreshing."""

SECRETS = ("authorization", "cv-api-key")
CHUNK = b"x" * 65536
FLOOD = 100_000_000
"""Bytes."""
BOMB = 30_000_000
"""Bytes, unpacked; on the wire it is a thousandth of that."""
PATIENCE = 10.0
"""Seconds until the server gives up on a client of a broken test."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One way to misbehave."""

    applied: bool = False
    """Whether the provider carries the cancellation out all the same."""
    takes_its_time: ClassVar[bool] = False
    """Only a deadline ends it, so tests shorten the deadlines."""
    arrives: ClassVar[bool] = True
    """Whether the provider gets to see the request."""
    wants_tls: ClassVar[bool] = False

    def meet(self, caller: Caller) -> None:
        """Treat one request."""
        # Not abstract: a fault of our own side (`Inside`) never meets a caller.
        raise NotImplementedError


class Caller:
    """One request on one connection, and what can be done to it."""

    def __init__(
        self,
        server: RudeServer,
        connection: socket.socket,
        world: World,
        request: Request,
        *,
        is_first: bool,
    ) -> None:
        self.server = server
        self.connection = connection
        self.world = world
        self.request = request
        self.is_first = is_first
        """On its connection."""
        self.is_over = False

    @property
    def slug(self) -> str:
        return self.world.slug

    def served(self) -> Answer:
        """What the provider would have answered; it has done what was asked."""
        return self.server.sandbox.apply(self.world, self.request)

    def served_if(self, applied: bool) -> None:
        if applied or self.request.method == "GET":
            self.served()

    def send(self, answer: Answer) -> None:
        body = body_of(answer)
        self.write(head_of(answer, length=len(body)) + body)

    def write(self, raw: bytes) -> None:
        self.connection.sendall(raw)
        self.server.sent += len(raw)

    def hang_up(self) -> None:
        self.is_over = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        self.is_over = True
        reset(self.connection)

    def wait_for_goodbye(self) -> None:
        """Say nothing until the client has had enough."""
        with suppress(OSError):
            while self.connection.recv(4096):
                pass
        self.is_over = True


def reset(connection: socket.socket) -> None:
    """Close with RST, as a crashing peer does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def body_of(answer: Answer) -> bytes:
    if answer.body is None:
        return b""
    if isinstance(answer.body, bytes):
        return answer.body
    if isinstance(answer.body, str):
        return answer.body.encode()
    return json.dumps(answer.body).encode()


def head_of(answer: Answer, *, length: int | None) -> bytes:
    """Status line and headers; without *length* the end of the body is the end of it all."""
    names = {name.lower() for name in answer.headers}
    lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    if answer.body is not None and "content-type" not in names:
        kind = "text/html; charset=utf-8" if isinstance(answer.body, str) else "application/json"
        lines.append(f"Content-Type: {kind}")
    if length is not None and answer.status != HTTPStatus.NO_CONTENT:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus else "Odd"


# --- faults on the wire -----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Works(Fault):
    """No fault at all: what the others are compared with."""

    applied: bool = True

    def meet(self, caller: Caller) -> None:
        caller.send(caller.served())


@dataclass(frozen=True, kw_only=True)
class Says(Fault):
    """Something else than the provider's own answer."""

    status: int
    body: Any = None
    """JSON-able; text is a web page, bytes go out as they are."""
    headers: Mapping[str, str] = field(default_factory=dict)
    only: Mapping[str, Any] = field(default_factory=dict)
    """By provider: a body in place of *body*."""

    def meet(self, caller: Caller) -> None:
        caller.served_if(self.applied)
        body = self.only.get(caller.slug, self.body)
        caller.send(Answer(status=self.status, body=body, headers=self.headers))


@dataclass(frozen=True, kw_only=True)
class Redirects(Fault):
    """Sends us to another address, where a server counts its visitors."""

    status: int
    location: str = ""
    """Empty: the server that counts."""

    def meet(self, caller: Caller) -> None:
        caller.served_if(self.applied)
        headers = {"Location": self.location or f"{caller.server.elsewhere_url}/cancelled"}
        caller.send(Answer(status=self.status, body={}, headers=headers))


@dataclass(frozen=True, kw_only=True)
class Twists(Fault):
    """The provider's own answer, with something about it changed."""

    applied: bool = True
    change: Callable[[str, Any], Any] = lambda _slug, body: body
    """From provider and body to another body: JSON-able, or bytes as they go out."""
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int | None = None

    def meet(self, caller: Caller) -> None:
        answer = caller.served()
        # Through text and back, so that a change never reaches into the provider's own book.
        body = self.change(caller.slug, json.loads(json.dumps(answer.body)))
        headers = {**answer.headers, **self.headers}
        caller.send(Answer(status=self.status or answer.status, body=body, headers=headers))


@dataclass(frozen=True, kw_only=True)
class Resets(Fault):
    """Breaks the connection, perhaps in the middle of its answer."""

    midway: bool = False

    def meet(self, caller: Caller) -> None:
        if self.midway:
            answer = caller.served()
            body = body_of(answer)
            caller.write(head_of(answer, length=len(body)) + body[: len(body) // 2])
            # Else the RST may overtake what was sent, and it would be no "in the middle".
            time.sleep(0.05)
        else:
            caller.served_if(self.applied)
        caller.reset()


@dataclass(frozen=True, kw_only=True)
class Closes(Fault):
    """Hangs up properly, without a word."""

    def meet(self, caller: Caller) -> None:
        caller.served_if(self.applied)
        caller.hang_up()


@dataclass(frozen=True, kw_only=True)
class Hangs(Fault):
    """Never says anything."""

    takes_its_time: ClassVar[bool] = True

    def meet(self, caller: Caller) -> None:
        caller.served_if(self.applied)
        caller.wait_for_goodbye()


@dataclass(frozen=True, kw_only=True)
class Drips(Fault):
    """Sends a byte now and then, so that no pause is ever long."""

    applied: bool = True
    part: Literal["headers", "body"]
    takes_its_time: ClassVar[bool] = True

    def meet(self, caller: Caller) -> None:
        answer = caller.served()
        caller.write(
            f"HTTP/1.1 {answer.status} OK\r\nX-Slow: ".encode()
            if self.part == "headers"
            else head_of(answer, length=100_000)
        )
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and not caller.server.stopping.wait(0.05):
            caller.write(b" ")
        caller.hang_up()


@dataclass(frozen=True, kw_only=True)
class Cuts(Fault):
    """Ends its answer too early; *how* it had announced its length."""

    applied: bool = True
    how: Literal["length", "chunks", "nothing"]

    def meet(self, caller: Caller) -> None:
        answer = caller.served()
        body = body_of(answer)
        half = body[: len(body) // 2]
        match self.how:
            case "length":
                caller.write(head_of(answer, length=len(body)) + half)
            case "nothing":
                caller.write(head_of(answer, length=None) + half)
            case "chunks":
                chunked = Answer(
                    status=answer.status,
                    body=answer.body,
                    headers={**answer.headers, "Transfer-Encoding": "chunked"},
                )
                caller.write(head_of(chunked, length=None) + b"%x\r\n" % len(half) + half + b"\r\n")
        caller.hang_up()


@dataclass(frozen=True, kw_only=True)
class Floods(Fault):
    """Sends a hundred megabytes, or as much of it as anybody wants to have."""

    applied: bool = True

    def meet(self, caller: Caller) -> None:
        answer = caller.served()
        caller.write(head_of(answer, length=FLOOD))
        try:
            for _ in range(FLOOD // len(CHUNK)):
                caller.write(CHUNK)
        finally:
            caller.hang_up()


@dataclass(frozen=True, kw_only=True)
class Bombs(Fault):
    """A small packed body that would unfold to a large one."""

    applied: bool = True

    def meet(self, caller: Caller) -> None:
        answer = caller.served()
        packed = Answer(
            status=answer.status,
            body=_bomb(),
            headers={**answer.headers, "Content-Encoding": "gzip"},
        )
        caller.send(packed)


@cache
def _bomb() -> bytes:
    return gzip.compress(b" " * BOMB)


@dataclass(frozen=True, kw_only=True)
class BreaksOnReuse(Fault):
    """Answers once on each connection: a second request on it finds it stale."""

    applied: bool = True

    def meet(self, caller: Caller) -> None:
        if caller.is_first:
            caller.send(caller.served())
        else:
            caller.reset()


@dataclass(frozen=True, kw_only=True)
class Lags(Fault):
    """Goes on showing what it showed before the cancellation."""

    def meet(self, caller: Caller) -> None:
        caller.send(caller.server.remembered(caller) or caller.served())


@dataclass(frozen=True, kw_only=True)
class Forgets(Fault):
    """Does not show the booking any more, and says nothing of why."""

    def meet(self, caller: Caller) -> None:
        if caller.world.operation(caller.request) == "list":
            answer = caller.served()
            body = {
                name: [] if isinstance(value, list) else value
                for name, value in answer.body.items()
            }
            caller.send(Answer(status=200, body=body, headers=answer.headers))
            return
        body = {"message": "Not found", "status": 404, "success": False}
        caller.send(Answer(status=404, body=body))


# --- faults at the door -----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class AtTheDoor(Fault):
    """A fault of connecting. Nothing of a request is ever read."""

    arrives: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class Refuses(AtTheDoor):
    """Nobody listens."""


@dataclass(frozen=True, kw_only=True)
class ResetsAtOnce(AtTheDoor):
    """Lets us in and breaks the connection before a word is read."""


@dataclass(frozen=True, kw_only=True)
class WrongCertificate(AtTheDoor):
    """Cannot prove that it is the provider."""

    wants_tls: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class SilentHandshake(AtTheDoor):
    """Lets us in and never says hello."""

    takes_its_time: ClassVar[bool] = True
    wants_tls: ClassVar[bool] = True


# --- faults on our side -----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Inside(Fault):
    """A fault of our own machine or network, put in place for a while."""

    arrives: ClassVar[bool] = False

    def install(self, patch: pytest.MonkeyPatch, *, spare: int, method: str) -> None:
        """*spare*: how many connections work first. *method*: of the request that fails."""
        raise NotImplementedError  # Each kind below says how; there is no common way.


@dataclass(frozen=True, kw_only=True)
class NameNotFound(Inside):
    """The provider's name leads nowhere."""

    def install(self, patch: pytest.MonkeyPatch, *, spare: int, method: str) -> None:
        def fail() -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        patch_lookup(patch, spare=spare, then=fail)


@dataclass(frozen=True, kw_only=True)
class NameTakesTooLong(Inside):
    """The provider's name is looked up for ever."""

    takes_its_time: ClassVar[bool] = True

    def install(self, patch: pytest.MonkeyPatch, *, spare: int, method: str) -> None:
        patch_lookup(patch, spare=spare, then=lambda: time.sleep(1.5))


def patch_lookup(patch: pytest.MonkeyPatch, *, spare: int, then: Callable[[], None]) -> None:
    real, looked_up = socket.getaddrinfo, count(1)

    def lookup(*args: Any, **named: Any) -> Any:
        # Connecting looks the number up that a name has led to, in another spelling.
        if "type" in named and next(looked_up) > spare:
            then()
        return real(*args, **named)

    patch.setattr(socket, "getaddrinfo", lookup)


@dataclass(frozen=True, kw_only=True)
class NoFreeConnection(Inside):
    """All our own connections are taken."""

    def install(self, patch: pytest.MonkeyPatch, *, spare: int, method: str) -> None:
        real = httpcore.ConnectionPool.handle_request

        def handle(self: httpcore.ConnectionPool, request: httpcore.Request) -> httpcore.Response:
            if (request.method == b"GET") == (method == "GET"):
                raise httpcore.PoolTimeout
            return real(self, request)

        patch.setattr(httpcore.ConnectionPool, "handle_request", handle)


@dataclass(frozen=True, kw_only=True)
class StuckWhileSending(Inside):
    """The network takes nothing more of our request, and time runs out."""

    def install(self, patch: pytest.MonkeyPatch, *, spare: int, method: str) -> None:
        real = transport._DeadlineStream.write
        heads = (b"GET ",) if method == "GET" else (b"POST ", b"PATCH ", b"DELETE ")

        def write(self: Any, buffer: bytes, timeout: float | None = None) -> None:
            if buffer.startswith(heads):
                raise httpcore.WriteTimeout
            real(self, buffer, timeout)

        patch.setattr(transport._DeadlineStream, "write", write)


# --- the server -------------------------------------------------------------------------------


class RudeServer:
    """The four providers on one loopback port, honest until `during` says otherwise."""

    def __init__(self, sandbox: Sandbox, *, tls: bool = False) -> None:
        self.sandbox = sandbox
        self.stopping = threading.Event()
        self.sent = 0
        """Bytes."""
        self.remembers = False
        """Whether to keep what is shown, for `Lags`."""
        self._scheme = "https" if tls else "http"
        self._plan: tuple[Where, Fault] | None = None
        self._then: Fault | None = None
        self._is_then = False
        self._shown: dict[str, Answer] = {}
        self._door: AtTheDoor | None = None
        self._spare = 0
        self._lock = threading.Lock()
        self._listener = _listen(0)
        self._port: int = self._listener.getsockname()[1]
        self._elsewhere = _listen(0)
        self._elsewhere.setblocking(False)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._port}"

    def base_url(self, slug: str) -> str:
        return self.url + self.sandbox.worlds[slug].base_path

    @property
    def elsewhere_url(self) -> str:
        return f"http://127.0.0.1:{self._elsewhere.getsockname()[1]}"

    def was_visited_elsewhere(self) -> bool:
        """Whether anybody followed a redirect."""
        try:
            self._elsewhere.accept()[0].close()
        except BlockingIOError:
            return False
        return True

    def stop(self) -> None:
        self.stopping.set()
        _shut(self._listener)
        self._elsewhere.close()

    def remembered(self, caller: Caller) -> Answer | None:
        """What was last shown in answer to this very request while all was well."""
        return self._shown.get(_key(caller))

    @contextmanager
    def afterwards(self, fault: Fault | None) -> Iterator[None]:
        """Have every read meet *fault* from the next cancellation on, until the block ends."""
        self._then, self._is_then = fault, False
        self.remembers = isinstance(fault, Lags)
        try:
            yield
        finally:
            self._then, self._is_then = None, False

    @contextmanager
    def during(self, fault: Fault, where: Where) -> Iterator[None]:
        """Have everything of *where* meet *fault* until the block ends."""
        spare = 1 if where == "cancel" else 0
        with pytest.MonkeyPatch.context() as patch:
            if isinstance(fault, Inside):
                fault.install(patch, spare=spare, method="POST" if spare else "GET")
            elif isinstance(fault, AtTheDoor):
                self._guard_door(fault, spare=spare)
            else:
                self._plan = (where, fault)
            try:
                yield
            finally:
                self._plan = self._door = None
                self._reopen()

    # --- connecting

    def _guard_door(self, fault: AtTheDoor, *, spare: int) -> None:
        with self._lock:
            self._door, self._spare = fault, spare
        if isinstance(fault, Refuses) and not spare:
            _shut(self._listener)

    def _reopen(self) -> None:
        if self._listener.fileno() != -1:
            return
        self._listener = _listen(self._port)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            door = self._door_for(listener)
            threading.Thread(target=self._serve, args=(connection, door), daemon=True).start()

    def _door_for(self, listener: socket.socket) -> AtTheDoor | None:
        """The fault that a new connection meets."""
        with self._lock:
            if self._door is None:
                return None
            self._spare -= 1
            if self._spare < 0:
                return self._door
            if self._spare == 0 and isinstance(self._door, Refuses):
                # Whoever is in may stay; nobody else gets in.
                _shut(listener)
            return None

    def _serve(self, connection: socket.socket, door: AtTheDoor | None) -> None:
        connection.settimeout(PATIENCE)
        with suppress(OSError), connection:
            if isinstance(door, ResetsAtOnce):
                # Not sooner, or it may look as if nobody had let us in.
                select.select([connection], [], [], PATIENCE)
                reset(connection)
                return
            if isinstance(door, SilentHandshake):
                while connection.recv(4096):
                    pass
                return
            if self._scheme == "https":
                context = untrusted() if isinstance(door, WrongCertificate) else trusted()
                with context.server_side.wrap_socket(connection, server_side=True) as secured:
                    self._talk(secured)
                return
            self._talk(connection)

    # --- talking

    def _talk(self, connection: socket.socket) -> None:
        for number in count():
            if (request := _read_request(connection)) is None:
                return
            world = self.sandbox.world_at(request.path)
            if world is None:
                raise OSError(f"No provider lives at {request.path}.")
            below = Request(
                method=request.method,
                path=request.path.removeprefix(world.base_path) or "/",
                query=request.query,
                headers=request.headers,
                body=request.body,
            )
            caller = Caller(self, connection, world, below, is_first=number == 0)
            self._fault_for(caller).meet(caller)
            if caller.is_over:
                return

    def _remember(self, caller: Caller) -> None:
        """Keep what a read shows, as text: the provider's book goes on changing."""
        answer = caller.served()
        self._shown[_key(caller)] = Answer(
            status=answer.status,
            body=json.loads(json.dumps(answer.body)),
            headers=answer.headers,
        )

    def _fault_for(self, caller: Caller) -> Fault:
        request = caller.request
        operation = caller.world.operation(request)
        self.sandbox.record(
            Entry(
                provider=caller.slug,
                operation=operation,
                method=request.method,
                path=request.path,
                query=request.query,
                headers={
                    name: value for name, value in request.headers.items() if name not in SECRETS
                },
                body=request.body,
            )
        )
        fault = self._planned(operation, is_read=request.method == "GET")
        if self.remembers and request.method == "GET" and fault == Works():
            self._remember(caller)
        return fault

    def _planned(self, operation: str, *, is_read: bool) -> Fault:
        if is_read and self._is_then and self._then is not None:
            return self._then
        self._is_then = self._is_then or operation == "cancel"
        if self._plan is None:
            return Works()
        where, fault = self._plan
        meant = is_read if where == "look" else operation == where
        return fault if meant or isinstance(fault, BreaksOnReuse) else Works()


def _key(caller: Caller) -> str:
    return f"{caller.slug} {caller.request.path} {sorted(caller.request.query.items())}"


def _listen(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port), backlog=32)


def _shut(listener: socket.socket) -> None:
    """Stop listening at once: `close` alone would wait for the thread that is in `accept`."""
    with suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def _read_request(connection: socket.socket) -> Request | None:
    """The next request, head and body; None once the client has gone."""
    received = b""
    while b"\r\n\r\n" not in received:
        if not (more := connection.recv(65536)):
            return None
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    while len(body) < int(headers.get("content-length", "0")):
        if not (more := connection.recv(65536)):
            return None
        body += more
    method, target, _version = first.split(" ")
    parts = urlsplit(target)
    return Request(
        method=method,
        path=unquote(parts.path),
        query=parse_qs(parts.query, keep_blank_values=True),
        headers=headers,
        body=json.loads(body) if body else None,
    )
