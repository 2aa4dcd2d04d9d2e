"""Accounts at providers: made, changed and tested here, and every refresh of their bookings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.contrib import admin, messages
from django.db import models
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from appointments.admin.looking import LookOnly, column, titled
from appointments.connection_wording import failing_notice, failure, freshness, quota_used
from appointments.forms import DayInput
from appointments.models import Connection, SyncRun
from appointments.models.connections import WARN_BEFORE_EXPIRY
from appointments.models.secrets import CannotDecrypt
from appointments.providers.registry import PROVIDERS
from appointments.services import connect as connecting
from appointments.services import limits
from appointments.services.sync import sync_soon

TESTED_AT_ONCE = 10
"""Somebody waits for the page, and a provider may take its time."""

_SECRET = "credential_"  # noqa: S105 - the beginning of a field's name


def _field_of(name: str) -> str:
    return f"{_SECRET}{name}"


def _credential_inputs(slugs: list[str], *, is_stored: bool) -> dict[str, forms.CharField]:
    """One write-only input for each credential that the providers take."""
    kept = _("Stored encrypted and never shown again.")
    if is_stored:
        kept = _("Stored encrypted and never shown again. Empty: keep what is stored.")
    fields = {}
    for slug in slugs:
        for one in PROVIDERS[slug].credential_fields:
            fields[_field_of(one.name)] = forms.CharField(
                label=one.label,  # type: ignore[arg-type]
                required=False,
                strip=True,
                widget=forms.PasswordInput(
                    render_value=False, attrs={"autocomplete": "off", "class": "vTextField"}
                ),
                help_text=" ".join(part for part in (str(one.help), kept) if part),
            )
    return fields


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
        if "provider" not in self.fields:
            return  # Somebody may look, and change nothing.
        slug = self.instance.provider
        is_known = slug in PROVIDERS
        slugs = [slug] if is_known else list(PROVIDERS)
        self.fields.update(_credential_inputs(slugs, is_stored=bool(self.instance.pk)))
        choices = [(slug, cls.label) for slug, cls in PROVIDERS.items()]
        self.fields["provider"] = forms.ChoiceField(
            label=gettext_lazy("Provider"),
            choices=choices if is_known or not slug else [(slug, slug)],
            disabled=bool(self.instance.pk),
        )
        self.fields["base_url"].help_text = "; ".join(
            f"{PROVIDERS[one].label}: {PROVIDERS[one].default_base_url}" for one in slugs
        )

    def clean_name(self) -> str:
        return self._checked(connecting.checked_name, self.cleaned_data["name"])

    def clean_base_url(self) -> str:
        return self._checked(connecting.checked_base_url, self.cleaned_data["base_url"])

    def clean_time_zone(self) -> str:
        return self._checked(connecting.checked_zone, self.cleaned_data["time_zone"])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        slug = cleaned.get("provider", "")
        if slug not in PROVIDERS or "base_url" not in cleaned:
            return cleaned
        known = {one.name for one in PROVIDERS[slug].credential_fields}
        typed = {name: value for name in known if (value := cleaned.get(_field_of(name)))}
        first = _field_of(PROVIDERS[slug].credential_fields[0].name)
        stored = self._stored()
        if _host(cleaned["base_url"]) != _host(self.initial.get("base_url", "")):
            # Also of what cannot be read here: another process may have the key for it.
            if self.instance.pk and not cleaned.get(first):
                self.add_error(
                    first,
                    _(
                        "The address is another one: enter the key again, so that the stored one "
                        "is not sent there by mistake."
                    ),
                )
                return cleaned
            stored = {}
        if typed or not self.instance.pk:
            self._take_credentials(slug, typed=typed, stored=stored)
        return cleaned

    def _take_credentials(
        self, slug: str, *, typed: dict[str, str], stored: dict[str, str]
    ) -> None:
        """What was typed, if that is all it takes; otherwise with what is stored for the rest."""
        try:
            self.instance.credentials = connecting.checked_credentials(slug, typed)
        except connecting.BadConnection:
            try:
                self.instance.credentials = connecting.checked_credentials(slug, stored | typed)
            except connecting.BadConnection as error:
                self.add_error(_field_of(error.credential), str(error))

    def _stored(self) -> dict[str, str]:
        """What is stored, so that one field may be changed alone; nothing if it is unreadable."""
        if not self.instance.pk:
            return {}
        try:
            return self.instance.credentials
        except CannotDecrypt:
            return {}

    @staticmethod
    def _checked(check: Callable[[str], str], value: str) -> str:
        try:
            return check(value)
        except connecting.BadConnection as error:
            raise forms.ValidationError(str(error)) from error


def _host(address: str) -> str:
    return urlsplit(address).netloc.casefold()


class HealthFilter(admin.SimpleListFilter):
    title = gettext_lazy("State")
    parameter_name = "health"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("failing", gettext_lazy("Failing")),
            ("well", gettext_lazy("Read without a fault")),
            ("unread", gettext_lazy("Not read yet")),
        ]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Connection]
    ) -> QuerySet[Connection]:
        failing = Q(health__failing_since__isnull=False)
        unread = Q(health=None) | Q(health__read_at=None)
        match self.value():
            case "failing":
                return queryset.filter(failing)
            case "well":
                return queryset.exclude(failing | unread)
            case "unread":
                return queryset.filter(unread)
            case _:
                return queryset


class KeyFilter(admin.SimpleListFilter):
    title = gettext_lazy("Key")
    parameter_name = "key"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("ended", gettext_lazy("Has ended")),
            ("soon", gettext_lazy("Ends within two weeks")),
        ]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Connection]
    ) -> QuerySet[Connection]:
        today = timezone.localdate()
        match self.value():
            case "ended":
                return queryset.filter(credentials_expire_on__lt=today)
            case "soon":
                last = today + WARN_BEFORE_EXPIRY
                return queryset.filter(credentials_expire_on__range=(today, last))
            case _:
                return queryset


class ProviderFilter(admin.SimpleListFilter):
    title = gettext_lazy("Provider")
    parameter_name = "provider"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(slug, cls.label) for slug, cls in PROVIDERS.items()]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Connection]
    ) -> QuerySet[Connection]:
        return queryset.filter(provider=self.value()) if self.value() else queryset


@admin.register(Connection)
class ConnectionAdmin(admin.ModelAdmin[Connection]):
    form = ConnectionForm
    formfield_overrides = {models.DateField: {"widget": DayInput}}  # noqa: RUF012 - Django's way
    list_display = (
        "name",
        "state",
        "label_of_provider",
        "key_ends",
        "requests_today",
        "is_active",
    )
    list_filter = (HealthFilter, KeyFilter, ProviderFilter, "is_active")
    search_fields = ("name", "base_url")
    search_help_text = gettext_lazy("Name or address.")
    actions = ("test_connection", "read_now")
    readonly_fields = ("state", "requests_today")

    def get_fieldsets(self, request: HttpRequest, obj: Connection | None = None) -> Any:
        parts: list[Any] = [
            (None, {"fields": ("name", "provider", "base_url", "time_zone", "is_active")}),
            (
                gettext_lazy("Key"),
                {"fields": (*self._secrets(request, obj), "credentials_expire_on")},
            ),
            (gettext_lazy("Limits"), {"fields": ("daily_quota",)}),
        ]
        if obj is not None:
            state = {"fields": ("state", "requests_today")}
            parts.insert(0, (gettext_lazy("State"), state))
        return parts

    def _secrets(self, request: HttpRequest, obj: Connection | None) -> list[str]:
        """Names of the inputs for credentials; none for somebody who may only look."""
        may_type = self.has_change_permission(request) if obj else self.has_add_permission(request)
        if not may_type:
            return []
        slugs = [obj.provider] if obj and obj.provider in PROVIDERS else list(PROVIDERS)
        return list(_credential_inputs(slugs, is_stored=obj is not None))

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
        return super().get_queryset(request).select_related("health", "budget")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # What was cancelled through it must stay explainable: switch it off instead.
        return False

    def save_model(self, request: HttpRequest, obj: Connection, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if obj.is_active:
            self._have_it_read(request, obj)

    def _have_it_read(self, request: HttpRequest, connection: Connection) -> None:
        sync_soon(connection)
        text = _("%(name)s: the worker was told to read it now.") % {"name": connection.name}
        self.message_user(request, text, messages.INFO)

    @admin.display(description=gettext_lazy("Provider"), ordering="provider")
    def label_of_provider(self, connection: Connection) -> str:
        return connection.provider_label

    @admin.display(description=gettext_lazy("State"), ordering="health__failing_since")
    def state(self, connection: Connection) -> str:
        if not connection.is_active:
            return _("switched off")
        if connection.provider not in PROVIDERS:
            return _("this version of the portal does not know the provider")
        if notice := failing_notice(connection):
            return notice.sentence.removeprefix(f"{connection.name}: ")
        return freshness(connection)

    @admin.display(description=gettext_lazy("Requests since midnight UTC"), ordering="budget__used")
    def requests_today(self, connection: Connection) -> str:
        budget = getattr(connection, "budget", None)
        return quota_used(limits.usage_by(budget, connection, now=timezone.now()))

    @admin.display(description=gettext_lazy("Key ends on"), ordering="credentials_expire_on")
    def key_ends(self, connection: Connection) -> str:
        ends, today = connection.credentials_expire_on, timezone.localdate()
        if ends is None:
            return "-"
        day, days = date_format(ends, "DATE_FORMAT"), (ends - today).days
        values = {"date": day, "days": days}
        if days < 0:
            return _("ended on %(date)s") % values
        if not connection.expires_within(WARN_BEFORE_EXPIRY, today=today):
            return day
        return ngettext("%(date)s, in %(days)d day", "%(date)s, in %(days)d days", days) % values

    @admin.action(description=gettext_lazy("Test connection"), permissions=["change"])
    def test_connection(self, request: HttpRequest, connections: QuerySet[Connection]) -> None:
        chosen = list(connections[: TESTED_AT_ONCE + 1])
        for connection in chosen[:TESTED_AT_ONCE]:
            values = {"name": connection.name, "cause": self._cause(connection)}
            if values["cause"]:
                text, level = _("%(name)s: %(cause)s") % values, messages.ERROR
            else:
                text, level = _("%(name)s: works.") % values, messages.SUCCESS
            self.message_user(request, text, level)
        if len(chosen) > TESTED_AT_ONCE:
            text = _("Only the first %(count)d were tested. Choose the others again.")
            self.message_user(request, text % {"count": TESTED_AT_ONCE}, messages.WARNING)

    def _cause(self, connection: Connection) -> str:
        """Why it does not work; empty if it does."""
        if connection.provider not in PROVIDERS:
            return _("this version of the portal does not know the provider")
        try:
            why = connecting.test(connection)
        except CannotDecrypt:
            why = "cannot_decrypt"
        return failure(why, connection.provider_label) if why else ""

    @admin.action(description=gettext_lazy("Read now"), permissions=["change"])
    def read_now(self, request: HttpRequest, connections: QuerySet[Connection]) -> None:
        for connection in connections:
            if connection.is_active and connection.provider in PROVIDERS:
                self._have_it_read(request, connection)
            else:
                text = _("%(name)s is switched off and is not read.") % {"name": connection.name}
                self.message_user(request, text, messages.WARNING)


@admin.register(SyncRun)
class SyncRunAdmin(LookOnly[SyncRun]):
    list_display = (
        column("started_at", gettext_lazy("Started at")),
        column("connection", gettext_lazy("Connection")),
        "ended",
        "cause",
        column("seen", gettext_lazy("Read")),
        column("written", gettext_lazy("New or changed")),
        column("missing", gettext_lazy("Not listed any more")),
        column("rejected", gettext_lazy("Not understood")),
    )
    list_filter = (
        titled("outcome", gettext_lazy("Outcome"), admin.ChoicesFieldListFilter),
        titled("connection", gettext_lazy("Connection"), admin.RelatedFieldListFilter),
    )
    date_hierarchy = "started_at"
    list_select_related = ("connection",)
    show_full_result_count = False
    fieldsets = (
        (None, {"fields": ("connection", "ended", "cause", "started_at", "finished_at")}),
        (
            gettext_lazy("What was read"),
            {
                "fields": (
                    "first_day",
                    "last_day",
                    "pages",
                    "seen",
                    "written",
                    "missing",
                    "rejected",
                    "not_understood",
                )
            },
        ),
    )
    labels = {  # noqa: RUF012 - the way Django spells it
        "connection": gettext_lazy("Connection"),
        "started_at": gettext_lazy("Started at"),
        "finished_at": gettext_lazy("Ended at"),
        "first_day": gettext_lazy("From"),
        "last_day": gettext_lazy("To"),
        "pages": gettext_lazy("Pages"),
        "seen": gettext_lazy("Appointments read"),
        "written": gettext_lazy("New or changed"),
        "missing": gettext_lazy("Not listed any more"),
        "rejected": gettext_lazy("Not understood"),
    }

    @admin.display(description=gettext_lazy("Outcome"), ordering="outcome")
    def ended(self, run: SyncRun) -> str:
        return str(run.get_outcome_display())

    @admin.display(description=gettext_lazy("Cause"), ordering="why")
    def cause(self, run: SyncRun) -> str:
        return failure(run.why, run.connection.provider_label) if run.why else "-"

    @admin.display(description=gettext_lazy("Ids of what was not understood"))
    def not_understood(self, run: SyncRun) -> str:
        return ", ".join(run.rejected_ids) or "-"
