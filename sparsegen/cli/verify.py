"""`sparsegen verify`: whether a compiled model's file is whole."""

from __future__ import annotations

import typer

from sparsegen.cli.run import ModelFile


def verify(file: ModelFile) -> None:
    """Check all checksums of FILE, those of its weights too, which loading leaves out; list what it holds.

    Damage is found, malice is not: a file holds machine code, and whoever made it made its checksums.
    """
    from sparsegen.packaging.verifying import verify_file

    for line in verify_file(file):
        typer.echo(line)
