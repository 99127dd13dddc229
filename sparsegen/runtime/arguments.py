"""The arguments of a call, bound by position and by name as the model was compiled with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sparsegen_runtime.arguments import bound, nested_otherwise, without_fixed
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
    arguments = bound(form.names, form.positional, _fixed_arguments(form), inputs, named)
    positional = tuple(arguments[: form.positional])
    keywords = dict(zip(form.names[form.positional :], arguments[form.positional :], strict=True))
    leaves, spec = _pytree.tree_flatten((positional, keywords))
    if spec != form.spec:
        raise nested_otherwise(describe_structure(spec), describe_structure(form.spec))
    return without_fixed(leaves, form.leaves, form.fixed)


def describe_structure(spec: Any) -> str:
    """A pytree spec of (positional, by keyword) as one would write it, `*` for every leaf."""
    positional, keywords = _pytree.tree_unflatten(["*"] * spec.num_leaves, spec)
    return f"{positional} and {keywords}".replace("'*'", "*")


def _fixed_arguments(form: CallForm) -> dict[int, Any]:
    """The arguments that are one fixed leaf, by their place among the arguments."""
    positional, keywords = form.spec.children()
    specs, leaf, found = [*positional.children(), *keywords.children()], 0, dict[int, Any]()
    for place, spec in enumerate(specs):
        if spec.is_leaf() and leaf in form.fixed:
            found[place] = form.fixed[leaf]
        leaf += spec.num_leaves
    return found
