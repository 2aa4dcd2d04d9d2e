"""Saved views: the list under a name of one's own, to be opened, renamed and thrown away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.contrib.auth.models import User
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from appointments.forms import NAME_TAKEN, SavedFilterForm
from appointments.models import SavedFilter
from appointments.models.filters import MOST_FILTERS
from appointments.services.saved import NameTaken, rename_filter, save_filter, start_with
from appointments.views.filters import (
    Accounts,
    Wanted,
    account_names,
    address,
    in_words,
)
from appointments.views.request import StaffRequest, needs


@dataclass(frozen=True)
class Saved:
    """Somebody's saved views, read once and only where a page shows them."""

    user: User

    @cached_property
    def views(self) -> list[dict[str, Any]]:
        """Each with the address that opens it."""
        rows = SavedFilter.objects.filter(user=self.user)
        return [{"filter": one, "url": address(one.query)} for one in rows]

    def start(self) -> str:
        """The address of the one that the list opens with, if there is one."""
        return next((one["url"] for one in self.views if one["filter"].is_start), "")


@require_http_methods(["GET", "HEAD", "POST"])
@needs()
def index(request: StaffRequest) -> HttpResponse:
    """Show one's saved views; a POST keeps the view that its fields describe."""
    if request.method != "POST":
        return _page(request)
    wanted = Wanted.by(request.POST, Accounts.read())
    form = SavedFilterForm(request.POST, taken=_names(request.user))
    kept = dict(wanted.kept)
    if form.is_valid():
        if not form.cleaned_data["keep_search"]:
            kept.pop("q", None)
        try:
            saved = save_filter(request.user, name=form.cleaned_data["name"], query=kept)
        except NameTaken:
            form.add_error("name", NAME_TAKEN)
        else:
            return _see(address(saved.query))
    return _page(request, form=form, kept=wanted.kept)


@require_http_methods(["GET", "HEAD", "POST"])
@needs()
def rename(request: StaffRequest, pk: int) -> HttpResponse:
    """Give one of them another name."""
    if request.method != "POST":
        return _see("saved-views")
    saved = _own(request, pk)
    form = SavedFilterForm(request.POST, taken=_names(request.user, but=saved))
    if form.is_valid():
        try:
            rename_filter(saved, name=form.cleaned_data["name"])
        except NameTaken:
            form.add_error("name", NAME_TAKEN)
        else:
            return _see("saved-views")
    return _page(request, renaming=(pk, form))


@require_http_methods(["GET", "HEAD", "POST"])
@needs()
def delete(request: StaffRequest, pk: int) -> HttpResponse:
    """Throw one of them away."""
    if request.method == "POST":
        _own(request, pk).delete()
    return _see("saved-views")


@require_http_methods(["GET", "HEAD", "POST"])
@needs()
def start(request: StaffRequest, pk: int) -> HttpResponse:
    """Let the list open with one of them, or no longer."""
    if request.method != "POST":
        return _see("saved-views")
    saved = _own(request, pk)
    start_with(request.user, None if request.POST.get("start") == "no" else saved)
    return _see("saved-views")


def _own(request: StaffRequest, pk: int) -> SavedFilter:
    return get_object_or_404(SavedFilter, pk=pk, user=request.user)


def _names(user: User, *, but: SavedFilter | None = None) -> list[str]:
    rows = SavedFilter.objects.filter(user=user)
    return [one.name for one in rows if but is None or one.pk != but.pk]


def _see(to: str) -> HttpResponse:
    response = redirect(to)
    response.status_code = 303
    return response


def _page(
    request: StaffRequest,
    *,
    form: SavedFilterForm | None = None,
    kept: Mapping[str, str] | None = None,
    renaming: tuple[int, SavedFilterForm] | None = None,
) -> HttpResponse:
    accounts = account_names()
    context = {
        "form": form,
        "kept": kept or {},
        "described": in_words(kept, accounts) if kept is not None else "",
        "rows": [
            {
                **one,
                "described": in_words(one["filter"].query, accounts),
                "form": renaming[1] if renaming and renaming[0] == one["filter"].pk else None,
            }
            for one in Saved(request.user).views
        ],
        "most": MOST_FILTERS,
    }
    status = 422 if form is not None or renaming is not None else 200
    return render(request, "appointments/saved_views.html", context, status=status)
