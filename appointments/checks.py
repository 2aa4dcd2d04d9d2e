"""What must be so before the portal may run; part of `manage.py check`."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured


def register_all() -> None:
    register(check_credential_keys, Tags.security)
    register(check_no_private_addresses, Tags.security, deploy=True)


def check_credential_keys(**_: Any) -> list[CheckMessage]:
    """The keys can be used; without this, the first connection would find out."""
    from appointments.models.secrets import seal

    try:
        seal({})
    except ImproperlyConfigured as error:
        return [Error(str(error), id="appointments.E002")]
    return []


def check_no_private_addresses(**_: Any) -> list[CheckMessage]:
    """The sandbox, and any request into our own network, is refused in production."""
    if settings.PROVIDER_PRIVATE_ADDRESSES:
        return [
            Error(
                "PROVIDER_PRIVATE_ADDRESSES is true: providers may lie inside our own network.",
                hint="It is for the demo and the tests only. Leave it unset.",
                id="appointments.E003",
            )
        ]
    return []
