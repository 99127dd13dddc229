"""What predictions learn from: the calls that plans measured, kept beside the cache of costs.

Each setting, a device's CPU or GPU with its threads, an implementation and versions, has samples of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sparsegen.errors import PredictionError
from sparsegen.hetero.costs.calls import Call
from sparsegen.hetero.costs.cost_cache import CostCache
from sparsegen.hetero.costs.prediction import LEAST, Predictor, Sample, call_of, distinct, fit, record_of

_FORMAT = 1
"""Of records and of what features mean; raised when one changes."""


def keep(cache: CostCache, setting: str, calls: Sequence[Call], seconds: Mapping[str, float]) -> None:
    """Keep the measured seconds of calls, by the calls' names, for predictions in a setting."""
    found = distinct(Sample(call, seconds[call.name]) for call in calls if call.name in seconds)
    cache.keep_samples(_key(setting), {record_of(each.call): each.seconds for each in found})


def predictor(cache: CostCache, setting: str) -> Predictor:
    """The predictor of a setting, made of what was measured in it.

    Raises PredictionError where that is too little.
    """
    samples = [Sample(call_of(each), value) for each, value in cache.samples(_key(setting)).items()]
    if len(samples) < LEAST:
        raise PredictionError(
            f"no costs can be predicted: {len(samples)} calls were measured of {setting}, and to learn from "
            f"them takes {LEAST}. Measure some networks by `python -m bench.cost_prediction --measure "
            "--quick --teach`, or plan other models with measured costs first"
        )
    return fit(samples)


def _key(setting: str) -> str:
    return f"{setting} format={_FORMAT}"
