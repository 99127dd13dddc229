"""Estimates of many candidates at once are those of each alone, written down again in plain numbers."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.formats.detect import detect
from sparsegen.formats.masked_panels import column_masks
from sparsegen.kernels.panels import PanelProblem, PanelSchedule, choose
from sparsegen.kernels.panels import cost as model
from sparsegen.kernels.panels.candidates import Candidates
from sparsegen.kernels.panels.choice import _candidates
from sparsegen.kernels.panels.cost import cycles, input_lines
from sparsegen.kernels.panels.work import Works
from sparsegen.kernels.registry import Context
from sparsegen.lowering.layout import LINE_BYTES
from sparsegen.target import Target
from tests.kernels.test_choose import WIDE, problem, problems
from tests.sampling import examples

SETS, LINE = 64, LINE_BYTES // 4  # of an L1 cache; floats of a line


def lines_by_hand(problem: PanelProblem, knobs: PanelSchedule) -> tuple[int, float]:
    """Lines of a tile's input channel, and the sets that its channels' lines reach."""
    lines = sorted(
        {
            (int(tap) + y * problem.pixel_steps[0] + x * problem.pixel_steps[1] + lane) // LINE
            for tap in problem.offsets[: problem.columns_per_channel]
            for y in range(knobs.tile_h)
            for x in range(knobs.tile_w)
            for lane in (0, problem.out.lanes - 1)
        }
    )
    channels, plane = min(problem.channels, SETS), problem.plane // LINE
    sets = {(line + channel * plane) % SETS for line in lines for channel in range(channels)}
    return len(lines), min(1.0, len(sets) / min(SETS, len(lines) * channels))


def masks_by_hand(problem: PanelProblem, knobs: PanelSchedule) -> tuple[list[int], int, bool]:
    """Columns by the rows that keep them, masks in use, and whether every visit has the same counts."""
    kept = np.ones_like(problem.matrix) if knobs.format == "dense_panels" else problem.matrix
    masks = [int(mask) for mask in column_masks(kept, knobs.rows).reshape(-1) if mask]
    columns = [sum(mask.bit_count() == p for mask in masks) for p in range(1, knobs.rows + 1)]
    ragged = len(kept) % knobs.rows > 0
    if knobs.format == "dense_panels":
        return columns, 1, True
    return columns, max(1, len(set(masks))), len(set(masks)) <= 1 + ragged


def cycles_by_hand(problem: PanelProblem, target: Target, knobs: PanelSchedule, threads: int) -> float:
    """The model of one kernel of masked or dense panels, in plain numbers."""
    (columns, masks, constant), (lines, share) = masks_by_hand(problem, knobs), lines_by_hand(problem, knobs)
    pixels, rows, out = knobs.tile_h * knobs.tile_w, knobs.rows, len(problem.matrix)
    panels, blocks = -(-out // rows), -(-problem.channels // knobs.block)
    slab = LINE_BYTES * lines * min(knobs.block, problem.channels) / share
    past = min(model._MOST_PAST, max(0.0, slab / target.l1_bytes - model._HELD))
    past *= model._ONCE if problem.columns_per_channel == 1 else 1.0
    split = sum(int(at) % problem.out.lanes != 0 for at in problem.offsets) / len(problem.offsets)
    load = model._LOAD * (1 + model._SPLIT * split) * (1 + model._L2_LOAD * past)
    loads, stalls = pixels * load + 0.5, model._COLUMN + model._STALL * pixels * past
    times = [
        max(p * pixels / target.fmas, (loads + p) / target.loads, model._LATENCY) + stalls
        for p in range(1, rows + 1)
    ]
    if rows * pixels + (1 if pixels == 1 else rows) + 1 > target.registers:
        times = [(1 + model._MOVED) * time for time in times]
        times[-1] *= 1 + model._SPILL
    total = sum(count * time for count, time in zip(columns, times, strict=True))
    sums = rows * pixels * (model._SUM * (blocks - 1) + 1.0) / blocks
    segment = total / (panels * blocks * masks)
    branches = 2.0 if constant else masks * max(model._MASK, model._MISS - model._HIDDEN * segment)
    chunks = -(-panels // knobs.chunk)
    far = 4 * problem.out.groups * problem.out.size > model._FAR * target.l2_bytes
    store = model._STORE + (model._SCATTERED if knobs.permuted and far else 0.0)
    stored = 4 * sum(count * (kept + 1) for kept, count in enumerate(columns, 1))
    traffic = chunks * problem.channels * lines * model._LINE + out * pixels * store
    traffic += (stored if stored > target.l2_bytes else 0) / model._STREAM
    tile = total + panels * blocks * (model._VISIT + sums + branches) + traffic
    tasks = problem.tiles(knobs) * chunks
    return float(problem.tiles(knobs) * tile * (-(-tasks // threads) / tasks))


@examples(30)
@given(problems(), st.integers(1, 8))
def test_estimates_are_those_of_each_candidate_alone(made: tuple[PanelProblem, Target], threads: int) -> None:
    case, target = made
    structure = detect(case.matrix, columns_per_channel=case.columns_per_channel)
    candidates, lines = _candidates(case, target, structure, threads, False, True)
    works = Works(case)
    estimated = cycles(case, target, candidates, works.of(candidates), lines=lines, threads=threads)
    assert len(estimated) == len(candidates.rows) > 0
    every = range(0, len(estimated), max(1, len(estimated) // 12))
    for knobs, estimate in ((candidates.schedule(at), float(estimated[at])) for at in every):
        alone = Candidates.of([knobs])
        assert alone.schedule(0) == knobs
        (again,) = cycles(
            case, target, alone, works.of(alone), lines=input_lines(case, alone), threads=threads
        )
        assert float(again) == estimate
        if knobs.format != "column_combined" and not knobs.permuted:
            assert cycles_by_hand(case, target, knobs, threads) == pytest.approx(estimate, rel=1e-12)


@examples(30)
@given(problems(), st.integers(1, 8))
def test_the_first_of_the_least_is_chosen(made: tuple[PanelProblem, Target], threads: int) -> None:
    case, target = made
    choice = choose(case, target, threads=threads, permute=False)
    candidates, lines = _candidates(case, target, choice.structure, threads, False, False)
    works = Works(case).of(candidates)
    estimated = cycles(case, target, candidates, works, lines=lines, threads=threads).tolist()
    assert choice.cycles == min(estimated)
    assert choice.schedule == candidates.schedule(estimated.index(min(estimated)))
    assert choice.estimates == {
        name: min(each for each, of in zip(estimated, candidates.format.tolist(), strict=True) if of == name)
        for name in dict.fromkeys(candidates.format.tolist())
    }


def test_equal_layers_are_one_to_the_choice_and_others_are_not() -> None:
    case = problem(WIDE, batch=16, channels=8, out=8, size=6, kernel=3)
    same = case.identity(dense=False)
    assert replace(case, matrix=2 * case.matrix).identity(dense=False) == same
    assert replace(case, matrix=np.roll(case.matrix, 1)).identity(dense=False) != same
    assert replace(case, matrix=np.roll(case.matrix, 1)).identity(dense=True) == case.identity(dense=True)
    wider = problem(WIDE, batch=16, channels=8, out=8, size=7, kernel=3)
    assert wider.identity(dense=False) != same


def test_a_context_works_a_thing_out_once() -> None:
    made: list[int] = []
    context = Context({}, WIDE, threads=1)
    for one in (
        context,
        replace(context, schedules={}),
        replace(context, threads=2),
        replace(context, dense=True),
    ):
        assert one.once("key", lambda: made.append(0) or len(made)) == len(made)
    assert len(made) == 3
    assert pickle.loads(pickle.dumps(context)).memo == {}
