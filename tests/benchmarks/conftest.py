"""The fixtures of the browser tests, for what is measured in a browser."""

from tests.browser.conftest import (
    browser_context_args,
    browser_type_launch_args,
    desk,
    log_in,
    page,
    watched,
    worker,
)

__all__ = [
    "browser_context_args",
    "browser_type_launch_args",
    "desk",
    "log_in",
    "page",
    "watched",
    "worker",
]
