"""Teams of the native library's own threads, in a program without Python."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import sparsegen_runtime.library

from tests.runtime.native.building import HERE, SOURCES, build

NATIVE = tuple(SOURCES / f"{name}.c" for name in ("team", "workers", "stages", "halos"))
LIMIT_S = 300  # on a busy machine; a thread that waits for another one in vain waits forever


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of team.c, which may refuse threads."""
    path = tmp_path_factory.mktemp("team") / "team"
    return build(path, HERE / "team.c", *NATIVE, flags=("-Wl,--wrap=pthread_create",))


def run(program: Path, *arguments: str) -> None:
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


@pytest.mark.parametrize("what", ["threads", "fork", "refused"])
def test_teams(program: Path, what: str) -> None:
    run(program, what)


def test_sleeping_workers_outlive_a_closed_library(program: Path) -> None:
    run(program, "close", str(sparsegen_runtime.library.PATH))


@pytest.mark.parametrize("what", ["threads", "refused"])
def test_nothing_races(tmp_path: Path, what: str) -> None:
    flags = ("-Wl,--wrap=pthread_create", "-fsanitize=thread")
    run(build(tmp_path / "team", HERE / "team.c", *NATIVE, flags=flags), what)
