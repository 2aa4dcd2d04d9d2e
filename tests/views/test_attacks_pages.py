"""Attacks on the pages around the list that succeeded once."""

from __future__ import annotations

import csv
import html
import io

import pytest
from django.test import Client
from django.urls import reverse

from appointments.models import Booking
from appointments.urls import urlpatterns
from tests.desk import Desk
from tests.services.test_rebook import rebooked
from tests.services.test_schedule import ask
from tests.views.conftest import Book


@pytest.mark.parametrize("name", [str(one.name) for one in urlpatterns if one.name != "feed"])
def test_a_login_in_between_leads_to_a_page(name: str, web: Client) -> None:
    """Whoever pressed a button after the session had ended comes back with a GET."""
    (pattern,) = (one for one in urlpatterns if one.name == name)
    address = reverse(name, kwargs=dict.fromkeys(pattern.pattern.converters, 1))

    assert web.get(address).status_code in (200, 302, 303, 404)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(
    "formula", ["=1+1", " =1+1", "@SUM(1)", "\n=1+1", "-2+3", "+1;=1+1", '"=1+1']
)
def test_no_spreadsheet_finds_a_formula_behind_its_own_separator(
    separator: str, formula: str, web: Client, book: Book
) -> None:
    """Where a comma is a decimal point, spreadsheets part the cells at semicolons."""
    book(title=f"x{separator}{formula}{separator}y", host=f"a;{formula};b")

    file = b"".join(web.get("/appointments.csv"))
    lines = csv.reader(io.StringIO(file.decode()), delimiter=separator)

    cells = [cell.strip() for line in lines for cell in line]
    assert [one for one in cells if one.startswith(("=", "+", "-", "@"))] == []


def shown(web: Client, address: str) -> str:
    return html.unescape(web.get(address).content.decode())


def test_a_refused_booking_is_found_again(web: Client, desk: Desk) -> None:
    """Whoever pressed the button went to lunch; the page of the request is known to nobody else."""
    booking = ask("mijnklantportaal", desk)
    body = {"message": "The given data was invalid."}
    desk.fault("mijnklantportaal", "status", operation="schedule", status=422, body=body)
    desk.work_booking(booking)
    assert booking.state == Booking.State.REFUSED

    page = shown(web, "/activity/?kind=bookings")
    assert f'href="{booking.get_absolute_url()}"' in page
    assert "Refused by MijnKlantportaal" in page


def test_a_rebooking_that_came_to_nothing_stands_in_the_history_of_the_old_one(
    web: Client, desk: Desk
) -> None:
    old = desk.book("carevalidate")
    booking = rebooked(desk, old)
    body = {"message": "no"}
    desk.fault("mijnklantportaal", "status", operation="schedule", status=422, body=body)
    desk.work_booking(booking)

    page = shown(web, old.get_absolute_url())
    assert "Asked to rebook" in page
    assert f'href="{booking.get_absolute_url()}"' in page
