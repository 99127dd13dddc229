"""Defaults in help texts are the true ones: those typed by hand, of every verb, beside what the code does."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from sparsegen.cache.folder import FOLDER
from sparsegen.cli.app import app
from sparsegen.frontend.load import load_model
from sparsegen.hetero.options import PlaceOptions
from sparsegen.hetero.rewriting.options import MAX_ERROR, RewriteOptions
from sparsegen.inspection.options import InspectOptions
from sparsegen.options import ExampleInput, ModelOptions
from sparsegen.packaging.options import PackageOptions
from sparsegen.pruning.registry import METHODS
from sparsegen.pruning.run import DEFAULT_METHOD, DEFAULT_RATIOS
from sparsegen.pruning.structures import DEFAULT_SPARSITY, parse_structure
from sparsegen.tuner.options import TuneOptions


def of_method(method: str, option: str) -> Any:
    """The default of a pruning method's option."""
    return inspect.signature(METHODS[method].function).parameters[option].default


def batch_of(options: type[ModelOptions]) -> str:
    assert options().batch is None
    _, (images,) = load_model(
        "tests.hetero.models:small", input_shape=(3, 4, 4), default_batch=options.default_batch
    )
    return f"{len(images)}, or the .pt2 file's own"


CORES, TYPE, SHAPE, EXACT = "every core", ExampleInput((1,)).dtype, "the model's", "all exact"
INPUTS = {"input_shape": SHAPE, "dtype": TYPE}
SPARSITY = f"N:M's, else {DEFAULT_SPARSITY:g}"
CACHE_DIR = {"cache_dir": f"{FOLDER}, or ~/.cache/sparsegen"}
DEFAULTS = {
    "cache clear": CACHE_DIR,
    "cache show": CACHE_DIR,
    "compare": {
        **INPUTS,
        "batch": batch_of(ModelOptions),
        "sparsity": SPARSITY,
        "threads": CORES,
        "approximate": EXACT,
        "peers_folder": "bench/peers of the checkout",
    },
    "prune": {
        **INPUTS,
        "batch": batch_of(ModelOptions),
        "sparsity": f"{DEFAULT_SPARSITY:g}",
        "method": DEFAULT_METHOD,
        "rows": f"{of_method('vector', 'rows')} for vector and kernel, {of_method('N:M', 'rows')} for N:M, "
        "N:M for budget",
        "block": "x".join(map(str, of_method("block", "shape"))),
        "group": f"{of_method('column-combined', 'group')}",
        "conflicts": f"{of_method('column-combined', 'conflicts'):g}",
        "partition": of_method("column-combined", "method"),
        "seed": f"{of_method('column-combined', 'seed')}",
        "ratios": ",".join(f"{n}:{m}" for n, m in DEFAULT_RATIOS),
        "threads": CORES,
        "skip": "the first convolution and the classifier",
    },
    "inspect": {**INPUTS, "batch": batch_of(InspectOptions), "threads": CORES, "approximate": EXACT},
    "tune": {
        **INPUTS,
        "batch": batch_of(TuneOptions),
        "sparsity": SPARSITY,
        "threads": CORES,
        "journal": "tuning_logs/MODEL-...",
    },
    "compile": {
        **INPUTS,
        "batches": batch_of(PackageOptions),
        "threads": "every core here",
        "structure": "the model as it is",
        "sparsity": "none, or the structure's",
        "approximate": EXACT,
    },
    "run": {"threads": "as compiled"},
    "bench": {"threads": "as compiled", "batch": "the file's first batch"},
    "verify": {},
    "calibrate": {},
    "doctor": {},
    "devices": {"name": "this machine, and all tables in short"},
    "place": {
        **INPUTS,
        "batch": batch_of(PlaceOptions),
        "devices": "this machine",
        "max_error": f"{MAX_ERROR:g}",
        "approximate": EXACT,
    },
    "rewrite": {**INPUTS, "batch": batch_of(RewriteOptions), "max_error": f"{MAX_ERROR:g}"},
    "schedules export": {"output": "schedules/CPU.json"},
    "schedules show": {"source": "what comes with sparsegen"},
    "schedules best": {},
}
"""What help says of options whose default it is told by hand, computed where the code has it."""


def verbs(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        yield from verbs(command, f"{name} ") if hasattr(command, "commands") else [(before + name, command)]


COMMANDS = dict(verbs(typer.main.get_command(app)))


def test_all_verbs_are_looked_at() -> None:
    assert COMMANDS.keys() == DEFAULTS.keys()


@pytest.mark.parametrize("verb", COMMANDS)
def test_help_tells_the_true_defaults(verb: str) -> None:
    by_hand = {
        each.name: each.show_default
        for each in COMMANDS[verb].params
        if isinstance(getattr(each, "show_default", None), str)
    }
    assert by_hand == DEFAULTS[verb]
    # Where there is a value, click shows it itself, and nobody has to type it.
    assert all(each.default is None for each in COMMANDS[verb].params if each.name in by_hand)


@pytest.mark.parametrize("verb", COMMANDS)
def test_no_help_has_what_a_terminal_shows_as_a_picture(verb: str) -> None:
    """As of `:M:`, which `N:M: ` has within."""
    texts = [COMMANDS[verb].help, *(getattr(each, "help", None) for each in COMMANDS[verb].params)]
    assert not any(re.search(r":[\w+-]+:", text) for text in texts if text)


def test_a_structure_without_a_sparsity_has_the_default() -> None:
    assert parse_structure("2:4", sparsity=None).sparsity == 0.5
    assert parse_structure("unstructured", sparsity=None).sparsity == DEFAULT_SPARSITY
