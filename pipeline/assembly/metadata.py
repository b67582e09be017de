"""Metadata of imagery as responses and plans state it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np

from geobento.schemas.embedding import FramesMeta, SceneMeta, TilesMeta, TimeRange
from geobento.schemas.grid import GridMeta
from geobento.schemas.sample import PixelGrid, Sample, Scene
from imagery.grid import lonlat_corners
from imagery.query import ImageQuery
from pipeline.planning.tiling import Tiling


def imagery_meta_fields(
    query: ImageQuery | None, sample: Sample, warnings: Sequence[str], output_grid: PixelGrid | None
) -> dict[str, Any]:
    """The fields of `ImageryMeta`.

    Args:
        query: The fetch; None for user-supplied pixels.
        sample: The imagery, with its provenance.
        warnings: Warnings about it.
        output_grid: Grid of the response's data; None where it is not known.
    """
    provenance = sample.provenance
    assert provenance is not None
    pixels = sample.grid if query is None else query.grid
    return {
        "backend": provenance.backend,
        "source": provenance.source,
        "notice": provenance.notice,
        "sensor": None if query is None else query.sensor,
        "temporal": None if query is None else time_range(query.start, query.end),
        "frames": frames_meta(query, sample),
        "scenes": scenes_meta(provenance.scenes),
        "offset_applied": None
        if query is None
        else any(scene.offset_applied for scene in provenance.scenes),
        "cached": sample.cached,
        "valid_fraction": 1.0 if sample.valid is None else round(float(sample.valid.mean()), 6),
        "warnings": list(warnings),
        "crs": None if output_grid is None else output_grid.crs,
        "transform": None if output_grid is None else output_grid.transform,
        "footprint": None if pixels is None else _footprint(pixels),
        "pixels": None if pixels is None else grid_meta(pixels),
    }


def frames_meta(query: ImageQuery | None, sample: Sample) -> FramesMeta | None:
    """The frames of a time series; None for a single image.

    Args:
        query: The fetch; None for user-supplied pixels, whose frames are all present.
        sample: The imagery.
    """
    if query is None:
        is_series = sample.valid is not None and sample.valid.ndim == 3
        requested = len(sample.times) if is_series else 1
        parts = tuple(range(len(sample.times)))
    else:
        requested, parts = query.frames, sample.parts
    if requested == 1:
        return None
    return FramesMeta(
        requested=requested,
        distinct=len(parts),
        dropped=[part for part in range(requested) if part not in parts],
        times=[format_utc(time) for time in sample.times],
    )


def grid_meta(grid: PixelGrid) -> GridMeta:
    """A pixel grid."""
    return GridMeta(crs=grid.crs, transform=grid.transform, height=grid.height, width=grid.width)


def tiles_meta(tiles: Tiling) -> TilesMeta:
    """The tiles of a region."""
    return TilesMeta(size=tiles.size, rows=list(tiles.rows), columns=list(tiles.columns))


def scenes_meta(scenes: Sequence[Scene]) -> list[SceneMeta]:
    """The scenes of an image."""
    return [
        SceneMeta(
            id=scene.id,
            time=format_utc(scene.time),
            cloud_pct=scene.cloud_pct,
            processing=scene.processing,
            offset_applied=scene.offset_applied,
        )
        for scene in scenes
    ]


def time_range(start: datetime, end: datetime) -> TimeRange:
    """A half-open time window."""
    return TimeRange(start=format_utc(start), end=format_utc(end))


def format_utc(time: datetime) -> str:
    """A time in UTC as ISO 8601 with the suffix Z."""
    return time.isoformat().replace("+00:00", "Z")


def _footprint(grid: PixelGrid) -> list[tuple[float, float]] | None:
    """The corners of a grid as (longitude, latitude); None where one cannot be projected."""
    corners = lonlat_corners(grid)
    return corners if np.isfinite(corners).all() else None
