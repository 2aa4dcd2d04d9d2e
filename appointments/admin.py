"""
For administrators: looking, and configuration.

The ledger is read-only here. Credentials go in and never come out: their fields are always empty,
and an empty field keeps what is stored.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html

from appointments.models import (
    Appointment,
    Attendee,
    Batch,
    Booking,
    BookingEvent,
    CalendarFeed,
    Cancellation,
    CancellationEvent,
    Connection,
    ConnectionHealth,
    ProviderCall,
    ReasonPreset,
    SyncRun,
)
from appointments.models.secrets import CannotDecrypt
from appointments.providers.registry import PROVIDERS
from appointments.services import connect as connecting
from appointments.services import limits
from appointments.services.sync import sync_soon
from appointments.wording import failure, freshness, quota_used

admin.site.site_header = "Appointment portal"
admin.site.site_title = "Appointment portal"
admin.site.index_title = "Administration"


class ReadOnly:
    """Mixin: this may be looked at, and nothing else."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


# --- connections ------------------------------------------------------------------------------


def _credential_inputs() -> dict[str, forms.CharField]:
    """One write-only input for each credential that any provider takes."""
    labels: dict[str, str] = {}
    for cls in PROVIDERS.values():
        for one in cls.credential_fields:
            labels.setdefault(one.name, one.label)
    return {
        f"credential_{name}": forms.CharField(
            label=label,
            required=False,
            strip=True,
            widget=forms.PasswordInput(
                render_value=False, attrs={"autocomplete": "off", "class": "vTextField"}
            ),
            help_text="Stored encrypted and never shown again. Empty: keep what is stored.",
        )
        for name, label in labels.items()
    }


class ConnectionForm(forms.ModelForm[Connection]):
    """Judges address, zone and credentials with the rules of `manage.py connect`."""

    class Meta:
        model = Connection
        fields = (
            "name",
            "provider",
            "base_url",
            "time_zone",
            "credentials_expire_on",
            "daily_quota",
            "is_active",
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields.update(_credential_inputs())
        self.fields["provider"] = forms.ChoiceField(
            choices=[(slug, cls.label) for slug, cls in PROVIDERS.items()]
        )
        if self.instance.pk:
            self.fields["provider"].disabled = True

    def clean_base_url(self) -> str:
        return self._checked(connecting.checked_base_url, self.cleaned_data["base_url"])

    def clean_time_zone(self) -> str:
        return self._checked(connecting.checked_zone, self.cleaned_data["time_zone"])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        slug = cleaned.get("provider", "")
        if slug not in PROVIDERS:
            return cleaned
        typed = {
            name.removeprefix("credential_"): value
            for name, value in cleaned.items()
            if name.startswith("credential_") and value
        }
        if not typed and self.instance.pk:
            if _host(cleaned.get("base_url", "")) != _host(self.initial.get("base_url", "")):
                self.add_error(
                    f"credential_{PROVIDERS[slug].credential_fields[0].name}",
                    "The address is another one: enter the key again, so that the stored one is "
                    "not sent there by mistake.",
                )
            return cleaned
        try:
            self.instance.credentials = connecting.checked_credentials(slug, self._stored() | typed)
        except connecting.BadConnection as error:
            first = next(iter(typed), PROVIDERS[slug].credential_fields[0].name)
            self.add_error(f"credential_{first}", str(error))
        return cleaned

    def _stored(self) -> dict[str, str]:
        """What is stored, so that one field may be changed alone; nothing if it is unreadable."""
        if not self.instance.pk:
            return {}
        try:
            return self.instance.credentials
        except CannotDecrypt:
            return {}

    @staticmethod
    def _checked(check: Any, value: str) -> str:
        try:
            return str(check(value))
        except connecting.BadConnection as error:
            raise forms.ValidationError(str(error)) from error


def _host(address: str) -> str:
    return urlsplit(address).netloc.casefold()


@admin.register(Connection)
class ConnectionAdmin(admin.ModelAdmin[Connection]):
    form = ConnectionForm
    list_display = (
        "name",
        "provider_label",
        "is_active",
        "state",
        "requests_today",
        "credentials_expire_on",
    )
    list_filter = ("is_active", "provider")
    search_fields = ("name",)
    actions = ("test_connection", "sync_now")
    readonly_fields = ("state", "requests_today")

    def get_fieldsets(self, request: HttpRequest, obj: Connection | None = None) -> Any:
        slugs = [obj.provider] if obj else list(PROVIDERS)
        names = dict.fromkeys(
            f"credential_{one.name}"
            for slug in slugs
            if slug in PROVIDERS
            for one in PROVIDERS[slug].credential_fields
        )
        return (
            (None, {"fields": ("name", "provider", "base_url", "time_zone", "is_active")}),
            ("Credentials", {"fields": (*names, "credentials_expire_on")}),
            ("Limits", {"fields": ("daily_quota",)}),
            ("State", {"fields": ("state", "requests_today")}),
        )

    def get_form(
        self,
        request: HttpRequest,
        obj: Connection | None = None,
        change: bool = False,
        **kwargs: Any,
    ) -> Any:
        # The inputs for credentials are made by the form itself; Django must not look for them.
        kwargs["fields"] = ConnectionForm.Meta.fields
        return super().get_form(request, obj, change, **kwargs)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Connection]:
        return super().get_queryset(request).select_related("health")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # What was cancelled through it must stay explainable: switch it off instead.
        return False

    def save_model(self, request: HttpRequest, obj: Connection, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if obj.is_active:
            sync_soon(obj)

    @admin.display(description="state")
    def state(self, connection: Connection) -> str:
        health = getattr(connection, "health", None)
        if not connection.is_active:
            return "switched off"
        if health is not None and health.is_failing:
            return format_html(
                "{}: {}",
                freshness(connection),
                failure(health.failure, connection.provider_label),
            )
        return freshness(connection)

    @admin.display(description="requests since midnight UTC")
    def requests_today(self, connection: Connection) -> str:
        return quota_used(limits.usage(connection, now=timezone.now()))

    @admin.action(description="Test connection", permissions=["change"])
    def test_connection(self, request: HttpRequest, connections: QuerySet[Connection]) -> None:
        for connection in connections[:10]:
            try:
                why = connecting.test(connection)
            except CannotDecrypt:
                why = "cannot_decrypt"
            if why:
                text = f"{connection.name}: {failure(why, connection.provider_label)}"
                self.message_user(request, text, messages.ERROR)
            else:
                self.message_user(request, f"{connection.name}: works.", messages.SUCCESS)

    @admin.action(description="Sync now", permissions=["change"])
    def sync_now(self, request: HttpRequest, connections: QuerySet[Connection]) -> None:
        for connection in connections.active():  # type: ignore[attr-defined]
            sync_soon(connection)
            self.message_user(
                request, f"{connection.name}: the worker was told to refresh it.", messages.INFO
            )


@admin.register(SyncRun)
class SyncRunAdmin(ReadOnly, admin.ModelAdmin[SyncRun]):
    list_display = ("connection", "started_at", "outcome", "why", "seen", "written", "missing")
    list_filter = ("outcome", "connection")
    date_hierarchy = "started_at"


@admin.register(ConnectionHealth)
class ConnectionHealthAdmin(ReadOnly, admin.ModelAdmin[ConnectionHealth]):
    list_display = ("connection", "read_at", "failing_since", "failure", "next_sync_at")


@admin.register(ReasonPreset)
class ReasonPresetAdmin(admin.ModelAdmin[ReasonPreset]):
    list_display = ("label", "connection", "code", "position", "is_default")
    list_filter = ("connection",)
    prepopulated_fields = {"code": ("label",)}  # noqa: RUF012 - the way Django spells it


# --- what was booked and cancelled ------------------------------------------------------------


class AttendeeInline(ReadOnly, admin.TabularInline[Attendee, Appointment]):
    model = Attendee
    extra = 0


@admin.register(Appointment)
class AppointmentAdmin(ReadOnly, admin.ModelAdmin[Appointment]):
    list_display = ("who", "connection", "starts_at", "day", "status", "external_id")
    list_filter = ("status", "connection")
    search_fields = ("search",)
    inlines = (AttendeeInline,)
    list_select_related = ("connection",)
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Appointment]:
        return super().get_queryset(request).prefetch_related("attendees")


class EventInline(ReadOnly, admin.TabularInline[CancellationEvent, Cancellation]):
    model = CancellationEvent
    extra = 0


class CallInline(ReadOnly, admin.TabularInline[ProviderCall, Cancellation]):
    model = ProviderCall
    extra = 0
    fields = ("number", "started_at", "asked", "answer_kind", "answer_status", "answered_at")
    readonly_fields = ("answer_kind", "answer_status", "answered_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ProviderCall]:
        return super().get_queryset(request).select_related("answer")

    @admin.display(description="answer")
    def answer_kind(self, call: ProviderCall) -> str:
        answer = getattr(call, "answer", None)
        return answer.get_kind_display() if answer is not None else "none yet"

    @admin.display(description="HTTP status")
    def answer_status(self, call: ProviderCall) -> str:
        answer = getattr(call, "answer", None)
        return str(answer.status or "") if answer is not None else ""

    @admin.display(description="answered at")
    def answered_at(self, call: ProviderCall) -> Any:
        answer = getattr(call, "answer", None)
        return answer.answered_at if answer is not None else None


@admin.register(Cancellation)
class CancellationAdmin(ReadOnly, admin.ModelAdmin[Cancellation]):
    list_display = (
        "pk",
        "appointment",
        "connection",
        "scope",
        "state",
        "requested_by",
        "requested_at",
    )
    list_filter = ("state", "connection", "requested_by")
    date_hierarchy = "requested_at"
    list_select_related = ("appointment__connection", "connection", "requested_by")
    inlines = (CallInline, EventInline)
    exclude = ("lease_key", "form_key")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Cancellation]:
        return super().get_queryset(request).prefetch_related("appointment__attendees")


class BookingEventInline(ReadOnly, admin.TabularInline[BookingEvent, Booking]):
    model = BookingEvent
    extra = 0


@admin.register(Booking)
class BookingAdmin(ReadOnly, admin.ModelAdmin[Booking]):
    list_display = (
        "pk",
        "kind",
        "connection",
        "starts_at",
        "state",
        "replaces",
        "requested_by",
        "requested_at",
    )
    list_filter = ("kind", "state", "connection")
    list_select_related = ("connection", "replaces__connection", "requested_by")
    inlines = (BookingEventInline,)
    exclude = ("lease_key", "form_key")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Booking]:
        return super().get_queryset(request).prefetch_related("replaces__attendees")


@admin.register(Batch)
class BatchAdmin(ReadOnly, admin.ModelAdmin[Batch]):
    list_display = ("pk", "requested_by", "requested_at", "stopped_at")
    list_filter = ("requested_by",)
    list_select_related = ("requested_by",)
    exclude = ("form_key",)


# --- what people keep for themselves ----------------------------------------------------------


@admin.register(CalendarFeed)
class CalendarFeedAdmin(ReadOnly, admin.ModelAdmin[CalendarFeed]):
    """Looked at and revoked; nobody can read an address, not even here."""

    list_display = ("name", "user", "with_phones", "created_at", "last_read_at")
    list_filter = ("user",)
    list_select_related = ("user",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return admin.ModelAdmin.has_delete_permission(self, request, obj)
