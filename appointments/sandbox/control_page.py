"""
The sandbox's page: one self-contained document, without script.

Everything in it passes through `escape`: names and texts in the log came from whoever sent them.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from appointments.sandbox.core import Entry, Fault, SandboxServer, World
from appointments.sandbox.huskyvoice import HuskyVoiceWorld

SHOWN = 50
"""Requests and mails on the page, newest first."""
OPERATIONS = (
    "*",
    "list",
    "read",
    "cancel",
    "schedule",
    "reschedule",
    "confirm",
    "availability",
    "policy",
    "services",
)

STYLE = """
:root { color-scheme: light dark; --line: light-dark(#d9dde1, #363b41);
  --soft: light-dark(#5c6670, #9aa4ae); --paper: light-dark(#fff, #16191c);
  --tint: light-dark(#f5f6f8, #1e2226); --accent: light-dark(#0b5cad, #6cb2ff);
  --bad: light-dark(#b3261e, #ff8a80) }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 76rem; padding: 24px; background: var(--paper);
  font: 14px/20px system-ui, sans-serif; font-variant-numeric: tabular-nums }
header { display: flex; flex-wrap: wrap; gap: 4px 16px; align-items: baseline }
h1 { font-size: 22px; line-height: 28px; margin: 0 }
h2 { font-size: 16px; line-height: 24px; margin: 32px 0 8px }
h3 { font-size: 16px; line-height: 24px; margin: 0 }
p { margin: 4px 0 }
.soft { color: var(--soft) }
.error { color: var(--bad); border-left: 3px solid; padding: 8px 12px; margin: 16px 0 }
.worlds { display: grid; gap: 16px;
  grid-template-columns: repeat(auto-fill, minmax(min(30rem, 100%), 1fr)) }
.world { border: 1px solid var(--line); border-radius: 8px; padding: 16px; min-width: 0 }
.counts { display: flex; gap: 24px; margin: 8px 0 }
.counts div { display: flex; flex-direction: column-reverse }
.counts dd { margin: 0; font-size: 22px; line-height: 28px }
.counts dt { color: var(--soft) }
code, pre { font: 12px/16px ui-monospace, monospace }
pre { background: var(--tint); border-radius: 4px; padding: 8px; white-space: pre-wrap;
  overflow-wrap: anywhere; margin: 8px 0 12px }
a { color: var(--accent) }
.row { display: flex; flex-wrap: wrap; gap: 8px; align-items: end; margin: 12px 0 0 }
label { display: flex; flex-direction: column; gap: 4px; color: var(--soft) }
button, input, select { font: inherit; color: CanvasText; background: var(--paper);
  border: 1px solid var(--line); border-radius: 4px; padding: 4px 8px; min-height: 32px }
input { width: 7rem }
button { color: var(--accent); cursor: pointer }
button:hover { border-color: currentColor }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100% }
th { text-align: left; font-weight: 400; color: var(--soft) }
th, td { padding: 6px 16px 6px 0; border-bottom: 1px solid var(--line); white-space: nowrap }
"""


def page(
    server: SandboxServer, *, kinds: Sequence[str], troubles: Mapping[str, str], error: str = ""
) -> str:
    """
    Draw the sandbox as it is now.

    *troubles*: label of each button by the name it sends. *error*: said at the top.
    """
    sandbox = server.sandbox
    with sandbox.lock:
        worlds = "".join(_world(server, world, troubles) for world in sandbox.worlds.values())
        faults = _faults(sandbox.faults)
        log = _log(sandbox.log[: -SHOWN - 1 : -1])
        mails = _mails(sandbox.worlds.values())
        policy = _policy(sandbox.worlds.values())
    alert = f'<p class="error" role="alert">{escape(error)}</p>' if error else ""
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Sandbox</title>
<style>{STYLE}</style>
<header><h1>Sandbox</h1>
<p class="soft">Four providers that reach nobody. State: <a href="/_control/state.json">JSON</a>,
requests: <a href="/_control/log.json">JSON</a>, <a href="/_control/">show anew</a></p></header>
{alert}
<main>
<h2>Providers</h2>
<div class="worlds">{worlds}</div>
<h2>Faults in force</h2>
{faults}
{_fault_form(tuple(sandbox.worlds), kinds)}
{policy}
<h2>Last {SHOWN} requests</h2>
{log}
<h2>Mails that would have been sent</h2>
{mails}
</main>
</html>
"""


def _world(server: SandboxServer, world: World, troubles: Mapping[str, str]) -> str:
    url = server.base_url(world.slug)
    tally = world.tally()
    booked, cancelled = tally if tally is not None else ("?", "?")
    connect = ["manage.py", "connect", world.slug, "--name", world.label, "--base-url", url]
    for name, value in world.credentials.items():
        connect += ["--credential", f"{name}={value}"]
    connect += ["--time-zone", world.time_zone]
    buttons = "".join(
        f'<button name="trouble" value="{escape(name)}">{escape(label)}</button>'
        for name, label in troubles.items()
    )
    return f"""<section class="world">
<h3>{escape(world.label)}</h3>
<p><code>{escape(url)}</code></p>
<dl class="counts">
{_count("bookings", booked)}{_count("cancelled", cancelled)}{_count("mails", len(world.mails))}
</dl>
<pre>{escape(shlex.join(connect))}</pre>
<form method="post" action="/_control/faults" class="row">
<input type="hidden" name="provider" value="{escape(world.slug)}">{buttons}
</form>
</section>"""


def _count(name: str, number: object) -> str:
    return f"<div><dt>{escape(name)}</dt><dd>{escape(str(number))}</dd></div>"


def _faults(faults: Sequence[Fault]) -> str:
    if not faults:
        return '<p class="soft">None: every provider behaves.</p>'
    rows = [
        (
            _named(fault.provider),
            _named(fault.operation),
            fault.kind,
            "until cleared" if fault.times is None else f"{fault.times} more",
            f"{fault.seconds:g} s" if fault.seconds else "",
            fault.status if fault.kind in ("status", "replace", "html") else "",
        )
        for fault in faults
    ]
    table = _table(("Provider", "Operation", "Kind", "How often", "Seconds", "Status"), rows)
    clear = '<form method="post" action="/_control/clear" class="row"><button>Clear all</button>'
    return f"{table}{clear}</form>"


def _named(choice: str) -> str:
    return "all" if choice == "*" else choice


def _fault_form(slugs: Sequence[str], kinds: Sequence[str]) -> str:
    return f"""<form method="post" action="/_control/faults" class="row">
{_select("provider", "Provider", ("*", *slugs))}
{_select("operation", "Operation", OPERATIONS)}
{_select("kind", "Kind", kinds)}
<label>How many requests<input name="times" inputmode="numeric" placeholder="all"></label>
<label>Seconds<input name="seconds" inputmode="decimal" placeholder="0"></label>
<label>Status<input name="status" inputmode="numeric" placeholder="500"></label>
<button>Switch on</button>
</form>"""


def _select(name: str, label: str, choices: Iterable[str], chosen: str = "") -> str:
    options = "".join(
        f'<option value="{escape(choice)}"{" selected" if choice == chosen else ""}>'
        f"{escape(_named(choice))}</option>"
        for choice in choices
    )
    return f'<label>{escape(label)}<select name="{escape(name)}">{options}</select></label>'


def _policy(worlds: Iterable[World]) -> str:
    for world in worlds:
        if isinstance(world, HuskyVoiceWorld):
            policy = world.state["policy"]
            allowed = str(policy["allow_cancellation"]).lower()
            hours = escape(str(policy["cancellation_notice_hours"]))
            return f"""<h2>HuskyVoice's rules about cancelling</h2>
<form method="post" action="/_control/policy" class="row">
{_select("allow_cancellation", "Allowed", ("true", "false"), chosen=allowed)}
<label>Hours of notice<input name="cancellation_notice_hours" value="{hours}"></label>
<button>Change</button>
</form>"""
    return ""


def _log(entries: Sequence[Entry]) -> str:
    if not entries:
        return '<p class="soft">None yet.</p>'
    rows = [
        (
            entry.provider,
            entry.operation,
            f"{entry.line}{_query(entry.query)}",
            "no answer" if entry.status is None else entry.status,
        )
        for entry in entries
    ]
    return _table(("Provider", "Operation", "Request", "Answer"), rows)


def _query(query: Mapping[str, Sequence[str]]) -> str:
    pairs = [f"{name}={value}" for name, values in query.items() for value in values]
    return "?" + "&".join(pairs) if pairs else ""


def _mails(worlds: Iterable[World]) -> str:
    rows = [
        (world.label, mail["to"], mail["what"])
        for world in worlds
        for mail in world.mails[: -SHOWN - 1 : -1]
    ]
    if not rows:
        return '<p class="soft">None yet.</p>'
    return _table(("Provider", "To", "What"), rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'
