"""What a member of staff chose for themselves."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class StaffSettings(models.Model):
    """One row for whoever chose something; nobody needs one."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="staff_settings"
    )
    language = models.CharField(max_length=10, blank=True)
    """A code of `LANGUAGES`; empty: as the browser asks."""

    class Meta:
        verbose_name_plural = "staff settings"

    def __str__(self) -> str:
        return f"{self.user}: {self.language or 'no language chosen'}"
