"""Number of frames in a time window, and alignment of frames of several modalities. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from geobento.schemas.cards import ModelCard
from geobento.schemas.errors import ModelError, NoImageryError
from geobento.schemas.sample import Sample
from imagery.query import ImageQuery


def frame_count(
    card: ModelCard, modality: str, window: tuple[datetime, datetime], options: Mapping[str, Any]
) -> int:
    """Into how many equal parts a window goes.

    Args:
        card: The model's card.
        modality: What it reads.
        window: First instant inside, first outside.
        options: Options of the request, of which `n_frames` and `temporal_mode` count here.

    Raises:
        ModelError: The options contradict each other, or ask for more than the model reads.
    """
    series = card.modalities[modality].series
    n_frames, mode = options.get("n_frames"), options.get("temporal_mode", "auto")
    if series is None:
        if n_frames is not None and n_frames != 1:
            raise ModelError(
                f"{card.id} reads one image of {modality!r}; accepted: 1",
                field="model_config.n_frames",
            )
        return 1
    if n_frames is not None:
        if n_frames > series.max_frames:
            raise ModelError(
                f"{card.id} reads up to {series.max_frames} frames of {modality!r}, not {n_frames}",
                field="model_config.n_frames",
            )
        if (mode == "single" and n_frames > 1) or (mode == "multi" and n_frames < 2):
            raise ModelError(
                f"temporal_mode is {mode!r} but n_frames is {n_frames}; give one of the two",
                field="model_config.n_frames",
            )
        return int(n_frames)
    if mode == "single":
        return 1
    start, end = window
    count = series.default_frames
    if series.days_per_frame is not None:
        count = min(count, (end - start) // timedelta(days=series.days_per_frame))
    return max(count, 2 if mode == "multi" else 1)


def merge_samples(card: ModelCard, samples: Sequence[Sample]) -> Sample:
    """One sample of several inputs of a region: the first, with the others as its extras.

    Raises:
        NoImageryError: The model needs frames of the same times, and there are none.
    """
    main = samples[0]
    series = card.modalities[main.modality].series
    if series is not None and series.align_frames:
        timed = [sample for sample in samples if sample.parts]
        if timed:
            common = set.intersection(*(set(sample.parts) for sample in timed))
            if not common:
                raise NoImageryError(
                    f"no part of the window has usable pixels of each of "
                    f"{', '.join(sample.modality for sample in timed)}"
                )
            samples = [
                _select_frames(sample, common) if sample.parts else sample for sample in samples
            ]
    return replace(samples[0], extras={sample.modality: sample for sample in samples[1:]})


def missing_frames_warnings(query: ImageQuery, sample: Sample) -> list[str]:
    """Warnings about missing frames."""
    missing = query.frames - len(sample.parts)
    if query.frames == 1 or not missing:
        return []
    return [
        f"{missing} of {query.frames} parts of the window have no usable pixel of "
        f"{query.modality}; the model reads {len(sample.parts)} frames"
    ]


def _select_frames(sample: Sample, parts: set[int]) -> Sample:
    """The frames of some parts of the window."""
    positions = [position for position, part in enumerate(sample.parts) if part in parts]
    return replace(
        sample,
        pixels=sample.pixels[positions],
        valid=None if sample.valid is None else sample.valid[positions],
        times=tuple(sample.times[position] for position in positions),
        parts=tuple(sample.parts[position] for position in positions),
    )
