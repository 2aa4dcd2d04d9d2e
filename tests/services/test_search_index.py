"""The index proposes rows quickly, and never changes what a search finds."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from appointments.domain import BookedAttendee
from appointments.models import Appointment, Connection, search_index
from appointments.services.records import store
from appointments.services.tags import tag
from tests.views.conftest import make_connection, record

NAMES = (
    "Anna de Boer",
    'Bas "the Bold" Willems',
    "Zoë Łukasiewicz",
    "O'Connor, James",
    "100% sure_thing",
    "back\\slash",
    "AND OR NOT search : (near)",
    "مريم الزهراء",
    "陳大文先生",
    "Li",
)
QUERIES = (
    *NAMES,
    "anna",
    "boer de",
    "an",
    "li",
    '"the',
    "zoe luka",
    "lukasiewicz zoe",
    "%",
    "100%",
    "e_t",
    "\\sl",
    "and or not",
    "search:",
    "near)",
    "booking-1",
    "person3@example.org",
    "+31 6 55500 002",
    "06-55500002",
    "nobody at all",
    "大文先",
    "الزه",
    "*",
    "a*a",
    "ref. booking",
)


@pytest.fixture
def meetergo(db: None) -> Connection:
    connection = make_connection("meetergo", name="Physio am Park")
    people = [
        BookedAttendee(
            external_id=f"p{number}",
            name=name,
            email=f"person{number}@example.org",
            phone=f"+31 6 55500{number:03d}",
        )
        for number, name in enumerate(NAMES)
    ]
    start = timezone.now() + timedelta(days=1)
    records = [record(n, start=start, attendees=(one,)) for n, one in enumerate(people)]
    store(connection, records, read_at=timezone.now())
    return connection


def found(query: str) -> list[str]:
    rows = Appointment.objects.matching(query).in_order()
    return [row.external_id for row in rows]


@pytest.mark.usefixtures("meetergo")
@pytest.mark.parametrize("query", QUERIES)
def test_a_search_finds_the_same_with_and_without_it(
    query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_it = found(query)
    monkeypatch.setattr(search_index, "keys_with", lambda *_, **__: None)

    assert with_it == found(query)
    assert query not in NAMES or with_it


@pytest.mark.usefixtures("meetergo")
def test_it_proposes_few_rows_or_none() -> None:
    def keys(*texts: str) -> list[int] | None:
        return search_index.keys_with([texts], column="search")

    anna = Appointment.objects.get(external_id="booking-0").pk
    assert keys("anna", "boer") == [anna]
    assert keys("nobody") == []
    assert keys("de", "boer") == [anna]
    assert keys("de") is None
    assert search_index.keys_with([], column="search") is None
    assert search_index.keys_with([["anna"], ["de"]], column="search") is None
    assert search_index.keys_with([["behrens"]], column="host_search") is not None
    assert keys("behrens") == []


@pytest.mark.usefixtures("meetergo")
def test_what_many_hold_is_read_in_order_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_index, "MOST", 3)

    assert search_index.keys_with([["person"]], column="search") is None
    assert len(found("person")) == len(NAMES)


def test_it_follows_every_change(meetergo: Connection, staff: User) -> None:
    row = Appointment.objects.get(external_id="booking-0")
    person = BookedAttendee(external_id="p0", name="Quirine Xylander")
    later = timezone.now() + timedelta(minutes=1)
    moved = record(0, start=later, attendees=(person,))

    store(meetergo, [moved], read_at=later)
    assert found("anna boer") == []
    assert found("xylander") == ["booking-0"]

    tag(row, practitioner="Dr. Vandenbroucke", by=staff)
    assert list(Appointment.objects.with_host("broucke")) == [row]
    Appointment.objects.filter(pk=row.pk).update(title="Intake")
    assert found("xylander") == ["booking-0"]
    Appointment.objects.filter(pk=row.pk).delete()
    assert found("xylander") == []
    assert search_index.keys_with([["xylander"]], column="search") == []


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL keeps its index by itself")
def test_a_missing_trigger_fails_the_check_and_migrate_finds_everybody_again(
    meetergo: Connection,
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER appointments_search_insert")
    person = BookedAttendee(external_id="new", name="Quirine Xylander")
    late = record(99, start=timezone.now(), attendees=(person,))
    store(meetergo, [late], read_at=timezone.now())
    assert found("xylander") == []

    problems = search_index.check_search_index(None, ["default"])
    assert [one.id for one in problems] == ["appointments.E004"]
    call_command("migrate", verbosity=0, interactive=False)

    assert search_index.missing() == []
    assert found("xylander") == ["booking-99"]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite is asked by name")
@pytest.mark.usefixtures("meetergo")
def test_the_database_uses_it() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(
            "EXPLAIN SELECT id FROM appointments_appointment WHERE search LIKE '%xyland%'"
        )
        plan = " ".join(row[0] for row in cursor.fetchall())

    assert "appointments_search" in plan
