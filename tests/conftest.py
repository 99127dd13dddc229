"""Options of the test run, and what it shares."""

from __future__ import annotations

import pytest

pytest_plugins = ("tests.compile_once",)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite tests/golden from what is generated"
    )
