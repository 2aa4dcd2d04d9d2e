"""Refresh the copies of the providers' bookings, now and in the foreground."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser, no_translations

from appointments.connection_wording import failure
from appointments.models import Connection, SyncRun
from appointments.services.sync import sync


class Command(BaseCommand):
    help = "Refresh all connections, or one. Exits 1 if one of them could not be read."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--connection", metavar="NAME", default="")

    @no_translations
    def handle(self, *args: Any, **options: Any) -> None:
        connections = Connection.objects.active()
        if options["connection"]:
            connections = connections.filter(name=options["connection"])
            if not connections:
                raise CommandError(
                    f"There is no connection in use called {options['connection']!r}.",
                    returncode=2,
                )
        failed = 0
        for connection in connections:
            run = sync(connection)
            failed += run is not None and run.outcome != SyncRun.Outcome.COMPLETE
            self.stdout.write(f"{connection.name}: {_result(run)}")
        if failed:
            raise CommandError(f"{failed} of {len(connections)} could not be refreshed.")


def _result(run: SyncRun | None) -> str:
    if run is None:
        return "a refresh is under way already"
    if run.outcome != SyncRun.Outcome.COMPLETE:
        return f"{run.outcome}. {failure(run.why, run.connection.provider_label)}"
    unreadable = f", {run.rejected} unreadable" if run.rejected else ""
    return f"{run.seen} read, {run.written} new or changed, {run.missing} missing{unreadable}"
