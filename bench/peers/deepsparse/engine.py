"""DeepSparse: sparse and dense convolutions, closed source, the last release."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import deepsparse
import numpy as np

VERSION: str = deepsparse.__version__


def load(model: str, inputs: Sequence[np.ndarray], threads: int) -> Callable[[], list[np.ndarray]]:
    engine = deepsparse.Engine(model=model, batch_size=len(inputs[0]), num_cores=threads)
    return lambda: engine.run(inputs, val_inp=False)
