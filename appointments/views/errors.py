"""What staff see instead of a page."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Plain words, and nothing of a page: what made the request unreadable may break that too."""
    return HttpResponse(
        _("This request cannot be read."), status=400, content_type="text/plain; charset=utf-8"
    )


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Say who can help; within a page, only that."""
    name = "403.html" + ("#message" if request.htmx else "")  # type: ignore[attr-defined]
    return render(request, name, status=403)
