"""Shapes as they are typed: 3x224x224, 4x4."""

from __future__ import annotations

import typer


def parse_shape(text: str | None, option: str, example: str) -> tuple[int, ...] | None:
    """Read extents of at least 1, joined by `x`.

    None, an option not given, stays None. Raises typer.BadParameter for anything else.
    """
    if text is None:
        return None
    extents = text.split("x")
    if not all(extent.isdecimal() and int(extent) > 0 for extent in extents):
        raise typer.BadParameter(f"{text!r}: give a shape such as {example}", param_hint=option)
    return tuple(int(extent) for extent in extents)
