"""Artefacts, opened by the functions of sparsegen.h."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sparsegen_runtime.interface import Context, forms_of, functions, open_model


class Opened:
    """A file that is open, and the contexts that were made of it."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self._contexts: list[int] = []

    @property
    def variants(self) -> int:
        """How many run here."""
        count: int = functions().sparsegen_variants(self.handle)
        return count

    def context(self, variant: int = 0) -> Context:
        """A new context."""
        inputs, outputs = forms_of(self.handle, variant)
        made = Context(self.handle, variant, len(inputs), len(outputs))
        self._contexts.append(made.handle)
        return made

    def run(
        self, *inputs: NDArray[Any], variant: int = 0, context: Context | None = None
    ) -> list[NDArray[Any]]:
        """The outputs for inputs."""
        _, outputs = forms_of(self.handle, variant)
        results = [np.full(form.shape, np.nan, form.dtype) for form in outputs]
        context = context or self.context(variant)
        context.run([each.ctypes.data for each in inputs], [each.ctypes.data for each in results])
        return results

    def close(self) -> None:
        """Free all."""
        for context in self._contexts:
            functions().sparsegen_context_free(context)
        functions().sparsegen_close(self.handle)


@contextlib.contextmanager
def opened(path: Path, threads: int | None = None, *, verify: bool = False) -> Iterator[Opened]:
    """A file, opened until the end of a block."""
    model = Opened(open_model(path, threads, verify))
    try:
        yield model
    finally:
        model.close()


def shifted(array: NDArray[Any], remainder: int) -> NDArray[Any]:
    """A copy whose address has a remainder by 64."""
    room = np.zeros(array.nbytes + 128, np.uint8)
    begin = (remainder - room.ctypes.data) % 64
    copy = room[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
