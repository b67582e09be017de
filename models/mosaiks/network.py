"""Random convolutional features: fixed filters, both signs rectified, averaged over cells.

Source: Rolf et al., Nature Communications 12, 4392 (2021), 10.1038/s41467-021-24638-z.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

RESPONSES_PER_CHUNK = 2**19
"""Responses computed at a time: few enough to stay in the processor's cache."""
MIN_MATMUL_ROWS = 16
"""Rows of a matrix product. With fewer rows the order of sums, and with it the last bit, would
depend on the number of threads."""

CellWeights: TypeAlias = list[tuple[slice, Tensor]]
"""For every cell of one axis, the pixels that it covers and their weights."""


class FilterBank(nn.Module):
    """K fixed filters, and the biases added to their responses before each rectification.

    The features of response ``y`` are ``relu(y + bias_positive)`` and
    ``relu(-y + bias_negative)``; the two published conventions differ only in these biases.
    """

    def __init__(self, filters: int, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(filters, channels, kernel_size, kernel_size), False)
        self.bias_positive = nn.Parameter(torch.empty(filters), False)
        self.bias_negative = nn.Parameter(torch.empty(filters), False)

    def forward(self, image: Tensor, row_weights: Tensor, column_weights: Tensor) -> Tensor:
        """Features of one image, averaged over cells.

        Args:
            image: (C, H, W).
            row_weights: (h, H - k + 1) averaging weights of every cell row.
            column_weights: (w, W - k + 1) averaging weights of every cell column.

        Returns:
            (2 K, h, w): the K positive features, then the K negative ones.
        """
        cells = _to_cell_weights(row_weights), _to_cell_weights(column_weights)
        positive = self._mean_rectified(image, *cells, self.bias_positive)
        mirrored = (
            positive
            if torch.equal(self.bias_positive, -self.bias_negative)
            else self._mean_rectified(image, *cells, -self.bias_negative)
        )
        # relu(b - y) = relu(y - b) - (y - b), and so for averages.
        response = self._mean_response(image, *cells)
        negative = mirrored - response + self.bias_negative[:, None, None]
        # That difference may end a rounding below zero.
        return torch.cat([positive, negative]).clamp_(min=0)

    def _mean_rectified(
        self, image: Tensor, rows: CellWeights, columns: CellWeights, bias: Tensor
    ) -> Tensor:
        """Averages (K, h, w) of ``relu(y + bias)``.

        The map is computed cell row by cell row, a few pixel rows at a time, so that memory does
        not grow with the height of the image.
        """
        filters, kernel = len(self.weight), self.weight.shape[-1]
        patches = image.unfold(1, kernel, 1).unfold(2, kernel, 1).permute(1, 2, 0, 3, 4)
        width = patches.shape[1]
        strip = max(1, RESPONSES_PER_CHUNK // (width * filters))
        grid = image.new_empty(len(rows), len(columns), filters)
        for (span, weights), cell_row in zip(rows, grid, strict=True):
            total = image.new_zeros(width * filters)
            lines = patches[span]
            for top in range(0, len(lines), strip):
                part = slice(top, top + strip)
                response = self._apply_filters(lines[part].flatten(0, 1), bias).relu_()
                total.addmv_(response.view(-1, width * filters).T, weights[part])
            _average_cells(total.view(width, filters), columns, cell_row)
        return grid.permute(2, 0, 1)

    def _mean_response(self, image: Tensor, rows: CellWeights, columns: CellWeights) -> Tensor:
        """Averages (K, h, w) of ``y``, from averages of the pixels under every filter tap."""
        kernel = self.weight.shape[-1]
        channels, height, width = image.shape
        lines = image.transpose(0, 1).flatten(1)
        down = image.new_empty(len(rows), channels * width)
        means = image.new_empty(len(columns), len(rows) * channels)
        taps = image.new_empty(len(rows), len(columns), channels, kernel, kernel)
        for top in range(kernel):
            _average_cells(lines[top : height - kernel + 1 + top], rows, down)
            across = down.view(-1, width).T.contiguous()
            for left in range(kernel):
                _average_cells(across[left : width - kernel + 1 + left], columns, means)
                taps[..., top, left] = means.view(len(columns), len(rows), -1).transpose(0, 1)
        products = self._apply_filters(taps.flatten(0, 1))
        return products.view(len(rows), len(columns), -1).permute(2, 0, 1)

    def _apply_filters(self, patches: Tensor, bias: Tensor | None = None) -> Tensor:
        """Responses (P, K) of the filters to patches (P, C, k, k)."""
        pixels = patches.flatten(1)
        missing = max(0, MIN_MATMUL_ROWS - len(pixels))
        padded = functional.pad(pixels, (0, 0, 0, missing))
        return functional.linear(padded, self.weight.flatten(1), bias)[: len(pixels)]


def _to_cell_weights(weights: Tensor) -> CellWeights:
    """Averaging weights (cells, L) without their zeros."""
    covered = [row.nonzero().flatten().tolist() for row in weights]
    spans = [slice(pixels[0], pixels[-1] + 1) for pixels in covered]
    return [(span, row[span]) for span, row in zip(spans, weights, strict=True)]


def _average_cells(lines: Tensor, cells: CellWeights, out: Tensor) -> None:
    """Averages (cells, M) of lines (L, M)."""
    for (span, weights), cell in zip(cells, out, strict=True):
        torch.mv(lines[span].T, weights, out=cell)


class CellGrid:
    """Cells over which a map of responses is averaged.

    Args:
        height: Height of the map, pixels.
        width: Width of the map, pixels.
        cell: Side of a cell, pixels.
        equal: Whether cells have equal sizes near `cell` and cover the map exactly; else they have
            exactly this size, and the last may be cut off.
    """

    def __init__(self, height: int, width: int, cell: int, *, equal: bool) -> None:
        make_edges = equal_cell_edges if equal else fixed_cell_edges
        self._lengths = height, width
        self._edges = [make_edges(length, cell) for length in self._lengths]

    @property
    def shape(self) -> tuple[int, int]:
        """Cells (high, wide)."""
        rows, columns = (len(edges) - 1 for edges in self._edges)
        return rows, columns

    @property
    def averaging_weights(self) -> list[Tensor]:
        """(h, height) and (w, width) weights that average over the cells of each axis."""
        return [
            averaging_weights(edges, length)
            for edges, length in zip(self._edges, self._lengths, strict=True)
        ]

    @property
    def area_weights(self) -> Tensor:
        """(h * w,) shares of the cells in the area of the map."""
        heights, widths = (edges.diff() / edges[-1] for edges in self._edges)
        return torch.outer(heights, widths).flatten().float()


class RandomConvolutionalFeatures(nn.Module):
    """One filter bank per modality.

    Args:
        filters: K, filters in each bank.
        kernel_size: Side of a filter, pixels.
        channels: Input channels by modality.
    """

    def __init__(self, filters: int, kernel_size: int, channels: Mapping[str, int]) -> None:
        super().__init__()
        self.banks = nn.ModuleDict(
            {name: FilterBank(filters, count, kernel_size) for name, count in channels.items()}
        )

    def forward(
        self, modality: str, image: Tensor, row_weights: Tensor, column_weights: Tensor
    ) -> Tensor:
        """Features (2 K, h, w) of one image (C, H, W) of a modality."""
        features: Tensor = self.banks[modality](image, row_weights, column_weights)
        return features

    def encode_batch(self, modality: str, images: Tensor, cells: CellGrid) -> Tensor:
        """Features (B, 2 K, h, w) of images (B, C, H, W) of a modality, each on its own."""
        rows, columns = (weights.to(images.device) for weights in cells.averaging_weights)
        return torch.stack([self(modality, image, rows, columns) for image in images])


def equal_cell_edges(length: int, cell: int) -> Tensor:
    """Edges of equal cells, each about `cell` long, that cover `length` exactly."""
    count = max(1, round(length / cell))
    return torch.linspace(0, length, count + 1, dtype=torch.float64)


def fixed_cell_edges(length: int, cell: int) -> Tensor:
    """Edges of cells of exactly `cell`, the last one cut off at `length`."""
    edges = [*range(0, length, cell), length]
    return torch.tensor(edges, dtype=torch.float64)


def averaging_weights(edges: Tensor, length: int) -> Tensor:
    """(cells, length) weights that average over cells whose edges may fall inside a pixel."""
    pixel = torch.arange(length, dtype=torch.float64)
    low = torch.maximum(edges[:-1, None], pixel[None])
    high = torch.minimum(edges[1:, None], pixel[None] + 1)
    return ((high - low).clamp(min=0) / (edges[1:] - edges[:-1])[:, None]).float()


def normalize_filters(filters: Tensor) -> Tensor:
    """Filters (K, C, k, k) with zero mean and unit L2 norm over their C k k taps."""
    centered = filters - filters.mean(dim=(1, 2, 3), keepdim=True)
    norms: Tensor = torch.linalg.vector_norm(centered, dim=(1, 2, 3), keepdim=True)
    return centered / norms
