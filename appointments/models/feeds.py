"""Private calendar feeds: what may be read without a login, by whoever knows the address."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

MOST_FEEDS = 10
"""Calendar feeds of one person."""


class CalendarFeed(models.Model):
    """
    One person's calendar of some bookings. The address is a secret, of which only a hash is kept.

    It holds a copy of the filters, so that a saved view which is deleted widens nothing.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="calendar_feeds"
    )
    name = models.CharField(max_length=60, blank=True)
    """Of the saved view it was made from; empty if it holds all appointments."""
    query: models.JSONField[dict[str, str]] = models.JSONField(default=dict, blank=True)
    """Fields of the list's address; those that say which days do not count."""
    with_phones = models.BooleanField("with phone numbers", default=False)
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    """SHA-256 of the secret part of the address, in hexadecimal."""
    created_at = models.DateTimeField(auto_now_add=True)
    last_read_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ("-created_at", "-pk")
        verbose_name = gettext_lazy("calendar feed")
        verbose_name_plural = gettext_lazy("calendar feeds")

    def __str__(self) -> str:
        return self.label

    @property
    def label(self) -> str:
        return self.name or _("All appointments")
