"""
Triggers that make calls, answers and events insert-only, whoever holds the connection.

They are made after every `migrate`, not by a migration: on SQLite a migration that alters a table
makes it anew and drops its triggers without a word. A system check fails when one is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections

TABLES = (
    "appointments_providercall",
    "appointments_provideranswer",
    "appointments_cancellationevent",
    "appointments_bookingevent",
)
_REFUSAL = "the ledger is insert-only"

_POSTGRES_FUNCTION = f"""
CREATE OR REPLACE FUNCTION appointments_refuse_change() RETURNS trigger AS $$
BEGIN RAISE EXCEPTION '{_REFUSAL}'; END; $$ LANGUAGE plpgsql
"""


def create(alias: str = "default") -> None:
    """Make every trigger that is missing."""
    connection = connections[alias]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(_POSTGRES_FUNCTION)
        for table, verb in _wanted(connection.vendor):
            name = _name(table, verb)
            if connection.vendor == "sqlite":
                cursor.execute(
                    f"CREATE TRIGGER IF NOT EXISTS {name} BEFORE {verb} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
                )
            else:
                each = "STATEMENT" if verb == "TRUNCATE" else "ROW"
                cursor.execute(
                    f"CREATE OR REPLACE TRIGGER {name} BEFORE {verb} ON {table} "
                    f"FOR EACH {each} EXECUTE FUNCTION appointments_refuse_change()"
                )


def drop(alias: str = "default") -> None:
    """Take every trigger away; for the flush between tests, and for nothing else."""
    connection = connections[alias]
    with connection.cursor() as cursor:
        for table, verb in _wanted(connection.vendor):
            on = f" ON {table}" if connection.vendor == "postgresql" else ""
            cursor.execute(f"DROP TRIGGER IF EXISTS {_name(table, verb)}{on}")


def missing(alias: str = "default") -> list[str]:
    """Names of the triggers that should be there and are not."""
    connection = connections[alias]
    catalogue = (
        "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        if connection.vendor == "sqlite"
        else "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
    )
    with connection.cursor() as cursor:
        tables = set(connection.introspection.table_names(cursor))
        cursor.execute(catalogue)
        there = {row[0] for row in cursor.fetchall()}
    return [
        _name(table, verb)
        for table, verb in _wanted(connection.vendor)
        if table in tables and _name(table, verb) not in there
    ]


def create_after_migrate(*, using: str, **_: Any) -> None:
    create(using)


@register(Tags.database)
def check_triggers(
    app_configs: object, databases: Sequence[str] | None, **_: Any
) -> list[CheckMessage]:
    """Fails when the ledger can be changed. Run by `migrate` and `check --database default`."""
    return [
        Error(
            f"The database lacks the trigger {name}: rows of the ledger could be changed.",
            hint="Run `manage.py migrate`, which makes it.",
            id="appointments.E001",
        )
        for alias in databases or ()
        for name in missing(alias)
    ]


def _wanted(vendor: str) -> list[tuple[str, str]]:
    verbs = ("UPDATE", "DELETE", "TRUNCATE") if vendor == "postgresql" else ("UPDATE", "DELETE")
    return [(table, verb) for table in TABLES for verb in verbs]


def _name(table: str, verb: str) -> str:
    return f"{table}_no_{verb.lower()}"
