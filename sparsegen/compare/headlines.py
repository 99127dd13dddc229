"""What a comparison comes to, in lines: the headlines, and what holds beside the speed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sparsegen.compare.report import TOLERANCE, Accuracy, Comparison, Race
from sparsegen.wording import operators_phrase, sparsity_phrase, threads_phrase


def headlines(comparison: Comparison) -> Iterator[str]:
    """What was measured and where, then what the layers and the network gain.

    What zeros buy is over the best dense code of all, ours too; what sparsegen buys, over the best of torch.
    """
    machine, network = comparison.machine, comparison.end_to_end
    yield (
        f"{comparison.model}, {sparsity_phrase(comparison.structure, comparison.sparsity)}, "
        f"batch {comparison.batch}, {threads_phrase(comparison.threads)} of {machine.cpu} "
        f"({machine.target}, {machine.isa}), medians of {comparison.samples}"
    )
    if comparison.layers:
        yield f"layers: {_layers_phrase(comparison)}"
    if network is not None:
        yield f"network: {_network_phrase(network.race)}"


def details_line(comparison: Comparison) -> str:
    """What holds beside the speed: of the network, where it was timed, the schedules, and the machine."""
    network, peak = comparison.end_to_end, f"FMA peak {comparison.machine.fma_peak_gflops:.0f} GF/s"
    sources = Counter(layer.schedule_source for layer in comparison.layers)
    if sources:
        told = ", ".join(f"{n} {source}" for source, n in sources.most_common())
        peak = f"schedules of layers: {told}; {peak}"
    if network is None:
        return peak
    return (
        f"network: compiled in {comparison.compile_seconds:.1f} s; "
        f"activations {_mib(network.peak_bytes)} MiB, largest live set {_mib(network.live_bytes)} MiB; "
        f"error {error_text(network.accuracy)} against float64, argmax {network.argmax_agreement:.1%} equal; "
        f"{peak}"
    )


def torch_line(comparison: Comparison) -> str | None:
    """What torch itself computes of the network, and its share of the time; None for nothing."""
    part = None if comparison.end_to_end is None else comparison.end_to_end.torch
    if part is None:
        return None
    return f"torch itself computes {operators_phrase(part.calls)}: {part.share:.0%} of the network's time"


def inaccuracies(comparison: Comparison) -> Iterator[str]:
    """A line for everything that differs from float64: layers, rivals on a layer, the whole network."""
    results: dict[str, Accuracy] = {}
    for layer in comparison.layers:
        results[layer.name] = layer.accuracy
        results |= {f"{name} on {layer.name}": found for name, found in layer.csr_accuracy.items()}
    if comparison.end_to_end is not None:
        results["the whole network"] = comparison.end_to_end.accuracy
    for name, found in results.items():
        if not found.passes:
            yield f"{name} differs from float64 by more than {TOLERANCE:.0e}"


def error_text(accuracy: Accuracy) -> str:
    """The relative error, marked where it is too large."""
    return f"{accuracy.relative_error:.0e}{'' if accuracy.passes else '!'}"


def _layers_phrase(comparison: Comparison) -> str:
    csr = comparison.geomean_speedup_over_csr
    return (
        f"zeros buy {comparison.geomean_speedup:.2f}x over the best dense in geometric mean, "
        f"{comparison.min_speedup:.2f}x at least"
        + ("" if csr is None else f", {csr:.2f}x over the best CSR product in geometric mean")
        + f"; sparsegen buys {comparison.geomean_speedup_over_torch:.2f}x over the best of torch; "
        f"{comparison.sparse_layers} of {len(comparison.layers)} run sparse"
    )


def _network_phrase(race: Race) -> str:
    phrase = (
        f"zeros buy {race.speedup:.2f}x over the best dense ({race.best_dense}); "
        f"sparsegen buys {race.speedup_over_torch:.2f}x over the best of torch ({race.best_torch})"
    )
    if not race.engines:
        return phrase
    return f"{phrase}, {race.over(race.best_rival):.2f}x over the best rival ({race.best_rival})"


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f}"
