"""What staff fill in to book, move or confirm an appointment."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.utils.timezone import get_default_timezone_name
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from appointments.codes import in_words
from appointments.domain import (
    Capabilities,
    RescheduleRequest,
    ScheduleField,
    ScheduleRequest,
    Slot,
)
from appointments.forms import DayField, is_likely
from appointments.models import Appointment
from appointments.services.asked import Offered
from appointments.services.facts import booking_of
from appointments.services.schedule import MoveWish, Offers

LONGEST_CHOICE = 200
"""Characters that are kept of what a choice was called."""

SCHEDULE_LABELS = {
    "starts_at": gettext_lazy("Starts"),
    "ends_at": gettext_lazy("Ends"),
    "title": gettext_lazy("Title"),
    "customer_id": gettext_lazy("Customer number"),
    "name": gettext_lazy("Name"),
    "email": gettext_lazy("E-mail"),
    "phone": gettext_lazy("Phone"),
    "time_zone": gettext_lazy("Their time zone"),
    "service": gettext_lazy("What"),
    "host": gettext_lazy("With"),
    "location": gettext_lazy("Where"),
    "session": gettext_lazy("Session"),
    "branch": gettext_lazy("Branch"),
}

OF_THE_PERSON = frozenset({"customer_id", "name", "email", "phone", "time_zone"})
"""Of these fields, those that say for whom; the others say what is booked and when."""


def branch_words(branch: str) -> str:
    """No provider names its branches; the start of the id is what its own screens show."""
    return _("Branch %(id)s") % {"id": branch[:8]}


class NumberField(forms.CharField):
    """A telephone number, written as anybody likes and sent without what only helps the eye."""

    def to_python(self, value: Any) -> str:
        return re.sub(r"\(0\)|[\s()./-]", "", super().to_python(value) or "")


class MomentInput(forms.DateTimeInput):
    input_type = "datetime-local"

    def __init__(self) -> None:
        super().__init__(format="%Y-%m-%dT%H:%M")


class MomentField(forms.Field):
    """A wall-clock time in *zone*; refused where that clock shows it never, or twice."""

    widget = MomentInput

    def __init__(self, *, zone: ZoneInfo, **kwargs: Any) -> None:
        self.zone = zone
        super().__init__(**kwargs)

    def clean(self, value: Any) -> datetime | None:
        text = super().clean(value)
        if not text:
            return None
        try:
            wall = datetime.strptime(str(text), "%Y-%m-%dT%H:%M").replace(tzinfo=self.zone)
        except ValueError as error:
            raise ValidationError(_("This is not a day and time.")) from error
        if not is_likely(wall.date()):
            raise ValidationError(_("This is not a day and time."))
        return self._unambiguous(wall)

    def _unambiguous(self, wall: datetime) -> datetime:
        there_and_back = wall.astimezone(UTC).astimezone(self.zone)
        if there_and_back.replace(tzinfo=None) != wall.replace(tzinfo=None):
            raise ValidationError(
                _("The clocks go forward then: this time does not exist in %(zone)s."),
                params={"zone": self.zone.key},
            )
        if wall.utcoffset() != wall.replace(fold=1).utcoffset():
            raise ValidationError(
                _("The clocks go back then: this time comes twice in %(zone)s."),
                params={"zone": self.zone.key},
            )
        return wall


class ScheduleForm(forms.Form):
    """What one provider needs to book; its fields are those of its capabilities."""

    form_key = forms.UUIDField(widget=forms.HiddenInput)
    slot = forms.CharField(required=False, widget=forms.HiddenInput)
    """The slot that was chosen, as `SlotField` writes it."""

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        capabilities: Capabilities,
        zone: ZoneInfo,
        offers: Offers,
        typed: Mapping[str, str] | None = None,
    ) -> None:
        """*typed* is shown again without being judged."""
        initial: dict[str, Any] = {"form_key": uuid.uuid4(), "time_zone": zone.key}
        super().__init__(data, initial=initial | dict(typed or {}))
        self.zone, self.offers = zone, offers
        self.names = tuple(one.name for one in capabilities.schedule_fields)
        for one in capabilities.schedule_fields:
            self.fields[one.name] = self._field(one)

    def parts(self) -> list[list[forms.BoundField]]:
        """The fields as people ask for them: first what and when, then for whom."""
        shown = self.visible_fields()
        return [
            [one for one in shown if (one.name in OF_THE_PERSON) is is_person]
            for is_person in (False, True)
        ]

    def _field(self, one: ScheduleField) -> forms.Field:
        common: dict[str, Any] = {"label": SCHEDULE_LABELS[one.name], "required": one.required}
        if one.name in ("starts_at", "ends_at"):
            return MomentField(zone=self.zone, **common)
        if one.name in self._instead_of_a_number():
            common["help_text"] = _("Name and e-mail, or the customer number")
        if one.name == "email":
            return forms.EmailField(**common)
        if choices := self._choices(one):
            return forms.ChoiceField(choices=[("", "—"), *choices], **common)
        if one.name == "phone" and one.pattern:
            common["help_text"] = _("With the country code: +31 6 12345678")
            wrong = _("Write it with the country code, as +31 6 12345678.")
            return NumberField(max_length=300, validators=[_whole(one.pattern, wrong)], **common)
        validators = [_whole(one.pattern)] if one.pattern else []
        return forms.CharField(max_length=300, validators=validators, **common)

    def _instead_of_a_number(self) -> frozenset[str]:
        """Fields of which a customer's number is worth the others, where there is one."""
        either = frozenset({"customer_id", "name", "email"})
        return either if "customer_id" in self.names else frozenset()

    def _choices(self, one: ScheduleField) -> list[Any]:
        if one.choices:
            return [(value, in_words(value)) for value in one.choices]
        match one.name:
            case "service":
                return [(one.external_id, one.name) for one in self.offers.services]
            case "host":
                return self._hosts()
            case "branch":
                return [(one, branch_words(one)) for one in self.offers.branches]
            case "time_zone":
                near = dict.fromkeys([self.zone.key, get_default_timezone_name()])
                return [(name, name) for name in (*near, *_zone_names(besides=tuple(near)))]
            case _:
                return []

    def _hosts(self) -> list[tuple[str, str]]:
        """Each host once, however many services there are to book with them."""
        hosts = {host for service in self.offers.services for host in service.hosts}
        named = ((host, self.offers.host_names.get(host, host)) for host in hosts)
        return sorted(named, key=lambda one: (one[1].casefold(), one[0]))

    def clean(self) -> dict[str, Any]:
        values = self.cleaned_data
        start, end = values.get("starts_at"), values.get("ends_at")
        if start and start <= datetime.now(UTC):
            self.add_error("starts_at", _("This is in the past."))
        if start and end and end <= start:
            self.add_error("ends_at", _("It would end before it starts."))
        self._check_customer(values)
        self._check_host(values)
        return values

    def _check_customer(self, values: dict[str, Any]) -> None:
        """Where a customer may be given by number, a name and an address do as well."""
        if "customer_id" not in self.fields:
            return
        if values.get("customer_id"):
            if values.get("name") or values.get("email"):
                both = _("Empty this, or name and e-mail: with a number, nothing else is sent.")
                self.add_error("customer_id", both)
            return
        for name in ("name", "email"):
            if name in values and not values[name]:
                self.add_error(name, _("Needed without a customer number."))

    def _check_host(self, values: dict[str, Any]) -> None:
        host, service = values.get("host", ""), values.get("service", "")
        if (wrong := self.offers.not_with(host, service=service)) is not None:
            self.add_error("host", _("Cannot be booked for “%(what)s”.") % {"what": wrong.name})

    def wish(self) -> ScheduleRequest:
        """What to book; only of a valid form."""
        values = {name: self.cleaned_data[name] for name in self.names}
        return ScheduleRequest(**{name: value for name, value in values.items() if value})

    def offered(self) -> Offered:
        """What the form called it; only of a valid form."""
        wish = self.wish()
        slot = chosen_window(self.cleaned_data["slot"], start=wish.starts_at, session=wish.session)
        if slot is not None and slot.branch not in ("", wish.branch):
            slot = None
        named = offered_in(
            slot, zone=self.zone, service=self._name_of("service"), host=self._name_of("host")
        )
        return replace(named, minutes=self.offers.minutes.get(wish.service, 0))

    def _name_of(self, name: str) -> str:
        """What the choice of *name* is called; empty where its id is all there is."""
        field, value = self.fields.get(name), self.cleaned_data.get(name, "")
        if not isinstance(field, forms.ChoiceField):
            return ""
        label = str(dict(field.choices).get(value, ""))  # type: ignore[arg-type]
        return label[:LONGEST_CHOICE] if label != value else ""


class SlotsForm(forms.Form):
    """From which day on, and for how many days, free slots are wanted."""

    def __init__(
        self, data: Mapping[str, Any] | None = None, *, first: date, days: Sequence[int]
    ) -> None:
        """*first* and the first of *days* are what it begins with."""
        super().__init__(data, initial={"slots_from": first, "slots_days": days[0]})
        self.fields["slots_from"] = DayField(label=_("From"))
        self.fields["slots_from"].required = True
        self.fields["slots_days"] = forms.TypedChoiceField(
            label=_("Days"), coerce=int, choices=[(one, str(one)) for one in sorted(days)]
        )


def _is_text(value: object) -> bool:
    """Whether *value* is a text that pages and databases can hold: JSON may spell out others."""
    return isinstance(value, str) and not _NOT_KEPT.search(value)


_NOT_KEPT = re.compile("[\0\ud800-\udfff]")


class SlotField(forms.JSONField):
    """A slot as the page that offered it wrote it."""

    @staticmethod
    def written(slot: Slot) -> str:
        values = {name: getattr(slot, name) for name in _SLOT_TEXTS}
        for name in ("starts_at", "ends_at"):
            moment = getattr(slot, name)
            values[name] = moment.isoformat() if moment else ""
        return json.dumps(values, sort_keys=True)

    def clean(self, value: Any) -> Slot:
        """
        Raises:
            ValidationError: it is none of ours.
        """
        try:
            given = super().clean(value)
        except (ValueError, RecursionError) as error:  # numbers too long, lists too deep
            raise ValidationError(_("This time cannot be read. Choose again.")) from error
        if not isinstance(given, dict) or not all(_is_text(one) for one in given.values()):
            raise ValidationError(_("This time cannot be read. Choose again."))
        try:
            starts_at = datetime.fromisoformat(given.get("starts_at", ""))
            ends_at = datetime.fromisoformat(given["ends_at"]) if given.get("ends_at") else None
        except ValueError as error:
            raise ValidationError(_("This time cannot be read. Choose again.")) from error
        given_moments = [one for one in (starts_at, ends_at) if one is not None]
        if any(one.tzinfo is None or not is_likely(one.date()) for one in given_moments):
            raise ValidationError(_("This time cannot be read. Choose again."))
        texts = {name: given.get(name, "")[:300] for name in _SLOT_TEXTS}
        return Slot(starts_at=starts_at, ends_at=ends_at, **texts)


def chosen_window(written: str, *, start: datetime, session: str) -> Slot | None:
    """The window that was chosen, if it is what *start* and *session* ask for."""
    try:
        slot = SlotField().clean(written)
    except ValidationError:
        return None
    is_in = slot.ends_at is not None and slot.starts_at <= start <= slot.ends_at
    return slot if slot.is_window and is_in and slot.session == session else None


def offered_in(slot: Slot | None, *, zone: ZoneInfo, service: str = "", host: str = "") -> Offered:
    """What the form showed: the window *slot*, if one was chosen, and the names."""
    if slot is None or slot.ends_at is None:
        return Offered(service=service, host=host)
    starts, ends = (one.astimezone(zone).time() for one in (slot.starts_at, slot.ends_at))
    return Offered(service=service, host=host, window=(starts, ends), batch=slot.batch)


_SLOT_TEXTS = ("session", "batch", "branch", "service", "host")


class ConfirmForm(forms.Form):
    """Which version of an appointment was seen when it was decided about."""

    form_key = forms.UUIDField(widget=forms.HiddenInput)
    version = forms.CharField(max_length=16, widget=forms.HiddenInput)

    def __init__(self, data: Mapping[str, Any] | None = None, *, appointment: Appointment) -> None:
        super().__init__(data, initial={"form_key": uuid.uuid4(), "version": appointment.version})
        self.appointment = appointment


class MoveForm(ConfirmForm):
    """Where one appointment is to be moved: a time, or one of the provider's windows."""

    session = forms.CharField(max_length=100, required=False, widget=forms.HiddenInput)
    batch = forms.CharField(max_length=100, required=False, widget=forms.HiddenInput)
    slot = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, data: Mapping[str, Any] | None = None, *, appointment: Appointment) -> None:
        super().__init__(data, appointment=appointment)
        connection = appointment.connection
        self.into_windows = connection.capabilities.into_windows
        self.fields["starts_at"] = MomentField(zone=connection.zone, label=_("New start"))
        if self.into_windows:
            self.fields["starts_at"].widget = forms.HiddenInput()
            message = _("Choose one of the windows.")
            self.fields["starts_at"].error_messages["required"] = message

    def clean(self) -> dict[str, Any]:
        values = self.cleaned_data
        start = values.get("starts_at")
        if start is None:
            return values
        if start <= datetime.now(UTC):
            self.add_error("starts_at", _("This is in the past."))
        elif self.into_windows and not values.get("session"):
            self.add_error("starts_at", _("Choose one of the windows."))
        elif self._is_there_already(start):
            self.add_error("starts_at", _("It is at this time already."))
        return values

    def _is_there_already(self, start: datetime) -> bool:
        wish, booking = self._wish(start), booking_of(self.appointment)
        request = RescheduleRequest(
            appointment=booking, starts_at=start, session=wish.session, batch=wish.batch
        )
        return request.is_met_by(booking, zone=self.appointment.connection.zone)

    def wish(self) -> MoveWish:
        """Where to move it; only of a valid form."""
        return self._wish(self.cleaned_data["starts_at"])

    def offered(self) -> Offered:
        """The window it is moved into; only of a valid form."""
        return offered_in(self.chosen_slot(), zone=self.appointment.connection.zone)

    def chosen_slot(self) -> Slot | None:
        """The window that was chosen; None of what was typed."""
        wish = self.wish()
        return chosen_window(self.cleaned_data["slot"], start=wish.starts_at, session=wish.session)

    def _wish(self, start: datetime) -> MoveWish:
        values = self.cleaned_data
        return MoveWish(
            starts_at=start, session=values.get("session", ""), batch=values.get("batch", "")
        )


def _zone_names(*, besides: Container[str]) -> list[str]:
    return [name for name in _all_zone_names() if name not in besides]


@cache
def _all_zone_names() -> list[str]:
    """Every zone this machine knows. Kept, since finding them walks through the file system."""
    return sorted(available_timezones())


def _whole(pattern: str, wrong: str = "") -> RegexValidator:
    return RegexValidator(
        re.compile(rf"\A(?:{pattern})\Z"),
        wrong or _("The provider does not take it in this form."),
    )
