"""Options of the test run, and what it shares."""

from __future__ import annotations

import gc
import os
import signal

import pytest

pytest_plugins = ("tests.compile_once", "tests.preloaded", "tests.sampling")

# Threads of a parallel loop that wait for the next one leave the core to others: to the other half of the
# tests, where two run at a time. OpenMP reads it when torch is loaded, here and in processes of tests.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# What tests compile is compiled: nothing is found in, or left in, the user's cache.
os.environ["SPARSEGEN_NO_CACHE"] = "1"

# A shell starts what runs in its background deaf to Ctrl-C, which is what some tests are about.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
    """Disguise the machine before anything asks for it, and import the tests without collecting garbage."""
    gc.disable()
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


def pytest_collection_finish() -> None:
    """Look for garbage among what the tests make only, not in all of torch and TVM again and again."""
    gc.freeze()
    gc.enable()
