"""After a batch: whom nobody demonstrably told, to be rung, ticked, printed and saved."""

from __future__ import annotations

import csv
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from appointments.domain import BookedAttendee
from appointments.models import Appointment, Batch, ConcernedPerson
from appointments.models.cancellations import State
from appointments.sandbox.people import PEOPLE
from appointments.services import batch as batches
from appointments.services.calls import people_to_ring
from appointments.services.records import store
from appointments.templatetags.desk import breakable
from appointments.views.files import harmless
from tests.desk import Desk
from tests.services.test_batch import several, work
from tests.views.conftest import make_connection, record


@pytest.fixture
def signed_in(client: Client, desk: Desk) -> Client:
    client.force_login(desk.staff)
    return client


def cancelled(desk: Desk, rows: list[Appointment]) -> Batch:
    batch = batches.ask_for_batch(
        {one.pk: one.version for one in rows}, by=desk.staff, reason="Ill", form_key=uuid4()
    )
    work(batch)
    return batch


def test_only_whom_nobody_told_is_rung(desk: Desk, signed_in: Client) -> None:
    """meetergo mails everybody; what HuskyVoice does is not documented."""
    told, silent = several(desk, "meetergo", 1), several(desk, "huskyvoice", 2)

    batch = cancelled(desk, [*told, *silent])

    assert {one.cancellation.appointment for one in people_to_ring(batch)} == set(silent)
    assert "Call list: 2 to ring" in signed_in.get(f"/batches/{batch.pk}/").content.decode()
    page = signed_in.get(f"/batches/{batch.pk}/calls/").content.decode()
    assert "0 of 2" in page
    assert "tel:+919840000001" in page


def test_without_an_address_nobody_was_mailed(desk: Desk) -> None:
    (row,) = several(desk, "meetergo", 1)
    row.attendees.update(email="")

    batch = cancelled(desk, [row])

    assert people_to_ring(batch).count() == 1


def test_an_appointment_that_names_nobody_is_on_the_list(desk: Desk, signed_in: Client) -> None:
    """Somebody will come all the same: whoever it is, the provider alone knows."""
    nameless = desk.book(
        "mijnklantportaal",
        is_customer=False,
        attendeeName=None,
        attendeeEmail=None,
        customerPhone=None,
    )
    assert not nameless.attendees.exists()

    batch = cancelled(desk, [nameless, *several(desk, "huskyvoice", 1)])

    assert "Call list: 2 to ring" in signed_in.get(f"/batches/{batch.pk}/").content.decode()
    page = signed_in.get(f"/batches/{batch.pk}/calls/").content.decode()
    assert "0 of 2" in page
    assert "no contact known: look in MijnKlantportaal" in page
    assert f'<b dir="auto">{nameless.who}</b>' in page
    assert "Unnamed" not in page
    lines = csv.DictReader(
        signed_in.get(f"/batches/{batch.pk}/calls.csv").content.decode("utf-8-sig").splitlines()
    )
    why = {line["Name"]: line["Why to ring"] for line in lines}
    assert why[nameless.who] == "cancelled; no contact known: look in MijnKlantportaal"
    person = people_to_ring(batch).get(cancellation__appointment=nameless)
    signed_in.post(f"/batches/{batch.pk}/calls/{person.pk}/", {"reached": "yes"})
    assert "1 of 2" in signed_in.get(f"/batches/{batch.pk}/calls/").content.decode()


def test_whoever_would_come_in_vain_is_rung_too(desk: Desk, signed_in: Client) -> None:
    """Refused: it is still booked, and the practitioner is not there."""
    rows = several(desk, "meetergo", 2)
    refusal = {"statusCode": 400, "message": "no", "error": "Bad Request"}
    desk.fault("meetergo", "status", status=400, body=refusal)

    batch = cancelled(desk, rows)

    page = signed_in.get(f"/batches/{batch.pk}/calls/").content.decode()
    assert people_to_ring(batch).count() == 1
    assert "Still booked: they would come in vain" in page
    assert "still booked" in signed_in.get(f"/batches/{batch.pk}/calls.csv").content.decode()
    assert f'href="/batches/{batch.pk}/"' in signed_in.get("/activity/").content.decode()


def test_an_unclear_outcome_is_nobody_to_ring(desk: Desk, signed_in: Client) -> None:
    """Nobody is told that it is cancelled as long as nobody knows."""
    rows = several(desk, "huskyvoice", 2)
    desk.fault("huskyvoice", "html", status=502)

    batch = cancelled(desk, rows)

    assert people_to_ring(batch).count() == 1
    page = signed_in.get(f"/batches/{batch.pk}/calls/").content.decode()
    assert "1 appointment of this batch has no outcome yet" in page


def test_people_stay_known_when_the_provider_forgets_them(desk: Desk) -> None:
    (row,) = several(desk, "huskyvoice", 1)
    batch = cancelled(desk, [row])

    row.attendees.all().delete()

    assert people_to_ring(batch).get().phone == "+919840000001"


def test_reached_is_ticked_with_the_name(desk: Desk, signed_in: Client) -> None:
    batch = cancelled(desk, several(desk, "huskyvoice", 1))
    person = people_to_ring(batch).get()
    address = f"/batches/{batch.pk}/calls/{person.pk}/"

    assert signed_in.post(address, {"reached": "yes"})["Location"] == f"/batches/{batch.pk}/calls/"
    person.refresh_from_db()
    assert person.reached_by == desk.staff
    page = signed_in.get(f"/batches/{batch.pk}/calls/").content.decode()
    assert "1 of 1" in page
    assert "Anna de Boer" in page

    part = signed_in.post(address, {"reached": "no"}, headers={"HX-Request": "true"})
    assert part.content.decode().strip().startswith('<div id="calls"')
    person.refresh_from_db()
    assert person.reached_at is None


def test_somebody_of_another_batch_is_not_found(desk: Desk, signed_in: Client) -> None:
    first = cancelled(desk, several(desk, "huskyvoice", 1))
    second = cancelled(desk, several(desk, "huskyvoice", 1)[-1:])
    person = people_to_ring(first).get()

    answer = signed_in.post(f"/batches/{second.pk}/calls/{person.pk}/", {"reached": "yes"})

    assert answer.status_code == 404


def test_the_file_holds_no_formulas(desk: Desk, signed_in: Client) -> None:
    batch = cancelled(desk, several(desk, "huskyvoice", 1))
    ConcernedPerson.objects.update(name='=HYPERLINK("http://evil.example","x")')

    answer = signed_in.get(f"/batches/{batch.pk}/calls.csv")

    header, line = csv.reader(answer.content.decode("utf-8-sig").splitlines())
    assert header[:2] == ["Name", "Phone"]
    assert line[0].startswith("'=")
    assert line[1] == "'+919840000001"


def test_the_file_is_as_the_page_and_named_after_its_days(desk: Desk, signed_in: Client) -> None:
    """Who would come in vain stands first; the days are those of the appointments."""
    told, refused = several(desk, "huskyvoice", 2)
    batch = cancelled(desk, [told, refused])
    batch.cancellations.filter(appointment=refused).update(state=State.REFUSED)
    batch.cancellations.update(note="Speaks Tamil")
    reached = people_to_ring(batch).get(cancellation__appointment=told)
    signed_in.post(f"/batches/{batch.pk}/calls/{reached.pk}/", {"reached": "yes"})

    answer = signed_in.get(f"/batches/{batch.pk}/calls.csv")

    assert refused.day is not None
    day = refused.day
    name = f"calls-{day:%Y-%m-%d}-batch-{batch.pk}.csv"
    assert answer["Content-Disposition"] == f'attachment; filename="{name}"'
    header, *lines = csv.reader(answer.content.decode("utf-8-sig").splitlines())
    assert header == [
        "Name",
        "Phone",
        "Phone from another appointment",
        "E-mail",
        "Appointment",
        "What",
        "With",
        "Account",
        "Why to ring",
        "Reached",
        "By",
        "Reason",
        "Note",
    ]
    told_line, refused_line = (
        dict(zip(header, line, strict=True)) for line in (lines[1], lines[0])
    )
    assert (refused_line["Why to ring"], told_line["Why to ring"]) == ("still booked", "cancelled")
    assert (refused_line["By"], told_line["By"]) == ("", "Anna de Boer")
    assert told_line["Reached"]
    assert told_line["Note"] == "Speaks Tamil"
    assert told_line["Reason"] == "Ill"

    Appointment.objects.filter(pk=told.pk).update(day=day + timedelta(days=2))
    answer = signed_in.get(f"/batches/{batch.pk}/calls.csv")
    assert f"calls-{day}-to-{day + timedelta(days=2)}-batch" in answer["Content-Disposition"]


def test_a_number_known_from_another_appointment_is_offered_as_such(
    desk: Desk, signed_in: Client
) -> None:
    """The same address is the same person; the same name alone is not."""
    (row,) = several(desk, "huskyvoice", 1)
    batch = cancelled(desk, [row])
    people = ConcernedPerson.objects.filter(cancellation__batch=batch)
    people.update(name="Divya Menon", email="Divya@example.org", phone="")
    elsewhere = make_connection("mijnklantportaal", name="Elsewhere")
    numbers = (
        ("Divya Menon", "divya@example.org", "+31 6 1111 1111"),
        ("R. Menon", "divya@example.org", "+31 6 2222 2222"),
        ("Divya Menon", "divya@example.org", "06 1111 1111"),
        ("Divya Menon", "divya@example.org", "+31 6 33XX XXXX"),
        ("Divya Menon", "other@example.org", "+31 6 4444 4444"),
    )
    soon = timezone.now() + timedelta(days=3)
    store(
        elsewhere,
        [
            record(
                -number,
                start=soon,
                attendees=(BookedAttendee(name=name, email=email, phone=phone),),
            )
            for number, (name, email, phone) in enumerate(numbers)
        ],
        read_at=timezone.now(),
    )

    page = signed_in.get(f"/batches/{batch.pk}/calls/").content.decode()

    first, second = page.index("+31 6 1111 1111"), page.index("+31 6 2222 2222")
    assert "from another appointment</span>" in page[first:second]
    assert "from another appointment, booked as R. Menon" in page[second:]
    assert 'href="tel:+31611111111"' in page
    assert not {one for one in ("06 1111", "33XX", "4444", "no number known") if one in page}
    file = signed_in.get(f"/batches/{batch.pk}/calls.csv").content.decode()
    assert "'+31 6 1111 1111, +31 6 2222 2222" in file

    people.update(phone="0031611111111")
    page = signed_in.get(f"/batches/{batch.pk}/calls/").content.decode()
    assert page.count("from another appointment") == 1


def test_the_numbers_of_others_cost_one_query_for_all(desk: Desk, signed_in: Client) -> None:
    few, many = (cancelled(desk, several(desk, "huskyvoice", count)) for count in (1, 4))
    ConcernedPerson.objects.update(email="somebody@example.org")

    def queries(batch: Batch) -> int:
        with CaptureQueriesContext(connection) as made:
            signed_in.get(f"/batches/{batch.pk}/calls/")
        return len(made)

    queries(few)  # Whoever looks at a page for the first time is looked up once.
    assert queries(few) == queries(many)


def test_an_address_that_thousands_share_is_not_read_to_its_end(
    desk: Desk, signed_in: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some providers write one and the same for everybody who has none."""
    monkeypatch.setattr("appointments.services.calls.MOST_LOOKED_AT", 1)
    batch = cancelled(desk, several(desk, "huskyvoice", 1))
    ConcernedPerson.objects.update(email="none@example.org", phone="")
    people = [
        BookedAttendee(name=f"P {n}", email="none@example.org", phone=f"+31 6 {n}111 1111")
        for n in range(1, 3)
    ]
    soon = timezone.now() + timedelta(days=3)
    records = [record(-n, start=soon, attendees=(one,)) for n, one in enumerate(people)]
    store(make_connection("meetergo", name="There"), records, read_at=timezone.now())

    page = signed_in.get(f"/batches/{batch.pk}/calls/").content.decode()

    assert page.count("from another appointment") == 1


@pytest.mark.parametrize(
    ("address", "sides"),
    [
        ("anne-marie@example.co.uk", ["anne-marie@", "example<wbr>.co<wbr>.uk"]),
        ("<b>.c@x.", ["&lt;b&gt;<wbr>.c@", "x<wbr>."]),
        ("a@b@c", ["a@b@", "c"]),
        ("nobody", ["nobody"]),
        ("", []),
    ],
)
def test_an_address_breaks_at_its_marks_only_and_stays_text(address: str, sides: list[str]) -> None:
    assert breakable(address) == "".join(f'<span class="address">{one}</span>' for one in sides)


@pytest.mark.parametrize("cell", ["=1", "+1", "-1", "@x", "\tx", "\rx", "\0x", "  =1", "\n=1"])
def test_what_looks_like_a_formula_is_disarmed(cell: str) -> None:
    assert harmless(cell).startswith("'")


def test_a_single_cancellation_keeps_its_people_too(desk: Desk) -> None:
    appointment = desk.book("meetergo", people=3)
    cancellation = desk.remove(appointment, PEOPLE[16])

    assert [one.email for one in cancellation.people.all()] == [PEOPLE[16].email]


def test_without_permission_there_is_no_call_list(
    desk: Desk, client: Client, django_user_model: Any
) -> None:
    batch = cancelled(desk, several(desk, "huskyvoice", 1))
    client.force_login(django_user_model.objects.create_user("stranger"))

    for address in ("calls/", "calls.csv"):
        assert client.get(f"/batches/{batch.pk}/{address}").status_code == 403


def test_somebody_who_was_removed_can_still_be_rung(desk: Desk, signed_in: Client) -> None:
    """Once removed, nobody of that name is booked any more; the number is needed all the same."""
    appointment = desk.book("meetergo", people=3)
    leaving = PEOPLE[16]
    cancellation = desk.work(desk.remove(appointment, leaving))
    assert cancellation.is_done
    assert not appointment.attendees.filter(email=leaving.email).exists()

    page = signed_in.get(cancellation.get_absolute_url()).content.decode()

    assert leaving.phone in page
    assert PEOPLE[15].phone not in page
