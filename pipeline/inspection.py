"""Inspection without embedding: the plan of a request, and statistics of its pixels."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from typing import TypeVar, cast

from geobento.schemas.errors import GeoBentoError, ModelError
from geobento.schemas.plan import EmbeddingPlan, Inspection, RegionPlan
from geobento.schemas.requests import GeoEmbeddingRequest, InspectRequest
from geobento.schemas.responses import ErrorBody
from imagery.collections import registry
from imagery.quality.checks import quality_warnings
from imagery.quality.quicklook import render_quicklook
from imagery.quality.statistics import band_statistics
from imagery.source import FetchEstimate
from pipeline.assembly import metadata
from pipeline.engine import Engine
from pipeline.fetching.fetcher import FetchRequest
from pipeline.planning.compatibility import model_compatibility
from pipeline.planning.geo import GeoPlan
from pipeline.prepared_requests import raise_single_error

Result = TypeVar("Result")


def plan_embedding(engine: Engine, request: GeoEmbeddingRequest) -> EmbeddingPlan:
    """Plan a request without fetching pixels; sources are only searched for scenes.

    Raises:
        GeoBentoError: The request as a whole, or its only region, would fail. Where the sensor is
            invalid for the model, `detail` lists the compatibility of all models.
    """
    try:
        handle, imagery, plans = engine.plan_regions(request)
    except ModelError as error:
        if request.sensor is not None and (error.field or "").startswith("sensor"):
            models = model_compatibility(request.sensor, engine.registry.served())
            error.detail = {"models": [model.model_dump(mode="json") for model in models]}
        raise
    estimates = raise_single_error(map_plans(plans, engine.fetcher.estimate_all))
    card = handle.served.card
    return EmbeddingPlan(
        model=card.id,
        modality=imagery.modality,
        sensor=imagery.sensor,
        temporal=metadata.time_range(imagery.start, imagery.end),
        frames=imagery.frames,
        auxiliary=[auxiliary.modality for auxiliary in imagery.auxiliary],
        models=model_compatibility(
            replace(imagery.sensor, modality=None),
            engine.registry.served(),
            {card.id: request.config},
        ),
        regions=[
            ErrorBody.model_validate(estimate.body())
            if isinstance(estimate, GeoBentoError)
            else _region_plan(cast("GeoPlan", plan), estimate, handle.served.dim)
            for plan, estimate in zip(plans, estimates, strict=True)
        ],
    )


def inspect_patch(engine: Engine, request: InspectRequest) -> Inspection:
    """Fetch the pixels of a region and describe them.

    Implausible pixels are reported as warnings, whatever `check_input` and `check_raise` say.

    Raises:
        GeoBentoError: The request is invalid, or the pixels cannot be fetched.
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
        **metadata.imagery_meta_fields(
            query, sample, quality_warnings(sample, collection), query.grid
        ),
    )


def map_plans(
    plans: Sequence[GeoPlan | GeoBentoError],
    operation: Callable[[Sequence[FetchRequest]], Sequence[Result | GeoBentoError]],
) -> list[list[Result] | GeoBentoError]:
    """Apply an operation of the fetcher to all queries of all plans, in one call.

    Returns:
        The results of its queries, or the first error, per plan.
    """
    requests: list[list[FetchRequest]] = [
        [plan] if isinstance(plan, GeoBentoError) else [*plan.fetch_requests] for plan in plans
    ]
    results = iter(operation([request for group in requests for request in group]))
    return [_all_or_first_error(list(islice(results, len(group)))) for group in requests]


def _all_or_first_error(results: Sequence[Result | GeoBentoError]) -> list[Result] | GeoBentoError:
    successes: list[Result] = []
    for result in results:
        if isinstance(result, GeoBentoError):
            return result
        successes.append(result)
    return successes


def _region_plan(plan: GeoPlan, estimates: Sequence[FetchEstimate], dim: int) -> RegionPlan:
    main = estimates[0]
    return RegionPlan(
        grid=metadata.grid_meta(plan.query.grid),
        tiles=None if plan.tiling is None else metadata.tiles_meta(plan.tiling),
        inputs=1 if plan.tiling is None else len(plan.tiling),
        shape=None if plan.pooling is None else [dim],
        backend=main.provenance.backend,
        source=main.provenance.source,
        notice=main.provenance.notice,
        scenes=metadata.scenes_meta(main.provenance.scenes),
        auxiliary={
            query.modality: metadata.scenes_meta(estimate.provenance.scenes)
            for query, estimate in zip(plan.auxiliary, estimates[1:], strict=True)
        },
        requests=sum(estimate.requests for estimate in estimates),
        bytes=sum(estimate.bytes for estimate in estimates),
    )
