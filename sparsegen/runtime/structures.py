"""What native code and generated functions read: structures of ours, of DLPack and of TVM's ABI."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen.runtime.program import Clearing

_DL_TENSOR_POINTER = 7  # TVM's number of the type
_CPU = 1  # DLPack's number of the device
_TYPE_CODES = {"i": 0, "u": 1, "f": 2, "b": 6}  # NumPy's kind: DLPack's code


class TensorStruct(ctypes.Structure):
    """DLPack's tensor; `strides` of None are row-major ones."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("type_code", ctypes.c_uint8),
        ("type_bits", ctypes.c_uint8),
        ("type_lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class ArgumentStruct(ctypes.Structure):
    """TVM's argument of any type: here, a pointer to a tensor."""

    _fields_ = (
        ("type_index", ctypes.c_int32),
        ("padding", ctypes.c_uint32),
        ("tensor", ctypes.POINTER(TensorStruct)),
    )


class ClearingStruct(ctypes.Structure):
    """What to zero of a buffer."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("item", ctypes.c_int64),
        ("groups", ctypes.c_int64),
        ("size", ctypes.c_int64),
        ("head", ctypes.c_int64),
        ("planes", ctypes.c_int64),
        ("plane", ctypes.c_int64),
        ("spans", ctypes.c_int64),
        ("span", ctypes.POINTER(ctypes.c_int64)),
    )


class CallStruct(ctypes.Structure):
    """A call of a generated function."""

    _fields_ = (
        ("function", ctypes.c_void_p),
        ("arguments", ctypes.POINTER(ArgumentStruct)),
        ("count", ctypes.c_int64),
        ("clearing", ctypes.POINTER(ClearingStruct)),
        ("after", ctypes.POINTER(ctypes.c_int32)),
        ("waits", ctypes.c_int32),
        ("awaited", ctypes.c_int32),
    )


class GroupStruct(ctypes.Structure):
    """Calls, by number, on so many threads."""

    _fields_ = (
        ("calls", ctypes.POINTER(ctypes.c_int32)),
        ("count", ctypes.c_int64),
        ("threads", ctypes.c_int64),
    )


def clearing_struct(clearing: Clearing, data: NDArray[Any]) -> ClearingStruct:
    """What to zero of this buffer, which the structure does not keep."""
    flat = [edge for span in clearing.spans for edge in span]
    return ClearingStruct(
        data.ctypes.data,
        data.itemsize,
        clearing.groups,
        clearing.size,
        clearing.head,
        clearing.planes,
        clearing.plane,
        len(clearing.spans),
        (ctypes.c_int64 * len(flat))(*flat),
    )


def call_struct(
    function: int,
    arguments: Sequence[NDArray[np.generic]],
    clearing: ClearingStruct | None,
    after: Sequence[int] = (),
    *,
    awaited: bool = False,
) -> CallStruct:
    """A call of the function at an address, on arrays, which the structure does not keep.

    It begins after some other calls, and is `awaited` by some.
    """
    packed = (ArgumentStruct * len(arguments))(
        *(ArgumentStruct(_DL_TENSOR_POINTER, 0, ctypes.pointer(_tensor(each))) for each in arguments)
    )
    cleared = None if clearing is None else ctypes.pointer(clearing)
    return CallStruct(function, packed, len(arguments), cleared, numbers(after), len(after), awaited)


def group_struct(calls: Sequence[int], threads: int) -> GroupStruct:
    """Calls, by number, on so many threads."""
    return GroupStruct(numbers(calls), len(calls), threads)


def numbers(values: Sequence[int]) -> ctypes.Array[ctypes.c_int32]:
    """An array of small numbers."""
    return (ctypes.c_int32 * len(values))(*values)


def _tensor(array: NDArray[np.generic]) -> TensorStruct:
    return TensorStruct(
        data=array.ctypes.data,
        device_type=_CPU,
        ndim=array.ndim,
        type_code=_TYPE_CODES[array.dtype.kind],
        type_bits=8 * array.itemsize,
        type_lanes=1,
        shape=(ctypes.c_int64 * array.ndim)(*array.shape),
    )
