from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
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
    AnswerLost,
    AnswerNotUnderstood,
    AppointmentsError,
    AwaitsConfirmation,
    BookedAppointment,
    BookingRef,
    CancelRequest,
    Confirmed,
    CredentialsRejected,
    DateWindow,
    Informs,
    NotSent,
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
from appointments.providers.base import BadCredentials
from appointments.providers.meetergo import Meetergo, read_appointment
from appointments.providers.transport import ProviderHttp
from appointments.sandbox import meetergo as practice
from appointments.sandbox.core import Fault, Sandbox, SandboxServer
from appointments.sandbox.meetergo import MeetergoWorld
from appointments.sandbox.people import PEOPLE
from tests import openapi
from tests.providers.contract import Json, RescheduleContract, SlotsContract

SLUG = "meetergo"
PAYLOADS = Path(__file__).parent.parent / "payloads" / SLUG
BERLIN = ZoneInfo("Europe/Berlin")
USER_ID = "2b9d8c1e-77aa-4f0b-8d55-6a1c9e4f7b30"
KEY = MappingProxyType({"api_key": "ak_live:9c1d2e3f-4a5b-4c6d:very-private", "user_id": USER_ID})
TOKEN = MappingProxyType({"api_key": "rgo-very-private"})
OMAR = "4f0c5a52-6a0e-4c58-9a3e-0f4f1b7c2d11"
IDA = "b3e8d7c6-9a51-4b2f-8e0d-7c6b5a4f3e21"
DAY = "2026-12-04T09:15:00.000Z"
WEEK = DateWindow(first=date(2026, 12, 7), last=date(2026, 12, 13))


def payload(name: str) -> Json:
    body: Json = json.loads((PAYLOADS / f"{name}.json").read_text(encoding="utf-8"))
    return body


def booked(name: str) -> BookedAppointment:
    return read_appointment(payload(name))


class Wire:
    """A provider whose network answers as told, one answer after the other."""

    def __init__(self, *answers: httpx.Response, credentials: Mapping[str, str] = KEY) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        account = Account(
            base_url="https://api.meetergo.com", credentials=credentials, time_zone=BERLIN
        )
        http = ProviderHttp(
            account.base_url,
            headers=Meetergo.headers(credentials),
            transport=httpx.MockTransport(self._answer),
        )
        self.provider = Meetergo(account, http=http)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self.answers.pop(0)

    @property
    def sent(self) -> Any:
        """Body of the only request."""
        [request] = self.requests
        return json.loads(request.content)


def answer(status: int, body: Any = None) -> httpx.Response:
    return httpx.Response(status) if body is None else httpx.Response(status, json=body)


def page(*records: Json) -> httpx.Response:
    return answer(200, {"appointments": list(records), "total": len(records)})


class TestMeetergo(SlotsContract, RescheduleContract):
    """With a platform key, which names a user to act as."""

    slug = SLUG
    provider_class = Meetergo
    credentials = KEY
    time_zone = "Europe/Berlin"
    window = WEEK
    record = payload("active")
    other_id = "0a9b8c7d-6e5f-4a3b-9c2d-1e0f9a8b7c6d"
    needed = frozenset({"id", "start", "isCancelled", "attendees"})
    status_key = "isCancelled"
    cancel_successes = (200, 201)
    cancel_proof = (("id",), ("isCancelled",))
    schedule_successes = (201, 200)
    schedule_proof = (("appointmentId",),)
    free = (
        Slot(starts_at=datetime(2026, 12, 11, 8, 0, tzinfo=UTC), host=USER_ID),
        Slot(starts_at=datetime(2026, 12, 11, 9, 0, tzinfo=UTC), host=USER_ID),
    )
    cancelled_word = True
    reschedule_successes = (200, 201)
    reschedule_proof = (
        ("appointment", "id"),
        ("appointment", "start"),
        ("appointment", "isCancelled"),
    )

    def operation(self, request: httpx.Request) -> str:
        path = request.url.path
        if path.endswith("/paginated"):
            return "list"
        if path.endswith("/cancel"):
            return "cancel"
        if path.endswith("/reschedule"):
            return "reschedule"
        if path.endswith("/booking-availability"):
            return "slots"
        return "schedule" if path.endswith("/booking") else "read"

    def list_body(self, records: list[Json]) -> Json:
        return {"appointments": records, "total": len(records)}

    def cancel_body(self) -> Json:
        return self.record | {"isCancelled": True}

    def cancelled_record(self) -> Json:
        return payload("cancelled")

    def schedule_body(self) -> Json:
        return payload("booked")

    def schedule_request(self) -> ScheduleRequest:
        return wish()

    def slots_body(self) -> Json:
        return payload("availability")

    def no_slots_body(self) -> Json:
        return payload("availability_none")

    def slots_query(self) -> SlotQuery:
        return SlotQuery(window=WEEK, service=wish().service, host=USER_ID)

    def moved_record(self) -> Json:
        record: Json = payload("rescheduled")["appointment"]
        return record

    def reschedule_answer(self, record: Json) -> Json:
        return {"appointment": record}

    def reschedule_request(self) -> RescheduleRequest:
        return RescheduleRequest(appointment=self.booking(), starts_at=NINE_UTC)


NINE_UTC = datetime(2026, 12, 11, 9, 0, tzinfo=UTC)


def wish() -> ScheduleRequest:
    return ScheduleRequest(
        service="8f6c2f0e-53b7-4a4b-9f1d-1f7f0a9d3c21",
        host=USER_ID,
        starts_at=datetime(2026, 12, 11, 9, 0, tzinfo=BERLIN),
        name="Lena Vogt",
        email="lena.vogt@example.com",
        phone="+49 30 1234567",
        time_zone="Europe/Berlin",
    )


def test_capabilities_say_what_the_reference_says() -> None:
    """Cancelling mails the reason to everybody and must not be repeated."""
    can = Meetergo.capabilities

    assert can.reads_one
    assert can.one_attendee
    assert can.following
    assert can.reason_limit == 500
    assert not can.repeat_is_safe
    assert not can.needs_email
    assert can.informs is Informs.ALL_PARTICIPANTS
    assert can.requests_per_minute == 100
    assert can.reschedules
    assert can.shows_slots
    assert not can.confirms_pending


# --- credentials ------------------------------------------------------------------------------


@pytest.mark.parametrize("credentials", [KEY, TOKEN, {**TOKEN, "user_id": ""}])
def test_key_with_user_or_token_alone_is_accepted(credentials: Mapping[str, str]) -> None:
    """These are the two pairings that the vendor knows."""
    Meetergo.check_credentials(credentials)


@pytest.mark.parametrize(
    ("credentials", "hint"),
    [
        ({"api_key": KEY["api_key"]}, "needs user_id"),
        ({"api_key": KEY["api_key"], "user_id": "me"}, "needs user_id"),
        ({"api_key": KEY["api_key"], "user_id": KEY["api_key"]}, "needs user_id"),
        ({**TOKEN, "user_id": USER_ID}, "without user_id"),
        ({"api_key": "sk_live_1"}, "begins with"),
        ({"api_key": "AK_LIVE:1", "user_id": USER_ID}, "begins with"),
        ({"api_key": ""}, "needs api_key"),
        ({"user_id": USER_ID}, "needs api_key"),
        ({"api_key": "rgo-1\n"}, "line break"),
        ({**TOKEN, "password": "x"}, "does not know password"),
    ],
)
def test_wrong_pairing_is_refused_before_it_is_stored(
    credentials: Mapping[str, str], hint: str
) -> None:
    """The message says what to mend and does not repeat the key."""
    with pytest.raises(BadCredentials, match=hint) as refused:
        Meetergo.check_credentials(credentials)

    assert "private" not in str(refused.value)


def test_key_names_the_user_to_act_as() -> None:
    """A platform key without the acting user would be a 400 on every call."""
    assert Meetergo.headers(KEY) == {
        "Authorization": f"Bearer {KEY['api_key']}",
        "x-meetergo-api-user-id": USER_ID,
    }


def test_token_never_names_a_user() -> None:
    """Naming anybody but its owner is a 403, so a token sends no such header, whatever is set."""
    wire = Wire(page(), answer(200, payload("cancelled")), credentials=TOKEN)

    wire.provider.check()
    wire.provider.cancel(CancelRequest(appointment=booked("active")))

    assert len(wire.requests) == 2
    for request in wire.requests:
        assert openapi.violations(SLUG, request, forbidden=["ActingUser"]) == []
    assert list(Meetergo.headers({**TOKEN, "user_id": USER_ID})) == ["Authorization"]


# --- check ------------------------------------------------------------------------------------


def test_check_lists_one_appointment() -> None:
    """Other calls may be closed to a key that can do all that the portal needs."""
    wire = Wire(page())

    wire.provider.check()

    [request] = wire.requests
    assert request.method == "GET"
    assert request.url.path == "/v4/appointment/paginated"
    assert dict(request.url.params) == {"page": "0", "pageSize": "1"}


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (answer(401, {"message": "No."}), CredentialsRejected),
        (answer(403, {"message": "No."}), AccessDenied),
        (answer(400, {"message": "No."}), AnswerNotUnderstood),
        (answer(200, {"data": []}), AnswerNotUnderstood),
        (httpx.Response(200, html="<h1>Welcome</h1>"), AnswerNotUnderstood),
    ],
)
def test_failing_check_says_how(reply: httpx.Response, error: type[Exception]) -> None:
    """A connection counts as working only after an answer that a sync could use."""
    with pytest.raises(error):
        Wire(reply).provider.check()


# --- listing ----------------------------------------------------------------------------------


def test_listing_begins_at_page_zero_and_a_day_early() -> None:
    """Page 1 would lose the first hundred; days are the desk's, bounds are written in UTC."""
    wire = Wire(page())

    list(wire.provider.pages(WEEK))

    [request] = wire.requests
    assert dict(request.url.params) == {
        "page": "0",
        "pageSize": "100",
        "start": "2026-12-05T23:00:00Z",
        "end": "2026-12-13T23:00:00Z",
        "sortBy": "appointment.start",
        "sortDirection": "ASC",
    }


def numbered(number: int, **fields: Any) -> Json:
    return payload("active") | {"id": f"c1a5b1de-2f44-4d0c-9b43-{number:012d}"} | fields


def test_listing_goes_on_until_a_short_page() -> None:
    """A full page may be the last one, so another is asked for; a short one is the end."""
    full = page(*(numbered(one) for one in range(100)))
    wire = Wire(full, page(numbered(100)))

    pages = list(wire.provider.pages(WEEK))

    assert [len(one.records) for one in pages] == [100, 1]
    assert [one.url.params["page"] for one in wire.requests] == ["0", "1"]


def test_listing_ends_with_an_empty_page() -> None:
    """Exactly a hundred appointments: the page behind them is empty."""
    wire = Wire(page(*(numbered(one) for one in range(100))), page())

    assert sum(len(one.records) for one in wire.provider.pages(WEEK)) == 100


def test_listing_that_repeats_a_page_is_not_complete() -> None:
    """A provider that ignores the page number would never end, and says nothing reliable."""
    full = [numbered(one) for one in range(100)]
    wire = Wire(page(*full), page(*full))

    with pytest.raises(AnswerNotUnderstood, match="pages_loop"):
        list(wire.provider.pages(WEEK))


def test_listing_that_repeats_days_before_the_window_is_noticed() -> None:
    """Records that are left out for their day count as seen all the same."""
    full = [numbered(one, start="2026-12-06T08:00:00.000Z") for one in range(100)]
    wire = Wire(page(*full), page(*full))

    with pytest.raises(AnswerNotUnderstood, match="pages_loop"):
        list(wire.provider.pages(WEEK))


def test_days_are_those_of_the_desk() -> None:
    """23:30 UTC on Sunday is Monday in Berlin; both ends of the window are whole days there."""
    starts = {
        1: "2026-12-06T22:59:00.000Z",
        2: "2026-12-06T23:00:00.000Z",
        3: "2026-12-13T22:59:00.000Z",
        4: "2026-12-13T23:00:00.000Z",
    }
    wire = Wire(page(*(numbered(one, start=start) for one, start in starts.items())))

    [only] = wire.provider.pages(WEEK)

    assert [record.external_id[-1] for record in only.records] == ["2", "3"]


def test_unreadable_record_is_named_and_the_others_stay() -> None:
    """A record without a start cannot be shown, but it can be counted."""
    broken = numbered(1)
    del broken["start"]
    wire = Wire(page(broken, numbered(2)))

    [only] = wire.provider.pages(WEEK)

    assert [record.external_id[-1] for record in only.records] == ["2"]
    assert [one.external_id for one in only.rejected] == [broken["id"]]


# --- reading ----------------------------------------------------------------------------------


def test_ordinary_appointment_is_read_in_our_words() -> None:
    """Everything a desk shows, and nothing else."""
    read = booked("active")

    assert read.status is Status.BOOKED
    assert read.starts_at == datetime(2026, 12, 11, 8, 0, tzinfo=UTC)
    assert read.ends_at == datetime(2026, 12, 11, 8, 30, tzinfo=UTC)
    assert read.title == "Beratung 30 Minuten"
    assert read.host == USER_ID
    assert read.location == "Raum 2"
    assert not read.is_group
    assert not read.is_paid
    assert read.locator == {
        "meeting_type_id": "8f6c2f0e-53b7-4a4b-9f1d-1f7f0a9d3c21",
        "host_ids": USER_ID,
        "channel": "local",
    }
    [lena] = read.attendees
    assert (lena.name, lena.email) == ("Lena Vogt", "lena.vogt@example.com")
    assert (lena.phone, lena.time_zone) == ("+49 30 1234567", "Europe/Berlin")
    assert lena.external_id == "7e2d4c6a-1b3f-4e5d-8c9a-2f1e0d9c8b7a"


def test_cancelled_appointment_says_who_when_and_why() -> None:
    """What the vendor notes about a cancellation is kept."""
    read = booked("cancelled")

    assert read.status is Status.CANCELLED
    assert read.cancelled_at == datetime(2026, 12, 4, 9, 15, tzinfo=UTC)
    assert read.cancelled_by == "host"
    assert read.cancel_reason == "The practitioner is ill"


def test_moment_of_cancellation_counts_like_the_flag() -> None:
    """The vendor's own client takes either for cancelled."""
    assert booked("cancelled_by_moment_only").status is Status.CANCELLED


@pytest.mark.parametrize("junk", [True, "yes", "", {}, 0, "0000-00-00"])
def test_junk_as_moment_of_cancellation_cancels_nothing(junk: Any) -> None:
    """Only a moment is documented there."""
    read = read_appointment(payload("active") | {"cancel": {"actionAt": junk}})

    assert read.status is Status.BOOKED


def test_deleted_appointment_is_neither_booked_nor_cancelled() -> None:
    """What the field means is not documented, so nothing is concluded from it."""
    read = read_appointment(payload("active") | {"deletedAt": "2026-12-04T09:15:00.000Z"})

    assert read.status is Status.OTHER
    assert read.provider_status == "deleted"


def test_sparse_appointment_is_borne() -> None:
    """Nulls, unknown channels, a time without offset (UTC) and fields nobody named."""
    read = booked("sparse")

    assert read.status is Status.BOOKED
    assert read.starts_at == datetime(2026, 12, 11, 8, 0, tzinfo=UTC)
    assert read.ends_at == datetime(2026, 12, 11, 8, 30, tzinfo=UTC)
    assert read.host == USER_ID, "the id stands in where no host is named"
    assert read.is_paid
    assert read.warnings == ("calendar_event_not_updated",)
    assert read.locator["channel"] == "hologram"
    assert read.meeting_link == "https://meet.example.com/abc"
    [lena] = read.attendees
    assert (lena.name, lena.email, lena.phone) == ("Lena Vogt", "", "")
    assert lena.guests == ("guest@example.org",)


def test_secrets_and_private_talk_are_not_kept() -> None:
    """Whoever holds a `secret` can cancel without logging in; notes and summaries are private."""
    kept = repr(booked("sparse"))

    assert "secret" not in kept
    assert "private" not in kept
    assert "VCALENDAR" not in kept


@pytest.mark.parametrize(
    ("name", "people"), [("group", 2), ("group_in_disguise", 2), ("group_of_one", 1)]
)
def test_group_is_known_by_its_flag_or_its_people(name: str, people: int) -> None:
    """The flag may be unset, and a course may have one booking so far."""
    read = booked(name)

    assert read.is_group
    assert len(read.attendees) == people


def test_removed_attendee_is_no_attendee() -> None:
    """Who carries `deletedAt` is off the list, and cannot be removed again."""
    read = booked("group_removal_marked")

    assert [one.name for one in read.attendees] == ["Ida Sørensen"]
    assert read.status is Status.BOOKED


def test_read_asks_for_the_one_appointment() -> None:
    """The id is part of a path, whatever characters it holds."""
    odd = payload("active") | {"id": "a/b?c#d"}
    wire = Wire(answer(200, odd))

    read = wire.provider.read(BookingRef(external_id="a/b?c#d"))

    assert read is not None
    assert wire.requests[0].url.raw_path == b"/v4/appointment/a%2Fb%3Fc%23d"


# --- cancelling -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (CancelRequest(appointment=booked("active")), {}),
        (CancelRequest(appointment=booked("active"), reason="Ill"), {"reason": "Ill"}),
        (
            CancelRequest(appointment=booked("group"), reason="No room"),
            {"reason": "No room", "cancelAll": True},
        ),
        (CancelRequest(appointment=booked("group_in_disguise")), {"cancelAll": True}),
        (CancelRequest(appointment=booked("group_of_one")), {"cancelAll": True}),
        (
            CancelRequest(appointment=booked("group"), scope=Scope.ATTENDEE, attendee_id=OMAR),
            {"attendeeId": OMAR},
        ),
        (
            CancelRequest(appointment=booked("active"), scope=Scope.FOLLOWING, reason="Done"),
            {"reason": "Done", "cancelEntireSeries": True},
        ),
        (
            CancelRequest(appointment=booked("group"), scope=Scope.FOLLOWING),
            {"cancelEntireSeries": True},
        ),
    ],
    ids=[
        "alone",
        "alone, with reason",
        "group",
        "group in disguise",
        "group of one",
        "one of a group",
        "this and later",
        "a group is no series",
    ],
)
def test_cancel_says_what_is_meant_and_no_more(request_: CancelRequest, body: Json) -> None:
    """Unset fields stay out, and `cancelAll` goes only to what was read as a group."""
    wire = Wire(answer(400, payload("error_invalid")))

    wire.provider.cancel(request_)

    assert wire.sent == body
    assert wire.requests[0].method == "POST"
    assert wire.requests[0].url.path == (
        f"/v4/appointment/{request_.appointment.external_id}/cancel"
    )
    assert openapi.violations(SLUG, wire.requests[0]) == []


def test_removal_of_nobody_stays_at_home() -> None:
    """Without the person the same request could cancel for everybody."""
    wire = Wire()

    with pytest.raises(AppointmentsError):
        wire.provider.cancel(CancelRequest(appointment=booked("active"), scope=Scope.ATTENDEE))

    assert wire.requests == []


@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize("name", ["cancelled", "cancelled_by_moment_only"])
def test_answer_that_says_cancelled_confirms(status: int, name: str) -> None:
    """The reference names no number, so both count; the body decides."""
    wire = Wire(answer(status, payload(name)))

    came = wire.provider.cancel(CancelRequest(appointment=booked("active")))

    assert isinstance(came, Confirmed)
    assert came.appointment is not None
    assert came.appointment.status is Status.CANCELLED


@pytest.mark.parametrize(
    "reply",
    [
        answer(200, payload("active")),
        answer(200, payload("cancelled") | {"id": "d7b9f3a1-5c2e-4f68-a0d4-1e3c5b7a9f20"}),
        answer(200, payload("cancelled") | {"isCancelled": "true", "cancel": {}}),
        answer(200, {"appointment": payload("cancelled")}),
        answer(200, {"message": "Appointment cancelled"}),
        answer(200),
        answer(204),
        answer(202, payload("cancelled")),
        httpx.Response(400, html="<h1>Bad request</h1>"),
        httpx.Response(403, html="<h1>Forbidden</h1>"),
    ],
    ids=[
        "still booked",
        "another appointment",
        "a word for a flag",
        "wrapped",
        "a message only",
        "empty 200",
        "204",
        "202",
        "HTML 400",
        "HTML 403",
    ],
)
def test_answer_that_does_not_say_cancelled_leaves_it_open(reply: httpx.Response) -> None:
    """Nothing but the documented body confirms; nothing but JSON refuses."""
    with pytest.raises(AnswerNotUnderstood):
        Wire(reply).provider.cancel(CancelRequest(appointment=booked("active")))


REMOVAL = CancelRequest(appointment=booked("group"), scope=Scope.ATTENDEE, attendee_id=OMAR)


@pytest.mark.parametrize(
    "body",
    [
        payload("group_after_removal"),
        payload("group_removal_marked"),
        payload("group_after_removal") | {"attendees": [], "attendeeIds": []},
        payload("group_after_removal") | {"attendees": [], "attendeeIds": [], "isCancelled": True},
    ],
    ids=["gone", "marked", "nobody left", "nobody left, so cancelled"],
)
def test_removal_is_confirmed_by_absence_from_both_lists_or_by_its_mark(body: Json) -> None:
    """The appointment goes on, so its own state is no measure."""
    came = Wire(answer(200, body)).provider.cancel(REMOVAL)

    assert isinstance(came, Confirmed)
    assert came.appointment is not None
    assert OMAR not in {one.external_id for one in came.appointment.attendees}


def still_listed(**fields: Any) -> Json:
    return payload("group_after_removal") | fields


@pytest.mark.parametrize(
    "body",
    [
        payload("group"),
        still_listed(attendeeIds=[OMAR, IDA]),
        still_listed(attendeeIds=[OMAR.upper(), IDA]),
        still_listed(attendeeIds=None),
        still_listed(attendeeIds=[None, IDA]),
        still_listed(attendees=payload("group")["attendees"]),
        still_listed(attendees=[{"fullname": "Omar Haddad"}]),
        still_listed(attendees=None),
        still_listed(attendees=[{"id": OMAR, "deletedAt": "yes"}]),
        still_listed(
            attendees=[{"id": OMAR, "deletedAt": "2026-12-04T09:20:00.000Z"}, {"id": OMAR}]
        ),
        still_listed(isCancelled=True),
        still_listed(id="c1a5b1de-2f44-4d0c-9b43-93c1f5a0e7d8"),
    ],
    ids=[
        "unchanged",
        "still among the ids",
        "still among the ids, in capitals",
        "no ids",
        "an id that is none",
        "still among the people",
        "a person without id",
        "no people",
        "a mark that is no moment",
        "marked once, listed twice",
        "cancelled for the others, too",
        "another appointment",
    ],
)
def test_removal_without_proof_is_left_open(body: Json) -> None:
    """The whole appointment being cancelled is more than was asked, and no confirmation."""
    with pytest.raises(AnswerNotUnderstood):
        Wire(answer(200, body)).provider.cancel(REMOVAL)


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (400, Refusal.INVALID),
        (404, Refusal.NOT_FOUND),
        (406, Refusal.QUOTA),
        (409, Refusal.OTHER),
        (410, Refusal.OTHER),
        (422, Refusal.INVALID),
    ],
)
def test_refused_cancel_is_for_a_read_to_decide(status: int, why: Refusal) -> None:
    """A second cancellation is not documented: each of these may mean it."""
    body = {"statusCode": status, "message": "Appointment is already cancelled"}

    came = Wire(answer(status, body)).provider.cancel(CancelRequest(appointment=booked("active")))

    assert came == Refused(why=why, said="Appointment is already cancelled", conclusive=False)


@pytest.mark.parametrize("reply", [answer(403, {"message": "No."}), answer(403)])
def test_forbidden_cancel_is_refused_for_good(reply: httpx.Response) -> None:
    """The key may not do this; no read could tell more."""
    came = Wire(reply).provider.cancel(CancelRequest(appointment=booked("active")))

    assert isinstance(came, Refused)
    assert came.why is Refusal.PERMISSION
    assert came.conclusive


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("error_message_list", ["page must be an integer number", "pageSize should not be empty"]),
        ("error_invalid", ["Validation failed", "reason must be shorter"]),
    ],
)
def test_every_word_of_a_refusal_is_kept(name: str, words: list[str]) -> None:
    """`message` may be a list, and the details stand apart from it."""
    came = Wire(answer(400, payload(name))).provider.cancel(
        CancelRequest(appointment=booked("active"))
    )

    assert isinstance(came, Refused)
    assert all(one in came.said for one in words)


# --- booking ----------------------------------------------------------------------------------


def test_booking_request_names_host_time_and_person() -> None:
    """Reminders and notes are required by the vendor; the time carries its offset."""
    wire = Wire(answer(201, payload("booked")))

    came = wire.provider.schedule(wish())

    assert came == Scheduled(external_id="c1a5b1de-2f44-4d0c-9b43-93c1f5a0e7d8")
    assert wire.sent == {
        "meetingTypeId": "8f6c2f0e-53b7-4a4b-9f1d-1f7f0a9d3c21",
        "start": "2026-12-11T09:00:00+01:00",
        "hostIds": [USER_ID],
        "attendee": {
            "fullname": "Lena Vogt",
            "email": "lena.vogt@example.com",
            "phone": "+49 30 1234567",
            "timezone": "Europe/Berlin",
            "receiveReminders": True,
            "notes": {},
        },
    }


def test_booking_without_phone_and_zone_leaves_them_out() -> None:
    """An empty text is not a telephone number."""
    wire = Wire(answer(201, payload("booked")))
    bare = ScheduleRequest(
        service=wish().service,
        host=USER_ID,
        starts_at=wish().starts_at,
        name="Lena Vogt",
        email="lena.vogt@example.com",
    )

    wire.provider.schedule(bare)

    assert set(wire.sent["attendee"]) == {"fullname", "email", "receiveReminders", "notes"}
    assert openapi.violations(SLUG, wire.requests[0]) == []


def test_booking_answer_may_call_its_id_otherwise() -> None:
    """Two spellings are about; both are an id."""
    came = Wire(answer(201, payload("booked_called_id"))).provider.schedule(wish())

    assert came == Scheduled(external_id="c1a5b1de-2f44-4d0c-9b43-93c1f5a0e7d8")


@pytest.mark.parametrize(
    "body",
    [
        payload("waits_for_mail"),
        payload("waits_for_mail_other_spelling"),
        {"bookingType": "DOUBLEOPTIN"},
        {"provisionalBookingId": "0d5b2a6c-8f31-4e57-b6a4-5d6e9c8b7a12"},
        payload("waits_for_mail") | {"id": "0d5b2a6c-8f31-4e57-b6a4-5d6e9c8b7a12"},
    ],
)
def test_provisional_booking_is_not_called_booked(body: Json) -> None:
    """Nothing is booked until somebody confirms by mail."""
    came = Wire(answer(201, body)).provider.schedule(wish())

    assert isinstance(came, AwaitsConfirmation)


@pytest.mark.parametrize(
    "body", [{}, {"bookingType": "instant"}, {"appointmentId": "soon"}, {"secret": "s"}]
)
def test_booking_answer_without_an_id_is_left_open(body: Json) -> None:
    """A status alone books nothing."""
    with pytest.raises(AnswerNotUnderstood):
        Wire(answer(201, body)).provider.schedule(wish())


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (400, Refusal.INVALID),
        (403, Refusal.PERMISSION),
        (404, Refusal.NOT_FOUND),
        (409, Refusal.SLOT_TAKEN),
        (422, Refusal.INVALID),
    ],
)
def test_refused_booking_says_why(status: int, why: Refusal) -> None:
    """The provider's own words go along; a 400 may be the slot or the input."""
    came = Wire(answer(status, {"message": "Slot is gone"})).provider.schedule(wish())

    assert isinstance(came, Refused)
    assert (came.why, came.said) == (why, "Slot is gone")


# --- free slots -------------------------------------------------------------------------------


def asked_params(request: httpx.Request) -> list[tuple[str, str]]:
    assert openapi.violations(SLUG, request) == []
    return sorted(request.url.params.multi_items())


def test_slots_are_asked_for_by_type_host_and_whole_days_of_the_desk() -> None:
    """Bounds in UTC, the zone by its name, and nothing about a booking that is not moved."""
    wire = Wire(answer(200, payload("availability")))

    wire.provider.slots(SlotQuery(window=WEEK, service=wish().service, host=USER_ID))

    [request] = wire.requests
    assert (request.method, request.url.path) == ("GET", "/v4/booking-availability")
    assert asked_params(request) == [
        ("end", "2026-12-13T23:00:00Z"),
        ("hostIds", USER_ID),
        ("meetingTypeId", wish().service),
        ("start", "2026-12-06T23:00:00Z"),
        ("timezone", "Europe/Berlin"),
    ]


def test_slots_of_a_move_are_those_of_the_booking_itself() -> None:
    """Its type, its hosts, its length; and it does not stand in its own way."""
    wire = Wire(answer(200, payload("availability")))
    moving = read_appointment(payload("active") | {"hostIds": [USER_ID, OMAR]})

    [first, second] = wire.provider.slots(SlotQuery(window=WEEK, moving=moving))

    assert asked_params(wire.requests[0]) == [
        ("end", "2026-12-13T23:00:00Z"),
        ("existingAppointmentId", moving.external_id),
        ("hostIds", USER_ID),
        ("hostIds", OMAR),
        ("meetingDuration", "30"),
        ("meetingTypeId", "8f6c2f0e-53b7-4a4b-9f1d-1f7f0a9d3c21"),
        ("start", "2026-12-06T23:00:00Z"),
        ("timezone", "Europe/Berlin"),
    ]
    assert (first.starts_at, first.ends_at) == (
        datetime(2026, 12, 11, 8, 0, tzinfo=UTC),
        datetime(2026, 12, 11, 8, 30, tzinfo=UTC),
    )
    assert second.host == "", "two hosts were asked for, and the answer names neither"


def test_slots_of_one_host_are_said_to_be_theirs() -> None:
    """So that the same choice can be booked."""
    wire = Wire(answer(200, payload("availability")))

    slots = wire.provider.slots(SlotQuery(window=WEEK, moving=booked("active")))

    assert [one.host for one in slots] == [USER_ID, USER_ID]


@pytest.mark.parametrize(
    "fields",
    [{"end": None}, {"end": "soon"}, {"end": "2026-12-11T07:00:00Z"}, {"end": "2027-12-11T07:00Z"}],
)
def test_slots_of_a_booking_without_sensible_length_ask_for_none(fields: Json) -> None:
    """The type's own length counts then, and no end is made up."""
    wire = Wire(answer(200, payload("availability")))
    moving = read_appointment(payload("active") | fields)

    slots = wire.provider.slots(SlotQuery(window=WEEK, moving=moving))

    assert "meetingDuration" not in wire.requests[0].url.params
    assert [one.ends_at for one in slots] == [None, None]


def test_slots_of_a_booking_with_a_strange_id_leave_it_out() -> None:
    """Ids of webhook examples are no UUIDs, and the question takes nothing else."""
    wire = Wire(answer(200, payload("availability")))
    moving = read_appointment(payload("active") | {"id": "appt-uuid-12345"})

    wire.provider.slots(SlotQuery(window=WEEK, moving=moving))

    assert "existingAppointmentId" not in dict(asked_params(wire.requests[0]))


def test_odd_slots_are_left_out_and_the_rest_is_sorted() -> None:
    """No offset, no time, no list, the same twice, another day of the desk: none of them."""
    wire = Wire(answer(200, payload("availability_odd")))

    slots = wire.provider.slots(SlotQuery(window=WEEK, service=wish().service, host=USER_ID))

    assert [one.starts_at.isoformat() for one in slots] == [
        "2026-12-11T08:00:00+00:00",
        "2026-12-11T09:00:00+00:00",
        "2026-12-12T08:00:00+00:00",
    ]


@pytest.mark.parametrize(
    ("query", "why"),
    [
        (SlotQuery(window=WEEK), "service_unknown"),
        (SlotQuery(window=WEEK, service="Beratung", host=USER_ID), "service_unknown"),
        (SlotQuery(window=WEEK, service=USER_ID), "host_unknown"),
        (SlotQuery(window=WEEK, service=USER_ID, host="Katrin"), "host_unknown"),
        (
            SlotQuery(
                window=WEEK, moving=read_appointment(payload("active") | {"meetingTypeId": None})
            ),
            "service_unknown",
        ),
        (
            SlotQuery(window=WEEK, moving=read_appointment(payload("active") | {"hostIds": []})),
            "host_unknown",
        ),
    ],
)
def test_question_that_could_only_fail_is_not_sent(query: SlotQuery, why: str) -> None:
    """The vendor wants a meeting type and a host, each by its id."""
    wire = Wire()

    with pytest.raises(NotSent, match=why):
        wire.provider.slots(query)

    assert wire.requests == []


# --- moving -----------------------------------------------------------------------------------


def moving(start: datetime = NINE_UTC, name: str = "active") -> RescheduleRequest:
    return RescheduleRequest(appointment=booked(name), starts_at=start)


@pytest.mark.parametrize(
    "start", [NINE_UTC, NINE_UTC.astimezone(BERLIN)], ids=["in UTC", "at the desk"]
)
def test_reschedule_names_the_new_start_and_nothing_else(start: datetime) -> None:
    """Least of all `ignoreAvailability`: what is taken stays taken."""
    wire = Wire(answer(200, payload("rescheduled")))

    came = wire.provider.reschedule(moving(start))

    assert wire.sent == {"start": "2026-12-11T09:00:00Z"}
    [request] = wire.requests
    assert (request.method, request.url.path) == (
        "POST",
        "/v4/appointment/c1a5b1de-2f44-4d0c-9b43-93c1f5a0e7d8/reschedule",
    )
    assert openapi.violations(SLUG, request) == []
    assert isinstance(came, Rescheduled)
    assert (came.appointment.starts_at, came.appointment.ends_at) == (
        NINE_UTC,
        NINE_UTC + timedelta(minutes=30),
    )


@pytest.mark.parametrize(
    "reply",
    [
        answer(200, payload("rescheduled")["appointment"]),
        answer(200, {"data": payload("rescheduled")["appointment"]}),
        answer(200, {"message": "Appointment rescheduled"}),
        answer(200, {"appointment": payload("rescheduled")["appointment"] | {"deletedAt": DAY}}),
        answer(200),
        answer(204),
        answer(202, payload("rescheduled")),
        httpx.Response(400, html="<h1>Bad request</h1>"),
    ],
    ids=["bare", "wrapped otherwise", "a message", "deleted", "empty 200", "204", "202", "HTML"],
)
def test_answer_that_does_not_show_the_move_leaves_it_open(reply: httpx.Response) -> None:
    """The envelope is another one than that of a cancellation, and no other is taken."""
    with pytest.raises(AnswerNotUnderstood) as raised:
        Wire(reply).provider.reschedule(moving())

    assert raised.value.may_have_happened


@pytest.mark.parametrize("minutes", [-60, -1, 1, 60])
def test_move_to_a_third_time_is_no_confirmation(minutes: int) -> None:
    """An hour off is what a zone that was misread looks like; the later read shows it."""
    start = NINE_UTC + timedelta(minutes=minutes)
    body = {"appointment": payload("rescheduled")["appointment"] | {"start": start.isoformat()}}

    with pytest.raises(AnswerNotUnderstood, match="not_as_asked"):
        Wire(answer(200, body)).provider.reschedule(moving())


def test_move_that_changed_the_length_shows_it() -> None:
    """The start is as asked for; that it ends otherwise is for the caller to see."""
    body = payload("rescheduled")
    body["appointment"]["end"] = "2026-12-11T10:00:00.000Z"

    came = Wire(answer(200, body)).provider.reschedule(moving())

    assert isinstance(came, Rescheduled)
    assert came.appointment.ends_at == NINE_UTC + timedelta(hours=1)


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (400, Refusal.INVALID),
        (404, Refusal.NOT_FOUND),
        (406, Refusal.QUOTA),
        (409, Refusal.SLOT_TAKEN),
        (410, Refusal.OTHER),
        (422, Refusal.INVALID),
    ],
)
def test_refused_move_says_why_in_their_words(status: int, why: Refusal) -> None:
    """A 400 may be the time or the input: their words say which, and no text is compared."""
    came = Wire(answer(status, payload("slot_taken"))).provider.reschedule(moving())

    assert came == Refused(why=why, said="Slot is no longer available", conclusive=False)


@pytest.mark.parametrize(
    ("changes", "met"),
    [
        ({}, True),
        ({"starts_at": NINE_UTC + timedelta(minutes=30)}, False),
        ({"external_id": OMAR}, False),
        ({"status": Status.PENDING}, True),
        ({"status": Status.CANCELLED}, False),
        ({"status": Status.OTHER}, False),
        ({"starts_at": None}, False),
    ],
)
def test_read_tells_whether_a_move_came_about(changes: dict[str, Any], met: bool) -> None:
    """This booking, standing, at that time: a cancelled one has not been moved."""
    moved = read_appointment(payload("rescheduled")["appointment"])

    assert moving().is_met_by(replace(moved, **changes), zone=BERLIN) is met


def test_time_without_zone_is_a_bug() -> None:
    """It could mean any of two dozen moments."""
    with pytest.raises(AppointmentsError):
        moving(datetime(2026, 12, 11, 9, 0))  # noqa: DTZ001 - the point of it


# --- the sandbox ------------------------------------------------------------------------------


@pytest.fixture
def world() -> MeetergoWorld:
    return MeetergoWorld()


@pytest.fixture
def server(world: MeetergoWorld) -> Iterator[SandboxServer]:
    server = SandboxServer(Sandbox([world]), port=0)
    server.start()
    yield server
    server.stop()


def connected(server: SandboxServer, credentials: Mapping[str, str]) -> Meetergo:
    return Meetergo(
        Account(
            base_url=server.base_url(SLUG),
            credentials=credentials,
            time_zone=BERLIN,
            rehearsal=True,
        )
    )


@pytest.fixture
def meetergo(server: SandboxServer) -> Iterator[Meetergo]:
    provider = connected(server, MeetergoWorld.credentials)
    yield provider
    provider.http.close()


NOON = datetime.now(BERLIN).replace(hour=12, minute=0, second=0, microsecond=0)
TOMORROW = NOON + timedelta(days=1)
MONTH = DateWindow(first=NOON.date(), last=NOON.date() + timedelta(days=30))


def listed(provider: Meetergo, window: DateWindow = MONTH) -> list[BookedAppointment]:
    pages = list(provider.pages(window))
    assert not any(one.rejected for one in pages)
    return [record for one in pages for record in one.records]


def found(provider: Meetergo, external_id: str) -> BookedAppointment:
    read = provider.read(BookingRef(external_id=external_id))
    assert read is not None
    return read


def test_sandbox_lists_more_than_a_page(meetergo: Meetergo, world: MeetergoWorld) -> None:
    """Every appointment of the window comes once, in order of time."""
    for number in range(130):
        world.add(start=TOMORROW + timedelta(minutes=number), people=PEOPLE[:1])
    world.add(start=TOMORROW + timedelta(days=40), people=PEOPLE[:1])

    records = listed(meetergo)

    assert len({one.external_id for one in records}) == len(records) == 130
    assert records == sorted(records, key=lambda one: str(one.starts_at))


@pytest.mark.parametrize(
    ("credentials", "error"),
    [
        (MeetergoWorld.credentials, None),
        ({"api_key": MeetergoWorld.personal_key}, None),
        ({**MeetergoWorld.credentials, "api_key": "ak_live:wrong"}, CredentialsRejected),
        ({"api_key": "rgo-wrong"}, CredentialsRejected),
        ({**MeetergoWorld.credentials, "user_id": USER_ID}, AccessDenied),
    ],
)
def test_sandbox_lets_in_whom_the_provider_would(
    server: SandboxServer, credentials: Mapping[str, str], error: type[Exception] | None
) -> None:
    """Key with its user, token alone; a wrong key is a 401, a foreign user a 403."""
    provider = connected(server, credentials)
    try:
        if error is None:
            provider.check()
            return
        with pytest.raises(error):
            provider.check()
    finally:
        provider.http.close()


def test_sandbox_cancels_one_appointment_and_mails_the_reason(
    meetergo: Meetergo, world: MeetergoWorld
) -> None:
    """One mail, with the reason; a read shows it cancelled; a second cancel is refused."""
    key = world.add(start=TOMORROW, people=PEOPLE[:1])
    request = CancelRequest(appointment=found(meetergo, key), reason="The room is flooded")

    first, second = meetergo.cancel(request), meetergo.cancel(request)

    assert isinstance(first, Confirmed)
    assert isinstance(second, Refused)
    assert not second.conclusive
    assert found(meetergo, key).status is Status.CANCELLED
    [mail] = world.mails
    assert mail["to"] == PEOPLE[0].email
    assert "The room is flooded" in mail["what"]


def test_sandbox_removes_one_person_and_the_course_goes_on(
    meetergo: Meetergo, world: MeetergoWorld
) -> None:
    """Nobody else is touched or told."""
    key = world.add(start=TOMORROW, people=PEOPLE[:4], kind=practice.COURSE)
    before = found(meetergo, key)
    gone = before.attendees[1]

    came = meetergo.cancel(
        CancelRequest(appointment=before, scope=Scope.ATTENDEE, attendee_id=gone.external_id)
    )

    assert isinstance(came, Confirmed)
    after = found(meetergo, key)
    assert after.status is Status.BOOKED
    assert after.attendees == (before.attendees[0], *before.attendees[2:])
    assert [one["to"] for one in world.mails] == [gone.email]


@pytest.mark.parametrize("declared", [True, None])
def test_sandbox_cancels_a_whole_group(
    meetergo: Meetergo, world: MeetergoWorld, declared: bool | None
) -> None:
    """Each participant is told once, even where the group does not call itself one."""
    key = world.add(start=TOMORROW, people=PEOPLE[:5], kind=practice.COURSE)
    world.state["appointments"][key]["meetingInfo"]["groupBooking"] = declared

    came = meetergo.cancel(CancelRequest(appointment=found(meetergo, key)))

    assert isinstance(came, Confirmed)
    assert sorted(one["to"] for one in world.mails) == sorted(one.email for one in PEOPLE[:5])


def test_sandbox_refuses_a_group_that_we_took_for_one_person(
    meetergo: Meetergo, world: MeetergoWorld
) -> None:
    """Somebody joined after we read: the provider's 400 keeps both in."""
    key = world.add(start=TOMORROW, people=PEOPLE[:1])
    stale = found(meetergo, key)
    entry = world.state["appointments"][key]
    entry["attendees"].append(entry["attendees"][0] | {"id": IDA})

    came = meetergo.cancel(CancelRequest(appointment=stale))

    assert isinstance(came, Refused)
    assert found(meetergo, key).is_live
    assert world.mails == []


def test_sandbox_cancels_this_and_later_ones(meetergo: Meetergo, world: MeetergoWorld) -> None:
    """Earlier occurrences and other bookings stand; the person gets one mail."""
    keys = [
        world.add(start=TOMORROW + timedelta(weeks=week), people=PEOPLE[:1], series="weekly")
        for week in range(4)
    ]
    other = world.add(start=TOMORROW + timedelta(days=20), people=PEOPLE[:1])

    came = meetergo.cancel(
        CancelRequest(appointment=found(meetergo, keys[1]), scope=Scope.FOLLOWING)
    )

    assert isinstance(came, Confirmed)
    assert world.tally() == (5, 3)
    states = {one.external_id: one.status for one in listed(meetergo)}
    assert [states[key] for key in keys] == [Status.BOOKED, *[Status.CANCELLED] * 3]
    assert states[other] is Status.BOOKED
    assert len(world.mails) == 1


def test_sandbox_does_not_know_the_appointment(meetergo: Meetergo, world: MeetergoWorld) -> None:
    """A read answers None, a cancel is refused and left to the read."""
    key = world.add(start=TOMORROW, people=PEOPLE[:1])
    known = found(meetergo, key)
    del world.state["appointments"][key]

    assert meetergo.read(BookingRef(external_id=key)) is None
    came = meetergo.cancel(CancelRequest(appointment=known))

    assert isinstance(came, Refused)
    assert came.why is Refusal.NOT_FOUND
    assert not came.conclusive


@pytest.mark.parametrize(("length", "accepted"), [(250, True), (251, False)])
def test_sandbox_counts_a_reason_as_javascript_does(
    meetergo: Meetergo, world: MeetergoWorld, length: int, accepted: bool
) -> None:
    """An emoji takes two of the 500 units."""
    key = world.add(start=TOMORROW, people=PEOPLE[:1])

    came = meetergo.cancel(
        CancelRequest(appointment=found(meetergo, key), reason="\N{WAVING HAND SIGN}" * length)
    )

    assert isinstance(came, Confirmed if accepted else Refused)


def slot(hour: int = 10, minute: int = 0) -> datetime:
    """A working day next week."""
    day = TOMORROW + timedelta(days=7)
    return (day + timedelta(days=day.weekday() == 6)).replace(hour=hour, minute=minute)


def booking(**fields: Any) -> ScheduleRequest:
    person = PEOPLE[15]
    given: Json = {
        "service": practice.CONSULTATION.id,
        "host": practice.KATRIN.id,
        "starts_at": slot(),
        "name": person.name,
        "email": person.email,
    }
    return ScheduleRequest(**given | fields)


def test_sandbox_books_a_free_slot_once(meetergo: Meetergo, world: MeetergoWorld) -> None:
    """The booking is there to be read, its person is told, and the slot is gone."""
    first = meetergo.schedule(booking(phone="+49 30 5550199", time_zone="Europe/Vienna"))
    second = meetergo.schedule(booking())

    assert isinstance(first, Scheduled)
    read = found(meetergo, first.external_id)
    assert read.starts_at == slot()
    assert read.attendees[0].name == PEOPLE[15].name
    assert read.attendees[0].time_zone == "Europe/Vienna"
    assert read.host == practice.KATRIN.name
    assert isinstance(second, Refused)
    assert len(world.mails) == 1


def test_sandbox_lets_people_join_a_course(meetergo: Meetergo, world: MeetergoWorld) -> None:
    """A second booking of the same course is a second attendee, not a second course."""
    asked = booking(service=practice.COURSE.id, host=practice.AYLIN.id)

    first = meetergo.schedule(asked)
    second = meetergo.schedule(asked)

    assert isinstance(first, Scheduled)
    assert first == second
    assert len(found(meetergo, first.external_id).attendees) == 2


def test_sandbox_waits_for_a_confirmation_by_mail(
    meetergo: Meetergo, world: MeetergoWorld, server: SandboxServer
) -> None:
    """Double opt-in: nothing stands in the list until the attendee confirms."""
    came = meetergo.schedule(booking(service=practice.NUTRITION.id))

    assert isinstance(came, AwaitsConfirmation)
    assert listed(meetergo) == []
    with ask(server) as client:
        pending = client.get("v4/provisional-booking/paginated", params={"page": 0, "pageSize": 9})
    assert pending.json()["total"] == 1


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"service": USER_ID}, Refusal.NOT_FOUND),
        ({"host": USER_ID.replace("2", "3")}, Refusal.NOT_FOUND),
        ({"service": "Beratung"}, Refusal.INVALID),
        ({"email": "nobody"}, Refusal.INVALID),
        ({"email": ""}, Refusal.INVALID),
        ({"name": ""}, Refusal.INVALID),
        ({"starts_at": NOON - timedelta(days=3)}, Refusal.INVALID),
    ],
)
def test_sandbox_refuses_a_booking_it_cannot_make(
    meetergo: Meetergo, world: MeetergoWorld, fields: Json, why: Refusal
) -> None:
    """Unknown service or host, bad address, no name, gone by: nothing is booked."""
    came = meetergo.schedule(booking(**fields))

    assert isinstance(came, Refused)
    assert came.why is why
    assert world.state["appointments"] == {}


def free_of(provider: Meetergo, moving: BookedAppointment | None = None) -> list[datetime]:
    day = slot().date()
    query = SlotQuery(
        window=DateWindow(first=day, last=day),
        service=practice.CONSULTATION.id,
        host=practice.KATRIN.id,
        moving=moving,
    )
    return [one.starts_at for one in provider.slots(query)]


def test_sandbox_slots_shrink_when_booked_and_come_back(
    meetergo: Meetergo, world: MeetergoWorld
) -> None:
    """What is offered can be booked, is gone then, and is free again once cancelled."""
    before = free_of(meetergo)
    came = meetergo.schedule(booking(starts_at=before[4]))
    assert isinstance(came, Scheduled)
    after = free_of(meetergo)
    meetergo.cancel(CancelRequest(appointment=found(meetergo, came.external_id)))

    assert len(before) == 20
    assert after == [one for one in before if one != before[4]]
    assert free_of(meetergo) == before


def test_sandbox_booking_does_not_stand_in_its_own_way(
    meetergo: Meetergo, world: MeetergoWorld
) -> None:
    """Half an hour later is possible for an hour's visit, and its own length is what must fit."""
    key = world.add(start=slot(10), people=PEOPLE[:1], kind=practice.FIRST_VISIT)
    world.add(start=slot(12), people=PEOPLE[1:2])
    visit = found(meetergo, key)

    own, others = free_of(meetergo, visit), free_of(meetergo)

    assert slot(10, 30) in own
    assert slot(10, 30) not in others
    assert slot(11, 30) not in own, "an hour from half past eleven would run into the next"
    assert slot(11, 30) in others


def test_sandbox_moves_a_booking_once_and_tells_everybody(
    meetergo: Meetergo, world: MeetergoWorld, server: SandboxServer
) -> None:
    """The same id, people and length; the old time is free again; the list shows the new one."""
    key = world.add(start=slot(10), people=PEOPLE[:2], kind=practice.FIRST_VISIT)
    before = found(meetergo, key)

    came = meetergo.reschedule(RescheduleRequest(appointment=before, starts_at=slot(14)))

    assert isinstance(came, Rescheduled)
    assert came.appointment == found(meetergo, key)
    assert (came.appointment.starts_at, came.appointment.ends_at) == (slot(14), slot(15))
    assert came.appointment.attendees == before.attendees
    assert came.appointment.is_live
    assert [one.starts_at for one in listed(meetergo)] == [slot(14)]
    assert slot(10) in free_of(meetergo)
    assert slot(14) not in free_of(meetergo)
    assert sorted(one["to"] for one in world.mails) == sorted(one.email for one in PEOPLE[:2])
    assert server.sandbox.received(SLUG, "reschedule") == [f"POST /v4/appointment/{key}/reschedule"]


def stay(world: MeetergoWorld, key: str) -> None:
    """Assert that nothing moved and that nobody was told."""
    assert world.state["appointments"][key].get("rescheduledAt") is None
    assert world.mails == []


@pytest.mark.parametrize(
    ("hour", "minute"), [(12, 0), (11, 45), (7, 0), (18, 0), (17, 45), (9, 10)]
)
def test_sandbox_refuses_a_start_that_is_not_free(
    meetergo: Meetergo, world: MeetergoWorld, hour: int, minute: int
) -> None:
    """Taken, running into another, before opening, after closing, off the grid."""
    key = world.add(start=slot(10), people=PEOPLE[:1])
    world.add(start=slot(12), people=PEOPLE[1:2])

    came = meetergo.reschedule(
        RescheduleRequest(appointment=found(meetergo, key), starts_at=slot(hour, minute))
    )

    assert isinstance(came, Refused)
    assert came.said == "Slot is no longer available"
    assert not came.conclusive
    stay(world, key)


def test_sandbox_refuses_to_move_what_is_over_cancelled_or_unknown(
    meetergo: Meetergo, world: MeetergoWorld
) -> None:
    """And nothing moves into the past."""
    over = world.add(start=NOON - timedelta(days=2), people=PEOPLE[:1])
    standing = world.add(start=slot(10), people=PEOPLE[:1])
    cancelled = world.add(start=slot(11), people=PEOPLE[:1], isCancelled=True)
    gone = world.add(start=slot(12), people=PEOPLE[:1])
    unknown = found(meetergo, gone)
    del world.state["appointments"][gone]
    yesterday = slot(10) - timedelta(days=21)

    asked = [
        (found(meetergo, over), slot(14)),
        (found(meetergo, standing), yesterday),
        (found(meetergo, cancelled), slot(14)),
        (unknown, slot(14)),
    ]
    came = [
        meetergo.reschedule(RescheduleRequest(appointment=one, starts_at=start))
        for one, start in asked
    ]

    assert [isinstance(one, Refused) and one.why for one in came] == [
        *[Refusal.INVALID] * 3,
        Refusal.NOT_FOUND,
    ]
    for key in (over, standing, cancelled):
        stay(world, key)


def test_sandbox_lost_answer_to_a_move_is_settled_by_a_read(
    meetergo: Meetergo, world: MeetergoWorld, server: SandboxServer
) -> None:
    """Moved and told, nobody heard of it; what was asked for says whether it came about."""
    key = world.add(start=slot(10), people=PEOPLE[:1])
    request = RescheduleRequest(appointment=found(meetergo, key), starts_at=slot(14))
    server.sandbox.add_fault(Fault(provider=SLUG, operation="reschedule", kind="lose_answer"))
    assert not request.is_met_by(found(meetergo, key), zone=BERLIN)

    with pytest.raises(AnswerLost):
        meetergo.reschedule(request)

    assert request.is_met_by(found(meetergo, key), zone=BERLIN)
    assert len(server.sandbox.received(SLUG, "reschedule")) == 1
    assert len(world.mails) == 1


def test_lost_answer_may_have_been_applied(
    meetergo: Meetergo, world: MeetergoWorld, server: SandboxServer
) -> None:
    """The appointment is cancelled, the person told, and the error says *perhaps*."""
    key = world.add(start=TOMORROW, people=PEOPLE[:1])
    request = CancelRequest(appointment=found(meetergo, key))
    server.sandbox.add_fault(Fault(provider=SLUG, operation="cancel", kind="lose_answer"))

    with pytest.raises(AnswerLost) as lost:
        meetergo.cancel(request)

    assert lost.value.may_have_happened
    assert found(meetergo, key).status is Status.CANCELLED
    assert len(world.mails) == 1


# --- the sandbox, asked directly --------------------------------------------------------------


def ask(server: SandboxServer, **headers: str) -> httpx.Client:
    given = Meetergo.headers(MeetergoWorld.credentials) | headers
    return httpx.Client(base_url=server.base_url(SLUG), headers=given, trust_env=False)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": ""}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"x-meetergo-api-user-id": ""}, 400),
        ({"x-meetergo-api-user-id": "the-key"}, 400),
        ({"x-meetergo-api-user-id": USER_ID}, 403),
        (
            {
                "Authorization": f"Bearer {MeetergoWorld.personal_key}",
                "x-meetergo-api-user-id": USER_ID,
            },
            403,
        ),
    ],
)
def test_sandbox_insists_on_the_right_pair_of_headers(
    server: SandboxServer, headers: dict[str, str], status: int
) -> None:
    """A missing acting user is a 400; a token that names somebody else is a 403."""
    with ask(server, **headers) as client:
        response = client.get("v4/appointment/paginated", params={"page": 0, "pageSize": 1})

    assert response.status_code == status
    assert response.json()["statusCode"] == status


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"cancelAll": False}, 400),
        ({"cancelAll": "true"}, 400),
        ({"canceLAll": True}, 400),
        ({"attendeeId": "omar"}, 400),
        ({"attendeeId": OMAR}, 400),
        ({"attendeeId": OMAR, "cancelAll": True}, 400),
        ({"attendeeId": OMAR, "cancelEntireSeries": True}, 400),
        ({"reason": None, "cancelAll": True}, 400),
        ({"reason": "x" * 501, "cancelAll": True}, 400),
        ([], 400),
        ({"reason": "x" * 500, "cancelAll": True}, 200),
    ],
)
def test_sandbox_takes_only_a_cancel_that_the_contract_allows(
    server: SandboxServer, world: MeetergoWorld, body: Any, status: int
) -> None:
    """A course of two: without a target, or with a body that is wrong, nothing happens."""
    key = world.add(start=TOMORROW, people=PEOPLE[:2], kind=practice.COURSE)

    with ask(server) as client:
        response = client.post(f"v4/appointment/{key}/cancel", json=body)

    assert response.status_code == status
    assert world.state["appointments"][key]["isCancelled"] is (status == 200)
    assert len(world.mails) == (2 if status == 200 else 0)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"page": 0},
        {"page": 1, "limit": 20},
        {"page": -1, "pageSize": 10},
        {"page": 0, "pageSize": 101},
        {"page": 0, "pageSize": 10, "pagesize": 10},
        {"page": 0, "pageSize": 10, "start": "2026-12-07T00:00:00"},
        {"page": 0, "pageSize": 10, "start": "2026-12-07T00:00:00 01:00"},
        {"page": 0, "pageSize": 10, "sortBy": "start"},
        {"page": 0, "pageSize": 10, "userId": "me"},
    ],
)
def test_sandbox_takes_only_a_listing_that_the_contract_allows(
    server: SandboxServer, params: Mapping[str, str | int]
) -> None:
    """Guessed names, a size beyond the limit and a plus sign turned into a space are refused."""
    with ask(server) as client:
        response = client.get("v4/appointment/paginated", params=params)

    assert response.status_code == 400


def test_sandbox_shows_free_slots_around_what_is_booked(
    server: SandboxServer, world: MeetergoWorld
) -> None:
    """Half an hour steps within opening hours; a booked one is missing until it is cancelled."""
    key = world.add(start=slot(10), people=PEOPLE[:1])
    query = {
        "meetingTypeId": practice.CONSULTATION.id,
        "hostIds": practice.KATRIN.id,
        "start": slot(9).astimezone(UTC).isoformat(),
        "end": slot(11).astimezone(UTC).isoformat(),
        "timezone": "Europe/Berlin",
    }

    def free() -> list[datetime]:
        with ask(server) as client:
            [day] = client.get("v4/booking-availability", params=query).json()["dates"]
        return [datetime.fromisoformat(one["startTime"]) for one in day["spots"]]

    before = free()
    world.state["appointments"][key]["isCancelled"] = True

    assert [one.astimezone(BERLIN).strftime("%H:%M") for one in before] == [
        "09:00",
        "09:30",
        "10:30",
        "11:00",
    ]
    assert slot(10) in free()


def moved_by(key: str) -> Json:
    return {"existingAppointmentId": key, "meetingDuration": 30}


def test_sandbox_answers_as_the_contract_describes(
    server: SandboxServer, world: MeetergoWorld
) -> None:
    """Every route, done and refused: status and body are in the contract."""
    world.seed(now=NOON, people=PEOPLE, random=Random(3))
    key = world.add(start=TOMORROW, people=PEOPLE[:1])
    far = slot(10) + timedelta(weeks=8)  # behind the bookings of the demo
    standing = world.add(start=far, people=PEOPLE[:1])
    second = world.add(start=far + timedelta(hours=2), people=PEOPLE[:1])
    to = {"start": (far + timedelta(hours=4)).isoformat()}
    gone_by = {"start": (NOON - timedelta(days=7)).isoformat(), "ignoreAvailability": True}
    course = world.add(start=TOMORROW, people=PEOPLE[:2], kind=practice.COURSE)
    paging = {"page": 0, "pageSize": 100}
    spots = {
        "meetingTypeId": practice.CONSULTATION.id,
        "hostIds": practice.KATRIN.id,
        "start": slot(9).astimezone(UTC).isoformat(),
        "end": slot(17).astimezone(UTC).isoformat(),
    }
    book = {
        "meetingTypeId": practice.NUTRITION.id,
        "start": slot(12).isoformat(),
        "hostIds": [practice.KATRIN.id],
        "attendee": {
            "fullname": "A B",
            "email": "a@example.org",
            "receiveReminders": True,
            "notes": {},
        },
    }
    asked: list[tuple[int, str, str, Json]] = [
        (200, "GET", "v4/appointment/paginated", {"params": paging}),
        (400, "GET", "v4/appointment/paginated", {"params": {"page": "x", "pageSize": 1}}),
        (200, "GET", f"v4/appointment/{key}", {}),
        (404, "GET", f"v4/appointment/{OMAR}", {}),
        (400, "GET", "v4/appointment/today-please", {}),
        (400, "POST", f"v4/appointment/{course}/cancel", {"json": {}}),
        (200, "POST", f"v4/appointment/{course}/cancel", {"json": {"cancelAll": True}}),
        (200, "POST", f"v4/appointment/{key}/cancel", {"json": {}}),
        (400, "POST", f"v4/appointment/{key}/cancel", {"json": {}}),
        (404, "POST", f"v4/appointment/{OMAR}/cancel", {"json": {}}),
        (200, "GET", "v4/booking-availability", {"params": spots}),
        (400, "GET", "v4/booking-availability", {"params": {**spots, "hostIds": "me"}}),
        (404, "GET", "v4/booking-availability", {"params": {**spots, **moved_by(OMAR)}}),
        (200, "GET", "v4/booking-availability", {"params": {**spots, **moved_by(standing)}}),
        (400, "GET", "v4/booking-availability", {"params": {**spots, "meetingDuration": 0}}),
        (400, "POST", f"v4/appointment/{standing}/reschedule", {"json": {}}),
        (400, "POST", f"v4/appointment/{standing}/reschedule", {"json": {"start": "soon"}}),
        (400, "POST", f"v4/appointment/{standing}/reschedule", {"json": to | {"end": "x"}}),
        (400, "POST", f"v4/appointment/{key}/reschedule", {"json": to}),
        (404, "POST", f"v4/appointment/{OMAR}/reschedule", {"json": to}),
        (400, "POST", f"v4/appointment/{standing}/reschedule", {"json": gone_by}),
        (200, "POST", f"v4/appointment/{standing}/reschedule", {"json": to}),
        (400, "POST", f"v4/appointment/{second}/reschedule", {"json": to}),
        (
            200,
            "POST",
            f"v4/appointment/{second}/reschedule",
            {"json": to | {"ignoreAvailability": True}},
        ),
        (201, "POST", "v4/booking", {"json": book}),
        (201, "POST", "v4/booking", {"json": book | {"meetingTypeId": practice.PHYSIO.id}}),
        (400, "POST", "v4/booking", {"json": book | {"queueId": OMAR}}),
        (404, "POST", "v4/booking", {"json": book | {"meetingTypeId": OMAR}}),
        (200, "GET", "v4/provisional-booking/paginated", {"params": paging}),
    ]

    with ask(server) as client:
        for status, method, path, what in asked:
            response = client.request(method, path, **what)
            assert response.status_code == status, (method, path, response.text)
            assert not openapi.answer_violations(
                SLUG, response.request, response, base_url=server.base_url(SLUG)
            )


# --- the demo ---------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", range(7))
def test_demo_is_full_on_every_day_of_the_week(
    meetergo: Meetergo, world: MeetergoWorld, offset: int
) -> None:
    """Whatever day it is: enough bookings, today and tomorrow too, and one of every kind."""
    now = NOON + timedelta(days=offset)
    world.seed(now=now, people=PEOPLE, random=Random(7))
    today = now.date()
    window = DateWindow(first=today - timedelta(days=1), last=today + timedelta(days=40))

    records = listed(meetergo, window)

    assert 60 <= len(records) <= 95
    days = [one.starts_at.astimezone(BERLIN).date() for one in records if one.starts_at]
    assert days.count(today) >= 4
    assert days.count(today + timedelta(days=1)) >= 4
    courses = [one for one in records if one.title == "Rückenkurs"]
    assert [4 <= len(one.attendees) <= 6 for one in courses].count(True) >= 3
    series = [one for one in records if one.external_id in world.state["series"]]
    assert sum(str(one.starts_at) > str(now.astimezone(UTC)) for one in series) >= 4
    assert any(one.is_paid for one in records)
    assert any(one.warnings for one in records)
    assert any(one.status is Status.CANCELLED for one in records)
    assert any(not person.phone for one in records for person in one.attendees)
    assert any(person.guests for one in records for person in one.attendees)
    assert len({one.host for one in records}) == 3


@pytest.mark.parametrize("offset", range(7))
def test_demo_has_free_slots_on_coming_days(
    meetergo: Meetergo, world: MeetergoWorld, offset: int
) -> None:
    """Each host has room on some of the next three days, so that a move can be tried."""
    world.seed(now=NOON + timedelta(days=offset), people=PEOPLE, random=Random(7))
    first = NOON.date() + timedelta(days=offset + 1)
    window = DateWindow(first=first, last=first + timedelta(days=2))

    for host in practice.HOSTS:
        query = SlotQuery(window=window, service=practice.CONSULTATION.id, host=host.id)
        assert len(meetergo.slots(query)) >= 5


def test_demo_is_the_same_every_time() -> None:
    """The same day and the same random numbers make the same state, down to the last id."""
    first, second = MeetergoWorld(), MeetergoWorld()

    for world in (first, second):
        world.seed(now=NOON, people=PEOPLE, random=Random(11))

    assert first.state == second.state
    assert json.loads(json.dumps(first.state)) == first.state
