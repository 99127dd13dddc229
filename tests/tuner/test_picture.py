"""The picture of searches: a panel a workload, a line a search."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread

from sparsegen.database.trial import Trial
from sparsegen.database.workload import Workload
from sparsegen.errors import SparsegenError
from sparsegen.outputs import check_outputs, save_picture
from sparsegen.tuner.picture import draw
from sparsegen.tuner.report import curves
from tests.database.records import CONV, POOL, trial


def run(
    *times: float | None, seed: int = 0, search: str = "evolution", workload: Workload = CONV
) -> list[Trial]:
    """Trials of one run, the default first, None for one that failed."""
    return [
        trial(
            1000 * seed + count,
            *(() if time is None else (time,)),
            seed=seed,
            search=search,
            workload=workload,
            origin="model" if count else "default",
        )
        for count, time in enumerate(times)
    ]


BOTH = run(4.0, None, 2.0) + run(4.0, 3.0, search="random")


def panels(trials: list[Trial]) -> list[Axes]:
    return draw(curves(trials)).axes


def heading(figure: Figure) -> list[str]:
    return figure.get_suptitle().splitlines()


def test_a_line_a_search_and_one_for_the_default() -> None:
    (axes,) = panels(BOTH)
    default, evolution, random = axes.lines
    assert list(default.get_ydata()) == [4, 4]
    assert list(evolution.get_xdata()) == [1, 2, 3]
    assert list(evolution.get_ydata()) == [4, 4, 2]
    assert list(random.get_ydata()) == [4, 3]
    assert len({line.get_color() for line in axes.lines}) == 3
    assert len({line.get_linestyle() for line in axes.lines}) == 3
    assert [text.get_text() for text in axes.texts] == ["2.00x", "1.33x"]


def test_a_legend_once_in_words() -> None:
    (legend,) = draw(curves(BOTH + run(9.0, 8.0, workload=POOL))).legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "evolutionary search with a cost model",
        "random search",
        "without tuning",
    ]


def test_several_seeds_have_a_band() -> None:
    figure = draw(curves(run(4.0, 2.0) + run(4.0, 3.0, seed=1)))
    (axes,) = figure.axes
    (band,) = axes.collections
    assert {y for _, y in band.get_paths()[0].vertices} >= {2.0, 3.0, 4.0}
    assert heading(figure)[-1].startswith("medians of 2 seeds, bands from the best to the worst")
    assert not panels(BOTH)[0].collections


def test_what_panels_share_stands_above_them() -> None:
    figure = draw(curves(BOTH + run(9.0, 8.0, workload=replace(CONV, density=0.1))))
    assert heading(figure)[1] == "batch 16, 2 threads, AMD EPYC 9B45 (AVX-512)"
    assert [axes.get_title() for axes in figure.axes] == [
        "3x3 conv 64→64 at 56x56\n50% unstructured",
        "3x3 conv 64→64 at 56x56\n90% unstructured",
    ]


def test_workloads_without_a_good_trial_are_left_out() -> None:
    assert len(panels(BOTH + run(None, workload=POOL))) == 1


@pytest.mark.parametrize("count", [1, 4, 5, 7])
def test_every_workload_has_a_panel(count: int) -> None:
    trials = [
        each for tenth in range(count) for each in run(4.0, 2.0, workload=replace(CONV, density=tenth / 10))
    ]
    axes = panels(trials)
    assert len(axes) == count
    assert axes[-1].get_xlabel() == "trials (log scale)"


def test_slow_first_trials_do_not_flatten_the_rest() -> None:
    (axes,) = panels(run(4.0, 2.0) + run(4000.0, 3.0, search="random"))
    low, high = axes.get_ylim()
    assert low < 2
    assert 4 < high < 4000


def test_one_trial_is_enough(tmp_path: Path) -> None:
    save_picture(draw(curves(run(4.0))), tmp_path / "one.png")
    assert imread(tmp_path / "one.png").std() > 0


@pytest.mark.parametrize("default", [4.0, None])
def test_a_seed_may_find_nothing(default: float | None, tmp_path: Path) -> None:
    save_picture(draw(curves(run(default, 3.0) + run(None, None, seed=1))), tmp_path / "half.png")
    assert imread(tmp_path / "half.png").std() > 0


def test_the_suffix_says_the_format(tmp_path: Path) -> None:
    save_picture(draw(curves(BOTH)), tmp_path / "a.png")
    save_picture(draw(curves(BOTH)), tmp_path / "a.SVG")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "a.SVG").read_text()


@pytest.mark.parametrize("name", ["a.jpg", "a", "no/such/folder/a.png"])
def test_paths_that_take_no_picture(name: str, tmp_path: Path) -> None:
    with pytest.raises(SparsegenError, match=r"--report .*a"):
        check_outputs({}, {"--report": tmp_path / name})
