"""
The words that every other module shares: what a provider can do, what it said, what went wrong.

Nothing here imports anything of ours, and nothing here touches a database or a network.

    ProviderError                    what the network or a provider causes
      NotSent                        no byte of the request left this machine
      CredentialsRejected            401: the key is wrong, missing or expired
      RateLimited                    429: turned away before anything was done
      AnswerLost                     sent, but no whole answer came back
      AnswerNotUnderstood            answered, but not with anything documented
    AppointmentsError                only a bug of ours causes these
      CapabilityMissing
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

NOTHING: Mapping[str, str] = MappingProxyType({})


# --- what a booking is ------------------------------------------------------------------------


class Status(StrEnum):
    """State of a booking, in our words. The provider's own word is kept beside it."""

    BOOKED = "booked"
    PENDING = "pending"
    CANCELLED = "cancelled"
    COMPLETED = "completed"
    GONE = "gone"
    """No longer listed by the provider, and not known to be cancelled. Only a sync sets this."""
    OTHER = "other"
    """A word that no documentation names: shown as it is, never taken for booked."""


LIVE = frozenset({Status.BOOKED, Status.PENDING})
"""The states in which there is something to cancel."""


@dataclass(frozen=True, kw_only=True)
class BookedAttendee:
    """One person on a booking. Empty text means the provider did not say."""

    external_id: str = ""
    """The provider's id of this person on this booking; empty where it has none."""
    name: str = ""
    email: str = ""
    phone: str = ""
    time_zone: str = ""
    """IANA name as the provider wrote it; may be unknown to this machine."""
    guests: tuple[str, ...] = ()
    """E-mail addresses brought along: guests are no attendees and cannot be removed alone."""


@dataclass(frozen=True, kw_only=True)
class BookedAppointment:
    """
    A provider's appointment in our words.

    Either *starts_at* is set, or *day* (with *session* and *batch*) where the provider has no
    clock time. No clock time is ever made up.
    """

    external_id: str
    """Opaque, at most 200 characters."""
    status: Status
    provider_status: str = ""
    """The provider's own word, unchanged; empty where it has none."""
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    day: date | None = None
    session: str = ""
    batch: str = ""
    window: tuple[time, time] | None = None
    """Opening window of session and batch, wall clock in the connection's zone, if known."""
    title: str = ""
    host: str = ""
    """With whom: host, doctor, clinician. A name where known, otherwise the provider's id."""
    location: str = ""
    reference: str = ""
    """What staff and patient may quote: queue token, external reference, short id."""
    meeting_link: str = ""
    attendees: tuple[BookedAttendee, ...] = ()
    is_group: bool = False
    is_paid: bool = False
    locator: Mapping[str, str] = NOTHING
    """What the adapter needs beside the id to act on this booking (case id, kind, service id)."""
    warnings: tuple[str, ...] = ()
    """Codes of faults that the provider itself reports about this booking."""
    updated_at: datetime | None = None
    cancelled_at: datetime | None = None
    cancelled_by: str = ""
    cancel_reason: str = ""

    @property
    def is_live(self) -> bool:
        return self.status in LIVE


@dataclass(frozen=True, kw_only=True)
class Facts:
    """
    What staff decide on when they cancel: when it is, who is booked, whether it stands.

    Kept with every intent, so that a booking which moved meanwhile is never cancelled unseen.
    """

    when: tuple[str, ...]
    """Start and end in UTC, or day, session and batch."""
    attendees: tuple[str, ...]
    """Ids where the provider has them, otherwise name and address."""
    status: str

    @classmethod
    def of(cls, booking: BookedAppointment) -> Facts:
        when = [one.isoformat() if one else "" for one in (booking.starts_at, booking.ends_at)]
        if booking.day is not None:
            when = [booking.day.isoformat(), booking.session, booking.batch]
        people = (one.external_id or f"{one.name} <{one.email}>" for one in booking.attendees)
        return cls(when=tuple(when), attendees=tuple(sorted(people)), status=booking.status)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Facts:
        return cls(
            when=tuple(value["when"]),
            attendees=tuple(value["attendees"]),
            status=value["status"],
        )

    def as_json(self) -> dict[str, Any]:
        return {"when": list(self.when), "attendees": list(self.attendees), "status": self.status}

    @property
    def version(self) -> str:
        """Short hash; two versions differ if and only if one of the facts does."""
        text = json.dumps(self.as_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def changes(self, now: Facts) -> tuple[Change, ...]:
        """What moved since; a fact that *now* does not hold is no change."""
        moved = []
        if any(now.when) and now.when != self.when:
            moved.append(Change.TIME)
        if now.attendees and now.attendees != self.attendees:
            moved.append(Change.ATTENDEES)
        if now.status != self.status:
            moved.append(Change.STATUS)
        return tuple(moved)


class Change(StrEnum):
    TIME = "time"
    ATTENDEES = "attendees"
    STATUS = "status"


@dataclass(frozen=True, kw_only=True)
class BookingRef:
    """Enough to find one booking at its provider again."""

    external_id: str
    locator: Mapping[str, str] = NOTHING
    starts_at: datetime | None = None
    day: date | None = None


@dataclass(frozen=True, kw_only=True)
class RejectedRecord:
    """One record of a listing that could not be read; the others of its page are kept."""

    external_id: str
    """Empty when not even the id was readable."""
    why: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """One answer of a listing."""

    records: tuple[BookedAppointment, ...]
    rejected: tuple[RejectedRecord, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DateWindow:
    """Whole days in the connection's zone, both ends included."""

    first: date
    last: date


@dataclass(frozen=True, kw_only=True)
class CancellationPolicy:
    """What a provider says beforehand about cancelling."""

    allowed: bool
    notice: timedelta
    time_zone: str = ""
    """IANA name of the organization's zone, if the provider says it."""


# --- what a provider can do -------------------------------------------------------------------


class Informs(StrEnum):
    """Who learns of a cancellation from the provider, as far as its documentation says."""

    ALL_PARTICIPANTS = "all_participants"
    PRESUMABLY_INVITEE = "presumably_invitee"
    NOT_DOCUMENTED = "not_documented"
    PROBABLY_NOBODY = "probably_nobody"


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """
    What a provider can express, as plain data.

    Templates hide by it and services refuse by it. "Cannot" means that the provider's interface
    has no way to say it; what a provider's rules may forbid is not copied here.
    """

    reads_one: bool
    """False: one booking can only be found by listing again."""
    cancels: bool = True
    one_attendee: bool = False
    """One person of a group can be removed while the appointment goes on."""
    following: bool = False
    """This and all later occurrences can be cancelled in one request."""
    needs_email: bool = False
    """The invitee's e-mail address must be sent along."""
    reason_limit: int = 0
    """Longest reason that reaches the provider, in UTF-16 units; 0: the reason stays with us."""
    repeat_is_safe: bool = False
    """Cancelling twice neither mails twice nor touches anything else."""
    has_policy: bool = False
    cancels_past: bool = True
    """False: cancelling what is past or completed is not documented, so it is not offered."""
    informs: Informs = Informs.NOT_DOCUMENTED
    schedule_fields: tuple[ScheduleField, ...] = ()
    """Fields of the schedule form, in order; empty: booking is not possible."""
    reschedules: bool = False
    """A booking can be moved to another time and keeps its id."""
    confirms_pending: bool = False
    """What is pending can be accepted; declining it is cancelling it."""
    slot_days: int = 0
    """Days of free slots to ask for at once, at most; 0: the provider shows none."""
    requests_per_minute: int = 60
    has_daily_quota: bool = False
    """The account may make only so many requests a day (UTC), each of which may cost money."""
    lingers_minutes: int = 0
    """How long the listing may go on showing a booking after the provider confirmed its end."""
    sync_minutes: int = 1
    """Pause between two listings, so that the provider's limits leave room for people."""
    listing_days: int = 60
    """How many days ahead a sync reads, at most; fewer where a listing costs a request a day."""
    near_days: int | None = None
    """Days ahead that every sync reads, where the rest is read only once an hour; None: all."""

    @property
    def schedules(self) -> bool:
        return bool(self.schedule_fields)

    @property
    def shows_slots(self) -> bool:
        return self.slot_days > 0

    @property
    def into_windows(self) -> bool:
        """Whether one books, and moves, into windows of the provider, not at a clock time."""
        return any(one.name == "session" for one in self.schedule_fields)

    @property
    def reason_reaches_provider(self) -> bool:
        return self.reason_limit > 0


@dataclass(frozen=True, kw_only=True)
class ScheduleField:
    """One input of a provider's schedule form; *name* is a field of `ScheduleRequest`."""

    name: str
    required: bool = True
    choices: tuple[str, ...] = ()
    """Closed list of values; empty: free text."""
    pattern: str = ""
    """Regular expression that the whole value must match; empty: any text."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """Something that can be booked, and with whom: offered as a choice in the schedule form."""

    external_id: str
    name: str
    hosts: tuple[str, ...] = ()
    """Provider ids of the hosts that can be booked for it, where the provider wants one."""


@dataclass(frozen=True, kw_only=True)
class Slot:
    """
    A time that a provider offers: one start, or an opening window with places left in it.

    It was free when it was asked for, and nobody holds it: only booking it takes it.
    """

    starts_at: datetime
    """The start; of an opening window its beginning, any moment up to *ends_at* will do."""
    ends_at: datetime | None = None
    """None where the provider does not say how long it is."""
    session: str = ""
    batch: str = ""
    """Session and batch where the provider books into windows; sent along with the time."""
    branch: str = ""
    service: str = ""
    """The only service that is booked in it, by the provider's id; empty: whatever was asked."""
    host: str = ""
    """With whom, by the provider's id; empty where the answer does not depend on one."""
    left: int | None = None
    """Places left, as far as the provider counts them; None: it does not say."""

    @property
    def is_window(self) -> bool:
        return bool(self.session)


class Gate:
    """
    Stands before every request to an account; this one lets everything through.

    The services give one that keeps to what the provider allows, together with all other processes.
    """

    def admit(self) -> None:
        """
        Called before each request; may wait.

        Raises:
            RateLimited: not now. Nothing was sent.
        """

    def prepay(self) -> None:
        """
        Account for the next request now: nothing will be done between its claim and it.

        To ask may be a round trip to a database, which may hang, and what was claimed before it
        could leave long after everybody else had given it up.
        """

    def turned_away(self, wait: timedelta | None) -> None:
        """The provider answered 429, and asks for *wait*; None if its figure is absurd."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """One account at a provider: where it is and how to get in. Holds secrets; never logged."""

    base_url: str
    credentials: Mapping[str, str] = field(repr=False)
    time_zone: ZoneInfo
    """Zone of the desk: zone-less times are meant in it."""
    rehearsal: bool = False
    """The base URL must be on this very machine, and may be plain http."""
    service_names: Mapping[str, str] = field(default_factory=dict)
    """Names of what can be booked, by id, as last read: nobody needs to ask for them each time."""
    gate: Gate = field(default_factory=Gate, compare=False)


# --- what is asked ----------------------------------------------------------------------------


class Scope(StrEnum):
    """How much of a booking a cancellation takes away."""

    WHOLE = "whole"
    ATTENDEE = "attendee"
    FOLLOWING = "following"


@dataclass(frozen=True, kw_only=True)
class CancelRequest:
    """What to cancel, built from a read that is seconds old."""

    appointment: BookedAppointment
    scope: Scope = Scope.WHOLE
    attendee_id: str = ""
    """The provider's id of the person, for `Scope.ATTENDEE`."""
    reason: str = ""
    """Text that may reach the people booked; empty: none is sent."""
    email: str = ""
    """The invitee's address, where the provider needs it."""


@dataclass(frozen=True, kw_only=True)
class ScheduleRequest:
    """What to book. Which fields count is said by `Capabilities.schedule_fields`."""

    starts_at: datetime
    ends_at: datetime | None = None
    title: str = ""
    customer_id: str = ""
    name: str = ""
    email: str = ""
    phone: str = ""
    time_zone: str = ""
    """The invitee's zone, IANA name."""
    service: str = ""
    """The provider's id of the meeting type, event type or appointment type."""
    host: str = ""
    location: str = ""
    session: str = ""
    branch: str = ""


@dataclass(frozen=True, kw_only=True)
class SlotQuery:
    """
    Which free slots are wanted.

    What is empty is taken from the booking that is to be moved; without one it does not count.
    """

    window: DateWindow
    """At most `Capabilities.slot_days` days; each may cost a request."""
    service: str = ""
    """The provider's id, as in `ScheduleRequest`; so are *host* and *branch*."""
    host: str = ""
    branch: str = ""
    session: str = ""
    """Only this one, where there are sessions; never taken from the booking."""
    moving: BookedAppointment | None = None
    """The booking that is to be moved: it does not stand in its own way, and keeps its length."""


@dataclass(frozen=True, kw_only=True)
class RescheduleRequest:
    """Where to move a booking, built from a read that is seconds old."""

    appointment: BookedAppointment
    starts_at: datetime
    """Aware. Of an opening window any moment in it."""
    session: str = ""
    batch: str = ""
    """Session and batch of the slot, where the provider books into windows."""

    def __post_init__(self) -> None:
        if self.starts_at.tzinfo is None:
            raise AppointmentsError("the new time has no zone")

    def is_met_by(self, booking: BookedAppointment, *, zone: ZoneInfo) -> bool:
        """
        Whether *booking* is the one to be moved, stands, and stands at the time asked for.

        Without a clock time, day, session and (if one was asked for) batch are all that can be
        compared; *zone* is the connection's, in which the day is meant.
        """
        if booking.external_id != self.appointment.external_id or not booking.is_live:
            return False
        if booking.starts_at is not None:
            return booking.starts_at == self.starts_at
        return (booking.day, booking.session) == (
            self.starts_at.astimezone(zone).date(),
            self.session,
        ) and self.batch in ("", booking.batch)


@dataclass(frozen=True, kw_only=True)
class ConfirmRequest:
    """Which pending booking to accept, built from a read that is seconds old."""

    appointment: BookedAppointment


# --- what came of it --------------------------------------------------------------------------


class Refusal(StrEnum):
    """Why a provider said no."""

    CREDENTIALS = "credentials"
    PERMISSION = "permission"
    POLICY = "policy"
    NOT_FOUND = "not_found"
    EMAIL = "email"
    NOT_PENDING = "not_pending"
    SLOT_TAKEN = "slot_taken"
    DUPLICATE = "duplicate"
    QUOTA = "quota"
    OVER = "over"
    """It has taken place, so there is nothing left to cancel."""
    INVALID = "invalid"
    OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """The provider said, as documented, that exactly what was asked is done."""

    said: str = ""
    appointment: BookedAppointment | None = None
    """The booking as the answer shows it, if it does."""


@dataclass(frozen=True, kw_only=True)
class Already:
    """The provider said, as documented, that it was cancelled before this request."""

    said: str = ""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """The provider said no, as documented."""

    why: Refusal
    said: str = ""
    """The provider's own words: shown in a fold-out, escaped, and never compared."""
    conclusive: bool = False
    """
    True: nothing was cancelled, and no look is needed (401 and 403). False: read once, since
    the same status may also mean that it was cancelled already.
    """


type CancelAnswer = Confirmed | Already | Refused


@dataclass(frozen=True, kw_only=True)
class Scheduled:
    """Booked, as the provider said."""

    external_id: str = ""
    """Empty where the answer has no id: the booking is found by listing."""
    appointment: BookedAppointment | None = None
    said: str = ""


@dataclass(frozen=True, kw_only=True)
class AwaitsConfirmation:
    """Noted down, but nothing is booked until somebody confirms by mail."""

    said: str = ""


type ScheduleAnswer = Scheduled | AwaitsConfirmation | Refused


@dataclass(frozen=True, kw_only=True)
class Rescheduled:
    """The provider showed, as documented, that the booking stands at the time asked for."""

    appointment: BookedAppointment
    """The booking as the answer shows it. Its length and its host are for the caller to compare."""


type RescheduleAnswer = Rescheduled | Refused

type ConfirmAnswer = Confirmed | Refused


# --- errors -----------------------------------------------------------------------------------


class ProviderError(Exception):
    """
    The network or the provider failed us.

    *why* is a short code for logs and for `wording.py`; *status* the HTTP status, if one came.
    Neither ever holds a URL, a header or a name.
    """

    may_have_happened = True
    """What may have happened is *unknown*, never *failed*."""

    def __init__(self, why: str, *, status: int | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.status = status


class NotSent(ProviderError):
    """No byte of the request left this machine."""

    may_have_happened = False


class CredentialsRejected(ProviderError):
    """401: the provider does not accept our key; nothing was done. Other calls will fail too."""

    may_have_happened = False


class AccessDenied(ProviderError):
    """403 on a read: the key may not see this; nothing was done."""

    may_have_happened = False


class RateLimited(ProviderError):
    """429: turned away before anything was done."""

    may_have_happened = False

    def __init__(self, why: str, *, wait: timedelta | None, status: int | None = 429) -> None:
        super().__init__(why, status=status)
        self.wait = wait
        """How long the provider asks us to wait; None when its figure is absurd."""


class AnswerLost(ProviderError):
    """The request left, and no whole answer came back."""


class AnswerNotUnderstood(ProviderError):
    """An answer came that no documentation covers."""


class AppointmentsError(Exception):
    """A bug of ours, to be mended rather than handled."""


class CapabilityMissing(AppointmentsError):
    """Something was asked of a provider that it has no way to do."""
