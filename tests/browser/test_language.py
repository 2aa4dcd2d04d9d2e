"""The desk in Dutch and in German, in a real browser with a real worker."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from playwright.sync_api import Page, ViewportSize, expect

from appointments.models import StaffSettings
from appointments.models.cancellations import State
from tests.browser.dialog import outcome
from tests.desk import Desk
from tests.services.test_batch import several

pytestmark = pytest.mark.browser

PHONE: ViewportSize = {"width": 390, "height": 844}
TOO_WIDE = """() => [...document.querySelectorAll("body *")]
  .filter((one) => one.checkVisibility() && !one.closest(".vh, .strip, .pills, .skip"))
  .filter((one) => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1
    || (one.matches("button, .button, h1, h2") && one.scrollWidth > one.clientWidth + 1))
  .map((one) => `${one.tagName}.${one.className} ${one.textContent.trim().slice(0, 40)}`)"""

type Open = Callable[..., Page]


def test_somebody_switches_to_dutch_and_cancels(
    page: Page, desk: Desk, log_in: Callable[..., None]
) -> None:
    """The page, what the script says, and the outcome: all of it in the language she chose."""
    desk.book("meetergo")
    log_in(page)

    page.get_by_text("Anna de Boer").click()
    page.get_by_role("button", name="Nederlands").click()
    expect(page.get_by_role("link", name="Onopgelost")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "nl")
    expect(page.locator(".day-head").first).to_have_text(
        re.compile(r"^(Maan|Dins|Woens|Donder|Vrij|Zater|Zon)dag \d+ [a-z]+")
    )
    expect(page.locator("[data-read]").first).to_have_text(re.compile(r"^\d+ (s|min) geleden"))
    page.locator(".pick").first.check()
    expect(page.get_by_text("1 gekozen")).to_be_visible()
    page.get_by_role("button", name="Geen kiezen").click()

    page.get_by_role("button", name=re.compile("^Afspraak met .* annuleren$")).click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("Dit kan niet ongedaan worden gemaakt.")).to_be_visible()
    expect(dialog.get_by_text("Zojuist bij meetergo gecontroleerd")).to_be_visible()
    dialog.get_by_label("Reden", exact=True).fill("Dokter is ziek")
    expect(dialog.get_by_text("14 van 500")).to_be_visible()
    dialog.get_by_role("button", name="Afspraak annuleren").click()

    shown = outcome(page, State.CONFIRMED)
    expect(shown).to_contain_text("Geannuleerd")
    expect(shown).to_contain_text("meetergo mailt de betrokkenen.")
    assert StaffSettings.objects.get(user=desk.staff).language == "nl"


def test_german_fits_on_a_phone(desk: Desk, sit_down: Open, staff: User) -> None:
    """Its words are long; none of them may push a page aside or stick out of its button."""
    rows = [*several(desk, "meetergo", 2), *several(desk, "huskyvoice", 1)]
    StaffSettings.objects.create(user=staff, language="de")
    page = sit_down(staff)
    page.set_viewport_size(PHONE)
    fits(page)
    page.locator(".bar .menu summary").click()
    expect(page.get_by_role("button", name="Nederlands")).to_be_visible()
    fits(page)
    page.locator(".bar .menu summary").click()

    page.locator(".cancel-button").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("Das lässt sich nicht rückgängig machen.")).to_be_visible()
    expect(dialog.get_by_text("Gerade eben bei meetergo geprüft")).to_be_visible()
    fits(page)
    dialog.get_by_role("button", name="Termin absagen").click()
    expect(outcome(page, State.CONFIRMED)).to_contain_text("Abgesagt")
    fits(page)
    dialog.get_by_role("button", name="Schließen").click()

    page.goto(rows[1].get_absolute_url())
    expect(page.get_by_role("heading", name="Verlauf")).to_be_visible()
    fits(page)
    page.goto("/?range=upcoming")
    for box in page.locator(".pick").all():
        box.check()
    fits(page)
    page.get_by_role("button", name="Ausgewählte absagen…").click()
    expect(page.get_by_role("heading", name="2 Termine absagen")).to_be_visible()
    fits(page)
    for address in ("/activity/", "/unsettled/", "/schedule/", "/logout/", "/login/"):
        page.goto(address)
        fits(page)


def fits(page: Page) -> None:
    assert page.evaluate(TOO_WIDE) == []
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
