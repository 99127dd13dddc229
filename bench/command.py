"""What the commands of bench/ share: how they end, and the folders that they write to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from sparsegen.errors import FileError, SparsegenError

_WRONG = 2  # as argparse ends


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a command and exit with its status; bad input is one line and status 2, whichever part found it."""
    try:
        status = main()
    except SparsegenError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(_WRONG)
    sys.exit(status)


def make_folder(option: str, folder: Path) -> None:
    """Make a folder where there is none. Raises SparsegenError, which names the option, where that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{option} {folder}: there can be no such folder: {error.strerror}") from error
