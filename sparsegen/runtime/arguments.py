"""The arguments of a call, bound by position and by name as the model was compiled with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils import _pytree

from sparsegen.errors import InputError
from sparsegen.graph import CallForm


def leaves_of(form: CallForm | None, inputs: Sequence[Any], named: Mapping[str, Any]) -> list[Any]:
    """The tensors among the arguments, in order; what is no tensor is checked to be as it was.

    Raises InputError for arguments of other names, another number or structure, and for numbers and None
    that differ from those that the model was compiled with.
    """
    if form is None:
        raise InputError(
            f"inputs are given by position, not by name ({', '.join(named)}): call compiled(x), in the order "
            "of the example inputs"
        )
    arguments = _bound(form, inputs, named)
    positional = tuple(arguments[: form.positional])
    keywords = dict(zip(form.names[form.positional :], arguments[form.positional :], strict=True))
    leaves, spec = _pytree.tree_flatten((positional, keywords))
    if spec != form.spec:
        raise InputError(
            f"the arguments are nested otherwise than those that the model was compiled with: "
            f"{describe_structure(spec)} was given, {describe_structure(form.spec)} is needed"
        )
    for place, value in form.fixed.items():
        given = leaves[place]
        if type(given) is not type(value) or given != value:
            found = "a tensor" if isinstance(given, torch.Tensor) else repr(given)
            raise InputError(
                f"{form.leaves[place]} is {found}; the model was compiled with {value!r}: compile once per "
                "value"
            )
    return [leaf for place, leaf in enumerate(leaves) if place not in form.fixed]


def describe_structure(spec: Any) -> str:
    """A pytree spec of (positional, by keyword) as one would write it, `*` for every leaf."""
    positional, keywords = _pytree.tree_unflatten(["*"] * spec.num_leaves, spec)
    return f"{positional} and {keywords}".replace("'*'", "*")


def _bound(form: CallForm, inputs: Sequence[Any], named: Mapping[str, Any]) -> list[Any]:
    """The arguments in the order of the form's names; those left out that may be, as they were."""
    takes = f"the model takes {_listed(form)}"
    if len(inputs) > form.positional:
        raise InputError(f"{takes}; {len(inputs)} were given by position")
    arguments: list[Any] = [*inputs, *[_MISSING] * (len(form.names) - len(inputs))]
    for name, value in named.items():
        place = form.names.index(name) if name and name in form.names else None
        if place is None:
            raise InputError(f"{takes}; there is no '{name}' among its inputs")
        if arguments[place] is not _MISSING:
            raise InputError(f"'{name}' is given twice, by position and by name")
        arguments[place] = value
    fixed = _fixed_arguments(form)
    for place, name in enumerate(form.names):
        if arguments[place] is _MISSING:
            if place not in fixed:
                raise InputError(f"{takes}; {name or f'argument {place}'} is missing")
            arguments[place] = fixed[place]
    return arguments


_MISSING = object()


def _fixed_arguments(form: CallForm) -> dict[int, Any]:
    """The arguments that are one fixed leaf, by their place among the arguments."""
    positional, keywords = form.spec.children()
    specs, leaf, found = [*positional.children(), *keywords.children()], 0, dict[int, Any]()
    for place, spec in enumerate(specs):
        if spec.is_leaf() and leaf in form.fixed:
            found[place] = form.fixed[leaf]
        leaf += spec.num_leaves
    return found


def _listed(form: CallForm) -> str:
    """`'input_ids' by position and 'attention_mask' by name`."""
    names = [f"'{name}'" if name else f"argument {place}" for place, name in enumerate(form.names)]
    parts = ((names[: form.positional], "position"), (names[form.positional :], "name"))
    return " and ".join(f"{', '.join(part)} by {how}" for part, how in parts if part)
