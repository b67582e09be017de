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
"""Size of a value as it is held once it is read."""


class StacSource:
    """A source over a STAC catalog.

    Args:
        catalog: Where items are found.
        timeout_s: Longest time for one fetch.
        backend: Word of the public ``backend`` parameter.
        notice: What every answer has to say about this imagery.
        name: What answers call the source; the catalog's own id if None.
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
        """The word of the public ``backend`` parameter."""
        return self._backend

    def fetch(self, query: ImageQuery) -> Sample:
        """One composite, or one per frame, see `imagery.source.Source`."""
        deadline = time.monotonic() + self._timeout_s
        collection = self._get_collection(query)
        plan = self._plan_scenes(query, collection, deadline)
        groups = [
            [plan[at] for at in pass_] for pass_ in item_passes([scene.item for scene in plan])
        ]
        # Frame by frame, so that not all scenes are in memory at a time.
        parts = time_bins.split_passes(groups, lambda scene: item_time(scene.item), query)
        found = [
            self._read_frame(number, scenes, query, deadline) for number, scenes in parts.items()
        ]
        seen = [frame for frame in found if frame is not None]
        if not seen:
            raise self._no_imagery_error(query, build_search(query, collection), deadline)
        used = sorted(
            (scene for frame in seen for scene in frame.scenes), key=lambda scene: scene.time
        )
        return time_bins.assemble_sample(seen, query, self._provenance(used, collection))

    def _read_frame(
        self,
        index: int,
        passes: Sequence[Sequence[SceneRead]],
        query: ImageQuery,
        deadline: float,
    ) -> Frame | None:
        """The composite of some passes; None: they show nothing."""
        collection = self._get_collection(query)
        plan = sorted(
            (scene for group in passes for scene in group),
            key=lambda scene: (item_time(scene.item), scene.item.id),
        )
        stack, valid = read_scenes(plan, query.grid, collection, self._catalog, deadline)
        seen = np.asarray(valid.any(axis=(1, 2, 3)))
        if not seen.any():
            return None
        used = [scene for scene, shows in zip(plan, seen, strict=True) if shows]
        looks, has_data = fuser(
            stack[seen], valid[seen], item_passes([scene.item for scene in used])
        )
        pixels, whole = composite(looks, has_data, query.sensor.composite, query.sensor.fill_value)
        return Frame(index, pixels, whole, tuple(to_scene(scene, collection) for scene in used))

    def estimate(self, query: ImageQuery) -> FetchEstimate:
        """The scenes of a fetch, see `imagery.source.Source`.

        A request is the reading of a file. Its bytes are those of the place's pixels as they are
        held once read; files hold less.
        """
        collection = self._get_collection(query)
        plan = self._plan_scenes(query, collection, time.monotonic() + self._timeout_s)
        bands = sum(len(scene.assets) + (scene.mask is not None) for scene in plan)
        height, width = query.grid.shape
        scenes = [to_scene(scene, collection) for scene in plan]
        origin = self._provenance(scenes, collection)
        return FetchEstimate(
            origin, sum(map(count_files, plan)), bands * height * width * BYTES_PER_VALUE
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
        """What to read for a query; at least one scene."""
        search = build_search(query, collection)
        found = self._catalog.search(search, deadline)
        if not found:
            raise self._no_imagery_error(query, search, deadline)
        plan = plan_reads(found, query.sensor.bands, collection)
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
        """The error for an empty result, with what the catalog does hold at this place."""
        holdings = self._catalog.availability(search, deadline)
        times = holdings.times
        nearest = min(
            times, key=lambda time: max(query.start - time, time - query.end), default=None
        )
        stated = [cloud for cloud in holdings.cloud_percentages if cloud is not None]
        window = f"{query.start.date()} to {query.end.date()}"
        limit = (
            f" with at most {search.max_cloud_pct:g} % cloud"
            if search.max_cloud_pct is not None
            else ""
        )
        if nearest is None:
            reason = "it has none of this place at any time" if holdings.complete else "it has none"
        elif holdings.complete:
            reason = (
                f"of this place it has {len(times)} scenes from {times[0].date()} to "
                f"{times[-1].date()}"
            )
        else:
            reason = f"of this place the nearest scene is of {nearest.date()}"
        if holdings.cloud_percentages:
            reason += f", in the window {len(holdings.cloud_percentages)}"
            reason += f" with {min(stated):g} % cloud or more" if stated else ""
        return NoImageryError(
            f"the source {self._name!r} has no usable pixel of "
            f"{query.sensor.collection} for {window}{limit}; {reason}",
            detail={
                "collection": query.sensor.collection,
                "source": self._name,
                "scenes_in_window": len(holdings.cloud_percentages),
                "too_cloudy": count_too_cloudy(stated, query.sensor),
                "min_cloud_pct": min(stated, default=None),
                "scenes_at_any_time": len(times) if holdings.complete else None,
                "first": times[0].isoformat() if times and holdings.complete else None,
                "last": times[-1].isoformat() if times and holdings.complete else None,
                "nearest": nearest.isoformat() if nearest else None,
            },
        )
