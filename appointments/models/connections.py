"""Accounts at providers, how they are doing, and each refresh of their bookings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext_lazy

from appointments.domain import Account, CancellationPolicy, Capabilities, Gate, Service
from appointments.models.secrets import seal, unseal
from appointments.providers.base import Provider
from appointments.providers.registry import PROVIDERS, provider_class, provider_for

WARN_BEFORE_EXPIRY = timedelta(days=14)


class ConnectionQuerySet(models.QuerySet["Connection"]):
    def active(self) -> ConnectionQuerySet:
        """Connections that are switched on and whose provider this version knows."""
        return self.filter(is_active=True, provider__in=PROVIDERS)


class Connection(models.Model):
    """
    One account at one provider.

    The provider is a plain word, not a choice of the database: a fifth provider needs no
    migration.
    """

    name = models.CharField(
        gettext_lazy("name"),
        max_length=80,
        unique=True,
        help_text=gettext_lazy("As staff know it."),
    )
    provider = models.CharField(gettext_lazy("provider"), max_length=40)
    base_url = models.CharField(gettext_lazy("address"), max_length=300)
    time_zone = models.CharField(
        gettext_lazy("time zone"),
        max_length=64,
        help_text=gettext_lazy("The practice's clock, written as Europe/Amsterdam."),
    )
    sealed_credentials = models.TextField(editable=False)
    credentials_expire_on = models.DateField(
        gettext_lazy("key ends on"),
        null=True,
        blank=True,
        help_text=gettext_lazy(
            "If the key has an end date, everybody at the desk is warned from two weeks before it."
        ),
    )
    daily_quota = models.PositiveIntegerField(
        gettext_lazy("requests a day"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=gettext_lazy(
            "What the account's plan allows between midnight and midnight UTC, where the provider "
            "has such a limit. A fifth of it is kept for people. Empty: not known."
        ),
    )
    is_active = models.BooleanField(
        gettext_lazy("in use"),
        default=True,
        help_text=gettext_lazy(
            "Switched off, it is neither read nor asked for anything. What was cancelled through "
            "it stays on record, so a connection is never deleted."
        ),
    )
    policy = models.JSONField(default=dict, blank=True, editable=False)
    offers = models.JSONField(default=list, blank=True, editable=False)
    """What can be booked, as `Service` fields; refreshed by each sync."""
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ConnectionQuerySet.as_manager()

    class Meta:
        ordering = ("name",)
        verbose_name = gettext_lazy("connection")
        verbose_name_plural = gettext_lazy("connections")

    def __str__(self) -> str:
        return self.name

    @property
    def credentials(self) -> dict[str, str]:
        """
        What lets us in. Only read where a provider is about to be called.

        Raises:
            CannotDecrypt: none of the installation's keys fits.
        """
        found: dict[str, str] = unseal(self.sealed_credentials)
        return found

    @credentials.setter
    def credentials(self, value: Mapping[str, str]) -> None:
        self.sealed_credentials = seal(dict(value))

    @property
    def adapter(self) -> type[Provider]:
        return provider_class(self.provider)

    @property
    def capabilities(self) -> Capabilities:
        """What can be done here; nothing at all if this version does not know the provider."""
        if self.provider not in PROVIDERS:
            return Capabilities(reads_one=False, cancels=False)
        return self.adapter.capabilities

    @property
    def provider_label(self) -> str:
        return self.adapter.label if self.provider in PROVIDERS else self.provider

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    def client(self, *, gate: Gate) -> Provider:
        """
        An adapter for this account, which asks *gate* before each request.

        Services take `limits.client`, which gives the gate that all processes share.
        """
        account = Account(
            base_url=self.base_url,
            credentials=self.credentials,
            time_zone=self.zone,
            rehearsal=settings.REHEARSAL,
            service_names={one.external_id: one.name for one in self.services},
            gate=gate,
        )
        return provider_for(self.provider, account)

    @property
    def known_policy(self) -> CancellationPolicy | None:
        """The policy as last read; None if the provider has none or was never asked."""
        if "allowed" not in self.policy:
            return None
        return CancellationPolicy(
            allowed=self.policy["allowed"],
            notice=timedelta(hours=self.policy["notice_hours"]),
            time_zone=self.policy.get("time_zone", ""),
        )

    @property
    def services(self) -> tuple[Service, ...]:
        return tuple(
            Service(external_id=one["id"], name=one["name"], hosts=tuple(one.get("hosts", ())))
            for one in self.offers
        )

    @property
    def read_to(self) -> date:
        """The last day of which its bookings are listed."""
        days = self.capabilities.listing_days
        return timezone.localdate(timezone=self.zone) + timedelta(days=days)

    def expires_within(self, period: timedelta, *, today: date) -> bool:
        return (
            self.credentials_expire_on is not None and self.credentials_expire_on <= today + period
        )


class ConnectionHealth(models.Model):
    """
    How a connection is doing, as staff see it.

    Apart from the connection, so that an administrator who saves the form overwrites nothing.
    """

    connection = models.OneToOneField(Connection, models.CASCADE, related_name="health")
    read_at = models.DateTimeField(null=True)
    """Start of the newest listing that was read to its end."""
    failing_since = models.DateTimeField(null=True)
    failure = models.CharField(max_length=60, blank=True)
    """Code of the newest failure; `connection_wording.py` has the sentence."""
    failures = models.PositiveIntegerField(default=0)
    """In a row."""
    next_sync_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = "connection health"
        verbose_name_plural = "connection health"

    def __str__(self) -> str:
        return f"{self.connection}: {self.failure or 'well'}"

    @property
    def is_failing(self) -> bool:
        return self.failing_since is not None


class SyncRun(models.Model):
    """One refresh of one connection's bookings."""

    class Outcome(models.TextChoices):
        RUNNING = "running", gettext_lazy("under way")
        COMPLETE = "complete", gettext_lazy("complete")
        FAILED = "failed", gettext_lazy("failed")
        DISCARDED = "discarded", gettext_lazy("not believed")

    connection = models.ForeignKey(Connection, models.CASCADE, related_name="sync_runs")
    started_at = models.DateTimeField()
    alive_at = models.DateTimeField(auto_now=True)
    finished_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=12, choices=Outcome, default=Outcome.RUNNING)
    why = models.CharField(max_length=120, blank=True)
    first_day = models.DateField()
    last_day = models.DateField()
    pages = models.PositiveIntegerField(default=0)
    seen = models.PositiveIntegerField(default=0)
    written = models.PositiveIntegerField(default=0)
    missing = models.PositiveIntegerField(default=0)
    rejected = models.PositiveIntegerField(default=0)
    rejected_ids = models.JSONField(default=list)

    class Meta:
        ordering = ("-started_at",)
        verbose_name = gettext_lazy("refresh")
        verbose_name_plural = gettext_lazy("refreshes")
        constraints = (
            models.UniqueConstraint(
                fields=("connection",),
                condition=Q(outcome="running"),
                name="one_running_sync_per_connection",
            ),
        )
        indexes = (models.Index(fields=("connection", "-started_at")),)

    def __str__(self) -> str:
        started_at = date_format(timezone.localtime(self.started_at), "DATETIME_FORMAT")
        return f"{self.connection}, {started_at}"
