"""Configuration of OpenTelemetry spans.

BentoML makes a span for every request to the API server and to runners, and passes the trace
context from one to the other.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from geobento.schemas.errors import SettingsError

logger = logging.getLogger("geobento")

ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""OpenTelemetry's own variables for the collector's address. The exporter reads them, too."""
SAMPLE_RATE_VARIABLE = "OTEL_TRACES_SAMPLER_ARG"
"""Share of the requests to trace, unless the caller has decided."""
BENTOML_CONFIG_VARIABLES = ("BENTOML_CONFIG", "BENTOML_CONFIG_OPTIONS", "BENTOML_CONFIG_OVERRIDES")
"""Variables that configure BentoML. If one is set, its configuration of spans is kept."""
DISABLED = {"excluded_urls": ".*"}
"""No spans. They cost a third of a millisecond a request, even without a collector."""
EXCLUDED_PATHS = "livez,readyz,healthz,metrics"


def tracing_options(
    environment: Mapping[str, str], *, can_export: bool | None = None
) -> dict[str, Any]:
    """BentoML's configuration of spans for a service.

    Args:
        environment: Environment variables.
        can_export: Whether the exporter is installed; None: look for it.

    Raises:
        SettingsError: The sample rate is not a number from 0 to 1.
    """
    if any(environment.get(name) for name in BENTOML_CONFIG_VARIABLES):
        return {}
    if not any(environment.get(name) for name in ENDPOINT_VARIABLES):
        return DISABLED
    if not (_has_exporter() if can_export is None else can_export):
        logger.warning("no spans: the exporter is missing; run: pip install 'geobento[tracing]'")
        return DISABLED
    return {
        "exporter_type": "otlp",
        "otlp": {"protocol": "http"},
        "sample_rate": _sample_rate(environment.get(SAMPLE_RATE_VARIABLE) or "1"),
        "excluded_urls": EXCLUDED_PATHS,
    }


def _sample_rate(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise SettingsError(f"{SAMPLE_RATE_VARIABLE}: got {text!r}; accepted: a number from 0 to 1")
    return share


def _has_exporter() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False
