"""The two groups that every installation has. Administrators may change what they hold."""

from __future__ import annotations

from typing import Any

FRONT_DESK = "Front desk"
ADMINISTRATORS = "Portal administrators"

_FRONT_DESK = (
    "view_appointment",
    "cancel_appointment",
    "tag_appointment",
    "schedule_appointment",
    "settle_cancellation",
)


def make_groups(*, using: str, **_: Any) -> None:
    """Make the groups that are missing; one that exists is left as administrators made it."""
    from django.contrib.auth.models import Group, Permission

    ours = Permission.objects.using(using).filter(content_type__app_label="appointments")
    people = Permission.objects.using(using).filter(content_type__app_label="auth")
    wanted = {
        FRONT_DESK: ours.filter(codename__in=_FRONT_DESK),
        ADMINISTRATORS: ours | people.filter(content_type__model__in=("user", "group")),
    }
    for name, permissions in wanted.items():
        group, created = Group.objects.using(using).get_or_create(name=name)
        if created:
            group.permissions.set(permissions)
