"""CSR rivals compute the convolution, of the whole batch, from the weights that are not zero."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparsegen.compare import csr
from sparsegen.graph import Conv2d
from sparsegen.reference import convolution_reference


def pruned(*, groups: int = 1, **options: object) -> Conv2d:
    """Six output channels, eight input channels; most weights are zero, and all of one channel."""
    generator = np.random.default_rng(0)
    weight = generator.standard_normal((6, 8 // groups, 3, 3), dtype=np.float32)
    weight[np.abs(weight) < 1] = 0
    weight[4] = 0
    return Conv2d(weight, generator.standard_normal(6, dtype=np.float32), groups=groups, **options)  # type: ignore[arg-type]


@pytest.fixture
def x() -> Tensor:
    return torch.randn(6, 8, 9, 11, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "conv",
    [
        pruned(),
        pruned(padding=(0, 1, 2, 0), stride=(2, 1), dilation=(1, 2)),
        pruned(groups=2),
        Conv2d(np.zeros((5, 8, 1, 1), np.float32), None),
    ],
    ids=["plain", "uneven", "groups", "all zero"],
)
def test_both_agree_with_float64(conv: Conv2d, x: Tensor) -> None:
    calls, accuracies = csr.csr_peers(conv, x, convolution_reference(conv, x))
    assert set(calls) == set(accuracies) == {csr.SCIPY, csr.TORCH}
    assert all(found.relative_error < 1e-5 for found in accuracies.values())
    for call in calls.values():
        call()


def test_a_wrong_product_is_noticed(x: Tensor) -> None:
    reference = convolution_reference(pruned(), x)
    reference[3, 2, 1, 1] += 1
    assert not any(found.passes for found in csr.csr_peers(pruned(), x, reference)[1].values())


def test_zeros_are_not_stored() -> None:
    conv = pruned(groups=2)
    matrix = csr.filter_matrix(conv)
    assert matrix.shape == (6, 8 * 9)
    assert matrix.nnz == np.count_nonzero(conv.weight)
    assert np.array_equal(matrix.toarray()[:3, :36], conv.weight[:3].reshape(3, -1))


@pytest.mark.parametrize("held_images", [1, 2, 6])
def test_a_call_multiplies_columns_for_every_image(
    x: Tensor, held_images: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    conv = pruned()
    pixels = 7 * 9
    monkeypatch.setattr(csr, "HELD_BYTES", held_images * 4 * 8 * 9 * pixels)
    monkeypatch.setattr(csr, "BLOCK_BYTES", {csr.SCIPY: 4 * 8 * 9 * 20, csr.TORCH: 1})
    product, widths = csr._scipy_product, []

    def counting(matrix: object) -> object:
        multiply = product(matrix)

        def call(block: Tensor) -> Tensor:
            widths.append(block.shape[1])
            return multiply(block)

        return call

    monkeypatch.setattr(csr, "_scipy_product", counting)
    calls, accuracies = csr.csr_peers(conv, x, convolution_reference(conv, x))
    assert sum(widths) == held_images * pixels
    assert all(found.passes for found in accuracies.values())
    widths.clear()
    calls[csr.SCIPY]()
    assert sum(widths) == 6 * pixels
    assert max(widths) == 20


@given(images=st.integers(1, 64), megabytes=st.integers(1, 300))
def test_what_is_held_divides_the_batch_and_fits(images: int, megabytes: int) -> None:
    held = csr._images_held(images, image_bytes=megabytes << 20)
    assert images % held == 0
    assert held == 1 or held * megabytes << 20 <= csr.HELD_BYTES
    assert held == images or images * megabytes << 20 > csr.HELD_BYTES
