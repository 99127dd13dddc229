"""Convolutions, and linear layers with batch lanes: the ways to compute them."""

from __future__ import annotations

from sparsegen.graph import Layer, Linear
from sparsegen.kernels.grouped import grouped_conv
from sparsegen.kernels.grouped_schedule import (
    GroupedProblem,
    GroupedSchedule,
    default_grouped,
    depthwise_cycles,
    grouped_cycles,
    grouped_fault,
    grouped_space,
)
from sparsegen.kernels.implementation import Implementation, Offer
from sparsegen.kernels.linear_rows import ExpandedRows, RowsOfWeights
from sparsegen.kernels.panels import PanelChoice, PanelProblem, PanelSchedule, panel_fault
from sparsegen.kernels.panels.choice import DENSE_FORMAT
from sparsegen.kernels.panels.space import panel_space
from sparsegen.kernels.problems import (
    choose_panels,
    panel_kernel,
    panel_offer,
    panel_problem,
    winograd_choice,
    winograd_problem,
)
from sparsegen.kernels.registry import Context, register
from sparsegen.kernels.roofline import predicted
from sparsegen.kernels.space import KernelSchedule, Space
from sparsegen.kernels.taps import TapConv2d
from sparsegen.kernels.winograd import SparseWinogradSchedule, WinogradSchedule, winograd
from sparsegen.kernels.winograd.choice import winograd_fault, winograd_space
from sparsegen.kernels.winograd.window import refusal
from sparsegen.lowering.kernel import Kernel

_GROUPS = "grouped convolutions run dense"
_NO_ZEROS = "no zeros are worth skipping"
_EVERY_WEIGHT = "every weight is to be multiplied"
_NO_EMPTY_FILTER = "no filter is zero everywhere"
_NO_TILES = "no tiles suit its image and the registers"


class DensePanels(Implementation):
    """Panels that multiply every weight."""

    name = "dense_panels"
    kinds = ("panels",)

    def accepts(self, layer: Layer, context: Context) -> str | None:
        """Convolutions without groups, and linear layers whose lanes hold images."""
        if panel_problem(layer, context) is not None:
            return None
        return "its lanes hold no images" if isinstance(layer.core, Linear) else _GROUPS

    def takes(self, schedule: KernelSchedule, layer: Layer, context: Context) -> bool:
        """Panel schedules of its formats."""
        mine = isinstance(schedule, PanelSchedule) and self._has(schedule.format)
        return mine and panel_problem(layer, context) is not None

    def fault(self, schedule: KernelSchedule, layer: Layer, context: Context) -> str | None:
        """As of all panels."""
        assert isinstance(schedule, PanelSchedule)
        return panel_fault(_problem(layer, context), schedule)

    def offer(self, layer: Layer, context: Context) -> Offer:
        """The dense schedule of the least estimated cycles."""
        choice = choose_panels(_problem(layer, context), context)
        return self._offer(layer, context, choice, DENSE_FORMAT)

    def space(self, layer: Layer, context: Context) -> Space | None:
        """Panels of all formats: tuning may find another one better than the estimate does."""
        problem = _problem(layer, context)
        choice = choose_panels(problem, context)
        return panel_space(
            problem, context.target, threads=context.threads, dense=context.dense, choice=choice
        )

    def build(self, layer: Layer, context: Context, schedule: KernelSchedule | None) -> Kernel:
        """The kernel of panels."""
        assert isinstance(schedule, PanelSchedule)
        return panel_kernel(_problem(layer, context), layer, context, schedule)

    def _has(self, format: str) -> bool:
        return format == DENSE_FORMAT

    def _offer(self, layer: Layer, context: Context, choice: PanelChoice, format: str) -> Offer:
        chosen = choice.schedule.format == format
        schedule = choice.schedule if chosen else choice.schedules[format]
        cycles = choice.cycles if chosen else choice.estimates[format]
        return panel_offer(self, layer, context, schedule, cycles)


class Panels(DensePanels):
    """Panels that skip zeros, in the formats of masks and of combined columns."""

    name = "panels"

    def accepts(self, layer: Layer, context: Context) -> str | None:
        """Where weights have zeros, too."""
        refused = super().accepts(layer, context)
        if refused is not None:
            return refused
        if context.dense:
            return _EVERY_WEIGHT
        choice = choose_panels(_problem(layer, context), context)
        return None if choice.estimates.keys() - {DENSE_FORMAT} else _NO_ZEROS

    def offer(self, layer: Layer, context: Context) -> Offer:
        """The sparse schedule of the least estimated cycles."""
        choice = choose_panels(_problem(layer, context), context)
        format = choice.schedule.format
        if format == DENSE_FORMAT:
            sparse = choice.estimates.keys() - {DENSE_FORMAT}
            format = min(sorted(sparse), key=lambda name: choice.estimates[name])
        return self._offer(layer, context, choice, format)

    def _has(self, format: str) -> bool:
        return format != DENSE_FORMAT


class Winograd(Implementation):
    """Winograd's minimal filtering: dense, with fewer multiplications."""

    name = "winograd"
    kinds = ("winograd",)
    sparse = False

    def accepts(self, layer: Layer, context: Context) -> str | None:
        """Squares of a few taps side by side, where rounding of its kind is allowed."""
        if panel_problem(layer, context) is None:
            return _GROUPS
        if not context.winograd:
            return "it is switched off"
        assert isinstance(layer.core, TapConv2d)
        refused = refusal(layer.core)
        if refused is not None:
            return refused
        return _NO_TILES if winograd_choice(layer, context, sparse=self.sparse) is None else None

    def takes(self, schedule: KernelSchedule, layer: Layer, context: Context) -> bool:
        """Its own schedules, for layers that some panels serve."""
        mine = SparseWinogradSchedule if self.sparse else WinogradSchedule
        return type(schedule) is mine and panel_problem(layer, context) is not None

    def fault(self, schedule: KernelSchedule, layer: Layer, context: Context) -> str | None:
        """Also where it does not serve the layer."""
        assert isinstance(schedule, WinogradSchedule)
        return winograd_fault(winograd_problem(layer, context), schedule)

    def offer(self, layer: Layer, context: Context) -> Offer:
        """The schedule of the least estimated cycles."""
        choice = winograd_choice(layer, context, sparse=self.sparse)
        assert choice is not None
        cost = predicted(layer, context, choice.cycles, weights=choice.weight_bytes)
        return Offer(self, cost, choice.schedule, self.name)

    def space(self, layer: Layer, context: Context) -> Space | None:
        """Tiles of its sizes."""
        choice = winograd_choice(layer, context, sparse=self.sparse)
        assert choice is not None
        return winograd_space(choice, context.target, threads=context.threads)

    def build(self, layer: Layer, context: Context, schedule: KernelSchedule | None) -> Kernel:
        """The kernel of transforms and products."""
        problem = winograd_problem(layer, context)
        assert problem is not None
        assert isinstance(schedule, WinogradSchedule)
        epilogue, source = context.epilogue(layer), layer.inputs[0]
        return winograd(problem, schedule, source=source, epilogue=epilogue, once=context.once)


class SparseWinograd(Winograd):
    """Winograd's minimal filtering without the filters that are zero everywhere."""

    name = "sparse_winograd"
    kinds = ("sparse_winograd",)
    sparse = True

    def accepts(self, layer: Layer, context: Context) -> str | None:
        """Where whole filters are zero, too."""
        if context.dense:
            return _EVERY_WEIGHT
        tiles = winograd_problem(layer, context)
        if tiles is not None and tiles.kept.all():
            return _NO_EMPTY_FILTER
        return super().accepts(layer, context)


class Grouped(Implementation):
    """Convolutions with groups of several channels each."""

    name = "grouped"
    kinds = ("grouped_conv",)

    def accepts(self, layer: Layer, context: Context) -> str | None:
        """Groups that are no single channels."""
        groups, depthwise = _groups(layer)
        if groups == 1:
            return "it has no groups"
        return "its groups are single channels" if depthwise else None

    def takes(self, schedule: KernelSchedule, layer: Layer, context: Context) -> bool:
        """Its own schedules."""
        return isinstance(schedule, GroupedSchedule) and self.accepts(layer, context) is None

    def fault(self, schedule: KernelSchedule, layer: Layer, context: Context) -> str | None:
        """What does not suit the groups."""
        assert isinstance(schedule, GroupedSchedule)
        return grouped_fault(GroupedProblem.of(layer, context), schedule)

    def offer(self, layer: Layer, context: Context) -> Offer:
        """The tiles of the least estimated cycles."""
        problem = GroupedProblem.of(layer, context)
        schedule = context.once(
            problem.identity, lambda: default_grouped(problem, context.target, threads=context.threads)
        )
        cycles = self._cycles(problem, schedule, context)
        return Offer(self, predicted(layer, context, cycles, weights=problem.conv.weight.nbytes), schedule)

    def space(self, layer: Layer, context: Context) -> Space | None:
        """Tiles of its sizes."""
        return grouped_space(layer, context)

    def build(self, layer: Layer, context: Context, schedule: KernelSchedule | None) -> Kernel:
        """The kernel of a tile's sums over all taps."""
        assert isinstance(schedule, GroupedSchedule)
        return grouped_conv(layer, context, schedule)

    def _cycles(self, problem: GroupedProblem, schedule: GroupedSchedule, context: Context) -> float:
        return grouped_cycles(problem, context.target, schedule, threads=context.threads)


class DepthwiseConvolutions(Grouped):
    """Convolutions of every channel on its own, which wait for memory."""

    name = "depthwise"

    def accepts(self, layer: Layer, context: Context) -> str | None:
        """Groups of one input channel."""
        groups, depthwise = _groups(layer)
        return None if depthwise and groups > 1 else "its groups are not single channels"

    def _cycles(self, problem: GroupedProblem, schedule: GroupedSchedule, context: Context) -> float:
        return depthwise_cycles(problem, threads=context.threads)


def _groups(layer: Layer) -> tuple[int, bool]:
    """The number of groups of a convolution, and whether each is one input channel."""
    assert isinstance(layer.core, TapConv2d)
    return layer.core.groups, layer.core.weight.shape[1] == 1


def _problem(layer: Layer, context: Context) -> PanelProblem:
    problem = panel_problem(layer, context)
    assert problem is not None
    return problem


for _core in (TapConv2d, Linear):
    # Where the estimates are equal, dense kernels go before sparse ones.
    register(_core, DensePanels())
    register(_core, Panels())
for _implementation in (Winograd(), SparseWinograd(), Grouped(), DepthwiseConvolutions()):
    register(TapConv2d, _implementation)
for _rows in (RowsOfWeights(), ExpandedRows()):
    register(Linear, _rows)
