"""Tokens as pixels: where a model keeps the features of tokens last, they go first, as channels do.

A sequence [N, S, C] becomes an image [N, C, 1, S] of one row, whose pixels are the tokens: linear layers
become 1x1 convolutions, whose kernels skip zeros with vectors of pixels and of images alike; layer norm
and softmax reduce channels, across the vectors; and the heads of an attention, [N, S, H, D] and then
[N, H, S, D], are both [N, H, D, S], so that nothing is transposed from one linear layer to the next.
What has no such form is computed as it was, between two transpositions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from sparsegen.frontend.simplify import merge_reshapes, remove_unread
from sparsegen.graph import (
    Array,
    Conv2d,
    Core,
    Identity,
    Layer,
    LayerGraph,
    LayerNorm,
    Linear,
    MatMul,
    Permute,
    Recurrent,
    Reshape,
    Shape,
    Slice,
    Softmax,
    Step,
)

_LEAST_TOKENS = 8  # lanes of the shortest vector: fewer tokens would leave most of one empty
_FEW_KEPT = 0.25  # share of weights up to which skipping zeros pays for two transpositions


def tokens_to_pixels(graph: LayerGraph) -> LayerGraph:
    """Linear layers on [N, S, C], and what lies between them, on images whose pixels are the tokens.

    Inputs and outputs stay as they are. Layers keep their names.
    """
    rewriting = _Rewriting(graph, graph.shapes())
    for layer in graph.layers:
        rewriting.add(layer)
    outputs = tuple(map(rewriting.plain, graph.outputs))
    constants = {**graph.constants, **rewriting.constants}
    moved = replace(graph, layers=rewriting.layers, outputs=outputs, constants=constants)
    return remove_unread(merge_reshapes(moved))


@dataclass(frozen=True)
class _Form:
    """A value with its tokens last: `name` in the new graph; dimension `axis` of the value are the tokens.

    The other dimensions stay in their order. A value of three dimensions has a fourth, of extent 1,
    before the tokens.
    """

    name: str
    axis: int


def _order(rank: int, axis: int) -> tuple[int, ...]:
    return *(dim for dim in range(rank) if dim != axis), axis


def _place(dim: int, rank: int, axis: int) -> int:
    """Where a dimension of a value is in its form."""
    at = _order(rank, axis).index(dim)
    return at + 1 if rank == 3 and dim == axis else at


def _shape(shape: Shape, axis: int) -> Shape:
    """Shape of the form of a value of a shape."""
    *before, tokens = (shape[dim] for dim in _order(len(shape), axis))
    return (*before, *([1] if len(shape) == 3 else []), tokens)


@dataclass
class _Rewriting:
    """The new graph under construction.

    `forms` are the values that have their tokens last, `plains` those as they were, by their name in the old
    graph.
    """

    graph: LayerGraph
    shapes: dict[str, Shape]
    layers: list[Layer] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    forms: dict[str, _Form] = field(default_factory=dict)
    plains: dict[str, str] = field(default_factory=dict)
    new_shapes: dict[str, Shape] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = (*self.graph.inputs, *self.graph.constants)
        self.plains.update((name, name) for name in given)
        self.new_shapes.update((name, self.shapes[name]) for name in given)
        self.recurring = {layer.inputs[0] for layer in self.graph.layers if isinstance(layer.core, Recurrent)}

    def add(self, layer: Layer) -> None:
        """Take over a layer of the old graph, in a form if it has one."""
        form = self._formed(layer)
        if form is not None:
            self.forms[layer.name] = form
            return
        steps = tuple(
            replace(step, operand=self.plain(step.operand)) if isinstance(step.operand, str) else step
            for step in layer.epilogue
        )
        inputs = tuple(map(self.plain, layer.inputs))
        self.plains[layer.name] = self._layer(layer.name, layer.core, layer.shape, *inputs, epilogue=steps)

    def plain(self, name: str) -> str:
        """A value as it was: where there is its form alone, transposed back."""
        if name not in self.plains:
            shape, form = self.shapes[name], self.forms[name]
            order = _order(len(shape), form.axis)
            ordered = tuple(shape[dim] for dim in order)
            source = self._layer(f"{name}#tokens last", Reshape(), ordered, form.name)
            back = tuple(order.index(dim) for dim in range(len(shape)))
            self.plains[name] = self._layer(f"{name}#plain", Permute(back), shape, source)
        return self.plains[name]

    def form(self, name: str, axis: int) -> str:
        """A value with `axis` last, transposed where it is not so yet."""
        if name not in self.forms or self.forms[name].axis != axis:
            shape = self.shapes[name]
            order = _order(len(shape), axis)
            ordered = tuple(shape[dim] for dim in order)
            source = self._layer(f"{name}#axis {axis} last", Permute(order), ordered, self.plain(name))
            image = self._layer(f"{name}#tokens {axis}", Reshape(), _shape(shape, axis), source)
            self.forms[name] = _Form(image, axis)
        return self.forms[name].name

    def _layer(
        self, name: str, core: Core, shape: Shape, *inputs: str, epilogue: tuple[Step, ...] = ()
    ) -> str:
        """Append a layer, unless it changes nothing; returns its value's name."""
        if not epilogue and self._changes_nothing(core, shape, inputs[0]):
            return inputs[0]
        self.layers.append(Layer(name, core, inputs, shape, epilogue))
        self.new_shapes[name] = shape
        return name

    def _changes_nothing(self, core: Core, shape: Shape, source: str) -> bool:
        if isinstance(core, Permute):
            return core.dims == tuple(range(len(shape)))
        return isinstance(core, Reshape) and self.new_shapes[source] == shape

    def _formed(self, layer: Layer) -> _Form | None:
        """The form of a layer's value, its layers added; None for a layer without one."""
        match layer.core:
            case Linear():
                return self._linear(layer)
            case MatMul():
                return self._product(layer)
        form = self.forms.get(layer.inputs[0])
        if form is None:
            return None
        match layer.core:
            case Reshape():
                return self._reshaped(layer, form)
            case Permute(dims):
                return self._permuted(layer, form, dims)
            case Slice():
                return self._sliced(layer, form)
            case Identity() | LayerNorm() | Softmax() if self.shapes[layer.inputs[0]] == layer.shape:
                return self._same_shape(layer, form)
            case _:
                return None

    def _linear(self, layer: Layer) -> _Form | None:
        core = layer.core
        assert isinstance(core, Linear)
        if len(layer.shape) != 3 or layer.shape[1] < _LEAST_TOKENS:
            return None
        if layer.name in self.recurring and np.count_nonzero(core.weight) > _FEW_KEPT * core.weight.size:
            return None  # its reader has features last, and so has what it reads
        steps = self._steps(layer, 1)
        if steps is None:
            return None
        conv = Conv2d(core.weight[:, :, None, None], core.bias)
        source = self.form(layer.inputs[0], 1)
        return _Form(self._layer(layer.name, conv, _shape(layer.shape, 1), source, epilogue=steps), 1)

    def _product(self, layer: Layer) -> _Form | None:
        """The transposed product: of the second matrix transposed by the first transposed, tokens last."""
        core, (left, right) = layer.core, layer.inputs
        assert isinstance(core, MatMul)
        rows, summed = 3 if core.transpose_a else 2, 3 if core.transpose_b else 2
        axes = {name: self.forms[name].axis for name in layer.inputs if name in self.forms}
        if {len(self.shapes[name]) for name in layer.inputs} != {4} or not axes:
            return None
        if axes.get(left, rows) != rows or axes.get(right, summed) < 2:
            return None  # the tokens of the first are summed over, or those of the second are no matrix's
        steps = self._steps(layer, 2)
        if steps is None:
            return None
        axis = axes.get(right, summed)
        inputs = self.form(right, axis), self.form(left, rows)
        product, shape = MatMul(transpose_a=axis != summed), _shape(layer.shape, 2)
        return _Form(self._layer(layer.name, product, shape, *inputs, epilogue=steps), 2)

    def _same_shape(self, layer: Layer, form: _Form) -> _Form | None:
        """A pointwise layer, or one that reduces dimensions, wherever these are in the form."""
        steps = self._steps(layer, form.axis)
        if steps is None:
            return None
        rank, core = len(layer.shape), layer.core
        if isinstance(core, LayerNorm):
            core = replace(core, dims=tuple(sorted(_place(dim, rank, form.axis) for dim in core.dims)))
        elif isinstance(core, Softmax):
            core = replace(core, dim=_place(core.dim, rank, form.axis))
        shape = _shape(layer.shape, form.axis)
        return _Form(self._layer(layer.name, core, shape, form.name, epilogue=steps), form.axis)

    def _reshaped(self, layer: Layer, form: _Form) -> _Form | None:
        """A reshape that splits or joins dimensions before the tokens' and after them, not the tokens'."""
        source, shape = self.shapes[layer.inputs[0]], layer.shape
        if layer.epilogue or len(shape) not in (3, 4) or shape[0] != source[0]:
            return None
        for axis in range(1, len(shape)):
            if shape[axis] == source[form.axis] and prod(shape[:axis]) == prod(source[: form.axis]):
                return _Form(self._layer(layer.name, Reshape(), _shape(shape, axis), form.name), axis)
        return None

    def _permuted(self, layer: Layer, form: _Form, dims: Sequence[int]) -> _Form | None:
        """A permutation that moves the tokens alone: the form is the same."""
        rest = [dim for dim in dims if dim != form.axis]
        if layer.epilogue or len(dims) not in (3, 4) or rest != sorted(rest) or dims[0] != 0:
            return None
        return _Form(form.name, dims.index(form.axis))

    def _sliced(self, layer: Layer, form: _Form) -> _Form | None:
        """A slice of features, wherever they are in the form; of tokens few are left to transpose."""
        core, rank = layer.core, len(layer.shape)
        assert isinstance(core, Slice)
        if layer.epilogue or rank not in (3, 4) or core.dim in (0, form.axis):
            return None
        sliced, shape = replace(core, dim=_place(core.dim, rank, form.axis)), _shape(layer.shape, form.axis)
        return _Form(self._layer(layer.name, sliced, shape, form.name), form.axis)

    def _steps(self, layer: Layer, axis: int) -> tuple[Step, ...] | None:
        """The layer's epilogue on its form; None where an operand has none."""
        rank, names = len(layer.shape), [s.operand for s in layer.epilogue if isinstance(s.operand, str)]
        if rank not in (3, 4) or any(
            name not in self.graph.constants and len(self.shapes[name]) != rank for name in names
        ):
            return None
        return tuple(
            replace(step, operand=self._operand(step.operand, rank, axis))
            if isinstance(step.operand, str)
            else step
            for step in layer.epilogue
        )

    def _operand(self, name: str, rank: int, axis: int) -> str:
        """An epilogue's operand, moved as the value that it is broadcast into."""
        if name not in self.graph.constants:
            return self.form(name, axis)
        array = self.graph.constants[name]
        aligned = array.reshape((1,) * (rank - array.ndim) + array.shape)
        moved = np.ascontiguousarray(aligned.transpose(_order(rank, axis)))
        shape = _shape(aligned.shape, axis)
        found = f"{name}#tokens {axis} of {rank}"
        self.constants[found] = moved.reshape(shape)
        return found
