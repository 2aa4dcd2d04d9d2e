"""What surrounds the list: saved views, the appointment beside it, paper and feeds."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.utils import timezone
from playwright.sync_api import BrowserContext, Page, expect

from appointments.services.records import store
from tests.desk import Desk
from tests.services.test_batch import several
from tests.views.conftest import record

pytestmark = pytest.mark.browser

LogIn = Callable[..., None]


def violations(page: Page) -> list[str]:
    return [f"{one['id']}: {one['help']}" for one in Axe().run(page).response["violations"]]


def test_arrows_walk_through_the_list_beside_it(page: Page, desk: Desk, log_in: LogIn) -> None:
    """By key, the focus follows to the title; the row of the list stays marked."""
    several(desk, "mijnklantportaal", 3)
    log_in(page)
    # Until the script has taken the links over, a link leads to the page, as without scripts.
    page.wait_for_load_state("networkidle")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    title = page.locator("#detail-title")
    expect(title).to_be_focused()
    expect(page.get_by_role("link", name="Previous appointment")).to_have_attribute(
        "aria-disabled", "true"
    )

    page.keyboard.press("ArrowRight")
    page.wait_for_selector("[data-previous]")
    expect(title).to_be_focused()
    expect(page.locator(".who").nth(1)).to_have_attribute("aria-current", "true")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".who").nth(2)).to_have_attribute("aria-current", "true")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".who").nth(1)).to_have_attribute("aria-current", "true")

    assert violations(page) == []
    page.keyboard.press("Escape")
    expect(page.locator(".who").nth(1)).to_be_focused()


def test_a_copy_is_announced(
    page: Page, context: BrowserContext, desk: Desk, log_in: LogIn
) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    row = desk.book("meetergo")
    person = row.attendees.get()
    log_in(page)
    page.goto(row.get_absolute_url())

    page.get_by_role("button", name="Copy the e-mail address").click()

    expect(page.locator("#announced")).to_have_text(f"Copied: {person.email}")
    assert page.evaluate("navigator.clipboard.readText()") == person.email


def test_a_view_is_saved_opened_and_deleted(page: Page, desk: Desk, log_in: LogIn) -> None:
    several(desk, "mijnklantportaal", 1)
    log_in(page)
    page.get_by_role("link", name="7 days").click()
    page.wait_for_url("**/?range=week")

    page.locator(".views summary").click()
    assert violations(page) == []
    page.get_by_label("Save this view…").fill("My week")
    page.get_by_role("button", name="Save", exact=True).click()
    page.goto("/")
    page.locator(".views summary").click()
    page.get_by_role("link", name="My week").click()
    expect(page).to_have_url(re.compile(r"/\?range=week$"))

    page.locator(".views summary").click()
    page.get_by_role("link", name="Rename, delete, start with…").click()
    assert violations(page) == []
    page.get_by_role("button", name="Delete My week").click()
    expect(page.get_by_role("heading", name="Nothing is saved yet")).to_be_visible()


def test_a_day_is_reached_by_its_date(page: Page, desk: Desk, log_in: LogIn) -> None:
    """The other filters stay."""
    several(desk, "mijnklantportaal", 1)
    log_in(page)
    page.goto(f"{page.url}&status=booked")

    page.get_by_label("Go to a day").fill("2027-02-03")

    page.wait_for_url("**/?status=booked&from=2027-02-03&to=2027-02-03")


def test_the_next_filter_keeps_the_day_that_is_shown(page: Page, desk: Desk, log_in: LogIn) -> None:
    """Neither one that was left before, nor none at all."""
    several(desk, "mijnklantportaal", 1)
    log_in(page)
    status = page.get_by_label("Status", exact=True)

    page.get_by_role("link", name="Later days").click()
    page.wait_for_url(re.compile(r"/\?from="))
    page.get_by_role("link", name="Today", exact=True).click()
    page.wait_for_url(re.compile(r"/\?range=today"))
    expect(page.get_by_label("From", exact=True)).to_have_value("")
    status.select_option("booked")
    page.wait_for_url(re.compile(r"/\?status=booked&range=today$"))

    page.get_by_label("Go to a day").fill("2027-02-03")
    page.wait_for_url("**/?status=booked&from=2027-02-03&to=2027-02-03")
    expect(page.get_by_label("From", exact=True)).to_have_value("2027-02-03")
    status.select_option("")
    page.wait_for_url("**/?from=2027-02-03&to=2027-02-03")


def test_back_goes_back_through_what_was_pressed(page: Page, desk: Desk, log_in: LogIn) -> None:
    several(desk, "mijnklantportaal", 1)
    log_in(page)
    chosen = page.locator(".segments [aria-current]")

    for name in ("7 days", "Tomorrow"):
        page.get_by_role("link", name=name, exact=True).click()
        expect(chosen).to_have_text(name)
    page.go_back()
    expect(chosen).to_have_text("7 days")
    page.go_back()
    expect(chosen).to_have_text("Upcoming")
    search = page.get_by_label("Search name")
    search.press_sequentially("xyz", delay=300)
    page.wait_for_url(re.compile(r"q=xyz"))
    page.go_back()
    expect(search).to_have_value("")
    page.go_forward()
    expect(search).to_have_value("xyz")


def test_another_page_of_the_list_begins_at_its_top(page: Page, desk: Desk, log_in: LogIn) -> None:
    store(
        desk.connection("meetergo"),
        [record(number, start=desk.soon) for number in range(120)],
        read_at=timezone.now(),
    )
    log_in(page)

    page.get_by_role("link", name="Later", exact=True).click()

    page.wait_for_url(re.compile("after="))
    expect(page.get_by_role("link", name="Earlier").first).to_be_in_viewport()
    assert page.evaluate("scrollY") == 0


def test_the_day_sheet_prints_without_the_frame(page: Page, desk: Desk, log_in: LogIn) -> None:
    """By key from the list; on paper there is nothing to press, and black on white."""
    several(desk, "mijnklantportaal", 2)
    log_in(page)
    page.goto(f"{page.url}&from={desk.soon.date()}")

    page.keyboard.press("Escape")
    page.keyboard.press("p")
    page.wait_for_url("**/print/?from=*")
    expect(page.get_by_role("button", name="Print")).to_be_visible()
    assert violations(page) == []

    page.emulate_media(media="print", color_scheme="dark")
    expect(page.locator("table")).to_be_visible()
    for gone in (
        page.locator(".bar"),
        page.locator(".back"),
        page.get_by_text("Print", exact=True),
    ):
        expect(gone).to_be_hidden()
    paper = page.locator(".paper")
    expect(paper).to_have_css("background-color", "rgb(255, 255, 255)")
    expect(paper).to_have_css("color", "rgb(0, 0, 0)")
    expect(page.locator("thead")).to_have_css("display", "table-header-group")


def test_a_feed_is_made_copied_and_revoked(
    page: Page, context: BrowserContext, desk: Desk, log_in: LogIn
) -> None:
    """The address is read aloud by nobody; copied it can be."""
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    log_in(page)
    page.locator(".bar .menu summary").click()
    page.get_by_role("link", name="Calendar feeds").click()
    assert violations(page) == []

    page.get_by_role("button", name="Make the feed").click()
    address = page.get_by_label("Subscribe to this address in your calendar").input_value()
    assert violations(page) == []
    page.get_by_role("button", name="Copy the address").click()
    expect(page.locator("#announced")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == address
    assert page.request.get(address).ok

    page.get_by_role("button", name="Revoke All appointments").click()
    page.wait_for_url("**/feeds/")
    assert page.request.get(address).status == 404
