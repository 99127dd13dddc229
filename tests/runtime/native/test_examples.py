"""The examples in C and C++, built as users build them, on models that sparsegen compiled."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sparsegen_runtime.library import PATH
from torch import nn

import sparsegen
from tests.runtime.native.artefacts import of_program
from tests.runtime.native.building import INCLUDE, NATIVE, build_with_runtime
from tests.runtime.native.models import write

EXAMPLES = NATIVE / "examples"


class Branches(nn.Module):
    """A network with a halo, branches, a depthwise layer, and two results."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.wide, self.narrow = nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 16, 1)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.last = nn.Linear(48, 10)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.relu(self.first(images))
        x = torch.cat([torch.relu(self.wide(x)), self.narrow(x), self.depthwise(x)], 1)
        x = x.mean((2, 3))
        return torch.softmax(self.last(x), 1), x


@pytest.fixture(scope="module", params=[1, 2])
def compiled(request: pytest.FixtureRequest) -> Any:
    """The network, half of its weights zero, for an AVX2 machine."""
    torch.manual_seed(0)
    model = Branches().eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data[torch.rand_like(parameter) < 0.5] = 0
    image = torch.randn(1, 3, 16, 16)
    return sparsegen.compile(model, (image,), target="haswell", threads=request.param), image


@pytest.fixture(scope="module")
def file(compiled: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network's artefact."""
    one, sections = of_program(compiled[0].program, features=["avx2", "fma"])
    return write(tmp_path_factory.mktemp("model") / "m.sparsegen", [one], sections)


def built(compiler: str, source: Path, output: Path) -> Path:
    """An example, by pkg-config; a warning is an error."""
    folder = PATH.parent / "pkgconfig"
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "sparsegen"],
        env={**os.environ, "PKG_CONFIG_PATH": str(folder)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    command = [
        compiler,
        "-std=c11" if compiler == "gcc" else "-std=c++17",  # as the examples tell
        "-O2",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-pedantic",
        str(source),
        "-o",
        str(output),
        *flags,
        "-pthread",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return output


def same_as_python(program: list[str | Path], compiled: Any, folder: Path) -> None:
    """Asserts that a program that is run.c gives what Python gives, bit for bit."""
    model, image = compiled
    image.numpy().tofile(folder / "image.bin")
    done = subprocess.run([*program, "image.bin"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "float32 [1, 3, 16, 16]" in done.stdout
    assert "output 'output 1': float32 [1, 48]" in done.stdout
    for number, expected in enumerate(model(image)):
        found = np.fromfile(folder / f"output{number}.bin", np.float32).reshape(expected.shape)
        np.testing.assert_array_equal(found, expected.numpy())


@pytest.mark.skipif(shutil.which("pkg-config") is None, reason="pkg-config is not installed")
def test_the_c_example_gives_what_python_gives(compiled: Any, file: Path, tmp_path: Path) -> None:
    program = built("gcc", EXAMPLES / "run.c", tmp_path / "run")
    same_as_python([program, file], compiled, tmp_path)
    done = subprocess.run([program, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"{tmp_path}: this is no regular file; give one that sparsegen wrote\n"
    for arguments, message in [
        ([file, "more.bin"], "more.bin does not have exactly the 3072 bytes that the input takes\n"),
        ([file, "less.bin"], "less.bin does not have exactly the 3072 bytes that the input takes\n"),
        ([file, "none.bin"], "none.bin: No such file or directory\n"),
        ([file, "image.bin", "image.bin"], f"{file} takes 1 inputs, 2 files were given\n"),
    ]:
        image = (tmp_path / "image.bin").read_bytes()
        (tmp_path / "more.bin").write_bytes(image + b"x")
        (tmp_path / "less.bin").write_bytes(image[:-1])
        done = subprocess.run(
            [program, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert (done.returncode > 0, done.stderr) == (True, message)


@pytest.mark.skipif(shutil.which("pkg-config") is None, reason="pkg-config is not installed")
def test_the_cpp_example_runs_threads(file: Path, tmp_path: Path) -> None:
    program = built("g++", EXAMPLES / "threads.cpp", tmp_path / "threads")
    done = subprocess.run([program, file, "3", "20"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "on 3 threads, the same result in all" in done.stdout
    failed = subprocess.run([program, "none"], capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith("none: the file cannot be opened")
    for wrong in ("0", "-1", "two", "2x", "", "99999999999"):
        failed = subprocess.run([program, file, wrong], capture_output=True, text=True, check=False)
        assert failed.returncode == 1
        assert failed.stderr == f"'{wrong}' is no number of threads or runs; give 1 or more\n"


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """run.c, with the runtime and all that it needs in one file."""
    return build_with_runtime(
        tmp_path_factory.mktemp("static") / "run", EXAMPLES / "run.c", flags=("-static",)
    )


def test_the_example_runs_in_an_empty_root(compiled: Any, file: Path, static: Path, tmp_path: Path) -> None:
    shutil.copy(static, tmp_path / "run")
    shutil.copy(file, tmp_path / "m")
    enter = ["unshare", "--map-root-user", "chroot", str(tmp_path)]
    if subprocess.run([*enter, "/run"], capture_output=True, check=False).returncode != 2:  # its usage
        pytest.skip("this system lets nobody but root change roots")
    same_as_python([*enter, "/run", "/m"], compiled, tmp_path)


@pytest.mark.parametrize(
    ("compiler", "standard"), [("gcc", "c89"), ("gcc", "c17"), ("g++", "c++98"), ("g++", "c++20")]
)
def test_the_header_takes_any_standard(tmp_path: Path, compiler: str, standard: str) -> None:
    source = tmp_path / ("a.c" if compiler == "gcc" else "a.cpp")
    source.write_text("#include <sparsegen.h>\nint main(void) { return sparsegen_version() == 0; }\n")
    command = [
        compiler,
        f"-std={standard}",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-fsyntax-only",
        f"-I{INCLUDE}",
        str(source),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_header_s_example_compiles(tmp_path: Path) -> None:
    comment = (INCLUDE / "sparsegen.h").read_text().partition("*/")[0]
    lines = [line[7:] for line in comment.splitlines() if line.startswith(" *     ")]
    source = tmp_path / "a.c"
    source.write_text("\n".join(lines))
    command = ["gcc", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{INCLUDE}", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "sparsegen_run" in source.read_text()


def test_versions_agree() -> None:
    header = (INCLUDE / "sparsegen.h").read_text()
    wanted = re.search(r'^version = "(.*)"', (NATIVE / "pyproject.toml").read_text(), re.MULTILINE)
    assert wanted is not None
    assert f'#define SPARSEGEN_VERSION "{wanted[1]}"' in header
    assert f"\nVersion: {wanted[1]}\n" in (PATH.parent / "pkgconfig" / "sparsegen.pc").read_text()
