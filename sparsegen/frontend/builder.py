"""A layer graph under construction, and the place in it where one operator of the model is called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import torch

from sparsegen.errors import ModelError
from sparsegen.frontend.refusals import RefusedCallError, describe_path, describe_tensor
from sparsegen.graph import FLOAT32, Array, CallForm, Core, Identity, Layer, LayerGraph, Shape, Step

NodeValue = str | torch.Tensor
"""What a node of the program stands for: the name of a value of the graph, or a known tensor."""


def to_array(tensor: torch.Tensor) -> Array:
    """The tensor as a float32 array of its own (its memory is not the model's)."""
    return np.array(tensor.detach().to(torch.float32).contiguous().numpy())


def smallest(tensor: torch.Tensor) -> torch.Tensor:
    """The least tensor that broadcasts to `tensor`: one element of a dimension along which it is the same."""
    for dim in range(tensor.dim()):
        first = tensor.narrow(dim, 0, 1)
        if torch.equal(first.expand(tensor.shape), tensor):
            tensor = first
    return tensor.contiguous()


@dataclass
class GraphBuilder:
    """Collects layers and constants and gives each a name of its own."""

    inputs: dict[str, Shape] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    # A constant that several layers read is stored once; the tensor is kept so that its id stays its own.
    stored: dict[int, tuple[torch.Tensor, str]] = field(default_factory=dict)
    parameters: dict[int, str] = field(default_factory=dict)
    input_dtypes: dict[str, str] = field(default_factory=dict)
    # Copies of tensors that torch's operators read, by the tensors' ids; the tensors are kept as well.
    copies: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    def unique(self, name: str) -> str:
        """`name`, with a suffix where it is taken: `relu`, `relu#2`, `relu#3`."""
        candidate, count = name, 1
        while candidate in self.shapes:
            count += 1
            candidate = f"{name}#{count}"
        return candidate

    def add_input(self, name: str, shape: Shape, dtype: str) -> str:
        """Declare an input of the model; returns its name."""
        name = self.unique(name)
        self.inputs[name] = self.shapes[name] = shape
        if dtype != FLOAT32:
            self.input_dtypes[name] = dtype
        return name

    def add_layer(
        self, name: str, core: Core, inputs: tuple[str, ...], shape: Shape, epilogue: tuple[Step, ...] = ()
    ) -> str:
        """Append a layer; returns its name, which is also its value's."""
        name = self.unique(name)
        self.layers.append(Layer(name, core, inputs, shape, epilogue))
        self.shapes[name] = shape
        return name

    def add_constant(self, name: str, tensor: torch.Tensor) -> str:
        """Name of the constant that holds `tensor`: its path in the model, or else `name`."""
        if id(tensor) not in self.stored:
            name = self.unique(self.parameters.get(id(tensor), name))
            self.constants[name] = to_array(tensor)
            self.shapes[name] = tuple(tensor.shape)
            self.stored[id(tensor)] = (tensor, name)
        return self.stored[id(tensor)][1]

    def own(self, tensor: torch.Tensor) -> torch.Tensor:
        """A copy of a known tensor, which later changes of the model leave be; one a tensor."""
        if id(tensor) not in self.copies:
            self.copies[id(tensor)] = (tensor, tensor.detach().clone())
        return self.copies[id(tensor)][1]

    def mark(self) -> tuple[int, ...]:
        """How far the graph is now, for `undo`."""
        return len(self.layers), len(self.constants), len(self.shapes), len(self.stored)

    def undo(self, mark: tuple[int, ...]) -> None:
        """Take away all layers and constants that were added since `mark` was made."""
        layers, *others = mark
        del self.layers[layers:]
        dictionaries: tuple[dict[Any, Any], ...] = (self.constants, self.shapes, self.stored)
        for held, length in zip(dictionaries, others, strict=True):
            while len(held) > length:
                held.popitem()

    def add_unknown(self, name: str, shape: Shape) -> str:
        """Name of a value that nothing computes: it stands in for a refused operator's."""
        name = self.unique(name)
        self.shapes[name] = shape
        return name

    def build(
        self, outputs: tuple[str, ...], known_outputs: dict[int, Any], output_spec: object, call: CallForm
    ) -> LayerGraph:
        """The graph of all that was added, with these values and known results as its outputs."""
        return LayerGraph(
            self.inputs,
            self.layers,
            outputs,
            self.constants,
            output_spec,
            known_outputs,
            self.input_dtypes,
            call,
        )


@dataclass(frozen=True)
class CallSite:
    """One operator's call in the model: where its layers go and how they are named.

    `path` is the module that makes the call ("" for the model itself); `shape` is that of the call's
    (first) result; `broadcasts` tells that every reader of the result broadcasts its operands. `reads` are
    the places of those results, of several, that something reads.
    """

    builder: GraphBuilder
    operator: str
    path: str
    shape: Shape
    broadcasts: bool = False
    reads: frozenset[int] = frozenset()

    @property
    def name(self) -> str:
        """What a layer of this call is called: the module's path, or the operator where that is empty."""
        return self.path or self.operator.split(".")[1]

    def shape_of(self, value: NodeValue) -> Shape:
        """Shape of a value or tensor."""
        return self.builder.shapes[value] if isinstance(value, str) else tuple(value.shape)

    def read(self, value: NodeValue, role: str = "constant") -> str:
        """Name to read `value` by; a known tensor becomes a constant of the graph, named for its role."""
        if isinstance(value, str):
            return value
        return self.builder.add_constant(f"{self.name}.{role}", value)

    def layer(
        self,
        core: Core,
        *inputs: NodeValue,
        shape: Sequence[int] | None = None,
        epilogue: tuple[Step, ...] = (),
    ) -> str:
        """Add a layer of the call's shape, or of `shape`; returns its name."""
        names = tuple(self.read(value) for value in inputs)
        return self.builder.add_layer(
            self.name, core, names, self.shape if shape is None else tuple(shape), epilogue
        )

    def pointwise(self, value: NodeValue, *steps: Step) -> str:
        """Add a layer of steps alone, of `value`'s shape; returns its name."""
        return self.layer(Identity(), value, shape=self.shape_of(value), epilogue=steps)

    def known(self, value: NodeValue, role: str) -> torch.Tensor:
        """`value` as a tensor; refuses the call where the model computes it from its inputs."""
        if isinstance(value, str):
            self.refuse(f"its {role} is computed by the model; only a parameter or constant is supported")
        return value

    def weight(self, value: NodeValue) -> torch.Tensor:
        """`value` as a tensor whose zeros may be skipped; ModelError where it is not finite float32."""
        weight = self.known(value, "weight")
        path = self.builder.parameters.get(id(weight))
        name = (
            describe_tensor(path) if path else f"the weight of {self.operator} in {describe_path(self.path)}"
        )
        if weight.dtype != torch.float32:
            raise ModelError(f"{name} is {weight.dtype}; call model.float()")
        if not torch.isfinite(weight).all():
            raise ModelError(
                f"{name} has NaN or infinite values; the weights of convolutions and linear layers must be "
                f"finite: repair them"
            )
        return weight

    def require_rank(self, value: NodeValue, rank: int) -> None:
        """Refuse the call where `value` has not that many dimensions."""
        if len(self.shape_of(value)) != rank:
            self.refuse(f"its input has shape {self.shape_of(value)}; {rank} dimensions are supported")

    def refuse(self, reason: str) -> NoReturn:
        """Refuse this call: translation goes on, and tells of all refusals at its end."""
        raise RefusedCallError(self.operator, self.path, reason)
