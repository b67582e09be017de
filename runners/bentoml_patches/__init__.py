"""Changes to private parts of BentoML, each with its reason and the versions it was written for."""

from __future__ import annotations

import logging
from importlib import metadata

logger = logging.getLogger("geobento")

BENTOML_VERSIONS = ("1.4.39", "1.4.40")
"""Versions of BentoML that the patches were tested with."""


def check_version() -> None:
    """Warn if the installed BentoML was not tested with the patches."""
    version = metadata.version("bentoml")
    if version not in BENTOML_VERSIONS:
        logger.warning(
            "BentoML %s is not tested: restarts and shutdown rely on private parts of versions %s",
            version,
            ", ".join(BENTOML_VERSIONS),
        )
