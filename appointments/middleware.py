"""
Who gets in, and for how long.

Every page is closed unless a view says otherwise. A session ends after half an hour in which
nobody did anything, and after twelve hours in any case; pages that refresh themselves do not
count as somebody.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth import REDIRECT_FIELD_NAME, logout
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.http import HttpRequest, HttpResponse
from django.shortcuts import resolve_url
from django.utils.cache import patch_cache_control
from django.utils.deprecation import MiddlewareMixin
from django.views import csrf

IDLE = timedelta(minutes=30)
LONGEST = timedelta(hours=12)
NOTED_EVERY = timedelta(minutes=1)
"""How exactly activity is kept: not every click is worth a write."""

BACKGROUND = "X-Background"
"""Header of requests that a page makes by itself."""

_STARTED, _ACTIVE = "session_started", "session_active"


class SessionLimitsMiddleware(MiddlewareMixin):
    """Log out who was away, or has been here, for too long. Stands after authentication."""

    def process_request(self, request: HttpRequest) -> None:
        if not request.user.is_authenticated:
            return
        now = time.time()
        started = request.session.setdefault(_STARTED, now)
        active = request.session.get(_ACTIVE, now)
        if now - started > LONGEST.total_seconds() or now - active > IDLE.total_seconds():
            logout(request)
            return
        if request.headers.get(BACKGROUND) == "true":
            return
        if _ACTIVE not in request.session or now - active > NOTED_EVERY.total_seconds():
            request.session[_ACTIVE] = now


class StaffOnlyMiddleware(LoginRequiredMiddleware):
    """Close every page that is not marked as open, and keep pages out of every cache."""

    def handle_no_permission(  # type: ignore[override]
        self, request: HttpRequest, view_func: Callable[..., Any]
    ) -> HttpResponse:
        """
        Send to the login, and from there back to a page: what was posted is never replayed.

        The script gets an empty answer with the address, so that no login page lands inside
        another page, and decides itself whether leaving would lose typed text.
        """
        if not request.htmx:  # type: ignore[attr-defined]
            return super().handle_no_permission(request, view_func)
        return _login_instead(request)

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        patch_cache_control(response, no_store=True)
        return response


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Whoever has no valid token any more has no valid login either, and comes back with one."""
    if request.htmx:  # type: ignore[attr-defined]
        return _login_instead(request)
    return csrf.csrf_failure(request, reason)


def _login_instead(request: HttpRequest) -> HttpResponse:
    query = urlencode({REDIRECT_FIELD_NAME: _page_behind(request)})
    address = f"{resolve_url(settings.LOGIN_URL)}?{query}"
    return HttpResponse(status=204, headers={"HX-Redirect": address})


def _page_behind(request: HttpRequest) -> str:
    """The page to come back to: the dialog of a form, otherwise the page that asked."""
    if request.method == "POST":
        return request.get_full_path()
    return request.htmx.current_url_abs_path or resolve_url(  # type: ignore[attr-defined]
        settings.LOGIN_REDIRECT_URL
    )
