"""Samples of large sets: seeded, with every value, and everything in a soak; a crash names its test."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sampling import stratified

SIDE_BY_SIDE = ("-p", "xdist", "-n", "1", "--dist", "worksteal")  # as in the Makefile
LONG = 300.0  # seconds, on a busy machine
ROOT = Path(__file__).parents[1]
CASES = list(itertools.product(range(4), "abcde", [True, False, None]))
SUITE = """
import os
import pytest
from hypothesis import given, strategies as st
from tests.sampling import examples, large

@large(("first", "second"), [(i, j) for i in range(20) for j in range(30)], sample=40)
def test_pairs(first, second):
    print("pair", first, second)

calls = []

@examples(3, soak=50)
@given(st.integers())
def test_numbers(number):
    calls.append(number)

def test_calls():
    print("examples", len(calls))

@pytest.mark.skipif("CRASH" not in os.environ, reason="only where a crash is wanted")
def test_crash():
    os.abort()
"""


def run(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the suite above with this one's plugins."""
    (folder / "test_suite.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-p", "tests.sampling", "-rP", *options]
    environment |= {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONG,
    )


def printed(result: subprocess.CompletedProcess[str], word: str) -> list[str]:
    return sorted(line for line in result.stdout.splitlines() if line.startswith(word))


@pytest.mark.parametrize("count", [1, 10, 59, 60, 100])
def test_every_value_occurs_in_a_sample(count: int) -> None:
    chosen = stratified(CASES, count, "seed")
    assert chosen == [case for case in CASES if case in chosen]
    assert len(chosen) == min(len(CASES), max(count, 5))  # of the second parameter's values
    for values, all_values in zip(zip(*chosen, strict=True), zip(*CASES, strict=True), strict=True):
        assert set(values) == set(all_values)


def test_values_may_be_of_any_kind() -> None:
    cases = [({"rows": i}, i % 2) for i in range(9)]  # dictionaries, which nothing tells apart but identity
    assert len(stratified(cases, 3, "seed")) == 9
    assert stratified([(1,), (True,), (1,)], 1, "seed") in ([(1,), (True,)], [(True,), (1,)])


def test_the_seed_alone_decides() -> None:
    assert stratified(CASES, 20, "0") == stratified(CASES, 20, "0") != stratified(CASES, 20, "1")


def test_a_run_takes_a_sample_and_a_soak_everything(tmp_path: Path) -> None:
    sample, other, soak = (run(tmp_path, *options) for options in ((), ("--sample-seed", "1"), ("--soak",)))
    assert [result.returncode for result in (sample, other, soak)] == [0] * 3
    assert printed(sample, "pair") != printed(other, "pair")
    assert len(printed(sample, "pair")) == len(printed(other, "pair")) == 40
    assert len(printed(soak, "pair")) == 600
    assert (printed(sample, "examples"), printed(soak, "examples")) == (["examples 3"], ["examples 50"])
    assert "a sample of each, seed 0" in sample.stdout
    assert "a sample of each, seed 1" in other.stdout
    assert "test_suite.py::test_pairs: 40 of 600 cases" in sample.stdout
    assert "test_suite.py::test_pairs: 600 of 600 cases" in soak.stdout


def test_a_test_that_crashes_its_process_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    result = run(tmp_path, *SIDE_BY_SIDE, CRASH="1")
    assert result.returncode == 1
    assert "crashed while running 'test_suite.py::test_crash'" in result.stdout
    assert "1 failed, 42 passed" in result.stdout
    assert "test_suite.py::test_pairs: 40 of 600 cases" in result.stdout


def test_a_run_without_tests_fails(tmp_path: Path) -> None:
    assert run(tmp_path, *SIDE_BY_SIDE, "-k", "nothing").returncode == 5
