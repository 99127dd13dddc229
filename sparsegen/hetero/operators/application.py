"""Applications: modules and models put together, with state that is carried from one input to the next.

    app = Application()
    frame = app.input("frame", torch.zeros(1, 3, 224, 224))
    features = app.add("encoder", encoder, frame)
    tokens, _ = app.add("decoder", decoder, features, carried=("state", torch.zeros(1, 512)))
    app.returns(tokens)

Here the decoder is called with the features and the state, and its last result is the state for the next
frame.
What `carried` stands for can be said apart, for a state that others read or feed:

    state = app.state("state", torch.zeros(1, 512))
    tokens, new = app.add("decoder", decoder, features, state)
    app.feed(state, new)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sparsegen.errors import InputError, ModelError
from sparsegen.graph import ValueForm
from sparsegen.hetero.operators.modules import Callee, ModuleOperator, form_of
from sparsegen.hetero.operators.operators import Operator
from sparsegen.typed import typed

_RESERVED = ". # [ ] /"


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of an application: an input, a state, or a result of an operator."""

    form: ValueForm
    owner: Application

    @property
    def name(self) -> str:
        """The input's, the state's or the operator's; with its place in brackets, one of several results."""
        return self.form.name


class Application:
    """Operators, each a module that reads inputs, states and results of operators before it.

    Called with tensors for its inputs, it runs the operators one after the other in torch, which is the
    reference for every plan; it keeps its states from call to call, until `reset`. Operators can only read
    what is there already: a circle is closed by `feed`, over a state.

    modules: the operators, by name, in order. reads: the names of the values that each reads. initial: the
    states' values for the first input. feeds: by state, the value that it is for the next input.
    """

    def __init__(self) -> None:
        self.modules: dict[str, ModuleOperator] = {}
        self.reads: dict[str, tuple[str, ...]] = {}
        self.initial: dict[str, Tensor] = {}
        self.feeds: dict[str, str] = {}
        self._values: dict[str, Value] = {}
        self._examples: dict[str, Tensor] = {}
        self._inputs: list[str] = []
        self._returned: tuple[str, ...] | None = None
        self._states: dict[str, Tensor] | None = None

    def input(self, name: str, example: Tensor) -> Value:
        """An input of the application, of the example's shape and dtype."""
        value = self._new(name, example)
        self._inputs.append(name)
        return value

    def state(self, name: str, initial: Tensor) -> Value:
        """A state: `initial` for the first input, and then what `feed` says."""
        value = self._new(name, initial)
        self.initial[name] = initial.detach().clone()
        return value

    @typed
    def add(
        self,
        name: str,
        module: Callee,
        *reads: Value | str,
        carried: tuple[str, Tensor | tuple[Tensor, ...]] | None = None,
    ) -> Value | tuple[Value, ...]:
        """Add an operator: a module that is called with what it reads, values or their names.

        `carried` names a state of the operator's own, with its initial value, one tensor or several: the
        module is called with it after all else, and its last results are what it is for the next input.

        Gives the value of its result, or a tuple where the module returns several tensors, in any structure.

        Raises ModelError for a name that is taken or has one of ". # [ ] /", for reads that are not there,
        for a module that fails on inputs of these shapes, and for a state that it does not give back.
        """
        self._check_name(name)
        read = [self._known(each, name) for each in reads]
        states = self._own_states(name, carried)
        examples = [*(self._examples[each] for each in read), *states.values()]
        made = ModuleOperator(module, examples, name)
        if len(made.outputs) < len(states):
            raise ModelError(
                f"operator {name!r} gives {len(made.outputs)} results, and carries {len(states)} tensors on"
            )
        fed = dict(zip(states, made.outputs[len(made.outputs) - len(states) :], strict=True))
        for state, source in fed.items():
            form_of(state, states[state]).check_carried(source)
        values = [self._keep(*each) for each in zip(made.outputs, made.example_results, strict=True)]
        for state, source in fed.items():
            self.state(state, states[state])
            self.feeds[state] = source.name
        self.modules[name], self.reads[name] = made, (*read, *states)
        return values[0] if len(values) == 1 else tuple(values)

    @typed
    def feed(self, state: Value, result: Value) -> None:
        """Say what a state is for the next input: the result of an operator for this one.

        Raises ModelError for what is no state or no result, for a state that is fed already, and for another
        shape or dtype than the state's.
        """
        name, source = self._known(state, "feed"), self._known(result, "feed")
        if name not in self.initial:
            raise ModelError(f"{name!r} is no state; those are {', '.join(self.initial) or 'none'}")
        if name in self.feeds:
            raise ModelError(f"state {name!r} is fed by {self.feeds[name]!r} already")
        if source in self.initial or source in self._inputs:
            raise ModelError(f"state {name!r} is fed by {source!r}, which is no operator's result")
        state.form.check_carried(result.form)
        self.feeds[name] = source

    @typed
    def returns(self, *values: Value) -> None:
        """Say what a call gives: without, all results that no operator reads and that feed no state."""
        self._returned = tuple(self._known(each, "returns") for each in values)

    @typed
    def value(self, name: str) -> Value:
        """The value of a name; ModelError where there is none."""
        return self._values[self._known(name, "value")]

    @property
    def inputs(self) -> tuple[ValueForm, ...]:
        """The forms of the inputs, in order."""
        return tuple(self._values[name].form for name in self._inputs)

    @property
    def examples(self) -> tuple[Tensor, ...]:
        """An example of each input, in order."""
        return tuple(self._examples[name] for name in self._inputs)

    @property
    def results(self) -> tuple[str, ...]:
        """The names of the values that a call gives, in order."""
        if self._returned is not None:
            return self._returned
        used = {*self.feeds.values(), *(name for reads in self.reads.values() for name in reads)}
        made = (form.name for each in self.modules.values() for form in each.outputs)
        return tuple(name for name in made if name not in used)

    def operators(self) -> tuple[Operator, ...]:
        """One operator a module, in an order that runs; `joined` has what finer operators are cut from.

        Raises ModelError for an application without operators, and for a state that nothing feeds.
        """
        self._check()
        owner = {form.name: name for name, each in self.modules.items() for form in each.outputs}
        return tuple(
            Operator(
                name=name,
                layers=(),
                reads=tuple(
                    dict.fromkeys(owner.get(value, value) for value in reads if value not in self.initial)
                ),
                inputs=tuple(self._values[value].form for value in dict.fromkeys(reads)),
                outputs=self.modules[name].outputs,
                carries=tuple(dict.fromkeys(owner[self.feeds[v]] for v in reads if v in self.initial)),
            )
            for name, reads in self.reads.items()
        )

    @typed
    def run(
        self, inputs: Sequence[Any], states: Mapping[str, Any]
    ) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """The results for one input in these states, and the states after it.

        Raises InputError for other inputs or states than the application's, and where an operator fails.
        """
        self._check()
        given = dict(zip(self._inputs, inputs, strict=True)) if len(inputs) == len(self._inputs) else None
        if given is None:
            raise InputError(f"{len(self._inputs)} inputs are needed, {len(inputs)} were given")
        if states.keys() != self.initial.keys():
            raise InputError(f"states {', '.join(states)} are given; {', '.join(self.initial)} are needed")
        values = {**given, **states}
        for name, value in values.items():
            wanted = self._values[name].form
            if not isinstance(value, Tensor):
                raise InputError(f"{name!r} is a {type(value).__name__}; give a torch.Tensor")
            if form_of(name, value) != wanted:
                raise InputError(
                    f"{name!r} is {value.dtype} of shape {tuple(value.shape)}; {wanted.dtype} of shape "
                    f"{wanted.shape} is needed"
                )
        for name, each in self.modules.items():
            results = each.in_torch()(*(values[read] for read in self.reads[name]))
            values.update((form.name, value) for form, value in zip(each.outputs, results, strict=True))
        after = {state: values[source] for state, source in self.feeds.items()}
        return tuple(values[name] for name in self.results), after

    def __call__(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The results for the next input: one tensor, or a tuple of several. One call at a time."""
        results, self._states = self.run(inputs, self.initial if self._states is None else self._states)
        return results[0] if len(results) == 1 else results

    def reset(self) -> None:
        """Put every state back to its initial value."""
        self._states = None

    def _check(self) -> None:
        if not self.modules:
            raise ModelError("the application has no operators: add(name, module, ...) adds one")
        unfed = [name for name in self.initial if name not in self.feeds]
        if unfed:
            raise ModelError(f"nothing feeds state {unfed[0]!r}: feed(state, result) says what it is next")

    def _own_states(
        self, name: str, carried: tuple[str, Tensor | tuple[Tensor, ...]] | None
    ) -> dict[str, Tensor]:
        if carried is None:
            return {}
        state, initial = carried
        if isinstance(initial, Tensor):
            states = {state: initial}
        else:
            states = {f"{state}{at}": each for at, each in enumerate(initial)}
        for each in states:
            self._check_name(each)
            if each == name:
                raise ModelError(f"operator {name!r} and its state need different names")
        return states

    def _new(self, name: str, example: Tensor) -> Value:
        self._check_name(name)
        if not isinstance(example, Tensor):
            raise ModelError(f"{name!r} has a {type(example).__name__} for an example: give a torch.Tensor")
        return self._keep(form_of(name, example), example.detach())

    def _keep(self, form: ValueForm, example: Tensor) -> Value:
        self._values[form.name] = Value(form, self)
        self._examples[form.name] = example
        return self._values[form.name]

    def _known(self, value: Value | str, reader: str) -> str:
        name = value if isinstance(value, str) else value.name
        if name not in self._values or (isinstance(value, Value) and value.owner is not self):
            raise ModelError(
                f"{reader!r} reads {name!r}, which is not there: add inputs and operators before what reads "
                f"them, and close a circle by state and feed; there are {', '.join(self._values) or 'none'}"
            )
        return name

    @typed
    def _check_name(self, name: str) -> None:
        if not name or set(_RESERVED.split()).intersection(name):
            raise ModelError(f"{name!r} is no name: it needs some characters, none of {_RESERVED}")
        if name in self._values or name in self.modules:
            raise ModelError(f"{name!r} is there already: every input, state and operator has its own name")
