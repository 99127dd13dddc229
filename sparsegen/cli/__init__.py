"""The `sparsegen` command: one file a verb, no logic of its own."""

from sparsegen.cli.app import main

__all__ = ["main"]
