"""A forked process calls and compiles models on threads of its own, and never waits for its parent's."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.preloaded import run

LIMIT_S = 600  # of imports, on a busy machine; a hang lasts forever

SCRIPT = """
import os, sys, threading
import numpy as np
import torch
from sparsegen.frontend import program
from sparsegen.runtime import bindings, forks
from tests.runtime.networks import compiled_network, example

torch.set_num_threads(2)
torch.ones(1 << 20).mul(2)  # torch's team, which is ours
model = None if "compile" in sys.argv else compiled_network(threads=2)
x = example().to(memory_format=torch.channels_last)
expected = compiled_network(threads=1)(x).numpy()
if "called" in sys.argv:
    model(x)
if "held" in sys.argv:  # by a thread that the child has not
    taken = threading.Event()
    def hold():
        model._contexts.take()
        with program._EXCLUSIVE.lock:
            taken.set()
            threading.Event().wait()
    threading.Thread(target=hold, daemon=True).start()
    assert taken.wait(60)

def child():
    global model
    model = compiled_network(threads=2) if model is None or "held" in sys.argv else model
    for _ in range(3):
        np.testing.assert_allclose(model(x).numpy(), expected, rtol=1e-4, atol=1e-5)
    model.run_layer("0")
    assert bindings.fma_peak_gflops(8, 2) > 0
    team = forks.with_team(lambda: len(os.listdir("/proc/self/task")))
    assert team >= 3, team  # this thread, the one that stands in for it, and the rest of its team

def forked(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

forked(lambda: (child(), forked(child)))
if "held" not in sys.argv and model is not None:
    np.testing.assert_allclose(model(x).numpy(), expected, rtol=1e-4, atol=1e-5)
print("done")
"""


@pytest.mark.parametrize("what", ["called", "not called", "compile", "held"])
def test_a_fork_has_threads_of_its_own(what: str) -> None:
    done = run("-c", SCRIPT, what)
    assert done.stdout == "done\n", done.stdout + done.stderr


LATE = """
import os, sys
import torch
torch.set_num_threads(2)
torch.ones(1 << 20).mul(2)
pid = os.fork()
if pid == 0:  # sparsegen is imported in the child, which cannot know what its parent ran
    from tests.runtime.networks import compiled_network, example
    compiled_network(threads=2)(example())
    print("done", flush=True)
    os._exit(0)
os.waitpid(pid, 0)
"""


def test_a_fork_before_sparsegen_is_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LATE], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.stdout == "done\n", done.stdout + done.stderr
