"""Torch's operators between kernels: values, dtypes, views, lanes, threads, memory, reports and errors."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree

import sparsegen
from sparsegen.errors import InputError, OptionError, OutOfMemoryError, ToolchainError
from sparsegen.runtime.program import TorchCall
from tests.frontend.checking import Function, images
from tests.sampling import large

pytestmark = pytest.mark.filterwarnings("ignore:torch itself computes")


def compiled(model: nn.Module, *inputs: Any, threads: int = 1, **kwargs: Any) -> sparsegen.CompiledModel:
    return sparsegen.compile(
        model.eval(), inputs, kwargs, threads=threads, target="haswell", database=None, winograd=False
    )


def assert_same(result: Any, expected: Any) -> None:
    """Equal structures, types and, to rounding, values."""
    found, structure = _pytree.tree_flatten(result)
    wanted, other = _pytree.tree_flatten(expected)
    assert structure == other
    for each, right in zip(found, wanted, strict=True):
        if isinstance(right, Tensor):
            torch.testing.assert_close(each, right, rtol=1e-4, atol=1e-4, equal_nan=True)
        else:
            assert (type(each), each) == (type(right), right)


def check(model: nn.Module, *inputs: Any, threads: int = 1, **kwargs: Any) -> sparsegen.CompiledModel:
    """Compile `model` and compare two calls with torch; no result may share memory with the inputs."""
    made = compiled(model, *inputs, threads=threads, **kwargs)
    with torch.no_grad():
        expected = copy.deepcopy(model)(*inputs, **kwargs)
    for _ in range(2):
        result = made(*inputs, **kwargs)
        assert_same(result, expected)
        given = {
            each.data_ptr() for each in _pytree.tree_leaves((inputs, kwargs)) if isinstance(each, Tensor)
        }
        tensors = [each for each in _pytree.tree_leaves(result) if isinstance(each, Tensor)]
        assert not {tensor.data_ptr() for tensor in tensors} & given
        assert not any(tensor.requires_grad for tensor in tensors)
        for tensor in tensors:
            tensor.zero_()  # the caller's own
    return made


class Between(nn.Module):
    """A function of a convolution of images, and of a second convolution, which the function may call."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


PLACES: dict[str, Callable[[Any, Tensor], Any]] = {
    "first": lambda m, x: m.first(x.cumsum(1)),
    "last": lambda m, x: m.first(x).cumsum(1),
    "in the middle": lambda m, x: m.second(m.first(x).cumsum(1)),
    "two in a row": lambda m, x: m.second(m.first(x).cumsum(1).cumprod(1)),
    "beside a kernel": lambda m, x: m.second(y := m.first(x).relu()) + y.cumsum(1) + x.cumsum(2),
    "read twice": lambda m, x: (y := m.first(x).cumsum(1), m.second(y) * y),
    "alone": lambda m, x: x.cumsum(1),
    "a view of the input": lambda m, x: (x.argmax(1).view(-1), x.unfold(3, 2, 2)),
    "a view of a value": lambda m, x: (y := m.first(x).unfold(3, 2, 2), y.relu()),
    "a view that torch's strides allow": (
        lambda m, x: m.first(x).permute(0, 2, 3, 1).double().permute(0, 3, 1, 2).contiguous().view(-1).float()
    ),
    "rows of what was transposed": lambda m, x: (
        y := x.double().transpose(1, 3).reshape(-1, 8),
        m.first(x),
        y,
    ),
    "memory read otherwise": lambda m, x: (
        m.first(x).double().transpose(1, 3).contiguous().as_strided((3, 2), (5, 1)),
        m.first(x).cumsum(1).transpose(1, 3).contiguous().view(torch.int32),
    ),
    "an early value read late": lambda m, x: m.second(m.first(y := x.cumsum(1)).relu()) + y,
    "several results": lambda m, x: [m.second(part) for part in m.first(x).cumsum(1).tensor_split(2, 2)],
    "one of several": lambda m, x: m.first(x).topk(2, 1)[1],
}


@large(("place", "batch"), itertools.product(PLACES, [2, 16]), sample=len(PLACES))
def test_wherever_torch_stands(place: str, batch: int) -> None:
    check(Between(PLACES[place]), images(batch, 4, 8, 8))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.int32])
def test_values_inputs_and_results_of_every_type(dtype: torch.dtype) -> None:
    def mixed(x: Tensor, y: Tensor) -> Any:
        return x.relu() + y.float(), y + y, y, (x > 0), x.to(dtype)

    check(Function(mixed), images(2, 6) * 3, (images(2, 6) * 9).to(dtype))


def test_bool_inputs() -> None:
    check(Function(lambda x, mask: x.masked_fill(mask, 2.0).relu()), images(2, 6), images(2, 6) > 0)


def test_constants_are_not_given_away() -> None:
    table = torch.arange(6.0).view(2, 3)
    made = check(Function(lambda x, table: table.view_as(x), table), images(3, 2))
    assert torch.equal(made(images(3, 2)), table.view(3, 2))


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_of_torch_are_the_models_and_the_callers_stay(threads: int) -> None:
    seen: list[int] = []

    @torch.library.custom_op(f"sparsegen_tests::threads_{threads}", mutates_args=())
    def spy(x: Tensor) -> Tensor:
        seen.append(torch.get_num_threads())
        return x + 1

    spy.register_fake(torch.empty_like)
    made = compiled(Function(spy), images(2, 3), threads=threads)
    before = torch.get_num_threads()
    try:
        for callers in (1, 2, 3):
            torch.set_num_threads(callers)
            seen.clear()
            made(images(2, 3))
            assert (seen, torch.get_num_threads()) == ([threads], callers)
    finally:
        torch.set_num_threads(before)


def test_torchs_settings_change_nothing() -> None:
    made = compiled(Function(lambda x: (x @ x.mT).cumsum(1)), x := images(2, 4, 4).requires_grad_())
    expected = made(x)
    with torch.autocast("cpu"):
        assert torch.equal(made(x), expected)
    with torch.device("meta"):
        assert torch.equal(made(x), expected)
    assert not expected.requires_grad


def test_plain_values_are_freed_after_their_last_reader() -> None:
    made = compiled(Function(lambda x: x.cumsum(1).cumsum(1).cumsum(1).relu()), images(2, 6))
    calls = [call for call in made.program.calls if isinstance(call, TorchCall)]
    assert [call.frees for call in calls] == [(), (calls[0].slot,), (calls[1].slot,)]


def test_reports_name_torchs_operators() -> None:
    made = compiled(Between(PLACES["in the middle"]), images())
    assert [(each.name, each.kernel, each.operator) for each in made.layers] == [
        ("first", "panels", ""),
        ("first#plain", "leave", ""),
        ("cumsum", "torch", "aten.cumsum.default"),
        ("cumsum#lanes", "enter", ""),
        ("second", "panels", ""),
    ]
    assert made.layers[2].output_shape == (2, 4, 9, 8)
    seconds = made.layer_seconds(images())
    assert set(seconds) == {"x", "output 0", *(each.name for each in made.layers)}
    assert all(each > 0 for each in seconds.values())
    with pytest.raises(OptionError, match=r"'cumsum' needs the values of a call: layer_seconds\(\*inputs\)"):
        made.run_layer("cumsum")
    made.run_layer("second")


def test_values_that_torch_refuses() -> None:
    made = compiled(nn.Sequential(nn.Embedding(5, 4)), torch.tensor([[1, 2]]))
    with pytest.raises(InputError, match=r"torch's operator aten\.embedding\.default of layer '0' refuses"):
        made(torch.tensor([[1, 7]]))
    assert made(torch.tensor([[1, 4]])).shape == (1, 2, 4)


def test_a_known_index_that_is_not_there() -> None:
    made = compiled(Function(lambda x: x[:, torch.tensor([0, 4])]), images())
    with pytest.raises(
        InputError, match=r"aten\.index\.Tensor of layer 'index' refuses .*: index 4 is out of"
    ):
        made(images())


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (RuntimeError("no luck\nat all"), ToolchainError, r"operator {name} of layer '1' failed: no luck$"),
        (
            RuntimeError("can't allocate memory: 9 bytes"),
            OutOfMemoryError,
            r"no memory is left for torch's oper",
        ),
    ],
)
def test_operators_that_fail(error: Exception, kind: type[Exception], message: str) -> None:
    @torch.library.custom_op("sparsegen_tests::failing", mutates_args=())
    def failing(x: Tensor) -> Tensor:
        raise error

    failing.register_fake(torch.empty_like)
    made = compiled(nn.Sequential(nn.ReLU(), Function(failing)), images(2, 3))
    with pytest.raises(kind, match=message.format(name=r"sparsegen_tests\.failing\.default")):
        made(images(2, 3))


def test_a_model_of_torchs_alone_needs_no_library() -> None:
    made = check(Function(lambda x: x.cumsum(1)), images(2, 3))
    assert [each.kernel for each in made.layers] == ["torch"]
    assert made.peak_bytes == 0


def test_lstm() -> None:
    check(nn.LSTM(6, 8, 2, batch_first=True), images(2, 5, 6))


def bert() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    return transformers.BertModel(config).eval()  # type: ignore[no-any-return]


@pytest.mark.parametrize("threads", [1, 2])
def test_bert_with_token_ids_and_a_mask(threads: int) -> None:
    ids = torch.randint(0, 50, (2, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones(2, 9, dtype=torch.int64)
    mask[1, 5:] = 0
    made = check(bert(), input_ids=ids, attention_mask=mask, threads=threads)
    changed = torch.ones(2, 9, dtype=torch.int64)
    result = made(attention_mask=changed, input_ids=ids)
    with torch.no_grad():
        assert_same(result, bert()(ids, changed))


def test_gpt2_with_token_ids() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=50, n_positions=16, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    model = transformers.GPT2Model(config).eval()
    check(model, torch.randint(0, 50, (2, 9), generator=torch.Generator().manual_seed(0)), use_cache=False)


def test_vit() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
    )
    check(transformers.ViTModel(config).eval(), images(2, 3, 32, 32))
