"""
How long from the click to the outcome on screen, beside the provider's own time.

    uv run pytest tests/benchmarks/bench_cancel.py -s

Not part of the tests: machines are shared, so a figure is something to read, not to fail on.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from playwright.sync_api import Page

from tests.browser.dialog import open_dialog, outcome
from tests.desk import Desk

RUNS = 7
PROVIDER = 0.1
"""Seconds that each of the two requests takes at the provider: the look and the cancellation."""

# Measured in the page itself: Playwright looks at it only every now and then.
STOPWATCH = """() => {
  document.addEventListener("click", (click) => { window.clicked = click.timeStamp }, true);
  new MutationObserver((_, observer) => {
    if (!document.querySelector('dialog [data-state="confirmed"]')) return;
    window.took = performance.now() - window.clicked;
    observer.disconnect();
  }).observe(document.body, { subtree: true, childList: true, attributes: true });
}"""


def test_click_to_outcome(page: Page, desk: Desk, log_in: Callable[..., None]) -> None:
    for operation in ("read", "cancel"):
        desk.fault("meetergo", "latency", operation=operation, seconds=PROVIDER, times=None)
    log_in(page)
    took = []
    for _ in range(RUNS):
        appointment = desk.book("meetergo")
        page.reload()
        dialog = open_dialog(page, appointment)
        page.wait_for_timeout(500)  # the fresh read while the dialog is open
        page.evaluate(STOPWATCH)
        dialog.get_by_role("button", name="Cancel appointment", exact=True).click()
        outcome(page, "confirmed")
        took.append(page.evaluate("window.took") / 1000)
        page.keyboard.press("Escape")

    own = median(took) - 2 * PROVIDER
    print(  # noqa: T201 - a benchmark prints
        f"\nclick to outcome: median {median(took):.2f} s, worst {max(took):.2f} s of {RUNS}; "
        f"ours beside the provider's {2 * PROVIDER:.1f} s: {own:.2f} s "
        f"({median(took) / (2 * PROVIDER):.1f} x the provider's own time)"
    )
