"""Libraries of kernels where files, gcc or the loader fail: an error that says what to do, or another way."""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sparsegen.errors import ToolchainError
from sparsegen.lowering.library import link
from sparsegen.runtime.calls import BoundConversion
from sparsegen.runtime.library import load
from tests.preloaded import run
from tests.runtime.networks import check, compiled_network, example


def compiled_object(folder: Path, name: str, source: str = "") -> bytes:
    """The object of a function that TVM can call and that does nothing."""
    (folder / "kernel.c").write_text(source or f"int __tvm_ffi_{name}(void) {{ return 0; }}")
    command = ["gcc", "-c", "-fPIC", "-o", str(folder / "kernel.o"), str(folder / "kernel.c")]
    subprocess.run(command, check=True)
    return (folder / "kernel.o").read_bytes()


def stand_in_for_gcc(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a script before the real gcc, whose path it is given as GCC."""
    monkeypatch.setenv("GCC", shutil.which("gcc") or "")
    (folder / "gcc").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "gcc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def mappings() -> int:
    return sum(
        "/memfd:sparsegen-kernels" in line for line in Path("/proc/self/maps").read_text().splitlines()
    )


@pytest.fixture(autouse=True, scope="module")
def exported_before() -> None:
    """Torch makes a folder among the temporary ones when it first exports."""
    compiled_network()


def test_no_temporary_folder_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))  # as one that is full or read-only
    for name in ("TMPDIR", "TMP", "TEMP"):
        monkeypatch.setenv(name, str(tmp_path / "file"))
    check(compiled_network(), example())
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file"]


def test_torch_export_cannot_write(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", f"{tempfile.gettempdir()}/torchinductor")

    monkeypatch.setattr(torch.export, "export", refuse)
    with pytest.raises(ToolchainError, match=r"No space left on device.*temporary files go to"):
        compiled_network()


def test_a_limit_of_file_sizes_is_an_error_not_the_end_of_the_process() -> None:
    script = """
import resource
from tests.preloaded import run
from tests.runtime.networks import compiled_network
from sparsegen.errors import ToolchainError
resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))
try:
    compiled_network()
except ToolchainError as error:
    print(error)
"""
    done = run("-c", script)
    assert "files of 512 bytes at most (ulimit -f)" in done.stdout, done.stderr


def test_gcc_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolchainError, match="needs gcc, which is not on the PATH: install it"):
        compiled_network()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo no room >&2; exit 1", "no room; temporary files go to .*MB free: TMPDIR may name another"),
        ("kill -9 $$", "it was ended by signal 9; temporary files go to"),
    ],
)
def test_gcc_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str) -> None:
    stand_in_for_gcc(tmp_path, monkeypatch, script)
    with pytest.raises(ToolchainError, match=f"gcc could not build generated kernels: {reason}"):
        compiled_network()


def test_gcc_fails_and_no_temporary_folder_can_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in_for_gcc(tmp_path, monkeypatch, "exit 1")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gcc"))
    with pytest.raises(ToolchainError, match=r"file cannot be written \(Not a directory\); .*TMPDIR"):
        compiled_network()


def test_a_linker_that_writes_to_folders_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_for_gcc(tmp_path, monkeypatch, 'case "$4" in /proc/*) exit 1;; esac; exec "$GCC" "$@"')
    check(compiled_network(), example())


def test_a_system_that_loads_no_files_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[[str], Any] = ctypes.CDLL

    def refuse(path: str) -> Any:
        if path.startswith("/proc/"):
            raise OSError(f"{path}: failed to map segment from shared object")
        return real(path)

    monkeypatch.setattr("ctypes.CDLL", refuse)
    check(compiled_network(), example())


def test_a_library_that_cannot_be_loaded() -> None:
    with pytest.raises(ToolchainError, match=r"kernels cannot be loaded: .*; temporary files go to"):
        load(b"no library")


def test_a_system_without_files_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "memfd_create", refuse)
    with pytest.raises(ToolchainError, match=r"no file in memory \(memfd_create\).*not implemented"):
        compiled_network()


def test_objects_of_any_length_are_linked_together(tmp_path: Path) -> None:
    objects = [compiled_object(tmp_path, "first"), compiled_object(tmp_path, "second")]
    source = "static int unused(void) {{ return {}; }} int (*kept_{})(void) = unused;"
    objects += [compiled_object(tmp_path, "", source.format(i, i)) for i in range(3)]
    module = load(link(objects)).module
    for name in ("first", "second"):
        assert module.get_function(name)() is None


def test_libraries_are_told_apart_whatever_file_descriptors_they_had(tmp_path: Path) -> None:
    one, two = (load(link([compiled_object(tmp_path, name)])).module for name in ("one", "two"))
    assert [one.implements_function("one"), one.implements_function("two")] == [True, False]
    assert [two.implements_function("one"), two.implements_function("two")] == [False, True]


def test_a_dropped_model_leaves_no_mapping() -> None:
    gc.collect()
    before = mappings()
    for _ in range(20):
        model = compiled_network()
        model(example())
        del model
        assert mappings() == before


def test_a_function_keeps_its_library() -> None:
    gc.collect()
    before = mappings()
    model = compiled_network()
    expected = model(example())
    call = model._contexts.take()[-1]
    assert isinstance(call, BoundConversion)
    slots: list[Any] = [None] * (call.makes + 1)
    del model
    assert mappings() > before
    call.run(slots)
    np.testing.assert_array_equal(slots[call.makes].numpy(), expected.numpy())
    del call
    assert mappings() == before
