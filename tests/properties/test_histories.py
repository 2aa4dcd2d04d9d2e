"""
Histories at random, at each provider alone and at all four together.

    uv run pytest tests/properties                                   a few hundred, a minute
    uv run pytest tests/properties --hypothesis-profile=long -n 2    ten thousand

A history that fails is kept below `failures/` and tried first from then on: commit what appears
there, and add the history in plain words to `test_found.py` with the mend.
"""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.properties.histories import (
    AllHistories,
    CareValidateHistories,
    Ground,
    Histories,
    HuskyVoiceHistories,
    MeetergoHistories,
    MijnKlantportaalHistories,
)


@pytest.mark.parametrize(
    "machine",
    [
        MijnKlantportaalHistories,
        MeetergoHistories,
        CareValidateHistories,
        HuskyVoiceHistories,
        AllHistories,
    ],
)
def test_the_properties_hold_in_every_history(
    machine: type[Histories], ground: Ground, profile: settings
) -> None:
    machine.ground = ground
    run_state_machine_as_test(machine, settings=profile)
