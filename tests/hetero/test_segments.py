"""Segments: every operator once, nothing sent or received in between, in an order that runs."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from sparsegen.hetero.plans.segments import segments_of
from tests.sampling import examples


@examples(150)
@given(st.integers(0, 1 << 32), st.integers(1, 25), st.integers(1, 3))
def test_segments_of_random_placements(seed: int, count: int, devices: int) -> None:
    draw = random.Random(seed)
    order = [f"o{n}" for n in range(count)]
    reads = {
        name: tuple(sorted({draw.choice(order[:at]) for _ in range(draw.randint(0, 2))} if at else ()))
        for at, name in enumerate(order)
    }
    places = {name: (f"d{draw.randrange(devices)}", draw.choice(("ours", "torch")), 0) for name in order}
    alone = [name for name in order if draw.random() < 0.1]
    carries = {name: (draw.choice(order),) for name in order if draw.random() < 0.1}
    found = segments_of(order, reads, places, alone, carries)
    assert sorted(each for segment in found for each in segment.operators) == sorted(order)
    assert all(read < at for at, segment in enumerate(found) for read in segment.reads)
    of = {name: at for at, segment in enumerate(found) for name in segment.operators}
    for at, segment in enumerate(found):
        assert {places[name] for name in segment.operators} == {(segment.device, segment.implementation, 0)}
        first, *others = segment.operators
        assert not others or not {first, *others} & {*alone}
        here = {of[read] for read in reads[first]} | {at}
        for name in others:  # only the first waits for another device, or for the input before
            waits = {of[read] for read in reads[name]} - here
            assert {found[each].device for each in waits} <= {segment.device}
            assert name not in carries
        given_to = {name: (*reads[name], *carries.get(name, ())) for name in order}
        readers = {name: [r for r in order if name in given_to[r]] for name in segment.operators}
        for name in segment.operators[:-1]:  # only the last sends anything to another device
            assert all(places[reader][0] == segment.device for reader in readers[name])


def test_an_input_that_is_read_late_comes_before_the_segment_that_reads_it() -> None:
    order, reads = ("x", "a", "state", "b"), {"x": (), "a": ("x",), "state": (), "b": ("a", "state")}
    places = dict.fromkeys(order, ("cpu", "ours", 0))
    found = segments_of(order, reads, places, alone=("x", "state"))
    assert [(each.operators, each.reads) for each in found] == [
        (("x",), ()),
        (("state",), ()),
        (("a", "b"), (0, 1)),
    ]


def test_one_device_is_one_segment() -> None:
    reads = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}
    places = dict.fromkeys("abcd", ("cpu", "ours", 0))
    (segment,) = segments_of("abcd", reads, places)
    assert segment.operators == ("a", "b", "c", "d")


def test_a_recurrent_cell_on_one_device_is_one_segment() -> None:
    """Its steps read each other's states: none of them waits for anything that is not there."""
    reads = {"frame": (), "encode": ("frame",), "first": ("encode",)}
    for step in range(3):
        before = f"state{step - 1}" if step else "first"
        reads |= {f"gate{step}": (before,), f"state{step}": (f"gate{step}", before)}
    places = dict.fromkeys(reads, ("cpu", "ours", 0))
    carries = {"first": ("state2",)}
    found = segments_of(list(reads), reads, places, ["frame"], carries)
    assert [each.operators[0] for each in found] == ["frame", "encode", "first"]
    assert found[2].operators == tuple(reads)[2:]


def test_what_has_to_wait_for_another_device_begins_a_segment() -> None:
    reads = {"a": (), "b": ("a",), "c": ("a",), "d": ("c", "b")}
    places = {name: ("gpu" if name == "b" else "cpu", "ours", 0) for name in reads}
    assert [each.operators for each in segments_of("abcd", reads, places)] == [("a",), ("b",), ("c",), ("d",)]
