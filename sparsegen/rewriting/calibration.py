"""Calibration: inputs that a model will see, and what its values lie in on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsegen.errors import RewritingError, first_line
from sparsegen.graph import LayerGraph, Shape
from sparsegen.rewriting.bounds import known_intervals, narrower
from sparsegen.rewriting.parts import taken_apart
from sparsegen.rewriting.site import Interval
from sparsegen.torch_graph.graph import TorchGraph

MARGIN = 0.1
"""At each end of a range, of its length."""
Inputs = tuple[Tensor, ...]
"""One call's inputs, in the graph's order."""


def load_calibration(path: Path, graph: LayerGraph) -> list[Inputs]:
    """The calls in a file: an array for a model of one input (.npy), or one for each input by name (.npz).

    An array's first dimension may be longer than the input's: it is then cut into so many calls; what is left
    over is left out.

    Raises RewritingError for a file that cannot be read, that holds pickled objects, other shapes, types or
    names than the model's, numbers that are not finite, or not enough for one call.
    """
    arrays = _read(path, list(graph.inputs))
    missing = [name for name in graph.inputs if name not in arrays]
    strange = [name for name in arrays if name not in graph.inputs]
    if missing or strange:
        raise RewritingError(
            f"{path} has arrays {', '.join(arrays)}; the model's inputs are {', '.join(graph.inputs)}: give "
            "one for each"
        )
    cut = {name: _calls(path, name, arrays[name], graph) for name in graph.inputs}
    counts = {name: len(calls) for name, calls in cut.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise RewritingError(f"{path} has inputs for unlike numbers of calls: {told}")
    return list(zip(*cut.values(), strict=True))


def _read(path: Path, names: Sequence[str]) -> Mapping[str, Any]:
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            if len(names) != 1:
                raise RewritingError(
                    f"{path} has one array, and the model {len(names)} inputs: give an .npz with arrays "
                    f"{', '.join(names)}"
                )
            return {names[0]: found}
        with found:
            return {name: found[name] for name in found.files}
    except RewritingError:
        raise
    except OSError as error:
        raise _unreadable(path, (error.strerror or first_line(error)).lower()) from error
    except Exception as error:  # numpy's and zipfile's, of many types
        if "allow_pickle=False" in str(error):
            raise _unreadable(path, "pickled objects are never read; save arrays of numbers") from error
        raise _unreadable(
            path, "it is broken, or of another kind; save arrays with numpy.save or numpy.savez"
        ) from error


def _unreadable(path: Path, reason: str) -> RewritingError:
    return RewritingError(f"{path} cannot be read as .npy or .npz: {reason}")


def _calls(path: Path, name: str, array: Any, graph: LayerGraph) -> list[Tensor]:
    """An input's array, cut into calls."""
    shape, dtype = graph.inputs[name], graph.input_dtype(name)
    where = f"{path}, input {name!r}"
    if array.dtype.kind == "f":
        array = array.astype(np.float32)
        if not np.isfinite(array).all():
            raise RewritingError(f"{where} has NaN or infinity: give finite numbers")
    if str(array.dtype) != dtype:
        raise RewritingError(f"{where} is {array.dtype}; the model takes {dtype}")
    if array.shape[1:] != shape[1:] or array.ndim != len(shape):
        raise RewritingError(f"{where} has the shape {array.shape}; the model takes {_shape(shape)}")
    if len(array) < (shape[0] if shape else 1):
        raise RewritingError(f"{where} has {len(array)} rows; one call takes {shape[0]}")
    count = shape[0]
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return [tensor[at : at + count] for at in range(0, len(tensor) - count + 1, count)]


def _shape(shape: Shape) -> str:
    return f"({', '.join(['any number of rows', *map(str, shape[1:])])})"


def intervals_on(graph: LayerGraph, calls: Sequence[Inputs]) -> dict[str, Interval]:
    """What every value of a graph, and every one between the steps of its layers, may lie in, by some calls.

    That is the range on the calls with a margin at each end, for other inputs go beyond; no further than what
    its operator gives for any input. Raises RewritingError where a value becomes NaN or infinite.
    """
    sure = known_intervals(graph)
    return {
        name: narrower(sure.get(name), widened(interval)) or interval
        for name, interval in ranges_on(graph, calls).items()
    }


def widened(interval: Interval) -> Interval:
    """A range with a margin at each end.

    An end at 0 stays there, and one on a side of 0 on that side, and no nearer to it than half as far: ReLUs,
    variances and their like end at 0, and logarithms and reciprocals must.
    """
    low, high = interval
    margin = MARGIN * (high - low)
    return (
        low - margin if low < 0 else max(low - margin, low / 2),
        high + margin if high > 0 else min(high + margin, high / 2),
    )


def ranges_on(graph: LayerGraph, calls: Sequence[Inputs]) -> dict[str, Interval]:
    """The least and the greatest number of every value on some calls; as `intervals_on`."""
    found: dict[str, Interval] = {}

    def see(name: str, value: Any) -> None:
        if not isinstance(value, Tensor) or not value.is_floating_point() or not value.numel():
            return
        low, high = (each.item() for each in torch.aminmax(value))
        if not (np.isfinite(low) and np.isfinite(high)):
            raise RewritingError(f"on calibration inputs, value {name!r} becomes NaN or infinite")
        known = found.get(name, (low, high))
        found[name] = min(known[0], low), max(known[1], high)

    computed = TorchGraph(taken_apart(graph))
    for call in calls:
        for name, given in zip(graph.inputs, call, strict=True):
            see(name, given)
        computed.watched(see, *call)
    return found
