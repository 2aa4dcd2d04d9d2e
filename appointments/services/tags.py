"""Who an appointment is with, noted here because its provider does not say it."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from appointments.models import Appointment
from appointments.models.appointments import host_search_text

MOST_OFFERED = 200


def tag(appointment: Appointment, practitioner: str, *, by: User) -> None:
    """
    Note that *appointment* is with *practitioner*; empty: take the note away.

    The row is locked, since a sync writes the text that the filter searches anew.
    """
    with transaction.atomic():
        row = Appointment.objects.select_for_update().get(pk=appointment.pk)
        if row.practitioner == practitioner:
            return
        row.practitioner = practitioner
        row.practitioner_by, row.practitioner_at = by, timezone.now()
        row.host_search = host_search_text(row.host, practitioner)
        row.save(
            update_fields=("practitioner", "practitioner_by", "practitioner_at", "host_search")
        )


def practitioners() -> list[str]:
    """Names that were noted before, to choose from."""
    noted = Appointment.objects.exclude(practitioner="").order_by("practitioner")
    return list(noted.values_list("practitioner", flat=True).distinct()[:MOST_OFFERED])
