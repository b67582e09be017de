"""Random convolutional features: fixed filters, both signs rectified, averaged over cells.

Source: Rolf et al., Nature Communications 12, 4392 (2021), 10.1038/s41467-021-24638-z.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

AT_ONCE = 2**19
"""Responses that are worked on at a time: few enough to stay in the processor's cache."""


class FilterBank(nn.Module):
    """K fixed filters and what is added to their responses before each rectification.

    The features of response ``y`` are ``relu(y + bias_positive)`` and
    ``relu(-y + bias_negative)``; the two published conventions differ only in these biases.
    """

    def __init__(self, filters: int, channels: int, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(filters, channels, kernel, kernel), False)
        self.bias_positive = nn.Parameter(torch.empty(filters), False)
        self.bias_negative = nn.Parameter(torch.empty(filters), False)

    def forward(self, image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Features of one image, averaged over cells.

        Args:
            image: (C, H, W).
            rows: (h, H - k + 1) averaging weights of every cell row.
            columns: (w, W - k + 1) averaging weights of every cell column.

        Returns:
            (2 K, h, w): the K positive features, then the K negative ones.
        """
        positive = self._rectified(image, rows, columns, self.bias_positive)
        mirrored = (
            positive
            if torch.equal(self.bias_positive, -self.bias_negative)
            else self._rectified(image, rows, columns, -self.bias_negative)
        )
        # relu(b - y) = relu(y - b) - (y - b), and so for averages.
        response = self._response(image, rows, columns)
        negative = mirrored - response + self.bias_negative[:, None, None]
        # That difference may end a rounding below zero.
        return torch.cat([positive, negative]).clamp_(min=0)

    def _rectified(self, image: Tensor, rows: Tensor, columns: Tensor, bias: Tensor) -> Tensor:
        """Averages (K, h, w) of ``relu(y + bias)``.

        The map is worked through cell row by cell row, a few pixel rows at a time, so that memory
        does not grow with the height of the image.
        """
        filters, kernel = len(self.weight), self.weight.shape[-1]
        taps = self.weight.flatten(1)
        patches = image.unfold(1, kernel, 1).unfold(2, kernel, 1).permute(1, 2, 0, 3, 4)
        width = patches.shape[1]
        strip = max(1, AT_ONCE // (width * filters))
        grid = image.new_empty(len(rows), len(columns), filters)
        for weights, cells in zip(rows, grid, strict=True):
            first, last = weights.nonzero().flatten()[[0, -1]].tolist()
            total = image.new_zeros(width * filters)
            for top in range(first, last + 1, strip):
                part = slice(top, min(top + strip, last + 1))
                pixels = patches[part].reshape(-1, taps.shape[1])
                response = functional.linear(pixels, taps, bias).relu_()
                total.addmv_(response.view(-1, width * filters).T, weights[part])
            torch.mm(columns, total.view(width, filters), out=cells)
        return grid.permute(2, 0, 1)

    def _response(self, image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Averages (K, h, w) of ``y``, made of averages of what lies under every tap."""
        kernel = self.weight.shape[-1]
        height, width = rows.shape[1], columns.shape[1]
        taps = [
            rows @ image[:, top : top + height, left : left + width] @ columns.T
            for top in range(kernel)
            for left in range(kernel)
        ]
        found: Tensor = torch.tensordot(self.weight.flatten(2), torch.stack(taps, 1), dims=2)
        return found


class RandomConvolutionalFeatures(nn.Module):
    """One filter bank per modality.

    Args:
        filters: K, filters in each bank.
        kernel: Side of a filter, pixels.
        channels: Input channels by modality.
    """

    def __init__(self, filters: int, kernel: int, channels: Mapping[str, int]) -> None:
        super().__init__()
        self.banks = nn.ModuleDict(
            {name: FilterBank(filters, count, kernel) for name, count in channels.items()}
        )

    def forward(self, modality: str, image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Features (2 K, h, w) of one image (C, H, W) of a modality."""
        features: Tensor = self.banks[modality](image, rows, columns)
        return features


def equal_edges(length: int, cell: int) -> Tensor:
    """Edges of equal cells, each about `cell` long, that cover `length` exactly."""
    count = max(1, round(length / cell))
    return torch.linspace(0, length, count + 1, dtype=torch.float64)


def fixed_edges(length: int, cell: int) -> Tensor:
    """Edges of cells of exactly `cell`, the last one cut off at `length`."""
    edges = [*range(0, length, cell), length]
    return torch.tensor(edges, dtype=torch.float64)


def averaging(edges: Tensor, length: int) -> Tensor:
    """(cells, length) weights that average over cells whose edges may fall inside a pixel."""
    pixel = torch.arange(length, dtype=torch.float64)
    low = torch.maximum(edges[:-1, None], pixel[None])
    high = torch.minimum(edges[1:, None], pixel[None] + 1)
    return ((high - low).clamp(min=0) / (edges[1:] - edges[:-1])[:, None]).float()


def zero_mean_unit_norm(filters: Tensor) -> Tensor:
    """Filters (K, C, k, k) with zero mean and unit L2 norm over their C k k taps."""
    centred = filters - filters.mean(dim=(1, 2, 3), keepdim=True)
    norms: Tensor = torch.linalg.vector_norm(centred, dim=(1, 2, 3), keepdim=True)
    return centred / norms
