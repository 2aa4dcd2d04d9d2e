"""Processes of the portal beside the test's own, on the same database."""

from __future__ import annotations

import os

from django.db import connection


def environment_of_processes() -> dict[str, str]:
    """Environment for `manage.py` and scripts, with the database of this test run."""
    where = connection.settings_dict
    if connection.vendor == "sqlite":
        url = f"sqlite:///{where['NAME']}"
    else:
        login = f"{where['USER']}:{where['PASSWORD']}" if where["USER"] else ""
        host = f"{where['HOST'] or 'localhost'}:{where['PORT'] or 5432}"
        url = f"postgres://{login}@{host}/{where['NAME']}"
    return os.environ | {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "portal.settings"}
