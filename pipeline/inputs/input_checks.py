"""The check of fetched pixels that a request may ask for."""

from __future__ import annotations

import hashlib
from pathlib import Path

from geobento.schemas.errors import SourceError
from geobento.schemas.sample import Sample
from imagery.collections import registry
from imagery.quality.checks import quality_warnings
from imagery.quality.quicklook import render_quicklook
from imagery.query import ImageQuery


def check_pixels(sample: Sample, query: ImageQuery) -> list[str]:
    """Warnings about implausible pixels, if the request enables the check.

    Raises:
        SourceError: The pixels are implausible and `check_raise` is set; or the folder for images
            cannot be written to.
    """
    sensor = query.sensor
    if not sensor.check_input:
        return []
    if sensor.check_save_dir is not None:
        _save_quicklook(sample, query, Path(sensor.check_save_dir))
    problems = quality_warnings(sample, registry.get(sensor.collection))
    if problems and sensor.check_raise:
        raise SourceError(
            f"the pixels of {sensor.collection} are not plausible: {'; '.join(problems)}",
            detail={"problems": problems},
        )
    return problems


def _save_quicklook(sample: Sample, query: ImageQuery, folder: Path) -> None:
    key = hashlib.sha256(repr(query).encode()).hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        render_quicklook(sample).save(folder / f"{query.modality}-{key}.png")
    except OSError as error:
        raise SourceError(
            f"the image of the pixels cannot be saved: {error.strerror}",
            field="sensor.check_save_dir",
        ) from error
