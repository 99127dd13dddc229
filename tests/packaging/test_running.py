"""Arrays in files: in order and by name, without pickles; results by where they are."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from sparsegen.errors import FileError, InputError
from sparsegen.packaging.package import Package
from sparsegen.packaging.running import named_results, read_arrays, run_file
from sparsegen.packaging.table import totals_line
from sparsegen.runtime.artefact.save import Saved
from tests.runtime.artefact.networks import example, forms, saved, structured


def test_arrays_in_order_and_by_name(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.ones(2))
    np.savez(tmp_path / "many.npz", *(np.full(2, number) for number in range(12)))
    np.savez(tmp_path / "named.npz", x=np.zeros(1))
    arrays, named = read_arrays([tmp_path / each for each in ("one.npy", "many.npz", "named.npz")])
    assert [each[0] for each in arrays] == [1, *range(12)]
    assert list(named) == ["x"]


def test_pickles_and_others_are_not_read(tmp_path: Path) -> None:
    objects, text = tmp_path / "objects.npy", tmp_path / "text.npy"
    np.save(objects, np.array([{}], object), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", np.array([{}], object), allow_pickle=True)
    text.write_text("no array")
    for path in (objects, tmp_path / "objects.npz", text, tmp_path / "none.npy"):
        with pytest.raises(InputError, match="cannot be read") as caught:
            read_arrays([path])
        assert "pickle" not in str(caught.value).replace(str(path), "")


def test_bytes_after_an_array_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones(2))
    with (tmp_path / "x.npy").open("ab") as file:
        file.write(b"junk")
    with pytest.raises(InputError, match="more bytes follow its array"):
        read_arrays([tmp_path / "x.npy"])


@pytest.mark.parametrize(("size", "told"), [(580, "58% of the dense"), (10_600, "10.6 times the dense")])
def test_a_share_is_told_as_it_reads_best(size: int, told: str) -> None:
    package = Package("m", Saved(Path("f"), (), size, 100, needs_torch=False), 1000, ())
    assert f"{told} weights' 1.0 kB" in totals_line(package)


def test_results_are_named_by_their_places() -> None:
    value = OrderedDict(a=(np.zeros(1), [torch.zeros(2)]), b=3, c=None)
    assert {name: each.shape for name, each in named_results(value).items()} == {"a.0": (1,), "a.1.0": (2,)}
    assert list(named_results(np.zeros(1))) == ["output"]
    assert named_results(torch.ones(2, dtype=torch.bfloat16))["output"].dtype == np.float32


def test_a_file_is_run(tmp_path: Path) -> None:
    path = saved(forms(), tmp_path)
    np.save(tmp_path / "x.npy", example().numpy())
    run_file(path, [tmp_path / "x.npy"], tmp_path / "y.npy", threads=2)
    assert np.array_equal(np.load(tmp_path / "y.npy"), forms()(example()).numpy())
    run_file(path, [tmp_path / "x.npy"], tmp_path / "y.npz")
    assert list(np.load(tmp_path / "y.npz")) == ["output"]


def test_outputs_that_cannot_be(tmp_path: Path) -> None:
    path = saved(structured(), tmp_path)
    with pytest.raises(FileError, match=r"end in \.npy or \.npz"):
        run_file(path, [], tmp_path / "y.txt")
    np.save(tmp_path / "x.npy", np.ones((3, 6), np.float32))
    with pytest.raises(FileError, match=r"--output .*x\.npy is --input .*x\.npy, which would be lost"):
        run_file(path, [tmp_path / "x.npy"], tmp_path / "x.npy")
    np.savez(tmp_path / "x.npz", x=np.ones((3, 6), np.float32), others=np.ones((3, 4), np.float32))
    with pytest.raises(InputError, match=r"^no --input is given: "):
        run_file(path, [], tmp_path / "y.npy")
    with pytest.raises(InputError, match=r"--input .*x\.npz: .*nested otherwise"):
        run_file(path, [tmp_path / "x.npz"], tmp_path / "y.npy")
