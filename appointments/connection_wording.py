"""Every sentence about a connection: how fresh, why not, and what will run out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from appointments.days import day_month, day_short
from appointments.models import Connection
from appointments.models.connections import WARN_BEFORE_EXPIRY
from appointments.phrases import Notice, age, moment
from appointments.services.limits import Usage

_FAILURES: Mapping[str, Promise | str] = {
    "credentials": gettext_lazy("%(provider)s does not accept our key."),
    "access_denied": gettext_lazy("Our key may not do this at %(provider)s."),
    "rate_limited": gettext_lazy("%(provider)s is busy."),
    "held_up": gettext_lazy("The portal itself was held up for too long before it could send."),
    "own_limit": gettext_lazy(
        "%(provider)s allows only so many requests a minute, and they are used up for now."
    ),
    "quota": gettext_lazy("The account at %(provider)s is used up for now."),
    "connection": gettext_lazy("%(provider)s cannot be reached."),
    "deadline": gettext_lazy("%(provider)s does not answer in time."),
    "name_lookup": gettext_lazy("The address of %(provider)s cannot be found."),
    "tls": gettext_lazy("The secure connection to %(provider)s cannot be made."),
    "wrong_address": gettext_lazy(
        "The address of %(provider)s leads where this installation must not send anything."
    ),
    "unreadable": gettext_lazy("%(provider)s cannot be read at the moment."),
    "server_fault": gettext_lazy(
        "%(provider)s has a fault on its side. It is read again by itself."
    ),
    "lifetime_over": gettext_lazy("It waited too long to be sent."),
    "suspicious": gettext_lazy("The list of %(provider)s looks incomplete and was not believed."),
    "interrupted": gettext_lazy("The last refresh was interrupted."),
    "cannot_decrypt": gettext_lazy("The stored key of %(provider)s cannot be read here."),
    "switched_off": gettext_lazy("The connection to %(provider)s is switched off."),
    "service_unknown": gettext_lazy("%(provider)s needs to know what is to be booked."),
    "host_unknown": gettext_lazy("%(provider)s needs to know with whom."),
    "host_elsewhere": gettext_lazy(
        "Whom you chose cannot be booked for this at %(provider)s, so nothing was asked for."
    ),
    "session_missing": gettext_lazy("%(provider)s needs one of its windows."),
    "nothing_to_move": gettext_lazy("It is at this time already."),
    "not_permitted": gettext_lazy("Whoever asked for it may not do this any more."),
    "email_missing": gettext_lazy("%(provider)s needs the address it was booked with."),
    "case_unknown": gettext_lazy("%(provider)s did not tell which case this belongs to."),
    "internal": gettext_lazy("Something in the portal itself failed."),
}


def failure(code: str, provider: str) -> str:
    """One sentence about a failing provider, from the code of the error."""
    sentence = _FAILURES.get(code, gettext_lazy("%(provider)s answers in a way we do not know."))
    return str(sentence) % {"provider": provider}


def freshness(connection: Connection, *, now: datetime | None = None) -> str:
    """How old our copy of a connection is, or since when it fails."""
    health = getattr(connection, "health", None)
    if health is not None and health.failing_since is not None:
        return _("failing since %(time)s") % {"time": moment(health.failing_since)}
    if health is None or health.read_at is None:
        return _("not read yet")
    return _("read %(age)s ago") % {"age": age((now or timezone.now()) - health.read_at)}


def failing_notice(connection: Connection, *, now: datetime | None = None) -> Notice | None:
    """Since when and why a connection cannot be read, and when it is tried again; None if it can"""
    health = getattr(connection, "health", None)
    if health is None or health.failing_since is None:
        return None
    sentence = _("%(connection)s: %(cause)s %(since)s.") % {
        "connection": connection.name,
        "cause": failure(health.failure, connection.provider_label),
        "since": capfirst(freshness(connection)),
    }
    if health.read_at is not None:
        # Whoever cancels is not misled by it: the dialog reads the booking anew.
        shown = _("The list shows how it was at %(time)s.") % {"time": moment(health.read_at)}
        sentence = f"{sentence} {shown}"
    if health.next_sync_at <= (now or timezone.now()):
        again = _("It is being tried again.")
        return Notice(sentence=f"{sentence} {again}", tone="bad")
    again = _("Next try at %(time)s.") % {"time": moment(health.next_sync_at)}
    return Notice(sentence=f"{sentence} {again}", tone="bad", read_now=connection.pk)


def unread_notice(connections: Iterable[Connection], day: date) -> Notice | None:
    """Which of *connections* are not read as far as *day*: there, nothing shown says nothing."""
    accounts = []
    for one in connections:
        health = getattr(one, "health", None)
        if health is None or health.read_at is None:
            accounts.append(_("%(account)s not at all yet") % {"account": one.name})
        elif one.read_to < day:
            last = {"account": one.name, "day": day_short(one.read_to)}
            accounts.append(_("%(account)s up to %(day)s") % last)
    if not accounts:
        return None
    sentence = _("There may be more, because not everything is read: %(accounts)s.")
    return Notice(sentence=sentence % {"accounts": ", ".join(accounts)}, tone="info")


def read_moment(connection: Connection) -> str:
    """When *connection* was read, for paper: `read Sat 21 Nov at 10:42`."""
    health = getattr(connection, "health", None)
    if health is None or health.read_at is None:
        return _("never read")
    local = timezone.localtime(health.read_at)
    values = {"day": day_short(local), "time": f"{local:%H:%M:%S}"}
    said = _("as read on %(day)s at %(time)s") % values
    if not health.is_failing:
        return said
    return _("%(read)s, failing since %(since)s") % {
        "read": said,
        "since": moment(health.failing_since),
    }


def quota_used(usage: Usage) -> str:
    """How many requests were made today, and of how many."""
    if usage.quota is None:
        return str(usage.used)
    return _("%(used)d of %(quota)d") % {"used": usage.used, "quota": usage.quota}


def quota_notice(connection: Connection, usage: Usage) -> Notice | None:
    """A warning when a day's requests run out; they begin anew at midnight UTC."""
    if usage.quota is None or usage.left_for_sync:
        return None
    values = {
        "name": connection.name,
        "used": quota_used(usage),
        "provider": connection.provider_label,
    }
    if usage.used < usage.quota:
        return Notice(
            sentence=_(
                "%(name)s: %(used)s requests of today are used. The rest is kept for cancelling, "
                "so its list is not refreshed before midnight UTC."
            )
            % values,
            tone="warning",
        )
    return Notice(
        sentence=_(
            "%(name)s: all requests of today are used (%(used)s). %(provider)s may refuse "
            "everything until midnight UTC."
        )
        % values,
        tone="bad",
    )


def expiry_notice(connection: Connection) -> Notice | None:
    """A warning before a key ends, from two weeks ahead."""
    today = timezone.localdate()
    ends = connection.credentials_expire_on
    if ends is None or not connection.expires_within(WARN_BEFORE_EXPIRY, today=today):
        return None
    days = (ends - today).days
    values = {"name": connection.name, "date": day_month(ends), "days": days}
    if days < 0:
        return Notice(sentence=_("The key of %(name)s ended on %(date)s.") % values, tone="bad")
    return Notice(
        sentence=ngettext(
            "The key of %(name)s ends on %(date)s, in %(days)d day.",
            "The key of %(name)s ends on %(date)s, in %(days)d days.",
            days,
        )
        % values,
        tone="warning",
    )
