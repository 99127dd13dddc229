"""What operators cost on a table, worked out by hand, and why a table does not run them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from sparsegen.devices import Operator, alone_seconds, estimate, slowdown, table, unsupported, utilisation
from sparsegen.devices.section import Section
from sparsegen.devices.table_files import parse_table
from tests.devices.samples import TABLE, profile

CONV = Operator(
    "conv", "conv", multiply_adds=4_000_000, read=1000, written=2000, weights=500, steps=("relu",)
)
POOL = Operator("max_pool", "pool", multiply_adds=9000, read=4000, written=1000)
VIEW = Operator("reshape", "view", 0, 4000, 4000)


def test_seconds_of_products_and_of_bytes() -> None:
    conv = estimate(profile(), CONV)
    assert conv.seconds == pytest.approx(10e-6 + 4e6 / 2e9)
    assert (conv.bytes_read, conv.bytes_written, conv.weight_bytes) == (1000, 2000, 500)
    assert conv.supported
    assert conv.utilisation == 1
    assert estimate(profile(), POOL).seconds == pytest.approx(10e-6 + 5000 / 1e9)
    assert estimate(profile(), VIEW).seconds == 0


def test_bytes_are_of_the_type_that_is_computed_in() -> None:
    wide = estimate(profile(), CONV, "float32")
    assert (wide.bytes_read, wide.bytes_written, wide.weight_bytes) == (4000, 8000, 2000)
    assert wide.seconds == pytest.approx(10e-6 + 4e6 / 0.5e9)
    refused = estimate(profile(), CONV, "float16")
    assert not refused.supported
    assert math.isinf(refused.seconds)
    assert refused.reason == "sample computes in int8 or float32, not in float16"


def test_memory_bounds_the_rate() -> None:
    slow = profile(bandwidth="1 MB/s")
    assert estimate(slow, CONV).seconds == pytest.approx(10e-6 + 3500 / 1e6)


def test_what_fills_a_part_of_the_device_is_slower() -> None:
    large = profile(utilisation={"elements": 8000, "capacity": 1})
    assert utilisation(large, CONV) == 0.25
    assert estimate(large, CONV).seconds == pytest.approx(10e-6 + 4 * 4e6 / 2e9)
    assert estimate(large, CONV).utilisation == 0.25
    assert utilisation(large, replace(CONV, written=9000)) == 1
    shares = profile(utilisation={"elements": 8000, "share": {"conv": 0.5}})
    assert utilisation(shares, CONV) == 0.5
    assert utilisation(shares, POOL) == 1000 / 8000


def test_what_runs_at_once_slows_down_beyond_the_capacity() -> None:
    assert slowdown(profile(), [0.25, 0.5]) == 1
    assert slowdown(profile(), [0.5, 1.0]) == 1.5
    assert slowdown(profile(utilisation={"capacity": 2}), [1.0, 1.0, 1.0]) == 1.5


def test_a_run_alone_streams_what_the_cache_does_not_hold() -> None:
    operators = [CONV, CONV, CONV, POOL]
    computed = 3 * (10e-6 + 2e-3) + 10e-6 + 5e-6
    moved = (1500 - 1000 + 300 + 20) / 1e6
    expected = 2e-3 + computed + moved + 2 * 50e-6
    assert alone_seconds(profile(), operators, inputs=300, outputs=20) == pytest.approx(expected)
    assert profile(weights={"cache": "1 kB"}).streamed_bytes(1500) == 0


def test_a_device_without_a_link_moves_nothing() -> None:
    local = {key: part for key, part in TABLE.items() if key not in ("link", "weights")}
    unlinked = parse_table("local", Section("local", local))
    assert alone_seconds(unlinked, [POOL], inputs=300, outputs=20) == pytest.approx(2e-3 + 10e-6 + 5e-6)


def test_a_device_with_powers_has_reciprocal_square_roots() -> None:
    operator = Operator("pointwise", "pointwise", 1, 1, 1, steps=("rsqrt",))
    assert unsupported(profile(supports={"operators": ["pow"]}), operator) == ""
    assert unsupported(profile(supports={"operators": ["sqrt"]}), operator) == "sample has no rsqrt"


SOFTMAX = Operator("softmax", "softmax", 0, 16001, 16001, extents=(16001,))


@pytest.mark.parametrize(
    ("operator", "reason"),
    [
        (CONV, ""),
        (replace(CONV, steps=("hardswish",)), "edgetpu-usb3 has no hardswish"),
        (
            Operator("pointwise", "pointwise", 1, 1, 1, steps=("gelu", "erf")),
            "edgetpu-usb3 has no gelu and no erf",
        ),
        (Operator("pointwise", "pointwise", 1, 1, 1, steps=("add", "relu")), ""),
        (Operator("pointwise", "pointwise", 1, 1, 1, steps=("rsqrt",)), ""),
        (Operator("pointwise", "pointwise", 1, 1, 1, steps=("pow",)), "edgetpu-usb3 has no pow"),
        (Operator("transpose", "move", 0, 1, 1), "edgetpu-usb3 has no transpose"),
        (replace(CONV, name="linear", kind="linear", constant_weights=False), "weights have to be constant"),
        (replace(CONV, dilation=(1, 2)), "its dilation is 1 down and 2 across"),
        (replace(CONV, dilation=(2, 2)), ""),
        (SOFTMAX, "its softmax is over 16,001 elements, and may be over 16,000"),
        (replace(SOFTMAX, extents=(16000,)), ""),
        (Operator("slice", "move", 0, 1, 1, step=2), "it takes every 2. element"),
        (Operator("lstm", "lstm", 1, 1, 1, reverse=True), "it runs backwards"),
        (Operator("lstm", "lstm", 1, 1, 1), ""),
        (Operator("gru", "gru", 1, 1, 1), "edgetpu-usb3 has no gru"),
        (replace(CONV, shapes=((1, 3, 8, 8), (1, 4, 8, 8))), ""),
        (replace(CONV, shapes=((2, 3, 8, 8), (2, 4, 8, 8))), "4 dimensions are above 1, and may be 3"),
    ],
)
def test_what_an_edgetpu_runs(operator: Operator, reason: str) -> None:
    told = unsupported(table("edgetpu-usb3"), operator)
    assert reason in told
    assert bool(told) == bool(reason)
    assert estimate(table("edgetpu-usb3"), operator).supported == (not reason)


AVERAGE = Operator("avg_pool", "pool", 9, 9, 9)


@pytest.mark.parametrize(
    ("operator", "reason"),
    [
        (replace(CONV, stride=(3, 3), kernel=(7, 7), padding=(3, 3, 3, 3)), ""),
        (replace(CONV, stride=(4, 2)), "its stride is 4, and may be 3"),
        (replace(CONV, kernel=(64, 64)), ""),
        (replace(CONV, kernel=(65, 1)), "its kernel is 65 high, and may be 64"),
        (
            replace(CONV, kernel=(33, 33), dilation=(1, 4)),
            "its kernel covers 4,257 pixels, and may cover 4,096",
        ),
        (replace(AVERAGE, kernel=(9, 9)), ""),
        (
            replace(AVERAGE, kernel=(9, 9), padding=(1, 1, 1, 1)),
            "it averages 9 a side with padding, and may 8",
        ),
        (replace(AVERAGE, kernel=(257, 1)), "its kernel is 257 high, and may be 256"),
        (replace(AVERAGE, equal_windows=False), "its windows are not all of one size"),
        (replace(CONV, shapes=((2, 3, 8, 8), (2, 4, 8, 8))), "it has 2 images at once, and may have 1"),
        (Operator("linear", "linear", 9, 9, 9, shapes=((2, 3, 8, 8), (2, 3, 8, 4))), ""),
        (Operator("reshape", "view", 0, 9, 9, shapes=((2, 3, 8, 8), (384,))), ""),
        (Operator("concat", "concat", 0, 9, 9, shapes=((70000,),)), "a dimension is 70,000 long"),
    ],
)
def test_what_an_ethos_runs(operator: Operator, reason: str) -> None:
    told = unsupported(table("ethos-u55"), operator)
    assert reason in told
    assert bool(told) == bool(reason)


@pytest.mark.parametrize(
    ("limit", "least", "operator"),
    [
        ("rank", 4, replace(CONV, shapes=((1, 1, 1, 1),))),
        ("extent", 9, replace(CONV, shapes=((1, 9), (8,)))),
        ("batch", 2, replace(CONV, shapes=((2, 1, 1, 1),))),
        ("channels", 5, replace(CONV, shapes=((1, 3, 9, 9), (1, 5, 9, 9)))),
        ("stride", 3, replace(CONV, stride=(1, 3))),
        ("dilation", 2, replace(CONV, dilation=(2, 2))),
        ("padding", 4, replace(CONV, padding=(0, 0, 4, 1))),
        ("kernel", 5, replace(CONV, kernel=(1, 3), dilation=(1, 2))),
        ("kernel_height", 3, replace(CONV, kernel=(3, 9))),
        ("kernel_area", 12, replace(CONV, kernel=(3, 4))),
        ("pool", 4, replace(AVERAGE, kernel=(3, 4))),
        ("pool_height", 3, replace(AVERAGE, kernel=(3, 4))),
        ("pool_area", 12, replace(AVERAGE, kernel=(3, 4))),
        ("padded_average", 4, replace(AVERAGE, kernel=(3, 4), padding=(1, 0, 0, 0))),
    ],
)
def test_every_limit_bounds_what_it_names(limit: str, least: int, operator: Operator) -> None:
    assert unsupported(profile(supports={limit: least}), operator) == ""
    told = unsupported(profile(supports={limit: least - 1}), operator)
    assert str(least) in told
    assert str(least - 1) in told


def test_padding_as_much_before_as_after() -> None:
    even = profile(supports={"even_padding": True})
    assert unsupported(even, replace(CONV, padding=(1, 1, 2, 2))) == ""
    told = unsupported(even, replace(CONV, padding=(0, 1, 2, 2)))
    assert told == "its padding is (0, 1, 2, 2), and has to be as much before as after"


def test_it_computes_in_int8_alone() -> None:
    assert (
        unsupported(table("edgetpu-usb3"), CONV, "float32") == "edgetpu-usb3 computes in int8, not in float32"
    )


def test_a_kind_without_a_rate_is_not_run() -> None:
    only = profile(rates={"int8": {"conv": "1 GMAC/s"}})
    assert unsupported(only, POOL) == "sample has no rate for the kind pool"
    assert unsupported(only, VIEW) == ""


def test_more_work_never_takes_less() -> None:
    for name in ("arm-a53x4", "edgetpu-usb3", "v100"):
        device = table(name)
        for more in (
            replace(CONV, multiply_adds=8_000_000),
            replace(CONV, weights=5000),
            replace(CONV, read=9000),
        ):
            assert estimate(device, more).seconds >= estimate(device, CONV).seconds
