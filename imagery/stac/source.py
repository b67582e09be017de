"""Imagery from a STAC catalog: search, plan, read, composite."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from geobento.schemas.errors import ModelError, NoImageryError
from geobento.schemas.sample import Provenance, Sample, Scene
from imagery import time_bins
from imagery.collections.schema import Collection
from imagery.compositing import composite, fuser
from imagery.query import ImageQuery
from imagery.scenes import count_too_cloudy, filter_radar_scenes
from imagery.source import FetchEstimate
from imagery.stac.catalogs.base import Catalog, Search, item_time
from imagery.stac.loader import read_scenes
from imagery.stac.planner import (
    SceneRead,
    build_search,
    count_files,
    get_stac_collection,
    item_passes,
    plan_reads,
    radar_mode_and_direction,
    to_scene,
)
from imagery.time_bins import Frame

BYTES_PER_VALUE = 4
"""Bytes of a pixel value in memory."""


class StacSource:
    """Imagery from a STAC catalog.

    Args:
        catalog: Catalog to search.
        timeout_s: Timeout of one fetch, seconds.
        backend: Value of the public ``backend`` parameter that selects this source.
        notice: Notice that every response carries.
        name: Name in responses; None for the catalog's own name.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        timeout_s: float = 60.0,
        backend: str = "stac",
        notice: str | None = None,
        name: str | None = None,
    ) -> None:
        self._catalog = catalog
        self._timeout_s = timeout_s
        self._backend = backend
        self._notice = notice
        self._name_override = name

    @property
    def backend(self) -> str:
        """Value of the public ``backend`` parameter that selects this source."""
        return self._backend

    def fetch(self, query: ImageQuery) -> Sample:
        """Fetch one composite, or one per frame, see `imagery.source.Source`."""
        deadline = time.monotonic() + self._timeout_s
        collection = self._get_collection(query)
        plan = self._plan_scenes(query, collection, deadline)
        passes = [
            [plan[position] for position in positions]
            for positions in item_passes([scene.item for scene in plan])
        ]
        bins = time_bins.split_passes(passes, lambda scene: item_time(scene.item), query)
        # Frame by frame, so that only the scenes of one frame are in memory.
        composites = [
            self._read_frame(index, members, query, deadline) for index, members in bins.items()
        ]
        frames = [frame for frame in composites if frame is not None]
        if not frames:
            raise self._no_imagery_error(query, build_search(query, collection), deadline)
        used = sorted(
            (scene for frame in frames for scene in frame.scenes), key=lambda scene: scene.time
        )
        return time_bins.assemble_sample(frames, query, self._provenance(used, collection))

    def _read_frame(
        self,
        index: int,
        passes: Sequence[Sequence[SceneRead]],
        query: ImageQuery,
        deadline: float,
    ) -> Frame | None:
        """The composite of a time bin; None if it has no valid pixel."""
        collection = self._get_collection(query)
        plan = sorted(
            (scene for group in passes for scene in group),
            key=lambda scene: (item_time(scene.item), scene.item.id),
        )
        stack, valid = read_scenes(plan, query.grid, collection, self._catalog, deadline)
        has_pixels = np.asarray(valid.any(axis=(1, 2, 3)))
        if not has_pixels.any():
            return None
        used = [scene for scene, is_used in zip(plan, has_pixels, strict=True) if is_used]
        images, images_valid = fuser(
            stack[has_pixels], valid[has_pixels], item_passes([scene.item for scene in used])
        )
        pixels, pixels_valid = composite(
            images, images_valid, query.sensor.composite, query.sensor.fill_value
        )
        scenes = tuple(to_scene(scene, collection) for scene in used)
        return Frame(index, pixels, pixels_valid, scenes)

    def estimate(self, query: ImageQuery) -> FetchEstimate:
        """Find the scenes of a fetch, see `imagery.source.Source`.

        One request is one file. Bytes are those of the pixels in memory; the files are smaller.
        """
        collection = self._get_collection(query)
        plan = self._plan_scenes(query, collection, time.monotonic() + self._timeout_s)
        bands = sum(len(scene.assets) + (scene.mask is not None) for scene in plan)
        height, width = query.grid.shape
        scenes = [to_scene(scene, collection) for scene in plan]
        provenance = self._provenance(scenes, collection)
        return FetchEstimate(
            provenance, sum(map(count_files, plan)), bands * height * width * BYTES_PER_VALUE
        )

    def _get_collection(self, query: ImageQuery) -> Collection:
        collection = get_stac_collection(
            query.sensor.collection, self._name, self._catalog.collections
        )
        if query.sensor.cloud_mask == "cloud_score_plus":
            raise ModelError(
                f"the source {self._name!r} has no Cloud Score+; Earth Engine has it (backend "
                "'gee'). Accepted here: 'quality_band'",
                field="sensor.cloud_mask",
            )
        return collection

    def _plan_scenes(
        self, query: ImageQuery, collection: Collection, deadline: float
    ) -> list[SceneRead]:
        """The reads of a query, at least one scene."""
        search = build_search(query, collection)
        items = self._catalog.search(search, deadline)
        if not items:
            raise self._no_imagery_error(query, search, deadline)
        plan = plan_reads(items, query.sensor.bands, collection)
        if collection.gee.radar:
            plan = filter_radar_scenes(plan, query.sensor, radar_mode_and_direction)
            if not plan:
                raise self._no_imagery_error(query, search, deadline)
        return plan

    def _provenance(self, scenes: Sequence[Scene], collection: Collection) -> Provenance:
        notice = self._notice or collection.attribution
        return Provenance(self._backend, self._name, tuple(scenes), notice)

    @property
    def _name(self) -> str:
        return self._catalog.name if self._name_override is None else self._name_override

    def _no_imagery_error(
        self, query: ImageQuery, search: Search, deadline: float
    ) -> NoImageryError:
        """The error for an empty result. Its detail describes the region's scenes that do exist."""
        availability = self._catalog.availability(search, deadline)
        times = availability.times
        nearest = min(
            times, key=lambda time: max(query.start - time, time - query.end), default=None
        )
        percentages = [cloud for cloud in availability.cloud_percentages if cloud is not None]
        window = f"{query.start.date()} to {query.end.date()}"
        limit = (
            f" with at most {search.max_cloud_pct:g} % cloud"
            if search.max_cloud_pct is not None
            else ""
        )
        if nearest is None:
            reason = (
                "it has none of this region at any time" if availability.complete else "it has none"
            )
        elif availability.complete:
            reason = (
                f"of this region it has {len(times)} scenes from {times[0].date()} to "
                f"{times[-1].date()}"
            )
        else:
            reason = f"of this region the nearest scene is of {nearest.date()}"
        if availability.cloud_percentages:
            reason += f", in the window {len(availability.cloud_percentages)}"
            reason += f" with {min(percentages):g} % cloud or more" if percentages else ""
        return NoImageryError(
            f"the source {self._name!r} has no usable pixel of "
            f"{query.sensor.collection} for {window}{limit}; {reason}",
            detail={
                "collection": query.sensor.collection,
                "source": self._name,
                "scenes_in_window": len(availability.cloud_percentages),
                "too_cloudy": count_too_cloudy(percentages, query.sensor),
                "min_cloud_pct": min(percentages, default=None),
                "scenes_at_any_time": len(times) if availability.complete else None,
                "first": times[0].isoformat() if times and availability.complete else None,
                "last": times[-1].isoformat() if times and availability.complete else None,
                "nearest": nearest.isoformat() if nearest else None,
            },
        )
