"""Runs one engine in its own environment for the process at the other end of its pipes.

    python serve.py ENGINE.py

A line of JSON asks and a line of JSON answers, on the standard input and output that this process was
started with; what an engine prints goes to standard error. `{"load": MODEL, "inputs": [NPY], "threads": N}`
comes first and is answered by the engine's version; `{"save": NPZ}` runs the model once and keeps its
outputs in that file; `{"time": true}` runs it twice, once so that threads are awake and caches warm, and
answers the second run's seconds. Whatever goes wrong is answered as `{"error": TEXT}`. ENGINE.py has
`VERSION` and `load(model, inputs, threads)`, which returns a function of nothing that runs the model and
returns its outputs.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np


def main() -> None:
    """Answer until there is nothing more to read."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    server = _Server(Path(sys.argv[1]))
    for line in sys.stdin:
        try:
            answer = server.answer(json.loads(line))
        except Exception as error:  # the engine's own, of any kind
            answer = {"error": f"{type(error).__name__}: {error}".strip()}
        answers.write(json.dumps(answer) + "\n")


class _Server:
    def __init__(self, engine: Path) -> None:
        self._path = engine
        self._run: Callable[[], Any] | None = None

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        if "load" in asked:
            engine = _module(self._path)
            self._run = engine.load(
                asked["load"], [np.load(path) for path in asked["inputs"]], asked["threads"]
            )
            return {"version": engine.VERSION}
        if self._run is None:
            raise RuntimeError("no model is loaded")
        if "save" in asked:
            np.savez(asked["save"], *self._run())
            return {}
        self._run()
        began = time.perf_counter()
        self._run()
        return {"seconds": time.perf_counter() - began}


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("engine", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
