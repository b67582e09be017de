"""The engine behind the Python functions: a server, or this process."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Protocol, TypeVar

from geobento.client.http import Client
from geobento.client.operations import Operation, RequestT, ResultT
from geobento.config import settings
from geobento.schemas.errors import GeoBentoError, MissingExtra

Result = TypeVar("Result")

IN_PROCESS = "pipeline.local_engine:LocalEngine"
"""The engine of this process. Named, not imported: it needs torch and the model store."""


class EmbeddingEngine(Protocol):
    """Runs operations."""

    def run(self, operation: Operation[RequestT, ResultT], request: RequestT) -> ResultT:
        """The result of an operation; raises GeoBentoError."""


def get_engine() -> EmbeddingEngine:
    """The server of ``GEOBENTO_URL``, or without it the models of this process.

    Raises:
        MissingExtra: There is no URL, and `geobento[serve]` is not installed.
        SettingsError: A variable has a value that is not valid.
    """
    return _open_engine(settings.load())


@lru_cache(maxsize=4)
def _open_engine(config: settings.Settings) -> EmbeddingEngine:
    if config.url is not None:
        key = config.api_key
        return Client(config.url, api_key=key.get_secret_value() if key is not None else None)
    module, _, name = IN_PROCESS.partition(":")
    try:
        engine_class = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"models run in this process only with pip install 'geobento[serve]' ({error.name} is "
            "missing); or set GEOBENTO_URL to the address of a server"
        ) from error
    engine: EmbeddingEngine = engine_class(config)
    return engine


def raise_first_error(results: list[Result | GeoBentoError], field: str) -> list[Result]:
    """The results of a request, or the first error among them.

    Args:
        results: One result or error per input.
        field: Field of the request that holds the inputs.

    Raises:
        GeoBentoError: The first error; its `field` names the input.
    """
    checked = []
    for position, result in enumerate(results):
        if isinstance(result, GeoBentoError):
            result.field = result.field or f"{field}.{position}"
            raise result
        checked.append(result)
    return checked
