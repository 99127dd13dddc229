"""Options of the test run."""

from __future__ import annotations

import os

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite tests/golden from what is generated"
    )
    parser.addoption(
        "--cpu",
        metavar="NAME",
        help="LLVM's name of a CPU, such as haswell: run as if this machine had that name, and no features "
        "that such a CPU lacks, here and in processes that the tests start",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Disguise the machine before anything asks for it."""
    cpu = config.getoption("--cpu")
    if cpu is None:
        return
    from sparsegen.errors import TargetError
    from sparsegen.target import HOST_CPU, this_host

    os.environ[HOST_CPU] = cpu
    try:
        this_host()
    except TargetError as error:
        raise pytest.UsageError(str(error)) from error
