"""A measurement of a file, as a table for a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sparsegen.packaging.bench.instance import WARM_UP_SECONDS
from sparsegen.packaging.bench.memory import Memory
from sparsegen.packaging.bench.report import BenchReport, Latency
from sparsegen.wording import counted, milliseconds, threads_phrase

_TITLES = ("calls", "calls/s", "p50\nms", "p90\nms", "p99\nms", "max\nms", "memory\nMB", "its own\nMB")


def print_report(report: BenchReport, console: Console) -> None:
    """Print every instance, all together, and lines that sum up."""
    console.print(_table(report))
    for line in _details(report):
        console.print(Text(line), soft_wrap=True)
    for text in report.warnings:
        console.print(Text(f"doubtful: {text}", style="yellow"), soft_wrap=True)
    console.print(Text(headline(report), style="bold"), soft_wrap=True)


def headline(report: BenchReport) -> str:
    """What ran where, and what all instances came to."""
    batch = "" if report.batch is None else f", batch {report.batch}"
    speed = f"{report.calls_per_second:.1f} calls/s"
    if report.batch is not None and report.batch > 1:
        speed += f", {report.calls_per_second * report.batch:.1f} rows/s"
    return (
        f"{report.path}: {report.target}{batch}, {counted(len(report.instances), 'instance')} of "
        f"{threads_phrase(report.threads)} on {report.machine.cpu}: {speed}, "
        f"p99 {milliseconds(report.latency_ms.p99)} ms"
    )


def _table(report: BenchReport) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("instance")
    table.add_column("cores", overflow="ellipsis")
    for title in _TITLES:
        table.add_column(title, justify="right", no_wrap=True)
    for number, each in enumerate(report.instances, 1):
        cores = ",".join(map(str, each.cores))
        speed = f"{each.calls_per_second:.1f}"
        table.add_row(
            str(number), cores, f"{each.calls:,}", speed, *_times(each.latency_ms), *_sizes(each.memory)
        )
    if len(report.instances) > 1:
        calls = f"{sum(each.calls for each in report.instances):,}"
        speed = f"{report.calls_per_second:.1f}"
        table.add_row("all", "", calls, speed, *_times(report.latency_ms), style="bold")
    return table


def _details(report: BenchReport) -> list[str]:
    """How it was measured, and what memory instances take."""
    first, load = report.instances[0], report.machine.load[0]
    warm = f"{WARM_UP_SECONDS:g} s, {counted(first.warm_up_calls, 'call')} of the first instance"
    lines = [f"{report.seconds:g} s after a warm-up of {warm}; load before: {load:.2f}"]
    if report.compiled_threads != report.threads:
        lines.append(f"compiled for {threads_phrase(report.compiled_threads)}")
    if report.first_bytes and report.further_bytes is not None:
        lines.append(
            f"memory: {_megabytes(report.first_bytes)} MB for the first instance, "
            f"{_megabytes(report.further_bytes)} MB for each further one that is forked after the model is "
            f"loaded ({report.further_bytes / report.first_bytes:.1%}): all else they share"
        )
    return lines


def _times(latency: Latency) -> list[str]:
    return [milliseconds(each) for each in (latency.p50, latency.p90, latency.p99, latency.max)]


def _sizes(memory: Memory | None) -> tuple[str, ...]:
    return () if memory is None else (_megabytes(memory.rss), _megabytes(memory.own))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f}"
