"""The client as `pip install geobento` gives it: without torch, BentoML and rasterio."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.servers import serving

pytestmark = pytest.mark.slow

ABSENT = ("torch", "bentoml", "rasterio", "prometheus_client", "starlette", "xarray")
NOT_PACKAGED = shutil.ignore_patterns(".*", "build", "*.egg-info", "shared", "__pycache__", "site")

REGION = """
import json
import geobento
from geobento.schemas.errors import MissingExtra
from geobento.schemas.requests import GeoEmbeddingRequest
region = geobento.PointBuffer(34.066, -3.401, 1000)
june = geobento.TemporalSpec.range("2023-06-01", "2023-07-01")
"""


def clean_environment() -> dict[str, str]:
    """The variables without those that lead to the working tree or to a server."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "GEOBENTO_URL")}


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bin` of an environment that holds the wheel and its base dependencies, and nothing else."""
    folder = tmp_path_factory.mktemp("light")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    programs = folder / "venv" / "bin"
    pip = [str(programs / "python"), "-m", "pip", "--disable-pip-version-check"]
    environment = clean_environment()
    probe = subprocess.run(
        [*pip, "download", "-q", "--no-deps", "-d", folder / "probe", "click"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if probe.returncode and not os.environ.get("CI"):
        pytest.skip(f"pip reaches no package index: {probe.stderr[-200:]}")
    # A copy, so that no older build in the working tree ends up in the wheel.
    shutil.copytree(ROOT, folder / "source", ignore=NOT_PACKAGED)
    build: list[str | Path] = [
        "wheel",
        "-q",
        "--no-deps",
        "-w",
        folder / "wheel",
        folder / "source",
    ]
    subprocess.run([*pip, *build], check=True, env=environment)
    (wheel,) = (folder / "wheel").glob("geobento-*.whl")
    subprocess.run([*pip, "install", "-q", wheel], check=True, env=environment)
    return programs


@pytest.fixture(scope="module")
def url(
    tmp_path_factory: pytest.TempPathFactory, mosaiks_stored: object, demo_archive: object
) -> Iterator[str]:
    """Address of a service with `mosaiks` and the demo archive."""
    log = tmp_path_factory.mktemp("service") / "log"
    with serving(log, GEOBENTO_MODELS="mosaiks") as client:
        yield str(client.base_url)


def run(light: Path, *command: str, url: str | None = None) -> subprocess.CompletedProcess[str]:
    """A program of the environment, outside the working tree."""
    environment = clean_environment()
    if url is not None:
        environment["GEOBENTO_URL"] = url
    return subprocess.run(
        [light / command[0], *command[1:]],
        cwd=light,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_packages_of_the_server_are_absent(light: Path) -> None:
    script = (
        "import importlib.util as util, geobento\n"
        f"print([name for name in {ABSENT!r} if util.find_spec(name)], geobento.__file__)"
    )
    result = run(light, "python", "-c", script)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("[] ")
    assert str(light.parent) in result.stdout


def test_functions_and_client_get_the_same_vector(light: Path, url: str) -> None:
    script = f"""{REGION}
vector = geobento.get_embedding("mosaiks", spatial=region, temporal=june)
with geobento.Client({url!r}) as client:
    (same,) = client.geo_embedding(
        GeoEmbeddingRequest(model="mosaiks", spatials=[region], temporal=june)
    )
print(json.dumps([vector.data.tolist(), same.data.tolist()]))
"""
    result = run(light, "python", "-c", script, url=url)
    assert result.returncode == 0, result.stderr
    vector, same = json.loads(result.stdout)
    assert len(vector) > 1
    assert vector == same


def test_command_line_writes_vectors(light: Path, url: str, tmp_path: Path) -> None:
    out = tmp_path / "vectors.npz"
    window = ("--from", "2023-06-01", "--to", "2023-07-01")
    point = ("--point", "34.066,-3.401")
    result = run(light, "geobento", "embed", "mosaiks", *point, *window, "--out", str(out), url=url)
    assert result.returncode == 0, result.stderr
    assert out.stat().st_size > 0


def test_without_a_url_one_line_says_what_to_do(light: Path) -> None:
    script = f"""{REGION}
try:
    geobento.get_embedding("mosaiks", spatial=region, temporal=june)
except MissingExtra as error:
    print(error)
"""
    result = run(light, "python", "-c", script)
    assert result.returncode == 0, result.stderr
    (line,) = result.stdout.splitlines()
    assert "pip install 'geobento[serve]'" in line
    assert "GEOBENTO_URL" in line
