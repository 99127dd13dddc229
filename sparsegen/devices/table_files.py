"""Tables of devices: those that come with the package, a TOML file each, and how one is read."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from sparsegen.devices.figures import Figure, parse_source
from sparsegen.devices.operators import KINDS
from sparsegen.devices.profile import COUNTS, FLAGS, Limits, OwnLink, Profile
from sparsegen.devices.section import Section, read_toml
from sparsegen.errors import DeviceError
from sparsegen.graph import FLOAT32, ITEM_BYTES
from sparsegen.typed import typed

_SUFFIX = ".toml"


@functools.cache
def tables() -> dict[str, Profile]:
    """The tables that come with the package, by name, in the order of names."""
    folder = resources.files("sparsegen.devices") / "shipped"
    names = sorted(
        each.name.removesuffix(_SUFFIX) for each in folder.iterdir() if each.name.endswith(_SUFFIX)
    )
    return {name: read_table(Path(str(folder / f"{name}{_SUFFIX}"))) for name in names}


@typed
def table(name: str) -> Profile:
    """A table that comes with the package, or one of a file, where the name ends in .toml or has a slash.

    Raises DeviceError for an unknown name, and for a file that is no table.
    """
    if is_path(name):
        return read_table(Path(name))
    if name not in tables():
        raise DeviceError(
            f"there is no table {name!r}: there are {', '.join(tables())}; the path of a file of one's own "
            "ends in .toml"
        )
    return tables()[name]


def is_path(name: str) -> bool:
    """Whether a name stands for a file."""
    return name.endswith(_SUFFIX) or "/" in name


@typed
def read_table(path: str | os.PathLike[str]) -> Profile:
    """The table in a TOML file. Raises DeviceError for a file that cannot be read, or is no table."""
    path = Path(path)
    return parse_table(path.stem, read_toml(path, "a table of a device"))


def parse_table(name: str, content: Section) -> Profile:
    """The table called `name`; raises DeviceError, which names the place, for what it cannot hold."""
    title = content.text("title") if "title" in content else name
    dtype = content.text("dtype") if "dtype" in content else FLOAT32
    rates = content.section("rates")
    by_type = {each: _rates(each, rates.section(each)) for each in rates.content}
    if dtype not in by_type:
        there = ", ".join(by_type) or "none"
        raise DeviceError(
            f"{content.where}: dtype is {dtype}, and there are rates of {there}: add [rates.{dtype}]"
        )
    memory, cache, streamed = _memory(content.section("weights"))
    capacity, elements, share = _utilisation(content.section("utilisation"))
    overheads = content.section("overheads")
    profile = Profile(
        name=name,
        title=title,
        dtype=dtype,
        rates=by_type,
        operator_overhead=_overhead(overheads, "operator"),
        invocation_overhead=_overhead(overheads, "invocation"),
        bandwidth=content.maybe_figure("bandwidth", "bandwidth"),
        memory=memory,
        cache=cache,
        streamed=streamed,
        link=_link(content.section("link")) if "link" in content else None,
        limits=_limits(content.section("supports")),
        capacity=capacity,
        elements=elements,
        share=share,
    )
    overheads.finish()
    content.finish(
        "title, dtype, bandwidth, [rates.TYPE], [overheads], [weights], [link], [utilisation], [supports]"
    )
    if profile.streamed and profile.link is None:
        raise DeviceError(f"{content.where}: weights are streamed, and there is no [link] for them to cross")
    return profile


def _rates(dtype: str, section: Section) -> Mapping[str, Figure]:
    if dtype not in ITEM_BYTES:
        raise DeviceError(f"{section.where}: there is no type {dtype!r}: there are {', '.join(ITEM_BYTES)}")
    unknown = [kind for kind in section.content if kind not in KINDS]
    if unknown:
        raise DeviceError(
            f"{section.where}: there is no kind {unknown[0]!r} of operator: there are {', '.join(KINDS)}"
        )
    if not section.content:
        raise DeviceError(f"{section.where} is empty: add the rate of a kind, such as conv or other")
    return {kind: section.figure(kind, "speed") for kind in section.content}


def _overhead(section: Section, key: str) -> Figure:
    if key not in section:
        section.take(key)
        return Figure(0.0, "0 s")
    return section.figure(key, "time", above=False)


def _memory(section: Section) -> tuple[Figure | None, Figure | None, bool]:
    memory, cache = section.maybe_figure("memory", "size"), section.maybe_figure("cache", "size")
    streamed = section.flag("streamed")
    section.finish("memory, cache, streamed")
    if memory is not None and cache is not None and memory.value < cache.value:
        raise DeviceError(
            f"{section.where}: memory of {memory.text} is smaller than the cache of {cache.text}: it holds "
            "what the cache does, and the rest"
        )
    if streamed and cache is None:
        raise DeviceError(f"{section.where}: streamed, and there is no cache: say what is not streamed")
    return memory, cache, streamed


def _utilisation(section: Section) -> tuple[Figure | None, Figure | None, Mapping[str, Figure]]:
    capacity, elements = (section.maybe_figure(each, "count") for each in ("capacity", "elements"))
    shares = section.section("share")
    for kind in shares.content:
        if kind not in KINDS:
            raise DeviceError(f"{shares.where}: there is no kind {kind!r}: there are {', '.join(KINDS)}")
    share = {kind: shares.figure(kind, "count") for kind in shares.content}
    for kind, figure in share.items():
        if figure.value > 1:
            raise DeviceError(f"{shares.where}: {kind} is {figure.text}: a share is at most 1")
    section.finish("capacity, elements, share")
    return capacity, elements, share


def _link(section: Section) -> OwnLink:
    link = OwnLink(
        section.figure("latency", "time", above=False),
        section.figure("bandwidth", "bandwidth"),
        section.flag("exclusive"),
    )
    section.finish()
    return link


def _limits(section: Section) -> Limits:
    named: dict[str, Any] = {name: section.flag(name) for name in FLAGS}
    named |= {name: section.maybe_figure(name, "count") for name in COUNTS}
    limits = Limits(
        operators=frozenset(section.names("operators")) if "operators" in section else None,
        source=": ".join(parse_source(section.take("source"), f"{section.where}: source")).removesuffix(": ")
        if "source" in section
        else "",
        **named,
    )
    section.finish(", ".join(("operators", *FLAGS, *COUNTS, "source")))
    return limits
