"""Structures by text: what each prunes, canonical names, default sparsities, and what is refused."""

from __future__ import annotations

import copy

import pytest
import torch

import sparsegen
from sparsegen.errors import SparsegenError
from sparsegen.pruning import block, column_combine, kernel, magnitude, n_m, parse_structure, vector
from tests.pruning.networks import images, network, weight_of


@pytest.mark.parametrize(
    ("text", "name", "sparsity"),
    [
        ("unstructured", "unstructured", 0.5),
        ("unstructured:global", "unstructured:global", 0.5),
        ("vector", "vector:4", 0.5),
        ("vector:4", "vector:4", 0.5),
        ("vector:8", "vector:8", 0.5),
        ("kernel", "kernel:4", 0.5),
        ("kernel:4", "kernel:4", 0.5),
        ("kernel:1", "kernel:1", 0.5),
        ("block", "block:4x4", 0.5),
        ("block:4x4", "block:4x4", 0.5),
        ("block:4x2", "block:4x2", 0.5),
        ("column-combined", "column-combined", 0.5),
        ("column-combined:greedy", "column-combined", 0.5),
        ("column-combined:annealing", "column-combined:annealing", 0.5),
        ("2:4", "2:4", 0.5),
        ("1:4", "1:4", 0.75),
        ("4:4", "4:4", 0.0),
        ("2:4x4", "2:4x4", 0.5),
        ("2:4x1", "2:4", 0.5),
    ],
)
def test_canonical_names_and_default_sparsities(text: str, name: str, sparsity: float) -> None:
    structure = parse_structure(text)
    assert (structure.name, structure.sparsity) == (name, sparsity)
    assert parse_structure(name) == structure
    assert parse_structure(text, sparsity=sparsity) == structure
    assert len({structure, parse_structure(name)}) == 1


def test_each_prunes_as_its_method() -> None:
    for text, method in {
        "unstructured": lambda model: magnitude(model, sparsity=0.75, linear=True),
        "unstructured:global": lambda model: magnitude(model, sparsity=0.75, scope="global", linear=True),
        "vector:2": lambda model: vector(model, sparsity=0.75, rows=2, linear=True),
        "kernel:2": lambda model: kernel(model, sparsity=0.75, rows=2, linear=True),
        "block:2x3": lambda model: block(model, sparsity=0.75, shape=(2, 3), linear=True),
        "column-combined": lambda model: column_combine(model, sparsity=0.75, linear=True),
        "column-combined:annealing": lambda model: column_combine(
            model, sparsity=0.75, method="annealing", linear=True
        ),
        "1:4": lambda model: n_m(model, n=1, m=4, skip=("stem", "hidden", "classifier"), linear=True),
        "1:4x2": lambda model: n_m(
            model, n=1, m=4, rows=2, skip=("stem", "hidden", "classifier"), linear=True
        ),
    }.items():
        one, other = network(), network()
        skip = ("stem", "hidden", "classifier") if text.startswith("1:4") else None
        found = sparsegen.prune(one, text, sparsity=0.75, linear=True, skip=skip)
        assert found == method(other), text
        for layer in found:
            assert torch.equal(weight_of(one, layer.name), weight_of(other, layer.name))


def test_skip_reaches_the_method() -> None:
    assert [layer.name for layer in parse_structure("2:4").prune(network(), skip=("stem", "wide"))] == [
        "narrow"
    ]


@pytest.mark.parametrize("text", ["unstructured", "vector", "block", "column-combined", "2:4"])
def test_sparsity_0_leaves_the_weights_as_they_are(text: str) -> None:
    model = network()
    with torch.no_grad():
        model.wide.weight[:3] = 0
    before = copy.deepcopy(model.state_dict())
    wide, narrow = sparsegen.prune(model, text, sparsity=0)
    assert (wide.sparsity, wide.kept_l1, narrow.sparsity) == (0.25, 1.0, 0.0)
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_program_is_pruned_in_place() -> None:
    program = torch.export.export(network().eval(), (images(),))
    wide, _ = sparsegen.prune(program, "vector", sparsity=0.5)
    assert float((program.state_dict["wide.weight"] == 0).double().mean()) == wide.sparsity == 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "blocks",
            "structure is 'blocks': choose one of unstructured or unstructured:global; vector or",
        ),
        ("", "choose one of"),
        ("vector:", "choose one of"),
        ("vector:x", "choose one of"),
        ("kernel:0", "rows is 0: give a whole number from 1 to"),
        ("kernel:x", "choose one of"),
        ("block:4", "choose one of"),
        ("column-combined:best", "choose one of"),
        ("2:4:8", "choose one of"),
        ("-2:4", "choose one of"),
        ("٢:٤", "choose one of"),
        ("vector:0", "rows is 0"),
        ("block:0x4", r"block shape is \(0, 4\)"),
        ("5:4", "ratio is 5:4"),
        ("0:4", "ratio is 0:4"),
        ("0:0", "ratio is 0:0"),
    ],
)
def test_texts_that_name_no_structure(text: str, message: str) -> None:
    with pytest.raises(SparsegenError, match=message):
        parse_structure(text, sparsity=None)


def test_sparsities_that_cannot_be() -> None:
    for text in ("unstructured", "2:4"):
        with pytest.raises(SparsegenError, match="0 <= sparsity < 1"):
            parse_structure(text, sparsity=1.0)
    with pytest.raises(
        SparsegenError, match=r"1:4 removes 0.75 of the weights, a sparsity of 0.5 was asked for"
    ):
        parse_structure("1:4", sparsity=0.5)
    assert parse_structure("1:3", sparsity=2 / 3).sparsity == 2 / 3


def test_the_public_function_is_lazy_and_no_module() -> None:
    assert callable(sparsegen.prune)
    assert sparsegen.prune is sparsegen.pruning.prune
