"""Words for the codes that providers send and take; what is none of them stays as it came."""

from __future__ import annotations

from django.utils.translation import gettext_lazy

_WORDS = {
    "Morning": gettext_lazy("Morning"),
    "Afternoon": gettext_lazy("Afternoon"),
    "Evening": gettext_lazy("Evening"),
    "google_conference": gettext_lazy("Google conference"),
    "zoom_conference": gettext_lazy("Zoom conference"),
    "gotomeeting_conference": gettext_lazy("GoToMeeting conference"),
    "microsoft_teams_conference": gettext_lazy("Microsoft Teams conference"),
    "webex_conference": gettext_lazy("Webex conference"),
}


def in_words(code: str) -> str:
    return str(_WORDS.get(code, code))
