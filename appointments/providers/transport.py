"""
The one place that talks to the network, and the one that imports httpx.

Reads go over a kept-alive connection and may be repeated by whoever calls. A write goes over a
fresh connection, exactly once, with nothing kept alive that could be stale, no retry and no
redirect. Both stand under a total deadline that covers name lookup, connect, TLS, sending,
headers and body: httpx's own timeouts restart with every byte, so a server that drips would
otherwise hold us for as long as it likes. (Observed: one header byte a second held a client
with `timeout=1` for 13 seconds.) The deadline is kept by a network backend that gives every socket
operation only the time that is left, and that also refuses addresses inside our own network at
the moment of connecting, when a name can no longer change its meaning.

*Not sent* is claimed on evidence only: the trace event `send_request_headers.started` never
fired, and the error is one that occurs before sending.
"""

from __future__ import annotations

import ipaddress
import json
import math
import socket
import ssl
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpcore
import httpx

from appointments.domain import (
    AccessDenied,
    AnswerLost,
    AnswerNotUnderstood,
    CredentialsRejected,
    Gate,
    NotSent,
    ProviderError,
    RateLimited,
)
from appointments.providers.reading import Json

WRITE_DEADLINE = 20.0
"""Seconds, total, for one cancel or booking."""
READ_DEADLINE = 10.0
PAGE_DEADLINE = 30.0
WRITE_BODY_LIMIT = 1_000_000
"""Bytes."""
READ_BODY_LIMIT = 5_000_000
SANE_WAIT = timedelta(days=1)
"""A figure above this is taken for nonsense."""

type Params = Mapping[str, str | int | Sequence[str]]
"""Of a query. A sequence repeats its name, once for each of its values."""

_deadline: ContextVar[float] = ContextVar("deadline")
_resolver = ThreadPoolExecutor(max_workers=16, thread_name_prefix="resolve")

USER_AGENT = "appointment-portal/1"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A whole answer: status, headers, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_empty(self) -> bool:
        return not self.body.strip()

    def json(self) -> Any:
        """
        The body as JSON.

        Raises:
            AnswerNotUnderstood: not JSON, or JSON that no sane server writes.
        """
        kind = self.headers.get("content-type", "application/json")
        if "json" not in kind.split(";")[0].lower():
            raise AnswerNotUnderstood("not_json", status=self.status)
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise AnswerNotUnderstood("broken_json", status=self.status) from error

    def object(self) -> Json:
        """The body as a JSON object; raises as `json` does."""
        body = self.json()
        if not isinstance(body, dict):
            raise AnswerNotUnderstood("not_an_object", status=self.status)
        return body


class ProviderHttp:
    """HTTP to one account. Adapters use `read` and `write` and nothing else."""

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str],
        rehearsal: bool = False,
        default_wait: int = 30,
        write_deadline: float = WRITE_DEADLINE,
        gate: Gate | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """
        *default_wait* and *write_deadline* are seconds. *gate* is asked before each request.
        *transport* replaces the network, for tests.
        """
        self.base_url = base_url.rstrip("/") + "/"
        self.headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": USER_AGENT,
            **headers,
        }
        self.rehearsal = rehearsal
        self.default_wait = timedelta(seconds=default_wait)
        self.write_deadline = write_deadline
        self.gate = gate or Gate()
        self._transport = transport
        self._reader: httpx.Client | None = None

    def read(
        self,
        path: str,
        *,
        params: Params | None = None,
        expect: Collection[int] = (200,),
        deadline: float = READ_DEADLINE,
    ) -> Reply:
        """
        GET *path*.

        Raises:
            ProviderError: nothing was changed, whatever the error; reads may be repeated.
        """
        if self._reader is None:
            self._reader = self._client(keep_alive=True)
        request = self._reader.build_request("GET", path.lstrip("/"), params=params)
        reply = self._exchange(self._reader, request, seconds=deadline, body_limit=READ_BODY_LIMIT)
        return self._expected(reply, expect)

    def write(
        self, method: str, path: str, *, payload: Json | None = None, expect: Collection[int]
    ) -> Reply:
        """
        Send one request that changes something, exactly once.

        *payload* is sent as JSON; None sends no body at all.

        Raises:
            ProviderError: `may_have_happened` says whether the provider may have acted.
        """
        with self._client(keep_alive=False) as client:
            request = client.build_request(method, path.lstrip("/"), json=payload)
            reply = self._exchange(
                client, request, seconds=self.write_deadline, body_limit=WRITE_BODY_LIMIT
            )
        return self._expected(reply, expect)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _client(self, *, keep_alive: bool) -> httpx.Client:
        transport = self._transport or _GuardedTransport(
            rehearsal=self.rehearsal, keep_alive=keep_alive
        )
        return httpx.Client(
            base_url=self.base_url,
            headers=self.headers,
            transport=transport,
            cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
            # Sockets obey the deadline instead; waiting for a free connection is httpx's own.
            timeout=httpx.Timeout(None, pool=WRITE_DEADLINE),
            follow_redirects=False,
            trust_env=False,
        )

    def _exchange(
        self,
        client: httpx.Client,
        request: httpx.Request,
        *,
        seconds: float,
        body_limit: int,
    ) -> Reply:
        self.gate.admit()
        sent = False

        def trace(event: str, _info: object) -> None:
            nonlocal sent
            sent = sent or event.endswith("send_request_headers.started")

        request.extensions["trace"] = trace
        with within(seconds):
            try:
                response = client.send(request, stream=True)
                try:
                    body = _capped(response, body_limit)
                finally:
                    response.close()
            except _BEFORE_SENDING as error:
                if sent:
                    raise AnswerLost(_code(error)) from error
                raise NotSent(_code(error)) from error
            except httpx.HTTPError as error:
                raise AnswerLost(_code(error)) from error
            except (httpx.InvalidURL, ValueError) as error:
                # httpx reads a Location even if it is not to follow it, and some cannot be read.
                raise AnswerLost("connection") from error
        reply = Reply(status=response.status_code, headers=response.headers, body=body)
        if reply.status == 429:
            self.gate.turned_away(retry_wait(reply, default=self.default_wait))
        return reply

    def _expected(self, reply: Reply, expect: Collection[int]) -> Reply:
        """Let the documented answers through, and give the common failures their names."""
        status = reply.status
        if status in expect:
            return reply
        if status == 429:
            raise RateLimited("rate_limited", wait=retry_wait(reply, default=self.default_wait))
        if status in (401, 403) and not reply.is_empty:
            reply.object()  # A page of a relay in between is not the provider's word.
        if status == 401:
            raise CredentialsRejected("credentials", status=status)
        if status == 403:
            raise AccessDenied("access_denied", status=status)
        why = "redirected" if 300 <= status < 400 else "undocumented_status"
        if status >= 500:
            why = "server_fault"
        raise AnswerNotUnderstood(why, status=status)


def retry_wait(reply: Reply, *, default: timedelta) -> timedelta | None:
    """
    How long a 429 asks us to wait; None when the figure is absurd.

    Source: RFC 9110, 10.2.3 (seconds, or a date, which is compared with the answer's own clock).
    """
    value = reply.headers.get("retry-after", "").strip()
    if not value:
        return default
    if value.isascii() and value.isdecimal() and len(value) < 8:
        seconds = float(value)
    else:
        try:
            until = parsedate_to_datetime(value)
            now = parsedate_to_datetime(reply.headers.get("date", ""))
            seconds = (until - now).total_seconds()
        except (TypeError, ValueError, OverflowError):
            return None
    if not math.isfinite(seconds) or seconds < 0:
        return None
    wait = timedelta(seconds=seconds)
    return wait if wait <= SANE_WAIT else None


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Everything asked of a provider inside must end within *seconds*, several requests too."""
    token = _deadline.set(min(time.monotonic() + seconds, _deadline.get(math.inf)))
    try:
        yield
    finally:
        _deadline.reset(token)


# --- under the hood ---------------------------------------------------------------------------

_BEFORE_SENDING = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
)


class _NoSuchName(httpcore.ConnectError):
    pass


class _WrongAddress(httpcore.ConnectError):
    pass


_CODES: tuple[tuple[type[BaseException], str], ...] = (
    (_WrongAddress, "wrong_address"),
    (_NoSuchName, "name_lookup"),
    (ssl.SSLError, "tls"),
    (httpx.TimeoutException, "deadline"),
)


def _code(error: httpx.HTTPError) -> str:
    """The kind of error without its text, which may hold a host or a path."""
    if isinstance(error, _BodyTooLarge):
        return "too_large"
    causes = list(_causes(error))
    for kind, code in _CODES:
        if any(isinstance(cause, kind) for cause in causes):
            return code
    return "connection"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """
    *error* and what led to it: httpx wraps httpcore's errors, and those wrap the system's.

    httpcore's pool raises "from None", so the cause alone would end there. An error of ours
    belongs to an earlier request, in whose handling this one was made.
    """
    while error is not None and not isinstance(error, ProviderError):
        yield error
        error = error.__cause__ or error.__context__


class _BodyTooLarge(httpx.HTTPError):
    pass


def _capped(response: httpx.Response, limit: int) -> bytes:
    if response.headers.get("content-encoding", "identity") not in ("", "identity"):
        # We asked for none; a small body could unfold into any size.
        raise AnswerNotUnderstood("encoded", status=response.status_code)
    chunks: list[bytes] = []
    size = 0
    for chunk in response.iter_bytes():
        size += len(chunk)
        if size > limit:
            raise _BodyTooLarge("too large")
        chunks.append(chunk)
    return b"".join(chunks)


def _left(exceeded: type[Exception]) -> float:
    """Seconds until the deadline; raises *exceeded* when there are none."""
    left = _deadline.get() - time.monotonic()
    if left <= 0:
        raise exceeded("deadline")
    return left


class _DeadlineStream(httpcore.NetworkStream):
    """A stream whose every operation gets only the time left until the deadline."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, timeout=_left(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout=_left(httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(
            ssl_context, server_hostname, timeout=_left(httpcore.ConnectTimeout)
        )
        return _DeadlineStream(secured)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _DeadlineBackend(httpcore.SyncBackend):
    """Looks the name up, refuses our own network, connects: all before the deadline."""

    def __init__(self, *, rehearsal: bool) -> None:
        self.rehearsal = rehearsal

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = self._addresses(host, port)
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            try:
                stream = super().connect_tcp(
                    address,
                    port,
                    # A silent address must leave time for the ones after it.
                    timeout=_left(httpcore.ConnectTimeout) / left,
                    local_address=local_address,
                    socket_options=socket_options,
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if left == 1:
                    raise
            else:
                return _DeadlineStream(stream)
        raise _NoSuchName("no address")

    def _addresses(self, host: str, port: int) -> list[str]:
        looking = _resolver.submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        try:
            found = looking.result(timeout=_left(httpcore.ConnectTimeout))
        except FutureTimeout as error:
            looking.cancel()
            raise httpcore.ConnectTimeout("name lookup") from error
        except (OSError, UnicodeError) as error:
            raise _NoSuchName("name lookup") from error
        addresses = [str(entry[4][0]) for entry in found]
        is_allowed = is_this_machine if self.rehearsal else is_public
        if not all(is_allowed(one) for one in addresses):
            raise _WrongAddress("wrong address")
        return list(dict.fromkeys(addresses))


# Addresses that stand for an IPv4 address which they do not show: 6to4, NAT64, IPv4-compatible.
_DISGUISES = tuple(ipaddress.IPv6Network(one) for one in ("2002::/16", "64:ff9b::/96", "::/96"))


def is_public(address: str) -> bool:
    """Whether *address* lies outside our own network (mapped IPv6 is looked through)."""
    parsed = ipaddress.ip_address(address.split("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return is_public(str(parsed.ipv4_mapped))
        if any(parsed in disguise for disguise in _DISGUISES):
            return False
    return parsed.is_global and not parsed.is_multicast


def is_this_machine(address: str) -> bool:
    """Whether *address* never leaves this machine: there a rehearsal's providers are."""
    return ipaddress.ip_address(address.split("%")[0]).is_loopback


@cache
def _tls() -> ssl.SSLContext:
    """One context for all: building one costs about 45 ms of CPU."""
    context = httpx.create_ssl_context(trust_env=False)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class _GuardedTransport(httpx.HTTPTransport):
    """httpx's transport over our network backend, which httpx has no argument for."""

    def __init__(self, *, rehearsal: bool, keep_alive: bool) -> None:
        super().__init__(verify=_tls(), trust_env=False)
        self._pool = httpcore.ConnectionPool(
            ssl_context=_tls(),
            max_connections=4,
            max_keepalive_connections=4 if keep_alive else 0,
            keepalive_expiry=30.0,
            network_backend=_DeadlineBackend(rehearsal=rehearsal),
        )
