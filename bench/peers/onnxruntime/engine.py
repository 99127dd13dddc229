"""ONNX Runtime's CPU provider, all of its graph optimisations on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnxruntime

VERSION: str = onnxruntime.__version__


def load(model: str, inputs: Sequence[np.ndarray], threads: int) -> Callable[[], list[np.ndarray]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {argument.name: value for argument, value in zip(session.get_inputs(), inputs, strict=True)}
    return lambda: session.run(None, feed)
