"""What a tuning run is asked for: every option once, with its default and what it means."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, get_type_hints

from sparsegen.errors import OptionError
from sparsegen.options import ModelOptions
from sparsegen.tuner.budget import Budget

SEARCH_NAMES = ("evolution", "random")
"""The strategies."""

FilePath = str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True)
class TuneOptions(ModelOptions):
    """The options of `sparsegen.tune`, and of `sparsegen tune`, which explains its own ones in these words.

    `trials` and `hours` are a budget, of which one is given: a total over all runs with one journal.
    `journal` may be left out for a model that is given by its name. `rpc` and `key` go together, and
    without `target`: the servers tell their CPU themselves. What is measured differs from run to run,
    whatever the `seed`.
    """

    trials: Annotated[int | None, "Schedules to try, in all runs together."] = None
    hours: Annotated[float | None, "Time to spend, in all runs together."] = None
    journal: Annotated[FilePath | None, "Log of everything that is measured."] = None
    sparsity: Annotated[
        float | None, "Share of weights to prune; 0 leaves them be; None: N:M's, else 0.5."
    ] = 0.0
    structure: Annotated[str, "Structure of the zeros, such as vector:4 or 2:4."] = "unstructured"
    dense: Annotated[bool, "Tune the dense kernels instead."] = False
    threads: Annotated[int | None, "Threads; None: every core, on servers one."] = None
    layers: Annotated[str, "Shell pattern of the names of the layers to tune."] = "*"
    search: Annotated[str, "evolution, or random to compare with."] = "evolution"
    seed: Annotated[int, "Seed of the search."] = 0
    patience: Annotated[int, "Trials without a gain after which a layer is left; 0: no limit."] = 128
    priors: Annotated[Sequence[FilePath], "Another journal to learn from; may be repeated."] = ()
    rpc: Annotated[str | None, "Measure on the servers of this TVM RPC tracker."] = None
    key: Annotated[str | None, "Key of the RPC servers."] = None
    target: Annotated[str, "LLVM's name of a CPU, such as haswell or znver4."] = "native"

    @classmethod
    def words(cls, name: str) -> str:
        """What an option means, in a line."""
        words: str = get_type_hints(cls, include_extras=True)[name].__metadata__[0]
        return words

    @property
    def budget(self) -> Budget:
        """The trials or the hours. Raises OptionError unless one of the two is given, and above zero."""
        return Budget(self.trials, self.hours)

    def check(self) -> None:
        """Raise OptionError for what no model and no machine could make sense of."""
        _ = self.budget
        self._check_least(1, "batch", "threads")
        self._check_least(0, "patience")
        if self.search not in SEARCH_NAMES:
            raise OptionError(f"search is {self.search!r}: give one of {', '.join(SEARCH_NAMES)}")
        if (self.rpc is None) != (self.key is None):
            raise OptionError(
                "measuring on other machines needs both the tracker's HOST:PORT (rpc) and the servers' key"
            )
        if self.rpc is not None:
            parse_address(self.rpc)
            if self.target != "native":
                raise OptionError("the servers tell their CPU themselves: leave out the target")


def parse_address(address: str) -> tuple[str, int]:
    """Host and port of HOST:PORT. Raises OptionError for a malformed address."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise OptionError(
            f"{address!r} is no address of an RPC tracker; give HOST:PORT, such as 192.168.1.4:9190"
        )
    return host.strip("[]"), int(port)
