"""Appointments that staff asked a provider to book: the same care, a shorter path."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse

from appointments.models.appointments import Appointment
from appointments.models.connections import Connection


class Booking(models.Model):
    """
    A member of staff's intent to schedule an appointment.

    A booking request is sent once and never again: no provider documents a way to tell a repeat
    from a second booking. After a lost answer the provider is read, and what was found decides.
    """

    class State(models.TextChoices):
        REQUESTED = "requested", "waiting"
        SENDING = "sending", "sending"
        CONFIRMED = "confirmed", "booked"
        AWAITS_CONFIRMATION = "awaits_confirmation", "waiting for confirmation"
        REFUSED = "refused", "refused"
        NOT_SENT = "not_sent", "not sent"
        UNKNOWN = "unknown", "outcome unknown"
        NEEDS_HUMAN = "needs_human", "needs a person"
        SETTLED = "settled", "settled by hand"

    OPEN = frozenset({State.REQUESTED, State.SENDING, State.UNKNOWN, State.NEEDS_HUMAN})

    form_key = models.UUIDField(unique=True)
    connection = models.ForeignKey(Connection, models.PROTECT, related_name="bookings")
    wish = models.JSONField()
    """`ScheduleRequest` as it was asked for; see `services.schedule`."""
    starts_at = models.DateTimeField()
    state = models.CharField(max_length=20, choices=State, default=State.REQUESTED)
    why = models.CharField(max_length=60, blank=True)
    said = models.TextField(blank=True)
    external_id = models.CharField(max_length=200, blank=True)
    appointment = models.ForeignKey(
        Appointment, models.SET_NULL, null=True, related_name="booking_requests"
    )
    booked_at = models.DateTimeField(null=True)
    """Start that was read back; null if it was not, or where the provider has no clock time."""
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="bookings"
    )
    requested_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    due_at = models.DateTimeField(null=True)
    lease_key = models.UUIDField(null=True)
    lease_until = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    """Set before the first byte leaves; what has it is never sent again."""
    settled_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-requested_at", "-pk")
        constraints = (
            models.CheckConstraint(
                condition=Q(
                    state__in=[
                        "requested",
                        "sending",
                        "confirmed",
                        "awaits_confirmation",
                        "refused",
                        "not_sent",
                        "unknown",
                        "needs_human",
                        "settled",
                    ]
                ),
                name="booking_state_known",
            ),
        )
        indexes = (
            models.Index(fields=("due_at",), condition=Q(due_at__isnull=False), name="booking_due"),
        )

    def __str__(self) -> str:
        return f"Booking {self.pk}: {self.state}"

    def get_absolute_url(self) -> str:
        return reverse("booking", args=[self.pk])

    @property
    def is_moving(self) -> bool:
        return self.state in self.OPEN
