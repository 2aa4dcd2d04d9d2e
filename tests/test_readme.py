"""README says what is so."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from django.conf import settings

from appointments.domain import Capabilities, Informs
from appointments.providers.registry import PROVIDERS

README = (settings.BASE_DIR / "README.md").read_text(encoding="utf-8")

INFORMS = {
    Informs.ALL_PARTICIPANTS: "all participants, by mail",
    Informs.PRESUMABLY_INVITEE: "presumably the invitee",
    Informs.NOT_DOCUMENTED: "not documented: ring them",
    Informs.PROBABLY_NOBODY: "not documented: ring them",
}


def yes(value: bool) -> str:
    return "yes" if value else "no"


def reason(can: Capabilities) -> str:
    return f"up to {can.reason_limit:,}" if can.reason_reaches_provider else "no: kept here"


def table() -> list[str]:
    """The table as the adapters have it."""
    rows: dict[str, Callable[[Capabilities], str]] = {
        "Read one booking": lambda can: "yes" if can.reads_one else "no: lists again",
        "Cancel": lambda can: yes(can.cancels),
        "Reason reaches the provider": reason,
        "Remove one person of a group": lambda can: yes(can.one_attendee),
        "Cancel this and later ones": lambda can: yes(can.following),
        "Needs the invitee's e-mail address": lambda can: yes(can.needs_email),
        "Cancelling twice is harmless": lambda can: yes(can.repeat_is_safe),
        "Shows its rules beforehand": lambda can: yes(can.has_policy),
        "Who is told by the provider": lambda can: INFORMS[can.informs],
        "Schedule": lambda can: yes(can.schedules),
        "Shows free slots": lambda can: yes(can.shows_slots),
        "Reschedule": lambda can: yes(can.reschedules),
        "Confirm a pending one": lambda can: yes(can.confirms_pending),
        "Read ahead": lambda can: f"{can.listing_days} days",
        "Requests a minute": lambda can: str(can.requests_per_minute),
    }
    head = [
        "| | " + " | ".join(cls.label for cls in PROVIDERS.values()) + " |",
        "|---" * (len(PROVIDERS) + 1) + "|",
    ]
    return head + [
        f"| {name} | " + " | ".join(cell(cls.capabilities) for cls in PROVIDERS.values()) + " |"
        for name, cell in rows.items()
    ]


def test_the_capability_table_is_that_of_the_adapters() -> None:
    found = re.search(r"<!-- capabilities -->\n(.*?)\n<!-- /capabilities -->", README, re.S)

    assert found is not None
    assert found[1].splitlines() == table()


def test_every_setting_from_the_environment_stands_in_the_readme() -> None:
    source = (settings.BASE_DIR / "portal/settings.py").read_text(encoding="utf-8")
    names = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', source)) - {"DEMO"}

    assert names
    assert {name for name in names if f"`{name}`" not in README} == set()


def test_ci_runs_the_readmes_test_command() -> None:
    """A newcomer's run and CI are the same run."""
    command = "python3 -m pip install -q uv && python3 -m uv run pytest"
    ci = (settings.BASE_DIR / ".ci/run").read_text(encoding="utf-8")

    assert command in README.splitlines()
    assert command in ci.splitlines()


def test_every_picture_of_the_readme_is_there() -> None:
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)

    assert pictures
    assert [one for one in pictures if not Path(settings.BASE_DIR / one).is_file()] == []
