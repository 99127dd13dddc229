"""Versions that crash, are missing or are others; torch's build; OpenMP libraries; gcc."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from sparsegen.doctor import packages, toolchain, torch_build
from sparsegen.doctor.child import Answer
from sparsegen.doctor.cpu import Cpu
from sparsegen.doctor.finding import Finding
from sparsegen.doctor.openmp import mapped_libraries, openmp
from sparsegen.doctor.schedules import Shipped, read_shipped, schedules
from sparsegen.doctor.torch_build import TorchBuild

WANTED = {"apache-tvm": "0.27.0.post1", "apache-tvm-ffi": "0.1.14.post1"}
CPU_BUILD = TorchBuild("2.13.0", "", 0, "AVX2", onednn=True, openmp=True, threads=2)
GOMP, IOMP = "/site/torch/lib/libgomp.so.1", "/opt/intel/lib/libiomp5.so"


def tvm(versions: Mapping[str, str], answer: Answer | None = None) -> Finding:
    return packages.tvm(versions.get, WANTED, answer or Answer())


def test_our_own_pins() -> None:
    pins = packages.pins()
    assert {name: packages.installed(name) for name in WANTED} == {name: pins[name] for name in WANTED}
    assert packages.pins(["a==1", "b>=2", "c==3; extra == 'dev'"]) == {"a": "1"}


def test_the_pair_that_is_asked_for() -> None:
    assert tvm(WANTED).status == "ok"


def test_the_crashing_pair_is_named() -> None:
    found = tvm({**WANTED, "apache-tvm-ffi": "0.1.15"})
    assert found.status == "broken"
    assert found.found == "apache-tvm 0.27.0.post1 with apache-tvm-ffi 0.1.15: this pair crashes"
    assert found.next == "pip install apache-tvm==0.27.0.post1 apache-tvm-ffi==0.1.14.post1"


def test_a_pair_that_crashes_and_that_nobody_knew() -> None:
    found = tvm({**WANTED, "apache-tvm-ffi": "0.1.99"}, Answer({}, "crashed (SIGSEGV)", crashed=True))
    assert found.status == "broken"
    assert "apache-tvm-ffi 0.1.99: this pair crashes" in found.found


def test_other_versions_that_work() -> None:
    found = tvm({**WANTED, "apache-tvm": "0.28.0"})
    assert found.status == "note"
    assert "not the apache-tvm 0.27.0.post1 that" in found.found


@pytest.mark.parametrize(
    ("versions", "failure", "told"),
    [
        ({"apache-tvm": "0.27.0.post1"}, "", "not installed: apache-tvm-ffi"),
        (WANTED, "OSError: libtvm.so: no such file", "TVM does not work: OSError: libtvm.so"),
    ],
)
def test_without_tvm_nothing_can_be_compiled(versions: dict[str, str], failure: str, told: str) -> None:
    found = tvm(versions, Answer(failure=failure))
    assert found.status == "broken"
    assert told in found.found
    assert found.next.startswith("pip install apache-tvm==")


@pytest.mark.parametrize(
    ("build", "status", "told"),
    [
        (CPU_BUILD, "ok", "torch 2.13.0: CPU build, AVX2, oneDNN, OpenMP, 2 threads"),
        (TorchBuild("2.13.0", "CUDA 12.8", 0, "AVX2", True, True, 1), "note", "CUDA 12.8"),
        (TorchBuild("2.13.0", "CUDA 12.8", 1, "AVX2", True, True, 1), "ok", "1 thread"),
        (TorchBuild("2.13.0", "", 0, "AVX2", True, False, 2), "note", "no OpenMP"),
        (None, "broken", "No module named 'torch'"),
    ],
)
def test_torch(build: TorchBuild | None, status: str, told: str) -> None:
    found = torch_build.torch(build, "ModuleNotFoundError: No module named 'torch'")
    assert found.status == status
    assert told in found.found


@pytest.mark.parametrize(
    ("version", "native", "status"),
    [
        ("0.1.0", "", "ok"),
        ("0.1.0", "cannot be loaded", "broken"),
        (None, "", "note"),
        ("0.1.0", None, "note"),
    ],
)
def test_our_own_part(version: str | None, native: str | None, status: str) -> None:
    assert torch_build.own_part(version, native).status == status


def maps(*paths: str) -> str:
    return "".join(f"7f00-7f01 r-xp 00000000 08:01 42{' ' * 20}{path}\n" for path in paths)


def test_two_openmp_libraries_are_told_with_what_they_do() -> None:
    libraries = mapped_libraries(
        maps(GOMP, GOMP, IOMP, "/site/scipy/_decomp_update.so", "", "/site/libcomplex.so", "[heap]")
    )
    assert libraries == sorted([GOMP, IOMP])
    found = openmp(libraries)
    assert found.status == "note"
    assert found.found.startswith("2 libraries: ")
    assert "slow or crash" in found.consequence


@pytest.mark.parametrize(
    ("libraries", "status"), [([GOMP], "ok"), ([], "note"), (None, "note"), (["libgomp-e98.so.1"], "ok")]
)
def test_openmp(libraries: list[str] | None, status: str) -> None:
    assert openmp(libraries).status == status


@pytest.mark.parametrize("name", ["libgomp-e985bcbb.so.1.0.0", "libgomp.so.1", "libiomp5.so", "libomp.so"])
def test_the_names_of_openmp_libraries(name: str) -> None:
    assert mapped_libraries(maps(f"/a folder/{name}")) == [f"/a folder/{name}"]


def test_gcc_builds_a_function() -> None:
    found = toolchain.gcc()
    assert found.status == "ok", found
    assert "compiles and links a function" in found.found


def test_without_gcc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = toolchain.gcc()
    assert found.status == "broken"
    assert "not on the PATH" in found.found
    assert found.next == "sudo apt-get install gcc libc6-dev"


def test_a_gcc_that_cannot_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gcc = tmp_path / "gcc"
    gcc.write_text("#!/bin/sh\necho '/usr/bin/ld: cannot find crti.o' >&2\nexit 1\n")
    gcc.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = toolchain.gcc()
    assert found.status == "broken"
    assert "cannot find crti.o" in found.found
    assert found.next.startswith("gcc -shared")


def test_a_gcc_whose_code_cannot_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gcc = tmp_path / "gcc"
    gcc.write_text("#!/bin/sh\nexit 0\n")
    gcc.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert toolchain.gcc().status == "broken"


SHIPPED = (Shipped("znver5", "AVX-512", {1: 40, 2: 30}),)


@pytest.mark.parametrize(
    ("cpu", "threads", "status", "told"),
    [
        (Cpu("EPYC", "znver5", "AVX-512"), 2, "ok", "exact: 30 for znver5 (AVX-512) and 2 threads"),
        (
            Cpu("EPYC", "znver5", "AVX-512"),
            8,
            "note",
            "nearest: 30 for znver5 (AVX-512), but 2 threads, not 8",
        ),
        (Cpu("EPYC", "znver5", "AVX2"), 2, "note", "none for znver5 (AVX2); there are: znver5 (AVX-512)"),
        (Cpu("Xeon", "haswell", "AVX2"), 2, "note", "none for haswell"),
    ],
)
def test_schedules(cpu: Cpu, threads: int, status: str, told: str) -> None:
    found = schedules(cpu, SHIPPED, threads=threads)
    assert found.status == status
    assert told in found.found


def test_shipped_schedules_are_those_of_the_database() -> None:
    from sparsegen.database.lookup import Database

    counts = {
        (each.cpu, each.isa, threads): n for each in read_shipped() for threads, n in each.counts.items()
    }
    settings = [tuned.setting for tuned in Database.shipped().schedules]
    wanted = {(each.cpu, each.isa, each.threads) for each in settings}
    assert counts.keys() == wanted
    assert sum(counts.values()) == len(settings)
