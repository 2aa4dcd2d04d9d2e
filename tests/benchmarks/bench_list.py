"""
The list over many appointments, beside the smallest view that shows as many and a stock admin list.

    uv run pytest tests/benchmarks/bench_list.py -s
    ROWS=1000000 uv run pytest tests/benchmarks/bench_list.py -s
    TEST_DATABASE_URL=postgres://… uv run pytest tests/benchmarks/bench_list.py -s

Bookings of four accounts are spread over two years around today. The floor shows the same number
of rows with one indexed query and a plain template, to somebody who is logged in too. Everything
goes through the whole stack of middleware, in this process.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from html import unescape
from itertools import batched
from statistics import median

import pytest
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.db import connection as database
from django.http import HttpRequest, HttpResponse
from django.template import Context, Template
from django.test import Client
from django.urls import path
from django.utils import timezone

from appointments.domain import BookedAppointment, BookedAttendee
from appointments.models import Appointment, Connection
from appointments.services.records import store
from portal.urls import urlpatterns as pages
from tests.desk import SLUGS
from tests.views.conftest import POLL, make_connection, record

ROWS = int(os.environ.get("ROWS", "100000"))
FEW = 1000
RUNS = 15
YEARS = timedelta(days=730)
FIRST = ("Anna", "Bas", "Chiara", "Daan", "Emma", "Fatima", "Güneş", "Hanna", "Ivo", "Jana")
LAST = ("de Boer", "Visser", "Łukasiewicz", "O'Connor", "Schröder", "Yilmaz", "Bakker", "Nguyen")

FLOOR = Template(
    "<ol>{% for row in rows %}<li>{{ row.starts_at }} {{ row.title }} {{ row.host }} "
    "{{ row.status }} {{ row.reference }} {{ row.external_id }}</li>{% endfor %}</ol>"
)


@login_required
def floor(_request: HttpRequest) -> HttpResponse:
    found = Appointment.objects.from_day(timezone.localdate()).in_order()
    return HttpResponse(FLOOR.render(Context({"rows": found[:50]})))


class StockAdmin(ModelAdmin[Appointment]):
    list_display = ("starts_at", "title", "host", "status", "connection")
    list_filter = ("status",)
    search_fields = ("title", "host", "reference", "attendees__name", "attendees__email")


stock = AdminSite(name="stock")
stock.register(Appointment, StockAdmin)
urlpatterns = [path("floor/", floor), path("stock/", stock.urls), *pages]


def booking(number: int, *, start: datetime) -> BookedAppointment:
    name = f"{FIRST[number % 10]} {LAST[number // 10 % 8]}"
    if number == ROWS // 2:
        name = "Quirine Xylander"
    person = BookedAttendee(
        external_id=f"p{number}",
        name=name,
        email=f"person{number}@example.org",
        phone=f"+31 6 {number:08d}",
    )
    return record(number, start=start, starts_at=start, ends_at=None, attendees=(person,))


def fill(connections: list[Connection], *, first: int, count: int) -> None:
    """*count* bookings, evenly over two years around now."""
    begin, now = timezone.now() - YEARS / 2, timezone.now()
    for chunk in batched(range(first, first + count), 2000, strict=False):
        by_account: dict[int, list[BookedAppointment]] = {}
        for number in chunk:
            start = begin + YEARS * ((number - first) / count)
            by_account.setdefault(number % 4, []).append(booking(number, start=start))
        for index, records in by_account.items():
            store(connections[index], records, read_at=now)


class Clock:
    """Medians of requests, as ratios to one of them."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def of(
        self, address: str, *, runs: int = RUNS, headers: Mapping[str, str] | None = None
    ) -> float:
        times = []
        for _ in range(runs + 1):
            begun = time.perf_counter()
            answer = self.client.get(address, headers=headers)
            times.append(time.perf_counter() - begun)
            assert answer.status_code in (200, 204), address
        return median(times[1:] or times) * 1000


def test_the_list(staff: User, settings: pytest.FixtureRequest) -> None:
    settings.ROOT_URLCONF = __name__  # type: ignore[attr-defined]
    connections = [make_connection(slug, name=slug) for slug in SLUGS]
    client = Client()
    client.force_login(staff)
    clock = Clock(client)
    fill(connections, first=0, count=FEW)
    at_few = clock.of("/")

    begun = time.perf_counter()
    fill(connections, first=FEW, count=ROWS - FEW)
    filled = time.perf_counter() - begun
    with database.cursor() as cursor:
        cursor.execute("ANALYZE")  # As the database does by itself once it is left alone.

    base, start = clock.of("/floor/"), clock.of("/")
    say(f"{ROWS} rows on {database.vendor}, filled in {filled:.0f} s")
    say(f"floor {base:.1f} ms; first page {start:.1f} ms = {start / base:.2f} x the floor")
    say(f"first page {start / at_few:.2f} x itself at {FEW} rows")

    row = Appointment.objects.from_day(timezone.localdate()).in_order()[0]
    page = client.get("/").content.decode()
    token = re.search(r'"X-Known": "([0-9a-f]+)"', page)
    here = re.search(r'id="list"[^>]*hx-get="([^"]+)"', page)
    assert token is not None
    assert here is not None
    month = (timezone.localdate() + timedelta(days=180)).isoformat()
    deep = client.get(f"/?from={month}").content.decode()
    later = re.search(r'rel="next" href="([^"]+)"', deep)
    assert later is not None
    for name, address in {
        "today": "/?range=today",
        "a provider": "/?provider=meetergo",
        "a status": "/?status=booked",
        "with": "/?with=behrens",
        "a month ahead": f"/?from={month}",
        "deep page": unescape(later[1]),
        "search, nobody": "/?q=zzyzx+nobody",
        "search, rare": "/?q=xylander",
        "search, common": "/?q=visser",
        "search, two letters": "/?q=vi",
        "search, a number": "/?q=06+00012345",
        "detail": row.get_absolute_url(),
        "dialog": f"{row.get_absolute_url()}cancel/",
    }.items():
        took = clock.of(address)
        say(f"{name}: {took:.1f} ms = {took / start:.2f} x the first page")
    took = clock.of(unescape(here[1]), headers=POLL | {"X-Known": token[1]})
    say(f"poll with nothing new: {took:.1f} ms = {took / start:.2f} x the first page")

    root = Client()
    root.force_login(User.objects.create_superuser("root"))
    admin = Clock(root)
    for name, address, ours in (
        ("list", "/stock/appointments/appointment/", "/"),
        ("search", "/stock/appointments/appointment/?q=zzyzx", "/?q=zzyzx"),
    ):
        took, mine = admin.of(address, runs=1), clock.of(ours)
        say(f"stock admin, {name}: {took:.0f} ms = {took / mine:.0f} x ours")


def say(line: str) -> None:
    print(f"\n{line}", end="")  # noqa: T201 - a benchmark prints
