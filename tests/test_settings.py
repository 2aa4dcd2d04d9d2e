"""Settings as an administrator might get them wrong."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from cryptography.fernet import Fernet
from django.conf import settings

GOOD = {
    "SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyz" * 2,
    "CREDENTIAL_KEYS": Fernet.generate_key().decode(),
    "DATABASE_URL": "sqlite://:memory:",
    "ALLOWED_HOSTS": "desk.example.com",
}


def check(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`manage.py check` in a process of its own, with nothing but *environment*."""
    clean = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    return subprocess.run(
        [sys.executable, "manage.py", "check", *arguments],
        cwd=settings.BASE_DIR,
        env=clean | {key: value for key, value in (GOOD | environment).items() if value},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_sound_installation_passes_the_deployment_check() -> None:
    done = check("--deploy", "--fail-level", "WARNING")

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"SECRET_KEY": ""}, "SECRET_KEY"),
        ({"CREDENTIAL_KEYS": ""}, "CREDENTIAL_KEYS"),
        ({"CREDENTIAL_KEYS": "not-a-fernet-key"}, "no Fernet key"),
    ],
)
def test_what_must_not_be_is_refused_with_what_to_mend(
    environment: dict[str, str], says: str
) -> None:
    done = check(**environment)

    assert done.returncode != 0
    assert says in done.stderr


@pytest.mark.parametrize("name", ["REHEARSAL", "PROVIDER_PRIVATE_ADDRESSES"])
def test_a_rehearsal_is_no_installation_to_deploy(name: str) -> None:
    done = check("--deploy", "--fail-level", "WARNING", **{name: "true"})

    assert done.returncode != 0
    assert "no real provider can be reached" in done.stderr


def test_the_sandbox_does_not_start_where_providers_must_be_public() -> None:
    clean = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    done = subprocess.run(
        [sys.executable, "manage.py", "sandbox"],
        cwd=settings.BASE_DIR,
        env=clean | GOOD,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode != 0
    assert "demo and tests" in done.stderr
