"""
The environment of `manage.py demo`: its own keys, its own database, loopback only.

Runs before Django's settings are read, so it imports nothing of Django.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parent.parent / ".demo"


def prepare_environment() -> None:
    """Set what the demo needs; nothing of a real installation's environment is used."""
    DIRECTORY.mkdir(exist_ok=True)
    keys = _keys(DIRECTORY / "keys.json")
    os.environ |= {
        "SECRET_KEY": keys["secret"],
        "CREDENTIAL_KEYS": keys["credentials"],
        "DATABASE_URL": f"sqlite:///{DIRECTORY}/portal.sqlite3",
        "QUEUE_FILE": str(DIRECTORY / "queue.sqlite3"),
        "REDIS_URL": "",
        "DEBUG": "false",
        "DEMO": "true",
        "HTTPS": "false",
        "ALLOWED_HOSTS": "localhost,127.0.0.1,[::1]",
        "CSRF_TRUSTED_ORIGINS": "",
        "PROVIDER_PRIVATE_ADDRESSES": "true",
        "TIME_ZONE": "Europe/Amsterdam",
    }


def _keys(file: Path) -> dict[str, str]:
    """Keys that stay the same across restarts, so that nobody is logged out by one."""
    with contextlib.suppress(OSError, ValueError):
        found: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
        return found
    from cryptography.fernet import Fernet

    made = {
        "secret": secrets.token_urlsafe(64),
        "credentials": Fernet.generate_key().decode(),
    }
    fresh = file.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps(made), encoding="utf-8")
    fresh.replace(file)
    return made
