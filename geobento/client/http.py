"""The HTTP clients: the same answers as in-process, from a server."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from geobento.backoff import backoff_s
from geobento.client import protocol
from geobento.client.protocol import Call, Fields, connection_error, decode_response
from geobento.schemas.cards import ServedModel
from geobento.schemas.embedding import Classification, Embedding
from geobento.schemas.errors import GeoBentoError
from geobento.schemas.plan import EmbeddingPlan, Inspection
from geobento.schemas.requests import (
    GeoEmbeddingRequest,
    ImageEmbeddingRequest,
    InspectRequest,
    PixelEmbeddingRequest,
    TextEmbeddingRequest,
    ZeroShotRequest,
)

Result = TypeVar("Result")

RETRYABLE_STATUSES = frozenset({429, 503})
"""Statuses of failures that may pass: busy, at a limit, not reachable."""


@dataclass(frozen=True)
class _RetryPolicy:
    """When to try again."""

    retries: int
    deadline: float

    @property
    def remaining_s(self) -> float:
        """Seconds until the deadline; never nothing, as httpx takes that for no wait at all."""
        return max(self.deadline - time.monotonic(), 0.001)

    def backoff_s(self, number: int, error: GeoBentoError) -> float:
        """Seconds until the next attempt; raises the error where there is none."""
        wait = backoff_s(number, error.retry_after, random.random())
        if (
            error.status not in RETRYABLE_STATUSES
            or number >= self.retries
            or wait >= self.remaining_s
        ):
            raise error
        return wait


class _BaseClient:
    """What both clients know."""

    def __init__(self, url: str, api_key: str | None, timeout_s: float, retries: int) -> None:
        self.url = url
        self._timeout_s = timeout_s
        self._retries = retries
        self._options: dict[str, Any] = {
            "base_url": url,
            "headers": {} if api_key is None else {"Authorization": f"Bearer {api_key}"},
        }

    def _retry_policy(self) -> _RetryPolicy:
        return _RetryPolicy(self._retries, time.monotonic() + self._timeout_s)


class Client(_BaseClient):
    """Asks a GeoBento server. A context manager; safe to share between threads.

    Requests are records of `geobento.schemas.requests`, or their fields. An answer that says the
    server is busy, not reachable or that a limit is reached is waited for and asked again, for as
    long as `timeout_s` allows; everything else that fails is raised as its GeoBentoError.

    Args:
        url: Where the server listens, such as ``http://localhost:3000``.
        api_key: Key that the server wants.
        timeout_s: Longest wait for an answer, all attempts together, seconds.
        retries: Most attempts after the first.
        transport: In place of the network.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 120,
        retries: int = 3,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(url, api_key, timeout_s, retries)
        self._http = httpx.Client(transport=transport, **self._options)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def list_models(self) -> list[ServedModel]:
        """What can be asked for."""
        return self._call(protocol.list_models())

    def describe_model(self, name: str) -> ServedModel:
        """One of them, by id or alias."""
        return self._call(protocol.describe_model(name))

    def image_embedding(
        self, request: ImageEmbeddingRequest | Fields
    ) -> list[Embedding | GeoBentoError]:
        """One answer per picture, in order."""
        return self._call(protocol.image_embedding(request))

    def text_embedding(
        self, request: TextEmbeddingRequest | Fields
    ) -> list[Embedding | GeoBentoError]:
        """One answer per text, in order."""
        return self._call(protocol.text_embedding(request))

    def zero_shot_classification(
        self, request: ZeroShotRequest | Fields
    ) -> list[Classification | GeoBentoError]:
        """One answer per picture, in order."""
        return self._call(protocol.zero_shot_classification(request))

    def pixel_embedding(
        self, request: PixelEmbeddingRequest | Fields
    ) -> list[Embedding | GeoBentoError]:
        """The answer for the pixels of the request."""
        return self._call(protocol.pixel_embedding(request))

    def geo_embedding(
        self, request: GeoEmbeddingRequest | Fields
    ) -> list[Embedding | GeoBentoError]:
        """One answer per place, in order."""
        return self._call(protocol.geo_embedding(request))

    def plan_embedding(self, request: GeoEmbeddingRequest | Fields) -> EmbeddingPlan:
        """What a request would do."""
        return self._call(protocol.plan_embedding(request))

    def inspect_patch(self, request: InspectRequest | Fields) -> Inspection:
        """What the pixels of a place are like."""
        return self._call(protocol.inspect_patch(request))

    def _call(self, call: Call[Result]) -> Result:
        attempts, number = self._retry_policy(), 0
        while True:
            try:
                return decode_response(call, self._send(call, attempts.remaining_s), self.url)
            except GeoBentoError as error:
                time.sleep(attempts.backoff_s(number, error))
            number += 1

    def _send(self, call: Call[Any], timeout_s: float) -> httpx.Response:
        try:
            return self._http.request(call.method, call.path, timeout=timeout_s, **call.content)
        except httpx.TransportError as error:
            raise connection_error(error, self.url) from None


class AsyncClient(_BaseClient):
    """`Client` for asyncio, with the same methods; `async with` closes its connections.

    Args:
        url: Where the server listens, such as ``http://localhost:3000``.
        api_key: Key that the server wants.
        timeout_s: Longest wait for an answer, all attempts together, seconds.
        retries: Most attempts after the first.
        transport: In place of the network.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 120,
        retries: int = 3,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(url, api_key, timeout_s, retries)
        self._http = httpx.AsyncClient(transport=transport, **self._options)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def list_models(self) -> list[ServedModel]:
        """What can be asked for."""
        return await self._call(protocol.list_models())

    async def describe_model(self, name: str) -> ServedModel:
        """One of them, by id or alias."""
        return await self._call(protocol.describe_model(name))

    async def image_embedding(
        self, request: ImageEmbeddingRequest | Fields
    ) -> list[Embedding | GeoBentoError]:
        """One answer per picture, in order."""
        return await self._call(protocol.image_embedding(request))

    async def text_embedding(
        self, request: TextEmbeddingRequest | Fields
    ) -> list[Embedding | GeoBentoError]:
        """One answer per text, in order."""
        return await self._call(protocol.text_embedding(request))

    async def zero_shot_classification(
        self, request: ZeroShotRequest | Fields
    ) -> list[Classification | GeoBentoError]:
        """One answer per picture, in order."""
        return await self._call(protocol.zero_shot_classification(request))

    async def pixel_embedding(
        self, request: PixelEmbeddingRequest | Fields
    ) -> list[Embedding | GeoBentoError]:
        """The answer for the pixels of the request."""
        return await self._call(protocol.pixel_embedding(request))

    async def geo_embedding(
        self, request: GeoEmbeddingRequest | Fields
    ) -> list[Embedding | GeoBentoError]:
        """One answer per place, in order."""
        return await self._call(protocol.geo_embedding(request))

    async def plan_embedding(self, request: GeoEmbeddingRequest | Fields) -> EmbeddingPlan:
        """What a request would do."""
        return await self._call(protocol.plan_embedding(request))

    async def inspect_patch(self, request: InspectRequest | Fields) -> Inspection:
        """What the pixels of a place are like."""
        return await self._call(protocol.inspect_patch(request))

    async def _call(self, call: Call[Result]) -> Result:
        attempts, number = self._retry_policy(), 0
        while True:
            try:
                return decode_response(call, await self._send(call, attempts.remaining_s), self.url)
            except GeoBentoError as error:
                await asyncio.sleep(attempts.backoff_s(number, error))
            number += 1

    async def _send(self, call: Call[Any], timeout_s: float) -> httpx.Response:
        try:
            return await self._http.request(
                call.method, call.path, timeout=timeout_s, **call.content
            )
        except httpx.TransportError as error:
            raise connection_error(error, self.url) from None
