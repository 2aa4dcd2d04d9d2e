"""
The table as a page of the README.

    python -m tests.faults.readme     writes it between its two markers
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"
BEGIN = "<!-- what happens when: written by `python -m tests.faults.readme` -->"
END = "<!-- /what happens when -->"

RULES = """\
Three rules stand above all of it.

- *Cancelled* is shown only if the provider said so, or shows it.
- An outcome that nobody knows is **settled by reading**: 5 s, 30 s, 2, 5 and 15 minutes after the
  request. If it is shown as cancelled, staff read *Cancelled*. If it is still booked a quarter of
  an hour later, is not shown any more, or cannot be read for half an hour, it waits under
  **Unsettled** for a person, and goes on being read.
- Sent again by itself is only what certainly did nothing; and, once, what is harmless to repeat."""

BATCH = """\
**Many at once.** Each ends as if it were alone. Three in a row that could not be sent, two in a row
of which nobody knows, or one that our key may not do: then the rest waits at that provider until
somebody presses *Resume*. While it is busy the rest waits by itself. The other providers go on. It
is never called done while there is one of which nobody knows."""

PERSON = """\
**Under Unsettled** a named person can settle a cancellation with a reason, or have it sent once
more if the last read showed it still booked, as soon as no earlier request can still take effect.

**A list that fails** is tried again by itself: after the usual pause, then after twice as long each
time, up to an hour."""


def page() -> str:
    """All between the two markers."""
    return "\n\n".join((RULES, "\n".join(table()), BATCH, PERSON))


def table() -> Iterator[str]:
    from tests.faults.matrix import CHAPTERS
    from tests.faults.rules import Chapter

    def happens(chapter: Chapter) -> str:
        kinds = "; ".join(one.words for one in chapter.parts if one.words)
        return f"**{chapter.happens}**" + (f": {kinds}" if kinds else "")

    yield "| What happens | What staff read | What is sent again | The list meanwhile |"
    yield "|---|---|---|---|"
    for one in CHAPTERS:
        yield f"| {happens(one)} | {one.read} | {one.again} | {one.refresh} |"


def main() -> None:
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        sys.exit("README.md has lost its markers.")
    README.write_text(f"{before}{BEGIN}\n{page()}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    main()
