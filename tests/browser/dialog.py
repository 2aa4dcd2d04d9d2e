"""The cancel dialog and what came of it, as a member of staff finds them on screen."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

from appointments.models import Appointment

LogIn = Callable[..., None]


def open_dialog(page: Page, appointment: Appointment) -> Locator:
    """Find the row by its person and open the cancel dialog."""
    first = appointment.attendees.first()
    name = f"Cancel appointment with {first.label if first else appointment.title}"
    page.get_by_role("button", name=name).first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading", name="Cancel appointment")).to_be_visible()
    return dialog


def outcome(page: Page, state: str) -> Locator:
    """The outcome in the dialog, once it has reached *state*."""
    shown = page.get_by_role("dialog").locator(f'[data-state="{state}"]')
    expect(shown).to_be_visible()
    return shown
