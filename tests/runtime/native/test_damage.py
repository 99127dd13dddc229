"""The C runtime: files that are none, damaged, or of another version are refused, each with what is wrong."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sparsegen_runtime.errors import SparsegenError
from sparsegen_runtime.interface import functions

from tests.runtime.native.artefacts import Variant, lay_out, pack
from tests.runtime.native.building import HERE, build_with_runtime
from tests.runtime.native.models import call, new, plan, region, slot, stored_arrays, variant, write
from tests.runtime.native.opened import opened

X = np.arange(4, dtype=np.float32)


def mixed(code: bytes) -> tuple[Variant, dict[str, Any]]:
    """A variant that has all that a plan may have, and its sections."""
    told, sections, arrays = stored_arrays()
    halo = {"groups": 1, "size": 8, "head": 1, "planes": 2, "plane": 4, "spans": [[1, 2], [3, 4]]}
    a, b, c = region(0, [1, 8], 0), region(64, [4]), region(128, [4])
    calls = [
        call("sum_0", slot(0, [4], aligned=True), a, clears=True),
        call("sum_1", a, *({"weight": number} for number in range(5)), b),
        call("twice", b, c),
        call("sum_2", b, region(192, [4])),
        call("sum_3", c, region(192, [4]), new(1, [4]), frees=[0]),
        call("exp", slot(1, [4]), new(2, [4])),
    ]
    stage = {
        "first": 2,
        "end": 4,
        "groups": [{"calls": [2], "threads": 1}, {"calls": [3], "threads": 1}],
        "after": {},
    }
    written = plan(calls, [4], {1: 4, 2: 4}, halos=[halo], arrays=told, stages=[stage])
    return variant(code, written, arrays), sections


def test_the_undamaged_file_runs(code: bytes, tmp_path: Path) -> None:
    one, sections = mixed(code)
    with opened(write(tmp_path / "m", [one], sections), verify=True) as model:
        first, second = model.run(X)
        assert np.isfinite(first).all()
        with np.errstate(over="ignore"):
            np.testing.assert_allclose(second, np.exp(first))


def refusal(path: Path, *, verify: bool = False) -> str:
    """What is said of a file that cannot be run, by its name."""
    with pytest.raises(SparsegenError) as raised, opened(path, verify=verify) as model:
        model.run(X)
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert "; " in message or "load it from" in message  # what to do
    assert functions().sparsegen_last_error().decode() == message
    return message


def header_of(data: bytes) -> tuple[Any, bytes]:
    """A file's header, and what follows it."""
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def with_header(data: bytes, change: Callable[[Any], object]) -> bytes:
    """The file with another header."""
    header, rest = header_of(data)
    change(header)
    text = json.dumps(header).encode()
    text += b" " * (-(len(text) + 8) % 4096)
    return len(text).to_bytes(8, "little") + text + rest


def flipped(data: bytes, section: str) -> bytes:
    """The file with another bit in a section."""
    header, rest = header_of(data)
    at = len(data) - len(rest) + header[section]["data_offsets"][0]
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


FILES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "empty or cut short"),
    "a text": (
        lambda _: b"This is a text, of more than eight letters.\n" * 50,
        "no file that sparsegen wrote",
    ),
    "half of it": (lambda data: data[: len(data) // 2], "lies outside of the"),
    "one byte less": (lambda data: data[:-1], "lies outside of the"),
    "one byte more": (lambda data: data + b"\0", "belong to nothing"),
    "a long header": (
        lambda data: (1 << 62).to_bytes(8, "little") + data[8:],
        "no file that sparsegen wrote",
    ),
    "no header": (lambda data: bytes(8) + data[8:], "no multiple of 4096|no JSON"),
    "a broken header": (lambda data: data.replace(b'"__metadata__"', b'"__metadata__'), "no JSON"),
    "another format": (
        lambda data: with_header(data, lambda h: h["__metadata__"].update(format="pt")),
        "safetensors file of something else",
    ),
    "another schema": (
        lambda data: with_header(data, lambda h: h["__metadata__"].update(schema="2")),
        "has schema '2', and this version reads 1",
    ),
    "another manifest": (
        lambda data: with_header(data, lambda h: h["__metadata__"].update(manifest="{}")),
        "manifest is not what its checksum says",
    ),
    "sections in each other": (
        lambda data: with_header(
            data, lambda h: h["plan/0"].update(data_offsets=h["code/0"]["data_offsets"])
        ),
        "another number by its shape|does not begin where",
    ),
    "offsets past the end": (
        lambda data: with_header(data, lambda h: h["code/0"].update(data_offsets=[0, 1 << 62])),
        "lies outside of the",
    ),
    "a shape past all numbers": (
        lambda data: with_header(data, lambda h: h["code/0"].update(shape=[1 << 40, 1 << 40])),
        "another number by its shape",
    ),
    "no such type": (lambda data: with_header(data, lambda h: h["code/0"].update(dtype="F8")), "has no type"),
    "a section less": (lambda data: with_header(data, lambda h: h.pop("weights/c")), "does not begin where"),
    "a bit of the plan": (lambda data: flipped(data, "plan/0"), "'plan/0' is not what its checksum says"),
    "a bit of the code": (lambda data: flipped(data, "code/0"), "'code/0' is not what its checksum says"),
    "a bit of the extents": (
        lambda data: flipped(data, "extents/0"),
        "'extents/0' is not what its checksum says",
    ),
    "a bit of whole numbers": (
        lambda data: flipped(data, "weights/c"),
        "not the one that the code was made for",
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_damaged_files_are_refused(code: bytes, tmp_path: Path, kind: str) -> None:
    damage, message = FILES[kind]
    one, sections = mixed(code)
    path = tmp_path / "m"
    path.write_bytes(damage(pack([one], sections)))
    assert re.search(message, refusal(path))


def test_weights_are_checked_where_asked(code: bytes, tmp_path: Path) -> None:
    one, sections = mixed(code)
    path = tmp_path / "m"
    path.write_bytes(flipped(pack([one], sections), "weights/a/0"))
    with opened(path) as model:
        model.run(X)
    assert "'weights/a/0' is not what its checksum says" in refusal(path, verify=True)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path, pipe):
        assert "no regular file" in refusal(path)
    assert "cannot be opened" in refusal(tmp_path / "none")


Change = Callable[[Any], object]
PLANS: dict[str, tuple[Change, str]] = {
    "another schema": (lambda p: p.update(schema=3), "schema 3, and this version reads 2"),
    "torch's operators": (
        lambda p: p["calls"][1].update(operator="aten.add"),
        "needs torch: load it from Python",
    ),
    "no threads": (lambda p: p.update(threads=0), "no threads"),
    "too many threads": (lambda p: p.update(threads=5000), "'threads'"),
    "a small arena": (lambda p: p.update(arena_bytes=100), "of an arena of 100"),
    "an arena past all numbers": (lambda p: p.update(arena_bytes=1 << 62), "'arena_bytes'"),
    "a region past the arena": (
        lambda p: p["calls"][2]["arguments"][0].update(region=4096),
        "of an arena of",
    ),
    "a region between lines": (lambda p: p["calls"][2]["arguments"][0].update(region=65), "of an arena of"),
    "a region that holds nothing": (
        lambda p: p["calls"][2]["arguments"][0].update(region=512),
        "hold no such value",
    ),
    "a region that is read": (
        lambda p: p["calls"][2]["arguments"][1].update(region=64),
        "writes over what it reads",
    ),
    "a shape past all numbers": (
        lambda p: p["calls"][2]["arguments"][0].update(shape=[1 << 40, 1 << 40]),
        "without shape or type",
    ),
    "a larger shape": (
        lambda p: p["calls"][0]["arguments"][1].update(shape=[1, 16], halo=0),
        "halo that does not suit",
    ),
    "a negative extent": (
        lambda p: p["calls"][2]["arguments"][0].update(shape=[-4]),
        "without shape or type",
    ),
    "an unknown type": (
        lambda p: p["calls"][2]["arguments"][0].update(dtype="int4"),
        "without shape or type",
    ),
    "another type": (
        lambda p: p["calls"][2]["arguments"][1].update(dtype="int32"),
        "which takes another|no such value",
    ),
    "no such array": (lambda p: p["calls"][1]["arguments"][1].update(weight=5), "not there"),
    "another array": (
        lambda p: p["calls"][1]["arguments"][3].update(weight=3),
        "other arguments than the code",
    ),
    "a shorter array": (lambda p: p["arrays"][0].update(shape=[4]), "takes another"),
    "no such slot": (lambda p: p["calls"][5]["arguments"][0].update(slot=9), "not there"),
    "a slot that is empty": (lambda p: p["calls"][0]["arguments"][0].update(slot=2), "holds nothing then"),
    "a slot that is freed": (
        lambda p: p["calls"][0].update(frees=[0]) or p["calls"][5]["arguments"][0].update(slot=0),
        "holds nothing then",
    ),
    "more of a slot": (lambda p: p["calls"][5]["arguments"][0].update(shape=[8]), "another number or type"),
    "an input that is written": (
        lambda p: p["calls"][5]["arguments"][1].update(new=0),
        "writes over input 0",
    ),
    "an output that is an input": (lambda p: p.update(outputs=[0, 2]), "none of its slots, or an input"),
    "an output of another shape": (lambda p: p.update(output_shapes=[[4], [5]]), "another shape than what"),
    "another function": (lambda p: p["calls"][3].update(symbol="twice"), "other arguments than the code"),
    "no such function": (lambda p: p["calls"][3].update(symbol="sum_9"), "another number of arguments"),
    "an argument less": (lambda p: p["calls"][1]["arguments"].pop(1), "another number of arguments"),
    "a call less": (lambda p: p["calls"].pop(), "holds nothing|never computed|slots for"),
    "nothing written": (lambda p: p["calls"][5]["arguments"].reverse(), "not its last|writes nothing"),
    "spans outside of planes": (lambda p: p["halos"][0].update(spans=[[3, 5]]), "spans outside"),
    "planes outside of the buffer": (lambda p: p["halos"][0].update(planes=3), "halo that does not suit"),
    "planes past all numbers": (
        lambda p: p["halos"][0].update(planes=1 << 40, plane=1 << 40, spans=[]),
        "does not suit",
    ),
    "planes of nothing": (lambda p: p["halos"][0].update(planes=1 << 40, plane=0, spans=[]), "does not suit"),
    "no such section": (
        lambda p: p["arrays"][0].update(stored={"raw": "weights/z"}),
        "section that is not there",
    ),
    "another section": (lambda p: p["arrays"][0].update(stored={"raw": "weights/e"}), "another type or size"),
    "no known form": (lambda p: p["arrays"][0].update(stored={"zip": "weights/a/0"}), "does not know"),
    "a mask of another size": (lambda p: p["arrays"][1]["stored"].update(mask="weights/d"), "mask or values"),
    "a mask of other values": (
        lambda p: p["arrays"][1]["stored"].update(zeros="weights/e"),
        "other bytes than",
    ),
    "numbers of another width": (lambda p: p["arrays"][2]["stored"].update(width=1), "small numbers"),
    "numbers from another base": (
        lambda p: p["arrays"][2]["stored"].update(base=4),
        "not the one that the code",
    ),
    "a base past all numbers": (lambda p: p["arrays"][2]["stored"].update(base=1 << 31), "small numbers"),
    "another matrix": (lambda p: p["arrays"][4]["stored"].update(matrix=[[1.0] * 9] * 3), "no matrix"),
    "a matrix with holes": (lambda p: p["arrays"][4]["stored"]["matrix"][1].pop(), "no matrix"),
    "filters that are transformed": (
        lambda p: p["arrays"][4]["stored"].update(transformed=copy.deepcopy(p["arrays"][4]["stored"])),
        "transformed",
    ),
}


@pytest.mark.parametrize("kind", PLANS)
def test_plans_that_cannot_run_are_refused(code: bytes, tmp_path: Path, kind: str) -> None:
    change, message = PLANS[kind]
    one, sections = mixed(code)
    written = json.loads(json.dumps(one.plan))
    change(written)
    damaged = Variant(written, one.code, one.extents)
    assert re.search(message, refusal(write(tmp_path / "m", [damaged], sections)))


def test_extents_are_of_their_code(code: bytes, tmp_path: Path) -> None:
    one, sections = mixed(code)
    other = Variant(one.plan, one.code, {**one.extents, "code": "0" * 64})
    assert "extents are of other code" in refusal(write(tmp_path / "m", [other], sections))


def test_names_are_shown_as_text(code: bytes, tmp_path: Path) -> None:
    calls = [call("twice", slot(0, [5]), new(1, [4]), layer="a\x1b[2Jb" + "\u00e9" * 50)]
    message = refusal(write(tmp_path / "m", [variant(code, plan(calls, [4], {1: 4}))]))
    assert "'a?[2Jb" in message
    assert "\x1b" not in message


def test_a_manifest_is_json(tmp_path: Path) -> None:
    for manifest in (
        "",
        "{",
        "[" * 5000,
        '{"a": 1, "a": 2}',
        '{"a": 99999999999999999999}',
        '{"a": "\\ud800"}',
        "{}",
    ):
        path = tmp_path / "m"
        path.write_bytes(lay_out({}, manifest))
        assert "damaged" in refusal(path)


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """fuzz.c and the runtime, under the sanitisers."""
    checks = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-O0", "-g1")
    return build_with_runtime(tmp_path_factory.mktemp("fuzz") / "fuzz", HERE / "fuzz.c", flags=checks)


def test_damage_with_right_checksums_is_never_met_by_a_crash(
    code: bytes, fuzzer: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    one, sections = mixed(code)
    path = write(tmp_path / "m", [one, Variant(one.plan | {"threads": 3}, one.code, one.extents)], sections)
    count = 100_000 if pytestconfig.getoption("--soak") else 1_000
    command = [fuzzer, path, tmp_path / "damaged", "0", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *_, ran = (int(word) for word in done.stdout.split() if word.isdigit())
    assert ran > count // 100  # what is refused at once tests little
