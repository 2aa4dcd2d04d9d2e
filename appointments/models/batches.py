"""Many appointments cancelled at once: one cancellation each, asked for together."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from appointments.models.connections import Connection


class Batch(models.Model):
    """What somebody wanted cancelled together. Its cancellations carry the states."""

    form_key = models.UUIDField(unique=True)
    """Made with the review: the same review sent twice is one batch."""
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="batches"
    )
    requested_at = models.DateTimeField()
    reason = models.TextField(blank=True)
    note = models.TextField(blank=True)
    excluded = models.JSONField(default=list)
    """`{"appointment": pk, "why": code}` of each that was chosen and could not be asked for."""
    stopped_at = models.DateTimeField(null=True)
    stopped_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="stopped_batches"
    )

    class Meta:
        ordering = ("-requested_at", "-pk")
        verbose_name = gettext_lazy("batch")
        verbose_name_plural = gettext_lazy("batches")

    def __str__(self) -> str:
        return _("Batch %(number)s") % {"number": self.pk}

    def get_absolute_url(self) -> str:
        return reverse("batch", args=[self.pk])


class BatchLaneQuerySet(models.QuerySet["BatchLane"]):
    def paused(self) -> BatchLaneQuerySet:
        return self.filter(paused_at__isnull=False)

    def held(self) -> BatchLaneQuerySet:
        """Lanes in which nothing may be sent: paused, or the whole batch is stopped."""
        return self.filter(Q(paused_at__isnull=False) | Q(batch__stopped_at__isnull=False))

    def of_cancellation(self) -> Exists:
        """Condition on cancellations: nothing may be sent in their lane."""
        same = {"batch": OuterRef("batch"), "connection": OuterRef("connection")}
        return Exists(self.held().filter(**same))


class BatchLane(models.Model):
    """One connection's part of a batch. It pauses alone: the others go on."""

    batch = models.ForeignKey(Batch, models.PROTECT, related_name="lanes")
    connection = models.ForeignKey(Connection, models.PROTECT, related_name="+")
    not_sent_running = models.PositiveSmallIntegerField(default=0)
    """Requests in a row that did not leave us, or could not be prepared."""
    unknown_running = models.PositiveSmallIntegerField(default=0)
    """Outcomes in a row that nobody knows."""
    paused_at = models.DateTimeField(null=True)
    paused_why = models.CharField(max_length=20, blank=True)
    """`not_sent`, `unknown`, `refused` or `busy`; `wording.py` has the sentence."""
    resumed_at = models.DateTimeField(null=True)
    resumed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )

    objects = BatchLaneQuerySet.as_manager()

    class Meta:
        ordering = ("pk",)
        constraints = (
            models.UniqueConstraint(fields=("batch", "connection"), name="one_lane_per_connection"),
        )

    def __str__(self) -> str:
        return f"{self.batch} at {self.connection}"

    def pause(self, why: str, *, at: datetime) -> None:
        self.paused_at, self.paused_why = at, why

    def go_on(self, *, by: Any, at: datetime) -> None:
        self.paused_at, self.paused_why = None, ""
        self.not_sent_running = self.unknown_running = 0
        self.resumed_by, self.resumed_at = by, at
