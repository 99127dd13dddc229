"""torch.export in, layer graph out: batch norm folded, epilogues fused."""

from sparsegen.frontend.load import load_model, load_program, resolve_model
from sparsegen.frontend.pipeline import from_torch
from sparsegen.frontend.program import export

__all__ = ["export", "from_torch", "load_model", "load_program", "resolve_model"]
