"""All cases of all large sets, in pieces: `make soak` goes on from where the last one stood.

    python -m tests.soak [--minutes N] [--results FOLDER] [OPTION OF PYTEST ...]

Runs `pytest --soak` on one group of tests after the other: those of a folder, or a share of those that take
long. What became of each group is kept in FOLDER/CPU/soak.json as soon as it is over. A group that
passed is not run again until the code changes, or a package that it runs with. `--minutes` starts no group
after so many; Ctrl-C ends the one that runs. Exits with 1 where a group failed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
SHARES = {"tests/frontend": 2, "tests/hetero": 3, "tests/kernels": 6, "tests/test_random_networks.py": 8}
"""Folders, and files apart from their folders, in as many groups as it takes for none to last ten minutes."""
PACKAGES = ("apache-tvm", "apache-tvm-ffi", "torch", "numpy", "hypothesis", "pytest")
_CODE = ("sparsegen/**/*", "schedules/**/*", "tests/**/*", "bench/**/*.py", "pyproject.toml", "README.md")
_BUILT = {".so", ".pyc"}
_FAILED, _INTERRUPTED = 1, 130  # exit statuses


@dataclass(frozen=True)
class Group:
    """Tests that run together: all of the files, or the share K/N of their tests."""

    name: str
    paths: tuple[str, ...]
    share: str | None = None


def groups(root: Path) -> Iterator[Group]:
    """All tests below a folder, each in one group."""
    members: dict[str, list[str]] = {}
    for path in sorted((root / "tests").rglob("test_*.py")):
        file, folder = (str(each.relative_to(root)) for each in (path, path.parent))
        members.setdefault(file if file in SHARES else folder, []).append(file)
    for name, files in members.items():
        count = SHARES.get(name, 0)
        if not count:
            yield Group(name, tuple(files))
        for share in (f"{number}/{count}" for number in range(1, count + 1)):
            yield Group(f"{name} {share}", tuple(files), share)


def versions() -> dict[str, str]:
    """Of what the tests run with."""
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES}


def state_of(root: Path) -> str:
    """A hash of all that decides about what the tests find: the code, and what it runs with."""
    state = hashlib.sha256(json.dumps(versions()).encode())
    for path in sorted({path for pattern in _CODE for path in root.glob(pattern)}):
        if path.is_file() and path.suffix not in _BUILT:
            state.update(f"\n{path.relative_to(root)}\n".encode())
            state.update(path.read_bytes())
    return state.hexdigest()[:16]


def commit_of(root: Path) -> str:
    """The commit that the code is of; "+" after it where some of it is not committed."""

    def git(*arguments: str) -> str:
        told = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
        return told.stdout.strip()

    changed = git("status", "--porcelain", "--", "sparsegen", "tests", "bench/*.py", "pyproject.toml")
    return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


class Soak:
    """The groups below a folder, and the file that keeps what became of them."""

    def __init__(self, root: Path, kept: Path, machine: dict[str, Any]) -> None:
        self.root, self.kept, self.machine = root, kept, machine
        self.state, self.commit = state_of(root), commit_of(root)
        self.groups = {group.name: group for group in groups(root)}
        earlier = json.loads(kept.read_text())["groups"] if kept.exists() else {}
        self.records: dict[str, dict[str, Any]] = {
            name: record for name, record in earlier.items() if name in self.groups
        }

    def now(self, name: str) -> dict[str, Any] | None:
        """What became of a group with the present code; None where that is not known."""
        record = self.records.get(name)
        return record if record is not None and record["state"] == self.state else None

    @property
    def left(self) -> list[str]:
        """The groups that did not run yet."""
        return [name for name in self.groups if self.now(name) is None]

    @property
    def failed(self) -> list[str]:
        """The groups that ran, and did not pass."""
        return [name for name in self.groups if (record := self.now(name)) is not None and record["status"]]

    def run(self, name: str, options: Sequence[str]) -> None:
        """Run a group's tests and keep what became of them; an interrupt is raised when they have ended.

        Raises SystemExit if the code changed meanwhile: nobody knows then what it was that ran.
        """
        group = self.groups[name]
        before, began = _cpu_seconds(), time.monotonic()
        with tempfile.TemporaryDirectory(prefix="sparsegen-soak-") as folder:
            report = Path(folder) / "report.xml"
            command = [sys.executable, "-m", "pytest", "--soak", f"--junitxml={report}", *options]
            if group.share is not None:
                command += ["--share", group.share]
            process = subprocess.Popen([*command, *group.paths], cwd=self.root)
            try:
                status = process.wait()
            except KeyboardInterrupt:  # which it has met, too
                process.wait()
                raise
            counts, failures = read_report(report)
        if state_of(self.root) != self.state:
            raise SystemExit(f"the code changed while {name} ran: run the soak again")
        self.records[name] = {
            "state": self.state,
            "commit": self.commit,
            "date": datetime.now(UTC).date().isoformat(),
            "seconds": round(time.monotonic() - began),
            "cpu_seconds": round(_cpu_seconds() - before),
            "status": status,
            "tests": counts,
            "failures": failures,
        }
        self._keep()

    def _keep(self) -> None:
        from sparsegen.files import write_file

        told = {"machine": self.machine, "versions": versions(), "groups": dict(sorted(self.records.items()))}
        write_file(self.kept, json.dumps(told, indent=1) + "\n")

    def summary(self) -> str:
        """How many groups passed with the present code, which failed, and which are left."""
        failed, left = self.failed, self.left
        passed = len(self.groups) - len(failed) - len(left)
        lines = [
            f"soak of {self.commit}: {passed} of {len(self.groups)} groups passed, {len(failed)} failed, "
            f"{len(left)} left; kept in {self.kept}"
        ]
        for name in failed:
            lines += [f"failed: {name}", *(f"    {test}" for test in self.records[name]["failures"])]
        return "\n".join([*lines, *(f"left: {name}" for name in left)])


def read_report(path: Path) -> tuple[dict[str, int], list[str]]:
    """How many tests ended how, and which failed, by a report of pytest's; none where it wrote none."""
    counts: Counter[str] = Counter()
    failures: list[str] = []
    for case in ElementTree.parse(path).iter("testcase") if path.exists() else ():
        outcomes = {child.tag for child in case} & {"failure", "error", "skipped"}
        outcome = outcomes.pop() if outcomes else "passed"
        counts[outcome] += 1
        if outcome in ("failure", "error"):
            failures.append(f"{case.get('classname')}::{case.get('name')}")
    return dict(counts), sorted(failures)


def _cpu_seconds() -> float:
    """Of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Run the groups that are left; the exit status."""
    from bench.check import RESULTS, family  # here, with the next, for TVM takes seconds to import
    from sparsegen.target import cpu_model, parse_target

    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description=(__doc__ or "").split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no group after so many")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER")
    asked, options = parser.parse_known_args(arguments)
    target = parse_target()
    machine = {"cpu": cpu_model(), "target": target.name, "isa": target.isa, "cores": target.cores}
    kept = asked.results / family() / "soak.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    soak = Soak(root, kept, machine)
    until, interrupted = time.monotonic() + 60 * asked.minutes, False
    todo = [*soak.left, *soak.failed]
    try:
        for number, name in enumerate(todo, 1):
            if time.monotonic() > until:
                break
            print(f"\nsoak, group {number} of {len(todo)} left: {name}", flush=True)
            soak.run(name, options)
    except KeyboardInterrupt:
        interrupted = True
    print(f"\n{soak.summary()}", flush=True)
    return _INTERRUPTED if interrupted else _FAILED if soak.failed else 0


if __name__ == "__main__":
    sys.exit(main())
