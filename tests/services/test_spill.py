"""An answer that the database could not take is kept in a file, and comes back from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError

from appointments.models import Cancellation
from appointments.models.cancellations import State
from appointments.services import send, spill
from tests.desk import Desk, answers


@pytest.fixture
def kept(tmp_path: Path, settings: Any) -> Path:
    """The file, which nobody else writes to."""
    settings.ANSWERS_FILE = tmp_path / "answers.jsonl"
    return tmp_path / "answers.jsonl"


def without_database(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Cancellation:
    """A cancellation whose answer came while the database was gone for good."""
    cancellation = desk.ask(desk.book("meetergo"))

    def gone(*_: object, **__: object) -> None:
        raise OperationalError("the server closed the connection")

    with monkeypatch.context() as patch:
        patch.setattr(send, "RECORD_FOR", 0.1)
        patch.setattr(send, "_record_and_move", gone)
        with pytest.raises(OperationalError):
            send.process(cancellation.pk)
    cancellation.refresh_from_db()
    assert cancellation.state == State.SENDING
    assert answers(cancellation) == ["-"]
    return cancellation


def test_the_answer_comes_back_and_confirms(
    desk: Desk, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost and nothing is sent a second time."""
    cancellation = without_database(desk, monkeypatch)
    assert kept.stat().st_mode & 0o077 == 0

    assert spill.bring_back() == 1
    assert kept.read_text() == ""

    assert answers(cancellation) == ["ok"]
    assert desk.work(cancellation).state == State.UNKNOWN
    assert desk.work(cancellation).state == State.CONFIRMED
    assert len(desk.received("meetergo")) == 1


def test_a_line_comes_back_once(desk: Desk, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash while bringing back leaves the line behind: the second time it says nothing new."""
    cancellation = without_database(desk, monkeypatch)
    line = kept.read_text()
    spill.bring_back()
    kept.write_text(line)

    assert spill.bring_back() == 0
    assert answers(cancellation) == ["ok"]


def test_a_line_that_was_cut_off_spoils_no_other(
    desk: Desk, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.write_text('{"call": 4, "kind": "o')
    cancellation = without_database(desk, monkeypatch)

    assert spill.bring_back() == 1
    assert answers(cancellation) == ["ok"]


def test_without_a_database_the_file_stays(
    desk: Desk, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_database(desk, monkeypatch)
    line = kept.read_text()

    def gone(_line: str) -> bool:
        raise OperationalError("still gone")

    monkeypatch.setattr(spill, "_record", gone)
    with pytest.raises(OperationalError):
        spill.bring_back()

    assert kept.read_text() == line


def test_no_file_is_no_error(kept: Path) -> None:
    assert str(settings.ANSWERS_FILE) == str(kept)
    assert spill.bring_back() == 0
