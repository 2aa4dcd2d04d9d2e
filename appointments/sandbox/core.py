"""
A local HTTP server that behaves as the four providers do, with real state.

Used by the demo, for training, and by the tests. It is never a part of production: settings
refuse it there, and nothing outside the demo command, the sandbox command and the tests imports it.

    Sandbox         the worlds, the faults that are switched on, and the log of requests
    World           one provider: its state and its answers; one subclass each
    Fault           one way to misbehave, for the next N requests of an operation
    SandboxServer   the HTTP side

A world lives under a path of its own (`/meetergo/...`), so that one port serves all four. The
state is plain JSON, so it can be kept in a file and compared in a test.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from appointments.sandbox.people import Person

type Json = dict[str, Any]

MALFORMED = object()
"""Body of a request that is not JSON."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What arrived, below the world's own path."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: Any = None
    """Parsed JSON, None without a body, MALFORMED if it is no JSON."""

    def one(self, name: str, default: str = "") -> str:
        return self.query.get(name, [default])[0]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What goes back. *body*: JSON-able, or text for HTML, or None for no body."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


type FaultKind = Literal[
    "latency",  # wait *seconds*, then go on as usual
    "status",  # answer *status* with *body*; nothing is applied
    "replace",  # apply, then answer *status* with *body* instead
    "lose_answer",  # apply, then reset the connection
    "reset",  # reset the connection; nothing is applied
    "hang",  # nothing is applied, and no answer comes for *seconds*
    "hang_after",  # apply, then no answer comes for *seconds*
    "html",  # a web page instead of an answer; nothing is applied
    "truncate",  # apply, then cut the body in the middle without saying so
    "drip",  # apply, then send the headers a byte a second for *seconds*
]


@dataclass(kw_only=True)
class Fault:
    """One way to misbehave."""

    provider: str
    """A slug, or `*`."""
    operation: str = "*"
    """`list`, `read`, `cancel`, `schedule`, ... as `World.operation` names it, or `*`."""
    kind: FaultKind
    times: int | None = 1
    """How many requests; None: until it is cleared."""
    seconds: float = 0.0
    status: int = 500
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def concerns(self, provider: str, operation: str) -> bool:
        return self.provider in ("*", provider) and self.operation in ("*", operation)


@dataclass(kw_only=True)
class Entry:
    """One request in the log, credentials left out. Logged on arrival, before any answer."""

    provider: str
    operation: str
    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: Any
    status: int | None = None
    """None: no answer was sent (yet)."""

    @property
    def line(self) -> str:
        return f"{self.method} {self.path}"


class World(ABC):
    """One provider: state, rules, answers."""

    slug: ClassVar[str]
    label: ClassVar[str]
    base_path: ClassVar[str]
    """Path of the base URL under the server's root, as `/mijnklantportaal/v1`."""
    credentials: ClassVar[Mapping[str, str]]
    """Credentials that this world accepts, as `manage.py connect` takes them."""
    time_zone: ClassVar[str] = "Europe/Amsterdam"
    """Where the practice is: the zone that its connection should be given."""

    def __init__(self) -> None:
        self.state: Json = self.empty()
        self.mails: list[Json] = self.state.setdefault("mails", [])

    def load(self, state: Json) -> None:
        self.state = state
        self.mails = state.setdefault("mails", [])

    @abstractmethod
    def empty(self) -> Json:
        """State without a single booking."""

    @abstractmethod
    def operation(self, request: Request) -> str:
        """Name of what is asked: `list`, `read`, `cancel`, `schedule`, or another word."""

    @abstractmethod
    def answer(self, request: Request) -> Answer:
        """Check the key, do what is asked, answer as the provider would. Called under a lock."""

    @abstractmethod
    def seed(self, *, now: datetime, people: Sequence[Person], random: Random) -> None:
        """Fill the world with believable bookings around *now*, for the demo."""

    def tally(self) -> tuple[int, int] | None:
        """Bookings, and how many of them are cancelled, for the control page; None: not counted."""
        return None

    def mail(self, to: str, what: str) -> None:
        """Note a mail that the provider would send, so that a test can count them."""
        self.mails.append({"to": to, "what": what})


class Sandbox:
    """All worlds behind one door."""

    def __init__(self, worlds: Iterable[World], *, file: Path | None = None) -> None:
        """*file* keeps the state across restarts."""
        self.worlds = {world.slug: world for world in worlds}
        self.faults: list[Fault] = []
        self.log: list[Entry] = []
        self.lock = threading.Lock()
        self.file = file
        if file is not None and file.exists():
            for slug, state in json.loads(file.read_text(encoding="utf-8")).items():
                if slug in self.worlds:
                    self.worlds[slug].load(state)

    def add_fault(self, fault: Fault) -> None:
        with self.lock:
            self.faults.append(fault)

    def clear_faults(self) -> None:
        with self.lock:
            self.faults.clear()

    def received(self, provider: str, operation: str = "*") -> list[str]:
        """Lines such as `POST /v4/appointment/…/cancel`, in order of arrival."""
        with self.lock:
            return [
                entry.line
                for entry in self.log
                if entry.provider == provider and operation in ("*", entry.operation)
            ]

    def save(self) -> None:
        if self.file is None:
            return
        text = json.dumps({slug: world.state for slug, world in self.worlds.items()})
        fresh = self.file.with_suffix(".new")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(self.file)

    def world_at(self, path: str) -> World | None:
        for world in self.worlds.values():
            if path == world.base_path or path.startswith(world.base_path + "/"):
                return world
        return None

    def take_fault(self, provider: str, operation: str) -> Fault | None:
        """The first fault that concerns this request; counts it down."""
        with self.lock:
            for fault in self.faults:
                if not fault.concerns(provider, operation):
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self.faults.remove(fault)
                return fault
        return None

    def apply(self, world: World, request: Request) -> Answer:
        with self.lock:
            answer = world.answer(request)
            if request.method != "GET":
                self.save()
            return answer

    def record(self, entry: Entry) -> None:
        with self.lock:
            self.log.append(entry)
            del self.log[:-5000]


class SandboxServer(ThreadingHTTPServer):
    """Serves a sandbox on loopback. `port=0` picks a free one; `start` runs it in a thread."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, sandbox: Sandbox, *, port: int = 0) -> None:
        self.sandbox = sandbox
        self.stopping = threading.Event()
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def base_url(self, slug: str) -> str:
        """What to give `manage.py connect` as `--base-url`."""
        return self.url + self.sandbox.worlds[slug].base_path

    def start(self) -> None:
        threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    def stop(self) -> None:
        self.stopping.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is none of our business."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SandboxServer

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PATCH = do_DELETE = do_PUT = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """The sandbox's own log says more."""

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length) if length else b""
        if path == "/" or path.startswith("/_control"):
            from appointments.sandbox.control import control

            headers = {name.lower(): value for name, value in self.headers.items()}
            self._send(control(self.server, self.command, path, raw, headers=headers))
            return
        world = self.server.sandbox.world_at(path)
        if world is None:
            self._send(Answer(status=404, body={"message": "No such provider in the sandbox."}))
            return
        request = Request(
            method=self.command,
            path=path.removeprefix(world.base_path) or "/",
            query=parse_qs(parts.query, keep_blank_values=True),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=_parsed(raw),
        )
        operation = world.operation(request)
        fault = self.server.sandbox.take_fault(world.slug, operation)
        entry = Entry(
            provider=world.slug,
            operation=operation,
            method=request.method,
            path=request.path,
            query=request.query,
            headers={
                name: value
                for name, value in request.headers.items()
                if name not in ("authorization", "cv-api-key")
            },
            body=None if request.body is MALFORMED else request.body,
        )
        self.server.sandbox.record(entry)
        entry.status = self._misbehave(world, request, fault)

    def _misbehave(self, world: World, request: Request, fault: Fault | None) -> int | None:
        """Answer, or fail as *fault* says; the status that was sent, None if there was none."""
        sandbox = self.server.sandbox
        if fault is None:
            return self._send(sandbox.apply(world, request))
        instead = Answer(status=fault.status, body=fault.body, headers=fault.headers)
        match fault.kind:
            case "latency":
                self._wait(fault.seconds)
                return self._send(sandbox.apply(world, request))
            case "status":
                return self._send(instead)
            case "html":
                page = "<!doctype html><title>Gateway</title><h1>Bad gateway</h1>"
                return self._send(Answer(status=fault.status, body=page))
            case "replace":
                sandbox.apply(world, request)
                return self._send(instead)
            case "truncate":
                return self._truncate(sandbox.apply(world, request))
            case "drip":
                self._drip(sandbox.apply(world, request), fault.seconds)
            case "lose_answer":
                sandbox.apply(world, request)
            case "hang_after":
                sandbox.apply(world, request)
                self._wait(fault.seconds)
            case "hang":
                self._wait(fault.seconds)
            case "reset":
                pass
        self._reset()
        return None

    def _send(self, answer: Answer) -> int:
        body, kind = _body_of(answer)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if kind and "content-type" not in {name.lower() for name in answer.headers}:
            self.send_header("Content-Type", kind)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return answer.status

    def _truncate(self, answer: Answer) -> int:
        body, kind = _body_of(answer)
        self.close_connection = True
        self.send_response(answer.status)
        self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        return answer.status

    def _drip(self, answer: Answer, seconds: float) -> None:
        self.close_connection = True
        end = time.monotonic() + seconds
        self.wfile.write(f"HTTP/1.1 {answer.status} OK\r\nX-Slow: ".encode())
        while time.monotonic() < end and not self.server.stopping.wait(0.2):
            self.wfile.write(b"z")
            self.wfile.flush()

    def _wait(self, seconds: float) -> None:
        if seconds:
            self.server.stopping.wait(seconds)

    def _reset(self) -> None:
        """Close with RST, as a crashing peer does."""
        self.close_connection = True
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        # The handler's files hold the socket open: only closing all of them sends the RST.
        self.rfile.close()
        self.connection.close()


def _body_of(answer: Answer) -> tuple[bytes, str]:
    if answer.body is None:
        return b"", ""
    if isinstance(answer.body, bytes):
        return answer.body, "application/octet-stream"
    if isinstance(answer.body, str):
        return answer.body.encode(), "text/html; charset=utf-8"
    return json.dumps(answer.body).encode(), "application/json"


def _parsed(raw: bytes) -> Any:
    if not raw:
        return None
    try:
        return json.loads(raw)
    except ValueError:
        return MALFORMED
