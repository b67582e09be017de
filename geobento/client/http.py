"""HTTP clients, synchronous and asynchronous, with the same results as in-process."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Self, overload

import httpx

from geobento import backoff
from geobento.client import operations
from geobento.client.operations import Operation, RequestT, ResultT
from geobento.client.protocol import (
    Fields,
    HttpRequest,
    connection_error,
    decode_response,
    encode_request,
)
from geobento.schemas.errors import GeoBentoError

RETRYABLE_STATUSES = frozenset({429, 503})
"""Statuses of temporary failures: at a limit, busy, not reachable."""


@dataclass(frozen=True)
class _RetryPolicy:
    """Number of retries and deadline of a request."""

    retries: int
    deadline: float

    @property
    def remaining_s(self) -> float:
        """Seconds until the deadline; never zero, which httpx takes for no wait at all."""
        return max(self.deadline - time.monotonic(), 0.001)

    def backoff_s(self, attempt: int, error: GeoBentoError) -> float:
        """Seconds until the next attempt; raises the error if there is none."""
        wait = backoff.backoff_s(attempt, error.retry_after, random.random())
        if (
            error.status not in RETRYABLE_STATUSES
            or attempt >= self.retries
            or wait >= self.remaining_s
        ):
            raise error
        return wait


class _BaseClient:
    """Attributes of both clients."""

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


class _SyncMethod(Generic[RequestT, ResultT]):
    """A method of `Client` that runs one operation."""

    def __init__(self, operation: Operation[RequestT, ResultT]) -> None:
        self._operation = operation
        self.__doc__ = operation.summary

    @overload
    def __get__(self, client: None, owner: type[Client]) -> Self: ...
    @overload
    def __get__(
        self: _SyncMethod[None, ResultT], client: Client, owner: type[Client]
    ) -> Callable[[], ResultT]: ...
    @overload
    def __get__(
        self: _SyncMethod[str, ResultT], client: Client, owner: type[Client]
    ) -> Callable[[str], ResultT]: ...
    @overload
    def __get__(
        self, client: Client, owner: type[Client]
    ) -> Callable[[RequestT | Fields], ResultT]: ...
    def __get__(self, client: Client | None, owner: type[Client]) -> Any:
        if client is None:
            return self

        def method(request: Any = None) -> ResultT:
            return client.run(self._operation, request)

        method.__name__, method.__doc__ = self._operation.name, self._operation.summary
        return method


class _AsyncMethod(Generic[RequestT, ResultT]):
    """A method of `AsyncClient` that runs one operation."""

    def __init__(self, operation: Operation[RequestT, ResultT]) -> None:
        self._operation = operation
        self.__doc__ = operation.summary

    @overload
    def __get__(self, client: None, owner: type[AsyncClient]) -> Self: ...
    @overload
    def __get__(
        self: _AsyncMethod[None, ResultT], client: AsyncClient, owner: type[AsyncClient]
    ) -> Callable[[], Awaitable[ResultT]]: ...
    @overload
    def __get__(
        self: _AsyncMethod[str, ResultT], client: AsyncClient, owner: type[AsyncClient]
    ) -> Callable[[str], Awaitable[ResultT]]: ...
    @overload
    def __get__(
        self, client: AsyncClient, owner: type[AsyncClient]
    ) -> Callable[[RequestT | Fields], Awaitable[ResultT]]: ...
    def __get__(self, client: AsyncClient | None, owner: type[AsyncClient]) -> Any:
        if client is None:
            return self

        async def method(request: Any = None) -> ResultT:
            return await client.run(self._operation, request)

        method.__name__, method.__doc__ = self._operation.name, self._operation.summary
        return method


class Client(_BaseClient):
    """A client of a GeoBento server. A context manager; safe to share between threads.

    Requests are models of `geobento.schemas.requests`, or their fields as a mapping. If the server
    is busy, at a limit or not reachable, the client waits and tries again until `timeout_s` is
    over. Every other failure is raised as its GeoBentoError.

    Args:
        url: Address of the server, such as ``http://localhost:3000``.
        api_key: API key, if the server requires one.
        timeout_s: Maximum time for a result over all attempts, seconds.
        retries: Maximum number of attempts after the first.
        transport: Replaces the network, for tests.
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

    list_models = _SyncMethod(operations.LIST_MODELS)
    describe_model = _SyncMethod(operations.DESCRIBE_MODEL)
    image_embedding = _SyncMethod(operations.IMAGE_EMBEDDING)
    text_embedding = _SyncMethod(operations.TEXT_EMBEDDING)
    zero_shot_classification = _SyncMethod(operations.ZERO_SHOT_CLASSIFICATION)
    geo_embedding = _SyncMethod(operations.GEO_EMBEDDING)
    pixel_embedding = _SyncMethod(operations.PIXEL_EMBEDDING)
    plan_embedding = _SyncMethod(operations.PLAN_EMBEDDING)
    inspect_patch = _SyncMethod(operations.INSPECT_PATCH)

    def run(self, operation: Operation[RequestT, ResultT], request: RequestT | Fields) -> ResultT:
        """Run an operation on the server.

        Args:
            operation: Entry of the table of operations.
            request: Its request, or the fields of one.

        Raises:
            GeoBentoError: The server responded with an error, or there was no response.
        """
        sent, policy, attempt = encode_request(operation, request), self._retry_policy(), 0
        while True:
            try:
                return decode_response(operation, self._send(sent, policy.remaining_s), self.url)
            except GeoBentoError as error:
                time.sleep(policy.backoff_s(attempt, error))
            attempt += 1

    def _send(self, sent: HttpRequest, timeout_s: float) -> httpx.Response:
        try:
            return self._http.request(sent.method, sent.path, timeout=timeout_s, **sent.content)
        except httpx.TransportError as error:
            raise connection_error(error, self.url) from None


class AsyncClient(_BaseClient):
    """`Client` for asyncio, with the same methods; `async with` closes its connections.

    Args:
        url: Address of the server, such as ``http://localhost:3000``.
        api_key: API key, if the server requires one.
        timeout_s: Maximum time for a result over all attempts, seconds.
        retries: Maximum number of attempts after the first.
        transport: Replaces the network, for tests.
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

    list_models = _AsyncMethod(operations.LIST_MODELS)
    describe_model = _AsyncMethod(operations.DESCRIBE_MODEL)
    image_embedding = _AsyncMethod(operations.IMAGE_EMBEDDING)
    text_embedding = _AsyncMethod(operations.TEXT_EMBEDDING)
    zero_shot_classification = _AsyncMethod(operations.ZERO_SHOT_CLASSIFICATION)
    geo_embedding = _AsyncMethod(operations.GEO_EMBEDDING)
    pixel_embedding = _AsyncMethod(operations.PIXEL_EMBEDDING)
    plan_embedding = _AsyncMethod(operations.PLAN_EMBEDDING)
    inspect_patch = _AsyncMethod(operations.INSPECT_PATCH)

    async def run(
        self, operation: Operation[RequestT, ResultT], request: RequestT | Fields
    ) -> ResultT:
        """Run an operation on the server.

        Args:
            operation: Entry of the table of operations.
            request: Its request, or the fields of one.

        Raises:
            GeoBentoError: The server responded with an error, or there was no response.
        """
        sent, policy, attempt = encode_request(operation, request), self._retry_policy(), 0
        while True:
            try:
                response = await self._send(sent, policy.remaining_s)
                return decode_response(operation, response, self.url)
            except GeoBentoError as error:
                await asyncio.sleep(policy.backoff_s(attempt, error))
            attempt += 1

    async def _send(self, sent: HttpRequest, timeout_s: float) -> httpx.Response:
        try:
            return await self._http.request(
                sent.method, sent.path, timeout=timeout_s, **sent.content
            )
        except httpx.TransportError as error:
            raise connection_error(error, self.url) from None
