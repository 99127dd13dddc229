"""Runs, and loads and unloads, leave nothing behind: no memory, no mapping, no thread, no open file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime.artefact.networks import forms, saved
from tests.runtime.networks import compiled_network
from tests.sampling import often

SCRIPT = """
import gc, os, re, sys
import numpy as np
import sparsegen_runtime

often, seldom, (threads, runs, loads) = *sys.argv[1:3], map(int, sys.argv[3:])

def held():
    gc.collect()
    with open("/proc/self/maps") as maps, open("/proc/self/smaps_rollup") as rollup:
        mappings = sum(1 for _ in maps)
        own = 1024 * int(re.search(r"Private_Dirty: +(\\d+)", rollup.read())[1])
    return own, mappings, len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))

def load_and_run(at):
    model = sparsegen_runtime.load(seldom, threads)
    model(np.ones(model.input_shapes[0], np.float32))
    if at % 2:
        model.close()  # otherwise it goes with the name

def grown(work, times):
    for at in range(times // 10):  # what is made once
        work(at)
    before = held()
    for at in range(times):
        work(at)
    return [after - then for then, after in zip(before, held())]

model = sparsegen_runtime.load(often, threads)
x = np.ones(model.input_shapes[0], np.float32)
print("runs", *grown(lambda at: model(x), runs))
print("loads", *grown(load_and_run, loads))
"""
RUNS, LOADS = often(2_000, soak=100_000), often(20, soak=200)
MOST_BYTES, MOST_MAPPINGS = 4 << 20, 9
"""What Python may come to hold, which moves tables of a megabyte between its heap and mappings of their own.

Less than a load's weights as often as models are loaded, and in a soak than 42 bytes a run.
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_nothing_grows(threads: int, tmp_path: Path) -> None:
    small, various = tmp_path / "small", saved(forms(), tmp_path)
    compiled_network(threads).save(small)
    command = [sys.executable, "-c", SCRIPT, small, various, *map(str, (threads, RUNS, LOADS))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = {
        what: [int(number) for number in numbers]
        for what, *numbers in map(str.split, done.stdout.splitlines())
    }
    assert list(told) == ["runs", "loads"]
    for what, (own, mappings, tasks, files) in told.items():
        assert own < MOST_BYTES, what
        assert mappings <= MOST_MAPPINGS, what
        assert (tasks, files) == (0, 0), what
