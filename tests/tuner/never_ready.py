"""A worker process that never gets ready: see test_process.py."""

from __future__ import annotations

import time

if __name__ == "__main__":
    time.sleep(60)
