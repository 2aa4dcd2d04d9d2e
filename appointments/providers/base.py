"""
What an adapter is.

An adapter translates both ways and does nothing else: it knows neither the database nor the
request of a browser, holds no state between calls, and never repeats a request. Whether a
request may be sent, sent again or believed is decided by the services.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from appointments.domain import (
    Account,
    AnswerNotUnderstood,
    BookedAppointment,
    BookedAttendee,
    BookingRef,
    CancelAnswer,
    CancellationPolicy,
    CancelRequest,
    Capabilities,
    CapabilityMissing,
    ConfirmAnswer,
    ConfirmRequest,
    DateWindow,
    Page,
    RejectedRecord,
    RescheduleAnswer,
    RescheduleRequest,
    ScheduleAnswer,
    ScheduleRequest,
    Service,
    Slot,
    SlotQuery,
)
from appointments.providers.reading import Json, Unreadable, id_of
from appointments.providers.transport import ProviderHttp

MAX_PAGES = 200
"""A listing that goes on longer than this is taken for a loop."""


class BadCredentials(ValueError):
    """Credentials that cannot work, whatever the provider says. The text names what to mend."""

    def __init__(self, text: str, *, credential: str) -> None:
        super().__init__(text)
        self.credential = credential
        """Name of the field that is to be mended."""


@dataclass(frozen=True, kw_only=True)
class CredentialField:
    """One secret or setting of an account."""

    name: str
    label: str | Promise
    required: bool = True
    help: str | Promise = ""


class Provider(ABC):
    """One account at one provider. Cheap to make; safe to use from one thread."""

    slug: ClassVar[str]
    label: ClassVar[str]
    capabilities: ClassVar[Capabilities]
    credential_fields: ClassVar[tuple[CredentialField, ...]] = (
        CredentialField(name="api_key", label=gettext_lazy("API key")),
    )
    default_base_url: ClassVar[str]
    default_wait: ClassVar[int] = 30
    """Seconds to wait after a 429 that does not say how long."""

    def __init__(self, account: Account, *, http: ProviderHttp | None = None) -> None:
        self.account = account
        self.http = http or ProviderHttp(
            account.base_url,
            headers=self.headers(account.credentials),
            rehearsal=account.rehearsal,
            default_wait=self.default_wait,
            gate=account.gate,
        )

    # --- credentials

    @classmethod
    def check_credentials(cls, credentials: Mapping[str, str]) -> None:
        """
        Refuse credentials that cannot work, before they are stored.

        Raises:
            BadCredentials: a field is missing, unknown, or does not go with another.
        """
        known = {one.name for one in cls.credential_fields}
        if unknown := sorted(set(credentials) - known):
            values = {"provider": cls.label, "unknown": ", ".join(unknown)}
            values["known"] = ", ".join(sorted(known))
            raise BadCredentials(
                _("%(provider)s does not know %(unknown)s; it takes %(known)s.") % values,
                credential=unknown[0],
            )
        for one in cls.credential_fields:
            value = credentials.get(one.name, "")
            if one.required and not value.strip():
                raise BadCredentials(
                    _("%(provider)s needs %(name)s.") % {"provider": cls.label, "name": one.name},
                    credential=one.name,
                )
            if not value.isascii() or not value.isprintable() or " " in value:
                raise BadCredentials(
                    _("%(name)s holds a space, a line break or a character that no key has.")
                    % {"name": one.name},
                    credential=one.name,
                )

    @classmethod
    @abstractmethod
    def headers(cls, credentials: Mapping[str, str]) -> dict[str, str]:
        """Headers that every request of this account carries."""

    @classmethod
    def capabilities_for(cls, locator: Mapping[str, str]) -> Capabilities:
        """What can be done about one booking, where its kind makes a difference."""
        return cls.capabilities

    # --- reading: may be repeated

    @abstractmethod
    def check(self) -> None:
        """
        Make the cheapest call that needs what the dashboard needs.

        Raises:
            ProviderError: the connection does not work; *why* says how.
        """

    @abstractmethod
    def pages(self, window: DateWindow) -> Iterator[Page]:
        """
        List every appointment that starts on a day of *window*, page by page.

        A record that cannot be read is reported in its page; a page that cannot be read ends the
        listing with a `ProviderError`, so an incomplete listing never looks complete.
        """

    @abstractmethod
    def read(self, ref: BookingRef) -> BookedAppointment | None:
        """
        Read one booking as it is now; None when the provider does not show it.

        None is no proof of a cancellation.
        """

    def policy(self) -> CancellationPolicy:
        raise CapabilityMissing(f"{self.label} shows no policy")

    def invitee(self, ref: BookingRef) -> BookedAttendee | None:
        """Look up who is booked, where the listing does not say it; None: it cannot be known."""
        return None

    def services(self) -> tuple[Service, ...]:
        """What can be booked, where the provider has a list of it."""
        return ()

    def slots(self, query: SlotQuery) -> tuple[Slot, ...]:
        """
        What is free, earliest first; empty only if the provider says that nothing is.

        Times of today that have gone by are left in, as far as the provider shows them.

        Raises:
            ProviderError: nothing is known of what is free. `NotSent`: the question lacks what
                the provider needs to know, a service or a host.
        """
        raise CapabilityMissing(f"{self.label} shows no free slots")

    # --- writing: sent once, never repeated here

    @abstractmethod
    def cancel(self, request: CancelRequest) -> CancelAnswer:
        """
        Ask the provider, once, to cancel.

        Raises:
            ProviderError: see `may_have_happened`; True means it may be cancelled all the same.
        """

    @abstractmethod
    def schedule(self, request: ScheduleRequest) -> ScheduleAnswer:
        """
        Ask the provider, once, to book.

        Raises:
            ProviderError: see `may_have_happened`; True means it may be booked all the same.
        """

    def reschedule(self, request: RescheduleRequest) -> RescheduleAnswer:
        """
        Ask the provider, once, to move a booking.

        Raises:
            ProviderError: see `may_have_happened`; True means it may stand at the new time, at the
                old one or at a third: `RescheduleRequest.is_met_by` of a later read tells.
        """
        raise CapabilityMissing(f"{self.label} moves no booking")

    def confirm(self, request: ConfirmRequest) -> ConfirmAnswer:
        """
        Ask the provider, once, to accept what is pending. To decline it is to `cancel` it.

        Raises:
            ProviderError: see `may_have_happened`; True means it may be accepted all the same.
        """
        raise CapabilityMissing(f"{self.label} confirms nothing")


def read_records(
    items: Iterable[Json], read_one: Callable[[Json], BookedAppointment | None], *, id_key: str
) -> Page:
    """
    Read every record of a listing, setting aside the ones that make no sense.

    *read_one* may answer None for a record that does not concern us.
    """
    records, rejected = [], []
    for item in items:
        try:
            record = read_one(item)
        except Unreadable as error:
            rejected.append(RejectedRecord(external_id=id_of(item, id_key), why=str(error)))
        else:
            if record is not None:
                records.append(record)
    return Page(records=tuple(records), rejected=tuple(rejected))


class PageGuard:
    """Ends a listing that turns in circles: a page with no new id, or more pages than sense."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.pages = 0

    def admit(self, page: Page, *, size: int) -> None:
        """
        Count *page*, of which the provider sent *size* records.

        Raises:
            AnswerNotUnderstood: the listing loops.
        """
        self.pages += 1
        ids = {record.external_id for record in page.records}
        ids |= {record.external_id for record in page.rejected if record.external_id}
        if (size and ids and ids <= self.seen) or self.pages > MAX_PAGES:
            raise AnswerNotUnderstood("pages_loop")
        self.seen |= ids
