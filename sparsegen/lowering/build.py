"""Kernels to libraries: a model's to one, each distinct kernel compiled once; or one on its own."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

import tvm
import tvm_ffi

from sparsegen.cpuinfo import available_cores
from sparsegen.dump import NO_DUMP, Dump
from sparsegen.lowering.kernel import Kernel
from sparsegen.lowering.library import emit, link
from sparsegen.lowering.pipeline import generate, lower
from sparsegen.stopwatch import part
from sparsegen.target import Target

_TOGETHER = 3  # kernels an object: LLVM takes as long to begin one as for a small kernel


@dataclass(frozen=True, eq=False)
class Built:
    """Kernels and the symbols of their functions, by layer, and the library that has them: b"" for none."""

    kernels: dict[str, Kernel]
    symbols: dict[str, str]
    library: bytes


def build(kernels: Iterable[tuple[str, Kernel]], target: Target, dump: Dump = NO_DUMP) -> Built:
    """The library of kernels, which come with the names of their layers; equal ones share a function.

    Kernels are compiled on every core while the next ones are made. `dump` tells of each function's code.

    Raises SparsegenError where no linker (gcc) is found, or it fails.
    """
    distinct: dict[Any, str] = {}
    made: dict[str, Kernel] = {}
    symbols: dict[str, str] = {}
    waiting: list[tuple[str, Kernel]] = []
    compiling: list[Future[bytes]] = []
    with _compilers() as pool:

        def compile_waiting() -> None:
            compiling.append(pool.submit(copy_context().run, _compile, tuple(waiting), target, dump))
            waiting.clear()

        for layer, kernel in kernels:
            with part("telling kernels apart"):
                key: Any = (tvm_ffi.StructuralKey(kernel.module), kernel.store, kernel.prefetch)  # type: ignore[call-arg]
                known = len(distinct)
                name = distinct.setdefault(key, f"kernel_{known}")
            if len(distinct) > known:
                waiting.append((name, kernel))
            made[layer], symbols[layer] = kernel, name
            if len(waiting) == (1 if dump.kinds else _TOGETHER):  # what is dumped is a file a kernel
                compile_waiting()
        if waiting:
            compile_waiting()
        objects = [future.result() for future in compiling]
    dump.write("graph", "kernels", lambda: _listing(made, symbols))
    return Built(made, symbols, link(objects) if objects else b"")


@contextmanager
def _compilers() -> Iterator[ThreadPoolExecutor]:
    """A thread a core. Where something fails, or on Ctrl-C, what has not begun is dropped."""
    with ThreadPoolExecutor(available_cores()) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            # LLVM has left the signal so that waiting for a lock or a queue goes on after Ctrl-C.
            signal.siginterrupt(signal.SIGINT, True)


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


def _listing(kernels: Mapping[str, Kernel], symbols: Mapping[str, str]) -> str:
    """A line a layer: its function, kernel, format of weights, and schedule."""
    lines = (
        f"{symbols[layer]:<11} {kernel.kind:<14} {kernel.format:<15} {layer}: "
        f"{kernel.schedule or 'no schedule'}\n"
        for layer, kernel in kernels.items()
    )
    return "".join(lines)
