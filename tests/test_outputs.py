"""Files that options name: refused before any work; pictures in the format of their suffix."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from sparsegen.errors import FileError
from sparsegen.outputs import (
    ARRAYS,
    COMPILED,
    JOURNAL,
    JSON,
    PROGRAM,
    Reads,
    check_outputs,
    save_picture,
)


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
    (tmp_path / "link.json").symlink_to(tmp_path / "a.json")
    check_outputs({"--json": tmp_path / "b.json", "--trace": None, "--other": tmp_path / "a.json"})
    for other in (tmp_path / "a.json", tmp_path / "." / "a.json", tmp_path / "link.json"):
        with pytest.raises(FileError, match=r"--json and --trace both name .*; name two files"):
            check_outputs({"--json": other, "--trace": tmp_path / "a.json"})


@pytest.mark.parametrize(
    ("allowed", "right", "wrong", "advice"),
    [
        (JSON, ("a.json", "a", "net-0.5"), ("a.png", "a.JSON", "a.v2"), r"\.json, or have no suffix"),
        (PROGRAM, ("a.pt2", "a.b.pt2"), ("a.onnx", "a", "a.pt", "a.PT2"), r"\.pt2$"),
        (
            COMPILED,
            ("a.sparsegen", "a", "a.safetensors"),
            ("a.onnx", "a.pt2"),
            r"\.sparsegen or \.safetensors, or",
        ),
        (ARRAYS, ("a.npy", "a.npz"), ("a.txt", "a"), r"\.npy or \.npz$"),
        (JOURNAL, ("a.jsonl", "a", "a.log"), ("a.json",), r"\.jsonl or \.log, or have no suffix"),
    ],
)
def test_a_suffix_says_what_is_written(
    allowed: tuple[str, ...], right: tuple[str, ...], wrong: tuple[str, ...], advice: str, tmp_path: Path
) -> None:
    for name in right:
        check_outputs({"-o": tmp_path / name}, suffixes={"-o": allowed})
    for name in wrong:
        with pytest.raises(
            FileError, match=rf"-o .* (is|are) written there, .* let the path end in {advice}"
        ):
            check_outputs({"-o": tmp_path / name}, suffixes={"-o": allowed})


def test_what_is_read_is_not_written(tmp_path: Path) -> None:
    model, other = tmp_path / "m.pt2", tmp_path / "other.pt2"
    model.write_bytes(b"a model")
    other.write_bytes(b"another")
    (tmp_path / "linked.pt2").symlink_to(model)
    (tmp_path / "hard.pt2").hardlink_to(model)

    def check(written: Path, read: Reads) -> None:
        check_outputs({"-o": written}, suffixes={"-o": PROGRAM}, reads=read)

    reads: list[Reads] = [{"MODEL": str(model)}, {"MODEL": model}, {"MODEL": [other, model]}]
    for read in reads:
        for name in ("m.pt2", "linked.pt2", "hard.pt2"):
            with pytest.raises(
                FileError, match=r"-o .* is MODEL .*m\.pt2, which would be lost: name another"
            ):
                check(tmp_path / name, read)
        check(tmp_path / "new.pt2", read)
    check(model, {"MODEL": "resnet18", "--weights": None, "--device": tmp_path / "none"})
    assert model.read_bytes() == b"a model"


def test_a_stream_takes_what_several_write() -> None:
    null = Path("/dev/null")
    check_outputs({"--json": null, "--trace": null}, {"--png": null})
    save_picture(Figure(), null)
