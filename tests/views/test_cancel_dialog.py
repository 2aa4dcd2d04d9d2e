"""The cancel dialog: shaped by the provider, forgiving to whoever types, strict before sending."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from django.utils.formats import date_format

from appointments.domain import BookedAttendee, Status
from appointments.models import Appointment, Cancellation, Connection, ReasonPreset
from appointments.sandbox.people import PEOPLE
from appointments.services.records import store
from tests.desk import Desk
from tests.views.conftest import HTMX, Book, make_connection, record

EMOJI = "\N{GRINNING FACE}"
"""One character, two UTF-16 units."""
SERIES = {"meeting_type_id": "physio"}
"""With one person's address: what a series is recognised by."""


def address(row: Appointment, page: str = "cancel") -> str:
    return f"/appointments/{row.pk}/{page}/"


def filled(row: Appointment, **fields: Any) -> dict[str, Any]:
    return {"form_key": str(uuid4()), "version": row.version} | fields


def shown(answer: Any) -> str:
    return html.unescape(answer.content.decode())


def group(count: int = 3) -> tuple[BookedAttendee, ...]:
    return tuple(
        BookedAttendee(external_id=f"p{n}", name=person.name, email=person.email)
        for n, person in enumerate(PEOPLE[:count])
    )


# --- its shape


def test_a_single_booking_is_asked_about_later_ones_and_not_about_people(
    web: Client, book: Book
) -> None:
    (row,) = book(locator=SERIES)

    page = shown(web.get(address(row)))

    assert "<h1" in page
    assert "Cancel appointment</h1>" in page
    assert 'name="series" value="this" checked' in page
    assert 'name="attendee"' not in page
    assert 'name="email"' not in page
    assert "Cancels the appointment of Person 0" in page
    assert 'data-act="Cancel this and later ones"' in page


def test_a_group_is_asked_whom_and_nobody_is_chosen_for_her(web: Client, book: Book) -> None:
    (row,) = book(is_group=True, attendees=group())

    page = shown(web.get(address(row)))

    assert f'data-act="Remove {PEOPLE[1].name}"' in page
    assert 'name="attendee" value="all"' in page
    assert "Everybody (3)" in page
    assert "checked" not in page
    assert 'name="series"' not in page
    assert 'id="cancel-submit" form="cancel-form"><span dir="auto">Choose who</span>' in page


def test_of_a_group_of_one_nobody_is_to_be_chosen(web: Client, book: Book) -> None:
    """One person and everybody would be the same."""
    (row,) = book(is_group=True, attendees=group(1))

    page = shown(web.get(address(row)))
    assert 'name="attendee"' not in page
    assert "Everybody" not in page
    assert '<span dir="auto">Cancel appointment</span>' in page
    web.post(address(row), filled(row))

    assert Cancellation.objects.get().scope == "whole"


def test_the_later_ones_that_we_know_of_are_counted_and_named(web: Client, book: Book) -> None:
    """Before anything is sent; another kind, another time and what is cancelled are none of them"""
    monday = timezone.localtime().replace(hour=12, minute=0, second=0, microsecond=0)
    monday += timedelta(days=7 - monday.weekday())
    weeks = [monday + timedelta(weeks=n) for n in range(7)]
    connection = book(starts_at=weeks[0], locator=SERIES)[0].connection
    later = [
        record(0, start=start, external_id=f"later-{n}", locator=SERIES)
        for n, start in enumerate(weeks[1:])
    ]
    others = [
        record(0, start=weeks[1] + timedelta(hours=1), external_id="hour", locator=SERIES),
        record(0, start=weeks[2], external_id="kind", locator={"meeting_type_id": "talk"}),
        record(1, start=weeks[1] - timedelta(minutes=30), external_id="who", locator=SERIES),
        replace(later[0], status=Status.CANCELLED),
    ]
    store(connection, [*later, *others], read_at=timezone.now())
    row = Appointment.objects.in_order()[0]

    page = shown(web.get(address(row)))

    days = ", ".join(date_format(one, "D j M") for one in weeks[2:6])
    known = f"As far as we know, these are 5 later ones: {days}, …."
    assert f"<span>{known}</span>" in page
    assert f"all later ones of its series. {known}" in page
    alone = Appointment.objects.get(external_id="kind")
    assert "all later ones of its series. We know of no later ones." in shown(
        web.get(address(alone))
    )


def test_of_a_paid_one_nobody_knows_what_is_refunded(web: Client, book: Book) -> None:
    (row,) = book(is_paid=True)
    said = "Paid: whether and how it is refunded, meetergo decides."

    assert said in shown(web.get(address(row)))
    Appointment.objects.update(is_paid=False)
    assert said not in shown(web.get(address(row)))


def test_the_reason_says_who_reads_it(web: Client, book: Book) -> None:
    """At meetergo it is mailed, apart from the note; elsewhere it stays here, and says so."""
    (mailed,) = book()
    (kept,) = book(connection=make_connection("mijnklantportaal", name="De Linde"))

    assert "Mailed to the people concerned word for word, not translated." in shown(
        web.get(address(mailed))
    )
    page = shown(web.get(address(kept)))
    assert "Reason, kept here" in page
    assert "Kept here only: this provider takes no reason." in page
    assert "Whether MijnKlantportaal tells anybody is not documented: ring them." in page
    assert 'name="note"' not in page


def test_an_address_is_asked_for_only_where_it_must_go_along(web: Client, db: None) -> None:
    care = make_connection("carevalidate", name="Telehealth")
    soon = timezone.now() + timedelta(days=1)
    listed = record(0, start=soon, locator={"kind": "calendly"})
    custom = record(1, start=soon, locator={"kind": "custom"})
    store(care, [listed, custom], read_at=timezone.now())
    first, second = Appointment.objects.in_order()

    assert 'value="person0@example.org"' in shown(web.get(address(first)))
    page = shown(web.get(address(second)))
    assert 'name="email"' not in page
    assert "Kept here only: CareValidate takes no reason for this kind of entry." in page
    assert "Whether CareValidate tells anybody is not documented: ring them." in page


def source(page: str) -> str:
    """What stands beside the address, if it is shown."""
    match = re.search(r'<p class="hint" id="email-from"[^>]*?( hidden)?>(.*?)</p>', page)
    assert match is not None
    return "" if match[1] else match[2]


@pytest.mark.parametrize(
    ("emails", "typed", "said"),
    [
        (["ann@example.org"], {}, "As CareValidate lists it for Ann."),
        (["ann@example.org"], {"email": "other@example.org"}, ""),
        (
            ["ann@example.org", "ben@example.org"],
            {},
            "CareValidate lists several: Ann (ann@example.org), Ben (ben@example.org). "
            "Use the one that it was booked with.",
        ),
        ([""], {}, "CareValidate lists no address: ask which one it was booked with."),
    ],
)
def test_beside_the_address_stands_where_it_comes_from_and_what_for(
    emails: list[str], typed: dict[str, str], said: str, web: Client, db: None
) -> None:
    care = make_connection("carevalidate", name="Telehealth")
    names = ("Ann", "Ben")
    people = tuple(
        BookedAttendee(name=name, email=email) for name, email in zip(names, emails, strict=False)
    )
    soon = timezone.now() + timedelta(days=1)
    listed = record(0, start=soon, locator={"kind": "calendly"}, attendees=people)
    store(care, [listed], read_at=timezone.now())
    row = Appointment.objects.get()

    if typed:
        # As if the time had changed since: the dialog is drawn again around what was typed.
        page = shown(web.post(address(row), filled(row, **typed) | {"version": "old"}))
        assert f'value="{typed["email"]}"' in page
    else:
        page = shown(web.get(address(row)))

    assert source(page) == said
    assert "so that CareValidate accepts the request" in page


@pytest.mark.parametrize(
    ("in_case", "said"),
    [
        ("case@example.org", "From the case at CareValidate."),
        ("", "Neither the list nor the case at CareValidate names one"),
    ],
)
def test_an_address_that_only_the_case_knows_says_so(
    in_case: str, said: str, web: Client, desk: Desk
) -> None:
    row = desk.book("carevalidate", shows_person=False)
    for case in desk.world("carevalidate").state["cases"].values():
        case["person"]["email"] = in_case

    answer = web.post(address(row, "look"), filled(row), headers=HTMX)

    page = shown(answer)
    assert f'data-from="{said}' in page
    assert f'data-email="{in_case}"' in page


def test_presets_of_the_connection_come_before_the_general_ones(
    web: Client, book: Book, meetergo: Connection
) -> None:
    ReasonPreset.objects.create(code="ill", label="Ill", text="Your practitioner is ill.")
    ReasonPreset.objects.create(code="room", label="Room", text="No room.", connection=meetergo)
    ReasonPreset.objects.create(
        code="other", label="Other", text="x", connection=make_connection("huskyvoice", name="H")
    )
    (row,) = book()

    page = shown(web.get(address(row)))

    assert page.index("Room") < page.index("Ill")
    assert "Other" not in page


def test_what_cannot_be_cancelled_says_so_and_has_no_button(web: Client, book: Book) -> None:
    (row,) = book(status="cancelled")

    page = shown(web.get(address(row)))

    assert "not booked any more" in page
    assert 'id="cancel-submit"' not in page
    assert "Close</button>" in page
    assert "Keep appointment" not in page


def test_a_script_gets_the_dialog_alone(web: Client, book: Book) -> None:
    (row,) = book()

    page = shown(web.get(address(row), headers=HTMX))

    assert page.strip().startswith('<section id="cancel"')
    assert 'tabindex="-1">Cancel appointment</h2>' in page
    assert 'method="dialog"' in page


# --- asking


def test_without_scripts_it_leads_to_the_outcome(web: Client, book: Book) -> None:
    (row,) = book()

    answer = web.post(address(row), filled(row, reason="Ill", note="Rang twice", series="this"))

    asked = Cancellation.objects.get()
    assert (answer.status_code, answer["Location"]) == (303, f"/cancellations/{asked.pk}/")
    assert (asked.scope, asked.reason, asked.note) == ("whole", "Ill", "Rang twice")


def test_a_script_gets_the_state_at_once(web: Client, book: Book) -> None:
    (row,) = book()

    answer = web.post(address(row), filled(row), headers=HTMX)

    assert answer.status_code == 200
    assert 'data-state="requested"' in shown(answer)
    assert 'hx-trigger="every 150ms"' in shown(answer)
    assert answer["HX-Trigger"] == "desk-changed"


@pytest.mark.parametrize(
    ("fields", "scope"),
    [({"series": "following"}, "following"), ({"series": "this"}, "whole"), ({}, "whole")],
)
def test_the_choice_of_occurrences_is_the_scope(
    fields: dict[str, str], scope: str, web: Client, book: Book
) -> None:
    (row,) = book(locator=SERIES)

    web.post(address(row), filled(row, **fields))

    assert Cancellation.objects.get().scope == scope


def test_one_person_of_a_group_is_removed_alone(web: Client, book: Book) -> None:
    (row,) = book(is_group=True, attendees=group())
    leaving = row.attendees.all()[1]

    web.post(address(row), filled(row, attendee=leaving.pk))

    asked = Cancellation.objects.get()
    assert (asked.scope, asked.attendee_external_id) == ("attendee", "p1")
    assert asked.attendee_name == PEOPLE[1].name


def test_the_same_dialog_sent_twice_is_one_intent(web: Client, book: Book) -> None:
    (row,) = book()
    once = filled(row)

    first, second = (web.post(address(row), once) for _ in range(2))

    assert first["Location"] == second["Location"]
    assert Cancellation.objects.count() == 1


def test_a_preset_counts_where_no_script_put_it_into_the_reason(web: Client, book: Book) -> None:
    preset = ReasonPreset.objects.create(code="ill", label="Ill", text="Your practitioner is ill.")
    (row,) = book()

    web.post(address(row), filled(row, preset=preset.pk, reason=""))

    assert Cancellation.objects.get().reason == "Your practitioner is ill."


def test_fields_that_the_dialog_does_not_have_are_ignored(web: Client, book: Book) -> None:
    (row,) = book(connection=make_connection("mijnklantportaal", name="De Linde"))

    web.post(address(row), filled(row, series="following", attendee="1", note="x", state="settled"))

    asked = Cancellation.objects.get()
    assert (asked.scope, asked.note, asked.state) == ("whole", "", "requested")


# --- what is wrong is said, and what was typed stays


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"attendee": "all", "reason": "x" * 501}, "This is too long: 501 characters"),
        ({"attendee": "all", "reason": EMOJI * 251}, "This is too long: 502 characters"),
        ({"attendee": "all", "note": "y" * 1001}, "This is too long: 1001 characters"),
        ({"reason": "typed"}, "Choose one person, or everybody."),
        ({"attendee": "999999", "reason": "typed"}, "This person is not booked any more."),
        ({"attendee": "all", "form_key": "rubbish"}, "Close it and open it again."),
    ],
)
def test_a_mistake_is_said_and_the_text_stays(
    fields: dict[str, str], message: str, web: Client, book: Book
) -> None:
    (row,) = book(is_group=True, attendees=group())

    answer = web.post(address(row), filled(row, **fields), headers=HTMX)

    assert answer.status_code == 422
    assert message in shown(answer)
    assert fields.get("reason", "") in shown(answer)
    assert not Cancellation.objects.exists()


def test_a_line_break_counts_once(web: Client, book: Book) -> None:
    """Browsers send two characters for it, and count one."""
    (row,) = book()

    web.post(address(row), filled(row, reason="\r\n".join("x" * 250)))

    assert Cancellation.objects.get().reason == "\n".join("x" * 250)


@pytest.mark.parametrize(
    ("email", "message"),
    [("", "The provider needs the address"), ("nobody", "This is not an e-mail address.")],
)
def test_a_missing_or_broken_address_is_said(
    email: str, message: str, web: Client, book: Book
) -> None:
    (row,) = book(connection=make_connection("carevalidate", name="Telehealth"))

    answer = web.post(address(row), filled(row, email=email, reason="typed"))

    assert answer.status_code == 422
    assert message in shown(answer)
    assert "typed" in shown(answer)


def test_a_stale_page_gets_the_new_facts_and_may_ask_again(web: Client, book: Book) -> None:
    """Nothing is recorded; text and key stay, and the new version comes along."""
    (row,) = book()
    once = filled(row, reason="My own words", version="older")

    answer = web.post(address(row), once, headers=HTMX)

    page = shown(answer)
    assert answer.status_code == 409
    assert "changed since you opened it" in page
    assert "My own words" in page
    assert f'name="form_key" value="{once["form_key"]}"' in page
    assert f'name="version" value="{row.version}"' in page
    assert not Cancellation.objects.exists()
    assert web.post(address(row), once | {"version": row.version}).status_code == 303


def test_somebody_else_was_faster(web: Client, book: Book, colleague: User) -> None:
    """Her name and the way to her cancellation; the text stays."""
    (row,) = book()
    theirs = Client()
    theirs.force_login(colleague)
    theirs.post(address(row), filled(row))

    answer = web.post(address(row), filled(row, reason="My own words"), headers=HTMX)

    page = shown(answer)
    assert answer.status_code == 409
    assert "Bas Willems asked for this" in page
    assert f"/cancellations/{Cancellation.objects.get().pk}/" in page
    assert "My own words" in page


def test_her_own_request_from_another_tab_is_called_her_own(web: Client, book: Book) -> None:
    (row,) = book()
    web.post(address(row), filled(row))

    page = shown(web.post(address(row), filled(row), headers=HTMX))

    assert "You asked for this yourself at" in page
    assert 'id="cancel-submit"' not in page


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (timedelta(0), "It was just cancelled by Bas Willems, at {time}."),
        (timedelta(minutes=2), "It was cancelled by Bas Willems {time}."),
        (timedelta(minutes=30), "It was cancelled by Bas Willems {time}."),
        (timedelta(days=2), "It was cancelled by Bas Willems on {day} at {time}."),
    ],
)
def test_who_cancelled_it_and_when_is_said_after_it_is_over(
    age: timedelta, words: str, web: Client, desk: Desk, colleague: User
) -> None:
    """On a page from before, and in a dialog opened since."""
    row = desk.book("meetergo")
    theirs = desk.cancel(row, by=colleague)
    at = timezone.localtime(theirs.settled_at) - age
    Cancellation.objects.update(settled_at=at)
    time = f"{at:%H:%M}" if "just" in words or "day" in words else said_at(at)

    answers = [
        web.post(address(row), filled(row, reason="My own words"), headers=HTMX),
        web.get(address(row)),
    ]

    assert [one.status_code for one in answers] == [409, 200]
    expected = words.format(time=time, day=date_format(at, "D j M"))
    assert all(expected in shown(one) for one in answers)
    assert all("See what came of it" in shown(one) for one in answers)
    assert "My own words" in shown(answers[0])
    assert Cancellation.objects.count() == 1


def said_at(when: datetime) -> str:
    is_today = when.date() == timezone.localdate()
    return f"at {when:%H:%M}" if is_today else f"on {date_format(when, 'D j M')} at {when:%H:%M}"


def test_what_the_provider_contradicts_is_not_called_cancelled_by_anybody(
    web: Client, desk: Desk, colleague: User
) -> None:
    row = desk.book("meetergo")
    desk.cancel(row, by=colleague)
    Cancellation.objects.update(contradicted_at=timezone.now())

    page = shown(web.get(address(row)))

    assert "not booked any more" in page
    assert "Bas Willems" not in page


def test_who_removed_the_same_person_is_said(web: Client, desk: Desk, colleague: User) -> None:
    """The others of the group stay, and so does the choice among them."""
    row = desk.book("meetergo", people=3)
    leaving = row.attendees.get(email=PEOPLE[16].email)
    form = filled(row, attendee=leaving.pk, reason="My own words")
    desk.work(desk.remove(row, PEOPLE[16], by=colleague))

    answer = web.post(address(row), form, headers=HTMX)

    page = shown(answer)
    assert answer.status_code == 422
    assert f"{PEOPLE[16].name} was removed by Bas Willems at" in page
    assert "This person is not booked any more. Choose again." in page
    assert "My own words" in page
    assert 'id="cancel-submit"' in page


def test_who_may_not_cancel_is_told_whom_to_ask(db: None, book: Book) -> None:
    (row,) = book()
    client = Client()
    client.force_login(User.objects.create_user("looker"))

    answers = [
        client.get(address(row)),
        client.post(address(row), filled(row)),
        client.post(address(row), filled(row), headers=HTMX),
        client.post(address(row, "look"), headers=HTMX),
    ]

    assert [one.status_code for one in answers] == [403] * 4
    assert all("Ask an administrator" in shown(one) for one in answers)
    assert not Cancellation.objects.exists()


def test_an_unknown_appointment_is_not_found(web: Client) -> None:
    assert web.get("/appointments/999999/cancel/").status_code == 404
    assert web.post("/appointments/999999/cancel/").status_code == 404
    assert web.get("/appointments/99999999999999999999999/").status_code == 404


def test_what_came_to_nothing_is_tried_again_with_its_text(
    web: Client, book: Book, meetergo: Connection
) -> None:
    (row,) = book(is_group=True, attendees=group())
    leaving = row.attendees.all()[1]
    web.post(address(row), filled(row, attendee=leaving.pk, reason="Ill", note="Rang"))
    Cancellation.objects.update(state="refused", due_at=None)
    earlier = Cancellation.objects.get()

    page = shown(web.get(f"{address(row)}?again={earlier.pk}"))

    assert re.search(rf'value="{leaving.pk}" checked', page)
    assert ">\nIll</textarea>" in page
    assert UUID(re.findall(r'name="form_key" value="([^"]+)"', page)[0]) != earlier.form_key


# --- the fresh look


@pytest.mark.parametrize("slug", ["mijnklantportaal", "meetergo", "huskyvoice"])
def test_a_look_that_finds_nothing_new_says_so(slug: str, web: Client, desk: Desk) -> None:
    row = desk.book(slug)

    answer = web.post(address(row, "look"), filled(row), headers=HTMX)

    assert "just now: nothing has changed." in shown(answer)
    assert "HX-Retarget" not in answer


def test_a_look_that_finds_it_moved_draws_the_dialog_again(web: Client, desk: Desk) -> None:
    """Around what is typed by then, with the new facts, version and the same key."""
    row = desk.book("meetergo")
    typed = filled(row, reason="Half a sent")
    for one in desk.world("meetergo").state["appointments"].values():
        one["start"] = (desk.soon + timedelta(days=1)).isoformat().replace("+00:00", "Z")
        one["end"] = (desk.soon + timedelta(days=1, hours=1)).isoformat().replace("+00:00", "Z")

    answer = web.post(address(row, "look"), typed, headers=HTMX)

    page = shown(answer)
    row.refresh_from_db()
    assert (answer["HX-Retarget"], answer["HX-Reswap"]) == ("#cancel", "outerMorph")
    assert "This changed since you opened it: its time." in page
    assert "Half a sent" in page
    assert f'value="{row.version}"' in page
    assert typed["form_key"] in page
    assert "autofocus" not in page


def test_a_look_at_a_provider_that_fails_keeps_the_dialog(web: Client, desk: Desk) -> None:
    row = desk.book("meetergo")
    desk.fault("meetergo", "status", operation="read", status=500)

    answer = web.post(address(row, "look"), filled(row), headers=HTMX)

    assert answer.status_code == 200
    assert "You see it as read" in shown(answer)


def test_a_look_from_a_link_changes_nothing(web: Client, book: Book) -> None:
    (row,) = book()

    assert web.get(address(row, "look"))["Location"] == address(row)


def test_of_a_group_whoever_was_looked_for_stands_first(web: Client, desk: Desk) -> None:
    """The dialog opened from a search begins with the person that was searched."""
    appointment = desk.book("meetergo", people=4)
    wanted = PEOPLE[17]
    page = web.get(
        f"/appointments/{appointment.pk}/cancel/",
        headers={
            "HX-Request": "true",
            "HX-Current-URL": f"http://testserver/?q={wanted.last_name}",
        },
    ).content.decode()

    others = [PEOPLE[n].name for n in (15, 16, 18)]
    assert f"{wanted.name} and 3 more" in page
    assert all(page.index(f">{wanted.name}<") < page.index(f">{one}<") for one in others)


def test_a_forgotten_choice_keeps_the_order_and_what_was_typed(web: Client, desk: Desk) -> None:
    """She looks where she looked before: nobody has changed places, and the error has the focus."""
    appointment = desk.book("meetergo", people=4)
    wanted = PEOPLE[17]
    behind = HTMX | {"HX-Current-URL": f"http://testserver/?q={wanted.last_name}"}
    order = re.compile(r'name="attendee" value="(\w+)"')
    before = order.findall(shown(web.get(address(appointment), headers=behind)))
    typed = filled(appointment, reason="Moves away", note="Rang on Monday")

    answer = web.post(address(appointment), typed, headers=behind)

    assert answer.status_code == 422
    page = shown(answer)
    assert order.findall(page) == before
    assert "Choose one person, or everybody." in page
    assert "Moves away" in page
    assert "Rang on Monday" in page
    (focused,) = re.findall(r"<(?:input|textarea)[^>]* autofocus[^>]*>", page)
    assert f'name="attendee" value="{before[0]}"' in focused

    stale = web.post(
        address(appointment), typed | {"version": "old", "attendee": before[1]}, headers=behind
    )
    assert stale.status_code == 409
    assert order.findall(shown(stale)) == before
    assert f'value="{before[1]}" checked' in shown(stale)


def test_what_is_over_is_said(web: Client, book: Book) -> None:
    (past,) = book(starts_at=timezone.now() - timedelta(hours=3))
    assert "This appointment is already over." in web.get(f"{past.get_absolute_url()}cancel/").text
    (*_, coming) = book(starts_at=timezone.now() + timedelta(hours=3), external_id="coming")
    page = web.get(f"{coming.get_absolute_url()}cancel/").text
    assert "This appointment is already over." not in page


def test_to_decline_is_called_so(web: Client, desk: Desk) -> None:
    """What is pending at MijnKlantportaal is declined; elsewhere pending is cancelled."""
    pending = desk.book("mijnklantportaal", status="pending")
    page = web.get(f"{pending.get_absolute_url()}cancel/").text
    assert "Decline appointment</h1>" in page
    assert '<span dir="auto">Decline appointment</span></button>' in page
    assert "Declines the appointment that" in page
    booked = desk.book("mijnklantportaal")
    page = web.get(f"{booked.get_absolute_url()}cancel/").text
    assert "Cancel appointment</h1>" in page
    assert '<span dir="auto">Cancel appointment</span></button>' in page
    assert "Decline" not in page
