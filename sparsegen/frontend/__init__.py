"""torch.export in, layer graph out: batch norm folded, epilogues fused."""

from sparsegen.frontend.load import load_model, load_program
from sparsegen.frontend.pipeline import from_torch

__all__ = ["from_torch", "load_model", "load_program"]
