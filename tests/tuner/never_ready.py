"""A worker process that never gets ready: see test_process.py."""

from __future__ import annotations

import time


def main() -> None:
    time.sleep(60)
