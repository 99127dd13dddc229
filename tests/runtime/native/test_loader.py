"""The C runtime's loader: which shared objects it takes, and what it says of others."""

from __future__ import annotations

import math
import subprocess
from pathlib import Path

import numpy as np
import pytest
from sparsegen_runtime.errors import SparsegenError

from tests.runtime.native.models import call, new, plan, slot, variant, write
from tests.runtime.native.opened import opened

X = np.linspace(0.1, 0.9, 4, dtype=np.float32)
TYPES = """
#include <math.h>
#include <stdint.h>
#include <string.h>
typedef struct { float *data; int32_t rest[3]; uint8_t code, bits; uint16_t lanes; int64_t *shape; } Tensor;
typedef struct { int32_t type; uint32_t zero; Tensor *tensor; } Packed;
#define READ a[0].tensor->data
#define WRITTEN a[1].tensor->data
int __tvm_ffi_f(void *self, const Packed *a, int32_t count, void *result);
"""
FUNCTION = "int __tvm_ffi_f(void *self, const Packed *a, int32_t count, void *result) { BODY return 0; }"


def linked(folder: Path, source: str, *flags: str) -> bytes:
    """The shared object of C code."""
    path = folder / "code.c"
    path.write_text(TYPES + source)
    made = folder / "code.so"
    command = ["gcc", "-O1", "-fno-builtin", "-shared", "-fPIC", *flags, "-o", made, path]
    subprocess.run(command, check=True)
    return made.read_bytes()


def result(folder: Path, code: bytes) -> np.ndarray:
    """What `f` makes of X."""
    path = write(folder / "m", [variant(code, plan([call("f", slot(0, [4]), new(1, [4]))], [4], {1: 4}))])
    with opened(path) as model:
        return model.run(X)[0]


def each(expression: str) -> str:
    """`f`, of each element, which is `x`."""
    loop = f"for (int i = 0; i < 4; i++) {{ float x = READ[i]; WRITTEN[i] = {expression}; }}"
    return FUNCTION.replace("BODY", loop)


@pytest.mark.parametrize(
    "name", ["exp", "log", "tanh", "erf", "sin", "cos", "sqrt", "round", "floor", "log1p"]
)
def test_functions_of_libm_are_there(tmp_path: Path, name: str) -> None:
    of = {"round": round}.get(name) or getattr(math, name)
    found = result(tmp_path, linked(tmp_path, each(f"{name}f(x)"), "-lm"))
    np.testing.assert_allclose(found, [of(float(x)) for x in X], rtol=1e-5)


def test_functions_of_two_arguments_are_there(tmp_path: Path) -> None:
    found = result(tmp_path, linked(tmp_path, each("powf(x, 2.5f) + fmodf(7, x)")))
    np.testing.assert_allclose(found, X**2.5 + np.fmod(np.float32(7), X), rtol=1e-4)


@pytest.mark.parametrize(
    "linker", ["-Wl,-z,now", "-Wl,-z,lazy", "-Wl,-z,max-page-size=0x200000", "-Wl,--hash-style=both"]
)
def test_data_and_tables_of_addresses(tmp_path: Path, linker: str) -> None:
    source = """
    static float three(float x) { return 3 * x; }
    float four(float x) { return 4 * x; }
    static float (*const table[])(float) = {three, four};
    float (*exported[])(float) = {four, three};
    static float kept[5000];
    float started = 0.5f;
    """ + each("(kept[4999] += 1, table[i % 2](x) + exported[i % 2](x) + kept[i] + started)")
    code = linked(tmp_path, source, linker)
    np.testing.assert_allclose(result(tmp_path, code), 7 * X + 0.5, rtol=1e-6)


@pytest.mark.parametrize(
    ("source", "flags", "message"),
    [
        ("__thread int mine; int *at(void) { return &mine; }" + each("x"), (), "variables of each thread"),
        ("__attribute__((constructor)) void begin(void) {}" + each("x"), (), "constructors of its own"),
        ("int puts(const char *);" + each("puts(0)"), (), "calls 'puts', which the runtime does not have"),
        ("void *__TVMFuncCall;" + each("x"), (), "calls 'TVMFuncCall', which the runtime does not have"),
        (
            "static int one(void) { return 1; } static void *choose(void) { return one; }"
            'int both(void) __attribute__((ifunc("choose")));' + each("both()"),
            (),
            "of kind 37|not supported",
        ),
        (each("x"), ("-Wl,--no-as-needed", "-ldl", "-lpthread", "-l:libstdc++.so.6"), "needs the library"),
        (each("x"), ("-Wl,--hash-style=sysv",), "no table of symbols, names, or hashes"),
        (each("x"), ("-Wl,-z,execstack",), "runs code on its stack"),
        ("int g(void) { return 0; }", (), "no function 'f'"),
    ],
)
def test_other_objects_are_refused(tmp_path: Path, source: str, flags: tuple[str, ...], message: str) -> None:
    code = linked(tmp_path, source, *flags)
    with pytest.raises(SparsegenError, match=message):
        result(tmp_path, code)


def test_what_is_no_object_is_refused(tmp_path: Path) -> None:
    whole = linked(tmp_path, each("x"))
    executable = whole[:16] + b"\x02" + whole[17:]
    arm = whole[:18] + b"\xb7" + whole[19:]
    run = next(at for at in range(64, 1000, 56) if whole[at : at + 8] == b"\1\0\0\0\5\0\0\0")
    both = whole[: run + 4] + b"\7" + whole[run + 5 :]
    for code, message in (
        (b"", "no ELF object"),
        (b"#!/bin/sh\n" * 10, "no ELF object"),
        (whole[:60], "no ELF object"),
        (whole[:200], "headers lie outside|segment lies outside"),
        (whole[:5000], "segment lies outside"),
        (executable, "no shared object for x86-64"),
        (arm, "no shared object for x86-64"),
        (both, "both written and run"),
    ):
        with pytest.raises(SparsegenError, match=message):
            result(tmp_path, code)
