"""What every catalog of scenes offers: a search in, items out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import pystac

from imagery.scenes import finite_float, latest_processing
from imagery.stac.files import AssetFiles

Bounds = tuple[float, float, float, float]
"""(west, south, east, north), degrees; west is greater than east across the antimeridian."""


@dataclass(frozen=True)
class Search:
    """What is looked for.

    Attributes:
        collections: STAC collection ids.
        bounds: Where.
        start: First instant inside; None: any time.
        end: First instant outside; None: any time.
        cloud_property: Property with a scene's cloud percentage; None: clouds do not matter.
        max_cloud_pct: Scenes above it are left out; scenes that do not state it are kept.
        properties: What items have to state.
    """

    collections: tuple[str, ...]
    bounds: Bounds
    start: datetime | None = None
    end: datetime | None = None
    cloud_property: str | None = None
    max_cloud_pct: float | None = None
    properties: Mapping[str, str] = field(default_factory=dict)

    @property
    def without_cloud_limit(self) -> Search:
        """The same without a limit to clouds."""
        return replace(self, max_cloud_pct=None)

    @property
    def at_any_time(self) -> Search:
        """The same without a window and a limit to clouds."""
        return replace(self, start=None, end=None, max_cloud_pct=None)


@dataclass(frozen=True)
class Availability:
    """What a catalog holds around a search that found nothing.

    Attributes:
        times: Of the scenes of the place, oldest first.
        complete: Whether these are all; otherwise the nearest before and after the window.
        cloud_percentages: Cloud percentages of the scenes in the window, None where it is not stated.
    """

    times: tuple[datetime, ...]
    complete: bool
    cloud_percentages: tuple[float | None, ...]


class Catalog(Protocol):
    """Where scenes are found. Implementations are safe for several threads."""

    @property
    def name(self) -> str:
        """What answers call it."""

    @property
    def fingerprint(self) -> tuple[str, ...]:
        """What tells it from others, and from itself with other contents where that is known."""

    @property
    def collections(self) -> frozenset[str] | None:
        """STAC ids of the collections that it has; None: that is not known."""

    @property
    def files(self) -> AssetFiles:
        """How the files of its items are opened."""

    def search(self, search: Search, deadline: float) -> list[pystac.Item]:
        """Items that match, oldest first; of an acquisition that was reprocessed, the newest.

        Args:
            search: What is looked for.
            deadline: Instant of `time.monotonic` at which all ends.

        Raises:
            SourceError: The catalog failed.
        """

    def availability(self, search: Search, deadline: float) -> Availability:
        """What there is around a search that found nothing.

        Raises:
            SourceError: The catalog failed.
        """


def item_time(item: pystac.Item) -> datetime:
    """When an item was acquired, UTC; of a period, its start."""
    time = item.datetime or item.common_metadata.start_datetime
    if time is None:
        return datetime.min.replace(tzinfo=UTC)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def select_items(items: Iterable[pystac.Item], search: Search) -> list[pystac.Item]:
    """Of any items those that are looked for, oldest first, each acquisition once. Pure."""
    matching = (item for item in items if item_matches(item, search))
    ordered = sorted(matching, key=lambda item: (item_time(item), item.id))
    return latest_processing(ordered, _acquisition_key, _processing_key)


def item_matches(item: pystac.Item, search: Search) -> bool:
    """Whether an item is what is looked for. Pure."""
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
    """Cloud percentage that an item states."""
    return (
        finite_float(item.properties.get(search.cloud_property)) if search.cloud_property else None
    )


def bounds_overlap(one: Bounds, other: Bounds) -> bool:
    """Whether two rectangles share more than an edge."""
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
    """Ranges of longitude, from west to east, that bounds cover: two across the antimeridian."""
    west, _, east, _ = bounds
    return ((west, east),) if west <= east else ((west, 180.0), (-180.0, east))


def tile_key(item: pystac.Item) -> Any:
    """What tells the tiles of one pass apart: the grid code, or else the rounded bounds."""
    for name in ("grid:code", "s2:mgrs_tile", "mgrs:tile"):
        if name in item.properties:
            return item.properties[name]
    return tuple(round(edge, 4) for edge in item.bbox or ())


def _bounds_2d(bbox: list[float]) -> Bounds:
    """The horizontal part of an item's bounds, which may have heights."""
    half = len(bbox) // 2
    return bbox[0], bbox[1], bbox[half], bbox[half + 1]


def _too_cloudy(item: pystac.Item, search: Search) -> bool:
    stated = item_cloud_pct(item, search)
    return stated is not None and search.max_cloud_pct is not None and stated > search.max_cloud_pct


def _acquisition_key(item: pystac.Item) -> Any:
    return item.collection_id, item.properties.get("platform"), tile_key(item), item_time(item)


def _processing_key(item: pystac.Item) -> tuple[str, str]:
    baseline = str(item.properties.get("s2:processing_baseline", ""))
    made = item.properties.get("s2:generation_time", item.properties.get("updated", ""))
    return baseline, str(made)
