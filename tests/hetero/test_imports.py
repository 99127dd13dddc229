"""Plans, their checks, the simulator and the executor need neither torch nor TVM."""

from __future__ import annotations

import subprocess
import sys

MODULES = (
    *(f"plans.{name}" for name in ("plan_json", "check", "trace", "table", "gantt")),
    *(f"running.{name}" for name in ("simulator", "executor", "emulation", "isolation")),
)


def test_plans_need_no_compiler() -> None:
    names = ", ".join(f"sparsegen.hetero.{each}" for each in MODULES)
    code = f"import sys, {names}; print([each for each in ('torch', 'tvm') if each in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.strip() == "[]"
