"""Parameters and buffers: what keeps them from being compiled, and plain ones in their place."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.sparse import SparseSemiStructuredTensor

from sparsegen.frontend.refusals import describe_tensor


def named_tensors(model: nn.Module, path: str | None = None) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers by name: of all modules, or of the one at `path` alone."""
    everywhere = path is None
    module = model if path is None else model.get_submodule(path)
    prefix = path or ""
    yield from module.named_parameters(prefix, recurse=everywhere)
    yield from module.named_buffers(prefix, recurse=everywhere)


def placement_problem(name: str, tensor: Tensor) -> str:
    """Why operators cannot read a parameter or buffer where it is; "" where they can."""
    if tensor.device.type == "meta":
        return f"{describe_tensor(name)} has no data (it is on the meta device): load the weights first"
    if tensor.device.type != "cpu":
        return f"{describe_tensor(name)} is on {tensor.device}; call model.cpu()"
    return ""


def type_problem(name: str, tensor: Tensor) -> str:
    """Why operators that take float32 cannot take a parameter or buffer beside it; "" where they can."""
    if tensor.is_floating_point() and tensor.dtype != torch.float32:
        return f"{describe_tensor(name)} is {tensor.dtype}; call model.float()"
    return ""


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is dense, and not of inference mode: torch.export traces no other."""
    return not (_is_sparse(tensor) or tensor.is_inference())


def plain(tensor: Tensor) -> Tensor:
    """A plain tensor with the same values, and a parameter where that is one; its own memory."""
    value = tensor.detach()
    dense = value.to_dense() if _is_sparse(value) else value.clone()
    return nn.Parameter(dense, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else dense


def _is_sparse(tensor: Tensor) -> bool:
    return tensor.layout != torch.strided or isinstance(tensor, SparseSemiStructuredTensor)
