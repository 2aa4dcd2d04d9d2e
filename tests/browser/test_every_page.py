"""
Every page, dialog and state: nothing that shuts anybody out, and nothing that runs off the screen.

Each is looked at in light and in dark, at a desk, on a small screen and on a telephone, with what
providers really send and with the worst that they could. With `SCREENSHOTS=folder` in the
environment each is put there as a picture, to be looked at one by one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page, Route, expect

from appointments.domain import BookedAttendee
from appointments.models import (
    Appointment,
    Booking,
    CalendarFeed,
    Cancellation,
    Connection,
    ConnectionHealth,
    ReasonPreset,
    SavedFilter,
    WorkerPulse,
)
from appointments.models.bookings import BookingState
from appointments.models.cancellations import State
from appointments.services import batch as batches
from appointments.services.facts import facts_of
from appointments.services.records import store
from tests.desk import SLUGS, Desk
from tests.views.conftest import make_connection, record
from tests.views.test_outcome import put
from tests.views.test_untranslated import ask, fill

pytestmark = pytest.mark.browser

SitDown = Callable[..., Page]
SIZES = {1440: 900, 1024: 768, 390: 844}
ZOOMED = 720
"""What is left of 1440 when everything is twice as large."""
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
PICTURES = os.environ.get("SCREENSHOTS", "")
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


class Eyes:
    """Looks at what a page shows, in every size and scheme, and notes what is wrong."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.wrong: list[str] = []

    def visit(self, name: str, path: str, *, then: Callable[[Page], Any] | None = None) -> None:
        self.page.set_viewport_size({"width": 1440, "height": 900})
        self.page.goto(path)
        if then is not None:
            then(self.page)
        self.look(name)

    def look(self, name: str) -> None:
        for scheme in SCHEMES:
            self.page.set_viewport_size({"width": 1440, "height": 900})
            self.page.emulate_media(color_scheme=scheme)
            # Wherever a page is scrolled to, something is half behind its bar, and looks too small.
            self.page.evaluate("scrollTo(0, 0)")
            self._axe(f"{name}, {scheme}")
            for width, height in SIZES.items():
                self._fits(name, width, height)
                if PICTURES:
                    file = Path(PICTURES) / f"{name}-{width}-{scheme}.png"
                    self.page.screenshot(path=file, full_page=not self._has_dialog())
        self._fits(name, ZOOMED, 450)
        self.page.set_viewport_size({"width": 1440, "height": 900})

    def _has_dialog(self) -> bool:
        return bool(self.page.evaluate("document.querySelector('dialog[open]') !== null"))

    def _axe(self, where: str) -> None:
        found = Axe().run(self.page, options={"runOnly": WCAG, "resultTypes": ["violations"]})
        for one in found.response["violations"]:
            for node in one["nodes"]:
                self.wrong.append(f"{where}: {one['id']} at {node['html'][:160]}")

    def _fits(self, name: str, width: int, height: int) -> None:
        self.page.set_viewport_size({"width": width, "height": height})
        too_wide = self.page.evaluate(
            "document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"
        )
        if too_wide > 0:
            self.wrong.append(f"{name} at {width}: {too_wide} px too wide")


@pytest.fixture
def eyes(staff: User, sit_down: SitDown) -> Iterator[Eyes]:
    WorkerPulse.beat("worker of the tests")
    eyes = Eyes(sit_down(staff))
    yield eyes
    assert not eyes.wrong, "\n".join(eyes.wrong)


# --- the list in every state


def hostile(connection: Connection) -> Appointment:
    """What somebody who books can write, and a provider passes on."""
    long = "Wolfeschlegelsteinhausenbergerdorff" * 9
    people = (
        BookedAttendee(
            external_id="h-1",
            name=f"<script>alert(1)</script> {long}"[:300],
            email=f"{'a' * 60}@{'b' * 60}.example.org",
            phone="+31 6 " + "5" * 40,
        ),
        BookedAttendee(external_id="h-2", name="\u202eמשה כהן\u202c 👩🏽‍⚕️🦷", email="", phone=""),
    )
    store(
        connection,
        [
            record(
                0,
                start=timezone.now() + timedelta(hours=1),
                external_id="hostile-" + "x" * 120,
                attendees=people,
                is_group=True,
                title=f"<img src=x onerror=alert(1)> {long}"[:300],
                host=f"مستشفى {long}"[:300],
                reference="R" * 100,
                location=long[:300],
                meeting_link="javascript:alert(1)",
                warnings=("<b>",),
            )
        ],
        read_at=timezone.now(),
    )
    return Appointment.objects.get(external_id__startswith="hostile-")


def test_first_run_and_empty(eyes: Eyes) -> None:
    eyes.visit("first-run", "/")
    make_connection("meetergo", name="Physio am Park")
    eyes.visit("empty", "/?range=today")
    eyes.visit("nothing-found", "/?q=nobody+of+this+name")
    eyes.visit("not-read-that-far", f"/?from={timezone.localdate() + timedelta(days=100)}")


def test_the_list_full_failing_stale_and_hostile(eyes: Eyes, staff: User) -> None:
    connection = make_connection("meetergo", name="Physio am Park")
    rows = fill(connection)
    row = hostile(connection)
    # Below what an open menu covers.
    put(ask(next(one for one in rows[6:] if one.is_live), by=staff), State.UNKNOWN)
    SavedFilter.objects.create(user=staff, name="Mine " * 12, query={"status": "booked"})
    eyes.visit("today", "/?range=today")
    eyes.visit("list", "/")
    eyes.visit("views", "/?range=week", then=lambda page: page.locator(".views summary").click())
    eyes.visit("help", "/?range=upcoming", then=_help)
    eyes.visit("hostile-page", row.get_absolute_url())
    eyes.visit("hostile-dialog", f"/appointments/{row.pk}/cancel/")
    eyes.visit(
        "chosen",
        "/?range=upcoming",
        then=lambda page: page.locator("[data-pick-day]").first.click(),
    )

    now = timezone.now()
    # A worker of an earlier test may have looked at it already.
    ConnectionHealth.objects.update_or_create(
        connection=connection,
        defaults={
            "failing_since": now - timedelta(hours=2),
            "failure": "credentials",
            "read_at": now - timedelta(hours=2),
            "next_sync_at": now + timedelta(minutes=30),
        },
    )
    connection.credentials_expire_on = timezone.localdate() + timedelta(days=3)
    connection.save()
    eyes.visit("failing", "/?range=upcoming")
    WorkerPulse.objects.all().delete()
    eyes.visit("stale", "/?range=upcoming")


def test_while_it_loads(eyes: Eyes) -> None:
    """A slow answer is seen to be on its way, and what stood there stays until it comes."""
    fill(make_connection("meetergo", name="Physio am Park"))
    late: list[Route] = []

    def ask(page: Page) -> None:
        page.route("**/?*q=*", lambda route: late.append(route))
        page.get_by_label("Search name, e-mail, phone or reference").fill("Person 1")
        page.wait_for_selector(".htmx-request")
        bar = "getComputedStyle(document.querySelector('.bar'), '::after').content"
        assert page.evaluate(bar) == '""'
        expect(page.locator("#list")).to_contain_text("Ana")

    eyes.visit("loading", "/?range=upcoming", then=ask)
    for one in late:
        one.continue_()
    expect(eyes.page.locator("#list")).not_to_contain_text("Ana")


def _help(page: Page) -> None:
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()


def test_beside_the_list(eyes: Eyes) -> None:
    rows = fill(make_connection("meetergo", name="Physio am Park"))

    def panel(page: Page) -> None:
        page.locator(f"#a{rows[-3].pk} .who").click()
        expect(page.locator("#panel #detail-title")).to_be_visible()

    eyes.visit("panel", "/?range=upcoming", then=panel)
    for row in rows[:3]:
        eyes.visit(f"detail-{row.external_id}", row.get_absolute_url())


# --- cancelling


@pytest.mark.parametrize("slug", SLUGS)
def test_the_dialog_of_each_provider(slug: str, desk: Desk, eyes: Eyes) -> None:
    ReasonPreset.objects.create(code="ill", label="Ill", text="The doctor is ill.")
    people = {"people": 3} if slug == "meetergo" else {}
    row = desk.book(slug, **people)

    def dialog(page: Page) -> None:
        page.locator(f"#a{row.pk} .cancel-button").click()
        expect(page.locator("#dialog #look")).not_to_have_class("look look-busy")

    eyes.visit(f"dialog-{slug}", "/?range=upcoming", then=dialog)
    eyes.visit(f"cancel-page-{slug}", f"/appointments/{row.pk}/cancel/")


def test_every_outcome(eyes: Eyes, staff: User) -> None:
    connection = make_connection("meetergo", name="Physio am Park")
    store(
        connection,
        [record(n, start=timezone.now() + timedelta(hours=2)) for n in range(len(State))],
        read_at=timezone.now(),
    )
    for row, state in zip(Appointment.objects.all(), State, strict=True):
        asked = ask(row, by=staff)
        settled_by = staff if state == State.SETTLED else None
        long_ago = timezone.now() - timedelta(hours=2)
        unknown = {"unknown_since": long_ago} if state == State.NEEDS_HUMAN else {}
        put(asked, state, settled_by=settled_by, said="<b>no</b> " * 30, **unknown)
        eyes.visit(f"outcome-{state}", asked.get_absolute_url())
    eyes.visit("unsettled", "/unsettled/")
    eyes.visit("activity", "/activity/")
    eyes.visit("activity-wrong", "/activity/?from=2026-05-02&to=2026-05-01")
    Cancellation.objects.filter(state=State.CONFIRMED).update(contradicted_at=timezone.now())
    contradicted = Cancellation.objects.get(state=State.CONFIRMED)
    eyes.visit("outcome-contradicted", contradicted.get_absolute_url())


def test_nothing_unsettled(eyes: Eyes) -> None:
    eyes.visit("unsettled-none", "/unsettled/")
    eyes.visit("activity-none", "/activity/")


def test_many_at_once(desk: Desk, eyes: Eyes) -> None:
    rows = [desk.book(slug) for slug in SLUGS]
    keys = ".".join(str(row.pk) for row in rows)
    eyes.visit("batch-review", f"/batches/review/?pick={keys}")
    eyes.visit("batch-review-none", "/batches/review/?pick=")
    batch = batches.ask_for_batch(
        {row.pk: row.version for row in rows}, by=desk.staff, reason="Ill", form_key=uuid4()
    )
    states = (State.CONFIRMED, State.UNKNOWN, State.REFUSED, State.WITHDRAWN)
    for one, state in zip(batch.cancellations.all(), states, strict=True):
        put(one, state)
    eyes.visit("batch", batch.get_absolute_url())
    eyes.visit("calls", f"{batch.get_absolute_url()}calls/")


# --- changing and booking


@pytest.mark.parametrize("slug", SLUGS)
def test_moving_confirming_and_rebooking(slug: str, desk: Desk, eyes: Eyes) -> None:
    row = desk.book(slug)
    can = row.capabilities
    if can.reschedules:
        eyes.visit(f"move-{slug}", f"{row.get_absolute_url()}move/")
    if can.confirms_pending:
        pending = desk.book(slug, status="pending")
        eyes.visit(f"confirm-{slug}", f"{pending.get_absolute_url()}confirm/")
    connection = desk.connection(slug)
    who = row.attendees.all()[0]
    eyes.visit(f"schedule-{slug}", f"/schedule/?connection={connection.pk}")
    eyes.visit(f"another-{slug}", f"/schedule/?connection={connection.pk}&person={who.pk}")
    eyes.visit(f"rebook-{slug}", f"/schedule/?connection={connection.pk}&replaces={row.pk}")
    eyes.visit(f"review-{slug}", f"/schedule/?connection={connection.pk}", then=review)


def review(page: Page) -> None:
    """Fill in whatever this provider wants, and look at what would be asked for."""
    page.locator("main form").evaluate(FILL_IN)
    page.get_by_role("button", name="Review").click()
    expect(page.get_by_role("heading", name="Is this right?")).to_be_visible()


FILL_IN = """(form) => {
  const typed = {title: "Intake", name: "Emma van der Berg-Hoogeveen", email: "emma@example.org",
    phone: "+919840000077", starts_at: "2027-06-01T10:00", ends_at: "2027-06-01T10:30"};
  for (const field of form.querySelectorAll("input:not([type=hidden]), select")) {
    if (field.name in typed) field.value = typed[field.name];
    else if (field.tagName === "SELECT" && !field.value) field.selectedIndex = 1;
    else if (!field.value && field.required) field.value = "0c7";
  }
}"""


def test_what_came_of_a_move(eyes: Eyes, staff: User) -> None:
    connection = make_connection("meetergo", name="Physio am Park")
    now = timezone.now()
    store(connection, [record(0, start=now + timedelta(hours=3))], read_at=now)
    row = Appointment.objects.get()
    booking = Booking.objects.create(
        kind=Booking.Kind.MOVE,
        form_key=uuid4(),
        connection=connection,
        appointment=row,
        wish={},
        expected=facts_of(row).as_json(),
        starts_at=now + timedelta(days=1),
        requested_by=staff,
        requested_at=now,
        expires_at=now + timedelta(hours=1),
        due_at=now,
    )
    for state in BookingState:
        is_settled = state == BookingState.SETTLED
        Booking.objects.update(state=state, settled_by=staff if is_settled else None)
        eyes.visit(f"move-{state}", booking.get_absolute_url())


# --- around


def test_what_people_keep_and_take_along(eyes: Eyes, staff: User) -> None:
    connection = make_connection("meetergo", name="Physio am Park")
    fill(connection)
    hostile(connection)
    eyes.visit("views-none", "/views/")
    SavedFilter.objects.create(user=staff, name="Mine " * 12, query={"status": "booked"})
    eyes.visit("views-page", "/views/")
    eyes.visit("feeds-none", "/feeds/")
    CalendarFeed.objects.create(user=staff, name="", query={}, token_hash="0" * 64)
    eyes.visit("feeds", "/feeds/")
    eyes.visit("day-sheet", f"/print/?from={timezone.localdate()}")


def test_doors_and_walls(eyes: Eyes, staff: User) -> None:
    eyes.visit("not-found", "/appointments/999999/")
    staff.groups.clear()
    eyes.visit("not-allowed", "/")
    eyes.visit("log-out", "/logout/")
    eyes.page.context.clear_cookies()
    eyes.visit("log-in", "/login/")
    eyes.page.get_by_label("Username").fill("anna")
    eyes.page.get_by_role("button", name="Log in").click()
    eyes.look("log-in-wrong")
