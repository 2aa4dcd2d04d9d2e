"""Reasons that staff may pick instead of typing them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.text import get_text_list
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from appointments.admin.looking import cut, titled
from appointments.forms import KEPT_REASON_LIMIT, short_enough
from appointments.models import Connection, ReasonPreset
from appointments.providers.registry import PROVIDERS


def _limit(connection: Connection | None) -> int:
    """UTF-16 units that fit at *connection*, or at every provider there is."""
    if connection is not None:
        return connection.capabilities.reason_limit or KEPT_REASON_LIMIT
    known = (cls.capabilities.reason_limit for cls in PROVIDERS.values())
    return min(limit or KEPT_REASON_LIMIT for limit in known)


def _where_it_goes() -> str:
    """Who reads the text, and where nobody does."""
    without = [
        cls.label for cls in PROVIDERS.values() if not cls.capabilities.reason_reaches_provider
    ]
    goes = _(
        "Goes to the patient as it stands here: write it in the language that the patients of this "
        "connection read, and nothing that they should not know."
    )
    if not without:
        return goes
    values = {"providers": get_text_list(without, _("and"))}
    stays = _("%(providers)s take no reason: there it stays in the portal.") % values
    return f"{goes} {stays}"


class PresetForm(forms.ModelForm[ReasonPreset]):
    class Meta:
        model = ReasonPreset
        fields = ("label", "text", "connection", "is_default", "position", "code")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "text" not in self.fields:
            return  # Somebody may look, and change nothing.
        self.fields["text"].help_text = _where_it_goes()
        self.fields["connection"].empty_label = _("all connections")  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if "connection" not in cleaned:
            return cleaned
        others = ReasonPreset.objects.filter(connection=cleaned["connection"])
        others = others.exclude(pk=self.instance.pk)
        self._check_default(cleaned, others)
        if "code" in cleaned and others.filter(code=cleaned["code"]).exists():
            self.add_error("code", _("Another ready-made reason has this code already."))
        if "text" in cleaned:
            try:
                cleaned["text"] = short_enough(cleaned["text"], limit=_limit(cleaned["connection"]))
            except ValidationError as error:
                self.add_error("text", error)
        return cleaned

    def _check_default(self, cleaned: dict[str, Any], others: QuerySet[ReasonPreset]) -> None:
        before = others.filter(is_default=True).first() if cleaned.get("is_default") else None
        if before is not None:
            self.add_error(
                "is_default",
                _("“%(name)s” is filled in at first here already; take it away from there first.")
                % {"name": before.label},
            )


@admin.register(ReasonPreset)
class ReasonPresetAdmin(admin.ModelAdmin[ReasonPreset]):
    form = PresetForm
    list_display = ("label", "beginning", "offered_at", "is_default", "position")
    list_filter = (titled("connection", gettext_lazy("Connection"), admin.RelatedFieldListFilter),)
    list_select_related = ("connection",)
    search_fields = ("label", "text", "code")
    search_help_text = gettext_lazy("Name, text or code.")
    prepopulated_fields = {"code": ("label",)}  # noqa: RUF012 - the way Django spells it

    def get_queryset(self, request: HttpRequest) -> QuerySet[ReasonPreset]:
        return super().get_queryset(request).select_related("connection")

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name == "connection" and field is not None:
            # Connections have pages of their own: here one is only chosen.
            field.widget = field.widget.widget
        return field

    @admin.display(description=gettext_lazy("Text"))
    def beginning(self, preset: ReasonPreset) -> str:
        return cut(preset.text)

    @admin.display(description=gettext_lazy("Offered for"), ordering="connection__name")
    def offered_at(self, preset: ReasonPreset) -> str:
        return str(preset.connection or _("all connections"))
