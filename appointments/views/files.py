"""Tables as files that a spreadsheet opens."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence

from django.http import HttpResponse

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\0")


def csv_file(name: str, header: Sequence[str], lines: Iterable[Sequence[str]]) -> HttpResponse:
    """
    *lines* below *header*, to be saved as *name*.

    A cell that a spreadsheet would take for a formula begins with an apostrophe, also a telephone
    number: what strangers typed must not be carried out on somebody's computer.
    """
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    # Without this mark, some spreadsheets take the text for another alphabet.
    response.write("\ufeff")
    writer = csv.writer(response)
    writer.writerow(header)
    writer.writerows([harmless(cell) for cell in line] for line in lines)
    return response


def harmless(cell: str) -> str:
    """*cell* so that no spreadsheet takes it for a formula."""
    return f"'{cell}" if cell.lstrip(" \n").startswith(_FORMULA) else cell
