"""
The shape of what staff type. No form touches the database or a provider.

What a form offers follows from capabilities, never from the name of a provider.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from appointments.domain import (
    Scope,
    Status,
)
from appointments.models import Appointment, Attendee, ReasonPreset
from appointments.models.appointments import LONGEST_TAG, is_sought
from appointments.models.feeds import MOST_FEEDS
from appointments.models.filters import LONGEST_NAME, MOST_FILTERS
from appointments.services.batch import TYPED_ABOVE
from appointments.services.cancel import Wish, series_key

EVERYBODY = "all"
THIS, FOLLOWING = "this", "following"
KEPT_REASON_LIMIT = 1000
"""Longest reason and note that stay with us, in UTF-16 units."""

FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2100, 12, 31)
"""Days outside are typing errors, and some databases cannot hold them."""


def is_likely(day: date) -> bool:
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

    def format_value(self, value: Any) -> str:
        """Never nothing: a page that is morphed keeps what a field without a value holds."""
        return super().format_value(value) or ""


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
            # The fields show it too, and so the next filter is sent with it.
            self.data = {**self.data, "from": f"{day}", "to": f"{day}"}
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


# --- what somebody found out ------------------------------------------------------------------


class VerdictForm(forms.Form):
    """What a named person found out, or decides, about an unknown outcome."""

    reason = forms.CharField(
        label=gettext_lazy("How do you know?"),
        max_length=500,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": gettext_lazy("Say how you know: it is kept with your name.")},
    )
