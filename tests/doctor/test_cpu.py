"""Instructions, caches, cores and load: of machines that hide, limit or do not tell something."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from sparsegen.doctor import cpu
from sparsegen.doctor.cpu import Cpu
from sparsegen.doctor.finding import Finding
from sparsegen.doctor.memory import huge_pages
from sparsegen.doctor.tvm_child import describe
from sparsegen.isa import FLAGS
from sparsegen.target import Host, read_host

EVERY = frozenset(FLAGS.values())
SERVER = Host("znver5", "AMD EPYC", EVERY, 8, 48 << 10, 1 << 20, 32 << 20)
WITHOUT_AVX512 = replace(SERVER, flags=frozenset(flag for flag in EVERY if not flag.startswith("avx512")))


def write(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def cores(root: Path, *, machine: int = 4, usable: int = 4) -> Finding:
    return cpu.cores(root, machine=machine, usable=usable)


def test_a_whole_cpu_is_ok() -> None:
    found = cpu.instructions(describe(SERVER))
    assert (found.status, found.found) == ("ok", "AMD EPYC, znver5 to LLVM: AVX-512")
    assert cpu.caches(describe(SERVER)).found == "L1 48 KiB, L2 1 MiB, L3 32 MiB"


def test_hidden_avx512_is_named_with_what_it_costs() -> None:
    found = cpu.instructions(describe(WITHOUT_AVX512))
    assert found.status == "note"
    assert "avx512bf16" in found.found
    assert " more, which such CPUs have" in found.found
    assert "AVX2, whose vectors are half as long" in found.consequence


def test_one_hidden_feature_leaves_the_vectors() -> None:
    found = cpu.instructions(describe(replace(SERVER, flags=EVERY - {"avx512_vp2intersect"})))
    assert found.status == "note"
    assert "AVX-512; avx512vp2intersect, which" in found.found
    assert "half" not in found.consequence


def test_without_avx2_nothing_can_be_compiled() -> None:
    found = cpu.instructions(describe(replace(WITHOUT_AVX512, flags=WITHOUT_AVX512.flags - {"avx2"})))
    assert found.status == "broken"
    assert "has no AVX2 with FMA" in found.found


def test_a_disguise_is_told() -> None:
    assert "disguised by the environment" in cpu.instructions(describe(SERVER, disguised=True)).found


def test_caches_that_the_system_does_not_tell() -> None:
    found = cpu.caches(describe(replace(SERVER, l2_bytes=0, l3_bytes=0)))
    assert found.status == "note"
    assert found.found == "the system does not tell L2, L3; taken are L1 48 KiB, L2 512 KiB, L3 16 MiB"


def test_a_cpu_comes_back_from_json() -> None:
    told = describe(read_host())
    assert Cpu.read({**asdict(told), "hidden": list(told.hidden), "caches": list(told.caches)}) == told


def test_cores_without_a_quota(tmp_path: Path) -> None:
    assert cores(tmp_path).found == "4 cores, no quota"
    assert cores(tmp_path, usable=2).found == "2 of 4 cores, no quota"


def test_half_a_core_of_version_2(tmp_path: Path) -> None:
    write(tmp_path, "sys/fs/cgroup/cpu.max", "50000 100000\n")
    found = cores(tmp_path, machine=2, usable=2)
    assert (found.status, found.found) == ("note", "2 cores, a quota of 0.5 cores' time")
    assert "2 threads, the default, would be stopped" in found.consequence
    assert found.next.endswith("--threads 1")


def test_half_a_core_of_version_1(tmp_path: Path) -> None:
    write(tmp_path, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n")
    write(tmp_path, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n")
    assert cpu.cpu_quota(tmp_path) == 0.5


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": "no numbers at all\n"}, None),
        ({"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n"}, 3.0),
        ({"a/cpu.max": "100000 100000\n", "a/b/cpu.max": "200000 100000\n"}, 1.0),
        ({"other/cpu.max": "100000 100000\n"}, None),
    ],
)
def test_the_least_quota_of_all_groups_around(
    files: dict[str, str], quota: float | None, tmp_path: Path
) -> None:
    write(tmp_path, "proc/self/cgroup", "9:name=systemd:/\n4:memory:/other\n0::/a/b\n")
    for path, text in files.items():
        write(tmp_path, f"sys/fs/cgroup/{path}", text)
    assert cpu.cpu_quota(tmp_path) == quota


def test_a_quota_that_suffices_is_ok(tmp_path: Path) -> None:
    write(tmp_path, "sys/fs/cgroup/cpu.max", "400000 100000\n")
    assert cores(tmp_path).status == "ok"


@pytest.mark.parametrize(
    ("text", "status"),
    [("0.20 0.1 0.1 1/200 4242\n", "ok"), ("3.90 1 1 5/200 4242\n", "note"), ("", "note")],
)
def test_load_against_cores(text: str, status: str, tmp_path: Path) -> None:
    write(tmp_path, "proc/loadavg", text)
    assert cpu.load(tmp_path, machine=4).status == status


@pytest.mark.parametrize(
    ("enabled", "defrag", "status", "consequence"),
    [
        ("always [madvise] never", "always defer [madvise] never", "ok", "2 MiB"),
        ("[always] madvise never", "always defer [madvise] never", "ok", "2 MiB"),
        ("always madvise [never]", "always defer [madvise] never", "note", "4 KiB"),
        ("always [madvise] never", "always defer madvise [never]", "note", "in pieces"),
    ],
)
def test_huge_pages(enabled: str, defrag: str, status: str, consequence: str, tmp_path: Path) -> None:
    write(tmp_path, "sys/kernel/mm/transparent_hugepage/enabled", enabled)
    write(tmp_path, "sys/kernel/mm/transparent_hugepage/defrag", defrag)
    found = huge_pages(tmp_path)
    assert found.status == status
    assert consequence in found.consequence
    assert bool(found.next) == (status == "note")


def test_a_kernel_without_huge_pages(tmp_path: Path) -> None:
    assert huge_pages(tmp_path).status == "note"
