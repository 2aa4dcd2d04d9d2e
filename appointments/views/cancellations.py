"""
The cancel dialog, and what came of it.

One template serves the dialog over the list and the page without scripts. The page that asked
never waits for a provider: it shows the state of the intent, and asks for it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from math import ceil
from typing import Any, assert_never
from urllib.parse import parse_qs, urlsplit

from django.contrib.auth.models import User
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from appointments.booking_wording import rebooking_notice
from appointments.connection_wording import failure, freshness
from appointments.domain import Scope, Status
from appointments.forms import EVERYBODY, FOLLOWING, THIS, CancellationForm, VerdictForm
from appointments.models import (
    Appointment,
    Attendee,
    Booking,
    Cancellation,
    ReasonPreset,
    WorkerPulse,
)
from appointments.models.appointments import and_others
from appointments.models.cancellations import FAILED, State, Verdict
from appointments.phrases import Notice
from appointments.services.calls import booked_as, other_numbers
from appointments.services.cancel import (
    Conflict,
    ConflictKind,
    ask_to_cancel,
    obstacles,
    open_change,
    take_back,
)
from appointments.services.lanes import is_held
from appointments.services.look import Look, look_at
from appointments.services.settle import (
    may_send_again,
    may_settle,
    quiet_from,
    read_again,
    send_again,
    settle_by_hand,
)
from appointments.services.trace import booked_later_ones
from appointments.views.appointments import facts
from appointments.views.polling import STEADY, interval, knows, token_of
from appointments.views.request import (
    MAY_CANCEL,
    MAY_SETTLE,
    StaffRequest,
    needs,
    see_other,
    wants_fragment,
)
from appointments.views.timeline import of_cancellation
from appointments.wording import (
    change_sentence,
    consequence,
    cooling_off,
    email_of_case,
    email_source,
    is_declined,
    later_known,
    policy_notice,
    reason_reader,
    removed_before,
    scope_words,
    silence,
)
from appointments.wording import conflict as conflict_sentence
from appointments.wording import outcome as outcome_of

REMOVED_MEANWHILE = timedelta(minutes=10)
"""How long ago somebody was removed who could still be chosen in an open dialog."""

LATER_ONES_FOR = timedelta(minutes=2)
"""How long after its settlement the later occurrences of a series are still being read."""

CHANGED = "desk-changed"
"""Event that tells the list behind the dialog to look again."""

RETRIED = FAILED | {State.WITHDRAWN}
"""States after which the same may be asked for once more, with what was typed."""


# --- the dialog -------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@needs(MAY_CANCEL)
def cancel(request: StaffRequest, pk: int) -> HttpResponse:
    """Show the cancel dialog; on POST record the intent and show its state, or what is wrong."""
    appointment = _appointment(pk)
    if request.method != "POST":
        typed = _typed_before(appointment, request.GET.get("again", ""))
        typed |= _to_be_replaced(appointment, request.GET.get("rebooked", ""))
        form = _form(appointment, typed=typed, looked_for=_looked_for(request))
        return _dialog(request, appointment, form)

    form = _form(appointment, data=request.POST, looked_for=_looked_for(request))
    if not form.is_valid():
        form.focus_on_error()
        notice = _removed_meanwhile(request, appointment, form)
        return _dialog(request, appointment, form, status=422, notice=notice)
    result = ask_to_cancel(
        appointment,
        by=request.user,
        wish=form.wish(),
        form_key=form.cleaned_data["form_key"],
        version=form.cleaned_data["version"],
    )
    match result:
        case Conflict():
            return _dialog_after_conflict(request, pk, result)
        case Cancellation():
            return _accepted(request, result)
        case _:
            assert_never(result)


@require_http_methods(["GET", "HEAD", "POST"])
@needs(MAY_CANCEL)
def look(request: StaffRequest, pk: int) -> HttpResponse:
    """
    Read the appointment at its provider while the dialog is open, and say what moved.

    A POST, because our copy is brought up to date with what was read. If something moved, the
    dialog is drawn again around what is typed by then.
    """
    if request.method != "POST":
        return redirect("cancel", pk)
    appointment = _appointment(pk)
    found = look_at(appointment, version=request.POST.get("version", ""))
    if found is None or not found.ok or not (found.changes or found.cancelled or found.gone):
        context = {"look": _look_sentence(appointment, found), "found": found}
        if found is not None and found.asked_for_invitee:
            context["email_from"] = email_of_case(appointment, is_there=bool(found.invitee_email))
        return render(request, "appointments/cancel.html#look", context)

    fresh = _appointment(pk)
    form = _form(fresh, typed=request.POST, looked_for=_looked_for(request))
    form.fields["reason"].widget.attrs.pop("autofocus")  # she may be typing elsewhere by now
    response = _dialog(
        request, fresh, form, notice=_news(fresh, found, viewer=request.user), is_gone=found.gone
    )
    response["HX-Retarget"] = "#cancel"
    response["HX-Reswap"] = "outerMorph"
    response["HX-Trigger"] = CHANGED
    return response


def _appointment(pk: int) -> Appointment:
    found = Appointment.objects.select_related("connection__health")
    return get_object_or_404(found.prefetch_related("attendees"), pk=pk)


def _form(
    appointment: Appointment,
    *,
    data: Mapping[str, Any] | None = None,
    typed: Mapping[str, str] | None = None,
    looked_for: str = "",
) -> CancellationForm:
    presets = presets_of([appointment.connection_id])
    return CancellationForm(
        data, appointment=appointment, presets=presets, typed=typed, looked_for=looked_for
    )


def presets_of(connections: Iterable[int]) -> list[ReasonPreset]:
    """Ready-made reasons that fit each of *connections*: if it is one, its own come first."""
    fits = Q(connection=None)
    if len(alone := set(connections)) == 1:
        fits |= Q(connection__in=alone)
    return sorted(ReasonPreset.objects.filter(fits), key=lambda one: one.connection_id is None)


def _looked_for(request: StaffRequest) -> str:
    """What stands in the search box of the list behind the dialog."""
    query = parse_qs(urlsplit(request.htmx.current_url or "").query)
    return query.get("q", [""])[0][:200]


def _typed_before(appointment: Appointment, again: str) -> dict[str, str]:
    """What was typed for an earlier cancellation of the same booking that came to nothing."""
    if not (again.isascii() and again.isdecimal() and len(again) < 19):
        return {}
    earlier = appointment.cancellations.filter(pk=again, state__in=RETRIED).first()
    if earlier is None:
        return {}
    typed = {"reason": earlier.reason, "note": earlier.note}
    if earlier.email:
        typed["email"] = earlier.email
    match Scope(earlier.scope):
        case Scope.FOLLOWING:
            typed["series"] = FOLLOWING
        case Scope.ATTENDEE:
            people = {one.external_id: str(one.pk) for one in appointment.attendees.all()}
            typed["attendee"] = people.get(earlier.attendee_external_id, "")
        case Scope.WHOLE:
            typed["attendee"] = EVERYBODY
    return typed


def _to_be_replaced(appointment: Appointment, rebooked: str) -> dict[str, str]:
    """Whom of a group a new appointment was booked for, to be removed from the old one."""
    if not (rebooked.isascii() and rebooked.isdecimal() and len(rebooked) < 19):
        return {}
    booking = appointment.replacements.filter(pk=rebooked).exclude(replaces_attendee="").first()
    if booking is None:
        return {}
    person = appointment.attendees.filter(external_id=booking.replaces_attendee).first()
    return {"attendee": str(person.pk)} if person is not None else {}


def _dialog(
    request: StaffRequest,
    appointment: Appointment,
    form: CancellationForm,
    *,
    status: int = 200,
    notice: str = "",
    in_the_way: Cancellation | Booking | None = None,
    is_gone: bool = False,
) -> HttpResponse:
    """The dialog around *form*; *notice* says what changed or stands against it."""
    found = _what_stands_against(appointment)
    if in_the_way is None and found is not None:
        in_the_way = found.cancellation or found.booking
    if not notice and found is not None:
        notice = conflict_sentence(found, viewer=request.user)
    is_fragment = wants_fragment(request)
    later = booked_later_ones(appointment) if "series" in form.fields else []
    context = {
        "appointment": appointment,
        "facts": facts(appointment) | _who(form),
        "form": form,
        "targets": _targets(appointment, form, later=later),
        "chosen": _chosen(appointment, form, later=later),
        "reader": reason_reader(appointment),
        **_email_from(appointment, form),
        "policy": policy_notice(appointment) if appointment.is_live else None,
        "freshness": freshness(appointment.connection),
        "rebooking": _rebooking(appointment),
        "notice": notice,
        "in_the_way": in_the_way,
        "is_blocked": is_gone or found is not None or in_the_way is not None,
        "is_decline": is_declined(appointment),
        "in_dialog": is_fragment,
    }
    name = "appointments/cancel.html" + ("#dialog" if is_fragment else "")
    return render(request, name, context, status=status)


def _what_stands_against(appointment: Appointment) -> Conflict | None:
    """What keeps *appointment* from being cancelled now, whoever asks."""
    under_way = appointment.cancellations.open().select_related("requested_by").first()
    if under_way is not None:
        return Conflict(kind=ConflictKind.ALREADY_OPEN, cancellation=under_way)
    if (change := open_change(appointment)) is not None:
        return Conflict(kind=ConflictKind.CHANGE_OPEN, booking=change)
    obstacle = obstacles(appointment)
    if obstacle is ConflictKind.NOT_LIVE:
        return Conflict(kind=obstacle, cancellation=_who_cancelled(appointment))
    return Conflict(kind=obstacle) if obstacle is not None else None


def _rebooking(appointment: Appointment) -> Notice | None:
    """A warning while a new appointment that is to take its place does not stand yet."""
    replacement = appointment.replacements.for_people().first()
    if replacement is None:
        return None
    if replacement.stands and not replacement.deviations and not replacement.has_vanished:
        return None
    return rebooking_notice(replacement)


def _who_cancelled(appointment: Appointment) -> Cancellation | None:
    """The cancellation of ours by which *appointment* is cancelled, as its provider confirmed."""
    if appointment.status != Status.CANCELLED:
        return None
    confirmed = appointment.cancellations.filter(state=State.CONFIRMED, contradicted_at=None)
    whole = confirmed.exclude(scope=Scope.ATTENDEE).select_related("requested_by")
    return whole.order_by("-settled_at").first()


def _removed_meanwhile(
    request: StaffRequest, appointment: Appointment, form: CancellationForm
) -> str:
    """Who was faster, if *form* names somebody who is not booked any more."""
    if "attendee" not in form.errors:
        return ""
    removed = appointment.cancellations.filter(
        state=State.CONFIRMED,
        scope=Scope.ATTENDEE,
        settled_at__gte=timezone.now() - REMOVED_MEANWHILE,
    )
    last = removed.select_related("requested_by").order_by("-settled_at").first()
    return removed_before(last, viewer=request.user) if last is not None else ""


def _email_from(appointment: Appointment, form: CancellationForm) -> dict[str, str]:
    """Where the address in the form comes from, and of which address that is true."""
    if "email" not in form.fields:
        return {}
    listed = {one.email.casefold(): one for one in form.people if one.email}
    value = form["email"].value() or ""
    if len(listed) == 1:
        is_listed = value.casefold() in listed
        source = email_source(appointment, listed=list(listed.values())) if is_listed else ""
        return {"email_from": source, "email_of": value}
    if value and not listed:
        return {}
    return {"email_from": email_source(appointment, listed=list(listed.values()))}


def _who(form: CancellationForm) -> dict[str, str]:
    """The heading: of a group, whoever was looked for is named first."""
    if len(form.people) < 2:
        return {}
    return {"who": and_others(form.people[0].label, len(form.people) - 1)}


def _dialog_after_conflict(request: StaffRequest, pk: int, found: Conflict) -> HttpResponse:
    """The dialog as the booking is now, around what was typed, so that she can press again."""
    fresh = _appointment(pk)
    if found.cancellation is None:
        found = replace(found, cancellation=_who_cancelled(fresh))
    response = _dialog(
        request,
        fresh,
        _form(fresh, typed=request.POST, looked_for=_looked_for(request)),
        status=409,
        notice=conflict_sentence(found, viewer=request.user),
        in_the_way=found.cancellation or found.booking,
    )
    response["HX-Trigger"] = CHANGED
    return response


def _targets(
    appointment: Appointment, form: CancellationForm, *, later: Sequence[Appointment]
) -> list[dict[str, Any]]:
    """What can be taken away, each with its consequence and the name of the act."""
    if "attendee" in form.fields:
        return [
            *(
                {"value": str(one.pk), "label": one.label, "email": one.email}
                | _act(appointment, Scope.ATTENDEE, one)
                for one in form.removable
            ),
            {"value": EVERYBODY, "label": _("Everybody (%(count)d)") % {"count": len(form.people)}}
            | _act(appointment, Scope.WHOLE),
        ]
    if "series" in form.fields:
        labels = dict(form.fields["series"].choices)  # type: ignore[attr-defined]
        return [
            {"value": THIS, "label": labels[THIS]} | _act(appointment, Scope.WHOLE),
            {"value": FOLLOWING, "label": labels[FOLLOWING], "known": later_known(later)}
            | _act(appointment, Scope.FOLLOWING, later=later),
        ]
    return []


def _chosen(
    appointment: Appointment, form: CancellationForm, *, later: Sequence[Appointment]
) -> dict[str, str]:
    chosen = form.chosen()
    if chosen is None:
        return {"act": _("Choose who"), "consequence": ""}
    return _act(appointment, *chosen, later=later)


def _act(
    appointment: Appointment,
    scope: Scope,
    attendee: Attendee | None = None,
    *,
    later: Sequence[Appointment] = (),
) -> dict[str, str]:
    match scope:
        case Scope.ATTENDEE:
            act = _("Remove %(name)s") % {"name": attendee}
        case Scope.FOLLOWING:
            act = _("Cancel this and later ones")
        case Scope.WHOLE if is_declined(appointment):
            act = _("Decline appointment")
        case Scope.WHOLE:
            act = _("Cancel appointment")
    sentence = consequence(appointment, scope=scope, attendee=attendee, later=later)
    return {"act": act, "consequence": sentence}


def _look_sentence(appointment: Appointment, found: Look | None) -> str:
    provider = appointment.connection.provider_label
    if found is None:
        return _("Not checked again just now; %(freshness)s.") % {
            "freshness": freshness(appointment.connection)
        }
    if not found.ok:
        return _("%(why)s You see it as %(freshness)s.") % {
            "why": failure(found.why, provider),
            "freshness": freshness(appointment.connection),
        }
    return _("Checked with %(provider)s just now: nothing has changed.") % {"provider": provider}


def _news(appointment: Appointment, found: Look, *, viewer: User) -> str:
    provider = {"provider": appointment.connection.provider_label}
    if found.gone:
        return _("%(provider)s does not show this appointment any more. Nothing was sent.") % (
            provider
        )
    if found.cancelled and (mine := _who_cancelled(appointment)) is not None:
        return conflict_sentence(
            Conflict(kind=ConflictKind.NOT_LIVE, cancellation=mine), viewer=viewer
        )
    if found.cancelled:
        return _("%(provider)s shows that it is cancelled already. Nothing was sent.") % provider
    return change_sentence(found.changes)


# --- the outcome ------------------------------------------------------------------------------


def _accepted(request: StaffRequest, cancellation: Cancellation) -> HttpResponse:
    if not wants_fragment(request):
        return see_other(cancellation)
    context = state_context(cancellation, is_silent=WorkerPulse.is_silent())
    context |= {"facts": facts(cancellation.appointment)}
    response = render(request, "appointments/cancellation.html#accepted", context)
    response["HX-Trigger"] = CHANGED
    return response


@require_safe
@needs()
def outcome(request: StaffRequest, pk: int) -> HttpResponse:
    """Show where a cancellation stands; the page asks again by itself while that may change."""
    cancellation = _cancellation(pk)
    if wants_fragment(request):
        return _state(request, cancellation)
    return _page(request, cancellation)


def _page(
    request: StaffRequest,
    cancellation: Cancellation,
    *,
    form: VerdictForm | None = None,
    status: int = 200,
) -> HttpResponse:
    context = state_context(cancellation, is_silent=WorkerPulse.is_silent()) | {
        **_moves_along(cancellation, form=form),
        "facts": facts(cancellation.appointment),
        "scope": scope_words(cancellation.scope, who=cancellation.person),
    }
    return render(request, "appointments/cancellation.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@needs(MAY_CANCEL)
def withdraw(request: StaffRequest, pk: int) -> HttpResponse:
    """Take a cancellation back that has not been sent yet."""
    cancellation = _cancellation(pk)
    if request.method == "POST":
        cancellation = take_back(cancellation, by=request.user)
    return _back_to(request, cancellation)


@require_http_methods(["GET", "HEAD", "POST"])
@needs(MAY_CANCEL)
def reread(request: StaffRequest, pk: int) -> HttpResponse:
    """Have the worker read the provider now, for an outcome that is unknown."""
    cancellation = _cancellation(pk)
    if request.method == "POST":
        read_again(cancellation, by=request.user)
        cancellation.refresh_from_db()
    return _back_to(request, cancellation)


@require_http_methods(["GET", "HEAD", "POST"])
@needs(MAY_SETTLE)
def settle(request: StaffRequest, pk: int) -> HttpResponse:
    """Take a named person's verdict on a cancellation that nobody else can find out about."""
    cancellation = _cancellation(pk)
    if request.method != "POST":
        return redirect(cancellation)
    form = VerdictForm(request.POST)
    if not form.is_valid():
        return _page(request, cancellation, form=form, status=422)
    reason = form.cleaned_data["reason"]
    match request.POST.get("verdict"):
        case "cancelled":
            settle_by_hand(cancellation, by=request.user, verdict=Verdict.CANCELLED, reason=reason)
        case "booked":
            verdict = Verdict.STILL_BOOKED
            settle_by_hand(cancellation, by=request.user, verdict=verdict, reason=reason)
        case "again":
            send_again(cancellation, by=request.user, reason=reason)
        case _:
            form.add_error(None, _("Choose what you found out."))
            return _page(request, cancellation, form=form, status=422)
    return redirect(cancellation)


def _cancellation(pk: int) -> Cancellation:
    found = Cancellation.objects.select_related(
        "appointment__connection", "connection", "requested_by", "settled_by"
    ).prefetch_related("appointment__attendees", "people", "events__by", "calls__answer")
    return get_object_or_404(found, pk=pk)


def _back_to(request: StaffRequest, cancellation: Cancellation) -> HttpResponse:
    if request.method != "POST" or not wants_fragment(request):
        return redirect(cancellation)
    return _state(request, cancellation)


def _state(request: StaffRequest, cancellation: Cancellation) -> HttpResponse:
    """The state and what moves along with it; nothing at all to a poll that knows it already."""
    context = state_context(cancellation, is_silent=WorkerPulse.is_silent())
    if knows(request, context["token"]):
        return HttpResponse(status=204)
    context |= _moves_along(cancellation)
    response = render(request, "appointments/cancellation.html#news", context)
    response["HX-Trigger"] = CHANGED
    return response


def _moves_along(cancellation: Cancellation, *, form: VerdictForm | None = None) -> dict[str, Any]:
    """What stands below the state on its own page, and is as old as the state is."""
    return {
        "history": of_cancellation(cancellation),
        "verdict_form": form or VerdictForm(),
        "may_settle": may_settle(cancellation),
        "may_send_again": may_send_again(cancellation),
        "is_batch_held": is_held(cancellation),
        "quiet_from": quiet_from(cancellation),
    }


def state_context(cancellation: Cancellation, *, is_silent: bool) -> dict[str, Any]:
    """What the state fragment shows; with *is_silent*, that no worker moves it on."""
    delay = _next_look(cancellation)
    appointment = cancellation.appointment
    silent = silence(cancellation) if is_silent and cancellation.is_moving else ""
    outcome = outcome_of(cancellation)
    seen = (outcome.title, cancellation.why, cancellation.due_at, cancellation.later_ones)
    return {
        "cancellation": cancellation,
        "appointment": appointment,
        "outcome": outcome,
        "cooling_off": ceil(cooling_off(cancellation) / timedelta(seconds=1)),
        "poll_delay": delay,
        "token": token_of(seen, delay, silent),
        "silence": silent,
        "can_take_back": cancellation.state == State.REQUESTED,
        "can_read_again": cancellation.state in (State.UNKNOWN, State.NEEDS_HUMAN),
        "can_retry": cancellation.state in RETRIED and obstacles(appointment) is None,
        "to_ring": _to_ring(cancellation),
    }


def _to_ring(cancellation: Cancellation) -> list[dict[str, Any]]:
    """The people concerned who can be reached, once it is known what to tell them."""
    if cancellation.state in (State.REQUESTED, State.SENDING, State.UNKNOWN):
        return []
    people = [one for one in cancellation.people.all() if one.phone or one.email]
    numbers = other_numbers(people)
    return [
        {
            "person": one,
            "others": [
                {"phone": other.phone, "name": booked_as(one, other)}
                for other in numbers.get(one.pk, [])
            ],
        }
        for one in people
    ]


def _next_look(cancellation: Cancellation) -> str:
    """When the page is to ask again, as an interval; empty once nothing can change any more."""
    if cancellation.is_moving:
        return interval(cancellation.requested_at)
    return STEADY if _traces_later_ones(cancellation) else ""


def _traces_later_ones(cancellation: Cancellation) -> bool:
    return (
        cancellation.state == State.CONFIRMED
        and cancellation.scope == Scope.FOLLOWING
        and cancellation.settled_at is not None
        and timezone.now() - cancellation.settled_at < LATER_ONES_FOR
        and not (
            cancellation.later_ones
            and all(one["seen_cancelled"] for one in cancellation.later_ones)
        )
    )
