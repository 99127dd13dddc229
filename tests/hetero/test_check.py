"""The check of plans finds what goes wrong where a plan is replayed by the clock; sound ones pass."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.errors import PlanError
from sparsegen.hetero.plans.check import check_plan, faults
from sparsegen.hetero.plans.check_roles import role_faults
from sparsegen.hetero.plans.plan import (
    PASSED_ON,
    Group,
    Plan,
    PlanDevice,
    PlannedOperator,
    PlannedTransfer,
    Stage,
)
from tests.hetero.plans import operator, plan_of, random_plans, random_stages
from tests.hetero.replay import goes_wrong
from tests.sampling import examples


@st.composite
def damaged(draw: st.DrawFn) -> Plan:
    """A plan with one thing changed, left out or done twice: it may still be sound."""
    plan = draw(random_plans(copies=False))
    operators, transfers = list(plan.operators), list(plan.transfers)
    at = draw(st.integers(0, len(operators) - 1))
    other = draw(st.integers(0, len(operators) - 1))
    one, more = operators[at], draw(st.sampled_from([-3.0, -1.0, 1.0, 2.0]))
    way = draw(st.integers(0, len(transfers) - 1)) if transfers else None
    moves: dict[str, Callable[[], object]] = {
        "drop": lambda: operators.pop(at),
        "repeat": lambda: operators.insert(other, one),
        "move device": lambda: operators.__setitem__(
            at, replace(one, device=draw(st.sampled_from(["a", "b", "c", "d"])))
        ),
        "shift": lambda: operators.__setitem__(
            at, replace(one, start=max(0.0, one.start + more), end=max(0.0, one.start + more) + one.seconds)
        ),
        "last longer": lambda: operators.__setitem__(at, replace(one, end=one.end + 1)),
        "read": lambda: operators.__setitem__(at, replace(one, reads=(*one.reads, operators[other].name))),
        "forget": lambda: operators.__setitem__(at, replace(one, reads=one.reads[1:])),
        "rename": lambda: operators.__setitem__(at, replace(one, name="other")),
        "drop transfer": lambda: transfers.pop(way) if way is not None else None,
        "repeat transfer": lambda: transfers.append(transfers[way]) if way is not None else None,
        "shift transfer": lambda: _shift(transfers, way, more),
        "turn transfer": lambda: _turn(transfers, way),
    }
    moves[draw(st.sampled_from(list(moves)))]()
    makespan = plan.makespan + draw(st.sampled_from([0.0, 0.0, 0.0, 1.0]))
    if not operators:
        operators = [one]
    return replace(
        plan,
        operators=tuple(operators),
        transfers=tuple(transfers),
        makespan=makespan,
        period=makespan,
        depth=1,
    )


def _shift(transfers: list[PlannedTransfer], way: int | None, more: float) -> None:
    if way is not None:
        each = transfers[way]
        start = max(0.0, each.start + more)
        transfers[way] = replace(each, start=start, end=start + each.seconds)


def _turn(transfers: list[PlannedTransfer], way: int | None) -> None:
    if way is not None:
        each = transfers[way]
        transfers[way] = replace(each, source=each.target, target=each.source)


@examples(40, soak=2000)
@given(st.one_of(random_plans(), random_stages()))
def test_sound_plans_pass(plan: Plan) -> None:
    assert faults(plan) == []
    check_plan(plan)
    if not plan.stages:
        assert not goes_wrong(plan)


@examples(80, soak=10_000)
@given(damaged())
def test_the_check_finds_what_goes_wrong(plan: Plan) -> None:
    """It may be stricter: about the order that is listed, which the clock does not show."""
    if goes_wrong(plan):
        assert faults(plan)


X = operator("x", "a", 1)
Y = operator("y", "b", 2, "x")
PLAN = plan_of([X, Y], 1.0, depth=2)
"""x on a, 0 to 1 s; its result is on b at 2 s; y there until 4 s. A result every 2 s."""


def with_operator(**changed: object) -> Plan:
    return replace(PLAN, operators=(X, replace(PLAN.operators[1], **changed)))  # type: ignore[arg-type]


def with_transfer(**changed: object) -> Plan:
    return replace(PLAN, transfers=(replace(PLAN.transfers[0], **changed),))  # type: ignore[arg-type]


def with_devices(**settings: list[int]) -> Plan:
    devices = tuple(PlanDevice(name, "cpu", {"cores": cores}) for name, cores in settings.items())
    operators = tuple(replace(each, implementation="ours") for each in PLAN.operators)
    return replace(PLAN, devices=devices, operators=operators)


def staged(*stages: list[str], operators: tuple[PlannedOperator, ...] = (), seconds: float = 1.0) -> Plan:
    """Groups of one operator each, of u and v, and of w, which reads both; 1 s each."""
    given = operators or (operator("u", "a", 1), operator("v", "a", 1), operator("w", "a", 1, "uv"))
    sound = plan_of(
        given, stages=(Stage((Group(("u",), 1), Group(("v",), 1)), 1.0), Stage((Group(("w",), 1),), 1.0))
    )
    changed = tuple(Stage(tuple(Group(tuple(group), 1) for group in stage), seconds) for stage in stages)
    return replace(sound, stages=changed)


CIRCLE = (  # a1 -> b1 -> a0, which a runs before
    operator("a0", "a", 1, ["b1"]),
    operator("a1", "a", 1),
    operator("b1", "b", 1, ["a1"]),
)

WRONG: dict[str, tuple[Plan, str]] = {
    "not finite": (replace(PLAN, makespan=math.nan), "makespan is nan, where a finite number is expected"),
    "negative": (with_operator(seconds=-1.0), r"operators[1].seconds is -1.0, which is negative"),
    "no depth": (replace(PLAN, depth=0), "depth is 0"),
    "no thread": (with_operator(threads=0), "the threads of operator y is 0"),
    "too much of a device": (with_operator(utilisation=1.5), "operator y utilises 1.5 of its device"),
    "two inputs at once": (replace(PLAN, goal="latency"), "2 inputs may be under way at once"),
    "nothing": (replace(PLAN, operators=(), transfers=()), "it has no operators"),
    "a device twice": (replace(PLAN, devices=PLAN.devices * 2), "device 'a' is there 2 times"),
    "unknown device": (with_operator(device="z"), "operator y runs on 'z', which is no device"),
    "unknown reads": (with_operator(reads=("q",)), "operator y reads 'q', which is no operator"),
    "unknown carries": (with_operator(carries=("q",)), "operator y carries 'q', which is no operator"),
    "unknown result": (with_transfer(operator="q"), "the transfer of q from a to b is of no operator"),
    "unknown way": (with_transfer(target="z"), "names 'z', which is no device"),
    "no transfer": (replace(PLAN, transfers=()), "the result of x is needed on b, and nothing brings it"),
    "two transfers": (
        replace(PLAN, transfers=PLAN.transfers * 2),
        "the transfer of x from a to b is there 2 times",
    ),
    "of no use": (with_operator(reads=()), "the transfer of x from a to b is of no use"),
    "other bytes": (with_transfer(bytes=9), "is of 9 bytes, and the result has 8"),
    "backwards": (replace(PLAN, operators=PLAN.operators[::-1]), "operator y comes before x, which it reads"),
    "a circle": (
        replace(PLAN, operators=CIRCLE, transfers=()),
        "operators wait for each other in a circle, in the order of their devices: ",
    ),
    "too early": (with_operator(start=1.0, end=3.0), "operator y begins at 1 s; x is there at 2 s"),
    "too long": (with_operator(end=5.0), "operator y takes 2 s, and runs for 3 s"),
    "an early transfer": (with_transfer(start=0.5, end=1.5), "begins before x has ended"),
    "makespan": (replace(PLAN, makespan=3.0), "its makespan is 3 s, and the last operator ends at 4 s"),
    "too fast": (replace(PLAN, period=1.5), "its period is 1.5 s, and device b takes 2 s for each input"),
    "too slow": (replace(PLAN, period=4.5), "its period is 4.5 s, and one input takes 4 s"),
    "recurrence": (
        replace(plan_of([replace(X, carries=("y",)), Y], 1.0, depth=2), period=4.0),
        "the recurrence of x and y takes 5 s for each input",
    ),
    "below the bound": (replace(PLAN, bound=3.0), "its period is 2 s, and no plan's can be below 3 s"),
    "shared cores": (with_devices(a=[0, 1], b=[1]), "devices a and b share core 1"),
    "a copy of nothing": (replace(PLAN, replicas=({"q": "a"},)), "copy 0 has 'a' stand in for 'q'"),
    "copies in one place": (
        replace(PLAN, form="copies", replicas=({}, {"a": "b", "b": "b"})),
        "copy 1: device 'b' is there 2 times",
    ),
    "like copies": (replace(PLAN, form="copies", replicas=({}, {"a": "a"})), "two copies are on the same"),
    "no copies": (replace(PLAN, form="copies"), "it is of copies, and has one"),
    "copies of another form": (
        replace(PLAN, form="placed", replicas=({}, {"a": "b", "b": "a"})),
        "it has 2 copies, and its form is placed",
    ),
    "another kind": (
        replace(
            PLAN,
            form="copies",
            devices=(*PLAN.devices, PlanDevice("c", "cuda", {})),
            replicas=({}, {"a": "c"}),
        ),
        "copy 1 has c, a cuda, stand in for a, a toy",
    ),
    "state of another copy": (
        plan_of([replace(X, carries=("x",))], replicas=({}, {"a": "b"})),
        "operator x carries x over from one copy to the next",
    ),
    "two devices in sequence": (replace(PLAN, form="sequential"), "it is sequential, and runs on a, b"),
    "no stages": (replace(PLAN, form="stages"), "it is of stages, and has none"),
    "stages of another form": (
        replace(staged(["u", "v"], ["w"]), form="placed"),
        "it has stages, and its form is",
    ),
    "a stage's stranger": (staged(["u", "v"], ["w"], ["q"]), "a stage names 'q', which is no operator"),
    "in no stage": (staged(["u", "v"]), "operator w is in no stage"),
    "in two": (staged(["u", "v"], ["w", "u"]), "operator u is in 2 groups"),
    "an empty stage": (staged(["u", "v"], ["w"], []), "stage 2 has nothing in it"),
    "a later stage": (
        staged(["w"], ["u", "v"]),
        "operator w reads u, which no stage before has, nor its own",
    ),
    "a stage too short": (
        staged(["u", "v"], ["w"], seconds=0.5),
        "stage 0 takes 0.5 s, and its operators run for 1 s",
    ),
    "a stage too long": (
        staged(["u", "v"], ["w"], seconds=2.0),
        "stage 0 takes 2 s, and its operators run for 1 s",
    ),
    "stages over devices": (
        replace(
            staged(
                ["u", "v"],
                ["w"],
                operators=(operator("u", "a", 1), operator("v", "a", 1), operator("w", "a", 1)),
            ),
            operators=(operator("u", "a", 1), operator("v", "b", 1), operator("w", "a", 1)),
            devices=(PlanDevice("a", "toy", {}), PlanDevice("b", "toy", {})),
        ),
        "its stages are of one device's cores, and its operators run on a, b",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_plans_say_what_is_wrong(case: str) -> None:
    plan, message = WRONG[case]
    assert any(message in each for each in faults(plan)), faults(plan)
    with pytest.raises(PlanError, match=r"^here is unsound: "):
        check_plan(plan, "here")


def test_a_circle_over_two_devices_names_its_operators() -> None:
    """Where placements interleave, device a would begin with what needs b, which needs a's second."""
    found = [each for each in faults(replace(PLAN, operators=CIRCLE, transfers=())) if "circle" in each]
    assert all(name in found[0] for name in ("a0", "a1", "b1"))


def test_a_models_plan_has_inputs_layers_and_a_result() -> None:
    """A plan of whatever an executor is given has no such."""
    passing = {"implementation": PASSED_ON}
    x, result = operator("x", "a", 0, **passing), operator("result", "a", 0, "y", **passing)
    y = operator("y", "b", 2, "x", layers=("conv",))
    assert [*role_faults(replace(PLAN, operators=(x, y, result)))] == []
    assert any("has no layers" in each for each in faults(replace(PLAN, fingerprint="m")))
    for operators, message in (
        ([x, y], "the last operator, y, computes something: the result has to come there"),
        ([x, y, replace(result, reads=())], "the result, result, reads nothing"),
        ([x, replace(y, layers=()), result], "operator y computes, by toy, and has no layers to compute"),
        ([x, replace(y, reads=()), result], "operator y computes, and reads neither an input nor another"),
        (
            [x, y, operator("z", "a", 0, "y", **passing), replace(result, reads=("z",))],
            "operator z is passed on before the result, and reads or carries others",
        ),
    ):
        (found,) = role_faults(replace(PLAN, operators=tuple(operators)))
        assert message in found
    only_a_state = (x, replace(y, carries=("y",)), replace(result, reads=()))
    assert [*role_faults(replace(PLAN, operators=only_a_state))] == []


def test_exclusive_links_take_turns() -> None:
    plan = plan_of([operator("x", "a", 1), operator("y", "a", 1), operator("z", "b", 1, "xy")], 4.0)
    assert faults(plan) == []
    together = replace(plan, transfers=tuple(replace(each, exclusive=True) for each in plan.transfers))
    assert any("on the link from a to b" in each for each in faults(together))


def test_groups_have_their_share_of_the_cores() -> None:
    plan = staged(["u", "v"], ["w"])
    one_core = replace(plan, devices=(PlanDevice("a", "cpu", {"cores": [0]}),))
    assert any("stage 0 runs 2 threads at once on the 1 cores of a" in each for each in faults(one_core))
    others = replace(plan, operators=tuple(replace(each, threads=2) for each in plan.operators))
    assert any("operator u has 2 threads, and its group 1" in each for each in faults(others))


def test_a_message_has_the_first_faults_alone() -> None:
    plan = replace(PLAN, operators=tuple(replace(each, device="z") for each in PLAN.operators * 3))
    with pytest.raises(PlanError, match=r"; and \d+ more; make the plan again$"):
        check_plan(plan)
