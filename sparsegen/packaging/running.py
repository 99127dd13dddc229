"""A file of a model run on arrays of files: without torch, but where the model needs it."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sparsegen_runtime import LoadedModel

from sparsegen.errors import InputError, OptionError
from sparsegen.files import replacing
from sparsegen.outputs import ARRAYS, check_outputs
from sparsegen.runtime.artefact.load import load

_IN_ORDER = re.compile(r"arr_(\d+)", re.ASCII)  # what numpy.savez calls arrays that have no name


def run_file(path: Path, inputs: Sequence[Path], output: Path, *, threads: int | None = None) -> list[str]:
    """Run a model on arrays of .npy and .npz files, and write its results; tells what was written.

    Arrays of an .npz file are given by their names, or in order where they have none. Results go to an .npz
    file, or to an .npy file where there is one. Objects, which need pickles, are never read. Raises
    InputError for files that cannot be read, or are not what the model takes, FileError and OptionError for
    an output that cannot be, and what `load` raises.
    """
    check_outputs(
        {"--output": output}, suffixes={"--output": ARRAYS}, reads={"FILE": path, "--input": inputs}
    )
    arrays, named = read_arrays(inputs)
    model = load(path, threads)
    if not isinstance(model, LoadedModel):  # it needs torch, which is there by now
        import torch

        arrays = [torch.from_numpy(each) for each in arrays]
        named = {name: torch.from_numpy(each) for name, each in named.items()}
    try:
        results = named_results(model(*arrays, **named))
    except InputError as error:
        given = f"--input {', '.join(map(str, inputs))}" if inputs else "no --input is given"
        raise InputError(f"{given}: {error}") from error
    if output.suffix == ".npy" and len(results) != 1:
        raise OptionError(
            f"--output {output}: the model returns {len(results)} arrays ({', '.join(results)}): give a "
            "file that ends in .npz"
        )
    with replacing(output) as new:
        if output.suffix == ".npy":
            (result,) = results.values()
            np.save(new, result, allow_pickle=False)
        else:
            _write_npz(new, results)
    return [f"{name}: {each.dtype}, {each.shape}" for name, each in results.items()]


def _write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """As numpy.savez writes it, which takes not every name."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def read_arrays(paths: Sequence[Path]) -> tuple[list[Any], dict[str, Any]]:
    """The arrays of files: those that are given in order, and those by name.

    Raises InputError for what cannot be read.
    """
    arrays, named = list[Any](), dict[str, Any]()
    for path in paths:
        try:
            read = _read(path)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(
                f"--input {path} cannot be read ({_cause(error)}): give a file by numpy.save or numpy.savez"
            ) from error
        if isinstance(read, np.ndarray):
            arrays.append(read)
            continue
        if all(map(_IN_ORDER.fullmatch, read)):
            arrays += [read[name] for name in sorted(read, key=lambda name: int(name[4:]))]
        else:
            named.update(read)
    return arrays, named


def _read(path: Path) -> NDArray[Any] | dict[str, NDArray[Any]]:
    """The array of a file, or those of an archive by their names."""
    with path.open("rb") as file:
        found = np.load(file, allow_pickle=False)
        if not isinstance(found, np.ndarray):
            with found:
                return {name: found[name] for name in found.files}
        if file.read(1):
            raise ValueError("more bytes follow its array")
        return found


def _cause(error: Exception) -> str:
    """Why a file cannot be read, without NumPy's advice to unpickle what may be an attack."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "it holds Python objects, or is no array" if "pickle" in str(error) else str(error)


def named_results(result: Any) -> dict[str, NDArray[Any]]:
    """The arrays of a result, by where they are in it; what is no array is left out."""
    found: dict[str, NDArray[Any]] = {}
    _collect(result, "", found)
    return found


def _collect(value: Any, name: str, found: dict[str, NDArray[Any]]) -> None:
    if isinstance(value, Mapping):
        parts = [(str(key), each) for key, each in value.items()]
    elif isinstance(value, (tuple, list)):
        parts = [(str(place), each) for place, each in enumerate(value)]
    else:
        if hasattr(value, "dtype") and hasattr(value, "shape"):
            # NumPy has no bfloat16, all of which float32 has.
            plain = value.float() if str(value.dtype) == "torch.bfloat16" else value
            found[name or "output"] = np.asarray(plain)
        return
    for key, each in parts:
        _collect(each, f"{name}.{key}" if name else key, found)
