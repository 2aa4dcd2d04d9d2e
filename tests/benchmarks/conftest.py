"""The fixtures of the browser tests, for what is measured in a browser."""

from tests.browser.conftest import (
    base_url,
    browser_context_args,
    browser_type_launch_args,
    desk,
    log_in,
    page,
    watched,
    worker,
)

__all__ = [
    "base_url",
    "browser_context_args",
    "browser_type_launch_args",
    "desk",
    "log_in",
    "page",
    "watched",
    "worker",
]
