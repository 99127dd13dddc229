"""TVM and tvm-ffi: their exact versions, which metadata tells without importing what may crash."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import metadata

from sparsegen.doctor.child import Answer
from sparsegen.doctor.finding import REINSTALL, Finding

TVM, FFI = "apache-tvm", "apache-tvm-ffi"
CRASHING = frozenset({("0.27.0.post1", "0.1.15")})
"""Versions of TVM and tvm-ffi that are known to crash together, in `tvm.ir.save_json`."""


def installed(name: str) -> str | None:
    """The version of a package, None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def pins(requirements: Iterable[str] | None = None) -> dict[str, str]:
    """The versions that sparsegen asks for exactly, by package; its own metadata's by default."""
    if requirements is None:
        try:
            requirements = metadata.requires("sparsegen") or ()
        except metadata.PackageNotFoundError:
            requirements = ()
    exact = (each.partition("==") for each in requirements if ";" not in each)
    return {name.strip(): version.strip() for name, sign, version in exact if sign}


def tvm(version_of: Callable[[str], str | None], wanted: Mapping[str, str], answer: Answer) -> Finding:
    """The versions of TVM and tvm-ffi against those `wanted`, and how TVM fared in a process of its own."""
    names = (TVM, FFI)
    versions = {name: version_of(name) for name in names}
    pair = " with ".join(f"{name} {versions[name] or 'missing'}" for name in names)
    command = "pip install " + " ".join(
        f"{name}=={wanted[name]}" if name in wanted else name for name in names
    )
    unable = "no model can be compiled"
    if missing := [name for name in names if versions[name] is None]:
        return Finding("TVM", "broken", f"not installed: {', '.join(missing)}", unable, command)
    if answer.crashed or (versions[TVM], versions[FFI]) in CRASHING:
        consequence = "compiling and tuning may end the process with a segmentation fault"
        return Finding("TVM", "broken", f"{pair}: this pair crashes", consequence, command)
    if answer.failure:
        return Finding("TVM", "broken", f"{pair}: TVM does not work: {answer.failure}", unable, command)
    if not wanted:
        consequence = "whether they are the versions that sparsegen needs is not known"
        return Finding("TVM", "note", pair, consequence, REINSTALL)
    if others := [name for name in names if versions[name] != wanted.get(name)]:
        needed = " and ".join(f"{name} {wanted.get(name)}" for name in others)
        return Finding(
            "TVM",
            "note",
            f"{pair}, not the {needed} that sparsegen is made for",
            "TVM's internals change from release to release: compiling may fail",
            command,
        )
    return Finding("TVM", "ok", pair, "the versions that sparsegen is made for")
