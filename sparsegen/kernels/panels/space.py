"""The schedules that a panel kernel may have, and what each implies for its layer.

Lanes are no knob here: all layers of a model share one layout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from sparsegen.formats.detect import Structure
from sparsegen.kernels.panels.candidates import Candidates
from sparsegen.kernels.panels.choice import PanelChoice, choose
from sparsegen.kernels.panels.cost import cycles, input_lines
from sparsegen.kernels.panels.legality import TILE_LIMIT, block_fits, blocks, formats, most_rows, tile_fits
from sparsegen.kernels.panels.lines import lines_of
from sparsegen.kernels.panels.packing import packable, slab_bytes
from sparsegen.kernels.panels.prefetch import plan_prefetch
from sparsegen.kernels.panels.problem import PARALLEL, PanelProblem, PanelSchedule
from sparsegen.kernels.panels.work import Works
from sparsegen.kernels.space import KnobValue, Space
from sparsegen.lowering.layout import LINE_BYTES
from sparsegen.target import Target

_SHARES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)  # parts that the panels may be cut in, a task each
_MOST_CODE = 512  # multiply-adds in a loop's bodies over all masks: more take long to compile


def panel_space(
    problem: PanelProblem, target: Target, *, threads: int, dense: bool, choice: PanelChoice | None = None
) -> Space:
    """The schedules of a panel kernel; `dense` allows dense panels only.

    `choice` is the one without tuning, where it was made already: it takes longer than all else here.
    """
    chosen = choice or choose(problem, target, threads=threads, dense=dense)
    default, structure = chosen.schedule, chosen.structure
    height, width = problem.pixels
    most, out = most_rows(problem, target), len(problem.matrix)
    rows = sorted({*range(1, min(most, 8) + 1), *(r for r in (10, 12, 14, 16, 20, 24, 28) if r <= most)})
    panels = {-(-out // r) for r in rows}
    knobs: dict[str, tuple[KnobValue, ...]] = {
        "format": ("masked_panels", "column_combined", "dense_panels"),
        "rows": tuple(sorted({*rows, default.rows})),
        "tile_h": tuple(range(1, min(TILE_LIMIT, height) + 1)),
        "tile_w": tuple(range(1, min(TILE_LIMIT, width) + 1)),
        "block": tuple(blocks(problem)),
        "chunk": tuple(sorted({default.chunk, *(-(-n // share) for n in panels for share in _SHARES)})),
        "pixels_outer": (False, True),
        "prefetch": (False, True),
        "permuted": (False, True),
        "unroll": (1, 2, 4),
        "parallel": PARALLEL,
        "pack_input": (False, True),
    }
    implied = _Implied(problem, target, structure, threads, dense)
    return Space("panels", knobs, default, PanelSchedule, implied.legal, implied.features, zeros_matter=True)


@dataclass(eq=False)
class _Implied:
    """What schedules imply for one problem; what several schedules share is worked out once."""

    problem: PanelProblem
    target: Target
    structure: Structure
    threads: int
    dense: bool
    works: Works = field(init=False)
    slabs: dict[tuple[int, int, int], int | None] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.works = Works(self.problem)

    def legal(self, knobs: PanelSchedule) -> bool:
        """Whether a schedule fits, and says nothing in two ways."""
        problem, rows, pixels = self.problem, knobs.rows, knobs.tile_h * knobs.tile_w
        if rows > most_rows(problem, self.target):
            return False
        if not tile_fits(problem, self.target, rows, knobs):
            return False
        if (knobs.format, knobs.permuted) not in formats(self.structure, rows, dense=self.dense):
            return False
        lines = len(lines_of(problem.reads, knobs.tile_h, knobs.tile_w))
        if not block_fits(problem, self.target, lines, knobs.block):
            return False
        panels = -(-len(problem.matrix) // rows)
        chunks = -(-panels // knobs.chunk)
        if -(-panels // chunks) != knobs.chunk:  # fewer panels a task would make as many tasks
            return False
        ordered = knobs.format != "column_combined" and rows > 1 and pixels > 1
        if not (knobs.pixels_outer or ordered):
            return False
        if not (knobs.prefetch or plan_prefetch(problem, chunks * knobs.chunk, knobs)):
            return False
        if knobs.parallel == "panels" and (chunks == 1 or problem.tiles(knobs) == 1):
            return False  # the order of one axis
        if pixels * self._kept_rows(knobs) * knobs.unroll > _MOST_CODE:
            return False
        return not knobs.pack_input or self._packs(knobs)

    def _packs(self, knobs: PanelSchedule) -> bool:
        """Whether a tile's input can be packed, into a part of the L2 cache."""
        key = knobs.tile_h, knobs.tile_w, knobs.block
        if key not in self.slabs:
            fits = packable(self.problem, knobs)
            self.slabs[key] = slab_bytes(self.problem, knobs) if fits else None
        slab = self.slabs[key]
        return slab is not None and slab <= self.target.l2_bytes // 4

    def _kept_rows(self, knobs: PanelSchedule) -> int:
        """Rows kept in all masks together: the code's multiply-adds a pixel."""
        if knobs.format != "masked_panels" or self.structure.rows % knobs.rows == 0:
            return knobs.rows
        return knobs.rows << (knobs.rows - 1)

    def features(self, knobs: PanelSchedule) -> dict[str, float]:
        """Numbers that a schedule implies, by name: ratios, and logarithms of counts to base 2."""
        problem, target = self.problem, self.target
        rows, pixels = knobs.rows, knobs.tile_h * knobs.tile_w
        alone = Candidates.of([knobs])
        all_work, all_lines = self.works.of(alone), input_lines(problem, alone)
        columns, masks, loads = all_work.columns[0].tolist(), int(all_work.masks[0]), int(all_work.loads[0])
        lines, share = int(all_lines[0][0]), float(all_lines[1][0])
        panels, blocked = -(-len(problem.matrix) // rows), -(-problem.channels // knobs.block)
        chunks = -(-panels // knobs.chunk)
        tiles = problem.tiles(knobs)
        tasks = tiles * chunks
        height, width = problem.padded_pixels(knobs)
        kept = sum(p * count for p, count in enumerate(columns, 1))
        slab = LINE_BYTES * lines * min(knobs.block, problem.channels)
        if knobs.pack_input and self._packs(knobs):
            slab = self.slabs[knobs.tile_h, knobs.tile_w, knobs.block] or slab
        (estimate,) = cycles(problem, target, alone, all_work, lines=all_lines, threads=self.threads).tolist()
        return {
            "estimate": math.log2(estimate),
            "rows": rows,
            "tile_h": knobs.tile_h,
            "tile_w": knobs.tile_w,
            "pixels": pixels,
            "block": math.log2(knobs.block),
            "chunk": math.log2(knobs.chunk),
            "masked": knobs.format == "masked_panels",
            "combined": knobs.format == "column_combined",
            "pixels_outer": knobs.pixels_outer,
            "prefetch": knobs.prefetch,
            "permuted": knobs.permuted,
            "unroll": knobs.unroll,
            "parallel_panels": knobs.parallel == "panels",
            "pack_input": knobs.pack_input,
            "registers": (rows * pixels + 1) / target.registers,
            "slab_l1": slab / target.l1_bytes,
            "slab_sets": share,
            "input_l2": problem.source.itemsize * problem.source.size / target.l2_bytes,
            "weights_l2": 8 * kept / target.l2_bytes,
            "lines_per_pixel": lines / pixels,
            "loads_per_fma": _ratio(loads * sum(columns), kept),
            "fmas_per_visit": math.log2(1 + kept * pixels / (panels * blocked)),
            "columns_per_mask": math.log2(1 + sum(columns) / (panels * blocked * masks)),
            "masks": masks,
            "blocks": math.log2(blocked),
            "panels": math.log2(panels),
            "tiles": math.log2(tiles),
            "tasks_per_thread": math.log2(tasks / self.threads),
            "idle": -(-tasks // self.threads) * self.threads / tasks - 1,
            "ragged": height * width / math.prod(problem.pixels) - 1,
            "ragged_rows": panels * rows / len(problem.matrix) - 1,
            "channels": math.log2(problem.channels),
            "columns_per_channel": problem.columns_per_channel,
            "density": kept / max(1, problem.matrix.size),
            "shared_rows": self.structure.rows,
            "batch_lanes": problem.out.batch_lanes,
            "threads": self.threads,
        }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
