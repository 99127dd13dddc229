"""The sites' errors for an error of the whole model: as much as it bears, where most time is saved.

How errors of sites add up in a network is not known beforehand: it is tried, on calibration inputs. First all
sites may err alike, as much as the model bears; then one after the other as much more as it still bears,
those first that gain most. That is a local optimum: no single site may err more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sparsegen.errors import RewritingError
from sparsegen.graph import LayerGraph
from sparsegen.progress import Listener, Steps
from sparsegen.rewriting.accuracy import Accuracy, Reference
from sparsegen.rewriting.draft import Price
from sparsegen.rewriting.rewrite import Rewriter, Rewritten, rewrite
from sparsegen.rewriting.site import Interval

ERRORS = (0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)
"""That a site may have, from the largest down."""


@dataclass(frozen=True, eq=False)
class Budget:
    """What each layer's operators may err by, what became of the graph, and how far its results are off."""

    errors: Mapping[str, float]
    rewritten: Rewritten
    accuracy: Accuracy


def within(
    graph: LayerGraph,
    price: Price,
    reference: Reference,
    end_to_end: float,
    *,
    intervals: Mapping[str, Interval],
    listen: Listener | None = None,
) -> Budget:
    """The cheapest rewriting found whose results differ by at most `end_to_end` on calibration inputs.

    listen is told of every trial. Raises RewritingError where even the smallest errors of sites are too much.
    """
    trial = _Trial(graph, Rewriter(price), reference, intervals, Steps(listen, total=len(ERRORS) + 1))
    exact = trial.of({})
    found = [exact]
    if exact.rewritten.unsupported or exact.accuracy.error > end_to_end:
        found.clear()
    layers = dict.fromkeys(each.layer for each in exact.rewritten.replaced)
    for error in ERRORS:
        alike = trial.of(dict.fromkeys(layers, error))
        if alike.accuracy.error <= end_to_end:
            found.append(alike)
            break
    if not found:
        raise RewritingError(
            f"the results are off by more than {end_to_end:g} even where every operator errs by at most "
            f"{ERRORS[-1]:g}: allow more end to end, or give calibration inputs that are like the real ones"
        )
    best = min(found, key=lambda each: _seconds(each.rewritten))
    return _loosened(best, layers, trial, end_to_end)


class _Trial:
    """Rewrites, and computes what comes of it; what was tried before is known."""

    def __init__(
        self,
        graph: LayerGraph,
        rewriter: Rewriter,
        reference: Reference,
        intervals: Mapping[str, Interval],
        steps: Steps,
    ) -> None:
        self._graph, self._rewriter, self._intervals = graph, rewriter, intervals
        self._reference, self._steps = reference, steps
        self._rewritten: dict[frozenset[tuple[str, float]], Rewritten] = {}

    def rewritten(self, errors: Mapping[str, float]) -> Rewritten:
        """The graph where each layer may err by its error; others by none."""
        key = frozenset(errors.items())
        if key not in self._rewritten:
            self._rewritten[key] = rewrite(
                self._graph, self._rewriter, max_error=errors, intervals=self._intervals
            )
        return self._rewritten[key]

    def of(self, errors: Mapping[str, float]) -> Budget:
        """The graph with these errors, and how far its results are off."""
        self._steps.begin("rewriting, and comparing results")
        found = self.rewritten(errors)
        return Budget(errors, found, self._reference.accuracy(found.graph))


def _loosened(best: Budget, layers: Iterable[str], trial: _Trial, end_to_end: float) -> Budget:
    """The budget with single layers' errors raised, while that gains and the results bear it."""
    open_layers, left = dict.fromkeys(layers), len(best.rewritten.unsupported)
    while True:
        now = {layer: best.errors.get(layer, 0.0) for layer in open_layers}
        alike = {error: dict.fromkeys(layers, error) if error else {} for error in now.values()}
        alike |= {_next(error): dict.fromkeys(layers, _next(error)) for error in alike if error < ERRORS[0]}
        seconds = {error: trial.rewritten(errors).seconds for error, errors in alike.items()}
        gains = {
            layer: seconds[error][layer] - seconds[_next(error)][layer]
            for layer, error in now.items()
            if error < ERRORS[0]
        }
        layer = max(gains, key=lambda each: gains[each], default=None)
        if layer is None or gains[layer] <= 0:
            return best
        tried = trial.of({**best.errors, layer: _next(now[layer])})
        if tried.accuracy.error <= end_to_end and len(tried.rewritten.unsupported) <= left:
            best = tried
        else:
            del open_layers[layer]


def _next(error: float) -> float:
    """The next larger error."""
    return min(each for each in ERRORS if each > error)


def _seconds(rewritten: Rewritten) -> float:
    return sum(rewritten.seconds.values())
