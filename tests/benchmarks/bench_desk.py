"""
What the desk weighs, how far it jumps, and how soon it answers a hand.

    uv run pytest tests/benchmarks/bench_desk.py -s

Not part of the tests: machines are shared, so a figure is something to read, not to fail on.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from appointments.models import WorkerPulse
from appointments.services.records import store
from tests.browser.budget import FIRST_VISIT, JUMPS, LATER_PAGE, Scales, jumps
from tests.views.conftest import make_connection, record

RUNS = 15
ANSWER = 100
"""Milliseconds within which something has to happen on the screen."""

# From the key or click to the frame in which the new thing is drawn, measured in the page itself.
STOPWATCH = """(selector) => {
  const start = (event) => { window.began = event.timeStamp };
  for (const kind of ["keydown", "pointerdown"]) {
    addEventListener(kind, start, { capture: true, once: true });
  }
  window.took = new Promise((done) => {
    const before = document.querySelector(selector)?.outerHTML;
    new MutationObserver((_, observer) => {
      if (document.querySelector(selector)?.outerHTML === before) return;
      observer.disconnect();
      requestAnimationFrame(() => done(performance.now() - window.began));
    }).observe(document.body, { subtree: true, childList: true, attributes: true });
  });
}"""


def took(page: Page, selector: str, act: Callable[[], None]) -> float:
    """Milliseconds from *act* until what *selector* names is drawn anew."""
    page.evaluate(STOPWATCH, selector)
    act()
    return float(page.evaluate("window.took"))


def test_weight_jumps_and_answers(
    page: Page, staff: User, log_in: Callable[..., None], live_server: LiveServer
) -> None:
    WorkerPulse.beat("worker of the tests")
    connection = make_connection("meetergo", name="Physio am Park")
    start = timezone.now()
    store(connection, [record(n, start=start) for n in range(400)], read_at=start)
    scales = Scales(page)
    log_in(page)
    expect(page.locator(".row")).to_have_count(50)
    first = scales.taken()
    page.goto(f"{live_server.url}/?range=week")
    page.wait_for_load_state("networkidle")
    later = scales.taken(but="/static/")
    moved = jumps(page)

    times: dict[str, list[float]] = {"panel": [], "dialog": [], "next page": [], "search": []}
    for number in range(RUNS):
        page.goto(f"{live_server.url}/?range=upcoming")
        rows = page.locator(".who")
        times["panel"].append(took(page, "#panel", rows.nth(number + 2).click))
        button = page.locator(".cancel-button").nth(number)
        times["dialog"].append(took(page, "#dialog", button.click))
        page.keyboard.press("Escape")
        times["next page"].append(took(page, "#list", page.get_by_text("Later", exact=True).click))
        page.locator("#id_q").fill(f"Person {number}")
        times["search"].append(took(page, "#list", lambda: page.keyboard.press("Enter")))

    print(  # noqa: T201 - a benchmark prints
        f"\nfirst visit {first / 1000:.1f} kB ({first / FIRST_VISIT:.2f} of the budget), "
        f"later page {later / 1000:.1f} kB ({later / LATER_PAGE:.2f}), "
        f"jumps {moved:.4f} ({moved / JUMPS:.2f})"
    )
    for name, found in times.items():
        print(  # noqa: T201
            f"{name}: median {median(found):.0f} ms, worst {max(found):.0f} ms of {RUNS} "
            f"({median(found) / ANSWER:.2f} of the budget)"
        )
