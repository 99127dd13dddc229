"""`torch.compile(model, backend="sparsegen")`: graphs of Dynamo's, compiled, with torch to fall back on.

Importing this makes the name known to torch; an installed package does so by its entry point.
"""

from sparsegen.torch_backend.backend import register, sparsegen_backend
from sparsegen.torch_backend.records import Compilation, GraphReport, report
from sparsegen.torch_backend.weights import refresh

__all__ = ["Compilation", "GraphReport", "refresh", "register", "report", "sparsegen_backend"]

register()
