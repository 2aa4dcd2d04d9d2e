"""
The providers' own books, read and changed behind the portal's back.

What a history is judged by comes from here, never from the portal's copy: who stands in which
booking, when it is, and whether it stands.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from appointments.sandbox.core import Json, Request, World
from appointments.sandbox.people import PEOPLE


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One booking as its provider has it at one moment."""

    is_live: bool
    when: tuple[str, ...]
    people: frozenset[str]
    """Ids of the people booked, where the provider has such ids."""
    changed_at: datetime | None
    """When it changed last, by the provider's own word; None where it has none."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a cancel request names."""

    booking: str
    person: str = ""
    following: bool = False


class Book(ABC):
    """One provider's book."""

    def __init__(self, world: World) -> None:
        self.world = world

    @abstractmethod
    def fill(self, soon: datetime) -> None:
        """Enter the few bookings that histories are about, around *soon*."""

    @abstractmethod
    def rows(self) -> Mapping[str, Json]:
        """The provider's own records by id, changeable."""

    @abstractmethod
    def standing(self, row: Json) -> Standing: ...

    @abstractmethod
    def target(self, request: Request) -> Target:
        """What a cancel request names."""

    @abstractmethod
    def cancel(self, row: Json) -> None:
        """Cancel as somebody does at the provider itself."""

    @abstractmethod
    def reopen(self, row: Json) -> None:
        """Book again what was cancelled, under the same id."""

    @abstractmethod
    def move(self, row: Json) -> None:
        """Put it on another time of the same day."""

    def vanish(self, booking: str) -> None:
        """Take it out of the book as if it had never been there."""
        del self.world.state["appointments"][booking]

    def lose_a_person(self, row: Json) -> str:
        """Have one of several people leave; the id, empty if nobody can."""
        return ""

    def later(self, booking: str) -> set[str]:
        """Ids of later occurrences of the same series."""
        return set()

    def standings(self) -> dict[str, Standing]:
        return {external_id: self.standing(row) for external_id, row in self.rows().items()}

    def shown(self, request: Request, operation: str) -> set[str]:
        """The bookings whose state an answer to *request* shows."""
        match operation:
            case "read":
                return {request.path.split("/")[-1]}
            case "cancel":
                return {self.target(request).booking}
            case "list":
                return set(self.rows())
            case _:
                return set()


class MijnKlantportaalBook(Book):
    world: Any

    def fill(self, soon: datetime) -> None:
        self.world.add(starts_at=soon, person=PEOPLE[0])
        self.world.add(starts_at=soon + timedelta(hours=2), person=PEOPLE[1], status="pending")

    def rows(self) -> Mapping[str, Json]:
        rows: Mapping[str, Json] = self.world.state["appointments"]
        return rows

    def standing(self, row: Json) -> Standing:
        return Standing(
            is_live=row["status"] in ("scheduled", "pending"),
            when=(_utc(row["startsAt"]), _utc(row["endsAt"])),
            people=frozenset(),
            changed_at=None,
        )

    def target(self, request: Request) -> Target:
        return Target(booking=request.path.split("/")[-1])

    def cancel(self, row: Json) -> None:
        row["status"] = "canceled"

    def reopen(self, row: Json) -> None:
        row["status"] = "scheduled"

    def move(self, row: Json) -> None:
        for field in ("startsAt", "endsAt"):
            later = datetime.fromisoformat(row[field]) + timedelta(minutes=5)
            row[field] = later.isoformat(timespec="seconds")


class MeetergoBook(Book):
    world: Any

    def fill(self, soon: datetime) -> None:
        self.world.add(start=soon, people=PEOPLE[15:16])
        self.world.add(start=soon + timedelta(hours=2), people=PEOPLE[17:20])
        for week in range(2):
            start = soon + timedelta(hours=4, days=7 * week)
            self.world.add(start=start, people=PEOPLE[20:21], series="physio")

    def rows(self) -> Mapping[str, Json]:
        rows: Mapping[str, Json] = self.world.state["appointments"]
        return rows

    def standing(self, row: Json) -> Standing:
        return Standing(
            is_live=not row["isCancelled"],
            when=(_utc(row["start"]), _utc(row["end"])),
            people=frozenset(row["attendeeIds"]),
            changed_at=datetime.fromisoformat(row["updatedAt"]),
        )

    def target(self, request: Request) -> Target:
        return Target(
            booking=request.path.split("/")[3],
            person=request.body.get("attendeeId", ""),
            following=request.body.get("cancelEntireSeries", False),
        )

    def cancel(self, row: Json) -> None:
        at = _milliseconds()
        cancel = {"actionSource": "attendee", "actionAt": at, "actionBy": None, "reason": None}
        row |= {"isCancelled": True, "updatedAt": at, "cancel": cancel}

    def reopen(self, row: Json) -> None:
        row |= {"isCancelled": False, "updatedAt": _milliseconds(), "cancel": {}}

    def move(self, row: Json) -> None:
        for field in ("start", "end"):
            row[field] = _milliseconds(datetime.fromisoformat(row[field]) + timedelta(minutes=5))
        row["updatedAt"] = _milliseconds()

    def lose_a_person(self, row: Json) -> str:
        if len(row["attendees"]) < 2 or row["isCancelled"]:
            return ""
        left: str = row["attendees"].pop()["id"]
        row["attendeeIds"].remove(left)
        row["updatedAt"] = _milliseconds()
        return left

    def later(self, booking: str) -> set[str]:
        series, rows = self.world.state["series"], self.rows()
        if booking not in series:
            return set()
        return {
            one
            for one, name in series.items()
            if name == series[booking]
            and {one, booking} <= rows.keys()
            and rows[one]["start"] > rows[booking]["start"]
        }


class CareValidateBook(Book):
    world: Any

    def fill(self, soon: datetime) -> None:
        self.world.add(starts_at=soon, person=PEOPLE[26])
        self.world.add(starts_at=soon + timedelta(hours=2), person=PEOPLE[27], custom=True)

    def rows(self) -> Mapping[str, Json]:
        return {one["id"]: one for one in self.world.state["events"]}

    def standing(self, row: Json) -> Standing:
        return Standing(
            is_live=row["deleted_at"] is None,
            when=(_utc(row["start"]), _utc(row["end"])),
            people=frozenset(),
            changed_at=datetime.fromisoformat(row["changed_at"]),
        )

    def target(self, request: Request) -> Target:
        named = request.body.get("appointmentId") or request.body["calendar"]["id"]
        return Target(booking=named.lower())

    def shown(self, request: Request, operation: str) -> set[str]:
        """The list leaves out what is cancelled; only the detail of its case shows that."""
        match operation:
            case "list":
                return {one for one, row in self.rows().items() if row["deleted_at"] is None}
            case "case":
                case_id = request.one("caseId").lower()
                return {one for one, row in self.rows().items() if row["case"] == case_id}
            case _:
                return super().shown(request, operation)

    def vanish(self, booking: str) -> None:
        events = self.world.state["events"]
        events[:] = [one for one in events if one["id"] != booking]

    def cancel(self, row: Json) -> None:
        row["deleted_at"] = row["changed_at"] = _seconds()

    def reopen(self, row: Json) -> None:
        row |= {"deleted_at": None, "changed_at": _seconds()}

    def move(self, row: Json) -> None:
        for field in ("start", "end"):
            row[field] = _seconds(datetime.fromisoformat(row[field]) + timedelta(minutes=5))
        row["changed_at"] = _seconds()


class HuskyVoiceBook(Book):
    world: Any

    def fill(self, soon: datetime) -> None:
        day = soon.date() + timedelta(days=1)
        self.world.add(day=day)
        self.world.add(day=day, session="Afternoon", batch="AA", patient="Nila Krishnan")

    def rows(self) -> Mapping[str, Json]:
        rows: Mapping[str, Json] = self.world.state["appointments"]
        return rows

    def standing(self, row: Json) -> Standing:
        return Standing(
            is_live=row["status"] in ("confirmed", "rescheduled"),
            when=(row["date"], row["session"], row["batch"]),
            people=frozenset(),
            changed_at=datetime.fromisoformat(row["updated_at"]),
        )

    def target(self, request: Request) -> Target:
        return Target(booking=request.path.split("/")[-1])

    def cancel(self, row: Json) -> None:
        row |= {"status": "cancelled", "updated_at": _milliseconds()}

    def reopen(self, row: Json) -> None:
        row |= {"status": "confirmed", "updated_at": _milliseconds()}

    def move(self, row: Json) -> None:
        batch = {"MA": "MB", "MB": "MA", "AA": "AB", "AB": "AA"}[row["batch"]]
        row |= {"batch": batch, "updated_at": _milliseconds()}


BOOKS: Mapping[str, type[Book]] = {
    "mijnklantportaal": MijnKlantportaalBook,
    "meetergo": MeetergoBook,
    "carevalidate": CareValidateBook,
    "huskyvoice": HuskyVoiceBook,
}


def _utc(text: str) -> str:
    return datetime.fromisoformat(text).astimezone(UTC).isoformat()


def _milliseconds(when: datetime | None = None) -> str:
    text = (when or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _seconds(when: datetime | None = None) -> str:
    return (when or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
