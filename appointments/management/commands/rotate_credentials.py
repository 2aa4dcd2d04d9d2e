"""Encrypt all stored credentials anew with the newest key."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from appointments.models import Connection
from appointments.models.secrets import CannotDecrypt, rotated


class Command(BaseCommand):
    help = "After a new key was put first in CREDENTIAL_KEYS: use it for everything stored."

    def handle(self, *args: Any, **options: Any) -> None:
        unreadable = []
        for connection in Connection.objects.all():
            try:
                sealed = rotated(connection.sealed_credentials)
            except CannotDecrypt:
                unreadable.append(connection.name)
                continue
            Connection.objects.filter(pk=connection.pk).update(sealed_credentials=sealed)
        if unreadable:
            raise CommandError(
                f"No key in CREDENTIAL_KEYS can read: {', '.join(unreadable)}. "
                "Those were left as they are; connect them again."
            )
        self.stdout.write("All credentials are encrypted with the newest key.")
