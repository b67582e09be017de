"""Random convolutional features: fixed filters, both signs rectified, averaged over cells.

Source: Rolf et al., Nature Communications 12, 4392 (2021), 10.1038/s41467-021-24638-z.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIP = 8
"""Rows of the filtered map worked on at a time: few enough to stay in the processor's cache."""


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

        The map is worked through in strips, so memory does not grow with the height of the
        image, and the answer does not depend on how it is cut.

        Args:
            image: (C, H, W).
            rows: (h, H - k + 1) averaging weights of every cell row.
            columns: (w, W - k + 1) averaging weights of every cell column.

        Returns:
            (2 K, h, w): the K positive features, then the K negative ones.
        """
        kernel = self.weight.shape[-1]
        filters = self.weight.shape[0]
        grid = image.new_zeros(2 * filters, rows.shape[0], columns.shape[0])
        shift = (self.bias_positive + self.bias_negative)[:, None, None]
        for top in range(0, rows.shape[1], STRIP):
            part = rows[:, top : top + STRIP]
            strip = image[:, top : top + part.shape[1] + kernel - 1]
            response = functional.conv2d(strip[None], self.weight, self.bias_positive)[0]
            # relu(shift - r) = shift - min(r, shift), and averages of a constant are itself.
            below = torch.minimum(response, shift)
            grid[:filters] += part @ (response.relu_() @ columns.T)
            grid[filters:] -= part @ (below @ columns.T)
        grid[filters:] += shift
        grid.clamp_(min=0)  # the difference above may end a rounding below zero
        return grid


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
