"""What staff see instead of a page."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Say who can help; within a page, only that."""
    name = "403.html" + ("#message" if request.htmx else "")  # type: ignore[attr-defined]
    return render(request, name, status=403)
