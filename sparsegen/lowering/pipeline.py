"""From a scheduled function to machine code: the order of TVM's passes and ours."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import s_tir, tirx

from sparsegen.lowering.ahead import read_ahead
from sparsegen.lowering.passes import (
    accumulators_to_registers,
    bind_output,
    drop_argument_checks,
    flatten_buffers,
    set_accumulators_apart,
    tighten_masked_loops,
)
from sparsegen.lowering.prefetch import Lines, prefetch_lines
from sparsegen.lowering.runs import fetch_runs
from sparsegen.lowering.shared_values import shared_values_to_registers
from sparsegen.lowering.shuffles import shuffle_lanes
from sparsegen.lowering.store import Store
from sparsegen.lowering.stream import stream_output
from sparsegen.lowering.sums import finish_in_visits
from sparsegen.lowering.unrolling import put_off_unrolling, unroll_put_off
from sparsegen.stopwatch import part
from sparsegen.target import Target


@part("lowering")
def lower(module: Any, store: Store, output: tuple[int, ...], prefetch: Lines | None = None) -> Any:
    """Loops, still readable: blocks gone, the output bound to its flat buffer, masked loops tight.

    `output` is the shape of the output's buffer; `prefetch` tells what to fetch ahead.
    """
    t, x = s_tir.transform, tirx.transform
    passes = [
        t.CanonicalizeLoop(),
        t.LowerInitBlock(),
        t.PlanAndUpdateBufferAllocationLocation(),
        t.ConvertBlocksToOpaque(),
        t.CompactBufferAllocation(),
        t.LowerMatchBuffer(),
        t.StmtSimplify(),
        t.LowerOpaqueBlock(),
        bind_output(store, output),
        finish_in_visits(),
        prefetch_lines(prefetch),
        *flatten_buffers(),
        x.NarrowDataType(32),
        read_ahead(),
        fetch_runs(),
        tighten_masked_loops(),
        x.StmtSimplify(),
    ]
    return tvm.ir.transform.Sequential(passes)(module)


def _vectorised(target: Target) -> Any:
    # Masks and accumulators have constant indices once all loops are unrolled.
    t, x = s_tir.transform, tirx.transform
    passes = [
        put_off_unrolling(),
        x.UnrollLoop(),
        x.StmtSimplify(),
        shuffle_lanes(),
        x.VectorizeLoop(True),
        set_accumulators_apart(),
        x.StorageRewrite(),
        stream_output(target.l3_bytes),
        unroll_put_off(),
        x.UnrollLoop(),
        x.StmtSimplify(),
        accumulators_to_registers(),
        t.RewriteUnsafeSelect(),
        shared_values_to_registers(),
        x.CommonSubexprElim(),
        x.VerifyMemory(),
        x.AnnotateEntryFunc(),
        x.SplitHostDevice(),
        x.MakePackedAPI(),
        drop_argument_checks(),
        s_tir.pipeline.finalize_host_passes(),
    ]
    return tvm.ir.transform.Sequential(passes)


def generate(lowered: Any, target: Target) -> Any:
    """The runtime module of machine code of a lowered module's functions."""
    llvm = target.llvm()
    bound = tirx.transform.BindTarget(llvm.with_host(llvm))(lowered)
    with part("vectorising"):
        vectorised = _vectorised(target)(bound)
    with part("LLVM"):
        return tvm.get_global_func("target.build.llvm")(vectorised, llvm)
