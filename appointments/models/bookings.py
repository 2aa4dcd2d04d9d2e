"""
What staff asked a provider to book, to move or to confirm: the same care as a cancellation.

`Booking` is the intent and carries the state; `BookingEvent` says each step that it took. Events
are only ever inserted: `ledger_triggers.py` makes the database refuse anything else, and that a
request leaves only once is a constraint on them.

A state changes in one place, `Booking.apply`, and only along `BOOKING_TRANSITIONS`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.db.models import Exists, OuterRef, Q
from django.urls import reverse
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy

from appointments.domain import LIVE, Facts, Status
from appointments.models.appointments import Appointment, Attendee
from appointments.models.cancellations import PEOPLE_WITHIN, IllegalTransition
from appointments.models.connections import Connection


class BookingState(models.TextChoices):
    """Where a request to book, to move or to confirm stands."""

    REQUESTED = "requested", gettext_lazy("waiting")
    SENDING = "sending", gettext_lazy("sending")
    CONFIRMED = "confirmed", gettext_lazy("done")
    AWAITS_CONFIRMATION = "awaits_confirmation", gettext_lazy("waiting for confirmation")
    REFUSED = "refused", gettext_lazy("refused")
    NOT_SENT = "not_sent", gettext_lazy("not sent")
    WITHDRAWN = "withdrawn", gettext_lazy("withdrawn")
    UNKNOWN = "unknown", gettext_lazy("outcome unknown")
    NEEDS_HUMAN = "needs_human", gettext_lazy("needs a person")
    SETTLED = "settled", gettext_lazy("settled by hand")


_S = BookingState
OPEN_BOOKINGS = frozenset({_S.REQUESTED, _S.SENDING, _S.UNKNOWN, _S.NEEDS_HUMAN})
UNSETTLED_BOOKINGS = frozenset({_S.UNKNOWN, _S.NEEDS_HUMAN})

JUDGED_DONE = "judged_done"
JUDGED_NOT_DONE = "judged_not_done"
DONE_AFTER_ALL = "done_after_all"
"""Judged not done, and shown as done by a later read."""


class BookingEventKind(StrEnum):
    """What can happen to it."""

    ASKED = "asked"
    CLAIMED = "claimed"
    """About to be sent. The database lets it happen once."""
    FOUND = "found"
    """A read shows what was asked for."""
    FOUND_CHANGED = "found_changed"
    FOUND_GONE = "found_gone"
    TAKEN_BACK = "taken_back"
    NOT_PERMITTED = "not_permitted"
    LIFETIME_OVER = "lifetime_over"
    LOOK_REFUSED = "look_refused"
    NOTHING_LEFT_US = "nothing_left_us"
    PROVIDER_CONFIRMED = "provider_confirmed"
    PROVIDER_NOTED = "provider_noted"
    """Noted down, but nothing is booked until the person confirms."""
    PROVIDER_REFUSED = "provider_refused"
    UNCLEAR = "unclear"
    LEASE_EXPIRED = "lease_expired"
    HANDED_OVER = "handed_over"
    SETTLED_BY_HAND = "settled_by_hand"
    READ_BACK = "read_back"
    """Only a note, as are all that follow: it was read back and compared."""
    ANSWERED_LATE = "answered_late"
    KEPT_BOTH = "kept_both"
    ACCEPTED = "accepted"
    """A person leaves what is shown after all as it is."""
    CONTRADICTED = "contradicted"
    """The provider shows what a person had settled as not done."""
    AGREED = "agreed"
    """It does not any more."""


_E = BookingEventKind
BOOKING_TRANSITIONS: Mapping[tuple[BookingState, BookingEventKind], BookingState] = (
    MappingProxyType(
        {
            (_S.REQUESTED, _E.CLAIMED): _S.SENDING,
            (_S.REQUESTED, _E.FOUND_CHANGED): _S.WITHDRAWN,
            (_S.REQUESTED, _E.FOUND_GONE): _S.WITHDRAWN,
            (_S.REQUESTED, _E.TAKEN_BACK): _S.WITHDRAWN,
            (_S.REQUESTED, _E.NOT_PERMITTED): _S.NOT_SENT,
            (_S.REQUESTED, _E.LIFETIME_OVER): _S.NOT_SENT,
            (_S.REQUESTED, _E.LOOK_REFUSED): _S.NOT_SENT,
            (_S.SENDING, _E.PROVIDER_CONFIRMED): _S.CONFIRMED,
            (_S.SENDING, _E.PROVIDER_NOTED): _S.AWAITS_CONFIRMATION,
            (_S.SENDING, _E.PROVIDER_REFUSED): _S.REFUSED,
            (_S.SENDING, _E.NOTHING_LEFT_US): _S.NOT_SENT,
            (_S.SENDING, _E.FOUND): _S.CONFIRMED,
            (_S.SENDING, _E.UNCLEAR): _S.UNKNOWN,
            (_S.SENDING, _E.LEASE_EXPIRED): _S.UNKNOWN,
            (_S.UNKNOWN, _E.FOUND): _S.CONFIRMED,
            (_S.UNKNOWN, _E.HANDED_OVER): _S.NEEDS_HUMAN,
            (_S.NEEDS_HUMAN, _E.FOUND): _S.CONFIRMED,
            (_S.NEEDS_HUMAN, _E.SETTLED_BY_HAND): _S.SETTLED,
        }
    )
)
"""No way leads back to *requested*: what was claimed once is never sent again."""


class BookingQuerySet(models.QuerySet["Booking"]):
    def open(self) -> BookingQuerySet:
        return self.filter(state__in=OPEN_BOOKINGS)

    def changes(self) -> BookingQuerySet:
        """Those that change a booking there is."""
        return self.exclude(kind=Booking.Kind.BOOK)

    def unsettled(self) -> BookingQuerySet:
        return self.filter(state__in=UNSETTLED_BOOKINGS)

    def half_done(self) -> BookingQuerySet:
        """Rebookings whose new appointment stands, or may, while the old one stands too."""
        still_on_it = Attendee.objects.filter(
            appointment=OuterRef("replaces"), external_id=OuterRef("replaces_attendee")
        )
        return self.filter(
            Q(state__in=(_S.CONFIRMED, _S.AWAITS_CONFIRMATION))
            | Q(state=_S.SETTLED, why=JUDGED_DONE)
            | Q(state=_S.SETTLED, why=DONE_AFTER_ALL, appointment__status__in=LIVE),
            Q(replaces_attendee="") | Q(Exists(still_on_it)),
            replaces__status__in=LIVE,
            kept_both_at=None,
        )

    def for_people(self) -> BookingQuerySet:
        """What somebody should know of: unsettled, half done, or contradicted and not yet past."""
        half_done = Booking.objects.half_done().values("pk")
        doubted = Booking.objects.contradicted().filter(starts_at__gte=timezone.now())
        return self.filter(
            Q(state__in=UNSETTLED_BOOKINGS) | Q(pk__in=half_done) | Q(pk__in=doubted.values("pk"))
        )

    def contradicted(self) -> BookingQuerySet:
        """What is shown as done against the verdict of a person, and nobody accepted so."""
        return self.filter(
            state=_S.SETTLED,
            why=DONE_AFTER_ALL,
            appointment__status__in=LIVE,
            kept_both_at=None,
        )

    def overdue_for_people(self, now: datetime) -> BookingQuerySet:
        """What a person should have found out long ago."""
        return self.filter(state=_S.NEEDS_HUMAN, requested_at__lte=now - PEOPLE_WITHIN)

    def due(self, now: datetime) -> BookingQuerySet:
        """Rows that somebody should look at and nobody is looking at."""
        free = Q(lease_until__isnull=True) | Q(lease_until__lte=now)
        return self.filter(free, due_at__lte=now)

    def in_flight(self, connection: Connection, now: datetime) -> BookingQuerySet:
        return self.filter(connection=connection, due_at__isnull=False, lease_until__gt=now)


class Booking(models.Model):
    """
    A member of staff's intent to book an appointment, to move one, or to confirm a pending one.

    Each is sent once and never again: no provider documents a way to tell a repeat from a second
    booking, and moving or confirming may mail people each time. After a lost answer the provider
    is read, and what was found decides.
    """

    class Kind(models.TextChoices):
        BOOK = "book", gettext_lazy("book")
        MOVE = "move", gettext_lazy("move")
        CONFIRM = "confirm", gettext_lazy("confirm")

    State = BookingState
    OPEN = OPEN_BOOKINGS

    form_key = models.UUIDField(unique=True)
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.BOOK)
    connection = models.ForeignKey(Connection, models.PROTECT, related_name="bookings")
    wish = models.JSONField()
    """What was asked for: fields of `ScheduleRequest`, for a move start, session and batch; beside
    them, under `offered`, how the form named it."""
    starts_at = models.DateTimeField()
    """The time asked for; of what is to be confirmed, its own."""
    expected = models.JSONField(default=dict)
    """`Facts` of the booking that is to be changed, as the member of staff saw it, with its host
    and the hours of its window."""
    state = models.CharField(max_length=20, choices=BookingState, default=BookingState.REQUESTED)
    why = models.CharField(max_length=60, blank=True)
    said = models.TextField(blank=True)
    external_id = models.CharField(max_length=200, blank=True)
    appointment = models.ForeignKey(
        Appointment, models.PROTECT, null=True, related_name="booking_requests"
    )
    """What is to be changed; of a new one, our row of it once it was read."""
    booked_at = models.DateTimeField(null=True)
    """Start that was read back; null if it was not, or where the provider has no clock time."""
    shown = models.JSONField(default=list)
    """When it is, as it was read back: `Facts.when`. Empty until then."""
    deviations = models.JSONField(default=list)
    """What was read back and is not as asked: `status` alone, or of `time`, `session`, `length`,
    `host`, `people`."""

    replaces = models.ForeignKey(
        Appointment, models.PROTECT, null=True, related_name="replacements"
    )
    """The appointment that is to be cancelled once this one stands."""
    replaces_attendee = models.CharField(max_length=200, blank=True)
    """If only one person of it is to be removed: the provider's id of that person."""
    kept_both_at = models.DateTimeField(null=True)
    kept_both_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )

    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="bookings"
    )
    requested_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    due_at = models.DateTimeField(null=True)
    """When to look at it again; null once there is nothing left to find out."""
    lease_key = models.UUIDField(null=True)
    lease_until = models.DateTimeField(null=True)
    failed_looks = models.PositiveSmallIntegerField(default=0)
    """Times the provider could not be read before sending."""
    sent_at = models.DateTimeField(null=True)
    """Set before the first byte leaves; what has it is never sent again."""
    settled_at = models.DateTimeField(null=True)
    settled_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )

    objects = BookingQuerySet.as_manager()

    class Meta:
        ordering = ("-requested_at", "-pk")
        verbose_name = gettext_lazy("booking, move or confirmation")
        verbose_name_plural = gettext_lazy("bookings, moves and confirmations")
        constraints = (
            models.CheckConstraint(
                condition=Q(state__in=BookingState.values), name="booking_state_known"
            ),
            models.CheckConstraint(
                condition=Q(kind="book")
                | Q(kind__in=("move", "confirm"), appointment__isnull=False),
                name="booking_kind_known_and_change_names_its_appointment",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=sorted(OPEN_BOOKINGS)) | Q(due_at__isnull=False),
                name="open_booking_has_a_due_time",
            ),
            models.CheckConstraint(
                condition=Q(kept_both_at__isnull=True, kept_both_by__isnull=True)
                | Q(kept_both_at__isnull=False, kept_both_by__isnull=False),
                name="keeping_both_names_a_person",
            ),
            models.UniqueConstraint(
                fields=("appointment",),
                condition=Q(kind__in=("move", "confirm"), state__in=sorted(OPEN_BOOKINGS)),
                name="one_open_change_per_appointment",
            ),
            models.UniqueConstraint(
                fields=("replaces", "replaces_attendee"),
                condition=Q(state__in=sorted(OPEN_BOOKINGS)),
                name="one_open_rebooking_per_person",
            ),
        )
        indexes = (
            models.Index(fields=("due_at",), condition=Q(due_at__isnull=False), name="booking_due"),
            models.Index(fields=("state",), name="booking_state"),
        )

    def __str__(self) -> str:
        kind, state = Booking.Kind(self.kind).label, BookingState(self.state).label
        return f"{capfirst(kind)} {self.pk}: {state}"

    def get_absolute_url(self) -> str:
        return reverse("booking", args=[self.pk])

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_BOOKINGS

    @property
    def is_moving(self) -> bool:
        """Whether it may change without anybody doing anything."""
        return self.due_at is not None

    @property
    def stands(self) -> bool:
        """Whether it is done, as the provider or a named person says."""
        return self.state == _S.CONFIRMED or (self.state == _S.SETTLED and self.why == JUDGED_DONE)

    @property
    def is_contradicted(self) -> bool:
        """Whether it is shown as done, though a person settled it as not done."""
        row = self.appointment
        return self.why == DONE_AFTER_ALL and row is not None and row.status in LIVE

    @property
    def is_undone(self) -> bool:
        """Whether what it booked was cancelled since, so that it may be booked anew."""
        row = self.appointment
        return self.has_vanished and row is not None and row.status == Status.CANCELLED

    @property
    def has_vanished(self) -> bool:
        """Whether what it booked is not shown as booked any more, and takes nothing's place."""
        return (
            self.kind == Booking.Kind.BOOK
            and self.appointment is not None
            and self.appointment.status not in LIVE | {Status.COMPLETED}
        )

    @property
    def facts(self) -> Facts:
        return Facts.from_json(self.expected)

    def apply(
        self,
        event: BookingEventKind,
        *,
        due_at: datetime | None = None,
        why: str = "",
        said: str = "",
        by: Any = None,
        detail: str = "",
        held: uuid.UUID | None = None,
        **changes: Any,
    ) -> None:
        """
        Move along the table, in one transaction with its entry in the history.

        *due_at* is needed where the new state is open. With *held*, only the holder of that lease
        may move it. The lease ends unless *changes* extends it.

        Raises:
            IllegalTransition: the row in the database has moved on; nothing was changed.
        """
        before = BookingState(self.state)
        if (before, event) not in BOOKING_TRANSITIONS:
            raise IllegalTransition(f"{before} has no {event}")
        after, now = BOOKING_TRANSITIONS[before, event], timezone.now()
        values = {"state": after, "why": why, "said": said, "due_at": due_at} | changes
        values.setdefault("lease_key", None)
        values.setdefault("lease_until", None)
        if after not in OPEN_BOOKINGS:
            values |= {"settled_at": now, "settled_by": by}
        with transaction.atomic():
            row = Booking.objects.filter(pk=self.pk, state=before)
            if held is not None:
                row = row.filter(lease_key=held)
            if row.update(**values) != 1:
                raise IllegalTransition(f"{self} has moved on")
            self._enter(event, at=now, before=before, after=after, why=why, by=by, detail=detail)
        for name, value in values.items():
            setattr(self, name, value)

    def contradict(self, row: Appointment) -> None:
        """Note that *row* is what came of it, against the verdict of a person."""
        judged = Booking.objects.filter(pk=self.pk, state=_S.SETTLED, why=JUDGED_NOT_DONE)
        if judged.update(why=DONE_AFTER_ALL, appointment=row, external_id=row.external_id):
            self.note(_E.CONTRADICTED)

    def agree(self) -> None:
        """Take that back: it is not shown so any more."""
        doubted = Booking.objects.filter(pk=self.pk, state=_S.SETTLED, why=DONE_AFTER_ALL)
        if doubted.update(why=JUDGED_NOT_DONE):
            self.note(_E.AGREED)

    def note(self, event: BookingEventKind, *, why: str = "", by: Any = None) -> None:
        """Put into the history what moves no state."""
        self._enter(
            event, at=timezone.now(), before=self.state, after=self.state, why=why, by=by, detail=""
        )

    def _enter(self, event: BookingEventKind, **values: Any) -> None:
        BookingEvent.objects.create(booking=self, event=event, **values)


class BookingEvent(models.Model):
    """One step of a request to book, move or confirm. Insert-only."""

    booking = models.ForeignKey(Booking, models.PROTECT, related_name="events")
    at = models.DateTimeField()
    event = models.CharField(max_length=24)
    before = models.CharField(max_length=20, blank=True)
    after = models.CharField(max_length=20)
    why = models.CharField(max_length=60, blank=True)
    detail = models.TextField(blank=True)
    """A named person's reason, for what only a person may do."""
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")

    class Meta:
        ordering = ("at", "pk")
        constraints = (
            models.UniqueConstraint(
                fields=("booking",), condition=Q(event="claimed"), name="a_booking_is_sent_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.event} at {self.at:%H:%M:%S}"
