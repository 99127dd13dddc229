"""Runs models that sparsegen compiled, with numpy alone."""

from __future__ import annotations
