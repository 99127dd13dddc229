"""The calls of a model that are under way, which closing it waits for."""

from __future__ import annotations

import threading

from sparsegen_runtime.errors import InputError


class CallsUnderWay:
    """Counts calls in and out, until it is closed: `with calls: ...` in any number of threads.

    `of` is what the calls are of, for messages.
    """

    def __init__(self, of: str, *, closed: bool = False) -> None:
        self._of = of
        self._lock = threading.RLock()  # a signal's handler may come in while its thread holds it
        self._changed = threading.Condition(self._lock)
        self._threads: list[int] = []  # one entry a call
        self.closed = closed

    def __enter__(self) -> None:
        """Count a call in. Raises InputError once it is closed."""
        with self._lock:
            if self.closed:
                raise InputError(f"{self._of} is closed: load it again")
            self._threads.append(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        """Count a call out."""
        with self._lock:
            self._threads.remove(threading.get_ident())
            if self.closed:
                self._changed.notify_all()

    def close(self) -> None:
        """Let no call follow, and wait for those under way.

        Raises InputError in a thread that is itself in a call, as a signal's handler may be: it would wait
        for itself.
        """
        with self._changed:
            if threading.get_ident() in self._threads:
                raise InputError(f"{self._of} is being called by this very thread: close it after the call")
            self.closed = True
            while self._threads:
                self._changed.wait()
