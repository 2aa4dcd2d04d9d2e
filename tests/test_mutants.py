"""The mutants fit the product; whether they are caught is for `python -m tests.mutants`."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.mutants.__main__ import ROOT, Stale, mutate, staleness
from tests.mutants.table import MUTANTS, Edit, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one.name)
def test_a_mutants_text_occurs_exactly_once(mutant: Mutant) -> None:
    """Otherwise it breaks nothing, or something else, and its row in the table says nothing."""
    assert staleness(mutant) == []
    assert all(edit.find != edit.replace for edit in mutant.edits)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one.name)
def test_the_tests_that_must_catch_a_mutant_are_there(mutant: Mutant) -> None:
    assert mutant.caught_by
    for selection in mutant.caught_by:
        path, _, name = selection.partition("::")
        source = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"^def {re.escape(name)}\(", source, re.MULTILINE), selection


def test_names_of_mutants_are_unique() -> None:
    assert [name for name, times in Counter(one.name for one in MUTANTS).items() if times > 1] == []


def test_a_mutant_that_does_not_fit_any_more_is_refused(tmp_path: Path) -> None:
    """Loudly, and before anything is written: half a mutant would prove nothing."""
    (tmp_path / "one.py").write_text("a = 1\n")
    (tmp_path / "two.py").write_text("b = 2\nb = 2\n")
    fits = Edit(file="one.py", find="a = 1", replace="a = 9")
    comes_twice = Edit(file="two.py", find="b = 2", replace="b = 9")

    with pytest.raises(Stale, match="holds it 2 times"):
        mutate(Mutant(name="x", breaks="", edits=(fits, comes_twice), caught_by=()), tmp_path)

    assert (tmp_path / "one.py").read_text() == "a = 1\n"
    mutate(Mutant(name="x", breaks="", edits=(fits,), caught_by=()), tmp_path)
    assert (tmp_path / "one.py").read_text() == "a = 9\n"
