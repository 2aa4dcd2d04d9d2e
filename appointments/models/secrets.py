"""Sealing what only this installation may read."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


class CannotDecrypt(Exception):
    """No key in CREDENTIAL_KEYS fits. The stored value is left as it is."""


def seal(value: Any) -> str:
    """*value* as JSON, encrypted with the newest of `CREDENTIAL_KEYS`."""
    return _keys(tuple(settings.CREDENTIAL_KEYS)).encrypt(json.dumps(value).encode()).decode()


def unseal(sealed: str) -> Any:
    """
    What was sealed with any of `CREDENTIAL_KEYS`.

    Raises:
        CannotDecrypt: handing out the ciphertext instead, or saving it again, would lose it.
    """
    try:
        return json.loads(_keys(tuple(settings.CREDENTIAL_KEYS)).decrypt(sealed.encode()))
    except InvalidToken as error:
        raise CannotDecrypt("No key in CREDENTIAL_KEYS can read these credentials.") from error


def rotated(sealed: str) -> str:
    """The same content, encrypted anew with the newest key; raises as `unseal` does."""
    try:
        return _keys(tuple(settings.CREDENTIAL_KEYS)).rotate(sealed.encode()).decode()
    except InvalidToken as error:
        raise CannotDecrypt("No key in CREDENTIAL_KEYS can read these credentials.") from error


@lru_cache(maxsize=4)
def _keys(keys: tuple[str, ...]) -> MultiFernet:
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError as error:
        raise ImproperlyConfigured(
            "CREDENTIAL_KEYS holds something that is no Fernet key (32 bytes, url-safe base64)."
        ) from error
