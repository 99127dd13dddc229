"""`sparsegen calibrate`: what this machine's cores reach, measured, in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def calibrate(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Write the calibration to this file.", metavar="FILE")
    ],
) -> None:
    """Measure the clock and the memory bandwidth of this machine, for estimates in seconds.

    Without a calibration they are those of its CPU family, so that the same model gives the same code on
    every machine; `--calibration FILE` of `sparsegen inspect`, and `calibration` of `compile`, use it.
    """
    from rich.console import Console

    from sparsegen.noise import warn_of_noise
    from sparsegen.outputs import check_outputs
    from sparsegen.runtime.speed import calibrate as measure
    from sparsegen.target import parse_target

    check_outputs({"--output": output})
    console = Console()
    warn_of_noise()
    measured = measure(parse_target(), lambda step: console.print(f"measuring {step}"))
    measured.save(output)
    speed = measured.speed
    console.print(
        f"{measured.model}, {measured.cpu}, {measured.cores} cores: clock {speed.clock_hz / 1e9:.2f} GHz, "
        f"memory {speed.core_bandwidth / 1e9:.1f} GB/s a core, {speed.socket_bandwidth / 1e9:.1f} GB/s all "
        f"together; written to {output}",
        soft_wrap=True,
        highlight=False,
    )
