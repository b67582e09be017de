"""The second sensor of DOFA's parity cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inference import pooling
from tests.parity.cases import INPUT_TOLERANCE, OUTPUT_TOLERANCE, Case, cases_of
from tests.parity.reading import dofa


@pytest.mark.parametrize("folder", cases_of("dofa", given="s1_u8"))
def test_sentinel_1_of_a_case(folder: Path) -> None:
    """The same weights with two bands at another wavelength give the reference's numbers."""
    case = Case(folder)
    loaded = case.loaded()
    inputs = dofa.prepared_s1(loaded.model, case.inputs)
    encoded = loaded.encode([inputs])
    for stage, ours, tolerance in (
        ("s1_network_input", inputs["s1"], INPUT_TOLERANCE),
        ("s1_tokens", encoded.tokens[0].numpy(), OUTPUT_TOLERANCE),
        ("s1_embedding", pooling.pool(encoded, "native")[0].numpy(), OUTPUT_TOLERANCE),
    ):
        np.testing.assert_allclose(
            ours, case.expected[stage], rtol=0, atol=tolerance, err_msg=stage
        )
