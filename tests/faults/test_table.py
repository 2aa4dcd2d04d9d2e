"""The table itself: complete, unambiguous, and what the README says."""

from __future__ import annotations

import ast
from collections import Counter

import pytest
from django.conf import settings

from appointments.providers.registry import PROVIDERS as ADAPTERS
from appointments.providers.transport import WRITE_DEADLINE
from appointments.services import lanes, limits, reconcile, send
from tests.desk import SLUGS, Desk
from tests.faults import matrix, readme, rules
from tests.faults.matrix import CHAPTERS
from tests.faults.rules import (
    FAILS,
    NOT_BELIEVED,
    Case,
    Chapter,
    Course,
    Listing,
    course,
)

every_chapter = pytest.mark.parametrize(
    "chapter", [pytest.param(one, id=one.happens) for one in CHAPTERS]
)


def test_the_readme_shows_this_table() -> None:
    text = readme.README.read_text(encoding="utf-8")
    _, _, rest = text.partition(readme.BEGIN + "\n")
    written, _, _ = rest.partition("\n" + readme.END)

    assert written == readme.page(), "run: python -m tests.faults.readme"


def test_no_two_cases_have_one_name() -> None:
    parts: list[Case | Listing] = [*matrix.all_cases(), *matrix.all_listings()]
    names = Counter(one.name for one in parts)

    assert [name for name, count in names.items() if count > 1] == []


@every_chapter
def test_a_chapter_says_what_its_cases_end_with(chapter: Chapter) -> None:
    """Each title that staff may read at once, and whether the strip above the list changes."""
    for case in chapter.cases:
        for slug in case.at:
            ends = [case.ending(slug)]
            if case.settles is None and not case.is_applied:
                ends += _certain(course(case, slug, stays=True))
            for one in ends:
                assert one.title.format(provider="…") in chapter.read
    refreshes = {case.refreshing(slug) for case in chapter.cases for slug in case.at}
    if (refreshes | {one.refresh for one in chapter.listings}) & {FAILS, NOT_BELIEVED}:
        assert "failing since" in chapter.refresh


def _certain(ends: Course) -> list[rules.Ending]:
    """How it ends, unless nobody knows: that is told above the table for all."""
    return [] if "unknown" in ends.answers else [ends.ending]


@every_chapter
def test_every_proof_is_there(chapter: Chapter) -> None:
    for one in chapter.elsewhere:
        assert one.proofs
        for proof in one.proofs:
            file, _, name = proof.partition("::")
            tree = ast.parse((settings.BASE_DIR / file).read_text(encoding="utf-8"))
            assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_numbers_of_the_table_are_those_of_the_services() -> None:
    """Tests move the clock by them, so a change must be seen here and in the README."""
    assert tuple(one.total_seconds() for one in reconcile.READ_AT) == rules.READ_AFTER
    assert tuple(one.total_seconds() for one in send.TRY_AGAIN) == rules.SENT_AFTER
    assert reconcile.UNREADABLE_FOR.total_seconds() == rules.SILENT.reads[-1]
    assert reconcile.QUIET.total_seconds() == rules.READ_AFTER[-1]
    assert (lanes.NOT_SENT_MOST, lanes.UNKNOWN_MOST) == (3, 2)
    safe = {slug for slug, cls in ADAPTERS.items() if cls.capabilities.repeat_is_safe}
    assert safe == rules.REPEAT_IS_SAFE
    assert set(ADAPTERS) == set(rules.PROVIDERS)


@pytest.mark.parametrize("slug", SLUGS)
def test_the_deadlines_that_tests_shorten_are_the_real_ones(slug: str, desk: Desk) -> None:
    """
    A cancellation ends within 20 seconds, and its lease outlives all that it may take.

    Every other test shortens this, so that a server that hangs costs half a second.
    """
    client = limits.client(desk.connection(slug), limits.Urgency.WORK)

    assert client.http.write_deadline == WRITE_DEADLINE == 20
    longest = send.LOOK + WRITE_DEADLINE + send.SECOND_LOOK
    # The lease begins anew with the claim, after the look.
    assert longest <= send.LEASE.total_seconds()
