"""A column whose content only this installation can read."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models


class CannotDecrypt(Exception):
    """No key in CREDENTIAL_KEYS fits. The stored value is left as it is."""


class EncryptedJSONField(models.Field[Any, Any]):
    """
    JSON, encrypted with the newest of `CREDENTIAL_KEYS` and readable with any of them.

    A value that no key fits raises: handing out ciphertext, or saving it again, would lose it.
    """

    def get_internal_type(self) -> str:
        return "TextField"

    def from_db_value(self, value: str | None, *_: object) -> Any:
        return None if value is None else decrypt(value)

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None else encrypt(value)

    def to_python(self, value: Any) -> Any:
        return value

    def value_to_string(self, obj: models.Model) -> str:
        """A dump of the database holds ciphertext, never a key."""
        return encrypt(self.value_from_object(obj))


def encrypt(value: Any) -> str:
    return _keys(tuple(settings.CREDENTIAL_KEYS)).encrypt(json.dumps(value).encode()).decode()


def decrypt(value: str) -> Any:
    try:
        return json.loads(_keys(tuple(settings.CREDENTIAL_KEYS)).decrypt(value.encode()))
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
