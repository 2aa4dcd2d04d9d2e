"""HuskyVoice: the contract of all adapters, its own traps, and the adapter against the sandbox."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from appointments.domain import (
    AccessDenied,
    Account,
    Already,
    AnswerLost,
    AnswerNotUnderstood,
    BookedAppointment,
    BookedAttendee,
    BookingRef,
    CancellationPolicy,
    CancelRequest,
    CapabilityMissing,
    Confirmed,
    CredentialsRejected,
    DateWindow,
    Informs,
    NotSent,
    Page,
    ProviderError,
    RateLimited,
    Refusal,
    Refused,
    Rescheduled,
    RescheduleRequest,
    Scheduled,
    ScheduleRequest,
    Scope,
    Slot,
    SlotQuery,
    Status,
)
from appointments.providers.huskyvoice import HuskyVoice
from appointments.providers.transport import ProviderHttp
from appointments.sandbox.core import Fault, FaultKind, Request, Sandbox, SandboxServer
from appointments.sandbox.huskyvoice import (
    ADYAR,
    ANNA_NAGAR,
    CHECKUP,
    FOLLOW_UP,
    FULL_KEY,
    NO_SLOTS_KEY,
    READ_ONLY_KEY,
    HuskyVoiceWorld,
)
from appointments.sandbox.people import PEOPLE
from tests import openapi
from tests.providers.contract import Json, RescheduleContract, SlotsContract

PAYLOADS = Path(__file__).parent.parent / "payloads" / "huskyvoice"
KOLKATA = ZoneInfo("Asia/Kolkata")
KEY = "sk_live_4f9c2e7a1b"
MONDAY = date(2026, 12, 7)
ONE_DAY = DateWindow(first=MONDAY, last=MONDAY)
THE_ID = "appt_a1b2c3d4e5"
TUESDAY_MORNING = datetime(2026, 12, 15, 9, 30, tzinfo=KOLKATA)


def payload(name: str) -> Json:
    read: Json = json.loads((PAYLOADS / f"{name}.json").read_text(encoding="utf-8"))
    return read


def operation_of(request: httpx.Request) -> str:
    """Name what *request* asks."""
    match request.method, request.url.path.removeprefix("/v1/").split("/"):
        case "GET", ["appointments"]:
            return "list"
        case "POST", ["appointments"]:
            return "schedule"
        case "GET", ["appointments", _]:
            return "read"
        case "PATCH", ["appointments", _]:
            return "reschedule" if b"appointment_date" in request.content else "cancel"
        case "GET", ["appointment-slots", "availability"]:
            return "availability"
        case "GET", [one]:
            return {"appointment-config": "policy"}.get(one, one)
        case _:
            return "unknown"


class TestHuskyVoice(SlotsContract, RescheduleContract):
    slug = "huskyvoice"
    provider_class = HuskyVoice
    credentials = MappingProxyType({"api_key": KEY})
    time_zone = "Asia/Kolkata"
    window = DateWindow(first=MONDAY, last=MONDAY + timedelta(days=3))
    record = payload("read_confirmed")["data"]
    other_id = "appt_z9y8x7w6v5"
    id_key = "appointment_id"
    needed = frozenset({"appointment_id", "date", "status"})
    cancel_proof = (("success",), ("data", "appointment_id"), ("data", "status"))
    schedule_proof = (
        ("success",),
        ("appointment_id",),
        ("data", "appointment_id"),
        ("data", "status"),
    )

    slots_with = frozenset({"availability"})
    free = (
        Slot(
            starts_at=datetime(2026, 12, 7, 3, 30, tzinfo=UTC),
            ends_at=datetime(2026, 12, 7, 5, 30, tzinfo=UTC),
            session="Morning",
            batch="MA",
            branch=ANNA_NAGAR,
            left=7,
        ),
        Slot(
            starts_at=datetime(2026, 12, 7, 12, 0, tzinfo=UTC),
            ends_at=datetime(2026, 12, 7, 14, 30, tzinfo=UTC),
            session="Evening",
            batch="EA",
            branch=ANNA_NAGAR,
            left=1,
        ),
    )
    ends_a_slot = frozenset({"status", "available_slots"})
    cancelled_word = "cancelled"
    reschedule_proof = (
        ("success",),
        ("data", "appointment_id"),
        ("data", "status"),
        ("data", "date"),
        ("data", "session"),
        ("data", "batch"),
    )

    def operation(self, request: httpx.Request) -> str:
        return operation_of(request)

    def other_answer(self, operation: str, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=payload(operation))

    def list_body(self, records: list[Json]) -> Json:
        return {"success": True, "data": records}

    def read_body(self, record: Json) -> Json:
        return {"success": True, "data": record}

    def cancel_body(self) -> Json:
        return payload("cancelled")

    def cancelled_record(self) -> Json:
        record: Json = payload("read_cancelled")["data"]
        return record | {"appointment_id": self.record["appointment_id"]}

    def schedule_body(self) -> Json:
        return payload("scheduled")

    def schedule_request(self) -> ScheduleRequest:
        return booking_request()

    def slots_body(self) -> Json:
        """The morning first, whose fields the suite breaks."""
        body = payload("availability_two_sessions")
        body["slots"].reverse()
        return body

    def no_slots_body(self) -> Json:
        return payload("availability_none")

    def slots_query(self) -> SlotQuery:
        return SlotQuery(window=ONE_DAY)

    def moved_record(self) -> Json:
        record: Json = payload("rescheduled")["data"]
        return record

    def reschedule_answer(self, record: Json) -> Json:
        return {"success": True, "data": record}

    def reschedule_request(self) -> RescheduleRequest:
        return RescheduleRequest(
            appointment=self.booking(), starts_at=TUESDAY_MORNING, session="Morning", batch="MA"
        )


def booking_request(**changes: Any) -> ScheduleRequest:
    usual = ScheduleRequest(
        service=CHECKUP,
        starts_at=datetime(2026, 12, 14, 9, 30, tzinfo=KOLKATA),
        name="Aadhi",
        phone="+919840000001",
    )
    return replace(usual, **changes)


# --- a vendor that says what it is told -------------------------------------------------------

type Answering = Callable[[httpx.Request], httpx.Response]


class Vendor:
    """Answers each operation with what *answers* hold; keeps the requests."""

    def __init__(self, **answers: Json | httpx.Response | Answering) -> None:
        self.answers: Mapping[str, Json | httpx.Response | Answering] = {
            "list": payload("list_one_day"),
            "services": payload("services"),
            "availability": empty_day,
            "policy": payload("policy"),
            **answers,
        }
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        assert openapi.violations("huskyvoice", request) == []
        answer = self.answers[operation_of(request)]
        if isinstance(answer, dict):
            return httpx.Response(200, json=answer)
        return answer if isinstance(answer, httpx.Response) else answer(request)

    def provider(self) -> HuskyVoice:
        account = Account(
            base_url="https://api.huskyvoice.ai",
            credentials={"api_key": KEY},
            time_zone=KOLKATA,
        )
        headers = HuskyVoice.headers(account.credentials)
        transport = httpx.MockTransport(self)
        http = ProviderHttp(account.base_url, headers=headers, transport=transport)
        return HuskyVoice(account, http=http)

    def asked(self, operation: str) -> list[httpx.Request]:
        return [request for request in self.requests if operation_of(request) == operation]


def empty_day(request: httpx.Request) -> httpx.Response:
    body = {"success": True, "date": request.url.params["date"], "slots": []}
    return httpx.Response(200, json=body)


def failing(status: int, code: str = "", **headers: str) -> httpx.Response:
    error = {"code": code, "message": "No."}
    return httpx.Response(status, json={"error": error}, headers=headers)


def on(wanted: str, body: Json) -> Answering:
    """A list answer that shows *body* on one UTC day only."""

    def answer(request: httpx.Request) -> httpx.Response:
        shown = body if request.url.params["date"] == wanted else {"success": True, "data": []}
        return httpx.Response(200, json=shown)

    return answer


def records(pages: Iterator[Page]) -> dict[str, BookedAppointment]:
    return {record.external_id: record for page in pages for record in page.records}


def seen(**changes: Any) -> BookedAppointment:
    """The appointment of the payloads, as the look before a cancel shows it."""
    usual = BookedAppointment(
        external_id=THE_ID,
        status=Status.BOOKED,
        provider_status="confirmed",
        day=MONDAY,
        title="General Checkup",
        window=(time(9), time(11)),
        updated_at=datetime(2026, 11, 26, 10, tzinfo=UTC),
    )
    return replace(usual, **changes)


# --- listing ----------------------------------------------------------------------------------


def test_listing_asks_day_by_day_one_day_wider_at_both_ends() -> None:
    """The filter's day is UTC and the row's may be local, so the edges are asked for too."""
    vendor = Vendor(list={"success": True, "data": []})

    list(vendor.provider().pages(DateWindow(first=MONDAY, last=MONDAY + timedelta(days=2))))

    assert [dict(request.url.params) for request in vendor.requests] == [
        {"date": f"2026-12-{day:02d}", "page": "1", "limit": "200"} for day in range(6, 11)
    ]


def test_row_listed_on_another_utc_day_counts_by_its_own_date() -> None:
    """An early appointment in India is listed on the UTC day before, and still is of its date."""
    vendor = Vendor(list=on("2026-12-06", payload("list_one_day")))

    found = records(vendor.provider().pages(ONE_DAY))

    assert len(found) == 4
    assert {record.day for record in found.values()} == {MONDAY}


def test_full_page_is_followed_by_the_next() -> None:
    """There is no pagination to rely on: only a page that is not full is the last."""
    row = payload("read_confirmed")["data"]

    def answer(request: httpx.Request) -> httpx.Response:
        number = int(request.url.params["page"])
        size = {1: 200, 2: 200}.get(number, 0) if request.url.params["date"] == "2026-12-07" else 0
        rows = [row | {"appointment_id": f"appt_{number}_{one}"} for one in range(size)]
        return httpx.Response(200, json={"success": True, "data": rows})

    vendor = Vendor(list=answer)

    found = records(vendor.provider().pages(ONE_DAY))

    assert len(found) == 400
    asked = [request.url.params for request in vendor.asked("list")]
    assert [one["page"] for one in asked if one["date"] == "2026-12-07"] == ["1", "2", "3"]


def test_page_that_comes_again_ends_the_listing() -> None:
    """A server that ignores `page` would be asked for ever."""
    row = payload("read_confirmed")["data"]
    rows = [row | {"appointment_id": f"appt_{one}"} for one in range(200)]
    vendor = Vendor(list={"success": True, "data": rows})

    with pytest.raises(AnswerNotUnderstood, match="pages_loop"):
        list(vendor.provider().pages(ONE_DAY))


def test_records_are_read_in_our_words() -> None:
    """Every documented status, a service by its name, and no clock time anywhere."""
    vendor = Vendor(availability=payload("availability"))

    found = records(vendor.provider().pages(ONE_DAY))

    assert {record.provider_status: record.status for record in found.values()} == {
        "confirmed": Status.BOOKED,
        "rescheduled": Status.BOOKED,
        "cancelled": Status.CANCELLED,
        "completed": Status.COMPLETED,
    }
    assert found["appt_f6g7h8i9j0"] == BookedAppointment(
        external_id="appt_f6g7h8i9j0",
        status=Status.BOOKED,
        provider_status="rescheduled",
        day=MONDAY,
        session="Morning",
        batch="MB",
        title="General Checkup",
        host="Dr. Priya Sharma",
        reference="14",
        attendees=(BookedAttendee(name="மீனாட்சி சுந்தரம்", phone="+919840000002"),),
        locator={"service_id": CHECKUP, "branch_id": ANNA_NAGAR},
        updated_at=datetime(2026, 12, 1, 9, 30, tzinfo=UTC),
    )
    assert all(record.starts_at is record.ends_at is None for record in found.values())


def test_unknown_status_and_session_are_shown_as_they_are() -> None:
    """A word that nobody documented is never booked and never cancelled."""
    body = payload("list_unknown_status")
    [record] = records(
        Vendor(list=body)
        .provider()
        .pages(DateWindow(first=MONDAY, last=MONDAY + timedelta(days=1)))
    ).values()

    assert (record.status, record.provider_status) == (Status.OTHER, "no_show")
    assert record.session == "Night"


def test_masked_phone_stays_as_it_is() -> None:
    """Every sample of the vendor's is masked: text, not a number to be mended."""
    window = DateWindow(first=date(2026, 6, 15), last=date(2026, 6, 15))
    [record] = records(Vendor(list=payload("list_masked_phone")).provider().pages(window)).values()

    assert record.attendees[0].phone == "+919840XXXXXX"


def test_odd_rows_are_borne_or_set_aside_one_by_one() -> None:
    """Null where text is usual is borne; without id or date a row is set aside, alone."""
    pages = list(Vendor(list=on("2026-12-07", payload("list_odd"))).provider().pages(ONE_DAY))
    found = records(iter(pages))

    assert set(found) == {"appt_s1", "appt_s2", "appt_s3", "appt_s4", "appt_s7"}
    assert found["appt_s1"].attendees == found["appt_s2"].attendees == ()
    assert found["appt_s2"].status is Status.BOOKED
    assert found["appt_s3"].reference == "14"
    assert found["appt_s4"].status is Status.OTHER  # case matters
    assert found["appt_s7"].updated_at is None
    rejected = [one for page in pages for one in page.rejected]
    assert [one.external_id for one in rejected] == ["appt_s5", ""]


def test_services_are_asked_once_and_only_for_rows() -> None:
    """Names cost one request of sixty, and none when nothing is booked."""
    idle, busy = Vendor(list={"success": True, "data": []}), Vendor()
    list(idle.provider().pages(ONE_DAY))
    provider = busy.provider()
    list(provider.pages(ONE_DAY))
    list(provider.pages(ONE_DAY))

    assert idle.asked("services") == []
    assert len(busy.asked("services")) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
def test_side_call_that_fails_leaves_the_listing_whole(status: int) -> None:
    """Names and windows adorn: without them the rows are listed all the same."""
    vendor = Vendor(services=failing(status), availability=failing(status))

    found = records(vendor.provider().pages(ONE_DAY))

    assert len(found) == 4
    assert {(record.title, record.window) for record in found.values()} == {("", None)}


@pytest.mark.parametrize("error", [httpx.ReadTimeout, httpx.ReadError, httpx.ConnectError])
def test_side_call_without_answer_leaves_the_listing_whole(
    error: type[httpx.TransportError],
) -> None:
    """The same when there is no answer at all."""

    def lost(_request: httpx.Request) -> httpx.Response:
        raise error("lost")

    vendor = Vendor(services=lost, availability=lost)

    assert len(records(vendor.provider().pages(ONE_DAY))) == 4


# --- windows ----------------------------------------------------------------------------------


def window_of(availability: Json, external_id: str = THE_ID) -> tuple[time, time] | None:
    vendor = Vendor(availability=availability)
    return records(vendor.provider().pages(ONE_DAY))[external_id].window


def test_window_is_found_by_branch_date_session_and_batch() -> None:
    """The only clock times there are; a row of another batch gets none."""
    assert window_of(payload("availability")) == (time(9), time(11))
    assert window_of(payload("availability"), "appt_f6g7h8i9j0") is None


@pytest.mark.parametrize("name", ["branch_id", "session", "batch"])
def test_window_of_another_place_is_not_taken(name: str) -> None:
    """Each of the three must be the row's own."""
    body = payload("availability")
    body["slots"][0][name] = "another"

    assert window_of(body) is None


def test_windows_that_disagree_give_none() -> None:
    """Two calendars with different hours: nobody knows which one it is."""
    assert window_of(payload("availability_two_windows")) is None


def test_window_for_one_service_is_not_taken_for_another() -> None:
    """A window may be open to one service only."""
    assert window_of(payload("availability_by_service")) == (time(9), time(11))


def test_odd_windows_are_left_out() -> None:
    """Impossible hours, hours with an offset, no branch: none of them places a row."""
    assert window_of(payload("availability_odd")) == (time(9), time(11))


@pytest.mark.parametrize("changes", [{"date": "2026-12-08"}, {"success": False}, {"slots": None}])
def test_windows_of_another_day_are_not_taken(changes: dict[str, Any]) -> None:
    """An answer about another day, or none, places nothing."""
    assert window_of(payload("availability") | changes) is None


def test_windows_are_asked_once_a_day_and_only_for_live_rows() -> None:
    """Sixty requests a minute: what is over or cancelled needs no window."""
    rows = payload("list_one_day")["data"]
    over = [row | {"date": "2026-12-08"} for row in rows if row["status"] not in LIVE_WORDS]
    vendor = Vendor(
        list=on("2026-12-07", {"success": True, "data": [*rows, *over]}),
    )

    list(vendor.provider().pages(DateWindow(first=MONDAY, last=MONDAY + timedelta(days=4))))

    assert [one.url.params["date"] for one in vendor.asked("availability")] == ["2026-12-07"]


LIVE_WORDS = ("confirmed", "rescheduled")


def test_windows_that_failed_once_are_not_asked_again_in_a_listing() -> None:
    """What is left of the minute's requests is for the listing itself."""
    row = payload("read_confirmed")["data"]

    def answer(request: httpx.Request) -> httpx.Response:
        asked = request.url.params["date"]
        shown = row | {"appointment_id": f"appt_{asked}", "date": asked}
        return httpx.Response(200, json={"success": True, "data": [shown]})

    vendor = Vendor(list=answer, availability=failing(403, "INSUFFICIENT_SCOPE"))

    found = records(
        vendor.provider().pages(DateWindow(first=MONDAY, last=MONDAY + timedelta(days=4)))
    )

    assert len(found) == 5
    assert len(vendor.asked("availability")) == 1


def test_a_sync_fits_into_the_requests_of_a_minute() -> None:
    """Two requests a day, the edges and the names: well below sixty."""
    days = HuskyVoice.capabilities.listing_days
    row = payload("read_confirmed")["data"]

    def answer(request: httpx.Request) -> httpx.Response:
        asked = request.url.params["date"]
        shown = row | {"appointment_id": f"appt_{asked}", "date": asked}
        return httpx.Response(200, json={"success": True, "data": [shown]})

    vendor = Vendor(list=answer)

    list(vendor.provider().pages(DateWindow(first=MONDAY, last=MONDAY + timedelta(days=days))))

    assert len(vendor.requests) <= HuskyVoice.capabilities.requests_per_minute * 2 / 3


# --- reading one, policy, services, key -------------------------------------------------------


@pytest.mark.parametrize("name", ["read_confirmed", "read_bare"])
def test_read_takes_the_record_with_and_without_envelope(name: str) -> None:
    """Which of the two the vendor sends is not certain."""
    vendor = Vendor(read=payload(name))

    record = vendor.provider().read(BookingRef(external_id=THE_ID))

    assert record is not None
    assert (record.external_id, record.title) == (THE_ID, "General Checkup")
    assert [request.url.path for request in vendor.requests] == [
        f"/v1/appointments/{THE_ID}",
        "/v1/services",
    ]


def test_read_that_says_failure_is_not_understood() -> None:
    """`success: false` with a record is no record."""
    vendor = Vendor(read=payload("read_confirmed") | {"success": False})

    with pytest.raises(AnswerNotUnderstood):
        vendor.provider().read(BookingRef(external_id=THE_ID))


@pytest.mark.parametrize(
    ("body", "policy"),
    [
        (
            payload("policy"),
            CancellationPolicy(allowed=True, notice=timedelta(hours=24), time_zone="Asia/Kolkata"),
        ),
        (
            payload("policy")["data"],
            CancellationPolicy(allowed=True, notice=timedelta(hours=24), time_zone="Asia/Kolkata"),
        ),
        (
            payload("policy_forbids"),
            CancellationPolicy(allowed=False, notice=timedelta(hours=24), time_zone="Asia/Kolkata"),
        ),
        (
            payload("policy_without_zone"),
            CancellationPolicy(allowed=True, notice=timedelta(hours=24)),
        ),
        (
            {"allow_cancellation": True, "cancellation_notice_hours": 0.5},
            CancellationPolicy(allowed=True, notice=timedelta(minutes=30)),
        ),
    ],
)
def test_policy_is_read(body: Any, policy: CancellationPolicy) -> None:
    """With and without envelope and zone; part of an hour is possible."""
    assert Vendor(policy=body).provider().policy() == policy


@pytest.mark.parametrize(
    "changes",
    [
        {"allow_cancellation": "true"},
        {"allow_cancellation": 1},
        {"allow_cancellation": None},
        {"cancellation_notice_hours": "24"},
        {"cancellation_notice_hours": True},
        {"cancellation_notice_hours": -1},
        {"cancellation_notice_hours": None},
        {"cancellation_notice_hours": 10**399},
        {"timezone": "a\x00b"},
    ],
)
def test_odd_policy_is_not_understood(changes: dict[str, Any]) -> None:
    """A policy that is not certain allows nothing and forbids nothing."""
    body = {"success": True, "data": payload("policy")["data"] | changes}

    with pytest.raises(AnswerNotUnderstood):
        Vendor(policy=body).provider().policy()


@pytest.mark.parametrize("hours", ["NaN", "Infinity", "1e999"])
def test_policy_with_impossible_hours_is_not_understood(hours: str) -> None:
    """Python reads what JSON does not know."""
    text = f'{{"allow_cancellation": true, "cancellation_notice_hours": {hours}}}'
    answer = httpx.Response(200, text=text, headers={"content-type": "application/json"})

    with pytest.raises(AnswerNotUnderstood):
        Vendor(policy=answer).provider().policy()


def test_services_that_make_sense_are_offered() -> None:
    """One odd entry does not take the others from the form."""
    body = payload("services")
    body["data"] += [{"service_id": None, "name": "x"}, {"service_id": "y"}, "z"]

    services = Vendor(services=body).provider().services()

    assert [(one.external_id, one.name) for one in services] == [
        (CHECKUP, "General Checkup"),
        (FOLLOW_UP, "Follow-up Visit"),
    ]


def test_services_of_which_none_makes_sense_are_not_none() -> None:
    """Nothing to book is another thing than an answer that cannot be read."""
    body = {"success": True, "data": [{"service_id": None}, "z"]}

    with pytest.raises(AnswerNotUnderstood):
        Vendor(services=body).provider().services()


def test_check_asks_for_one_row_of_today() -> None:
    """The cheapest call that needs the scope for reading; never without a date."""
    vendor = Vendor()

    vendor.provider().check()

    [request] = vendor.requests
    assert request.url.params["date"] == datetime.now(UTC).date().isoformat()
    assert (request.url.params["page"], request.url.params["limit"]) == ("1", "1")
    assert request.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("operation", ["check", "policy", "services"])
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (failing(401, "UNAUTHORIZED"), CredentialsRejected),
        (failing(402, "INSUFFICIENT_CREDITS"), AccessDenied),
        (failing(403, "INSUFFICIENT_SCOPE"), AccessDenied),
        (failing(429, "RATE_LIMIT_EXCEEDED"), RateLimited),
        (failing(500, "INTERNAL_ERROR"), AnswerNotUnderstood),
        (httpx.Response(402, html="<h1>Pay</h1>"), AnswerNotUnderstood),
        (httpx.Response(200, json={"success": False, "data": []}), AnswerNotUnderstood),
    ],
)
def test_failed_read_says_why(
    operation: str, answer: httpx.Response, error: type[ProviderError]
) -> None:
    """Each failure of a read keeps its own name."""
    vendor = Vendor(list=answer, policy=answer, services=answer)

    with pytest.raises(error):
        getattr(vendor.provider(), operation)()


# --- cancelling -------------------------------------------------------------------------------


def cancelling(
    answer: Json | httpx.Response, **changes: Any
) -> tuple[Vendor, Callable[[], Confirmed | Already | Refused]]:
    vendor = Vendor(cancel=answer)
    request = CancelRequest(appointment=seen(**changes), reason="Doctor is ill")
    return vendor, lambda: vendor.provider().cancel(request)


def test_cancel_sends_the_status_and_nothing_else() -> None:
    """`notes` is never returned, so a reason written there could erase what nobody saw."""
    vendor, cancel = cancelling(payload("cancelled"))

    cancel()

    [request] = vendor.requests
    assert (request.method, request.url.path) == ("PATCH", f"/v1/appointments/{THE_ID}")
    assert json.loads(request.content) == {"status": "cancelled"}
    assert request.headers["authorization"] == f"Bearer {KEY}"


def test_cancel_with_new_updated_at_is_confirmed() -> None:
    """The record changed with this request; title and window are kept from the look."""
    _, cancel = cancelling(payload("cancelled"))

    answer = cancel()

    assert isinstance(answer, Confirmed)
    assert answer.appointment is not None
    assert answer.appointment.status is Status.CANCELLED
    assert answer.appointment.title == "General Checkup"
    assert answer.appointment.window == (time(9), time(11))


def test_cancel_with_old_updated_at_was_before() -> None:
    """Nothing changed, so it was cancelled already and not by this click."""
    before = datetime(2026, 12, 3, 12, tzinfo=UTC)
    _, cancel = cancelling(payload("cancelled"), updated_at=before)

    assert cancel() == Already()


@pytest.mark.parametrize("changes", [{"updated_at": None}, {"updated_at": "soon"}])
def test_cancel_without_updated_at_is_confirmed(changes: dict[str, Any]) -> None:
    """Cancelled it is; that it was so before is claimed on evidence only."""
    body = payload("cancelled")
    body["data"] |= changes
    _, cancel = cancelling(body, updated_at=None)

    assert isinstance(cancel(), Confirmed)


@pytest.mark.parametrize("name", ["still_confirmed", "rescheduled"])
def test_cancel_answered_with_another_status_is_not_done(name: str) -> None:
    """A 200 alone cancels nothing."""
    _, cancel = cancelling(payload(name))

    with pytest.raises(AnswerNotUnderstood, match="still_booked"):
        cancel()


@pytest.mark.parametrize("word", ["Cancelled", "canceled", "CANCELLED"])
def test_cancel_answered_in_another_spelling_is_not_done(word: str) -> None:
    """Two l's, lower case, as documented."""
    body = payload("cancelled")
    body["data"]["status"] = word
    _, cancel = cancelling(body)

    with pytest.raises(AnswerNotUnderstood):
        cancel()


def test_cancel_answered_about_another_appointment_is_not_done() -> None:
    """The proof must be about this one."""
    _, cancel = cancelling(payload("cancelled_before"))

    with pytest.raises(AnswerNotUnderstood, match="other_id"):
        cancel()


def test_cancel_answered_without_envelope_is_not_done() -> None:
    """A read may be bare; the answer of a write is documented, and taken as documented."""
    _, cancel = cancelling(payload("cancelled")["data"])

    with pytest.raises(AnswerNotUnderstood):
        cancel()


@pytest.mark.parametrize(
    ("status", "code", "why", "conclusive"),
    [
        (403, "INSUFFICIENT_SCOPE", Refusal.PERMISSION, True),
        (403, "CANCELLATION_NOT_ALLOWED", Refusal.POLICY, True),
        (403, "SOMETHING_ELSE", Refusal.POLICY, True),
        (403, "", Refusal.POLICY, True),
        (403, "INSUFFICIENT_CREDITS", Refusal.QUOTA, True),
        (402, "INSUFFICIENT_CREDITS", Refusal.QUOTA, True),
        (402, "DAILY_QUOTA_EXCEEDED", Refusal.QUOTA, True),
        (402, "SOMETHING_ELSE", Refusal.QUOTA, False),
        (409, "CANCELLATION_NOTICE_REQUIRED", Refusal.POLICY, False),
        (409, "SOMETHING_ELSE", Refusal.POLICY, False),
        (409, "INSUFFICIENT_SCOPE", Refusal.PERMISSION, True),
        (422, "CANCELLATION_NOTICE_REQUIRED", Refusal.POLICY, False),
        (422, "SOMETHING_ELSE", Refusal.POLICY, False),
        (422, "VALIDATION_ERROR", Refusal.INVALID, False),
        (404, "NOT_FOUND", Refusal.NOT_FOUND, False),
        (400, "VALIDATION_ERROR", Refusal.INVALID, False),
        (400, "CANCELLATION_NOTICE_REQUIRED", Refusal.POLICY, False),
        (405, "", Refusal.OTHER, False),
        (410, "", Refusal.NOT_FOUND, False),
    ],
)
def test_refusal_is_told_by_its_code_then_by_its_status(
    status: int, code: str, why: Refusal, conclusive: bool
) -> None:
    """How a refusal by policy looks is not documented, so both are taken, and words never."""
    _, cancel = cancelling(failing(status, code))

    assert cancel() == Refused(why=why, said="No.", conclusive=conclusive)


def test_refusal_in_plain_text_is_kept_as_said() -> None:
    """`error` may be plain text: shown to staff, compared with nothing."""
    _, cancel = cancelling(httpx.Response(409, json=payload("refused_in_plain_text")))

    assert cancel() == Refused(why=Refusal.POLICY, said="Cancellation window has passed")


def test_empty_403_is_a_refusal() -> None:
    """The status alone is documented to change nothing."""
    _, cancel = cancelling(httpx.Response(403))

    assert cancel() == Refused(why=Refusal.POLICY, conclusive=True)


@pytest.mark.parametrize("status", [400, 403, 409])
def test_failure_of_their_side_refuses_nothing(status: int) -> None:
    """The code comes first: INTERNAL_ERROR leaves the outcome open, whatever the status."""
    _, cancel = cancelling(failing(status, "INTERNAL_ERROR"))

    with pytest.raises(AnswerNotUnderstood):
        cancel()


@pytest.mark.parametrize(
    ("code", "retry_after", "wait"),
    [
        ("RATE_LIMIT_EXCEEDED", "12", timedelta(seconds=12)),
        ("", "12", timedelta(seconds=12)),
        ("DAILY_QUOTA_EXCEEDED", "12", None),
        ("INSUFFICIENT_CREDITS", "12", None),
    ],
)
def test_used_up_quota_is_not_waited_for(
    code: str, retry_after: str, wait: timedelta | None
) -> None:
    """It comes back at 00:00 UTC or with money, not within two minutes."""
    _, cancel = cancelling(failing(429, code, **{"retry-after": retry_after}))

    with pytest.raises(RateLimited) as caught:
        cancel()

    assert caught.value.wait == wait
    assert not caught.value.may_have_happened


@pytest.mark.parametrize("scope", [Scope.ATTENDEE, Scope.FOLLOWING])
def test_cancel_of_a_part_is_a_bug_and_sends_nothing(scope: Scope) -> None:
    """There are no parts here."""
    vendor = Vendor(cancel=payload("cancelled"))

    with pytest.raises(CapabilityMissing):
        vendor.provider().cancel(CancelRequest(appointment=seen(), scope=scope))
    assert vendor.requests == []


def test_strange_id_stays_one_part_of_the_address() -> None:
    """An id is opaque; it never leads to another address."""
    provider = HuskyVoice(
        Account(
            base_url="https://api.huskyvoice.ai", credentials={"api_key": KEY}, time_zone=KOLKATA
        )
    )
    asked: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.raw_path)
        return failing(404, "NOT_FOUND")

    provider.http = ProviderHttp(
        "https://api.huskyvoice.ai", headers={}, transport=httpx.MockTransport(answer)
    )

    provider.cancel(CancelRequest(appointment=seen(external_id="a/../b?c#d")))

    assert asked == [b"/v1/appointments/a%2F..%2Fb%3Fc%23d"]


# --- booking ----------------------------------------------------------------------------------


def test_booking_is_written_in_utc_with_milliseconds() -> None:
    """As the vendor's samples write it; what is not given is left out."""
    vendor = Vendor(schedule=httpx.Response(201, json=payload("scheduled")))

    answer = vendor.provider().schedule(booking_request())

    assert json.loads(vendor.requests[0].content) == {
        "appointment_type": CHECKUP,
        "appointment_date": "2026-12-14T04:00:00.000Z",
        "patient_name": "Aadhi",
        "parent_phone": "+919840000001",
    }
    assert isinstance(answer, Scheduled)
    assert answer.external_id == THE_ID
    assert answer.appointment is not None
    assert answer.appointment.day == date(2026, 12, 14)


def test_booking_names_session_and_branch_when_given() -> None:
    """Organizations with several branches want one."""
    vendor = Vendor(schedule=httpx.Response(201, json=payload("scheduled")))

    vendor.provider().schedule(booking_request(session="Morning", branch=ADYAR))

    sent = json.loads(vendor.requests[0].content)
    assert (sent["session"], sent["branch_id"]) == ("Morning", ADYAR)


@pytest.mark.parametrize(
    ("status", "code", "why"),
    [
        (409, "SLOT_FULL", Refusal.SLOT_TAKEN),
        (422, "OUTSIDE_AVAILABILITY", Refusal.SLOT_TAKEN),
        (409, "DUPLICATE_BOOKING", Refusal.DUPLICATE),
        (400, "VALIDATION_ERROR", Refusal.INVALID),
        (403, "INSUFFICIENT_SCOPE", Refusal.PERMISSION),
        (402, "INSUFFICIENT_CREDITS", Refusal.QUOTA),
    ],
)
def test_refused_booking_says_why(status: int, code: str, why: Refusal) -> None:
    """The codes are documented, their statuses are not."""
    answer = Vendor(schedule=failing(status, code)).provider().schedule(booking_request())

    assert isinstance(answer, Refused)
    assert answer.why is why


def test_booking_answered_as_cancelled_is_not_booked() -> None:
    """A 201 that shows something cancelled leaves nobody with a place."""
    body = payload("scheduled")
    body["data"]["status"] = "cancelled"
    vendor = Vendor(schedule=httpx.Response(201, json=body))

    with pytest.raises(AnswerNotUnderstood, match="not_booked"):
        vendor.provider().schedule(booking_request())


# --- free slots -------------------------------------------------------------------------------


def slots_of(availability: Json | httpx.Response | Answering, **query: Any) -> tuple[Slot, ...]:
    return Vendor(availability=availability).provider().slots(SlotQuery(window=ONE_DAY, **query))


def test_slots_are_asked_for_day_by_day() -> None:
    """A day a request, and the edges are no days of their own: windows are asked by local date."""
    vendor = Vendor()

    slots = vendor.provider().slots(
        SlotQuery(window=DateWindow(first=MONDAY, last=MONDAY + timedelta(days=2)))
    )

    assert slots == ()
    assert [dict(request.url.params) for request in vendor.requests] == [
        {"date": f"2026-12-{day:02d}"} for day in (7, 8, 9)
    ]


def test_slots_of_a_move_are_those_of_its_branch_and_service() -> None:
    """The branch is asked for; a window for another service only is left out here."""
    vendor = Vendor(availability=payload("availability_by_service"))
    moving = seen(locator={"branch_id": ANNA_NAGAR, "service_id": CHECKUP})

    [slot] = vendor.provider().slots(SlotQuery(window=ONE_DAY, session="Morning", moving=moving))

    assert dict(vendor.requests[0].url.params) == {
        "date": "2026-12-07",
        "branch_id": ANNA_NAGAR,
        "session": "Morning",
    }
    assert slot.starts_at == datetime(2026, 12, 7, 9, tzinfo=KOLKATA)
    assert slot.is_window


def test_slots_come_in_the_order_of_the_day() -> None:
    """Whatever the order of the vendor's calendars."""
    slots = slots_of(payload("availability_two_sessions"))

    assert [one.session for one in slots] == ["Morning", "Evening"]


def test_slot_names_the_only_service_that_it_is_for() -> None:
    """So that nobody books another one into it."""
    found = slots_of(payload("availability_by_service"))

    assert [one.service for one in found] == [FOLLOW_UP, ""]


@pytest.mark.parametrize(
    "query",
    [
        {"branch": ADYAR},
        {"branch": "branch_uuid_here"},
        {"session": "Evening"},
        {"session": "Night"},
        {"moving": seen(locator={"branch_id": "branch_uuid_here"})},
    ],
)
def test_window_that_was_not_asked_for_is_no_slot(query: dict[str, Any]) -> None:
    """Even if the vendor shows it all the same, or could not be asked."""
    assert slots_of(payload("availability"), **query) == ()


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        ({}, [7]),
        ({"available_slots": 0}, []),
        ({"available_slots": -2}, []),
        ({"available_slots": None}, [None]),
        ({"available_slots": "7"}, [None]),
        ({"available_slots": True}, [None]),
        ({"available_slots": 10**30}, [None]),
        ({"status": "CLOSED"}, []),
        ({"status": None}, []),
    ],
)
def test_full_or_closed_window_is_no_slot(fields: Json, left: list[int | None]) -> None:
    """What the vendor does not count is not called full, and nothing but OPEN is open."""
    body = payload("availability")
    body["slots"][0] |= fields

    assert [one.left for one in slots_of(body)] == left


@pytest.mark.parametrize("session", ["", "  ", None])
def test_window_without_session_is_no_slot(session: str | None) -> None:
    """Nothing could be moved into it with a proof."""
    body = payload("availability_two_sessions")
    body["slots"][0]["session"] = session

    assert [one.session for one in slots_of(body)] == ["Morning"]


def test_window_that_says_nothing_of_its_status_is_open() -> None:
    """Only open windows come back."""
    body = payload("availability")
    del body["slots"][0]["status"]

    assert len(slots_of(body)) == 1


@pytest.mark.parametrize("day", ["2026-12-08", "2026-12-06", "", None])
def test_slots_of_another_day_are_not_taken(day: str | None) -> None:
    """Staff would offer a Tuesday for a Monday."""
    with pytest.raises(AnswerNotUnderstood):
        slots_of(payload("availability") | {"date": day})


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (failing(403, "INSUFFICIENT_SCOPE"), AccessDenied),
        (failing(402, "INSUFFICIENT_CREDITS"), AccessDenied),
        (failing(429, "DAILY_QUOTA_EXCEEDED"), RateLimited),
    ],
)
def test_second_day_that_fails_leaves_no_half_of_a_week(
    answer: httpx.Response, error: type[ProviderError]
) -> None:
    """A week that ends on Monday would look fully booked from Tuesday on."""

    def availability(request: httpx.Request) -> httpx.Response:
        if request.url.params["date"] == "2026-12-07":
            return httpx.Response(200, json=payload("availability"))
        return answer

    vendor = Vendor(availability=availability)

    with pytest.raises(error):
        vendor.provider().slots(
            SlotQuery(window=DateWindow(first=MONDAY, last=MONDAY + timedelta(days=3)))
        )
    assert len(vendor.requests) == 2


# --- moving -----------------------------------------------------------------------------------


def moving_to(
    starts_at: datetime = TUESDAY_MORNING, *, session: str = "Morning", batch: str = "MA"
) -> RescheduleRequest:
    before = seen(session="Morning", batch="MA")
    return RescheduleRequest(appointment=before, starts_at=starts_at, session=session, batch=batch)


def test_move_sends_moment_session_and_batch_and_nothing_else() -> None:
    """The moment in UTC with milliseconds; no status, which changes by itself, and no notes."""
    vendor = Vendor(reschedule=payload("rescheduled"))

    came = vendor.provider().reschedule(moving_to())

    [request] = vendor.requests
    assert (request.method, request.url.path) == ("PATCH", f"/v1/appointments/{THE_ID}")
    assert json.loads(request.content) == {
        "appointment_date": "2026-12-15T04:00:00.000Z",
        "session": "Morning",
        "batch": "MA",
    }
    assert isinstance(came, Rescheduled)
    assert came.appointment.provider_status == "rescheduled"
    assert came.appointment.status is Status.BOOKED
    assert (came.appointment.day, came.appointment.session) == (date(2026, 12, 15), "Morning")
    assert came.appointment.title == "General Checkup"
    assert came.appointment.window is None, "the window that was known is that of the old day"


def test_move_without_batch_leaves_it_out() -> None:
    """Then the session proves the move, whatever batch it is."""
    vendor = Vendor(reschedule=payload("rescheduled"))

    came = vendor.provider().reschedule(moving_to(batch=""))

    assert "batch" not in json.loads(vendor.requests[0].content)
    assert isinstance(came, Rescheduled)


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (moving_to(session=""), "session_missing"),
        (moving_to(datetime(2026, 12, 7, 10, 30, tzinfo=KOLKATA)), "nothing_to_move"),
        (moving_to(datetime(2026, 12, 7, 10, 30, tzinfo=KOLKATA), batch=""), "nothing_to_move"),
    ],
)
def test_move_that_no_answer_could_prove_is_not_sent(request_: RescheduleRequest, why: str) -> None:
    """No answer has a clock time: within one batch the old place and the new look the same."""
    vendor = Vendor()

    with pytest.raises(NotSent, match=why):
        vendor.provider().reschedule(request_)

    assert vendor.requests == []


@pytest.mark.parametrize(
    "changes",
    [
        {"date": "2026-12-14"},
        {"date": "2026-12-16"},
        {"session": "Afternoon"},
        {"session": "morning"},
        {"session": None},
        {"batch": "MB"},
        {"batch": None},
        {"status": "completed"},
        {"status": "Rescheduled"},
    ],
)
def test_move_to_another_place_is_no_confirmation(changes: Json) -> None:
    """A Z that is taken for a wall clock shows as another session or day, and is not believed."""
    body = payload("rescheduled")
    body["data"] |= changes

    with pytest.raises(AnswerNotUnderstood, match="not_as_asked") as raised:
        Vendor(reschedule=body).provider().reschedule(moving_to())

    assert raised.value.may_have_happened


def test_move_answered_as_confirmed_is_rescheduled() -> None:
    """What the status becomes is cut off in the documentation: both words mean booked."""
    body = payload("rescheduled")
    body["data"]["status"] = "confirmed"

    assert isinstance(Vendor(reschedule=body).provider().reschedule(moving_to()), Rescheduled)


def test_day_of_a_move_is_that_of_the_desk() -> None:
    """Half past two at night in India is the day before in UTC; the answer has the local day."""
    early = datetime(2026, 12, 15, 2, 30, tzinfo=KOLKATA)
    vendor = Vendor(reschedule=payload("rescheduled"))

    came = vendor.provider().reschedule(moving_to(early))

    sent = json.loads(vendor.requests[0].content)["appointment_date"]
    assert sent == "2026-12-14T21:00:00.000Z"
    assert isinstance(came, Rescheduled)


@pytest.mark.parametrize(
    ("answer", "why", "said"),
    [
        (httpx.Response(409, json=payload("slot_full")), Refusal.SLOT_TAKEN, "No capacity"),
        (
            httpx.Response(422, json=payload("outside_availability")),
            Refusal.SLOT_TAKEN,
            "The time is outside",
        ),
        (failing(409, "DUPLICATE_BOOKING"), Refusal.DUPLICATE, "No."),
        (failing(409, "RESCHEDULING_NOT_ALLOWED"), Refusal.POLICY, "No."),
        (failing(422, "SOMETHING_ELSE"), Refusal.POLICY, "No."),
        (failing(400, "VALIDATION_ERROR"), Refusal.INVALID, "No."),
        (failing(400, "SLOT_FULL"), Refusal.SLOT_TAKEN, "No."),
        (failing(404, "NOT_FOUND"), Refusal.NOT_FOUND, "No."),
        (failing(402, "INSUFFICIENT_CREDITS"), Refusal.QUOTA, "No."),
    ],
)
def test_refused_move_says_why(answer: httpx.Response, why: Refusal, said: str) -> None:
    """By its code, whatever the status; without a known one by its status."""
    came = Vendor(reschedule=answer).provider().reschedule(moving_to())

    assert isinstance(came, Refused)
    assert came.why is why
    assert came.said.startswith(said)
    assert came.conclusive == (why is Refusal.QUOTA)


def test_capabilities_say_what_the_interface_can_express() -> None:
    """Held here so that a change is a decision."""
    can = HuskyVoice.capabilities

    assert can.reads_one
    assert can.repeat_is_safe
    assert can.has_policy
    assert not can.reason_reaches_provider
    assert not can.cancels_past
    assert (can.one_attendee, can.following, can.needs_email) == (False, False, False)
    assert can.informs is Informs.PROBABLY_NOBODY
    assert [(one.name, one.required) for one in can.schedule_fields] == [
        ("service", True),
        ("starts_at", True),
        ("name", True),
        ("phone", True),
        ("session", False),
        ("branch", False),
    ]
    assert (can.requests_per_minute, can.listing_days) == (60, 14)
    assert (can.reschedules, can.shows_slots, can.confirms_pending) == (True, True, False)


# --- against the sandbox ----------------------------------------------------------------------

type Connect = Callable[..., HuskyVoice]

NOW = datetime(2026, 12, 4, 10, 0, tzinfo=KOLKATA)


@pytest.fixture
def world() -> HuskyVoiceWorld:
    world = HuskyVoiceWorld()
    world.now = lambda: NOW
    return world


@pytest.fixture
def server(world: HuskyVoiceWorld) -> Iterator[SandboxServer]:
    server = SandboxServer(Sandbox([world]), port=0)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def connect(server: SandboxServer) -> Iterator[Connect]:
    made: list[HuskyVoice] = []

    def connect(key: str = FULL_KEY) -> HuskyVoice:
        account = Account(
            base_url=server.base_url("huskyvoice"),
            credentials={"api_key": key},
            time_zone=KOLKATA,
            rehearsal=True,
        )
        made.append(HuskyVoice(account))
        return made[-1]

    yield connect
    for provider in made:
        provider.http.close()


def look(provider: HuskyVoice, external_id: str) -> BookedAppointment:
    record = provider.read(BookingRef(external_id=external_id))
    assert record is not None
    return record


def test_sandbox_bookings_are_listed_with_names_and_windows(
    world: HuskyVoiceWorld, connect: Connect
) -> None:
    """The whole way: rows, names, hours; a row without batch has no hours."""
    with_window = world.add(day=MONDAY, session="Evening", batch="EA", branch=ADYAR)
    without = world.add(day=MONDAY, session="Evening", batch=None)
    world.add(day=MONDAY + timedelta(days=1))

    found = records(connect().pages(ONE_DAY))

    assert set(found) == {with_window, without}
    assert found[with_window].window == (time(17), time(19, 30))
    assert found[with_window].title == "General Checkup"
    assert found[without].window is None


def test_sandbox_early_row_is_found_on_its_local_day(
    world: HuskyVoiceWorld, connect: Connect
) -> None:
    """01:00 in India is the day before in UTC; the listing of its local day still has it."""
    early = world.add(day=MONDAY, at=datetime(2026, 12, 7, 1, 0, tzinfo=KOLKATA))

    assert set(records(connect().pages(ONE_DAY))) == {early}


def test_sandbox_full_window_gives_no_hours(world: HuskyVoiceWorld, connect: Connect) -> None:
    """A full window is left out by the vendor: its rows are listed without hours."""
    rows = [world.add(day=MONDAY, session="Evening", batch="EA", branch=ADYAR) for _ in range(3)]

    found = records(connect().pages(ONE_DAY))

    assert set(found) == set(rows)
    assert {record.window for record in found.values()} == {None}


def test_sandbox_busy_day_is_listed_over_pages(
    world: HuskyVoiceWorld, connect: Connect, server: SandboxServer
) -> None:
    """More than one page, and none lost."""
    rows = {world.add(day=MONDAY, status="completed") for _ in range(230)}

    assert set(records(connect().pages(ONE_DAY))) == rows
    asked = [entry.query for entry in server.sandbox.log if entry.operation == "list"]
    assert [query["date"] for query in asked] == [[f"2026-12-0{day}"] for day in (6, 7, 7, 8)]


def test_sandbox_key_without_slots_lists_without_hours(
    world: HuskyVoiceWorld, connect: Connect
) -> None:
    """The scope for windows is another one."""
    row = world.add(day=MONDAY)

    assert records(connect(NO_SLOTS_KEY).pages(ONE_DAY))[row].window is None


def test_sandbox_cancel_is_confirmed_and_repeat_is_already(
    world: HuskyVoiceWorld, connect: Connect
) -> None:
    """The first changes the row; the second is the same 200, told apart by `updated_at`."""
    row = world.add(day=MONDAY)
    provider = connect()
    before = look(provider, row)

    first = provider.cancel(CancelRequest(appointment=before))
    second = provider.cancel(CancelRequest(appointment=look(provider, row)))

    assert isinstance(first, Confirmed)
    assert second == Already()
    assert look(provider, row).status is Status.CANCELLED
    assert set(records(provider.pages(ONE_DAY))) == {row}  # cancelled ones stay listed
    assert world.mails == []


def test_sandbox_policy_refuses_and_nothing_is_cancelled(
    world: HuskyVoiceWorld, connect: Connect
) -> None:
    """Notice counts from the start of the window; forbidding is a 403."""
    tomorrow = world.add(day=NOW.date() + timedelta(days=1), batch="MA")  # 09:00, in 23 hours
    later = world.add(day=NOW.date() + timedelta(days=1), batch="MB")  # 11:00, in 25 hours
    provider = connect()

    refused = provider.cancel(CancelRequest(appointment=look(provider, tomorrow)))
    confirmed = provider.cancel(CancelRequest(appointment=look(provider, later)))
    world.set_policy(allow_cancellation=False, cancellation_notice_hours=0)
    forbidden = provider.cancel(CancelRequest(appointment=look(provider, tomorrow)))

    assert isinstance(refused, Refused)
    assert (refused.why, refused.conclusive) == (Refusal.POLICY, False)
    assert "24 hours" in refused.said
    assert isinstance(confirmed, Confirmed)
    assert isinstance(forbidden, Refused)
    assert (forbidden.why, forbidden.conclusive) == (Refusal.POLICY, True)
    assert look(provider, tomorrow).is_live
    assert provider.policy() == CancellationPolicy(
        allowed=False, notice=timedelta(0), time_zone="Asia/Kolkata"
    )


def test_sandbox_read_only_key_may_read_but_not_cancel(
    world: HuskyVoiceWorld, connect: Connect
) -> None:
    """The missing scope is named, and known without another look."""
    row = world.add(day=MONDAY)
    provider = connect(READ_ONLY_KEY)
    provider.check()

    answer = provider.cancel(CancelRequest(appointment=look(provider, row)))

    assert isinstance(answer, Refused)
    assert (answer.why, answer.conclusive) == (Refusal.PERMISSION, True)


def test_sandbox_wrong_key_is_rejected(connect: Connect) -> None:
    """Nothing works with it, and the error says so."""
    with pytest.raises(CredentialsRejected):
        connect("sk_live_nobody").check()


def test_sandbox_unknown_appointment_is_not_shown(connect: Connect) -> None:
    """Reading finds none; cancelling is refused."""
    provider = connect()

    assert provider.read(BookingRef(external_id="appt_nobody")) is None
    answer = provider.cancel(CancelRequest(appointment=seen(external_id="appt_nobody")))
    assert isinstance(answer, Refused)
    assert answer.why is Refusal.NOT_FOUND


def test_sandbox_lost_answer_leaves_it_open_and_a_read_settles_it(
    world: HuskyVoiceWorld, connect: Connect, server: SandboxServer
) -> None:
    """Cancelled at the vendor, unknown here, one request on the wire."""
    row = world.add(day=MONDAY)
    provider = connect()
    before = look(provider, row)
    server.sandbox.add_fault(Fault(provider="huskyvoice", operation="cancel", kind="lose_answer"))

    with pytest.raises(AnswerLost):
        provider.cancel(CancelRequest(appointment=before))

    assert look(provider, row).status is Status.CANCELLED
    assert server.sandbox.received("huskyvoice", "cancel") == [f"PATCH /v1/appointments/{row}"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "cannot be empty"),
        ({"status": "rescheduled"}, "is never written"),
        ({"status": "cancelled", "reason": "ill"}, "knows no reason"),
        (["cancelled"], "is an object"),
    ],
)
def test_sandbox_refuses_changes_the_contract_does_not_allow(
    world: HuskyVoiceWorld, body: Any, said: str
) -> None:
    """Strict about requests, so that a wrong adapter fails here and not at the vendor."""
    row = world.add(day=MONDAY)

    answer = world.answer(asked("PATCH", f"/v1/appointments/{row}", body=body))

    assert (answer.status, answer.body["error"]["code"]) == (400, "VALIDATION_ERROR"), said


@pytest.mark.parametrize(
    "query",
    [
        {"date": ["2026-12-7"]},
        {"date": ["2026-02-30"]},
        {"limit": ["201"]},
        {"page": ["0"]},
        {"session": ["morning"]},
        {"from": ["2026-12-07"]},
        {"date": ["2026-12-07", "2026-12-08"]},
    ],
)
def test_sandbox_refuses_lists_the_contract_does_not_allow(
    world: HuskyVoiceWorld, query: dict[str, list[str]]
) -> None:
    """The same for what is asked for."""
    assert world.answer(asked("GET", "/v1/appointments", query=query)).status == 400


def test_sandbox_list_without_date_begins_with_the_oldest(world: HuskyVoiceWorld) -> None:
    """The trap that the adapter avoids is really there."""
    old = world.add(day=date(2019, 1, 7), status="completed")
    world.add(day=MONDAY)

    body = world.answer(asked("GET", "/v1/appointments")).body

    assert body["data"][0]["appointment_id"] == old


def test_sandbox_change_of_time_makes_it_rescheduled_and_live(
    world: HuskyVoiceWorld, connect: Connect
) -> None:
    """A moved appointment stands; it can be cancelled like any other."""
    row = world.add(day=MONDAY)
    moved = {"appointment_date": "2026-12-09T04:00:00.000Z"}

    answer = world.answer(asked("PATCH", f"/v1/appointments/{row}", body=moved))
    record = look(connect(), row)

    assert answer.status == 200
    assert (record.provider_status, record.status) == ("rescheduled", Status.BOOKED)
    assert record.day == date(2026, 12, 9)


def test_sandbox_booking_is_read_back(connect: Connect) -> None:
    """What was booked is there, on the local day."""
    provider = connect()
    request = booking_request(branch=ANNA_NAGAR, session="Morning")

    answer = provider.schedule(request)

    assert isinstance(answer, Scheduled)
    record = look(provider, answer.external_id)
    assert (record.day, record.session, record.batch) == (date(2026, 12, 14), "Morning", "MA")
    assert record.attendees == (BookedAttendee(name="Aadhi", phone="+919840000001"),)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"starts_at": datetime(2026, 12, 14, 13, 30, tzinfo=KOLKATA)}, Refusal.SLOT_TAKEN),
        ({"starts_at": datetime(2026, 12, 13, 9, 30, tzinfo=KOLKATA)}, Refusal.SLOT_TAKEN),
        ({"starts_at": datetime(2026, 12, 4, 9, 30, tzinfo=KOLKATA)}, Refusal.SLOT_TAKEN),
        ({"branch": ""}, Refusal.INVALID),
        ({"phone": "0612345678"}, Refusal.INVALID),
        ({"service": "Heart surgery"}, Refusal.INVALID),
    ],
)
def test_sandbox_booking_that_cannot_be_is_refused(
    connect: Connect, changes: dict[str, Any], why: Refusal
) -> None:
    """Between windows, on a Sunday, in the past, without branch, with a wrong number or service."""
    answer = connect().schedule(booking_request(**{"branch": ANNA_NAGAR, **changes}))

    assert isinstance(answer, Refused)
    assert answer.why is why


def test_sandbox_booking_twice_and_into_a_full_window_is_refused(
    world: HuskyVoiceWorld, connect: Connect
) -> None:
    """A patient has one booking a day; a window has so many places."""
    provider = connect()
    request = booking_request(branch=ADYAR, service="general checkup")
    again = provider.schedule(request), provider.schedule(request)
    for _ in range(5):
        world.add(day=date(2026, 12, 14), branch=ADYAR)
    full = provider.schedule(replace(request, name="Ravi"))

    assert isinstance(again[0], Scheduled)
    assert isinstance(again[1], Refused)
    assert again[1].why is Refusal.DUPLICATE
    assert isinstance(full, Refused)
    assert full.why is Refusal.SLOT_TAKEN


def week_of(provider: HuskyVoice, **query: Any) -> list[Slot]:
    """The slots from the day after NOW on, a week of them."""
    first = NOW.date() + timedelta(days=1)
    window = DateWindow(first=first, last=first + timedelta(days=6))
    return list(provider.slots(SlotQuery(window=window, **query)))


def test_sandbox_slots_shrink_when_booked_and_end_when_full(connect: Connect) -> None:
    """Six places in Adyar's morning; each booking takes one, and the last takes the window."""
    provider = connect()

    def left() -> list[int | None]:
        return [one.left for one in provider.slots(query)]

    query = SlotQuery(window=ONE_DAY, branch=ADYAR, session="Morning")
    [slot] = provider.slots(query)
    seen_left = []
    for number in range(6):
        seen_left += left()
        came = provider.schedule(
            booking_request(
                name=f"Patient {number}",
                starts_at=slot.starts_at,
                session=slot.session,
                branch=slot.branch,
            )
        )
        assert isinstance(came, Scheduled)

    assert seen_left == [6, 5, 4, 3, 2, 1]
    assert left() == []
    assert (slot.session, slot.batch) == ("Morning", "MA")


def test_sandbox_slots_need_their_own_scope(connect: Connect) -> None:
    """Without it nothing is known of what is free, which is not the same as nothing free."""
    with pytest.raises(AccessDenied):
        week_of(connect(NO_SLOTS_KEY))


def test_sandbox_moves_a_booking_into_a_slot(
    world: HuskyVoiceWorld, connect: Connect, server: SandboxServer
) -> None:
    """The same id, booked, at its new place; the old place is free again; nobody is told."""
    row = world.add(day=MONDAY, session="Evening", batch="EA", branch=ADYAR)
    provider = connect()
    before = look(provider, row)
    target = next(
        one
        for one in week_of(provider, moving=before, session="Morning")
        if one.starts_at > datetime(2026, 12, 8, tzinfo=KOLKATA)
    )
    request = RescheduleRequest(
        appointment=before,
        starts_at=target.starts_at,
        session=target.session,
        batch=target.batch,
    )

    came = provider.reschedule(request)

    assert isinstance(came, Rescheduled)
    after = look(provider, row)
    assert request.is_met_by(after, zone=KOLKATA)
    assert (after.provider_status, after.status) == ("rescheduled", Status.BOOKED)
    assert (after.day, after.session, after.batch) == (date(2026, 12, 8), "Morning", "MA")
    assert after.locator == before.locator
    assert set(records(provider.pages(ONE_DAY))) == set()
    old = SlotQuery(window=ONE_DAY, branch=ADYAR, session="Evening")
    assert [one.left for one in provider.slots(old)] == [3]
    assert world.mails == []
    assert server.sandbox.received("huskyvoice", "reschedule") == [f"PATCH /v1/appointments/{row}"]
    assert server.sandbox.received("huskyvoice", "cancel") == []


@pytest.mark.parametrize(
    ("at", "session", "batch"),
    [
        (datetime(2026, 12, 8, 10, 0, tzinfo=KOLKATA), "Morning", "MB"),
        (datetime(2026, 12, 8, 10, 0, tzinfo=KOLKATA), "Evening", ""),
        (datetime(2026, 12, 8, 13, 30, tzinfo=KOLKATA), "Afternoon", ""),
        (datetime(2026, 12, 13, 10, 0, tzinfo=KOLKATA), "Morning", ""),
        (datetime(2026, 12, 3, 10, 0, tzinfo=KOLKATA), "Morning", ""),
        (datetime(2026, 12, 8, 18, 0, tzinfo=KOLKATA), "Evening", "EA"),
    ],
    ids=["another batch", "another session", "between windows", "Sunday", "past", "full"],
)
def test_sandbox_refuses_a_move_to_where_there_is_no_place(
    world: HuskyVoiceWorld, connect: Connect, at: datetime, session: str, batch: str
) -> None:
    """Nothing changes, and the code says that the place is the reason."""
    row = world.add(day=MONDAY)
    for _ in range(12):
        world.add(day=date(2026, 12, 8), session="Evening", batch="EA")
    before = dict(world.state["appointments"][row])
    provider = connect()

    came = provider.reschedule(
        RescheduleRequest(
            appointment=look(provider, row), starts_at=at, session=session, batch=batch
        )
    )

    assert isinstance(came, Refused)
    assert came.why is Refusal.SLOT_TAKEN
    assert world.state["appointments"][row] == before


def test_sandbox_moved_bookings_fill_a_window_that_still_shows_places(
    world: HuskyVoiceWorld, connect: Connect
) -> None:
    """The vendor counts confirmed ones only, so the answer to a move has the last word."""
    rows = [world.add(day=MONDAY, branch=ADYAR) for _ in range(4)]
    provider = connect()
    target = datetime(2026, 12, 8, 17, 0, tzinfo=KOLKATA)

    came = [
        provider.reschedule(
            RescheduleRequest(
                appointment=look(provider, row), starts_at=target, session="Evening", batch="EA"
            )
        )
        for row in rows
    ]

    assert [isinstance(one, Rescheduled) for one in came] == [True, True, True, False]
    assert isinstance(came[3], Refused)
    assert came[3].why is Refusal.SLOT_TAKEN
    tuesday = DateWindow(first=date(2026, 12, 8), last=date(2026, 12, 8))
    query = SlotQuery(window=tuesday, branch=ADYAR, session="Evening")
    assert [one.left for one in provider.slots(query)] == [3]


def test_sandbox_own_place_in_a_full_window_does_not_stand_in_the_way(
    world: HuskyVoiceWorld,
) -> None:
    """Whoever has one of three places may come later in the same evening."""
    rows = [world.add(day=MONDAY, session="Evening", batch="EA", branch=ADYAR) for _ in range(3)]
    later = {"appointment_date": "2026-12-07T13:00:00.000Z", "session": "Evening"}

    answer = world.answer(asked("PATCH", f"/v1/appointments/{rows[0]}", body=later))

    assert answer.status == 200
    assert answer.body["data"]["status"] == "rescheduled"


@pytest.mark.parametrize(
    ("day", "status"),
    [(MONDAY, "cancelled"), (MONDAY, "completed"), (date(2026, 12, 3), "confirmed")],
)
def test_sandbox_refuses_to_move_what_is_over_or_cancelled(
    world: HuskyVoiceWorld, connect: Connect, day: date, status: str
) -> None:
    """With a code that nobody documented: the status says that a rule is behind it."""
    row = world.add(day=day, status=status)
    provider = connect()

    came = provider.reschedule(
        RescheduleRequest(
            appointment=look(provider, row), starts_at=TUESDAY_MORNING, session="Morning"
        )
    )

    assert isinstance(came, Refused)
    assert (came.why, came.conclusive) == (Refusal.POLICY, False)
    assert look(provider, row).provider_status == status


def test_sandbox_read_only_key_may_not_move(world: HuskyVoiceWorld, connect: Connect) -> None:
    """The missing scope is named, and known without another look."""
    row = world.add(day=MONDAY)
    provider = connect(READ_ONLY_KEY)

    came = provider.reschedule(
        RescheduleRequest(
            appointment=look(provider, row), starts_at=TUESDAY_MORNING, session="Morning"
        )
    )

    assert isinstance(came, Refused)
    assert (came.why, came.conclusive) == (Refusal.PERMISSION, True)


def test_sandbox_lost_answer_to_a_move_is_settled_by_a_read(
    world: HuskyVoiceWorld, connect: Connect, server: SandboxServer
) -> None:
    """Moved at the vendor, unknown here, one request on the wire."""
    row = world.add(day=MONDAY)
    provider = connect()
    request = RescheduleRequest(
        appointment=look(provider, row), starts_at=TUESDAY_MORNING, session="Morning", batch="MA"
    )
    fault = Fault(provider="huskyvoice", operation="reschedule", kind="lose_answer")
    server.sandbox.add_fault(fault)

    with pytest.raises(AnswerLost):
        provider.reschedule(request)

    assert request.is_met_by(look(provider, row), zone=KOLKATA)
    assert len(server.sandbox.received("huskyvoice", "reschedule")) == 1


def test_sandbox_answers_as_the_contract_describes(
    world: HuskyVoiceWorld, server: SandboxServer
) -> None:
    """Free windows and moves, done and refused: status and body are in the contract."""
    row = world.add(day=MONDAY)
    over = world.add(day=MONDAY, status="completed")
    path, base_url = f"/v1/appointments/{row}", server.base_url("huskyvoice")
    windows = "/v1/appointment-slots/availability"
    to = {"appointment_date": "2026-12-09T04:00:00.000Z", "session": "Morning", "batch": "MA"}
    asked_for: list[tuple[int, str, str, Any]] = [
        (200, "GET", f"{windows}?date=2026-12-07&branch_id={ADYAR}&session=Evening", None),
        (200, "GET", f"{windows}?date=2026-12-13", None),
        (400, "GET", windows, None),
        (200, "PATCH", path, to),
        (400, "PATCH", path, to | {"appointment_date": "2026-12-09"}),
        (400, "PATCH", path, to | {"reason": "ill"}),
        (409, "PATCH", path, to | {"batch": "ZZ"}),
        (409, "PATCH", f"/v1/appointments/{over}", to),
        (404, "PATCH", "/v1/appointments/appt_nobody", to),
    ]
    headers = {"Authorization": f"Bearer {FULL_KEY}"}

    with httpx.Client(trust_env=False) as client:
        for status, method, where, body in asked_for:
            request = client.build_request(method, base_url + where, json=body, headers=headers)
            response = client.send(request)

            assert response.status_code == status, (method, where, body, response.text)
            violations = openapi.answer_violations(
                "huskyvoice", request, response, base_url=base_url
            )
            assert violations == [], (method, where, body)
    assert world.state["appointments"][row]["batch"] == "MA"


@pytest.mark.parametrize("offset", range(7))
def test_seeded_world_has_free_slots_on_coming_days(
    world: HuskyVoiceWorld, connect: Connect, offset: int
) -> None:
    """Whatever day it is, there is room in both branches within three days."""
    now = NOW + timedelta(days=offset)
    world.seed(now=now, people=PEOPLE, random=Random(7))
    first = now.date() + timedelta(days=1)
    window = DateWindow(first=first, last=first + timedelta(days=2))

    slots = connect().slots(SlotQuery(window=window))

    assert Counter(one.branch for one in slots)[ANNA_NAGAR] >= 4
    assert Counter(one.branch for one in slots)[ADYAR] >= 2


@pytest.mark.parametrize("kind", ["truncate", "html", "reset"])
def test_sandbox_broken_answer_claims_nothing(
    world: HuskyVoiceWorld, connect: Connect, server: SandboxServer, kind: FaultKind
) -> None:
    """Whatever breaks on the way, nobody says that it is done."""
    row = world.add(day=MONDAY)
    provider = connect()
    before = look(provider, row)
    server.sandbox.add_fault(Fault(provider="huskyvoice", operation="cancel", kind=kind))

    with pytest.raises(ProviderError) as caught:
        provider.cancel(CancelRequest(appointment=before))

    assert caught.value.may_have_happened


def test_seeded_world_is_believable_and_read_without_a_rejection(
    world: HuskyVoiceWorld, connect: Connect
) -> None:
    """The demo's rows: several today and tomorrow, every kind, the same for the same numbers."""
    twin = HuskyVoiceWorld()
    for one in (world, twin):
        one.seed(now=NOW, people=PEOPLE, random=Random(7))
    window = DateWindow(first=NOW.date() - timedelta(days=1), last=NOW.date() + timedelta(days=10))

    pages = list(connect().pages(window))
    found = records(iter(pages))

    assert world.state == twin.state
    assert 60 <= len(found) <= 90
    assert not [one for page in pages for one in page.rejected]
    days = Counter(record.day for record in found.values())
    assert days[NOW.date()] >= 5
    assert days[NOW.date() + timedelta(days=1)] >= 5
    assert {record.provider_status for record in found.values()} >= {
        "confirmed",
        "rescheduled",
        "cancelled",
        "completed",
    }
    assert any("X" in one.attendees[0].phone for one in found.values())
    assert sum(record.window is not None for record in found.values()) > 30


def asked(
    method: str, path: str, *, query: Mapping[str, list[str]] | None = None, body: Any = None
) -> Request:
    """A request as it arrives in the world."""
    return Request(
        method=method,
        path=path,
        query=query or {},
        headers={"authorization": f"Bearer {FULL_KEY}"},
        body=body,
    )
