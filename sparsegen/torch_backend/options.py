"""The options of the backend: those of `compile` but for `batches`, as shapes come from the calls."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from sparsegen.database.assign import SHIPPED, DatabaseLike
from sparsegen.errors import OptionError
from sparsegen.options import Approximate, Fallback, check_approximate, check_thread_count
from sparsegen.typed import plain_number

WholeFallback = Literal["torch", "inductor", "error"]
"""What becomes of a graph that cannot be compiled: torch runs it, torch's own compiler, or it is refused."""


@dataclass(frozen=True, kw_only=True)
class BackendOptions:
    """What a graph is compiled with: as in `sparsegen.compile`, whose defaults these are."""

    threads: int | None = None
    target: str = "native"
    database: DatabaseLike = SHIPPED
    winograd: bool = True
    fallback: WholeFallback = "torch"
    calibration: str | os.PathLike[str] | None = None
    measured: Mapping[str, Mapping[str, float]] | None = None
    approximate: Approximate = None
    cache: bool = True
    cache_dir: str | os.PathLike[str] | None = None

    @property
    def of_operators(self) -> Fallback:
        """What becomes of a single operator without a kernel: it is torch's, unless all is to be ours."""
        return "error" if self.fallback == "error" else "torch"


def read_options(options: Mapping[str, Any] | None, mode: str | None) -> BackendOptions:
    """The options that torch.compile was given.

    Raises OptionError for names that are none, which it lists, for values that cannot be, and for a mode.
    """
    if mode is not None:
        raise OptionError(f"mode is {mode!r}: modes are inductor's; say what is wanted in options")
    given = dict(options or {})
    known = [each.name for each in fields(BackendOptions)]
    for name in given:
        if name not in known:
            why = "; shapes come from the calls" if name == "batches" else ""
            raise OptionError(
                f"the backend sparsegen has no option {name!r}{why}: choose of {', '.join(known)}"
            )
    found = BackendOptions(**{name: plain_number(value) for name, value in given.items()})
    if found.fallback not in get_args(WholeFallback):
        raise OptionError(f"fallback is {found.fallback!r}: choose of {', '.join(get_args(WholeFallback))}")
    check_approximate(found.approximate)
    if found.threads is not None:
        check_thread_count(found.threads)
    return found
