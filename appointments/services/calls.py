"""
The call list of a batch: whom nobody demonstrably told.

People whose appointment is certainly cancelled, and people whose appointment certainly is not,
though it should have been: they would come in vain. Nobody of whom it is not known: to ring them
would be worse than silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.db.models.functions import Lower
from django.utils import timezone

from appointments.models import Attendee, Batch, ConcernedPerson
from appointments.models.appointments import fold
from appointments.models.cancellations import DONE, FAILED, State, Verdict
from appointments.services.reach import same_number

_CERTAIN = Q(cancellation__state__in=DONE, cancellation__contradicted_at=None) | Q(
    cancellation__state=State.SETTLED, cancellation__why=Verdict.CANCELLED
)


_STILL_BOOKED = Q(cancellation__state__in=FAILED) | Q(
    cancellation__state=State.SETTLED, cancellation__why=Verdict.STILL_BOOKED
)


def people_to_ring(batch: Batch) -> QuerySet[ConcernedPerson]:
    """Those of *batch* who should be rung, whatever they are to be told, by appointment."""
    return _of(batch).filter(_CERTAIN & Q(is_told=False) | _STILL_BOOKED)


def cancelled_people(batch: Batch) -> QuerySet[ConcernedPerson]:
    """Those whose appointment is cancelled and who may not know it."""
    return _of(batch).filter(_CERTAIN, is_told=False)


def booked_people(batch: Batch) -> QuerySet[ConcernedPerson]:
    """Those whose appointment should have been cancelled and is still booked."""
    return _of(batch).filter(_STILL_BOOKED)


def _of(batch: Batch) -> QuerySet[ConcernedPerson]:
    return (
        ConcernedPerson.objects.filter(cancellation__batch=batch)
        .select_related(
            "cancellation__appointment__connection", "cancellation__connection", "reached_by"
        )
        .order_by("cancellation__appointment__sorts_at", "pk")
    )


MOST_OTHER_NUMBERS = 2
"""Of one person; more would be a search, not a call."""
MOST_LOOKED_AT = 5000
"""Rows with an address of a call list; some providers write one and the same for everybody."""
_WHOLE_NUMBER = re.compile(r"\+?[\d\s()./-]{6,}")
"""Nothing masked: what has letters or stars for digits reaches nobody."""


def other_numbers(people: Iterable[ConcernedPerson]) -> Mapping[int, list[Attendee]]:
    """
    Further telephone numbers of *people*, by key: from other appointments with the same address.

    Only the address says that it is the same person; a name is shared by too many. The latest
    appointment comes first, since people change their numbers.
    """
    addresses: dict[str, list[ConcernedPerson]] = {}
    for one in people:
        if one.email:
            addresses.setdefault(one.email.lower(), []).append(one)
    found: dict[int, list[Attendee]] = {}
    known = {one.pk: {same_number(one.phone)} for same in addresses.values() for one in same}
    booked = (
        Attendee.objects.exclude(phone="")
        .alias(address=Lower("email"))
        .filter(address__in=addresses)
        .order_by("-appointment__sorts_at", "position", "pk")
    )[:MOST_LOOKED_AT]
    for attendee in booked:
        if not _WHOLE_NUMBER.fullmatch(attendee.phone.strip()):
            continue
        for person in addresses.get(attendee.email.lower(), ()):
            numbers = found.setdefault(person.pk, [])
            number = same_number(attendee.phone)
            if number in known[person.pk] or len(numbers) == MOST_OTHER_NUMBERS:
                continue
            known[person.pk].add(number)
            numbers.append(attendee)
    return found


def booked_as(person: ConcernedPerson, attendee: Attendee) -> str:
    """The name that goes with the number of *attendee*, if it is not that of *person*."""
    return "" if fold(attendee.name) == fold(person.name) else attendee.label


def note_reached(person: ConcernedPerson, *, by: User, is_reached: bool) -> None:
    """
    Note that *by* told *person*, or take the note back.

    Raises:
        PermissionDenied: *by* may not cancel, and so has no business here.
    """
    if not by.has_perm("appointments.cancel_appointment"):
        raise PermissionDenied
    person.reached_at, person.reached_by = (timezone.now(), by) if is_reached else (None, None)
    person.save(update_fields=("reached_at", "reached_by"))
