"""
Put each mutant into a copy of the project and see that the tests named for it fail.

    python -m tests.mutants                 all of them
    python -m tests.mutants NAME...         only these
    python -m tests.mutants --jobs 1        one after the other

The tree itself is never touched. Exit code 1 if a mutant survived, went stale, or broke the project
so badly that no test could tell.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.table import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("appointments", "portal", "static", "templates", "tests", "manage.py", "pyproject.toml")
"""What the tests need of the project. A copy holds neither data nor settings of this machine."""
UNCHANGED = "unchanged"
PLAIN = ("-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:playwright", "-n", "0")
PATIENCE = 300.0
"""Seconds for the tests of one mutant."""
TESTS_FAILED = 1
"""pytest's exit code for that and nothing else; a file that cannot be imported has another."""


class Stale(Exception):
    """The product has changed under a mutant: its text must be fitted to it again."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    mutant: Mutant
    is_caught: bool
    words: str
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these mutants")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args(arguments)
    known = {one.name for one in MUTANTS}
    if unknown := sorted(set(asked.names) - known):
        parser.error(f"there is no mutant called {', '.join(unknown)}")
    chosen = [one for one in MUTANTS if not asked.names or one.name in asked.names]
    return run(chosen, jobs=asked.jobs)


def run(mutants: Sequence[Mutant], *, jobs: int) -> int:
    stale = [why for one in mutants for why in staleness(one)]
    if stale:
        say("STALE: the product has changed under these mutants; fit their texts to it again.")
        say(*stale)
        return 1
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        if not _passes_unchanged(mutants, Path(scratch)):
            return 1
        with ThreadPoolExecutor(max_workers=max(1, jobs)) as at_once:
            verdicts = []
            for verdict in at_once.map(lambda one: _judge(one, Path(scratch)), mutants):
                verdicts.append(verdict)
                say(_line(verdict))
    survivors = [one.mutant for one in verdicts if not one.is_caught]
    say(f"\n{len(verdicts) - len(survivors)} of {len(verdicts)} mutants caught.")
    for one in survivors:
        say(f"NOT CAUGHT: {one.name}: {one.breaks}")
    return 1 if survivors else 0


def staleness(mutant: Mutant, root: Path = ROOT) -> list[str]:
    """Why *mutant* can no longer be put into the project; empty if it can."""
    complaints = []
    for edit in mutant.edits:
        found = (root / edit.file).read_text(encoding="utf-8").count(edit.find)
        if found != 1:
            text = edit.find.strip().splitlines()[0]
            complaints.append(f"{mutant.name}: {edit.file} holds it {found} times: {text}")
    return complaints


def mutate(mutant: Mutant, root: Path) -> None:
    """
    Put *mutant* into the project at *root*.

    Raises:
        Stale: its text does not occur exactly once; nothing was written.
    """
    if complaints := staleness(mutant, root):
        raise Stale("; ".join(complaints))
    for edit in mutant.edits:
        path = root / edit.file
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(edit.find, edit.replace), encoding="utf-8")


def _passes_unchanged(mutants: Iterable[Mutant], scratch: Path) -> bool:
    """A test that fails anyway catches nothing."""
    started = time.monotonic()
    selection = sorted({test for one in mutants for test in one.caught_by})
    code, output = _test(_unchanged(scratch), selection, patience=3 * PATIENCE)
    if code != 0:
        say("The tests fail without any mutant:", output)
        return False
    say(f"Without a mutant: all pass ({time.monotonic() - started:.0f} s).\n")
    return True


def _judge(mutant: Mutant, scratch: Path) -> Verdict:
    started = time.monotonic()
    root = scratch / mutant.name
    # With its bytecode, which saves a second each; a file that a mutant changes is younger than it.
    shutil.copytree(scratch / UNCHANGED, root)
    mutate(mutant, root)
    code, output = _test(root, mutant.caught_by, patience=PATIENCE)
    shutil.rmtree(root)
    failed = re.search(r"^FAILED (.+?)(?: - |$)", output, re.MULTILINE)
    if code == TESTS_FAILED and failed is not None:
        is_caught, words = True, f"caught by {failed[1]}"
    elif code == 0:
        is_caught, words = False, "SURVIVED"
    else:
        # An error in a fixture or an import says nothing about what the tests assert.
        is_caught, words = False, f"BROKEN: no test could tell\n{output[-2000:]}"
    return Verdict(
        mutant=mutant, is_caught=is_caught, words=words, seconds=time.monotonic() - started
    )


def _unchanged(scratch: Path) -> Path:
    """A copy of the project: whoever edits it meanwhile changes nothing here."""
    to = scratch / UNCHANGED
    to.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, to / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / part, to / part)
    return to


def _test(root: Path, selection: Iterable[str], *, patience: float) -> tuple[int, str]:
    """Exit code and output of pytest in *root*."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=line", *PLAIN, *selection]
    try:
        done = subprocess.run(
            command,
            cwd=root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=patience,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return -1, f"no end after {patience:.0f} s"
    return done.returncode, done.stdout


def _line(verdict: Verdict) -> str:
    return f"{verdict.mutant.name:<42} {verdict.words} ({verdict.seconds:.0f} s)"


def say(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
