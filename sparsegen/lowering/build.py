"""Kernels to libraries: a model's to one, each distinct kernel compiled once; or one on its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import tvm
import tvm_ffi

from sparsegen.dump import NO_DUMP, Dump
from sparsegen.lowering.kernel import Kernel
from sparsegen.lowering.library import emit, link, load
from sparsegen.lowering.pipeline import generate, lower
from sparsegen.stopwatch import part
from sparsegen.target import Target, available_cores

_GROUPS = 4  # of kernels a core: LLVM takes as long to begin an object as for a small kernel


def build(kernels: Mapping[str, Kernel], target: Target, dump: Dump = NO_DUMP) -> list[Any]:
    """The compiled function of every kernel, in order; equal kernels share one.

    `kernels` are by the name of their layer, which `dump` tells of each function's code.

    Raises SparsegenError where no linker (gcc) is found, it fails, or the library cannot be loaded.
    """
    distinct: dict[Any, tuple[str, Kernel]] = {}
    names = []
    with part("telling kernels apart"):
        for kernel in kernels.values():
            key: Any = (tvm_ffi.StructuralKey(kernel.module), kernel.store, kernel.prefetch)  # type: ignore[call-arg]
            name, _ = distinct.setdefault(key, (f"kernel_{len(distinct)}", kernel))
            names.append(name)
    dump.write("graph", "kernels", lambda: _listing(kernels, names))
    whole = list(distinct.values())
    # What is dumped is a file a kernel.
    groups = len(whole) if dump.kinds else min(len(whole), _GROUPS * available_cores())
    with ThreadPoolExecutor(available_cores()) as pool:
        compiling = [
            pool.submit(copy_context().run, _compile, whole[i::groups], target, dump) for i in range(groups)
        ]
        objects = [future.result() for future in compiling]
    library = load(link(objects))
    return [library.get_function(name) for name in names]


def build_alone(kernel: Kernel, name: str, target: Target) -> bytes:
    """The shared library of one kernel's function `name`; not loaded.

    Raises SparsegenError where no linker (gcc) is found, or it fails.
    """
    return link([_compile([(name, kernel)], target)])


def _compile(kernels: Sequence[tuple[str, Kernel]], target: Target, dump: Dump = NO_DUMP) -> bytes:
    """One object of some kernels' functions."""
    functions = {name: _lowered(name, kernel) for name, kernel in kernels}
    for name, function in functions.items():
        dump.write("tir", name, function.script)
    generated = generate(tvm.IRModule(functions), target)
    first, *_ = functions
    dump.write("llvm", first, lambda: generated.inspect_source("ll"))
    dump.write("asm", first, lambda: generated.inspect_source("asm"))
    with part("writing objects"):
        return emit(generated)


def _lowered(name: str, kernel: Kernel) -> Any:
    module = lower(kernel.module, kernel.store, kernel.store.shape, kernel.prefetch)
    return module["main"].with_attr("global_symbol", name)


def _listing(kernels: Mapping[str, Kernel], functions: Sequence[str]) -> str:
    """A line a layer: its function, kernel, format of weights, and schedule."""
    lines = (
        f"{function:<11} {kernel.kind:<14} {kernel.format:<15} {layer}: {kernel.schedule or 'no schedule'}\n"
        for (layer, kernel), function in zip(kernels.items(), functions, strict=True)
    )
    return "".join(lines)
