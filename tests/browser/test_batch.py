"""Somebody cancels several at once, in a real browser with a real worker."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from appointments.models import Batch
from appointments.models.cancellations import OPEN
from tests.desk import Desk, wait_until
from tests.services.test_batch import several

pytestmark = pytest.mark.browser

LogIn = Callable[..., None]
BELOW_THE_BAR = """() => {
  const all = document.querySelectorAll(".who, .pick, .cancel-button, .pick-all button");
  const bar = document.querySelector(".pick-bar");
  return [...all].filter((one) => {
    one.focus();
    const whole = one.matches(".who") ? one.closest(".row") : one;
    return whole.getBoundingClientRect().bottom > bar.getBoundingClientRect().top;
  }).map((one) => one.outerHTML);
}"""
"""What lies below the bar of the chosen ones while it has the focus."""


def start(page: Page, count: int) -> None:
    """Tick everything, review, type the number, and go."""
    open_review(page, count)
    go(page).click()
    page.wait_for_url("**/batches/*/")


def open_review(page: Page, count: int) -> None:
    """Tick everything, and fill in the review."""
    page.locator(".day-head").first.hover()
    page.get_by_role("button", name="Choose all").first.click()
    expect(page.get_by_text(f"{count} chosen")).to_be_visible()
    page.get_by_role("button", name="Cancel the chosen ones…").click()
    expect(page.get_by_role("heading", name=f"Cancel {count} appointments")).to_be_visible()
    page.get_by_label("Reason").fill("Practitioner is ill")
    if count > 10:
        page.get_by_label("Type how many are ticked").fill(str(count))


def go(page: Page) -> Locator:
    """The button that cancels."""
    return page.locator("[data-batch-review] .button-danger")


def test_live_progress_to_the_end(page: Page, desk: Desk, log_in: LogIn) -> None:
    """The page moves by itself, and says that all are cancelled only when all are."""
    several(desk, "mijnklantportaal", 12)
    desk.fault("mijnklantportaal", "latency", seconds=0.4, times=None)
    log_in(page)

    start(page, 12)

    bar = page.get_by_role("progressbar", name="Cancelled appointments")
    expect(page.get_by_role("status")).to_contain_text("Cancelling")
    expect(page.locator("#batch")).not_to_have_attribute("data-ended", "0")
    expect(page.get_by_role("status")).not_to_contain_text("All are cancelled")
    expect(page.get_by_role("status")).to_contain_text("All are cancelled", timeout=20_000)
    expect(bar).to_have_js_property("value", 12)
    assert len(desk.received("mijnklantportaal")) == 12
    book = desk.world("mijnklantportaal").state["appointments"]
    assert {one["status"] for one in book.values()} == {"canceled"}


def test_stop_within_one_call(page: Page, desk: Desk, log_in: LogIn) -> None:
    """After the press no request leaves but those that were on their way."""
    several(desk, "mijnklantportaal", 11)
    desk.fault("mijnklantportaal", "latency", seconds=1.0, times=None)
    log_in(page)
    start(page, 11)
    wait_until(lambda: len(desk.received("mijnklantportaal")) >= 1)

    page.get_by_role("button", name="Stop: send no more").click()
    expect(page.get_by_text("stopped by Anna de Boer")).to_be_visible()
    on_their_way = len(desk.received("mijnklantportaal"))

    batch = Batch.objects.get()
    wait_until(lambda: not batch.cancellations.filter(state__in=OPEN).exists())
    assert len(desk.received("mijnklantportaal")) == on_their_way <= 4
    expect(page.get_by_role("status")).to_contain_text("Stopped")
    states = batch.cancellations.values_list("state", flat=True)
    assert sorted(states) == ["confirmed"] * on_their_way + ["withdrawn"] * (11 - on_their_way)


def test_ticks_stay_while_the_list_updates_itself(page: Page, desk: Desk, log_in: LogIn) -> None:
    """A new booking comes in while she chooses: nothing moves and nothing is unticked."""
    first, _second = several(desk, "mijnklantportaal", 2)
    log_in(page)
    page.locator(f'.pick[value="{first.pk}"]').check()
    page.mouse.move(2, 2)

    desk.add("mijnklantportaal")
    desk.read("mijnklantportaal")
    page.evaluate("document.dispatchEvent(new CustomEvent('desk-changed'))")

    expect(page.get_by_role("button", name="The list has changed: show it")).to_be_visible()
    expect(page.locator(".pick")).to_have_count(2)
    page.get_by_role("button", name="The list has changed: show it").click()
    expect(page.locator(".pick")).to_have_count(3)
    expect(page.locator(f'.pick[value="{first.pk}"]')).to_be_checked()
    expect(page.get_by_text("1 chosen")).to_be_visible()


@pytest.mark.parametrize(("width", "height"), [(1440, 700), (1024, 640), (390, 700)])
def test_the_bar_of_the_chosen_ones_covers_nothing(
    width: int, height: int, page: Page, desk: Desk, log_in: LogIn
) -> None:
    """What has the focus is never below it, and at the end of the list nothing is."""
    several(desk, "mijnklantportaal", 16)
    page.set_viewport_size({"width": width, "height": height})
    log_in(page)
    page.goto("/?range=month")
    page.get_by_role("button", name="Choose all").first.click()
    expect(page.locator(".pick-bar")).to_be_visible()
    page.evaluate("scrollTo(0, 0)")

    below = page.evaluate(BELOW_THE_BAR)
    assert below == []

    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    boxes = [page.locator(one).bounding_box() for one in (".pick-all .button", ".pick-bar")]
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert boxes[0]["y"] + boxes[0]["height"] < boxes[1]["y"]


def test_a_pause_is_said_and_ended_on_the_page(page: Page, desk: Desk, log_in: LogIn) -> None:
    several(desk, "huskyvoice", 8)
    desk.fault("huskyvoice", "html", operation="read", status=502, times=4)
    log_in(page)
    start(page, 8)

    expect(page.get_by_text("could not be reached several times in a row")).to_be_visible()
    page.get_by_role("button", name="Go on at Practice huskyvoice").click()

    expect(page.get_by_role("status")).to_contain_text("All are cancelled", timeout=40_000)
    assert len(desk.received("huskyvoice")) == 8
