"""Loaded models: the results of compiled ones, from arrays and tensors, in many threads and processes."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sparsegen_runtime
import torch
from torch import nn

import sparsegen
from sparsegen.errors import InputError, NeedsTorchError, OptionError, ProgramError, TargetError
from sparsegen.runtime.artefact.save import save_programs
from sparsegen.runtime.batched import BatchedModel
from sparsegen.runtime.model import CompiledModel
from tests.runtime.artefact.networks import Forms, example, forms, saved, structured


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(forms(), tmp_path_factory.mktemp("forms"))


@pytest.fixture(scope="module")
def loaded(file: Path) -> sparsegen_runtime.LoadedModel:
    return sparsegen_runtime.load(file, verify=True)


@pytest.fixture(scope="module")
def batched(tmp_path_factory: pytest.TempPathFactory) -> sparsegen_runtime.LoadedModel:
    path = tmp_path_factory.mktemp("batches") / "model.sparsegen"
    sparsegen.save(path, [forms(1), forms(4), forms(3)])
    return sparsegen_runtime.load(path)


def test_results_are_those_of_the_compiled_model(loaded: sparsegen_runtime.LoadedModel) -> None:
    x = example()
    expected = forms()(x)
    for given in (x, x.numpy(), x.transpose(2, 3).contiguous().transpose(2, 3), np.asfortranarray(x.numpy())):
        result = loaded(given)
        assert type(result) is (torch.Tensor if isinstance(given, torch.Tensor) else np.ndarray)
        assert np.array_equal(np.asarray(result), expected.numpy())


def test_what_a_loaded_model_tells(loaded: sparsegen_runtime.LoadedModel) -> None:
    assert (loaded.target, loaded.threads, len(loaded.variants)) == ("haswell", 1, 1)
    assert loaded.input_shapes == ((1, 16, 28, 28),)
    assert loaded.output_shapes == ((1, 10),)
    assert [layer["name"] for layer in loaded.layers] == [layer.name for layer in forms().layers]
    assert loaded.layers[0]["kernel"] == "winograd"


def test_unaligned_inputs_and_gradients(loaded: sparsegen_runtime.LoadedModel) -> None:
    x = example()
    memory = np.zeros(x.numel() * 4 + 4, np.uint8)[4:]
    given = memory.view(np.float32).reshape(x.shape)
    given[:] = x.numpy()
    assert np.array_equal(loaded(given), forms()(x).numpy())
    result = loaded(x.clone().requires_grad_())
    assert not result.requires_grad


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "takes 1 input of shape (1, 16, 28, 28), 0 were given"),
        ((example(2),), "input 0 has shape (2, 16, 28, 28); the model was compiled for (1, 16, 28, 28)"),
        ((example().double(),), "input 0 has dtype torch.float64; compiled models take torch.float32"),
        ((example().double().numpy(),), "input 0 has dtype float64; compiled models take float32"),
        ((example().numpy().astype(">f4"),), "input 0 has dtype >f4"),
        (([1.0],), "input 0 is a list; give a numpy.ndarray or a torch.Tensor"),
        ((example().to("meta"),), "input 0 is on meta"),
        ((example().to_sparse(),), "input 0 is a sparse_coo tensor"),
        ((np.ma.masked_array(example().numpy()),), "masked array"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_inputs_that_do_not_fit(
    loaded: sparsegen_runtime.LoadedModel, given: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        loaded(*given)


def test_names_that_are_none(loaded: sparsegen_runtime.LoadedModel) -> None:
    with pytest.raises(InputError, match="there is no 'image' among its inputs"):
        loaded(image=example())


def test_structures_and_what_is_known(tmp_path: Path) -> None:
    model = sparsegen_runtime.load(saved(structured(), tmp_path))
    x, other = torch.randn(3, 6), torch.randn(3, 4)
    expected = structured()(x, others=[other], scale=3.0)
    result = model(x, others=[other])
    assert torch.equal(result["sum"][0], expected["sum"][0])
    assert torch.equal(result["sum"][1][0], expected["sum"][1][0])
    order, *rest, halves = result["known"]
    assert torch.equal(order, torch.tensor([2, 0, 1, 3]))
    assert rest == [None, 3, float("inf")]
    assert torch.equal(halves, torch.tensor([1.5, -2.0], dtype=torch.bfloat16))
    order += 1
    plain = model(x.numpy(), others=[other.numpy()])
    assert np.array_equal(plain["sum"][0], expected["sum"][0].numpy())
    assert plain["known"][0].tolist() == [2, 0, 1, 3]
    assert plain["known"][0].dtype == np.int64
    for call, message in [
        (lambda: model(x, others=(other,)), "nested otherwise"),
        (lambda: model(x, others=[other], scale=2.0), "'scale' is 2.0; the model was compiled with 3.0"),
        (lambda: model(x), "others is missing|'others' is missing"),
        (lambda: model(x, x, others=[other]), "were given by position"),
    ]:
        with pytest.raises(InputError, match=message):
            call()


def test_messages_are_those_of_compiled_models(tmp_path: Path) -> None:
    model = sparsegen_runtime.load(saved(structured(), tmp_path))
    x, other = torch.randn(3, 6), torch.randn(3, 4)
    for named in ({}, {"others": other}, {"others": [other], "scale": None}, {"others": [other], "y": 1}):
        told = []
        for each in (structured(), model):
            with pytest.raises(InputError) as caught:
                each(x, **named)
            told.append(str(caught.value))
        assert told[0] == told[1]


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 11])
@pytest.mark.parametrize("as_arrays", [False, True])
def test_any_number_of_rows(batched: sparsegen_runtime.LoadedModel, rows: int, as_arrays: bool) -> None:
    x = example(rows)
    result = batched(x.numpy() if as_arrays else x)
    assert isinstance(result, np.ndarray) == as_arrays
    expected = torch.cat([forms()(row[None]) for row in x])
    torch.testing.assert_close(torch.as_tensor(result), expected, rtol=1e-4, atol=1e-5)


def test_rows_that_cannot_be(batched: sparsegen_runtime.LoadedModel) -> None:
    with pytest.raises(
        InputError, match=re.escape("compiled for (1, 16, 28, 28) and (4, 16, 28, 28) and (3,")
    ):
        batched(torch.zeros(0, 16, 28, 28))
    with pytest.raises(InputError, match="has shape"):
        batched(torch.zeros(2, 16, 28, 29))


def test_several_sizes_of_images(tmp_path: Path) -> None:
    models = {
        size: sparsegen.compile(
            Forms().eval(), (torch.ones(1, 16, size, size),), threads=1, target="haswell", database=None
        )
        for size in (28, 20)
    }
    sparsegen.save(tmp_path / "file", models.values())
    loaded = sparsegen_runtime.load(tmp_path / "file")
    for size, model in models.items():
        x = torch.randn(1, 16, size, size)
        assert torch.equal(loaded(x), model(x))
    with pytest.raises(InputError, match=re.escape("for (1, 16, 28, 28) and (1, 16, 20, 20)")):
        loaded(torch.ones(1, 16, 24, 24))


def test_rows_that_results_lack(tmp_path: Path) -> None:
    class Mean(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x).mean(0)

    models = [
        sparsegen.compile(Mean().eval(), (torch.ones(batch, 32),), threads=1, target="haswell")
        for batch in (2, 4)
    ]
    sparsegen.save(tmp_path / "file", models)
    model = sparsegen_runtime.load(tmp_path / "file")
    assert model(torch.ones(4, 32)).shape == (32,)
    with pytest.raises(InputError, match="give 2 or 4 rows"):
        model(torch.ones(3, 32))


def test_threads_are_the_caller_s(file: Path, tmp_path: Path) -> None:
    assert sparsegen_runtime.load(file, threads=2).threads == 2
    assert sparsegen_runtime.load(file, threads=np.int64(2)).threads == 2  # type: ignore[arg-type]
    assert np.array_equal(sparsegen_runtime.load(file, threads=2)(example()), forms()(example()))
    save_programs(tmp_path / "file", [forms().program, replace(forms().program, threads=2)])
    model = sparsegen_runtime.load(tmp_path / "file", threads=2)
    assert (len(model.variants), model.threads) == (2, 2)
    for wrong in (0, 5000, 1.5, True):
        with pytest.raises(OptionError, match="threads is"):
            sparsegen_runtime.load(file, threads=wrong)  # type: ignore[arg-type]


def test_many_threads(loaded: sparsegen_runtime.LoadedModel) -> None:
    inputs = [example(seed=seed) for seed in range(4)]
    expected = [forms()(x) for x in inputs]
    wrong = []

    def work(at: int) -> None:
        wrong.extend(at for _ in range(20) if not torch.equal(loaded(inputs[at]), expected[at]))

    threads = [threading.Thread(target=work, args=(at,)) for at in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not wrong


def _in_child(model: Callable[[Any], Any], x: Any, queue: Any) -> None:
    queue.put(np.asarray(model(x)))


def test_a_forked_child_has_the_model_beside_torch(loaded: sparsegen_runtime.LoadedModel) -> None:
    x = example()
    expected = loaded(x).numpy()
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_in_child, args=(loaded, x.numpy(), queue))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert np.array_equal(queue.get(), expected)


def test_closed_models(file: Path) -> None:
    model = sparsegen_runtime.load(file)
    model(example())
    model.close()
    model.close()
    with pytest.raises(InputError, match="is closed: load it again"):
        model(example())


def test_what_a_closed_model_tells(file: Path) -> None:
    with sparsegen_runtime.load(file) as model:
        assert repr(model) == f"LoadedModel({str(file)!r}, target='haswell', threads=1, batches=[1])"
    assert repr(model).endswith("batches=[1], closed)")
    (variant,) = model.variants
    vars(variant).pop("plan")
    for look in (lambda: variant.plan, variant.prepare, lambda: variant.run([], [])):
        with pytest.raises(InputError, match="is closed: load it again"):
            look()


def test_closing_waits_for_calls_of_other_threads(file: Path) -> None:
    model = sparsegen_runtime.load(file)
    begun, may_end, closed = threading.Event(), threading.Event(), threading.Event()
    variant, x, results = model.variants[0], example(), []
    run = variant.run

    def slow(inputs: list[int], outputs: list[int]) -> None:
        begun.set()
        assert may_end.wait(60)
        run(inputs, outputs)

    def close() -> None:
        model.close()
        closed.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(variant, "run", slow)
        caller = threading.Thread(target=lambda: results.append(model(x)))
        caller.start()
        assert begun.wait(60)
        closer = threading.Thread(target=close)
        closer.start()
        assert not closed.wait(0.05)
        while not model._calls.closed:
            time.sleep(0.001)
        with pytest.raises(InputError, match="is closed: load it again"):
            model(x)
        may_end.set()
        caller.join()
        closer.join()
    assert closed.is_set()
    assert torch.equal(results[0], forms()(x))


def test_a_thread_does_not_wait_for_its_own_call(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = sparsegen_runtime.load(file)
    with monkeypatch.context() as patch:
        patch.setattr(model.variants[0], "run", lambda *_: model.close())
        with pytest.raises(InputError, match="close it after the call"):
            model(example())
    assert torch.equal(model(example()), forms()(example()))
    model.close()


def test_an_open_model_is_not_copied(loaded: sparsegen_runtime.LoadedModel) -> None:
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(OptionError, match="pass on its path"):
            attempt(loaded)


def test_arguments_of_load_and_save(file: Path, tmp_path: Path) -> None:
    for load in (sparsegen.load, sparsegen_runtime.load):
        for wrong in (None, 5, b"file", ""):
            with pytest.raises(OptionError, match=r"path is .*give the path of a file"):
                load(wrong)  # type: ignore[arg-type]
        with pytest.raises(OptionError, match="verify is 'no': give True or False"):
            load(file, verify="no")  # type: ignore[arg-type]
    for wrong in (None, 5, b"file", ""):
        with pytest.raises(OptionError, match=r"path is .*give the path of the file"):
            sparsegen.save(wrong, [forms()])  # type: ignore[arg-type]
    for models in (None, forms()):
        with pytest.raises(OptionError, match=r"give a list of what sparsegen\.compile returns"):
            sparsegen.save(tmp_path / "other", models)  # type: ignore[arg-type]


def test_files_that_are_none(tmp_path: Path, file: Path) -> None:
    text, short = tmp_path / "text", tmp_path / "short"
    text.write_text("a text that is no model at all, and goes on for a while")
    short.write_bytes(file.read_bytes()[:-1])
    for path, message in [
        (tmp_path / "none", "cannot be opened"),
        (tmp_path, "no regular file"),
        (text, "no file that sparsegen wrote"),
        (short, "the file is damaged"),
    ]:
        with pytest.raises(ProgramError, match=message) as caught:
            sparsegen.load(path)
        assert str(path) in str(caught.value)


def test_damaged_weights_are_found_when_they_are_looked_at(tmp_path: Path, file: Path) -> None:
    path, content = tmp_path / "file", bytearray(file.read_bytes())
    at = content.rindex(forms().program.library[-64:]) + 64 + 5000  # past the code: among weights
    content[at] ^= 1
    path.write_bytes(content)
    sparsegen_runtime.load(path)
    with pytest.raises(ProgramError, match="is not what its checksum says"):
        sparsegen_runtime.load(path, verify=True)


def test_code_for_another_cpu(tmp_path: Path) -> None:
    program = replace(forms().program, target="bdver4")  # its FMA4 and XOP went out of fashion
    save_programs(tmp_path / "file", [program])
    with pytest.raises(TargetError, match=r"compiled for bdver4, and this machine lacks"):
        sparsegen_runtime.load(tmp_path / "file")
    save_programs(tmp_path / "both", [program, forms().program])
    assert [each.target for each in sparsegen_runtime.load(tmp_path / "both").variants] == ["haswell"]


class Sorted(nn.Module):
    """An operator that torch computes, between kernels of ours."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(6, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = torch.relu(self.linear(x)).sort(dim=-1).values
        return values


def sorted_for(batch: int) -> CompiledModel:
    with pytest.warns(UserWarning, match="torch itself"):
        return sparsegen.compile(Sorted().eval(), (torch.ones(batch, 6),), threads=1, target="haswell")


def test_models_that_need_torch(tmp_path: Path) -> None:
    one, two = sorted_for(1), sorted_for(2)
    assert one.save(tmp_path / "file").needs_torch
    with pytest.raises(NeedsTorchError, match=r"needs torch: load it from Python with sparsegen"):
        sparsegen_runtime.load(tmp_path / "file")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch", None)
        with pytest.raises(NeedsTorchError, match=r"file: the model needs torch, .* cannot be imported"):
            sparsegen.load(tmp_path / "file")
    model = sparsegen.load(tmp_path / "file")
    assert isinstance(model, CompiledModel)
    x = torch.randn(2, 6)
    assert torch.equal(model(x[:1]), one(x[:1]))
    sparsegen.save(tmp_path / "file", [one, two])
    both = sparsegen.load(tmp_path / "file", threads=2)
    assert isinstance(both, BatchedModel)
    assert both.threads == 2
    assert torch.equal(both(x), two(x))
    assert both(torch.randn(3, 6)).shape == (3, 32)
