"""Libraries that carry networks."""

from __future__ import annotations

import subprocess
import sys

import pytest

from geobento.schemas.errors import ModelStoreError
from models.optional_import import optional_import
from tests.conftest import ROOT


@pytest.mark.parametrize("order", [("open_clip", "transformers"), ("transformers", "open_clip")])
def test_torchvision_does_not_get_in_the_way(order: tuple[str, str]) -> None:
    """Both libraries load beside CPU torch, whichever comes first."""
    pytest.importorskip("transformers")
    code = (
        "from models.optional_import import optional_import\n"
        f"for name in {order!r}: optional_import(name)\n"
        "optional_import('transformers').CLIPModel, optional_import('open_clip').CustomTextCLIP"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_library_that_is_missing_is_named() -> None:
    """The error says what to install."""
    with pytest.raises(ModelStoreError, match="no_such_library is not installed; run: make models"):
        optional_import("no_such_library")
