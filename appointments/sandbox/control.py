"""
Steer a running sandbox, from a browser or with curl.

    GET  /_control/             the page
    GET  /_control/log.json     the requests that arrived, oldest first
    GET  /_control/state.json   the state of every world
    POST /_control/faults       switch a fault on
    POST /_control/clear        switch all faults off
    POST /_control/policy       change HuskyVoice's rules about cancelling

A POST takes a form or JSON, and answers in kind: with the page, or with JSON. There is no login,
since the server listens on loopback only; but every page that the same browser shows could send a
form here, so what comes from another site is refused, and so is another site's name for loopback.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, get_args
from urllib.parse import parse_qs
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from appointments.sandbox.control_page import page
from appointments.sandbox.core import Answer, Fault, FaultKind, Json, SandboxServer
from appointments.sandbox.huskyvoice import HuskyVoiceWorld

HOME = "/_control/"
KINDS: tuple[FaultKind, ...] = get_args(FaultKind.__value__)
LONGEST = 600.0
"""Seconds that a fault may take."""
BODILESS = (204, 205, 304)
FAULT_FIELDS = frozenset(
    {"provider", "operation", "kind", "times", "seconds", "status", "body", "headers"}
)
POLICY_FIELDS = frozenset({"allow_cancellation", "cancellation_notice_hours", "timezone"})
LOCAL_NAMES = frozenset({"127.0.0.1", "localhost"})


class BadInput(ValueError):
    """What was sent makes no sense. The text says what to mend."""


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """A usual way to misbehave, as one button."""

    label: str
    fault: Mapping[str, Any]


TROUBLES: Mapping[str, Trouble] = MappingProxyType(
    {
        "silent": Trouble(label="Does not answer", fault={"kind": "hang", "seconds": 60.0}),
        "loses": Trouble(
            label="Loses the answer",
            fault={"kind": "lose_answer", "operation": "cancel", "times": 1},
        ),
        "slow": Trouble(label="Is slow (3 s)", fault={"kind": "latency", "seconds": 3.0}),
        "fails": Trouble(
            label="Fails with 500",
            fault={"kind": "status", "status": 500, "body": {"message": "Internal error"}},
        ),
        "busy": Trouble(
            label="Too many requests",
            fault={
                "kind": "status",
                "status": 429,
                "body": {"message": "Too many requests"},
                "headers": {"Retry-After": "10"},
            },
        ),
        "key": Trouble(
            label="Wrong key",
            fault={"kind": "status", "status": 401, "body": {"message": "Unauthorized"}},
        ),
    }
)
"""Each lasts until it is cleared, but for the lost answer, which concerns the next cancel."""


def control(
    server: SandboxServer, method: str, path: str, raw: bytes, *, headers: Mapping[str, str]
) -> Answer:
    """Answer what came to `/` or below `/_control`. *headers*: names in lower case."""
    if method not in ("GET", "POST"):
        return Answer(status=405, body={"message": "Only GET and POST."}, headers={"Allow": "GET"})
    if path in ("/", "/_control"):
        return Answer(status=303, headers={"Location": HOME})
    if not _is_local(headers):
        return Answer(status=403, body={"message": "This comes from another site."})
    if method == "POST":
        return _post(server, path, raw, headers)
    views: Mapping[str, Callable[[SandboxServer], Answer]] = {
        HOME: _page,
        HOME + "log.json": _log,
        HOME + "state.json": _state,
    }
    view = views.get(path)
    return view(server) if view else _nothing_here(path)


def _is_local(headers: Mapping[str, str]) -> bool:
    """Whether a page of our own, or no page at all, sent this; see the module's docstring."""
    host = headers.get("host", "")
    if host.rpartition(":")[0] not in LOCAL_NAMES:
        return False
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return False
    return headers.get("origin", f"http://{host}") == f"http://{host}"


# --- looking ----------------------------------------------------------------------------------


def _page(server: SandboxServer, *, error: str = "", status: int = 200) -> Answer:
    troubles = {name: trouble.label for name, trouble in TROUBLES.items()}
    html = page(server, kinds=KINDS, troubles=troubles, error=error)
    policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'"
    headers = {
        "Content-Security-Policy": f"{policy}; frame-ancestors 'none'",
        "Cache-Control": "no-store",
    }
    return Answer(status=status, body=html, headers=headers)


def _log(server: SandboxServer) -> Answer:
    with server.sandbox.lock:
        entries = [asdict(entry) for entry in server.sandbox.log]
    return Answer(status=200, body={"requests": entries})


def _state(server: SandboxServer) -> Answer:
    """The answer holds text rather than the state itself, which goes on changing."""
    with server.sandbox.lock:
        worlds = {slug: world.state for slug, world in server.sandbox.worlds.items()}
        text = json.dumps(worlds)
    return Answer(status=200, body=text.encode(), headers={"Content-Type": "application/json"})


def _nothing_here(path: str) -> Answer:
    return Answer(status=404, body={"message": f"The sandbox has no {path}"})


# --- changing ---------------------------------------------------------------------------------


def _post(server: SandboxServer, path: str, raw: bytes, headers: Mapping[str, str]) -> Answer:
    actions: Mapping[str, Callable[[SandboxServer, Json], None]] = {
        HOME + "faults": _add_fault,
        HOME + "clear": _clear,
        HOME + "policy": _set_policy,
    }
    action = actions.get(path)
    if action is None:
        return _nothing_here(path)
    in_json = "json" in headers.get("content-type", "")
    try:
        action(server, _fields(raw, in_json=in_json))
    except BadInput as error:
        if in_json:
            return Answer(status=400, body={"message": str(error)})
        return _page(server, error=str(error), status=400)
    if in_json:
        return Answer(status=200, body={"faults": _faults(server)})
    return Answer(status=303, headers={"Location": HOME})


def _fields(raw: bytes, *, in_json: bool) -> Json:
    """What was sent, by name; of a form, only the fields that were filled in."""
    try:
        if in_json:
            sent = json.loads(raw or b"{}")
        else:
            form = parse_qs(raw.decode(), strict_parsing=bool(raw), errors="strict")
            sent = {name: values[-1] for name, values in form.items()}
    except (ValueError, RecursionError) as error:
        raise BadInput("The body is neither a form nor JSON.") from error
    if not isinstance(sent, dict):
        raise BadInput("The body must be an object.")
    return sent


def _faults(server: SandboxServer) -> list[Json]:
    with server.sandbox.lock:
        return [asdict(fault) for fault in server.sandbox.faults]


def _clear(server: SandboxServer, _fields: Json) -> None:
    server.sandbox.clear_faults()


def _add_fault(server: SandboxServer, fields: Json) -> None:
    server.sandbox.add_fault(read_fault(fields, slugs=server.sandbox.worlds))


def read_fault(fields: Json, *, slugs: Mapping[str, object]) -> Fault:
    """
    Shape: {"provider": slug or "*", "trouble": key of TROUBLES}, or {"provider", "operation"?,
    "kind", "times"?: number or null for "until cleared", "seconds"?, "status"?, "body"?,
    "headers"?}; of a form all values are text, and a field left empty is absent.

    Raises:
        BadInput: a value is missing, unknown or out of range.
    """
    if "trouble" in fields:
        return _trouble(fields, slugs=slugs)
    if unknown := sorted(set(fields) - FAULT_FIELDS):
        raise BadInput(f"Unknown field: {', '.join(unknown)}.")
    kind = _one_of(fields, "kind", KINDS)
    status = _number(fields, "status", default=500, least=200, most=599)
    usual = None if status in BODILESS else {"message": "A fault of the sandbox"}
    times = _number(fields, "times", default=math.inf, least=1, most=1_000_000)
    return Fault(
        provider=_provider(fields, slugs=slugs),
        operation=_word(fields, "operation", default="*"),
        kind=kind,
        times=None if math.isinf(times) else int(times),
        seconds=_number(fields, "seconds", default=0, least=0, most=LONGEST),
        status=int(status),
        body=fields.get("body", usual),
        headers=_headers(fields),
    )


def _trouble(fields: Json, *, slugs: Mapping[str, object]) -> Fault:
    if unknown := sorted(set(fields) - {"provider", "trouble"}):
        raise BadInput(f"A trouble takes no {', '.join(unknown)}.")
    trouble = TROUBLES[_one_of(fields, "trouble", tuple(TROUBLES))]
    wanted = {"times": None, **trouble.fault}
    return Fault(provider=_provider(fields, slugs=slugs), **wanted)


def _set_policy(server: SandboxServer, fields: Json) -> None:
    world = server.sandbox.worlds.get(HuskyVoiceWorld.slug)
    if not isinstance(world, HuskyVoiceWorld):
        raise BadInput("This sandbox has no HuskyVoice.")
    if unknown := sorted(set(fields) - POLICY_FIELDS):
        raise BadInput(f"Unknown field: {', '.join(unknown)}.")
    policy = world.state["policy"]
    allow = fields.get("allow_cancellation", policy["allow_cancellation"])
    if allow not in (True, False, "true", "false"):
        raise BadInput("allow_cancellation must be true or false.")
    usual = policy["cancellation_notice_hours"]
    hours = _number(fields, "cancellation_notice_hours", default=usual, least=0, most=8784)
    zone = _zone(_word(fields, "timezone", default=policy["timezone"]))
    with server.sandbox.lock:
        world.set_policy(
            allow_cancellation=allow in (True, "true"),
            cancellation_notice_hours=int(hours) if hours == int(hours) else hours,
            timezone=zone,
        )
        server.sandbox.save()


# --- reading what was sent --------------------------------------------------------------------


def _provider(fields: Json, *, slugs: Mapping[str, object]) -> str:
    return _one_of(fields, "provider", ("*", *slugs))


def _one_of[T: str](fields: Json, name: str, choices: tuple[T, ...]) -> T:
    value = fields.get(name)
    for choice in choices:
        if value == choice:
            return choice
    raise BadInput(f"{name} must be one of {', '.join(choices)}.")


def _word(fields: Json, name: str, *, default: str) -> str:
    value = fields.get(name, default)
    if not isinstance(value, str) or not value.strip() or len(value) > 100:
        raise BadInput(f"{name} must be a short text.")
    return value.strip()


def _number(fields: Json, name: str, *, default: float, least: float, most: float) -> float:
    value = fields.get(name)
    if value is None:
        return default
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not least <= number <= most:
        raise BadInput(f"{name} must be a number from {least:g} to {most:g}.")
    return number


def _headers(fields: Json) -> dict[str, str]:
    value = fields.get("headers", {})
    if not isinstance(value, dict):
        raise BadInput("headers must be an object.")
    pairs = [*value.keys(), *value.values()]
    if not all(isinstance(text, str) and text.isascii() and text.isprintable() for text in pairs):
        raise BadInput("headers must be plain text.")
    return value


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadInput("timezone must be a name such as Asia/Kolkata.") from error
    return name
