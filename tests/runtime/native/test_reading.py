"""The C runtime: what it makes of an artefact, and what it computes."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from sparsegen_runtime.errors import SparsegenError

from tests.runtime.native.artefacts import Variant, store
from tests.runtime.native.models import MATRIX, call, new, plan, region, slot, stored_arrays, variant, write
from tests.runtime.native.opened import Opened, opened, shifted

X = np.arange(4, dtype=np.float32)


def doubling(code: bytes, elements: int = 4, **more: object) -> Variant:
    """A variant of x -> 2 (2 x), through the arena."""
    halfway = region(64, [elements])
    calls = [call("twice", slot(0, [elements]), halfway), call("twice", halfway, new(1, [elements]))]
    return variant(code, plan(calls, [elements], {1: elements}), **more)  # type: ignore[arg-type]


def test_calls_run_in_order_and_in_parallel(code: bytes, tmp_path: Path) -> None:
    path = write(tmp_path / "m", [doubling(code)])
    for threads in (None, 1, 2, 3):
        with opened(path, threads) as model:
            context = model.context()
            for shift in range(3):
                (result,) = model.run(X + shift, context=context)
                np.testing.assert_array_equal(result, 4 * (X + shift))


def test_all_stored_forms_are_decoded(code: bytes, tmp_path: Path) -> None:
    told, sections, arrays = stored_arrays()
    calls = [
        call(f"sum_{number}", slot(0, [1]), {"weight": number}, new(1 + number, [2]))
        for number in range(len(arrays))
    ]
    written = plan(calls, [1], {1 + number: 2 for number in range(len(arrays))}, arrays=told)
    path = write(tmp_path / "m", [variant(code, written, arrays), variant(code, written, arrays)], sections)
    with opened(path, verify=True) as model:
        for number in (0, 1):  # the second variant uses what the first one made
            results = model.run(np.zeros(1, np.float32), variant=number)
            sums = [float(array.sum(dtype=np.float64)) for array in arrays]
            np.testing.assert_array_equal(results, [[each, each + 1] for each in sums])


def test_filters_without_their_zeros_are_transformed_in_pieces(code: bytes, tmp_path: Path) -> None:
    rng, matrix = np.random.default_rng(0), np.array(MATRIX)
    filters = rng.integers(-4, 5, (20_003, 2, 2)).astype(np.float32)
    filters[rng.random(filters.shape) < 0.7] = 0
    transformed = np.einsum("ia,jb,lab->ijl", matrix, matrix, filters, dtype=np.float64).astype(np.float32)
    sections: dict[str, np.ndarray] = {}
    told = {
        "shape": [3, 3, 20_003],
        "dtype": "float32",
        "stored": {"transformed": store(filters, "f", sections), "matrix": MATRIX},
    }
    calls = [call("sum", slot(0, [1]), {"weight": 0}, new(1, [1]))]
    written = plan(calls, [1], {1: 1}, arrays=[told])
    with opened(write(tmp_path / "m", [variant(code, written, [transformed])], sections)) as model:
        assert model.run(np.zeros(1, np.float32))[0][0] == np.float32(transformed.sum(dtype=np.float64))
    mask = sections["weights/f/mask"]
    mask[:50], mask[-50:] = 255, 0
    with (
        pytest.raises(SparsegenError, match="other bytes than its form needs"),
        opened(write(tmp_path / "m", [variant(code, written, [transformed])], sections)) as model,
    ):
        model.context()


def test_halos_are_cleared_before_each_run(code: bytes, tmp_path: Path) -> None:
    halo = {"groups": 1, "size": 8, "head": 1, "planes": 1, "plane": 7, "spans": [[3, 4]]}
    whole, padded = region(0, [1, 8]), region(0, [1, 8], 0)
    calls = [
        call("sum_0", slot(0, [4]), whole),  # dirt: all of it is written
        call("sum", whole, new(1, [1])),
        call("nothing", slot(0, [4]), padded, clears=True),
        call("sum", padded, new(2, [1])),
    ]
    path = write(tmp_path / "m", [variant(code, plan(calls, [4], {1: 1, 2: 1}, halos=[halo]))])
    with opened(path) as model:
        context = model.context()
        for _ in range(2):
            first, second = model.run(X, context=context)
            dirt = X.sum() + np.arange(8)
            assert first == dirt.sum()
            assert second == dirt.sum() - dirt[0] - dirt[4]


@pytest.mark.parametrize("remainder", [0, 1, 4, 60])
def test_memory_of_any_address_is_taken(code: bytes, tmp_path: Path, remainder: int) -> None:
    calls = [
        call("twice", slot(0, [4], aligned=True), new(1, [4])),
        call("places", slot(0, [4], aligned=True), slot(1, [4], aligned=True), new(2, [3])),
    ]
    path = write(tmp_path / "m", [variant(code, plan(calls, [4], {1: 4, 2: 3}))])
    with opened(path) as model:
        context, given = model.context(), shifted(X, remainder)
        results = [shifted(np.zeros(4, np.float32), remainder), shifted(np.zeros(3, np.float32), remainder)]
        context.run([given.ctypes.data], [each.ctypes.data for each in results])
        np.testing.assert_array_equal(results[0], 2 * X)
        np.testing.assert_array_equal(results[1], 0)  # the code sees multiples of 64 alone


def test_inputs_that_need_no_address_are_read_where_they_lie(code: bytes, tmp_path: Path) -> None:
    path = write(
        tmp_path / "m", [variant(code, plan([call("places", slot(0, [4]), new(1, [2]))], [4], {1: 2}))]
    )
    with opened(path) as model:
        assert model.run(shifted(X, 12))[0][0] == 12


def test_a_value_is_several_outputs_and_read_again(code: bytes, tmp_path: Path) -> None:
    calls = [
        call("twice", slot(0, [4]), new(1, [4])),
        call("twice", slot(1, [4]), new(2, [4])),
        call("twice", slot(2, [4]), new(3, [4])),
    ]
    written = plan(calls, [4], {1: 4, 3: 4}) | {"outputs": [1, 3, 1], "output_shapes": [[4], [4], [4]]}
    with opened(write(tmp_path / "m", [variant(code, written)])) as model:
        results = model.run(X)
        np.testing.assert_array_equal(results, [2 * X, 8 * X, 2 * X])


def test_memory_of_the_runtime_and_functions_of_libm(code: bytes, tmp_path: Path) -> None:
    path = write(tmp_path / "m", [variant(code, plan([call("exp", slot(0, [4]), new(1, [4]))], [4], {1: 4}))])
    with opened(path) as model:
        np.testing.assert_allclose(model.run(X)[0], np.exp(X), rtol=1e-6)


STAGE = {
    "first": 1,
    "end": 4,
    "groups": [{"calls": [1, 3], "threads": 1}, {"calls": [2], "threads": 1}],
    "after": {"3": [2]},
}


def staged(code: bytes, stage: dict[str, object]) -> Variant:
    """Two calls at once, and one after both."""
    a, b, c, d = (region(64 * place, [4]) for place in range(4))
    calls = [
        call("twice", slot(0, [4]), a),
        call("twice", a, b),
        call("twice", a, c),
        call("sum", b, c, d),
        call("twice", d, new(1, [4])),
    ]
    return variant(code, plan(calls, [4], {1: 4}, stages=[stage]))


@pytest.mark.parametrize("threads", [None, 1, 2, 3])
def test_groups_of_a_stage_run_at_once(code: bytes, tmp_path: Path, threads: int | None) -> None:
    with opened(write(tmp_path / "m", [staged(code, STAGE)]), threads) as model:
        context = model.context()
        for _ in range(20):
            np.testing.assert_array_equal(model.run(X, context=context)[0], 2 * (8 * X.sum() + X))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"after": {}}, "run at once, and meet"),
        ({"after": {"3": [3]}}, "not each of its calls"),
        ({"after": {"2": [3]}}, "not each of its calls"),
        ({"first": 0, "groups": [{"calls": [0, 1, 3], "threads": 1}, *STAGE["groups"][1:]]}, "arena alone"),  # type: ignore[index]
        ({"groups": STAGE["groups"][:1]}, "not each of its calls"),  # type: ignore[index]
        ({"groups": [{"calls": [1, 3], "threads": 2}, *STAGE["groups"][1:]]}, "not each of its calls"),  # type: ignore[index]
        ({"end": 9}, "other calls than there are"),
    ],
)
def test_stages_that_cannot_run_are_refused(
    code: bytes, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = write(tmp_path / "m", [staged(code, STAGE | change)])
    with pytest.raises(SparsegenError, match=message), opened(path):
        pass


def test_threads_run_contexts_of_one_model(code: bytes, tmp_path: Path) -> None:
    with opened(write(tmp_path / "m", [doubling(code, 64)]), 2) as model:
        wrong: list[int] = []

        def work(number: int, model: Opened = model) -> None:
            context, given = model.context(), np.full(64, number, np.float32)
            for _ in range(50):
                if not (model.run(given, context=context)[0] == 4 * number).all():
                    wrong.append(number)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


def test_variants_that_do_not_run_here_are_passed_over(code: bytes, tmp_path: Path) -> None:
    elsewhere = doubling(code, features=["avx2", "no_such_feature"])
    with opened(write(tmp_path / "m", [elsewhere, doubling(code, features=["sse2"])])) as model:
        assert model.variants == 1
        np.testing.assert_array_equal(model.run(X)[0], 4 * X)
    with (
        pytest.raises(SparsegenError, match="this machine lacks no_such_feature; compile it for"),
        opened(write(tmp_path / "m", [elsewhere])),
    ):
        pass


def test_a_failure_names_the_layer(code: bytes, tmp_path: Path) -> None:
    calls = [call("twice", slot(0, [4]), new(1, [4])), call("fail", slot(1, [4]), new(2, [4]))]
    with opened(write(tmp_path / "m", [variant(code, plan(calls, [4], {2: 4}))])) as model:
        with pytest.raises(SparsegenError, match=r"/m: the kernel of layer 'fail' failed"):
            model.run(X)
        with pytest.raises(SparsegenError, match="input 0, 'input 0', is NULL"):
            model.context().run([0], [X.ctypes.data])
