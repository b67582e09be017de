"""Searching a static STAC catalog: a tree of JSON files on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import unquote, urlparse

import pystac

from geobento.errors import SourceError
from imagery.collections import number
from imagery.scenes import newest

Bounds = tuple[float, float, float, float]
"""(west, south, east, north), degrees; west is greater than east across the antimeridian."""
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

    Nothing outside the folder of its `catalog.json` is read, whatever it links to.

    Args:
        path: Its `catalog.json`.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path).resolve()
        self._lock = Lock()

    @property
    def path(self) -> Path:
        """Its `catalog.json`."""
        return self._path

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

    @property
    def digest(self) -> str:
        """What changes when any record of the catalog does; it says nothing of the files.

        Raises:
            SourceError: The catalog is missing or damaged.
        """
        with self._lock:
            return self._contents[2]

    def search(self, search: Search) -> list[pystac.Item]:
        """Items that match, oldest first; of an acquisition that was reprocessed, the newest.

        Raises:
            SourceError: The catalog is missing or damaged.
        """
        matching = (item for item in self.items if matches(item, search))
        return newest(matching, _acquisition, _processing)

    @cached_property
    def _contents(self) -> tuple[str, list[pystac.Item], str]:
        digests: dict[Path, str] = {}
        try:
            name = str(_record(self._path)[0]["id"])
            items = sorted(
                _items(self._path, self.root, digests), key=lambda item: (item_time(item), item.id)
            )
        except SourceError as error:
            raise SourceError(f"the STAC catalog {self._path.name}: {error.message}") from error
        except Exception as error:
            raise SourceError(
                f"the STAC catalog {self._path.name} cannot be read ({type(error).__name__})"
            ) from error
        return name, items, hashlib.sha256("".join(sorted(digests.values())).encode()).hexdigest()


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
        and overlap(_flat(item.bbox), search.bounds)
        and (search.start is None or search.start <= item_time(item))
        and (search.end is None or item_time(item) < search.end)
        and not _too_cloudy(item.properties, search)
    )


def overlap(one: Bounds, other: Bounds) -> bool:
    """Whether two rectangles share more than an edge."""
    return (
        one[1] < other[3]
        and other[1] < one[3]
        and any(
            west < other_east and other_west < east
            for west, east in _spans(one)
            for other_west, other_east in _spans(other)
        )
    )


def tile(item: pystac.Item) -> Any:
    """What tells the tiles of one pass apart: the grid code, or else the rounded bounds."""
    for name in ("grid:code", "s2:mgrs_tile", "mgrs:tile"):
        if name in item.properties:
            return item.properties[name]
    return tuple(round(edge, 4) for edge in item.bbox or ())


def local_file(href: str, root: Path) -> Path:
    """The file of an asset, which has to lie within the catalog's own folder.

    Raises:
        SourceError: It lies elsewhere, is not a TIFF, or is missing. Formats that can point to
            further files (VRT) are refused with everything that is not a TIFF.
    """
    path = _inside(href, root, root)
    try:
        with path.open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise SourceError(f"the file {path.name} cannot be read") from error
    if magic not in TIFF_MAGIC:
        raise SourceError(f"the file {path.name} is not a TIFF")
    return path


def _items(file: Path, root: Path, visited: dict[Path, str]) -> Iterator[pystac.Item]:
    """All items below a record. Links are taken off them: nothing can follow one later.

    Args:
        file: The record.
        root: Where all have to lie.
        visited: The digests of those that were read.
    """
    if file in visited:
        return
    record, visited[file] = _record(file)
    kind = record.get("type")
    if kind == "Feature" and len(visited) > 1:
        item = pystac.Item.from_dict(record, href=str(file))
        item.make_asset_hrefs_absolute()
        item.clear_links()
        yield item
    elif kind in ("Catalog", "Collection"):
        for link in record.get("links", []):
            if link.get("rel") in ("child", "item"):
                yield from _items(_inside(link["href"], file.parent, root), root, visited)
    else:
        raise SourceError(f"{file.name} is not a STAC catalog, collection or item")


def _record(file: Path) -> tuple[dict[str, Any], str]:
    """A record and its digest."""
    data = file.read_bytes()
    record = json.loads(data)
    if not isinstance(record, dict):
        raise SourceError(f"{file.name} is not a JSON object")
    return record, hashlib.sha256(data).hexdigest()


def _inside(href: str, base: Path, root: Path) -> Path:
    """The file that a reference means, relative ones from `base`; it has to lie within `root`."""
    parsed = urlparse(href)
    if parsed.scheme not in ("", "file"):
        raise SourceError(f"{Path(parsed.path).name} is not a local file")
    path = (base / (unquote(parsed.path) if parsed.scheme else href)).resolve()
    if not path.is_relative_to(root):
        raise SourceError(f"the file {path.name} lies outside the catalog's folder")
    return path


def _flat(bbox: list[float]) -> Bounds:
    """The horizontal part of an item's bounds, which may have heights."""
    half = len(bbox) // 2
    return bbox[0], bbox[1], bbox[half], bbox[half + 1]


def _spans(bounds: Bounds) -> tuple[tuple[float, float], ...]:
    west, _, east, _ = bounds
    return ((west, east),) if west <= east else ((west, 180.0), (-180.0, east))


def _too_cloudy(properties: dict[str, Any], search: Search) -> bool:
    if search.cloud_property is None or search.max_cloud is None:
        return False
    cloud = number(properties.get(search.cloud_property))
    return cloud is not None and cloud > search.max_cloud


def _acquisition(item: pystac.Item) -> Any:
    return item.collection_id, item.properties.get("platform"), tile(item), item_time(item)


def _processing(item: pystac.Item) -> tuple[str, str]:
    baseline = str(item.properties.get("s2:processing_baseline", ""))
    made = item.properties.get("s2:generation_time", item.properties.get("updated", ""))
    return baseline, str(made)
