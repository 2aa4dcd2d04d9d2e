"""Choosing, reviewing, following, stopping and resuming a batch, as pages without a script."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from appointments.models import Appointment, Batch, BatchLane, Cancellation, ReasonPreset
from appointments.models.cancellations import State, Verdict
from appointments.services import batch as batches
from appointments.services import lanes
from tests.desk import Desk
from tests.services.test_batch import several, work
from tests.views.test_outcome import put


@pytest.fixture
def signed_in(client: Client, desk: Desk) -> Client:
    client.force_login(desk.staff)
    return client


def review(client: Client, rows: list[Appointment]) -> str:
    answer = client.post("/batches/review/", {"pick": [one.pk for one in rows]}, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def filled(page: str, **typed: Any) -> dict[str, Any]:
    """What a browser would send of the review *page*."""
    names = ("row", "shown", "form_key")
    sent: dict[str, Any] = {
        name: re.findall(rf'name="{name}"[^>]*? value="([^"]+)"', page) for name in names
    }
    return sent | {"reason": "", "note": "", "count": ""} | typed


def test_from_ticks_to_all_cancelled(desk: Desk, signed_in: Client) -> None:
    rows = [*several(desk, "meetergo", 2), *several(desk, "huskyvoice", 1)]
    assert signed_in.get("/?range=upcoming").content.decode().count('class="pick"') == 3

    page = review(signed_in, rows)
    assert "3 appointments</span></h1>" in page
    assert "meetergo mails everyone concerned at once." in page
    assert not Cancellation.objects.exists()
    answer = signed_in.post("/batches/", filled(page, reason="Ill", note="Rang two"))

    batch = Batch.objects.get()
    assert (answer.status_code, answer["Location"]) == (303, f"/batches/{batch.pk}/")
    page = signed_in.get(answer["Location"]).content.decode()
    assert "0 of 3 are cancelled." in page
    assert "Stop: send no more" in page
    work(batch)
    page = signed_in.get(answer["Location"]).content.decode()
    assert "All are cancelled" in page
    assert "hx-trigger" not in page
    assert {one.reason for one in batch.cancellations.all()} == {"Ill"}


def test_unticked_ones_stay(desk: Desk, signed_in: Client) -> None:
    rows = several(desk, "meetergo", 3)
    page = review(signed_in, rows)
    sent = filled(page)

    signed_in.post("/batches/", sent | {"row": sent["row"][:1]})

    assert Cancellation.objects.count() == 1


@pytest.mark.parametrize("typed", ["", "11", "12 ", "twelve"])
def test_above_ten_the_number_is_typed(typed: str, desk: Desk, signed_in: Client) -> None:
    """Nothing is recorded by one careless press, and what was typed stays."""
    page = review(signed_in, several(desk, "meetergo", 12))

    answer = signed_in.post("/batches/", filled(page, count=typed, reason="Everybody is ill"))

    if typed.strip() == "12":
        assert answer.status_code == 303
        return
    assert answer.status_code == 422
    again = answer.content.decode()
    assert "12 are ticked: type 12." in again
    assert "Everybody is ill" in again
    assert not Batch.objects.exists()


def test_what_is_left_out_says_why(desk: Desk, signed_in: Client) -> None:
    """How many and why stands at the top too: below a hundred others nobody would see it."""
    open_one, another, done, fine = several(desk, "meetergo", 4)
    desk.ask(open_one)
    desk.ask(another)
    desk.cancel(done)

    page = review(signed_in, [open_one, another, done, fine])

    assert "1 appointment</span></h1>" in page
    assert page.count("A cancellation of it is under way already.") == 3
    top = page.split("data-batch-review", 1)[0]
    assert "3 appointments are left out: see below." in top
    counted = re.findall(r'<b class="num">(\d+)</b> <span>(.*?)</span>', top)
    assert counted == [
        ("2", "A cancellation of it is under way already."),
        ("1", "It is not booked any more."),
    ]
    assert "left out" not in review(signed_in, [fine])


def test_entries_of_another_kind_are_told_apart(desk: Desk, signed_in: Client) -> None:
    """At one account some take a reason and are mailed, and others are not."""
    rows = several(desk, "carevalidate", 3)
    Appointment.objects.filter(pk=rows[0].pk).update(locator={"kind": "custom"})

    page = review(signed_in, rows)

    told = re.findall(r'data-told="([^"]+)">(\d+)</b> <span><b>[^<]+</b>: (.*?)</span>', page)
    assert [(count, said) for _kind, count, said in told] == [
        (
            "1",
            "Whether CareValidate tells anybody is not documented: ring them. "
            "The reason stays here.",
        ),
        (
            "2",
            "CareValidate presumably mails the invitee, but does not promise it: ring them. "
            "The reason is sent along.",
        ),
    ]
    kinds = re.findall(r'name="row"[^>]*data-kind="([^"]+)"', page)
    assert {kind: str(kinds.count(kind)) for kind in kinds} == {
        kind: count for kind, count, _said in told
    }


def test_nothing_chosen_is_said(signed_in: Client) -> None:
    page = review(signed_in, [])
    assert "Tick appointments in the list first." in page
    answer = signed_in.post("/batches/", {"form_key": str(uuid4())})
    assert answer.status_code == 422


@pytest.mark.parametrize(
    "sent",
    [
        {"row": "x", "shown": "y"},
        {"row": "1:", "shown": "999999999999999999999"},
        {"row": ":", "shown": "-1", "form_key": "no"},
    ],
)
def test_nonsense_records_nothing(sent: dict[str, str], desk: Desk, signed_in: Client) -> None:
    desk.book("meetergo")
    assert signed_in.post("/batches/", sent).status_code == 422
    for answer in (
        signed_in.post("/batches/review/", {"pick": ["9" * 30, "-1", "a"]}, follow=True),
        signed_in.get("/batches/review/", {"pick": f"{'9' * 30}.-1..a", "cut": "x"}),
    ):
        assert answer.status_code == 200
        assert "Nothing is chosen." in answer.content.decode()
    assert not Batch.objects.exists()


def test_a_login_leads_back_to_the_review_of_the_same_ones(
    desk: Desk, signed_in: Client, staff: User
) -> None:
    """Without scripts: what was posted is not replayed, and what was chosen is still chosen."""
    page = review(signed_in, several(desk, "meetergo", 2))
    found = re.search(r'action="(/batches/\?[^"]+)"', page)
    assert found is not None
    signed_in.logout()
    sent_away = signed_in.post(found[1], filled(page, reason="Ill"))
    assert not Batch.objects.exists()

    login = {"username": staff.username, "password": "front-desk-pw"}
    answer = signed_in.post(sent_away["Location"], login, follow=True)

    assert "2 appointments</span></h1>" in answer.content.decode()
    assert not Batch.objects.exists()


def test_an_appointment_that_was_not_reviewed_cannot_be_slipped_in(
    desk: Desk, signed_in: Client
) -> None:
    """A row counts only with the version that the review showed."""
    shown, other = several(desk, "meetergo", 2)
    page = review(signed_in, [shown])
    sent = filled(page)

    signed_in.post("/batches/", sent | {"row": [*sent["row"], f"{other.pk}:{other.version}"]})

    assert [one.appointment for one in Cancellation.objects.all()] == [shown]


def test_stop_and_resume(desk: Desk, signed_in: Client) -> None:
    rows = several(desk, "meetergo", 4)
    desk.fault("meetergo", "lose_answer", times=2)
    batch = batches.ask_for_batch(
        {one.pk: one.version for one in rows}, by=desk.staff, form_key=uuid4()
    )
    work(batch)
    address = f"/batches/{batch.pk}/"
    page = signed_in.get(address).content.decode()
    assert "Paused, waiting for you" in page
    assert "did not answer clearly several times in a row" in page
    assert "Look at the unclear ones first." in page
    assert "Of 2 nobody knows yet" in page
    assert page.count("Paused with its batch") == 2
    waiting = batch.cancellations.filter(state=State.REQUESTED)[0]
    page_of_one = signed_in.get(waiting.get_absolute_url()).content.decode()
    assert "Its batch is paused at meetergo until a person lets it go on." in page_of_one

    connection = desk.connection("meetergo")
    assert signed_in.get(f"{address}resume/{connection.pk}/").status_code == 302
    assert BatchLane.objects.paused().exists()
    signed_in.post(f"{address}resume/{connection.pk}/")
    assert not BatchLane.objects.paused().exists()
    assert "Paused" not in signed_in.get(address).content.decode()

    signed_in.post(f"{address}stop/")
    page = signed_in.get(address).content.decode()
    assert "stopped by Anna de Boer" in page
    assert "Stop: send no more" not in page
    states = sorted(batch.cancellations.values_list("state", flat=True))
    assert states == ["unknown"] * 2 + ["withdrawn"] * 2
    assert "All are cancelled" not in page


def test_the_list_leads_to_a_batch_that_is_under_way(desk: Desk, signed_in: Client) -> None:
    rows = several(desk, "meetergo", 2)
    batch = batches.ask_for_batch(
        {one.pk: one.version for one in rows}, by=desk.staff, form_key=uuid4()
    )
    assert f'href="/batches/{batch.pk}/"' in signed_in.get("/?range=upcoming").content.decode()

    work(batch)
    assert f'href="/batches/{batch.pk}/"' not in signed_in.get("/?range=upcoming").content.decode()


def test_a_poll_that_knows_it_all_gets_nothing(desk: Desk, signed_in: Client) -> None:
    rows = several(desk, "meetergo", 2)
    batch = batches.ask_for_batch(
        {one.pk: one.version for one in rows}, by=desk.staff, form_key=uuid4()
    )
    page = signed_in.get(f"/batches/{batch.pk}/").content.decode()
    known = re.search(r'"X-Known": "(\w+)"', page)
    assert known is not None
    headers = {"HX-Request": "true", "X-Background": "true", "X-Known": known[1]}

    assert signed_in.get(f"/batches/{batch.pk}/", headers=headers).status_code == 204
    lanes.call_in(desk.connection("meetergo").pk)
    assert signed_in.get(f"/batches/{batch.pk}/", headers=headers).status_code == 200


def test_without_permission_there_is_nothing_to_tick(
    desk: Desk, client: Client, django_user_model: Any
) -> None:
    rows = several(desk, "meetergo", 2)
    onlooker = django_user_model.objects.create_user("onlooker")
    onlooker.user_permissions.add(
        *django_user_model.user_permissions.rel.model.objects.filter(codename="view_appointment")
    )
    client.force_login(onlooker)

    assert 'class="pick"' not in client.get("/?range=upcoming").content.decode()
    assert client.post("/batches/review/", {"pick": [rows[0].pk]}).status_code == 403
    assert client.post("/batches/", {}).status_code == 403
    assert (
        Cancellation.objects.filter(state=State.REQUESTED, due_at__lte=timezone.now()).count() == 0
    )


def test_those_that_are_left_can_be_chosen_again(desk: Desk, signed_in: Client) -> None:
    """What was refused or taken back goes into a new review, what is cancelled does not."""
    rows = several(desk, "meetergo", 3)
    desk.fault("meetergo", "status", status=403, body={"message": "no"})
    signed_in.post("/batches/", filled(review(signed_in, rows)))
    batch = Batch.objects.get()
    work(batch)
    for lane in batch.lanes.all():
        batches.resume(batch, lane.connection, by=desk.staff)
    work(batch)
    left = batch.cancellations.get(state=State.REFUSED).appointment

    page = signed_in.get(f"/batches/{batch.pk}/").content.decode()

    assert "Cancel 1 still booked appointment…" in page
    assert re.findall(r'name="pick" value="(\d+)"', page) == [str(left.pk)]


def test_a_ready_made_reason_is_taken(desk: Desk, signed_in: Client) -> None:
    """One of all connections for a mixed batch, one of the connection where it is only that."""
    rows = [*several(desk, "meetergo", 1), *several(desk, "huskyvoice", 1)]
    ill = ReasonPreset.objects.create(code="ill", label="Ill", text="The doctor is ill.")
    own = ReasonPreset.objects.create(
        code="own", label="Own", text="Own", connection=desk.connection("meetergo")
    )

    page = review(signed_in, rows)
    assert f'value="{ill.pk}" data-text="The doctor is ill."' in page
    assert f'<option value="{own.pk}"' not in page
    assert f'<option value="{own.pk}"' in review(signed_in, rows[:1])
    signed_in.post("/batches/", filled(page, preset=str(ill.pk)))

    assert {one.reason for one in Cancellation.objects.all()} == {"The doctor is ill."}


def test_the_review_warns_of_rules_and_of_what_cannot_be_read(
    desk: Desk, signed_in: Client
) -> None:
    rows = several(desk, "huskyvoice", 1)
    connection = desk.connection("huskyvoice")
    connection.policy = {"allowed": True, "notice_hours": 9999}
    connection.save()
    desk.fault("huskyvoice", "status", operation="list", status=503, body={}, times=None)
    desk.read("huskyvoice")

    page = review(signed_in, rows)

    assert re.search(r"\d+ h left, HuskyVoice asks for 9999 h. It will probably refuse", page)
    assert "Failing since" in page


def test_a_whole_day_of_somebody_is_reviewed_across_all_pages(
    desk: Desk, signed_in: Client
) -> None:
    """What the filters leave on these days, on every page; what is cancelled is not asked for."""
    rows = several(desk, "meetergo", 4)
    several(desk, "huskyvoice", 1)
    desk.cancel(rows[0])
    day = f"{desk.soon.date()}"
    query = f"provider=meetergo&from={day}&to={day}"

    page = signed_in.get(f"/?{query}").content.decode()
    assert 'name="all" value="provider=meetergo&amp;from=' in page
    answer = signed_in.post("/batches/review/", {"all": query}, follow=True)

    shown = re.findall(r'name="row" value="(\d+):', answer.content.decode())
    assert shown == [str(row.pk) for row in rows[1:]]
    assert 'name="all"' not in signed_in.get("/?range=upcoming&provider=meetergo").content.decode()


def test_what_is_over_of_a_whole_day_is_named_and_not_chosen(desk: Desk, signed_in: Client) -> None:
    """Also after a mistake, after a login, and where nothing else is left."""
    over, coming = several(desk, "meetergo", 2)
    today = timezone.localdate()
    Appointment.objects.filter(pk=over.pk).update(
        starts_at=timezone.now() - timedelta(hours=2),
        ends_at=timezone.now() - timedelta(hours=1),
        sorts_at=timezone.now() - timedelta(hours=2),
    )
    query = f"from={today - timedelta(days=1)}&to={today + timedelta(days=9)}"

    page = signed_in.post("/batches/review/", {"all": query}, follow=True).content.decode()

    def left_out(page: str) -> str:
        return page.split('id="excluded-title"', 1)[1].split("</ul>", 1)[0]

    assert re.findall(r'name="row" value="(\d+):', page) == [str(coming.pk)]
    assert "1 appointment is left out: see below." in page
    assert over.who in left_out(page)
    assert "It is over already: tick it in the list if it is meant, too." in left_out(page)
    found = re.search(r'action="(/batches/\?[^"]+)"', page)
    assert found is not None
    start = html.unescape(found[1])
    mistaken = signed_in.post(start, filled(page) | {"row": []})
    assert over.who in left_out(mistaken.content.decode())
    assert over.who in left_out(signed_in.get(start, follow=True).content.decode())
    Appointment.objects.filter(pk=coming.pk).update(status="cancelled")
    page = signed_in.post("/batches/review/", {"all": query}, follow=True).content.decode()
    assert over.who in left_out(page)


def test_what_was_written_goes_along_to_what_was_left(desk: Desk, signed_in: Client) -> None:
    """Nothing is said of "again": what was stopped has never been sent."""
    rows = several(desk, "meetergo", 2)
    page = review(signed_in, rows)
    signed_in.post("/batches/", filled(page, reason="The doctor is ill", note="Rang nobody"))
    batch = Batch.objects.get()
    signed_in.post(f"{batch.get_absolute_url()}stop/")

    page = signed_in.get(batch.get_absolute_url()).content.decode()
    assert "Cancel 2 still booked appointments…" in page
    assert " again" not in page.split('id="batch"', 1)[1].split("</section>", 1)[0]
    sent = {name: re.findall(rf'name="{name}" value="(\d+)"', page) for name in ("pick", "earlier")}
    page = signed_in.post("/batches/review/", sent, follow=True).content.decode()

    assert "The doctor is ill</textarea>" in page
    assert "Rang nobody</textarea>" in page


@pytest.mark.parametrize(
    ("states", "title"),
    [
        ([State.WITHDRAWN, State.REQUESTED], "Stopped"),
        ([State.WITHDRAWN, State.SENDING], "Stopped; the outcome of 1 that was sent is still open"),
        (
            [State.UNKNOWN, State.SENDING],
            "Stopped; the outcomes of 2 that were sent are still open",
        ),
        ([State.WITHDRAWN, State.WITHDRAWN], "Stopped"),
    ],
)
def test_a_stopped_batch_says_how_many_are_still_out(
    states: list[State], title: str, desk: Desk, signed_in: Client
) -> None:
    """Of what was taken back before it left, no outcome is to come."""
    signed_in.post("/batches/", filled(review(signed_in, several(desk, "meetergo", 2))))
    batch = Batch.objects.get()
    Batch.objects.update(stopped_at=timezone.now(), stopped_by=desk.staff)
    for one, state in zip(batch.cancellations.order_by("pk"), states, strict=True):
        put(one, state)

    page = signed_in.get(batch.get_absolute_url()).content.decode()

    assert f'<p class="outcome-title">{title}</p>' in page


def test_a_pause_says_nothing_of_unclear_ones_that_were_settled(
    desk: Desk, signed_in: Client
) -> None:
    rows = several(desk, "meetergo", 4)
    desk.fault("meetergo", "lose_answer", times=2)
    batch = batches.ask_for_batch(
        {one.pk: one.version for one in rows}, by=desk.staff, form_key=uuid4()
    )
    work(batch)
    for one in batch.cancellations.filter(state=State.UNKNOWN):
        put(one, State.CONFIRMED)

    page = signed_in.get(batch.get_absolute_url()).content.decode()

    assert "did not answer clearly several times in a row" in page
    assert "None is unclear any more." in page
    assert "Look at the unclear ones" not in page


def test_what_was_settled_by_hand_is_counted_and_rung(desk: Desk, signed_in: Client) -> None:
    """Nobody falls out of the sum; who is still booked is rung, and can be chosen again."""
    rows = several(desk, "meetergo", 3)
    signed_in.post("/batches/", filled(review(signed_in, rows)))
    batch = Batch.objects.get()
    first, second, third = batch.cancellations.order_by("pk")
    put(first, State.SETTLED, why=Verdict.CANCELLED, settled_by=desk.staff)
    put(second, State.SETTLED, why=Verdict.STILL_BOOKED, settled_by=desk.staff)
    put(third, State.NEEDS_HUMAN)

    page = signed_in.get(batch.get_absolute_url()).content.decode()
    assert "1 was settled by hand as cancelled." in page
    assert "1 is not cancelled: see why below." in page
    assert "Of 1 a person has to find out: see Unsettled." in page
    assert "we are checking" not in page.split("<ul", 1)[0]
    assert re.findall(r'name="pick" value="(\d+)"', page) == [str(second.appointment_id)]
    calls = signed_in.get(f"{batch.get_absolute_url()}calls/").content.decode()
    booked = calls.split("Still booked: they would come in vain", 1)[1]
    assert booked.split("<h2", 1)[0].count('class="call"') == 1


def test_the_list_says_that_a_batch_waits_for_somebody(desk: Desk, signed_in: Client) -> None:
    """Who left its page learns that it is paused, and that it will not go on by itself."""
    rows = several(desk, "meetergo", 2)
    signed_in.post("/batches/", filled(review(signed_in, rows)))
    batch = Batch.objects.get()
    assert "is paused at" not in signed_in.get("/?range=upcoming").content.decode()
    batch.lanes.update(paused_at=timezone.now(), paused_why="unknown")

    page = signed_in.get("/?range=upcoming").content.decode()
    assert "A batch is paused at Practice meetergo and waits for somebody" in page
    assert f'<a href="{batch.get_absolute_url()}">look at it</a>' in page
