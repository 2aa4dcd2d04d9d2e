"""
Two people, two tabs, a double click, the back button, a stale page, an expired session.

Whatever staff do to the portal at once or in the wrong order, there is one intent for one wish,
one request to the provider and one mail; and everybody reads what is so. Each test asserts what is
read on screen, the `data-state`, the ledger, the provider's log and its mails.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.utils import timezone
from playwright.sync_api import BrowserContext, Locator, Page, Request, Route, ViewportSize, expect

from appointments.models import Appointment, Cancellation, ProviderCall, WorkerPulse
from appointments.models.workers import SILENT_AFTER
from tests.browser.conftest import PASSWORD, Worker
from tests.browser.dialog import open_dialog, outcome
from tests.desk import Desk, answers, wait_until

pytestmark = pytest.mark.browser

SitDown = Callable[..., Page]
Log = list[str]
LOGIN = re.compile("/login/")

SLOW = 2.0
"""Seconds by which a provider is late: long enough to do something else meanwhile."""


NARROW = {"width": 390, "height": 844}
WIDE = {"width": 1440, "height": 900}
"""A telephone and a desk."""


# --- what is asserted everywhere ---------------------------------------------------------------


def came_of_it(desk: Desk, *, states: Iterable[str], sent: int, mails: int) -> None:
    """The ledger, the provider's log and its mails, as one."""
    found = list(Cancellation.objects.order_by("pk").values_list("state", flat=True))
    assert found == list(states)
    assert ProviderCall.objects.count() == sent
    assert len(desk.received("meetergo")) == sent
    assert len(desk.mails("meetergo")) == mails


def is_settled(desk: Desk) -> bool:
    return not Cancellation.objects.open().exists()


def clock_of(when: datetime | None) -> str:
    assert when is not None
    return f"{timezone.localtime(when):%H:%M}"


def reason(within: Locator | Page) -> Locator:
    return within.get_by_label("Reason", exact=False).first


def submit(within: Locator | Page) -> Locator:
    return within.locator("#cancel-submit")


def checked(dialog: Locator) -> None:
    """The dialog's own look at the provider is over: what happens now is not seen by it."""
    expect(dialog.locator("#look")).to_contain_text("nothing has changed")


def is_uncovered(shown: Locator) -> bool:
    """Whether all of it can be seen: neither scrolled away nor under something else."""
    return bool(
        shown.evaluate(
            """(one) => {
                const { left, right, top, bottom } = one.getBoundingClientRect();
                return [[left + 2, top + 2], [right - 2, bottom - 2]].every(([x, y]) => {
                    const hit = document.elementFromPoint(x, y);
                    return hit !== null && (one.contains(hit) || hit.contains(one));
                });
            }"""
        )
    )


def slow_look(desk: Desk, *, seconds: float = SLOW) -> None:
    """The worker takes its time before it sends: long enough for somebody else to click."""
    desk.fault("meetergo", "latency", operation="read", seconds=seconds, times=None)


def cancel_page(appointment: Appointment) -> str:
    return f"/appointments/{appointment.pk}/cancel/"


# --- two people --------------------------------------------------------------------------------


def test_two_people_who_click_at_once_make_one_cancellation(
    desk: Desk, staff: User, colleague: User, sit_down: SitDown
) -> None:
    """One is accepted; the other reads who was faster and when, and can follow it from there."""
    appointment = desk.book("meetergo")
    desks = {user: sit_down(user) for user in (staff, colleague)}
    dialogs = {user: open_dialog(page, appointment) for user, page in desks.items()}
    for user, dialog in dialogs.items():
        checked(dialog)
        reason(dialog).fill(f"In the words of {user.first_name}")
    slow_look(desk)

    # `click` would wait for one before the other.
    for dialog in dialogs.values():
        submit(dialog).evaluate("button => button.click()")

    wait_until(Cancellation.objects.exists)
    made = Cancellation.objects.get()
    (second,) = {staff, colleague} - {made.requested_by}
    name = made.requested_by.get_full_name()
    alert = dialogs[second].get_by_role("alert").first
    expect(alert).to_contain_text(f"{name} asked for this at {clock_of(made.requested_at)}.")
    expect(alert).to_contain_text("Nothing else was sent.")
    expect(reason(dialogs[second])).to_have_value(f"In the words of {second.first_name}")
    expect(submit(dialogs[second])).to_have_count(0)
    expect(dialogs[second].get_by_role("button")).to_have_text(["Close"])
    # What she sees behind the dialog is what is so, too.
    expect(desks[second].locator(f"#a{appointment.pk}")).not_to_contain_text("Booked")
    expect(outcome(desks[made.requested_by], "confirmed")).to_contain_text("meetergo confirmed it")

    alert.get_by_role("link", name="See how it goes").click()
    expect(desks[second].locator('[data-state="confirmed"]')).to_be_visible()
    assert made.reason == f"In the words of {made.requested_by.first_name}"
    came_of_it(desk, states=["confirmed"], sent=1, mails=1)


def test_who_clicks_after_it_is_over_reads_by_whom_and_when(
    desk: Desk, staff: User, colleague: User, sit_down: SitDown
) -> None:
    appointment = desk.book("meetergo")
    anna, bas = sit_down(staff), sit_down(colleague)
    late = open_dialog(bas, appointment)
    checked(late)
    reason(late).fill("My own words")
    submit(open_dialog(anna, appointment)).click()
    outcome(anna, "confirmed")

    submit(late).click()

    settled_at = clock_of(Cancellation.objects.get().settled_at)
    alert = late.get_by_role("alert").first
    expect(alert).to_contain_text(f"It was just cancelled by Anna de Boer, at {settled_at}.")
    expect(reason(late)).to_have_value("My own words")
    expect(reason(late)).not_to_be_editable()
    expect(submit(late)).to_have_count(0)
    alert.get_by_role("link", name="See what came of it").click()
    expect(bas.locator('[data-state="confirmed"]')).to_contain_text("meetergo confirmed it")
    came_of_it(desk, states=["confirmed"], sent=1, mails=1)


def test_who_opens_the_dialog_of_an_unknown_outcome_cannot_send_a_second_request(
    desk: Desk, staff: User, colleague: User, sit_down: SitDown
) -> None:
    """It may be cancelled or not: whoever looks next reads who asked, and has no button."""
    desk.fault("meetergo", "status", status=500, body={"message": "boom"})
    appointment = desk.book("meetergo")
    anna = sit_down(staff)
    submit(open_dialog(anna, appointment)).click()
    outcome(anna, "unknown")

    bas = sit_down(colleague)
    row = bas.locator(f"#a{appointment.pk}")
    expect(row).to_contain_text("Outcome unknown")
    expect(row.get_by_role("button")).to_have_count(0)
    bas.goto(cancel_page(appointment))

    asked_at = clock_of(Cancellation.objects.get().requested_at)
    expect(bas.get_by_role("alert").first).to_contain_text(
        f"Anna de Boer asked for this at {asked_at}, and its outcome is not known yet."
    )
    expect(submit(bas)).to_have_count(0)
    came_of_it(desk, states=["unknown"], sent=1, mails=0)


# --- one person, several tabs, several clicks --------------------------------------------------


def test_two_tabs_with_a_dialog_each_make_one_cancellation(
    desk: Desk, staff: User, sit_down: SitDown, watched: Callable[[BrowserContext], Page]
) -> None:
    """The second is told that it was she herself."""
    appointment = desk.book("meetergo")
    first = sit_down(staff)
    second = watched(first.context)
    second.goto("/?range=upcoming")
    dialogs = [open_dialog(page, appointment) for page in (first, second)]
    for dialog in dialogs:
        checked(dialog)
    slow_look(desk)

    submit(dialogs[0]).click()
    outcome(first, "requested")
    submit(dialogs[1]).click()

    asked_at = clock_of(Cancellation.objects.get().requested_at)
    expect(dialogs[1].get_by_role("alert").first).to_contain_text(
        f"You asked for this yourself at {asked_at}."
    )
    expect(submit(dialogs[1])).to_have_count(0)
    outcome(first, "confirmed")
    came_of_it(desk, states=["confirmed"], sent=1, mails=1)


def double_click(button: Locator) -> None:
    button.dblclick()


def enter_and_click(button: Locator) -> None:
    button.focus()
    where = button.bounding_box()
    assert where is not None
    button.page.keyboard.press("Enter")
    button.page.mouse.click(where["x"] + 20, where["y"] + where["height"] / 2)


def hurried_second_click(button: Locator) -> None:
    """The second click of a double click that is so slow that the outcome is there already."""
    where = button.bounding_box()
    assert where is not None
    mouse, page = button.page.mouse, button.page
    mouse.move(where["x"] + where["width"] - 20, where["y"] + where["height"] / 2)
    mouse.down()
    mouse.up()
    expect(page.locator("#dialog [data-state]")).to_be_visible()
    mouse.down(click_count=2)
    mouse.up(click_count=2)


@pytest.mark.parametrize(
    ("gesture", "size"),
    [
        (double_click, WIDE),
        (double_click, NARROW),
        (enter_and_click, WIDE),
        (hurried_second_click, WIDE),
        (hurried_second_click, NARROW),
    ],
)
def test_however_she_presses_it_twice_it_is_sent_once(
    gesture: Callable[[Locator], None],
    size: ViewportSize,
    desk: Desk,
    staff: User,
    sit_down: SitDown,
) -> None:
    """
    And the dialog stays open to show the outcome.

    On a narrow screen the button that closes it appears where the other one was.
    """
    appointment = desk.book("meetergo")
    page = sit_down(staff)
    page.set_viewport_size(size)
    dialog = open_dialog(page, appointment)
    checked(dialog)

    gesture(submit(dialog))

    expect(outcome(page, "confirmed")).to_contain_text("meetergo confirmed it")
    came_of_it(desk, states=["confirmed"], sent=1, mails=1)


def test_a_double_click_that_opens_the_dialog_does_not_cancel(
    desk: Desk, staff: User, sit_down: SitDown
) -> None:
    """Its second half may land on the red button, which then was not meant."""
    appointment = desk.book("meetergo")
    page = sit_down(staff)
    dialog = open_dialog(page, appointment)
    where = submit(dialog).bounding_box()
    assert where is not None

    page.mouse.move(where["x"] + 10, where["y"] + 10)
    page.mouse.down(click_count=2)
    page.mouse.up(click_count=2)

    checked(dialog)
    came_of_it(desk, states=[], sent=0, mails=0)
    submit(dialog).click()
    outcome(page, "confirmed")
    came_of_it(desk, states=["confirmed"], sent=1, mails=1)


def test_an_answer_lost_on_its_way_to_her_is_found_by_pressing_again(
    desk: Desk, staff: User, sit_down: SitDown
) -> None:
    """The same form arrives twice: she is shown the outcome of the first, and nothing is sent."""
    appointment = desk.book("meetergo")
    page = sit_down(staff)
    dialog = open_dialog(page, appointment)
    checked(dialog)
    arrived: Log = []

    def lose(route: Route) -> None:
        arrived.append(route.fetch().text())
        route.abort("connectionreset")

    page.route(f"**{cancel_page(appointment)}", lose, times=1)
    submit(dialog).click()
    expect(dialog.get_by_role("alert").last).to_contain_text("The portal cannot be reached.")
    expect(dialog.get_by_role("alert").last).to_contain_text("It is carried out once")
    assert len(arrived) == 1
    wait_until(lambda: is_settled(desk))

    submit(dialog).click()

    expect(outcome(page, "confirmed")).to_contain_text("meetergo confirmed it")
    came_of_it(desk, states=["confirmed"], sent=1, mails=1)


def test_back_after_the_outcome_offers_nothing_to_send(
    desk: Desk, staff: User, sit_down: SitDown
) -> None:
    """The page of the form says what came of it, instead of showing the form again."""
    appointment = desk.book("meetergo")
    page = sit_down(staff)
    page.goto(cancel_page(appointment))
    submit(page).click()
    expect(page.locator('[data-state="confirmed"]')).to_be_visible()

    page.go_back()

    expect(page.get_by_role("heading", name="Cancel appointment")).to_be_visible()
    settled_at = clock_of(Cancellation.objects.get().settled_at)
    expect(page.get_by_role("alert").first).to_contain_text(
        f"It was just cancelled by you, at {settled_at}."
    )
    expect(submit(page)).to_have_count(0)
    page.go_forward()
    expect(page.locator('[data-state="confirmed"]')).to_be_visible()
    came_of_it(desk, states=["confirmed"], sent=1, mails=1)


def test_a_form_kept_by_the_browser_and_sent_again_shows_the_first_outcome(
    desk: Desk, staff: User, sit_down: SitDown
) -> None:
    """Some browsers bring a page back as it was: its key is that of the first intent."""
    appointment = desk.book("meetergo")
    page = sit_down(staff, java_script_enabled=False)
    page.goto(cancel_page(appointment))
    kept = page.content()
    submit(page).click()
    first = page.url
    wait_until(lambda: is_settled(desk))

    page.route(
        f"**{cancel_page(appointment)}",
        lambda route: route.fulfill(body=kept, content_type="text/html"),
        times=1,
    )
    page.goto(cancel_page(appointment))
    submit(page).click()

    page.wait_for_url(first)
    expect(page.locator('[data-state="confirmed"]')).to_contain_text("meetergo confirmed it")
    came_of_it(desk, states=["confirmed"], sent=1, mails=1)


def test_without_scripts_a_second_submit_is_the_same_intent(
    desk: Desk, staff: User, sit_down: SitDown
) -> None:
    """Nothing seems to happen, so she presses again: both forms arrive, and count as one."""
    appointment = desk.book("meetergo")
    page = sit_down(staff, java_script_enabled=False)
    page.goto(cancel_page(appointment))
    where = submit(page).bounding_box()
    assert where is not None
    middle = where["x"] + where["width"] / 2, where["y"] + where["height"] / 2
    led_to: Log = []

    def keep_the_first_waiting(route: Route) -> None:
        if route.request.method != "POST":
            route.continue_()
            return
        answer = route.fetch(max_redirects=0)
        led_to.append(answer.headers["location"])
        if len(led_to) == 2:
            route.fulfill(response=answer)

    page.route(f"**{cancel_page(appointment)}", keep_the_first_waiting)
    # The mouse alone: a locator would wait for the page that the first click asked for.
    page.mouse.click(*middle)
    wait_until_seen(page, lambda: len(led_to) == 1)
    page.mouse.click(*middle)

    # The second click breaks off what the first one began, which a wait for an address minds.
    expect(page).to_have_url(re.compile("/cancellations/[0-9]+/$"))
    made = Cancellation.objects.get()
    assert led_to == [made.get_absolute_url()] * 2
    expect(page.locator("h1")).to_have_text("Cancellation")
    wait_until(lambda: is_settled(desk))
    page.reload()
    expect(page.locator('[data-state="confirmed"]')).to_contain_text("meetergo confirmed it")
    came_of_it(desk, states=["confirmed"], sent=1, mails=1)


def wait_until_seen(page: Page, condition: Callable[[], bool], *, steps: int = 100) -> None:
    """Wait for what a handler of the browser's events notes: they only run while it is asked."""
    for _ in range(steps):
        if condition():
            return
        page.wait_for_timeout(50)
    raise AssertionError("waited in vain")


# --- reloading and leaving ---------------------------------------------------------------------


def test_reloading_while_it_is_being_sent_sends_nothing(
    desk: Desk, staff: User, sit_down: SitDown
) -> None:
    appointment = desk.book("meetergo")
    desk.fault("meetergo", "latency", seconds=2 * SLOW)
    page = sit_down(staff)
    page.goto(cancel_page(appointment))
    submit(page).click()
    sending = page.locator('[data-state="sending"]')
    expect(sending).to_contain_text("It is not cancelled until the provider says so.")

    page.reload()
    expect(sending).to_be_visible()
    page.goto("/?range=upcoming")
    row = page.locator(f"#a{appointment.pk}")
    expect(row).to_contain_text("Cancelling")
    expect(row.get_by_role("button")).to_have_count(0)
    page.reload()
    expect(row).to_contain_text("Cancelling")

    wait_until(lambda: is_settled(desk))
    page.reload()
    expect(row.locator(".status")).to_have_text("Cancelled")
    came_of_it(desk, states=["confirmed"], sent=1, mails=1)


def test_closing_the_tab_right_after_the_click_stops_nothing(
    desk: Desk, staff: User, colleague: User, sit_down: SitDown
) -> None:
    """What was asked for goes on, and whoever looks at the list sees it."""
    appointment = desk.book("meetergo")
    desk.fault("meetergo", "latency", seconds=2 * SLOW)
    anna, bas = sit_down(staff), sit_down(colleague)
    dialog = open_dialog(anna, appointment)
    checked(dialog)
    submit(dialog).evaluate("button => button.click()")
    wait_until(Cancellation.objects.exists)
    anna.close()

    bas.reload()
    row = bas.locator(f"#a{appointment.pk}")
    expect(row).to_contain_text(re.compile("Cancelling|To be cancelled"))
    wait_until(lambda: is_settled(desk))
    bas.reload()
    expect(row.locator(".status")).to_have_text("Cancelled")
    expect(row).to_contain_text("by Anna de Boer")
    came_of_it(desk, states=["confirmed"], sent=1, mails=1)


def test_an_unknown_outcome_of_a_closed_tab_waits_under_unsettled(
    desk: Desk, staff: User, colleague: User, sit_down: SitDown
) -> None:
    """Nobody looks at its page any more, so it is shown where everybody looks."""
    desk.fault("meetergo", "status", status=500, body={"message": "boom"})
    appointment = desk.book("meetergo")
    anna, bas = sit_down(staff), sit_down(colleague)
    dialog = open_dialog(anna, appointment)
    checked(dialog)
    submit(dialog).evaluate("button => button.click()")
    wait_until(Cancellation.objects.exists)
    anna.close()
    wait_until(lambda: Cancellation.objects.get().state == "unknown")

    bas.reload()
    expect(bas.locator(f"#a{appointment.pk}")).to_contain_text("Outcome unknown")
    bas.get_by_role("link", name="Unsettled").click()
    card = bas.get_by_role("article", name=appointment.who)
    expect(card).to_contain_text("Anna de Boer")
    expect(card.locator('[data-state="unknown"]')).to_contain_text("Do not cancel it again")
    came_of_it(desk, states=["unknown"], sent=1, mails=0)


# --- a page that is older than the booking -----------------------------------------------------


def move(desk: Desk, *, days: int = 1) -> str:
    """Somebody moves the booking in the provider's own system; the new day as it is read."""
    start = desk.soon + timedelta(days=days)
    for one in desk.world("meetergo").state["appointments"].values():
        one["start"] = start.isoformat().replace("+00:00", "Z")
        one["end"] = (start + timedelta(minutes=30)).isoformat().replace("+00:00", "Z")
    local = timezone.localtime(start)
    return f"{local:%A} {local.day} {local:%B}"


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_a_stale_page_is_told_keeps_the_text_and_shows_what_is_now(
    scripts: bool, desk: Desk, staff: User, sit_down: SitDown
) -> None:
    """Our copy moved since she opened it: she reads the new time and decides again."""
    appointment = desk.book("meetergo")
    page = sit_down(staff, java_script_enabled=scripts)
    if scripts:
        form: Locator = open_dialog(page, appointment)
        checked(form)
    else:
        page.goto(cancel_page(appointment))
        form = page.locator("#cancel")
    reason(form).fill("My own words")
    new_day = move(desk)
    desk.read("meetergo")
    answered: list[int] = []
    page.on("response", lambda one: answered.append(one.status) if is_form(one.request) else None)

    submit(form).click()

    alert = form.get_by_role("alert").first
    expect(alert).to_contain_text("This appointment changed since you opened it. Nothing was sent.")
    assert answered == [409]
    expect(form.locator("#facts")).to_contain_text(new_day)
    expect(reason(form)).to_have_value("My own words")
    came_of_it(desk, states=[], sent=0, mails=0)

    submit(form).click()
    wait_until(Cancellation.objects.exists)
    wait_until(lambda: is_settled(desk))
    page.goto(Cancellation.objects.get().get_absolute_url())
    expect(page.locator('[data-state="confirmed"]')).to_be_visible()
    assert Cancellation.objects.get().reason == "My own words"
    came_of_it(desk, states=["confirmed"], sent=1, mails=1)


def is_form(request: Request) -> bool:
    return request.method == "POST" and request.url.endswith("/cancel/")


def test_a_booking_moved_at_the_provider_is_not_cancelled_at_its_new_time(
    desk: Desk, staff: User, sit_down: SitDown
) -> None:
    """Neither she nor our copy knew: the worker's look does, and she is offered the new facts."""
    appointment = desk.book("meetergo")
    page = sit_down(staff)
    dialog = open_dialog(page, appointment)
    checked(dialog)
    reason(dialog).fill("My own words")
    new_day = move(desk)

    submit(dialog).click()

    shown = outcome(page, "withdrawn")
    expect(shown).to_contain_text("Withdrawn, nothing was sent")
    expect(shown).to_contain_text("Its time changed at meetergo, so nothing was sent.")
    came_of_it(desk, states=["withdrawn"], sent=0, mails=0)
    shown.get_by_role("button", name="Try again").click()
    expect(dialog.locator("#facts")).to_contain_text(new_day)
    expect(reason(dialog)).to_have_value("My own words")
    submit(dialog).click()
    outcome(page, "confirmed")
    came_of_it(desk, states=["withdrawn", "confirmed"], sent=1, mails=1)


# --- a session that has ended ------------------------------------------------------------------


def expire_sessions() -> None:
    """Everybody was away for too long."""
    for session in Session.objects.all():
        store = SessionStore(session.session_key)
        store["session_active"] = 0
        store.save()


def log_in_here(page: Page, username: str = "anna") -> None:
    """Fill in the login page that is shown."""
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


def posts_of(page: Page) -> Log:
    """Every form that leaves the browser from now on, by its path."""
    log: Log = []

    def note(request: Request) -> None:
        if request.method == "POST" and request.headers.get("x-background") != "true":
            log.append(request.url.partition("://")[2].partition("/")[2])

    page.context.on("request", note)
    return log


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_an_expired_session_is_said_in_the_dialog_and_no_login_lands_in_it(
    size: ViewportSize, desk: Desk, staff: User, sit_down: SitDown
) -> None:
    """The login is a page of its own; the dialog waits with its text, and posts nothing itself."""
    appointment = desk.book("meetergo")
    page = sit_down(staff)
    page.set_viewport_size(size)
    dialog = open_dialog(page, appointment)
    checked(dialog)
    reason(dialog).fill("My own words")
    expire_sessions()

    submit(dialog).click()
    expect(dialog.get_by_role("alert").last).to_contain_text(
        "Your session has ended. Nothing was sent, and your text is still here."
    )
    assert is_uncovered(dialog.locator("#dialog-alert"))
    expect(page.get_by_label("Password")).to_have_count(0)
    came_of_it(desk, states=[], sent=0, mails=0)

    posts = posts_of(page)
    with page.context.expect_page() as opened:
        dialog.get_by_role("link", name="Log in in a new tab").click()
    login = opened.value
    expect(login.get_by_role("heading", name="Appointment portal")).to_be_visible()
    log_in_here(login)
    expect(login.locator("#list")).to_be_visible()
    login.close()
    assert posts == ["login/"]
    came_of_it(desk, states=[], sent=0, mails=0)

    expect(reason(dialog)).to_have_value("My own words")
    submit(dialog).click()
    outcome(page, "confirmed")
    assert Cancellation.objects.get().reason == "My own words"
    came_of_it(desk, states=["confirmed"], sent=1, mails=1)


def test_without_scripts_the_login_leads_back_to_the_form_and_nothing_is_replayed(
    desk: Desk, staff: User, sit_down: SitDown
) -> None:
    appointment = desk.book("meetergo")
    page = sit_down(staff, java_script_enabled=False)
    page.goto(cancel_page(appointment))
    reason(page).fill("My own words")
    expire_sessions()

    submit(page).click()
    expect(page).to_have_url(LOGIN)
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    came_of_it(desk, states=[], sent=0, mails=0)
    posts = posts_of(page)
    log_in_here(page)

    expect(page).to_have_url(re.compile(f"{cancel_page(appointment)}$"))
    expect(page.get_by_role("heading", name="Cancel appointment")).to_be_visible()
    assert posts == [f"login/?next={cancel_page(appointment)}"]
    came_of_it(desk, states=[], sent=0, mails=0)
    submit(page).click()
    wait_until(lambda: Cancellation.objects.filter(state="confirmed").exists())
    came_of_it(desk, states=["confirmed"], sent=1, mails=1)


def test_a_session_that_ends_while_she_looks_at_the_outcome_leads_to_a_whole_login_page(
    desk: Desk, staff: User, sit_down: SitDown
) -> None:
    """Nothing typed could be lost here. What she asked for goes on, and she finds it again."""
    appointment = desk.book("meetergo")
    desk.fault("meetergo", "latency", seconds=2 * SLOW)
    page = sit_down(staff)
    submit(open_dialog(page, appointment)).click()
    outcome(page, "sending")
    expire_sessions()

    expect(page).to_have_url(LOGIN)
    expect(page.get_by_role("dialog")).to_have_count(0)
    log_in_here(page)

    wait_until(lambda: is_settled(desk))
    page.reload()
    row = page.locator(f"#a{appointment.pk}")
    expect(row.locator(".status")).to_have_text("Cancelled")
    came_of_it(desk, states=["confirmed"], sent=1, mails=1)


def test_opening_a_dialog_without_a_session_leads_to_a_whole_login_page(
    desk: Desk, staff: User, sit_down: SitDown
) -> None:
    appointment = desk.book("meetergo")
    page = sit_down(staff)
    expire_sessions()

    page.get_by_role("button", name="Cancel appointment with").first.click()

    expect(page.get_by_role("heading", name="Appointment portal")).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)
    log_in_here(page)
    expect(page.locator(f"#a{appointment.pk}")).to_be_visible()
    came_of_it(desk, states=[], sent=0, mails=0)


def test_logged_out_in_another_tab_nothing_is_sent_from_this_one(
    desk: Desk,
    staff: User,
    sit_down: SitDown,
    watched: Callable[[BrowserContext], Page],
) -> None:
    appointment = desk.book("meetergo")
    page = sit_down(staff)
    dialog = open_dialog(page, appointment)
    checked(dialog)
    reason(dialog).fill("My own words")
    other = watched(page.context)
    other.goto("/logout/")
    other.locator("main").get_by_role("button", name="Log out").click()
    expect(other.get_by_role("button", name="Log in")).to_be_visible()

    submit(dialog).click()

    expect(dialog.get_by_role("alert").last).to_contain_text("Your session has ended.")
    expect(reason(dialog)).to_have_value("My own words")
    came_of_it(desk, states=[], sent=0, mails=0)
    log_in_here(other)
    expect(other.locator("#list")).to_be_visible()
    submit(dialog).click()
    outcome(page, "confirmed")
    came_of_it(desk, states=["confirmed"], sent=1, mails=1)


# --- nobody at work, and a provider that hangs -------------------------------------------------


def silence_of_the_dead() -> None:
    """Let the last sign of life be as old as it is when the portal begins to say so."""
    WorkerPulse.objects.update(seen_at=timezone.now() - SILENT_AFTER - timedelta(seconds=1))


def test_without_a_worker_list_and_outcome_say_so_within_a_minute(
    desk: Desk, staff: User, sit_down: SitDown, mortal_worker: Worker
) -> None:
    """The wait is said to be one, nothing is called sent, and it goes on when a worker is back."""
    appointment = desk.book("meetergo")
    page, other = sit_down(staff), sit_down(staff)
    other.clock.install()
    other.reload()
    mortal_worker.kill()
    submit(open_dialog(page, appointment)).click()
    waiting = outcome(page, "requested")
    expect(waiting).not_to_contain_text("The worker is not running")

    silence_of_the_dead()
    ends_at = clock_of(Cancellation.objects.get().expires_at)
    expect(waiting).to_contain_text(
        f"The worker is not running. Nothing was sent, and from {ends_at} on nothing will be."
    )
    # What is left of the minute after the 45 seconds in which a worker may be silent.
    other.clock.fast_forward(15_000)
    expect(other.locator("#list .note-bad")).to_contain_text("The worker is not running")
    came_of_it(desk, states=["requested"], sent=0, mails=0)

    mortal_worker.start()
    expect(outcome(page, "confirmed")).not_to_contain_text("The worker is not running")
    came_of_it(desk, states=["confirmed"], sent=1, mails=1)


def test_a_worker_that_dies_while_sending_leaves_an_unknown_that_settles_on_the_open_page(
    desk: Desk, staff: User, sit_down: SitDown, mortal_worker: Worker
) -> None:
    """The provider did it and nobody heard: first the truth, then the outcome, by reading alone."""
    appointment = desk.book("meetergo")
    desk.fault("meetergo", "hang_after", seconds=30)
    page = sit_down(staff)
    submit(open_dialog(page, appointment)).click()
    sending = outcome(page, "sending")
    wait_until(lambda: len(desk.mails("meetergo")) == 1)
    mortal_worker.kill()
    silence_of_the_dead()
    expect(sending).to_contain_text("What came of it is checked as soon as it is back.")
    expect(sending).to_contain_text("It is not cancelled until the provider says so.")
    assert answers(Cancellation.objects.get()) == ["-"]

    # As a minute later, when its lease is over.
    Cancellation.objects.update(lease_until=timezone.now(), due_at=timezone.now())
    mortal_worker.start()

    unknown = outcome(page, "unknown")
    expect(unknown).to_contain_text("The portal was interrupted while it was sending to meetergo.")
    expect(unknown).to_contain_text("It may or may not be cancelled.")
    confirmed = page.get_by_role("dialog").locator('[data-state="confirmed"]')
    expect(confirmed).to_contain_text("meetergo shows it as cancelled", timeout=20_000)
    came_of_it(desk, states=["confirmed"], sent=1, mails=1)


def test_a_provider_that_hangs_is_waited_for_truthfully_and_settles_on_the_open_page(
    desk: Desk, staff: User, sit_down: SitDown
) -> None:
    """Sending, then unknown, then confirmed by a read: no reload, no click, no second request."""
    appointment = desk.book("meetergo")
    desk.fault("meetergo", "hang_after", seconds=60)
    page = sit_down(staff)
    page.goto(cancel_page(appointment))
    submit(page).click()

    sending = page.locator('[data-state="sending"]')
    expect(sending).to_contain_text("It is not cancelled until the provider says so.")
    expect(page.locator('[data-tone="good"]')).to_have_count(0)
    unknown = page.locator('[data-state="unknown"]')
    expect(unknown).to_contain_text("Outcome unknown, we are checking", timeout=45_000)
    expect(unknown).to_contain_text("It may or may not be cancelled.")
    expect(unknown).to_contain_text("Do not cancel it again.")
    expect(page.locator('[data-state="confirmed"]')).to_contain_text(
        "meetergo shows it as cancelled", timeout=20_000
    )
    assert answers(Cancellation.objects.get()) == ["unknown"]
    came_of_it(desk, states=["confirmed"], sent=1, mails=1)
