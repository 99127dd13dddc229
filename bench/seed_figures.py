"""The published figures of the project's seed, redone by simulation on tables of devices.

    python -m bench.seed_figures [--trace] [--json FILE]

ARM and EdgeTPUs, CPU and GPU with a captioner (see `caption_model`); stages of operators at once on a V100
with the networks of IOS. Everything is simulated: nothing runs, nothing is timed, and the results are the
same on every machine. No number of a table was fitted to the figures of the captioner. Kept in
results/seed_figures.json; docs/seed_figures.md tells what falls short, and why.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.caption_model import captioner
from bench.command import run
from bench.seed_caption import Changes, Simulated, device_table, machine_of, simulated
from bench.seed_graphs import Node, read_graphs, trace_graphs
from sparsegen.devices import Machine, Profile, estimate
from sparsegen.devices.section import Section
from sparsegen.devices.table_files import parse_table
from sparsegen.files import check_writable, write_file
from sparsegen.hetero.operators.application_graph import CarriedGraph, joined
from sparsegen.hetero.operators.cut import Granularity
from sparsegen.hetero.stages.shared_search import chosen_stages
from sparsegen.hetero.stages.sharing import SharedUnit, greedy, least_possible, sequential

PUBLISHED_MS = (931.0, 23.9, 16.9)
"""ARM alone, placed, pipelined: derived from 39x, 54.9x and 59 frames a second (ACM TACO 19(3), 2022)."""
PUBLISHED_GPU = 3.24
"""Over the GPU alone, at most (IPDPS 2021)."""
IOS_MS = {
    "Inception-V3": (6.25, 4.62, 3.94), "RandWire": (8.53, 6.27, 5.78),
    "NASNet-A large": (23.02, 16.60, 15.85), "SqueezeNet, bypass": (0.89, 0.98, 0.68),
}  # fmt: skip
"""Sequential, greedy, IOS, on a V100, one image (IOS, MLSys 2021)."""
WANTED_GAIN = 3.76
"""Over sequential TVM, on an RTX 3090 (ICPADS 2022)."""

SMALL = {"words": 1000, "units": 256, "embedding": 128}
FEEDBACK = ["aten.argmax.default", "aten.embedding.default", "aten.stack.default"]
"""What feeds a word back, and what an EdgeTPU has not."""

CPU: dict[str, Any] = {
    "title": "A desktop CPU of four cores with AVX2",
    "dtype": "float32",
    "bandwidth": {"value": "20 GB/s", "source": "recalled: two channels of DDR4"},
    "rates": {"float32": {"other": {"value": "100 GMAC/s", "source": "recalled: about half of its peak"}}},
    "overheads": {"operator": {"value": "2 us", "source": "recalled: of a compiled program"}},
}
"""The CPU beside the GPU: the paper's is not known."""


@dataclass(frozen=True)
class Stages:
    """A network's stages on a table, in milliseconds, simulated; most: what no stages can gain beyond.

    utilisation: mean of the time one operator after the other. longest_way: its share of that time.
    """

    table: str
    network: str
    sequential_ms: float
    greedy_ms: float
    ours_ms: float
    utilisation: float
    longest_way: float

    @property
    def most(self) -> float:
        """The gain over sequential that no stages exceed."""
        return 1 / max(self.utilisation, self.longest_way)


def edge_machine(tpus: int = 2, table: str = "edgetpu-usb3", changes: Changes | None = None) -> Machine:
    """An ARM of four A53 and EdgeTPUs."""
    others = {f"tpu{number}": device_table(table, changes) for number in range(tpus)}
    return machine_of(("arm", device_table("arm-a53x4")), others)


def gpu_machine(launch: str = "10 us") -> Machine:
    """The CPU and the generic GPU."""
    return machine_of(("cpu", CPU), {"gpu": device_table("gpu", {"overheads.operator": launch})})


def edge_cases(model: CarriedGraph, attentive: CarriedGraph, small: CarriedGraph) -> list[Simulated]:
    """ARM and EdgeTPUs: the figures, and what would change them."""
    operators = [*device_table("edgetpu-usb3")["supports"]["operators"], *FEEDBACK]
    cases: list[tuple[str, CarriedGraph, Machine, Granularity]] = [
        ("captioner", model, edge_machine(), "layer"),
        ("with attention", attentive, edge_machine(), "layer"),
        ("decoder of 256 units, 1,000 words", small, edge_machine(), "layer"),
        ("granularity block", model, edge_machine(), "block"),
        ("granularity model", model, edge_machine(), "model"),
        ("one EdgeTPU", model, edge_machine(1), "layer"),
        ("USB 2", model, edge_machine(table="edgetpu-usb2"), "layer"),
        ("weight cache of 4 MiB", model, edge_machine(changes={"weights.cache": "4 MiB"}), "layer"),
        ("no feedback over the ARM", model, edge_machine(changes={"supports.operators": operators}), "layer"),
        ("invocation of 0.75 ms", model, edge_machine(changes={"overheads.invocation": "0.75 ms"}), "layer"),
    ]
    return [simulated(case, graph, machine, "arm", cut) for case, graph, machine, cut in cases]


def gpu_cases(model: CarriedGraph, small: CarriedGraph) -> list[Simulated]:
    """CPU and GPU: what gains over the GPU alone, and what a dearer launch would do."""
    cases = [
        ("captioner", model, gpu_machine()),
        ("decoder of 256 units, 1,000 words", small, gpu_machine()),
        ("the same, a launch of 30 us", small, gpu_machine("30 us")),
        ("the same, a launch of 100 us", small, gpu_machine("100 us")),
    ]
    return [simulated(case, graph, machine, "gpu") for case, graph, machine in cases]


def profile_of(name: str, content: dict[str, Any]) -> Profile:
    """A table from its file's content."""
    return parse_table(name, Section(name, content))


def stage_tables() -> list[Profile]:
    """The V100; and an RTX 3090, whose numbers are the V100's by the cards' peaks."""
    rtx = {
        "rates.float32.other": "35.6 TFLOP/s",  # published: NVIDIA, GA102 whitepaper
        "bandwidth": "936 GB/s",  # published: there
        "utilisation.elements": 327_000 * 35.6 / 15.7,
    }
    return [
        profile_of("v100", device_table("v100")),
        profile_of("RTX 3090, derived", device_table("v100", rtx)),
    ]


def units_on(profile: Profile, nodes: Sequence[Node]) -> list[SharedUnit]:
    """A network's operators on a table of capacity 1, a unit each."""
    costs = [estimate(profile, node.operator) for node in nodes]
    return [
        SharedUnit.of([str(number)], node.reads, ((cost.seconds, cost.utilisation),))
        for number, (node, cost) in enumerate(zip(nodes, costs, strict=True))
    ]


def stage_cases() -> list[Stages]:
    """Sequential, greedy and ours, by the tables."""
    found = []
    for profile in stage_tables():
        for network, nodes in read_graphs().items():
            operators = units_on(profile, nodes)
            alone, rival = sequential(operators).seconds, greedy(operators).seconds
            work, longest = least_possible(operators)
            _, ours = chosen_stages(operators)
            times = (1e3 * seconds for seconds in (alone, rival, ours.seconds))
            found.append(Stages(profile.name, network, *times, work / alone, longest / alone))
    return found


def shown_captioner(
    cases: Sequence[Simulated], alone: str, published: tuple[float, float, float] | None
) -> Table:
    """Milliseconds a frame, and how many times as fast as one device alone."""
    table = Table(title=f"captioner, simulated: ms a frame, and times over {alone} alone")
    for column in ("case", f"{alone} alone", "placed", "pipelined", "placed x", "pipelined x"):
        table.add_column(column, justify="left" if column == "case" else "right")
    if published:
        times = (f"{published[0] / ms:.1f}" for ms in published[1:])
        table.add_row("published", *(f"{ms:g}" for ms in published), *times, end_section=True)
    for each in cases:
        ms = (each.alone_ms, each.placed_ms, each.pipelined_ms)
        table.add_row(each.case, *(f"{x:.4g}" for x in ms), *(f"{ms[0] / x:.2f}" for x in ms[1:]))
    return table


def shown_stages(cases: Sequence[Stages]) -> Table:
    """Milliseconds of an image, ours beside IOS's."""
    table = Table(title="stages on one GPU, simulated (published in brackets): ms an image")
    columns = (
        "table",
        "network",
        "sequential",
        "greedy",
        "ours (IOS)",
        "gain",
        "at most",
        "utilised",
        "longest way",
    )
    for column in columns:
        table.add_column(column, justify="left" if column in columns[:2] else "right")
    for each in cases:
        ms = (each.sequential_ms, each.greedy_ms, each.ours_ms)
        kept = IOS_MS[each.network] if each.table == "v100" else None
        told = [f"{x:.2f} ({kept[at]:.2f})" if kept else f"{x:.2f}" for at, x in enumerate(ms)]
        gain = f"{ms[0] / ms[2]:.2f}" + (f" ({kept[0] / kept[2]:.2f})" if kept else "")
        shares = f"{each.utilisation:.0%}", f"{each.longest_way:.0%}"
        table.add_row(each.table, each.network, *told, gain, f"{each.most:.2f}", *shares)
    return table


def lines_on_edges(cases: Sequence[Simulated]) -> list[str]:
    """What has to be known to read the table of the EdgeTPUs."""
    first = cases[0]
    refused = ", ".join(f"{count} {name}" for name, count in first.refused.items())
    return [
        "Tables arm-a53x4 and edgetpu-usb3, int8, fitted to Google's benchmarks alone. The paper's decoder "
        "is not known; ours has 512 units and 9,956 words.",
        f"An EdgeTPU refuses {refused}: they are the ARM's, and each of 20 steps starts the EdgeTPU anew.",
        f"Layers placed: {', '.join(f'{count} on {name}' for name, count in first.on.items())}; the pipeline "
        f"is bound by {first.limit}.",
    ]


def lines_on_stages() -> list[str]:
    """What has to be known to read the table of stages."""
    need = 1 / WANTED_GAIN
    return [
        "Operators at once progress at min(1, capacity / sum of utilisations); that streams meet is free.",
        f"{WANTED_GAIN}x over sequential (ICPADS 2022) needs operators that fill at most {need:.1%} of the "
        f"device on average, and a longest way of at most {need:.1%} of the time.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--trace", action="store_true", help="trace the networks of IOS again")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    asked = parser.parse_args()
    if asked.json is not None:
        check_writable("--json", asked.json)
    if asked.trace:
        trace_graphs()
    warnings.simplefilter("ignore")  # of operators that torch computes: nothing runs here
    model, attentive = joined(captioner()), joined(captioner(attention=True))
    small = joined(captioner(**SMALL))
    console = Console(width=max(Console().width, 120))

    def tell(table: Table, lines: Sequence[str]) -> None:
        console.print(table)
        for line in lines:
            console.print(line, highlight=False)
        console.print()

    edges = edge_cases(model, attentive, small)
    tell(shown_captioner(edges, "ARM", PUBLISHED_MS), lines_on_edges(edges))
    gpus = gpu_cases(model, small)
    line = f"Published: up to {PUBLISHED_GPU}x over the GPU alone. A recalled CPU, the generic GPU; float32."
    tell(shown_captioner(gpus, "GPU", None), [line])
    stages = stage_cases()
    tell(shown_stages(stages), lines_on_stages())
    if asked.json is not None:
        kept = {"simulated": True, "published": {"captioner_ms": PUBLISHED_MS, "ios_ms": IOS_MS}}
        found = {"edge": edges, "gpu": gpus, "stages": stages}
        rows = {name: [asdict(each) for each in cases] for name, cases in found.items()}
        write_file(asked.json, json.dumps(kept | rows, indent=1) + "\n")


if __name__ == "__main__":
    run(main)
