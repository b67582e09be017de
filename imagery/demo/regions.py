"""The regions of the demo archive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pyproj import Transformer

from geobento.schemas.sample import PixelGrid
from imagery.demo.landscape import Landscape
from imagery.grid import utm_crs

PIXEL_SIZE_M = 10.0


@dataclass(frozen=True)
class DemoRegion:
    """A synthetic region.

    Attributes:
        name: Name, part of item ids.
        lon: Longitude of the center, degrees.
        lat: Latitude of the center, degrees.
        landscape: The landscape.
        first_cloud_index: Index in `imagery.demo.items.CLOUD_FRACTIONS` for January.
        year: Year of the acquisitions.
        months: Months of the acquisitions.
    """

    name: str
    lon: float
    lat: float
    landscape: Landscape
    first_cloud_index: int = 0
    year: int = 2023
    months: Sequence[int] = range(1, 13)

    def overpass_time(self, month: int, day: int, hour: float) -> datetime:
        """Overpass time of a satellite, from its hour of local solar time."""
        utc = (hour - self.lon / 15) % 24
        return datetime(self.year, month, day, int(utc), int(utc % 1 * 60), tzinfo=UTC)


DEMO_REGIONS = (
    DemoRegion("savanna", 34.066, -3.401, Landscape(7, 256, 3.5, 1180, 60), first_cloud_index=9),
    DemoRegion("midlatitude", 11.03, 48.01, Landscape(23, 256, 6.5, 560, 90)),
    DemoRegion("delta", 121.5, 31.2, Landscape(41, 416, 7.0, 3, 8), year=2022, months=(7,)),
    DemoRegion("lowland", 120.5, 30.2, Landscape(59, 416, 7.5, 12, 40), year=2022, months=(7,)),
)
"""The first two cover a year. The others cover one month, for examples written for other tools."""


def pixel_grid(region: DemoRegion) -> PixelGrid:
    """The pixel grid of a region, with corners at multiples of 10 m."""
    crs = utm_crs(region.lon, region.lat)
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(region.lon, region.lat)
    size = region.landscape.size
    half = size * PIXEL_SIZE_M / 2
    left, top = (
        round((x - half) / PIXEL_SIZE_M) * PIXEL_SIZE_M,
        round((y + half) / PIXEL_SIZE_M) * PIXEL_SIZE_M,
    )
    return PixelGrid(crs, (PIXEL_SIZE_M, 0.0, left, 0.0, -PIXEL_SIZE_M, top), size, size)
