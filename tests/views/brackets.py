"""
A language for tests, in which every marked string stands between ⟦ and ⟧.

What a person can read outside of the brackets, and what no provider, colleague or clock said, was
written into the page by us and is not translated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.utils import translation
from django.utils.safestring import SafeString, mark_safe

from appointments.models import (
    Appointment,
    Attendee,
    Booking,
    CalendarFeed,
    Cancellation,
    Connection,
    ReasonPreset,
    SavedFilter,
)
from appointments.providers.registry import PROVIDERS

LEFT, RIGHT = "⟦", "⟧"
READ_OUT = (
    "title",
    "aria-label",
    "placeholder",
    "alt",
    "data-act",
    "data-consequence",
    "data-from",
    "label",
)
UNSEEN = frozenset({"script", "style", "kbd", "pre"})
VOID = frozenset({"input", "img", "br", "hr", "meta", "link"})

_ADDRESS = re.compile(r'<span class="address">(.*?)</span>')
_WORD = re.compile(r"[^\W\d_]{2,}")
_FACTS: tuple[tuple[type[Model], tuple[str, ...]], ...] = (
    (User, ("first_name", "last_name", "username")),
    (Group, ("name",)),
    (Connection, ("name", "time_zone", "offers", "base_url")),
    (Appointment, ("external_id", "title", "host", "location", "reference", "session", "batch")),
    (Appointment, ("cancelled_by", "cancel_reason", "provider_status", "warnings")),
    (Attendee, ("name", "email", "phone", "time_zone", "guests")),
    (Cancellation, ("reason", "note", "email", "said", "attendee_name")),
    (Booking, ("said", "wish")),
    (ReasonPreset, ("label", "text", "code")),
    (CalendarFeed, ("name", "query")),
    (SavedFilter, ("name", "query")),
)
_SAME_EVERYWHERE = ("HTTP", "UTC", "CSV", "Europe/Amsterdam")


def speak_in_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every translation, Django's own included, the text itself between brackets."""

    def marked(text: str) -> str:
        found = f"{LEFT}{text}{RIGHT}"
        return mark_safe(found) if isinstance(text, SafeString) else found  # noqa: S308

    plain: Any = translation._trans  # type: ignore[attr-defined]
    said = {
        "gettext": marked,
        "pgettext": lambda context, text: marked(text),
        "ngettext": lambda one, many, count: marked(one if count == 1 else many),
        "npgettext": lambda context, one, many, count: marked(one if count == 1 else many),
    }
    for name, function in said.items():
        monkeypatch.setattr(plain, name, function, raising=False)


class _Page(HTMLParser):
    """What a page says: its text in the order of reading, and what is read out of attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.attributes: list[str] = []
        self.words = ""
        self._chosen = ""
        """Value of the newest element: a choice that is its own value is the provider's word."""
        self._inside: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.attributes += [values[name] for name in READ_OUT if name in values]
        if tag == "input" and values.get("type") in ("submit", "button", "reset"):
            self.attributes.append(values.get("value", ""))
        if tag not in VOID:
            # A language names itself; what nobody sees is not read.
            unseen = tag in UNSEEN or (tag != "html" and "lang" in values)
            self._inside.append((values.get("id", tag), unseen or self._is_unseen()))
            self._chosen = values.get("value", "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in VOID:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID and self._inside:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if self._inside and self._inside[-1][0] == "words":
            self.words += data
        elif not self._is_unseen() and data != self._chosen:
            self.text.append(data)

    def _is_unseen(self) -> bool:
        return bool(self._inside) and self._inside[-1][1]


def untranslated(page: str, data: Iterable[str] = ()) -> list[str]:
    """Words of the HTML *page* that stand outside of the brackets and are nobody's *data*."""
    seen = _Page()
    # An address is one word, whatever it may break at.
    seen.feed(_ADDRESS.sub(r"\1", page.replace("<wbr>", "")))
    seen.close()
    facts = sorted((*_facts(), *data), key=len, reverse=True)
    said = [" ".join(seen.text), *seen.attributes, *_strings(json.loads(seen.words or "null"))]
    return [found for one in said for found in outside(one, facts)]


def outside(text: str, facts: Iterable[str] = ()) -> list[str]:
    """Words of *text* outside of the brackets, *facts* taken out."""
    depth, left = 0, []
    for char in text:
        depth += (char == LEFT) - (char == RIGHT)
        left.append(char if depth == 0 and char != RIGHT else "\0")
    rest = re.sub("\0+", "\n", "".join(left))
    for fact in facts:
        rest = rest.replace(fact, " ")
    return [line.strip() for line in rest.split("\n") if _WORD.search(line)]


def _facts() -> list[str]:
    """What people and providers wrote, the longest first."""
    found = {one.label for one in PROVIDERS.values()} | set(_SAME_EVERYWHERE)
    zones = Connection.objects.values_list("time_zone", flat=True)
    found |= {one.rpartition("/")[2] for one in zones}
    for model, names in _FACTS:
        for values in model._default_manager.values_list(*names):
            found |= {text for value in values for text in _strings(value)}
    return sorted((one for one in found if len(one) > 1), key=len, reverse=True)


def _strings(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for one in value.values():
                yield from _strings(one)
        case list() | tuple():
            for one in value:
                yield from _strings(one)
        case _:
            return
