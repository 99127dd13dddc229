"""The C runtime's JSON: what Python writes is read, and what is no strict JSON is refused."""

from __future__ import annotations

import ctypes
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime.native.building import HERE, INCLUDE, SOURCES, build
from tests.sampling import examples

Read = Callable[[bytes], Any]
_ROOM = 1 << 20


@pytest.fixture(scope="session")
def read(tmp_path_factory: pytest.TempPathFactory) -> Read:
    """json.c's value of a text; raises ValueError with its message."""
    path = tmp_path_factory.mktemp("json") / "json.so"
    sources = HERE / "json_texts.c", SOURCES / "json.c", SOURCES / "errors.c", SOURCES / "bump.c"
    native = ctypes.CDLL(str(build(path, *sources, flags=(f"-I{INCLUDE}", "-shared", "-fPIC"))))
    native.sparsegen_last_error.restype = ctypes.c_char_p
    told = ctypes.create_string_buffer(_ROOM)

    def value(text: bytes) -> Any:
        if native.test_json(text, ctypes.c_size_t(len(text)), told, ctypes.c_size_t(_ROOM)):
            raise ValueError(native.sparsegen_last_error().decode())
        return _unhexed(json.loads(told.value))

    return value


def _unhexed(value: Any) -> Any:
    match value:
        case str():
            return bytes.fromhex(value).decode()
        case list():
            return [_unhexed(each) for each in value]
        case dict():
            return {_unhexed(name): _unhexed(each) for name, each in value.items()}
    return value


_TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(_TEXTS, inner),
)


@examples(200, soak=5000)
@given(_VALUES, st.booleans(), st.sampled_from([None, 1, 3]))
def test_what_python_writes_is_read(read: Read, value: Any, escaped: bool, indent: int | None) -> None:
    written = json.dumps(value, ensure_ascii=escaped, indent=indent).encode()
    assert read(written) == value
    assert read(b" \n\t\r" + written + b"  ") == value


@examples(300, soak=20000)
@given(st.binary(max_size=40) | st.text('[]{}",:0123456789.eE+-truefalsn\\u ', max_size=30).map(str.encode))
def test_what_is_read_is_what_python_reads(read: Read, text: bytes) -> None:
    try:
        found = read(text)
    except ValueError:
        return
    assert found == json.loads(text)


REFUSED = {
    "an end too early": b'{"a": [1, 2',
    "two values": b"1 2",
    "a comma too many": b"[1,]",
    "a comma too many in an object": b'{"a":1,}',
    "no name": b"{1:2}",
    "a name twice": b'{"a":1,"b":2,"a":3}',
    "a zero before digits": b"01",
    "no digits after a point": b"1.",
    "a plus": b"+1",
    "not a number": b"NaN",
    "infinity": b"1e999",
    "past 64 bits": b"9223372036854775808",
    "past 64 bits below": b"-9223372036854775809",
    "a number without end": b"1" * 500,
    "single quotes": b"'a'",
    "a line in a text": b'"a\nb"',
    "an unknown escape": b'"\\x41"',
    "a zero in a text": b'"\\u0000"',
    "half of a pair": b'"\\ud83d"',
    "halves that are no pair": b'"\\ud83d\\u0041"',
    "a byte that begins nothing": b'"\xff"',
    "a longer form than needed": b'"\xc0\x80"',
    "a surrogate": b'"\xed\xa0\x80"',
    "past the last character": b'"\xf4\x90\x80\x80"',
    "a comment": b"1 // one",
    "nothing": b"",
    "too deep": b"[" * 300 + b"]" * 300,
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_strict_json_is_refused(read: Read, kind: str) -> None:
    with pytest.raises(ValueError, match=r"the text is no JSON that this version reads, at byte \d+: "):
        read(REFUSED[kind])


def test_edges_are_kept(read: Read) -> None:
    for value in (-(1 << 63), (1 << 63) - 1, 5e-324, math.pi, 1 / 6, 1.7976931348623157e308):
        assert read(json.dumps(value).encode()) == value
    assert read(b"[" * 256 + b"]" * 256)
    assert read(b'"\\ud83d\\ude00 \xf0\x9f\x98\x80"') == "\U0001f600 \U0001f600"
