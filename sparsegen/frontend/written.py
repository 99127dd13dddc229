"""Programs that are to be taken as they are written: what was taken apart for a device stays apart."""

from __future__ import annotations

from torch.export import ExportedProgram

MARK = "sparsegen-rewritten"
"""The extra file of such a program, and what its graph module's `meta` has; the device's name is in both."""


def mark(program: ExportedProgram, device: str) -> None:
    """Have the program taken as it is written."""
    program.graph_module.meta[MARK] = device


def is_marked(program: object) -> bool:
    """Whether a model is a program that is to be taken as it is written."""
    return isinstance(program, ExportedProgram) and MARK in program.graph_module.meta
