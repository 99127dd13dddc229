"""What a fork breaks: locks that other threads held, and the OpenMP team of the thread that forked.

Only that thread lives on in the child. OpenMP still counts on the other threads of its team, and waits for
them forever; a thread that is started in the child gets a team of its own.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

_FORKED_WITHOUT_EXEC = 0x40  # PF_FORKNOEXEC among the flags of /proc/self/stat, the 7th field after the name

T = TypeVar("T")
_locks: weakref.WeakSet[ForkSafeLock] = weakref.WeakSet()
_stranded: int | None = None  # the thread whose team may be gone
_stand_in: ThreadPoolExecutor | None = None  # has the thread that runs parallel loops in its place


class ForkSafeLock:
    """Has a `lock`, to be taken by `with`: a new one in a forked child, whoever held the parent's."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        _locks.add(self)


def with_team(work: Callable[[], T]) -> T:
    """The result of `work`, which runs parallel loops: on this thread, or on one that has a team."""
    global _stand_in
    if threading.get_ident() != _stranded:
        return work()
    if _stand_in is None:
        _stand_in = ThreadPoolExecutor(1, thread_name_prefix="sparsegen-team")
    return _stand_in.submit(work).result()


def _in_child() -> None:
    global _stranded, _stand_in
    _stranded, _stand_in = threading.get_ident(), None
    for each in _locks:
        each.lock = threading.Lock()


def _was_forked() -> bool:
    """Whether this process is a copy of one that may have had a team before this module was imported."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return bool(int(fields[6]) & _FORKED_WITHOUT_EXEC)


if _was_forked():
    _stranded = threading.main_thread().ident
os.register_at_fork(after_in_child=_in_child)
