"""Epilogues: the pointwise steps that a kernel applies to its result before it stores it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

from tvm import tirx

from sparsegen.graph import Step
from sparsegen.kernels import activations, logarithms, mathematics, trigonometry
from sparsegen.kernels.operands import Operand, Value, read
from sparsegen.kernels.piecewise import piecewise
from sparsegen.lowering.expressions import Expr, IntExpr

UNARY: dict[str, Callable[..., Expr]] = {
    "relu": lambda v: mathematics.shared(v, lambda x: mathematics.at_least(x, 0.0)),
    "relu6": lambda v: mathematics.clamp(v, 0.0, 6.0),
    "silu": mathematics.silu,
    "gelu": mathematics.gelu,
    "gelu_tanh": mathematics.gelu_tanh,
    "sigmoid": mathematics.sigmoid,
    "tanh": mathematics.tanh,
    "hardswish": mathematics.hard_swish,
    "hardsigmoid": mathematics.hard_sigmoid,
    "leaky_relu": mathematics.leaky_relu,
    "clamp": mathematics.clamp,
    "exp": mathematics.exp,
    "sqrt": tirx.sqrt,
    "neg": lambda v: -v,
    "abs": mathematics.absolute,
    "expm1": mathematics.expm1,
    "log": logarithms.log,
    "log2": logarithms.log2,
    "log10": logarithms.log10,
    "log1p": logarithms.log1p,
    "pow": logarithms.power,
    "square": mathematics.square,
    "cube": mathematics.cube,
    "erf": mathematics.erf,
    "sin": trigonometry.sin,
    "cos": trigonometry.cos,
    "floor": tirx.floor,
    "ceil": tirx.ceil,
    "trunc": tirx.trunc,
    "round": mathematics.nearest,
    "sign": activations.sign,
    "elu": activations.elu,
    "softplus": activations.softplus,
    "log_sigmoid": activations.log_sigmoid,
    "mish": activations.mish,
    "softsign": activations.softsign,
    "hardshrink": activations.hard_shrink,
    "softshrink": activations.soft_shrink,
    "threshold": activations.threshold,
    "piecewise": piecewise,
}
BINARY: dict[str, Callable[[Expr, Expr], Expr]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "maximum": mathematics.maximum,
    "minimum": mathematics.minimum,
}
SELECTIONS: dict[str, Callable[..., Expr]] = {"prelu": activations.prelu, "select": activations.select}


class Epilogue:
    """The steps of a layer with the operands that they read.

    `operands` are the distinct tensors among the steps', in the order of first use; kernels append
    `placeholders` to their parameters and `arguments` to their arguments.
    """

    def __init__(self, steps: Sequence[Step], operands: dict[str, Operand]) -> None:
        self.steps = tuple(steps)
        names = dict.fromkeys(step.operand for step in steps if isinstance(step.operand, str))
        self.operands = {name: operands[name] for name in names}
        self._tensors = {name: operand.placeholder() for name, operand in self.operands.items()}
        self.placeholders = list(self._tensors.values())
        self.arguments = [operand.argument() for operand in self.operands.values()]

    @property
    def identity(self) -> Hashable:
        """All that its code depends on: its operands by their number, not their names and numbers."""
        names = list(self.operands)

        def numbered(step: Step) -> Step:
            given = step.operand
            return replace(step, operand=f"#{names.index(given)}") if isinstance(given, str) else step

        lie = (each.layout if isinstance(each, Value) else each.shape for each in self.operands.values())
        return tuple(map(numbered, self.steps)), tuple(lie)

    def apply(self, value: Expr, group: IntExpr, coordinates: tuple[IntExpr, ...], lane: IntExpr) -> Expr:
        """The steps applied to the result's value at (group, coordinates, lane), each rounded as in torch."""
        for number, step in enumerate(self.steps):
            if number > 0:
                value = mathematics.opaque(value)
            if step.operand is None:
                value = UNARY[step.op](value, *step.parameters)
            else:
                other = (
                    read(self.operands[step.operand], self._tensors[step.operand], group, coordinates, lane)
                    if isinstance(step.operand, str)
                    else mathematics.constant(step.operand)
                )
                if step.op in SELECTIONS:
                    value = SELECTIONS[step.op](value, other, *step.parameters)
                    continue
                sides = (other, value) if step.reverse else (value, other)
                is_added = step.op == "mul" and self._adds_next(number)
                value = (mathematics.rounded_product if is_added else BINARY[step.op])(*sides)
        return value

    def _adds_next(self, number: int) -> bool:
        """Whether the result of a step goes into a sum, as it is or negated."""
        following = (step.op for step in self.steps[number + 1 :] if step.op != "neg")
        return next(following, None) in ("add", "sub")
