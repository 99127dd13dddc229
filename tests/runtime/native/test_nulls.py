"""Functions of sparsegen.h that are given NULL refuse it, and say why."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.runtime.native.building import HERE, INCLUDE, NATIVE, build
from tests.runtime.native.models import call, new, plan, slot, variant, write


def test_every_function_refuses_null(code: bytes, tmp_path: Path) -> None:
    calls = [call("twice", slot(0, [4]), new(1, [4]))]
    file = write(tmp_path / "file", [variant(code, plan(calls, [4], {1: 4}))])
    package = NATIVE / "sparsegen_runtime"
    program = build(
        tmp_path / "nulls",
        HERE / "nulls.c",
        package / "libsparsegen_runtime.so",
        flags=(f"-I{INCLUDE}", f"-Wl,-rpath,{package}"),
    )
    done = subprocess.run([program, file], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
