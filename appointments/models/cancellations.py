"""
The ledger: what staff wanted cancelled, what was sent, what was answered.

`Cancellation` is the intent and carries the state; `ProviderCall` and `ProviderAnswer` say what
went over the wire. Calls, answers and events are only ever inserted: `ledger_triggers.py` makes
the database refuse anything else.

A state changes in one place, `Cancellation.apply`, and only along `TRANSITIONS`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.db.models import Exists, OuterRef, Q
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from appointments.domain import Facts, Scope
from appointments.models.appointments import Appointment, name_of
from appointments.models.batches import Batch
from appointments.models.connections import Connection


class State(models.TextChoices):
    """Where a cancellation stands."""

    REQUESTED = "requested", gettext_lazy("waiting")
    SENDING = "sending", gettext_lazy("sending")
    CONFIRMED = "confirmed", gettext_lazy("confirmed")
    ALREADY = "already", gettext_lazy("already cancelled")
    REFUSED = "refused", gettext_lazy("refused")
    NOT_SENT = "not_sent", gettext_lazy("not sent")
    WITHDRAWN = "withdrawn", gettext_lazy("withdrawn")
    UNKNOWN = "unknown", gettext_lazy("outcome unknown")
    NEEDS_HUMAN = "needs_human", gettext_lazy("needs a person")
    SETTLED = "settled", gettext_lazy("settled by hand")


OPEN = frozenset({State.REQUESTED, State.SENDING, State.UNKNOWN, State.NEEDS_HUMAN})
UNSETTLED = frozenset({State.UNKNOWN, State.NEEDS_HUMAN})


class Verdict(StrEnum):
    """What somebody found out outside the portal."""

    CANCELLED = "judged_cancelled"
    STILL_BOOKED = "judged_still_booked"


DONE = frozenset({State.CONFIRMED, State.ALREADY})
"""The only states in which staff are told that it is cancelled."""
FAILED = frozenset({State.REFUSED, State.NOT_SENT})
"""Certainly not cancelled, though nobody wanted it back."""


class Event(StrEnum):
    """What can happen to a cancellation."""

    ASKED = "asked"
    CLAIMED = "claimed"
    FOUND_CANCELLED = "found_cancelled"
    FOUND_CHANGED = "found_changed"
    FOUND_GONE = "found_gone"
    TAKEN_BACK = "taken_back"
    NOT_PERMITTED = "not_permitted"
    LIFETIME_OVER = "lifetime_over"
    LOOK_REFUSED = "look_refused"
    """Our key may not read, or the provider wants us to wait absurdly long."""
    NOTHING_LEFT_US_YET = "nothing_left_us_yet"
    """Not sent, or turned away before anything was done; another try is allowed."""
    NOTHING_LEFT_US = "nothing_left_us"
    """The same, and no try is left."""
    PROVIDER_CONFIRMED = "provider_confirmed"
    PROVIDER_SAID_ALREADY = "provider_said_already"
    PROVIDER_REFUSED = "provider_refused"
    UNCLEAR = "unclear"
    LEASE_EXPIRED = "lease_expired"
    REPEAT_IS_DUE = "repeat_is_due"
    HANDED_OVER = "handed_over"
    SENT_AGAIN = "sent_again"
    SETTLED_BY_HAND = "settled_by_hand"
    CONTRADICTED = "contradicted"
    """Only a note: a later listing shows as booked what the provider had confirmed, or a late
    answer confirms what a person had settled otherwise."""


TRANSITIONS: Mapping[tuple[State, Event], State] = MappingProxyType(
    {
        (State.REQUESTED, Event.CLAIMED): State.SENDING,
        (State.REQUESTED, Event.FOUND_CANCELLED): State.ALREADY,
        (State.REQUESTED, Event.FOUND_CHANGED): State.WITHDRAWN,
        (State.REQUESTED, Event.FOUND_GONE): State.WITHDRAWN,
        (State.REQUESTED, Event.TAKEN_BACK): State.WITHDRAWN,
        (State.REQUESTED, Event.NOT_PERMITTED): State.WITHDRAWN,
        (State.REQUESTED, Event.LIFETIME_OVER): State.NOT_SENT,
        (State.REQUESTED, Event.LOOK_REFUSED): State.NOT_SENT,
        (State.SENDING, Event.NOTHING_LEFT_US_YET): State.REQUESTED,
        (State.SENDING, Event.NOTHING_LEFT_US): State.NOT_SENT,
        (State.SENDING, Event.PROVIDER_CONFIRMED): State.CONFIRMED,
        (State.SENDING, Event.PROVIDER_SAID_ALREADY): State.ALREADY,
        (State.SENDING, Event.PROVIDER_REFUSED): State.REFUSED,
        (State.SENDING, Event.UNCLEAR): State.UNKNOWN,
        (State.SENDING, Event.LEASE_EXPIRED): State.UNKNOWN,
        (State.UNKNOWN, Event.FOUND_CANCELLED): State.CONFIRMED,
        (State.UNKNOWN, Event.FOUND_GONE): State.NEEDS_HUMAN,
        (State.UNKNOWN, Event.REPEAT_IS_DUE): State.REQUESTED,
        (State.UNKNOWN, Event.HANDED_OVER): State.NEEDS_HUMAN,
        (State.NEEDS_HUMAN, Event.FOUND_CANCELLED): State.CONFIRMED,
        (State.NEEDS_HUMAN, Event.SENT_AGAIN): State.REQUESTED,
        (State.NEEDS_HUMAN, Event.SETTLED_BY_HAND): State.SETTLED,
    }
)

AFTER_AN_UNKNOWN_CALL: Mapping[tuple[State, Event], State] = MappingProxyType(
    {
        (State.REQUESTED, Event.FOUND_CANCELLED): State.CONFIRMED,
        (State.REQUESTED, Event.FOUND_CHANGED): State.UNKNOWN,
        (State.REQUESTED, Event.FOUND_GONE): State.UNKNOWN,
        (State.REQUESTED, Event.TAKEN_BACK): State.UNKNOWN,
        (State.REQUESTED, Event.NOT_PERMITTED): State.UNKNOWN,
        (State.REQUESTED, Event.LIFETIME_OVER): State.UNKNOWN,
        (State.REQUESTED, Event.LOOK_REFUSED): State.UNKNOWN,
        (State.SENDING, Event.NOTHING_LEFT_US): State.UNKNOWN,
        (State.SENDING, Event.PROVIDER_SAID_ALREADY): State.CONFIRMED,
        (State.SENDING, Event.PROVIDER_REFUSED): State.UNKNOWN,
    }
)
"""
Once a call may have been carried out, nothing that comes later proves that it was not: such a
cancellation ends as confirmed or through a person.
"""


PEOPLE_WITHIN = timedelta(hours=1)
"""How long an outcome may wait for a person before everybody at the desk is told."""


class IllegalTransition(Exception):
    """The row is not in a state in which this can happen: somebody else was faster."""


class CancellationQuerySet(models.QuerySet["Cancellation"]):
    def open(self) -> CancellationQuerySet:
        return self.filter(state__in=OPEN)

    def cancelled(self) -> CancellationQuerySet:
        """Those of which staff read that it is cancelled, by the provider's word or a person's."""
        return self.filter(Q(state__in=DONE) | Q(state=State.SETTLED, why=Verdict.CANCELLED))

    def unsettled(self) -> CancellationQuerySet:
        # All of these are due some time: by that, an index knows the few among all that ever were.
        return self.filter(state__in=UNSETTLED, due_at__isnull=False)

    def for_people(self, now: datetime) -> CancellationQuerySet:
        """What somebody should know of: unsettled, or contradicted and not yet past."""
        unsettled = Cancellation.objects.unsettled().values("pk")
        # Not by a join: that would be tempted to begin with all coming appointments.
        coming = Appointment.objects.filter(pk=OuterRef("appointment"), sorts_at__gte=now)
        contradicted = Cancellation.objects.filter(
            Exists(coming), contradicted_at__isnull=False
        ).values("pk")
        return self.filter(Q(pk__in=unsettled) | Q(pk__in=contradicted))

    def overdue_for_people(self, now: datetime) -> CancellationQuerySet:
        """What a person should have found out long ago."""
        return self.filter(
            due_at__isnull=False,
            state=State.NEEDS_HUMAN,
            unknown_since__lte=now - PEOPLE_WITHIN,
        )

    def due(self, now: datetime) -> CancellationQuerySet:
        """Open rows that somebody should look at and nobody is looking at."""
        return self.filter(due_at__lte=now).filter(
            Q(lease_until__isnull=True) | Q(lease_until__lte=now)
        )

    def in_flight(self, connection: Connection, now: datetime) -> CancellationQuerySet:
        return self.filter(connection=connection, due_at__isnull=False, lease_until__gt=now)


class Cancellation(models.Model):
    """A member of staff's intent to cancel, from the click to the outcome."""

    form_key = models.UUIDField(unique=True)
    """Made with the dialog: the same dialog sent twice is one intent."""
    batch = models.ForeignKey(Batch, models.PROTECT, null=True, related_name="cancellations")
    """The batch it was asked for with; null for a single one."""
    appointment = models.ForeignKey(Appointment, models.PROTECT, related_name="cancellations")
    connection = models.ForeignKey(Connection, models.PROTECT, related_name="cancellations")
    external_id = models.CharField(max_length=200)
    scope = models.CharField(max_length=12, choices=[(one.value, one.value) for one in Scope])
    attendee_external_id = models.CharField(max_length=200, blank=True)
    attendee_name = models.TextField(blank=True)
    """As `Attendee.known_as`, which may be empty; `person` is what staff read."""
    series_key = models.TextField(blank=True)
    """Meeting type and address: what "this and later ones" may touch, since no provider names
    its series."""
    email = models.TextField(blank=True)
    reason = models.TextField(blank=True)
    note = models.TextField(blank=True)
    expected = models.JSONField()
    """`Facts` of the booking as the member of staff saw it."""

    state = models.CharField(max_length=12, choices=State, default=State.REQUESTED)
    why = models.CharField(max_length=60, blank=True)
    """Code of why it is in this state; `wording.py` has the sentence."""
    said = models.TextField(blank=True)
    """The provider's own words."""
    later_ones = models.JSONField(null=True, default=None)
    """For "this and later ones": `{"id", "seen_cancelled"}` of each later occurrence, once they
    were read; null until then."""

    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="cancellations"
    )
    requested_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    """After this, nothing is sent any more."""
    due_at = models.DateTimeField(null=True)
    """When to look at it again; null once it is settled."""
    lease_key = models.UUIDField(null=True)
    lease_until = models.DateTimeField(null=True)
    unknown_since = models.DateTimeField(null=True)
    """When a call first may have been carried out without our knowing. Never unset."""
    tries = models.PositiveSmallIntegerField(default=0)
    """Calls of which nothing left us, since the last request to send."""
    repeats = models.PositiveSmallIntegerField(default=0)
    """Times the worker was allowed to send once more after an unknown outcome."""
    failed_looks = models.PositiveSmallIntegerField(default=0)
    """Times the provider could not be read before sending."""
    contradicted_at = models.DateTimeField(null=True)
    """When a later read first showed as booked what had taken effect; null while none does."""
    settled_at = models.DateTimeField(null=True)
    settled_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="settled_cancellations"
    )

    objects = CancellationQuerySet.as_manager()

    class Meta:
        ordering = ("-requested_at", "-pk")
        verbose_name = gettext_lazy("cancellation")
        verbose_name_plural = gettext_lazy("cancellations")
        constraints = (
            models.UniqueConstraint(
                fields=("connection", "external_id"),
                condition=Q(state__in=sorted(OPEN)),
                name="one_open_cancellation_per_booking",
            ),
            models.CheckConstraint(
                condition=Q(state__in=State.values), name="cancellation_state_known"
            ),
            models.CheckConstraint(
                condition=Q(state__in=sorted(OPEN), due_at__isnull=False)
                | ~Q(state__in=sorted(OPEN)) & Q(due_at__isnull=True),
                name="open_cancellation_has_a_due_time",
            ),
            models.CheckConstraint(
                condition=~Q(scope=Scope.ATTENDEE.value) | ~Q(attendee_external_id=""),
                name="attendee_scope_names_the_attendee",
            ),
        )
        indexes = (
            models.Index(
                fields=("due_at",), condition=Q(due_at__isnull=False), name="cancellation_due"
            ),
            models.Index(
                fields=("connection", "state", "why"),
                condition=Q(due_at__isnull=False),
                name="cancellation_at_connection",
            ),
            models.Index(
                fields=("contradicted_at",),
                condition=Q(contradicted_at__isnull=False),
                name="cancellation_contradicted",
            ),
            models.Index(fields=("-requested_at", "-id"), name="cancellation_activity"),
        )

    def __str__(self) -> str:
        values = {"number": self.pk, "state": State(self.state).label}
        return _("Cancellation %(number)s: %(state)s") % values

    def get_absolute_url(self) -> str:
        return reverse("cancellation", args=[self.pk])

    @property
    def person(self) -> str:
        """What to call whom it removes from a group; empty if it removes nobody alone."""
        return name_of(self.attendee_name) if self.scope == Scope.ATTENDEE else ""

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    @property
    def is_moving(self) -> bool:
        """Whether it may change without anybody doing anything."""
        return self.state in OPEN

    @property
    def is_done(self) -> bool:
        return self.state in DONE

    @property
    def asker(self) -> Any:
        """Who wanted the next request to leave: whoever sent it again, or asked for it first."""
        if self.unknown_since is None:
            return self.requested_by  # Only what was unknown once is sent again by a person.
        again = self.events.filter(event=Event.SENT_AGAIN).last()
        return again.by if again is not None else self.requested_by

    @property
    def facts(self) -> Facts:
        return Facts.from_json(self.expected)

    def after(self, event: Event) -> State:
        """
        The state that *event* leads to.

        Raises:
            IllegalTransition: nothing in the table says so.
        """
        step = (State(self.state), event)
        if self.unknown_since is not None and step in AFTER_AN_UNKNOWN_CALL:
            return AFTER_AN_UNKNOWN_CALL[step]
        if step not in TRANSITIONS:
            raise IllegalTransition(f"{self.state} has no {event}")
        return TRANSITIONS[step]

    def apply(
        self,
        event: Event,
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
        may move it. The lease ends unless *changes* extends it. *detail* is the reason that a
        named person gave.

        Raises:
            IllegalTransition: the row in the database has moved on; nothing was changed.
        """
        before, after = self.state, self.after(event)
        now = timezone.now()
        values = {"state": after, "why": why, "said": said, "due_at": due_at} | changes
        values.setdefault("lease_key", None)
        values.setdefault("lease_until", None)
        if after == State.UNKNOWN and self.unknown_since is None:
            values["unknown_since"] = now
        if after not in OPEN:
            values |= {"due_at": None, "settled_at": now, "settled_by": by}
        with transaction.atomic():
            row = Cancellation.objects.filter(
                pk=self.pk, state=before, unknown_since=self.unknown_since
            )
            if held is not None:
                row = row.filter(lease_key=held)
            if row.update(**values) != 1:
                raise IllegalTransition(f"{self} has moved on")
            CancellationEvent.objects.create(
                cancellation=self,
                at=now,
                event=event,
                before=before,
                after=after,
                why=why,
                detail=detail,
                by=by,
            )
        for name, value in values.items():
            setattr(self, name, value)

    def contradict(self, *, why: str) -> bool:
        """Note that something speaks against what staff were told; False if that is known."""
        now = timezone.now()
        first = Cancellation.objects.filter(pk=self.pk, contradicted_at=None)
        if not first.update(contradicted_at=now):
            return False
        CancellationEvent.objects.create(
            cancellation=self,
            at=now,
            event=Event.CONTRADICTED,
            before=self.state,
            after=self.state,
            why=why,
        )
        return True


class ConcernedPerson(models.Model):
    """
    Somebody whom a cancellation concerns, as known when it was asked for.

    Kept apart from the attendees: a provider may list nobody any more once it is cancelled, and
    then nobody would know whom to ring.
    """

    cancellation = models.ForeignKey(Cancellation, models.CASCADE, related_name="people")
    name = models.TextField(blank=True)
    email = models.TextField(blank=True)
    phone = models.TextField(blank=True)
    is_told = models.BooleanField()
    """Whether the provider is documented to tell this person."""
    reached_at = models.DateTimeField(null=True)
    reached_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.label

    @property
    def label(self) -> str:
        return name_of(self.name or self.email or self.phone)

    @property
    def is_unknown(self) -> bool:
        """Whether the provider named nobody: whoever comes is known to it alone."""
        return not (self.name or self.email or self.phone)


class CancellationEvent(models.Model):
    """One step of a cancellation. Insert-only."""

    cancellation = models.ForeignKey(Cancellation, models.PROTECT, related_name="events")
    at = models.DateTimeField()
    event = models.CharField(max_length=24)
    before = models.CharField(max_length=12, blank=True)
    after = models.CharField(max_length=12)
    why = models.CharField(max_length=60, blank=True)
    detail = models.TextField(blank=True)
    """A named person's reason, for what only a person may do."""
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")

    class Meta:
        ordering = ("at", "pk")

    def __str__(self) -> str:
        return f"{self.event} at {self.at:%H:%M:%S}"


class ProviderCall(models.Model):
    """One cancel request on the wire, written before its first byte. Insert-only."""

    cancellation = models.ForeignKey(Cancellation, models.PROTECT, related_name="calls")
    number = models.PositiveSmallIntegerField()
    started_at = models.DateTimeField()
    asked = models.JSONField()
    """What was asked: scope, attendee id, whether a reason went along. No text, no address."""

    class Meta:
        ordering = ("number",)
        constraints = (
            models.UniqueConstraint(fields=("cancellation", "number"), name="calls_are_numbered"),
        )

    def __str__(self) -> str:
        return f"Call {self.number} of cancellation {self.cancellation_id}"


class AnswerKind(models.TextChoices):
    OK = "ok", gettext_lazy("confirmed")
    ALREADY = "already", gettext_lazy("already cancelled")
    REFUSED = "refused", gettext_lazy("refused")
    LIMITED = "limited", gettext_lazy("turned away, busy")
    NOT_SENT = "not_sent", gettext_lazy("not sent")
    UNKNOWN = "unknown", gettext_lazy("unknown")


class ProviderAnswer(models.Model):
    """What came of a call; at most one each. Insert-only."""

    call = models.OneToOneField(ProviderCall, models.PROTECT, related_name="answer")
    kind = models.CharField(max_length=8, choices=AnswerKind)
    status = models.PositiveSmallIntegerField(null=True)
    why = models.CharField(max_length=60, blank=True)
    said = models.TextField(blank=True)
    answered_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=Q(kind__in=AnswerKind.values), name="answer_kind_known"
            ),
        )

    def __str__(self) -> str:
        return f"{self.call}: {self.kind}"


class ReasonPreset(models.Model):
    """A reason that staff may pick instead of typing it."""

    connection = models.ForeignKey(
        Connection,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="reason_presets",
        verbose_name=gettext_lazy("connection"),
        help_text=gettext_lazy(
            "Empty: offered for all connections, and in a batch that goes to several of them."
        ),
    )
    code = models.SlugField(
        gettext_lazy("code"),
        max_length=40,
        help_text=gettext_lazy("A short word of its own. Staff and patients do not see it."),
    )
    label = models.CharField(
        gettext_lazy("name in the list"),
        max_length=80,
        help_text=gettext_lazy("What staff choose by. Patients do not see it."),
    )
    text = models.TextField(gettext_lazy("text"), max_length=500)
    position = models.PositiveSmallIntegerField(
        gettext_lazy("place in the list"),
        default=0,
        help_text=gettext_lazy("The lowest number stands first."),
    )
    is_default = models.BooleanField(
        gettext_lazy("filled in at first"),
        default=False,
        help_text=gettext_lazy("Stands in the reason when the dialog opens; staff can change it."),
    )

    class Meta:
        ordering = ("position", "label")
        verbose_name = gettext_lazy("ready-made reason")
        verbose_name_plural = gettext_lazy("ready-made reasons")
        constraints = (
            models.UniqueConstraint(fields=("connection", "code"), name="preset_codes_are_unique"),
            models.UniqueConstraint(
                fields=("code",),
                condition=Q(connection__isnull=True),
                name="general_preset_codes_are_unique",
            ),
            models.UniqueConstraint(
                fields=("connection",),
                condition=Q(is_default=True),
                name="one_default_preset_per_connection",
            ),
            models.UniqueConstraint(
                fields=("is_default",),
                condition=Q(is_default=True, connection__isnull=True),
                name="one_general_default_preset",
            ),
        )

    def __str__(self) -> str:
        return self.label
