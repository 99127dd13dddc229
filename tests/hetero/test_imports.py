"""Plans, their checks, the simulator and the executor need neither torch nor TVM."""

from __future__ import annotations

import subprocess
import sys

MODULES = ("plan_json", "check", "simulator", "executor", "emulation", "isolation", "trace", "table", "gantt")


def test_plans_need_no_compiler() -> None:
    names = ", ".join(f"sparsegen.hetero.{each}" for each in MODULES)
    code = f"import sys, {names}; print([each for each in ('torch', 'tvm') if each in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.strip() == "[]"
