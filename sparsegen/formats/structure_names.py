"""What sparse structures are called: one text each, in options, reports, journals and messages.

    unstructured            single weights; unstructured:global by one threshold for all layers
    vector:4                4 consecutive output channels at one (input channel, kh, kw)
    kernel:4                whole filters, of 4 consecutive output channels for one input channel
    block:4x2               blocks of 4 output by 2 input channels
    2:4                     2 of every 4 consecutive input channels; 2:4x4: 4 output channels choose together
    column-combined         groups of columns that pack into one, greedily; column-combined:annealing

Of weights it is also told that they are `dense` or `all zero`.
"""

from __future__ import annotations

import re
from typing import Literal

UNSTRUCTURED = "unstructured"
UNSTRUCTURED_GLOBAL = "unstructured:global"
COLUMN_COMBINED = "column-combined"
DENSE = "dense"
EMPTY = "all zero"

_EARLIER = (
    (r"vectors of (\d+)", r"vector:\1"),
    (r"kernels of (\d+)", r"kernel:\1"),
    (r"kernels", "kernel:1"),
    (r"blocks of (\d+x\d+)", r"block:\1"),
    (r"vector|kernel", r"\g<0>:4"),
    (r"block", "block:4x4"),
)
"""What files of earlier versions call structures: what was told of weights, and names without their sizes."""


def of_rows(kind: Literal["vector", "kernel"], rows: int) -> str:
    """`vector:4`, `kernel:4`."""
    return f"{kind}:{rows}"


def of_block(rows: int, channels: int) -> str:
    """`block:4x2`, output by input channels."""
    return f"block:{rows}x{channels}"


def of_ratio(n: int, m: int, rows: int = 1) -> str:
    """`2:4`; `2:4x4` where 4 output channels choose together."""
    return f"{n}:{m}" if rows == 1 else f"{n}:{m}x{rows}"


def current_name(text: str) -> str:
    """Today's text for what a file of any version calls a structure; others stay as they are."""
    for pattern, name in _EARLIER:
        match = re.fullmatch(pattern, text, flags=re.ASCII)
        if match:
            return match.expand(name)
    return text
