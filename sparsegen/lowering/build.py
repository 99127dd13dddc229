"""Kernels to libraries: a model's to one, each distinct kernel compiled once; or one on its own."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

import tvm
import tvm_ffi

from sparsegen.errors import ToolchainError
from sparsegen.lowering.kernel import Kernel
from sparsegen.lowering.pipeline import generate, lower
from sparsegen.runtime import native
from sparsegen.stopwatch import part
from sparsegen.target import Target, available_cores

_GROUPS = 4  # of kernels a core: LLVM takes as long to begin an object as for a small kernel


def build(kernels: Sequence[Kernel], target: Target) -> list[Any]:
    """The compiled function of every kernel, in order; equal kernels share one.

    Raises SparsegenError where no linker (gcc) is found.
    """
    distinct: dict[Any, tuple[str, Kernel]] = {}
    names = []
    with part("telling kernels apart"):
        for kernel in kernels:
            key: Any = (tvm_ffi.StructuralKey(kernel.module), kernel.store, kernel.prefetch)  # type: ignore[call-arg]
            name, _ = distinct.setdefault(key, (f"kernel_{len(distinct)}", kernel))
            names.append(name)
    with (
        tempfile.TemporaryDirectory(prefix="sparsegen-") as folder,
        ThreadPoolExecutor(available_cores()) as pool,
    ):
        whole = list(distinct.values())
        groups = min(len(whole), _GROUPS * available_cores())
        compiling = [
            pool.submit(copy_context().run, _compile, whole[i::groups], target, Path(folder))
            for i in range(groups)
        ]
        objects = [future.result() for future in compiling]
        library = load(_link(objects, Path(folder) / "kernels.so"))
    return [library.get_function(name) for name in names]


def build_alone(kernel: Kernel, name: str, target: Target, folder: Path) -> Path:
    """The shared library, in `folder`, of one kernel's function `name`; not loaded.

    Raises SparsegenError where no linker (gcc) is found.
    """
    return _link([_compile([(name, kernel)], target, folder)], folder / f"{name}.so")


@part("loading")
def load(path: Path) -> Any:
    """The module of a library of kernels, its parallel loops on torch's threads."""
    library = tvm.runtime.load_module(str(path))
    native.use_torch_threads(ctypes.CDLL(str(path)))
    return library


def _compile(kernels: Sequence[tuple[str, Kernel]], target: Target, folder: Path) -> Path:
    """One object of some kernels' functions."""
    functions = {name: _lowered(name, kernel) for name, kernel in kernels}
    path, generated = folder / f"{kernels[0][0]}.o", generate(tvm.IRModule(functions), target)
    with part("writing objects"):
        generated.write_to_file(str(path), "o")
    return path


def _lowered(name: str, kernel: Kernel) -> Any:
    module = lower(kernel.module, kernel.store, kernel.store.shape, kernel.prefetch)
    return module["main"].with_attr("global_symbol", name)


@part("linking")
def _link(objects: Sequence[Path], path: Path) -> Path:
    command = ["gcc", "-shared", "-fPIC", "-o", str(path), *map(str, objects)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise ToolchainError("linking the generated kernels needs gcc, which is not on the PATH") from None
    except subprocess.CalledProcessError as error:
        raise ToolchainError(f"gcc could not link the generated kernels: {error.stderr.strip()}") from error
    return path
