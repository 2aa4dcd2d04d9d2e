"""
A batch of 500 over four providers, each request taking 200 ms there, beside the ideal.

    uv run pytest tests/benchmarks/bench_batch.py -s

The ideal is 16 at once (four at each provider), the look and the cancellation of each and nothing
of our own. Limits of the providers are off, as in all tests; the worker is a process of its own.
"""

from __future__ import annotations

import time
from uuid import uuid4

from appointments.models.cancellations import OPEN
from appointments.services import batch as batches
from tests.desk import SLUGS, Desk, wait_until
from tests.services.test_batch import several

EACH = 125
PROVIDER = 0.2
"""Seconds."""
AT_ONCE = 16


def test_batch_of_500(desk: Desk) -> None:
    rows = [row for slug in SLUGS for row in several(desk, slug, EACH)]
    for slug in SLUGS:
        for operation in ("read" if slug != "carevalidate" else "list", "cancel"):
            desk.fault(slug, "latency", operation=operation, seconds=PROVIDER, times=None)

    begun = time.monotonic()
    batch = batches.ask_for_batch(
        {row.pk: row.version for row in rows}, by=desk.staff, form_key=uuid4()
    )
    recorded = time.monotonic() - begun
    still_open = batch.cancellations.filter(state__in=OPEN)
    wait_until(lambda: not still_open.exists(), seconds=300)
    took = time.monotonic() - begun

    ideal = 2 * PROVIDER * len(rows) / AT_ONCE
    done = batch.cancellations.filter(state="confirmed").count()
    print(  # noqa: T201 - a benchmark prints
        f"\nbatch of {len(rows)}: {done} confirmed in {took:.1f} s, {took / ideal:.2f} x the ideal "
        f"of {ideal:.1f} s; recorded in {recorded:.2f} s; "
        f"cancel requests received: {sum(len(desk.received(slug)) for slug in SLUGS)}"
    )
