"""After a batch: whom nobody demonstrably told, to be rung, ticked, printed and saved."""

from __future__ import annotations

import csv
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from appointments.models import Appointment, Batch, ConcernedPerson
from appointments.sandbox.people import PEOPLE
from appointments.services import batch as batches
from appointments.services.calls import people_to_ring
from appointments.views.files import harmless
from tests.desk import Desk
from tests.services.test_batch import several, work


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
    assert header[:3] == ["Name", "Phone", "E-mail"]
    assert line[0].startswith("'=")
    assert line[1] == "'+919840000001"


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
