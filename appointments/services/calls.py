"""
The call list of a batch: whom nobody demonstrably told.

People whose appointment is certainly cancelled, and people whose appointment certainly is not,
though it should have been: they would come in vain. Nobody of whom it is not known: to ring them
would be worse than silence.
"""

from __future__ import annotations

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.utils import timezone

from appointments.models import Batch, ConcernedPerson
from appointments.models.cancellations import DONE, FAILED, State, Verdict

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
