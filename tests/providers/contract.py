"""
What every adapter must survive.

Each adapter's tests inherit `ProviderContract` and say, in a few attributes, what a good request
and a good answer are. The suite then feeds everything that the provider can do (listing, reading,
free slots, cancelling, booking, moving, confirming) everything that the fault matrix names: lost
replies, every status, pages of HTML, broken JSON, and each field of each answer missing or of a
wrong type.

The network is replaced below `ProviderHttp`, and every request that arrives there is held
against the provider's contract file; one violation fails the test.

    class TestHarbour(ProviderContract):
        slug = "harbour"
        credentials = {"api_key": "hk_live_secret"}
        record = {...}          # a live booking as the provider writes it, inside *window*
        ...
"""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, ClassVar, Literal
from zoneinfo import ZoneInfo

import httpx
import pytest

from appointments.domain import (
    LIVE,
    AccessDenied,
    Account,
    Already,
    AnswerLost,
    AnswerNotUnderstood,
    AwaitsConfirmation,
    BookedAppointment,
    BookingRef,
    CancelRequest,
    Capabilities,
    CapabilityMissing,
    Confirmed,
    ConfirmRequest,
    CredentialsRejected,
    DateWindow,
    NotSent,
    Page,
    ProviderError,
    RateLimited,
    Refused,
    Rescheduled,
    RescheduleRequest,
    Scheduled,
    ScheduleRequest,
    Slot,
    SlotQuery,
    Status,
)
from appointments.providers.base import Provider
from appointments.providers.transport import ProviderHttp
from tests import openapi

type Json = dict[str, Any]
type Path = tuple[str | int, ...]
"""Where in an answer: keys of objects and places in lists."""
type Operation = Literal["list", "read", "slots", "cancel", "schedule", "reschedule", "confirm"]
type Reply = Callable[[httpx.Request], httpx.Response]

READS: tuple[Operation, ...] = ("list", "read", "slots")
WRITES: tuple[Operation, ...] = ("cancel", "schedule", "reschedule", "confirm")
OPERATIONS = (*READS, *WRITES)
OPTIONAL: Mapping[Operation, Callable[[Capabilities], bool]] = {
    "slots": lambda can: can.shows_slots,
    "reschedule": lambda can: can.reschedules,
    "confirm": lambda can: can.confirms_pending,
}
"""Operations that not every provider has, and the statement that it has them."""

SUCCESS = (Confirmed, Already, Scheduled, AwaitsConfirmation, Rescheduled)
"""Words that tell staff that something is done."""

LOST = {
    "connection reset while reading": httpx.ReadError,
    "no answer in time": httpx.ReadTimeout,
    "closed without an answer": httpx.RemoteProtocolError,
    "connection reset while sending": httpx.WriteError,
    "stuck while sending": httpx.WriteTimeout,
}
NEVER_LEFT = {
    "connection refused": httpx.ConnectError,
    "no connection in time": httpx.ConnectTimeout,
}

UNDOCUMENTED = (300, 301, 302, 303, 304, 307, 308, 408, 425, 500, 501, 502, 503, 504, 520, 599)
"""Statuses after which nobody knows, whatever the body says."""
ODD_SUCCESSES = (200, 201, 202, 203, 204, 205, 206, 226)
REFUSALS = (400, 404, 405, 406, 409, 410, 412, 415, 422)
"""Statuses with a JSON body that are refusals, to be checked by a read."""

NO_ANSWERS: Mapping[str, Callable[[], httpx.Response]] = {
    "a web page": lambda: httpx.Response(200, html="<!doctype html><h1>Welcome</h1>"),
    "a web page that says 404": lambda: httpx.Response(404, html="<h1>Not found</h1>"),
    "a web page that says 400": lambda: httpx.Response(400, html="<h1>Bad request</h1>"),
    "a web page that says 401": lambda: httpx.Response(401, html="<h1>Log in</h1>"),
    "a web page that says 403": lambda: httpx.Response(403, html="<h1>Blocked</h1>"),
    "a web page that says 409": lambda: httpx.Response(409, html="<h1>Conflict</h1>"),
    "a web page called JSON": lambda: _raw(b"<!doctype html><h1>Welcome</h1>"),
    "an empty body": lambda: _raw(b""),
    "blanks": lambda: _raw(b"  \r\n "),
    "cut JSON": lambda: _raw(b'{"id": "abc", "status": "canc'),
    "two answers in one": lambda: _raw(b'{"id": "abc"}{"id": "abc"}'),
    "bytes that are no text": lambda: _raw(b'{"id": "\xff\xfe"}'),
    "a list": lambda: _raw(b"[]"),
    "a list of records": lambda: _raw(b'[{"id": "abc"}]'),
    "null": lambda: _raw(b"null"),
    "a text": lambda: _raw(b'"cancelled"'),
    "a number": lambda: _raw(b"200"),
    "true": lambda: _raw(b"true"),
    "an empty object": lambda: _raw(b"{}"),
    "endless lists": lambda: _raw(b"[" * 200_000),
    "endless objects": lambda: _raw(b'{"data":' * 100_000),
    "a number of 5,000 digits": lambda: _raw(b'{"id": ' + b"7" * 5_000 + b"}"),
}
"""Answers in which nothing documented is said."""

WRONG_VALUES: Mapping[str, Any] = {
    "null": None,
    "true": True,
    "false": False,
    "zero": 0,
    "a number": 7,
    "a negative number": -1,
    "a fraction": 1.5,
    "infinity": float("inf"),
    "not a number": float("nan"),
    "a number of 400 digits": 10**399,
    "empty text": "",
    "blanks": "   ",
    "other text": "something-else",
    "dots": "..",
    "NUL": "a\x00b",
    "a lone surrogate": "a\ud800b",
    "100,000 characters": "x" * 100_000,
    "the first year": "0001-01-01T00:00:00Z",
    "the last year": "9999-12-31T23:59:59Z",
    "a time without offset": "2026-12-07T10:00:00",
    "a list": [],
    "a list of null": [None],
    "a list of lists": [[[]]],
    "a list of texts": ["a", "b\x00", "\ud800"],
    "an object": {},
    "an object of null": {"a": None},
}
"""Put in the place of every field in turn."""

UNKNOWN_STATUSES: Mapping[str, Any] = {
    "an unknown word": "no-show",
    "another unknown word": "in_progress",
    "empty text": "",
    "null": None,
    "a number": 1,
    "a list": ["booked"],
    "an object": {"status": "booked"},
}

DATE = "Mon, 07 Dec 2026 09:00:00 GMT"
WAITS: Mapping[str, tuple[str | None, int | None]] = {
    "seconds": ("23", 23),
    "no seconds": ("0", 0),
    "a date": ("Mon, 07 Dec 2026 09:00:30 GMT", 30),
    "two minutes": ("120", 120),
    "an hour": ("3600", 3600),
    "absurd": ("99999999999999999999", None),
    "a date next year": ("Tue, 07 Dec 2027 09:00:00 GMT", None),
    "a date gone by": ("Mon, 07 Dec 2026 08:59:00 GMT", None),
    "negative": ("-5", None),
    "not a number": ("NaN", None),
    "infinite": ("inf", None),
    "a fraction": ("1.5", None),
    "an exponent": ("1e3", None),
    "a word": ("soon", None),
}
"""Retry-After, and the seconds to wait; None where no sense can be made of it."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one call of the adapter."""

    value: Any
    error: ProviderError | None
    requests: list[httpx.Request]

    @property
    def writes(self) -> int:
        return sum(request.method != "GET" for request in self.requests)


class ProviderContract:
    """The suite. Attributes say what the provider's good requests and answers are."""

    slug: ClassVar[str]
    provider_class: ClassVar[type[Provider]]
    credentials: ClassVar[Mapping[str, str]]
    time_zone: ClassVar[str] = "Europe/Amsterdam"
    forbidden: ClassVar[tuple[str, ...]] = ()
    """Declared parameters that these credentials must not send (`openapi.violations`)."""

    window: ClassVar[DateWindow]
    record: ClassVar[Json]
    """A live booking, as a listing of the provider writes it; it lies inside *window*."""
    other_id: ClassVar[str]
    """The id of a second booking in the same listing, otherwise the same."""
    id_key: ClassVar[str] = "id"
    needed: ClassVar[frozenset[str]]
    """Fields of *record* without which it cannot be read."""
    status_key: ClassVar[str] = "status"
    listed_is_booked: ClassVar[bool] = False
    """True where being listed is what makes a booking live, whatever its status says."""

    cancel_successes: ClassVar[tuple[int, ...]] = (200,)
    cancel_proof: ClassVar[tuple[Path, ...]]
    """Places of the cancel answer that must be right for *confirmed*."""
    schedule_successes: ClassVar[tuple[int, ...]] = (201,)
    schedule_proof: ClassVar[tuple[Path, ...]]
    """Places of the schedule answer that must be right for *scheduled*."""
    schedule_id: ClassVar[Path] = ("id",)
    """Where the new booking's id stands: there, any text may be an id."""
    already_statuses: ClassVar[tuple[int, ...]] = ()
    """Statuses of a cancel that are documented to mean: was cancelled before."""
    not_found_is_none: ClassVar[bool] = True
    """False where reading one booking is done by listing."""
    reads_with: ClassVar[frozenset[str]] = frozenset({"read"})
    """Operations on the wire that make up a read."""

    slots_with: ClassVar[frozenset[str]] = frozenset({"slots"})
    """Operations on the wire that make up a question for free slots."""
    free: ClassVar[tuple[Slot, ...]] = ()
    """The free slots that `slots_body` shows to `slots_query`: at least two."""
    ends_a_slot: ClassVar[frozenset[str]] = frozenset()
    """Fields of a free slot which by another value may say that it is none."""
    cancelled_word: ClassVar[Any] = None
    """What stands under *status_key* of a booking that is cancelled."""
    reschedule_successes: ClassVar[tuple[int, ...]] = (200,)
    reschedule_proof: ClassVar[tuple[Path, ...]] = ()
    """Places of the reschedule answer that must be right for *rescheduled*."""
    confirm_proof: ClassVar[tuple[Path, ...]] = ()
    """Places of the confirm answer that must be right for *confirmed*."""

    @classmethod
    def operations(cls, among: tuple[Operation, ...] = OPERATIONS) -> tuple[Operation, ...]:
        """Which of *among* the provider says that it can do."""
        can = cls.provider_class.capabilities
        return tuple(one for one in among if one not in OPTIONAL or OPTIONAL[one](can))

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Ask an `operation`, `read` or `write` of a test for each that the provider can do."""
        for name, among in (("operation", OPERATIONS), ("read", READS), ("write", WRITES)):
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, self.operations(among))

    # --- to be given by the subclass
    #
    # Not abstract: each is asked for only if the provider's capabilities say that it can do it. So
    # a provider gives no more than it needs, and one that forgets fails here by name.

    def operation(self, request: httpx.Request) -> str:
        """Name what *request* asks: `list`, `read`, `cancel`, `schedule`, or another word."""
        raise NotImplementedError

    def list_body(self, records: list[Json]) -> Json:
        """The answer of a listing that holds *records*."""
        raise NotImplementedError

    def read_body(self, record: Json) -> Json:
        return record

    def cancel_body(self) -> Json:
        """The documented answer to `cancel_request`: done."""
        raise NotImplementedError

    def schedule_body(self) -> Json:
        """The documented answer to `schedule_request`: done."""
        raise NotImplementedError

    def cancelled_record(self) -> Json | None:
        """The booking as a read shows it once cancelled; None where a read never shows it."""
        raise NotImplementedError

    def schedule_request(self) -> ScheduleRequest:
        raise NotImplementedError

    def slots_body(self) -> Json:
        """The documented answer to `slots_query`: what `free` lists."""
        raise NotImplementedError

    def no_slots_body(self) -> Json:
        """The documented answer when nothing is free."""
        raise NotImplementedError

    def slots_query(self) -> SlotQuery:
        raise NotImplementedError

    def moved_record(self) -> Json:
        """The booking as the answer to `reschedule_request` shows it: done."""
        raise NotImplementedError

    def reschedule_answer(self, record: Json) -> Json:
        """The documented answer to a reschedule, showing *record*."""
        raise NotImplementedError

    def reschedule_request(self) -> RescheduleRequest:
        raise NotImplementedError

    def confirm_body(self) -> Json:
        """The documented answer to `confirm_request`: done."""
        raise NotImplementedError

    # --- with defaults

    def reschedule_body(self) -> Json:
        return self.reschedule_answer(self.moved_record())

    def confirm_request(self) -> ConfirmRequest:
        return ConfirmRequest(appointment=self.booking())

    def cancel_request(self) -> CancelRequest:
        return CancelRequest(appointment=self.booking())

    def error_body(self, status: int) -> Json:
        return {"message": "No.", "statusCode": status}

    def other_answer(self, operation: str, request: httpx.Request) -> httpx.Response:
        """Answer what is neither a list, a read, a cancel nor a booking."""
        raise AssertionError(f"{operation}: {request.method} {request.url} was not expected")

    def with_status(self, record: Json, word: Any) -> Json:
        return {**record, self.status_key: word}

    def ref(self) -> BookingRef:
        booking = self.booking()
        return BookingRef(
            external_id=booking.external_id,
            locator=booking.locator,
            starts_at=booking.starts_at,
            day=booking.day,
        )

    def booking(self) -> BookedAppointment:
        """The booking of *record*, as the adapter itself lists it."""
        listed = self.ask("list")
        return next(one for one in _records(listed) if one.external_id == self.record[self.id_key])

    # --- asking

    def provider(self, network: Reply) -> Provider:
        account = Account(
            base_url=openapi.server_url(self.slug),
            credentials=self.credentials,
            time_zone=ZoneInfo(self.time_zone),
        )
        http = ProviderHttp(
            account.base_url,
            headers=self.provider_class.headers(self.credentials),
            default_wait=self.provider_class.default_wait,
            transport=httpx.MockTransport(network),
        )
        return self.provider_class(account, http=http)

    def ask(self, operation: Operation, reply: Reply | None = None) -> Outcome:
        """
        Let the adapter do *operation*; *reply* answers it in place of the good answer.

        Whatever the adapter raises but `ProviderError` fails the test, and so does a secret
        in the text of an error.
        """
        network = _Network(self, operation, reply)
        calls: Mapping[Operation, Callable[[Provider], object]] = {
            "list": lambda provider: list(provider.pages(self.window)),
            "read": lambda provider: provider.read(self.ref()),
            "cancel": lambda provider: provider.cancel(self.cancel_request()),
            "schedule": lambda provider: provider.schedule(self.schedule_request()),
            "slots": lambda provider: provider.slots(self.slots_query()),
            "reschedule": lambda provider: provider.reschedule(self.reschedule_request()),
            "confirm": lambda provider: provider.confirm(self.confirm_request()),
        }
        provider = self.provider(network)
        try:
            value = calls[operation](provider)
        except ProviderError as error:
            self._keeps_secrets(error, provider)
            return Outcome(value=None, error=error, requests=network.requests)
        finally:
            provider.http.close()
        return Outcome(value=value, error=None, requests=network.requests)

    def successes(self, operation: str) -> tuple[int, ...]:
        """Statuses that are documented to mean: done."""
        known = {
            "cancel": self.cancel_successes,
            "schedule": self.schedule_successes,
            "reschedule": self.reschedule_successes,
        }
        return known.get(operation, (200,))

    def success_status(self, operation: str) -> int:
        return self.successes(operation)[0]

    def good_body(self, operation: str, *, first: bool) -> Json:
        bodies: Mapping[str, Callable[[], Json]] = {
            "list": lambda: self.list_body([self.record, self.sibling()] if first else []),
            "read": lambda: self.read_body(self.record),
            "cancel": self.cancel_body,
            "schedule": self.schedule_body,
            "slots": self.slots_body,
            "reschedule": self.reschedule_body,
            "confirm": self.confirm_body,
        }
        return bodies[operation]()

    def sibling(self) -> Json:
        return copy.deepcopy(self.record) | {self.id_key: self.other_id}

    def _keeps_secrets(self, error: ProviderError, provider: Provider) -> None:
        shown = f"{error} {error!r} {error.why} {provider.account!r}"
        for secret in self.credentials.values():
            assert secret not in shown, "a secret stands in the text of an error"
        assert "http" not in error.why, "an address stands in the text of an error"

    # --- the good answers

    def test_good_listing_is_read_whole(self) -> None:
        """Every record of a good listing is read, and none is set aside."""
        listed = self.ask("list")

        assert listed.error is None
        assert {one.external_id for one in _records(listed)} == {
            self.record[self.id_key],
            self.other_id,
        }
        assert not _rejected(listed)
        assert all(one.is_live for one in _records(listed))

    def test_empty_listing_is_empty(self) -> None:
        """A listing without records is an answer, not a failure."""
        listed = self.ask("list", _json(200, self.list_body([])))

        assert listed.error is None
        assert _records(listed) == []

    def test_record_outside_window_is_left_out(self) -> None:
        """What does not start on a day of the window belongs to another listing."""
        booking = self.booking()
        day = booking.day or booking.starts_at.astimezone(ZoneInfo(self.time_zone)).date()  # type: ignore[union-attr]
        before = DateWindow(first=day - timedelta(days=3), last=day - timedelta(days=1))
        network = _Network(self, "list", None)

        pages = list(self.provider(network).pages(before))

        assert [one for page in pages for one in page.records] == []

    def test_extra_fields_change_nothing(self) -> None:
        """A field nobody documented is ignored."""
        plain = self.booking()
        extra = {**self.record, "brandNew": {"deep": [1, 2, {"x": None}]}, "": "", "ключ": 1}

        [read] = _records(self.ask("list", _json(200, self.list_body([extra]))))

        assert read == plain

    def test_read_shows_the_booking(self) -> None:
        """A good read is the booking itself, and live."""
        read = self.ask("read")

        assert read.error is None
        assert read.value.external_id == self.record[self.id_key]
        assert read.value.is_live

    def test_read_shows_cancelled_as_cancelled(self) -> None:
        """A read of what is cancelled says so: reconciliation rests on it."""
        record = self.cancelled_record()
        if record is None:
            pytest.skip("this provider never shows a cancelled booking")

        read = self.ask("read", _json(200, self.read_body(record)))

        assert read.error is None
        assert read.value.status is Status.CANCELLED

    def test_read_of_what_is_not_there_is_none(self) -> None:
        """A 404 in JSON means: not shown. It is no proof of a cancellation."""
        if not self.not_found_is_none:
            pytest.skip("this provider reads by listing")

        read = self.ask("read", _json(404, self.error_body(404)))

        assert read.error is None
        assert read.value is None

    def test_documented_cancel_answer_is_confirmed(self) -> None:
        """One request leaves, and the documented answer to it is a confirmation."""
        cancelled = self.ask("cancel")

        assert cancelled.error is None
        assert isinstance(cancelled.value, Confirmed)
        assert len(cancelled.requests) == 1

    def test_documented_schedule_answer_is_scheduled(self) -> None:
        """One request leaves, and the documented answer to it is a booking."""
        booked = self.ask("schedule")

        assert booked.error is None
        assert isinstance(booked.value, Scheduled)
        assert booked.writes == 1

    # --- no answer

    @pytest.mark.parametrize("lost", LOST.values(), ids=LOST)
    def test_lost_reply_may_have_happened(
        self, operation: Operation, lost: type[httpx.TransportError]
    ) -> None:
        """Once the request may have left, nobody claims that nothing happened."""
        asked = self.ask(operation, _raising(lost))

        assert isinstance(asked.error, AnswerLost)
        assert asked.error.may_have_happened
        assert len(asked.requests) == 1

    @pytest.mark.parametrize("failure", NEVER_LEFT.values(), ids=NEVER_LEFT)
    def test_refused_connection_is_not_sent(
        self, operation: Operation, failure: type[httpx.TransportError]
    ) -> None:
        """Where no connection came about nothing was sent, and the error says so."""
        asked = self.ask(operation, _raising(failure))

        assert isinstance(asked.error, NotSent)
        assert not asked.error.may_have_happened
        assert len(asked.requests) == 1

    # --- statuses

    def test_401_means_key_rejected(self, operation: Operation) -> None:
        """The key does not work: nothing was done."""
        asked = self.ask(operation, _json(401, self.error_body(401)))

        assert isinstance(asked.error, CredentialsRejected)
        assert not asked.error.may_have_happened
        assert len(asked.requests) == 1

    def test_403_means_not_permitted(self, operation: Operation) -> None:
        """A read raises; a write is refused for good, since no look could tell more."""
        asked = self.ask(operation, _json(403, self.error_body(403)))

        assert len(asked.requests) == 1
        if asked.error is not None:
            assert isinstance(asked.error, AccessDenied | CredentialsRejected)
        else:
            assert operation in WRITES
            assert isinstance(asked.value, Refused)
            assert asked.value.conclusive or operation == "schedule"

    @pytest.mark.parametrize("status", REFUSALS)
    def test_refused_cancel_is_to_be_looked_at(self, status: int) -> None:
        """The same status may mean "was cancelled already", so a read has to decide."""
        asked = self.ask("cancel", _json(status, self.error_body(status)))

        assert len(asked.requests) == 1
        assert asked.error is None
        if status in self.already_statuses:
            assert isinstance(asked.value, Already)
        else:
            assert isinstance(asked.value, Refused)
            assert not asked.value.conclusive

    @pytest.mark.parametrize("status", [*REFUSALS, 402, 418, 451, 499])
    @pytest.mark.parametrize("body", ["good", "error"])
    def test_4xx_is_never_a_booking(self, status: int, body: str) -> None:
        """No 4xx books, even if the body looks like a booking."""
        shown = self.schedule_body() if body == "good" else self.error_body(status)

        asked = self.ask("schedule", _json(status, shown))

        assert not isinstance(asked.value, SUCCESS)
        assert asked.writes == 1

    @pytest.mark.parametrize("status", [*REFUSALS, 402, 403, 418, 451, 499])
    def test_4xx_with_good_body_is_never_confirmed(self, status: int) -> None:
        """No 4xx confirms a cancellation, even if the body looks like one."""
        asked = self.ask("cancel", _json(status, self.cancel_body()))

        assert not isinstance(asked.value, Confirmed)
        assert not isinstance(asked.value, Already) or status in self.already_statuses
        assert len(asked.requests) == 1

    @pytest.mark.parametrize("status", UNDOCUMENTED)
    def test_undocumented_status_is_not_understood(self, operation: Operation, status: int) -> None:
        """
        The best of bodies under a status that says nothing is not believed.

        A redirect is not followed: one request arrives, and the target gets none.
        """
        headers = {"location": "https://elsewhere.example/steal"} if 300 <= status < 400 else {}
        body = self.good_body(operation, first=True)

        asked = self.ask(operation, _json(status, body, **headers))

        assert isinstance(asked.error, AnswerNotUnderstood)
        assert asked.error.may_have_happened
        assert len(asked.requests) == 1

    @pytest.mark.parametrize("status", ODD_SUCCESSES)
    def test_odd_success_is_not_understood(self, write: Operation, status: int) -> None:
        """A 202 is a promise and a 204 says nothing: only documented statuses count."""
        if status in self.successes(write):
            pytest.skip("documented")
        body = None if status == 204 else self.good_body(write, first=True)

        asked = self.ask(write, _json(status, body))

        assert isinstance(asked.error, AnswerNotUnderstood)
        assert len(asked.requests) == 1

    @pytest.mark.parametrize("status", [*REFUSALS, 202, 204, 206, 402, 418, 451])
    def test_failed_read_raises(self, read: Operation, status: int) -> None:
        """A listing that failed is never an empty listing, nor a short one."""
        if read == "read" and status == 404 and self.not_found_is_none:
            pytest.skip("means: not shown")
        body = None if status == 204 else self.error_body(status)

        asked = self.ask(read, _json(status, body))

        assert asked.error is not None

    # --- 429

    @pytest.mark.parametrize(("header", "seconds"), WAITS.values(), ids=WAITS)
    def test_429_is_limited_for_as_long_as_it_says(
        self, operation: Operation, header: str, seconds: int | None
    ) -> None:
        """A sane figure is taken, an absurd one is not waited for; nothing is repeated here."""
        reply = _json(429, self.error_body(429), **{"retry-after": header, "date": DATE})

        asked = self.ask(operation, reply)

        assert isinstance(asked.error, RateLimited)
        assert not asked.error.may_have_happened
        assert asked.error.wait == (None if seconds is None else timedelta(seconds=seconds))
        assert len(asked.requests) == 1

    def test_429_without_figure_waits_the_default(self, operation: Operation) -> None:
        """Without Retry-After the provider's own default counts."""
        asked = self.ask(operation, _json(429, self.error_body(429)))

        assert isinstance(asked.error, RateLimited)
        assert asked.error.wait == timedelta(seconds=self.provider_class.default_wait)

    # --- bodies

    @pytest.mark.parametrize("nonsense", NO_ANSWERS.values(), ids=NO_ANSWERS)
    def test_nonsense_is_not_understood(
        self, operation: Operation, nonsense: Callable[[], httpx.Response]
    ) -> None:
        """What is no answer of the provider is neither a success nor a refusal nor a "gone"."""

        def reply(_request: httpx.Request) -> httpx.Response:
            response = nonsense()
            if response.status_code == 200:
                response.status_code = self.success_status(operation)
            return response

        asked = self.ask(operation, reply)

        assert isinstance(asked.error, AnswerNotUnderstood)
        assert len(asked.requests) == 1

    def test_compressed_answer_is_not_unfolded(self, operation: Operation) -> None:
        """We ask for none: a small body could unfold into any size."""
        packed = gzip.compress(json.dumps(self.good_body(operation, first=True)).encode())

        def reply(_request: httpx.Request) -> httpx.Response:
            return httpx.Response(
                self.success_status(operation),
                stream=httpx.ByteStream(packed),
                headers={"content-type": "application/json", "content-encoding": "gzip"},
            )

        asked = self.ask(operation, reply)

        assert isinstance(asked.error, AnswerNotUnderstood)

    @pytest.mark.parametrize("wrong", WRONG_VALUES.values(), ids=WRONG_VALUES)
    def test_broken_record_is_set_aside_alone(self, wrong: Any) -> None:
        """
        One record with a wrong field never takes the others of its page with it.

        It is read or set aside; without a field it cannot do without it is set aside.
        """
        for path, broken in _each_place(self.record, wrong):
            body = self.list_body([broken, self.sibling()])
            asked = self.ask("list", _json(200, body))

            kept = {one.external_id for one in _records(asked)}
            assert asked.error is None, path
            assert self.other_id in kept, path
            if wrong is None and path[0] in self.needed and len(path) == 1:
                assert kept == {self.other_id}, path
                assert len(_rejected(asked)) == 1, path

    def test_missing_field_is_borne_or_sets_the_record_aside(self) -> None:
        """Each field may be missing; only without a needed one is the record set aside."""
        for path, broken in _each_gap(self.record):
            asked = self.ask("list", _json(200, self.list_body([broken, self.sibling()])))

            kept = {one.external_id for one in _records(asked)}
            assert asked.error is None, path
            assert self.other_id in kept, path
            if len(path) == 1:
                assert (len(kept) == 1) == (path[0] in self.needed), path

    @pytest.mark.parametrize("wrong", WRONG_VALUES.values(), ids=WRONG_VALUES)
    def test_broken_envelope_never_looks_like_an_empty_listing(self, wrong: Any) -> None:
        """A listing whose wrapping is wrong raises, or shows what it holds; never nothing."""
        body = self.list_body([self.record])
        for key in body:
            if wrong == [] and isinstance(body[key], list):
                continue  # An empty listing is an answer.
            asked = self.ask("list", _json(200, {**body, key: wrong}))

            assert asked.error is not None or _records(asked) or _rejected(asked), key

    @pytest.mark.parametrize("wrong", WRONG_VALUES.values(), ids=WRONG_VALUES)
    def test_broken_read_is_not_another_booking(self, wrong: Any) -> None:
        """A read with a wrong field raises, or still is the booking that was asked for."""
        for path, broken in _each_place(self.read_body(self.record), wrong):
            asked = self.ask("read", _json(200, broken))

            if asked.error is None and asked.value is not None:
                assert asked.value.external_id == self.record[self.id_key], path
            if asked.error is None and self.not_found_is_none:
                assert asked.value is not None, f"{path}: only a 404 means: not shown"

    def test_read_of_another_booking_is_not_understood(self) -> None:
        """An answer about another booking proves nothing about this one."""
        if not self.not_found_is_none:
            pytest.skip("this provider reads by listing")

        asked = self.ask("read", _json(200, self.read_body(self.sibling())))

        assert isinstance(asked.error, AnswerNotUnderstood)

    @pytest.mark.parametrize("word", UNKNOWN_STATUSES.values(), ids=UNKNOWN_STATUSES)
    def test_unknown_status_is_neither_booked_nor_cancelled(self, word: Any) -> None:
        """A word that no documentation names is shown as it is, and nothing follows from it."""
        record = self.with_status(self.record, word)
        asked = self.ask("list", _json(200, self.list_body([record])))

        assert asked.error is None
        for one in _records(asked):
            assert one.status is not Status.CANCELLED
            assert one.status not in LIVE or self.listed_is_booked

    @pytest.mark.parametrize("wrong", WRONG_VALUES.values(), ids=WRONG_VALUES)
    def test_broken_cancel_answer_confirms_only_with_its_proof(self, wrong: Any) -> None:
        """A wrong value where the proof stands is no confirmation; elsewhere it may be borne."""
        for path, broken in _each_place(self.cancel_body(), wrong):
            asked = self.ask("cancel", _json(self.cancel_successes[0], broken))

            assert len(asked.requests) == 1, path
            assert not isinstance(asked.value, Already | Refused), path
            if _touches(path, self.cancel_proof):
                assert isinstance(asked.error, AnswerNotUnderstood), path

    def test_cancel_answer_without_its_proof_is_not_understood(self) -> None:
        """The documented status alone confirms nothing where the body is documented too."""
        for path, broken in _each_gap(self.cancel_body()):
            asked = self.ask("cancel", _json(self.cancel_successes[0], broken))

            if _touches(path, self.cancel_proof):
                assert isinstance(asked.error, AnswerNotUnderstood), path

    @pytest.mark.parametrize("wrong", WRONG_VALUES.values(), ids=WRONG_VALUES)
    def test_broken_schedule_answer_books_only_with_its_proof(self, wrong: Any) -> None:
        """The same for booking, where a wrong "scheduled" leaves a patient without a place."""
        for path, broken in _each_place(self.schedule_body(), wrong):
            asked = self.ask("schedule", _json(self.schedule_successes[0], broken))

            assert asked.writes == 1, path
            if path == self.schedule_id and _may_be_an_id(wrong):
                continue
            if _touches(path, self.schedule_proof):
                assert isinstance(asked.error, AnswerNotUnderstood), path

    @pytest.mark.parametrize("wrong", WRONG_VALUES.values(), ids=WRONG_VALUES)
    def test_strange_refusal_text_is_still_no_success(self, wrong: Any) -> None:
        """Whatever a refusal holds in its fields, it stays a refusal or is not understood."""
        for status in (400, 403, 404, 409, 422):
            for _path, broken in _each_place(self.error_body(status), wrong):
                for operation in self.operations(WRITES):
                    asked = self.ask(operation, _json(status, broken))

                    assert asked.error is None or isinstance(asked.error, ProviderError)
                    assert not isinstance(asked.value, Confirmed | Scheduled | Rescheduled)
                    if isinstance(asked.value, Refused):
                        assert len(asked.value.said) <= 500
                        assert "\x00" not in asked.value.said
                        asked.value.said.encode()  # No lone surrogate.

    # --- what not every provider can do

    @pytest.mark.parametrize("optional", OPTIONAL)
    def test_capability_is_stated_exactly_where_it_is(self, optional: Operation) -> None:
        """What the provider does not say that it can do is a bug to ask for, and sends nothing."""
        if optional in self.operations():
            assert self.ask(optional).error is None
            return
        network = _Network(self, optional, None)
        anything: Any = None

        with pytest.raises(CapabilityMissing):
            getattr(self.provider(network), optional)(anything)
        assert network.requests == []


class SlotsContract(ProviderContract):
    """What an adapter that shows free slots must survive besides."""

    def test_free_slots_are_shown_in_order(self) -> None:
        """One request, and each slot of the documented answer as we have it."""
        asked = self.ask("slots")

        assert asked.error is None
        assert asked.value == self.free
        assert len(asked.requests) == 1
        assert len(self.free) > 1

    def test_nothing_free_is_an_answer(self) -> None:
        """Documented, and not to be mixed up with an answer that could not be read."""
        asked = self.ask("slots", _json(200, self.no_slots_body()))

        assert asked.error is None
        assert asked.value == ()

    @pytest.mark.parametrize("wrong", WRONG_VALUES.values(), ids=WRONG_VALUES)
    def test_broken_slots_never_look_like_nothing_free(self, wrong: Any) -> None:
        """
        What makes no sense is left out or raises; it is never "nothing is free".

        An empty list where a list belongs is an answer, and so is a window that is not open.
        """
        for path, broken in _each_place(self._one_slot(), wrong):
            asked = self.ask("slots", _json(200, broken))

            assert len(asked.requests) == 1, path
            empty = wrong == [] and isinstance(_at(self._one_slot(), path), list)
            if asked.error is None and not empty and path[-1] not in self.ends_a_slot:
                assert len(asked.value) == 1, path
            for slot in asked.value or ():
                assert slot.starts_at == self.free[0].starts_at, path

    def test_missing_field_of_slots_never_looks_like_nothing_free(self) -> None:
        """The same for each field that is not there."""
        for path, broken in _each_gap(self._one_slot()):
            if isinstance(path[-1], int):
                continue  # Without its only entry a list is empty, which is an answer.
            asked = self.ask("slots", _json(200, broken))

            assert asked.error is not None or len(asked.value) == 1, path

    @pytest.mark.parametrize("wrong", WRONG_VALUES.values(), ids=WRONG_VALUES)
    def test_broken_slot_leaves_the_others(self, wrong: Any) -> None:
        """Staff choose among what can be read."""
        body = self.slots_body()
        _entries(body)[0] = wrong

        asked = self.ask("slots", _json(200, body))

        assert asked.error is None
        assert asked.value == self.free[1:]

    def _one_slot(self) -> Json:
        body = self.slots_body()
        del _entries(body)[1:]
        return body


class RescheduleContract(ProviderContract):
    """What an adapter that moves bookings must survive besides."""

    def test_documented_reschedule_answer_is_rescheduled(self) -> None:
        """One request leaves, and what comes back is the booking at the time asked for."""
        for status in self.reschedule_successes:
            moved = self.ask("reschedule", _json(status, self.reschedule_body()))

            assert moved.error is None
            assert isinstance(moved.value, Rescheduled)
            assert len(moved.requests) == 1
            assert self.reschedule_request().is_met_by(
                moved.value.appointment, zone=ZoneInfo(self.time_zone)
            )

    @pytest.mark.parametrize("status", REFUSALS)
    def test_refused_reschedule_is_to_be_looked_at(self, status: int) -> None:
        """The same status may mean that it was cancelled or moved meanwhile."""
        asked = self.ask("reschedule", _json(status, self.error_body(status)))

        assert isinstance(asked.value, Refused)
        assert not asked.value.conclusive
        assert len(asked.requests) == 1

    @pytest.mark.parametrize("status", [*REFUSALS, 402, 403, 418, 451, 499])
    def test_4xx_with_good_body_is_never_rescheduled(self, status: int) -> None:
        """No 4xx moves, even if the body looks like it."""
        asked = self.ask("reschedule", _json(status, self.reschedule_body()))

        assert not isinstance(asked.value, SUCCESS)
        assert len(asked.requests) == 1

    def test_booking_that_stayed_is_not_rescheduled(self) -> None:
        """A documented status, the right booking, and the old time: nobody may say moved."""
        asked = self.ask("reschedule", _json(200, self.reschedule_answer(self.record)))

        assert isinstance(asked.error, AnswerNotUnderstood)
        assert asked.error.why == "not_as_asked"

    def test_cancelled_booking_is_not_rescheduled(self) -> None:
        """At the time asked for, but cancelled."""
        record = self.with_status(self.moved_record(), self.cancelled_word)

        asked = self.ask("reschedule", _json(200, self.reschedule_answer(record)))

        assert isinstance(asked.error, AnswerNotUnderstood)
        assert asked.error.why == "not_as_asked"

    @pytest.mark.parametrize("word", UNKNOWN_STATUSES.values(), ids=UNKNOWN_STATUSES)
    def test_booking_of_unknown_status_is_not_rescheduled(self, word: Any) -> None:
        """At the time asked for, but nobody knows whether it stands."""
        record = self.with_status(self.moved_record(), word)

        asked = self.ask("reschedule", _json(200, self.reschedule_answer(record)))

        assert isinstance(asked.error, AnswerNotUnderstood)

    def test_other_booking_at_the_time_asked_for_proves_nothing(self) -> None:
        """Somebody is there then, but not the one who was to be moved."""
        other = {**self.moved_record(), self.id_key: self.other_id}

        asked = self.ask("reschedule", _json(200, self.reschedule_answer(other)))

        assert isinstance(asked.error, AnswerNotUnderstood)
        assert asked.error.why == "other_id"

    def test_move_to_where_it_stands_is_not_sent(self) -> None:
        """It could be proved by no answer, and might tell everybody a time that they know."""
        wish = self.reschedule_request()
        moved = self.ask("reschedule").value.appointment
        network = _Network(self, "reschedule", None)

        with pytest.raises(NotSent, match="nothing_to_move"):
            self.provider(network).reschedule(replace(wish, appointment=moved))
        assert network.requests == []

    @pytest.mark.parametrize("wrong", WRONG_VALUES.values(), ids=WRONG_VALUES)
    def test_broken_reschedule_answer_moves_only_with_its_proof(self, wrong: Any) -> None:
        """A wrong value where the proof stands is no confirmation; elsewhere it may be borne."""
        for path, broken in _each_place(self.reschedule_body(), wrong):
            asked = self.ask("reschedule", _json(self.reschedule_successes[0], broken))

            assert len(asked.requests) == 1, path
            assert not isinstance(asked.value, Refused), path
            if _touches(path, self.reschedule_proof):
                assert isinstance(asked.error, AnswerNotUnderstood), path

    def test_reschedule_answer_without_its_proof_is_not_understood(self) -> None:
        """The documented status alone moves nothing."""
        for path, broken in _each_gap(self.reschedule_body()):
            asked = self.ask("reschedule", _json(self.reschedule_successes[0], broken))

            if _touches(path, self.reschedule_proof):
                assert isinstance(asked.error, AnswerNotUnderstood), path
            else:
                assert asked.error is None or isinstance(asked.error, AnswerNotUnderstood), path


class ConfirmContract(ProviderContract):
    """What an adapter that confirms pending bookings must survive besides."""

    def test_documented_confirm_answer_is_confirmed(self) -> None:
        """One request leaves, and the booking comes back booked."""
        asked = self.ask("confirm")

        assert asked.error is None
        assert isinstance(asked.value, Confirmed)
        assert asked.value.appointment is not None
        assert asked.value.appointment.status is Status.BOOKED
        assert len(asked.requests) == 1

    @pytest.mark.parametrize("status", REFUSALS)
    def test_refused_confirm_is_to_be_looked_at(self, status: int) -> None:
        """It may have been confirmed or cancelled meanwhile: a read has to decide."""
        asked = self.ask("confirm", _json(status, self.error_body(status)))

        assert isinstance(asked.value, Refused)
        assert not asked.value.conclusive
        assert len(asked.requests) == 1

    @pytest.mark.parametrize("status", [*REFUSALS, 402, 403, 418, 451, 499])
    def test_4xx_with_good_body_never_confirms(self, status: int) -> None:
        """No 4xx confirms, even if the body looks like it."""
        asked = self.ask("confirm", _json(status, self.confirm_body()))

        assert not isinstance(asked.value, SUCCESS)
        assert len(asked.requests) == 1

    @pytest.mark.parametrize("wrong", WRONG_VALUES.values(), ids=WRONG_VALUES)
    def test_broken_confirm_answer_confirms_only_with_its_proof(self, wrong: Any) -> None:
        """A wrong value where the proof stands is no confirmation; elsewhere it may be borne."""
        for path, broken in _each_place(self.confirm_body(), wrong):
            asked = self.ask("confirm", _json(200, broken))

            assert len(asked.requests) == 1, path
            assert not isinstance(asked.value, Refused), path
            if _touches(path, self.confirm_proof):
                assert isinstance(asked.error, AnswerNotUnderstood), path

    def test_confirm_answer_without_its_proof_is_not_understood(self) -> None:
        """The documented status alone confirms nothing."""
        for path, broken in _each_gap(self.confirm_body()):
            asked = self.ask("confirm", _json(200, broken))

            if _touches(path, self.confirm_proof):
                assert isinstance(asked.error, AnswerNotUnderstood), path


# --- under the hood ---------------------------------------------------------------------------


class _Network:
    """Answers for the provider; holds each request against the contract."""

    def __init__(self, suite: ProviderContract, operation: Operation, reply: Reply | None) -> None:
        self.suite = suite
        self.asked = operation
        self.reply = reply
        made_of = {"read": suite.reads_with, "slots": suite.slots_with}
        self.hit = made_of.get(operation, frozenset({operation}))
        self.requests: list[httpx.Request] = []
        self.lists = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if found := _violations(self.suite, request):
            raise AssertionError("\n".join(found))
        operation = self.suite.operation(request)
        self.lists += operation == "list"
        if self.reply is not None and operation in self.hit:
            if operation == "list" and self.lists > 1:
                # The page in question came first; what follows it is empty.
                return _json(200, self.suite.list_body([]))(request)
            return self.reply(request)
        if self.asked == "slots" and operation in self.hit:
            return _json(200, self.suite.slots_body())(request)
        if operation not in OPERATIONS:
            return self.suite.other_answer(operation, request)
        body = self.suite.good_body(operation, first=self.lists <= 1)
        return _json(self.suite.success_status(operation), body)(request)


_verdicts: dict[object, list[str]] = {}


def _violations(suite: ProviderContract, request: httpx.Request) -> list[str]:
    """The contract's word on *request*; looked up once for requests that are the same."""
    key = (
        suite.slug,
        suite.forbidden,
        request.method,
        str(request.url),
        tuple(request.headers.multi_items()),
        request.content,
    )
    if key not in _verdicts:
        _verdicts[key] = openapi.violations(suite.slug, request, forbidden=suite.forbidden)
    return _verdicts[key]


def _json(status: int, body: Json | None, **headers: str) -> Reply:
    def reply(_request: httpx.Request) -> httpx.Response:
        if body is None:
            return httpx.Response(status, headers=headers)
        content = json.dumps(body).encode()
        return httpx.Response(
            status, content=content, headers={"content-type": "application/json", **headers}
        )

    return reply


def _raw(content: bytes) -> httpx.Response:
    return httpx.Response(200, content=content, headers={"content-type": "application/json"})


def _raising(error: type[httpx.TransportError]) -> Reply:
    def reply(request: httpx.Request) -> httpx.Response:
        raise error(f"something about {request.url}", request=request)

    return reply


def _pages(outcome: Outcome) -> list[Page]:
    return outcome.value or []


def _records(outcome: Outcome) -> list[BookedAppointment]:
    return [record for page in _pages(outcome) for record in page.records]


def _rejected(outcome: Outcome) -> list[str]:
    return [one.why for page in _pages(outcome) for one in page.rejected]


def _places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every key of every object in *value*; of a list, the first entry stands for all."""
    entries: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        entries = list(value.items())
    elif isinstance(value, list):
        entries = list(enumerate(value[:1]))
    for key, entry in entries:
        yield (*path, key)
        yield from _places(entry, (*path, key))


def _each_place(body: Json, wrong: Any) -> Iterator[tuple[Path, Json]]:
    """*body* with *wrong* in one place at a time, where it differs from what stands there."""
    for path in _places(body):
        broken = copy.deepcopy(body)
        holder = _at(broken, path[:-1])
        if type(holder[path[-1]]) is type(wrong) and holder[path[-1]] == wrong:
            continue
        holder[path[-1]] = wrong
        yield path, broken


def _each_gap(body: Json) -> Iterator[tuple[Path, Json]]:
    """*body* without one key at a time."""
    for path in _places(body):
        broken = copy.deepcopy(body)
        del _at(broken, path[:-1])[path[-1]]
        yield path, broken


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


def _entries(body: Json) -> list[Any]:
    """The innermost list of *body*, in which the slots stand."""
    for value in body.values():
        if isinstance(value, list):
            inner = value[0] if value and isinstance(value[0], dict) else {}
            return next((one for one in inner.values() if isinstance(one, list)), value)
    raise AssertionError("there is no list")


def _may_be_an_id(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and 3 <= len(value.strip()) <= 200


def _touches(path: Path, proof: tuple[Path, ...]) -> bool:
    """Whether a change at *path* changes one of the places in *proof*."""
    return any(place[: len(path)] == path for place in proof)
