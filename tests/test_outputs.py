"""Files that options name: refused before any work; pictures in the format of their suffix."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from sparsegen.errors import FileError
from sparsegen.outputs import check_outputs, save_picture


@pytest.mark.parametrize(
    ("name", "start"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF"), ("A.PNG", b"\x89PNG")]
)
def test_a_picture_has_the_format_of_its_suffix(name: str, start: bytes, tmp_path: Path) -> None:
    check_outputs({}, {"--png": tmp_path / name})
    save_picture(Figure(), tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)


@pytest.mark.parametrize(("name", "found"), [("z.xyz", "xyz"), ("z", "without a suffix"), ("z.json", "json")])
def test_other_formats_are_refused(name: str, found: str, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=rf"--png .*{found}.* let the path end in \.png, \.svg or \.pdf"):
        check_outputs({}, {"--png": tmp_path / name})
    with pytest.raises(FileError, match="no format of pictures"):
        save_picture(Figure(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot write"):
        save_picture(Figure(), tmp_path / "nowhere" / "a.png")


def test_two_options_do_not_name_one_file(tmp_path: Path) -> None:
    (tmp_path / "link.svg").symlink_to(tmp_path / "a.svg")
    check_outputs({"--json": tmp_path / "b.svg", "--trace": None}, {"--png": tmp_path / "a.svg"})
    for other in (tmp_path / "a.svg", tmp_path / "." / "a.svg", tmp_path / "link.svg"):
        with pytest.raises(FileError, match=r"--json and --png both name .*; name two files"):
            check_outputs({"--json": other}, {"--png": tmp_path / "a.svg"})


def test_a_stream_takes_what_several_write() -> None:
    null = Path("/dev/null")
    check_outputs({"--json": null, "--trace": null}, {"--png": null})
    save_picture(Figure(), null)
