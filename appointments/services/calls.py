"""
The call list of a batch: whom nobody demonstrably told.

Only of what is certainly cancelled: to ring somebody about an outcome that nobody knows would be
worse than silence.
"""

from __future__ import annotations

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.utils import timezone

from appointments.models import Batch, ConcernedPerson
from appointments.models.cancellations import DONE, State
from appointments.services.settle import Verdict

_CERTAIN = Q(cancellation__state__in=DONE, cancellation__contradicted_at=None) | Q(
    cancellation__state=State.SETTLED, cancellation__why=Verdict.CANCELLED
)


def people_to_ring(batch: Batch) -> QuerySet[ConcernedPerson]:
    """Those of *batch* whose appointment is cancelled and who may not know it, by its time."""
    rows = ConcernedPerson.objects.filter(_CERTAIN, cancellation__batch=batch, is_told=False)
    return rows.select_related(
        "cancellation__appointment__connection", "cancellation__connection", "reached_by"
    ).order_by("cancellation__appointment__sorts_at", "pk")


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
