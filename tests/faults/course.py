"""What every column of the matrix does and asks alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from datetime import datetime
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from appointments.domain import BookingRef, Gate, Status
from appointments.models import Appointment, Cancellation, ProviderCall
from appointments.models.cancellations import State
from appointments.providers import transport
from appointments.providers.transport import ProviderHttp
from appointments.services import send
from appointments.services.records import store
from appointments.wording import outcome
from tests.desk import Desk, answers
from tests.faults.rude import Fault
from tests.faults.rules import (
    PROVIDERS,
    REPEAT_IS_SAFE,
    Case,
    Ending,
    Listing,
)

SHORT = 0.4
"""Seconds, in place of a deadline that a test would otherwise have to sit out."""

type Lasting = Callable[[], AbstractContextManager[None]]
"""Makes the fault last while one request is worked on."""


def every_case(cases: Sequence[Case | Listing]) -> pytest.MarkDecorator:
    """Each case at each provider that can have it, under readable names."""
    return pytest.mark.parametrize(
        ("case", "slug"),
        [
            pytest.param(case, slug, id=f"{case.name}-{slug}")
            for case in cases
            for slug in PROVIDERS
            if slug in case.at
        ],
    )


# --- deadlines --------------------------------------------------------------------------------


@contextmanager
def short_writes(fault: Fault) -> Iterator[None]:
    """Let a cancellation that only a deadline ends take no twenty seconds."""
    if not fault.takes_its_time:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        defaults: Any = ProviderHttp.__init__.__kwdefaults__
        patch.setitem(defaults, "write_deadline", SHORT)
        yield


@contextmanager
def short_reads(fault: Fault) -> Iterator[None]:
    """The same for reads, one by one; for tests in which no read is to succeed."""
    if not fault.takes_its_time:
        yield
        return
    real = transport.within
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transport, "within", lambda seconds: real(min(seconds, SHORT)))
        yield


# --- a booking that we know -------------------------------------------------------------------


def known(desk: Desk, slug: str) -> Appointment:
    """A booking that we have read, by itself: a whole listing costs a day's request each."""
    external_id = desk.add(slug)
    ref = BookingRef(external_id=external_id, starts_at=desk.soon)
    client, read_at = desk.connection(slug).client(gate=Gate()), timezone.now()
    with closing(client.http):
        seen = client.read(ref)
    assert seen is not None
    store(desk.connection(slug), [seen], read_at=read_at)
    return desk.row(slug, external_id)


def is_cancelled(desk: Desk, slug: str, external_id: str) -> bool:
    """Whether it is, at the provider itself."""
    world = desk.world(slug)
    match slug:
        case "mijnklantportaal":
            return bool(world.state["appointments"][external_id]["status"] == "canceled")
        case "meetergo":
            return bool(world.state["appointments"][external_id]["isCancelled"])
        case "carevalidate":
            return bool(world.is_cancelled(external_id))
        case _:
            return bool(world.state["appointments"][external_id]["status"] == "cancelled")


# --- going on ---------------------------------------------------------------------------------


def go_on(
    desk: Desk, cancellation: Cancellation, *, lasting: Lasting = nullcontext, looks: int = 60
) -> list[datetime]:
    """
    Let the worker do what is due, when it is due, until it is over or a person has to judge.

    The clock is moved instead of waited for. Answers with the moments at which it did something.
    """
    done_at: list[datetime] = []
    with time_machine.travel(timezone.now(), tick=True) as clock:
        for _ in range(looks):
            if not cancellation.is_open or cancellation.state == State.NEEDS_HUMAN:
                return done_at
            assert cancellation.due_at is not None
            if cancellation.due_at > timezone.now():
                clock.move_to(cancellation.due_at)
            done_at.append(timezone.now())
            with lasting():
                send.process(cancellation.pk)
            cancellation.refresh_from_db()
    raise AssertionError(f"{cancellation} never ends")


def calls_of(cancellation: Cancellation) -> list[ProviderCall]:
    return list(cancellation.calls.select_related("answer").order_by("number"))


# --- what must hold ---------------------------------------------------------------------------


def assert_ending(cancellation: Cancellation, ending: Ending) -> None:
    """State, ledger and what staff read, all of one ending."""
    said = outcome(cancellation)
    provider = cancellation.connection.provider_label
    assert cancellation.state == ending.state
    assert said.title == ending.title.format(provider=provider)
    assert ending.sentence.format(provider=provider) in said.sentence
    assert answers(cancellation)[-1:] == ([ending.kind] if ending.kind else [])


def assert_promises(desk: Desk, slug: str, cancellation: Cancellation) -> None:
    """What holds after every fault, at any time."""
    appointment = desk.row(slug, cancellation.external_id)
    really = is_cancelled(desk, slug, cancellation.external_id)
    if cancellation.is_done:
        assert really, "staff read that it is cancelled, and it is not"
    if appointment.status == Status.CANCELLED:
        assert really, "the list shows it cancelled, and it is not"
    told = [mail["to"] for mail in desk.mails(slug)]
    assert len(told) == len(set(told)), "somebody was mailed twice"
    seen = len(desk.received(slug))
    assert seen <= len(calls_of(cancellation)), "a request left that no ledger knows of"
    if slug not in REPEAT_IS_SAFE:
        tried = [kind for kind in answers(cancellation) if kind in ("unknown", "ok")]
        assert len(tried) <= 1, "sent again where that may mail twice"
    assert "-" not in answers(cancellation), "a call without an answer"
