"""What people keep for themselves: views of the list under a name of their own."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

LONGEST_NAME = 60
MOST_FILTERS = 30
"""Saved filters of one person."""


class SavedFilter(models.Model):
    """One person's view of the list. Ranges such as *today* are kept as words, not as days."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="saved_filters")
    name = models.CharField(max_length=LONGEST_NAME)
    query: models.JSONField[dict[str, str]] = models.JSONField(default=dict)
    """Fields of the list's address and their values; empty: the list as it opens."""
    is_start = models.BooleanField(default=False)
    """Whether the list opens with it."""
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name", "pk")
        constraints = (
            models.UniqueConstraint("user", Lower("name"), name="one_saved_filter_per_name"),
            models.UniqueConstraint(
                fields=("user",), condition=Q(is_start=True), name="one_start_filter_per_person"
            ),
        )

    def __str__(self) -> str:
        return self.name
