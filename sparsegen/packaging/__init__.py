"""Models by name into files that run anywhere, and files run."""

from __future__ import annotations
