"""Connecting an account: the one place where credentials come in."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from appointments.domain import ProviderError
from appointments.models import Connection
from appointments.providers.base import BadCredentials
from appointments.providers.registry import PROVIDERS
from appointments.providers.transport import is_public, is_this_machine
from appointments.services import limits
from appointments.services.limits import Urgency
from appointments.services.sync import sync_soon

_NAME_LIMIT = 80
_URL_LIMIT = 300


class BadConnection(ValueError):
    """What was typed cannot work. The text says what to mend, and never repeats a secret."""

    def __init__(self, text: str, *, credential: str = "") -> None:
        super().__init__(text)
        self.credential = credential
        """Name of the credential that it is about; empty if it is about something else."""


def connect(
    slug: str,
    *,
    name: str,
    base_url: str,
    credentials: Mapping[str, str],
    time_zone: str = "",
) -> tuple[Connection, bool]:
    """
    Keep a connection called *name*; True with it if it is new.

    Raises:
        BadConnection: something cannot work; nothing was changed.
    """
    if slug not in PROVIDERS:
        raise BadConnection(f"There is no provider {slug!r}; choose from {', '.join(PROVIDERS)}.")
    name = checked_name(name)
    existing = Connection.objects.filter(name=name).first()
    connection = existing or Connection(name=name, provider=slug, time_zone=settings.TIME_ZONE)
    if connection.provider != slug:
        raise BadConnection(
            f"{name!r} is a connection to {connection.provider_label}; choose another name."
        )
    connection.base_url = checked_base_url(base_url)
    connection.credentials = checked_credentials(slug, credentials)
    connection.time_zone = checked_zone(time_zone or connection.time_zone)
    connection.is_active = True
    with transaction.atomic():
        connection.save()
        sync_soon(connection)
    return connection, existing is None


def checked_name(name: str) -> str:
    """*name* without spaces around it. Staff read it everywhere, so nothing may hide in it."""
    name = name.strip()
    if not name or len(name) > _NAME_LIMIT or not name.isprintable():
        raise BadConnection(
            _("The name must have 1 to %(limit)d printable characters.") % {"limit": _NAME_LIMIT}
        )
    return name


def checked_credentials(slug: str, credentials: Mapping[str, str]) -> dict[str, str]:
    try:
        PROVIDERS[slug].check_credentials(credentials)
    except BadCredentials as error:
        raise BadConnection(str(error), credential=error.credential) from error
    return {key: value for key, value in credentials.items() if value}


def checked_zone(name: str) -> str:
    try:
        return ZoneInfo(name).key
    except (KeyError, ValueError, OSError) as error:
        raise BadConnection(
            _("There is no time zone “%(name)s”; write it as Europe/Amsterdam.") % {"name": name}
        ) from error


def checked_base_url(text: str) -> str:
    """
    *text* without its last slash, if requests may go there.

    Only the spelling is judged here; what the name stands for is judged at every connect.
    """
    text = text.strip()
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise BadConnection(_("This is not an address.")) from error
    if len(text) > _URL_LIMIT:
        raise BadConnection(
            _("The address is longer than %(limit)d characters.") % {"limit": _URL_LIMIT}
        )
    if not text.isascii() or not text.isprintable() or " " in text:
        raise BadConnection(_("The address holds a space or a character that no address has."))
    if parts.scheme not in ("http", "https") or not host:
        raise BadConnection(_("The address must be written as https://api.example.com."))
    if parts.username or parts.password or parts.query or parts.fragment:
        raise BadConnection(_("The address must hold no login, no query and no fragment."))
    if settings.REHEARSAL:
        if not _is_here(host):
            raise BadConnection(
                _(
                    "This installation is a rehearsal: the address must be that of a sandbox on "
                    "this machine, as http://127.0.0.1:9100/meetergo."
                )
            )
    else:
        if parts.scheme != "https":
            raise BadConnection(_("The address must begin with https://."))
        if port not in (None, 443):
            raise BadConnection(_("The address must use the usual port of https."))
        if host == "localhost" or (_is_address(host) and not is_public(host)):
            raise BadConnection(_("The address must not lie inside our own network."))
    return text.rstrip("/")


def _is_here(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and is_this_machine(host))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def test(connection: Connection) -> str:
    """Ask the provider for a little; empty if it works, otherwise the code of the failure."""
    client = limits.client(connection, Urgency.DIALOG)
    try:
        client.check()
    except ProviderError as error:
        return error.why
    finally:
        client.http.close()
    return ""
