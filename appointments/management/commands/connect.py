"""Connect an account at a provider, or change it."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from appointments.providers.registry import PROVIDERS
from appointments.services.connect import BadConnection, connect


class Command(BaseCommand):
    help = "Connect an account at a provider; the same --name again changes it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", metavar="SLUG", help=", ".join(PROVIDERS))
        parser.add_argument("--name", required=True, help="as staff know it")
        parser.add_argument("--base-url", required=True)
        parser.add_argument(
            "--credential",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="repeat for each; KEY=- reads the value from standard input",
        )
        parser.add_argument("--time-zone", default="", help="IANA name; default: the portal's own")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            connection, created = connect(
                options["slug"],
                name=options["name"],
                base_url=options["base_url"],
                credentials=_credentials(options["credential"]),
                time_zone=options["time_zone"],
            )
        except BadConnection as error:
            raise CommandError(str(error), returncode=2) from error
        done = "Connected" if created else "Changed"
        self.stdout.write(f"{done} {connection.name} ({connection.provider_label}).")


def _credentials(pairs: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            # The text itself may be a key without its name: it is not repeated.
            raise BadConnection("--credential wants KEY=VALUE, for instance api_key=-.")
        if key in found:
            raise BadConnection(f"--credential {key} is given twice.")
        found[key] = sys.stdin.readline().strip() if value == "-" else value
    return found
