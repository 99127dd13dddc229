"""A captioner of video, frames in and words out, end to end: what the planner chose beside its rivals.

    python -m bench.captioning [--attention] [--sparsity 0.8] [--frames 60] [--rounds 7] [--quick]
        [--json FILE]

A pruned DenseNet-121 encodes each frame, a pruned LSTM says 20 words about it, one after the other, and goes
on with its state (`bench.caption_model`). It runs as one program on one core and on all, as a pipeline over
the cores, as a copy on each core with a video of its own, and in eager torch on all cores. All take turns,
one stream of frames each; medians of rounds are told, with the spread of the middle half. All words are
compared with torch's. It ends with 1 where words differ, and where, on two cores, the planner's choice is
below 1.7 times the frames of one core.
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from bench.caption_model import IMAGE, captioner
from bench.command import run
from sparsegen import pruning
from sparsegen.compare.machine import describe_machine
from sparsegen.cpuinfo import available_cores
from sparsegen.devices import Machine, this_machine
from sparsegen.files import check_writable, write_file
from sparsegen.graph import Extern
from sparsegen.hetero.costs.cost_cache import CostCache, default_path
from sparsegen.hetero.costs.costs import cost_operators
from sparsegen.hetero.operators.application import Application
from sparsegen.hetero.operators.application_graph import CarriedGraph, joined
from sparsegen.hetero.operators.cut import operators
from sparsegen.hetero.operators.fingerprint import model_fingerprint
from sparsegen.hetero.planned import PlannedModel
from sparsegen.hetero.plans.placing import Subject, by_core, machine_name
from sparsegen.hetero.plans.plan import OURS
from sparsegen.hetero.plans.streams import ALL_CORES, ONE_CORE, PIPELINE, Planned, Planner
from sparsegen.noise import warn_of_noise
from sparsegen.progress import shown
from sparsegen.target import parse_target

COPIES, TORCH = "a copy on each core, of a video each", "torch, eager, all cores"
BAR = 1.7
"""Times the frames of one core that the planner's choice has to reach, on two cores."""
_DISTINCT = 8  # frames; a stream has them again and again


@dataclass(frozen=True, eq=False)
class Rival:
    """Something that captions a stream of frames.

    caption: from frames to the words of each, with the seconds after which each was there. period: predicted
    seconds. plan: None for torch.
    """

    caption: Callable[[Sequence[Tensor]], tuple[list[Tensor], list[float]]]
    period: float | None = None
    planned: Planned | None = None


@dataclass
class Measured:
    """Frames a second of each stream, seconds between its frames, seconds of one frame alone; words right."""

    rates: list[float] = field(default_factory=list)
    periods: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    words: int = 0
    right: int = 0


def pruned(attention: bool, sparsity: float) -> Application:
    """The captioner, both modules pruned at random places."""
    torch.manual_seed(0)
    application = captioner(attention=attention)
    for operator in application.modules.values():
        assert isinstance(operator.module, torch.nn.Module)
        pruning.prune(operator.module, structure="unstructured", sparsity=sparsity)
        pruning.finalize(operator.module)
    return application


def planned_model(planned: Planned, whole: CarriedGraph) -> PlannedModel:
    """The plan, ready to be called."""
    return PlannedModel(planned.plan, whole, planned.machine, costs=planned.costs)


def streaming(model: PlannedModel) -> Callable[[Sequence[Tensor]], tuple[list[Tensor], list[float]]]:
    """Captions a video by a plan, from its first frame on."""

    def caption(frames: Sequence[Tensor]) -> tuple[list[Tensor], list[float]]:
        model.reset()
        return _timed(model.map(frames))

    return caption


def in_torch(application: Application) -> Callable[[Sequence[Tensor]], tuple[list[Tensor], list[float]]]:
    """Captions a video by eager torch, on all cores."""

    def caption(frames: Sequence[Tensor]) -> tuple[list[Tensor], list[float]]:
        application.reset()
        return _timed(words_of(application, frame) for frame in frames)

    return caption


def words_of(application: Application, frame: Tensor) -> Tensor:
    """The words that torch says about the next frame."""
    words = application(frame)
    assert isinstance(words, Tensor)
    return words


def at_once(
    models: Sequence[PlannedModel],
) -> Callable[[Sequence[Tensor]], tuple[list[Tensor], list[float]]]:
    """Captions as many videos as there are models at once; tells the words of the first one."""

    def caption(frames: Sequence[Tensor]) -> tuple[list[Tensor], list[float]]:
        found: dict[int, tuple[list[Tensor], list[float]]] = {}

        def one(number: int) -> None:
            found[number] = streaming(models[number])(frames)

        threads = [threading.Thread(target=one, args=(number,)) for number in range(len(models))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ends = sorted(end for _, each in found.values() for end in each)
        return found[0][0], ends

    return caption


def _timed(results: Iterator[Tensor]) -> tuple[list[Tensor], list[float]]:
    begun, words, ends = time.perf_counter(), list[Tensor](), list[float]()
    for each in results:
        words.append(each)
        ends.append(time.perf_counter() - begun)
    return words, ends


def plans(whole: CarriedGraph, frame: Tensor, machine: Machine, split: Machine) -> dict[str, list[Planned]]:
    """What the planner made of the captioner, by what it is; copies are one plan a core."""
    subject = Subject("captioner", model_fingerprint(whole.graph, whole.carried), machine_name(machine))
    with shown(Console(stderr=True)) as listen:
        planner = Planner(whole, (frame,), "block", subject, CostCache(default_path()), listen=listen)
        found = {name: [each] for name, each in planner.streams(machine, split).items()}
        others = [Machine((each,), (), each.name) for each in split.devices[1:]]
        found[COPIES] = [*found[ONE_CORE], *(planner.best(each, "throughput") for each in others)]
    return found


def rivals_of(
    application: Application, whole: CarriedGraph, made: Mapping[str, list[Planned]], stack: ExitStack
) -> dict[str, Rival]:
    """All that caption, ready to run, until the stack is closed."""
    one = stack.enter_context(planned_model(made[ONE_CORE][0], whole))
    rivals = {}
    for name in (ONE_CORE, ALL_CORES, PIPELINE):
        (planned,) = made[name]
        model = one if name == ONE_CORE else stack.enter_context(planned_model(planned, whole))
        rivals[name] = Rival(streaming(model), planned.plan.period, planned)
    copies = [one, *(stack.enter_context(planned_model(each, whole)) for each in made[COPIES][1:])]
    planned = made[COPIES][0]
    rivals[COPIES] = Rival(at_once(copies), planned.plan.period / len(copies), planned)
    rivals[TORCH] = Rival(in_torch(application))
    return rivals


def measure(
    rivals: Mapping[str, Rival], frames: Sequence[Tensor], expected: Sequence[Tensor], rounds: int
) -> dict[str, Measured]:
    """Each rival captions the frames, in turn, round by round, and once a round the first alone."""
    found = {name: Measured() for name in rivals}
    for turn in range(rounds + 1):
        for name, rival in rivals.items():
            alone = rival.caption(frames[:1])[1][0]
            words, ends = rival.caption(frames)
            into = found[name]
            into.words += sum(each.numel() for each in expected)
            into.right += sum(int((a == b).sum()) for a, b in zip(words, expected, strict=True))
            if turn:  # the first round warms up
                into.rates.append(len(ends) / ends[-1])
                into.periods.append((ends[-1] - ends[0]) / (len(ends) - 1))
                into.latencies.append(alone)
    return found


def torch_share(whole: CarriedGraph, frame: Tensor, machine: Machine) -> float:
    """The share of our program's time in which torch computes what has no kernel of ours."""
    given = (frame, *(whole.initial[name] for name in whole.graph.inputs if name in whole.carried))
    layers, cache = operators(whole.graph, "layer"), CostCache(default_path())
    told = cost_operators(whole.graph, layers, machine, given, cache=cache).costs
    ours = {
        name: each.seconds for name, found in told.items() for each in found if each.implementation == OURS
    }
    extern = {layer.name for layer in whole.graph.layers if isinstance(layer.core, Extern)}
    return sum(value for name, value in ours.items() if name in extern) / sum(ours.values())


def by_kernels(planned: Planned) -> dict[str, float]:
    """Seconds of a whole call on a plan's one device: by our kernels, torch's, and both mixed."""
    found: dict[str, float] = {}
    for told in planned.costs.costs.values():
        for each in told:
            found[each.implementation] = found.get(each.implementation, 0.0) + each.seconds
    return found


def main() -> int:
    """Read the arguments, plan, measure, and tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--attention", action="store_true", help="look at 49 places before each word")
    parser.add_argument("--sparsity", type=float, default=0.8)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="3 rounds of 12 frames")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    if asked.json is not None:
        check_writable("--json", asked.json)
    if asked.quick:
        asked.frames, asked.rounds = 12, 3
    warn_of_noise()
    machine = this_machine()
    machine = Machine((machine.device("cpu"),), (), "cpu")  # whatever else is there
    split = by_core(machine)
    if split is None:
        print("this process may run on one core alone: there is nothing to plan")
        return 0
    torch.set_num_threads(available_cores())
    application = pruned(asked.attention, asked.sparsity)
    whole = joined(application)
    distinct = [torch.rand(1, *IMAGE) for _ in range(_DISTINCT)]
    frames = [distinct[at % _DISTINCT] for at in range(max(2, asked.frames))]
    expected = [words_of(application, each) for each in frames]
    made = plans(whole, frames[0], machine, split)
    with ExitStack() as stack:
        rivals = rivals_of(application, whole, made, stack)
        found = measure(rivals, frames, expected, asked.rounds)
    chosen = min((ONE_CORE, ALL_CORES, PIPELINE), key=lambda name: made[name][0].plan.period)
    return tell(asked, made, rivals, found, chosen, torch_share(whole, frames[0], made[ONE_CORE][0].machine))


def tell(
    asked: argparse.Namespace,
    made: Mapping[str, list[Planned]],
    rivals: Mapping[str, Rival],
    found: Mapping[str, Measured],
    chosen: str,
    share: float,
) -> int:
    """Print what was measured, keep it where that is asked for; the status to end with."""
    console, cores = Console(width=max(Console().width, 150)), available_cores()
    console.print(table(rivals, found, chosen))
    ratio = statistics.median(found[chosen].rates) / statistics.median(found[ONE_CORE].rates)
    wrong = [name for name, each in found.items() if each.right < each.words]
    kernels = by_kernels(made[ONE_CORE][0])
    told = ", ".join(f"{name} {value * 1e3:.1f} ms" for name, value in kernels.items())
    console.print(f"the planner's choice: {chosen}, {ratio:.2f}x the frames of one core", highlight=False)
    console.print(f"one core, a frame: {told}; what has no kernel of ours: {share:.1%}", highlight=False)
    console.print(f"words as torch's: {'all' if not wrong else 'not by ' + ', '.join(wrong)}")
    if asked.json is not None:
        record = {
            "machine": asdict(describe_machine(parse_target(), cores)),
            "attention": asked.attention,
            "sparsity": asked.sparsity,
            "batch": 1,
            "threads": cores,
            "frames": asked.frames,
            "rounds": asked.rounds,
            "chosen": chosen,
            "ratio": ratio,
            "torch_share": share,
            "one_core_seconds": kernels,
            "rivals": {
                name: {**asdict(each), "predicted_period": rivals[name].period}
                for name, each in found.items()
            },
        }
        write_file(asked.json, json.dumps(record, indent=1) + "\n")
    return int(bool(wrong) or (cores == 2 and ratio < BAR))


def table(rivals: Mapping[str, Rival], found: Mapping[str, Measured], chosen: str) -> Table:
    """A row a rival."""
    base = statistics.median(found[ONE_CORE].rates)
    shown = Table(title="captions, frames a second and milliseconds: medians (middle half)")
    shown.add_column("")
    for heading in ("kernels", "frames/s", "over one core", "period", "predicted", "latency", "words"):
        shown.add_column(heading, justify="right")
    for name, each in found.items():
        rival = rivals[name]
        shown.add_row(
            f"{name} (chosen)" if name == chosen else name,
            "torch" if rival.planned is None else _kernels(rival.planned),
            _spread(each.rates),
            f"{statistics.median(each.rates) / base:.2f}x",
            _spread([value * 1e3 for value in each.periods]),
            "" if rival.period is None else f"{rival.period * 1e3:.1f}",
            f"{statistics.median(each.latencies) * 1e3:.1f}",
            f"{each.right / each.words:.1%}",
        )
    return shown


def _kernels(planned: Planned) -> str:
    return ", ".join(sorted({each.implementation for each in planned.plan.operators if each.layers}))


def _spread(values: Sequence[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else [*values] * 3
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


if __name__ == "__main__":
    run(main)
