"""What may be looked at and nothing else, and the words above its columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.text import Truncator

LONGEST_CELL = 80
"""Characters of a name in a list: what providers pass on may be as long as they like."""


def column(field: str, label: Any, *, boolean: bool = False) -> Any:
    """A column that shows *field* under a label of ours: the field's own name is English."""

    def show(row: Model) -> Any:
        return getattr(row, field)

    show.__name__ = field
    return admin.display(show, description=label, ordering=field, boolean=boolean)


def titled(field: str, title: Promise, kind: type[admin.FieldListFilter]) -> tuple[str, Any]:
    """A filter by *field* under a title of ours."""

    class Titled(kind):  # type: ignore[valid-type,misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.title = title

    return field, Titled


def cut(text: str) -> str:
    return Truncator(text).chars(LONGEST_CELL)


class LookOnly[M: Model](admin.ModelAdmin[M]):
    """This may be looked at, and nothing else."""

    labels: Mapping[str, Promise] = {}
    """What the fields of the page are called."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def get_form(
        self, request: HttpRequest, obj: M | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        return super().get_form(request, obj, change, **kwargs, labels=self.labels)

    def get_readonly_fields(self, request: HttpRequest, obj: M | None = None) -> list[str]:
        # Named here too, so that fields which the model does not have are shown without a form.
        parts = self.get_fieldsets(request, obj)
        return [str(name) for _title, part in parts for name in part["fields"]]


class LookOnlyInline[C: Model, P: Model](admin.TabularInline[C, P]):
    """Rows below a page, each column of which is named here."""

    columns: tuple[str, ...]
    """Names of methods, each of which has its label."""
    template = "admin/read_only_inline.html"
    extra = 0
    can_delete = False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True  # Whoever may open the page may read all of it.

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return self.columns

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return self.columns
