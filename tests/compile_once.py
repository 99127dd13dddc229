"""A plugin: kernels that many tests share are compiled once a run, as they are once a model.

Most tests of a kernel run it in a graph of its own, between the kernels that bring the tensors in and out.
Those are the same in hundreds of tests, and were half of what there is to compile.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sparsegen.lowering.kernel import Kernel
    from sparsegen.target import Target


@pytest.fixture(scope="session", autouse=True)
def compile_once() -> Iterator[None]:
    """Keep the objects that `lowering.build` compiles, and give equal kernels the same one."""
    import tvm_ffi  # here, for the process that only hands out the tests needs neither

    from sparsegen.lowering import build

    objects: dict[Any, bytes] = {}
    compile_kernel = build._compile

    def compile_new(name: str, kernel: Kernel, target: Target, folder: Path) -> Path:
        # What `build` tells kernels apart by, and what else decides about the object.
        key: Any = (tvm_ffi.StructuralKey(kernel.module), kernel.store, kernel.prefetch, target, name)  # type: ignore[call-arg]
        if key not in objects:
            objects[key] = compile_kernel(name, kernel, target, folder).read_bytes()
        path = folder / f"{name}.o"
        path.write_bytes(objects[key])
        return path

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "_compile", compile_new)
        yield
