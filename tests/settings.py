"""
The portal's settings with keys of their own, so that tests need no environment.

`DATABASE_URL` may point elsewhere, to run the same tests on PostgreSQL.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from cryptography.fernet import Fernet

_scratch = Path(tempfile.mkdtemp(prefix="portal-tests-"))

os.environ |= {
    "SECRET_KEY": "only-for-tests-" + "0123456789abcdefghijklmnopqrstuvwxyz" * 2,
    "CREDENTIAL_KEYS": Fernet.generate_key().decode(),
    "DATABASE_URL": os.environ.get("TEST_DATABASE_URL", f"sqlite:///{_scratch}/portal.sqlite3"),
    "QUEUE_FILE": str(_scratch / "queue.sqlite3"),
    "ANSWERS_FILE": str(_scratch / "answers.jsonl"),
    "REDIS_URL": "",
    "DEBUG": "false",
    "HTTPS": "false",
    "REHEARSAL": "true",
    "PROVIDER_PACING": "false",
    "TIME_ZONE": "Europe/Amsterdam",
    "LANGUAGE_CODE": "en",
    # Playwright runs an event loop in the thread of the test; without this the ORM refuses to work.
    "DJANGO_ALLOW_ASYNC_UNSAFE": "true",
}

from portal.settings import *  # noqa: E402, F403

# A file, not memory: browser tests share it with a worker process.
DATABASES["default"]["TEST"] = (
    {"NAME": str(_scratch / "test.sqlite3")}
    if (DATABASES["default"]["ENGINE"].endswith("sqlite3"))
    else {}
)

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STATIC_ROOT = _scratch / "static"
STATIC_ROOT.mkdir()
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
