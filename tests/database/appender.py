"""Appends trials to a journal until it is killed, and prints each one's seed once `append` returned."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import NoReturn, TextIO

from sparsegen.database.journal import Journal
from tests.database.records import trial


def append(path: Path, *, print_to: TextIO) -> NoReturn:
    """Go on from the last seed in the journal."""
    with Journal.open(path) as journal:
        first = max((each.seed for each in journal.log.trials), default=-1) + 1
        for seed in itertools.count(first):
            journal.append(trial(4, 1.25, seed=seed, features={"registers": 28.0}))
            print(seed, flush=True, file=print_to)
    raise AssertionError("numbers never end")


if __name__ == "__main__":
    append(Path(sys.argv[1]), print_to=sys.stdout)
