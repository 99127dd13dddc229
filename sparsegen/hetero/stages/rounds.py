"""Whole calls of rival programs, timed in turn, round by round; and which of them gains."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LEAST_GAIN = 0.02
"""Share of the best rival's time that a program has to gain to be taken, in most rounds of calls."""
_MOST = 0.75  # share of the rounds


@dataclass(frozen=True)
class Rounds:
    """Seconds of whole calls, by what was called, round by round."""

    seconds: Mapping[str, Sequence[float]]

    @property
    def medians(self) -> dict[str, float]:
        """The median of each."""
        return {name: statistics.median(values) for name, values in self.seconds.items()}

    def best(self, names: Sequence[str]) -> str:
        """The one of some with the least median."""
        medians = self.medians
        return min(names, key=lambda name: medians[name])

    def ratio(self, name: str, rivals: Sequence[str]) -> float:
        """One's median over that of the best of its rivals."""
        return self.medians[name] / self.medians[self.best(rivals)]

    def gains(self, name: str, rivals: Sequence[str]) -> bool:
        """Whether one gains enough in most rounds, each beside the best of its rivals in its round."""
        return self._won(name, rivals) >= self._needed(name)

    def told(self, name: str, rivals: Sequence[str]) -> str:
        """Figures by which one was taken, or was not, as a phrase."""
        best, medians = self.best(rivals), self.medians
        return (
            f"timed in turn with the best rival ({best}: {1e3 * medians[best]:.3g} ms beside "
            f"{1e3 * medians[name]:.3g}), {LEAST_GAIN:.0%} faster in {self._won(name, rivals)} of "
            f"{len(self.seconds[name])} rounds, and {self._needed(name)} are needed"
        )

    def _won(self, name: str, rivals: Sequence[str]) -> int:
        rounds = zip(self.seconds[name], self.seconds[self.best(rivals)], strict=True)
        return sum(seconds < (1 - LEAST_GAIN) * other for seconds, other in rounds)

    def _needed(self, name: str) -> int:
        return math.ceil(_MOST * len(self.seconds[name]))
