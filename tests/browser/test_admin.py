"""The administration on a telephone and at a desk, with the worst that providers could send."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page

from tests.browser.conftest import PASSWORD
from tests.views.test_admin import LISTS, NASTY, fill

pytestmark = pytest.mark.browser


def test_no_page_of_the_administration_runs_off_the_screen(
    db: None, sit_down: Callable[..., Page]
) -> None:
    page = sit_down(User.objects.create_superuser("root", password=PASSWORD))
    fill(name=NASTY)
    wrong = []
    for model in LISTS:
        page.goto(f"/admin/{model}/")
        link = page.locator("#result_list tbody th a").first.get_attribute("href")
        assert link is not None
        assert "/change/" in link
        for address in (f"/admin/{model}/", link, f"/admin/{model}/?q=nobody"):
            page.goto(address)
            for width in (1440, 390):
                page.set_viewport_size({"width": width, "height": 844})
                too_wide = page.evaluate(
                    "document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"
                )
                if too_wide > 0:
                    wrong.append(f"{address} at {width}: {too_wide} px too wide")
    assert not wrong, "\n".join(wrong)
