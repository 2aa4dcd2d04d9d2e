"""CareValidate: the contract suite, its own traps, and the adapter against the sandbox."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import httpx
import pytest

from appointments.domain import (
    Account,
    AnswerLost,
    AnswerNotUnderstood,
    BookedAppointment,
    BookedAttendee,
    BookingRef,
    CancelRequest,
    CapabilityMissing,
    Confirmed,
    CredentialsRejected,
    DateWindow,
    NotSent,
    Page,
    RateLimited,
    Refusal,
    Refused,
    Scheduled,
    ScheduleRequest,
    Scope,
    Service,
    Status,
)
from appointments.providers.base import Provider
from appointments.providers.carevalidate import CareValidate, read_row
from appointments.providers.transport import ProviderHttp
from appointments.sandbox.carevalidate import CLINICIANS, CareValidateWorld
from appointments.sandbox.core import Fault, Sandbox, SandboxServer
from appointments.sandbox.people import PEOPLE
from tests import openapi
from tests.providers.contract import ProviderContract

type Json = dict[str, Any]

PAYLOADS = Path(__file__).parents[1] / "payloads" / "carevalidate"
ZONE = ZoneInfo("America/New_York")
WEEK = DateWindow(first=date(2026, 12, 7), last=date(2026, 12, 13))

LIST = "GET /api/v1/calendar/appointments"
BOOK = "POST /api/v1/calendar/appointments"
CANCEL = "POST /api/v1/calendar/appointments/cancel"
CASE = "GET /api/v1/customer-case-detail"
AVAILABILITY = "GET /api/v1/calendar/provider-availability"
CUSTOM_CASE = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"
CANCEL_CUSTOM = f"POST /api/v1/cases/{CUSTOM_CASE}"

MARIA = PEOPLE[26]


def payload(name: str) -> Json:
    read: Json = json.loads((PAYLOADS / f"{name}.json").read_text(encoding="utf-8"))
    return read


def refusal(status: int, message: str = "Invalid request", **more: str) -> Json:
    return {"status": status, "success": False, "message": message, **more}


class Vendor:
    """Answers each line (`GET /path`) with what it is given, and keeps the requests."""

    def __init__(self, answers: Mapping[str, Json | httpx.Response]) -> None:
        self.answers = answers
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers[f"{request.method} {request.url.path}"]
        if isinstance(answer, httpx.Response):
            return answer
        return httpx.Response(answer.get("status", 200), json=answer)

    @property
    def lines(self) -> list[str]:
        return [f"{request.method} {request.url.path}" for request in self.requests]

    @property
    def bodies(self) -> list[Json]:
        return [json.loads(request.content) for request in self.requests if request.content]


def adapter(vendor: Vendor) -> CareValidate:
    account = Account(
        base_url=CareValidate.default_base_url, credentials={"api_key": "key"}, time_zone=ZONE
    )
    http = ProviderHttp(
        account.base_url,
        headers=CareValidate.headers(account.credentials),
        default_wait=CareValidate.default_wait,
        transport=httpx.MockTransport(vendor),
    )
    return CareValidate(account, http=http)


def listed(name: str) -> list[Page]:
    return list(adapter(Vendor({LIST: payload(name)})).pages(WEEK))


def records(pages: list[Page]) -> list[BookedAppointment]:
    return [record for page in pages for record in page.records]


def ref_of(booking: BookedAppointment) -> BookingRef:
    return BookingRef(
        external_id=booking.external_id, locator=booking.locator, starts_at=booking.starts_at
    )


@pytest.fixture
def calendly() -> BookedAppointment:
    return read_row(payload("list_week")["data"][0])


@pytest.fixture
def custom() -> BookedAppointment:
    return read_row(payload("list_week")["data"][2])


class TestContract(ProviderContract):
    slug = "carevalidate"
    provider_class = CareValidate
    credentials: ClassVar[Mapping[str, str]] = {"api_key": "cv_secret_5f1c"}
    time_zone = "America/New_York"

    window = WEEK
    record = payload("list_week")["data"][0]
    other_id = "5a0c9d2e-7f3b-4c1a-9be4-0d6f8b1c2e33"
    needed = frozenset({"id", "start"})
    listed_is_booked = True
    not_found_is_none = False
    reads_with = frozenset({"list"})

    cancel_proof = (("success",),)
    schedule_successes = (200,)
    schedule_proof = (("success",),)

    def operation(self, request: httpx.Request) -> str:
        line = f"{request.method} {request.url.path}"
        return {LIST: "list", BOOK: "schedule", CANCEL: "cancel", CASE: "case"}[line]

    def list_body(self, records: list[Json]) -> Json:
        return {"status": 200, "success": True, "message": "Fetched", "data": records}

    def read_body(self, record: Json) -> Json:
        return self.list_body([record])

    def cancel_body(self) -> Json:
        return payload("cancelled")

    def schedule_body(self) -> Json:
        return payload("scheduled")

    def cancelled_record(self) -> Json:
        return {**self.record, "isDeleted": True}

    def cancel_request(self) -> CancelRequest:
        return CancelRequest(
            appointment=self.booking(), email="maria.lopez@example.com", reason="The patient rang"
        )

    def schedule_request(self) -> ScheduleRequest:
        return booking_request()

    def error_body(self, status: int) -> Json:
        return refusal(status)

    def other_answer(self, operation: str, request: httpx.Request) -> httpx.Response:
        """What is not in the list is looked for in its case, which has no events here."""
        assert operation == "case"
        body = payload("case_detail")
        body["caseDetail"] |= {"calendarEvents": [], "id": request.url.params["caseId"]}
        return httpx.Response(200, json=body)


def booking_request(**changes: Any) -> ScheduleRequest:
    request = ScheduleRequest(
        starts_at=datetime(2026, 12, 14, 10, 30, tzinfo=ZONE),
        name="María López-Ortega",
        email="maria.lopez@example.com",
        time_zone="America/New_York",
        service="85f13305-0647-4473-9e63-0a56af405f6f",
        location="google_conference",
    )
    return replace(request, **changes)


class TestAsking:
    """What leaves this machine."""

    def test_key_travels_in_its_own_header(self) -> None:
        """The key stands in cv-api-key and nowhere else."""
        vendor = Vendor({LIST: payload("list_week")})

        adapter(vendor).check()

        assert vendor.requests[0].headers["cv-api-key"] == "key"
        assert "key" not in str(vendor.requests[0].url)

    def test_long_window_is_asked_in_steps_a_day_wider(self) -> None:
        """No step is longer than 30 days; together they reach a day beyond either end."""
        vendor = Vendor({LIST: {"status": 200, "success": True, "data": []}})
        window = DateWindow(first=date(2026, 12, 1), last=date(2027, 1, 29))

        list(adapter(vendor).pages(window))

        assert [dict(request.url.params) for request in vendor.requests] == [
            {"start_date": "2026-11-30", "end_date": "2026-12-29"},
            {"start_date": "2026-12-30", "end_date": "2027-01-28"},
            {"start_date": "2027-01-29", "end_date": "2027-01-30"},
        ]

    @pytest.mark.parametrize(
        ("reason", "sent"), [("Rang to cancel", True), ("", False), (" ", False)]
    )
    def test_cancel_sends_address_and_id_and_a_reason_if_there_is_one(
        self, calendly: BookedAppointment, reason: str, sent: bool
    ) -> None:
        """An empty reason is left out: it is never sent as null or as an empty text."""
        vendor = Vendor({CANCEL: payload("cancelled")})

        adapter(vendor).cancel(
            CancelRequest(appointment=calendly, email="maria@work.example", reason=reason)
        )

        assert vendor.bodies == [
            {"email": "maria@work.example", "appointmentId": calendly.external_id}
            | ({"reason": reason} if sent else {})
        ]

    def test_custom_event_goes_to_its_case_without_address_or_reason(
        self, custom: BookedAppointment
    ) -> None:
        """The main route is never tried, and nothing is sent that this one does not take."""
        vendor = Vendor({CANCEL_CUSTOM: payload("custom_cancelled")})

        answer = adapter(vendor).cancel(
            CancelRequest(appointment=custom, email="a@example.com", reason="Not needed")
        )

        assert isinstance(answer, Confirmed)
        assert vendor.lines == [CANCEL_CUSTOM]
        assert vendor.bodies == [
            {"action": "CANCEL_CALENDAR_EVENT", "calendar": {"id": custom.external_id}}
        ]
        assert openapi.violations("carevalidate", vendor.requests[0]) == []

    def test_refused_custom_event_is_not_tried_on_the_main_route(
        self, custom: BookedAppointment
    ) -> None:
        """One route, one request: never one after the other."""
        vendor = Vendor({CANCEL_CUSTOM: refusal(400, error="Calendar event is already cancelled")})

        answer = adapter(vendor).cancel(CancelRequest(appointment=custom))

        assert answer == Refused(why=Refusal.INVALID, said="Calendar event is already cancelled")
        assert vendor.lines == [CANCEL_CUSTOM]

    @pytest.mark.parametrize("case_id", ["", "case-id", "../users", CUSTOM_CASE + "/x"])
    def test_custom_event_without_a_proper_case_is_not_sent(
        self, custom: BookedAppointment, case_id: str
    ) -> None:
        """A case id that is no UUID never gets into a path."""
        vendor = Vendor({})
        lost = replace(custom, locator={**custom.locator, "case_id": case_id})

        with pytest.raises(NotSent, match="case_unknown"):
            adapter(vendor).cancel(CancelRequest(appointment=lost))

        assert vendor.lines == []

    def test_calendly_booking_without_address_is_not_sent(
        self, calendly: BookedAppointment
    ) -> None:
        """The cancel cannot be expressed without the invitee's address."""
        vendor = Vendor({})

        with pytest.raises(NotSent, match="email_missing"):
            adapter(vendor).cancel(CancelRequest(appointment=calendly))

        assert vendor.lines == []

    @pytest.mark.parametrize("scope", [Scope.ATTENDEE, Scope.FOLLOWING])
    def test_part_of_a_booking_cannot_be_cancelled(
        self, calendly: BookedAppointment, scope: Scope
    ) -> None:
        """There is no way to say it, so nothing wider is sent in its place."""
        vendor = Vendor({})

        with pytest.raises(CapabilityMissing):
            adapter(vendor).cancel(
                CancelRequest(appointment=calendly, scope=scope, email="a@example.com")
            )

        assert vendor.lines == []

    @pytest.mark.parametrize(
        ("name", "names"),
        [
            ("María López-Ortega", {"firstName": "María", "lastName": "López-Ortega"}),
            ("Anne-Marie van 't Hoff", {"firstName": "Anne-Marie", "lastName": "van 't Hoff"}),
            ("மீனாட்சி", {"firstName": "மீனாட்சி"}),
            ("  ", {}),
        ],
    )
    def test_booking_is_sent_in_utc_with_the_name_in_two(
        self, name: str, names: Mapping[str, str]
    ) -> None:
        """Times end in Z; names are optional, and never sent empty."""
        vendor = Vendor({BOOK: payload("scheduled")})

        answer = adapter(vendor).schedule(booking_request(name=name))

        assert answer == Scheduled(said="Meeting schedule successfully")
        assert vendor.bodies == [
            {
                "eventTypeId": "85f13305-0647-4473-9e63-0a56af405f6f",
                "startTime": "2026-12-14T15:30:00Z",
                "email": "maria.lopez@example.com",
                "timezone": "America/New_York",
                "location": "google_conference",
                **names,
            }
        ]
        assert openapi.violations("carevalidate", vendor.requests[0]) == []

    def test_every_state_is_asked_for_clinicians(self) -> None:
        """One request within the 255 characters that the parameter takes."""
        vendor = Vendor({AVAILABILITY: payload("availability")})

        services = adapter(vendor).services()

        assert services == (
            Service(external_id="85f13305-0647-4473-9e63-0a56af405f6f", name="Dr. John Doe"),
        )
        states = vendor.requests[0].url.params["provider_states"].split(",")
        assert len(states) == len(set(states)) == 51
        assert openapi.violations("carevalidate", vendor.requests[0]) == []

    def test_clinician_without_event_type_is_no_choice(self) -> None:
        """What has no id cannot be booked; what has no name is shown by its id."""
        body = payload("availability")
        body["data"] += [{"providerName": "Dr. Who"}, {"eventTypeId": "evt-2"}, None]
        body["data"] += body["data"][:1]

        services = adapter(Vendor({AVAILABILITY: body})).services()

        assert [one.name for one in services] == ["Dr. John Doe", "evt-2"]


class TestAnswers:
    """What an answer to a write means."""

    @pytest.mark.parametrize("name", ["cancelled", "cancelled_odd_message"])
    def test_success_confirms_whatever_it_says(
        self, calendly: BookedAppointment, name: str
    ) -> None:
        """The message speaks of scheduling on the production site: it is never compared."""
        vendor = Vendor({CANCEL: payload(name)})

        answer = adapter(vendor).cancel(CancelRequest(appointment=calendly, email="a@example.com"))

        assert answer == Confirmed(said=payload(name)["message"])

    @pytest.mark.parametrize(
        "change",
        [
            {"success": False},
            {"success": None},
            {"success": "true"},
            {"success": 1},
            {"status": 400},
            {"status": None},
            {"status": "200"},
        ],
        ids=str,
    )
    def test_200_that_does_not_say_so_is_not_understood(
        self, calendly: BookedAppointment, change: Json
    ) -> None:
        """Only `success: true` with a status that does not contradict it is a success."""
        body = httpx.Response(200, json=payload("cancelled") | change)
        vendor = Vendor({CANCEL: body, BOOK: body})

        with pytest.raises(AnswerNotUnderstood):
            adapter(vendor).cancel(CancelRequest(appointment=calendly, email="a@example.com"))
        with pytest.raises(AnswerNotUnderstood):
            adapter(vendor).schedule(booking_request())

    def test_custom_event_whose_inner_success_is_false_is_not_understood(
        self, custom: BookedAppointment
    ) -> None:
        """The answer repeats its success inside `data`; the two must not contradict."""
        body = payload("custom_cancelled") | {"data": {"success": False}}

        with pytest.raises(AnswerNotUnderstood):
            adapter(Vendor({CANCEL_CUSTOM: body})).cancel(CancelRequest(appointment=custom))

    @pytest.mark.parametrize(
        ("status", "why", "conclusive"),
        [
            (400, Refusal.EMAIL, False),
            (403, Refusal.PERMISSION, True),
            (404, Refusal.NOT_FOUND, False),
            (409, Refusal.OTHER, False),
            (422, Refusal.OTHER, False),
        ],
    )
    def test_refused_cancel_says_why_as_far_as_the_status_tells(
        self, calendly: BookedAppointment, status: int, why: Refusal, conclusive: bool
    ) -> None:
        """400 may also mean "cancelled already", so a look decides; 403 needs none."""
        vendor = Vendor({CANCEL: refusal(status, "No.")})

        answer = adapter(vendor).cancel(CancelRequest(appointment=calendly, email="a@example.com"))

        assert answer == Refused(why=why, said="No.", conclusive=conclusive)

    def test_rule_that_failed_is_quoted_rather_than_the_message(
        self, calendly: BookedAppointment
    ) -> None:
        """`error` tells staff what to mend; `message` only says that something was wrong."""
        vendor = Vendor({CANCEL: payload("cancel_wrong_address")})

        answer = adapter(vendor).cancel(CancelRequest(appointment=calendly, email="a@example.com"))

        assert answer.said == "No invitee with this email for the appointment"

    def test_endless_refusal_is_cut(self, calendly: BookedAppointment) -> None:
        """What is quoted has at most 500 characters."""
        vendor = Vendor({CANCEL: refusal(400, error="x" * 3000)})

        answer = adapter(vendor).cancel(CancelRequest(appointment=calendly, email="a@example.com"))

        assert len(answer.said) == 500

    def test_empty_403_is_refused(self, calendly: BookedAppointment) -> None:
        """A 403 without a body is still nobody's web page."""
        vendor = Vendor({CANCEL: httpx.Response(403)})

        answer = adapter(vendor).cancel(CancelRequest(appointment=calendly, email="a@example.com"))

        assert answer == Refused(why=Refusal.PERMISSION, conclusive=True)

    def test_400_that_says_success_is_not_understood(self, calendly: BookedAppointment) -> None:
        """An answer that contradicts itself is neither a refusal nor a success."""
        vendor = Vendor({CANCEL: httpx.Response(400, json=payload("cancelled"))})

        with pytest.raises(AnswerNotUnderstood):
            adapter(vendor).cancel(CancelRequest(appointment=calendly, email="a@example.com"))

    def test_429_waits_a_minute_when_it_does_not_say_how_long(
        self, calendly: BookedAppointment
    ) -> None:
        """ "Retry information" is promised and nowhere specified."""
        vendor = Vendor({CANCEL: refusal(429, "Rate limit exceeded")})

        with pytest.raises(RateLimited) as limited:
            adapter(vendor).cancel(CancelRequest(appointment=calendly, email="a@example.com"))

        assert limited.value.wait == timedelta(seconds=60)

    def test_taken_slot_is_refused_for_good(self) -> None:
        """400 is the documented "no" of booking: nothing was booked."""
        answer = adapter(Vendor({BOOK: payload("slot_taken")})).schedule(booking_request())

        assert answer == Refused(
            why=Refusal.INVALID,
            said="The selected time is no longer available",
            conclusive=True,
        )

    def test_undocumented_refusal_of_a_booking_is_not_understood(self) -> None:
        """Nothing says what a 409 means here, so nobody claims that nothing was booked."""
        with pytest.raises(AnswerNotUnderstood):
            adapter(Vendor({BOOK: refusal(409)})).schedule(booking_request())


class TestReadingRows:
    """What the list shows."""

    def test_calendly_row_is_read_whole(self) -> None:
        """Every field of a row finds its place; who is booked is the submitter of the case."""
        [first, *_] = records(listed("list_week"))

        assert first == BookedAppointment(
            external_id="23ddc211-2a42-4d65-9091-9d9170d0ed62",
            status=Status.BOOKED,
            provider_status="EVENT_ACCEPTED_BY_PROVIDER",
            starts_at=datetime(2026, 12, 7, 15, 0, tzinfo=UTC),
            ends_at=datetime(2026, 12, 7, 15, 20, tzinfo=UTC),
            title="Initial consultation",
            reference="ADA-TOSXM",
            attendees=(
                BookedAttendee(
                    name="María López-Ortega",
                    email="maria.lopez@example.com",
                    time_zone="America/New_York",
                ),
            ),
            locator={"kind": "calendly", "case_id": "a265d7a3-d9e2-48b5-b46b-b91e15f9b515"},
            updated_at=datetime(2026, 11, 28, 15, 2, 11, tzinfo=UTC),
        )

    def test_row_without_person_or_meeting_is_booked_by_nobody_known(self) -> None:
        """Half of a row is often null: no name is made up, and nothing crashes."""
        [_, second, third] = records(listed("list_week"))

        assert second.attendees == third.attendees == ()
        assert second.provider_status == ""
        assert second.is_live
        assert third.is_live
        assert third.locator == {"kind": "custom", "case_id": CUSTOM_CASE}

    def test_meeting_details_lend_clinician_place_and_link(self) -> None:
        """Where the names of the webhooks stand in the meeting details, they are used."""
        row = payload("list_week")["data"][0]
        row["meetingDetails"] |= {
            "providerName": "Dr. John Doe",
            "meetingProvider": "zoom_conference",
            "meetingLink": "https://zoom.example/j/1",
        }

        read = read_row(row)

        assert (read.host, read.location) == ("Dr. John Doe", "zoom_conference")
        assert read.meeting_link == "https://zoom.example/j/1"

    def test_links_that_cancel_are_not_kept(self, calendly: BookedAppointment) -> None:
        """Whoever has such a link can cancel without a key."""
        assert "calendly.example" not in repr(calendly)

    def test_words_nobody_documented_are_shown_and_booked(self) -> None:
        """Being listed makes it booked; the word is kept as it came."""
        [unknown] = records(listed("list_unknown_status"))

        assert (unknown.status, unknown.provider_status) == (Status.BOOKED, "WAITING_ROOM")

    def test_sample_of_the_documentation_is_read(self) -> None:
        """Its ids are no UUIDs: opaque, and its case is never asked."""
        [row] = payload("list_documented")["data"]
        vendor = Vendor({LIST: {"status": 200, "success": True, "data": []}})

        read = read_row(row)

        assert (read.external_id, read.provider_status) == ("event-id", "CONFIRMED")
        assert adapter(vendor).read(ref_of(read)) is None
        assert vendor.lines == [LIST]

    def test_odd_rows_are_set_aside_and_the_others_kept(self) -> None:
        """A row that makes no sense takes none with it, and none is taken for booked."""
        [page] = listed("list_odd")

        assert {record.external_id[-1]: record.status for record in page.records} == {
            "1": Status.BOOKED,
            "7": Status.CANCELLED,
            "8": Status.BOOKED,
        }
        assert [one.why for one in page.rejected] == [
            "start has no offset",
            "isDeleted is not true or false",
            "the end lies before the start",
            "title holds a character that cannot be stored",
            "id is missing",
            "start is missing",
        ]

    def test_days_are_those_of_the_desk(self) -> None:
        """A start at 23:30 in New York belongs to that day, though it is the next one in UTC."""
        row = payload("list_week")["data"][0]
        late = row | {"start": "2026-12-08T04:30:00Z", "end": "2026-12-08T05:00:00Z"}
        vendor = Vendor({LIST: {"status": 200, "success": True, "data": [late]}})
        monday, tuesday = date(2026, 12, 7), date(2026, 12, 8)

        on_monday = adapter(vendor).pages(DateWindow(first=monday, last=monday))
        on_tuesday = adapter(vendor).pages(DateWindow(first=tuesday, last=tuesday))

        assert len(records(list(on_monday))) == 1
        assert records(list(on_tuesday)) == []

    def test_row_that_two_steps_show_does_not_end_the_listing(self) -> None:
        """A row that overlaps two steps comes twice, which is no loop."""
        vendor = Vendor({LIST: payload("list_week")})
        window = DateWindow(first=date(2026, 11, 20), last=date(2027, 1, 20))

        pages = list(adapter(vendor).pages(window))

        assert [len(page.records) for page in pages] == [3, 3, 3]


class TestReadingOne:
    """The list around the date, then the events of the case."""

    def test_listed_booking_needs_one_request(self, calendly: BookedAppointment) -> None:
        """The days around its date are enough."""
        vendor = Vendor({LIST: payload("list_week")})

        assert adapter(vendor).read(ref_of(calendly)) == calendly
        assert [dict(request.url.params) for request in vendor.requests] == [
            {"start_date": "2026-12-06", "end_date": "2026-12-08"}
        ]

    def test_newest_of_two_rows_counts(self, calendly: BookedAppointment) -> None:
        """Should the list hold an id twice, the row changed last is believed."""
        body = payload("list_week")
        newer = body["data"][0] | {"updatedAt": "2026-12-01T00:00:00Z", "isDeleted": True}
        body["data"].insert(0, newer)

        read = adapter(Vendor({LIST: body})).read(ref_of(calendly))

        assert read is not None
        assert read.status is Status.CANCELLED

    def test_deleted_event_of_the_case_is_cancelled(self, calendly: BookedAppointment) -> None:
        """What vanished from the list is cancelled if its case says so."""
        vendor = Vendor({LIST: empty_list(), CASE: payload("case_detail")})

        read = adapter(vendor).read(ref_of(calendly))

        assert read is not None
        assert (read.status, read.starts_at) == (Status.CANCELLED, calendly.starts_at)
        assert dict(vendor.requests[1].url.params) == {
            "caseId": "a265d7a3-d9e2-48b5-b46b-b91e15f9b515",
            "includeCalendarEvents": "true",
        }
        assert openapi.violations("carevalidate", vendor.requests[1]) == []

    def test_of_the_case_only_name_and_address_are_kept(self, calendly: BookedAppointment) -> None:
        """A case is medical: birthdays, answers and orders stay where they are."""
        vendor = Vendor({LIST: empty_list(), CASE: payload("case_detail")})

        read = adapter(vendor).read(ref_of(calendly))

        assert read is not None
        assert read.attendees == calendly.attendees
        for secret in ("1988", "0127", "Metformin", "Semaglutide", "GLP"):
            assert secret not in repr(read)

    def test_moved_event_of_the_case_is_booked_at_its_new_time(
        self, calendly: BookedAppointment
    ) -> None:
        """Moved to another week it is missed by the list, and shown by the case."""
        moved = {
            "isDeleted": False,
            "startDateTime": "2027-01-18T15:00:00.000Z",
            "endDateTime": "2027-01-18T15:20:00.000Z",
        }

        read = read_with_event(calendly, moved)

        assert read is not None
        assert read.status is Status.BOOKED
        assert read.starts_at == datetime(2027, 1, 18, 15, 0, tzinfo=UTC)
        assert read.locator == calendly.locator

    def test_cancelled_event_without_a_start_keeps_the_known_one(
        self, calendly: BookedAppointment
    ) -> None:
        """That it is cancelled is what was asked; when it was is known."""
        read = read_with_event(calendly, {"isDeleted": True, "startDateTime": None})

        assert read is not None
        assert (read.status, read.starts_at) == (Status.CANCELLED, calendly.starts_at)

    @pytest.mark.parametrize(
        "change",
        [
            {"isDeleted": None},
            {"isDeleted": "false"},
            {"isDeleted": 0},
            {"isDeleted": False, "startDateTime": None},
        ],
        ids=str,
    )
    def test_event_that_does_not_say_whether_it_stands_is_not_understood(
        self, calendly: BookedAppointment, change: Json
    ) -> None:
        """Neither booked nor cancelled is claimed without a clear word."""
        with pytest.raises(AnswerNotUnderstood):
            read_with_event(calendly, change)

    @pytest.mark.parametrize("events", [[], None, [{"id": "another"}], [None, 3], "none"], ids=str)
    def test_event_that_nobody_shows_is_none(
        self, calendly: BookedAppointment, events: Any
    ) -> None:
        """Absence is no proof of a cancellation."""
        body = payload("case_detail")
        body["caseDetail"]["calendarEvents"] = events

        assert adapter(Vendor({LIST: empty_list(), CASE: body})).read(ref_of(calendly)) is None

    def test_unknown_case_is_none(self, calendly: BookedAppointment) -> None:
        """A case that is gone shows nothing."""
        vendor = Vendor({LIST: empty_list(), CASE: refusal(404, "Case not found")})

        assert adapter(vendor).read(ref_of(calendly)) is None

    def test_another_case_is_not_understood(self, calendly: BookedAppointment) -> None:
        """An answer about another patient proves nothing, and is not shown to anybody."""
        body = payload("case_detail")
        body["caseDetail"]["id"] = CUSTOM_CASE

        with pytest.raises(AnswerNotUnderstood, match="other_id"):
            adapter(Vendor({LIST: empty_list(), CASE: body})).read(ref_of(calendly))

    @pytest.mark.parametrize(
        "answer",
        [
            refusal(500, "Internal server error"),
            refusal(400),
            httpx.Response(404, html="<h1>Not found</h1>"),
            {"status": 200, "success": False, "caseDetail": None},
            {"status": 200, "success": True, "caseDetail": None},
        ],
        ids=["500", "400", "a page", "no success", "no case"],
    )
    def test_case_that_cannot_be_read_raises(
        self, calendly: BookedAppointment, answer: Json | httpx.Response
    ) -> None:
        """A read that failed is no "not shown"."""
        with pytest.raises(AnswerNotUnderstood):
            adapter(Vendor({LIST: empty_list(), CASE: answer})).read(ref_of(calendly))

    def test_booking_without_a_date_is_looked_for_in_its_case_only(
        self, calendly: BookedAppointment
    ) -> None:
        """Without a date there are no days to list."""
        vendor = Vendor({CASE: payload("case_detail")})

        read = adapter(vendor).read(replace(ref_of(calendly), starts_at=None))

        assert read is not None
        assert read.status is Status.CANCELLED
        assert vendor.lines == [CASE]


def empty_list() -> Json:
    return {"status": 200, "success": True, "data": []}


def read_with_event(booking: BookedAppointment, change: Json) -> BookedAppointment | None:
    """Read *booking*, which the list does not show, with *change* made to its event."""
    body = payload("case_detail")
    body["caseDetail"]["calendarEvents"][0] |= change
    return adapter(Vendor({LIST: empty_list(), CASE: body})).read(ref_of(booking))


class TestInvitee:
    """Whom to offer as the address to cancel with."""

    def test_submitter_of_the_case_is_offered(self, calendly: BookedAppointment) -> None:
        """Name and address, asked for without the events."""
        vendor = Vendor({CASE: payload("case_detail")})

        found = adapter(vendor).invitee(ref_of(calendly))

        assert found == BookedAttendee(name="María López-Ortega", email="maria.lopez@example.com")
        assert dict(vendor.requests[0].url.params) == {"caseId": calendly.locator["case_id"]}
        assert openapi.violations("carevalidate", vendor.requests[0]) == []

    @pytest.mark.parametrize("submitter", [None, {}, {"email": None, "firstName": ""}], ids=str)
    def test_case_without_submitter_offers_nobody(
        self, calendly: BookedAppointment, submitter: Any
    ) -> None:
        """Then a person has to ask."""
        body = payload("case_detail")
        body["caseDetail"]["submitter"] = submitter

        assert adapter(Vendor({CASE: body})).invitee(ref_of(calendly)) is None

    def test_booking_without_case_offers_nobody_and_asks_nothing(
        self, calendly: BookedAppointment
    ) -> None:
        """A case id that is no UUID is not asked for."""
        vendor = Vendor({})

        found = adapter(vendor).invitee(replace(ref_of(calendly), locator={"case_id": "case-id"}))

        assert found is None
        assert vendor.lines == []


# --- against the sandbox ----------------------------------------------------------------------


class Desk:
    """The adapter, connected to a running sandbox."""

    def __init__(self, server: SandboxServer, world: CareValidateWorld) -> None:
        self.server = server
        self.sandbox = server.sandbox
        self.world = world
        self.provider = self.connect(world.credentials)

    def connect(self, credentials: Mapping[str, str]) -> Provider:
        base_url = self.server.base_url("carevalidate")
        account = Account(
            base_url=base_url, credentials=credentials, time_zone=ZONE, rehearsal=True
        )
        return CareValidate(account)

    def listed(self, *, days: int = 28) -> dict[str, BookedAppointment]:
        today = datetime.now(ZONE).date()
        window = DateWindow(first=today - timedelta(days=1), last=today + timedelta(days=days))
        pages = list(self.provider.pages(window))
        assert not [one for page in pages for one in page.rejected]
        return {record.external_id: record for record in records(pages)}

    def booked(self, **options: Any) -> BookedAppointment:
        """Enter a booking in the sandbox and list it."""
        made = self.world.add(**options)
        return self.listed()[made]

    def raw(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send what the adapter never would, and hold the answer against the contract."""
        base_url = self.server.base_url("carevalidate")
        headers = {"cv-api-key": self.world.credentials["api_key"]}
        with httpx.Client(base_url=base_url, headers=headers, trust_env=False) as client:
            request = client.build_request(method, path.lstrip("/"), **options)
            response = client.send(request)
        assert not openapi.answer_violations("carevalidate", request, response, base_url=base_url)
        return response


@pytest.fixture
def desk() -> Iterator[Desk]:
    world = CareValidateWorld()
    server = SandboxServer(Sandbox([world]))
    server.start()
    desk = Desk(server, world)
    yield desk
    desk.provider.http.close()
    server.stop()


def cancel(desk: Desk, booking: BookedAppointment, email: str = "", reason: str = "") -> Any:
    email = email or next((one.email for one in booking.attendees), "")
    return desk.provider.cancel(CancelRequest(appointment=booking, email=email, reason=reason))


class TestSandbox:
    """The whole way, over HTTP, against a provider with a state."""

    def test_cancelled_booking_vanishes_and_its_case_proves_it(self, desk: Desk) -> None:
        """Confirmed, gone from the list at once, cancelled in the case; each side mailed once."""
        booking = desk.booked()

        answer = cancel(desk, booking, reason="The patient rang")

        assert answer == Confirmed(said="Meeting schedule successfully")
        assert desk.listed() == {}
        read = desk.provider.read(ref_of(booking))
        assert read is not None
        assert read.status is Status.CANCELLED
        assert [mail["to"] for mail in desk.world.mails] == [MARIA.email, CLINICIANS[0].email]
        assert "The patient rang" in desk.world.mails[0]["what"]

    def test_wrong_address_is_refused_and_the_right_one_works(self, desk: Desk) -> None:
        """The case's address is not always the one it was booked with."""
        booking = desk.booked(booked_with="maria@work.example.com")

        first = cancel(desk, booking)
        second = cancel(desk, booking, email="Maria@work.example.com")

        assert isinstance(first, Refused)
        assert (first.why, first.conclusive) == (Refusal.EMAIL, False)
        assert isinstance(second, Confirmed)
        assert len(desk.world.mails) == 2

    def test_second_cancel_is_refused_and_the_read_tells_why(self, desk: Desk) -> None:
        """The same 400 as for a wrong address: only the read tells them apart."""
        booking = desk.booked()
        cancel(desk, booking)

        again = cancel(desk, booking)

        assert isinstance(again, Refused)
        assert not again.conclusive
        read = desk.provider.read(ref_of(booking))
        assert read is not None
        assert read.status is Status.CANCELLED
        assert len(desk.world.mails) == 2

    def test_custom_event_is_cancelled_on_its_own_route(self, desk: Desk) -> None:
        """One request to the case; the main route is not touched and nobody is mailed."""
        booking = desk.booked(custom=True, title="Case conference")

        answer = desk.provider.cancel(CancelRequest(appointment=booking))

        assert answer == Confirmed(said="Calendar event cancelled successfully")
        path = f"/api/v1/cases/{booking.locator['case_id']}"
        assert desk.sandbox.received("carevalidate", "cancel") == [f"POST {path}"]
        assert desk.world.is_cancelled(booking.external_id)
        assert desk.world.mails == []
        assert isinstance(desk.provider.cancel(CancelRequest(appointment=booking)), Refused)

    def test_event_on_the_wrong_route_is_refused(self, desk: Desk) -> None:
        """Either route says 400 to the other's kind, and nothing is cancelled."""
        plain, by_hand = desk.world.add(), desk.world.add(custom=True)
        bookings = desk.listed()
        as_custom = replace(bookings[plain], locator={**bookings[plain].locator, "kind": "custom"})
        as_calendly = replace(bookings[by_hand], locator={"kind": "calendly"})

        answers = [cancel(desk, as_custom), cancel(desk, as_calendly)]

        assert [answer.why for answer in answers] == [Refusal.INVALID, Refusal.EMAIL]
        assert not desk.world.is_cancelled(plain)
        assert not desk.world.is_cancelled(by_hand)

    def test_unknown_appointment_is_not_found(self, desk: Desk) -> None:
        """404 is a refusal that a look has to follow."""
        booking = desk.booked()
        other = replace(booking, external_id="00000000-0000-4000-8000-000000000000")

        answer = cancel(desk, other)

        assert answer == Refused(why=Refusal.NOT_FOUND, said="Appointment not found")

    def test_lingering_booking_is_still_listed(self, desk: Desk) -> None:
        """The list may lag behind; the cancellation stands all the same."""
        desk.world.state["lingers"] = 60
        booking = desk.booked()
        cancel(desk, booking)

        assert desk.listed()[booking.external_id].is_live
        assert desk.world.is_cancelled(booking.external_id)

    def test_what_has_ended_or_is_archived_is_not_listed_but_found(self, desk: Desk) -> None:
        """Absence has many reasons, so the case is asked, and says: not cancelled."""
        now = datetime.now(UTC)
        ended = desk.world.add(starts_at=now - timedelta(hours=3))
        archived = desk.world.add(archived=True)

        assert desk.listed() == {}
        for made in (ended, archived):
            event = desk.world.event(made)
            assert event is not None
            read = desk.provider.read(
                BookingRef(external_id=made, locator={"kind": "calendly", "case_id": event["case"]})
            )
            assert read is not None
            assert read.status is Status.BOOKED

    def test_person_missing_from_the_row_is_found_in_the_case(self, desk: Desk) -> None:
        """The row shows nobody; the case knows whom to ask."""
        booking = desk.booked(shows_person=False)

        assert booking.attendees == ()
        found = desk.provider.invitee(ref_of(booking))
        assert found is not None
        assert isinstance(cancel(desk, booking, email=found.email), Confirmed)

    def test_booked_slot_is_found_by_listing_and_taken_for_others(self, desk: Desk) -> None:
        """The answer has no id; the list has. The same slot is refused to the next."""
        service = next(one for one in desk.provider.services() if "Olsen" in one.name)
        day = datetime.now(ZONE) + timedelta(days=2)
        starts_at = day.replace(hour=10, minute=30, second=0, microsecond=0)
        request = booking_request(starts_at=starts_at, service=service.external_id)

        first, second = desk.provider.schedule(request), desk.provider.schedule(request)

        assert first == Scheduled(said="Meeting schedule successfully")
        assert isinstance(second, Refused)
        [booking] = desk.listed().values()
        assert (booking.starts_at, booking.host) == (starts_at, "Beth Olsen, RN")
        assert booking.attendees[0].name == "María López-Ortega"

    def test_wrong_key_opens_nothing(self, desk: Desk) -> None:
        """Every call with it says that the key is not accepted."""
        stranger = desk.connect({"api_key": "another"})

        with closing(stranger.http), pytest.raises(CredentialsRejected):
            stranger.check()

    def test_lost_answer_leaves_a_case_that_tells(self, desk: Desk) -> None:
        """The cancel arrived though its answer did not; the case shows what came of it."""
        booking = desk.booked()
        desk.sandbox.add_fault(
            Fault(provider="carevalidate", operation="cancel", kind="lose_answer")
        )

        with pytest.raises(AnswerLost):
            cancel(desk, booking)

        read = desk.provider.read(ref_of(booking))
        assert read is not None
        assert read.status is Status.CANCELLED

    @pytest.mark.parametrize(
        "change",
        [
            {"email": None},
            {"email": "nobody"},
            {"appointmentId": "1"},
            {"reason": ""},
            {"reason": None},
            {"reason": "x" * 10_001},
            {"note": "extra"},
        ],
        ids=lambda change: str(change)[:40],
    )
    def test_bad_cancel_is_refused_as_documented(self, desk: Desk, change: Json) -> None:
        """The sandbox lets nothing pass that the contract does not allow."""
        made = desk.world.add()
        body = {"email": MARIA.email, "appointmentId": made} | change

        response = desk.raw("POST", "/api/v1/calendar/appointments/cancel", json=body)

        assert response.status_code == 400
        assert response.json()["error"]
        assert not desk.world.is_cancelled(made)

    @pytest.mark.parametrize(
        ("query", "status"),
        [
            ("start_date=2026-12-07", 400),
            ("start_date=2026-12-07&end_date=2026-12-06", 400),
            ("start_date=7.12.2026&end_date=2026-12-08", 400),
            ("start_date=2026-02-30&end_date=2026-12-08", 400),
            ("start_date=2026-12-07&end_date=2026-12-08&page=2", 400),
            ("start_date=2026-12-07&start_date=2026-12-07&end_date=2026-12-08", 400),
            ("start_date=2026-12-07&end_date=2026-12-08&user_email=nobody%40example.com", 404),
        ],
    )
    def test_bad_listing_is_refused_as_documented(
        self, desk: Desk, query: str, status: int
    ) -> None:
        """Dates in pairs, in order, in one spelling; nobody by an unknown address."""
        response = desk.raw("GET", f"/api/v1/calendar/appointments?{query}")

        assert response.status_code == status

    def test_bad_custom_cancel_is_refused_as_documented(self, desk: Desk) -> None:
        """Action, id and case are checked, in the documented words."""
        made = desk.world.add(custom=True)
        event = desk.world.event(made)
        assert event is not None
        good = {"action": "CANCEL_CALENDAR_EVENT", "calendar": {"id": made}}
        case, other = event["case"], "00000000-0000-4000-8000-000000000000"

        def status(case_id: str, body: Json) -> int:
            return desk.raw("POST", f"/api/v1/cases/{case_id}", json=body).status_code

        assert status(case, good | {"action": "CANCEL"}) == 400
        assert status(case, good | {"calendar": {"id": "1"}}) == 400
        assert status(case, good | {"calendar": {"id": other}}) == 400
        assert status(case, good | {"reason": "none taken"}) == 400
        assert status(other, good) == 404
        assert not desk.world.is_cancelled(made)
        assert status(case, good) == 200

    @pytest.mark.parametrize(
        "change",
        [
            {"location": "somewhere"},
            {"timezone": "New York!"},
            {"startTime": "tomorrow"},
            {"startTime": "2020-01-01T10:00:00Z"},
            {"firstName": ""},
            {"eventTypeId": "00000000-0000-4000-8000-000000000000"},
            {"tracking": {"utmOther": "x"}},
        ],
        ids=str,
    )
    def test_bad_booking_is_refused_as_documented(self, desk: Desk, change: Json) -> None:
        """Nothing is booked by a request that the contract does not allow."""
        body = {
            "eventTypeId": CLINICIANS[0].event_type,
            "startTime": "2099-12-14T15:30:00Z",
            "email": MARIA.email,
            "timezone": "America/New_York",
            "location": "zoom_conference",
        }

        response = desk.raw("POST", "/api/v1/calendar/appointments", json=body | change)

        assert response.status_code == 400
        assert desk.world.state["events"] == []

    def test_good_answers_keep_the_contract(self, desk: Desk) -> None:
        """What the sandbox shows is what the contract describes."""
        desk.world.seed(now=datetime.now(UTC), people=PEOPLE, random=Random(7))
        today = datetime.now(UTC).date()
        dates = {"start_date": str(today), "end_date": str(today + timedelta(days=29))}
        case_id = next(iter(desk.world.state["cases"]))
        case = {"caseId": case_id, "includeCalendarEvents": "true"}
        email = {**dates, "user_email": CLINICIANS[1].email}

        answers = [
            desk.raw("GET", "/api/v1/calendar/appointments", params=dates),
            desk.raw("GET", "/api/v1/calendar/appointments", params=email),
            desk.raw("GET", "/api/v1/customer-case-detail", params=case),
            desk.raw(
                "GET", "/api/v1/calendar/provider-availability", params={"provider_states": "MA"}
            ),
        ]

        assert [answer.status_code for answer in answers] == [200] * 4
        assert len(answers[0].json()["data"]) > len(answers[1].json()["data"]) > 0
        assert [one["providerName"] for one in answers[3].json()["data"]] == ["Beth Olsen, RN"]


class TestDemo:
    """What the demo starts with."""

    def test_demo_is_full_of_readable_bookings(self, desk: Desk) -> None:
        """Enough of them, some of each kind, today or tomorrow included."""
        desk.world.seed(now=datetime.now(UTC), people=PEOPLE, random=Random(1))

        bookings = desk.listed()

        assert 45 <= len(bookings) <= 60
        assert sum(one.locator["kind"] == "custom" for one in bookings.values()) >= 4
        assert sum(not one.attendees for one in bookings.values()) >= 3
        assert len({one.host for one in bookings.values()}) >= 4
        tomorrow = datetime.now(ZONE).date() + timedelta(days=1)
        starts = [one.starts_at.astimezone(ZONE) for one in bookings.values() if one.starts_at]
        assert sum(start.date() <= tomorrow for start in starts) >= 4

    def test_one_booking_of_the_demo_wants_another_address(self, desk: Desk) -> None:
        """It can be found by its title, is refused with the shown address, and then works."""
        desk.world.seed(now=datetime.now(UTC), people=PEOPLE, random=Random(1))
        corrected = desk.world.state["corrected"]
        booking = desk.listed()[corrected["id"]]

        assert "booked with work address" in booking.title
        assert booking.attendees[0].name == corrected["name"]
        assert isinstance(cancel(desk, booking), Refused)
        assert isinstance(cancel(desk, booking, email=corrected["email"]), Confirmed)

    @pytest.mark.parametrize("hour", range(0, 24, 4))
    def test_demo_is_the_same_for_the_same_seed(self, hour: int) -> None:
        """At any time of day, on any day of the week; and it is plain JSON."""
        now = datetime(2026, 11, 22 + hour // 4, hour, 17, tzinfo=UTC)
        first, second = CareValidateWorld(), CareValidateWorld()

        for world in (first, second):
            world.seed(now=now, people=PEOPLE, random=Random(3))

        assert first.state == second.state
        assert json.loads(json.dumps(first.state)) == first.state
        assert len(first.state["events"]) >= 55

    def test_state_survives_a_restart(self, desk: Desk) -> None:
        """Mails and bookings are part of the state that is kept."""
        cancel(desk, desk.booked())
        again = CareValidateWorld()

        again.load(copy.deepcopy(desk.world.state))

        assert again.mails == desk.world.mails
        assert again.state == desk.world.state
