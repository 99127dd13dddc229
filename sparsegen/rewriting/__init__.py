"""Rewriting: operators that a device lacks are replaced by what it has, exactly or to within an error."""

from __future__ import annotations
