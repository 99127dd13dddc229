"""Arguments by position, by name, optional and nested: as the torch model takes them, or a clear error."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import sparsegen
from sparsegen.errors import InputError, ModelError
from tests.frontend.checking import images

pytestmark = pytest.mark.filterwarnings("ignore:torch itself computes")

X, Y = images(2, 3), images(2, 3, seed=1)


class Takes(nn.Module):
    """Everything that an argument can be."""

    def forward(
        self,
        x: Tensor,
        parts: list[Tensor] | None = None,
        scale: float | None = None,
        *,
        named: dict[str, Tensor] | None = None,
        mask: Tensor | None = None,
    ) -> Any:
        for part in parts or []:
            x = x + part
        if named is not None:
            x = x * named["by"]
        if mask is not None:
            x = x.masked_fill(mask, 0.0)
        return {"result": x if scale is None else x * scale, "scale": scale, "none": None}


def compiled(*args: Any, **kwargs: Any) -> sparsegen.CompiledModel:
    return sparsegen.compile(Takes().eval(), args, kwargs, threads=1, target="haswell", database=None)


@pytest.fixture(scope="module")
def nested() -> sparsegen.CompiledModel:
    return compiled(X, [Y], mask=Y > 0)


CALLS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "by position": ((X,), {}),
    "a list": ((X, [Y, Y]), {}),
    "None and a number": ((X, None, 0.5), {}),
    "by name": ((), {"x": X}),
    "a dict": ((X,), {"named": {"by": Y}, "mask": X > 0}),
    "None by name": ((X,), {"named": None, "mask": X > 0}),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls_are_the_models(name: str) -> None:
    args, kwargs = CALLS[name]
    result, expected = compiled(*args, **kwargs)(*args, **kwargs), Takes()(*args, **kwargs)
    torch.testing.assert_close(result.pop("result"), expected.pop("result"), rtol=1e-5, atol=1e-5)
    assert result == expected


def test_positions_have_names_and_what_is_fixed_may_be_left_out() -> None:
    expected = Takes()(X, None, 0.5, mask=Y > 0)["result"]
    made = compiled(X, None, 0.5, mask=Y > 0)
    for args, kwargs in (
        ((X,), {"mask": Y > 0}),
        ((), {"mask": Y > 0, "x": X}),
        ((X, None), {"mask": Y > 0}),
    ):
        torch.testing.assert_close(made(*args, **kwargs)["result"], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((X, [Y]), {"y": Y}, "takes 'x', argument 1 by position and 'mask' by name; there is no 'y' among"),
        ((X, [Y]), {"mask": Y > 0, "x": X}, "'x' is given twice, by position and by name"),
        ((X, [Y], 1), {"mask": Y > 0}, "by position and 'mask' by name; 3 were given by position"),
        ((X, [Y]), {}, "by position and 'mask' by name; mask is missing"),
        ((X, [Y, Y]), {"mask": Y > 0}, r"nested otherwise .*: \(\*, \[\*, \*\]\) and {'mask': \*} was given"),
        ((X, [Y]), {"mask": Y}, "'mask' has dtype torch.float32; the model was compiled for torch.bool"),
        ((X, [Y[:1]]), {"mask": Y > 0}, r"'parts_0' has shape \(1, 3\); the model was compiled for \(2, 3\)"),
        ((X, [None]), {"mask": Y > 0}, "input 'parts_0' is a NoneType; give a torch.Tensor"),
    ],
)  # fmt: skip
def test_other_arguments(
    nested: sparsegen.CompiledModel, args: tuple[Any, ...], kwargs: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        nested(*args, **kwargs)


@pytest.mark.parametrize(("given", "found"), [(0.25, "0.25"), (None, "None"), (X, "a tensor")])
def test_numbers_are_part_of_the_model(given: Any, found: str) -> None:
    with pytest.raises(
        InputError, match=f"input 'scale' is {found}; the model was compiled with 0.5: compile"
    ):
        compiled(X, None, 0.5)(X, None, given)


def test_keywords_that_the_model_does_not_take() -> None:
    with pytest.raises(
        ModelError, match="cannot be called with 1 by position and other by name: got an unexp"
    ):
        compiled(X, other=Y)


def test_programs_are_called_as_they_were_exported() -> None:
    program = torch.export.export(Takes().eval(), (X,), {"named": {"by": Y}, "mask": X > 0})
    kwargs = {"mask": X > 0, "named": {"by": Y}}  # in another order
    made = sparsegen.compile(program, (X,), kwargs, threads=1, target="haswell", database=None)
    torch.testing.assert_close(made(X, **kwargs)["result"], Takes()(X, **kwargs)["result"])
    with pytest.raises(ModelError, match=r"have the structure .* give as many, nested as those"):
        sparsegen.compile(program, (X, Y), threads=1)
