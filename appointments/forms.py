"""
The shape of what staff type. No form touches the database or a provider.

What a form offers follows from capabilities, never from the name of a provider.
"""

from __future__ import annotations

import contextlib
import json
import re
import uuid
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils.timezone import get_default_timezone_name
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from appointments.codes import in_words
from appointments.domain import (
    Capabilities,
    RescheduleRequest,
    ScheduleField,
    ScheduleRequest,
    Scope,
    Slot,
    Status,
)
from appointments.models import Appointment, Attendee, ReasonPreset
from appointments.models.appointments import LONGEST_TAG, is_sought
from appointments.models.feeds import MOST_FEEDS
from appointments.models.filters import LONGEST_NAME, MOST_FILTERS
from appointments.services.asked import Offered
from appointments.services.batch import TYPED_ABOVE
from appointments.services.cancel import Wish, series_key
from appointments.services.facts import booking_of
from appointments.services.schedule import MoveWish, Offers

EVERYBODY = "all"
THIS, FOLLOWING = "this", "following"
LONGEST_CHOICE = 200
"""Characters that are kept of what a choice was called."""
KEPT_REASON_LIMIT = 1000
"""Longest reason and note that stay with us, in UTF-16 units."""

FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2100, 12, 31)
"""Days outside are typing errors, and some databases cannot hold them."""


def _is_likely(day: date) -> bool:
    return FIRST_DAY <= day <= LAST_DAY


def utf16_units(text: str) -> int:
    """Length as browsers and most providers count it: an emoji is two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def plain_breaks(text: str) -> str:
    """Line breaks as typed: a form sends each as two characters, which would count twice."""
    return text.replace("\r\n", "\n")


def short_enough(text: str, *, limit: int) -> str:
    """
    *text* with plain line breaks.

    Raises:
        ValidationError: it has more than *limit* UTF-16 units.
    """
    text = plain_breaks(text)
    if (length := utf16_units(text)) > limit:
        raise ValidationError(
            _("This is too long: %(length)d characters, at most %(limit)d."),
            params={"length": length, "limit": limit},
        )
    return text


class DayInput(forms.DateInput):
    input_type = "date"

    def __init__(self) -> None:
        super().__init__(format="%Y-%m-%d")


class DayField(forms.DateField):
    """A day as `YYYY-MM-DD`, the form in which browsers send it."""

    widget = DayInput
    default_error_messages = {  # noqa: RUF012 - Django's way to declare them
        "invalid": gettext_lazy("This is not a day. Write it as 2026-11-30."),
    }

    def __init__(self, *, label: str) -> None:
        super().__init__(
            label=label,
            required=False,
            input_formats=["%Y-%m-%d"],
            validators=[MinValueValidator(FIRST_DAY), MaxValueValidator(LAST_DAY)],
        )


class Range(models.TextChoices):
    """Days counted from today: an address with one of these shows other days tomorrow."""

    UPCOMING = "upcoming", gettext_lazy("Upcoming")
    TODAY = "today", gettext_lazy("Today")
    TOMORROW = "tomorrow", gettext_lazy("Tomorrow")
    WEEK = "week", gettext_lazy("7 days")
    MONTH = "month", gettext_lazy("30 days")


UNSETTLED = "unsettled"
OUTCOME_UNKNOWN = gettext_lazy("Outcome unknown")
"""In the place of a status: of what was asked for, nobody knows yet what became."""


class FilterForm(forms.Form):
    """
    What the list shows, as it stands in the address.

    One wrong value spoils only itself: `cleaned_data` holds the others. Of the days, what is more
    exact wins: `day` over `from` and `to`, these over `range`.

    `begun=today` comes from the page of today: filters keep to that day, but a search looks through
    all coming days, because who rings about an appointment is seldom booked for today.
    """

    NAMES = frozenset({"q", "provider", "connection", "status", "range", "from", "to", "with"})
    """What can stand in an address of the list."""

    q = forms.CharField(label=gettext_lazy("Search"), required=False, max_length=200)
    provider = forms.ChoiceField(label=gettext_lazy("Provider"), required=False)
    connection = forms.ChoiceField(label=gettext_lazy("Account"), required=False)
    status = forms.ChoiceField(
        label=gettext_lazy("Status"),
        required=False,
        choices=[
            ("", gettext_lazy("Any status")),
            (Status.BOOKED.value, gettext_lazy("Booked")),
            (Status.PENDING.value, gettext_lazy("Pending")),
            (Status.CANCELLED.value, gettext_lazy("Cancelled")),
            (Status.COMPLETED.value, gettext_lazy("Completed")),
            (Status.GONE.value, gettext_lazy("No longer listed")),
            (UNSETTLED, OUTCOME_UNKNOWN),
        ],
    )

    def __init__(
        self,
        data: Mapping[str, Any],
        *,
        providers: Iterable[tuple[str, str]],
        connections: Iterable[tuple[int, str]],
    ) -> None:
        super().__init__(data)
        self.fields["range"] = forms.ChoiceField(
            required=False, choices=Range.choices, widget=forms.HiddenInput
        )
        self.fields["begun"] = forms.ChoiceField(required=False, choices=[(Range.TODAY, "")])
        self.fields["day"] = DayField(label=_("Go to a day"))
        self.fields["from"] = DayField(label=_("From"))
        self.fields["to"] = DayField(label=_("To"))
        self.fields["with"] = forms.CharField(
            label=_("Doctor or staff"), required=False, max_length=100
        )
        self._offer("provider", [("", _("All providers")), *providers])
        self._offer("connection", [("", _("All accounts")), *connections])
        self._offer("status", self.fields["status"].choices)  # type: ignore[attr-defined]

    def _offer(self, name: str, choices: Iterable[tuple[Any, str]]) -> None:
        field = self.fields[name]
        field.choices = choices  # type: ignore[attr-defined]
        field.error_messages["invalid_choice"] = _("There is no “%(value)s” here.")

    def clean(self) -> dict[str, Any]:
        values = self.cleaned_data
        if day := values.get("day"):
            values["from"] = values["to"] = day
        first, last = values.get("from"), values.get("to")
        if first and last and last < first:
            self.add_error("to", _("This day is before the first one."))
        if first or last:
            values["range"] = ""
        elif not values.get("range") and not values.get("q"):
            values["range"] = values.get("begun", "")
        return values


NAME_TAKEN = gettext_lazy("You have one of this name already. Choose another name.")


class SavedFilterForm(forms.Form):
    """The name of a saved view, and whether the search belongs to it."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=LONGEST_NAME,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": gettext_lazy("Give it a name.")},
    )
    keep_search = forms.BooleanField(label=gettext_lazy("Keep the search too"), required=False)

    def __init__(self, data: Mapping[str, Any], *, taken: Sequence[str]) -> None:
        """*taken* are the names of this person's other saved views."""
        super().__init__(data)
        self.taken = taken

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if name.casefold() in {one.casefold() for one in self.taken}:
            raise ValidationError(NAME_TAKEN)
        if len(self.taken) >= MOST_FILTERS:
            raise ValidationError(
                _("You have %(count)d saved views, which is the most. Delete one first."),
                params={"count": MOST_FILTERS},
            )
        return name


class TagForm(forms.Form):
    """Who an appointment is with, as staff know it."""

    practitioner = forms.CharField(
        label=gettext_lazy("Doctor or staff"),
        required=False,
        max_length=LONGEST_TAG,
        widget=forms.TextInput(attrs={"list": "practitioners", "autocomplete": "off"}),
    )


class FeedForm(forms.Form):
    """What a calendar feed is to hold."""

    source = forms.ChoiceField(label=gettext_lazy("What it holds"), required=False)
    with_phones = forms.BooleanField(label=gettext_lazy("with phone numbers"), required=False)

    def __init__(
        self, data: Mapping[str, Any] | None, *, views: Iterable[tuple[str, str]], count: int
    ) -> None:
        """*views* are this person's saved views, *count* how many feeds there are already."""
        super().__init__(data)
        self.count = count
        field = self.fields["source"]
        field.choices = [("", _("All appointments")), *views]  # type: ignore[attr-defined]
        field.error_messages["invalid_choice"] = _("This view is gone. Choose another one.")

    def clean(self) -> dict[str, Any]:
        if self.count >= MOST_FEEDS:
            raise ValidationError(
                _("You have %(count)d calendar feeds, which is the most. Revoke one first."),
                params={"count": MOST_FEEDS},
            )
        return self.cleaned_data


# --- cancelling -------------------------------------------------------------------------------


def found_first(people: Iterable[Attendee], looked_for: str) -> list[Attendee]:
    """*people*, with those first whom *looked_for* means."""

    def is_other(one: Attendee) -> bool:
        return not is_sought(looked_for, name=one.name, email=one.email, phone=one.phone)

    return sorted(people, key=is_other) if looked_for else list(people)


class WithPresets(forms.Form):
    """A reason that may be picked instead of typed, also where no script puts it into the field."""

    preset = forms.ChoiceField(label=gettext_lazy("Ready-made reason"), required=False)
    presets: Sequence[ReasonPreset] = ()
    reason_limit: int
    """In UTF-16 units."""

    @property
    def ready_reason(self) -> str:
        """What stands in the field at first."""
        return next((one.text for one in self.presets if one.is_default), "")

    def shape_presets(self) -> None:
        if not self.presets:
            del self.fields["preset"]
            return
        self.fields["preset"].choices = [  # type: ignore[attr-defined]
            ("", _("Choose a ready-made reason…")),
            *((str(one.pk), one.label) for one in self.presets),
        ]

    def take_preset(self) -> None:
        """Put the picked one where nothing was typed."""
        values = self.cleaned_data
        if values.get("preset") and values.get("reason") == "":
            text = next(one.text for one in self.presets if str(one.pk) == values["preset"])
            try:
                values["reason"] = short_enough(text, limit=self.reason_limit)
            except ValidationError as error:
                self.add_error("reason", error)


class CancellationForm(WithPresets):
    """The cancel dialog, shaped by what the provider can express about this appointment."""

    reason = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 3}))
    note = forms.CharField(
        label=gettext_lazy("Internal note"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    attendee = forms.ChoiceField(
        label=gettext_lazy("Who is to be removed?"),
        widget=forms.RadioSelect,
        error_messages={
            "required": gettext_lazy("Choose one person, or everybody."),
            "invalid_choice": gettext_lazy("This person is not booked any more. Choose again."),
        },
    )
    series = forms.ChoiceField(
        label=gettext_lazy("Which occurrences?"),
        widget=forms.RadioSelect,
        choices=[
            (THIS, gettext_lazy("Only this one")),
            (FOLLOWING, gettext_lazy("This and later ones of its series")),
        ],
        initial=THIS,
        required=False,
    )
    email = forms.EmailField(
        label=gettext_lazy("E-mail address it was booked with"),
        error_messages={
            "required": gettext_lazy("The provider needs the address it was booked with."),
            "invalid": gettext_lazy("This is not an e-mail address."),
        },
        widget=forms.EmailInput(attrs={"aria-describedby": "id_email_error email-from email-for"}),
    )
    form_key = forms.UUIDField(widget=forms.HiddenInput)
    version = forms.CharField(widget=forms.HiddenInput, max_length=16, required=False)

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        appointment: Appointment,
        presets: Sequence[ReasonPreset] = (),
        typed: Mapping[str, str] | None = None,
        looked_for: str = "",
    ) -> None:
        """
        With *data*, what was sent; with *typed*, a fresh form around what stood in an older one.

        Of a group, whoever fits *looked_for* (the search that led here) stands first.
        """
        self.capabilities = appointment.capabilities
        self.people = found_first(appointment.attendees.all(), looked_for)
        self.presets = presets
        self.reason_limit = self.capabilities.reason_limit or KEPT_REASON_LIMIT
        super().__init__(data, initial=self._first_values(appointment) | self._kept(typed or {}))
        self._shape_reason()
        self._shape_targets(appointment)
        self.shape_presets()
        if not self.capabilities.needs_email:
            del self.fields["email"]

    def _first_values(self, appointment: Appointment) -> dict[str, Any]:
        return {
            "reason": self.ready_reason,
            "email": next((one.email for one in self.people if one.email), ""),
            "form_key": uuid.uuid4(),
            "version": appointment.version,
        }

    def _kept(self, typed: Mapping[str, str]) -> dict[str, Any]:
        """What of *typed* goes into the fresh form: all but the version, which is the news."""
        names = ("reason", "note", "preset", "attendee", "series", "email")
        kept: dict[str, Any] = {name: typed[name] for name in names if name in typed}
        with contextlib.suppress(KeyError, ValueError):
            kept["form_key"] = uuid.UUID(typed["form_key"])
        return kept

    def _shape_reason(self) -> None:
        field = self.fields["reason"]
        field.label = _("Reason") if self.reaches_provider else _("Reason, kept here")
        field.widget.attrs |= {"autofocus": True, "maxlength": self.reason_limit}
        self.fields["note"].widget.attrs["maxlength"] = KEPT_REASON_LIMIT
        if not self.reaches_provider:
            del self.fields["note"]

    def _shape_targets(self, appointment: Appointment) -> None:
        """A group of several is asked whom, a single booking whether the later ones too."""
        is_choice = appointment.is_group and len(self.people) != 1
        if not (is_choice and self.capabilities.one_attendee):
            del self.fields["attendee"]
        else:
            self.fields["attendee"].choices = [  # type: ignore[attr-defined]
                *((str(one.pk), one.label) for one in self.removable),
                (EVERYBODY, _("Everybody")),
            ]
        if not series_key(appointment):
            del self.fields["series"]

    @property
    def reaches_provider(self) -> bool:
        return self.capabilities.reason_reaches_provider

    @property
    def removable(self) -> list[Attendee]:
        """People whom the provider can name, and so remove alone."""
        return [one for one in self.people if one.external_id]

    def clean_reason(self) -> str:
        return short_enough(self.cleaned_data["reason"], limit=self.reason_limit)

    def clean_note(self) -> str:
        return short_enough(self.cleaned_data["note"], limit=KEPT_REASON_LIMIT)

    def clean(self) -> dict[str, Any]:
        self.take_preset()
        return self.cleaned_data

    def focus_on_error(self) -> None:
        """Begin where something has to be mended, also where no script puts the focus there."""
        if wrong := next((name for name in self.fields if name in self.errors), ""):
            self.fields["reason"].widget.attrs.pop("autofocus", None)
            self.fields[wrong].widget.attrs["autofocus"] = True

    def chosen(self) -> tuple[Scope, Attendee | None] | None:
        """What is ticked now, valid or not; None while a group has nothing ticked."""
        if "attendee" in self.fields:
            ticked = self["attendee"].value()
            if ticked == EVERYBODY:
                return Scope.WHOLE, None
            person = next((one for one in self.removable if str(one.pk) == ticked), None)
            return (Scope.ATTENDEE, person) if person else None
        if "series" in self.fields and self["series"].value() == FOLLOWING:
            return Scope.FOLLOWING, None
        return Scope.WHOLE, None

    def wish(self) -> Wish:
        """What was asked for; only of a valid form."""
        values = self.cleaned_data
        scope, attendee = self.chosen() or (Scope.WHOLE, None)
        return Wish(
            scope=scope,
            attendee=attendee,
            reason=values["reason"],
            note=values.get("note", ""),
            email=values.get("email", ""),
        )


# --- cancelling many --------------------------------------------------------------------------


class BatchForm(WithPresets):
    """The review of a batch: which of the chosen ones, why, and the number typed."""

    reason = forms.CharField(
        label=gettext_lazy("Reason"), required=False, widget=forms.Textarea(attrs={"rows": 2})
    )
    note = forms.CharField(
        label=gettext_lazy("Internal note"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "maxlength": KEPT_REASON_LIMIT}),
    )
    count = forms.CharField(
        label=gettext_lazy("Number of appointments"),
        required=False,
        max_length=10,
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"}),
    )
    form_key = forms.UUIDField(widget=forms.HiddenInput)

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        appointments: Sequence[Appointment],
        presets: Sequence[ReasonPreset] = (),
        typed: Mapping[str, str] | None = None,
    ) -> None:
        """
        *appointments* are those that were chosen, whether they can be cancelled or not; *typed* is
        what was written for an earlier batch.
        """
        self.presets = presets
        first = {"form_key": uuid.uuid4(), "reason": self.ready_reason}
        super().__init__(data, initial=first | dict(typed or {}))
        self.shape_presets()
        limits = (one.capabilities.reason_limit for one in appointments)
        self.reason_limit = min(filter(None, limits), default=KEPT_REASON_LIMIT)
        self.fields["reason"].widget.attrs["maxlength"] = self.reason_limit
        self.known = {one.pk for one in appointments}
        self.ticked = dict(_ticked_rows(data)) if data is not None else None

    @staticmethod
    def keys(data: Any) -> list[int]:
        """Keys of all appointments that the sent review showed."""
        return keys_of(data.getlist("shown"))

    def is_ticked(self, pk: int, *, is_over: bool) -> bool:
        """Whether to show *pk* ticked; at first all but what *is_over*, which mails people too."""
        return not is_over if self.ticked is None else pk in self.ticked

    def clean_reason(self) -> str:
        return short_enough(self.cleaned_data["reason"], limit=self.reason_limit)

    def clean_note(self) -> str:
        return short_enough(self.cleaned_data["note"], limit=KEPT_REASON_LIMIT)

    def clean(self) -> dict[str, Any]:
        if "form_key" in self.errors:
            raise ValidationError(_("This page is broken. Choose the appointments again."))
        ticked = len(self.versions())
        self.take_preset()
        if not ticked:
            raise ValidationError(_("Nothing is ticked, so there is nothing to cancel."))
        typed = self.cleaned_data.get("count", "").strip()
        if ticked > TYPED_ABOVE and typed != str(ticked):
            self.add_error("count", _("%(count)d are ticked: type %(count)d.") % {"count": ticked})
            # Where the reload puts her: at what is to be mended.
            self.fields["count"].widget.attrs["autofocus"] = True
        return self.cleaned_data

    def versions(self) -> dict[int, str]:
        """Key and reviewed version of each ticked appointment."""
        ticked = self.ticked or {}
        return {pk: version for pk, version in ticked.items() if pk in self.known}


def keys_of(values: Iterable[str]) -> list[int]:
    """Those of *values* that can be the key of a row; the others are left out."""
    return [int(one) for one in values if one.isascii() and one.isdecimal() and len(one) < 19]


def _ticked_rows(data: Any) -> Iterable[tuple[int, str]]:
    for one in data.getlist("row"):
        pk, _colon, version = one.partition(":")
        for key in keys_of([pk]):
            yield key, version


# --- activity ---------------------------------------------------------------------------------


class ActivityForm(forms.Form):
    """What the activity page shows; as in `FilterForm`, one wrong value spoils only itself."""

    CANCELLATIONS, BOOKINGS = "cancellations", "bookings"

    kind = forms.ChoiceField(
        label=gettext_lazy("What was asked for"),
        required=False,
        choices=[
            ("", gettext_lazy("Everything")),
            (CANCELLATIONS, gettext_lazy("Cancellations")),
            (BOOKINGS, gettext_lazy("New, moved and confirmed ones")),
        ],
    )
    q = forms.CharField(label=gettext_lazy("Person"), required=False, max_length=200)
    who = forms.ChoiceField(label=gettext_lazy("Asked for by"), required=False)
    state = forms.ChoiceField(label=gettext_lazy("Outcome"), required=False)
    provider = forms.ChoiceField(label=gettext_lazy("Provider"), required=False)

    def __init__(
        self,
        data: Mapping[str, Any],
        *,
        people: Iterable[tuple[int, str]],
        states: Iterable[tuple[str, str]],
        providers: Iterable[tuple[str, str]],
    ) -> None:
        super().__init__(data)
        self._offer("state", [("", _("Any outcome")), *states])
        self._offer("provider", [("", _("All providers")), *providers])
        self._offer("who", [("", _("Everybody")), *people])
        self.fields["from"] = DayField(label=_("From"))
        self.fields["to"] = DayField(label=_("To"))

    def _offer(self, name: str, choices: Iterable[tuple[Any, str]]) -> None:
        self.fields[name].choices = choices  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        first, last = self.cleaned_data.get("from"), self.cleaned_data.get("to")
        if first and last and last < first:
            self.add_error("to", _("This day is before the first one."))
        return self.cleaned_data


# --- scheduling -------------------------------------------------------------------------------

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
        if not _is_likely(wall.date()):
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
        if "customer_id" not in self.fields or values.get("customer_id"):
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
        if any(one.tzinfo is None or not _is_likely(one.date()) for one in given_moments):
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


class VerdictForm(forms.Form):
    """What a named person found out, or decides, about an unknown outcome."""

    reason = forms.CharField(
        label=gettext_lazy("How do you know?"),
        max_length=500,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": gettext_lazy("Say how you know: it is kept with your name.")},
    )
