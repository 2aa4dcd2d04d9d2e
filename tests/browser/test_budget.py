"""Light pages that do not jump; `tests/benchmarks/bench_desk.py` prints how fast they are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from appointments.models import WorkerPulse
from appointments.services.records import store
from tests.browser.budget import FIRST_VISIT, JUMPS, LATER_PAGE, Scales, jumps
from tests.views.conftest import make_connection, record

pytestmark = pytest.mark.browser


@pytest.fixture
def full_page(db: None) -> None:
    """As many appointments as a page of the list shows, each of somebody else."""
    WorkerPulse.beat("worker of the tests")
    connection = make_connection("meetergo", name="Physio am Park")
    start = timezone.now()
    store(connection, [record(n, start=start) for n in range(60)], read_at=start)


def test_a_visit_is_light_and_nothing_jumps(
    full_page: None,
    staff: User,
    log_in: Callable[..., None],
    page: Page,
    live_server: LiveServer,
) -> None:
    scales = Scales(page)
    log_in(page)
    expect(page.locator(".row")).to_have_count(50)
    first = scales.taken()
    assert first <= FIRST_VISIT

    later = {}
    for path in ("/?range=week", "/unsettled/", "/activity/", "/schedule/", "/views/", "/feeds/"):
        page.goto(f"{live_server.url}{path}")
        page.wait_for_load_state("networkidle")
        later[path] = scales.taken(but="/static/")
        assert jumps(page) <= JUMPS, path
    assert max(later.values()) <= LATER_PAGE, later


def test_the_dialog_and_the_panel_push_nothing(
    full_page: None, staff: User, log_in: Callable[..., None], page: Page
) -> None:
    scales = Scales(page)
    log_in(page)
    page.locator(".who").nth(3).click()
    expect(page.locator("#panel #detail-title")).to_be_visible()
    page.locator(".row .cancel-button").nth(5).click()
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(page.locator("#dialog #look")).not_to_have_class("look look-busy")
    page.get_by_label("Search name").or_(page.locator("#id_reason")).last.fill("Ill")

    assert jumps(page) <= JUMPS
    assert scales.taken() <= FIRST_VISIT
