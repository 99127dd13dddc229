"""The paths of the native library's functions, one a CPU's feature."""

from __future__ import annotations

import ctypes

import pytest

from tests.runtime.native.building import HERE, library


@pytest.fixture(scope="session")
def paths(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """What paths.c shows."""
    return ctypes.CDLL(str(library(tmp_path_factory.mktemp("paths"), HERE / "paths.c")))


@pytest.fixture
def path(paths: ctypes.CDLL, request: pytest.FixtureRequest) -> int:
    """A path, by its number in paths.c."""
    number: int = request.param
    if not paths.test_can(number):
        pytest.skip("this CPU lacks the path's instructions")
    return number


@pytest.fixture(scope="session")
def code(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The shared object of kernels.c."""
    return library(tmp_path_factory.mktemp("kernels"), HERE / "kernels.c").read_bytes()
