"""
Everything by keyboard, and where the focus is afterwards.

From the start page to a confirmed cancellation of a named person three keys are enough, beside the
name and the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, Route, expect

from appointments.models import Appointment, Cancellation
from appointments.sandbox.people import PEOPLE
from tests.browser.dialog import outcome
from tests.desk import Desk
from tests.services.test_batch import several

pytestmark = pytest.mark.browser

LogIn = Callable[..., None]
ENOUGH = 3


class Hands:
    """On the keyboard only; counts what is neither name nor reason."""

    def __init__(self, page: Page) -> None:
        self.page, self.pressed = page, 0
        page.evaluate(
            "addEventListener('pointerdown', () => { window.usedMouse = true }, { capture: true })"
        )

    def press(self, key: str) -> None:
        self.pressed += 1
        self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)

    @property
    def used_mouse(self) -> bool:
        return bool(self.page.evaluate("window.usedMouse === true"))


def test_three_keys_from_the_start_to_a_confirmed_cancellation(
    page: Page, desk: Desk, log_in: LogIn
) -> None:
    several(desk, "mijnklantportaal", 6)
    wanted = desk.book("meetergo")
    log_in(page)
    page.goto("/")
    hands = Hands(page)

    hands.type(PEOPLE[15].name)
    hands.press("Enter")
    expect(page.locator(f"#a{wanted.pk} .who")).to_be_focused()
    hands.press("c")
    expect(page.get_by_role("dialog").get_by_label("Reason", exact=True)).to_be_focused()
    hands.type("Practitioner is ill")
    hands.press("Control+Enter")

    expect(outcome(page, "confirmed")).to_contain_text("meetergo confirmed it")
    cancelled = Cancellation.objects.get()
    assert (cancelled.appointment, cancelled.reason) == (wanted, "Practitioner is ill")
    assert hands.pressed <= ENOUGH
    assert not hands.used_mouse


def test_enter_passes_by_what_is_over(page: Page, desk: Desk, log_in: LogIn) -> None:
    """MijnKlantportaal lets cancel what is over: one key too many would mail somebody."""
    over, coming = several(desk, "mijnklantportaal", 2)
    begun = timezone.now() - timedelta(minutes=30)
    Appointment.objects.filter(pk=over.pk).update(
        starts_at=begun, ends_at=begun + timedelta(minutes=15), sorts_at=begun
    )
    log_in(page)
    hands = Hands(page)

    hands.type(PEOPLE[0].name)
    hands.press("Enter")

    expect(page.locator(f"#a{over.pk}")).to_have_class("row past")
    expect(page.locator(f"#a{coming.pk} .who")).to_be_focused()


def test_a_question_mark_opens_the_help_from_the_empty_search(
    page: Page, desk: Desk, log_in: LogIn
) -> None:
    log_in(page)

    page.keyboard.type("?")
    expect(page.get_by_role("heading", name="Keyboard")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_label("Search name").fill("who")
    page.keyboard.type("?")
    expect(page.get_by_label("Search name")).to_have_value("who?")


def test_enter_before_the_answer_waits_for_it(page: Page, desk: Desk, log_in: LogIn) -> None:
    """Somebody who types faster than the list comes does not land on a row of the old list."""
    several(desk, "mijnklantportaal", 3)
    wanted = desk.book("meetergo")
    log_in(page)

    def late(route: Route) -> None:
        page.wait_for_timeout(600)
        route.continue_()

    page.route("**/?*q=*", late)
    page.keyboard.type(PEOPLE[15].name)
    page.keyboard.press("Enter")

    expect(page.locator(f"#a{wanted.pk} .who")).to_be_focused()
    expect(page.locator(".who")).to_have_count(1)


def test_the_focus_returns_to_the_row(page: Page, desk: Desk, log_in: LogIn) -> None:
    """Kept or cancelled: with the next key she goes on where she was."""
    rows = several(desk, "meetergo", 2)
    log_in(page)
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("c")
    reason = page.get_by_role("dialog").get_by_label("Reason", exact=True)
    expect(reason).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert page.evaluate(f"document.activeElement.closest('#a{rows[0].pk}') !== null")

    page.keyboard.press("c")
    expect(reason).to_be_focused()
    page.keyboard.press("Control+Enter")
    outcome(page, "confirmed")
    page.keyboard.press("Escape")

    expect(page.locator(f"#a{rows[0].pk} .who")).to_be_focused()
    page.keyboard.press("j")
    expect(page.locator(f"#a{rows[1].pk} .who")).to_be_focused()


def test_a_batch_without_a_mouse_and_without_a_hundred_tabs(
    page: Page, desk: Desk, log_in: LogIn
) -> None:
    several(desk, "meetergo", 3)
    log_in(page)
    hands = Hands(page)
    page.keyboard.press("Escape")
    for key in ("j", "x", "j", "x"):
        page.keyboard.press(key)
    expect(page.get_by_text("2 chosen")).to_be_visible()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", name="Cancel 2 appointments")).to_be_visible()
    page.get_by_label("Reason", exact=True).focus()
    page.keyboard.type("Ill")
    page.keyboard.press("Control+Enter")

    expect(page.get_by_role("status")).to_contain_text("All are cancelled")
    assert not hands.used_mouse


def test_every_key_of_the_help_is_there_and_none_is_taken_while_typing(
    page: Page, desk: Desk, log_in: LogIn
) -> None:
    several(desk, "meetergo", 2)
    log_in(page)
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    shown = page.locator("#help kbd").all_inner_texts()
    assert {"/", "t", "j", "k", "c", "x", "p", "Enter", "Esc"} <= set(shown)
    page.keyboard.press("Escape")

    page.keyboard.press("/")
    page.keyboard.type("tjkcxp?")
    expect(page.get_by_label("Search name, e-mail, phone or reference")).to_have_value("tjkcxp?")
    expect(page.get_by_role("dialog")).to_have_count(0)
