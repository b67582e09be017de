"""The settings: one object, filled from ``GEOBENTO_*`` variables."""

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
"""Names after the prefix that are no settings: of `deploy/compose.yaml`, and of the tests."""
SECRET_FIELDS = frozenset({"api_key", "api_keys", "job_store", "stac_key"})
"""Settings whose values no message holds."""

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
    """What a deployer can set. Every field is the variable ``GEOBENTO_<NAME>``."""

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
    """Server that `get_embedding` and the command line ask. Empty: they work in-process."""
    api_key: SecretStr | None = None
    """Key that `get_embedding` and the command line show to that server."""
    data_dir: Path = Path.home() / ".geobento"
    """Folder for the demo archive and the service's own files."""
    device: Device = "auto"
    """Where forward passes run: `cpu`, `cuda`, or the GPU where there is one (`auto`)."""
    precision: Literal["auto", "float32", "bfloat16", "int8"] = "auto"
    """Number format of forward passes. `auto`: bfloat16 where the processor multiplies in it and
    the model's vectors were found to turn by no more than a cosine of 0.999. `int8`: large products
    in whole numbers of eight bits, faster still on a CPU that multiplies them, where the same was
    found of that when the model was imported; other models as with `auto`."""
    runner_workers: Annotated[int, Field(gt=0)] = 1
    """Processes per model. One keeps all cores, or a GPU, at work. Several share the cores, survive
    one another, and take the memory of a copy of the weights each."""
    stac: str | None = None
    """STAC catalog to fetch imagery from: `earth-search`, `planetary-computer`, the URL of an API
    or of a static catalog, or the path of a `catalog.json` or of stac-geoparquet. Empty: no such
    source."""
    stac_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Further hosts, besides the catalog's own, from which its files are read, separated by
    commas; `.example.com` stands for all below it."""
    stac_key: SecretStr | None = None
    """Subscription key for Planetary Computer, where a collection wants one."""
    ee_project: Annotated[str, Field(pattern=_PROJECT_ID_PATTERN)] | None = None
    """Cloud project that Earth Engine charges. Empty: no such source."""
    ee_key_file: FilePath | None = None
    """JSON key of a service account for Earth Engine. Empty: the default credentials."""
    ee_url: str | None = None
    """Base URL of Earth Engine. Empty: its high-volume endpoint. Plain http gets no credentials."""
    ee_max_concurrency: Annotated[int, Field(gt=0)] = 32
    """Most requests to Earth Engine at a time, of all processes that share `GEOBENTO_DATA_DIR`."""
    ee_max_qps: Annotated[float, Field(gt=0)] = 80
    """Most requests to Earth Engine per second, of the same."""
    demo_only: bool = False
    """`on`: the demo archive answers whatever `backend` a request names, to try out programs that
    name one. Answers say that it did."""
    cache: bool = True
    """`off`: no fetched pixels are kept on disk."""
    cache_mb: Annotated[float, Field(gt=0)] = 4096
    """Size of the pixels kept, mebibytes; those that were not used for longest go first."""
    cache_ttl_hours: Annotated[float, Field(ge=0)] = 24
    """How long pixels are kept whose window ended less than 30 days before, or is still to end:
    scenes may be added to it. Those of older windows stay."""
    api_keys: Annotated[tuple[str, ...], NoDecode] = ()
    """API keys that the service accepts, separated by commas, as `NAME:SHA256`;
    `geobento keys new NAME` makes one. Empty: none is wanted."""
    api_keys_file: Path | None = None
    """File with further keys, one a line in the same form."""
    require_keys: bool = False
    """`on`: the service does not start without keys."""
    key_rate_limit: Annotated[float, Field(gt=0)] | None = None
    """Most requests per second of one key and replica; more are answered 429. Empty: any number."""
    key_max_concurrency: Annotated[int, Field(gt=0)] | None = None
    """Most requests of one key and replica at a time; more are answered 429. Empty: any number."""
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins whose pages may ask the service from a browser, separated by commas, such as
    `https://maps.example.com`; `*`: all. Empty: none."""
    metrics_port: Annotated[int, Field(gt=0, lt=65536)] | None = None
    """Port for `/metrics` and the probes alone, on all addresses; `/metrics` is then not on the
    other one. Empty: they are on the port of everything else."""
    max_body_mb: Annotated[float, Field(gt=0)] = 64
    """Largest request body, mebibytes."""
    max_client_batch_size: Annotated[int, Field(gt=0)] = 256
    """Most pictures or places in one request."""
    max_image_megapixels: Annotated[float, Field(gt=0)] = 64
    """Largest picture, millions of pixels."""
    max_region_pixels: Annotated[int, Field(gt=0)] = 1_048_576
    """Largest place, pixels of its grid."""
    max_concurrent_requests: Annotated[int, Field(gt=0)] = 256
    """More requests than this at a time are answered 503."""
    max_pending_mb: Annotated[float, Field(gt=0)] = 1024
    """Request bodies held at a time, mebibytes, and as many of inputs for the models; what is
    beyond is answered 503. As many, too, of fetched pixels, for which requests wait."""
    max_queue_size: Annotated[int, Field(gt=0)] = 4096
    """Items that may wait for one model; what is beyond is answered 503."""
    allow_image_urls: bool = False
    """`on`: pictures may be given as http(s) URLs, which the service fetches."""
    url_timeout_s: Annotated[float, Field(gt=0)] = 10
    """Longest time for fetching one picture, seconds."""
    job_store: str | None = None
    """Where jobs of the vitrivr API are kept: `redis://...` where several replicas share them.
    Empty: a SQLite file in `GEOBENTO_DATA_DIR`."""
    job_ttl: Annotated[float, Field(gt=0)] = 3600
    """How long the result of a job can be read, seconds."""
    max_jobs: Annotated[int, Field(gt=0)] = 1000
    """More waiting jobs than this are refused with 503."""
    request_timeout_s: Annotated[float, Field(gt=0)] = 60
    """Longest time for a request, seconds."""
    log_format: Literal["text", "json"] = "text"
    """`json`: one JSON object per line of the log, and a line per request."""
    fetch_threads: Annotated[int, Field(gt=0)] = 8
    """Places fetched at a time by one process."""

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
        """Where the demo archive lies."""
        return self.data_dir / "demo-archive"

    @property
    def patches(self) -> Path:
        """Where fetched pixels are kept."""
        return self.data_dir / "patches"

    @property
    def patches_bytes(self) -> int:
        """Bound of their size."""
        return int(self.cache_mb * 2**20)


def load() -> Settings:
    """Read the settings from the environment.

    Raises:
        SettingsError: A variable has an unusable value, or is none of ours; the message names
            every such variable and what is accepted.
    """
    wrong = _unknown_messages(os.environ)
    try:
        found = Settings()
    except ValidationError as error:
        wrong = [*map(_invalid_value_message, error.errors()), *wrong]
    if wrong:
        raise SettingsError("; ".join(wrong))
    return found


def _invalid_value_message(error: ErrorDetails) -> str:
    """What a variable holds, unless that is secret, and what it takes."""
    name = str(error["loc"][0])
    said = error["msg"].removeprefix("Value error, ").replace("Input should be ", "accepted: ", 1)
    said = "accepted: on or off" if error["type"].startswith("bool") else said
    said = said.partition(", unable to parse")[0]
    given = error["input"]
    shown = ",".join(given) if isinstance(given, tuple) else given
    got = "" if name in SECRET_FIELDS else f"got {str(shown)!r}; "
    return f"{PREFIX}{name.upper()}: {got}{said}"


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
    """Why a variable is not a setting: it was renamed, or it is misspelt."""
    if name in RENAMED:
        return f"{variable}: this setting is now called {PREFIX}{RENAMED[name]}"
    close = close_matches(name, known)
    hint = f" (did you mean {PREFIX}{close[0]}?)" if close else ""
    return f"{variable}: there is no such setting{hint}"


@lru_cache(maxsize=1)
def get() -> Settings:
    """The settings of this process, read once."""
    return load()
