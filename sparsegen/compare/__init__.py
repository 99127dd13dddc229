"""Sparse against dense, measured in turn in one run: rivals, timing, table, picture, JSON.

This module imports neither torch nor TVM, so that a command that measures nothing starts at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparsegen.compare.options import CompareOptions
from sparsegen.compare.report import Comparison

if TYPE_CHECKING:
    from torch import Tensor

    from sparsegen.progress import Listener
    from sparsegen.pruning.prunable import Model

__all__ = ["CompareOptions", "Comparison", "compare"]

_DEFAULTS = CompareOptions()


def compare(
    model: str | Model,
    example_inputs: tuple[Tensor, ...] | None = None,
    options: CompareOptions = _DEFAULTS,
    *,
    on_progress: Listener | None = None,
    **changes: Any,
) -> Comparison:
    """Prune a model, compile it, and time it against the best engines at hand.

    `model` is a torch module in evaluation mode or an exported program, with `example_inputs`
    (float32 tensors on the CPU; the first dimension of the first is the batch), or else a name:
    one of pytorchcv's, `package.module:factory`, or the path of a `.pt2` file, with the options `batch` and,
    where the model does not tell it, `input_shape` (one image, such as (3, 224, 224)). A model
    that is passed in is left as it is; a copy is pruned, every convolution but the first, the
    classifier's and the depthwise ones.

    `options` are explained in `CompareOptions`; `changes` are single ones by their names:
    `compare("resnet18", sparsity=0.8, batch=1)`.

    Each pruned convolution is timed in turn with its dense rivals (torch NCHW, torch channels_last, our dense
    kernel, Winograd's too), then the whole network with its own (those and `torch.compile`, frozen), all on
    the same number of threads and checked against torch in float64. Where a layer is compiled to a dense
    kernel, that is our dense rival itself: it is timed once, and what the zeros buy is exactly nothing. Of
    CSR rivals only the product is timed, the columns are made beforehand, which favours them; scipy's keeps
    to one thread. Peers run in environments and processes of their own, with the model as ONNX; one that is
    not installed, or that fails, is told as absent. An `artefact` is timed on the network beside what it is
    compiled to now, and is no rival: speed-ups are over others. `on_progress(text, done, total)` is told of
    every step. What the process had compiled with `torch.compile` before, it compiles anew after a comparison
    of networks.

    Raises ModelError for a model that cannot be loaded or compiled, PruningError for one that cannot be
    pruned so, OptionError and its kinds for an option, an artefact of another model, batch or threads among
    them, and for an artefact what `sparsegen.load` raises; warns where the threads exceed the cores, and of
    what makes times doubtful: other work on the machine, a clock that varies. `warnings` of the result keeps
    those, and tells of times that vary among themselves.
    """
    # torch and TVM take seconds to import.
    from sparsegen.compare.run import run

    return run(model, example_inputs, options.changed(changes), on_progress=on_progress)
