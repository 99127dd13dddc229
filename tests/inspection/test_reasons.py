"""Every reason, from made-up choices."""

from __future__ import annotations

import pytest

from sparsegen.formats.detect import Structure
from sparsegen.formats.registry import Statistics
from sparsegen.inspection.reasons import reason
from sparsegen.kernels.panels import PanelChoice, PanelSchedule

STATISTICS = Statistics(bytes=1000, masks=15, rows_per_vector=2.345, padding=0.125)


def choice(format: str, estimates: dict[str, float], *, cycles: float | None = None) -> PanelChoice:
    """A choice of a format with these estimates, its cycles fewer where it is permuted."""
    permuted = cycles is not None
    schedule = PanelSchedule(rows=4, tile_h=1, tile_w=4, block=32, chunk=1, format=format, permuted=permuted)
    structure = Structure("unstructured", "unstructured")
    return PanelChoice(
        schedule, structure, cycles if cycles is not None else estimates[format], estimates, {}
    )


@pytest.mark.parametrize(
    ("format", "estimates", "density", "expected"),
    [
        ("dense_panels", {"dense_panels": 100}, 1.0, "no zeros"),
        ("dense_panels", {"dense_panels": 100, "masked_panels": 101}, 0.9999, "hardly any zeros"),
        (
            "dense_panels",
            {"dense_panels": 100, "masked_panels": 110},
            0.9,
            "too dense: the zeros gain little",
        ),
        (
            "masked_panels",
            {"dense_panels": 100, "masked_panels": 97},
            0.9,
            "too dense: the zeros gain little",
        ),
        (
            "dense_panels",
            {"dense_panels": 100, "masked_panels": 110},
            0.3,
            "too small: the zeros gain little",
        ),
        (
            "masked_panels",
            {"dense_panels": 100, "masked_panels": 10},
            0.0,
            "all zero: nothing is left to multiply",
        ),
        ("masked_panels", {"dense_panels": 100, "masked_panels": 50}, 0.5, "vectors serve 2.35 rows"),
        (
            "masked_panels",
            {"dense_panels": 100, "masked_panels": 50, "column_combined": 90},
            0.5,
            "vectors serve 2.35 rows",
        ),
        (
            "masked_panels",
            {"dense_panels": 100, "masked_panels": 40, "column_combined": 45},
            0.3,
            "column-combined next at 2.22x",
        ),
        (
            "column_combined",
            {"dense_panels": 100, "masked_panels": 28, "column_combined": 25},
            0.2,
            "masked panels next at 3.57x",
        ),
        (
            "column_combined",
            {"dense_panels": 100, "masked_panels": 50, "column_combined": 25},
            0.2,
            "regular loops, 12% padding",
        ),
    ],
)
def test_reasons(format: str, estimates: dict[str, float], density: float, expected: str) -> None:
    assert reason(choice(format, estimates), STATISTICS, density=density, unpermuted=None) == expected


def test_a_permutation_is_told_by_what_it_gains() -> None:
    permuted = choice("masked_panels", {"dense_panels": 100, "masked_panels": 50}, cycles=45)
    found = reason(permuted, STATISTICS, density=0.3, unpermuted=1.9)
    assert found == "permuted: serves 2.35 rows, not 1.90"
