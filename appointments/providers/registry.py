"""The providers there are. A fifth one is one more line."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from appointments.domain import Account
from appointments.providers.base import Provider
from appointments.providers.carevalidate import CareValidate
from appointments.providers.huskyvoice import HuskyVoice
from appointments.providers.meetergo import Meetergo
from appointments.providers.mijnklantportaal import MijnKlantportaal

PROVIDERS: Mapping[str, type[Provider]] = MappingProxyType(
    {cls.slug: cls for cls in (MijnKlantportaal, Meetergo, CareValidate, HuskyVoice)}
)


def provider_class(slug: str) -> type[Provider]:
    """Raises KeyError for a slug that no adapter has."""
    return PROVIDERS[slug]


def provider_for(slug: str, account: Account) -> Provider:
    return PROVIDERS[slug](account)
