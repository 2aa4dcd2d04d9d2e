from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any, ClassVar
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
    CancelRequest,
    CapabilityMissing,
    Confirmed,
    ConfirmRequest,
    CredentialsRejected,
    DateWindow,
    Refusal,
    Refused,
    Scheduled,
    ScheduleRequest,
    Scope,
    Status,
)
from appointments.providers.base import BadCredentials
from appointments.providers.mijnklantportaal import MijnKlantportaal, local_minute, read_appointment
from appointments.providers.reading import Unreadable
from appointments.providers.transport import ProviderHttp
from appointments.sandbox.core import Fault, Sandbox, SandboxServer
from appointments.sandbox.mijnklantportaal import READ_ONLY_KEY, MijnKlantportaalWorld
from appointments.sandbox.people import PEOPLE
from tests import openapi
from tests.providers.contract import ConfirmContract, Json

SLUG = "mijnklantportaal"
PAYLOADS = Path(__file__).parent.parent / "payloads" / SLUG
AMSTERDAM = ZoneInfo("Europe/Amsterdam")
KEY = MappingProxyType({"api_key": "mkp_live_4f9c2e7a1b"})
WEEK = DateWindow(first=date(2026, 12, 7), last=date(2026, 12, 13))


def payload(name: str) -> Json:
    body: Json = json.loads((PAYLOADS / f"{name}.json").read_text(encoding="utf-8"))
    return body


def booked(name: str = "read_scheduled", **changes: Any) -> BookedAppointment:
    return read_appointment(payload(name) | changes)


INTAKE = ScheduleRequest(
    title="Intake gesprek",
    customer_id="cst_p7n4d1c6b2ra",
    starts_at=datetime(2026, 12, 14, 11, 0, tzinfo=AMSTERDAM),
    ends_at=datetime(2026, 12, 14, 11, 45, tzinfo=AMSTERDAM),
)


class Wire:
    """A provider whose network answers as told, one answer after the other."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        account = Account(
            base_url=MijnKlantportaal.default_base_url, credentials=KEY, time_zone=AMSTERDAM
        )
        http = ProviderHttp(
            account.base_url,
            headers=MijnKlantportaal.headers(KEY),
            transport=httpx.MockTransport(self._answer),
        )
        self.provider = MijnKlantportaal(account, http=http)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        assert openapi.violations(SLUG, request) == []
        return self.answers.pop(0)

    def cancel(self, appointment: BookedAppointment | None = None) -> Any:
        return self.provider.cancel(CancelRequest(appointment=appointment or booked()))

    def list(self, window: DateWindow = WEEK) -> list[BookedAppointment]:
        return [one for page in self.provider.pages(window) for one in page.records]

    @property
    def sent(self) -> Any:
        """Body of the only request."""
        [request] = self.requests
        return json.loads(request.content)


def answer(status: int, name: str) -> httpx.Response:
    return httpx.Response(status, json=payload(name))


class TestMijnKlantportaal(ConfirmContract):
    slug = SLUG
    provider_class = MijnKlantportaal
    credentials = KEY
    window = WEEK
    record = payload("read_scheduled")
    other_id = "apt_w8h2z5s7y4bn"
    needed = frozenset({"id", "startsAt"})
    cancel_proof = (("id",), ("status",))
    schedule_proof = (("id",), ("status",))
    already_statuses: ClassVar[tuple[int, ...]] = (409,)
    confirm_proof = (("id",), ("status",))

    def operation(self, request: httpx.Request) -> str:
        if request.url.path.endswith("/appointments"):
            return "list" if request.method == "GET" else "schedule"
        if request.method == "PATCH" and json.loads(request.content) == {"status": "scheduled"}:
            return "confirm"
        return "read" if request.method == "GET" else "cancel"

    def list_body(self, records: list[Json]) -> Json:
        return {"data": records}

    def cancel_body(self) -> Json:
        return payload("canceled")

    def cancelled_record(self) -> Json:
        return payload("read_canceled")

    def confirm_body(self) -> Json:
        return payload("confirmed")

    def schedule_body(self) -> Json:
        return payload("scheduled")

    def schedule_request(self) -> ScheduleRequest:
        return INTAKE


class TestMijnKlantportaalPending(TestMijnKlantportaal):
    """What is pending is cancelled by another request, which has to survive the same."""

    record = payload("read_scheduled") | {"status": "pending"}
    already_statuses = ()


# --- credentials ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "credentials",
    [{}, {"api_key": ""}, {"api_key": "a b"}, {"api_key": "a\n"}, {"api_key": "x", "user": "y"}],
    ids=["nothing", "empty", "blank inside", "line break", "one too many"],
)
def test_credentials_that_cannot_work_are_refused(credentials: dict[str, str]) -> None:
    """A key that no request could carry is refused before it is stored."""
    with pytest.raises(BadCredentials):
        MijnKlantportaal.check_credentials(credentials)


def test_key_travels_as_bearer_token() -> None:
    """The header is Authorization, although one page of the vendor writes Authentication."""
    wire = Wire(answer(200, "list_week"))

    wire.provider.check()

    assert wire.requests[0].headers["authorization"] == f"Bearer {KEY['api_key']}"


# --- listing ----------------------------------------------------------------------------------


def test_listing_starts_at_local_midnight_and_asks_a_day_more() -> None:
    """The default start is now, which would lose this morning; the end may not belong to it."""
    wire = Wire(answer(200, "list_week"))

    wire.list()

    assert dict(wire.requests[0].url.params) == {"start_at": "2026-12-07 00:00", "days": "8"}


def test_long_window_is_asked_for_in_pieces_of_31_days() -> None:
    """Each piece overlaps the next by a day, and nothing is listed twice for it."""
    last_of_first = payload("read_scheduled") | {
        "startsAt": "2026-12-31T10:00:00+01:00",
    }
    first_of_second = last_of_first | {"id": "apt_second", "startsAt": "2027-01-01T10:00:00+01:00"}
    both = {"data": [last_of_first, first_of_second]}
    wire = Wire(httpx.Response(200, json=both), httpx.Response(200, json=both))

    listed = wire.list(DateWindow(first=date(2026, 12, 1), last=date(2027, 1, 15)))

    assert [dict(request.url.params) for request in wire.requests] == [
        {"start_at": "2026-12-01 00:00", "days": "32"},
        {"start_at": "2027-01-01 00:00", "days": "16"},
    ]
    assert [one.external_id for one in listed] == [last_of_first["id"], "apt_second"]


def test_failing_piece_ends_the_listing() -> None:
    """The first piece alone would look like a calendar that is empty from February on."""
    wire = Wire(answer(200, "list_week"), httpx.Response(500, json={"message": "Server Error"}))

    with pytest.raises(AnswerNotUnderstood):
        wire.list(DateWindow(first=date(2026, 12, 7), last=date(2027, 1, 31)))


def test_window_is_cut_by_the_day_at_the_desk() -> None:
    """Half past eleven at night in UTC is the next day in Amsterdam."""
    late = payload("read_scheduled") | {"startsAt": "2026-12-13T23:30:00Z"}
    early = late | {"id": "apt_early", "startsAt": "2026-12-06T23:30:00Z"}
    wire = Wire(httpx.Response(200, json={"data": [late, early]}))

    assert [one.external_id for one in wire.list()] == ["apt_early"]


def test_offsets_on_both_sides_of_a_clock_change_are_kept() -> None:
    """Nine o'clock stays nine o'clock at the desk, whatever the offset."""
    wire = Wire(answer(200, "list_across_clock_change"))

    listed = wire.list(DateWindow(first=date(2027, 3, 22), last=date(2027, 3, 31)))

    assert [one.starts_at for one in listed] == [
        datetime(2027, 3, 26, 8, tzinfo=UTC),
        datetime(2027, 3, 29, 7, tzinfo=UTC),
    ]


def test_three_documented_words_are_three_states() -> None:
    """One l; the provider's word is kept beside ours."""
    wire = Wire(answer(200, "list_week"))

    assert [(one.status, one.provider_status) for one in wire.list()] == [
        (Status.BOOKED, "scheduled"),
        (Status.PENDING, "pending"),
        (Status.CANCELLED, "canceled"),
    ]


def test_odd_records_are_read_or_set_aside_one_by_one() -> None:
    """Everything odd that one answer may hold, and nothing of it is taken for booked."""
    wire = Wire(answer(200, "list_odd"))

    [page] = wire.provider.pages(WEEK)

    states = {one.external_id: one.status for one in page.records}
    assert states == {
        "apt_only_id_and_start": Status.OTHER,
        "apt_wrong_offset": Status.BOOKED,
        "apt_end_without_offset": Status.BOOKED,
        "apt_two_ls": Status.OTHER,
        "apt_in_capitals": Status.OTHER,
        "apt_evil_link": Status.BOOKED,
        "apt_null_everywhere": Status.OTHER,
    }
    assert [(one.external_id, one.why) for one in page.rejected] == [
        ("apt_start_without_offset", "startsAt has no offset"),
        ("apt_no_date", "startsAt is no date and time"),
        ("", "id is missing"),
        ("", "id would lead to another address"),
        ("", "id is missing"),
        ("apt_nul_in_name", "attendeeName holds a character that cannot be stored"),
    ]


# --- reading ----------------------------------------------------------------------------------


def test_appointment_is_read_whole() -> None:
    """Every field that the vendor answers and a dashboard uses."""
    assert booked() == BookedAppointment(
        external_id="apt_k3v9t2q8m1xw",
        status=Status.BOOKED,
        provider_status="scheduled",
        starts_at=datetime(2026, 12, 7, 9, 0, tzinfo=UTC),
        ends_at=datetime(2026, 12, 7, 9, 30, tzinfo=UTC),
        meeting_link="https://meet.example.com/rvk-qpd",
        attendees=(
            BookedAttendee(
                external_id="cst_p7n4d1c6b2ra",
                name="Sanne de Vries",
                email="sanne.devries@example.com",
            ),
        ),
    )


def test_sparse_appointment_invents_nothing() -> None:
    """The vendor promises no field: what is missing stays empty, and nobody is booked on it."""
    assert booked("sparse") == BookedAppointment(
        external_id="apt_k3v9t2q8m1xw",
        status=Status.OTHER,
        starts_at=datetime(2026, 12, 7, 9, 0, tzinfo=UTC),
    )


def test_offset_of_the_answer_decides() -> None:
    """The vendor's example has an offset that Amsterdam does not have on that day."""
    assert booked(startsAt="2025-03-05T16:00:00+02:00").starts_at == datetime(
        2025, 3, 5, 14, tzinfo=UTC
    )


def test_time_without_offset_is_not_guessed() -> None:
    """Which zone is meant is documented nowhere, so the record cannot be placed."""
    with pytest.raises(Unreadable):
        booked(startsAt="2026-12-07T10:00:00")


@pytest.mark.parametrize("external_id", ["apt_/../x?y=1#z", "apt_ä ö", "apt_%2F", "apt_a;b,c"])
def test_strange_id_stays_one_part_of_the_path(external_id: str) -> None:
    """An id is opaque: whatever it holds, it leads nowhere else and adds no parameter."""
    wire = Wire(httpx.Response(200, json=payload("read_scheduled") | {"id": external_id}))

    read = wire.provider.read(BookingRef(external_id=external_id))

    [request] = wire.requests
    assert read is not None
    assert request.url.raw_path.count(b"/") == 3
    assert request.url.query == b""


# --- cancelling -------------------------------------------------------------------------------


def test_cancel_is_a_delete_without_body_or_parameters() -> None:
    """A reason cannot reach the customer here, and none is tried."""
    wire = Wire(answer(200, "canceled"))

    wire.provider.cancel(CancelRequest(appointment=booked(), reason="The doctor is ill"))

    [request] = wire.requests
    assert request.method == "DELETE"
    assert request.url == "https://api.mijnklantportaal.nl/v1/appointments/apt_k3v9t2q8m1xw"
    assert request.content == b""
    assert "content-type" not in request.headers


@pytest.mark.parametrize("scope", [Scope.ATTENDEE, Scope.FOLLOWING])
def test_other_scope_sends_nothing(scope: Scope) -> None:
    """Asked for a part, it must not take away the whole."""
    wire = Wire()

    with pytest.raises(CapabilityMissing):
        wire.provider.cancel(CancelRequest(appointment=booked(), scope=scope))

    assert wire.requests == []


def test_canceled_answer_is_confirmed_with_the_appointment() -> None:
    """The answer shows the appointment, so the cache can be brought up to date with it."""
    confirmed = Wire(answer(200, "canceled")).cancel()

    assert isinstance(confirmed, Confirmed)
    assert confirmed.appointment == booked("canceled")


@pytest.mark.parametrize("word", ["scheduled", "pending", "cancelled", "Canceled", "", None])
def test_200_that_does_not_say_canceled_is_not_understood(word: str | None) -> None:
    """The vendor's own example answers 200 and still says scheduled."""
    body = payload("still_scheduled") | {"status": word}

    with pytest.raises(AnswerNotUnderstood) as raised:
        Wire(httpx.Response(200, json=body)).cancel()

    assert raised.value.why == "not_cancelled"


def test_200_about_another_appointment_is_not_understood() -> None:
    """Canceled, but what? Not this one."""
    body = payload("canceled") | {"id": "apt_w8h2z5s7y4bn"}

    with pytest.raises(AnswerNotUnderstood) as raised:
        Wire(httpx.Response(200, json=body)).cancel()

    assert raised.value.why == "other_id"


def test_409_is_already() -> None:
    """The one documented way to say: was canceled before."""
    assert Wire(answer(409, "already_canceled")).cancel() == Already(
        said="This appointment has already been canceled."
    )


def test_404_is_a_refusal_to_be_looked_at() -> None:
    """Unknown to the vendor is not the same as cancelled."""
    assert Wire(answer(404, "not_found")).cancel() == Refused(
        why=Refusal.NOT_FOUND, said="The appointment could not be found."
    )


@pytest.mark.parametrize(
    "response",
    [answer(403, "missing_scope"), httpx.Response(403), httpx.Response(403, json={})],
    ids=["with words", "empty", "without words"],
)
def test_403_is_conclusive(response: httpx.Response) -> None:
    """The key lacks the scope: nothing was done, and no look is needed."""
    refused = Wire(response).cancel()

    assert isinstance(refused, Refused)
    assert refused.why is Refusal.PERMISSION
    assert refused.conclusive


def test_pending_is_declined_by_patch() -> None:
    """The documented way for what is not agreed yet."""
    wire = Wire(answer(200, "canceled"))

    confirmed = wire.cancel(booked(status="pending"))

    assert isinstance(confirmed, Confirmed)
    assert wire.requests[0].method == "PATCH"
    assert wire.sent == {"status": "canceled"}


def test_409_to_a_decline_means_no_longer_pending() -> None:
    """It was confirmed or canceled meanwhile; a read has to say which."""
    refused = Wire(answer(409, "not_pending")).cancel(booked(status="pending"))

    assert refused == Refused(why=Refusal.NOT_PENDING, said="The appointment is not pending.")


# --- confirming -------------------------------------------------------------------------------

PENDING = ConfirmRequest(appointment=booked(status="pending"))


def test_confirm_says_scheduled_and_nothing_else() -> None:
    """One word to the appointment itself; the answer shows it, so the cache can follow."""
    wire = Wire(answer(200, "confirmed"))

    confirmed = wire.provider.confirm(PENDING)

    assert confirmed == Confirmed(appointment=booked("confirmed"))
    [request] = wire.requests
    assert request.method == "PATCH"
    assert request.url == "https://api.mijnklantportaal.nl/v1/appointments/apt_k3v9t2q8m1xw"
    assert wire.sent == {"status": "scheduled"}


@pytest.mark.parametrize("word", ["pending", "canceled", "confirmed", "Scheduled", "", None])
def test_200_that_does_not_say_scheduled_is_not_confirmed(word: str | None) -> None:
    """Changed, but into what? Only the documented word says that it is agreed."""
    body = payload("confirmed") | {"status": word}

    with pytest.raises(AnswerNotUnderstood) as raised:
        Wire(httpx.Response(200, json=body)).provider.confirm(PENDING)

    assert raised.value.why == "not_booked"
    assert raised.value.may_have_happened


def test_409_to_a_confirmation_means_no_longer_pending() -> None:
    """It was confirmed or canceled meanwhile; a read has to say which."""
    refused = Wire(answer(409, "not_pending")).provider.confirm(PENDING)

    assert refused == Refused(why=Refusal.NOT_PENDING, said="The appointment is not pending.")


def test_words_of_a_refusal_are_gathered_and_cut() -> None:
    """What the vendor says about single fields helps staff; a novel does not."""
    refused = Wire(answer(422, "invalid_by_field")).cancel()
    long = Wire(httpx.Response(422, json={"message": "x" * 9000})).cancel()

    assert refused.said == (
        "The given data was invalid. "
        "The attendeeEmail field is required when customerId is not present."
    )
    assert len(long.said) == 500


def test_default_wait_is_a_minute() -> None:
    """What an account's own transport is made with."""
    account = Account(
        base_url=MijnKlantportaal.default_base_url, credentials=KEY, time_zone=AMSTERDAM
    )

    assert MijnKlantportaal(account).http.default_wait == timedelta(minutes=1)


# --- booking ----------------------------------------------------------------------------------


def test_booking_for_a_customer_names_the_customer() -> None:
    """Local minutes without seconds and offset, as the text of the documentation says."""
    wire = Wire(answer(201, "scheduled"))

    booked_now = wire.provider.schedule(replace(INTAKE, name="Sanne", email="sanne@example.com"))

    assert wire.sent == {
        "name": "Intake gesprek",
        "customerId": "cst_p7n4d1c6b2ra",
        "startsAt": "2026-12-14 11:00",
        "endsAt": "2026-12-14 11:45",
    }
    assert isinstance(booked_now, Scheduled)
    assert booked_now.external_id == "apt_n9m8b7v6c5x4"
    assert booked_now.appointment is not None
    assert booked_now.appointment.starts_at == datetime(2026, 12, 14, 10, tzinfo=UTC)


def test_booking_for_a_stranger_names_name_and_address() -> None:
    """Either a customer, or both of these."""
    wire = Wire(answer(201, "scheduled"))

    wire.provider.schedule(
        replace(INTAKE, customer_id="", name="Mehmet", email="mehmet@example.org")
    )

    assert wire.sent["attendeeName"] == "Mehmet"
    assert wire.sent["attendeeEmail"] == "mehmet@example.org"
    assert "customerId" not in wire.sent


def test_booking_is_written_in_the_zone_of_the_account() -> None:
    """A time given in UTC means the same moment at the desk."""
    wire = Wire(answer(201, "scheduled"))

    wire.provider.schedule(
        replace(
            INTAKE,
            starts_at=datetime(2026, 7, 1, 8, 0, tzinfo=UTC),
            ends_at=datetime(2026, 7, 1, 8, 30, tzinfo=UTC),
        )
    )

    assert (wire.sent["startsAt"], wire.sent["endsAt"]) == ("2026-07-01 10:00", "2026-07-01 10:30")


@pytest.mark.parametrize("status", ["canceled", "draft", "", None])
def test_201_that_is_not_booked_is_not_understood(status: str | None) -> None:
    """Created, but as what?"""
    body = payload("scheduled") | {"status": status}

    with pytest.raises(AnswerNotUnderstood):
        Wire(httpx.Response(201, json=body)).provider.schedule(INTAKE)


def test_422_to_a_booking_is_a_refusal_with_its_words() -> None:
    """Nothing was booked, and the form stays filled."""
    refused = Wire(answer(422, "invalid")).provider.schedule(INTAKE)

    assert refused == Refused(
        why=Refusal.INVALID, said="The startsAt field must match the format Y-m-d H:i."
    )


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 12, 7, 9, 5, tzinfo=UTC), "2026-12-07 10:05"),
        (datetime(2027, 3, 28, 0, 59, tzinfo=UTC), "2027-03-28 01:59"),
        (datetime(2027, 3, 28, 1, 0, tzinfo=UTC), "2027-03-28 03:00"),
        (datetime(2026, 10, 24, 23, 59, tzinfo=UTC), "2026-10-25 01:59"),
        (datetime(2026, 10, 25, 2, 0, tzinfo=UTC), "2026-10-25 03:00"),
        (datetime(2026, 12, 7, 10, 5, tzinfo=AMSTERDAM), "2026-12-07 10:05"),
    ],
)
def test_moment_is_written_as_local_minute(moment: datetime, text: str) -> None:
    """Up to the clock change and after it, the wall clock says which moment is meant."""
    assert local_minute(moment, AMSTERDAM) == text


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2027, 3, 28, 2, 30, tzinfo=AMSTERDAM),
        datetime(2026, 10, 25, 2, 30, tzinfo=AMSTERDAM),
        datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=AMSTERDAM),
        datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
        datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
        datetime(2026, 12, 7, 10, 5, 30, tzinfo=UTC),
        datetime(2026, 12, 7, 10, 5),  # noqa: DTZ001 - the point of it
    ],
    ids=["skipped", "first of two", "second of two", "first, UTC", "second, UTC", "30 s", "naive"],
)
def test_moment_that_a_wall_clock_cannot_name_is_not_shifted(moment: datetime) -> None:
    """Rather no booking than one an hour off."""
    with pytest.raises(ValueError, match="time"):
        local_minute(moment, AMSTERDAM)


# --- against the sandbox ----------------------------------------------------------------------


@pytest.fixture
def world() -> MijnKlantportaalWorld:
    return MijnKlantportaalWorld()


@pytest.fixture
def server(world: MijnKlantportaalWorld) -> Iterator[SandboxServer]:
    server = SandboxServer(Sandbox([world]))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def provider(server: SandboxServer) -> Iterator[MijnKlantportaal]:
    provider = _connected(server)
    yield provider
    provider.http.close()


def _connected(server: SandboxServer, **credentials: str) -> MijnKlantportaal:
    account = Account(
        base_url=server.base_url(SLUG),
        credentials={**MijnKlantportaalWorld.credentials, **credentials},
        time_zone=AMSTERDAM,
        rehearsal=True,
    )
    return MijnKlantportaal(account)


MONDAY = datetime(2026, 12, 7, 10, 0, tzinfo=AMSTERDAM)


def _read(provider: MijnKlantportaal, external_id: str) -> BookedAppointment:
    found = provider.read(BookingRef(external_id=external_id))
    assert found is not None
    return found


def test_sandbox_listing_shows_what_lies_in_the_window(
    world: MijnKlantportaalWorld, provider: MijnKlantportaal
) -> None:
    """From the first minute of the first day to the last of the last."""
    wanted = {
        world.add(starts_at=when, person=PEOPLE[0])
        for when in (
            datetime(2026, 12, 7, 0, 0, tzinfo=AMSTERDAM),
            datetime(2026, 12, 13, 23, 59, tzinfo=AMSTERDAM),
        )
    }
    world.add(starts_at=datetime(2026, 12, 6, 23, 59, tzinfo=AMSTERDAM), person=PEOPLE[0])
    world.add(starts_at=datetime(2026, 12, 14, 0, 0, tzinfo=AMSTERDAM), person=PEOPLE[0])

    listed = [one for page in provider.pages(WEEK) for one in page.records]

    assert {one.external_id for one in listed} == wanted


@pytest.mark.parametrize("status", ["scheduled", "pending"])
def test_sandbox_cancel_is_confirmed_and_seen(
    world: MijnKlantportaalWorld, server: SandboxServer, provider: MijnKlantportaal, status: str
) -> None:
    """One request, one mail, and a read shows it cancelled; the neighbour stays."""
    cancelled = world.add(starts_at=MONDAY, person=PEOPLE[0], status=status)
    other = world.add(starts_at=MONDAY, person=PEOPLE[1], status=status)

    answered = provider.cancel(CancelRequest(appointment=_read(provider, cancelled)))

    assert isinstance(answered, Confirmed)
    assert _read(provider, cancelled).status is Status.CANCELLED
    assert _read(provider, other).is_live
    assert len(server.sandbox.received(SLUG, "cancel")) == 1
    assert [mail["to"] for mail in world.mails] == [PEOPLE[0].email]


def test_sandbox_second_cancel_is_already_and_mails_nobody(
    world: MijnKlantportaalWorld, provider: MijnKlantportaal
) -> None:
    """A repeat is harmless here."""
    appointment = _read(provider, world.add(starts_at=MONDAY, person=PEOPLE[0]))
    provider.cancel(CancelRequest(appointment=appointment))

    again = provider.cancel(CancelRequest(appointment=appointment))

    assert isinstance(again, Already)
    assert len(world.mails) == 1


def test_sandbox_decline_of_what_was_confirmed_meanwhile_is_refused(
    world: MijnKlantportaalWorld, provider: MijnKlantportaal
) -> None:
    """It is booked now, which is another thing than what staff saw."""
    external_id = world.add(starts_at=MONDAY, person=PEOPLE[0], status="pending")
    seen = _read(provider, external_id)
    world.state["appointments"][external_id]["status"] = "scheduled"

    refused = provider.cancel(CancelRequest(appointment=seen))

    assert isinstance(refused, Refused)
    assert refused.why is Refusal.NOT_PENDING
    assert _read(provider, external_id).status is Status.BOOKED


def test_sandbox_confirms_what_is_pending_once(
    world: MijnKlantportaalWorld, server: SandboxServer, provider: MijnKlantportaal
) -> None:
    """The person is told once, a second time is refused, and the neighbour waits on."""
    pending = world.add(starts_at=MONDAY, person=PEOPLE[0], status="pending")
    other = world.add(starts_at=MONDAY, person=PEOPLE[1], status="pending")
    request = ConfirmRequest(appointment=_read(provider, pending))

    first, second = provider.confirm(request), provider.confirm(request)

    assert first == Confirmed(appointment=_read(provider, pending))
    assert isinstance(second, Refused)
    assert second.why is Refusal.NOT_PENDING
    assert _read(provider, pending).status is Status.BOOKED
    assert _read(provider, other).status is Status.PENDING
    assert [mail["to"] for mail in world.mails] == [PEOPLE[0].email]
    assert len(server.sandbox.received(SLUG, "confirm")) == 2
    assert server.sandbox.received(SLUG, "cancel") == []


@pytest.mark.parametrize("status", ["canceled", "scheduled", "no-show"])
def test_sandbox_confirms_only_what_is_pending(
    world: MijnKlantportaalWorld, provider: MijnKlantportaal, status: str
) -> None:
    """Declined meanwhile stays declined: a confirmation does not bring it back."""
    external_id = world.add(starts_at=MONDAY, person=PEOPLE[0], status="pending")
    seen = _read(provider, external_id)
    world.state["appointments"][external_id]["status"] = status

    refused = provider.confirm(ConfirmRequest(appointment=seen))

    assert isinstance(refused, Refused)
    assert not refused.conclusive
    assert world.state["appointments"][external_id]["status"] == status
    assert world.mails == []


def test_sandbox_lost_answer_leaves_it_confirmed(
    world: MijnKlantportaalWorld, server: SandboxServer, provider: MijnKlantportaal
) -> None:
    """Applied, and nobody heard of it: perhaps, and a read tells."""
    pending = _read(provider, world.add(starts_at=MONDAY, person=PEOPLE[0], status="pending"))
    server.sandbox.add_fault(Fault(provider=SLUG, operation="confirm", kind="lose_answer"))

    with pytest.raises(AnswerLost):
        provider.confirm(ConfirmRequest(appointment=pending))

    assert _read(provider, pending.external_id).status is Status.BOOKED


def test_sandbox_lost_answer_leaves_it_cancelled(
    world: MijnKlantportaalWorld, server: SandboxServer, provider: MijnKlantportaal
) -> None:
    """The most important case: applied, and nobody heard of it."""
    appointment = _read(provider, world.add(starts_at=MONDAY, person=PEOPLE[0]))
    server.sandbox.add_fault(Fault(provider=SLUG, operation="cancel", kind="lose_answer"))

    with pytest.raises(AnswerLost):
        provider.cancel(CancelRequest(appointment=appointment))

    assert _read(provider, appointment.external_id).status is Status.CANCELLED
    assert len(server.sandbox.received(SLUG, "cancel")) == 1


def test_sandbox_booking_is_found_again(
    world: MijnKlantportaalWorld, provider: MijnKlantportaal
) -> None:
    """For a customer and for a stranger, at the moment that was meant."""
    customer = world.customer(PEOPLE[0])

    for request in (
        replace(INTAKE, customer_id=customer),
        replace(INTAKE, customer_id="", name=PEOPLE[1].name, email=PEOPLE[1].email),
    ):
        answered = provider.schedule(request)

        assert isinstance(answered, Scheduled)
        found = _read(provider, answered.external_id)
        assert found == answered.appointment
        assert (found.starts_at, found.ends_at) == (request.starts_at, request.ends_at)


@pytest.mark.parametrize(
    "changes",
    [
        {"customer_id": "cst_nobody"},
        {"customer_id": "", "name": "Mehmet", "email": ""},
        {"customer_id": "", "name": "", "email": "mehmet@example.org"},
        {"ends_at": datetime(2026, 12, 14, 10, 0, tzinfo=AMSTERDAM)},
        {"title": ""},
    ],
    ids=["unknown customer", "no address", "no name", "end before start", "no title"],
)
def test_sandbox_refuses_what_the_contract_refuses(
    world: MijnKlantportaalWorld, provider: MijnKlantportaal, changes: dict[str, Any]
) -> None:
    """With 422, the field and a text; nothing is booked."""
    known = replace(INTAKE, customer_id=world.customer(PEOPLE[0]))

    refused = provider.schedule(replace(known, **changes))

    assert isinstance(refused, Refused)
    assert refused.why is Refusal.INVALID
    assert refused.said
    assert world.state["appointments"] == {}


def test_sandbox_wrong_key_is_rejected(world: MijnKlantportaalWorld, server: SandboxServer) -> None:
    """Reading and writing alike."""
    appointment = booked(id=world.add(starts_at=MONDAY, person=PEOPLE[0]))
    provider = _connected(server, api_key="mkp_wrong")

    with pytest.raises(CredentialsRejected):
        provider.check()
    with pytest.raises(CredentialsRejected):
        provider.cancel(CancelRequest(appointment=appointment))
    provider.http.close()


def test_sandbox_key_without_write_scope_reads_only(
    world: MijnKlantportaalWorld, server: SandboxServer
) -> None:
    """The list works, the cancel is refused for good, and the appointment stands."""
    external_id = world.add(starts_at=MONDAY, person=PEOPLE[0])
    provider = _connected(server, api_key=READ_ONLY_KEY)

    refused = provider.cancel(CancelRequest(appointment=_read(provider, external_id)))

    assert isinstance(refused, Refused)
    assert refused.conclusive
    assert _read(provider, external_id).is_live
    provider.http.close()


def test_sandbox_403_on_a_read_denies_access(
    server: SandboxServer, provider: MijnKlantportaal
) -> None:
    """A key that may not even read."""
    server.sandbox.add_fault(
        Fault(provider=SLUG, kind="status", status=403, body=payload("missing_scope"))
    )

    with pytest.raises(AccessDenied):
        provider.check()


def test_sandbox_unknown_appointment_is_none(provider: MijnKlantportaal) -> None:
    """404 in JSON: not shown."""
    assert provider.read(BookingRef(external_id="apt_nowhere")) is None


def test_sandbox_keeps_to_the_contract(world: MijnKlantportaalWorld, server: SandboxServer) -> None:
    """Every answer that the world gives, good or bad, is one that the contract describes."""
    live = world.add(starts_at=MONDAY, person=PEOPLE[0])
    pending = world.add(starts_at=MONDAY, person=PEOPLE[1], status="pending")
    write = {"Authorization": f"Bearer {MijnKlantportaalWorld.credentials['api_key']}"}
    base_url = server.base_url(SLUG)
    asked: list[tuple[int, str, str, Any]] = [
        (200, "GET", "/appointments?start_at=2026-12-07%2000:00&days=7", None),
        (200, "GET", f"/appointments/{live}", None),
        (404, "GET", "/appointments/apt_nowhere", None),
        (422, "GET", "/appointments?start_at=2026-02-31%2000:00", None),
        (422, "GET", "/appointments?days=0", None),
        (422, "PATCH", f"/appointments/{pending}", {"status": "moved"}),
        (200, "PATCH", f"/appointments/{pending}", {"status": "scheduled"}),
        (409, "PATCH", f"/appointments/{pending}", {"status": "canceled"}),
        (200, "DELETE", f"/appointments/{live}", None),
        (409, "DELETE", f"/appointments/{live}", None),
        (404, "DELETE", "/appointments/apt_nowhere", None),
        (422, "POST", "/appointments", {"name": "Intake"}),
        (
            201,
            "POST",
            "/appointments",
            {
                "name": "Intake",
                "customerId": world.customer(PEOPLE[0]),
                "startsAt": "2026-12-14 11:00",
                "endsAt": "2026-12-14 11:45",
            },
        ),
    ]

    with httpx.Client(trust_env=False) as client:
        for status, method, path, body in asked:
            request = client.build_request(method, base_url + path, json=body, headers=write)
            response = client.send(request)

            assert response.status_code == status, (method, path)
            found = openapi.answer_violations(SLUG, request, response, base_url=base_url)
            assert found == [], (method, path)
        anonymous = client.get(f"{base_url}/appointments")

    assert anonymous.status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", "/appointments/{id}", {}),
        ("DELETE", "/appointments/{id}?reason=ill", None),
        ("GET", "/appointments?start=2026-12-07", None),
        ("GET", "/appointments?start_at=2026-12-07%2000:00:00", None),
        ("PATCH", "/appointments/{id}", {"status": "canceled", "reason": "ill"}),
        ("POST", "/appointments", {"name": "x", "startsAt": "2026-12-14 11:00:00"}),
        ("POST", "/appointments", ["x"]),
    ],
)
def test_sandbox_is_strict_about_requests(
    world: MijnKlantportaalWorld, server: SandboxServer, method: str, path: str, body: Any
) -> None:
    """What the contract does not allow is turned away, and nothing changes."""
    external_id = world.add(starts_at=MONDAY, person=PEOPLE[0], status="pending")
    headers = {"Authorization": f"Bearer {MijnKlantportaalWorld.credentials['api_key']}"}
    url = server.base_url(SLUG) + path.replace("{id}", external_id)

    with httpx.Client(trust_env=False) as client:
        answered = client.request(method, url, json=body, headers=headers)

    assert answered.status_code in (415, 422)
    assert world.state["appointments"][external_id]["status"] == "pending"


def test_seeded_world_is_believable(
    world: MijnKlantportaalWorld, provider: MijnKlantportaal
) -> None:
    """Enough to do today and tomorrow, of every kind, and the same for the same seed."""
    now = datetime(2026, 12, 5, 9, 30, tzinfo=UTC)
    world.seed(now=now, people=PEOPLE, random=Random(7))
    again = MijnKlantportaalWorld()
    again.seed(now=now, people=PEOPLE, random=Random(7))

    pages = list(provider.pages(DateWindow(first=date(2026, 12, 4), last=date(2026, 12, 26))))

    listed = [one for page in pages for one in page.records]
    days = [one.starts_at.astimezone(AMSTERDAM).date() for one in listed if one.starts_at]
    assert 60 <= len(listed) <= 110
    assert not any(page.rejected for page in pages)
    assert days.count(date(2026, 12, 5)) >= 4
    assert days.count(date(2026, 12, 6)) >= 2
    assert {one.status for one in listed} == {
        Status.BOOKED,
        Status.PENDING,
        Status.CANCELLED,
        Status.OTHER,
    }
    assert world.state == again.state


@pytest.mark.parametrize("offset", range(7))
def test_seeded_world_has_some_to_confirm(
    world: MijnKlantportaalWorld, provider: MijnKlantportaal, offset: int
) -> None:
    """Whatever day it is: several on coming days still wait for the desk's word."""
    now = datetime(2026, 12, 7, 16, 0, tzinfo=UTC) + timedelta(days=offset)
    world.seed(now=now, people=PEOPLE, random=Random(7))
    ahead = DateWindow(first=now.date() + timedelta(days=1), last=now.date() + timedelta(days=14))

    pages = list(provider.pages(ahead))

    waiting = [one for page in pages for one in page.records if one.status is Status.PENDING]
    assert len(waiting) >= 3
