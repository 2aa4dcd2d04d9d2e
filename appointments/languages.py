"""
The language of a person: chosen once, kept with the person, and at hand in every session.

The session carries it, so that no page costs a question for it; a session that is open elsewhere
keeps its language until its next login. Before anybody is logged in, the browser says it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.utils.deprecation import MiddlewareMixin

from appointments.models import StaffSettings

_KEY = "language"
_KEPT_IN_BROWSER = timedelta(days=365)


def is_offered(code: str) -> bool:
    return code in dict(settings.LANGUAGES)


def choose(request: HttpRequest, code: str) -> None:
    """Keep *code* for whoever is logged in: in this session and with the person."""
    if not isinstance(request.user, User):
        return
    StaffSettings.objects.update_or_create(user=request.user, defaults={"language": code})
    request.session[_KEY] = code


def remember_in_browser(response: HttpResponse, code: str) -> None:
    """Let the login page of this browser speak *code* too."""
    response.set_cookie(
        settings.LANGUAGE_COOKIE_NAME,
        code,
        max_age=_KEPT_IN_BROWSER,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def chosen_by(user: User) -> str:
    """The language that *user* chose; empty if none, or one that is no longer offered."""
    found = StaffSettings.objects.filter(user=user).values_list("language", flat=True).first()
    return found if found and is_offered(found) else ""


def recall(*, request: HttpRequest, user: User, **_: Any) -> None:
    """At login: take the person's language into the session."""
    if code := chosen_by(user):
        request.session[_KEY] = code


class LanguageMiddleware(MiddlewareMixin):
    """Speak the language of the session, otherwise that of the browser. Stands after sessions."""

    def process_request(self, request: HttpRequest) -> None:
        # First without the session: if that cannot be read, the error page has a language too.
        translation.activate(translation.get_language_from_request(request))
        code = request.session.get(_KEY, "")
        if is_offered(code):
            translation.activate(code)

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        response.headers.setdefault("Content-Language", translation.get_language() or "")
        patch_vary_headers(response, ("Accept-Language",))
        return response
