"""What a call returns: tensors that were computed, and what was known when the model was compiled."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch.utils import _pytree

from sparsegen.errors import ToolchainError


def arrange_results(computed: Sequence[torch.Tensor], known: Mapping[int, Any], spec: Any) -> Any:
    """The results in the structure of a pytree `spec`; None stands for a single one.

    `known` are some of them by their position among all, and `computed` the others, in order. Known tensors
    are copied: the caller may write into the results.
    """
    others = iter(computed)
    results = [
        _own(known[position]) if position in known else next(others)
        for position in range(len(computed) + len(known))
    ]
    return results[0] if spec is None else _pytree.tree_unflatten(results, spec)


def check_results(results: Sequence[Any], shapes: Mapping[int, tuple[int, ...]]) -> None:
    """Raises ToolchainError where torch computed something else than a tensor of its shape.

    `shapes` are those of results by their position.
    """
    for position, shape in shapes.items():
        result = results[position]
        if not isinstance(result, torch.Tensor) or result.shape != shape:
            found = tuple(result.shape) if isinstance(result, torch.Tensor) else type(result).__name__
            raise ToolchainError(
                f"torch computed {found} as result {position}, and a tensor of shape {shape} is expected"
            )


def storages(values: Iterable[Any]) -> frozenset[int]:
    """The addresses of the memory behind tensors."""
    return frozenset(value.untyped_storage().data_ptr() for value in values)


def unshared(results: Sequence[Any], kept: Collection[int]) -> list[Any]:
    """The results, copied where their memory is among `kept`: the model's own, or the caller's inputs."""
    return [result.clone() if result.untyped_storage().data_ptr() in kept else result for result in results]


def _own(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value
