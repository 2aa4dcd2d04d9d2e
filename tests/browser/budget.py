"""What a visit weighs and how far things jump, as Chromium sees it."""

from __future__ import annotations

import gzip
from typing import Any

from playwright.sync_api import APIResponse, Page, Response

FIRST_VISIT, LATER_PAGE = 100_000, 20_000
"""Bytes over the wire."""
JUMPS = 0.02
"""Cumulative layout shift."""

_WATCH = """
  window.jumps = 0;
  new PerformanceObserver((list) => {
    for (const one of list.getEntries()) if (!one.hadRecentInput) window.jumps += one.value;
  }).observe({ type: "layout-shift", buffered: true });
"""


class Scales:
    """Weighs what *page* loads, compressed as a web server in front of us does it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.loaded: set[str] = set()
        page.add_init_script(_WATCH)
        page.on("response", self._note)

    def _note(self, response: Response) -> None:
        if response.status == 200 and response.request.method == "GET":
            self.loaded.add(response.url)

    def taken(self, *, but: str = "\n") -> int:
        """Bytes since it was asked last; without addresses that hold *but*: a browser has them."""
        # Asked for anew: the browser forgets a body as soon as the page is left.
        found = [self.page.context.request.get(url) for url in self.loaded if but not in url]
        self.loaded.clear()
        return sum(_weight(one) for one in found)


def _weight(response: APIResponse) -> int:
    headers = sum(len(name) + len(value) + 4 for name, value in response.headers.items())
    return headers + len(gzip.compress(response.body(), compresslevel=6))


def jumps(page: Page) -> float:
    """How far things jumped on the page that is shown, since it was opened."""
    found: Any = page.evaluate("window.jumps")
    return float(found)
