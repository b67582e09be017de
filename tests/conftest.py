"""A clean environment for every test: own model store, own home, no settings from outside."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from models.store import StoredModel

for name in [name for name in os.environ if name.startswith(("GEOBENTO_", "BENTOML_"))]:
    if name not in ("GEOBENTO_PARITY", "GEOBENTO_SHARED"):
        del os.environ[name]
_HOME = tempfile.TemporaryDirectory(prefix="geobento-tests-")
# Read by bentoml when it is first imported, so it has to stand before any test module.
os.environ["BENTOML_HOME"] = str(Path(_HOME.name) / "bentoml")
os.environ["BENTOML_DO_NOT_TRACK"] = "1"
os.environ["GEOBENTO_HOME"] = str(Path(_HOME.name) / "geobento")

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("GEOBENTO_SHARED", ROOT.parent / "shared"))


@pytest.fixture(scope="session")
def home() -> Path:
    """The folder that stands for the user's home in this run."""
    return Path(_HOME.name)


@pytest.fixture(scope="session")
def mosaiks_stored() -> StoredModel:
    """`mosaiks` in the model store."""
    from models.importing import import_model

    return import_model("mosaiks")


@pytest.fixture(scope="session")
def demo_archive(home: Path) -> Path:
    """`catalog.json` of a demo archive."""
    from imagery.demo import ensure_demo_archive

    return ensure_demo_archive(home / "geobento" / "demo-archive")
