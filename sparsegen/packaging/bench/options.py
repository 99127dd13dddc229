"""The options of `sparsegen bench`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from sparsegen.errors import OptionError
from sparsegen.options import check_count, check_thread_count


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """How a file is measured: `instances` processes of `threads` threads each (None: as compiled).

    They run the variant for `batch` rows (None: the file's first) for so many `seconds`.
    """

    instances: Annotated[int, "Processes, each on cores of its own."] = 1
    threads: int | None = None
    batch: int | None = None
    seconds: Annotated[float, "How long they run, after their warm-up."] = 10.0

    def check(self) -> None:
        """Raise OptionError for what no file and no machine could make sense of."""
        check_count("instances", self.instances, 1)
        if self.threads is not None:
            check_thread_count(self.threads)
        if self.batch is not None:
            check_count("batch", self.batch, 1)
        if not 0 < self.seconds < math.inf:
            raise OptionError(f"seconds is {self.seconds:g}: give a finite number above 0")
