"""A plugin: kernels that many tests share are compiled once a run, as they are once a model.

Most tests of a kernel run it in a graph of its own, between the kernels that bring the tensors in and out.
Those are the same in hundreds of tests, and were half of what there is to compile: each is an object of its
own. The others of a model are one object, for LLVM takes longer to begin another than for a small kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sparsegen.dump import Dump
    from sparsegen.lowering.kernel import Kernel
    from sparsegen.target import Target

_SHARED = ("enter", "leave")  # kinds of kernels
_TOGETHER = 24  # kernels of a model, which may be of so many objects


@pytest.fixture(scope="session", autouse=True)
def compile_once() -> Iterator[None]:
    """Keep the objects that `lowering.build` compiles, and give equal kernels the same one."""
    from tvm_ffi import StructuralKey  # here, for the process that only hands out the tests needs neither

    from sparsegen.dump import NO_DUMP
    from sparsegen.lowering import build

    objects: dict[frozenset[Any], bytes] = {}
    compile_kernels, link = build._compile, build.link

    def compile_new(
        kernels: Sequence[tuple[str, Kernel]], target: Target, dump: Dump = NO_DUMP
    ) -> list[bytes]:
        if dump.kinds:
            return [compile_kernels(kernels, target, dump)]
        # What `build` tells kernels apart by, and what else decides about the object.
        named: dict[Any, tuple[str, Kernel]] = {
            (target, StructuralKey(each.module), each.store, each.prefetch, name): (name, each)
            for name, each in kernels
        }
        alone = [key for key, (_, each) in named.items() if each.kind in _SHARED]
        groups = [frozenset({key}) for key in alone]
        groups += [rest] if (rest := frozenset(named) - frozenset(alone)) else []
        for group in groups:
            if group not in objects:
                objects[group] = compile_kernels([named[key] for key in named if key in group], target)
        return [objects[group] for group in groups]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "_compile", compile_new)
        patch.setattr(build, "link", lambda made: link([each for group in made for each in group]))
        patch.setattr(build, "_TOGETHER", _TOGETHER)
        yield
