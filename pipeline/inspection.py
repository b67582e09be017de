"""Looking before leaping: what a request would do, and what its pixels are like."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from geobento.schemas.errors import GeoBentoError, ModelError
from geobento.schemas.plan import EmbeddingPlan, Inspection, RegionPlan
from geobento.schemas.requests import ErrorBody, GeoEmbeddingRequest, InspectRequest
from imagery.collections import registry
from imagery.quality.checks import quality_warnings
from imagery.quality.quicklook import render_quicklook
from imagery.quality.statistics import band_statistics
from imagery.source import FetchEstimate
from pipeline.assembly import embedding
from pipeline.engine import Engine, map_regions
from pipeline.planning.compatibility import model_compatibility
from pipeline.planning.geo import GeoPlan
from pipeline.prepared_requests import raise_single_error


def plan_embedding(engine: Engine, request: GeoEmbeddingRequest) -> EmbeddingPlan:
    """What a request would do; a source is asked for scenes alone.

    Raises:
        GeoBentoError: The request as a whole, or its only region, would fail. Where its sensor is
            at fault, `detail` says which models it fits.
    """
    try:
        opened, imagery, plans = engine.plan_regions(request)
    except ModelError as error:
        if request.sensor is not None and (error.field or "").startswith("sensor"):
            models = model_compatibility(request.sensor, engine.registry.served())
            error.detail = {"models": [fit.model_dump(mode="json") for fit in models]}
        raise
    surveys = map_regions(plans, engine.fetcher.estimate_all)
    card = opened.served.card
    return EmbeddingPlan(
        model=card.id,
        modality=imagery.modality,
        sensor=imagery.sensor,
        temporal=embedding.time_range(imagery.start, imagery.end),
        frames=imagery.frames,
        auxiliary=[one.modality for one in imagery.auxiliary],
        models=model_compatibility(
            replace(imagery.sensor, modality=None),
            engine.registry.served(),
            {card.id: request.config},
        ),
        regions=[
            ErrorBody.model_validate(found.body())
            if isinstance(found, GeoBentoError)
            else _region_plan(cast("GeoPlan", plan), found, opened.served.dim)
            for plan, found in zip(plans, raise_single_error(surveys), strict=True)
        ],
    )


def inspect_patch(engine: Engine, request: InspectRequest) -> Inspection:
    """Fetch the pixels of a region and describe them.

    What is odd about them is a warning, whatever `check_input` and `check_raise` say.

    Raises:
        GeoBentoError: The pixels cannot be had.
    """
    query = engine.patch_query(request)
    (sample,) = raise_single_error(engine.fetcher.fetch_all([(request.backend, query)]))
    assert not isinstance(sample, GeoBentoError)
    collection = registry.get(query.sensor.collection)
    image = io.BytesIO()
    render_quicklook(sample).save(image, "PNG")
    return Inspection(
        modality=query.modality or None,
        units=collection.units,
        bands=band_statistics(sample),
        quicklook=image.getvalue(),
        **embedding.imagery_meta_fields(
            query, sample, quality_warnings(sample, collection), query.grid
        ),
    )


def _region_plan(plan: GeoPlan, estimates: Sequence[FetchEstimate], dim: int) -> RegionPlan:
    survey = estimates[0]
    return RegionPlan(
        grid=embedding.grid_meta(plan.query.grid),
        tiles=None if plan.tiling is None else embedding.tiles_meta(plan.tiling),
        inputs=1 if plan.tiling is None else len(plan.tiling),
        shape=None if plan.pooling is None else [dim],
        backend=survey.provenance.backend,
        source=survey.provenance.source,
        notice=survey.provenance.notice,
        scenes=embedding.scenes_meta(survey.provenance.scenes),
        auxiliary={
            query.modality: embedding.scenes_meta(other.provenance.scenes)
            for query, other in zip(plan.auxiliary, estimates[1:], strict=True)
        },
        requests=sum(one.requests for one in estimates),
        bytes=sum(one.bytes for one in estimates),
    )
