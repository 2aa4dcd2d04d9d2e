"""
A member of staff moves, confirms and rebooks, at each provider that can, in a real browser.

Each test asserts what she reads and the state on screen, our row, and the provider's own book.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect
from pytest_django.live_server_helper import LiveServer

from appointments.models import Appointment, Booking
from appointments.sandbox.people import PEOPLE
from tests.browser.dialog import LogIn, outcome
from tests.conftest import make_user
from tests.desk import Desk

pytestmark = pytest.mark.browser

SitDown = Callable[..., Page]


def open_detail(page: Page, live_server: LiveServer, row: Appointment) -> None:
    page.goto(f"{live_server.url}{row.get_absolute_url()}")


def state(page: Page, word: str) -> Locator:
    """The outcome on the page, once it has reached *word*."""
    shown = page.locator(f'main [data-state="{word}"]')
    expect(shown).to_be_visible()
    return shown


def assert_accessible(page: Page) -> None:
    found = Axe().run(page, options={"resultTypes": ["violations"]})
    assert found.violations_count == 0, found.generate_report()


def test_meetergo_moved_to_a_free_time(
    page: Page, desk: Desk, log_in: LogIn, live_server: LiveServer
) -> None:
    row = desk.book("meetergo")
    before = desk.world("meetergo").state["appointments"][row.external_id]["start"]
    log_in(page)

    open_detail(page, live_server, row)
    page.get_by_role("link", name="Move…").click()
    assert_accessible(page)
    page.get_by_role("button", name="Show what is free").click()
    expect(page.get_by_role("status")).to_contain_text("nobody holds it for you")
    expect(page.get_by_role("status")).to_contain_text("Europe/Amsterdam")
    assert_accessible(page)
    page.locator("button.slot").last.click()
    expect(page.get_by_text("meetergo presumably mails everyone concerned")).to_be_visible()
    assert_accessible(page)
    page.get_by_role("button", name="Move appointment").click()

    expect(state(page, "confirmed")).to_contain_text("Moved")
    assert_accessible(page)
    booking = Booking.objects.get()
    after = desk.world("meetergo").state["appointments"][row.external_id]["start"]
    assert after != before
    row.refresh_from_db()
    assert row.starts_at == booking.starts_at
    assert len(desk.received("meetergo", "reschedule")) == 1


def test_a_key_that_is_held_does_not_book_unseen(
    page: Page, desk: Desk, log_in: LogIn, live_server: LiveServer
) -> None:
    """The first stroke leads to the review; those that follow by themselves are nobody's word."""
    there = desk.connection("mijnklantportaal")
    log_in(page)
    page.goto(f"{live_server.url}/schedule/?connection={there.pk}")
    page.get_by_label("Title").fill("Intake")
    page.get_by_label("Name").fill("Emma Visser")
    page.get_by_label("E-mail").fill("emma@example.org")
    page.get_by_label("Starts").fill(f"{desk.soon:%Y-%m-%d}T10:00")
    page.get_by_label("Ends").fill(f"{desk.soon:%Y-%m-%d}T10:30")
    page.keyboard.down("Control")
    page.keyboard.down("Enter")
    review = page.locator("p.note-info")
    expect(review).to_be_focused()

    for _ in range(3):
        page.keyboard.down("Enter")
    page.wait_for_timeout(500)
    expect(review).to_be_focused()
    assert not Booking.objects.exists()

    page.keyboard.up("Enter")
    page.keyboard.press("Enter")
    state(page, "confirmed")
    page.keyboard.up("Control")


def test_huskyvoice_moved_into_a_window(
    page: Page, desk: Desk, log_in: LogIn, live_server: LiveServer
) -> None:
    row = desk.book("huskyvoice")
    log_in(page)

    open_detail(page, live_server, row)
    page.get_by_role("link", name="Move…").click()
    expect(page.get_by_label("Or type the new start")).to_have_count(0)
    page.get_by_role("button", name="Show what is free").click()
    expect(page.locator("button.slot").first).to_contain_text("Kolkata")
    page.locator("button.slot").last.click()
    expect(page.get_by_text("is not documented: ring them")).to_be_visible()
    page.get_by_role("button", name="Move appointment").click()

    expect(state(page, "confirmed")).to_contain_text("Moved")
    booking = Booking.objects.get()
    world = desk.world("huskyvoice").state["appointments"][row.external_id]
    assert world["status"] == "rescheduled"
    assert world["session"] == booking.wish["session"]
    row.refresh_from_db()
    assert (row.session, row.status) == (world["session"], "booked")


def test_a_lost_answer_of_a_move_is_checked_on_the_page(
    page: Page, desk: Desk, log_in: LogIn, live_server: LiveServer
) -> None:
    """The page says that nobody knows, and after the first read what was found."""
    row = desk.book("meetergo")
    desk.fault("meetergo", "lose_answer", operation="reschedule")
    log_in(page)

    page.goto(f"{live_server.url}{row.get_absolute_url()}move/")
    page.get_by_role("button", name="Show what is free").click()
    page.locator("button.slot").last.click()
    page.get_by_role("button", name="Move appointment").click()

    expect(state(page, "unknown")).to_contain_text("Do not move or cancel it.")
    page.get_by_role("button", name="Read again now").click()
    state(page, "confirmed")
    assert len(desk.received("meetergo", "reschedule")) == 1


def test_mijnklantportaal_confirmed_and_declined(
    page: Page, desk: Desk, log_in: LogIn, live_server: LiveServer
) -> None:
    row = desk.book("mijnklantportaal", status="pending")
    other = desk.book("mijnklantportaal", status="pending")
    book = desk.world("mijnklantportaal").state["appointments"]
    log_in(page)

    open_detail(page, live_server, row)
    assert_accessible(page)
    page.get_by_role("link", name="Confirm…").click()
    assert_accessible(page)
    page.get_by_role("button", name="Confirm appointment").click()
    expect(state(page, "confirmed")).to_contain_text("Confirmed")
    assert book[row.external_id]["status"] == "scheduled"

    open_detail(page, live_server, other)
    page.get_by_role("button", name="Decline appointment with").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Decline appointment", exact=True).click()
    outcome(page, "confirmed")
    assert book[other.external_id]["status"] == "canceled"


def test_rebooked_elsewhere_first_the_new_one_then_the_old_one(
    page: Page, desk: Desk, log_in: LogIn, live_server: LiveServer
) -> None:
    old = desk.book("carevalidate")
    person = old.attendees.get()
    desk.connection("mijnklantportaal")
    log_in(page)

    open_detail(page, live_server, old)
    page.get_by_role("link", name="Rebook…").click()
    page.get_by_role("link", name="MijnKlantportaal").click()
    expect(page.get_by_label("Name")).to_have_value(person.name)
    expect(page.get_by_label("E-mail")).to_have_value(person.email)
    assert_accessible(page)
    page.get_by_label("Title").fill("Intake")
    page.get_by_label("Starts").fill(f"{desk.soon:%Y-%m-%d}T10:00")
    page.get_by_label("Ends").fill(f"{desk.soon:%Y-%m-%d}T10:30")
    page.get_by_role("button", name="Review").click()
    review = page.locator("p.note-info")
    expect(review).to_contain_text("until the new one was read back")
    expect(review).to_be_focused()
    assert_accessible(page)
    page.get_by_role("button", name="Change").click()
    expect(page.get_by_label("Title")).to_be_focused()
    page.get_by_label("Title").fill("Intake, second")
    page.keyboard.press("Control+Enter")
    expect(review).to_contain_text("Intake, second, ")
    expect(review).to_be_focused()
    assert not Booking.objects.exists()
    page.keyboard.press("Control+Enter")

    done = state(page, "confirmed")
    expect(done).to_contain_text("Both are booked now")
    assert_accessible(page)
    page.get_by_role("link", name="Unsettled").click()
    expect(page.get_by_text("Both are booked now")).to_be_visible()
    assert_accessible(page)
    page.go_back()
    page.get_by_role("button", name="Cancel the old one…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Cancel appointment", exact=True).click()
    outcome(page, "confirmed")
    dialog.get_by_role("button", name="Close").click()

    expect(page.locator("main")).to_contain_text("It is not booked any more.")
    assert len(desk.received("mijnklantportaal", "schedule")) == 1
    assert len(desk.received("carevalidate")) == 1


def test_without_scripts_one_of_a_group_is_rebooked_and_both_are_kept(
    desk: Desk, sit_down: SitDown
) -> None:
    """Every step is a plain page: whom, where, a free time, the outcome, the decision."""
    old = desk.book("meetergo", people=2)
    page = sit_down(desk.staff, java_script_enabled=False)

    page.goto(old.get_absolute_url())
    page.get_by_role("link", name="Rebook elsewhere…").click()
    page.get_by_role("link", name=PEOPLE[16].name).click()
    page.locator(".picker a").first.click()
    expect(page.get_by_label("Name", exact=True)).to_have_value(PEOPLE[16].name)
    expect(page.get_by_label("What")).not_to_have_value("")
    page.get_by_label("With").select_option(index=1)
    page.get_by_role("button", name="Show what is free").click()
    page.locator("button.slot").last.click()
    expect(page.get_by_text("It is not booked yet")).to_be_visible()
    expect(page.get_by_label("Starts")).not_to_have_value("")
    page.get_by_role("button", name="Review").click()
    page.get_by_role("button", name="Book the new appointment").click()
    for _ in range(20):
        if page.locator('[data-state="confirmed"]').count():
            break
        page.wait_for_timeout(250)
        page.reload()
    page.get_by_role("button", name="Keep both").click()

    expect(page.locator("main")).to_contain_text("Anna de Boer decided to keep both")
    assert Booking.objects.get().kept_both_by == desk.staff
    assert desk.received("meetergo") == []


def test_two_people_at_one_appointment_move_it_once(desk: Desk, sit_down: SitDown) -> None:
    """The second reads that the first was faster, and nothing else is sent."""
    row = desk.book("meetergo")
    pages = [sit_down(one) for one in (desk.staff, make_user("bas", first_name="Bas"))]
    desk.fault("meetergo", "latency", operation="reschedule", seconds=2)
    for page in pages:
        page.goto(f"{row.get_absolute_url()}move/")
        page.get_by_role("button", name="Show what is free").click()
        page.locator("button.slot").last.click()

    for page in pages:
        page.get_by_role("button", name="Move appointment").click()

    state(pages[0], "confirmed")
    expect(pages[1].get_by_role("alert")).to_contain_text("A move of this appointment")
    assert len(desk.received("meetergo", "reschedule")) == 1


def test_a_double_click_moves_once(desk: Desk, sit_down: SitDown) -> None:
    row = desk.book("meetergo")
    page = sit_down(desk.staff)
    page.goto(f"{row.get_absolute_url()}move/")
    page.get_by_role("button", name="Show what is free").click()
    page.locator("button.slot").last.click()

    page.get_by_role("button", name="Move appointment").dblclick()

    state(page, "confirmed")
    assert Booking.objects.count() == 1
    assert len(desk.received("meetergo", "reschedule")) == 1


def test_a_provider_that_is_down_keeps_what_was_typed(desk: Desk, sit_down: SitDown) -> None:
    row = desk.book("meetergo")
    desk.fault("meetergo", "reset", operation="availability", times=None)
    page = sit_down(desk.staff)
    page.goto(f"/schedule/?connection={row.connection.pk}")
    page.get_by_label("Name", exact=True).fill("Zoë van der Berg")
    page.get_by_label("What").select_option(index=1)
    page.get_by_label("With").select_option(index=1)

    page.get_by_role("button", name="Show what is free").click()

    expect(page.get_by_role("alert")).to_contain_text("meetergo cannot be reached.")
    expect(page.get_by_label("Name", exact=True)).to_have_value("Zoë van der Berg")


def test_a_review_survives_going_back_and_a_double_click_books_once(
    desk: Desk, sit_down: SitDown
) -> None:
    """Back in the browser leads to the form as it was typed; the button may be pressed twice."""
    there = desk.connection("mijnklantportaal")
    page = sit_down(desk.staff)
    page.goto(f"/schedule/?connection={there.pk}")
    page.get_by_label("Title").fill("Intake")
    page.get_by_label("Name").fill("Zoë van der Berg")
    page.get_by_label("E-mail").fill("zoe@example.org")
    page.get_by_label("Starts").fill(f"{desk.soon:%Y-%m-%d}T10:00")
    page.get_by_label("Ends").fill(f"{desk.soon:%Y-%m-%d}T10:30")
    page.get_by_role("button", name="Review").click()
    page.go_back()
    expect(page.get_by_label("Title")).to_have_value("Intake")
    page.get_by_role("button", name="Review").click()

    page.get_by_role("button", name="Schedule appointment").dblclick()

    state(page, "confirmed")
    assert Booking.objects.count() == 1
    assert len(desk.received("mijnklantportaal", "schedule")) == 1
