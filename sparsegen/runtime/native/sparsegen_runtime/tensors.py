"""What a model is called with, and returns: NumPy's arrays, or torch's tensors where torch is loaded."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsegen_runtime.errors import InputError, OutOfMemoryError
from sparsegen_runtime.interface import TensorForm

_LINE = 64
_LARGE = 1 << 14  # bytes from which a copy costs more than an address that saves it


class PlainForm:
    """An input's or output's form, ready for NumPy; bfloat16, which it lacks, is uint16 there."""

    def __init__(self, form: TensorForm) -> None:
        self.name, self.shape, self.nbytes = form.name, form.shape, form.nbytes
        self.torch_name = form.dtype
        self.dtype = np.dtype("uint16" if form.dtype == "bfloat16" else form.dtype)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row, of which the first extent tells the number."""
        return self.nbytes // self.shape[0] if self.shape and self.shape[0] else 0


def torch_if_loaded() -> Any:
    """The module, where the program has loaded it; None elsewhere."""
    return sys.modules.get("torch")


def check_count(inputs: Sequence[Any], forms: Sequence[PlainForm]) -> None:
    """Raises InputError for another number of inputs than there are forms."""
    if len(inputs) != len(forms):
        wanted = f"{len(forms)} input{'s' if len(forms) != 1 else ''}"
        shapes = " and ".join(str(form.shape) for form in forms)
        raise InputError(f"the model takes {wanted} of shape {shapes}, {len(inputs)} were given")


def plain(value: Any, form: PlainForm) -> tuple[Any, int]:
    """An input, contiguous, that has to be kept, and its address. Its shape is the caller's to check.

    Raises InputError for what is no array, and no tensor on the CPU, of the form's type.
    """
    if type(value) is not np.ndarray:
        torch = torch_if_loaded()
        if torch is not None and isinstance(value, torch.Tensor):
            return _plain_tensor(torch, value, form)
        value = _array(value, form)
    if value.dtype != form.dtype:
        raise InputError(
            f"{form.name} has dtype {value.dtype}; {_takes(form)} {form.dtype}: "
            f"give .astype(numpy.{form.dtype})"
        )
    if not value.flags.c_contiguous:
        value = np.ascontiguousarray(value).reshape(value.shape)
    return value, value.__array_interface__["data"][0]


def _array(value: Any, form: PlainForm) -> NDArray[Any]:
    """An array of a subclass as a plain one."""
    if not isinstance(value, np.ndarray):
        raise InputError(f"{form.name} is a {type(value).__name__}; give a numpy.ndarray or a torch.Tensor")
    if isinstance(value, np.ma.MaskedArray):
        raise InputError(
            f"{form.name} is a masked array, whose mask would be lost; give a plain one: .filled(...)"
        )
    return value.view(np.ndarray)


def _plain_tensor(torch: Any, tensor: Any, form: PlainForm) -> tuple[Any, int]:
    if not tensor.is_cpu:
        raise InputError(f"{form.name} is on {tensor.device}; compiled models run on the CPU: call .cpu()")
    dtype = getattr(torch, form.torch_name)
    if tensor.dtype != dtype:
        cast = ".float()" if form.torch_name == "float32" and not tensor.is_complex() else f".to({dtype})"
        raise InputError(f"{form.name} has dtype {tensor.dtype}; {_takes(form)} {dtype}: give {cast}")
    if tensor.layout != torch.strided or tensor.is_nested:
        kind = "nested" if tensor.is_nested else str(tensor.layout).removeprefix("torch.").lstrip("_")
        raise InputError(f"{form.name} is a {kind} tensor; compiled models take dense ones: call .to_dense()")
    if tensor.is_neg():
        tensor = tensor.resolve_neg()
    if not tensor.is_contiguous():
        tensor = tensor.contiguous()
    try:
        address = tensor.data_ptr()
    except RuntimeError as error:  # torch's own, for what has no memory
        raise _no_memory(form) from error
    if not address and tensor.numel():
        raise _no_memory(form)
    return tensor, address


def _no_memory(form: PlainForm) -> InputError:
    return InputError(
        f"{form.name} has no memory of its own, as inside torch.func, torch.vmap or FakeTensorMode, or once "
        "its storage is freed; call a compiled model outside of them, with a tensor of numbers"
    )


def _takes(form: PlainForm) -> str:
    return "compiled models take" if form.torch_name == "float32" else "the model was compiled for"


def new_result(form: PlainForm, shape: tuple[int, ...], as_tensor: bool) -> tuple[Any, int]:
    """A new array, or a tensor, of a form's type, and its address; raises OutOfMemoryError."""
    try:
        if as_tensor:
            torch = sys.modules["torch"]
            tensor = torch.empty(shape, dtype=getattr(torch, form.torch_name), device="cpu")
            return tensor, tensor.data_ptr()
        if form.nbytes < _LARGE:
            array = np.empty(shape, form.dtype)
        else:
            size = form.dtype.itemsize
            for extent in shape:
                size *= extent
            whole = np.empty(size + _LINE, np.uint8)
            begin = -whole.__array_interface__["data"][0] % _LINE
            array = whole[begin : begin + size].view(form.dtype).reshape(shape)
    except (MemoryError, RuntimeError) as error:  # torch has no error of its own for it
        raise OutOfMemoryError(f"no memory is left for results of shape {shape}: free some") from error
    return array, array.__array_interface__["data"][0]
