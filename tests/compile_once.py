"""A plugin: kernels that many tests share are compiled once a run, as they are once a model.

Most tests of a kernel run it in a graph of its own, between the kernels that bring the tensors in and out.
Those are the same in hundreds of tests, and were half of what there is to compile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sparsegen.dump import Dump
    from sparsegen.lowering.kernel import Kernel
    from sparsegen.target import Target


@pytest.fixture(scope="session", autouse=True)
def compile_once() -> Iterator[None]:
    """Keep the objects that `lowering.build` compiles, and give equal kernels the same one."""
    from tvm_ffi import StructuralKey  # here, for the process that only hands out the tests needs neither

    from sparsegen.dump import NO_DUMP
    from sparsegen.lowering import build

    objects: dict[Any, bytes] = {}
    compile_kernels = build._compile

    def compile_new(kernels: Sequence[tuple[str, Kernel]], target: Target, dump: Dump = NO_DUMP) -> bytes:
        if dump.kinds:
            return compile_kernels(kernels, target, dump)
        # What `build` tells kernels apart by, and what else decides about the object.
        key: Any = (
            target,
            *((StructuralKey(each.module), each.store, each.prefetch, name) for name, each in kernels),
        )
        if key not in objects:
            objects[key] = compile_kernels(kernels, target)
        return objects[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "_compile", compile_new)
        patch.setattr(build, "_TOGETHER", 1)  # so that each kernel is an object of its own
        yield
