"""
The machine that makes histories.

Two people click, a worker works and is killed, providers answer, fail, lose answers and act late,
somebody changes bookings behind our back, and the clock jumps. Everything is the portal's own code
against the sandbox's own worlds; only the wire in between, the clock and the kill are the test's.

A history runs inside one transaction that is rolled back at its end. Nothing of the portal is woken
by `on_commit` in there, which is the worst case of its promise that a lost task costs time only:
the worker is what the rules make of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from uuid import NAMESPACE_URL, UUID, uuid5

import time_machine
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db import OperationalError, connection, transaction
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from appointments.domain import Scope
from appointments.models import Appointment, Batch, Cancellation, Connection, ProviderCall
from appointments.models.cancellations import DONE, OPEN, State, Verdict
from appointments.roles import FRONT_DESK
from appointments.sandbox.core import Sandbox
from appointments.services import batch, lanes, send, spill
from appointments.services.cancel import Wish, ask_to_cancel, series_key, take_back
from appointments.services.look import look_at
from appointments.services.settle import may_settle, read_again, send_again, settle_by_hand
from appointments.services.sweep import sweep
from appointments.services.sync import sync
from appointments.services.trace import trace
from tests.properties.books import Book
from tests.properties.properties import A_SWEEP, ALL, HALF_AN_HOUR
from tests.properties.record import Actor, Asked, Done, Facts, HalfHour, Key, Ledger, Record
from tests.properties.wire import OF_A_CANCEL, OF_A_READ, Killed, Wire

START = datetime(2026, 12, 7, 9, 0, tzinfo=UTC)
"""A Monday morning."""
SOON = START.replace(hour=15) + timedelta(days=3)
CHANGES = ("cancel", "reopen", "move", "lose a person", "vanish")
CHOICES = ("whole", "person", "following")
STATEMENTS = 45
"""More than the database statements of one look at a row."""
A_MOMENT = timedelta(seconds=1)
WORKED_FOR = HALF_AN_HOUR + 2 * A_SWEEP

TALLY: Counter[str] = Counter()
"""Of all histories of this process; shown when the tests are over."""

type Clicks = tuple[str, int, str, int]
"""Who, which booking, how much of it, and whom."""

small = st.integers(0, 5)
people = st.sampled_from(("anna", "bas"))
clicks = st.tuples(people, small, st.sampled_from(CHOICES), small)
any_mishap = st.sampled_from(("", *sorted(OF_A_CANCEL)))
moments = st.sampled_from(("read before", "read after", "cancel before", "cancel after"))


@dataclass(kw_only=True)
class Ground:
    """What every history begins with: the same books, read once, and two people."""

    sandbox: Sandbox
    books: Mapping[str, Book]
    connections: Mapping[str, Connection]
    take: Callable[[Wire, time_machine.Traveller], None]
    """Has the portal's requests go over this wire, and whoever sleeps move this clock."""


@dataclass(kw_only=True)
class Dialog:
    """An open cancel dialog: what its page was made of."""

    appointment: int
    version: str
    form_key: UUID
    page: Facts


class Database:
    """
    Stands before the database: kills the process at a statement, so that nothing after it runs, or
    has the database gone from there on.
    """

    def __init__(self, wire: Wire, ledger: Ledger) -> None:
        self.wire = wire
        self.ledger = ledger
        self.left: int | None = None
        """Statements until then."""
        self.goes_away = False
        """Whether the database goes, rather than the process."""

    def __call__(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        self.ledger.note_statement(sql)
        cleans_up = sql.startswith(("RELEASE", "ROLLBACK"))
        if self.wire.is_taking_notes or cleans_up:
            return execute(sql, params, many, context)
        if self.wire.is_dead:
            raise Killed
        if self.left is not None:
            if self.left > 0:
                self.left -= not sql.startswith("SAVEPOINT")
            elif self.goes_away:
                raise OperationalError("gone")
            else:
                self.wire.is_dead = True
                raise Killed
        return execute(sql, params, many, context)


class Histories(RuleBasedStateMachine):
    """Histories of the connections in *slugs*."""

    slugs: ClassVar[tuple[str, ...]]
    ground: ClassVar[Ground]

    dialogs: Bundle[Dialog] = Bundle("dialogs")

    def __init__(self) -> None:
        super().__init__()
        TALLY["histories"] += 1
        self.made = 0
        # As if it were a test case's: a transaction that must be the outermost may begin inside.
        self.undo = transaction.atomic()
        self.undo._from_testcase = True  # type: ignore[attr-defined]
        self.undo.__enter__()
        self.states = {
            slug: deepcopy(world.state) for slug, world in self.ground.sandbox.worlds.items()
        }
        self.travel = time_machine.travel(START, tick=False)
        self.clock = self.travel.start()
        self.books = {slug: self.ground.books[slug] for slug in self.slugs}
        self.record = Record(self.books, depth=len(connection.atomic_blocks))
        self.wire = Wire(self.ground.sandbox, self.books, self.record, self.clock)
        self.board = self.wire.switchboard
        self.ground.take(self.wire, self.clock)
        self.bookings: list[Key] = sorted(self.record.at_first)
        self.ledger = Ledger()
        self.database = Database(self.wire, self.ledger)
        self.hook = connection.execute_wrapper(self.database)
        self.hook.__enter__()
        for key, standing in self.record.at_first.items():
            self.record.note_shown(key[0], {key[1]: standing}, at=START)

    def teardown(self) -> None:
        try:
            self._work_for(WORKED_FOR)
            self.properties_hold()
            TALLY["requests that arrived"] += len(self.record.arrivals)
            for one in self.ledger.cancellations.values():
                TALLY[f"ended {one.state}"] += 1
        finally:
            self.hook.__exit__(None, None, None)
            self.travel.stop()
            transaction.set_rollback(True)
            self.undo.__exit__(None, None, None)
            for slug, state in self.states.items():
                self.ground.sandbox.worlds[slug].load(state)
            self.ground.sandbox.log.clear()
            Path(settings.ANSWERS_FILE).unlink(missing_ok=True)

    # --- people

    @initialize(rude=st.booleans(), clicks=clicks, mishap=any_mishap, works=st.integers(0, 3))
    def begin(self, rude: bool, clicks: Clicks, mishap: str, works: int) -> None:
        """
        Somebody cancels something.

        *rude*: nothing says what a second cancellation does. It is refused, or it mails again.
        """
        self.wire.rude = rude
        self.cancel(clicks, mishap, works)

    @rule(target=dialogs, who=people, booking=small, looks=st.booleans())
    def open_a_dialog(self, who: str, booking: int, looks: bool) -> Dialog:
        """The page shows our copy, with a fresh look at the provider if there is time for one."""
        row = self._row(booking)
        if looks:
            with self._as_person():
                found = look_at(row, version=row.version)
            row = found.appointment if found is not None else row
        return Dialog(
            appointment=row.pk,
            version=row.version,
            form_key=self._form_key(who),
            page=_facts(row),
        )

    @rule(dialog=dialogs, who=people, choice=st.sampled_from(CHOICES), person=small)
    def submit(self, dialog: Dialog, who: str, choice: str, person: int) -> None:
        """Press the button: once, twice, hours later, or after somebody else did."""
        row = Appointment.objects.select_related("connection").get(pk=dialog.appointment)
        wish = self._wish(row, choice=choice, person=person)
        done = self._done_before(row)
        before = set(Cancellation.objects.values_list("pk", flat=True))
        with self._as_person(), suppress(PermissionDenied):
            asked = ask_to_cancel(
                row,
                by=_user(who),
                wish=wish,
                form_key=dialog.form_key,
                version=dialog.version,
            )
            if isinstance(asked, Cancellation) and asked.pk not in before:
                self._note_asked(asked, page=dialog.page, done=done)

    @rule(clicks=clicks, mishap=any_mishap, works=st.integers(0, 3))
    def cancel(self, clicks: Clicks, mishap: str, works: int) -> None:
        """The usual course in one step, so that histories get far: click, and let it be sent."""
        who, booking, choice, person = clicks
        dialog = self.open_a_dialog(who, booking, looks=False)
        self.submit(dialog, who, choice, person)
        if mishap:
            self.board.next_cancel[self._key(booking)[0]] = mishap
        for _ in range(works):
            self.work(0)

    @rule(who=people, twice=st.booleans(), works=st.integers(0, 3), mishap=any_mishap)
    def cancel_all(self, who: str, twice: bool, works: int, mishap: str) -> None:
        """Everything that is listed, in one batch."""
        rows = batch.chosen(Appointment.objects.values_list("pk", flat=True))
        rows = [row for row in rows if row.connection.provider in self.slugs]
        versions = {row.pk: row.version for row in rows}
        pages = {row.pk: (_facts(row), self._done_before(row)) for row in rows}
        before = set(Cancellation.objects.values_list("pk", flat=True))
        form_key = self._form_key(who)
        with self._as_person(), suppress(PermissionDenied):
            for _ in range(1 + twice):
                batch.ask_for_batch(versions, by=_user(who), reason="Ill", form_key=form_key)
        for one in Cancellation.objects.exclude(pk__in=before).select_related("connection"):
            page, done = pages[one.appointment_id]
            self._note_asked(one, page=page, done=done)
        if mishap:
            for slug in self.slugs:
                self.board.next_cancel[slug] = mishap
        for _ in range(works):
            self._work(0)

    @precondition(lambda self: any(one.batch_id for one in self.ledger.cancellations.values()))
    @rule(who=people, number=small, stops=st.booleans())
    def look_after_a_batch(self, who: str, number: int, stops: bool) -> None:
        """Stop it, or go on where it was paused."""
        rows = list(Batch.objects.all())
        one = rows[number % len(rows)]
        with self._as_person(), suppress(PermissionDenied):
            if stops:
                batch.stop(one, by=_user(who))
                return
            for account in self.ground.connections.values():
                batch.resume(one, account, by=_user(who))

    @precondition(lambda self: self.has_open)
    @rule(who=people, number=small, what=st.sampled_from(("take back", "read again")))
    def look_after_it(self, who: str, number: int, what: str) -> None:
        one = self._intent(number, state__in=OPEN)
        if one is None:
            return
        with self._as_person(), suppress(PermissionDenied):
            if what == "take back":
                take_back(one, by=_user(who))
            else:
                read_again(one, by=_user(who))

    @precondition(lambda self: self.has_stuck)
    @rule(who=people, number=small)
    def send_again(self, who: str, number: int) -> None:
        if (one := self._intent(number, state=State.NEEDS_HUMAN)) is not None:
            with self._as_person(), suppress(PermissionDenied):
                send_again(one, by=_user(who), reason="Rang them: it stands")

    @precondition(lambda self: self.has_stuck)
    @rule(who=people, number=small)
    def settle_by_hand(self, who: str, number: int) -> None:
        """Somebody rings the provider, and is told the truth of that moment."""
        one = self._intent(number, state=State.NEEDS_HUMAN)
        if one is None:
            return
        slug, booking = one.connection.provider, one.external_id
        now = self.books[slug].standings().get(booking)
        person = one.attendee_external_id
        stands = now is not None and now.is_live and (not person or person in now.people)
        verdict = Verdict.STILL_BOOKED if stands else Verdict.CANCELLED
        with self._as_person(), suppress(PermissionDenied):
            if may_settle(one) and not stands:
                self.record.verdicts.add((slug, booking))
            settle_by_hand(one, by=_user(who), verdict=verdict, reason="Rang them")

    @precondition(lambda self: self.has_any)
    @rule(who=people, may=st.booleans())
    def change_permission(self, who: str, may: bool) -> None:
        groups, group = _user(who).groups, Group.objects.get(name=FRONT_DESK)
        if may:
            groups.add(group)
        else:
            groups.remove(group)

    # --- the worker

    @precondition(lambda self: self.has_open)
    @rule(number=small, times=st.integers(1, 3))
    def work(self, number: int, times: int = 1) -> None:
        """The worker takes up a row that is due; if none is, the next one once it is."""
        for _ in range(times):
            self._work(number)

    @precondition(lambda self: self.has_open)
    @rule(number=small, statement=st.integers(0, STATEMENTS))
    def work_and_die_at_a_statement(self, number: int, statement: int) -> None:
        with self._dying():
            self.database.left = statement
            self._work(number)

    @precondition(lambda self: self.has_open)
    @rule(number=small, statement=st.integers(0, STATEMENTS))
    def work_without_a_database(self, number: int, statement: int) -> None:
        """The database goes away in the middle, for longer than anybody waits."""
        with self._dying():
            self.database.left, self.database.goes_away = statement, True
            with suppress(OperationalError):
                self._work(number)

    @precondition(lambda self: self.has_open)
    @rule(number=small)
    def work_and_have_no_database_for_the_answer(self, number: int) -> None:
        def go_away() -> None:
            self.database.left, self.database.goes_away = 0, True

        with self._dying():
            self.board.meanwhile["cancel after"] = go_away
            with suppress(OperationalError):
                self._work(number)
        self.board.meanwhile.pop("cancel after", None)

    @precondition(lambda self: self.has_any)
    @rule()
    def bring_back_what_was_kept(self) -> None:
        spill.bring_back()

    @precondition(lambda self: self.has_open)
    @rule(number=small, moment=moments)
    def work_and_die_on_the_wire(self, number: int, moment: str) -> None:
        with self._dying():
            self.board.kill = moment
            self._work(number)

    @precondition(lambda self: self.has_any)
    @rule(number=small)
    def a_task_comes_twice(self, number: int) -> None:
        """A task runs that was long overtaken, or too early."""
        if (one := self._intent(number)) is not None:
            self._process(one.pk)

    @precondition(lambda self: self.has_any)
    @rule(slug=small)
    def sync(self, slug: int) -> None:
        account = self.ground.connections[self._slug(slug)]
        account.refresh_from_db()
        with self.record.acting(Actor(kind="sync")):
            sync(account)

    @precondition(lambda self: self.has_any and "meetergo" in self.slugs)
    @rule(number=small)
    def trace_later_ones(self, number: int) -> None:
        if (one := self._intent(number, scope=Scope.FOLLOWING)) is not None:
            with self.record.acting(Actor(kind="trace")):
                trace(one.pk)

    @precondition(lambda self: self.has_open)
    @rule(weather=st.sampled_from(("", *sorted(OF_A_READ))))
    def work_for_half_an_hour(self, weather: str) -> None:
        """A worker that does nothing else, while reading goes well or not at all."""
        for slug in self.slugs:
            self._set_weather(slug, weather)
        self._work_for(WORKED_FOR)
        for slug in self.slugs:
            self._set_weather(slug, "")

    # --- providers, networks, clocks

    @rule(slug=small, mishap=any_mishap)
    def next_cancel_goes_wrong(self, slug: int, mishap: str) -> None:
        self.board.next_cancel[self._slug(slug)] = mishap

    @precondition(lambda self: self.has_open)
    @rule(slug=small, mishap=st.sampled_from(sorted(OF_A_READ)))
    def next_read_goes_wrong(self, slug: int, mishap: str) -> None:
        self.board.next_read[self._slug(slug)] = mishap

    @precondition(lambda self: self.has_open)
    @rule(slug=small, weather=st.sampled_from(("", "reset", "500", "401", "404", "429", "lags")))
    def reads_go_wrong(self, slug: int, weather: str) -> None:
        self._set_weather(self._slug(slug), weather)

    @precondition(lambda self: any(one.may_act for one in self.record.held))
    @rule(number=small)
    def act_late(self, number: int) -> None:
        """What the provider had received, it carries out now."""
        held = [one for one in self.record.held if one.may_act]
        self.wire.act_late(held[number % len(held)])

    @rule(number=small, what=st.sampled_from(CHANGES))
    def somebody_changes_it_there(self, number: int, what: str) -> None:
        slug, external_id = key = self._key(number)
        book = self.books[slug]
        row, part = book.rows().get(external_id), (slug, external_id, "")
        if row is None:
            return
        is_live = book.standing(row).is_live
        self.clock.shift(A_MOMENT)
        self.wire.about_to_change(slug)
        match what:
            case "cancel" if is_live:
                book.cancel(row)
                self.record.outside.add(part)
            case "reopen" if not is_live:
                book.reopen(row)
                self.record.lives[key] += 1
            case "move" if is_live:
                book.move(row)
            case "lose a person" if is_live:
                if left := book.lose_a_person(row):
                    self.record.outside.add((slug, external_id, left))
            case "vanish":
                book.vanish(external_id)
            case _:
                pass
        self.clock.shift(A_MOMENT)

    @rule(
        moment=moments,
        what=st.sampled_from(("work", "take back", "click", "sync", "there", "read again")),
        number=small,
        seconds=st.sampled_from((0, 5, 70)),
    )
    def meanwhile(self, moment: str, what: str, number: int, seconds: int) -> None:
        """Others act while the next request is on its way."""

        def act() -> None:
            self.clock.shift(seconds)
            match what:
                case "work":
                    self.a_task_comes_twice(number)
                case "take back":
                    self.look_after_it("bas", number, "take back")
                case "click":
                    self.submit(self.open_a_dialog("bas", number, looks=False), "bas", "whole", 0)
                case "sync":
                    self.sync(number)
                case "there":
                    self.somebody_changes_it_there(number, "move")
                case _:
                    self.look_after_it("bas", number, "read again")

        self.board.meanwhile[moment] = act

    @precondition(lambda self: self.has_any)
    @rule(seconds=st.sampled_from((1, 5, 20, 61, 130, 400, 901, 2400)))
    def wait(self, seconds: int) -> None:
        self.clock.shift(seconds)

    # --- what must hold

    @invariant()
    def properties_hold(self) -> None:
        TALLY["steps"] += 1
        self.clock.shift(timedelta(milliseconds=10))
        self.ledger.refresh()
        for holds in ALL:
            holds(self.record, self.ledger)

    # --- in words

    @property
    def has_any(self) -> bool:
        return bool(self.ledger.cancellations)

    @property
    def has_open(self) -> bool:
        return any(one.state in OPEN for one in self.ledger.cancellations.values())

    @property
    def has_stuck(self) -> bool:
        states = (one.state for one in self.ledger.cancellations.values())
        return State.NEEDS_HUMAN in states

    def _slug(self, number: int) -> str:
        return self.slugs[number % len(self.slugs)]

    def _key(self, number: int) -> Key:
        return self.bookings[number % len(self.bookings)]

    def _row(self, number: int) -> Appointment:
        slug, external_id = self._key(number)
        return Appointment.objects.select_related("connection").get(
            connection__provider=slug, external_id=external_id
        )

    def _intent(self, number: int, **which: Any) -> Cancellation | None:
        found = Cancellation.objects.filter(**which).select_related("connection", "appointment")
        rows = list(found.order_by("-pk"))
        return rows[number % len(rows)] if rows else None

    def _wish(self, row: Appointment, *, choice: str, person: int) -> Wish:
        """What the form makes of it; a choice that is not offered is the whole booking."""
        attendees = list(row.attendees.all())
        email = ""
        if row.capabilities.needs_email:
            email = attendees[0].email if attendees else "somebody@example.com"
        if choice == "person" and row.capabilities.one_attendee and len(attendees) > 1:
            attendee = attendees[person % len(attendees)]
            if attendee.external_id:
                return Wish(scope=Scope.ATTENDEE, attendee=attendee, reason="Ill", email=email)
        if choice == "following" and series_key(row):
            return Wish(scope=Scope.FOLLOWING, reason="Ill", email=email)
        return Wish(reason="Ill", email=email)

    def _form_key(self, who: str) -> UUID:
        self.made += 1
        return uuid5(NAMESPACE_URL, f"{who} {self.made}")

    def _note_asked(self, one: Cancellation, *, page: Facts, done: tuple[Done, ...]) -> None:
        self.record.asked.append(
            Asked(
                at=timezone.now(),
                cancellation=one.pk,
                key=(one.connection.provider, one.external_id),
                page=page,
                person=one.attendee_external_id,
                done_before=done,
            )
        )

    def _done_before(self, row: Appointment) -> tuple[Done, ...]:
        done = Cancellation.objects.filter(appointment=row, state__in=DONE)
        return tuple(
            Done(settled_at=one.settled_at, scope=one.scope, person=one.attendee_external_id)
            for one in done
            if one.settled_at is not None
        )

    def _set_weather(self, slug: str, weather: str) -> None:
        self.board.weather.pop(slug, None)
        if weather:
            self.board.weather[slug] = weather

    @contextmanager
    def _as_person(self) -> Iterator[None]:
        with self.record.acting(Actor(kind="person")):
            yield

    @contextmanager
    def _dying(self) -> Iterator[None]:
        """Kill the worker inside, if it comes that far; its calls that never left are noted."""
        try:
            yield
        except Killed:
            pass
        finally:
            self.wire.is_dead, self.board.kill = False, ""
            self.database.left, self.database.goes_away = None, False
            # What failed outside any transaction of the portal would bar ours from going on.
            connection.needs_rollback = False
            arrived = {one.call for one in self.record.arrivals}
            unanswered = ProviderCall.objects.filter(answer=None).values_list("pk", flat=True)
            self.record.killed_calls |= set(unanswered) - arrived

    def _work(self, number: int) -> None:
        sweep()
        due = self._due()
        if not due:
            when = self._next()
            if when is None:
                return
            self._wait_until(when)
            due = self._due()
        if due:
            self._process(due[number % len(due)])

    def _due(self) -> list[int]:
        due = Cancellation.objects.due(timezone.now()).order_by("due_at", "pk")
        return list(due.values_list("pk", flat=True))

    def _next(self) -> datetime | None:
        """When a row is due next; a row that somebody holds, once the lease is over."""
        when = Greatest("due_at", Coalesce("lease_until", "due_at"))
        rows = Cancellation.objects.filter(due_at__isnull=False).annotate(when=when)
        found: datetime | None = rows.order_by("when").values_list("when", flat=True).first()
        return found

    def _wait_until(self, when: datetime) -> None:
        if when > timezone.now():
            self.clock.move_to(when)

    def _process(self, pk: int) -> None:
        state = Cancellation.objects.get(pk=pk).state
        with self.record.acting(Actor(kind="worker", cancellation=pk, state=state)):
            send.process(pk)

    def _work_for(self, how_long: timedelta) -> None:
        began_at = timezone.now()
        end = began_at + how_long
        for _ in range(300):
            spill.bring_back()
            stand_back = lanes.connections_with_waiting()
            if stand_back:
                sweep()
            when = self._next()
            if when is None or when > end:
                break
            # Whoever stands back is called in by the next sweep at the latest.
            self._wait_until(min(when, timezone.now() + A_SWEEP) if stand_back else when)
            for pk in self._due():
                self._process(pk)
        else:
            raise AssertionError("the worker turns in circles")
        self._wait_until(end)
        now = timezone.now() + timedelta(milliseconds=10)
        self.record.half_hours.append(HalfHour(began_at=began_at, ended_at=now))


class MijnKlantportaalHistories(Histories):
    slugs = ("mijnklantportaal",)


class MeetergoHistories(Histories):
    slugs = ("meetergo",)


class CareValidateHistories(Histories):
    slugs = ("carevalidate",)


class HuskyVoiceHistories(Histories):
    slugs = ("huskyvoice",)


class AllHistories(Histories):
    slugs = ("carevalidate", "huskyvoice", "meetergo", "mijnklantportaal")


def _facts(row: Appointment) -> Facts:
    """What the page shows, in the providers' terms."""
    if row.day is not None:
        return (row.day.isoformat(), row.session, row.batch), frozenset()
    times = [one.astimezone(UTC).isoformat() if one else "" for one in (row.starts_at, row.ends_at)]
    has_ids = row.connection.provider == "meetergo"
    ids = [one.external_id for one in row.attendees.all()] if has_ids else []
    return (times[0], times[1]), frozenset(ids)


def _user(name: str) -> User:
    """As each request of a browser reads it anew, with the permissions of that moment."""
    return User.objects.get(username=name)
