"""From nothing to a working dashboard: sandbox providers, data, logins, web and worker."""

from __future__ import annotations

import shlex
import socket
import sys
import threading
import time
import urllib.request
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection as database
from django.utils import timezone
from honcho.manager import Manager

from appointments.models import Connection, ReasonPreset, SyncRun
from appointments.roles import FRONT_DESK
from appointments.sandbox import worlds
from appointments.sandbox.core import Sandbox, SandboxServer
from appointments.services.connect import connect
from appointments.services.sync import sync
from portal.demo import DIRECTORY, only_one

CONNECTIONS = (
    ("mijnklantportaal", "Praktijk De Linde", "Europe/Amsterdam"),
    ("meetergo", "Physio am Park", "Europe/Berlin"),
    ("carevalidate", "Hudson Telehealth", "America/New_York"),
    ("huskyvoice", "Chennai Children's Clinic", "Asia/Kolkata"),
)
LOGINS = (
    ("frontdesk", "frontdesk-demo", "Anna", "de Boer"),
    ("colleague", "colleague-demo", "Bas", "Willems"),
    ("admin", "admin-demo", "Carla", "Beheer"),
)
PRESETS = {
    "": (
        ("practitioner-ill", "Practitioner is ill (English)", "Your practitioner is ill that day."),
        ("asked-by-patient", "Patient asked for it (English)", "Cancelled at your request."),
        ("room", "Room not available (English)", "The room is not available that day."),
    ),
    "Physio am Park": (
        ("krank", "Krankheit", "Ihre Behandlung fällt leider wegen Krankheit aus."),
        ("auf-wunsch", "Auf Wunsch", "Wie gewünscht haben wir Ihren Termin abgesagt."),
    ),
}
"""Ready-made reasons by connection, in the language of its patients; first those of all of them."""


class Command(BaseCommand):
    help = "Start a demo that reaches no real provider. Ctrl-C stops it; the data is kept."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--reset", action="store_true", help="begin with fresh data")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEMO:
            raise CommandError("Start the demo as `manage.py demo`: it makes its own environment.")
        port = options["port"]
        with only_one() as is_ours:
            if not is_ours:
                raise CommandError(
                    "The demo is running already, in another window. Stop that one first."
                )
            _check_port(port)
            self._say("Preparing the database ...")
            call_command("migrate", verbosity=0, interactive=False)
            call_command("collectstatic", verbosity=0, interactive=False, clear=True)
            server = _start_sandbox(port + 1)
            try:
                self._fill(server)
                database.close()
                code = self._run(port, server)
            finally:
                server.stop()
        sys.exit(code)

    def _fill(self, server: SandboxServer) -> None:
        for username, password, first, last in LOGINS:
            _user(username, password, first, last)
        for slug, name, zone in CONNECTIONS:
            made, _ = connect(
                slug,
                name=name,
                base_url=server.base_url(slug),
                credentials=dict(server.sandbox.worlds[slug].credentials),
                time_zone=zone,
            )
            self._say(f"Reading {made.provider_label} ... {_read(made)}")
        if not ReasonPreset.objects.exists():
            _offer_reasons()

    def _run(self, port: int, server: SandboxServer) -> int:
        """Run web and worker until one ends or somebody presses Ctrl-C."""
        manager = Manager()
        python = sys.executable
        manager.add_process("worker", shlex.join([python, "manage.py", "worker"]))
        manager.add_process(
            "web",
            shlex.join(
                [
                    python,
                    "-m",
                    "gunicorn",
                    "portal.wsgi",
                    "--bind",
                    f"127.0.0.1:{port}",
                    "--worker-class",
                    "gthread",
                    "--threads",
                    "12",
                    "--no-control-socket",
                    "--log-level",
                    "warning",
                ]
            ),
        )
        threading.Thread(target=self._announce, args=(port, server), daemon=True).start()
        manager.loop()
        self._say("Stopped. The data is kept; `--reset` begins anew.")
        # A stop by Ctrl-C is a success, although the processes end by a signal.
        return 0 if (manager.returncode or 0) in (0, 130, 143, -2, -15) else 1

    def _announce(self, port: int, server: SandboxServer) -> None:
        if not _answers(f"http://127.0.0.1:{port}/login/"):
            return
        logins = "\n".join(
            f"    {username:<10} {password:<15} {role}"
            for (username, password, *_), role in zip(
                LOGINS, ("front desk", "front desk, a second person", "administrator"), strict=True
            )
        )
        self._say(
            f"\n  The appointment portal is ready: http://127.0.0.1:{port}/\n\n"
            f"    {'Username':<10} {'Password':<15}\n{logins}\n\n"
            f"  Providers misbehave on request at {server.url}/_control/\n"
            f"  Nothing here reaches a real provider. Ctrl-C stops it.\n"
        )

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def _check_port(port: int) -> None:
    if not 1 <= port <= 65534:
        raise CommandError("The port must lie between 1 and 65534.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError as error:
            raise CommandError(
                f"Port {port} needs special rights. Choose one above 1023: "
                "uv run manage.py demo --port 8000"
            ) from error
        except OSError as error:
            raise CommandError(
                f"Port {port} is taken by another program. Stop it, or choose another port: "
                f"uv run manage.py demo --port {port + 10}"
            ) from error


def _start_sandbox(port: int) -> SandboxServer:
    file = DIRECTORY / "sandbox.json"
    is_new = not file.exists()
    sandbox: Sandbox = worlds.build(file)
    if is_new:
        worlds.seed(sandbox, now=timezone.now())
        sandbox.save()
    try:
        server = SandboxServer(sandbox, port=port)
    except OSError:
        server = SandboxServer(sandbox)  # Any free port will do.
    server.start()
    return server


def _user(username: str, password: str, first: str, last: str) -> None:
    admin = username == "admin"
    user, created = User.objects.get_or_create(
        username=username,
        defaults={
            "first_name": first,
            "last_name": last,
            "is_staff": admin,
            "is_superuser": admin,
        },
    )
    if created:
        user.set_password(password)
        user.save()
        user.groups.add(Group.objects.get(name=FRONT_DESK))


def _offer_reasons() -> None:
    connections = {one.name: one for one in Connection.objects.all()}
    ReasonPreset.objects.bulk_create(
        ReasonPreset(
            connection=connections.get(name), code=code, label=label, text=text, position=position
        )
        for name, reasons in PRESETS.items()
        for position, (code, label, text) in enumerate(reasons)
    )


def _read(connection: Connection) -> str:
    run = sync(connection)
    if run is None or run.outcome != SyncRun.Outcome.COMPLETE:
        return "failed; the worker will try again"
    return f"{run.seen} appointments"


def _answers(url: str) -> bool:
    for _ in range(100):
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own server
                return bool(answer.status == 200)
        except OSError:
            time.sleep(0.1)
    return False
