"""
A nursery of processes that stop at a named point.

    python -m tests.crash.victim

Loads the portal once, then reads jobs, one JSON object a line, and forks a process for each: the
true `manage.py worker`, a true POST through Django's handler, or `manage.py` with other words. A
job may name a failpoint; the process wraps that function of the product for itself alone, so the
product's own code knows nothing of it.

If a function that a failpoint names is gone, the process ends with `MISNAMED` and says so.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

import django
import time_machine

type Act = Callable[[], None]
type Failpoint = Callable[[Act], None]
"""Wraps what it stops at, so that the act happens there."""

MISNAMED = 97


def _target(path: str) -> tuple[Any, str]:
    """`package.module:Name.name` as the object that holds it, and its name there."""
    module, _, inside = path.partition(":")
    *owners, name = inside.split(".")
    try:
        holder: Any = import_module(module)
        for owner in owners:
            holder = getattr(holder, owner)
        getattr(holder, name)
    except (ImportError, AttributeError):
        sys.stderr.write(f"The product has no {path} any more: move the failpoint.\n")
        sys.stderr.flush()
        os._exit(MISNAMED)
    return holder, name


def _wrap(path: str, around: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    holder, name = _target(path)
    inner = getattr(holder, name)
    setattr(holder, name, wraps(inner)(around(inner)))


def before(path: str) -> Failpoint:
    def arm(act: Act) -> None:
        def around(inner: Callable[..., Any]) -> Callable[..., Any]:
            def stopped(*args: Any, **kwargs: Any) -> Any:
                act()
                return inner(*args, **kwargs)

            return stopped

        _wrap(path, around)

    return arm


def after(path: str) -> Failpoint:
    def arm(act: Act) -> None:
        def around(inner: Callable[..., Any]) -> Callable[..., Any]:
            def stopped(*args: Any, **kwargs: Any) -> Any:
                found = inner(*args, **kwargs)
                act()
                return found

            return stopped

        _wrap(path, around)

    return arm


_TRANSPORT = "appointments.providers.transport"
_writing = threading.local()
"""Set while this thread sends what changes something: reads go over streams of the same class."""


def _mark_writes() -> None:
    def around(inner: Callable[..., Any]) -> Callable[..., Any]:
        def marked(*args: Any, **kwargs: Any) -> Any:
            _writing.now = True
            try:
                return inner(*args, **kwargs)
            finally:
                _writing.now = False

        return marked

    _wrap(f"{_TRANSPORT}:ProviderHttp.write", around)


def _on_the_wire(operation: str, *, first_bytes: int = 0) -> Failpoint:
    """Before the first write or read on the stream of a request that changes something."""

    def arm(act: Act) -> None:
        def around(inner: Callable[..., Any]) -> Callable[..., Any]:
            def stopped(stream: Any, what: Any, *args: Any, **kwargs: Any) -> Any:
                if getattr(_writing, "now", False):
                    if first_bytes:
                        inner(stream, what[:first_bytes], *args, **kwargs)
                    act()
                return inner(stream, what, *args, **kwargs)

            return stopped

        _mark_writes()
        _wrap(f"{_TRANSPORT}:_DeadlineStream.{operation}", around)

    return arm


_CANCEL, _SEND = "appointments.services.cancel", "appointments.services.send"

WEB: Mapping[str, Failpoint] = {
    "before intent commit": after(f"{_CANCEL}:_record"),
    "after intent commit": before("appointments.services.queue:_enqueue"),
}
WORKER: Mapping[str, Failpoint] = {
    "after lease": before(f"{_SEND}:_advance"),
    "before claim": before(f"{_SEND}:_claim"),
    "before claim commit": after("appointments.models:ProviderCall.objects.create"),
    "after claim": after(f"{_SEND}:_claim"),
    "before first byte": _on_the_wire("write"),
    "after first byte": _on_the_wire("write", first_bytes=1),
    "after last byte": _on_the_wire("read"),
    "before answer stored": before(f"{_SEND}:_record_and_move"),
    "before answer commit": after(f"{_SEND}:_record"),
    "after answer stored": after(f"{_SEND}:_record_and_move"),
    "before spill": before("appointments.services.spill:keep"),
    "after spill": after("appointments.services.spill:keep"),
    "before bringing back": before("appointments.services.spill:_record"),
    "after bringing back": after("appointments.services.spill:_record"),
}
FAILPOINTS: Mapping[str, Failpoint] = {**WEB, **WORKER}


# --- what happens there -----------------------------------------------------------------------


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _hold(output: str, point: str) -> Act:
    """
    Hold this thread until the test lets it go on. The others go on meanwhile.

    (All of a process could be stopped with SIGSTOP, but then some other thread of it might hold the
    database's lock.)
    """

    def hold() -> None:
        sys.stdout.write(f"HELD {point}\n")
        sys.stdout.flush()
        while not gate(Path(output), point).exists():
            time.sleep(0.01)

    return hold


def gate(output: Path, point: str) -> Path:
    """The file that lets a process with this *output* go on from *point*."""
    return output.with_suffix("." + point.replace(" ", "-"))


def _report() -> None:
    """Say how durable the connection of this very thread is."""
    from django.db import connection

    names = (
        ("PRAGMA journal_mode", "PRAGMA synchronous")
        if connection.vendor == "sqlite"
        else ("SHOW fsync", "SHOW synchronous_commit")
    )
    with connection.cursor() as cursor:
        found = {name: cursor.execute(name).fetchone()[0] for name in names}
    sys.stdout.write(f"DURABLE {json.dumps(found)}\n")
    sys.stdout.flush()


def _once(act: Act) -> Act:
    """Whoever passes the same point again passes."""
    turns = iter((act,))

    def first() -> None:
        for turn in turns:
            turn()

    return first


ACTS: Mapping[str, Act] = {"kill": _kill, "report": _report}


# --- jobs -------------------------------------------------------------------------------------


def _command(*words: str) -> None:
    from django.core.management import execute_from_command_line

    execute_from_command_line(["manage.py", *words])


def _post(path: str, form: dict[str, str], username: str) -> None:
    """What a browser sends, through the whole of Django's handler."""
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.get(username=username))
    started = time.monotonic()
    answer = client.post(path, form)
    took = time.monotonic() - started
    told = {"status": answer.status_code, "to": answer.get("Location", ""), "seconds": took}
    sys.stdout.write(f"ANSWERED {json.dumps(told)}\n")


def _run(job: dict[str, Any]) -> None:
    if job.get("seconds_ahead"):
        ahead = datetime.now(UTC) + timedelta(seconds=job["seconds_ahead"])
        time_machine.travel(ahead, tick=True).start()
    for path, value in job.get("instead", {}).items():
        holder, name = _target(path)
        setattr(holder, name, value)
    if patience := job.get("database_patience"):
        from django.db import connection

        options = connection.settings_dict["OPTIONS"]
        options.get("pool", options)["timeout"] = patience
    for point, act in job.get("at", {}).items():
        does = _hold(job["output"], point) if act == "hold" else ACTS[act]
        FAILPOINTS[point](_once(does))
    if "post" in job:
        _post(**job["post"])
    else:
        _command(*job["command"])


def _child(job: dict[str, Any]) -> None:
    status = 1
    try:
        output = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        _run(job)
        status = 0
    except BaseException:  # noqa: BLE001 - nothing may escape into the nursery's own loop
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _state(pid: int) -> str | int:
    """`running`, or how it ended: its code, or the signal as a negative number."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else "running"


def main() -> None:
    django.setup()
    # What the first request and the first task would load, once for all.
    for name in ("portal.urls", "appointments.tasks", "django.test", "django.core.management"):
        import_module(name)
    from huey.contrib.djhuey import HUEY

    if hasattr(HUEY.storage, "close"):
        HUEY.storage.close()  # A process of its own opens the file for itself.

    alive: set[int] = set()
    sys.stdout.write('"ready"\n')
    sys.stdout.flush()
    for line in sys.stdin:
        job = json.loads(line)
        answer: Any
        if "pid" in job:
            answer = _state(job["pid"])
            if isinstance(answer, int):
                alive.discard(job["pid"])
        else:
            answer = os.fork()
            if not answer:
                _child(job)
            alive.add(answer)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
