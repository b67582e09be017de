"""Which frames of a window a model reads, and which inputs go together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from geobento.schemas.cards import ModelCard, TimeSeries
from geobento.schemas.errors import ModelError, NoImageryError
from geobento.schemas.sample import Sample
from models.galileo.card import CARD as GALILEO
from models.mosaiks.model import Mosaiks
from pipeline.planning import temporal

MOSAIKS = Mosaiks.card

START = datetime(2023, 1, 1, tzinfo=UTC)


def card(**fields: Any) -> ModelCard:
    """Galileo's card with another series."""
    spec = GALILEO.modalities["s2"].model_copy(update={"series": TimeSeries(**fields)})
    return GALILEO.model_copy(update={"modalities": {**GALILEO.modalities, "s2": spec}})


STEPS = {"default_frames": 12, "max_frames": 24, "days_per_frame": 30}
FIXED = {"default_frames": 8, "max_frames": 16}


@pytest.mark.parametrize(
    ("fields", "days", "options", "count"),
    [
        (STEPS, 1, {}, 1),
        (STEPS, 59, {}, 1),
        (STEPS, 60, {}, 2),
        (STEPS, 365, {}, 12),
        (STEPS, 3650, {}, 12),
        (STEPS, 365, {"temporal_mode": "single"}, 1),
        (STEPS, 10, {"temporal_mode": "multi"}, 2),
        (STEPS, 365, {"temporal_mode": "multi"}, 12),
        (STEPS, 365, {"n_frames": 24}, 24),
        (STEPS, 365, {"n_frames": 1, "temporal_mode": "single"}, 1),
        (STEPS, 365, {"n_frames": 3, "temporal_mode": "multi"}, 3),
        (FIXED, 10, {}, 8),
        (FIXED, 10, {"temporal_mode": "single"}, 1),
    ],
)
def test_frames_of_a_window(
    fields: dict[str, Any], days: int, options: dict[str, Any], count: int
) -> None:
    """As many as the card says for the window, unless the request says otherwise."""
    window = START, START + timedelta(days=days)
    assert temporal.frame_count(card(**fields), "s2", window, options) == count


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_frames": 25}, "up to 24"),
        ({"n_frames": 2, "temporal_mode": "single"}, "give one of the two"),
        ({"n_frames": 1, "temporal_mode": "multi"}, "give one of the two"),
    ],
)
def test_invalid_frames(options: dict[str, Any], message: str) -> None:
    """What contradicts itself or the card is refused, with the parameter that is wrong."""
    window = START, START + timedelta(days=365)
    with pytest.raises(ModelError, match=message) as caught:
        temporal.frame_count(card(**STEPS), "s2", window, options)
    assert caught.value.field == "model_config.n_frames"


def test_models_of_one_image() -> None:
    """They read one composite of the whole window."""
    modality = str(MOSAIKS.default_modality)
    window = START, START + timedelta(days=365)
    assert temporal.frame_count(MOSAIKS, modality, window, {}) == 1
    with pytest.raises(ModelError, match="one image"):
        temporal.frame_count(MOSAIKS, modality, window, {"n_frames": 2})


def timed(modality: str, *parts: int) -> Sample:
    """A time series whose values say which part of the window they show."""
    pixels = np.ones((len(parts), 1, 2, 2)) * np.reshape(parts, (-1, 1, 1, 1))
    valid = np.ones((len(parts), 2, 2), bool)
    times = tuple(START + timedelta(days=30 * part) for part in parts)
    return Sample(pixels, ("B",), modality, valid=valid, times=times, parts=parts)


def test_frames_of_several_modalities_show_the_same_time() -> None:
    """Where a model needs that, parts that one of them lacks are left out of all."""
    whole = temporal.merge_samples(
        card(**STEPS, align_frames=True), [timed("s2", 0, 1, 3), timed("s1", 1, 3)]
    )
    radar = whole.extras["s1"]
    assert whole.parts == radar.parts == (1, 3)
    assert whole.times == radar.times
    assert whole.pixels[:, 0, 0, 0].tolist() == [1, 3]
    assert whole.valid is not None
    assert whole.valid.shape == (2, 2, 2)


def test_images_go_with_every_frame() -> None:
    """What has no time of its own, such as elevation, takes no frame away."""
    elevation = Sample(np.zeros((1, 2, 2)), ("elevation",), "srtm")
    whole = temporal.merge_samples(card(**STEPS, align_frames=True), [timed("s2", 0, 1), elevation])
    assert whole.parts == (0, 1)
    assert set(whole.extras) == {"srtm"}


def test_frames_may_differ_where_the_model_says_so() -> None:
    """Without the need, every modality keeps its own."""
    whole = temporal.merge_samples(card(**FIXED), [timed("s2", 0), timed("s1", 1, 2)])
    assert (whole.parts, whole.extras["s1"].parts) == ((0,), (1, 2))


def test_no_common_frame() -> None:
    """422, naming the modalities."""
    with pytest.raises(NoImageryError, match="each of s2, s1"):
        temporal.merge_samples(card(**STEPS, align_frames=True), [timed("s2", 0), timed("s1", 1)])
