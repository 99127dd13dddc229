"""A saved model, open: called as the torch model is, with arrays or tensors."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, Self

import numpy as np

from sparsegen_runtime.batches import Family, families_of, pieces, without_batch
from sparsegen_runtime.calling import call_form, result_structure
from sparsegen_runtime.errors import DamageError, InputError, OptionError, read_from
from sparsegen_runtime.interface import checked_path, functions, open_model, own_teams
from sparsegen_runtime.known import KnownResults
from sparsegen_runtime.rows import listed, results_grow, run_piece
from sparsegen_runtime.tensors import PlainForm, check_count, new_result, plain
from sparsegen_runtime.under_way import CallsUnderWay
from sparsegen_runtime.variant import Variant

Shapes = tuple[tuple[int, ...], ...]


def load(path: str | os.PathLike[str], threads: int | None = None, verify: bool = False) -> LoadedModel:
    """The model of a file that `compiled.save` wrote, ready to be called.

    **The file holds machine code: load only files whose origin you trust, as you would run a program.**

    threads: that a call takes; None: as many as it was compiled for.
    verify: check the weights' checksums too, which reads all of the file; those of plan and code always are.

    Raises ProgramError for a file that cannot be read, is damaged or is of another version, NeedsTorchError
    where torch computes some of its operators (`sparsegen.load` loads such a file), TargetError where this
    machine lacks what its code needs, OptionError for what is no path, no number of threads or no truth
    value, OutOfMemoryError where no memory is left, and ToolchainError where the package's library is
    missing.
    """
    return LoadedModel(path, threads, verify)


class LoadedModel:
    """A model of a file, for the batches, image sizes and CPUs that it was compiled for.

    Called with NumPy's arrays it returns arrays, and with a torch tensor among the inputs, tensors; both are
    read where they lie if they are contiguous. Several threads may call it at once. After a fork the child
    has the model too, on threads of its own; it shares the weights' memory with its parent, if this one has
    called the model.

    The variant for the shapes of the inputs runs. Where several differ in the batch alone, being for 1, 4 and
    16 images say, inputs of any other number of rows are split, and padded with their last row, in the way
    that is the fastest: the first such call times the variants. No row of a result may depend on other rows.

    variants: those that run on this machine, the best first. layers: what became of each layer of the first.
    input_shapes, output_shapes, threads, target: of the first.
    """

    def __init__(
        self, path: str | os.PathLike[str], threads: int | None = None, verify: bool = False
    ) -> None:
        self.path = checked_path(path)
        if not isinstance(verify, bool | np.bool_):
            raise OptionError(f"verify is {verify!r}: give True or False")
        self._threads = threads
        self._lock = threading.Lock()
        self._calls = CallsUnderWay(f"the model of {self.path}")
        self._forked = False
        handle = open_model(self.path, threads, verify)
        count = functions().sparsegen_variants(handle)
        self.variants = tuple(Variant(handle, number) for number in range(count))
        self._close = weakref.finalize(self, _close, handle, self.variants)
        self._close.atexit = False  # the system takes all then
        self._by_shapes: dict[Shapes, Variant] = {}
        self._known: dict[int, KnownResults] = {}
        self._seconds: dict[int, Mapping[int, float]] = {}
        with read_from(self.path):
            _check_types(self.variants)
            self._choose_by_shapes()
            first = self.variants[0]
            self._structure = result_structure(first.plan)
            self._call = call_form(first.plan, len(first.inputs))
            self.target, self.layers = first.target, first.layers
        self._known_of(first)
        self._families = families_of(list(self._by_shapes))
        self._in_order = tuple(self._by_shapes.values())
        _models.add(self)

    def _choose_by_shapes(self) -> None:
        """Which variant serves inputs of its shapes: the first, or one of the threads that are asked for."""
        for variant in self.variants:
            best = self._by_shapes.setdefault(variant.input_shapes, variant)
            if self._threads is not None and self._threads == variant.threads != best.threads:
                self._by_shapes[variant.input_shapes] = variant

    def _known_of(self, variant: Variant) -> KnownResults:
        """The parts of a variant's result that never change; ProgramError where they do not make it whole."""
        if id(variant) not in self._known:
            known = KnownResults(self.path, variant.plan)
            count = len(variant.outputs) + len(known)
            with read_from(self.path):
                if self._structure is not None and self._structure.count != count:
                    raise DamageError(f"a result of {count} parts in a structure of {self._structure.count}")
            self._known[id(variant)] = known
        return self._known[id(variant)]

    @property
    def threads(self) -> int:
        """Threads that a call takes."""
        return self._threads or self.variants[0].threads

    @property
    def input_shapes(self) -> Shapes:
        """Of the first variant."""
        return self.variants[0].input_shapes

    @property
    def output_shapes(self) -> Shapes:
        """Of the first variant: of what is computed, in order."""
        return tuple(form.shape for form in self.variants[0].outputs)

    def close(self) -> None:
        """Free the model's memory, once the calls that other threads are in have ended; none may follow.

        A model that is closed may be closed again. Raises InputError where this very thread is in a call, as
        the handler of a signal may be.
        """
        self._calls.close()
        self._close()

    def __enter__(self) -> Self:
        """The model, which is closed where the `with` ends."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the model."""
        self.close()

    def __repr__(self) -> str:
        batches = list(dict.fromkeys(shapes[0][0] for shapes in self._by_shapes if shapes and shapes[0]))
        closed = ", closed" if self._calls.closed else ""
        return (
            f"{type(self).__name__}({str(self.path)!r}, target={self.target!r}, threads={self.threads}, "
            f"batches={batches}{closed})"
        )

    def __reduce__(self) -> NoReturn:
        """No copy and no pickle: raises OptionError, which tells what to do."""
        raise OptionError(
            f"a model that is open is neither copied nor pickled: pass on its path, {str(self.path)!r}, and "
            "load it there"
        )

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """The model's result, in the structure that the torch model returns.

        Arguments are those of the torch model. Raises InputError for other arguments than it was compiled
        for, and once the model is closed, and OutOfMemoryError where no memory is left.
        """
        if self._forked:
            own_teams()
            self._forked = False
        with self._calls:
            return self._result(inputs, named)

    def _result(self, inputs: Sequence[Any], named: Mapping[str, Any]) -> Any:
        if self._call is not None and (named or not self._call.is_flat):
            inputs = self._call.leaves_of(inputs, named)
        elif named:
            raise InputError(
                f"inputs are given by position, not by name ({', '.join(named)}): call model(x), in the "
                "order of the example inputs"
            )
        forms = self.variants[0].inputs
        if len(inputs) != len(forms):
            check_count(inputs, forms)
        kept, addresses = [], []
        for value, form in zip(inputs, forms, strict=True):
            each, address = plain(value, form)
            kept.append(each)
            addresses.append(address)
        shapes = tuple([each.shape for each in kept])
        as_tensors = not all(map(_is_array, kept))
        variant = self._by_shapes.get(shapes)
        if variant is None:
            return self._by_rows(shapes, addresses, as_tensors)
        results, to = [], []
        for form in variant.outputs:
            result, address = new_result(form, form.shape, as_tensors)
            results.append(result)
            to.append(address)
        variant.run(addresses, to)
        return self._arranged(variant, results, as_tensors)

    def _by_rows(self, shapes: Shapes, addresses: list[int], as_tensors: bool) -> Any:
        """The result of inputs whose rows several variants compute."""
        family = self._families.get(without_batch(shapes))
        rows = None if family is None else family.rows_of(shapes)
        if family is None or not rows or self._same_everywhere(shapes, family):
            raise self._misshapen(shapes)
        variants = {batch: self._in_order[number] for batch, number in family.variants.items()}
        first = next(iter(variants.values()))
        if not results_grow(variants):
            raise InputError(
                f"the model's results do not have a row for each of its inputs': give {listed(variants)} rows"
            )
        shaped = [(rows, *form.shape[1:]) for form in first.outputs]
        made = [
            new_result(form, shape, as_tensors) for form, shape in zip(first.outputs, shaped, strict=True)
        ]
        to = [address for _, address in made]
        for piece in pieces(rows, self._times(variants)):
            run_piece(variants[piece.batch], piece, family.batched, addresses, to)
        return self._arranged(first, [result for result, _ in made], as_tensors)

    def _same_everywhere(self, shapes: Shapes, family: Family) -> bool:
        """Whether an input that has no batch is of another shape than the variants take."""
        (number, *_) = family.variants.values()
        own = self._in_order[number].input_shapes
        return any(
            not batched and shape != taken
            for shape, taken, batched in zip(shapes, own, family.batched, strict=True)
        )

    def _times(self, variants: Mapping[int, Variant]) -> Mapping[int, float]:
        """Seconds of the variants of a family, measured once."""
        key = id(next(iter(variants.values())))
        with self._lock:
            if key not in self._seconds:
                self._seconds[key] = {batch: variant.seconds() for batch, variant in variants.items()}
            return self._seconds[key]

    def _arranged(self, variant: Variant, results: list[Any], as_tensors: bool) -> Any:
        """The results, and what is known, in the structure that the model returns."""
        results = self._known_of(variant).among(results, as_tensors)
        return results if self._structure is None else self._structure.built(results)

    def _misshapen(self, shapes: Shapes) -> InputError:
        """What to raise for inputs of shapes that no variant takes."""
        forms: Sequence[PlainForm] = self.variants[0].inputs
        family = self._families.get(without_batch(shapes))
        if family is not None and family.rows_of(shapes) is None:
            return InputError(family.differing([form.name for form in forms], shapes))
        taken = list(self._by_shapes)
        for place, form in enumerate(forms):
            allowed = list(dict.fromkeys(each[place] for each in taken))
            if shapes[place] not in allowed:
                return InputError(
                    f"{form.name} has shape {tuple(shapes[place])}; the model was compiled for "
                    f"{' and '.join(map(str, allowed))}: compile it for this size too; "
                    "batches=[1, 4] (--batches 1,4) takes any number of rows"
                )
        return InputError(
            f"the inputs have shapes {_joined(shapes)}; the model was compiled for "
            f"{'; '.join(map(_joined, taken))}: give some of these together"
        )


def _check_types(variants: Sequence[Variant]) -> None:
    """Raise ValueError for variants whose inputs or outputs are of several types: one check serves all."""
    types = {
        tuple(tuple(form.torch_name for form in forms) for forms in (variant.inputs, variant.outputs))
        for variant in variants
    }
    if len(types) > 1:
        raise DamageError("variants of several types of inputs or outputs")


def _joined(shapes: Shapes) -> str:
    return " and ".join(str(tuple(shape)) for shape in shapes)


def _is_array(value: Any) -> bool:
    return type(value) is np.ndarray


def _close(handle: int, variants: Sequence[Variant]) -> None:
    """Free a model's memory."""
    for variant in variants:
        variant.free()
    functions().sparsegen_close(handle)


_models: weakref.WeakSet[LoadedModel] = weakref.WeakSet()


def _in_child() -> None:
    """A forked child has neither the threads of its parent's models nor those that held their locks."""
    for model in _models:
        model._forked, model._lock = True, threading.Lock()
        model._calls = CallsUnderWay(f"the model of {model.path}", closed=model._calls.closed)


os.register_at_fork(after_in_child=_in_child)
