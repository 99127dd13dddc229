"""A small space of schedules of the made-up kernel `panels`."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sparsegen.kernels.space import Point, Space


@dataclass(frozen=True)
class Panels:
    rows: int = 4
    prefetch: bool = True

    def as_dict(self) -> Point:
        return asdict(self)


def space(*, most: int = 8, kernel: str = "panels", zeros_matter: bool = True) -> Space:
    """Panels of at most `most` rows are legal."""
    return Space(
        kernel=kernel,
        knobs={"rows": tuple(range(1, 17)), "prefetch": (True, False)},
        default=Panels(),
        make=Panels,
        legal=lambda schedule: schedule.rows <= most,
        features=lambda schedule: {},
        zeros_matter=zeros_matter,
    )
