"""Tuning that is meant to be killed, for test_killed.py.

    python -m tests.tuner.killed fake LOG ACKNOWLEDGED KILLS    forks tuners and kills each
    python -m tests.tuner.killed real LOG TRIALS                tunes a small layer until it is done

A fake tuner writes a line to ACKNOWLEDGED after each trial that the session has written down.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from sparsegen.database.journal import Journal, read_journal
from sparsegen.target import parse_target
from sparsegen.tuner.jobs import find_tasks
from sparsegen.tuner.measure.local import LocalMeasurer
from sparsegen.tuner.measure.measurement import Measurer
from sparsegen.tuner.options import TuneOptions
from sparsegen.tuner.session import Session
from tests.kernels.contract import conv_graph, weights
from tests.tuner.fakes import FakeMeasurer, task

FAKE_TRIALS = 100_000


def fake(log: Path, acknowledged: Path, kills: int) -> None:
    """Fork tuners one after the other, each goes on with the same log until it is killed."""
    rng = random.Random(0)
    for _ in range(kills):
        child = os.fork()
        if child == 0:
            _tune_fake(log, acknowledged)
        time.sleep(rng.uniform(0.05, 0.4))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _tune_fake(log: Path, acknowledged: Path) -> None:
    with acknowledged.open("a") as file:

        def acknowledge() -> None:
            job, schedule = measurer.measured[-1]
            file.write(f"{job} {schedule}\n")
            file.flush()

        measurer = FakeMeasurer(on_measured=acknowledge)
        # Random: XGBoost's threads do not survive a fork.
        run(log, measurer, [task("a"), task("b")], trials=FAKE_TRIALS, search="random")
    os._exit(1)  # it was to be killed


def real(log: Path, trials: int) -> None:
    """Tune a small convolution."""
    graph = conv_graph(weights((16, 16, 3, 3)), (16, 16, 8, 8), padding=(1, 1, 1, 1))
    measurer = LocalMeasurer(parse_target(), 1)
    run(log, measurer, find_tasks(graph, parse_target(), threads=1, dense=False), trials=trials)
    measurer.close()


def run(log: Path, measurer: Measurer, tasks: list, *, trials: int, search: str = "evolution") -> None:  # type: ignore[type-arg]
    """One session."""
    with Journal.open(log) as journal:
        Session(
            tasks,
            measurer=measurer,
            journal=journal,
            options=TuneOptions(trials=trials, search=search, patience=0),
        ).run()


if __name__ == "__main__":
    if sys.argv[1] == "fake":
        fake(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
        print(len(read_journal(Path(sys.argv[2])).trials))
    else:
        real(Path(sys.argv[2]), int(sys.argv[3]))
