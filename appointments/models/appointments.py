"""Our copy of the providers' bookings. The provider is the truth; only a sync or a read writes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from appointments.domain import (
    LIVE,
    BookedAppointment,
    BookingRef,
    Capabilities,
    Status,
)
from appointments.models import search_index
from appointments.models.connections import Connection
from appointments.providers.registry import PROVIDERS

LONGEST_TAG = 80

SESSION_BEGINS = {"Morning": 8, "Afternoon": 13, "Evening": 17}
"""Hours at which sessions stand in a list whose own hours are not known."""
# Letters that no decomposition takes apart, and the apostrophe that tablets type.
_WITHOUT_ACCENT = str.maketrans(
    {"ø": "o", "æ": "ae", "œ": "oe", "đ": "d", "ð": "d", "ł": "l", "þ": "th", "\u0131": "i"}
    | {"\u2019": "'", "\u2018": "'"}
)
_SPELT_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa"})
_APOSTROPHES = re.compile("(?<=\\w)['\u2019\u2018](?=\\w)")
_TURNS_DIRECTION = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_PHONE_QUERY = re.compile(r"[\d\s()+./-]{4,}")


def _number_in(query: str) -> str:
    """Written with spaces, brackets or a leading zero, it is still the same number."""
    return digits(query).lstrip("0") if _PHONE_QUERY.fullmatch(query.strip()) else ""


def is_sought(query: str, *, name: str, email: str, phone: str) -> bool:
    """Whether it is this person of a group who was looked for, by the rules of `matching`."""
    query = query.replace("(0)", "")
    text = _searched([name, email, digits(phone)])
    words = fold(query).replace(",", " ").split()
    number = _number_in(query)
    by_number = bool(number) and number in digits(phone)
    return by_number or (bool(words) and all(word in text for word in words))


def holds(any_of: Sequence[Sequence[str]], *, column: search_index.Column = "search") -> Q:
    """That *column* holds all texts of one of *any_of*; without any, nothing is asked."""
    found = Q()
    for texts in any_of:
        found |= Q(*(Q((f"{column}__contains", text)) for text in texts))
    return found


class AppointmentQuerySet(models.QuerySet["Appointment"]):
    """Named questions about bookings. Every list is in the order of `sorts_at`, `pk`."""

    def from_day(self, first: date) -> AppointmentQuerySet:
        return self.filter(sorts_at__gte=day_start(first))

    def to_day(self, last: date) -> AppointmentQuerySet:
        return self.filter(sorts_at__lt=day_start(last + timedelta(days=1)))

    def with_host(self, fragment: str) -> AppointmentQuerySet:
        """Bookings with all of *fragment* in the host's name, or in the one that was noted here."""
        return self.holding([fold(fragment).split()], column="host_search")

    def matching(self, query: str) -> AppointmentQuerySet:
        """Bookings with every word of *query* in name, e-mail, phone, reference or id."""
        query = query.replace("(0)", "")
        words = fold(query).replace(",", " ").split()
        # As the list prints it in front of a reference.
        any_of = [[word for word in words if word != "ref."]]
        if number := _number_in(query):
            any_of.append([number])
        return self.holding([texts for texts in any_of if texts])

    def holding(
        self, any_of: Sequence[Sequence[str]], *, column: search_index.Column = "search"
    ) -> AppointmentQuerySet:
        """Bookings that hold all texts of one of *any_of*; all bookings if there is none."""
        found = self.filter(holds(any_of, column=column))
        keys = search_index.keys_with(any_of, column=column, using=self.db)
        return found if keys is None else found.filter(pk__in=keys)

    def after(self, sorts_at: datetime, pk: int) -> AppointmentQuerySet:
        """What follows a row in list order; the key of a page is the row before it."""
        return self.filter(Q(sorts_at__gt=sorts_at) | Q(sorts_at=sorts_at, pk__gt=pk))

    def before(self, sorts_at: datetime, pk: int) -> AppointmentQuerySet:
        """What stands in front of a row in list order."""
        return self.filter(Q(sorts_at__lt=sorts_at) | Q(sorts_at=sorts_at, pk__lt=pk))

    def in_order(self) -> AppointmentQuerySet:
        return self.order_by("sorts_at", "pk")


class Appointment(models.Model):
    """One booking as its provider showed it last."""

    connection = models.ForeignKey(Connection, models.PROTECT, related_name="appointments")
    external_id = models.CharField(max_length=200)
    status = models.CharField(max_length=12)
    provider_status = models.TextField(blank=True)
    starts_at = models.DateTimeField(null=True)
    ends_at = models.DateTimeField(null=True)
    day = models.DateField(null=True)
    session = models.CharField(max_length=100, blank=True)
    batch = models.CharField(max_length=100, blank=True)
    window_starts = models.TimeField(null=True)
    window_ends = models.TimeField(null=True)
    title = models.TextField(blank=True)
    host = models.TextField(blank=True)
    location = models.TextField(blank=True)
    reference = models.TextField(blank=True)
    meeting_link = models.TextField(blank=True)
    is_group = models.BooleanField(default=False)
    is_paid = models.BooleanField(default=False)
    locator = models.JSONField(default=dict)
    warnings = models.JSONField(default=list)
    cancelled_at = models.DateTimeField(null=True)
    cancelled_by = models.TextField(blank=True)
    cancel_reason = models.TextField(blank=True)
    provider_updated_at = models.DateTimeField(null=True)

    version = models.CharField(max_length=16)
    """Hash of what staff decide on; see `domain.Facts`."""
    content = models.CharField(max_length=64)
    """Hash of the whole record, so that an unchanged one is not written."""
    sorts_at = models.DateTimeField()
    """Place in every list. Without a clock time: the start of the window, or of the desk's day, so
    that a lane of its own stands above the hours."""
    search = models.TextField()
    """Everything that a search looks at: lower case, without accents, phone as digits."""
    host_search = models.TextField(blank=True)
    practitioner = models.CharField(max_length=LONGEST_TAG, blank=True)
    """Whom staff noted here, for providers that do not say it; a sync never writes it."""
    practitioner_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    practitioner_at = models.DateTimeField(null=True)
    first_seen_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    """Start of the newest read that showed it."""
    changed_here_at = models.DateTimeField(null=True)
    """When a cancellation of ours took effect; reads that began before know nothing of it."""
    read_alone_at = models.DateTimeField(null=True)
    """When a sync last asked for it by itself, because the listing did not have it."""
    missing_since = models.DateTimeField(null=True)
    """When a complete listing no longer had it. Absence is no proof of anything."""

    objects = AppointmentQuerySet.as_manager()

    class Meta:
        verbose_name = gettext_lazy("appointment")
        verbose_name_plural = gettext_lazy("appointments")
        constraints = (
            models.UniqueConstraint(
                fields=("connection", "external_id"), name="one_row_per_booking"
            ),
            models.CheckConstraint(
                condition=Q(status__in=[str(one) for one in Status]),
                name="appointment_status_known",
            ),
            models.CheckConstraint(
                condition=Q(starts_at__isnull=False) | Q(day__isnull=False),
                name="appointment_has_a_time_or_a_day",
            ),
        )
        indexes = (
            models.Index(fields=("sorts_at", "id"), name="appointment_order"),
            models.Index(fields=("connection", "sorts_at", "id"), name="appointment_of_connection"),
            models.Index(fields=("status", "sorts_at", "id"), name="appointment_of_status"),
            models.Index(
                fields=("practitioner",),
                condition=~Q(practitioner=""),
                name="appointment_practitioner",
            ),
        )
        permissions = (
            ("cancel_appointment", "Can cancel appointments at the provider"),
            ("tag_appointment", "Can note who an appointment is with"),
            ("schedule_appointment", "Can schedule appointments at the provider"),
            ("settle_cancellation", "Can settle cancellations whose outcome is unknown"),
        )

    def __str__(self) -> str:
        return f"{self.who} ({self.connection})"

    def get_absolute_url(self) -> str:
        return reverse("appointment", args=[self.pk])

    @property
    def is_with(self) -> str:
        """Doctor or staff: as the provider says it, otherwise as it was noted here."""
        return self.host or self.practitioner

    @property
    def is_live(self) -> bool:
        return self.status in LIVE

    @property
    def capabilities(self) -> Capabilities:
        """What can be done about this very booking."""
        if self.connection.provider not in PROVIDERS:
            return self.connection.capabilities
        return self.connection.adapter.capabilities_for(self.locator)

    @property
    def who(self) -> str:
        """The people booked, as one line for headings and accessible names."""
        people = list(self.attendees.all())
        return named_first(people) if people else self.title or self.reference or self.external_id

    @property
    def is_past(self) -> bool:
        """Whether it is over, as far as we know; a day without a clock time ends at midnight."""
        ends_at = self.ends_at or self.starts_at
        if ends_at is not None:
            return ends_at < timezone.now()
        return self.day is not None and self.day < timezone.localdate(timezone=self.connection.zone)

    @property
    def has_begun(self) -> bool:
        """Whether it has certainly begun; within a day without a clock time nobody knows."""
        if self.starts_at is None and self.window_starts is None:
            return self.is_past
        return self.is_past or self.starts_at_the_earliest <= timezone.now()

    @property
    def starts_at_the_earliest(self) -> datetime:
        """First moment it can begin: its start, its window's, or the start of its day."""
        if self.starts_at is not None:
            return self.starts_at
        assert self.day is not None  # noqa: S101 - a check constraint holds it
        return datetime.combine(
            self.day, self.window_starts or time.min, tzinfo=self.connection.zone
        )

    def ref(self) -> BookingRef:
        return BookingRef(
            external_id=self.external_id,
            locator=self.locator,
            starts_at=self.starts_at,
            day=self.day,
        )


class Attendee(models.Model):
    """One person on a booking."""

    appointment = models.ForeignKey(Appointment, models.CASCADE, related_name="attendees")
    position = models.PositiveSmallIntegerField()
    external_id = models.CharField(max_length=200, blank=True)
    name = models.TextField(blank=True)
    email = models.TextField(blank=True)
    phone = models.TextField(blank=True)
    time_zone = models.CharField(max_length=100, blank=True)
    guests = models.JSONField(default=list)

    class Meta:
        ordering = ("position",)
        constraints = (
            models.UniqueConstraint(
                fields=("appointment", "external_id"),
                condition=~Q(external_id=""),
                name="one_attendee_per_id",
            ),
        )

    def __str__(self) -> str:
        return self.label

    @property
    def label(self) -> str:
        """What to call this person: name, or what is known instead."""
        return name_of(self.known_as)

    @property
    def known_as(self) -> str:
        """Name, address or number; empty if the provider gave none of them."""
        return self.name or self.email or self.phone


def name_of(known: str) -> str:
    """
    What to call somebody of whom *known* is known.

    Without the characters that turn the direction of writing: in the middle of a sentence one
    of them would draw its warning backwards.
    """
    return _TURNS_DIRECTION.sub("", known).strip() or _("Unnamed person")


def and_others(name: str, count: int) -> str:
    """A group as one line: the first of it, and how many more there are."""
    return ngettext("%(name)s and %(count)d more", "%(name)s and %(count)d more", count) % {
        "name": name,
        "count": count,
    }


def fold(text: str) -> str:
    """Lower case without accents: what is stored for searching, and what is searched for."""
    plain = unicodedata.normalize("NFKD", text.casefold().translate(_WITHOUT_ACCENT))
    return "".join(char for char in plain if not unicodedata.combining(char))


def digits(text: str) -> str:
    return "".join(char for char in text if char.isdecimal())


def named_first(people: Sequence[Attendee]) -> str:
    """The first of *people*, and how many more there are."""
    label = people[0].label
    return label if len(people) == 1 else and_others(label, len(people) - 1)


def day_start(day: date) -> datetime:
    """Midnight on the desk's clock."""
    return datetime.combine(day, time.min, tzinfo=timezone.get_default_timezone())


def search_text(booking: BookedAppointment) -> str:
    parts: Iterable[str] = (
        booking.external_id,
        booking.reference,
        # As somebody reads it out on the telephone, without what stands between.
        "".join(filter(str.isalnum, booking.reference)),
        *(
            part
            for one in booking.attendees
            for part in (one.name, one.email, digits(one.phone), *one.guests)
        ),
    )
    return _searched(parts)


def _searched(parts: Iterable[str]) -> str:
    """All that is found of *parts*: also names in other spellings, O'Connor as OConnor too."""
    text = "\n".join(part for part in parts if part).casefold()
    spellings = (text, text.translate(_SPELT_OUT), _APOSTROPHES.sub("", text))
    return fold("\n".join(dict.fromkeys(spellings)))


def host_search_text(host: str, practitioner: str) -> str:
    return fold(f"{host}\n{practitioner}" if practitioner else host)


def list_position(booking: BookedAppointment, *, zone: ZoneInfo) -> datetime:
    """*zone* is the connection's: the hours of a window are meant in it."""
    if booking.starts_at is not None:
        return booking.starts_at
    assert booking.day is not None  # noqa: S101 - readers never make a booking without either
    if booking.window is not None:
        return datetime.combine(booking.day, booking.window[0], tzinfo=zone)
    hour = SESSION_BEGINS.get(booking.session, 0)
    return datetime.combine(booking.day, time(hour), tzinfo=timezone.get_default_timezone())
