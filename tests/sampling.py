"""A plugin: `make test` checks a seeded sample of each large set of cases, `make soak` all of it.

A set of a hundred cases or more of one kind says that it is one:

    @large(("kind", "batch"), itertools.product(WEIGHTS, BATCHES), sample=100)
    def test_any_weights(kind: str, batch: int) -> None: ...

a property that is costly to check says how many examples it is worth, here and in a soak:

    @examples(12, soak=300)
    @given(shapes())
    def test_any_shape(shape: Shape) -> None: ...

and so does what is repeated: `for _ in range(often(1000, soak=100_000))`.

Every run takes the same. `--sample-seed N` takes another sample of the sets, `--soak` everything, and
`--share K/N` of all tests that are chosen each Nth, from the Kth on.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import settings

TEST, SOAK = "test", "soak"  # hypothesis's profiles
# What a property test takes where it does not say; its examples are the same in every run.
settings.register_profile(TEST, deadline=None, derandomize=True, database=None)
settings.register_profile(SOAK, settings.get_profile(TEST), max_examples=2000)

Case = tuple[Any, ...]
_SIZE = "cases of the set"


def large(names: Sequence[str], cases: Iterable[Case], *, sample: int) -> pytest.MarkDecorator:
    """Parametrise a test as `pytest.mark.parametrize` does: by all cases in a soak, else by `sample` of them.

    Every value of every parameter occurs in the sample, which is larger where that takes more cases.
    """
    return pytest.mark.large(tuple(names), list(cases), sample=sample)


def examples(count: int, *, soak: int | None = None) -> settings:
    """How often a property is tested: `count` times, and in a soak `soak` or else 20 times as often."""
    return settings(max_examples=often(count, soak=soak or 20 * count))


def often(count: int, *, soak: int) -> int:
    """How often something is done: `count` times, and in a soak more often."""
    return soak if settings.get_current_profile_name() == SOAK else count


def stratified(cases: Sequence[Case], count: int, seed: str) -> list[Case]:
    """Some of the cases, in their order: `count`, or as many as it takes for every value to occur.

    Cases are drawn at random, those first that have the most values which none before has.
    """
    drawn = random.Random(seed).sample(range(len(cases)), len(cases))
    values = [{(place, _identity(value)) for place, value in enumerate(case)} for case in cases]
    unseen = set[tuple[int, Any]]().union(*values)
    needed = []
    while unseen:
        needed.append(max(drawn, key=lambda index: len(values[index] & unseen)))
        drawn.remove(needed[-1])
        unseen -= values[needed[-1]]
    chosen = needed + drawn[: max(0, count - len(needed))]
    return [cases[index] for index in sorted(chosen)]


def _identity(value: Any) -> Any:
    """What tells values of a parameter apart."""
    try:
        hash(value)
    except TypeError:
        return id(value)
    return type(value), value


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("sparsegen")
    group.addoption("--soak", action="store_true", help="check every case of large sets, and more examples")
    group.addoption(
        "--sample-seed", type=int, default=0, metavar="N", help="which sample of large sets is checked (0)"
    )
    group.addoption("--share", type=_share, metavar="K/N", help="run the Kth of N shares of the tests")


def _share(text: str) -> tuple[int, int]:
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a share such as 1/4")
    return int(number), int(count)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "large(names, cases, *, sample): see tests/sampling.py")
    settings.load_profile(SOAK if config.getoption("--soak") else TEST)


def pytest_report_header(config: pytest.Config) -> str:
    if config.getoption("--soak"):
        return "large sets of cases: all of each"
    seed = config.getoption("--sample-seed")
    return f"large sets of cases: a sample of each, seed {seed} (--sample-seed N: another; --soak: all)"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    option, test = metafunc.config.getoption, metafunc.definition
    for mark in test.iter_markers("large"):
        names, cases = mark.args
        if not option("--soak"):
            cases = stratified(cases, mark.kwargs["sample"], f"{option('--sample-seed')} {test.nodeid}")
        metafunc.parametrize(names, cases)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the share, and have each case's report tell how many its set has: another process may run it."""
    number, count = config.getoption("--share") or (1, 1)
    others = [item for place, item in enumerate(items) if place % count != number - 1]
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = items[number - 1 :: count]
    for item in items:
        item.user_properties += [(_SIZE, len(mark.args[1])) for mark in item.iter_markers("large")]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say of how many cases those are that were checked."""
    checked: Counter[tuple[str, int]] = Counter()
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            properties = dict(report.user_properties)
            if _SIZE in properties:
                checked[report.nodeid.partition("[")[0], properties[_SIZE]] += 1
    for (test, size), count in sorted(checked.items()):
        terminalreporter.write_line(f"{test}: {count:,} of {size:,} cases")
