"""
Where an answer is kept when the database cannot take it.

The answer to a cancel request is heard once. If the database is gone for longer than we can wait,
it is written as one line to a file of this machine and forced to the disk; any worker on the
machine brings it into the ledger as soon as the database is back. Only the answer is brought back:
what it means for the cancellation is then found out as after any lost worker.

A line: `{"call": pk, "kind": …, "status": …, "why": …, "said": …, "answered_at": ISO 8601}`.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from appointments.models import Cancellation, ProviderAnswer, ProviderCall
from appointments.models.cancellations import OPEN, AnswerKind, State, Verdict
from appointments.services.outage import NO_DATABASE
from appointments.services.queue import PROCESS_CANCELLATION, wake

logger = logging.getLogger(__name__)


def keep(answer: ProviderAnswer) -> None:
    """Force *answer*, which the database did not take, to the disk."""
    line = json.dumps(
        {
            "call": answer.call_id,
            "kind": answer.kind,
            "status": answer.status,
            "why": answer.why,
            "said": answer.said,
            "answered_at": answer.answered_at.isoformat(),
        }
    )
    try:
        with _locked() as file:
            # After a line that a crash cut off, ours must still stand alone.
            file.write(f"\n{line}\n")
            _force(file)
    except OSError:
        # Nothing is left to keep it in but the log.
        logger.critical("The answer to call %s is lost: %s.", answer.call_id, answer.kind)
        raise
    logger.error("The answer to call %s is kept in a file: no database.", answer.call_id)


def bring_back() -> int:
    """
    Put all kept answers into the ledger; how many were new to it.

    Raises:
        DatabaseError: still no database; the file is as it was.
    """
    path = _path()
    if not path.exists() or not path.stat().st_size:
        return 0
    with _locked() as file:
        file.seek(0)
        brought = sum(_brought(line) for line in file if line.strip())
        # A crash before this point only has them found in the ledger the next time.
        file.truncate(0)
        _force(file)
    if brought:
        logger.warning("%s answers came back from the file.", brought)
    return brought


def _brought(line: str) -> bool:
    """Whether *line* told the ledger something new; one that makes no sense must not stay for ever.

    Raises:
        NO_DATABASE: it stays in the file.
    """
    try:
        return _record(line)
    except NO_DATABASE:
        raise
    except Exception:
        logger.exception("A kept answer cannot be read; reads will tell what came of it.")
        return False


def _record(line: str) -> bool:
    kept: dict[str, Any] = json.loads(line)
    answered_at = datetime.fromisoformat(kept.pop("answered_at"))
    call = ProviderCall.objects.filter(pk=kept.pop("call")).first()
    if call is None:
        logger.warning("A kept answer belongs to no call of this database.")
        return False
    with transaction.atomic():
        # The row first: whoever settles it meanwhile has looked for the answer before or sees it.
        row = Cancellation.objects.select_for_update().get(pk=call.cancellation_id)
        if ProviderAnswer.objects.filter(call=call).exists():
            return False
        answer = ProviderAnswer.objects.create(call=call, answered_at=answered_at, **kept)
        _act_on(answer, call, row)
    return True


def _act_on(answer: ProviderAnswer, call: ProviderCall, row: Cancellation) -> None:
    now = timezone.now()
    if row.state in OPEN:
        due = {"due_at": now}
        if row.state == State.SENDING:
            if row.calls.filter(number__gt=call.number).exists():
                return  # A later request is on its way; its answer is waited for.
            due["lease_until"] = now  # Whoever sent it has given up.
        Cancellation.objects.filter(pk=row.pk, state=row.state).update(**due)
        wake(PROCESS_CANCELLATION, row.pk)
    elif answer.kind == AnswerKind.OK and row.why == Verdict.STILL_BOOKED:
        # Somebody found otherwise by hand: that has to be looked into.
        row.contradict(why="answered_late")


def _path() -> Path:
    return Path(settings.ANSWERS_FILE)


@contextmanager
def _locked() -> Iterator[IO[str]]:
    """The file, ours alone among the processes of this machine."""
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    # Readable by nobody else: a provider's words may hold a person's name.
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(handle, "a+", encoding="utf-8", errors="replace") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if is_new:
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        yield file


def _force(file: IO[str]) -> None:
    file.flush()
    os.fsync(file.fileno())
