"""A clean environment for every test: own model store, own home, no settings from outside."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    import httpx

    from models.weights.stored_model import StoredModel
    from tests.servers import Keyed

for name in [name for name in os.environ if name.startswith(("GEOBENTO_", "BENTOML_"))]:
    if name not in ("GEOBENTO_PARITY", "GEOBENTO_SHARED"):
        del os.environ[name]
_HOME = tempfile.TemporaryDirectory(prefix="geobento-tests-")
# Read by bentoml when it is first imported, so it has to stand before any test module.
os.environ["BENTOML_HOME"] = str(Path(_HOME.name) / "bentoml")
os.environ["BENTOML_DO_NOT_TRACK"] = "1"
# The same numbers on every machine; tests of bfloat16 ask for it.
os.environ["GEOBENTO_PRECISION"] = "float32"
os.environ["GEOBENTO_DATA_DIR"] = str(Path(_HOME.name) / "geobento")

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("GEOBENTO_SHARED", ROOT.parent / "shared"))


hypothesis.settings.register_profile("project", deadline=None)  # machines are slow at times
hypothesis.settings.load_profile("project")


@pytest.fixture(scope="session")
def home() -> Path:
    """The folder that stands for the user's home in this run."""
    return Path(_HOME.name)


@pytest.fixture(scope="session")
def mosaiks_stored() -> StoredModel:
    """`mosaiks` in the model store."""
    from inference.importing import import_model

    return import_model("mosaiks")


@pytest.fixture(scope="session")
def demo_archive(home: Path) -> Path:
    """`catalog.json` of a demo archive."""
    from imagery.demo.archive import ensure_demo_archive

    return ensure_demo_archive(home / "geobento" / "demo-archive")


@pytest.fixture(scope="session")
def small_models() -> str:
    """Small models of the families that read images and texts, as GEOBENTO_MODELS has them."""
    pytest.importorskip("transformers")
    from inference.importing import import_model
    from models.clip.openai import Clip
    from models.dinov2.model import DinoV2
    from tests.models import small

    tags = [small.stored(cls).tag for cls in (Clip, DinoV2)]
    return ",".join([*tags, import_model("mosaiks").tag])


@pytest.fixture(scope="session")
def small_service(
    small_models: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """The service with small models."""
    from tests.servers import serving

    log = tmp_path_factory.mktemp("small-service") / "log"
    with serving(log, GEOBENTO_MODELS=small_models) as started:
        yield started


@pytest.fixture(scope="session")
def client(
    tmp_path_factory: pytest.TempPathFactory, mosaiks_stored: object, demo_archive: object
) -> Iterator[httpx.Client]:
    """The service with `mosaiks` and the demo archive."""
    from tests.servers import serving

    log = tmp_path_factory.mktemp("service") / "log"
    with serving(
        log,
        GEOBENTO_MODELS="mosaiks",
        GEOBENTO_MAX_BODY_MB="4",
        GEOBENTO_MAX_REGION_PIXELS="250000",
    ) as started:
        yield started


@pytest.fixture(scope="session")
def keyed_service(
    mosaiks_stored: object, demo_archive: object, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Keyed]:
    """The service with `mosaiks`, a key, CORS, and metrics on a port of their own."""
    from geobento.config import api_keys
    from tests.servers import Keyed, free_port, serving

    key, entry = api_keys.generate_key("tests")
    folder = tmp_path_factory.mktemp("keyed-service")
    file, port = folder / "keys", free_port()
    file.write_text(f"# API keys\n{entry}\n")
    with serving(
        folder / "log",
        GEOBENTO_MODELS="mosaiks",
        GEOBENTO_API_KEYS_FILE=str(file),
        GEOBENTO_REQUIRE_KEYS="on",
        GEOBENTO_KEY_MAX_CONCURRENCY="8",
        GEOBENTO_CORS_ORIGINS="https://maps.example.com",
        GEOBENTO_METRICS_PORT=str(port),
    ) as client:
        yield Keyed(str(client.base_url).rstrip("/"), key, port, folder / "log")
