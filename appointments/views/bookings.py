"""
Booking a new appointment, perhaps in place of another one, and what came of a request.

Each button of a form is a plain submit: one shows free slots, one chooses a slot, one leads to the
review, and from there one back and one that books. What was typed is kept by all of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, assert_never
from uuid import UUID, uuid4

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Prefetch
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from appointments.booking_forms import ScheduleForm
from appointments.booking_wording import (
    asked_time,
    booking_conflict,
    booking_consequence,
    booking_outcome,
    booking_silence,
    booking_title,
    clash_sentence,
    rebooking_notice,
    time_before,
    when_asked,
    wish_words,
)
from appointments.connection_wording import failure
from appointments.domain import ScheduleField, ScheduleRequest
from appointments.forms import VerdictForm
from appointments.models import (
    Appointment,
    Attendee,
    Booking,
    Cancellation,
    Connection,
    WorkerPulse,
)
from appointments.services.asked import Offered
from appointments.services.cancel import obstacles
from appointments.services.clash import Clash, clashes, planned_booking
from appointments.services.reach import customer_of
from appointments.services.schedule import (
    BookingConflict,
    BookingConflictKind,
    BookingVerdict,
    Replacing,
    ask_to_rebook,
    ask_to_schedule,
    keep_both,
    may_settle,
    offers,
    quiet_from,
    read_again,
    repeats,
    replacing_conflict,
    settle_by_hand,
    take_back,
    wish_of,
)
from appointments.services.slots import FreeSlots, slots_to_book
from appointments.templatetags.desk import phone_link
from appointments.views.appointments import facts
from appointments.views.filters import without
from appointments.views.polling import interval, knows, token_of
from appointments.views.request import (
    MAY_SCHEDULE,
    MAY_SETTLE,
    StaffRequest,
    needs,
    see_other,
    wants_fragment,
)
from appointments.views.slots import CHOOSE, SHOW, chosen, slot_words, slots_form, wanted
from appointments.views.timeline import of_booking

CHANGE, BOOK = "change", "book"
"""What the buttons of the review ask for; a form sent without either asks for the review."""
ELSEWHERE = "elsewhere"
"""Names the connection that somebody turns to with a form half filled in."""
MEANS_THE_SAME = ("title", "name", "email", "phone")
"""Fields of a form that are worth the same at another provider."""
NAMES_A_PERSON = ("name", "email")
SLOTS_ASKED = ("slots_from", "slots_days")


# --- the form ---------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@needs(MAY_SCHEDULE)
def schedule(request: StaffRequest) -> HttpResponse:
    """Choose a connection, fill in its form, review it, and then record the intent to book."""
    sent = request.POST if request.method == "POST" else request.GET
    connections = [
        one
        for one in Connection.objects.active().select_related("health")
        if one.capabilities.schedules
    ]
    replacing = _replacing(sent)
    known = None if replacing else _known_person(sent.get("person", ""))
    elsewhere = request.POST.get(ELSEWHERE, "")
    asked = elsewhere or sent.get("connection", "")
    connection = next((one for one in connections if str(one.pk) == asked), None)
    context: dict[str, Any] = {"connections": connections, "is_unknown": False, "known": known}
    context |= _replaced(replacing, person=sent.get("person", ""))
    is_open = context.get("must_choose") and request.method != "POST"
    if connection is None or is_open:
        context |= {"is_unknown": bool(asked) and connection is None}
        status = 404 if context["is_unknown"] else 200
        return render(request, "appointments/schedule.html", context, status=status)

    context |= {"connection": connection, "warning": _warning(connection)}
    if context.get("must_choose"):
        form = _form(connection, typed=_typed(request))
        return _form_page(request, context, form, data=request.POST, status=409)
    if request.method != "POST" or elsewhere:
        carried: dict[str, str] = {}
        if replacing:
            carried = _of_the_old_one(replacing, connection)
        elif known:
            carried = _of_person(known, connection)
        # What else was typed means another thing there: services, and times on another clock.
        typed = {name: text for name in MEANS_THE_SAME if (text := request.POST.get(name))}
        if any(typed.get(name, carried.get(name)) != carried.get(name) for name in NAMES_A_PERSON):
            carried.pop("customer_id", None)  # It is somebody else's number now.
        form = _form(connection, typed=_taken(carried | typed, connection))
        return _form_page(request, context, form, data=request.GET)
    if CHOOSE in request.POST or request.POST.get("do") == SHOW:
        return _slots_page(request, context, connection)
    if request.POST.get("do") == CHANGE:
        form = _form(connection, typed=_typed(request))
        form.visible_fields()[0].field.widget.attrs["autofocus"] = True
        return _form_page(request, context, form, data=request.POST)
    form = _form(connection, request.POST)
    if not form.is_valid():
        return _form_page(request, context, form, data=request.POST, status=422)
    review = Review(connection=connection, form=form, replacing=replacing)
    if request.POST.get("do") != BOOK:
        return _reviewed(request, context, review)
    return _booked(request, context, review)


@dataclass(frozen=True, kw_only=True)
class Review:
    """What a valid form asks for, as it is shown before anything is sent."""

    connection: Connection
    form: ScheduleForm
    replacing: Replacing | None

    @cached_property
    def wish(self) -> ScheduleRequest:
        return self.form.wish()

    @cached_property
    def offered(self) -> Offered:
        return self.form.offered()

    @cached_property
    def customer(self) -> Attendee | None:
        return customer_of(self.connection, self.wish.customer_id)

    @cached_property
    def clashes(self) -> list[Clash]:
        old = self.replacing.appointment if self.replacing else None
        planned = planned_booking(self.connection, self.wish, self.offered, replaces=old)
        return clashes(planned)

    @property
    def form_key(self) -> UUID:
        key: UUID = self.form.cleaned_data["form_key"]
        return key

    @property
    def token(self) -> str:
        """
        Changes with whatever the page says of it.

        Not with the letters of a field alone: the zone of a connection, the name of a service, the
        old appointment and what else is at that time may change while somebody looks at the page.
        """
        old = self.replacing.appointment.version if self.replacing else ""
        taken = [one.appointment.pk for one in self.clashes]
        customer = self.customer.label if self.customer else ""
        asked = (wish_of(self.wish), self.offered, self._person, customer)
        return token_of(self.connection.pk, *asked, old, taken)

    @property
    def _person(self) -> tuple[int | None, str]:
        if self.replacing is None:
            return None, ""
        person = self.replacing.attendee
        return self.replacing.appointment.pk, person.external_id if person else ""

    def is_that_of(self, booking: Booking) -> bool:
        return repeats(booking, self.connection, request=self.wish, replacing=self.replacing)

    def ask(self, by: User) -> Booking | BookingConflict:
        if self.replacing is None:
            return ask_to_schedule(
                self.connection,
                by=by,
                request=self.wish,
                form_key=self.form_key,
                offered=self.offered,
            )
        return ask_to_rebook(
            self.connection,
            by=by,
            request=self.wish,
            form_key=self.form_key,
            replacing=self.replacing,
            offered=self.offered,
        )


def _reviewed(request: StaffRequest, context: dict[str, Any], review: Review) -> HttpResponse:
    """The review, or what came of this very form before."""
    before = Booking.objects.filter(form_key=review.form_key).first()
    if before is not None and review.is_that_of(before):
        return see_other(before)
    if context.get("conflict"):
        return _form_page(request, context, review.form, data=request.POST, status=409)
    if before is None:
        return _review_page(request, context, review)
    used = BookingConflict(kind=BookingConflictKind.FORM_USED, booking=before)
    return _review_page(request, context, review, conflict=used)


def _booked(request: StaffRequest, context: dict[str, Any], review: Review) -> HttpResponse:
    """Ask for just what was reviewed."""
    before = Booking.objects.filter(form_key=review.form_key).first()
    if before is None and request.POST.get("reviewed") != review.token:
        stale = BookingConflict(kind=BookingConflictKind.NOT_REVIEWED)
        return _review_page(request, context, review, conflict=stale, status=409)
    match result := review.ask(request.user):
        case Booking() if review.is_that_of(result):
            return see_other(result)
        case Booking():
            used = BookingConflict(kind=BookingConflictKind.FORM_USED, booking=result)
            return _review_page(request, context, review, conflict=used, status=409)
        case BookingConflict():
            context |= _in_the_way(result, viewer=request.user)
            return _form_page(request, context, review.form, data=request.POST, status=409)
        case _:
            assert_never(result)


def _review_page(
    request: StaffRequest,
    context: dict[str, Any],
    review: Review,
    *,
    conflict: BookingConflict | None = None,
    status: int = 200,
) -> HttpResponse:
    is_used = conflict is not None and conflict.kind is BookingConflictKind.FORM_USED
    old = review.replacing.appointment if review.replacing else None
    if conflict is not None:
        context |= _in_the_way(conflict, viewer=request.user)
    context |= {
        "form": review.form,
        "is_review": True,
        # What was asked for from this form is not asked for again; another one needs its own key.
        "form_key": uuid4() if is_used else review.form_key,
        "reviewed": review.token,
        "consequence": booking_consequence(
            review.connection,
            review.wish,
            review.offered,
            replaces=old,
            customer=review.customer,
        ),
        "clashes": [clash_sentence(one) for one in review.clashes],
        "asked_time": ", ".join(when_asked(review.connection, review.wish, review.offered)),
        "wish": wish_words(wish_of(review.wish), review.offered),
        "kept": {name: request.POST[name] for name in SLOTS_ASKED if name in request.POST},
    }
    return render(request, "appointments/schedule.html", context, status=status)


def _in_the_way(found: BookingConflict, *, viewer: User) -> dict[str, Any]:
    return {"conflict": booking_conflict(found, viewer=viewer), "in_the_way": found.booking}


def _typed(request: StaffRequest) -> dict[str, str]:
    return {name: str(value) for name, value in request.POST.items()}


def _form(
    connection: Connection,
    data: Mapping[str, Any] | None = None,
    *,
    typed: Mapping[str, str] | None = None,
) -> ScheduleForm:
    return ScheduleForm(
        data,
        capabilities=connection.capabilities,
        zone=connection.zone,
        offers=offers(connection),
        typed=typed,
    )


def _slots_page(
    request: StaffRequest, context: dict[str, Any], connection: Connection
) -> HttpResponse:
    """Around what is typed: the free slots, or the one that was chosen."""
    typed = _typed(request)
    if CHOOSE in request.POST:
        found = chosen(request.POST, zone=connection.zone)
        if found is not None:
            slot, fields = found
            typed |= {name: value for name, value in fields.items() if value}
            context |= {"chosen_slot": slot_words(slot, connection=connection)}
    form = _form(connection, typed=typed)
    return _form_page(request, context, form, data=request.POST)


def _form_page(
    request: StaffRequest,
    context: dict[str, Any],
    form: ScheduleForm,
    *,
    data: Mapping[str, Any],
    status: int = 200,
) -> HttpResponse:
    connection: Connection = context["connection"]
    like = ScheduleRequest(
        starts_at=connection.created_at,
        service=str(form["service"].value() or "") if "service" in form.fields else "",
        host=str(form["host"].value() or "") if "host" in form.fields else "",
        branch=str(form["branch"].value() or "") if "branch" in form.fields else "",
    )

    def find(first: date, days: int) -> FreeSlots:
        if form.offers.not_with(like.host, service=like.service):
            return FreeSlots(why="host_elsewhere", asked_at=timezone.now())
        return slots_to_book(connection, first=first, days=days, like=like)

    context |= wanted(slots_form(connection, data), data, find, connection=connection)
    if CHOOSE in data:
        _focus_next(form)
    return render(request, "appointments/schedule.html", context | {"form": form}, status=status)


def _focus_next(form: ScheduleForm) -> None:
    """After a slot was chosen: to the first field that still lacks something."""
    for field in form.visible_fields():
        if field.field.required and not field.value():
            field.field.widget.attrs["autofocus"] = True
            return


def _warning(connection: Connection) -> str:
    health = getattr(connection, "health", None)
    if health is None or not health.is_failing:
        return ""
    return failure(health.failure, connection.provider_label)


# --- in place of another one ------------------------------------------------------------------


def _replacing(sent: Mapping[str, Any]) -> Replacing | None:
    """What the new appointment is to take the place of; None if nothing."""
    key = sent.get("replaces", "")
    if not _is_key(key):
        return None
    found = Appointment.objects.select_related("connection__health").prefetch_related("attendees")
    appointment = get_object_or_404(found, pk=key)
    people = list(appointment.attendees.all())
    asked = sent.get("person", "")
    person = next((one for one in people if str(one.pk) == asked), None)
    is_all_of_it = len(people) < 2 and (person is not None or not asked)
    if is_all_of_it or not appointment.capabilities.one_attendee:
        return Replacing(appointment=appointment)
    return Replacing(appointment=appointment, attendee=person)


def _replaced(replacing: Replacing | None, *, person: str) -> dict[str, Any]:
    """What the page says about the old appointment, and whom of a group it asks for."""
    if replacing is None:
        return {}
    row = replacing.appointment
    people = [one for one in row.attendees.all() if one.external_id]
    is_group = len(row.attendees.all()) > 1 and row.capabilities.one_attendee
    # Of a group only one is left: that must not become another person's appointment by itself.
    is_known = any(str(one.pk) == person for one in row.attendees.all())
    is_gone = bool(person) and row.capabilities.one_attendee and not is_known
    context = {
        "replaced": row,
        "replaced_facts": facts(row),
        "replaced_person": replacing.attendee,
        "must_choose": (is_group or is_gone) and replacing.attendee is None,
        "replaced_people": people if is_group or is_gone else [],
    }
    external_id = replacing.attendee.external_id if replacing.attendee else ""
    found = replacing_conflict(row, person=external_id)
    if found is None and is_gone:
        found = BookingConflict(kind=BookingConflictKind.PERSON_GONE)
    if found is not None:
        context |= {"conflict": booking_conflict(found), "in_the_way": found.booking}
    return context


def _of_the_old_one(replacing: Replacing, connection: Connection) -> dict[str, str]:
    """What is known of the person and the old appointment."""
    row = replacing.appointment
    person = replacing.attendee or row.attendees.first() or Attendee(appointment=row)
    carried = _of_person(person, connection) | {"title": row.title}
    if row.connection_id == connection.pk:
        hosts = row.locator.get("host_ids", "").split(",")
        carried |= {
            "service": row.locator.get("meeting_type_id") or row.locator.get("service_id", ""),
            "host": hosts[0] if len(hosts) == 1 else "",
            "branch": row.locator.get("branch_id", ""),
        }
    return carried


# --- for somebody who is known ----------------------------------------------------------------


def _known_person(key: str) -> Attendee | None:
    """Somebody of an earlier appointment, who is to get another one; None if there is none."""
    if not _is_key(key):
        return None
    return Attendee.objects.select_related("appointment__connection").filter(pk=key).first()


def _of_person(person: Attendee, connection: Connection) -> dict[str, str]:
    is_there = person.appointment.connection_id == connection.pk
    return {
        "name": person.name,
        "email": person.email,
        "phone": phone_link(person.phone),
        "time_zone": person.time_zone,
        "customer_id": person.external_id if is_there else "",
    }


def _taken(carried: Mapping[str, str], connection: Connection) -> dict[str, str]:
    """What of it the form of *connection* takes."""
    fields = {one.name: one for one in connection.capabilities.schedule_fields}
    taken = {
        name: value for name, value in carried.items() if value and _takes(fields.get(name), value)
    }
    # Who has a number there is booked by it: of a name beside it nothing would be sent.
    return without(taken, *NAMES_A_PERSON) if "customer_id" in taken else taken


def _is_key(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19


def _takes(field: ScheduleField | None, value: str) -> bool:
    return field is not None and (not field.pattern or bool(re.fullmatch(field.pattern, value)))


# --- what came of it --------------------------------------------------------------------------


@require_safe
@needs()
def outcome(request: StaffRequest, pk: int) -> HttpResponse:
    """Show where a request to book, move or confirm stands; the page asks again by itself."""
    booking = _booking(pk)
    if not wants_fragment(request):
        return _page(request, booking)
    context = state_context(booking, is_silent=WorkerPulse.is_silent())
    if knows(request, context["token"]):
        return HttpResponse(status=204)
    context |= _moves_along(booking)
    return render(request, "appointments/booking.html#news", context)


def _page(
    request: StaffRequest, booking: Booking, *, form: VerdictForm | None = None, status: int = 200
) -> HttpResponse:
    context = state_context(booking, is_silent=WorkerPulse.is_silent()) | {
        "title": booking_title(booking),
        "asked_time": asked_time(booking),
        "before": time_before(booking),
        "facts": facts(booking.appointment) if booking.appointment else None,
        "zone": _zone_of(booking),
        "wish": wish_words(booking.wish, Offered.of(booking.wish))
        if booking.kind == Booking.Kind.BOOK
        else [],
        **_moves_along(booking, form=form),
    }
    return render(request, "appointments/booking.html", context, status=status)


def _moves_along(booking: Booking, *, form: VerdictForm | None = None) -> dict[str, Any]:
    """What stands below the state on its own page, and is as old as the state is."""
    return {
        "history": of_booking(booking),
        "verdict_form": form or VerdictForm(),
        "may_settle": may_settle(booking),
        "quiet_from": quiet_from(booking),
    }


def _zone_of(booking: Booking) -> str:
    """In which zone the time asked for is written: of a session without hours, the practice's."""
    here: str = settings.TIME_ZONE
    zone = booking.connection.time_zone
    has_hours = Offered.of(booking.wish).window or not booking.wish.get("session")
    return here if has_hours else zone


@require_http_methods(["GET", "HEAD", "POST"])
@needs(MAY_SCHEDULE)
def withdraw(request: StaffRequest, pk: int) -> HttpResponse:
    """Take a request back that has not been sent yet."""
    booking = _booking(pk)
    if request.method == "POST":
        take_back(booking, by=request.user)
    return redirect(booking)


@require_http_methods(["GET", "HEAD", "POST"])
@needs(MAY_SCHEDULE)
def reread(request: StaffRequest, pk: int) -> HttpResponse:
    """Have the worker read the provider now, for an outcome that is unknown."""
    booking = _booking(pk)
    if request.method == "POST":
        read_again(booking, by=request.user)
    return redirect(booking)


@require_http_methods(["GET", "HEAD", "POST"])
@needs(MAY_SCHEDULE)
def keep(request: StaffRequest, pk: int) -> HttpResponse:
    """End a rebooking with both appointments, or leave what is shown after all as it is."""
    booking = _booking(pk)
    if request.method == "POST":
        keep_both(booking, by=request.user)
    return redirect(booking)


@require_http_methods(["GET", "HEAD", "POST"])
@needs(MAY_SCHEDULE, MAY_SETTLE)
def settle(request: StaffRequest, pk: int) -> HttpResponse:
    """Take a named person's verdict on a request that nobody else can find out about."""
    booking = _booking(pk)
    if request.method != "POST":
        return redirect(booking)
    form = VerdictForm(request.POST)
    verdicts = {"done": BookingVerdict.DONE, "not_done": BookingVerdict.NOT_DONE}
    verdict = verdicts.get(request.POST.get("verdict", ""))
    if form.is_valid() and verdict is None:
        form.add_error(None, _("Choose what you found out."))
    if verdict is None or not form.is_valid():
        return _page(request, booking, form=form, status=422)
    settle_by_hand(booking, by=request.user, verdict=verdict, reason=form.cleaned_data["reason"])
    return redirect(booking)


def _booking(pk: int) -> Booking:
    found = Booking.objects.select_related(
        "connection",
        "appointment__connection",
        "replaces__connection",
        "requested_by",
        "settled_by",
        "kept_both_by",
    ).prefetch_related(
        "appointment__attendees", "replaces__attendees", open_of_the_old(), "events__by"
    )
    return get_object_or_404(found, pk=pk)


def state_context(booking: Booking, *, is_silent: bool) -> dict[str, Any]:
    """What the state fragment shows; with *is_silent*, that no worker moves it on."""
    delay = interval(booking.requested_at) if booking.is_moving else ""
    silent = booking_silence(booking) if is_silent and booking.is_moving else ""
    old = _old_one(booking)
    seen = (booking.state, booking.why, booking.due_at, booking.shown, booking.deviations)
    accepted = (booking.is_contradicted, booking.kept_both_at)
    return {
        "booking": booking,
        "outcome": booking_outcome(booking),
        "poll_delay": delay,
        "token": token_of(seen, accepted, delay, silent, old),
        "silence": silent,
        "to_ring": _to_ring(booking),
        "can_take_back": booking.state == Booking.State.REQUESTED,
        "can_read_again": booking.state in (Booking.State.UNKNOWN, Booking.State.NEEDS_HUMAN),
        "can_accept": booking.is_contradicted
        and booking.kept_both_at is None
        and old.get("old_is_over", True),
        **old,
    }


def _to_ring(booking: Booking) -> list[Attendee]:
    """Who can be told by telephone of what the provider may tell nobody of."""
    if booking.appointment is None or not booking.stands:
        return []
    return [one for one in booking.appointment.attendees.all() if one.phone]


def open_of_the_old() -> Prefetch[Any]:
    """What `state_context` looks up of the appointment that is to be replaced."""
    return Prefetch("replaces__cancellations", queryset=Cancellation.objects.open())


def _old_one(booking: Booking) -> dict[str, Any]:
    """How far the old appointment of a rebooking is, and what can be done about it."""
    row = booking.replaces
    if row is None:
        return {}
    people = {one.external_id: one for one in row.attendees.all()}
    person = people.get(booking.replaces_attendee) if booking.replaces_attendee else None
    is_over = not row.is_live or bool(booking.replaces_attendee and person is None)
    is_kept = booking.kept_both_at is not None
    open_one = next((one for one in row.cancellations.all() if one.is_open), None)
    is_half_done = not is_over and not is_kept
    is_undone = booking.is_undone
    is_compared = booking.stands and not booking.deviations and not booking.has_vanished
    return {
        "old": row,
        "old_facts": facts(row),
        "old_person": person.label if person is not None else "",
        "old_is_over": is_over,
        "old_notice": rebooking_notice(booking) if is_half_done else None,
        "old_cancellation": open_one,
        "can_cancel_old": is_half_done
        and open_one is None
        and obstacles(row) is None
        and is_compared
        and (booking.appointment_id is not None or booking.state == Booking.State.SETTLED),
        "can_keep_both": is_half_done
        and open_one is None
        and (
            booking.stands
            or booking.is_contradicted
            or booking.state == Booking.State.AWAITS_CONFIRMATION
        ),
        "is_undone": is_undone,
        "can_rebook": is_half_done
        and not booking.is_open
        and (is_undone or not (booking.stands or booking.is_contradicted))
        and booking.state != Booking.State.AWAITS_CONFIRMATION,
    }
