"""The picture: a file, with a bar for every time."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from matplotlib.image import imread

from sparsegen.compare.picture import draw
from sparsegen.compare.report import Comparison, Timing
from sparsegen.outputs import save_picture


def test_every_time_has_a_bar_of_its_height(comparison: Comparison) -> None:
    layers, network = draw(comparison).axes
    heights = [bar.get_height() for bar in layers.patches]
    assert len(heights) == 3 * len(comparison.layers)
    assert heights[-len(comparison.layers) :] == [layer.race.sparse.median_ms for layer in comparison.layers]
    assert len(network.patches) == len(comparison.end_to_end.race.dense) + 1


def test_every_layer_bears_its_name_and_speedup(comparison: Comparison) -> None:
    layers, _ = draw(comparison).axes
    labels = [label.get_text() for label in layers.get_xticklabels()]
    assert labels[0] == "stage1.unit1.conv1"
    assert [text.get_text() for text in layers.texts] == [
        f"{layer.race.speedup:.2f}x" for layer in comparison.layers
    ]


def test_layers_that_run_dense_are_marked(partly_dense: Comparison) -> None:
    figure = draw(partly_dense)
    layers, count = figure.axes[0], len(partly_dense.layers)
    ours, dense = layers.patches[2 * count :], layers.patches[count : 2 * count]
    for bar, rival, layer in zip(ours, dense, partly_dense.layers, strict=True):
        assert bool(bar.get_hatch()) is not layer.sparse
        assert (bar.get_facecolor() == rival.get_facecolor()) is not layer.sparse
    assert "10 of 19 run sparse" in layers.get_title()
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[-1] == "sparsegen, runs dense"


def test_the_mark_is_not_explained_where_all_layers_run_sparse(comparison: Comparison) -> None:
    (legend,) = draw(comparison).legends
    assert "sparsegen, runs dense" not in [text.get_text() for text in legend.get_texts()]


def test_layers_alone_fill_the_picture(layers_only: Comparison) -> None:
    (layers,) = draw(layers_only).axes
    assert len(layers.patches) == 3 * len(layers_only.layers)


def test_the_title_names_the_structure(comparison: Comparison) -> None:
    figure = draw(dataclasses.replace(comparison, structure="column-combined", sparsity=0.88))
    assert "resnet18, 88% column-combined sparsity, batch 16" in figure.get_suptitle()


def test_the_picture_is_drawn_to_a_file(comparison: Comparison, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    save_picture(draw(comparison), path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert imread(path, format="png").std() > 0


def test_the_network_alone_fills_the_picture_with_every_engine(comparison: Comparison) -> None:
    found = comparison.end_to_end
    assert found is not None
    race = dataclasses.replace(found.race, engines={"engine": Timing(5.0, 4.0, 6.0)})
    alone = dataclasses.replace(comparison, layers=(), end_to_end=dataclasses.replace(found, race=race))
    (network,) = draw(alone).axes
    assert [bar.get_height() for bar in network.patches] == [
        *(timing.median_ms for timing in race.dense.values()), 5.0, race.sparse.median_ms
    ]  # fmt: skip
