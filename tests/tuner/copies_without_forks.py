"""Keeps a fork server that imports it from making processes, as a system does that has no room for more."""

from __future__ import annotations

import errno
import os


def fork() -> int:
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


os.fork = fork
