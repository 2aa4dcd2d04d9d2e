"""What was booked and cancelled, to be looked at: in the words that the desk reads."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from appointments.admin.looking import LookOnly, LookOnlyInline, column, cut, titled
from appointments.booking_wording import (
    asked_time,
    booking_event_sentence,
    booking_outcome,
    booking_title,
    booking_who,
    facts_time,
)
from appointments.domain import Status
from appointments.models import (
    Appointment,
    Attendee,
    Batch,
    BatchLane,
    Booking,
    BookingEvent,
    Cancellation,
    CancellationEvent,
    ConcernedPerson,
    ProviderCall,
)
from appointments.phrases import Outcome, person, when_short
from appointments.services.batch import has_unclear
from appointments.wording import (
    event_sentence,
    exclusion,
    in_a_word,
    outcome,
    pause_sentence,
    scope_words,
)

CONNECTION = gettext_lazy("Connection")
STATE = gettext_lazy("Outcome")
ASKED_AT = gettext_lazy("Asked for at")
ASKED_BY = gettext_lazy("Asked for by")

_STATUSES: dict[str, Promise] = {
    Status.BOOKED: gettext_lazy("Booked"),
    Status.PENDING: gettext_lazy("Pending"),
    Status.CANCELLED: gettext_lazy("Cancelled"),
    Status.COMPLETED: gettext_lazy("Completed"),
    Status.GONE: gettext_lazy("No longer listed"),
    Status.OTHER: gettext_lazy("Another status of the provider"),
}


def _in_full(said: Outcome) -> str:
    """What staff read, a line each."""
    return "\n".join(line for line in (said.title, said.sentence, said.step) if line)


def _stamp(when: datetime) -> str:
    """With its seconds, on the desk's clock."""
    local = timezone.localtime(when)
    return f"{date_format(local, 'DATETIME_FORMAT')}:{local:%S}"


def _by_person(term: str, *, of: str) -> Q:
    """What was asked for by a member of staff whose name or login holds *term*."""
    names = ("username", "first_name", "last_name")
    found = Q()
    for name in names:
        found |= Q(**{f"{of}__{name}__icontains": term})
    return found


# --- appointments -----------------------------------------------------------------------------


class StatusFilter(admin.SimpleListFilter):
    title = gettext_lazy("Status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(_STATUSES.items())

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Appointment]
    ) -> QuerySet[Appointment]:
        value = self.value()
        return queryset.filter(status=value) if value in _STATUSES else queryset


class AttendeeInline(LookOnlyInline[Attendee, Appointment]):
    model = Attendee
    verbose_name_plural = gettext_lazy("people")
    columns = (
        "name_given",
        "email_given",
        "phone_given",
        "clock",
        "guest_list",
        "key",
    )

    @admin.display(description=gettext_lazy("Name"))
    def name_given(self, one: Attendee) -> str:
        return one.name or "-"

    @admin.display(description=gettext_lazy("E-mail"))
    def email_given(self, one: Attendee) -> str:
        return one.email or "-"

    @admin.display(description=gettext_lazy("Phone"))
    def phone_given(self, one: Attendee) -> str:
        return one.phone or "-"

    @admin.display(description=gettext_lazy("Their time zone"))
    def clock(self, one: Attendee) -> str:
        return one.time_zone or "-"

    @admin.display(description=gettext_lazy("Guests"))
    def guest_list(self, one: Attendee) -> str:
        return ", ".join(one.guests) or "-"

    @admin.display(description=gettext_lazy("Id at the provider"))
    def key(self, one: Attendee) -> str:
        return one.external_id or "-"


@admin.register(Appointment)
class AppointmentAdmin(LookOnly[Appointment]):
    list_display = (
        "people",
        "time",
        column("connection", CONNECTION),
        "state",
        column("external_id", gettext_lazy("Id at the provider")),
    )
    list_filter = (
        StatusFilter,
        titled("connection", CONNECTION, admin.RelatedFieldListFilter),
    )
    search_fields = ("search",)
    search_help_text = gettext_lazy("Name, e-mail, phone, reference or id at the provider.")
    inlines = (AttendeeInline,)
    list_select_related = ("connection",)
    ordering = ("-sorts_at", "-pk")
    show_full_result_count = False
    fieldsets = (
        (None, {"fields": ("connection", "time", "time_there", "state", "provider_status")}),
        (
            gettext_lazy("What was booked"),
            {
                "fields": (
                    "title",
                    "host",
                    "location",
                    "reference",
                    "meeting_link",
                    "is_group",
                    "is_paid",
                    "fault_codes",
                    "external_id",
                )
            },
        ),
        (
            gettext_lazy("Cancelled at the provider"),
            {"fields": ("cancelled_at", "cancelled_by", "cancel_reason")},
        ),
        (
            gettext_lazy("Noted here"),
            {"fields": ("practitioner", "practitioner_by", "practitioner_at")},
        ),
        (
            gettext_lazy("Our copy"),
            {
                "fields": (
                    "first_seen_at",
                    "seen_at",
                    "provider_updated_at",
                    "changed_here_at",
                    "missing_since",
                )
            },
        ),
    )
    labels = {  # noqa: RUF012 - the way Django spells it
        "connection": CONNECTION,
        "provider_status": gettext_lazy("The provider's word for it"),
        "title": gettext_lazy("What"),
        "host": gettext_lazy("Doctor or staff"),
        "location": gettext_lazy("Where"),
        "reference": gettext_lazy("Reference"),
        "meeting_link": gettext_lazy("Meeting link"),
        "is_group": gettext_lazy("Group"),
        "is_paid": gettext_lazy("Paid"),
        "external_id": gettext_lazy("Id at the provider"),
        "cancelled_at": gettext_lazy("At"),
        "cancelled_by": gettext_lazy("By"),
        "cancel_reason": gettext_lazy("Reason"),
        "practitioner": gettext_lazy("Doctor or staff"),
        "practitioner_by": gettext_lazy("By"),
        "practitioner_at": gettext_lazy("At"),
        "first_seen_at": gettext_lazy("First read at"),
        "seen_at": gettext_lazy("Last read at"),
        "provider_updated_at": gettext_lazy("Changed at the provider at"),
        "changed_here_at": gettext_lazy("Cancelled from here at"),
        "missing_since": gettext_lazy("No longer listed since"),
    }

    def get_queryset(self, request: HttpRequest) -> QuerySet[Appointment]:
        return super().get_queryset(request).prefetch_related("attendees")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Appointment], search_term: str
    ) -> tuple[QuerySet[Appointment], bool]:
        # With the rules of the desk's list: accents, spaces in numbers, words in any order.
        return queryset.filter(pk__in=Appointment.objects.matching(search_term).values("pk")), False

    @admin.display(description=gettext_lazy("Who"))
    def people(self, row: Appointment) -> str:
        return cut(row.who)

    @admin.display(description=gettext_lazy("When"), ordering="sorts_at")
    def time(self, row: Appointment) -> str:
        if row.starts_at is None:
            return when_short(row)
        return date_format(timezone.localtime(row.starts_at), "DATETIME_FORMAT")

    @admin.display(description=gettext_lazy("On the practice's clock"))
    def time_there(self, row: Appointment) -> str:
        if row.starts_at is None:
            return row.connection.time_zone
        there = date_format(row.starts_at.astimezone(row.connection.zone), "DATETIME_FORMAT")
        return f"{there} ({row.connection.time_zone})"

    @admin.display(description=gettext_lazy("Status"), ordering="status")
    def state(self, row: Appointment) -> str:
        return str(_STATUSES[row.status])

    @admin.display(description=gettext_lazy("Faults that the provider reports"))
    def fault_codes(self, row: Appointment) -> str:
        return ", ".join(row.warnings) or "-"


# --- cancellations ----------------------------------------------------------------------------


class PeopleInline(LookOnlyInline[ConcernedPerson, Cancellation]):
    model = ConcernedPerson
    verbose_name_plural = gettext_lazy("people whom it concerns")
    columns = ("who", "address", "number", "told", "reached")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ConcernedPerson]:
        return super().get_queryset(request).select_related("reached_by")

    @admin.display(description=gettext_lazy("Name"))
    def who(self, one: ConcernedPerson) -> str:
        return one.label

    @admin.display(description=gettext_lazy("E-mail"))
    def address(self, one: ConcernedPerson) -> str:
        return one.email or "-"

    @admin.display(description=gettext_lazy("Phone"))
    def number(self, one: ConcernedPerson) -> str:
        return one.phone or "-"

    @admin.display(description=gettext_lazy("Told by the provider"), boolean=True)
    def told(self, one: ConcernedPerson) -> bool:
        return one.is_told

    @admin.display(description=gettext_lazy("Reached by us"))
    def reached(self, one: ConcernedPerson) -> str:
        if one.reached_at is None:
            return "-"
        return f"{_stamp(one.reached_at)}, {person(one.reached_by)}"


class CallInline(LookOnlyInline[ProviderCall, Cancellation]):
    model = ProviderCall
    verbose_name_plural = gettext_lazy("requests to the provider")
    columns = (
        "count",
        "sent",
        "asked_for",
        "with_reason",
        "answer_kind",
        "answer_status",
        "answered",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[ProviderCall]:
        return super().get_queryset(request).select_related("answer")

    @admin.display(description=gettext_lazy("Number"))
    def count(self, call: ProviderCall) -> int:
        return call.number

    @admin.display(description=gettext_lazy("Sent at"))
    def sent(self, call: ProviderCall) -> str:
        return _stamp(call.started_at)

    @admin.display(description=gettext_lazy("Asked for"))
    def asked_for(self, call: ProviderCall) -> str:
        attendee = call.asked.get("attendee_id", "")
        words = scope_words(call.asked.get("scope", ""))
        return f"{words} ({attendee})" if attendee else words

    @admin.display(description=gettext_lazy("With a reason"), boolean=True)
    def with_reason(self, call: ProviderCall) -> bool:
        return bool(call.asked.get("with_reason"))

    @admin.display(description=gettext_lazy("Answer"))
    def answer_kind(self, call: ProviderCall) -> str:
        answer = getattr(call, "answer", None)
        return str(answer.get_kind_display()) if answer is not None else _("none yet")

    @admin.display(description=gettext_lazy("HTTP status"))
    def answer_status(self, call: ProviderCall) -> str:
        answer = getattr(call, "answer", None)
        return str(answer.status or "-") if answer is not None else "-"

    @admin.display(description=gettext_lazy("Answered at"))
    def answered(self, call: ProviderCall) -> str:
        answer = getattr(call, "answer", None)
        return _stamp(answer.answered_at) if answer is not None else "-"


class EventInline(LookOnlyInline[CancellationEvent, Cancellation]):
    model = CancellationEvent
    verbose_name_plural = gettext_lazy("history")
    columns = ("when", "what", "code", "who", "reason")

    def get_queryset(self, request: HttpRequest) -> QuerySet[CancellationEvent]:
        return super().get_queryset(request).select_related("by")

    @admin.display(description=gettext_lazy("At"))
    def when(self, event: CancellationEvent) -> str:
        return _stamp(event.at)

    @admin.display(description=gettext_lazy("What happened"))
    def what(self, event: CancellationEvent) -> str:
        return event_sentence(event)

    @admin.display(description=gettext_lazy("Code"))
    def code(self, event: CancellationEvent) -> str:
        return event.why or "-"

    @admin.display(description=gettext_lazy("By"))
    def who(self, event: CancellationEvent) -> str:
        return person(event.by) if event.by is not None else "-"

    @admin.display(description=gettext_lazy("Reason given"))
    def reason(self, event: CancellationEvent) -> str:
        return event.detail or "-"


@admin.register(Cancellation)
class CancellationAdmin(LookOnly[Cancellation]):
    list_display = (
        column("requested_at", ASKED_AT),
        "who",
        "takes_away",
        column("connection", CONNECTION),
        "word",
        "asked_by",
        column("batch", gettext_lazy("Batch")),
    )
    list_filter = (
        titled("state", STATE, admin.ChoicesFieldListFilter),
        titled("connection", CONNECTION, admin.RelatedFieldListFilter),
    )
    search_fields = ("appointment__search",)
    search_help_text = gettext_lazy("Who is booked, or who asked for it.")
    date_hierarchy = "requested_at"
    list_select_related = ("appointment__connection", "connection", "requested_by", "batch")
    show_full_result_count = False
    inlines = (PeopleInline, CallInline, EventInline)
    fieldsets = (
        (None, {"fields": ("appointment", "connection", "takes_away", "outcome_in_full", "said")}),
        (
            gettext_lazy("Asked for"),
            {"fields": ("asked_by", "requested_at", "reason", "note", "email", "batch")},
        ),
        (
            gettext_lazy("How it went"),
            {
                "fields": (
                    "expires_at",
                    "due_at",
                    "tries",
                    "unknown_since",
                    "contradicted_at",
                    "settled_at",
                    "settled_by_name",
                    "external_id",
                )
            },
        ),
    )
    labels = {  # noqa: RUF012 - the way Django spells it
        "appointment": gettext_lazy("Appointment"),
        "connection": CONNECTION,
        "said": gettext_lazy("The provider's words"),
        "requested_at": ASKED_AT,
        "reason": gettext_lazy("Reason"),
        "note": gettext_lazy("Internal note"),
        "email": gettext_lazy("E-mail address it was booked with"),
        "batch": gettext_lazy("Batch"),
        "expires_at": gettext_lazy("Nothing is sent after"),
        "due_at": gettext_lazy("Looked at next"),
        "tries": gettext_lazy("Tries that did not leave us"),
        "unknown_since": gettext_lazy("Outcome first unknown at"),
        "contradicted_at": gettext_lazy("Contradicted since"),
        "settled_at": gettext_lazy("Settled at"),
        "external_id": gettext_lazy("Id at the provider"),
    }

    def get_queryset(self, request: HttpRequest) -> QuerySet[Cancellation]:
        return super().get_queryset(request).prefetch_related("appointment__attendees")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Cancellation], search_term: str
    ) -> tuple[QuerySet[Cancellation], bool]:
        if not search_term:
            return queryset, False
        booked = Appointment.objects.matching(search_term).values("pk")
        asked = _by_person(search_term, of="requested_by")
        return queryset.filter(Q(appointment__in=booked) | asked), False

    @admin.display(description=gettext_lazy("Who"))
    def who(self, row: Cancellation) -> str:
        return cut(row.appointment.who)

    @admin.display(description=gettext_lazy("Takes away"), ordering="scope")
    def takes_away(self, row: Cancellation) -> str:
        return scope_words(row.scope, who=cut(row.person))

    @admin.display(description=STATE, ordering="state")
    def word(self, row: Cancellation) -> str:
        return in_a_word(row)

    @admin.display(description=STATE)
    def outcome_in_full(self, row: Cancellation) -> str:
        return _in_full(outcome(row))

    @admin.display(description=ASKED_BY, ordering="requested_by__username")
    def asked_by(self, row: Cancellation) -> str:
        return person(row.requested_by)

    @admin.display(description=gettext_lazy("Settled by"))
    def settled_by_name(self, row: Cancellation) -> str:
        return person(row.settled_by) if row.settled_by is not None else "-"


# --- bookings, moves and confirmations --------------------------------------------------------


class BookingEventInline(LookOnlyInline[BookingEvent, Booking]):
    model = BookingEvent
    verbose_name_plural = gettext_lazy("history")
    columns = ("when", "what", "code", "who", "reason")

    def get_queryset(self, request: HttpRequest) -> QuerySet[BookingEvent]:
        return super().get_queryset(request).select_related("by", "booking")

    @admin.display(description=gettext_lazy("At"))
    def when(self, event: BookingEvent) -> str:
        return _stamp(event.at)

    @admin.display(description=gettext_lazy("What happened"))
    def what(self, event: BookingEvent) -> str:
        return booking_event_sentence(event, booking=event.booking)

    @admin.display(description=gettext_lazy("Code"))
    def code(self, event: BookingEvent) -> str:
        return event.why or "-"

    @admin.display(description=gettext_lazy("By"))
    def who(self, event: BookingEvent) -> str:
        return person(event.by) if event.by is not None else "-"

    @admin.display(description=gettext_lazy("Reason given"))
    def reason(self, event: BookingEvent) -> str:
        return event.detail or "-"


@admin.register(Booking)
class BookingAdmin(LookOnly[Booking]):
    list_display = (
        column("requested_at", ASKED_AT),
        "kind_word",
        "who",
        column("connection", CONNECTION),
        "wanted",
        "word",
        "asked_by",
    )
    list_filter = (
        titled("kind", gettext_lazy("What"), admin.ChoicesFieldListFilter),
        titled("state", STATE, admin.ChoicesFieldListFilter),
        titled("connection", CONNECTION, admin.RelatedFieldListFilter),
    )
    search_fields = ("appointment__search",)
    search_help_text = gettext_lazy("Who is booked, or who asked for it.")
    date_hierarchy = "requested_at"
    list_select_related = ("connection", "appointment__connection", "requested_by")
    show_full_result_count = False
    inlines = (BookingEventInline,)
    fieldsets = (
        (None, {"fields": ("what", "who", "connection", "wanted", "outcome_in_full", "said")}),
        (
            gettext_lazy("Appointments"),
            {"fields": ("appointment", "replaces", "external_id", "found")},
        ),
        (gettext_lazy("Asked for"), {"fields": ("asked_by", "requested_at")}),
        (
            gettext_lazy("How it went"),
            {"fields": ("expires_at", "due_at", "sent_at", "settled_at", "settled_by_name")},
        ),
    )
    labels = {  # noqa: RUF012 - the way Django spells it
        "connection": CONNECTION,
        "said": gettext_lazy("The provider's words"),
        "appointment": gettext_lazy("Appointment"),
        "replaces": gettext_lazy("In place of"),
        "external_id": gettext_lazy("Id at the provider"),
        "requested_at": ASKED_AT,
        "expires_at": gettext_lazy("Nothing is sent after"),
        "due_at": gettext_lazy("Looked at next"),
        "sent_at": gettext_lazy("Sent at"),
        "settled_at": gettext_lazy("Settled at"),
    }

    def get_queryset(self, request: HttpRequest) -> QuerySet[Booking]:
        return super().get_queryset(request).prefetch_related("appointment__attendees")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Booking], search_term: str
    ) -> tuple[QuerySet[Booking], bool]:
        if not search_term:
            return queryset, False
        booked = Appointment.objects.matching(search_term).values("pk")
        found = Q(appointment__in=booked) | Q(replaces__in=booked)
        found |= Q(wish__name__icontains=search_term) | Q(wish__email__icontains=search_term)
        return queryset.filter(found | _by_person(search_term, of="requested_by")), False

    @admin.display(description=gettext_lazy("What"), ordering="kind")
    def kind_word(self, row: Booking) -> str:
        return str(row.get_kind_display())

    @admin.display(description=gettext_lazy("What"))
    def what(self, row: Booking) -> str:
        return booking_title(row)

    @admin.display(description=gettext_lazy("Who"))
    def who(self, row: Booking) -> str:
        return cut(booking_who(row))

    @admin.display(description=gettext_lazy("Time asked for"), ordering="starts_at")
    def wanted(self, row: Booking) -> str:
        return asked_time(row)

    @admin.display(description=gettext_lazy("Time as read back"))
    def found(self, row: Booking) -> str:
        return facts_time(row.shown) or "-"

    @admin.display(description=STATE, ordering="state")
    def word(self, row: Booking) -> str:
        return str(row.get_state_display())

    @admin.display(description=STATE)
    def outcome_in_full(self, row: Booking) -> str:
        return _in_full(booking_outcome(row))

    @admin.display(description=ASKED_BY, ordering="requested_by__username")
    def asked_by(self, row: Booking) -> str:
        return person(row.requested_by)

    @admin.display(description=gettext_lazy("Settled by"))
    def settled_by_name(self, row: Booking) -> str:
        return person(row.settled_by) if row.settled_by is not None else "-"


# --- batches ----------------------------------------------------------------------------------


class LaneInline(LookOnlyInline[BatchLane, Batch]):
    model = BatchLane
    verbose_name_plural = gettext_lazy("connections")
    columns = ("where", "paused", "since", "resumed")

    def get_queryset(self, request: HttpRequest) -> QuerySet[BatchLane]:
        return super().get_queryset(request).select_related("connection", "resumed_by")

    @admin.display(description=CONNECTION)
    def where(self, lane: BatchLane) -> str:
        return str(lane.connection)

    @admin.display(description=gettext_lazy("Paused"))
    def paused(self, lane: BatchLane) -> str:
        if lane.paused_at is None:
            return "-"
        return pause_sentence(lane, is_unclear=has_unclear(lane))

    @admin.display(description=gettext_lazy("Since"))
    def since(self, lane: BatchLane) -> str:
        return _stamp(lane.paused_at) if lane.paused_at is not None else "-"

    @admin.display(description=gettext_lazy("Last resumed"))
    def resumed(self, lane: BatchLane) -> str:
        if lane.resumed_at is None:
            return "-"
        return f"{_stamp(lane.resumed_at)}, {person(lane.resumed_by)}"


@admin.register(Batch)
class BatchAdmin(LookOnly[Batch]):
    list_display = (
        column("requested_at", ASKED_AT),
        "asked_by",
        "count",
        column("stopped_at", gettext_lazy("Stopped at")),
    )
    search_fields = (
        "requested_by__username",
        "requested_by__first_name",
        "requested_by__last_name",
    )
    search_help_text = gettext_lazy("Who asked for it.")
    date_hierarchy = "requested_at"
    list_select_related = ("requested_by",)
    inlines = (LaneInline,)
    fieldsets = (
        (None, {"fields": ("asked_by", "requested_at", "count", "reason", "note")}),
        (gettext_lazy("Left out"), {"fields": ("left_out",)}),
        (gettext_lazy("Stopped"), {"fields": ("stopped_at", "stopped_by_name")}),
    )
    labels = {  # noqa: RUF012 - the way Django spells it
        "requested_at": ASKED_AT,
        "reason": gettext_lazy("Reason"),
        "note": gettext_lazy("Internal note"),
        "stopped_at": gettext_lazy("Stopped at"),
    }

    def get_queryset(self, request: HttpRequest) -> QuerySet[Batch]:
        return super().get_queryset(request).annotate(size=Count("cancellations"))

    @admin.display(description=ASKED_BY, ordering="requested_by__username")
    def asked_by(self, batch: Batch) -> str:
        return person(batch.requested_by)

    @admin.display(description=gettext_lazy("Cancellations"), ordering="size")
    def count(self, batch: Any) -> int:
        return int(batch.size)

    @admin.display(description=gettext_lazy("Stopped by"))
    def stopped_by_name(self, batch: Batch) -> str:
        return person(batch.stopped_by) if batch.stopped_by is not None else "-"

    @admin.display(description=gettext_lazy("Chosen, and not asked for"))
    def left_out(self, batch: Batch) -> str:
        keys = [one["appointment"] for one in batch.excluded]
        rows = Appointment.objects.prefetch_related("attendees").in_bulk(keys)
        lines = (
            f"{cut(rows[one['appointment']].who)}: {exclusion(one['why'])}"
            for one in batch.excluded
            if one["appointment"] in rows
        )
        return "\n".join(lines) or "-"
