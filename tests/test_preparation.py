"""What a verb is given: copied, its computed weights made parameters, pruned, exported."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from sparsegen.errors import ModelError, PruningError
from sparsegen.graph import Conv2d
from sparsegen.options import ModelOptions
from sparsegen.preparation import Prepared, prepare
from sparsegen.progress import Steps
from sparsegen.pruning import magnitude, parse_structure
from tests.frontend.checking import images
from tests.reference import evaluate

NORMS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "weight_norm": weight_norm,
    "spectral_norm": spectral_norm,
    "parametrized weight_norm": parametrizations.weight_norm,
    "parametrized spectral_norm": parametrizations.spectral_norm,
}
pytestmark = pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")


def network(norm: Callable[[nn.Module], nn.Module] = lambda layer: layer) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 4, 3), norm(nn.Conv2d(4, 8, 3)), nn.ReLU(), nn.Conv2d(8, 2, 1)).eval()
    model(images())  # the hooks of a norm set the weight in every call
    return model


def called(model: nn.Module) -> Tensor:
    with torch.no_grad():
        result: Tensor = model(images())
    return result.double()


def prepared(model: nn.Module, sparsity: float) -> Prepared:
    structure = parse_structure("unstructured", sparsity=sparsity)
    return prepare(model, (images(),), ModelOptions(), structure=structure, steps=Steps(None, total=2))


def check_copy(made: Prepared, model: nn.Module, sparsity: float) -> None:
    """The copy is pruned by so much, and computes what the model does where that is nothing."""
    expected = called(model)
    (result,) = evaluate(made.graph, (images(),))
    if sparsity == 0:
        torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)
    (weight,) = [
        layer.core.weight
        for layer in made.graph.layers
        if isinstance(layer.core, Conv2d) and layer.core.weight.shape == (8, 4, 3, 3)
    ]
    assert np.count_nonzero(weight) == (1 - sparsity) * weight.size
    torch.testing.assert_close(called(model), expected)


@pytest.mark.parametrize("sparsity", [0.0, 0.5])
@pytest.mark.parametrize("name", NORMS)
def test_weights_that_are_computed(name: str, sparsity: float) -> None:
    model = network(NORMS[name])
    names = set(model.state_dict())
    before = called(model)
    made = prepared(model, sparsity)
    assert made.pruned == {"1"}
    check_copy(made, model, sparsity)
    torch.testing.assert_close(called(model), before)
    assert set(model.state_dict()) == names


@pytest.mark.parametrize("sparsity", [0.0, 0.5])
def test_models_of_inference_mode(sparsity: float) -> None:
    with torch.inference_mode():
        model = network()
    check_copy(prepared(model, sparsity), model, sparsity)


@pytest.mark.parametrize("sparsity", [0.0, 0.5])
@pytest.mark.parametrize(
    "make",
    [
        lambda program: program.module(),
        torch.export.unflatten,
        lambda program: nn.Sequential(program.module()),
    ],
    ids=["module", "unflattened", "nested"],
)
def test_modules_that_torch_export_made(
    make: Callable[[torch.export.ExportedProgram], nn.Module], sparsity: float
) -> None:
    model = make(torch.export.export(network(), (images(),)))
    model.training = False
    check_copy(prepared(model, sparsity), model, sparsity)


def test_sparse_weights() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)).eval()
    for layer in (model[0], model[2]):
        layer.weight = nn.Parameter(layer.weight.detach().to_sparse_coo(), requires_grad=False)
    with pytest.raises(PruningError, match=r"layer '0' has the layout torch.sparse_coo: make it dense first"):
        magnitude(model, sparsity=0.5)
    made = prepared(model, 0.5)
    assert isinstance(made.model, nn.Module)
    assert all(value.layout == torch.strided for value in made.model.parameters())
    assert model[0].weight.layout == torch.sparse_coo


class Uncopied(nn.ReLU):
    """A layer that forbids copies of itself."""

    def __deepcopy__(self, memo: dict[int, object]) -> Uncopied:
        raise TypeError("holds a lock")


def test_a_model_that_cannot_be_copied() -> None:
    with pytest.raises(ModelError, match=r"cannot copy the model, Sequential \(TypeError: holds a lock\)"):
        prepared(nn.Sequential(nn.Conv2d(4, 4, 1), Uncopied()).eval(), 0.5)


@pytest.mark.parametrize(
    ("name", "remover"),
    [
        ("weight_norm", "torch.nn.utils.remove_weight_norm(module)"),
        ("spectral_norm", "torch.nn.utils.remove_spectral_norm(module)"),
        ("parametrized weight_norm", "torch.nn.utils.parametrize.remove_parametrizations(module, 'weight')"),
    ],
)
def test_pruning_the_callers_own_model_asks_for_parameters(name: str, remover: str) -> None:
    with pytest.raises(PruningError) as caught:
        magnitude(network(NORMS[name]), sparsity=0.5)
    assert str(caught.value).startswith("layer '1' computes its weight from other parameters")
    assert str(caught.value).endswith(f"make the weight a parameter first, with {remover}")


def test_pruning_a_module_that_torch_export_made_asks_for_the_program() -> None:
    with pytest.raises(PruningError, match=r"Of a module that torch\.export made, prune the program;"):
        magnitude(torch.export.export(network(), (images(),)).module(), sparsity=0.5)


def test_a_spectral_norm_is_no_mask() -> None:
    program = torch.export.export(network(spectral_norm), (images(),))
    assert [layer.name for layer in magnitude(program, sparsity=0.5, skip=())] == ["0", "3"]


def test_without_sparsity_no_layer_is_skipped() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3)).eval()
    prepared = prepare(
        model,
        (torch.zeros(1, 3, 8, 8),),
        ModelOptions(),
        structure=parse_structure("unstructured", sparsity=0),
        steps=Steps(None, total=2),
    )
    assert prepared.pruned == {"0", "2"}
