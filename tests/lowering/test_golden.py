"""The loops that small kernels lower to, as text: a change of them shows in review.

`pytest tests/lowering --update-golden` rewrites the files.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sparsegen.formats.registry import FORMATS
from sparsegen.kernels.registry import kernel_kinds
from sparsegen.lowering.pipeline import lower
from tests.lowering.golden_cases import CASES

GOLDEN = Path(__file__).parents[1] / "golden"
LONGEST = 150  # lines that are still read


@pytest.mark.parametrize("name", CASES)
def test_lowered_code_is_the_golden_files(name: str, request: pytest.FixtureRequest) -> None:
    _, kernel = CASES[name].kernel()
    script = lower(kernel.module, kernel.store, kernel.store.shape, kernel.prefetch)["main"].script()
    settings = ", ".join(f"{name} {value}" for name, value in kernel.schedule.items())
    lowered = f"# {kernel.kind}, weights {kernel.format}; {settings or 'no schedule'}\n{script}\n"
    path = GOLDEN / f"{name}.txt"
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(lowered)
    assert path.is_file(), "no golden file: --update-golden writes it"
    assert lowered == path.read_text(), "lowered code changed: look at it, then --update-golden"
    assert len(lowered.splitlines()) <= LONGEST


def test_every_golden_file_has_a_case() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {f"{name}.txt" for name in CASES}


def test_every_kind_of_kernel_and_format_has_a_golden_file() -> None:
    kernels = [case.kernel() for case in CASES.values()]
    registered = {(core, kind) for core, kinds in kernel_kinds().items() for kind in kinds}
    assert {(core, kernel.kind) for core, kernel in kernels} == registered
    assert {kernel.format for _, kernel in kernels} >= FORMATS.keys()
