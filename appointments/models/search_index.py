"""
Which bookings hold a piece of text, found by an index of all its runs of three letters.

Without it, whoever is not found costs a look at every row. The index only proposes rows, and
whoever asks compares the text itself too; so all that matters is that it knows all rows.

It is made after every `migrate`, as the triggers of the ledger are and for the same reason.
PostgreSQL brings it as the extension `pg_trgm`, which the owner of a database may add; where that
is refused, a search finds the same and takes longer.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

Column = Literal["search", "host_search"]

MOST = 1000
"""Rows that the index proposes; a text that more of them hold is soon found by reading in order."""
SHORTEST = 3
"""Letters; shorter ones no index knows."""

_BOOKINGS, _INDEX = "appointments_appointment", "appointments_search"
_OLD = (
    f"INSERT INTO {_INDEX}({_INDEX}, rowid, search, host_search) "  # noqa: S608
    "VALUES ('delete', old.id, old.search, old.host_search);"
)
_NEW = (
    f"INSERT INTO {_INDEX}(rowid, search, host_search) "  # noqa: S608
    "VALUES (new.id, new.search, new.host_search);"
)
_TRIGGERS = {
    f"{_INDEX}_insert": f"AFTER INSERT ON {_BOOKINGS} BEGIN {_NEW} END",
    f"{_INDEX}_delete": f"AFTER DELETE ON {_BOOKINGS} BEGIN {_OLD} END",
    f"{_INDEX}_update": (
        f"AFTER UPDATE OF search, host_search ON {_BOOKINGS} "
        "WHEN old.search <> new.search OR old.host_search <> new.host_search "
        f"BEGIN {_OLD} {_NEW} END"
    ),
}

logger = logging.getLogger(__name__)


def keys_with(
    any_of: Sequence[Sequence[str]], *, column: Column, using: str = "default"
) -> list[int] | None:
    """
    Keys of the bookings whose *column* holds all texts of one of *any_of*, and perhaps of others.

    None where the index is of no use: a text is too short for it, or more than `MOST` hold it.
    """
    long_ones = [[text for text in texts if len(text) >= SHORTEST] for texts in any_of]
    if not any_of or not all(long_ones):
        return None
    connection = connections[using]
    ask = _ask_postgresql if connection.vendor == "postgresql" else _ask_sqlite
    keys = ask(connection, long_ones, column)
    return keys if len(keys) <= MOST else None


def _ask_sqlite(
    connection: BaseDatabaseWrapper, any_of: Sequence[Sequence[str]], column: Column
) -> list[int]:
    alternatives = (
        " AND ".join('"' + text.replace('"', '""') + '"' for text in texts) for texts in any_of
    )
    wanted = " OR ".join(f"({one})" for one in alternatives)
    statement = f"SELECT rowid FROM {_INDEX} WHERE {_INDEX} MATCH %s LIMIT {MOST + 1}"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(statement, [f"{column} : ({wanted})"])
        return [row[0] for row in cursor.fetchall()]


def _ask_postgresql(
    connection: BaseDatabaseWrapper, any_of: Sequence[Sequence[str]], column: Column
) -> list[int]:
    alternatives = (" AND ".join(f"{column} LIKE %s" for _ in texts) for texts in any_of)
    wanted = " OR ".join(f"({one})" for one in alternatives)
    statement = f"SELECT id FROM {_BOOKINGS} WHERE {wanted} LIMIT {MOST + 1}"  # noqa: S608
    patterns = [
        f"%{connection.ops.prep_for_like_query(text)}%" for texts in any_of for text in texts
    ]
    with connection.cursor() as cursor:
        cursor.execute(statement, patterns)
        return [row[0] for row in cursor.fetchall()]


# --- how it comes to be -----------------------------------------------------------------------


def create(alias: str = "default") -> None:
    """Make what is missing of it."""
    connection = connections[alias]
    if connection.vendor == "postgresql":
        _create_on_postgresql(alias)
    elif missing(alias):
        _create_on_sqlite(connection)


def _create_on_postgresql(alias: str) -> None:
    try:
        with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
            cursor.execute(
                f"CREATE INDEX IF NOT EXISTS {_INDEX} ON {_BOOKINGS} "
                "USING gin (search gin_trgm_ops, host_search gin_trgm_ops)"
            )
    except DatabaseError as error:
        logger.warning("No index for searching: %s. Searches find the same, but slowly.", error)


def _create_on_sqlite(connection: BaseDatabaseWrapper) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE VIRTUAL TABLE IF NOT EXISTS {_INDEX} USING fts5(search, host_search, "
            f"content='{_BOOKINGS}', content_rowid='id', tokenize='trigram case_sensitive 1')"
        )
        for name, act in _TRIGGERS.items():
            cursor.execute(f"CREATE TRIGGER IF NOT EXISTS {name} {act}")
        # What was written while a trigger was missing is in no index.
        cursor.execute(f"INSERT INTO {_INDEX}({_INDEX}) VALUES ('rebuild')")  # noqa: S608


def missing(alias: str = "default") -> list[str]:
    """What should be there on SQLite and is not; without it, rows would not be found."""
    connection = connections[alias]
    if connection.vendor != "sqlite":
        return []
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM sqlite_master")
        there = {row[0] for row in cursor.fetchall()}
    if _BOOKINGS not in there:
        return []
    return [name for name in (_INDEX, *_TRIGGERS) if name not in there]


def create_after_migrate(*, using: str, **_: Any) -> None:
    create(using)


@register(Tags.database)
def check_search_index(
    app_configs: object, databases: Sequence[str] | None, **_: Any
) -> list[CheckMessage]:
    """Fails when a search would miss rows. Run by `migrate` and `check --database default`."""
    return [
        Error(
            f"The database lacks {name}: searches would not find everybody.",
            hint="Run `manage.py migrate`, which makes it.",
            id="appointments.E004",
        )
        for alias in databases or ()
        for name in missing(alias)
    ]
