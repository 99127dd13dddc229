"""The shipped tables: every number has a source, they are what was fitted, and tables that cannot be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sparsegen.devices import read_table, table, tables
from sparsegen.devices.figures import ORIGINS, Figure
from sparsegen.devices.section import Section
from sparsegen.devices.table_files import parse_table
from sparsegen.errors import DeviceError
from tests.devices.samples import TABLE, profile, written

ROOT = Path(__file__).parents[2]
NAMES = (
    *("arm-a53x4", "arm-a72x4", "edgetpu-pcie", "edgetpu-usb2", "edgetpu-usb3", "edgetpu-usb3-pi4"),
    *("ethos-u55", "gpu", "relu-conv", "v100"),
)


def test_these_are_shipped() -> None:
    assert tuple(tables()) == NAMES
    assert {table(name).name for name in NAMES} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_no_number_lacks_a_source(name: str) -> None:
    figures = dict(table(name).figures())
    assert len(figures) > 5
    for what, figure in figures.items():
        assert figure.origin in ORIGINS, what
        assert figure.origin != "given", what
        assert figure.source, what
    if table(name).limits.operators is not None:
        assert table(name).limits.source


def test_numbers_of_the_maker() -> None:
    v100 = dict(table("v100").figures())
    assert v100["rate, float32, other"].value == 7.85e12
    assert v100["memory bandwidth"].value == 900e9
    for name in NAMES:
        cache = table(name).cache
        assert (cache is not None) == name.startswith("edgetpu")
        assert cache is None or (cache.value == 7 * 1024**2 and table(name).streamed)


def test_the_made_up_device_is_an_edgetpu_of_few_operators() -> None:
    made_up, real = table("relu-conv"), table("edgetpu-usb3")
    assert "no product" in made_up.title
    figures = dict(real.figures())
    for what, figure in made_up.figures():
        expected = figures[what.replace("grouped", "depthwise")]
        assert (figure.value, figure.origin) == (expected.value, "derived"), what
    assert made_up.limits.operators is not None
    assert made_up.limits.operators - (real.limits.operators or frozenset()) == {"grouped_conv"}
    assert not made_up.limits.operators & {"linear", "sub", "mul", "max_pool", "pad", "sigmoid"}


def test_limits_are_figures_with_a_source() -> None:
    figures = dict(table("ethos-u55").figures())
    assert figures["stride, at most"].value == 3
    assert figures["convolution's kernel, dilated, height by width, at most"].value == 64 * 64
    assert figures["images at once, at most"].source.startswith("Arm, ethos-u-vela")
    assert profile(supports={"stride": 2}).limits.stride == Figure(2, "2", "given")


def test_they_are_in_the_package_that_is_built(tmp_path: Path) -> None:
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    built = {path.stem for path in (tmp_path / "sparsegen/devices/shipped").glob("*.toml")}
    assert built == set(NAMES)


def test_reading_takes_neither_torch_nor_tvm() -> None:
    program = "import sys, sparsegen.devices as d; d.tables(); print({'torch', 'tvm'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "set()\n"


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    path = written(tmp_path, '[rates.float32]\nconv = "1 GMAC/s"\n', "mine.toml")
    mine = table(str(path))
    assert (mine.name, mine.title, mine.dtype) == ("mine", "mine", "float32")
    assert mine.operator_overhead.value == mine.invocation_overhead.value == 0
    assert (mine.link, mine.cache, mine.limits.operators) == (None, None, None)
    assert dict(mine.figures())["rate, float32, conv"].origin == "given"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"title": ""}, "title is '': a text is needed"),
        ({"dtype": "int4"}, r"dtype is int4, and there are rates of int8, float32: add \[rates.int4\]"),
        ({"rates": {}}, "there are rates of none"),
        ({"rates": 3}, "rates is 3: a table of keys and values is needed"),
        ({"rates": {"int8": {}}}, "rates: int8 is empty"),
        ({"rates": {"int3": {"conv": "1 GMAC/s"}}}, "there is no type 'int3'"),
        ({"rates": {"int8": {"convolution": "1 GMAC/s"}}}, "there is no kind 'convolution' of operator"),
        (
            {"rates": {"int8": {"conv": "1 GMAC"}}},
            "rates: int8: conv is '1 GMAC', which has the unknown unit 'GMAC'",
        ),
        ({"rates": {"int8": {"conv": "-1 GMAC/s"}}}, "conv is -1 GMAC/s: a number above 0 is needed"),
        ({"rates": {"int8": {"conv": "inf GMAC/s"}}}, "a finite number is needed"),
        ({"overheads": {"launch": "1 us"}}, "overheads has the unknown key 'launch'"),
        ({"overheads": {"operator": "-1 us"}}, "a number of at least 0 is needed"),
        ({"link": {"latency": "1 us"}}, "link has no bandwidth: add it"),
        ({"link": {"latency": "1 us", "bandwidth": "0 B/s"}}, "bandwidth is 0 B/s"),
        ({"link": {"latency": "1 us", "bandwidth": "1 B/s", "lanes": 4}}, "link has the unknown key 'lanes'"),
        ({"link": {"latency": "1 us", "bandwidth": "1 B/s", "exclusive": "yes"}}, "true or false is needed"),
        (
            {"weights": {"cache": "2 kB", "memory": "1 kB"}},
            "memory of 1 kB is smaller than the cache of 2 kB",
        ),
        ({"weights": {"memory": "0 kB"}}, "a number above 0"),
        ({"weights": {"streamed": True}}, "streamed, and there is no cache"),
        ({"utilisation": {"capacity": 0}}, "a number above 0"),
        ({"utilisation": {"share": {"conv": 1.5}}}, "conv is 1.5: a share is at most 1"),
        ({"utilisation": {"share": {"convs": 1}}}, "there is no kind 'convs'"),
        ({"utilisation": {"blocks": 3}}, "utilisation has the unknown key 'blocks'"),
        ({"supports": {"operators": "conv"}}, "a list of names is needed"),
        ({"supports": {"operators": ["conv", "conv"]}}, "names conv more than once"),
        ({"supports": {"softmax": "many"}}, "give a number"),
        ({"supports": {"stride": 0}}, "stride is 0: a number above 0 is needed"),
        ({"supports": {"kernel_area": "9x9"}}, "kernel_area is '9x9': give a number"),
        ({"supports": {"even_padding": 1}}, "even_padding is 1: true or false is needed"),
        ({"supports": {"source": "me"}}, "source is 'me': it has to be"),
        ({"supports": {"floats": False}}, "supports has the unknown key 'floats'"),
        ({"speed": 3}, " has the unknown key 'speed'"),
    ],
)
def test_tables_that_cannot_be(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(DeviceError, match=rf"^sample\.toml.*{reason}"):
        profile(**changed)


def test_streaming_needs_a_link() -> None:
    unlinked = {key: part for key, part in TABLE.items() if key != "link"}
    with pytest.raises(DeviceError, match=r"weights are streamed, and there is no \[link\]"):
        parse_table("sample", Section("sample.toml", unlinked))


def test_tables_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"there is no table 'edgetpu': there are arm-a53x4, .*, v100"):
        table("edgetpu")
    with pytest.raises(DeviceError, match=r"none\.toml cannot be read as a table of a device: No such file"):
        table(str(tmp_path / "none.toml"))
    with pytest.raises(DeviceError, match="Is a directory"):
        read_table(tmp_path)
    with pytest.raises(DeviceError, match="is not a table of a device in TOML"):
        read_table(written(tmp_path, "= 3", "broken.toml"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(DeviceError, match="is not a table of a device in TOML"):
        read_table(tmp_path / "binary.toml")
