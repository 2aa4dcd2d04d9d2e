"""Attacks on the pages of batches that succeeded once."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from appointments.models import Appointment, Batch, BatchLane, Cancellation
from appointments.services import batch as batches
from tests.desk import Desk
from tests.services.test_batch import ask, several, work
from tests.views.test_batches import filled, review


@pytest.fixture
def signed_in(client: Client, desk: Desk) -> Client:
    client.force_login(desk.staff)
    return client


def test_a_mistyped_number_does_not_review_again_by_itself(desk: Desk, signed_in: Client) -> None:
    """The booking moved since the review; a wrong number, and the new version is ticked unsaid."""
    rows = several(desk, "meetergo", 12)
    sent = filled(review(signed_in, rows), count="11")
    moved = desk.soon + timedelta(days=1)
    Appointment.objects.filter(pk=rows[0].pk).update(
        version="moved", starts_at=moved, sorts_at=moved
    )
    again = signed_in.post("/batches/", sent)
    page = again.content.decode()
    assert again.status_code == 422
    assert "It changed since the review." in page
    signed_in.post("/batches/", filled(page, count="11"))
    assert Batch.objects.get().cancellations.exclude(appointment=rows[0]).count() == 11


def test_more_than_500_are_not_cut_silently(
    desk: Desk, signed_in: Client, monkeypatch: Any
) -> None:
    monkeypatch.setattr(batches, "MOST", 3)
    page = review(signed_in, several(desk, "meetergo", 5))
    assert "More were chosen than can be cancelled at once: these are the first 3." in page


def test_a_broken_form_key_is_said(desk: Desk, signed_in: Client) -> None:
    rows = several(desk, "meetergo", 2)
    sent = filled(review(signed_in, rows)) | {"form_key": "nonsense"}
    page = signed_in.post("/batches/", sent)
    assert page.status_code == 422
    assert 'role="alert"' in page.content.decode()


def test_a_row_of_a_paused_lane_says_so(desk: Desk, signed_in: Client) -> None:
    batch = ask(desk, several(desk, "meetergo", 2))
    BatchLane.objects.update(paused_at=timezone.now(), paused_why="unknown")
    one = batch.cancellations.first()
    assert one is not None
    page = signed_in.get(one.get_absolute_url()).content.decode()
    assert "Others go first" not in page


def test_a_batch_that_waits_for_a_person_is_not_being_cancelled(
    desk: Desk, signed_in: Client
) -> None:
    """Nothing moves there any more: no list says so, and the page asks seldom."""
    batch = ask(desk, several(desk, "meetergo", 2))
    work(batch)
    Cancellation.objects.filter(pk=batch.cancellations.first().pk).update(  # type: ignore[union-attr]
        state="needs_human",
        why="still_booked",
        due_at=timezone.now() + timedelta(minutes=15),
        unknown_since=timezone.now() - timedelta(days=2),
    )
    with time_machine.travel(timezone.now() + timedelta(minutes=5)):
        page = signed_in.get("/?range=upcoming").content.decode()
        poll = signed_in.get(batch.get_absolute_url()).content.decode()
    assert "every 1s" not in poll
    assert "Several appointments are being cancelled" not in page


def test_choose_all_and_the_review_say_what_is_over(desk: Desk, signed_in: Client) -> None:
    """Past ones of today are ticked by "Choose all" and look like the others in the review."""
    one, other = several(desk, "meetergo", 2)
    past = timezone.now() - timedelta(hours=2)
    Appointment.objects.filter(pk=one.pk).update(starts_at=past, ends_at=past, sorts_at=past)
    page = review(signed_in, [one, other])
    line = re.search(rf'<label class="choice"><input[^>]*value="{one.pk}:.*?</label>', page, re.S)
    assert line is None or "over" in line[0].lower() or "past" in line[0].lower()


def test_a_review_sent_after_logging_out_records_nothing(desk: Desk, client: Client) -> None:
    """Nothing is carried out for somebody who is not there."""
    client.force_login(desk.staff)
    page = review(client, several(desk, "meetergo", 2))
    client.logout()
    answer = client.post("/batches/", filled(page, reason="Ill"))
    assert answer.status_code == 302
    assert "login" in answer["Location"]
    client.force_login(desk.staff)
    after = client.get(re.sub(r".*next=", "", answer["Location"]) or "/")
    assert not Batch.objects.exists()
    assert after.status_code in (200, 302)


def test_forged_and_too_many_fields(desk: Desk, signed_in: Client) -> None:
    mine, other = several(desk, "meetergo", 2)
    sent = filled(review(signed_in, [mine]))
    sent["row"] += [f"{other.pk}:{other.version}", "x:y", "99999999999999999999:1", "-1:1"]
    assert signed_in.post("/batches/", sent).status_code == 303
    assert [one.appointment_id for one in Cancellation.objects.all()] == [mine.pk]
    assert signed_in.post("/batches/review/", {"pick": ["1"] * 3000}).status_code == 400
    odd = {"pick": ["²", "x", "9" * 30, ""]}
    assert signed_in.post("/batches/review/", odd, follow=True).status_code == 200
