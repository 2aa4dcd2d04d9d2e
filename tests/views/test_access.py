"""Who gets in, for how long, and what the browser is told about every page."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from appointments.models import Appointment, Cancellation
from appointments.services.cancel import Wish, ask_to_cancel
from tests.desk import Desk
from tests.views.conftest import HTMX, POLL, Book

PAGES = (
    "/",
    "/appointments/{row}/",
    "/appointments/{row}/cancel/",
    "/appointments/{row}/look/",
    "/appointments/{row}/with/",
    "/cancellations/{asked}/",
    "/cancellations/{asked}/take-back/",
    "/cancellations/{asked}/read-again/",
    "/unsettled/",
    "/activity/",
    "/activity.csv",
    "/schedule/",
    "/views/",
    "/feeds/",
    "/feeds/1/revoke/",
    "/print/",
    "/appointments.csv",
    "/bookings/1/",
    "/logout/",
)


@pytest.fixture
def row(book: Book) -> Appointment:
    return book()[0]


@pytest.fixture
def asked(row: Appointment, staff: User) -> Cancellation:
    found = ask_to_cancel(row, by=staff, wish=Wish(), form_key=uuid4(), version=row.version)
    assert isinstance(found, Cancellation)
    return found


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("page", PAGES)
def test_every_page_is_closed(
    page: str, method: str, row: Appointment, asked: Cancellation
) -> None:
    address = page.format(row=row.pk, asked=asked.pk)

    answer = getattr(Client(), method)(address)

    assert answer.status_code == 302
    assert answer["Location"] == f"/login/?next={address}"


def test_a_script_without_a_session_gets_an_address_and_no_page(row: Appointment) -> None:
    """The dialog to come back to after a POST; after a GET the page that asked."""
    dialog = f"/appointments/{row.pk}/cancel/"
    current = {"HX-Current-URL": "http://testserver/?q=smit"}

    posted = Client().post(dialog, headers=HTMX | current)
    polled = Client().get("/", headers=POLL | current)
    abroad = Client().get("/", headers=POLL | {"HX-Current-URL": "https://evil.example/"})

    assert [one.status_code for one in (posted, polled, abroad)] == [204] * 3
    assert posted["HX-Redirect"] == f"/login/?next=%2Fappointments%2F{row.pk}%2Fcancel%2F"
    assert polled["HX-Redirect"] == "/login/?next=%2F%3Fq%3Dsmit"
    assert abroad["HX-Redirect"] == "/login/?next=%2F"


def test_the_login_leads_back_to_where_she_was(staff: User) -> None:
    answer = Client().post(
        "/login/?next=/unsettled/",
        {"username": "anna", "password": "front-desk-pw", "next": "/unsettled/"},
    )

    assert answer["Location"] == "/unsettled/"


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"]
)
def test_the_login_leads_nowhere_else(target: str, staff: User) -> None:
    login = {"username": "anna", "password": "front-desk-pw", "next": target}

    assert Client().post("/login/", login)["Location"] == "/"


def test_a_wrong_password_and_an_unknown_name_get_the_same_words(staff: User) -> None:
    User.objects.create_user("gone", password="front-desk-pw", is_active=False)
    tries = [("anna", "wrong"), ("nobody", "wrong"), ("gone", "front-desk-pw")]

    pages = [Client().post("/login/", {"username": u, "password": p}).content for u, p in tries]

    assert all(b"The username or the password is not right." in page for page in pages)


def test_a_link_to_the_logout_only_asks(web: Client) -> None:
    assert b"Log out?" in web.get("/logout/").content
    assert web.get("/").status_code == 200

    answer = web.post("/logout/")

    assert answer["Location"] == "/login/"
    assert answer["Clear-Site-Data"] == '"cache", "storage"'
    assert web.get("/").status_code == 302


def test_half_an_hour_of_nothing_ends_the_session(web: Client) -> None:
    """What the page asks for by itself is nothing; every click starts the half hour anew."""
    with time_machine.travel(timezone.now(), tick=False) as clock:
        web.get("/")
        clock.shift(timedelta(minutes=29))
        assert web.get("/").status_code == 200
        clock.shift(timedelta(minutes=29))
        assert web.get("/", headers=POLL).status_code == 200
        clock.shift(timedelta(minutes=2))
        assert web.get("/", headers=POLL).status_code == 204
        assert web.get("/").status_code == 302


def test_twelve_hours_end_the_session_in_any_case(web: Client) -> None:
    with time_machine.travel(timezone.now(), tick=False) as clock:
        for _ in range(36):
            assert web.get("/").status_code == 200
            clock.shift(timedelta(minutes=20))
        clock.shift(timedelta(minutes=1))
        assert web.get("/").status_code == 302


def test_a_disabled_user_is_out_at_the_next_click(web: Client, staff: User) -> None:
    staff.is_active = False
    staff.save()

    assert web.get("/").status_code == 302


@pytest.mark.parametrize("page", ["/", "/login/", "/activity/", "/healthz"])
def test_pages_stay_out_of_caches_and_say_what_may_run(page: str, web: Client) -> None:
    answer = web.get(page)

    assert "no-store" in answer["Cache-Control"]
    policy = answer["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer["X-Frame-Options"] == "DENY"


def test_a_post_without_a_token_is_refused(row: Appointment, staff: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(staff)

    answer = client.post(f"/appointments/{row.pk}/cancel/", {"version": row.version})

    assert answer.status_code == 403
    assert b"Open the page again" in answer.content
    assert not Cancellation.objects.exists()


def test_the_token_of_the_cookie_counts_where_the_page_is_older(
    row: Appointment, staff: User
) -> None:
    """So that a dialog survives a new login in another tab."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(staff)
    client.get(f"/appointments/{row.pk}/cancel/")
    token = client.cookies["csrftoken"].value

    answer = client.post(
        f"/appointments/{row.pk}/cancel/",
        {"version": row.version, "form_key": str(uuid4())},
        headers=HTMX | {"X-CSRFToken": token},
    )

    assert answer.status_code == 200


def test_without_any_permission_a_page_says_whom_to_ask(db: None) -> None:
    client = Client()
    client.force_login(User.objects.create_user("new"))

    for page in ("/", "/activity/", "/unsettled/", "/schedule/", "/views/", "/feeds/"):
        answer = client.get(page)
        assert answer.status_code == 403
        assert b"Ask an administrator" in answer.content


def test_a_rehearsal_says_so_on_every_page(
    client: Client, staff: User, settings: Any, desk: Desk
) -> None:
    """Also before the login and in the dialog; and nowhere in an installation that is in use."""
    row = desk.book("meetergo")
    pages = ("/login/", "/", "/unsettled/", "/activity/", f"/appointments/{row.pk}/cancel/")
    for is_rehearsal in (True, False):
        settings.REHEARSAL = is_rehearsal
        client.logout()
        for page in pages:
            says = "the providers are a sandbox" in client.get(page, follow=True).content.decode()
            assert says == is_rehearsal, page
            client.force_login(staff)
    settings.REHEARSAL = True
    dialog = client.get(pages[-1], headers={"HX-Request": "true"}).content.decode()
    assert "Rehearsal: nothing real is cancelled, and nobody is mailed." in dialog


def test_whoever_lost_all_cookies_comes_to_the_login_and_not_to_a_refusal(
    web: Client, book: Book
) -> None:
    """Within a page as after an ended session; what was typed is still in its form."""
    (row,) = book()
    path = f"{row.get_absolute_url()}cancel/"
    nobody = Client(enforce_csrf_checks=True)

    within = nobody.post(path, headers=HTMX)
    whole = nobody.post(path)

    assert (within.status_code, within["HX-Redirect"].partition("?")[0]) == (204, "/login/")
    assert (whole.status_code, "reload the page" in whole.content.decode()) == (403, True)


@pytest.mark.parametrize(
    "codename", ["cancel_appointment", "schedule_appointment", "settle_cancellation"]
)
def test_nobody_reads_people_by_another_way_than_the_list(codename: str, book: Book) -> None:
    """Each page of an act shows whom it is about: all of them need the permission to see."""
    (row,) = book()
    person = row.attendees.get()
    user = User.objects.create_user("half", password="half-pw")
    user.user_permissions.add(Permission.objects.get(codename=codename))
    client = Client()
    client.force_login(user)

    for address in (
        f"/schedule/?person={person.pk}&connection={row.connection_id}",
        f"/schedule/?replaces={row.pk}",
        f"{row.get_absolute_url()}cancel/",
        f"{row.get_absolute_url()}move/",
    ):
        assert client.get(address).status_code == 403, address
