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

_WRAPPERS = ("state_dict", "model_state_dict", "model")
"""What training scripts call the state dict in a checkpoint that holds more."""

_PREFIXES = ("module.", "_orig_mod.")
"""What `nn.DataParallel` and `torch.compile` put before every name."""


def load_weights(model: Model, path: str | Path) -> tuple[str, ...]:
    """Load the state dict that `torch.save(model.state_dict(), path)` wrote into `model`, in place.

    A checkpoint that holds one under `state_dict`, `model_state_dict` or `model`, and names that all begin
    with the `module.` of `nn.DataParallel` or the `_orig_mod.` of `torch.compile`, are taken too: returns a
    note for each such liberty. Names and shapes have to be the model's then, all of them. `model` is a module
    or an exported program.

    Raises PruningError for a file that is missing, cannot be read as tensors alone, holds no state dict, or
    does not fit; the model is then as it was.
    """
    own = model.state_dict() if isinstance(model, nn.Module) else model.state_dict
    wanted = {name: value for name, value in own.items() if isinstance(value, Tensor)}
    state, unwrapped = _unwrapped(_read(Path(path)), path)
    state, stripped = _stripped(state, wanted, path)
    _check_fit(path, state, wanted)
    with torch.no_grad():
        if isinstance(model, nn.Module):
            model.load_state_dict(state, strict=True)
        else:
            for name, value in state.items():
                own[name].copy_(value)
    return (*unwrapped, *stripped)


def _unwrapped(content: Any, path: str | Path) -> tuple[Mapping[str, Tensor], tuple[str, ...]]:
    """The state dict that a file holds, or that lies in what it holds, and a note of the second."""
    if _is_state_dict(content):
        return content, ()
    held = content if isinstance(content, Mapping) else {}
    found = [key for key in _WRAPPERS if _is_state_dict(held.get(key)) and held[key]]
    if len(found) == 1:
        return content[found[0]], (f"{path} is a checkpoint: its '{found[0]}' is loaded",)
    if found:
        raise PruningError(
            f"{path} holds {len(found)} state dicts, {' and '.join(found)}: save the one to load with "
            f"torch.save(checkpoint['{found[0]}'], '{path}')"
        )
    kind = f"a dict of {_some(map(str, held))}" if held else type(content).__name__
    raise PruningError(
        f"{path} holds no state dict but {kind}: write it with torch.save(model.state_dict(), '{path}')"
    )


def _is_state_dict(content: Any) -> bool:
    return isinstance(content, Mapping) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    )


def _stripped(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], path: str | Path
) -> tuple[Mapping[str, Tensor], tuple[str, ...]]:
    """The state dict without a prefix that all its names have and none of the model's, and a note of it."""
    for prefix in _PREFIXES:
        prefixed = bool(state) and all(name.startswith(prefix) for name in state)
        if prefixed and not any(name.startswith(prefix) for name in own):
            bare = {name.removeprefix(prefix): value for name, value in state.items()}
            rest, notes = _stripped(bare, own, path)
            return rest, (f"'{prefix}' is removed from the names in {path}", *notes)
    return state, ()


def _read(path: Path) -> Any:
    if not path.is_file():
        raise PruningError(
            f"there is no file {path}: write one with torch.save(model.state_dict(), '{path}')"
        )
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # torch and pickle raise errors of many types for one broken file
        raise PruningError(
            f"{path} cannot be read as tensors alone, without running code of the file's "
            f"({type(error).__name__}): write it with torch.save(model.state_dict(), '{path}')"
        ) from error


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
