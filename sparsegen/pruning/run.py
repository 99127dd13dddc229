"""One run of `sparsegen prune`: what was asked for, what came of it, and the program saved."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from sparsegen.errors import FileError, PruningError
from sparsegen.files import replacing, write_file
from sparsegen.formats.structure_names import UNSTRUCTURED
from sparsegen.progress import Listener
from sparsegen.pruning.budget import Ratio
from sparsegen.pruning.masks import PrunedLayer
from sparsegen.pruning.n_m import check_ratio
from sparsegen.pruning.options import PruneOptions
from sparsegen.pruning.prunable import Model
from sparsegen.pruning.registry import METHODS, Method, find_method
from sparsegen.pruning.structures import DEFAULT_SPARSITY, Structure, parse_structure, structure_name

SCHEMA = 2

DEFAULT_METHOD = UNSTRUCTURED
DEFAULT_RATIOS: tuple[Ratio, ...] = ((1, 4), (2, 4), (4, 4))

_FLAGS = {"shape": "--block", "method": "--partition", "budget": "--budget-ms"}
"""Options of the methods that the command calls otherwise."""

_MEASURING = ("ratios", "threads")
"""Options of the command in place of a method's `times`, which it measures."""

Times = Mapping[str, Mapping[Ratio, float]]
Measure = Callable[[Sequence[Ratio], int | None, int | None, Listener], Times]
"""Measures the seconds of every layer at each of the ratios, of the filters of so many output channels (None:
of weights), on so many threads (None: every core)."""


@dataclass(frozen=True)
class Request:
    """A method and its options; `ratios` and `threads` are those to measure `times` with."""

    method: Method
    options: Mapping[str, Any]

    @property
    def structure(self) -> str:
        """The text of the structure that it makes."""
        return structure_name(self.method.name, self.options)

    def prune(
        self,
        model: Model,
        *,
        skip: Sequence[str] | None,
        linear: bool,
        measure: Measure,
        on_progress: Listener,
    ) -> tuple[PrunedLayer, ...]:
        """Prune `model` in place; `measure` is called where the method chooses by measured times."""
        options = {name: value for name, value in self.options.items() if name not in _MEASURING}
        if "ratios" in self.options:
            rows, threads = (self.options.get(name) for name in ("rows", "threads"))
            options["times"] = measure(self.options["ratios"], rows, threads, on_progress)
        elif self.method.tells_progress:
            options["on_progress"] = on_progress
        return self.method.prune(model, skip=skip, linear=linear, **options)


def parse_request(method: str, given: Mapping[str, Any]) -> Request:
    """The request for a method by name, with the options that were `given` (None: left out).

    Raises PruningError for an unknown method, for an option that is another method's, and for one that
    is needed and missing.
    """
    found = find_method(method)
    options = {name: value for name, value in given.items() if value is not None}
    for name in options:
        if name not in _accepted(found):
            owners = sorted(each.name for each in METHODS.values() if name in _accepted(each))
            raise PruningError(
                f"{_flag(name)} goes with {' or '.join(owners)}, not with {found.name}: leave it out"
            )
    defaults: dict[str, Any] = {"sparsity": DEFAULT_SPARSITY, "ratios": DEFAULT_RATIOS}
    options = {name: value for name, value in defaults.items() if name in _accepted(found)} | options
    missing = [_flag(name) for name in found.required if name in _accepted(found) and name not in options]
    if missing:
        raise PruningError(f"{found.name} needs {' and '.join(missing)}")
    _check_budget(options.get("budget"))
    return Request(found, options)


def request_of(options: PruneOptions) -> Request:
    """The request of a run's options.

    Beside a structure stand options that it does not say: those of column combining, and a budget for how
    many whole filters each layer keeps.

    Raises PruningError as `parse_request` and `parse_structure` do, and for options beside a structure that
    say what it says.
    """
    given = {name: value for name, value in _given(options).items() if value is not None}
    if options.structure is None:
        return parse_request(options.method or DEFAULT_METHOD, given)
    structure = parse_structure(options.structure, sparsity=options.sparsity)
    said = dict(structure.options)
    repeated = ["--method"] if options.method is not None else []
    repeated += [_flag(name) for name in given if name in said and name != "sparsity"]
    if repeated:
        raise PruningError(
            f"--structure {options.structure} says what to prune: leave {' and '.join(repeated)} out, or "
            "give them without --structure"
        )
    if "budget" in given:
        return _budget_request(structure, given)
    if structure.method == "N:M" and options.sparsity == 0:
        raise PruningError(
            f"--structure {structure.name} says the share of zeros, and a sparsity of 0 was asked for: leave "
            "one of them out"
        )
    return parse_request(structure.method, said | {name: given[name] for name in given if name != "sparsity"})


def _budget_request(structure: Structure, given: Mapping[str, Any]) -> Request:
    """The request for whole filters of each layer, as many as a budget allows."""
    if structure.method != "kernel":
        raise PruningError(
            f"--budget-ms chooses what each layer keeps, and --structure {structure.name} says it: give "
            "--structure kernel:ROWS, or none for N:M"
        )
    return parse_request("budget", {**given, "rows": dict(structure.options)["rows"]})


def _check_budget(seconds: float | None) -> None:
    """Raise PruningError for a budget that no time fits, before any time is measured."""
    if seconds is not None and not 0 < seconds < math.inf:
        raise PruningError(f"the budget is {seconds * 1e3:.4g} ms: give a positive time")


def _given(options: PruneOptions) -> dict[str, Any]:
    """The options of methods, by the methods' own names; None: left out."""
    return {
        "sparsity": options.sparsity,
        "n": options.n,
        "m": options.m,
        "rows": options.rows,
        "shape": options.shape,
        "group": options.group,
        "conflicts": options.conflicts,
        "method": options.partition,
        "seed": options.seed,
        "budget": options.budget,
        "ratios": options.ratios,
        "threads": options.threads,
    }


def parse_ratios(text: str) -> tuple[Ratio, ...]:
    """Read `1:4,2:4,4:4`; PruningError for anything that is no list of N:M."""
    ratios = []
    for part in text.split(","):
        n, colon, m = part.strip().partition(":")
        if not (colon and n.isdecimal() and m.isdecimal()):
            raise PruningError(f"{part!r} in {text!r} is no ratio: give N:M, as in 1:4,2:4,4:4")
        check_ratio(int(n), int(m))
        ratios.append((int(n), int(m)))
    return tuple(dict.fromkeys(ratios))


@dataclass(frozen=True)
class Pruning:
    """What a run did: the structure that it made, the method's options, and every layer that it pruned."""

    model: str
    structure: str
    options: Mapping[str, Any]
    output: str
    layers: tuple[PrunedLayer, ...]

    @property
    def weights(self) -> int:
        """Weights of the pruned layers together."""
        return sum(math.prod(layer.shape) for layer in self.layers)

    @property
    def sparsity(self) -> float:
        """Share of zeros among them."""
        return math.fsum(layer.sparsity * math.prod(layer.shape) for layer in self.layers) / self.weights

    @property
    def kept_l1(self) -> float:
        """The layers' kept share of the L1 norm, in the mean."""
        return math.fsum(layer.kept_l1 for layer in self.layers) / len(self.layers)

    def to_json(self) -> str:
        """The run as JSON, schema 2.

        Schema 1 named a `method`, such as `n_m` or `magnitude`, and not the `structure`; layers had neither
        a structure nor notes.
        """
        layers = [
            {
                "name": layer.name,
                "shape": list(layer.shape),
                "structure": layer.structure or self.structure,
                "sparsity": layer.sparsity,
                "kept_l1": layer.kept_l1,
                "detail": dict(layer.detail),
                "notes": list(layer.notes),
            }
            for layer in self.layers
        ]
        return json.dumps(
            {
                "schema": SCHEMA,
                "model": self.model,
                "structure": self.structure,
                "options": dict(self.options),
                "output": self.output,
                "layers": layers,
                "summary": {"weights": self.weights, "sparsity": self.sparsity, "mean_kept_l1": self.kept_l1},
            },
            indent=2,
        )


def save_program(program: ExportedProgram, path: Path) -> None:
    """Write the program to `path`, whole or not at all: what was there before stays until then.

    Raises FileError where writing fails.
    """
    try:
        with replacing(path) as new:
            torch.export.save(program, new)
    except RuntimeError as error:  # so torch's own writer tells of a full disk
        raise FileError(f"cannot write {path}: {error}") from error


def save_report(pruning: Pruning, path: Path) -> None:
    """Write the run's JSON to `path`; FileError where writing fails."""
    write_file(path, pruning.to_json())


def _accepted(method: Method) -> tuple[str, ...]:
    """The method's options as the command takes them."""
    own = tuple(name for name in method.options if name != "times")
    return (*own, *_MEASURING) if "times" in method.options else own


def _flag(name: str) -> str:
    return _FLAGS.get(name, f"--{name}")
