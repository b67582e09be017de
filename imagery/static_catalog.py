"""Searching a static STAC catalog: a tree of JSON files on disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import unquote, urlparse

import pystac

from geobento.errors import SourceError

Bounds = tuple[float, float, float, float]
"""(west, south, east, north), degrees."""
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of TIFF and BigTIFF, both byte orders."""


@dataclass(frozen=True)
class Search:
    """What is looked for.

    Attributes:
        collections: STAC collection ids.
        bounds: Where.
        start: First instant inside; None: any time.
        end: First instant outside; None: any time.
        cloud_property: Property with a scene's cloud percentage; None: clouds do not matter.
        max_cloud: Scenes above it are left out; scenes that do not state it are kept.
    """

    collections: tuple[str, ...]
    bounds: Bounds
    start: datetime | None = None
    end: datetime | None = None
    cloud_property: str | None = None
    max_cloud: float | None = None


class StaticCatalog:
    """A catalog on disk, read once, when first searched. Safe for several threads.

    Args:
        path: Its `catalog.json`.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path).resolve()
        self._lock = Lock()

    @property
    def root(self) -> Path:
        """The folder that holds the catalog and everything it may point to."""
        return self._path.parent

    def load(self) -> None:
        """Read the catalog now instead of with the first search.

        Raises:
            SourceError: It is missing or damaged.
        """
        _ = self.items

    @property
    def name(self) -> str:
        """The catalog's own id."""
        with self._lock:
            return self._contents[0]

    @property
    def items(self) -> list[pystac.Item]:
        """All items, oldest first, with absolute hrefs.

        Raises:
            SourceError: The catalog is missing or damaged.
        """
        with self._lock:
            return self._contents[1]

    def search(self, search: Search) -> list[pystac.Item]:
        """Items that match, oldest first; of an acquisition that was reprocessed, the newest.

        Raises:
            SourceError: The catalog is missing or damaged.
        """
        return newest_processing(item for item in self.items if matches(item, search))

    @cached_property
    def _contents(self) -> tuple[str, list[pystac.Item]]:
        try:
            catalog = pystac.Catalog.from_file(str(self._path))
            items = list(catalog.get_items(recursive=True))
            for item in items:
                item.make_asset_hrefs_absolute()
            items.sort(key=lambda item: (item_time(item), item.id))
        except Exception as error:
            raise SourceError(
                f"the STAC catalog {self._path.name} cannot be read ({type(error).__name__})"
            ) from error
        return catalog.id, items


def item_time(item: pystac.Item) -> datetime:
    """When an item was acquired, UTC; of a period, its start."""
    time = item.datetime or item.common_metadata.start_datetime
    if time is None:
        return datetime.min.replace(tzinfo=UTC)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def matches(item: pystac.Item, search: Search) -> bool:
    """Whether an item is what is looked for. Pure."""
    return (
        item.collection_id in search.collections
        and item.bbox is not None
        and overlap(tuple(item.bbox), search.bounds)  # type: ignore[arg-type]
        and (search.start is None or search.start <= item_time(item))
        and (search.end is None or item_time(item) < search.end)
        and not _too_cloudy(item.properties, search)
    )


def overlap(one: Bounds, other: Bounds) -> bool:
    """Whether two rectangles share more than an edge."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def newest_processing(items: Iterable[pystac.Item]) -> list[pystac.Item]:
    """One item per acquisition and tile, in the order given: the one processed last. Pure."""
    chosen: dict[Any, pystac.Item] = {}
    for item in items:
        key = _acquisition(item)
        if key not in chosen or _processing(item) > _processing(chosen[key]):
            chosen[key] = item
    return list(chosen.values())


def local_file(href: str, root: Path) -> Path:
    """The file of an asset, which has to lie within the catalog's own folder.

    Raises:
        SourceError: It lies elsewhere, is not a TIFF, or is missing. Formats that can point to
            further files (VRT) are refused with everything that is not a TIFF.
    """
    parsed = urlparse(href)
    if parsed.scheme not in ("", "file"):
        raise SourceError(f"the asset {Path(parsed.path).name} is not a local file")
    path = Path(unquote(parsed.path) if parsed.scheme else href).resolve()
    if not path.is_relative_to(root):
        raise SourceError(f"the asset {path.name} lies outside the catalog's folder")
    try:
        with path.open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise SourceError(f"the asset {path.name} cannot be read") from error
    if magic not in TIFF_MAGIC:
        raise SourceError(f"the asset {path.name} is not a TIFF")
    return path


def _too_cloudy(properties: dict[str, Any], search: Search) -> bool:
    if search.cloud_property is None or search.max_cloud is None:
        return False
    cloud = properties.get(search.cloud_property)
    return cloud is not None and float(cloud) > search.max_cloud


def _acquisition(item: pystac.Item) -> Any:
    tile = next(
        (
            item.properties[name]
            for name in ("grid:code", "s2:mgrs_tile", "mgrs:tile")
            if name in item.properties
        ),
        None,
    )
    where = tile if tile is not None else tuple(round(edge, 4) for edge in item.bbox or ())
    return item.collection_id, item.properties.get("platform"), where, item_time(item)


def _processing(item: pystac.Item) -> tuple[str, str]:
    baseline = str(item.properties.get("s2:processing_baseline", ""))
    made = item.properties.get("s2:generation_time", item.properties.get("updated", ""))
    return baseline, str(made)
