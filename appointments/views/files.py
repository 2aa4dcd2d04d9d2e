"""Tables as files that a spreadsheet opens."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import batched

from django.http import HttpResponse, StreamingHttpResponse

LINES_AT_ONCE = 200

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


def csv_stream(
    name: str, header: Sequence[str], lines: Iterable[Sequence[str]]
) -> StreamingHttpResponse:
    """The same for any number of *lines*, which are read while the file is being sent."""
    writer = csv.writer(_Passing())

    def parts() -> Iterator[str]:
        yield "\ufeff" + writer.writerow(header)
        for some in batched(lines, LINES_AT_ONCE, strict=False):
            yield "".join(writer.writerow([harmless(cell) for cell in line]) for line in some)

    response = StreamingHttpResponse(parts(), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


class _Passing:
    """A file that hands on what is written into it."""

    def write(self, text: str) -> str:
        return text


_BEHIND_A_SEPARATOR = re.compile(r"([;\t\r\n][\s\"]*)([=+\-@])")


def harmless(cell: str) -> str:
    """
    *cell* so that no spreadsheet takes it, or a part of it, for a formula.

    Where a comma is a decimal point, spreadsheets begin a new cell behind a semicolon, and take a
    quotation mark there for the beginning of a quoted one.
    """
    if cell.lstrip(" \n").startswith(_FORMULA):
        cell = f"'{cell}"
    return _BEHIND_A_SEPARATOR.sub(r"\1'\2", cell)
