"""Who works here and what they may do, and the calendars that read without a login."""

from __future__ import annotations

from typing import Any

from django import forms
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from appointments.admin.looking import LookOnly, column
from appointments.models import CalendarFeed
from appointments.phrases import person

# --- what somebody may do ---------------------------------------------------------------------

_AT_THE_DESK: dict[str, Promise] = {
    "view_appointment": gettext_lazy("See appointments"),
    "cancel_appointment": gettext_lazy("Cancel appointments at the provider"),
    "schedule_appointment": gettext_lazy("Book, move and confirm at the provider"),
    "tag_appointment": gettext_lazy("Note who an appointment is with"),
    "settle_cancellation": gettext_lazy("Settle outcomes that nobody knows"),
}
_IN_ADMINISTRATION: dict[str, Promise] = {
    "view": gettext_lazy("Administration: see %(what)s"),
    "add": gettext_lazy("Administration: add %(what)s"),
    "change": gettext_lazy("Administration: change %(what)s"),
    "delete": gettext_lazy("Administration: delete %(what)s"),
}
_LOOKED_AT = ("syncrun", "cancellation", "booking", "batch", "calendarfeed", "connection")
_KEPT = ("connection", "reasonpreset", "user", "group")
_DELETED = ("reasonpreset", "user", "group", "calendarfeed")


def _that_do_something() -> QuerySet[Permission]:
    """Permissions that something asks for; Django makes four for each table besides."""
    ours = Permission.objects.filter(content_type__app_label__in=("appointments", "auth"))
    names = [*_AT_THE_DESK, *(f"view_{model}" for model in (*_LOOKED_AT, *_KEPT))]
    names += [f"{verb}_{model}" for verb in ("add", "change") for model in _KEPT]
    names += [f"delete_{model}" for model in _DELETED]
    return ours.filter(codename__in=names).select_related("content_type")


class PermissionsField(forms.ModelMultipleChoiceField[Permission]):
    """What a group may do, in the reader's language: the database has the names in English."""

    def label_from_instance(self, one: Permission) -> str:
        if one.codename in _AT_THE_DESK:
            return str(_AT_THE_DESK[one.codename])
        verb, _underscore, name = one.codename.partition("_")
        model = apps.get_model(one.content_type.app_label, name)
        return str(_IN_ADMINISTRATION[verb]) % {"what": model._meta.verbose_name_plural}


admin.site.unregister(Group)
admin.site.unregister(User)


@admin.register(Group)
class PortalGroupAdmin(GroupAdmin):
    filter_horizontal = ()

    def formfield_for_manytomany(self, db_field: Any, request: Any = None, **kwargs: Any) -> Any:
        if db_field.name == "permissions":
            kwargs |= {"form_class": PermissionsField, "queryset": _that_do_something()}
            kwargs["widget"] = forms.CheckboxSelectMultiple
        return admin.ModelAdmin.formfield_for_manytomany(self, db_field, request, **kwargs)


@admin.register(User)
class PortalUserAdmin(UserAdmin[User]):
    """Staff. What they may do comes from their groups alone, so that one page says it."""

    list_display = ("username", "full_name", "in_groups", "is_active", "is_staff", "last_login")
    list_filter = ("is_active", "is_staff", "groups")
    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("username", "password", "is_active")}),
        (gettext_lazy("Name"), {"fields": ("first_name", "last_name", "email")}),
        (gettext_lazy("May do"), {"fields": ("groups", "is_staff", "is_superuser")}),
        (gettext_lazy("Dates"), {"fields": ("last_login", "date_joined")}),
    )

    def formfield_for_manytomany(self, db_field: Any, request: Any = None, **kwargs: Any) -> Any:
        kwargs["widget"] = forms.CheckboxSelectMultiple  # There are few, and all are seen.
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        fields = (*super().get_readonly_fields(request, obj),)
        return fields if request.user.is_superuser else (*fields, "is_superuser")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Who could set the password of a superuser could log in as one.
        is_above = obj is not None and obj.is_superuser and not request.user.is_superuser
        return super().has_change_permission(request, obj) and not is_above

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        is_above = obj is not None and obj.is_superuser and not request.user.is_superuser
        return super().has_delete_permission(request, obj) and not is_above

    @admin.display(description=gettext_lazy("Name"), ordering="last_name")
    def full_name(self, user: User) -> str:
        return user.get_full_name() or "-"

    @admin.display(description=gettext_lazy("Groups"))
    def in_groups(self, user: User) -> str:
        return ", ".join(group.name for group in user.groups.all()) or "-"


# --- calendar feeds ---------------------------------------------------------------------------

_NARROWED_BY: dict[str, Promise] = {
    "q": gettext_lazy("Search"),
    "provider": gettext_lazy("Provider"),
    "connection": gettext_lazy("Account"),
    "status": gettext_lazy("Status"),
    "with": gettext_lazy("Doctor or staff"),
}


@admin.register(CalendarFeed)
class CalendarFeedAdmin(LookOnly[CalendarFeed]):
    """Looked at and revoked; nobody can read an address, not even here."""

    list_display = (
        "what",
        "whose",
        column("with_phones", gettext_lazy("With phone numbers"), boolean=True),
        column("created_at", gettext_lazy("Made at")),
        column("last_read_at", gettext_lazy("Last read at")),
    )
    search_fields = ("name", "user__username", "user__first_name", "user__last_name")
    search_help_text = gettext_lazy("Name of the feed or of the person.")
    list_select_related = ("user",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "what",
                    "whose",
                    "narrowed",
                    "with_phones",
                    "created_at",
                    "last_read_at",
                )
            },
        ),
    )
    labels = {  # noqa: RUF012 - the way Django spells it
        "with_phones": gettext_lazy("With phone numbers"),
        "created_at": gettext_lazy("Made at"),
        "last_read_at": gettext_lazy("Last read at"),
    }

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return admin.ModelAdmin.has_delete_permission(self, request, obj)

    @admin.display(description=gettext_lazy("Name"), ordering="name")
    def what(self, feed: CalendarFeed) -> str:
        return feed.label

    @admin.display(description=gettext_lazy("Of"), ordering="user__username")
    def whose(self, feed: CalendarFeed) -> str:
        return person(feed.user)

    @admin.display(description=gettext_lazy("Only"))
    def narrowed(self, feed: CalendarFeed) -> str:
        lines = (
            f"{label}: {feed.query[field]}"
            for field, label in _NARROWED_BY.items()
            if feed.query.get(field)
        )
        return "\n".join(lines) or _("all appointments")
