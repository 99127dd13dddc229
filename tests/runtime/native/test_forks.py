"""A forked process has its parent's models: their weights' memory, and threads of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.native.artefacts import store
from tests.runtime.native.models import call, new, plan, region, slot, variant, write
from tests.runtime.native.test_variants import TOLD

ELEMENTS = 1 << 21  # 8 MB, which are made when the model is loaded
LIMIT_S = 120  # on a busy machine; a hang lasts forever

SHARED = """
import os, re, sys
import numpy as np
import sparsegen_runtime

def own_bytes():
    with open("/proc/self/smaps_rollup") as file:
        return 1024 * sum(map(int, re.findall(r"Private_.*?(\\d+) kB", file.read())))

def child():
    before = own_bytes()
    for _ in range(3):
        assert np.array_equal(model(x), expected)
    assert len(os.listdir("/proc/self/task")) == 2
    assert own_bytes() - before < 2e6, own_bytes() - before
    model.close()

def fork():
    pid = os.fork()
    if pid == 0:
        try:
            child()
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

x = np.ones(4, np.float32)
model = sparsegen_runtime.load(sys.argv[1], threads=2)
expected = model(x)
assert own_bytes() > 8e6
os.unlink(sys.argv[1])
fork()
fork()
assert np.array_equal(model(x), expected)
print("done")
"""

MEANWHILE = """
import os, sys, threading
import numpy as np
import sparsegen_runtime

x = np.ones(4, np.float32)
models = [sparsegen_runtime.load(sys.argv[1])]
going = threading.Event()

def make():
    for _ in range(12):
        models[-1](x)  # which makes its weights
        models.append(sparsegen_runtime.load(sys.argv[1]))
        going.set()

maker = threading.Thread(target=make)
maker.start()
going.wait()
children = []
while maker.is_alive():
    pid = os.fork()
    if pid == 0:
        os._exit(0 if models[-1](x)[0] == 12 else 1)
    children.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
assert children and not any(children), children
print("done")
"""


@pytest.fixture
def file(code: bytes, tmp_path: Path) -> Path:
    """X -> 2 x + the sum of large weights, in the arena."""
    weights = np.zeros(ELEMENTS, np.float32)
    weights[:: ELEMENTS // 8] = 0.5
    sections: dict[str, np.ndarray] = {}
    told = {"shape": [ELEMENTS], "dtype": "float32", "stored": store(weights, "w", sections)}
    halfway = region(0, [4])
    calls = [call("twice", slot(0, [4]), halfway), call("sum", halfway, {"weight": 0}, new(1, [4]))]
    written = plan(calls, [4], {1: 4}, arrays=[told], **TOLD)
    return write(tmp_path / "m", [variant(code, written, [weights])], sections)


@pytest.mark.parametrize("script", [SHARED, MEANWHILE], ids=["shared", "meanwhile"])
def test_a_fork_shares_what_its_parent_made(script: str, file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", script, file], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.stdout == "done\n", done.stdout + done.stderr
