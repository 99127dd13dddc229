"""The JSON of a comparison, read back: this version's schema, and the two before it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sparsegen.compare.report import (
    ARTEFACT,
    OURS,
    SCHEMA,
    Accuracy,
    ArtefactPart,
    Comparison,
    LayerComparison,
    Machine,
    NetworkComparison,
    Race,
    Timing,
    TorchPart,
)
from sparsegen.errors import FileError
from sparsegen.formats.structure_names import current_name

_OLDEST = 3


def read_comparison(path: Path) -> Comparison:
    """The comparison whose JSON is in a file, of schema 3 to 5.

    Schema 4 named structures without their usual sizes, `vector` for `vector:4`. Schema 3, too, and it left
    our dense kernel out of the rivals of a layer that was itself compiled to one, Winograd's: here it is
    among them, with the layer's own time, and speed-ups have today's meaning.

    Raises FileError for a file that cannot be read, that is no comparison, or of another schema.
    """
    try:
        content = json.loads(path.read_bytes())
        schema = content["schema"]
        if isinstance(schema, int) and _OLDEST <= schema <= SCHEMA:
            return _comparison(content)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FileError(
            f"{path} is no comparison ({type(error).__name__}: {error}): give what "
            "`sparsegen compare --json` wrote"
        ) from error
    raise FileError(
        f"{path} has schema {schema!r}, and this version of sparsegen reads comparisons of schemas "
        f"{_OLDEST} to {SCHEMA}: measure again"
    )


def _comparison(content: Mapping[str, Any]) -> Comparison:
    network = content["end_to_end"]
    return Comparison(
        machine=Machine(**content["machine"]),
        model=content["model"],
        batch=content["batch"],
        threads=content["threads"],
        sparsity=content["sparsity"],
        structure=current_name(content["structure"]),
        samples=content["samples"],
        compile_seconds=content["compile_seconds"],
        layers=tuple(map(_layer, content["layers"])),
        end_to_end=None if network is None else _network(network),
        warnings=tuple(content.get("warnings", ())),
    )


def _layer(fields: Mapping[str, Any]) -> LayerComparison:
    race = _race(fields, csr=fields["csr_ms"] or {})
    if OURS not in race.dense:  # schema 3, a layer that was compiled to our dense kernel
        race.dense[OURS] = race.sparse
    return LayerComparison(
        name=fields["name"],
        weight_shape=tuple(fields["weight_shape"]),
        input_shape=tuple(fields["input_shape"]),
        density=fields["density"],
        kernel=fields["kernel"],
        format=fields["format"],
        schedule=fields["schedule"],
        schedule_source=fields["schedule_source"],
        race=race,
        gflops=fields["gflops"],
        peak_fraction=fields["peak_fraction"],
        accuracy=_accuracy(fields),
        csr_accuracy=_csr_accuracy(fields),
    )


def _network(fields: Mapping[str, Any]) -> NetworkComparison:
    return NetworkComparison(
        race=_race(fields, engines=fields["engines_ms"] or {}),
        absent=fields["absent"],
        accuracy=_accuracy(fields),
        argmax_agreement=fields["argmax_agreement"],
        peak_bytes=fields["peak_bytes"],
        live_bytes=fields["live_bytes"],
        engines=fields["engines_version"] or {},
        torch=TorchPart(**fields["torch"]) if fields.get("torch") else None,
        artefact=_artefact(fields["artefact"]) if fields.get("artefact") else None,
    )


def _artefact(fields: Mapping[str, Any]) -> ArtefactPart:
    return ArtefactPart(fields["path"], fields["target"], _accuracy(fields))


def _race(
    fields: Mapping[str, Any],
    *,
    csr: Mapping[str, float] | None = None,
    engines: Mapping[str, float] | None = None,
) -> Race:
    spread = fields["spread_ms"]

    def timings(medians: Mapping[str, float | None]) -> dict[str, Timing]:
        """Of the rivals that took part."""
        return {name: Timing(ms, *spread[name]) for name, ms in medians.items() if ms is not None}

    return Race(
        sparse=Timing(fields["sparse_ms"], *spread["sparse"]),
        dense=timings(fields["dense_ms"]),
        csr=timings(csr or {}),
        engines=timings(engines or {}),
        artefact=timings({ARTEFACT: fields.get("artefact_ms")}).get(ARTEFACT),
    )


def _csr_accuracy(fields: Mapping[str, Any]) -> dict[str, Accuracy]:
    """By rival; schema 3 does not tell the absolute errors."""
    absolute = fields.get("csr_max_abs_error") or {}
    relative: dict[str, float] = fields["csr_relative_error"] or {}
    return {name: Accuracy(absolute.get(name, math.nan), error) for name, error in relative.items()}


def _accuracy(fields: Mapping[str, Any]) -> Accuracy:
    return Accuracy(max_abs_error=fields["max_abs_error"], relative_error=fields["relative_error"])
