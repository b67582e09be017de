"""Settings from ``GEOBENTO_*`` environment variables."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, FilePath, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from geobento.config import api_keys as config_api_keys
from geobento.schemas.errors import SettingsError
from geobento.schemas.specs import Device
from geobento.suggestions import close_matches

_PROJECT_ID_PATTERN = r"^([a-z0-9][a-z0-9.-]*:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$"
"""Id of a Google Cloud project; it also names a folder."""

PREFIX = "GEOBENTO_"
NON_SETTINGS = frozenset({"IMAGE", "PROFILE", "PARITY", "SHARED"})
"""Variables with the prefix that are not settings: of `deploy/compose.yaml` and of the tests."""
SECRET_FIELDS = frozenset({"api_key", "api_keys", "job_store", "stac_key"})
"""Settings whose values are never in messages."""

RENAMED = {
    "CACHE_OPEN_HOURS": "CACHE_TTL_HOURS",
    "EE_MAX_IN_FLIGHT": "EE_MAX_CONCURRENCY",
    "EE_MAX_PER_SECOND": "EE_MAX_QPS",
    "HOME": "DATA_DIR",
    "KEY_MAX_IN_FLIGHT": "KEY_MAX_CONCURRENCY",
    "KEY_RATE": "KEY_RATE_LIMIT",
    "MAX_ITEMS": "MAX_CLIENT_BATCH_SIZE",
    "MAX_ITEMS_WAITING": "MAX_QUEUE_SIZE",
    "MAX_MB_IN_FLIGHT": "MAX_PENDING_MB",
    "MAX_PLACE_PIXELS": "MAX_REGION_PIXELS",
    "MAX_REQUESTS_IN_FLIGHT": "MAX_CONCURRENT_REQUESTS",
    "URL_IMAGES": "ALLOW_IMAGE_URLS",
}
"""Old name of a setting -> its name now."""

_ORIGIN_PATTERN = re.compile(r"https?://[a-z0-9.\-\[\]:]+")


class Settings(BaseSettings):
    """Settings of the service and the client. Every field is the variable ``GEOBENTO_<NAME>``."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    models: Annotated[tuple[str, ...], NoDecode] = ()
    """Models to serve, separated by commas: ids, aliases, `id:variant` or `id:version`.
    Empty: the newest of every variant in the model store."""
    url: str | None = None
    """Server for `get_embedding` and the command line. Empty: models run in-process."""
    api_key: SecretStr | None = None
    """API key of `get_embedding` and the command line for that server."""
    data_dir: Path = Path.home() / ".geobento"
    """Folder for the demo archive and the service's own files."""
    device: Device = "auto"
    """Device of forward passes: `cpu`, `cuda`, or a GPU if there is one (`auto`)."""
    precision: Literal["auto", "float32", "bfloat16", "int8"] = "auto"
    """Precision of forward passes. `auto`: bfloat16 if the processor supports it and the model's
    vectors keep a cosine similarity of at least 0.999 to float32, otherwise float32. `int8`: linear
    layers in int8, faster on a CPU that supports it, for models that keep the same similarity when
    they are imported; other models as with `auto`."""
    runner_workers: Annotated[int, Field(gt=0)] = 1
    """Processes per model. One uses all cores, or a GPU. Several share the cores, keep working if
    one dies, and hold a copy of the weights each."""
    stac: str | None = None
    """STAC catalog for imagery: `earth-search`, `planetary-computer`, the URL of an API or
    of a static catalog, or the path of a `catalog.json` or of stac-geoparquet. Empty: no STAC."""
    stac_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Additional hosts of the catalog's files, separated by commas; `.example.com` means all its
    subdomains."""
    stac_key: SecretStr | None = None
    """Subscription key for Planetary Computer, if a collection requires one."""
    ee_project: Annotated[str, Field(pattern=_PROJECT_ID_PATTERN)] | None = None
    """Cloud project for Earth Engine. Empty: no Earth Engine."""
    ee_key_file: FilePath | None = None
    """JSON key of a service account for Earth Engine. Empty: the default credentials."""
    ee_url: str | None = None
    """Base URL of Earth Engine. Empty: its high-volume endpoint. Plain http gets no credentials."""
    ee_max_concurrency: Annotated[int, Field(gt=0)] = 32
    """Maximum number of concurrent requests to Earth Engine, over all processes that share
    `GEOBENTO_DATA_DIR`."""
    ee_max_qps: Annotated[float, Field(gt=0)] = 80
    """Maximum number of requests to Earth Engine per second, over the same processes."""
    demo_only: bool = False
    """`on`: requests use the demo archive whatever `backend` they name, to try out programs.
    Responses say so."""
    cache: bool = True
    """`off`: fetched pixels are not cached on disk."""
    cache_mb: Annotated[float, Field(gt=0)] = 4096
    """Size of the cache, mebibytes; the least recently used pixels are deleted first."""
    cache_ttl_hours: Annotated[float, Field(ge=0)] = 24
    """How long pixels of recent windows, which end after 30 days ago, are cached: scenes may still
    be added. Pixels of older windows do not expire."""
    api_keys: Annotated[tuple[str, ...], NoDecode] = ()
    """API keys that the service accepts, separated by commas, as `NAME:SHA256`;
    `geobento keys new NAME` makes one. Empty: no key is needed."""
    api_keys_file: Path | None = None
    """File with additional keys, one per line in the same form."""
    require_keys: bool = False
    """`on`: the service does not start without keys."""
    key_rate_limit: Annotated[float, Field(gt=0)] | None = None
    """Maximum number of requests per second, per key and replica; more get 429. Empty: no limit."""
    key_max_concurrency: Annotated[int, Field(gt=0)] | None = None
    """Maximum number of concurrent requests, per key and replica; more get 429. Empty: no limit."""
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins of web pages that may use the service, separated by commas, such as
    `https://maps.example.com`; `*`: all. Empty: none."""
    metrics_port: Annotated[int, Field(gt=0, lt=65536)] | None = None
    """Separate port for `/metrics` and the probes, on all addresses; the main port then has no
    `/metrics`. Empty: the main port has both."""
    max_body_mb: Annotated[float, Field(gt=0)] = 64
    """Maximum size of a request body, mebibytes."""
    max_client_batch_size: Annotated[int, Field(gt=0)] = 256
    """Maximum number of images or regions in a request."""
    max_image_megapixels: Annotated[float, Field(gt=0)] = 64
    """Maximum size of an image, millions of pixels."""
    max_region_pixels: Annotated[int, Field(gt=0)] = 1_048_576
    """Maximum size of a region, pixels of its grid."""
    max_concurrent_requests: Annotated[int, Field(gt=0)] = 256
    """Maximum number of concurrent requests; more get 503."""
    max_pending_mb: Annotated[float, Field(gt=0)] = 1024
    """Maximum size of all request bodies in memory, mebibytes, and of all inputs of models; more
    get 503. Also of all fetched pixels; requests wait for it."""
    max_queue_size: Annotated[int, Field(gt=0)] = 4096
    """Maximum number of items that wait for a model; more get 503."""
    allow_image_urls: bool = False
    """`on`: requests may give images as http(s) URLs, which the service fetches."""
    url_timeout_s: Annotated[float, Field(gt=0)] = 10
    """Timeout for fetching one image, seconds."""
    job_store: str | None = None
    """Store for jobs of the vitrivr API: `redis://...` if several replicas share them. Empty: a
    SQLite file in `GEOBENTO_DATA_DIR`."""
    job_ttl: Annotated[float, Field(gt=0)] = 3600
    """How long results of jobs are kept, seconds."""
    max_jobs: Annotated[int, Field(gt=0)] = 1000
    """Maximum number of waiting jobs; more get 503."""
    request_timeout_s: Annotated[float, Field(gt=0)] = 60
    """Deadline of a request, seconds after its arrival."""
    log_format: Literal["text", "json"] = "text"
    """`json`: one JSON object per line, and one line per request."""
    fetch_threads: Annotated[int, Field(gt=0)] = 8
    """Number of regions that a process fetches concurrently."""

    @field_validator("models", "stac_hosts", "api_keys", "cors_origins", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator(
        "stac", "stac_key", "url", "job_store", "ee_project", "ee_key_file", "ee_url",
        "api_key", "api_keys_file", "key_rate_limit", "key_max_concurrency", "metrics_port",
        mode="before",
    )  # fmt: skip
    @classmethod
    def _empty_to_none(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("ee_url", mode="after")
    @classmethod
    def _check_ee_url(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("accepted: a URL that begins with http:// or https://")
        return value

    @field_validator("api_keys", mode="after")
    @classmethod
    def _check_api_keys(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            config_api_keys.parse_key(entry)
        return value

    @field_validator("cors_origins", mode="after")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(origin == "*" or _ORIGIN_PATTERN.fullmatch(origin) for origin in value):
            raise ValueError("accepted: *, or origins such as https://maps.example.com")
        return value

    @property
    def demo_archive(self) -> Path:
        """Folder of the demo archive."""
        return self.data_dir / "demo-archive"

    @property
    def patches(self) -> Path:
        """Folder of the cache of fetched pixels."""
        return self.data_dir / "patches"

    @property
    def patches_bytes(self) -> int:
        """Maximum size of the cache, bytes."""
        return int(self.cache_mb * 2**20)


def load() -> Settings:
    """Read the settings from the environment.

    Raises:
        SettingsError: A variable has a value that is not valid, or is not a setting; the message
            names every such variable and what is accepted.
    """
    problems = _unknown_messages(os.environ)
    try:
        config = Settings()
    except ValidationError as error:
        problems = [*map(_invalid_value_message, error.errors()), *problems]
    if problems:
        raise SettingsError("; ".join(problems))
    return config


def _invalid_value_message(error: ErrorDetails) -> str:
    """The value of a variable, unless it is secret, and what is accepted."""
    name = str(error["loc"][0])
    accepted = (
        error["msg"].removeprefix("Value error, ").replace("Input should be ", "accepted: ", 1)
    )
    accepted = "accepted: on or off" if error["type"].startswith("bool") else accepted
    accepted = accepted.partition(", unable to parse")[0]
    value = error["input"]
    text = ",".join(value) if isinstance(value, tuple) else value
    got = "" if name in SECRET_FIELDS else f"got {str(text)!r}; "
    return f"{PREFIX}{name.upper()}: {got}{accepted}"


def _unknown_messages(environment: Mapping[str, str]) -> list[str]:
    """One message for each variable with our prefix that is not a setting."""
    known = {name.upper() for name in Settings.model_fields}
    variables = sorted(name for name in environment if name.upper().startswith(PREFIX))
    names = {variable: variable.upper().removeprefix(PREFIX) for variable in variables}
    return [
        _unknown_message(variable, name, known)
        for variable, name in names.items()
        if name not in known | NON_SETTINGS
    ]


def _unknown_message(variable: str, name: str, known: set[str]) -> str:
    """The message for a renamed or misspelt variable."""
    if name in RENAMED:
        return f"{variable}: this setting is now called {PREFIX}{RENAMED[name]}"
    close = close_matches(name, known)
    hint = f" (did you mean {PREFIX}{close[0]}?)" if close else ""
    return f"{variable}: there is no such setting{hint}"


@lru_cache(maxsize=1)
def get() -> Settings:
    """The settings of this process, read once."""
    return load()
