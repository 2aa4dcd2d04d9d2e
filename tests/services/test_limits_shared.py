"""Several processes at once, on one database, share what a provider allows."""

from __future__ import annotations

import subprocess
import sys

from django.conf import settings
from django.utils import timezone

from appointments.models import Connection
from appointments.services import limits
from appointments.services.limits import Pace
from tests.desk import Desk
from tests.processes import environment_of_processes

EAGER = """
import sys, time, django
django.setup()
from appointments.domain import RateLimited
from appointments.models import Connection
from appointments.services import limits
gate = limits.client(Connection.objects.get(pk=int(sys.argv[1])), limits.Urgency.DIALOG).http.gate
print("ready", flush=True)
sys.stdin.readline()
count, end = 0, time.monotonic() + 2
while time.monotonic() < end:
    try:
        gate.admit()
        count += 1
    except RateLimited:
        time.sleep(0.01)
print(count)
"""


def test_processes_share_the_limit(transactional_db: None, desk: Desk) -> None:
    """Three that ask as fast as they can get no more than one would."""
    connection = desk.connection("huskyvoice")
    # A worker of other tests may be alive on this database: it is to leave this one alone.
    Connection.objects.filter(pk=connection.pk).update(is_active=False)
    environment = environment_of_processes() | {"PROVIDER_PACING": "true"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", EAGER, str(connection.pk)],
            cwd=settings.BASE_DIR,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for one in processes:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    begun = timezone.now()

    counts = [int(one.communicate("go\n")[0]) for one in processes]

    pace = Pace.of(connection)
    allowed = pace.burst + (timezone.now() - begun) / pace.interval
    assert pace.burst <= sum(counts) <= allowed + 1
    # Each request was counted once, whoever made it.
    assert limits.usage(connection, now=timezone.now()).used == sum(counts)
