"""What mypy knows of TVM, which ships no types: the expressions. Everything else of it is `Any`."""

from typing import Any

def __getattr__(name: str) -> Any: ...
