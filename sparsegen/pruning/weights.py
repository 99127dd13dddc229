"""Trained weights from a file: a state dict, read without running what a file may hold of code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sparsegen.errors import PruningError
from sparsegen.pruning.prunable import Model

_SHOWN = 3
"""Names that a message lists of each kind."""


def load_weights(model: Model, path: str | Path) -> None:
    """Load the state dict that `torch.save(model.state_dict(), path)` wrote into `model`, in place.

    Its names and shapes have to be the model's, all of them. `model` is a module or an exported program.

    Raises SparsegenError for a file that is missing, cannot be read as tensors alone, holds no state dict, or
    does not fit; the model is then as it was.
    """
    state = _read(Path(path))
    own = model.state_dict() if isinstance(model, nn.Module) else model.state_dict
    _check_fit(path, state, {name: value for name, value in own.items() if isinstance(value, Tensor)})
    with torch.no_grad():
        if isinstance(model, nn.Module):
            model.load_state_dict(state, strict=True)
        else:
            for name, value in state.items():
                own[name].copy_(value)


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise PruningError(
            f"there is no file {path}: write one with torch.save(model.state_dict(), '{path}')"
        )
    try:
        state: Any = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # torch and pickle raise errors of many types for one broken file
        raise PruningError(
            f"{path} cannot be read as tensors alone, without running code of the file's "
            f"({type(error).__name__}): write it with torch.save(model.state_dict(), '{path}')"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        found = f"a dict of {_some(map(str, state))}" if isinstance(state, Mapping) else type(state).__name__
        raise PruningError(
            f"{path} holds no state dict but {found}: write it with torch.save(model.state_dict(), '{path}')"
        )
    return state


def _check_fit(path: str | Path, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    reshaped = [
        f"{name} {tuple(state[name].shape)}, the model's is {tuple(value.shape)}"
        for name, value in own.items()
        if name in state and state[name].shape != value.shape
    ]
    problems = [
        f"{len(names)} {what}: {_some(names)}"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
        if names
    ]
    if problems:
        masked = any(name.endswith("_mask") for name in unexpected)
        hint = " (its masks are still apart: call sparsegen.pruning.finalize(model) before saving)"
        raise PruningError(f"{path} does not fit the model: {'; '.join(problems)}{hint if masked else ''}")


def _some(names: Any) -> str:
    listed = list(names)
    return ", ".join(listed[:_SHOWN]) + (", ..." if len(listed) > _SHOWN else "")
