"""Views of the list that people keep for themselves. Nobody sees or changes another one's."""

from __future__ import annotations

from collections.abc import Mapping

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from appointments.models import SavedFilter


class NameTaken(Exception):
    """Another view of this person has the name; nothing was changed."""


def save_filter(user: User, *, name: str, query: Mapping[str, str]) -> SavedFilter:
    """
    Keep *query* for *user* under *name*.

    Raises:
        NameTaken: somebody with two windows was faster than the form could know.
    """
    made = SavedFilter(user=user, name=name, query=dict(query))
    return _saved(made)


def rename_filter(saved: SavedFilter, *, name: str) -> SavedFilter:
    """
    Give *saved* another name.

    Raises:
        NameTaken: as in `save_filter`.
    """
    saved.name = name
    return _saved(saved)


def _saved(saved: SavedFilter) -> SavedFilter:
    try:
        with transaction.atomic():
            saved.save()
    except IntegrityError as error:
        raise NameTaken from error
    return saved


def start_with(user: User, saved: SavedFilter | None) -> None:
    """Let *user*'s list open with *saved*, or as it does for everybody."""
    with transaction.atomic():
        SavedFilter.objects.filter(user=user, is_start=True).update(is_start=False)
        if saved is not None:
            SavedFilter.objects.filter(pk=saved.pk, user=user).update(is_start=True)
