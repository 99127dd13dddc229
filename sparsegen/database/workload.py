"""What a schedule is found for: a layer's operator, shapes and sparsity, and the machine that runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

import numpy as np

from sparsegen.formats.detect import detect
from sparsegen.formats.structure_names import DENSE, current_name
from sparsegen.graph import AdaptivePool2d, Conv2d, Layer, Linear, Pool2d, SeparableConv2d, Shape
from sparsegen.target import Target, cpu_model

Parameters = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Workload:
    """A layer as far as its best schedule depends on it; layers of one workload share a schedule.

    `parameters` are the operator's own, as (name, value); `lanes` are "batch" or "pixels"; `density`
    is the share of weights that are not zero, to two digits; `structure` that of the zeros. Operators
    without weights are "dense". Epilogues are left out: they hardly move the best schedule.
    """

    operator: str
    input: Shape
    output: Shape
    parameters: Parameters
    lanes: str
    structure: str
    density: float

    def as_dict(self) -> dict[str, Any]:
        """As a JSON object."""
        return {**asdict(self), "parameters": dict(self.parameters)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Workload:
        """From `as_dict`'s object, tuples having become lists; earlier names of structures become today's.

        Raises KeyError where a field is missing; TypeError, ValueError or AttributeError for what no
        field can be.
        """
        density = float(fields["density"])
        if not 0 <= density <= 1:
            raise ValueError(f"the density is {density}, not between 0 and 1")
        return cls(
            operator=str(fields["operator"]),
            input=tuple(map(int, fields["input"])),
            output=tuple(map(int, fields["output"])),
            parameters=tuple((name, _frozen(value)) for name, value in fields["parameters"].items()),
            lanes=str(fields["lanes"]),
            structure=current_name(str(fields["structure"])),
            density=density,
        )

    def same_operator(self, other: Workload) -> bool:
        """Whether the two differ in their sparsity at most."""
        return self.geometry == other.geometry

    @property
    def geometry(self) -> tuple[Any, ...]:
        """Everything but the sparsity."""
        return self.operator, self.input, self.output, self.parameters, self.lanes


@dataclass(frozen=True)
class Setting:
    """Where schedules are measured. `cpu` is LLVM's name, which stands for a family; `machine` the model."""

    cpu: str
    isa: str
    threads: int
    machine: str
    sparsegen: str
    tvm: str

    def as_dict(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Setting:
        """From `as_dict`'s object. Raises TypeError for fields that are missing, unknown, or no setting's."""
        setting = cls(**fields)
        if not all(isinstance(value, str | int) for value in asdict(setting).values()):
            raise TypeError(f"{dict(fields)} is no setting")
        return setting

    def same_family(self, other: Setting) -> bool:
        """Whether code and threads are the same, whatever the model and the versions."""
        return (self.cpu, self.isa, self.threads) == (other.cpu, other.isa, other.threads)


def setting_here(target: Target, threads: int) -> Setting:
    """The setting of this machine and these versions."""
    return Setting(
        cpu=target.cpu,
        isa=target.isa,
        threads=threads,
        machine=cpu_model(),
        sparsegen=metadata.version("sparsegen"),
        tvm=metadata.version("apache-tvm"),
    )


def workload_of(layer: Layer, source: Shape, *, batch_lanes: bool, dense: bool = False) -> Workload | None:
    """The workload of a layer of a plan's source; None for an operator whose kernels have no space.

    None too for what waits for another value, which a workload has none of: see `_waits`. `source` is the
    shape of the layer's first input; `dense` counts zeros as weights like others.
    """
    core = layer.core
    if batch_lanes and _waits(layer):
        return None
    match core:
        case Conv2d():
            parameters = {
                "weight": core.weight.shape,
                "stride": core.stride,
                "padding": core.padding,
                "dilation": core.dilation,
                "groups": core.groups,
            }
        case SeparableConv2d():
            parameters = {
                "weight": core.pointwise.weight.shape,
                "depthwise": core.depthwise.weight.shape,
                "stride": core.depthwise.stride,
                "padding": core.depthwise.padding,
                "dilation": core.depthwise.dilation,
            }
        case Linear():
            parameters = {"weight": core.weight.shape}
        case Pool2d() | AdaptivePool2d():
            parameters = asdict(core)
        case _:
            return None
    structure, density = DENSE, 1.0
    sparse = core.pointwise if isinstance(core, SeparableConv2d) else core
    if isinstance(sparse, (Conv2d, Linear)) and not dense:
        matrix = sparse.weight.reshape(len(sparse.weight), -1)
        per_channel = sparse.weight[0, 0].size if isinstance(sparse, Conv2d) else 1
        structure = detect(matrix, columns_per_channel=per_channel).text
        # A handful of zeros is dense, and has the schedules of a layer without any.
        if structure != DENSE:
            density = round(float(np.count_nonzero(matrix)) / matrix.size, 2)
    return Workload(
        operator=type(core).__name__.lower(),
        input=source,
        output=layer.shape,
        parameters=tuple(parameters.items()),
        lanes="batch" if batch_lanes else "pixels",
        structure=structure,
        density=density,
    )


def _waits(layer: Layer) -> bool:
    """Whether a layer is a pointwise convolution that adds another value, such as a residual, to its result.

    It does so little with its input that with batch lanes it waits for that value: schedules that are the
    fastest without it lose up to 45 % with it (ResNet-50's 64 to 256 channels at 56x56, two threads).
    """
    pointwise = isinstance(layer.core, Conv2d) and layer.core.weight.shape[2:] == (1, 1)
    return pointwise and any(isinstance(step.operand, str) for step in layer.epilogue)


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        raise TypeError(f"{value!r} is no parameter of an operator")
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value
