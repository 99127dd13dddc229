"""That nothing better exists, shown anew: a little less error takes more knots.

The check goes the other way, from right to left, through other gates, three times as many, and without walls:
a function may do what it likes between two gates. So what it refuses is refused for every continuous
piecewise linear function, up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparsegen.errors import RewritingError
from sparsegen.rewriting.approximation.functions import Asymptote, Function
from sparsegen.rewriting.approximation.gates import Gates, evaluate, points, settled, survey
from sparsegen.rewriting.approximation.piecewise import PiecewiseLinear
from sparsegen.rewriting.approximation.tube import shortest_path
from sparsegen.rewriting.approximation.weights import Weights
from sparsegen.typed import typed

_PER_LINK = 288


@dataclass(frozen=True)
class Certificate:
    """What an error `share` as large takes: `fewest` knots at the least, where the fit has `knots`.

    `holds` says that those are more: no function with as many knots errs by less than `share * error`. It
    cannot hold where the fit is exact, so that its error is rounding.
    """

    knots: int
    fewest: int
    error: float
    share: float

    @property
    def holds(self) -> bool:
        """Whether the fit is optimal up to the share."""
        return self.fewest > self.knots


@typed
def certificate(fit: PiecewiseLinear, *, share: float = 0.98, knots: int | None = None) -> Certificate:
    """How many knots an error of `share` times the fit's takes at the least, on finitely many gates.

    `knots` is how many are compared: the fit's, unless it was allowed more than it needs. `fewest` is at most
    `knots + 1`: more are not counted. With weights, the fit's greatest weighted error is meant.

    Raises RewritingError for a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise RewritingError(f"share is {share!r}: give a number above 0, up to 1")
    knots = knots or len(fit.knots)
    function = _mirrored(fit.function)
    weights = fit.weights and Weights(-fit.weights.places[::-1], fit.weights.weights[::-1])
    interval = settled(function, (-fit.interval[1], -fit.interval[0]))
    x = points(function, interval)
    view = survey(function, interval, x, evaluate(function, x), weights)
    error = fit.error if fit.weighted_error is None else fit.weighted_error
    tube = Gates(view, view.gates(knots, _PER_LINK)).tube(share * error, walls=False)
    path = shortest_path(tube, knots + 1)
    fewest = knots + 1 if path is None else len(path.lines) - 1
    return Certificate(knots, fewest, error, share)


def _mirrored(function: Function) -> Function:
    """f(-x): what has to be seen of it from the left."""

    def turned(asymptote: Asymptote | None) -> Asymptote | None:
        return asymptote and Asymptote(-asymptote.slope, asymptote.offset)

    return Function(
        function.name,
        lambda x: function.evaluate(-x),
        breaks=tuple(-each for each in reversed(function.breaks)),
        left=turned(function.right),
        right=turned(function.left),
        pole=None if function.pole is None else -function.pole,
    )
