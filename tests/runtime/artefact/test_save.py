"""Models in files: what is there, once and small; what cannot be; and the same programs again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

import sparsegen
from sparsegen.compiler import compile_elsewhere
from sparsegen.errors import FileError, OptionError, ProgramError
from sparsegen.frontend import from_torch
from sparsegen.runtime.artefact.read import read_programs
from sparsegen.runtime.artefact.save import save_programs
from sparsegen.runtime.program_json import to_json
from sparsegen.target import check_runs, code_features, flags_of
from tests.runtime.artefact.networks import forms, saved, structured
from tests.runtime.networks import compiled_network


def told(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A file's manifest, and its sections."""
    with safe_open(path, "numpy") as file:
        texts = file.metadata()
        sections = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert (texts["format"], texts["schema"]) == ("sparsegen", "1")
    assert texts["manifest_sha256"] == hashlib.sha256(texts["manifest"].encode()).hexdigest()
    return json.loads(texts["manifest"]), sections


@pytest.mark.parametrize("model", [forms, structured])
def test_a_saved_program_is_the_same_again(model: Any, tmp_path: Path) -> None:
    program = model().program
    (read,) = read_programs(saved(model(), tmp_path), verify=True)
    assert json.dumps(to_json(read)) == json.dumps(to_json(program))
    assert read.library == program.library
    assert np.array_equal(read.weights, program.weights)


def test_what_a_file_holds(tmp_path: Path) -> None:
    path = saved(forms(), tmp_path)
    manifest, sections = told(path)
    (variant,) = manifest["variants"]
    assert (variant["target"], variant["threads"], variant["batch"]) == ("haswell", 1, 1)
    assert {"avx2", "fma", "bmi2"} <= set(variant["features"])
    assert not manifest["needs_torch"]
    for name, array in sections.items():
        if not name.startswith("pad/"):
            assert manifest["sha256"].pop(name) == hashlib.sha256(array.tobytes()).hexdigest()
    assert not manifest["sha256"]
    plan, extents = (json.loads(sections[variant[each]].tobytes()) for each in ("plan", "extents"))
    assert "signatures" not in plan
    kinds = {next(iter(entry["stored"])) for entry in plan["arrays"]}
    assert kinds >= {"raw", "transformed"}
    assert kinds & {"narrow", "deltas"}
    assert any(name.startswith("weights/kernels/") for name in sections)
    assert extents["code"] == hashlib.sha256(sections[variant["code"]].tobytes()).hexdigest()
    assert [call["symbol"] for call in plan["calls"]] == [call[0] for call in extents["calls"]]


def test_zeros_are_not_stored(tmp_path: Path) -> None:
    dense = sum(weight.numel() * 4 for weight in network_weights())
    stored = forms().save(tmp_path / "file")
    assert stored.weight_bytes < 0.75 * dense
    assert stored.weight_bytes < 0.5 * forms().program.weights.nbytes
    assert stored.file_bytes == (tmp_path / "file").stat().st_size


def network_weights() -> list[torch.Tensor]:
    from tests.runtime.artefact.networks import Forms

    return [parameter for parameter in Forms().parameters() if parameter.dim() > 1]


def test_variants_share_what_is_alike_and_the_widest_come_first(tmp_path: Path) -> None:
    one = forms().save(tmp_path / "one")
    again = replace(forms().program, threads=2)
    wide = replace(forms().program, target="znver4")
    both = save_programs(tmp_path / "both", [forms().program, again, wide])
    assert both.weight_bytes == one.weight_bytes
    assert [(each.target, each.threads) for each in both.variants] == [
        ("znver4", 1),
        ("haswell", 1),
        ("haswell", 2),
    ]
    manifest, sections = told(tmp_path / "both")
    assert len({variant["code"] for variant in manifest["variants"]}) == 1
    assert sum(name.startswith("plan/") for name in sections) == 3


def test_targets_share_weights_that_are_packed_alike(tmp_path: Path) -> None:
    """CPUs of one vector width and one choice of schedules: AMD's with AVX2 are like Intel's first."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 1)).eval()
    with torch.no_grad():
        network[2].weight *= torch.rand(32, 32, 1, 1) > 0.5  # type: ignore[operator]
    graph = from_torch(network, (torch.randn(1, 16, 12, 12),))
    haswell, znver3, znver4 = (
        compile_elsewhere(graph, threads=1, target=target) for target in ("haswell", "znver3", "znver4")
    )
    one, alike, other = (
        save_programs(tmp_path / "file", programs)
        for programs in ([haswell], [haswell, znver3], [haswell, znver4])
    )
    assert alike.weight_bytes == one.weight_bytes
    assert [each.target for each in alike.variants] == ["znver3", "haswell"]
    assert other.weight_bytes > one.weight_bytes  # vectors of another width are packed otherwise


def test_sizes_of_an_image_have_a_batch_in_common_or_none(tmp_path: Path) -> None:
    structured().save(tmp_path / "file")
    manifest, _ = told(tmp_path / "file")
    assert manifest["variants"][0]["batch"] == 3


def test_features_are_those_that_code_is_refused_for() -> None:
    features = code_features("znver4")
    assert {"avx512f", "bmi2"} <= features
    assert "aes" not in features
    assert code_features("znver4", ("avx512f",)) == features - {"avx512f"}
    assert {"avx512_vnni", "bmi1", "abm"} <= set(flags_of(features))
    check_runs("haswell", code_features("haswell"))


def test_models_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(OptionError, match="no compiled model"):
        sparsegen.save(path, [])
    with pytest.raises(
        OptionError, match=r"two of the compiled models are for haswell, 1 threads.*one of a kind"
    ):
        sparsegen.save(path, [forms(), forms()])
    with pytest.raises(ProgramError, match="models of one network"):
        sparsegen.save(path, [forms(), structured()])
    with pytest.raises(OptionError, match="a Linear is given"):
        sparsegen.save(path, [nn.Linear(1, 1)])  # type: ignore[list-item]
    assert not path.exists()


def test_files_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="is a folder"):
        forms().save(tmp_path)
    with pytest.raises(FileError, match="there is no folder"):
        forms().save(tmp_path / "none" / "file")
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(ProgramError):
        sparsegen.save(path, [forms(), structured()])
    assert path.read_text() == "before"
    compiled_network().save(path)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
