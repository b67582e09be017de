"""Whether OpenTelemetry spans are made, and where they go.

BentoML makes one for every request of the front and of runners, and hands the context on from
one to the other.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from geobento.schemas.errors import SettingsError

logger = logging.getLogger("geobento")

ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""OpenTelemetry's own variables: where spans go. The exporter reads these and its others."""
SAMPLE_RATE_VARIABLE = "OTEL_TRACES_SAMPLER_ARG"
"""Share of the requests that are traced where the caller has not decided."""
BENTOML_CONFIG_VARIABLES = ("BENTOML_CONFIG", "BENTOML_CONFIG_OPTIONS", "BENTOML_CONFIG_OVERRIDES")
"""Where a deployer configures BentoML, which then stands."""
DISABLED = {"excluded_urls": ".*"}
"""No spans: they take a third of a millisecond a request even if nothing gets them."""
EXCLUDED_PATHS = "livez,readyz,healthz,metrics"


def tracing_options(
    environment: Mapping[str, str], *, can_export: bool | None = None
) -> dict[str, Any]:
    """The configuration of a service of BentoML in respect of spans.

    Args:
        environment: Variables.
        can_export: Whether the exporter is installed; None: it is looked for.

    Raises:
        SettingsError: The share is none.
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
