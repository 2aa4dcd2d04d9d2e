"""Whether a worker is alive, so that a page can say when none is."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.utils import timezone

SILENT_AFTER = timedelta(seconds=45)
FORGOTTEN_AFTER = timedelta(days=1)


class WorkerPulse(models.Model):
    """One row a worker process, renewed every few seconds."""

    name = models.CharField(max_length=120, unique=True)
    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} at {self.seen_at:%H:%M:%S}"

    @classmethod
    def beat(cls, name: str) -> None:
        now = timezone.now()
        cls.objects.update_or_create(name=name, defaults={"seen_at": now})
        cls.objects.filter(seen_at__lt=now - FORGOTTEN_AFTER).delete()

    @classmethod
    def last_seen(cls) -> datetime | None:
        """When any worker was alive last; None if none ever was."""
        newest = cls.objects.order_by("-seen_at").first()
        return newest.seen_at if newest is not None else None

    @classmethod
    def is_silent(cls) -> bool:
        seen = cls.last_seen()
        return seen is None or timezone.now() - seen > SILENT_AFTER
