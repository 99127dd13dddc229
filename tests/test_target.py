"""Targets: this machine, CPUs by LLVM's names, and names that cannot be."""

from __future__ import annotations

import os

import pytest

from sparsegen.errors import SparsegenError
from sparsegen.target import parse_target


def test_native_is_this_machine() -> None:
    target = parse_target()
    assert target.cores == len(os.sched_getaffinity(0))
    assert target.lanes in (8, 16)
    assert target.registers == 2 * target.lanes
    assert 16 << 10 <= target.l1_bytes < target.l2_bytes < target.l3_bytes
    assert target.name == target.cpu


def test_haswell_is_avx2_on_any_machine() -> None:
    target = parse_target("haswell")
    assert (target.isa, target.lanes, target.registers) == ("AVX2", 8, 16)
    assert target.l1_bytes == parse_target().l1_bytes


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pentium-9000", "'pentium-9000' is no CPU that LLVM knows.*'haswell'"),
        ("sandybridge", "'sandybridge' has no AVX2 with FMA"),
    ],
)
def test_names_that_cannot_be(name: str, message: str) -> None:
    with pytest.raises(SparsegenError, match=message):
        parse_target(name)


def test_avx512_is_refused_where_the_machine_lacks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparsegen.target.codegen.llvm_get_system_cpu", lambda: "haswell")
    parse_target.cache_clear()
    try:
        with pytest.raises(
            SparsegenError, match=r"'znver4' has AVX-512, which this machine \(haswell\) cannot"
        ):
            parse_target("znver4")
    finally:
        parse_target.cache_clear()


def test_code_for_elsewhere_may_be_for_any_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparsegen.target.codegen.llvm_get_system_cpu", lambda: "haswell")
    parse_target.cache_clear()
    try:
        target = parse_target("znver4", elsewhere=True)
        assert (target.isa, target.lanes) == ("AVX-512", 16)
        assert (target.l1_bytes, target.l2_bytes, target.l3_bytes) == (32 << 10, 512 << 10, 16 << 20)
        assert parse_target("haswell", elsewhere=True) == parse_target("haswell")  # the caches are known
        with pytest.raises(SparsegenError, match="'sandybridge' has no AVX2"):
            parse_target("sandybridge", elsewhere=True)
    finally:
        parse_target.cache_clear()
