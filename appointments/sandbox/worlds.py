"""All providers' worlds in one sandbox."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from random import Random

from appointments.sandbox.carevalidate import CareValidateWorld
from appointments.sandbox.core import Sandbox, World
from appointments.sandbox.huskyvoice import HuskyVoiceWorld
from appointments.sandbox.meetergo import MeetergoWorld
from appointments.sandbox.mijnklantportaal import MijnKlantportaalWorld
from appointments.sandbox.people import PEOPLE

WORLDS: tuple[type[World], ...] = (
    MijnKlantportaalWorld,
    MeetergoWorld,
    CareValidateWorld,
    HuskyVoiceWorld,
)


def build(file: Path | None = None) -> Sandbox:
    """
    Make a sandbox of all providers, without a single booking.

    *file* keeps the state: what it holds is read, and every change is written to it.

    Raises:
        ValueError: *file* is no state of a sandbox.
    """
    return Sandbox([world() for world in WORLDS], file=file)


def seed(sandbox: Sandbox, *, now: datetime, number: int = 7) -> None:
    """
    Replace whatever the worlds hold by believable bookings around *now* (aware).

    The same *number* and *now* give the same bookings; each world has a generator of its own, so
    that a change to one does not move the bookings of the others.
    """
    with sandbox.lock:
        for slug, world in sandbox.worlds.items():
            world.load(world.empty())
            world.seed(now=now, people=PEOPLE, random=Random(f"{number} {slug}"))
        sandbox.save()
