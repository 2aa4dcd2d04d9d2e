"""
A batch, and two people, a double click, the back button, an expired session.

However it is pressed and by whoever, each appointment is asked for once and its people get one
mail; and who was slower reads what was left out for her.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Locator, Page, expect

from appointments.models import Batch, Cancellation
from tests.browser.test_batch import go, open_review, start
from tests.browser.test_two_people import (
    double_click,
    enter_and_click,
    expire_sessions,
    is_settled,
    log_in_here,
)
from tests.desk import Desk, wait_until
from tests.services.test_batch import several

pytestmark = pytest.mark.browser

SitDown = Callable[..., Page]


def assert_once_each(desk: Desk, count: int) -> None:
    """Each of *count* bookings is cancelled by one request, with one mail to each person."""
    assert Cancellation.objects.count() == count
    assert len(desk.received("meetergo")) == count
    mails = [(mail["to"], mail["what"]) for mail in desk.mails("meetergo")]
    assert len(mails) == len(set(mails)) == count
    book = desk.world("meetergo").state["appointments"]
    assert all(one["isCancelled"] for one in book.values())


@pytest.mark.parametrize("gesture", [double_click, enter_and_click])
def test_however_she_presses_it_twice_it_is_one_batch(
    gesture: Callable[[Locator], None], desk: Desk, staff: User, sit_down: SitDown
) -> None:
    several(desk, "meetergo", 3)
    page = sit_down(staff)
    open_review(page, 3)

    gesture(go(page))

    expect(page.get_by_role("status")).to_contain_text("All are cancelled")
    assert Batch.objects.count() == 1
    assert_once_each(desk, 3)


def test_back_to_the_review_and_pressed_again_is_the_same_batch(
    desk: Desk, staff: User, sit_down: SitDown
) -> None:
    several(desk, "meetergo", 2)
    page = sit_down(staff)
    start(page, 2)
    expect(page.get_by_role("status")).to_contain_text("All are cancelled")
    followed = page.url

    page.go_back()
    if go(page).count():
        go(page).click()
        page.wait_for_url(followed)

    assert Batch.objects.count() == 1
    assert_once_each(desk, 2)


def test_two_people_with_the_same_batch_make_one_cancellation_of_each(
    desk: Desk, staff: User, colleague: User, sit_down: SitDown
) -> None:
    """Whoever is second reads, row by row, that somebody else was faster."""
    several(desk, "meetergo", 3)
    pages = [sit_down(staff), sit_down(colleague)]
    for page in pages:
        open_review(page, 3)

    # `click` would wait for one before the other.
    for page in pages:
        go(page).evaluate("button => { button.click(); }")

    for page in pages:
        page.wait_for_url("**/batches/*/")
    wait_until(lambda: Cancellation.objects.exists() and is_settled(desk))
    batches = Batch.objects.order_by("pk")
    assert [one.cancellations.count() for one in batches] in ([3, 0], [0, 3])
    second = next(one for one in batches if one.excluded)
    slower = pages[[staff, colleague].index(second.requested_by)]
    slower.reload()
    expect(slower.get_by_role("status")).not_to_contain_text("All are cancelled")
    left_out = slower.get_by_role("region", name="Left out, nothing was sent")
    expect(left_out.get_by_role("listitem")).to_have_count(3)
    assert_once_each(desk, 3)


def test_one_row_that_a_colleague_cancelled_meanwhile_is_left_out(
    desk: Desk, staff: User, colleague: User, sit_down: SitDown
) -> None:
    first, *_others = several(desk, "meetergo", 3)
    page = sit_down(staff)
    open_review(page, 3)
    desk.cancel(first, by=colleague)

    go(page).click()

    page.wait_for_url("**/batches/*/")
    expect(page.get_by_role("status")).to_contain_text("2 of 2 are cancelled. 1 was left out.")
    expect(page.get_by_role("status")).not_to_contain_text("All are cancelled")
    assert_once_each(desk, 3)


def test_a_colleague_stops_it_and_both_see_that(
    desk: Desk, staff: User, colleague: User, sit_down: SitDown
) -> None:
    several(desk, "meetergo", 8)
    desk.fault("meetergo", "latency", operation="read", seconds=1.0, times=None)
    anna, bas = sit_down(staff), sit_down(colleague)
    start(anna, 8)
    bas.goto(anna.url)

    bas.get_by_role("button", name="Stop: send no more").click()

    for page in (anna, bas):
        expect(page.get_by_role("status")).to_contain_text("Stopped", timeout=15_000)
    wait_until(lambda: is_settled(desk))
    sent = len(desk.received("meetergo"))
    assert sent < 8
    assert Cancellation.objects.filter(state="withdrawn").count() == 8 - sent
    assert Batch.objects.get().stopped_by == colleague


def test_an_expired_session_is_said_in_the_review_and_nothing_is_lost(
    desk: Desk, staff: User, sit_down: SitDown
) -> None:
    """Ticks and text wait while she logs in elsewhere; then one press is enough."""
    several(desk, "meetergo", 2)
    page = sit_down(staff)
    open_review(page, 2)
    page.get_by_label("Reason").fill("My own words")
    expire_sessions()

    go(page).click()

    expect(page.get_by_role("alert").last).to_contain_text(
        "Your session has ended. Nothing was sent, and your text is still here."
    )
    assert not Batch.objects.exists()
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Log in in a new tab").click()
    log_in_here(opened.value)
    expect(opened.value.locator("#list")).to_be_visible()
    opened.value.close()

    expect(page.get_by_label("Reason")).to_have_value("My own words")
    go(page).click()
    expect(page.get_by_role("status")).to_contain_text("All are cancelled")
    assert Batch.objects.get().reason == "My own words"
    assert_once_each(desk, 2)
