"""The catalogs hold every string of the source, and say of each placeholder what it stands for."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import polib
import pytest
from django.conf import settings
from django.utils.translation.template import templatize

ROOT = Path(settings.BASE_DIR)
NOT_TRANSLATED = ("sandbox", "migrations", "management")
CODES = [code for code, _ in settings.LANGUAGES if code != "en"]

FUNCTIONS = {
    "_": "one",
    "gettext": "one",
    "gettext_lazy": "one",
    "ngettext": "one many",
    "pgettext": "context one",
    "npgettext": "context one many",
}
_MARKED = re.compile(r"""\b(?:_|n?p?gettext)\((?:[^()'"]|'(?:\\.|[^'])*'|"(?:\\.|[^"])*")*\)""")
_PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|\{\}|</?\w+[^>]*>")

type Message = tuple[str, str, str]
"""Context, text, plural; empty where there is none."""


def marked_in(tree: ast.AST, where: str) -> Iterator[Message]:
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        name = getattr(call.func, "id", getattr(call.func, "attr", ""))
        if name not in FUNCTIONS:
            continue
        parts = FUNCTIONS[name].split()
        given = [str(one.value) for one in call.args if isinstance(one, ast.Constant)]
        assert len(given) >= len(parts), f"{where}: {ast.unparse(call)} is not literal"
        said = dict(zip(parts, given, strict=False))
        yield said.get("context", ""), said["one"], said.get("many", "")


def sources() -> Iterator[tuple[str, Iterable[Message]]]:
    for file in sorted((ROOT / "appointments").rglob("*.py")):
        name = str(file.relative_to(ROOT))
        if not any(f"/{part}/" in name for part in NOT_TRANSLATED):
            yield name, marked_in(ast.parse(file.read_text(encoding="utf-8")), name)
    for file in sorted((ROOT / "templates").rglob("*.html")):
        name = str(file.relative_to(ROOT))
        calls = _MARKED.findall(templatize(file.read_text(encoding="utf-8"), origin=name))
        yield name, (one for call in calls for one in marked_in(ast.parse(call), name))


def catalog(code: str, kind: str) -> Path:
    return ROOT / "appointments/locale" / code / "LC_MESSAGES" / f"django.{kind}"


def read(code: str) -> dict[Message, polib.POEntry]:
    return {
        (one.msgctxt or "", one.msgid, one.msgid_plural): one
        for one in polib.pofile(str(catalog(code, "po")))
    }


def texts(entry: polib.POEntry | polib.MOEntry) -> list[str]:
    return list(entry.msgstr_plural.values()) if entry.msgid_plural else [entry.msgstr]


@pytest.fixture(scope="module")
def marked() -> dict[Message, str]:
    """Every marked string, and a file in which it stands."""
    return {message: name for name, messages in sources() for message in messages}


@pytest.mark.parametrize("code", CODES)
def test_every_marked_string_is_translated(marked: dict[Message, str], code: str) -> None:
    there = {key for key, entry in read(code).items() if all(texts(entry)) and not entry.fuzzy}

    missing = {key: name for key, name in marked.items() if key not in there}
    assert missing == {}


@pytest.mark.parametrize("code", CODES)
def test_no_catalog_keeps_what_nobody_says_any_more(marked: dict[Message, str], code: str) -> None:
    assert set(read(code)) - set(marked) == set()
    assert polib.pofile(str(catalog(code, "po"))).obsolete_entries() == []


@pytest.mark.parametrize("code", CODES)
def test_translations_keep_every_placeholder_and_every_tag(code: str) -> None:
    wrong = [
        (entry.msgid, text)
        for entry in read(code).values()
        for text in texts(entry)
        if sorted(_PLACEHOLDER.findall(text)) != sorted(_PLACEHOLDER.findall(entry.msgid))
    ]
    assert wrong == []


@pytest.mark.parametrize("code", CODES)
def test_what_is_compiled_is_what_is_written(code: str) -> None:
    """Nobody needs the gettext tools to run the portal, and nobody runs an older translation."""
    compiled = {
        (one.msgctxt or "", one.msgid, one.msgid_plural or ""): texts(one)
        for one in polib.mofile(str(catalog(code, "mo")))
    }
    written = {key: texts(entry) for key, entry in read(code).items()}
    assert compiled == written


def test_the_texts_of_the_script_come_from_the_page() -> None:
    """What a person reads is not written into the script: nobody would translate it there."""
    script = (ROOT / "static/portal.js").read_text(encoding="utf-8")
    code = re.sub(r"/\*.*?\*/|^\s*//.*?$|\s//\s.*?$", "", script, flags=re.S | re.M)
    literals = re.findall(r'"((?:\\.|[^"\\\n])*)"|`((?:\\.|[^`\\])*)`', code)

    sentences = [one or other for one, other in literals if re.match(r"[A-Z].*[a-z]", one or other)]
    keys = {"Escape", "ArrowDown", "ArrowUp", "Enter", "HX-Request", "X-Background", "X-CSRFToken"}
    assert set(sentences) - keys == set()
