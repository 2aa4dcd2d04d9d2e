"""
A member of staff cancels, at each provider, in a real browser.

Each test asserts what she reads and the `data-state` on screen, the ledger, and the state of the
provider's own book.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from appointments.domain import Status
from appointments.models import Appointment, Cancellation
from appointments.sandbox.people import PEOPLE
from tests.browser.dialog import LogIn, open_dialog, outcome
from tests.desk import Desk, answers, wait_until

pytestmark = pytest.mark.browser


def ledger() -> Cancellation:
    return Cancellation.objects.select_related("appointment").get()


def test_mijnklantportaal_plain(page: Page, desk: Desk, log_in: LogIn) -> None:
    appointment = desk.book("mijnklantportaal")
    log_in(page)

    dialog = open_dialog(page, appointment)
    expect(dialog).to_contain_text("Kept here only")
    expect(dialog).to_contain_text("This cannot be undone.")
    dialog.get_by_label("Reason", exact=False).first.fill("Practitioner is ill")
    dialog.get_by_role("button", name="Cancel appointment", exact=True).click()

    shown = outcome(page, "confirmed")
    expect(shown.get_by_role("status")).to_contain_text("MijnKlantportaal confirmed it at")
    assert ledger().state == "confirmed"
    assert ledger().reason == "Practitioner is ill"
    assert answers(ledger()) == ["ok"]
    book = desk.world("mijnklantportaal").state["appointments"]
    assert book[appointment.external_id]["status"] == "canceled"
    assert desk.received("mijnklantportaal") == [f"DELETE /appointments/{appointment.external_id}"]
    dialog.get_by_role("button", name="Close").click()
    expect(page.locator("#list")).to_contain_text("Cancelled")


def test_meetergo_one_attendee_of_a_group(page: Page, desk: Desk, log_in: LogIn) -> None:
    appointment = desk.book("meetergo", people=4)
    leaving, staying = PEOPLE[16], [PEOPLE[n] for n in (15, 17, 18)]
    log_in(page)

    dialog = open_dialog(page, appointment)
    # Nothing is chosen for her: without a choice nothing is sent.
    dialog.get_by_role("button", name="Choose who", exact=True).click()
    expect(dialog.locator(".error").first).to_be_visible()
    assert not Cancellation.objects.exists()
    dialog.get_by_label(leaving.name).check()
    dialog.get_by_label("Reason", exact=False).first.fill("Asked by telephone")
    dialog.get_by_role("button", name=f"Remove {leaving.name}").click()

    shown = outcome(page, "confirmed")
    expect(shown).to_contain_text(f"{leaving.name} was removed; the appointment goes on")
    assert ledger().scope == "attendee"
    booking = desk.world("meetergo").state["appointments"][appointment.external_id]
    assert not booking["isCancelled"]
    assert {one["fullname"] for one in booking["attendees"]} == {one.name for one in staying}
    assert [mail["to"] for mail in desk.mails("meetergo")] == [leaving.email]


@pytest.mark.parametrize(("width", "height"), [(1024, 640), (390, 700)])
def test_what_has_the_focus_is_never_below_the_foot_of_the_dialog(
    width: int, height: int, page: Page, desk: Desk, log_in: LogIn
) -> None:
    appointment = desk.book("meetergo", people=8)
    page.set_viewport_size({"width": width, "height": height})
    log_in(page)
    dialog = open_dialog(page, appointment)
    # The longest sentence that it has.
    dialog.get_by_label("Everybody").check()

    below = dialog.evaluate(
        """(dialog) => [...dialog.querySelectorAll(":is(input, textarea):not([type=hidden])")]
          .filter((one) => {
            one.focus();
            const foot = dialog.querySelector(".cancel-foot").getBoundingClientRect();
            return one.getBoundingClientRect().bottom > foot.top;
          }).map((one) => one.outerHTML)"""
    )
    assert below == []


def test_meetergo_whole_group(page: Page, desk: Desk, log_in: LogIn) -> None:
    appointment = desk.book("meetergo", people=3)
    log_in(page)

    dialog = open_dialog(page, appointment)
    dialog.get_by_label("Everybody", exact=False).check()
    expect(dialog).to_contain_text("for all 3 people")
    dialog.get_by_role("button", name="Cancel appointment", exact=True).click()

    expect(outcome(page, "confirmed")).to_contain_text("meetergo confirmed it at")
    assert ledger().scope == "whole"
    booking = desk.world("meetergo").state["appointments"][appointment.external_id]
    assert booking["isCancelled"]
    assert len(desk.mails("meetergo")) == 3


def test_meetergo_this_and_later_ones(page: Page, desk: Desk, log_in: LogIn) -> None:
    for number in range(3):
        start = desk.soon + timedelta(days=7 * number)
        desk.add("meetergo", who=PEOPLE[15:16], start=start, series="physio")
    desk.read("meetergo")
    first = Appointment.objects.in_order().select_related("connection")[0]
    log_in(page)

    dialog = open_dialog(page, first)
    dialog.get_by_label("later", exact=False).check()
    dialog.get_by_role("button", name="Cancel this and later ones").click()

    shown = outcome(page, "confirmed")
    expect(shown).to_contain_text("Cancelled, with 2 later occurrences")
    assert ledger().scope == "following"
    assert all(one["isCancelled"] for one in desk.world("meetergo").state["appointments"].values())
    assert Appointment.objects.filter(status=Status.CANCELLED).count() == 3


def test_carevalidate_with_a_corrected_address_after_a_refusal(
    page: Page, desk: Desk, log_in: LogIn
) -> None:
    appointment = desk.book("carevalidate", booked_with="work@example.com")
    log_in(page)

    dialog = open_dialog(page, appointment)
    dialog.get_by_label("Reason", exact=False).first.fill("The clinic is closed")
    dialog.get_by_role("button", name="Cancel appointment", exact=True).click()
    refused = outcome(page, "refused")
    expect(refused).to_contain_text("Refused by CareValidate")
    expect(refused).to_contain_text("It is still booked")

    refused.get_by_role("button", name="Try again").click()
    again = page.get_by_role("dialog")
    reason = again.get_by_label("Reason", exact=False).first
    expect(reason).to_have_value("The clinic is closed")
    again.get_by_label("E-mail", exact=False).first.fill("work@example.com")
    again.get_by_role("button", name="Cancel appointment", exact=True).click()

    expect(outcome(page, "confirmed")).to_contain_text("CareValidate confirmed it at")
    states = Cancellation.objects.order_by("pk").values_list("state", flat=True)
    assert list(states) == ["refused", "confirmed"]
    (event,) = desk.world("carevalidate").state["events"]
    assert event["deleted_at"] is not None


def test_huskyvoice_with_a_policy_warning(page: Page, desk: Desk, log_in: LogIn) -> None:
    """Within the notice: she is warned, and may try; here the provider lets it pass."""
    appointment = desk.book("huskyvoice")
    policy = desk.world("huskyvoice").state["policy"]
    policy["cancellation_notice_hours"] = 500
    connection = desk.connection("huskyvoice")
    type(connection).objects.filter(pk=connection.pk).update(
        policy={"allowed": True, "notice_hours": 500, "read_at": "2026-01-01T00:00:00+00:00"}
    )
    log_in(page)

    dialog = open_dialog(page, appointment)
    expect(dialog).to_contain_text("HuskyVoice asks for 500 h")
    policy["cancellation_notice_hours"] = 1
    dialog.get_by_role("button", name="Cancel appointment", exact=True).click()

    shown = outcome(page, "confirmed")
    expect(shown).to_contain_text("ring them")
    assert ledger().state == "confirmed"
    row = desk.world("huskyvoice").state["appointments"][appointment.external_id]
    assert row["status"] == "cancelled"


def test_huskyvoice_refused_by_policy(page: Page, desk: Desk, log_in: LogIn) -> None:
    appointment = desk.book("huskyvoice")
    desk.world("huskyvoice").state["policy"]["cancellation_notice_hours"] = 500
    log_in(page)

    dialog = open_dialog(page, appointment)
    dialog.get_by_role("button", name="Cancel appointment", exact=True).click()

    shown = outcome(page, "refused")
    expect(shown).to_contain_text("The rules at HuskyVoice do not allow it. It is still booked.")
    assert ledger().why == "policy"
    row = desk.world("huskyvoice").state["appointments"][appointment.external_id]
    assert row["status"] == "confirmed"


@pytest.mark.parametrize("slug", ["mijnklantportaal", "meetergo", "carevalidate", "huskyvoice"])
def test_already_cancelled(slug: str, page: Page, desk: Desk, log_in: LogIn) -> None:
    """Cancelled at the provider after she opened the dialog: said so, and nothing is sent."""
    appointment = desk.book(slug)
    log_in(page)
    dialog = open_dialog(page, appointment)
    expect(dialog).to_contain_text("nothing has changed")
    _cancel_in_the_providers_own_system(desk, slug)

    dialog.get_by_role("button", name="Cancel appointment", exact=True).click()

    shown = outcome(page, "already")
    expect(shown).to_contain_text("It was already cancelled")
    assert answers(ledger()) == []
    assert desk.received(slug) == []
    assert desk.mails(slug) == []


@pytest.mark.parametrize("slug", ["mijnklantportaal", "meetergo", "carevalidate", "huskyvoice"])
def test_a_provider_that_loses_its_answer(slug: str, page: Page, desk: Desk, log_in: LogIn) -> None:
    """Unknown first, in so many words; then settled by reading, with one request in all."""
    appointment = desk.book(slug)
    desk.fault(slug, "lose_answer")
    log_in(page)

    dialog = open_dialog(page, appointment)
    dialog.get_by_role("button", name="Cancel appointment", exact=True).click()

    shown = outcome(page, "unknown")
    expect(shown).to_contain_text("It may or may not be cancelled")
    expect(shown).to_contain_text("Do not cancel it again")
    expect(page.get_by_role("dialog").locator('[data-state="confirmed"]')).to_contain_text(
        "shows it as cancelled", timeout=20_000
    )
    assert answers(ledger()) == ["unknown"]
    assert len(desk.received(slug)) == 1


def test_the_history_grows_along_with_the_outcome(page: Page, desk: Desk, log_in: LogIn) -> None:
    """One poll brings both, and what she reads by then stays where it is."""
    appointment = desk.book("meetergo")
    desk.fault("meetergo", "lose_answer")
    log_in(page)
    dialog = open_dialog(page, appointment)
    dialog.get_by_role("button", name="Cancel appointment", exact=True).click()
    outcome(page, "unknown")
    page.get_by_role("dialog").get_by_role("link", name="Details").click()
    history = page.locator(f"#cancellation-{ledger().pk}-history li")
    asked = history.filter(has_text="Asked to cancel")
    expect(asked).to_have_count(1)
    page.evaluate("loaded = true")
    marked = asked.evaluate_handle("node => node")

    expect(page.locator('[data-state="confirmed"]')).to_be_visible(timeout=20_000)
    expect(history.first).to_contain_text("Read: it is cancelled")
    assert page.evaluate("loaded") is True
    assert marked.evaluate("node => node.isConnected")


def test_a_provider_that_does_not_answer(page: Page, desk: Desk, log_in: LogIn) -> None:
    """It hangs: the page says so at once and stays usable, and nothing is claimed."""
    appointment = desk.book("meetergo")
    desk.fault("meetergo", "hang", seconds=60)
    log_in(page)

    dialog = open_dialog(page, appointment)
    dialog.get_by_role("button", name="Cancel appointment", exact=True).click()

    sending = outcome(page, "sending")
    expect(sending).to_contain_text("It is not cancelled until the provider says so")
    dialog.get_by_role("button", name="Close").click()
    expect(page.get_by_role("searchbox").first).to_be_visible()
    # 20 s are its total deadline; then it is unknown, wherever she looks.
    wait_until(lambda: ledger().state == "unknown", seconds=30)
    page.get_by_role("link", name="Unsettled").click()
    expect(page.locator("main")).to_contain_text(appointment.who)
    assert len(desk.received("meetergo")) == 1


def test_a_second_person_is_told_who_was_faster(
    page: Page, desk: Desk, log_in: LogIn, colleague: Any
) -> None:
    """Somebody else asked while the dialog was open: said with the name, her text is kept."""
    appointment = desk.book("meetergo")
    log_in(page)
    dialog = open_dialog(page, appointment)
    expect(dialog).to_contain_text("nothing has changed")
    dialog.get_by_label("Reason", exact=False).first.fill("My own words")
    # The worker's look takes so long that the colleague's is still under way when she clicks.
    desk.fault("meetergo", "latency", operation="read", seconds=5, times=None)
    desk.ask(appointment, by=colleague)

    dialog.get_by_role("button", name="Cancel appointment", exact=True).click()

    expect(dialog.get_by_role("alert").first).to_contain_text("Bas Willems asked for this")
    expect(dialog.get_by_label("Reason", exact=False).first).to_have_value("My own words")
    assert Cancellation.objects.count() == 1


def test_an_expired_session_keeps_what_was_typed(page: Page, desk: Desk, log_in: LogIn) -> None:
    """Nothing is sent, the text stays, and after a new login in another tab it goes through."""
    appointment = desk.book("meetergo")
    log_in(page)
    dialog = open_dialog(page, appointment)
    dialog.get_by_label("Reason", exact=False).first.fill("Typed before the session ended")
    page.context.clear_cookies(name="sessionid")

    dialog.get_by_role("button", name="Cancel appointment", exact=True).click()
    expect(dialog).to_contain_text("Your session has ended. Nothing was sent")
    assert not Cancellation.objects.exists()

    other = page.context.new_page()
    log_in(other)
    other.close()
    expect(dialog.get_by_label("Reason", exact=False).first).to_have_value(
        "Typed before the session ended"
    )
    dialog.get_by_role("button", name="Cancel appointment", exact=True).click()
    outcome(page, "confirmed")
    assert ledger().reason == "Typed before the session ended"


def _cancel_in_the_providers_own_system(desk: Desk, slug: str) -> None:
    """Change the book as the provider's own staff would, without a request of ours."""
    state = desk.world(slug).state
    match slug:
        case "mijnklantportaal":
            for one in state["appointments"].values():
                one["status"] = "canceled"
        case "meetergo":
            for one in state["appointments"].values():
                one["isCancelled"] = True
        case "carevalidate":
            for one in state["events"]:
                one["deleted_at"] = "2026-01-01T00:00:00Z"
        case _:
            for one in state["appointments"].values():
                one["status"] = "cancelled"
