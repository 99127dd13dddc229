"""Tables and files of devices that tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sparsegen.devices import Profile
from sparsegen.devices.section import Section
from sparsegen.devices.table_files import parse_table

TABLE: dict[str, Any] = {
    "title": "a sample",
    "dtype": "int8",
    "rates": {"int8": {"conv": "2 GMAC/s", "other": "1 GB/s"}, "float32": {"other": "1 GFLOP/s"}},
    "overheads": {"operator": "10 us", "invocation": "2 ms"},
    "weights": {"cache": "1 kB", "memory": "10 kB", "streamed": True},
    "link": {"latency": "50 us", "bandwidth": "1 MB/s", "exclusive": True},
}


def profile(**changed: Any) -> Profile:
    """The sample, with other parts."""
    return parse_table("sample", Section("sample.toml", {**TABLE, **changed}))


def written(folder: Path, text: str, name: str = "devices.toml") -> Path:
    """A file of a folder."""
    path = folder / name
    path.write_text(text)
    return path
