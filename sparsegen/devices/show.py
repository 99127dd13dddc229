"""Devices for people: tables for a terminal, and the same as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sparsegen.devices.figures import Figure
from sparsegen.devices.machine import HOST, Device, Link, Machine
from sparsegen.devices.profile import FLAGS, OTHER, Profile
from sparsegen.devices.registry import kind_of
from sparsegen.wording import size_phrase

_STYLES = {"published": "green", "measured": "green", "derived": "", "recalled": "yellow", "given": "dim"}
"""How sure an origin is, as a colour."""
_WIDE = 115
"""Terminal columns from which tables tell what the devices are."""


def print_machine(machine: Machine, console: Console) -> None:
    """Devices, and the ways between them where there are several."""
    table = _table("device", "kind", "what it is")
    for device in machine.devices:
        is_host = device.name == machine.host and len(machine.devices) > 1 and device.kind != HOST
        host = " (host)" if is_host else ""
        table.add_row(*map(Text, (f"{device.name}{host}", device.kind, ", ".join(_facts(device)))))
    console.print(table)
    ways = machine.ways()
    if ways:
        console.print(_links(ways))
    elif len(machine.devices) > 1:
        console.print(Text("no two devices are connected: add a [[link]]", style="yellow"))


def print_missing(machine: Machine, console: Console) -> None:
    """What there is no device of on this machine."""
    if not any(device.kind == "cuda" for device in machine.devices):
        console.print(Text("no GPU: torch sees no CUDA device here", style="dim"))


def _links(ways: Sequence[Link]) -> Table:
    table = _table("from", "to", "latency", "bandwidth", "")
    for way in ways:
        notes = [f"through {way.via}"] if way.via else []
        notes += ["one transfer at a time"] if way.exclusive or way.buses else []
        numbers = (f"{1e6 * way.latency:,.3g} us", f"{way.bandwidth / 1e6:,.0f} MB/s")
        table.add_row(*map(Text, (way.source, way.target, *numbers, ", ".join(notes))))
    return table


def print_tables(tables: Mapping[str, Profile], console: Console) -> None:
    """The tables, a line each; narrow terminals leave out what the devices are."""
    wide = console.width >= _WIDE
    table = _table("table", *(["device"] if wide else []))
    for title in ("convolutions", "invocation", "link", "weight cache"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, profile in tables.items():
        rate = profile.rate("conv", profile.dtype)
        table.add_row(
            Text(name, no_wrap=True),
            *([Text(profile.title, no_wrap=True, overflow="ellipsis")] if wide else []),
            "" if rate is None else f"{rate.text}, {profile.dtype}",
            profile.invocation_overhead.text if profile.invocation_overhead.value else "",
            "" if profile.link is None else profile.link.bandwidth.text,
            "" if profile.cache is None else profile.cache.text,
        )
    console.print(table)
    console.print(Text("`sparsegen devices TABLE` prints its numbers, and who says so", style="dim"))


def print_table(profile: Profile, console: Console) -> None:
    """A table's numbers, the sources of all, and what the device runs."""
    console.print(Text(f"{profile.name}: {profile.title}", style="bold"))
    table = _table("number")
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("origin")
    table.add_column("source", justify="right")
    sources: dict[str, int] = {}
    for name, figure in profile.figures():
        origin = Text(figure.origin, style=_STYLES[figure.origin])
        note = str(sources.setdefault(figure.source, len(sources) + 1)) if figure.source else ""
        table.add_row(Text(name, no_wrap=True), figure.text, origin, note)
    console.print(table)
    for source, number in sources.items():
        console.print(Padding(Text(f"{number}: {source}"), (0, 0, 0, 1)))
    console.print()
    for line in limit_lines(profile):
        console.print(Text(line))


def limit_lines(profile: Profile) -> Iterator[str]:
    """What a device computes, as sentences."""
    others = [dtype for dtype in profile.rates if dtype != profile.dtype]
    yield f"computes in {' or, where asked to, in '.join([profile.dtype, *others])}"
    if any(OTHER in rates for rates in profile.rates.values()):
        yield f"kinds of operators without a rate take that of {OTHER!r}"
    if profile.streamed:
        yield "weights beyond the cache cross the link in every run"
    if profile.link is not None and profile.link.exclusive:
        yield "the link is a bus: one transfer at a time, whichever way"
    limits = profile.limits
    if limits.operators is not None:
        yield f"runs only {', '.join(sorted(limits.operators))} ({limits.source or 'no source'})"
    needed = [text for name, text in FLAGS.items() if getattr(limits, name)]
    if needed:
        yield "; ".join(needed)


def as_data(profile: Profile) -> dict[str, Any]:
    """A table as JSON holds it; numbers in seconds, bytes, bytes a second, multiply-adds a second."""
    limits = profile.limits
    return {
        "name": profile.name,
        "title": profile.title,
        "dtype": profile.dtype,
        "streamed": profile.streamed,
        "exclusive": profile.link is not None and profile.link.exclusive,
        **{name: getattr(limits, name) for name in FLAGS},
        "operators": None if limits.operators is None else sorted(limits.operators),
        "numbers": {name: _figure(figure) for name, figure in profile.figures()},
    }


def machine_as_data(machine: Machine) -> dict[str, Any]:
    """A machine's devices, and the ways between them, as JSON holds them; seconds and bytes a second."""
    devices = [
        {"name": each.name, "kind": each.kind, "settings": dict(each.settings), "what": _facts(each)}
        for each in machine.devices
    ]
    return {"host": machine.host, "devices": devices, "links": [asdict(way) for way in machine.ways()]}


def _figure(figure: Figure) -> dict[str, Any]:
    return {
        "value": figure.value,
        "text": figure.text,
        "origin": figure.origin,
        "source": figure.source,
    }


def _facts(device: Device) -> list[str]:
    """What people want to know of a device, or why this machine does not have it."""
    missing = kind_of(device).missing(device)
    if missing:
        return [f"missing: {missing}"]
    if device.kind == "cpu":
        return _of_cpu(device)
    if device.kind == "cuda":
        return _of_gpu(device)
    if device.kind == HOST:
        return ["holds inputs and results, and computes nothing"]
    return [] if device.profile is None else [device.profile.title]


def _of_cpu(device: Device) -> list[str]:
    from sparsegen.target import parse_target, this_host  # here, for it takes TVM

    host, target = this_host(), parse_target()
    caches = ((1, host.l1_bytes), (2, host.l2_bytes), (3, host.l3_bytes))
    return [
        host.model,
        _cores(device.cores),
        f"{host.cpu} ({target.isa})",
        *(f"L{level} {size_phrase(size)}" for level, size in caches if size),
    ]


def _cores(cores: Sequence[int]) -> str:
    """`core 3`, `4 cores (0-2, 5)`."""
    runs: list[list[int]] = []
    for core in sorted(cores):
        if runs and core == runs[-1][-1] + 1:
            runs[-1].append(core)
        else:
            runs.append([core])
    listed = ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
    return f"core {listed}" if len(cores) == 1 else f"{len(cores)} cores ({listed})"


def _of_gpu(device: Device) -> list[str]:
    import torch  # here, for tables take none

    found = torch.cuda.get_device_properties(device.index or 0)
    return [found.name, f"{found.total_memory / 1e9:.0f} GB", f"{found.multi_processor_count} processors"]


def _table(*columns: str) -> Table:
    return Table(*columns, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
