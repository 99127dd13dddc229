"""Records of made-up runs: of a convolution, a pooling layer, and any that hypothesis thinks of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

from hypothesis import strategies as st

from sparsegen.database.trial import Origin, Race, Status, Trial
from sparsegen.database.workload import Setting, Workload

CONV = Workload(
    operator="conv2d",
    input=(16, 64, 56, 56),
    output=(16, 64, 56, 56),
    parameters=(("weight", (64, 64, 3, 3)), ("stride", (1, 1)), ("padding", (1, 1, 1, 1)), ("groups", 1)),
    lanes="batch",
    structure="unstructured",
    density=0.5,
)
POOL = Workload(
    operator="pool2d",
    input=(16, 64, 112, 112),
    output=(16, 64, 56, 56),
    parameters=(("kind", "max"), ("kernel", (3, 3)), ("divisor", None), ("count_include_pad", True)),
    lanes="batch",
    structure="dense",
    density=1.0,
)
HERE = Setting("znver5", "AVX-512", 2, "AMD EPYC 9B45", "0.1.0", "0.27.0")
ELSEWHERE = replace(HERE, machine="AMD EPYC 9755")


def trial(rows: int = 4, *times: float, workload: Workload = CONV, **fields: Any) -> Trial:
    """A trial of panels of `rows`; without times one that failed."""
    fields = {"setting": HERE, "status": "ok" if times else "crash", **fields}
    return Trial(workload=workload, kernel="panels", schedule={"rows": rows}, times_ms=times, **fields)


def race(medians: dict[int, float], *, workload: Workload = CONV, setting: Setting = HERE) -> Race:
    """A race of panels, median by rows."""
    return Race(
        workload=workload,
        setting=setting,
        kernel="panels",
        schedules=tuple({"rows": rows} for rows in medians),
        times_ms=tuple((each, each, each) for each in medians.values()),
    )


_texts = st.text(max_size=20)
_shapes = st.lists(st.integers(1, 999), max_size=4).map(tuple)
_times = st.integers(0, 10**9).map(lambda ticks: ticks / 10**4)  # whole 0.1 us
_four_digits = st.integers(-9999, 9999).map(lambda x: x / 10)
_values = st.one_of(st.integers(-99, 99), _texts, st.booleans())
_points = st.dictionaries(_texts, _values, max_size=6)

workloads = st.builds(
    Workload,
    operator=_texts,
    input=_shapes,
    output=_shapes,
    parameters=st.dictionaries(_texts, st.one_of(_values, st.none(), _shapes), max_size=3).map(
        lambda fields: tuple(sorted(fields.items()))
    ),
    lanes=st.sampled_from(("batch", "pixels")),
    structure=_texts,
    density=st.integers(0, 100).map(lambda percent: percent / 100),
)
settings_of_trials = st.builds(Setting, _texts, _texts, st.integers(1, 64), _texts, _texts, _texts)
trials = st.builds(
    Trial,
    workload=workloads,
    setting=settings_of_trials,
    kernel=_texts,
    schedule=_points,
    status=st.sampled_from(get_args(Status)),
    times_ms=st.lists(_times, max_size=5).map(tuple),
    error=_texts,
    features=st.dictionaries(_texts, _four_digits, max_size=5),
    features_version=st.integers(0, 9),
    origin=st.sampled_from(get_args(Origin)),
    search=_texts,
    seed=st.integers(0, 2**32),
    at=_texts,
    seconds=st.tuples(_four_digits, _four_digits),
)
_ran = st.tuples(_points, st.lists(_times, min_size=1, max_size=4).map(tuple))
races = st.builds(
    lambda workload, setting, kernel, ran, at: Race(
        workload, setting, kernel, tuple(each[0] for each in ran), tuple(each[1] for each in ran), at
    ),
    workloads,
    settings_of_trials,
    _texts,
    st.lists(_ran, min_size=1, max_size=4),
    _texts,
)
