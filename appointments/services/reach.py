"""By what somebody is known again at another provider: an address or a number, never a name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from appointments.models import Attendee, Connection
from appointments.models.appointments import digits, fold

COMPARED = 8
"""Last digits of a number: before them stands the country's, a zero, or nothing."""


@dataclass(frozen=True, kw_only=True)
class Reach:
    """The addresses and numbers of some people."""

    emails: frozenset[str] = frozenset()
    numbers: frozenset[str] = frozenset()

    @classmethod
    def of(cls, *, emails: Iterable[str] = (), phones: Iterable[str] = ()) -> Reach:
        numbers = (_number(one) for one in phones)
        return cls(
            emails=frozenset(address for one in emails if (address := fold(one))),
            numbers=frozenset(one for one in numbers if one),
        )

    @classmethod
    def of_people(cls, people: Iterable[Attendee]) -> Reach:
        people = list(people)
        return cls.of(emails=(one.email for one in people), phones=(one.phone for one in people))

    def __or__(self, other: Reach) -> Reach:
        return Reach(emails=self.emails | other.emails, numbers=self.numbers | other.numbers)

    def __bool__(self) -> bool:
        return bool(self.emails or self.numbers)

    def likely(self) -> list[list[str]]:
        """
        Texts by which their rows are found, and a few of others, whose address only ends like one.

        As `AppointmentQuerySet.holding` takes them; none of no reach at all, which would be all.
        """
        return [[one] for one in sorted(self.emails | self.numbers)]

    def is_of(self, person: Attendee) -> bool:
        """Whether *person*, or a guest of theirs, can be reached there."""
        addresses = (fold(one) for one in (person.email, *person.guests))
        return _number(person.phone) in self.numbers or any(one in self.emails for one in addresses)


def customer_of(connection: Connection, number: str) -> Attendee | None:
    """Whom the provider's customer *number* stands for, as a booking of ours shows."""
    if not number:
        return None
    found = Attendee.objects.filter(external_id=number, appointment__connection=connection)
    return found.order_by("-appointment__sorts_at").first()


def same_number(phone: str) -> str:
    """What two ways to write one number have in common, with and without the country."""
    return digits(phone)[-COMPARED:]


def _number(phone: str) -> str:
    """What is compared of *phone*; empty if it is too short to be anybody's."""
    number = same_number(phone)
    return number if len(number) == COMPARED else ""
