"""
Reading provider JSON without trusting it.

Every reader takes a JSON object and a key. A *required* reader raises `Unreadable` when the value
is missing or of another type; a `maybe_` reader answers the empty value instead, because vendors
leave fields out and set them to null. Characters that break a database or an encoding (NUL, lone
surrogates) make a record unreadable rather than being repaired: a name we changed is a name that
nobody finds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from typing import Any

from appointments.domain import AnswerNotUnderstood

type Json = dict[str, Any]

ID_LIMIT = 200
TEXT_LIMIT = 2000
SAID_LIMIT = 500
EARLIEST = 1900
LATEST = 2200
"""Years. Beyond them a time is a mistake, and one that the arithmetic of dates trips over."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Unreadable(ValueError):
    """A record lacks something it must have. The text names the field, never its value."""


@contextmanager
def reading() -> Iterator[None]:
    """Turn an unreadable answer into the error that services know."""
    try:
        yield
    except Unreadable as error:
        raise AnswerNotUnderstood("unreadable_answer") from error


def as_object(value: object, name: str = "answer") -> Json:
    if not isinstance(value, dict):
        raise Unreadable(f"{name} is not an object")
    return value


def objects(item: Json, key: str) -> list[Json]:
    """The list under *key*; entries that are no objects come back empty, so each is counted."""
    value = item.get(key)
    if not isinstance(value, list):
        raise Unreadable(f"{key} is not a list")
    return [entry if isinstance(entry, dict) else {} for entry in value]


def maybe_objects(item: Json, key: str) -> list[Json]:
    value = item.get(key)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def readable[T](items: Sequence[Json], read_one: Callable[[Json], T]) -> tuple[T, ...]:
    """
    Read each of *items*, leaving out what makes no sense.

    Raises:
        Unreadable: none of them makes sense, which is something else than an empty list.
    """
    found = []
    for item in items:
        try:
            found.append(read_one(item))
        except Unreadable:
            continue
    if items and not found:
        raise Unreadable("no entry can be read")
    return tuple(found)


def maybe_object(item: Json, key: str) -> Json:
    value = item.get(key)
    return value if isinstance(value, dict) else {}


def id_of(item: Json, key: str) -> str:
    """The id of a record that could not be read, as far as it has one; for logs and flags."""
    try:
        return identifier(item, key)
    except Unreadable:
        return ""


def identifier(item: Json, key: str) -> str:
    value = item.get(key)
    if not isinstance(value, str) or not value.strip():
        raise Unreadable(f"{key} is missing")
    if len(value) > ID_LIMIT:
        raise Unreadable(f"{key} is too long")
    if value in (".", ".."):
        raise Unreadable(f"{key} would lead to another address")
    return _storable(value, key)


def text(item: Json, key: str) -> str:
    if not isinstance(item.get(key), str):
        raise Unreadable(f"{key} is missing")
    return maybe_text(item, key)


def maybe_text(item: Json, key: str) -> str:
    """Text, or a number as text; anything else counts as absent. Cut at 2,000 characters."""
    value = item.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return ""
    value = _storable(value, key).strip()
    return value if len(value) <= TEXT_LIMIT else value[: TEXT_LIMIT - 1] + "…"


def texts(item: Json, key: str) -> tuple[str, ...]:
    value = item.get(key)
    if not isinstance(value, list):
        return ()
    return tuple(_storable(one, key).strip() for one in value if isinstance(one, str))


def flag(item: Json, key: str) -> bool:
    value = item.get(key)
    if not isinstance(value, bool):
        raise Unreadable(f"{key} is not true or false")
    return value


def maybe_flag(item: Json, key: str) -> bool:
    return item.get(key) is True


def moment(item: Json, key: str) -> datetime:
    """A moment with its offset. Without one it cannot be placed, so it is unreadable."""
    value = item.get(key)
    if not isinstance(value, str):
        raise Unreadable(f"{key} is missing")
    try:
        when = datetime.fromisoformat(value.strip())
    except ValueError as error:
        raise Unreadable(f"{key} is no date and time") from error
    if when.tzinfo is None:
        raise Unreadable(f"{key} has no offset")
    _believable(when, key)
    return when.astimezone(UTC)


def utc_moment(item: Json, key: str) -> datetime:
    """A moment whose provider means UTC when it writes no offset."""
    value = item.get(key)
    if isinstance(value, str):
        try:
            naive = datetime.fromisoformat(value.strip())
        except ValueError:
            naive = None
        if naive is not None and naive.tzinfo is None:
            _believable(naive, key)
            return naive.replace(tzinfo=UTC)
    return moment(item, key)


def maybe_moment(item: Json, key: str) -> datetime | None:
    try:
        return utc_moment(item, key)
    except Unreadable:
        return None


def day(item: Json, key: str) -> date:
    value = item.get(key)
    if not isinstance(value, str):
        raise Unreadable(f"{key} is missing")
    try:
        found = date.fromisoformat(value)
    except ValueError as error:
        raise Unreadable(f"{key} is no date") from error
    _believable(found, key)
    return found


def clock(item: Json, key: str) -> time:
    value = item.get(key)
    if not isinstance(value, str):
        raise Unreadable(f"{key} is missing")
    try:
        return time.fromisoformat(value)
    except ValueError as error:
        raise Unreadable(f"{key} is no time of day") from error


def said(*parts: object) -> str:
    """
    What a provider says in its own words: for people to read, never to be compared.

    Takes texts, and lists and objects of texts, as error bodies have them, and bears everything
    else. Cut at 500 characters, without those that cannot be stored: unlike a name, an
    explanation may lose one.
    """
    words = " ".join(one for part in parts for one in _words(part, depth=3))
    words = _UNSTORABLE.sub("", words).strip()
    return words if len(words) <= SAID_LIMIT else words[: SAID_LIMIT - 1] + "…"


def _words(part: object, *, depth: int) -> Iterator[str]:
    if isinstance(part, str):
        yield part.strip()
    elif depth and isinstance(part, list | dict):
        for entry in part.values() if isinstance(part, dict) else part:
            yield from _words(entry, depth=depth - 1)


def _believable(when: date, key: str) -> None:
    if not EARLIEST <= when.year <= LATEST:
        raise Unreadable(f"{key} is out of range")


def _storable(value: str, key: str) -> str:
    if _UNSTORABLE.search(value):
        raise Unreadable(f"{key} holds a character that cannot be stored")
    return value
