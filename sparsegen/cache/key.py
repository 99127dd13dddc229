"""What a compiled model is made of, in one number: the same for the same model, options and versions."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import sparsegen_runtime
import torch
from torch.utils import _pytree

from sparsegen.runtime.operators import bytes_of

_PACKAGES = ("apache-tvm", "apache-tvm-ffi", "numpy", "torch")
_EXTENSIONS = "sparsegen.implementations"  # entry points of packages that bring kernels


class NoKeyError(Exception):
    """Something that cannot be told apart from others by its content."""


def key_of(*parts: Any) -> str:
    """A key of 64 hexadecimal digits of graphs, options, arrays and tensors, and of the versions in use.

    Raises NoKeyError for what holds objects of other kinds.
    """
    digest = hashlib.sha256()
    _feed(digest, (_versions(), parts))
    return digest.hexdigest()


def _feed(digest: Any, value: Any) -> None:
    """Add a value: its kind, how much of it there is, its content; so no two give the same bytes."""
    match value:
        case None | bool() | int() | str():
            _add(digest, type(value).__name__, str(value).encode(errors="surrogatepass"))
        case float():
            _add(digest, "float", value.hex().encode())
        case complex():
            _feed(digest, ("complex", value.real, value.imag))
        case bytes():
            _add(digest, "bytes", value)
        case np.ndarray():
            _add(digest, f"array {value.dtype.str} {value.shape}", np.ascontiguousarray(value).tobytes())
        case np.generic():
            _feed(digest, np.asarray(value))
        case torch.Tensor():
            _add(digest, f"tensor {value.dtype} {tuple(value.shape)}", bytes_of(value).tobytes())
        case tuple() | list():
            _add(digest, f"{type(value).__name__} {len(value)}", b"")
            for each in value:
                _feed(digest, each)
        case frozenset() | set():
            _feed(digest, ("set", *sorted(value)))
        case Mapping():
            _add(digest, f"mapping {len(value)}", b"")
            for key, each in value.items():
                _feed(digest, (key, each))
        case _:
            _feed_object(digest, value)


def _feed_object(digest: Any, value: Any) -> None:
    kind = type(value)
    if isinstance(value, _pytree.TreeSpec):
        try:
            _feed(digest, ("structure", _pytree.treespec_dumps(value)))
        except NotImplementedError as error:
            raise NoKeyError(str(error)) from error
    elif is_dataclass(value) and not isinstance(value, type):
        _add(digest, f"{kind.__module__}.{kind.__qualname__}", b"")
        for each in fields(value):
            _feed(digest, (each.name, getattr(value, each.name)))
    elif isinstance(value, torch._ops.OpOverload | torch.dtype | torch.device | torch.layout):
        _add(digest, kind.__name__, str(value).encode())
    elif isinstance(value, torch.memory_format):
        _add(digest, "memory format", str(value).encode())
    elif isinstance(value, os.PathLike):
        _feed(digest, ("path", os.fspath(value)))
    else:
        raise NoKeyError(f"{kind.__module__}.{kind.__qualname__}")


def _add(digest: Any, kind: str, content: bytes) -> None:
    digest.update(f"{kind}:{len(content)}:".encode())
    digest.update(content)


@functools.cache
def _versions() -> tuple[str, ...]:
    """Of all that makes code: packages, those that bring kernels, and our own files as they are."""
    packages = [f"{name} {metadata.version(name)}" for name in _PACKAGES]
    for point in metadata.entry_points(group=_EXTENSIONS):
        packages.append(f"{point.name} {point.value} {point.dist.version if point.dist else ''}")
    return (
        *packages,
        *_files(Path(__file__).parents[1]),
        *_files(Path(sparsegen_runtime.__file__).parent),
    )


def _files(package: Path) -> list[str]:
    """The files of a package: a checkout changes while its version stays."""
    found = sorted(path for path in package.rglob("*") if path.suffix in (".py", ".so", ".toml", ".json"))
    stats = ((path, path.stat()) for path in found)
    return [f"{path.relative_to(package)} {stat.st_size} {stat.st_mtime_ns}" for path, stat in stats]
