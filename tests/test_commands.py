"""The commands as an administrator types them."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from appointments.models import Connection
from appointments.models.secrets import CannotDecrypt, seal
from tests.desk import Desk

GOOD = ("meetergo", "--name", "Physio", "--base-url", "https://api.meetergo.com")
KEY = "ak_live:0c2f4e6a-8b1d-4f3e-9a57-d6c8b0e2f419:secret"
USER = "71d0c9e2-3f58-4b6a-9c14-8e5a2d7b0f93"


def run(*args: str) -> str:
    out = io.StringIO()
    call_command(*args, stdout=out)
    return out.getvalue()


@pytest.fixture(autouse=True)
def _in_use(settings: Any, request: pytest.FixtureRequest) -> None:
    """Addresses are judged as in an installation that is in use, unless a sandbox is to be read."""
    settings.REHEARSAL = "desk" in request.fixturenames


def connect(*args: str) -> str:
    return run("connect", *args)


@pytest.mark.django_db
def test_connect_keeps_the_connection_and_seals_the_key() -> None:
    said = connect(*GOOD, "--credential", f"api_key={KEY}", "--credential", f"user_id={USER}")

    connection = Connection.objects.get()
    assert said == "Connected Physio (meetergo).\n"
    assert connection.credentials == {"api_key": KEY, "user_id": USER}
    assert "secret" not in connection.sealed_credentials


@pytest.mark.django_db
def test_connect_again_changes_the_same_connection() -> None:
    connect(*GOOD, "--credential", f"api_key={KEY}", "--credential", f"user_id={USER}")

    said = connect(*GOOD, "--credential", "api_key=rgo-abc", "--time-zone", "Europe/Berlin")

    connection = Connection.objects.get()
    assert said == "Changed Physio (meetergo).\n"
    assert connection.credentials == {"api_key": "rgo-abc"}
    assert connection.time_zone == "Europe/Berlin"


@pytest.mark.django_db
def test_connect_reads_a_key_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the key stands neither in the history nor in the list of processes."""
    monkeypatch.setattr("sys.stdin", io.StringIO("rgo-from-stdin\n"))

    connect(*GOOD, "--credential", "api_key=-")

    assert Connection.objects.get().credentials == {"api_key": "rgo-from-stdin"}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("args", "says"),
    [
        pytest.param(
            ("nobody", *GOOD[1:], "--credential", "api_key=x"), "no provider", id="unknown provider"
        ),
        pytest.param((*GOOD,), "needs api_key", id="no key"),
        pytest.param((*GOOD, "--credential", "rgo-oops"), "KEY=VALUE", id="key without its name"),
        pytest.param(
            (*GOOD, "--credential", "token=rgo-abc"), "does not know token", id="unknown credential"
        ),
        pytest.param(
            (*GOOD, "--credential", "api_key=rgo-a", "--credential", "api_key=rgo-b"),
            "given twice",
            id="given twice",
        ),
        pytest.param((*GOOD, "--credential", f"api_key={KEY}"), "user_id", id="ak_live alone"),
        pytest.param(
            (*GOOD, "--credential", "api_key=rgo-a", "--credential", f"user_id={USER}"),
            "user_id",
            id="token with user",
        ),
        pytest.param(
            (*GOOD[:4], "ftp://api.meetergo.com", "--credential", "api_key=rgo-a"),
            "https://",
            id="not http",
        ),
        pytest.param(
            (*GOOD[:4], "https://a:b@api.meetergo.com", "--credential", "api_key=rgo-a"),
            "no login",
            id="login in the address",
        ),
        pytest.param(
            (*GOOD, "--credential", "api_key=rgo-a", "--time-zone", "Mars/Base"),
            "no time zone",
            id="no such zone",
        ),
    ],
)
def test_connect_refuses_what_cannot_work_in_one_line(args: tuple[str, ...], says: str) -> None:
    """Exit code 2, what to mend, nothing kept, and never the secret itself."""
    with pytest.raises(CommandError) as caught:
        connect(*args)

    assert caught.value.returncode == 2
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not {"rgo-oops", "rgo-abc", KEY} & set(str(caught.value).split())
    assert not Connection.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "base_url",
    [
        "http://api.example.com",
        "https://127.0.0.1",
        "https://localhost",
        "https://[::1]",
        "https://10.0.0.8",
        "https://api.example.com:8443",
        "https://169.254.169.254",
    ],
)
def test_connect_refuses_our_own_network_in_production(base_url: str) -> None:
    with pytest.raises(CommandError):
        connect(*GOOD[:4], base_url, "--credential", "api_key=rgo-a")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "base_url", ["https://api.example.com", "http://10.0.0.8", "https://[::2]"]
)
def test_a_rehearsal_refuses_real_providers(base_url: str, settings: Any) -> None:
    settings.REHEARSAL = True

    with pytest.raises(CommandError, match="This installation is a rehearsal"):
        connect(*GOOD[:4], base_url, "--credential", "api_key=rgo-a")


@pytest.mark.django_db
def test_connect_does_not_turn_one_provider_into_another() -> None:
    connect(*GOOD, "--credential", "api_key=rgo-abc")

    with pytest.raises(CommandError, match="choose another name"):
        connect("huskyvoice", *GOOD[1:], "--credential", "api_key=sk_live_x")


def test_sync_reports_each_connection(desk: Desk) -> None:
    desk.add("meetergo")
    desk.connection("meetergo")

    assert run("sync") == "Practice meetergo: 1 read, 1 new or changed, 0 missing\n"


def test_sync_of_a_failing_provider_exits_1_and_says_why(desk: Desk) -> None:
    desk.connection("meetergo")
    desk.fault("meetergo", "status", operation="list", status=500, body={})

    with pytest.raises(CommandError) as caught:
        run("sync", "--connection", "Practice meetergo")

    assert caught.value.returncode == 1


@pytest.mark.django_db
def test_sync_of_an_unknown_connection_exits_2() -> None:
    with pytest.raises(CommandError) as caught:
        run("sync", "--connection", "Nobody")

    assert caught.value.returncode == 2


@pytest.mark.django_db
def test_rotation_seals_with_the_newest_key_and_reports_what_it_cannot_read(settings: Any) -> None:
    from cryptography.fernet import Fernet

    connect(*GOOD, "--credential", "api_key=rgo-abc")
    old, new = settings.CREDENTIAL_KEYS[0], Fernet.generate_key().decode()
    settings.CREDENTIAL_KEYS = [new, old]

    run("rotate_credentials")
    settings.CREDENTIAL_KEYS = [new]
    assert Connection.objects.get().credentials == {"api_key": "rgo-abc"}

    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(CommandError, match="Physio"):
        run("rotate_credentials")
    with pytest.raises(CannotDecrypt):
        _ = Connection.objects.get().credentials
    assert seal({}) != "{}"
