"""Groups of channels that make Galileo's tokens, and the tokens by kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

ChannelGroups = Mapping[str, tuple[str, slice]]

SPACE_TIME_GROUPS: ChannelGroups = {
    "S1": ("s1", slice(0, 2)),
    "S2_RGB": ("s2", slice(0, 3)),
    "S2_Red_Edge": ("s2", slice(3, 6)),
    "S2_NIR_10m": ("s2", slice(6, 7)),
    "S2_NIR_20m": ("s2", slice(7, 8)),
    "S2_SWIR": ("s2", slice(8, 10)),
    "NDVI": ("ndvi", slice(0, 1)),
}
"""Groups of maps over time (T, C, H, W): input and channels, in the order of their tokens."""
SPACE_GROUPS: ChannelGroups = {
    "SRTM": ("srtm", slice(0, 2)),
    "DW": ("dynamic_world", slice(0, 9)),
    "WC": ("worldcereal", slice(0, 5)),
}
"""Groups of maps (C, H, W)."""
TIME_GROUPS: ChannelGroups = {
    "ERA5": ("era5", slice(0, 2)),
    "TC": ("terraclimate", slice(0, 3)),
    "VIIRS": ("viirs", slice(0, 1)),
}
"""Groups of series (T, C)."""
STATIC_GROUPS: ChannelGroups = {
    "LS": ("landscan", slice(0, 1)),
    "location": ("location", slice(0, 3)),
    "DW_static": ("dynamic_world_static", slice(0, 9)),
    "WC_static": ("worldcereal_static", slice(0, 5)),
}
"""Groups of single values (C,)."""


@dataclass(frozen=True)
class GalileoTokens:
    """Tokens of the groups whose inputs are present.

    Attributes:
        space_time: ``(B, h, w, T, groups, D)``.
        space: ``(B, h, w, groups, D)``.
        time: ``(B, T, groups, D)``.
        static: ``(B, groups, D)``.
    """

    space_time: Tensor
    space: Tensor
    time: Tensor
    static: Tensor

    def sequence(self) -> Tensor:
        """All tokens (B, N, D), one kind after the other."""
        return torch.cat([tensor.flatten(1, -2) for tensor in self._tensors()], dim=1)

    def with_sequence(self, sequence: Tensor) -> GalileoTokens:
        """Other tokens (B, N, D) in the same arrangement."""
        lengths = [tensor.flatten(1, -2).shape[1] for tensor in self._tensors()]
        kinds = torch.split(sequence, lengths, dim=1)
        return GalileoTokens(
            *(kind.view(tensor.shape) for kind, tensor in zip(kinds, self._tensors(), strict=True))
        )

    def patch_means(self) -> Tensor:
        """Per patch (B, h, w, D): the mean of its own tokens and of those without a patch."""
        own = torch.cat([self.space_time.flatten(3, 4), self.space], dim=3)
        common = torch.cat([self.time.flatten(1, 2), self.static], dim=1)
        count = own.shape[3] + common.shape[1]
        return (own.sum(dim=3) + common.sum(dim=1)[:, None, None]) / count

    def _tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.space_time, self.space, self.time, self.static
