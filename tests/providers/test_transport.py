"""The transport against a real server on a real socket: no mock could drip, reset or hang."""

from __future__ import annotations

import json
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from appointments.domain import AnswerLost, AnswerNotUnderstood, NotSent, ProviderError
from appointments.providers.transport import ProviderHttp, Reply, is_public, retry_wait, within

type Behaviour = Callable[[socket.socket, bytes], None]
"""What the server does with a connection once it has read a request."""

SECRET = "hk_live_0123456789"
OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"ok":true}'


class Server:
    """One behaviour on a loopback port; counts connections and keeps the requests it read."""

    def __init__(self, behaviour: Behaviour, *, tls: ssl.SSLContext | None = None) -> None:
        self.behaviour = behaviour
        self.tls = tls
        self.connections = 0
        self.requests: list[bytes] = []
        self.gone = threading.Event()
        """Set once a behaviour has run into the client's hanging up."""
        self.sent = 0
        self.stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/api"

    def stop(self) -> None:
        self.stopping.set()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(10)
            try:
                self._talk(self.tls.wrap_socket(connection, True) if self.tls else connection)
            except OSError:
                self.gone.set()

    def _talk(self, connection: socket.socket) -> None:
        while (request := _read_request(connection)) is not None:
            self.requests.append(request)
            self.behaviour(connection, request)


def _read_request(connection: socket.socket) -> bytes | None:
    """A request, head and body; None once the client has closed."""
    request = b""
    while (wanted := _length_of(request)) is None or len(request) < wanted:
        if not (received := connection.recv(65536)):
            return None
        request += received
    return request


def _length_of(request: bytes) -> int | None:
    """How many bytes the request will have; None while its head is not there yet."""
    head, end, _body = request.partition(b"\r\n\r\n")
    if not end:
        return None
    body = re.search(rb"\ncontent-length: *(\d+)", head.lower())
    return len(head) + len(end) + (int(body[1]) if body else 0)


@contextmanager
def serving(behaviour: Behaviour, *, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(behaviour, tls=tls)
    try:
        yield server
    finally:
        server.stop()


def client(url: str, *, rehearsal: bool = True, write_deadline: float = 5) -> ProviderHttp:
    return ProviderHttp(
        url,
        headers={"Authorization": f"Bearer {SECRET}"},
        rehearsal=rehearsal,
        write_deadline=write_deadline,
    )


def cancel(http: ProviderHttp) -> Reply:
    return http.write("POST", "cancel", payload={"id": "abc"}, expect=(200,))


def answering(answer: bytes) -> Behaviour:
    return lambda connection, _request: connection.sendall(answer)


def closing(answer: bytes) -> Behaviour:
    """Send *answer* and close properly."""

    def behave(connection: socket.socket, _request: bytes) -> None:
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)

    return behave


def resetting(answer: bytes = b"") -> Behaviour:
    """Send *answer*, then RST."""

    def behave(connection: socket.socket, _request: bytes) -> None:
        connection.sendall(answer)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    return behave


def dripping(start: bytes, drop: bytes) -> Behaviour:
    """Send *start*, then *drop* every 50 ms for as long as the client bears it."""

    def behave(connection: socket.socket, _request: bytes) -> None:
        connection.sendall(start)
        while True:
            time.sleep(0.05)
            connection.sendall(drop)

    return behave


def hanging(connection: socket.socket, _request: bytes) -> None:
    """Say nothing until the client hangs up."""
    connection.recv(1)
    raise ConnectionResetError


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


# --- good answers -----------------------------------------------------------------------------


def test_answer_is_handed_over_whole() -> None:
    """Status, headers and body arrive as they were sent."""
    with serving(answering(OK)) as server:
        reply = cancel(client(server.url))

    assert (reply.status, reply.object()) == (200, {"ok": True})
    assert reply.headers["Content-Type"] == "application/json"


def test_request_carries_only_what_it_must() -> None:
    """The path hangs below the base URL; no compression is asked for, and the key is there."""
    with serving(answering(OK)) as server:
        cancel(client(server.url))

    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert head.startswith(b"POST /api/cancel HTTP/1.1")
    assert b"accept-encoding: identity" in lines
    assert f"authorization: bearer {SECRET}".encode() in lines
    assert json.loads(body) == {"id": "abc"}


def test_write_without_payload_has_no_body() -> None:
    """MijnKlantportaal's DELETE takes none, and a content type alone would be one too much."""
    with serving(answering(OK)) as server:
        client(server.url).write("DELETE", "appointments/apt_1", expect=(200,))

    head, _, body = server.requests[0].lower().partition(b"\r\n\r\n")
    assert body == b""
    assert b"content-type" not in head
    assert b"content-length" not in head


def test_each_write_takes_a_fresh_connection() -> None:
    """A connection kept alive may be stale, and a stale one turns a write into an unknown."""
    with serving(answering(OK)) as server:
        http = client(server.url)
        for _ in range(3):
            cancel(http)

    assert server.connections == 3


def test_reads_share_a_connection() -> None:
    """A listing of fifty pages shakes hands once."""
    with serving(answering(OK)) as server:
        http = client(server.url)
        for _ in range(3):
            http.read("list")
        http.close()

    assert server.connections == 1


def test_cookies_are_not_kept() -> None:
    """A cookie of one answer would travel with requests that know nothing of it."""
    with serving(answering(OK.replace(b"\r\n", b"\r\nSet-Cookie: sid=abc\r\n", 1))) as server:
        http = client(server.url)
        http.read("list")
        http.read("list")
        http.close()

    assert all(b"cookie" not in request.lower() for request in server.requests)


# --- before sending ---------------------------------------------------------------------------


def test_refused_connection_is_not_sent() -> None:
    """Nobody listens, so nothing left."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(NotSent) as raised:
        cancel(client(f"http://127.0.0.1:{port}"))

    assert raised.value.why == "connection"


def test_unknown_name_is_not_sent() -> None:
    """A name under `.invalid` never resolves."""
    with pytest.raises(NotSent) as raised:
        cancel(client("http://nowhere.invalid"))

    assert raised.value.why == "name_lookup"


def test_private_address_is_not_connected_to() -> None:
    """The address is looked at when connecting: the server sees no connection at all."""
    with serving(answering(OK)) as server, pytest.raises(NotSent) as raised:
        cancel(client(server.url, rehearsal=False))

    assert raised.value.why == "wrong_address"
    assert server.connections == 0


def test_private_name_is_not_connected_to() -> None:
    """A harmless name that leads into our own network is refused by where it leads."""
    with serving(answering(OK)) as server, pytest.raises(NotSent):
        cancel(client(f"http://localhost:{server.port}", rehearsal=False))

    assert server.connections == 0


@pytest.mark.parametrize("address", ["http://10.0.0.8", "http://192.0.2.1", "http://[2001:db8::1]"])
def test_a_rehearsal_reaches_nobody_but_this_machine(address: str) -> None:
    """Whatever an administrator typed, practice cannot mail a real patient."""
    with pytest.raises(NotSent) as raised:
        cancel(client(address))

    assert raised.value.why == "wrong_address"


def test_self_signed_certificate_is_not_sent(tmp_path: Path) -> None:
    """Whoever answers there is not the provider; the request, and the key, stay here."""
    with serving(answering(OK), tls=_self_signed(tmp_path)) as server:
        with pytest.raises(NotSent) as raised:
            cancel(client(server.url))
        assert server.gone.wait(5)

    assert raised.value.why == "tls"
    assert server.requests == []


def test_earlier_failure_does_not_name_a_later_one(tmp_path: Path) -> None:
    """What fails while another failure is handled is told by its own cause."""
    later = ""
    with serving(answering(OK), tls=_self_signed(tmp_path)) as server:
        try:
            cancel(client(server.url))
        except NotSent:
            with pytest.raises(NotSent) as raised:
                cancel(client("http://127.0.0.1:1"))
            later = raised.value.why

    assert later == "connection"


def test_silent_handshake_ends_at_the_deadline() -> None:
    """A server that accepts and never shakes hands costs the deadline, and nothing was sent."""
    with (
        serving(lambda connection, request: None) as server,
        at_most(2),
        pytest.raises(NotSent) as raised,
    ):
        cancel(client(server.url.replace("http:", "https:"), write_deadline=0.4))

    assert raised.value.why == "deadline"


def test_proxy_of_the_environment_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy set for something else never sees our keys."""
    with serving(answering(OK)) as proxy, serving(answering(OK)) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        http = client(server.url)
        cancel(http)
        http.read("list")
        http.close()

    assert proxy.connections == 0
    assert len(server.requests) == 2


# --- after sending ----------------------------------------------------------------------------

CUT_CHUNK = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
)
CUT_BY_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(resetting(), id="reset instead of an answer"),
        pytest.param(resetting(b"HTTP/1.1 200 OK\r\nContent-"), id="reset within the headers"),
        pytest.param(resetting(CUT_BY_LENGTH), id="reset within the body"),
        pytest.param(closing(b""), id="closed without an answer"),
        pytest.param(closing(b"HTTP/1.1 200 OK\r\nContent-"), id="closed within the headers"),
        pytest.param(closing(CUT_BY_LENGTH), id="closed before the promised length"),
        pytest.param(closing(CUT_CHUNK + b'5\r\n{"ok"\r\n'), id="closed before the last chunk"),
        pytest.param(closing(CUT_CHUNK + b"zz\r\n"), id="a chunk of no length"),
        pytest.param(closing(b"SSH-2.0-OpenSSH\r\n"), id="another protocol"),
        pytest.param(closing(b"HTTP/1.1 abc\r\n\r\n"), id="a status that is no number"),
        pytest.param(closing(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 300_000), id="endless header"),
    ],
)
def test_broken_answer_is_lost(behaviour: Behaviour) -> None:
    """The request was read by the server; what came back is no answer. Both is possible."""
    with serving(behaviour) as server, at_most(3), pytest.raises(AnswerLost) as raised:
        cancel(client(server.url))

    assert raised.value.may_have_happened
    assert raised.value.why == "connection"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(hanging, id="silence"),
        pytest.param(dripping(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"z"), id="dripping headers"),
        pytest.param(dripping(b"HTTP/1.1 100 Continue\r\n\r\n" * 3, b"H"), id="interim answers"),
        pytest.param(
            dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b" "), id="dripping body"
        ),
        pytest.param(dripping(CUT_CHUNK, b"1\r\n \r\n"), id="dripping chunks"),
    ],
)
def test_slow_answer_is_lost_at_the_deadline(behaviour: Behaviour) -> None:
    """The deadline stands above name, connection, headers and body: no drop of data moves it."""
    with serving(behaviour) as server:
        with at_most(1.5), pytest.raises(AnswerLost) as raised:
            cancel(client(server.url, write_deadline=0.5))
        assert server.gone.wait(5), "the connection was left open"

    assert raised.value.why == "deadline"
    assert len(server.requests) == 1


def test_slow_read_ends_at_its_own_deadline() -> None:
    """Reads have a deadline of their own, per call."""
    with serving(hanging) as server, at_most(1.5), pytest.raises(AnswerLost):
        client(server.url).read("list", deadline=0.3)


def test_enclosing_deadline_holds_for_all_requests_together() -> None:
    """A look at a booking may take several requests, and has one deadline."""
    with serving(hanging) as server, at_most(1.5), within(0.3):
        for _ in range(3):
            with pytest.raises((AnswerLost, NotSent)) as raised:
                client(server.url).read("list")
            assert raised.value.why == "deadline"


def test_huge_body_stops_at_the_cap() -> None:
    """100 MB are not read: what is read ends shortly above the cap of a megabyte."""
    block = b" " * 100_000

    def pour(connection: socket.socket, _request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        for _ in range(1_000):
            connection.sendall(block)
            server.sent += len(block)

    with serving(pour) as server:
        with pytest.raises(AnswerLost) as raised:
            cancel(client(server.url))
        assert server.gone.wait(5), "the connection was left open"

    assert raised.value.why == "too_large"
    assert server.sent < 20_000_000  # The rest is what the system buffers on both sides.


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd", "gzip, identity", "x"])
def test_encoded_body_is_refused(encoding: str) -> None:
    """A small body could unfold into any size, and none was asked for."""
    answer = OK.replace(b"\r\n", f"\r\nContent-Encoding: {encoding}\r\n".encode(), 1)

    with serving(answering(answer)) as server, pytest.raises(AnswerNotUnderstood) as raised:
        cancel(client(server.url))

    assert raised.value.why == "encoded"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_not_followed(status: int) -> None:
    """The target gets nothing: neither the key nor the patient's address goes elsewhere."""
    with serving(answering(OK)) as target:
        answer = f"HTTP/1.1 {status} X\r\nLocation: {target.url}\r\nContent-Length: 0\r\n\r\n"
        with serving(answering(answer.encode())) as server:
            http = client(server.url)
            with pytest.raises(AnswerNotUnderstood) as written:
                cancel(http)
            with pytest.raises(AnswerNotUnderstood) as read:
                http.read("list")
            http.close()

    assert written.value.why == read.value.why == "redirected"
    assert target.connections == 0


def test_body_cut_without_a_length_is_not_understood() -> None:
    """Such an answer looks whole to HTTP; only its JSON shows that it is not."""
    answer = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{"status": "canc'

    with serving(closing(answer)) as server:
        reply = cancel(client(server.url))

    with pytest.raises(AnswerNotUnderstood):
        reply.object()


def test_errors_keep_secrets_and_addresses() -> None:
    """The text of an error goes into logs and onto screens."""
    with serving(resetting()) as server, pytest.raises(ProviderError) as raised:
        cancel(client(server.url))

    shown = f"{raised.value} {raised.value!r}"
    assert SECRET not in shown
    assert str(server.port) not in shown


# --- without a network ------------------------------------------------------------------------

DATE = "Mon, 07 Dec 2026 09:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, 30),
        ({"retry-after": "  "}, 30),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "120"}, 120),
        ({"retry-after": "3600"}, 3600),
        ({"retry-after": "86401"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "1e1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "Mon, 07 Dec 2026 09:01:00 GMT", "date": DATE}, 60),
        ({"retry-after": "Mon, 07 Dec 2026 10:01:00 +0100", "date": DATE}, 60),
        ({"retry-after": "Mon, 07 Dec 2026 08:59:00 GMT", "date": DATE}, None),
        ({"retry-after": "Mon, 07 Dec 2026 09:01:00 GMT"}, None),
        ({"retry-after": "Mon, 07 Dec 2026 09:01:00", "date": DATE}, None),
        ({"retry-after": "Mon, 99 Dec 2026 09:01:00 GMT", "date": DATE}, None),
    ],
)
def test_retry_after_is_taken_only_when_sane(headers: dict[str, str], wait: int | None) -> None:
    """Seconds or a date by the answer's own clock; nothing that would freeze us for hours."""
    reply = Reply(status=429, headers=headers, body=b"")

    found = retry_wait(reply, default=timedelta(seconds=30))

    assert found == (None if wait is None else timedelta(seconds=wait))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
        "2001:0:7f00:1::",
    ],
)
def test_address_of_our_own_network_is_not_public(address: str) -> None:
    """Loopback, private, link-local, shared and special addresses, in IPv6's disguises too."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f::1", "::ffff:93.184.215.14"])
def test_address_on_the_internet_is_public(address: str) -> None:
    """A guard that refuses everything would be noticed late."""
    assert is_public(address)


def _self_signed(folder: Path) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context
