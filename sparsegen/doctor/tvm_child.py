"""Run in a process of its own: asks LLVM what this CPU is, and TVM to do what crashes with some versions."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from sparsegen.doctor.child import tell
from sparsegen.doctor.cpu import Cpu

if TYPE_CHECKING:
    from sparsegen.target import Host


def describe(host: Host, *, disguised: bool = False) -> Cpu:
    """The CPU of a machine as its kernels see it."""
    from sparsegen.errors import TargetError
    from sparsegen.target import native_target  # here, for it takes TVM, which may be missing

    caches = (host.l1_bytes, host.l2_bytes, host.l3_bytes)
    try:
        target = native_target(host)
    except TargetError as error:
        return Cpu(host.model, host.cpu, "", host.hidden, caches, refusal=str(error), disguised=disguised)
    taken = (target.l1_bytes, target.l2_bytes, target.l3_bytes)
    return Cpu(host.model, target.cpu, target.isa, target.without, caches, taken, disguised=disguised)


def main() -> None:
    """Tell the CPU, and then whether TVM survives."""
    # TVM imports torch where there is one, which takes longer than TVM itself and tells nothing here.
    sys.modules["torch"] = None  # type: ignore[assignment]
    import tvm

    from sparsegen.errors import TargetError
    from sparsegen.target import HOST_CPU, read_host, this_host

    try:
        tell(cpu=asdict(describe(this_host(), disguised=HOST_CPU in os.environ)))
    except TargetError as error:  # a name in the environment that is no CPU
        tell(cpu=asdict(Cpu(read_host().model, "", "", refusal=str(error))))
    tvm.ir.save_json(tvm.ir.Range(0, 1))  # apache-tvm-ffi 0.1.15 crashes in it


if __name__ == "__main__":
    main()
