"""Run the sandbox: four made-up providers on a local port, until Ctrl-C."""

from __future__ import annotations

import errno
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from appointments.sandbox.core import Sandbox, SandboxServer
from appointments.sandbox.worlds import build, seed


class Command(BaseCommand):
    help = "Run the four providers as a local sandbox, for demo, training and tests."
    requires_system_checks = ()  # it needs neither database nor credentials

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=port_number, default=9100, help="0 takes a free one")
        parser.add_argument("--file", type=Path, help="keep the state in this file")
        parser.add_argument(
            "--seed",
            action="store_true",
            help="start from made-up bookings around now, whatever the file held",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        if not settings.REHEARSAL:
            raise CommandError(
                "The sandbox is for rehearsals, demo and tests: set REHEARSAL=true there, and "
                "nowhere else."
            )
        sandbox = _built(options["file"])
        if options["seed"]:
            seed(sandbox, now=timezone.now())
        server = _listening(sandbox, port=options["port"])
        self._announce(server)
        try:
            server.serve_forever(poll_interval=0.1)
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")
        finally:
            server.stopping.set()
            server.server_close()

    def _announce(self, server: SandboxServer) -> None:
        for slug, world in server.sandbox.worlds.items():
            given = " ".join(f"{name}={value}" for name, value in world.credentials.items())
            self.stdout.write(f"{world.label}: {server.base_url(slug)}  {given}")
        self.stdout.write(f"Sandbox at {server.url}/_control/  (Ctrl-C ends it)")
        self.stdout.flush()


def port_number(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise ArgumentTypeError("a number from 0 to 65535")
    return int(text)


def _built(file: Path | None) -> Sandbox:
    if file is not None and not file.parent.is_dir():
        raise CommandError(f"There is no folder {file.parent} to keep {file.name} in.")
    try:
        return build(file)
    except (OSError, ValueError, AttributeError) as error:
        raise CommandError(f"{file} does not hold the state of a sandbox.") from error


def _listening(sandbox: Sandbox, *, port: int) -> SandboxServer:
    try:
        return SandboxServer(sandbox, port=port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CommandError(
                f"Port {port} is taken. Is a sandbox running already? "
                "Another one can be given with --port."
            ) from error
        raise CommandError(f"Cannot listen on port {port}: {error.strerror}.") from error
