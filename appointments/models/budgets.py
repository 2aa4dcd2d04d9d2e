"""What is left of the requests that a provider allows an account, shared by all processes."""

from __future__ import annotations

from django.db import models

from appointments.models.connections import Connection


class RequestBudget(models.Model):
    """
    One row a connection, written with each request to its provider.

    In the database, because that is what all processes on all machines share already, and apart
    from the connection, so that an administrator who saves the form overwrites nothing.
    """

    connection = models.OneToOneField(Connection, models.CASCADE, related_name="budget")
    paid_until = models.DateTimeField(null=True)
    """
    Each request moves this on by the time between two requests, from now at the earliest; how far
    it lies ahead says how much of the allowed burst is used up.
    """
    closed_until = models.DateTimeField(null=True)
    """The provider answered 429: nobody asks it before this."""
    day = models.DateField(null=True)
    """The UTC day that *used* counts."""
    used = models.PositiveIntegerField(default=0)
    """Requests on *day*."""

    def __str__(self) -> str:
        return f"{self.connection}: {self.used} requests on {self.day}"
