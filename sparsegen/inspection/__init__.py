"""What sparsity would buy, layer by layer, without building or running a kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparsegen.inspection.options import InspectOptions
from sparsegen.inspection.report import Inspection, LayerInspection, Totals

if TYPE_CHECKING:
    from torch import Tensor

    from sparsegen.frontend.modules import Model

__all__ = ["InspectOptions", "Inspection", "LayerInspection", "Totals", "inspect"]

_DEFAULTS = InspectOptions()


def inspect(
    model: str | Model,
    example_inputs: tuple[Tensor, ...] | None = None,
    options: InspectOptions = _DEFAULTS,
    **changes: Any,
) -> Inspection:
    """Tell what `compile` would make of every layer with weights, and what that should gain over dense.

    `model` is a torch module in evaluation mode or an exported program, with `example_inputs` (float32
    tensors on the CPU, of which only the shapes matter; the first dimension of the first is the batch),
    or else a name: one of pytorchcv's, `package.module:factory`, or the path of a `.pt2` file, with the
    options `batch` and, where the model does not tell it, `input_shape` (one image, such as (3, 224, 224)).
    The model stays as it is. `options` are explained in `InspectOptions`; `changes` are single ones by their
    names: `inspect("resnet18", batch=1)`.

    For every convolution and linear layer it tells the structure of the zeros, the format and schedule
    that `compile` would choose, and why, the packed weights' size, and the speed-up over sparsegen's
    own dense kernels, Winograd's too, that the analytic model expects. Nothing is measured: `compare` does
    that.

    Raises ModelError for a model that cannot be loaded or compiled, or has no convolution and no linear
    layer, and OptionError and its kinds for an option; warns where `threads` exceeds the cores.
    """
    # torch and TVM take seconds to import.
    from sparsegen.inspection.run import run

    return run(model, example_inputs, options.changed(changes))
