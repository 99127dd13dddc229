"""Layers, and the graph that they make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sparsegen.graph.cores import (
    Array,
    Core,
    PlainCore,
    SeparableConv2d,
    Shape,
)
from sparsegen.graph.dtypes import FLOAT32
from sparsegen.graph.steps import ApproximatedStep, Step


@dataclass(frozen=True, eq=False)
class Layer:
    """One core operator and its epilogue. The layer's value bears the layer's `name`.

    `name` is the path of the module that owns the core operator in the user's model
    (`layer1.0.conv1`), made unique with a suffix (`relu#2`) where a path owns several layers.
    """

    name: str
    core: Core
    inputs: tuple[str, ...]
    shape: Shape
    epilogue: tuple[Step, ...] = ()

    @property
    def dtype(self) -> str:
        """Type of the elements of the layer's value, or "tuple"."""
        return self.core.dtype if isinstance(self.core, PlainCore) else FLOAT32

    def reads(self) -> Iterator[str]:
        """Names of the values and constants that the layer reads, the core's inputs first."""
        yield from self.inputs
        yield from (step.operand for step in self.epilogue if isinstance(step.operand, str))

    def renamed(self, names: Mapping[str, str]) -> Layer:
        """The layer, reading the values that have a new name in `names` by that."""
        epilogue = tuple(
            replace(step, operand=names.get(step.operand, step.operand))
            if isinstance(step.operand, str)
            else step
            for step in self.epilogue
        )
        return replace(self, inputs=tuple(names.get(name, name) for name in self.inputs), epilogue=epilogue)


def apart(layer: Layer) -> tuple[Layer, Layer]:
    """The depthwise and the pointwise layer that one of a SeparableConv2d stands for."""
    core = layer.core
    assert isinstance(core, SeparableConv2d)
    between = (layer.shape[0], len(core.depthwise.weight), *layer.shape[2:])
    depthwise = Layer(core.fused, core.depthwise, layer.inputs, between, core.steps)
    return depthwise, replace(layer, core=core.pointwise, inputs=(core.fused,))


def approximated_steps(layer: Layer) -> tuple[ApproximatedStep, ...]:
    """What became of the functions in a layer's epilogue that may be approximated, in their order."""
    return tuple(step.approximated for step in layer.epilogue if step.approximated is not None)


@dataclass(frozen=True, eq=False)
class CallForm:
    """How a model is called: with positional and keyword arguments, that pytrees of leaves make up.

    `spec` is the pytree spec of all leaves, of (positional, by keyword). `names` are those of the arguments,
    the `positional` ones first; "" for one that cannot be given by name. `leaves` names every leaf; `fixed`
    are those that are no tensors, by their place: each is what the model was compiled with.
    """

    spec: Any
    names: tuple[str, ...]
    positional: int
    leaves: tuple[str, ...]
    fixed: Mapping[int, Any]

    @property
    def is_flat(self) -> bool:
        """Whether every argument is a tensor by position."""
        return len(self.names) == self.positional == len(self.leaves) and not self.fixed


@dataclass(eq=False)
class LayerGraph:
    """Layers in an order that runs; `outputs` names values, `output_spec` rebuilds torch's structure.

    `output_spec` is the pytree spec of the model's result; None stands for a single tensor. `known_outputs`
    are results that do not depend on the inputs, by their position among all: torch's tensors, of any dtype,
    numbers, None. `outputs` are the others, in order. `input_dtypes` are the types of the inputs that are not
    float32. `call` tells how the inputs are given; None: all by position.
    """

    inputs: dict[str, Shape]
    layers: list[Layer]
    outputs: tuple[str, ...]
    constants: dict[str, Array] = field(default_factory=dict)
    output_spec: Any = None
    known_outputs: dict[int, Any] = field(default_factory=dict)
    input_dtypes: dict[str, str] = field(default_factory=dict)
    call: CallForm | None = None

    def input_dtype(self, name: str) -> str:
        """Type of an input's elements."""
        return self.input_dtypes.get(name, FLOAT32)

    def shapes(self) -> dict[str, Shape]:
        """Shape of every value and constant, by name."""
        return {
            **self.inputs,
            **{layer.name: layer.shape for layer in self.layers},
            **{name: array.shape for name, array in self.constants.items()},
        }
