"""Prepares requests for the encoder and knows how to assemble their responses.

A request passes two stages around the forward pass. The first stage (plan, fetch or decode,
prepare) is the `Engine` here; it turns a request into a `PreparedRequest`. An encoder, in this
process or in another, processes the items of the prepared request. The second stage,
`PreparedRequest.assemble`, builds the response. Both stages block, so they belong in a thread where
an event loop runs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import cast

from geobento.config.settings import Settings
from geobento.observability import request_context
from geobento.schemas.errors import GeoBentoError, ModelError, PayloadTooLarge
from geobento.schemas.requests import (
    GeoEmbeddingRequest,
    ImageEmbeddingRequest,
    InspectRequest,
    PixelEmbeddingRequest,
    TextEmbeddingRequest,
    ZeroShotRequest,
)
from imagery.query import ImageQuery
from pipeline import entries
from pipeline.fetching.fetcher import ImageryFetcher
from pipeline.inputs import images as inputs_images
from pipeline.inputs import raster_uploads
from pipeline.inputs.image_urls import ImageUrlFetcher
from pipeline.model_registry import ModelHandle, ModelRegistry
from pipeline.planning.geo import GeoPlan, check_image_request, check_text_request, plan_geo
from pipeline.planning.imagery import ImageryPlan, plan_patch
from pipeline.planning.limits import Limits
from pipeline.planning.user_pixels import plan_user_pixels
from pipeline.prepared_requests import PreparedEmbeddings, PreparedEntry, PreparedZeroShot


class Engine:
    """The first stage of requests, for a set of models.

    Args:
        registry: The served models.
        settings: Limits and sources.
        fetcher: Fetches imagery; None: a fetcher of the sources that the settings name.
        allow_saving: Whether quicklooks may be written to folders that requests name.
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
        """Check, download, decode and prepare images.

        Raises:
            GeoBentoError: The request as a whole is invalid.
        """
        handle = self.registry.find(request.model, request.config)
        check_image_request(handle.served.card, request)
        image_entries = self._image_entries(handle, request, request.normalize)
        return PreparedEmbeddings(handle.served.tag, image_entries)

    def prepare_texts(self, request: TextEmbeddingRequest) -> PreparedEmbeddings:
        """Check and tokenize texts.

        Raises:
            GeoBentoError: The request as a whole is invalid.
        """
        handle = self.registry.find(request.model, request.config)
        check_text_request(handle.served.card, request)
        text_entries = self._text_entries(handle, request.texts, "texts", request.normalize)
        return PreparedEmbeddings(handle.served.tag, text_entries)

    def prepare_zero_shot(self, request: ZeroShotRequest) -> PreparedZeroShot:
        """Check, decode and prepare images, and tokenize the prompts of their classes.

        Raises:
            GeoBentoError: The request as a whole, or one of its classes, is invalid.
        """
        handle = self.registry.find(request.model, request.config)
        check_image_request(handle.served.card, request)
        check_text_request(handle.served.card, request)
        class_entries = self._text_entries(handle, request.prompts, "classes", True)
        for entry in class_entries:
            if isinstance(entry, GeoBentoError):
                raise entry
        return PreparedZeroShot(
            handle.served.tag,
            self._image_entries(handle, request, True),
            class_entries,
            handle.model.logit_scale,
            request.template,
        )

    def prepare_regions(self, request: GeoEmbeddingRequest) -> PreparedEmbeddings:
        """Plan, fetch and prepare regions.

        Raises:
            GeoBentoError: The request as a whole is invalid, or its source cannot be opened.
        """
        handle, _, plans = self.plan_regions(request)
        region_entries = self.fetcher.map_regions(
            [plan if isinstance(plan, GeoBentoError) else plan.fetch_requests for plan in plans],
            lambda position, samples, seconds: entries.region_entry(
                handle, cast("GeoPlan", plans[position]), samples, request.config, seconds * 1000
            ),
        )
        return PreparedEmbeddings(handle.served.tag, region_entries)

    def plan_regions(
        self, request: GeoEmbeddingRequest
    ) -> tuple[ModelHandle, ImageryPlan, list[GeoPlan | GeoBentoError]]:
        """Plan the regions of a request and open its source, unless all its pixels are cached.

        Returns:
            The model, the imagery of every region, and the plan or error of each region.

        Raises:
            GeoBentoError: The request as a whole is invalid, or its source cannot be opened.
        """
        handle = self.registry.find(request.model, request.config, request.modality)
        self._check_item_count(len(request.regions), "spatials")
        _check_device(handle, request.device)
        imagery, plans = plan_geo(
            handle.served.card,
            request,
            served_modalities=handle.model.modalities(),
            limits=self._limits,
        )
        self.fetcher.ensure_source(
            [pair for plan in plans if isinstance(plan, GeoPlan) for pair in plan.fetch_requests]
        )
        return handle, imagery, plans

    def patch_query(self, request: InspectRequest) -> ImageQuery:
        """The query of an inspection.

        Raises:
            GeoBentoError: The request is invalid.
        """
        if request.model is None:
            return plan_patch(None, request, served_modalities=(), limits=self._limits)
        handle = self.registry.find(request.model, modality=request.modality)
        return plan_patch(
            handle.served.card,
            request,
            served_modalities=handle.model.modalities(),
            limits=self._limits,
        )

    def prepare_pixels(self, request: PixelEmbeddingRequest) -> PreparedEmbeddings:
        """Decode, check and prepare user-supplied pixels.

        Raises:
            GeoBentoError: The request is invalid.
        """
        handle = self.registry.find(request.model, request.config, request.modality)
        _check_device(handle, request.device)
        start = time.perf_counter()
        plan = plan_user_pixels(
            handle.served.card,
            request,
            raster_uploads.read_raster(request.pixels, self._settings.max_region_pixels),
            served_modalities=handle.model.modalities(),
            limits=self._limits,
        )
        entry = entries.user_pixels_entry(handle, request, plan, start)
        return PreparedEmbeddings(handle.served.tag, [entry])

    def warm_up(self) -> None:
        """Load every tokenizer, so that a damaged one fails the start and no request pays for it.

        Raises:
            ModelStoreError: A tokenizer differs from the one that was imported.
        """
        for handle in self.registry.handles:
            text = handle.served.card.text
            if text is not None and text.modality in handle.served.modalities:
                handle.model.prepare_text("warm")

    def _check_item_count(self, count: int, field: str) -> None:
        limit = self._settings.max_client_batch_size
        if count > limit:
            raise PayloadTooLarge(
                f"{count} items in one request; accepted: up to {limit}",
                field=field,
                detail={"items": count, "limit": limit},
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
            entries.image_entry(
                handle,
                request,
                payload,
                position,
                normalize=normalize,
                max_megapixels=self._settings.max_image_megapixels,
            )
            for position, payload in enumerate(self._download_images(request.images))
        ]

    def _text_entries(
        self, handle: ModelHandle, texts: Sequence[str], field: str, normalize: bool | None
    ) -> list[PreparedEntry]:
        handle.model.tokenizer  # noqa: B018 - a missing tokenizer fails the request as a whole
        self._check_item_count(len(texts), field)
        return [
            entries.text_entry(handle, text, f"{field}.{position}", normalize=normalize)
            for position, text in enumerate(texts)
        ]

    def _download_images(self, images: Sequence[str | bytes]) -> list[str | bytes | GeoBentoError]:
        """The images, with those given by URL replaced by their bytes or the error."""
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


def _download_image(fetcher: ImageUrlFetcher, image: str | bytes) -> str | bytes | GeoBentoError:
    if not isinstance(image, str) or not inputs_images.is_url(image):
        return image
    try:
        return fetcher.fetch(image)
    except GeoBentoError as error:
        return error


def _check_device(handle: ModelHandle, device: str) -> None:
    if device not in ("auto", handle.device):
        raise ModelError(
            f"{handle.served.card.id} runs on {handle.device!r} here; "
            f"accepted: 'auto' or {handle.device!r}",
            field="device",
        )
