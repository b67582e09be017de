"""The interface of STAC catalogs: a search in, items out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pystac

from imagery.scenes import finite_float, latest_processing
from imagery.stac.files import AssetFiles
from imagery.stac.processing import processing_key

Bounds = tuple[float, float, float, float]
"""(west, south, east, north) in degrees; west exceeds east across the antimeridian."""

TIME_PRECISION = timedelta(milliseconds=1)
"""Precision of the times of items."""
CACHE_TTL_S, CACHE_MAX_ITEMS = 30.0, 1000
"""Lifetime and bound of the cached search results of a catalog. A plan is usually
fetched right after."""


@dataclass(frozen=True)
class Search:
    """Search criteria.

    Attributes:
        collections: STAC collection ids.
        bounds: Bounds that items must overlap.
        start: Start of the time window, inclusive; None for any time.
        end: End of the time window, exclusive; None for any time.
        cloud_property: Item property with the cloud percentage; None to ignore clouds.
        max_cloud_pct: Maximum cloud percentage. Items without the property are kept.
        properties: Required values of item properties.
    """

    collections: tuple[str, ...]
    bounds: Bounds
    start: datetime | None = None
    end: datetime | None = None
    cloud_property: str | None = None
    max_cloud_pct: float | None = None
    properties: Mapping[str, str] = field(default_factory=dict)

    @property
    def earliest(self) -> datetime | None:
        """The earliest time that rounds into the window."""
        return None if self.start is None else self.start - TIME_PRECISION

    @property
    def without_cloud_limit(self) -> Search:
        """The same search without a cloud limit."""
        return replace(self, max_cloud_pct=None)

    @property
    def at_any_time(self) -> Search:
        """The same search without a time window and without a cloud limit."""
        return replace(self, start=None, end=None, max_cloud_pct=None)


@dataclass(frozen=True)
class Availability:
    """Scenes near a search without results, for its error message.

    Attributes:
        times: Times of the region's scenes, oldest first.
        complete: Whether these are all. Otherwise they are the nearest before and after the window.
        cloud_percentages: Cloud percentages of the scenes in the window; None where unknown.
    """

    times: tuple[datetime, ...]
    complete: bool
    cloud_percentages: tuple[float | None, ...]


class Catalog(Protocol):
    """A searchable catalog of scenes. Implementations are thread-safe."""

    @property
    def name(self) -> str:
        """Name of the catalog in responses."""

    @property
    def fingerprint(self) -> tuple[str, ...]:
        """Identifies the catalog, and its contents where these can be known."""

    @property
    def collections(self) -> frozenset[str] | None:
        """STAC ids of its collections; None if unknown."""

    @property
    def files(self) -> AssetFiles:
        """Access to the files of its items."""

    def search(self, search: Search, deadline: float) -> list[pystac.Item]:
        """Find items, oldest first. Of reprocessed acquisitions, the latest processing is returned.

        Args:
            search: Search criteria.
            deadline: Instant of `time.monotonic` at which the search ends.

        Raises:
            SourceError: The catalog failed.
        """

    def availability(self, search: Search, deadline: float) -> Availability:
        """Describe the scenes near a search that found nothing.

        Raises:
            SourceError: The catalog failed.
        """


def item_time(item: pystac.Item) -> datetime:
    """Acquisition time of an item, UTC, rounded to milliseconds; the start of a period.

    Catalogs write the start of a day as 23:59:59.9995 of the day before, too.
    """
    time = item.datetime or item.common_metadata.start_datetime
    if time is None:
        return datetime.min.replace(tzinfo=UTC)
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    rounded = time + TIME_PRECISION / 2
    return rounded.replace(microsecond=rounded.microsecond // 1000 * 1000)


def select_items(items: Iterable[pystac.Item], search: Search) -> list[pystac.Item]:
    """The items that match a search, oldest first, each acquisition once. Pure."""
    matching = (item for item in items if item_matches(item, search))
    ordered = sorted(matching, key=lambda item: (item_time(item), item.id))
    return latest_processing(ordered, _tile_of_satellite, item_time, processing_key)


def item_matches(item: pystac.Item, search: Search) -> bool:
    """Whether an item matches a search. Pure."""
    return (
        item.collection_id in search.collections
        and item.bbox is not None
        and bounds_overlap(_bounds_2d(item.bbox), search.bounds)
        and (search.start is None or search.start <= item_time(item))
        and (search.end is None or item_time(item) < search.end)
        and all(item.properties.get(name) == value for name, value in search.properties.items())
        and not _too_cloudy(item, search)
    )


def item_cloud_pct(item: pystac.Item, search: Search) -> float | None:
    """Cloud percentage of an item; None if its metadata has none."""
    return (
        finite_float(item.properties.get(search.cloud_property)) if search.cloud_property else None
    )


def bounds_overlap(one: Bounds, other: Bounds) -> bool:
    """Whether two bounds overlap by more than an edge."""
    return (
        one[1] < other[3]
        and other[1] < one[3]
        and any(
            west < other_east and other_west < east
            for west, east in longitude_spans(one)
            for other_west, other_east in longitude_spans(other)
        )
    )


def longitude_spans(bounds: Bounds) -> tuple[tuple[float, float], ...]:
    """Longitude ranges of bounds, west to east: two across the antimeridian."""
    west, _, east, _ = bounds
    return ((west, east),) if west <= east else ((west, 180.0), (-180.0, east))


def tile_key(item: pystac.Item) -> Any:
    """Identifies a tile within a pass: the grid code, or else the rounded bounds."""
    for name in ("grid:code", "s2:mgrs_tile", "mgrs:tile"):
        if name in item.properties:
            return item.properties[name]
    return tuple(round(edge, 4) for edge in item.bbox or ())


def _bounds_2d(bbox: list[float]) -> Bounds:
    """The horizontal part of an item's bounding box, which may be three-dimensional."""
    half = len(bbox) // 2
    return bbox[0], bbox[1], bbox[half], bbox[half + 1]


def _too_cloudy(item: pystac.Item, search: Search) -> bool:
    cloud, limit = item_cloud_pct(item, search), search.max_cloud_pct
    return cloud is not None and limit is not None and cloud > limit


def _tile_of_satellite(item: pystac.Item) -> Any:
    return item.collection_id, item.properties.get("platform"), tile_key(item)
