"""Sparse against dense, measured in turn in one run: rivals, timing, table, picture, JSON.

This module imports neither torch nor TVM, so that a command that measures nothing starts at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sparsegen.compare.report import Comparison

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from sparsegen.database.assign import DatabaseLike
    from sparsegen.progress import Listener
    from sparsegen.pruning.prunable import Model

__all__ = ["Comparison", "compare"]


def compare(
    model: str | Model,
    example_inputs: tuple[Tensor, ...] | None = None,
    *,
    sparsity: float | None = None,
    structure: str = "unstructured",
    batch: int | None = None,
    threads: int | None = None,
    layers: str | None = "*",
    network: bool = True,
    csr: bool = False,
    samples: int = 15,
    target: str = "native",
    input_shape: tuple[int, ...] | None = None,
    database: DatabaseLike = "shipped",
    winograd: bool = True,
    peers: Sequence[str] = (),
    peers_folder: Path | None = None,
    on_progress: Listener | None = None,
) -> Comparison:
    """Prune a model, compile it, and time it against the best engines at hand.

    `model` is a torch module in evaluation mode or an exported program, with `example_inputs`
    (float32 tensors on the CPU; the first dimension of the first is the batch), or else a name:
    one of pytorchcv's, `package.module:factory`, or the path of a `.pt2` file, with `batch` (None: 16, or
    the file's own) and, where the model does not tell it, `input_shape` (one image, such as
    (3, 224, 224)). A model that is passed in is left as it is; a copy is pruned, every convolution but the
    first, the classifier's and the depthwise ones, to `structure` (the texts of
    `sparsegen.pruning.structures.parse_structure`: `unstructured`, `vector:8`, `block:4x2`,
    `column-combined`, `2:4`, `2:4x4`, ...) and `sparsity` (None: what N:M says, else 0.5). A sparsity of 0
    measures the weights as they are.

    Each pruned convolution whose name matches the shell pattern `layers` (None: none) is timed `samples`
    times in turn with its dense rivals (torch NCHW, torch channels_last, our dense kernel, unless it is
    what the layer is compiled to), then, unless `network` is false, the whole network with its own (those
    and `torch.compile`, frozen), all on `threads` threads (None: every core) and checked against torch in
    float64. With `csr`, each layer also meets two sparse rivals, scipy's and torch's product of a CSR
    matrix and the im2col columns: of them only the product is timed, the columns are made beforehand, which
    favours them; scipy's keeps to one thread. Our kernels, sparse and dense, take their schedules from
    `database`, and Winograd's filtering where `winograd` allows, as in `sparsegen.compile`. `peers` are
    engines that the whole network meets too, each in an environment and a process of its own, with the
    model as ONNX: names of folders in `peers_folder` (None: a checkout's `bench/peers`), or `all`. One that
    is not installed, or that fails, is told as absent. `on_progress(text, done, total)` is told of every
    step. What the process had compiled with `torch.compile` before, it compiles anew after a comparison of
    networks.

    Raises ModelError for a model that cannot be loaded or compiled, PruningError for one that cannot be
    pruned so, and OptionError and its kinds for an option; warns where `threads` exceeds the cores.
    """
    # torch and TVM take seconds to import.
    from sparsegen.compare.run import Settings, run

    settings = Settings(
        sparsity=sparsity,
        structure=structure,
        batch=batch,
        threads=threads,
        layers=layers,
        network=network,
        csr=csr,
        samples=samples,
        target=target,
        input_shape=input_shape,
        database=database,
        winograd=winograd,
        peers=tuple(peers),
        peers_folder=peers_folder,
    )
    return run(model, example_inputs, settings=settings, on_progress=on_progress)
