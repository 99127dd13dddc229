"""Sparse rivals: the weights in CSR times the im2col columns of the input, by scipy and by torch.

Only the product of matrices is timed. The columns are made beforehand and no bias is added, both of which a
convolution needs: this favours these rivals.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import scipy.sparse
import torch
import torch.nn.functional as F
from torch import Tensor

from sparsegen.compare.accuracy import accuracy
from sparsegen.compare.report import Accuracy
from sparsegen.compare.timing import Call
from sparsegen.graph import Conv2d

SCIPY, TORCH = "scipy-csr", "torch-csr"

BLOCK_BYTES = {SCIPY: 8 << 20, TORCH: 1 << 20}
"""Size of the blocks of columns that each rival multiplies at a time: the best of 1 to 256 MiB.

Blocks that stay in the caches for all rows of the filter matrix make these rivals 1.3 to 5 times as fast as
one product with the columns of the whole batch, measured on ResNet-18's 3x3 layers (Zen 5, batch 16).
"""

HELD_BYTES = 128 << 20
"""Columns that are kept in memory for each rival."""

_Product = Callable[[Tensor], Tensor]


def csr_peers(conv: Conv2d, x: Tensor, reference: Tensor) -> tuple[dict[str, Call], dict[str, Accuracy]]:
    """Calls of CSR products that do the work of the convolution of `x`, and how exact they are; by rival.

    `x` is [N, C, H, W], `reference` the float64 result [N, K, OH, OW]. Where the columns of the whole
    batch exceed what is kept in memory, those of some images stand for the rest, over and over, and
    only these images are checked. scipy uses one thread, whatever torch uses.
    """
    matrix = filter_matrix(conv)
    held = _images_held(len(x), image_bytes=4 * matrix.shape[1] * reference[0, 0].numel())
    columns, exact = im2col(conv, x[:held]), reference[:held]
    calls, accuracies = {}, {}
    for name, product in ((SCIPY, _scipy_product(matrix)), (TORCH, _torch_product(matrix))):
        width = max(1, BLOCK_BYTES[name] // (4 * len(columns)))
        blocks = [block.contiguous() for block in torch.split(columns, width, dim=1)]
        calls[name] = _each(product, blocks * (len(x) // held))
        result = torch.cat([product(block) for block in blocks], dim=1)
        accuracies[name] = accuracy(_as_images(result, conv, exact), exact)
    return calls, accuracies


def filter_matrix(conv: Conv2d) -> Any:
    """The weights as a scipy CSR array [K, C * kh * kw]; groups become blocks on the diagonal."""
    groups = conv.weight.reshape(conv.groups, len(conv.weight) // conv.groups, -1)
    blocks = [scipy.sparse.csr_array(group) for group in groups]
    return scipy.sparse.csr_array(scipy.sparse.block_diag(blocks, format="csr"))


def im2col(conv: Conv2d, x: Tensor) -> Tensor:
    """What every output pixel of every image is computed from: [C * kh * kw, N * OH * OW]."""
    top, bottom, left, right = conv.padding
    padded = F.pad(x, (left, right, top, bottom))
    columns = F.unfold(padded, conv.weight.shape[2:], dilation=conv.dilation, stride=conv.stride)
    return columns.transpose(0, 1).flatten(1)


def _images_held(images: int, *, image_bytes: int) -> int:
    """The most images whose columns fit, of the numbers that divide the batch; at least one."""
    fitting = (n for n in range(images, 0, -1) if images % n == 0 and n * image_bytes <= HELD_BYTES)
    return next(fitting, 1)


def _scipy_product(matrix: Any) -> _Product:
    return lambda block: torch.from_numpy(matrix @ block.numpy())


def _torch_product(matrix: Any) -> _Product:
    rows, columns, values = map(torch.from_numpy, (matrix.indptr, matrix.indices, matrix.data))
    with warnings.catch_warnings():  # that the layout is in beta
        warnings.simplefilter("ignore")
        sparse = torch.sparse_csr_tensor(rows, columns, values, size=matrix.shape)
    return lambda block: sparse @ block


def _each(product: _Product, blocks: list[Tensor]) -> Call:
    def call() -> None:
        for block in blocks:
            product(block)

    return call


def _as_images(result: Tensor, conv: Conv2d, like: Tensor) -> Tensor:
    """Rows of channels [K, N * OH * OW] as the images of a convolution, bias added."""
    channels = result if conv.bias is None else result + torch.from_numpy(conv.bias)[:, None]
    images, _, height, width = like.shape
    return channels.reshape(-1, images, height, width).transpose(0, 1)
