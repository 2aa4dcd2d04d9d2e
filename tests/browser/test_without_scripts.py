"""Where scripts fail: list, detail, cancellation, batch, schedule and move are plain pages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from appointments.models import Batch, Booking, Cancellation
from appointments.sandbox.people import PEOPLE
from tests.desk import Desk, wait_until
from tests.services.test_batch import several

pytestmark = pytest.mark.browser


@pytest.fixture
def plain(staff: User, sit_down: Callable[..., Page], desk: Desk) -> Page:
    """The list, open in a browser that runs no script."""
    return sit_down(staff, java_script_enabled=False)


def settled(page: Page, text: str) -> None:
    """Press *Refresh* until the page says *text*."""

    def is_there() -> bool:
        if page.get_by_text(text).count():
            return True
        page.get_by_role("link", name="Refresh").click()
        return False

    wait_until(is_there)


def test_find_look_and_cancel(plain: Page, desk: Desk) -> None:
    several(desk, "mijnklantportaal", 2)
    row = desk.book("meetergo")
    plain.reload()
    plain.get_by_label("Search name, e-mail, phone or reference").fill(PEOPLE[15].name)
    plain.keyboard.press("Enter")
    expect(plain.locator(".who")).to_have_count(1)
    plain.locator(".who").click()
    expect(plain.get_by_role("heading", name=PEOPLE[15].name)).to_be_visible()
    plain.get_by_role("button", name="Cancel appointment with").click()
    plain.get_by_label("Reason", exact=True).fill("Practitioner is ill")
    plain.locator("#cancel-submit").click()

    settled(plain, "meetergo confirmed it")
    assert Cancellation.objects.get().appointment == row


def test_days_filters_and_pages(plain: Page, desk: Desk) -> None:
    several(desk, "meetergo", 2)
    plain.get_by_role("link", name="7 days").click()
    plain.locator("#id_status").select_option("cancelled")
    plain.get_by_role("button", name="Show", exact=True).click()
    expect(plain.get_by_role("heading", name="Nothing found")).to_be_visible()
    plain.get_by_role("link", name="Remove the filter Status").click()
    expect(plain.locator(".who")).to_have_count(2)


def test_no_key_is_advertised_that_does_nothing(
    plain: Page, staff: User, sit_down: Callable[..., Page]
) -> None:
    for one, count in ((sit_down(staff), 1), (plain, 0)):
        one.get_by_label("Search name, e-mail, phone or reference").blur()
        expect(one.locator(".search kbd:visible")).to_have_count(count)


def test_several_at_once(plain: Page, desk: Desk) -> None:
    several(desk, "meetergo", 3)
    plain.reload()
    for box in plain.locator(".pick").all()[:2]:
        box.check()
    plain.get_by_role("button", name="Cancel the chosen ones…").click()
    plain.get_by_label("Reason", exact=True).fill("Ill")
    plain.locator("#batch-submit").click()

    settled(plain, "All are cancelled")
    assert Batch.objects.get().cancellations.count() == 2
    plain.goto(f"/?from={desk.soon.date()}&to={desk.soon.date()}")
    plain.get_by_role("button", name="Cancel all that these days and filters show…").click()
    expect(plain.get_by_role("heading", name="Cancel 1 appointment")).to_be_visible()


def test_move_to_a_free_time(plain: Page, desk: Desk) -> None:
    row = desk.book("meetergo")
    plain.goto(row.get_absolute_url())
    plain.get_by_role("link", name="Move…").click()
    day = desk.soon.date() + timedelta(days=1)
    plain.locator("[name=slots_from]").fill(day.isoformat())
    plain.get_by_role("button", name="Show what is free").click()
    plain.locator("button.slot").first.click()
    plain.get_by_role("button", name="Move appointment").click()

    expect(plain.locator("noscript .hint")).to_be_visible()
    settled(plain, "as asked for")
    booking = Booking.objects.get()
    row.refresh_from_db()
    assert row.starts_at == booking.starts_at
