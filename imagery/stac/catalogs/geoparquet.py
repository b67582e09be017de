"""Searching stac-geoparquet: a file with a row per item, or a folder of such files."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pystac

from geobento.schemas.errors import GeoBentoError, SourceError, SourceUnavailable
from imagery.cache.ttl_cache import TTLCache
from imagery.stac.catalogs.base import (
    Availability,
    Search,
    item_cloud_pct,
    item_matches,
    item_time,
    longitude_spans,
    select_items,
)
from imagery.stac.files import AssetFiles

CACHE_TTL_S, CACHE_MAX_ITEMS = 30.0, 1000
"""How long, and how much of what was found is at hand: who looks at a plan fetches it next."""
MAX_ITEMS = 20_000
"""More items than this are not gone through for one place."""
ITEM_FIELDS = frozenset(
    {"type", "stac_version", "stac_extensions", "id", "geometry", "bbox", "links", "assets",
     "collection"}
)  # fmt: skip
"""Columns that are not properties of items."""
FILTER_COLUMNS = ("bbox", "collection", "datetime", "start_datetime")
"""Columns that a search looks at before it reads others."""


class ParquetCatalog:
    """A stac-geoparquet file on disk, or a folder of them. Safe for several threads.

    Nothing is held of it but what was found last. A search reads a few columns, of the parts of
    the files whose statistics allow for a match, and all columns only of those where there is one.

    Args:
        path: The file, or a folder with files that end in ``.parquet``.
        files: How the files of its items are opened.

    Raises:
        SourceError: It is missing or not stac-geoparquet, or the library that reads it is.
    """

    def __init__(self, path: Path, files: AssetFiles) -> None:
        self.name = path.stem
        self.files = files
        self._cache = TTLCache[pystac.Item](CACHE_TTL_S, CACHE_MAX_ITEMS)
        self._paths = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
        self._open_file = partial(_open_parquet_file, path.name)
        columns = {
            name for file in self._paths for name in self._open_file(file).schema_arrow.names
        }
        if not {"id", "assets", "bbox"} <= columns:
            raise SourceError(f"{path.name} is not stac-geoparquet")
        stamps = [(file, file.stat()) for file in self._paths]
        self.fingerprint: tuple[str, ...] = (
            str(path.resolve()),
            *(f"{file.name} {found.st_size} {found.st_mtime_ns}" for file, found in stamps),
        )

    @property
    def collections(self) -> frozenset[str] | None:
        """Not known without reading all of it."""
        return None

    def search(self, search: Search, deadline: float) -> list[pystac.Item]:
        """Items that match, see `imagery.stac.catalogs.base.Catalog`."""
        return select_items(self._find_items(search, deadline), search)

    def availability(self, search: Search, deadline: float) -> Availability:
        """What there is around a search, see `imagery.stac.catalogs.base.Catalog`."""
        here = select_items(self._find_items(search.at_any_time, deadline), search.at_any_time)
        return Availability(
            times=tuple(item_time(item) for item in here),
            complete=True,
            cloud_percentages=tuple(
                item_cloud_pct(item, search)
                for item in here
                if item_matches(item, search.without_cloud_limit)
            ),
        )

    def _find_items(self, search: Search, deadline: float) -> list[pystac.Item]:
        """Items that may match."""
        return self._cache.get_or_load(
            repr(search), lambda: list(self._scan_files(search, deadline))
        )

    def _scan_files(self, search: Search, deadline: float) -> Iterator[pystac.Item]:
        count = 0
        for path in self._paths:
            file = self._open_file(path)
            for part in range(file.num_row_groups):
                if time.monotonic() > deadline:
                    raise SourceUnavailable(
                        f"searching {self.name!r} did not end in the time that it has"
                    )
                for row in _matching_rows(file, part, search):
                    item = pystac.Item.from_dict(row_to_item(row), href=str(path))
                    item.make_asset_hrefs_absolute()
                    item.clear_links()
                    count += 1
                    if count > MAX_ITEMS:
                        raise SourceError(
                            f"the source {self.name!r} has more than {MAX_ITEMS} scenes of this "
                            "place in the window; take a shorter window"
                        )
                    yield item


def _open_parquet_file(catalog_name: str, path: Path) -> Any:
    try:
        from pyarrow.parquet import ParquetFile
    except ModuleNotFoundError as error:
        raise SourceError(
            "stac-geoparquet needs a library; run `pip install 'geobento[geoparquet]'`"
        ) from error
    try:
        return ParquetFile(path)
    except Exception as error:
        raise SourceError(
            f"the STAC catalog {catalog_name} cannot be read ({type(error).__name__})"
        ) from error


def _matching_rows(file: Any, row_group: int, search: Search) -> list[dict[str, Any]]:
    """The rows of a part of a file that may match."""
    try:
        if not _ranges_may_match(_column_ranges(file.metadata.row_group(row_group)), search):
            return []
        held = [name for name in FILTER_COLUMNS if name in file.schema_arrow.names]
        keys = file.read_row_group(row_group, columns=held).to_pylist()
        wanted = [number for number, row in enumerate(keys) if _row_may_match(row, search)]
        if not wanted:
            return []
        rows: list[dict[str, Any]] = file.read_row_group(row_group).take(wanted).to_pylist()
        return rows
    except GeoBentoError:
        raise
    except Exception as error:
        raise SourceError(f"a STAC catalog cannot be read ({type(error).__name__})") from error


def _column_ranges(row_group: Any) -> dict[str, tuple[Any, Any]]:
    """Least and greatest value of the columns of a part of a file, by their path."""
    found = {}
    for number in range(row_group.num_columns):
        column = row_group.column(number)
        statistics = column.statistics
        if statistics is not None and statistics.has_min_max and not statistics.null_count:
            found[column.path_in_schema] = (statistics.min, statistics.max)
    return found


def _ranges_may_match(ranges: Mapping[str, tuple[Any, Any]], search: Search) -> bool:
    """Whether there may be a match where the columns have these ranges. Pure."""
    _, south, _, north = search.bounds
    low, high = ranges.get("datetime", (None, None))
    if low is not None and isinstance(low, datetime) and low.tzinfo is not None:
        if search.end is not None and low >= search.end:
            return False
        if search.start is not None and high < search.start:
            return False
    return not (
        ("bbox.ymin" in ranges and ranges["bbox.ymin"][0] >= north)
        or ("bbox.ymax" in ranges and ranges["bbox.ymax"][1] <= south)
    )


def _row_may_match(row: Mapping[str, Any], search: Search) -> bool:
    """Whether an item is worth to be read whole. Pure."""
    stated = row.get("datetime") or row.get("start_datetime")
    if isinstance(stated, datetime) and stated.tzinfo is not None:
        early = search.start is not None and stated < search.start
        if early or (search.end is not None and stated >= search.end):
            return False
    if row.get("collection") not in (None, *search.collections):
        return False
    bbox = row.get("bbox")
    if not isinstance(bbox, Mapping):
        return True
    west, south, east, north = (bbox[name] for name in ("xmin", "ymin", "xmax", "ymax"))
    return (
        south <= search.bounds[3]
        and search.bounds[1] <= north
        and any(
            (west <= right and left <= east) if west <= east else (west <= right or left <= east)
            for left, right in longitude_spans(search.bounds)
        )
    )


def row_to_item(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as the JSON of an item. Pure.

    Columns that are not known are its properties. What is null was not stated, but for the time.
    """
    from shapely import from_wkb
    from shapely.geometry import mapping

    bbox, geometry = row["bbox"], row.get("geometry")
    if isinstance(bbox, Mapping):
        names = [name for name in ("xmin", "ymin", "zmin", "xmax", "ymax", "zmax") if name in bbox]
        bbox = [bbox[name] for name in names]
    properties = {name: value for name, value in row.items() if name not in ITEM_FIELDS}
    return {
        "type": "Feature",
        "stac_version": row.get("stac_version") or "1.0.0",
        "stac_extensions": row.get("stac_extensions") or [],
        "id": row["id"],
        "geometry": mapping(from_wkb(geometry)) if isinstance(geometry, bytes) else None,
        "bbox": bbox,
        "links": [],
        "assets": _without_nulls(row["assets"]),
        "collection": row.get("collection"),
        "properties": {"datetime": None, **_without_nulls(properties)},
    }


def _without_nulls(value: Any) -> Any:
    """JSON without what is null or binary."""
    if isinstance(value, Mapping):
        return {
            name: _without_nulls(entry)
            for name, entry in value.items()
            if entry is not None and not isinstance(entry, bytes)
        }
    if isinstance(value, list):
        return [_without_nulls(entry) for entry in value]
    return value.isoformat() if isinstance(value, datetime) else value
