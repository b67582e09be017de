"""Catalogs in stac-geoparquet: a file with one row per item, or a folder of such files."""

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
    CACHE_MAX_ITEMS,
    CACHE_TTL_S,
    Availability,
    Search,
    item_cloud_pct,
    item_matches,
    item_time,
    longitude_spans,
    select_items,
)
from imagery.stac.files import AssetFiles

MAX_ITEMS = 20_000
"""Maximum number of items of one search."""
ITEM_FIELDS = frozenset(
    {"type", "stac_version", "stac_extensions", "id", "geometry", "bbox", "links", "assets",
     "collection"}
)  # fmt: skip
"""Columns that are item fields. All others are item properties."""
FILTER_COLUMNS = ("bbox", "collection", "datetime", "start_datetime")
"""Columns that a search reads first, to select rows."""


class ParquetCatalog:
    """A stac-geoparquet file on disk, or a folder of them. Thread-safe.

    Only recent search results are kept in memory. A search skips row groups whose column
    statistics rule out a match, reads the filter columns of the others, and reads all columns only
    of row groups with a match.

    Args:
        path: The file, or a folder of files that end in ``.parquet``.
        files: Access to the files of its items.

    Raises:
        SourceError: The file is missing or not stac-geoparquet, or pyarrow is not installed.
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
            *(f"{file.name} {stat.st_size} {stat.st_mtime_ns}" for file, stat in stamps),
        )

    @property
    def collections(self) -> frozenset[str] | None:
        """Unknown without a full scan."""
        return None

    def search(self, search: Search, deadline: float) -> list[pystac.Item]:
        """Find items, see `imagery.stac.catalogs.base.Catalog`."""
        return select_items(self._find_items(search, deadline), search)

    def availability(self, search: Search, deadline: float) -> Availability:
        """Describe nearby scenes, see `imagery.stac.catalogs.base.Catalog`."""
        items = select_items(self._find_items(search.at_any_time, deadline), search.at_any_time)
        return Availability(
            times=tuple(item_time(item) for item in items),
            complete=True,
            cloud_percentages=tuple(
                item_cloud_pct(item, search)
                for item in items
                if item_matches(item, search.without_cloud_limit)
            ),
        )

    def _find_items(self, search: Search, deadline: float) -> list[pystac.Item]:
        """Cached or new candidates of a search."""
        return self._cache.get_or_load(
            repr(search), lambda: list(self._scan_files(search, deadline))
        )

    def _scan_files(self, search: Search, deadline: float) -> Iterator[pystac.Item]:
        count = 0
        for path in self._paths:
            file = self._open_file(path)
            for row_group in range(file.num_row_groups):
                if time.monotonic() > deadline:
                    raise SourceUnavailable(
                        f"the search of {self.name!r} did not end before the timeout"
                    )
                for row in _matching_rows(file, row_group, search):
                    item = pystac.Item.from_dict(row_to_item(row), href=str(path))
                    item.make_asset_hrefs_absolute()
                    item.clear_links()
                    count += 1
                    if count > MAX_ITEMS:
                        raise SourceError(
                            f"the source {self.name!r} has more than {MAX_ITEMS} scenes of this "
                            "region in the window; take a shorter window"
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
    """The rows of a row group that may match."""
    try:
        if not _ranges_may_match(_column_ranges(file.metadata.row_group(row_group)), search):
            return []
        columns = [name for name in FILTER_COLUMNS if name in file.schema_arrow.names]
        keys = file.read_row_group(row_group, columns=columns).to_pylist()
        matches = [number for number, row in enumerate(keys) if _row_may_match(row, search)]
        if not matches:
            return []
        rows: list[dict[str, Any]] = file.read_row_group(row_group).take(matches).to_pylist()
        return rows
    except GeoBentoError:
        raise
    except Exception as error:
        raise SourceError(f"a STAC catalog cannot be read ({type(error).__name__})") from error


def _column_ranges(row_group: Any) -> dict[str, tuple[Any, Any]]:
    """Minimum and maximum of the columns of a row group, by column path."""
    ranges = {}
    for number in range(row_group.num_columns):
        column = row_group.column(number)
        statistics = column.statistics
        if statistics is not None and statistics.has_min_max and not statistics.null_count:
            ranges[column.path_in_schema] = (statistics.min, statistics.max)
    return ranges


def _ranges_may_match(ranges: Mapping[str, tuple[Any, Any]], search: Search) -> bool:
    """Whether a row group with these column ranges may contain a match. Pure."""
    _, south, _, north = search.bounds
    low, high = ranges.get("datetime", (None, None))
    if low is not None and isinstance(low, datetime) and low.tzinfo is not None:
        if search.end is not None and low >= search.end:
            return False
        if search.earliest is not None and high < search.earliest:
            return False
    return not (
        ("bbox.ymin" in ranges and ranges["bbox.ymin"][0] >= north)
        or ("bbox.ymax" in ranges and ranges["bbox.ymax"][1] <= south)
    )


def _row_may_match(row: Mapping[str, Any], search: Search) -> bool:
    """Whether a row may match, by its filter columns. Pure."""
    time = row.get("datetime") or row.get("start_datetime")
    if isinstance(time, datetime) and time.tzinfo is not None:
        early = search.earliest is not None and time < search.earliest
        if early or (search.end is not None and time >= search.end):
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

    Columns other than item fields become properties. Null values are dropped, except for the
    datetime.
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
    """JSON without null and binary values."""
    if isinstance(value, Mapping):
        return {
            name: _without_nulls(entry)
            for name, entry in value.items()
            if entry is not None and not isinstance(entry, bytes)
        }
    if isinstance(value, list):
        return [_without_nulls(entry) for entry in value]
    return value.isoformat() if isinstance(value, datetime) else value
