"""What the frame of every page needs."""

from __future__ import annotations

import re

from django import template
from django.conf import settings
from django.db.models import Model
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from appointments import days
from appointments.codes import in_words
from appointments.models import Booking, Cancellation
from appointments.phrases import person, script_words

register = template.Library()
register.simple_tag(script_words)
register.filter(in_words)
for written in (
    days.day_year,
    days.day_month,
    days.day_long,
    days.moment_short,
    days.moment_year,
    days.moment_long,
    days.stamp,
    days.stamp_short,
):
    register.filter(written.__name__, written, expects_localtime=True)


@register.simple_tag
def icon(name: str) -> SafeString:
    """An icon of the sprite, for the eye only: the words beside it carry the meaning."""
    return format_html(
        '<svg class="icon" aria-hidden="true"><use href="{}#{}"></use></svg>',
        static("icons.svg"),
        name,
    )


@register.simple_tag
def is_rehearsal() -> bool:
    """Whether all of this is practice, which every page and dialog has to say."""
    return bool(settings.REHEARSAL)


@register.simple_tag
def languages() -> list[tuple[str, str]]:
    """Code and name of each language, the name in itself."""
    return list(settings.LANGUAGES)


@register.simple_tag
def unsettled_count() -> int:
    """How many outcomes wait to be found out; few, so they may be counted."""
    bookings = Booking.objects.for_people()
    return Cancellation.objects.for_people(timezone.now()).count() + bookings.count()


@register.simple_tag
def csrf_cookie_name() -> str:
    """Where the script finds the token that is valid now, whatever the page was rendered with."""
    return settings.CSRF_COOKIE_NAME


@register.filter
def staff_name(user: Model) -> str:
    return person(user)


@register.filter
def breakable(address: str) -> SafeString:
    """
    An e-mail *address* that a short line breaks at its @ first, and then before a dot.

    Each side of the @ is a box that moves to the next line as a whole, as long as it fits there.
    """
    name, at, host = address.rpartition("@")
    sides = (_at_dots(side) for side in (f"{name}{at}", host) if side)
    return format_html_join("", '<span class="address">{}</span>', ((side,) for side in sides))


def _at_dots(text: str) -> SafeString:
    parts = re.split(r"(?<=.)(?=\.)", text)
    return format_html_join(SafeString("<wbr>"), "{}", ((part,) for part in parts))


@register.filter
def phone_link(number: str) -> str:
    """
    *number* as the target of a `tel:` link: digits and a leading plus, nothing else.

    Empty for what cannot be dialled: providers also send numbers with letters for digits.
    """
    if any(char.isalpha() for char in number):
        return ""
    kept = "".join(char for char in number if char.isascii() and char.isdigit())
    return f"+{kept}" if number.strip().startswith("+") else kept
