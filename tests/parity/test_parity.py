"""Our numbers against those of the reference implementations, for every case of a directory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from inference import pooling
from tests.parity.cases import (
    INPUT_TOLERANCE,
    OUTPUT_TOLERANCE,
    ROUNDING,
    Case,
    cases_of,
    reading_of,
)


@pytest.mark.parametrize("folder", cases_of(""))
def test_case(folder: Path) -> None:
    """Every stage that a case states is reproduced within the tolerance."""
    case = Case(folder)
    loaded = case.loaded()
    inputs = case.prepared(loaded.model)
    encoded = loaded.encode([inputs])
    image = loaded.model.card.image
    vector = pooling.pool(encoded, "native")[0].numpy()
    if image is not None and image.normalize:
        vector = vector / np.linalg.norm(vector)
    stages = {
        "network_input": (
            next(iter(loaded.collate_inputs([inputs]).values()))[0].numpy(),
            INPUT_TOLERANCE,
        ),
        "tokens": (encoded.tokens[0].numpy(), OUTPUT_TOLERANCE),
        "grid": (pooling.token_grid(encoded)[0].numpy(), OUTPUT_TOLERANCE),
        "pooled": (pooling.pool(encoded, "mean")[0].numpy(), OUTPUT_TOLERANCE),
        "pooled_mean": (pooling.pool(encoded, "mean")[0].numpy(), OUTPUT_TOLERANCE),
        "image_features": (pooling.pool(encoded, "native")[0].numpy(), OUTPUT_TOLERANCE),
        "embedding": (vector, OUTPUT_TOLERANCE),
    }
    if encoded.class_token is not None:
        stages["cls"] = (pooling.pool(encoded, "cls")[0].numpy(), OUTPUT_TOLERANCE)
    reading = reading_of(loaded.model.card.id)
    if reading is not None and hasattr(reading, "stages"):
        # Stages that only this model has, or that its reference implementation names otherwise.
        stages |= reading.stages(loaded, inputs, encoded)
    checked = [stage for stage in stages if stage in case.expected]
    assert {"embedding", "pooled", "pooled_mean"} & set(checked), "the case states no result"
    for stage in checked:
        ours, tolerance = stages[stage]
        np.testing.assert_allclose(
            ours, case.expected[stage], rtol=ROUNDING, atol=tolerance, err_msg=stage
        )


@pytest.mark.parametrize("folder", cases_of("", given="text_ids"))
def test_texts_of_a_case(folder: Path) -> None:
    """The reference's token ids give its text features, one by one and with more padding."""
    case = Case(folder)
    loaded = case.loaded()
    text = loaded.model.card.text
    assert text is not None
    for position, ids in enumerate(case.inputs["text_ids"]):
        expected = {
            stage: case.expected[stage][position] for stage in ("text_features", "text_embedding")
        }
        for length in (len(ids), text.max_tokens):
            padded = np.full(length, case.padding_id(), np.int64)
            padded[: len(ids)] = ids
            encoded = loaded.encode([{text.modality: padded}])
            features = pooling.pool(encoded, "native")[0].numpy()
            np.testing.assert_allclose(
                features, expected["text_features"], rtol=0, atol=OUTPUT_TOLERANCE
            )
            np.testing.assert_allclose(
                features / np.linalg.norm(features),
                expected["text_embedding"],
                rtol=0,
                atol=OUTPUT_TOLERANCE,
            )


@pytest.mark.parametrize(
    "folder", cases_of("dino_v2_vits14", expected="reference_server_embedding")
)
def test_dino_as_vitrivr_prepares_images(folder: Path) -> None:
    """`config.preprocessing = vitrivr` gives the vectors of an existing vitrivr index."""
    case = Case(folder)
    loaded = case.loaded()
    encoded = loaded.encode([case.prepared(loaded.model, "vitrivr")], "vitrivr")
    vector = pooling.pool(encoded, "native")[0].numpy()
    expected = case.expected["reference_server_embedding"]
    np.testing.assert_allclose(vector, expected, rtol=0, atol=OUTPUT_TOLERANCE)


@pytest.mark.parametrize("folder", cases_of("dino_v2_vits14", expected="hub_tokens"))
def test_the_reference_positions_from_the_librarys_file(folder: Path) -> None:
    """Weights from the hub give the reference implementation's numbers with the variant `hub`."""
    case = Case(folder)
    case.record["variant"] = "hub"
    loaded = case.loaded()
    encoded = loaded.encode([case.prepared(loaded.model)])
    np.testing.assert_allclose(
        encoded.tokens[0].numpy(), case.expected["hub_tokens"], rtol=0, atol=OUTPUT_TOLERANCE
    )


@pytest.mark.parametrize("folder", cases_of("mosaiks", expected="embedding_bias1"))
def test_mosaiks_with_bias(folder: Path) -> None:
    """A bias that is not zero is subtracted from both signs, as in the paper's code."""
    case = Case(folder)
    case.tensors["biases"] = torch.ones_like(case.tensors["biases"])
    loaded = case.loaded()
    encoded = loaded.encode([case.prepared(loaded.model)])
    vector = pooling.pool(encoded, "mean")[0].numpy()
    np.testing.assert_allclose(
        vector, case.expected["embedding_bias1"], rtol=0, atol=OUTPUT_TOLERANCE
    )
