"""What must be so before the portal may run; part of `manage.py check`."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured


def register_all() -> None:
    register(check_credential_keys, Tags.security)
    register(check_no_rehearsal, Tags.security, deploy=True)


def check_credential_keys(**_: Any) -> list[CheckMessage]:
    """The keys can be used; without this, the first connection would find out."""
    from appointments.models.secrets import seal

    try:
        seal({})
    except ImproperlyConfigured as error:
        return [Error(str(error), id="appointments.E002")]
    return []


def check_no_rehearsal(**_: Any) -> list[CheckMessage]:
    """In production there is no sandbox, and nothing is asked inside our own network."""
    if settings.REHEARSAL:
        return [
            Error(
                "REHEARSAL is true: no real provider can be reached.",
                hint="It is for training, the demo and the tests. Leave it unset.",
                id="appointments.E003",
            )
        ]
    return []
