"""Which models read the bands of a sensor."""

from __future__ import annotations

from typing import Any

import pytest

from geobento.schemas.cards import ServedModel
from geobento.schemas.specs import SensorSpec
from models.clip.openai import Clip
from models.dofa.model import Dofa
from models.mosaiks.model import Mosaiks
from models.thor.model import Thor
from pipeline.planning.compatibility import model_compatibility
from tests.compat.vitrivr_service import opened

S2_BANDS = Mosaiks.card.modalities["s2"].sensor.bands

L2A, L1C = "COPERNICUS/S2_SR_HARMONIZED", "COPERNICUS/S2_HARMONIZED"
RADAR = "COPERNICUS/S1_GRD_FLOAT"
SERVED = [opened(cls).served for cls in (Mosaiks, Dofa, Thor, Clip)]


def sensor(collection: str = L2A, bands: tuple[str, ...] = S2_BANDS, **fields: Any) -> SensorSpec:
    """A sensor, that of `mosaiks` unless said otherwise."""
    return SensorSpec(collection, bands, **fields)


@pytest.mark.parametrize(
    ("requested", "reading"),
    [
        (sensor(), {"mosaiks": "s2", "thor": "s2"}),
        (sensor(bands=("B4", "B3", "B2")), {"dofa": "s2", "thor": "s2"}),
        (sensor(bands=S2_BANDS[::-1]), {"thor": "s2"}),
        (sensor(RADAR, ("VV", "VH")), {"dofa": "s1", "thor": "s1"}),
        (sensor(bands=("B4", "B4")), {}),
        (sensor(bands=("B4",), modality="sentinel-2"), {"dofa": "s2", "thor": "s2"}),
        (sensor(bands=("B4",), modality="s1"), {}),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, SensorSpec) else "",
)
def test_the_bands_decide(requested: SensorSpec, reading: dict[str, str]) -> None:
    """One entry per model in their order; if a model cannot read the sensor, a note says why."""
    result = model_compatibility(requested, SERVED)
    assert [fit.model for fit in result] == [served.card.id for served in SERVED]
    assert {fit.model: fit.modality for fit in result if fit.compatible} == reading
    for fit in result:
        if not fit.compatible:
            assert fit.modality is None
            assert fit.note is not None
            assert fit.note.startswith(fit.model)


def note(requested: SensorSpec, served: ServedModel) -> str:
    """The note of one model."""
    (result,) = model_compatibility(requested, [served])
    return result.note or ""


def test_notes() -> None:
    """Which bands, which modality, or that there is no imagery at all."""
    mosaiks, dofa, _, clip = SERVED
    wrong = sensor(bands=("B4", "B3"))
    assert note(sensor(), mosaiks) == ""
    assert "reads the bands B1, B2" in note(wrong, mosaiks)
    assert "got B4, B3" in note(wrong, mosaiks)
    assert "does not read modality 's1' but s2" in note(sensor(modality="s1"), mosaiks)
    assert note(sensor(), clip) == f"{clip.card.id} reads no satellite imagery"
    both = note(sensor(bands=("B99",)), dofa)
    assert "'s2'" in both
    assert "'s1'" in both


def test_another_collection_has_a_note() -> None:
    """It fits, as in a request, and the note says that units may differ."""
    (result,) = model_compatibility(sensor(L1C), SERVED[:1])
    assert (result.compatible, result.modality) == (True, "s2")
    assert result.note == f"mosaiks is made for {L2A}: check the units"


def test_only_what_is_served_counts() -> None:
    """Weights that lack an input do not read it, whatever the card says."""
    radar_only = SERVED[1].model_copy(update={"modalities": ["s1"]})
    (result,) = model_compatibility(sensor(bands=("B4",)), [radar_only])
    assert not result.compatible


def test_options_describe_bands_of_their_model() -> None:
    """Bands that the request describes fit the model that it asks, and no other."""
    request = sensor("SOME/COLLECTION", ("nir", "swir"))
    described = {"dofa": {"wavelengths_um": [0.9, 1.6], "mean": [0, 0], "std": [1, 1]}}
    assert [fit.compatible for fit in model_compatibility(request, SERVED, described)] == [
        False,
        True,
        False,
        False,
    ]
    assert not any(fit.compatible for fit in model_compatibility(request, SERVED))
