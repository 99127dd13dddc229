"""A compiled model that is found, or made and kept."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

from sparsegen.cache.folder import OFF, given_folder
from sparsegen.cache.key import NoKeyError, key_of
from sparsegen.cache.models import ModelCache
from sparsegen.dump import WANTED as DUMP
from sparsegen.errors import FileError, warn
from sparsegen.runtime.model import CompiledModel, bind


def model_cache(cache: bool, cache_dir: str | os.PathLike[str] | None) -> ModelCache | None:
    """The cache of a folder, or of this user's; None where none is wanted, or the user's cannot be used.

    Raises FileError for a folder that is given and cannot be used, and OptionError for what is no path.
    """
    if not cache:
        return None
    if cache_dir is not None:
        return ModelCache(given_folder(cache_dir))
    if os.environ.get(OFF):
        return None
    try:
        return ModelCache()
    except FileError as error:
        _tell_once(str(error))
        return None


def found_or_made(
    cache: ModelCache | None,
    source: Any,
    settings: Mapping[str, Any],
    make: Callable[[], CompiledModel],
) -> CompiledModel:
    """The model that a source and settings give: as it was kept, or made and kept now.

    `source` is a layer graph, or other data that decides alone what `make` makes.
    """
    if cache is None or os.environ.get(DUMP):  # who wants to see code wants it made
        return make()
    try:
        key = key_of(source, settings)
    except NoKeyError:
        return make()
    found = cache.find(key)
    if found:
        return bind(found[0])
    made = make()
    cache.keep(key, [made.program])
    return made


@functools.cache
def _tell_once(problem: str) -> None:
    warn(f"compiled models are not kept: {problem}")
