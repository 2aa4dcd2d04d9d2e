"""Steering the sandbox: its page, its addresses, and the command that runs it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command

from appointments.sandbox.control import TROUBLES
from appointments.sandbox.core import Fault, FaultKind, SandboxServer
from appointments.sandbox.huskyvoice import FULL_KEY, HuskyVoiceWorld
from appointments.sandbox.worlds import WORLDS, build, seed

ROOT = Path(__file__).parent.parent
NOW = datetime(2026, 12, 4, 10, 0, tzinfo=UTC)
SLUGS = [world.slug for world in WORLDS]


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    server = SandboxServer(build(), port=0)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def browser(server: SandboxServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        yield client


def husky_list(browser: httpx.Client) -> httpx.Response:
    return browser.get(
        "/huskyvoice/v1/appointments",
        params={"date": "2026-12-07"},
        headers={"Authorization": f"Bearer {FULL_KEY}"},
    )


# --- looking ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/_control"])
def test_front_door_leads_to_the_page(browser: httpx.Client, path: str) -> None:
    """Whoever opens the bare address sees what it is."""
    answer = browser.get(path)

    assert (answer.status_code, answer.headers["location"]) == (303, "/_control/")


def test_page_says_how_to_connect_each_provider(
    server: SandboxServer, browser: httpx.Client
) -> None:
    """Base URL and credentials of all four, and a button for each usual trouble."""
    answer = browser.get("/_control/")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    for slug, world in server.sandbox.worlds.items():
        assert server.base_url(slug) in answer.text
        assert all(value in answer.text for value in world.credentials.values())
    assert all(trouble.label in answer.text for trouble in TROUBLES.values())


def test_page_counts_bookings_cancellations_and_mails(server: SandboxServer) -> None:
    """What the world holds, so that a click in the portal can be seen here."""
    world = server.sandbox.worlds["huskyvoice"]
    assert isinstance(world, HuskyVoiceWorld)
    for status in ("confirmed", "confirmed", "cancelled"):
        world.add(day=NOW.date(), status=status)
    world.mail("somebody@example.com", "Moved")

    text = httpx.get(f"{server.url}/_control/", trust_env=False).text

    assert "<dt>bookings</dt><dd>3</dd>" in text
    assert "<dt>cancelled</dt><dd>1</dd>" in text
    assert "<dt>mails</dt><dd>1</dd>" in text
    assert "somebody@example.com" in text


def test_page_escapes_whatever_came_in(server: SandboxServer, browser: httpx.Client) -> None:
    """Paths, queries, mails and faults came from outside."""
    evil = "<script>alert(1)</script>"
    browser.get(f"/huskyvoice/v1/{evil}", params={evil: '"><img src=x>'})
    server.sandbox.worlds["huskyvoice"].mail(evil, evil)
    server.sandbox.add_fault(Fault(provider="meetergo", operation=evil, kind="reset"))

    text = browser.get("/_control/").text

    assert "<script" not in text
    assert "<img" not in text
    assert "&lt;script&gt;" in text


def test_log_holds_requests_without_credentials(browser: httpx.Client) -> None:
    """What arrived, in order; keys are left out."""
    husky_list(browser)

    answer = browser.get("/_control/log.json")

    [entry] = answer.json()["requests"]
    assert (entry["provider"], entry["operation"], entry["status"]) == ("huskyvoice", "list", 200)
    assert entry["query"] == {"date": ["2026-12-07"]}
    assert FULL_KEY not in answer.text


def test_state_is_shown_by_provider(server: SandboxServer, browser: httpx.Client) -> None:
    """Tests from outside compare it."""
    assert browser.get("/_control/state.json").json() == {
        slug: world.state for slug, world in server.sandbox.worlds.items()
    }


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/_control/nothing", 404),
        ("GET", "/_control/faults", 404),
        ("POST", "/_control/nothing", 404),
        ("POST", "/_control/state.json", 404),
        ("DELETE", "/_control/faults", 405),
        ("PUT", "/_control/policy", 405),
    ],
)
def test_what_is_not_there_says_so(
    browser: httpx.Client, method: str, path: str, status: int
) -> None:
    """No address of the control does something unexpected."""
    assert browser.request(method, path).status_code == status


# --- faults -----------------------------------------------------------------------------------


def test_fault_from_the_form_is_in_force_and_shown(
    server: SandboxServer, browser: httpx.Client
) -> None:
    """As a browser sends it: fields left empty count as absent, and it goes back to the page."""
    form = {
        "provider": "huskyvoice",
        "operation": "list",
        "kind": "status",
        "times": "",
        "seconds": "",
        "status": "503",
    }

    answer = browser.post("/_control/faults", data=form)

    assert (answer.status_code, answer.headers["location"]) == (303, "/_control/")
    [fault] = server.sandbox.faults
    assert (fault.provider, fault.operation, fault.kind) == ("huskyvoice", "list", "status")
    assert (fault.times, fault.status) == (None, 503)
    assert [husky_list(browser).status_code for _ in range(2)] == [503, 503]
    assert "until cleared" in browser.get("/_control/").text


def test_fault_from_json_holds_for_so_many_requests(browser: httpx.Client) -> None:
    """With body and headers of one's own; afterwards all is well again."""
    fault = {
        "provider": "*",
        "kind": "status",
        "times": 1,
        "status": 429,
        "body": {"error": {"code": "DAILY_QUOTA_EXCEEDED"}},
        "headers": {"Retry-After": "7"},
    }

    answer = browser.post("/_control/faults", json=fault)
    first, second = husky_list(browser), husky_list(browser)

    assert answer.status_code == 200
    assert answer.json()["faults"][0]["kind"] == "status"
    assert (first.status_code, first.headers["retry-after"]) == (429, "7")
    assert first.json() == fault["body"]
    assert second.status_code == 200


@pytest.mark.parametrize("kind", get_args(FaultKind.__value__))
def test_every_kind_of_fault_can_be_switched_on(
    server: SandboxServer, browser: httpx.Client, kind: str
) -> None:
    """The form offers all of them."""
    browser.post("/_control/faults", data={"provider": "*", "kind": kind})

    assert [fault.kind for fault in server.sandbox.faults] == [kind]
    assert f'<option value="{kind}">' in browser.get("/_control/").text


@pytest.mark.parametrize("name", TROUBLES)
@pytest.mark.parametrize("slug", SLUGS)
def test_every_trouble_is_one_press(
    server: SandboxServer, browser: httpx.Client, name: str, slug: str
) -> None:
    """A button stands for a whole fault of that provider alone."""
    answer = browser.post("/_control/faults", data={"provider": slug, "trouble": name})

    assert answer.status_code == 303
    [fault] = server.sandbox.faults
    assert fault.provider == slug
    assert fault.kind == TROUBLES[name].fault["kind"]
    assert fault.times == TROUBLES[name].fault.get("times")


def test_clear_switches_all_faults_off(server: SandboxServer, browser: httpx.Client) -> None:
    """Back to a sandbox that behaves."""
    for slug in SLUGS:
        browser.post("/_control/faults", data={"provider": slug, "trouble": "fails"})

    answer = browser.post("/_control/clear")

    assert answer.status_code == 303
    assert server.sandbox.faults == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"provider": "nobody"}, "provider must be one of"),
        ({"provider": None}, "provider must be one of"),
        ({"kind": "explode"}, "kind must be one of"),
        ({"kind": ["status"]}, "kind must be one of"),
        ({"times": 0}, "times must be a number"),
        ({"times": "often"}, "times must be a number"),
        ({"times": True}, "times must be a number"),
        ({"seconds": -1}, "seconds must be a number"),
        ({"seconds": "nan"}, "seconds must be a number"),
        ({"seconds": "inf"}, "seconds must be a number"),
        ({"seconds": 10**400}, "seconds must be a number"),
        ({"status": 99}, "status must be a number"),
        ({"status": 1000}, "status must be a number"),
        ({"operation": ""}, "operation must be a short text"),
        ({"operation": {}}, "operation must be a short text"),
        ({"headers": "x"}, "headers must be an object"),
        ({"headers": {"X": "a\r\nSet-Cookie: b"}}, "headers must be plain text"),
        ({"colour": "red"}, "Unknown field: colour"),
        ({"trouble": "nothing"}, "A trouble takes no kind"),
    ],
)
def test_bad_fault_is_refused_with_what_to_mend(
    server: SandboxServer, browser: httpx.Client, changes: dict[str, Any], said: str
) -> None:
    """Nothing half-right comes into force."""
    answer = browser.post("/_control/faults", json={"provider": "*", "kind": "reset", **changes})

    assert answer.status_code == 400
    assert said in answer.json()["message"]
    assert server.sandbox.faults == []


def test_bad_form_shows_the_page_with_what_to_mend(browser: httpx.Client) -> None:
    """A person stays on the page, and reads their own text escaped."""
    answer = browser.post("/_control/faults", data={"provider": "*", "kind": "<b>"})

    assert answer.status_code == 400
    assert 'role="alert">kind must be one of latency' in answer.text


@pytest.mark.parametrize("raw", [b"{", b"[]", b'"x"', b"\xff", b"[" * 100_000])
def test_body_that_is_no_json_is_refused(browser: httpx.Client, raw: bytes) -> None:
    """Whatever arrives, the server goes on."""
    answer = browser.post(
        "/_control/faults", content=raw, headers={"content-type": "application/json"}
    )

    assert answer.status_code == 400
    assert browser.get("/_control/").status_code == 200


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"provider", b"&&&"])
def test_body_that_is_no_form_is_refused(browser: httpx.Client, raw: bytes) -> None:
    """The same for forms."""
    assert browser.post("/_control/faults", content=raw).status_code == 400


# --- who may ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:9100"},
    ],
)
def test_post_from_another_site_is_refused(
    server: SandboxServer, browser: httpx.Client, headers: dict[str, str]
) -> None:
    """There is no login, so a page elsewhere must not be able to steer."""
    form = {"provider": "*", "trouble": "fails"}

    answer = browser.post("/_control/faults", data=form, headers=headers)

    assert answer.status_code == 403
    assert server.sandbox.faults == []


def test_post_from_its_own_page_is_taken(server: SandboxServer, browser: httpx.Client) -> None:
    """As a browser sends it from the page."""
    headers = {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}

    answer = browser.post("/_control/clear", headers=headers)

    assert answer.status_code == 303


# --- HuskyVoice's policy ----------------------------------------------------------------------


def test_policy_is_changed_from_the_form(server: SandboxServer, browser: httpx.Client) -> None:
    """The provider's own answer shows it; what was not given stays."""
    form = {"allow_cancellation": "false", "cancellation_notice_hours": "48"}

    answer = browser.post("/_control/policy", data=form)

    assert answer.status_code == 303
    shown = browser.get(
        "/huskyvoice/v1/appointment-config", headers={"Authorization": f"Bearer {FULL_KEY}"}
    ).json()["data"]
    assert shown == {
        "allow_cancellation": False,
        "cancellation_notice_hours": 48,
        "timezone": "Asia/Kolkata",
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"allow_cancellation": "perhaps"},
        {"allow_cancellation": None},
        {"cancellation_notice_hours": -1},
        {"cancellation_notice_hours": "soon"},
        {"timezone": "Mars/Olympus"},
        {"timezone": "../../etc/passwd"},
        {"timezone": 1},
        {"else": 1},
    ],
)
def test_bad_policy_is_refused_and_changes_nothing(
    server: SandboxServer, browser: httpx.Client, changes: dict[str, Any]
) -> None:
    """All or nothing."""
    before = dict(server.sandbox.worlds["huskyvoice"].state["policy"])

    answer = browser.post("/_control/policy", json=changes)

    assert answer.status_code == 400
    assert server.sandbox.worlds["huskyvoice"].state["policy"] == before


# --- the worlds together ----------------------------------------------------------------------


def test_seed_is_the_same_for_the_same_moment_and_number() -> None:
    """A demo that can be repeated; another number gives another one."""
    first, second, other = build(), build(), build()
    seed(first, now=NOW)
    seed(second, now=NOW)
    seed(other, now=NOW, number=8)

    def states(sandbox: Any) -> dict[str, Any]:
        return {slug: world.state for slug, world in sandbox.worlds.items()}

    assert states(first) == states(second)
    assert states(first) != states(other)


def test_seed_replaces_and_the_file_keeps_it(tmp_path: Path) -> None:
    """Seeding twice does not double; a restart finds what was there."""
    file = tmp_path / "sandbox.json"
    sandbox = build(file)
    seed(sandbox, now=NOW)
    seed(sandbox, now=NOW)

    again = build(file)

    assert {slug: world.state for slug, world in again.worlds.items()} == {
        slug: json.loads(json.dumps(world.state)) for slug, world in sandbox.worlds.items()
    }
    assert again.worlds["huskyvoice"].tally() == sandbox.worlds["huskyvoice"].tally()


# --- the command ------------------------------------------------------------------------------


def test_command_is_refused_in_production(settings: LazySettings) -> None:
    """A sandbox beside real providers would be a trap."""
    settings.REHEARSAL = False

    with pytest.raises(CommandError, match="The sandbox is for rehearsals"):
        call_command("sandbox", port=0)


def test_command_on_a_busy_port_says_so() -> None:
    """One clear line, with the way out."""
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]

        with pytest.raises(CommandError, match=f"Port {port} is taken.*--port"):
            call_command("sandbox", port=port)


@pytest.mark.parametrize("text", ["65536", "-1", "http", ""])
def test_command_wants_a_port(text: str) -> None:
    """A number that can be a port."""
    with pytest.raises(CommandError, match="a number from 0 to 65535"):
        call_command("sandbox", f"--port={text}")


@pytest.mark.parametrize("content", ["no json", "[]", '{"huskyvoice": []}'])
def test_command_refuses_a_file_of_something_else(tmp_path: Path, content: str) -> None:
    """It never writes over what is not its own."""
    file = tmp_path / "notes.txt"
    file.write_text(content)

    with pytest.raises(CommandError, match="does not hold the state of a sandbox"):
        call_command("sandbox", port=0, file=file)
    assert file.read_text() == content


def test_command_wants_a_folder_for_its_file(tmp_path: Path) -> None:
    """Said before it starts, not at the first change."""
    with pytest.raises(CommandError, match="There is no folder"):
        call_command("sandbox", port=0, file=tmp_path / "nowhere" / "state.json")


def test_command_serves_until_interrupted(tmp_path: Path) -> None:
    """It says where it is, serves, and ends cleanly on Ctrl-C."""
    command = [sys.executable, "manage.py", "sandbox", "--port=0", "--seed"]
    command.append(f"--file={tmp_path / 'state.json'}")
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            assert running.stdout is not None
            lines: list[str] = []
            while not lines or not lines[-1].startswith("Sandbox at "):
                lines.append(running.stdout.readline())
                assert lines[-1], "ended early"
            page = httpx.get(lines[-1].split()[2], trust_env=False)
            running.send_signal(signal.SIGINT)
            rest, errors = running.communicate(timeout=10)
        finally:
            running.kill()

    assert page.status_code == 200
    assert f"api_key={FULL_KEY}" in "".join(lines)
    assert (running.returncode, rest.strip(), errors) == (0, "Stopped.", "")
    assert set(json.loads((tmp_path / "state.json").read_text())) == set(SLUGS)
