"""The record of the tuner's options: one default, one explanation, errors that name the option."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError, fields
from inspect import signature
from typing import Any

import pytest

import sparsegen
from sparsegen.cli.tune import tune as command
from sparsegen.errors import OptionError
from sparsegen.tuner import tune
from sparsegen.tuner.options import SEARCH_NAMES, TuneOptions
from sparsegen.tuner.search import SEARCHES

ITS_OWN = {"sparsity": None, "priors": None, "prior": None, "dtype": None}
"""The command prunes by default, and has an option for each prior, and one or two for each input."""


def test_neither_torch_nor_tvm_is_imported_for_it() -> None:
    code = (
        "import sys; from sparsegen.tuner.options import TuneOptions; "
        "from sparsegen.tuner import tune; import sparsegen.cli.app; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'tvm', 'numpy', 'xgboost')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_it_is_frozen_and_keyword_only() -> None:
    options = TuneOptions(trials=5)
    with pytest.raises(FrozenInstanceError):
        options.trials = 6  # type: ignore[misc]
    with pytest.raises(TypeError):
        TuneOptions(5)  # type: ignore[misc]


def test_the_command_has_every_option_with_its_default() -> None:
    parameters = signature(command).parameters
    for each in fields(TuneOptions):
        name = {"priors": "prior", "inputs": "dtype"}.get(each.name, each.name)
        assert parameters[name].default == ITS_OWN.get(name, each.default), name


def test_every_option_is_explained() -> None:
    assert all(TuneOptions.words(each.name).endswith(".") for each in fields(TuneOptions))


def test_searches_are_those_that_there_are() -> None:
    assert tuple(SEARCHES) == SEARCH_NAMES


def test_changes_go_before_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[TuneOptions] = []

    def run(model: Any, inputs: Any, options: TuneOptions, **_: Any) -> None:
        asked.append(options)

    monkeypatch.setattr("sparsegen.tuner.run.run", run)
    tune("m", None, sparsegen.TuneOptions(trials=5, batch=4), batch=8, journal="a.jsonl")
    tune("m", journal="a.jsonl", trials=5, batch=8)
    assert asked == [TuneOptions(trials=5, batch=8, journal="a.jsonl")] * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trails": 5}, "there is no option 'trails': choose of batch, input_shape, inputs, trials, hours"),
        ({}, "give a number of trials or of hours: neither was given"),
        ({"trials": 5, "hours": 1.0}, "both were given"),
        ({"hours": 0.0}, "hours is 0.0: give a time above 0"),
        ({"trials": 5, "batch": 0}, "batch is 0: give at least 1"),
        ({"trials": 5, "threads": 0}, "threads is 0: give at least 1"),
        ({"trials": 5, "patience": -1}, "patience is -1: give at least 0"),
        ({"trials": 5, "search": "grid"}, "search is 'grid': give one of evolution, random"),
        ({"trials": 5, "key": "k"}, r"needs both the tracker's HOST:PORT \(rpc\) and the servers' key"),
        (
            {"trials": 5, "rpc": "tracker", "key": "k"},
            "'tracker' is no address of an RPC tracker; give HOST:P",
        ),
        ({"trials": 5, "rpc": "t:9190", "key": "k", "target": "haswell"}, "leave out the target"),
    ],
)
def test_what_makes_no_sense_is_an_option_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        sparsegen.tune("resnet18", **options)
