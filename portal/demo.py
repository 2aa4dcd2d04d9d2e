"""
The environment of `manage.py demo`: its own keys, its own database, loopback only.

Runs before Django's settings are read, so it imports nothing of Django.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parent.parent / ".demo"


def prepare_environment(arguments: Sequence[str] = ()) -> None:
    """
    Set what the demo needs; nothing of a real installation's environment is used.

    `--reset` among *arguments* is done here, since a database can only be thrown away before
    anybody opened it. Data that another version of the tables left behind goes the same way.
    """
    DIRECTORY.mkdir(exist_ok=True)
    tables = DIRECTORY / "tables"
    known = tables.read_text(encoding="utf-8") if tables.exists() else ""
    if ("--reset" in arguments or known != _tables()) and _forget():
        tables.write_text(_tables(), encoding="utf-8")
    keys = _keys(DIRECTORY / "keys.json")
    os.environ |= {
        "SECRET_KEY": keys["secret"],
        "CREDENTIAL_KEYS": keys["credentials"],
        "DATABASE_URL": f"sqlite:///{DIRECTORY}/portal.sqlite3",
        "QUEUE_FILE": str(DIRECTORY / "queue.sqlite3"),
        "ANSWERS_FILE": str(DIRECTORY / "answers.jsonl"),
        "REDIS_URL": "",
        "DEBUG": "false",
        "DEMO": "true",
        "HTTPS": "false",
        "ALLOWED_HOSTS": "localhost,127.0.0.1,[::1]",
        "CSRF_TRUSTED_ORIGINS": "",
        "REHEARSAL": "true",
        "PROVIDER_PACING": "false",
        "TIME_ZONE": "Europe/Amsterdam",
        "LANGUAGE_CODE": "en",
    }


def _tables() -> str:
    """Short text that changes with the migrations."""
    migrations = DIRECTORY.parent / "appointments" / "migrations"
    content = b"".join(file.read_bytes() for file in sorted(migrations.glob("*.py")))
    return hashlib.sha256(content).hexdigest()


def _forget() -> bool:
    """Throw the data away, unless a demo is running on it: the command will say so."""
    with only_one() as is_ours:
        if is_ours:
            for file in DIRECTORY.iterdir():
                if file.name not in ("keys.json", "lock"):
                    file.unlink()
    return is_ours


@contextlib.contextmanager
def only_one() -> Iterator[bool]:
    """Hold the demo's lock; False if another demo has it: two over one database would fight."""
    with (DIRECTORY / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True


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
