"""Targets: this machine, CPUs by LLVM's names, and names that cannot be."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import tvm
from tvm.target import codegen

from sparsegen import target as targets
from sparsegen.cpuinfo import parse_cpuinfo
from sparsegen.errors import SparsegenError, TargetError
from sparsegen.isa import AVX2, AVX512, FAMILIES, FLAGS, ISAS, UNSHOWN, Isa, rates
from sparsegen.target import (
    HOST_CPU,
    Host,
    disguised,
    native_target,
    parse_target,
    read_host,
    this_host,
)
from tests.kernels.contract import check, conv_graph, weights
from tests.lowering.assembly import assembly
from tests.preloaded import run

CPUS = [str(name) for name in codegen.llvm_get_cpu_archlist(tvm.target.Target("llvm"))]
HASWELL = (
    "fpu cx8 cmov mmx fxsr sse sse2 ht syscall lm pni pclmulqdq ssse3 fma cx16 sse4_1 sse4_2 movbe popcnt "
    "aes xsave avx f16c rdrand lahf_lm abm fsgsbase bmi1 avx2 bmi2 erms invpcid"
)
SKYLAKE_X = f"{HASWELL} 3dnowprefetch adx avx512f avx512dq avx512cd avx512bw avx512vl clflushopt clwb pku"
ZEN3 = f"{HASWELL} 3dnowprefetch sse4a adx clflushopt clwb sha_ni vaes vpclmulqdq"


def machine(cpu: str, flags: str) -> Host:
    """A machine that tells these flags; none, as one without /proc/cpuinfo."""
    return Host(cpu, "a CPU", frozenset(flags.split()), 4, 32 << 10, 1 << 20, 8 << 20)


HIDING = machine("skylake-avx512", HASWELL)  # as where a hypervisor hides AVX-512


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[[Host], None]:
    """Makes a machine this one."""
    return lambda host: monkeypatch.setattr(targets, "this_host", lambda: host)


def test_native_is_this_machine() -> None:
    target = parse_target()
    assert target.cores == len(os.sched_getaffinity(0))
    assert (target.isa, target.lanes, target.registers) in (("AVX2", 8, 16), ("AVX-512", 16, 32))
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
    with pytest.raises(TargetError, match=message):
        parse_target(name)


@pytest.mark.parametrize(
    ("host", "name", "lacking"),
    [
        (machine("haswell", HASWELL), "x86-64-v4", "avx512bw, avx512cd, avx512dq, avx512f, avx512vl"),
        (machine("skylake-avx512", SKYLAKE_X), "bdver4", "fma4, sse4a, tbm, xop"),
        (machine("znver3", ZEN3), "bdver4", "fma4, tbm, xop"),
        (
            machine("skylake-avx512", SKYLAKE_X),
            "sapphirerapids",
            "avx512bf16, avx512bitalg, avx512fp16, avx512ifma, avx512vbmi, avx512vbmi2, avx512vnni, "
            "avx512vpopcntdq, avxvnni, gfni",
        ),
        (machine("skylake-avx512", SKYLAKE_X), "arrowlake", "avxifma, avxneconvert, avxvnni, avxvnniint8,.*"),
        (HIDING, "skylake-avx512", "avx512bw, .*, prfchw"),
        (machine("haswell", ""), "znver4", "avx512bf16, .*, sse4a"),
    ],
)
def test_code_that_this_machine_cannot_run_is_refused(
    host: Host, name: str, lacking: str, on: Callable[[Host], None]
) -> None:
    on(host)
    where = rf"this machine \(a CPU, {host.cpu} to LLVM\) lacks, or its operating system or hypervisor hides"
    with pytest.raises(TargetError, match=rf"'{name}' has {lacking}, which {where}.*give 'native'"):
        parse_target(name)
    assert parse_target(name, elsewhere=True).without == ()


def test_what_generates_no_code_by_itself_may_be_lacking(on: Callable[[Host], None]) -> None:
    on(machine("skylake-avx512", " ".join({*SKYLAKE_X.split()} - {"aes", "pku", "clwb", "rdrand", "adx"})))
    assert parse_target("skylake-avx512") == parse_target("native")
    assert parse_target("haswell").instructions == AVX2


def test_code_for_elsewhere_may_be_for_any_cpu(on: Callable[[Host], None]) -> None:
    on(machine("haswell", HASWELL))
    target = parse_target("znver4", elsewhere=True)
    assert (target.isa, target.lanes) == ("AVX-512", 16)
    assert (target.l1_bytes, target.l2_bytes, target.l3_bytes) == (32 << 10, 512 << 10, 16 << 20)
    assert parse_target("haswell", elsewhere=True) == parse_target("haswell")  # the caches are known
    with pytest.raises(SparsegenError, match="'sandybridge' has no AVX2"):
        parse_target("sandybridge", elsewhere=True)


def test_code_for_elsewhere_is_for_all_of_the_cpu_even_where_this_one_hides_some(
    on: Callable[[Host], None],
) -> None:
    on(HIDING)
    assert parse_target("skylake-avx512", elsewhere=True).instructions == AVX512
    assert parse_target("native", elsewhere=True).instructions == AVX2


@pytest.mark.parametrize(
    ("host", "cpu", "isa", "without"),
    [
        (machine("skylake-avx512", SKYLAKE_X), "skylake-avx512", AVX512, ()),
        (
            HIDING,
            "skylake-avx512",
            AVX2,
            ("avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl", "prfchw"),
        ),
        (machine("x86-64-v4", SKYLAKE_X.replace("avx512cd ", "")), "x86-64-v4", AVX512, ("avx512cd",)),
        (machine("bdver4", ZEN3), "bdver4", AVX2, ("fma4", "tbm", "xop")),
        (machine("generic", SKYLAKE_X), "x86-64-v4", AVX512, ()),  # a CPU that is newer than LLVM
        (machine("generic", HASWELL), "x86-64-v3", AVX2, ()),
        (machine("znver5", ""), "znver5", AVX512, ()),
    ],
)
def test_native_is_what_the_flags_allow(host: Host, cpu: str, isa: Isa, without: tuple[str, ...]) -> None:
    target = native_target(host)
    assert (target.cpu, target.instructions, target.without) == (cpu, isa, without)


@pytest.mark.parametrize(
    "host",
    [
        machine("sandybridge", ""),
        machine("sandybridge", HASWELL.replace("avx2 ", "").replace("fma ", "")),
        machine("haswell", HASWELL.replace("fma ", "")),
    ],
)
def test_machines_that_can_run_no_kernel(host: Host) -> None:
    message = rf"CPU a CPU \({host.cpu} to LLVM\) has no AVX2 with FMA, or .* hypervisor hides them"
    with pytest.raises(TargetError, match=message):
        native_target(host)


def test_code_for_a_machine_that_hides_avx512_has_none_and_runs(on: Callable[[Host], None]) -> None:
    host = read_host()
    hiding = frozenset(flag for flag in host.flags if not flag.startswith("avx512"))
    on(replace(host, cpu="skylake-avx512", flags=hiding))
    target = parse_target()
    assert (target.cpu, target.isa) == ("skylake-avx512", "AVX2")
    graph = conv_graph(weights((24, 8, 3, 3), "half"), (8, 8, 12, 12))
    code = assembly(graph, target)
    assert "ymm" in code
    assert not re.search(r"zmm|%k\d|[xy]mm(1[6-9]|[23]\d)", code)
    check(graph, threads=1)


def test_the_features_that_llvm_uses_where_it_sees_fit_are_known() -> None:
    """Of every CPU that kernels can be for; what a new LLVM adds has to be put on one side or the other."""
    on_request = {
        *("adx", "aes", "cldemote", "clflushopt", "clwb", "clzero", "crc32", "enqcmd", "fsgsbase", "fxsr"),
        *("hreset", "invpcid", "kl", "lwp", "movdir64b", "movdiri", "movrs", "mwaitx", "pclmul", "pconfig"),
        *("pku", "prefetchi", "ptwrite", "rdpid", "rdpru", "rdrnd", "rdseed", "serialize", "sha", "sha512"),
        *("shstk", "sm3", "sm4", "tsxldtrk", "uintr", "usermsr", "vaes", "vpclmulqdq", "waitpkg", "wbnoinvd"),
        *("widekl", "x87", "xsave", "xsavec", "xsaveopt", "xsaves"),
    }
    tuning = {
        *("64bit", "64bit-mode", "allow-light-256-bit", "branch-hint", "branchfusion", "ermsb", "fsrm"),
        *("idivq-to-divl", "macrofusion", "nopl", "sbb-dep-breaking", "vzeroupper"),
    }
    prefixes = ("amx-", "false-deps-", "fast-", "faster-", "no-bypass-", "prefer-", "slow-", "tuning-")
    features = {
        feature
        for cpu in CPUS
        if AVX2.features <= (found := targets._features(cpu))
        for feature in found
        if not feature.startswith(prefixes)
    }
    assert features == {*FLAGS, *UNSHOWN, *on_request, *tuning}


def test_every_family_and_isa_is_of_cpus_that_llvm_knows() -> None:
    assert all(cpu in CPUS for family in FAMILIES for cpu in family.cpus)
    assert all(isa.features <= {*FLAGS} for isa in ISAS)


@pytest.mark.parametrize(
    ("cpu", "isa", "expected"),
    [
        ("znver4", AVX512, (1.0, 1.0)),
        ("znver4", AVX2, (2.0, 2.0)),  # halves are whole vectors of AVX2
        ("znver5", AVX512, (2.0, 2.0)),
        ("tigerlake", AVX512, (2.0, 1.0)),
        ("tigerlake", AVX2, (2.0, 2.0)),
        ("znver1", AVX2, (1.0, 1.0)),
        ("haswell", AVX2, (2.0, 2.0)),
    ],
)
def test_what_a_core_does_in_a_cycle(cpu: str, isa: Isa, expected: tuple[float, float]) -> None:
    assert rates(cpu, isa) == expected


def test_a_disguised_machine_has_no_more_than_both() -> None:
    host = machine("skylake-avx512", SKYLAKE_X)
    assert disguised(host, "haswell").flags <= {*HASWELL.split()}
    assert native_target(disguised(host, "haswell")).isa == "AVX2"
    assert native_target(disguised(host, "bdver4")).without == ("fma4", "sse4a", "tbm", "xop")
    with pytest.raises(TargetError, match=f"{HOST_CPU} is 'pentium-9000': that is no CPU that LLVM knows"):
        disguised(host, "pentium-9000")


def test_processes_are_disguised_too() -> None:
    script = "from sparsegen.target import parse_target; print(parse_target().cpu, parse_target().isa)"
    done = run("-c", script, environment={**os.environ, HOST_CPU: "haswell"})
    assert done.stdout == "haswell AVX2\n"


def test_the_option_of_the_test_run_disguises_this_process(request: pytest.FixtureRequest) -> None:
    cpu = request.config.getoption("--cpu")
    assert this_host() == (read_host() if cpu is None else disguised(read_host(), cpu))


def test_caches_that_a_machine_does_not_tell_are_the_least_of_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index, fields in enumerate(({"level": "1"}, {"level": "2", "type": "Unified", "size": "2048K"})):
        (tmp_path / f"index{index}").mkdir()
        for name, text in fields.items():
            (tmp_path / f"index{index}" / name).write_text(f"{text}\n")
    monkeypatch.setattr(targets, "_CACHES", tmp_path)
    target = native_target(read_host())
    assert (target.l1_bytes, target.l2_bytes, target.l3_bytes) == (32 << 10, 2 << 20, 16 << 20)


def test_the_first_processor_of_cpuinfo() -> None:
    first, second = "model name\t: A CPU: fast\nflags\t\t: fpu avx2\n", "flags\t\t: fpu\n"
    assert parse_cpuinfo(f"{first}\n{second}") == ("A CPU: fast", frozenset({"fpu", "avx2"}))
    assert parse_cpuinfo("") == ("", frozenset())
