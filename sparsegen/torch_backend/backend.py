"""The backend: what Dynamo hands a graph to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from torch._dynamo.backends.registry import list_backends, register_backend
from torch.fx import GraphModule

from sparsegen.errors import OptionError
from sparsegen.torch_backend.dispatch import DispatchedGraph
from sparsegen.torch_backend.options import read_options
from sparsegen.torch_backend.records import forget

NAME = "sparsegen"


def sparsegen_backend(
    graph: GraphModule,
    example_inputs: Sequence[Any],
    *,
    options: Mapping[str, Any] | None = None,
    mode: str | None = None,
) -> Callable[..., Any]:
    """A function for a graph of Dynamo's, whose calls run it compiled: `torch.compile(backend="sparsegen")`.

    `options` are those of `sparsegen.compile`, but for `batches`; `fallback` says what runs what cannot be
    compiled, "torch" (the default) or "inductor", or that it is an "error". Example inputs are not looked at:
    every call has its own.

    What is wrong with options, and a fault of ours, is raised by the call: raised here, Dynamo would wrap it,
    and with its `suppress_errors` hide it.
    """
    try:
        return DispatchedGraph(graph, read_options(options, mode))
    except OptionError as error:
        return _raising(str(error))


sparsegen_backend.reset = forget  # type: ignore[attr-defined]  # which torch._dynamo.reset() calls


def register() -> None:
    """Tell torch of the backend's name, where no entry point of an installed package does."""
    if NAME not in list_backends(exclude_tags=()):
        register_backend(sparsegen_backend, name=NAME)


def _raising(message: str) -> Callable[..., Any]:
    def refuse(*_: Any) -> NoReturn:
        raise OptionError(message)

    return refuse
