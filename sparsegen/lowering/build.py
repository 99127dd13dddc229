"""Kernels to libraries: a model's to one, each distinct kernel compiled once; or one on its own."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import tvm
import tvm_ffi

from sparsegen.lowering.kernel import Kernel
from sparsegen.lowering.library import emit, link, load
from sparsegen.lowering.pipeline import generate, lower
from sparsegen.stopwatch import part
from sparsegen.target import Target, available_cores


def build(kernels: Sequence[Kernel], target: Target) -> list[Any]:
    """The compiled function of every kernel, in order; equal kernels share one.

    Raises SparsegenError where no linker (gcc) is found, it fails, or the library cannot be loaded.
    """
    distinct: dict[Any, tuple[str, Kernel]] = {}
    names = []
    with part("telling kernels apart"):
        for kernel in kernels:
            key: Any = (tvm_ffi.StructuralKey(kernel.module), kernel.store, kernel.prefetch)  # type: ignore[call-arg]
            name, _ = distinct.setdefault(key, (f"kernel_{len(distinct)}", kernel))
            names.append(name)
    with ThreadPoolExecutor(available_cores()) as pool:
        compiling = [
            pool.submit(copy_context().run, _compile, name, kernel, target)
            for name, kernel in distinct.values()
        ]
        objects = [future.result() for future in compiling]
    library = load(link(objects))
    return [library.get_function(name) for name in names]


def build_alone(kernel: Kernel, name: str, target: Target) -> bytes:
    """The shared library of one kernel's function `name`; not loaded.

    Raises SparsegenError where no linker (gcc) is found, or it fails.
    """
    return link([_compile(name, kernel, target)])


def _compile(name: str, kernel: Kernel, target: Target) -> bytes:
    lowered = lower(kernel.module, kernel.store, kernel.store.shape, kernel.prefetch)
    function = lowered["main"].with_attr("global_symbol", name)
    generated = generate(tvm.IRModule({name: function}), target)
    with part("writing objects"):
        return emit(generated)
