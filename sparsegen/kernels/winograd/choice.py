"""The schedules of Winograd's kernel: which may be, what they cost, the default."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen.kernels.features import implied
from sparsegen.kernels.space import KnobValue, Space, below_one
from sparsegen.kernels.winograd.candidates import Candidates
from sparsegen.kernels.winograd.problem import (
    Knobs,
    SparseWinogradSchedule,
    WinogradProblem,
    WinogradSchedule,
)
from sparsegen.kernels.winograd.transforms import operations
from sparsegen.lowering.layout import LINE_BYTES
from sparsegen.lowering.shuffles import joins
from sparsegen.stopwatch import part
from sparsegen.target import Target

Floats = NDArray[np.float64]

_ROWS = (1, 2, 3, 4, 6, 8, 10, 12, 16)
_MOST_BYTES = 16 << 20  # of a task's tiles and products
_LEAST_SUMS = 4  # fewer wait for each other
_CHAINS = (1, 2)

# In cycles, fitted to 113 measured kernels on Zen 5: ResNet-18's 3x3 layers at batch 1 and 16, VGG-16's at 4.
_LATENCY = 4.0  # of a multiply-add
_INPUT, _OUTPUT = 0.58, 0.54  # of an operation on a vector that transforms input, or products, with its moves
_STORE = 9.2  # of a vector of the output, on its way to memory
_FAR, _FARTHEST = 0.7, 3.0  # more of these for every L2 cache that a task's tiles take, up to so many (Zen 4)
_L2_LOAD, _HELD = 0.76, 0.55  # more of a load for a position's tiles past an L1 cache, less what stays there
_L2_WEIGHT = 0.2  # more of a weight
# On Emerald Rapids, of 200 kernels that skip filters, of ResNet-18's layers at 20 and 50 % density:
_WAIT = 5.0  # of a sum for the one before, where a channel's place is read first
_BEGIN = 10.0  # of a group's list of channels
_STREAM, _SLOW_STREAM = 9.0, 4.0  # bytes of weights a cycle, from beyond the L2 cache; slower (Zen 4) where
_SHARE = 2  # they have more than this part of the last-level cache
# On Zen 4, of 210 kernels with pixel lanes, AVX-512 and AVX2.
_SHUFFLE = 1.2  # of a shuffle, where vectors of tiles are taken apart and put together


@dataclass(frozen=True, eq=False)
class WinogradChoice:
    """The schedule of a problem with the least estimated cycles on each thread."""

    problem: WinogradProblem
    schedule: WinogradSchedule
    cycles: float

    @property
    def kept_share(self) -> float:
        """Share of the filters that are multiplied."""
        return float(self._alone.kept[0]) / self.problem.multiplied(self.schedule.outputs)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the transformed weights."""
        return int(_weight_bytes(self.problem, self._alone)[0])

    @property
    def _alone(self) -> Candidates:
        return Candidates.of(self.problem, self.schedule)

    def beats(self, cycles: float) -> bool:
        """Whether it is estimated to be faster than another kernel of so many cycles."""
        return self.cycles < cycles


@part("choosing Winograd")
def choose(
    problem: WinogradProblem, target: Target, *, threads: int, sparse: bool = False
) -> WinogradChoice | None:
    """The schedule without tuning, of all filters or of those that are kept; None for a layer too small."""
    best: WinogradChoice | None = None
    orders, chains = ((False, True), _CHAINS) if sparse else ((None,), _CHAINS[:1])
    for outputs, permuted, several in itertools.product(problem.outputs, orders, chains):
        candidates = _candidates(problem, target, outputs, permuted, several)
        if len(candidates.rows):
            estimated = cycles(problem, target, candidates, threads=threads)
            least = int(estimated.argmin())
            if best is None or best.cycles > estimated[least]:
                best = WinogradChoice(problem, candidates.schedule(least), float(estimated[least]))
    return best


def winograd_space(choice: WinogradChoice, target: Target, *, threads: int) -> Space:
    """The schedules that tuning tries for a problem, the choice without it being the default."""
    problem, default = choice.problem, choice.schedule
    tiles = [problem.tiles(outputs) for outputs in problem.outputs]
    out_channels, _ = problem.channels
    rows = sorted({*(r for r in _ROWS if r <= out_channels), default.rows})
    sparse = isinstance(default, SparseWinogradSchedule)
    knobs: dict[str, tuple[KnobValue, ...]] = {
        "outputs": problem.outputs,
        "rows": tuple(rows),
        "tiles_h": tuple(sorted({d for down, _ in tiles for d in _divisors(down)})),
        "tiles_w": tuple(sorted({d for _, across in tiles for d in _divisors(across)})),
        "chunk": tuple(sorted({d for r in rows for d in _divisors(-(-out_channels // r))})),
    }
    if sparse:
        knobs["permuted"], knobs["chains"] = (False, True), _CHAINS

    def legal(knobs: WinogradSchedule) -> bool:
        return bool(_fits(problem, target, knobs))

    def features(knobs: WinogradSchedule) -> dict[str, float]:
        return _features(problem, target, knobs, threads)

    name, make = ("sparse_winograd", SparseWinogradSchedule) if sparse else ("winograd", WinogradSchedule)
    return Space(name, knobs, default, make, legal, features, zeros_matter=sparse)


def cycles(problem: WinogradProblem, target: Target, knobs: Candidates, *, threads: int) -> Floats:
    """Estimated cycles of kernels on each of `threads`."""
    (_, channels), rows, tiles = problem.channels, knobs.rows, knobs.tiles_h * knobs.tiles_w
    transform = problem.transform(knobs)
    taken = task_bytes(problem, knobs) / target.l2_bytes
    inputs, far = transform.inputs, 1 + _FAR * np.minimum(_FARTHEST, taken)
    # Columns, then rows, of a tile's n x n vectors; n columns, then m rows, of its products.
    read = _INPUT * far * 2 * operations(transform.input) / inputs
    written = _OUTPUT * far * (inputs + knobs.outputs) * operations(transform.output) / inputs**2
    if not problem.out.batch_lanes:
        read = read + _SHUFFLE * _joins_apart(problem, knobs.outputs)
        written = written + _SHUFFLE * joins(knobs.outputs)
    visit = knobs.kept * _column(problem, target, knobs) + (_BEGIN if knobs.sparse else 0.0)
    store = _STORE * tiles * knobs.chunk * rows * knobs.outputs**2
    transformed = tiles * (channels * read + knobs.chunk * rows * written)
    rounds = -(-_tasks(problem, knobs) // threads)
    estimated: Floats = rounds * (inputs**2 * (knobs.chunk * visit + transformed) + store)
    return estimated


def _joins_apart(problem: WinogradProblem, outputs: int) -> float:
    """Shuffles, on average, that take a vector of tiles' pixels out of strips, with pixel lanes."""
    (_, across), (_, width), lanes = problem.lane_tiles(outputs), problem.strips(outputs), problem.out.lanes
    tile = np.arange(lanes)
    first = tile // across * width + tile % across * outputs
    inputs = range(outputs + problem.taps - 1)
    return float(np.mean([joins(len(np.unique((first + pixel) // lanes))) for pixel in inputs]))


def _column(problem: WinogradProblem, target: Target, knobs: Candidates) -> Floats:
    """Cycles of an input channel's multiply-adds: their number, latency, loads, or the way of the weights."""
    channels, rows, tiles = problem.channels[1], knobs.rows, knobs.tiles_h * knobs.tiles_w
    all_weights = _weight_bytes(problem, knobs)
    beyond = task_bytes(problem, knobs) + all_weights > target.l2_bytes
    rate = np.where(all_weights * _SHARE < target.l3_bytes, _STREAM, _SLOW_STREAM)
    past = np.minimum(1.0, np.maximum(0.0, LINE_BYTES * tiles * channels / target.l1_bytes - _HELD))
    compute = np.maximum(rows * tiles / target.fmas, (rows + tiles) / target.loads)
    weights = np.where(beyond, problem.source.itemsize * rows / rate, 0.0)
    latency = _WAIT / knobs.chains if knobs.sparse else _LATENCY
    compute = np.maximum(np.maximum(compute, latency), weights)
    column: Floats = compute + _L2_LOAD * tiles * past + _L2_WEIGHT * rows
    return column


def _weight_bytes(problem: WinogradProblem, knobs: Candidates) -> Floats:
    """Bytes of the transformed weights."""
    positions = problem.transform(knobs).inputs ** 2
    weights: Floats = problem.source.itemsize * problem.panels(knobs) * knobs.rows * knobs.kept * positions
    return weights


def task_bytes(problem: WinogradProblem, knobs: Knobs) -> Any:
    """Bytes of a task's transformed tiles and of their products."""
    vectors = problem.channels[1] + knobs.chunk * knobs.rows
    tiles = knobs.tiles_h * knobs.tiles_w
    return LINE_BYTES * problem.transform(knobs).inputs ** 2 * tiles * vectors


def _tasks(problem: WinogradProblem, knobs: Knobs) -> Any:
    down, across = problem.groups(knobs)
    return problem.out.groups * down * across * -(-problem.panels(knobs) // knobs.chunk)


def _candidates(
    problem: WinogradProblem, target: Target, outputs: int, permuted: bool | None, chains: int
) -> Candidates:
    """Legal schedules of tiles of so many outputs, in the order of their knobs."""
    down, across = problem.tiles(outputs)
    points = [
        (rows, tiles_h, tiles_w, chunk)
        for rows in _ROWS
        if rows <= problem.channels[0]
        for tiles_h, tiles_w in itertools.product(_divisors(down), _divisors(across))
        if rows * tiles_h * tiles_w <= target.registers
        for chunk in _divisors(-(-problem.channels[0] // rows))
    ]
    every = Candidates.keeping(problem, outputs, np.array(points, np.int64).reshape(-1, 4), permuted, chains)
    return every[_fits(problem, target, every)]


def winograd_fault(problem: WinogradProblem | None, knobs: WinogradSchedule) -> str | None:
    """Why a kernel would compute something else under a schedule, and what it can do; None if it would not.

    `problem` is None where a layer has no such kernel. What is legal beside that is a matter of speed.
    """
    if problem is None:
        return "Winograd's filtering is switched off, or does not serve such a layer; give it a PanelSchedule"
    if knobs.outputs not in problem.outputs:
        return f"outputs is {knobs.outputs}; it may be {' or '.join(map(str, problem.outputs))}"
    reason = below_one(knobs)
    if reason is not None:
        return reason
    (down, across), panels = problem.tiles(knobs.outputs), problem.panels(knobs)
    if not _whole(problem, knobs):
        return f"tiles_h has to divide {down}, tiles_w {across}, and chunk {panels}"
    if not _rows_fit(problem, knobs):
        return (
            f"vectors reach past the rows' ends: only tasks of images one vector wide, all {down} down, may"
        )
    return None


def _whole(problem: WinogradProblem, knobs: Knobs) -> Any:
    """Whether tiles come in whole groups, and panels in whole chunks."""
    down, across = problem.tiles(knobs.outputs)
    whole_groups = (down % knobs.tiles_h == 0) & (across % knobs.tiles_w == 0)
    return whole_groups & (problem.panels(knobs) % knobs.chunk == 0)


def _fits(problem: WinogradProblem, target: Target, knobs: Knobs) -> Any:
    """Whether groups and chunks are whole, sums fit the registers, and a task some memory."""
    tiles = knobs.tiles_h * knobs.tiles_w
    sums = knobs.chains * knobs.rows * tiles
    return (
        _whole(problem, knobs)
        & (knobs.rows <= problem.channels[0])
        & (sums >= _LEAST_SUMS)
        & (sums <= target.registers - np.minimum(knobs.rows, tiles) - 1)
        & (task_bytes(problem, knobs) <= _MOST_BYTES)
        & _rows_fit(problem, knobs)
    )


def _rows_fit(problem: WinogradProblem, knobs: Knobs) -> Any:
    """Whether what vectors store past a row's end, with pixel lanes, is overwritten by the same task.

    They store nothing there where the last tiles of a row are as long as a vector. The last row's vector
    may end in the zeros between channels.
    """
    out, (down, across) = problem.out, problem.tiles(knobs.outputs)
    last = out.row - (across - 1) * problem.lane_tiles(knobs.outputs)[1] * knobs.outputs
    if out.batch_lanes or last >= out.lanes:
        return True
    ends = across == 1 and out.plane - (out.shape[2] - 1) * out.row >= out.lanes
    return (knobs.tiles_h == down) & ends


def _divisors(number: int) -> list[int]:
    return [each for each in range(1, number + 1) if number % each == 0]


def _features(
    problem: WinogradProblem, target: Target, knobs: WinogradSchedule, threads: int
) -> dict[str, float]:
    transform, (out_channels, channels) = problem.transform(knobs), problem.channels
    tiles, (down, across) = knobs.tiles_h * knobs.tiles_w, problem.tiles(knobs.outputs)
    _, _, height, width = problem.out.shape
    positions, candidate = transform.inputs**2, Candidates.of(problem, knobs)
    kept = float(candidate.kept[0])
    return {
        "estimate": float(cycles(problem, target, candidate, threads=threads)[0]),
        **implied(
            target,
            threads=threads,
            tasks=_tasks(problem, knobs),
            registers=knobs.rows * tiles + min(knobs.rows, tiles) + 1,
            computed=down * across * knobs.outputs**2 * problem.panels(knobs) * knobs.rows,
            stored=height * width * out_channels,
            multiplies=problem.out.groups * down * across * positions * kept * out_channels,
            loads=(knobs.rows + tiles) / (knobs.rows * tiles),
            working_set=task_bytes(problem, knobs),
        ),
        "outputs": float(knobs.outputs),
        "position_l1": LINE_BYTES * tiles * channels / target.l1_bytes,
    }
