"""A request's way through the house, in two halves around the forward pass.

The first half (resolve, fetch or decode, prepare) turns a request into a job; an encoder, here
or in another process, works on the job's items; the second half makes the answers. Both
halves block and belong into a thread where an event loop runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from geobento.embedding import Embedding
from geobento.errors import GeoBentoError, ModelError, PayloadTooLarge
from geobento.requests import GeoEmbeddingRequest, ImageEmbeddingRequest
from geobento.sample import Sample
from geobento.settings import Settings
from models.execute import EncodeItem, EncodeResult
from pipeline import answer, pictures
from pipeline.fetch import FetchLayer
from pipeline.registry import OpenModel, Registry
from pipeline.resolve import GeoPlan, Limits, check_image_request, plan_geo


@dataclass(frozen=True)
class Job:
    """A request between its two halves.

    Attributes:
        model: Id of the model.
        dim: Length of its vectors.
        entries: One per picture or place, in order: what to encode and how to answer, or the
            error that is its answer.
    """

    model: str
    dim: int
    entries: Sequence[tuple[EncodeItem, answer.Context] | GeoBentoError]

    @property
    def items(self) -> list[EncodeItem]:
        """What the encoder gets."""
        return [entry[0] for entry in self.entries if not isinstance(entry, GeoBentoError)]

    def answers(self, results: Sequence[EncodeResult]) -> list[Embedding | GeoBentoError]:
        """One answer per entry, from the encoder's results in the order of `items`.

        Raises:
            GeoBentoError: The request had a single item, and it failed.
        """
        remaining = iter(results)
        answers = [
            entry
            if isinstance(entry, GeoBentoError)
            else answer.embedding(next(remaining), entry[1])
            for entry in self.entries
        ]
        if len(answers) == 1 and isinstance(answers[0], GeoBentoError):
            raise answers[0]
        return answers


class Engine:
    """The two halves, for a set of models.

    Args:
        registry: What is served.
        settings: Limits and sources.
        fetch: Where imagery comes from; None: as the settings say.
    """

    def __init__(
        self, registry: Registry, settings: Settings, fetch: FetchLayer | None = None
    ) -> None:
        self.registry = registry
        self._settings = settings
        self.fetch = fetch or FetchLayer.configured(settings)

    def image_job(self, request: ImageEmbeddingRequest) -> Job:
        """First half for pictures: check, decode, prepare.

        Raises:
            GeoBentoError: The request as a whole cannot be answered.
        """
        opened = self.registry.find(request.model)
        check_image_request(opened.served.card, request)
        opened.model.image_input(request.config.get("preprocessing"))
        self._check_count(len(request.images), "images")
        entries = [
            self._image_entry(opened, request, position) for position in range(len(request.images))
        ]
        return Job(opened.served.card.id, opened.served.dim, entries)

    def geo_job(self, request: GeoEmbeddingRequest) -> Job:
        """First half for places: resolve, fetch, prepare.

        Raises:
            GeoBentoError: The request as a whole cannot be answered.
        """
        opened = self.registry.find(request.model)
        self._check_count(len(request.places), "spatials")
        if request.device not in ("auto", opened.device):
            raise ModelError(
                f"{opened.served.card.id} runs on {opened.device!r} here; "
                f"accepted: 'auto' or {opened.device!r}",
                field="device",
            )
        limits = Limits(self._settings.max_place_pixels)
        plans = plan_geo(
            opened.served.card, request, modalities=opened.model.modalities(), limits=limits
        )
        self.fetch.source(request.backend)
        samples = self.fetch.fetch_all([(plan.backend, plan.query) for plan in plans])
        entries = [
            sample if isinstance(sample, GeoBentoError) else _geo_entry(opened, plan, sample)
            for plan, sample in zip(plans, samples, strict=True)
        ]
        return Job(opened.served.card.id, opened.served.dim, entries)

    def _check_count(self, count: int, field: str) -> None:
        if count > self._settings.max_items:
            raise PayloadTooLarge(
                f"{count} items in one request; accepted: up to {self._settings.max_items}",
                field=field,
                detail={"items": count, "limit": self._settings.max_items},
            )

    def _image_entry(
        self, opened: OpenModel, request: ImageEmbeddingRequest, position: int
    ) -> tuple[EncodeItem, answer.Context] | GeoBentoError:
        preprocessing = request.config.get("preprocessing")
        try:
            data = pictures.payload_bytes(request.images[position])
            picture = pictures.decode(data, self._settings.max_image_megapixels)
            inputs = opened.model.prepare_picture(picture, preprocessing)
        except GeoBentoError as error:
            error.field = f"images.{position}"
            return error
        spec = opened.model.image_input(preprocessing)
        normalize = spec.normalize if request.normalize is None else request.normalize
        context = answer.Context(
            opened.served,
            spec.modality,
            spec.pooling,
            normalize,
            opened.precision,
            config=request.config,
        )
        return EncodeItem(inputs=inputs, pooling=spec.pooling), context


def _geo_entry(
    opened: OpenModel, plan: GeoPlan, sample: Sample
) -> tuple[EncodeItem, answer.Context] | GeoBentoError:
    try:
        inputs = opened.model.prepare(sample)
    except GeoBentoError as error:
        return error
    context = answer.Context(
        opened.served,
        plan.query.modality,
        plan.pooling,
        False,
        opened.precision,
        plan.query,
        replace(sample, pixels=np.empty(0)),
    )
    return EncodeItem(inputs=inputs, pooling=plan.pooling), context
