"""A request's way through the house, in two halves around the forward pass.

The first half (resolve, fetch or decode, prepare) is here and turns a request into a job; an
encoder, in this process or in another, works on the job's items; the second half, in the job,
makes the answers. Both halves block and belong into a thread where an event loop runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import islice
from typing import Any, TypeVar, cast

from geobento.config.settings import Settings
from geobento.observability import metrics, request_context
from geobento.schemas.embedding import TextMeta
from geobento.schemas.errors import GeoBentoError, ModelError, PayloadTooLarge
from geobento.schemas.requests import (
    GeoEmbeddingRequest,
    ImageEmbeddingRequest,
    InspectRequest,
    PixelEmbeddingRequest,
    TextEmbeddingRequest,
    ZeroShotRequest,
)
from geobento.schemas.sample import Sample
from imagery.query import ImageQuery
from inference.types import EncodeItem, Pooling
from models.base import Model
from pipeline.assembly import embedding
from pipeline.fetching.fetcher import FetchRequest, ImageryFetcher
from pipeline.inputs import images as inputs_images
from pipeline.inputs import raster_uploads
from pipeline.inputs.image_urls import ImageUrlFetcher
from pipeline.inputs.input_checks import check_pixels
from pipeline.model_registry import ModelHandle, ModelRegistry
from pipeline.planning import temporal
from pipeline.planning.geo import (
    GeoPlan,
    check_image_request,
    check_text_request,
    is_unit_length,
    plan_geo,
)
from pipeline.planning.imagery import ImageryPlan, plan_patch
from pipeline.planning.limits import Limits
from pipeline.planning.tiling import Tiling
from pipeline.planning.user_pixels import plan_user_pixels
from pipeline.prepared_requests import PreparedEmbeddings, PreparedEntry, PreparedZeroShot

_USER_PIXELS_FIELDS = {
    "spatial": "pixels",
    "sensor": "pixels",
    "sensor.bands": "bands",
    "temporal": "times",
}
"""What is at fault in own data, by the parameter that it is where pixels are fetched."""

Result = TypeVar("Result")


class Engine:
    """The first half, for a set of models.

    Args:
        registry: What is served.
        settings: Limits and sources.
        fetcher: Where imagery comes from; None: as the settings say.
        allow_saving: Whether images of pixels may be written to folders that requests name.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        settings: Settings,
        fetcher: ImageryFetcher | None = None,
        *,
        allow_saving: bool = False,
    ) -> None:
        self._limits = Limits(settings.max_region_pixels, allow_saving)
        self.registry = registry
        self._settings = settings
        self.fetcher = fetcher or ImageryFetcher.from_settings(settings)

    def prepare_images(self, request: ImageEmbeddingRequest) -> PreparedEmbeddings:
        """First half for images: check, decode, prepare.

        Raises:
            GeoBentoError: The request as a whole cannot be answered.
        """
        opened = self.registry.find(request.model, request.config)
        check_image_request(opened.served.card, request)
        entries = self._image_entries(opened, request, request.normalize)
        return PreparedEmbeddings(opened.served.tag, entries)

    def prepare_texts(self, request: TextEmbeddingRequest) -> PreparedEmbeddings:
        """First half for texts: check, tokenize.

        Raises:
            GeoBentoError: The request as a whole cannot be answered.
        """
        opened = self.registry.find(request.model, request.config)
        check_text_request(opened.served.card, request)
        entries = self._text_entries(opened, request.texts, "texts", request.normalize)
        return PreparedEmbeddings(opened.served.tag, entries)

    def prepare_zero_shot(self, request: ZeroShotRequest) -> PreparedZeroShot:
        """First half for images with classes: check, decode, tokenize, prepare.

        Raises:
            GeoBentoError: The request as a whole cannot be answered.
        """
        opened = self.registry.find(request.model, request.config)
        check_image_request(opened.served.card, request)
        check_text_request(opened.served.card, request)
        classes = self._text_entries(opened, request.prompts, "classes", True)
        for entry in classes:
            if isinstance(entry, GeoBentoError):
                raise entry
        return PreparedZeroShot(
            opened.served.tag,
            self._image_entries(opened, request, True),
            classes,
            opened.model.logit_scale,
            request.template,
        )

    def prepare_regions(self, request: GeoEmbeddingRequest) -> PreparedEmbeddings:
        """First half for regions: resolve, fetch, prepare.

        Raises:
            GeoBentoError: The request as a whole cannot be answered.
        """
        opened, _, plans = self.plan_regions(request)
        entries = self.fetcher.map_regions(
            [plan if isinstance(plan, GeoBentoError) else plan.fetch_requests for plan in plans],
            lambda position, samples, seconds: _region_entry(
                opened, cast("GeoPlan", plans[position]), samples, request.config, seconds * 1000
            ),
        )
        return PreparedEmbeddings(opened.served.tag, entries)

    def plan_regions(
        self, request: GeoEmbeddingRequest
    ) -> tuple[ModelHandle, ImageryPlan, list[GeoPlan | GeoBentoError]]:
        """The model, what is fetched of every region, and the plan or error of each.

        Its source is open, unless no region needs it.

        Raises:
            GeoBentoError: The request as a whole cannot be answered.
        """
        opened = self.registry.find(request.model, request.config, request.modality)
        self._check_item_count(len(request.regions), "spatials")
        _check_device(opened, request.device)
        imagery, plans = plan_geo(
            opened.served.card,
            request,
            served_modalities=opened.model.modalities(),
            limits=self._limits,
        )
        asked = [one for plan in plans if isinstance(plan, GeoPlan) for one in plan.fetch_requests]
        self.fetcher.ensure_source(asked)
        return opened, imagery, plans

    def patch_query(self, request: InspectRequest) -> ImageQuery:
        """The fetch of an inspection.

        Raises:
            GeoBentoError: The request cannot be answered.
        """
        if request.model is None:
            return plan_patch(None, request, served_modalities=(), limits=self._limits)
        opened = self.registry.find(request.model, modality=request.modality)
        served = opened.model.modalities()
        return plan_patch(
            opened.served.card, request, served_modalities=served, limits=self._limits
        )

    def prepare_pixels(self, request: PixelEmbeddingRequest) -> PreparedEmbeddings:
        """First half for pixels that came with the request: decode, resolve, prepare.

        Raises:
            GeoBentoError: The request cannot be answered.
        """
        opened = self.registry.find(request.model, request.config, request.modality)
        _check_device(opened, request.device)
        start = time.perf_counter()
        file = raster_uploads.read_raster(request.pixels, self._settings.max_region_pixels)
        plan = plan_user_pixels(
            opened.served.card,
            request,
            file,
            served_modalities=opened.model.modalities(),
            limits=self._limits,
        )
        try:
            model = opened.model.with_options(request.config)
            items = _encode_items(model, plan.sample, plan.tiling, plan.encode_pooling)
        except GeoBentoError as error:
            error.field = _USER_PIXELS_FIELDS.get(error.field or "", error.field)
            raise
        context = embedding.ResponseContext(
            opened.served,
            plan.sample.modality,
            plan.pooling,
            is_unit_length(opened.served.card, plan.sample.modality, plan.pooling),
            opened.precision,
            sample=plan.sample.without_pixels(),
            config=request.config,
            tiling=plan.tiling,
            warnings=plan.warnings,
            timing_ms={"prepare": (time.perf_counter() - start) * 1000},
        )
        return PreparedEmbeddings(opened.served.tag, [(items, context)])

    def warm_up(self) -> None:
        """Open every tokenizer, so that a damaged one stops the start and no request waits.

        Raises:
            ModelStoreError: A tokenizer is not what was saved.
        """
        for opened in self.registry.handles:
            text = opened.served.card.text
            if text is not None and text.modality in opened.served.modalities:
                opened.model.prepare_text("warm")

    def _check_item_count(self, count: int, field: str) -> None:
        if count > self._settings.max_client_batch_size:
            raise PayloadTooLarge(
                f"{count} items in one request; accepted: up to {self._settings.max_client_batch_size}",
                field=field,
                detail={"items": count, "limit": self._settings.max_client_batch_size},
            )

    def _image_entries(
        self,
        handle: ModelHandle,
        request: ImageEmbeddingRequest | ZeroShotRequest,
        normalize: bool | None,
    ) -> list[PreparedEntry]:
        handle.model.image_input(request.config.get("preprocessing"))
        self._check_item_count(len(request.images), "images")
        return [
            self._image_entry(handle, request, payload, position, normalize)
            for position, payload in enumerate(self._download_images(request.images))
        ]

    def _download_images(self, images: Sequence[str | bytes]) -> list[str | bytes | GeoBentoError]:
        """The images as they came, those given by URL as what is found there."""
        fetcher = self._url_fetcher
        if fetcher is None or not any(map(inputs_images.is_url, images)):
            return list(images)
        with request_context.stage("fetch"):
            return list(
                self._download_pool.map(lambda image: _download_image(fetcher, image), images)
            )

    @cached_property
    def _url_fetcher(self) -> ImageUrlFetcher | None:
        if not self._settings.allow_image_urls:
            return None
        return ImageUrlFetcher(
            max_bytes=int(self._settings.max_body_mb * 2**20),
            timeout_s=self._settings.url_timeout_s,
        )

    @cached_property
    def _download_pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._settings.fetch_threads, "image-urls")

    def _text_entries(
        self, handle: ModelHandle, texts: Sequence[str], field: str, normalize: bool | None
    ) -> list[PreparedEntry]:
        spec = handle.model.card.text
        assert spec is not None
        handle.model.tokenizer  # noqa: B018 - raises where there is none, for the request as a whole
        self._check_item_count(len(texts), field)
        entries: list[PreparedEntry] = []
        for position, text in enumerate(texts):
            try:
                tokens = handle.model.prepare_text(text)
            except GeoBentoError as error:
                error.field = f"{field}.{position}"
                entries.append(error)
                continue
            context = embedding.ResponseContext(
                handle.served,
                spec.modality,
                "native",
                spec.normalize if normalize is None else normalize,
                handle.precision,
                text=TextMeta(tokens=tokens.num_tokens, truncated=tokens.truncated),
            )
            item = EncodeItem(inputs=tokens.to_inputs(spec), pooling="native")
            entries.append(([item], context))
        return entries

    def _image_entry(
        self,
        handle: ModelHandle,
        request: ImageEmbeddingRequest | ZeroShotRequest,
        payload: str | bytes | GeoBentoError,
        position: int,
        normalize: bool | None,
    ) -> PreparedEntry:
        preprocessing = request.config.get("preprocessing")
        spec = handle.model.image_input(preprocessing)
        start = time.perf_counter()
        try:
            if isinstance(payload, GeoBentoError):
                raise payload
            data = inputs_images.decode_payload(payload)
            image = inputs_images.decode_image(data, self._settings.max_image_megapixels, spec)
            inputs = handle.model.prepare_image(image, preprocessing)
        except GeoBentoError as error:
            error.field = f"images.{position}"
            return error
        normalize = spec.normalize if normalize is None else normalize
        context = embedding.ResponseContext(
            handle.served,
            spec.modality,
            spec.pooling,
            normalize,
            handle.precision,
            config=request.config,
            timing_ms={"prepare": (time.perf_counter() - start) * 1000},
        )
        item = EncodeItem(inputs=inputs, pooling=spec.pooling, preprocessing=preprocessing)
        return [item], context


def _download_image(fetcher: ImageUrlFetcher, image: str | bytes) -> str | bytes | GeoBentoError:
    try:
        return (
            fetcher.fetch(image)
            if isinstance(image, str) and inputs_images.is_url(image)
            else image
        )
    except GeoBentoError as error:
        return error


def _check_device(handle: ModelHandle, device: str) -> None:
    if device not in ("auto", handle.device):
        raise ModelError(
            f"{handle.served.card.id} runs on {handle.device!r} here; "
            f"accepted: 'auto' or {handle.device!r}",
            field="device",
        )


def _encode_items(
    model: Model, sample: Sample, tiling: Tiling | None, encoding: Pooling | None
) -> list[EncodeItem]:
    """What the encoder gets of one region, tile by tile."""
    tiles = [sample] if tiling is None else tiling.split_sample(sample)
    return [EncodeItem(inputs=model.prepare(tile), pooling=encoding) for tile in tiles]


def map_regions(
    plans: Sequence[GeoPlan | GeoBentoError],
    operation: Callable[[Sequence[FetchRequest]], Sequence[Result | GeoBentoError]],
) -> list[list[Result] | GeoBentoError]:
    """What the fetch layer says to everything that each plan asks for, or the first error."""
    asked = [[plan] if isinstance(plan, GeoBentoError) else plan.fetch_requests for plan in plans]
    answers = iter(operation([one for several in asked for one in several]))
    return [_all_or_first_error(list(islice(answers, len(several)))) for several in asked]


def _all_or_first_error(results: Sequence[Result | GeoBentoError]) -> list[Result] | GeoBentoError:
    found = []
    for one in results:
        if isinstance(one, GeoBentoError):
            return one
        found.append(one)
    return found


def _region_entry(
    handle: ModelHandle,
    plan: GeoPlan,
    samples: Sequence[Sample],
    config: Mapping[str, Any],
    fetch_ms: float,
) -> PreparedEntry:
    start = time.perf_counter()
    model = handle.model.with_options(config)
    for sample in samples:
        if sample.provenance is not None:
            metrics.count_fetch(sample.provenance.backend, sample.cached)
    try:
        sample = temporal.merge_samples(handle.served.card, samples)
        warnings = check_pixels(sample, plan.query)
        for query in (plan.query, *plan.auxiliary):
            warnings += temporal.missing_frames_warnings(
                query, sample.extras.get(query.modality, sample)
            )
        items = _encode_items(model, sample, plan.tiling, plan.encode_pooling)
    except GeoBentoError as error:
        return error
    context = embedding.ResponseContext(
        handle.served,
        plan.query.modality,
        plan.pooling,
        is_unit_length(handle.served.card, plan.query.modality, plan.pooling),
        handle.precision,
        plan.query,
        sample.without_pixels(),
        config=config,
        auxiliary=plan.auxiliary,
        tiling=plan.tiling,
        area=plan.area,
        warnings=warnings,
        timing_ms={"fetch": fetch_ms, "prepare": (time.perf_counter() - start) * 1000},
    )
    return items, context
