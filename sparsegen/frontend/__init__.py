"""torch.export in, layer graph out: batch norm folded, epilogues fused."""

from sparsegen.frontend.batches import for_any_batch, of_batch
from sparsegen.frontend.load import batch_of, load_model, load_program, own_batch, resolve_model
from sparsegen.frontend.own import own_model
from sparsegen.frontend.pipeline import from_torch
from sparsegen.frontend.program import export

__all__ = [
    "batch_of",
    "export",
    "for_any_batch",
    "from_torch",
    "load_model",
    "load_program",
    "of_batch",
    "own_batch",
    "own_model",
    "resolve_model",
]
