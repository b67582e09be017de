"""The command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from geobento.cli import images as image_commands
from geobento.cli.app import main
from geobento.schemas.embedding import EmbeddingMeta
from geobento.schemas.plan import EmbeddingPlan, RegionPlan
from geobento.version import __version__
from models.mosaiks.model import Mosaiks
from tests import geotiffs
from tests.conftest import ROOT
from tests.geotiffs import geotiff

CARD = Mosaiks.card

FIELD = str(ROOT / "tests" / "data" / "field.jpg")
PATCH = ["--buffer", "200"]
JUNE = ["--from", "2023-06-01", "--to", "2023-07-01"]


def run(*arguments: str) -> Result:
    """What a command prints and how it ends."""
    return CliRunner().invoke(main, arguments)


def failed(*arguments: str) -> str:
    """The message of a command that fails, which is no traceback."""
    done = run(*arguments)
    assert done.exit_code != 0
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.output


def test_all_commands_are_listed() -> None:
    """Also those that other packages define."""
    shown = run("--help").output
    commands = "models demo-archive embed embed-image embed-pixels plan inspect"
    for command in commands.split():
        assert command in shown


def test_models_are_imported_listed_and_described(mosaiks_stored: object) -> None:
    """Importing twice is one entry; the card is JSON."""
    first, second = run("models", "import", "mosaiks"), run("models", "import", "rcf")
    assert first.output == second.output
    assert first.output.strip() in run("models", "list").output
    assert orjson.loads(run("models", "describe", "mosaiks").output)["id"] == "mosaiks"


@pytest.mark.usefixtures("mosaiks_stored", "demo_archive")
def test_regions_are_embedded(tmp_path: Path) -> None:
    """Several points, to a file with vectors, inputs and metadata."""
    out = tmp_path / "regions.npz"
    points = ["--point", "34.066,-3.401", "--point=11.03,48.01"]
    done = run("embed", "mosaiks", *points, "--buffer", "200", *JUNE, "--out", str(out))
    assert done.exit_code == 0, done.output
    with np.load(out) as written:
        assert written["embeddings"].shape == (2, 1024)
        assert written["inputs"].tolist() == ["34.066,-3.401", "11.03,48.01"]
        meta = EmbeddingMeta.model_validate_json(str(written["meta"][1]))
    assert meta.crs == "EPSG:32632"
    assert [path.name for path in tmp_path.iterdir()] == ["regions.npz"]


@pytest.mark.usefixtures("mosaiks_stored", "demo_archive")
def test_a_grid_is_printed_as_a_line_of_json() -> None:
    """Without --out, one line per region."""
    done = run("embed", "mosaiks", "--point", "34.066,-3.401", "--buffer", "100", *JUNE, "--grid")
    line = orjson.loads(done.stdout)
    assert line["shape"] == [1024, 1, 1]


@pytest.mark.usefixtures("mosaiks_stored", "demo_archive")
def test_a_plan_is_a_line_of_json_per_region() -> None:
    """What the same options of `embed` would do; `--grid` and `--input-prep` count."""
    points = ["--point", "34.066,-3.401", "--point=11.03,48.01"]
    done = run("plan", "mosaiks", *points, *PATCH, "--scale-m", "20", *JUNE, "--grid")
    lines = [orjson.loads(line) for line in done.stdout.splitlines()]
    assert [line.pop("input") for line in lines] == ["34.066,-3.401", "11.03,48.01"]
    first, second = (EmbeddingPlan.model_validate(line).regions[0] for line in lines)
    assert isinstance(first, RegionPlan)
    assert isinstance(second, RegionPlan)
    assert (first.grid.height, first.grid.width, first.shape) == (20, 20, None)
    assert second.grid.crs == "EPSG:32632"
    tiles = ["--input-prep", "tile", "--tile-size", "24", "--tile-stride", "16"]
    tiled = orjson.loads(run("plan", "mosaiks", *points[:2], *PATCH, *JUNE, *tiles).stdout)
    assert tiled["regions"][0]["tiles"] == {"size": 24, "rows": [0, 16], "columns": [0, 16]}
    assert "tile_size" in failed("plan", "mosaiks", *points, *JUNE, *tiles[:2])


@pytest.mark.usefixtures("mosaiks_stored", "demo_archive")
def test_pixels_are_inspected(tmp_path: Path) -> None:
    """Statistics as a line of JSON, the image as a file; for a model, or for a sensor."""
    out, region = tmp_path / "quicklook.png", ["--point", "34.066,-3.401", *PATCH]
    done = run("inspect", "mosaiks", *region, *JUNE, "--out", str(out))
    line = orjson.loads(done.stdout)
    assert "quicklook" not in line
    assert (line["input"], line["modality"]) == ("34.066,-3.401", "s2")
    assert len(line["bands"]) == len(line["sensor"]["bands"])
    with Image.open(out) as image:
        assert (image.format, image.size) == ("PNG", (40, 40))
    assert [path.name for path in tmp_path.iterdir()] == ["quicklook.png"]
    sensor = ["--collection", "COPERNICUS/S2_SR_HARMONIZED", "--bands", "B8,B4"]
    alone = orjson.loads(run("inspect", *region, *JUNE, *sensor, "--scale-m", "20").stdout)
    assert [band["band"] for band in alone["bands"]] == ["B8", "B4"]
    assert (alone["modality"], alone["pixels"]["width"]) == (None, 20)
    assert "go together" in failed("inspect", *region, *JUNE, *sensor[:2])
    assert "exactly one of" in failed("inspect", *region, *JUNE)
    assert "exactly one of" in failed("inspect", "mosaiks", *region, *JUNE, *sensor)


@pytest.mark.usefixtures("mosaiks_stored", "demo_archive")
@pytest.mark.parametrize("command", ["embed", "plan", "inspect"])
def test_a_scale_of_nothing_is_refused(command: str) -> None:
    """A zero is a value and not the default."""
    shown = failed(command, "mosaiks", "--point", "34.066,-3.401", *JUNE, "--scale-m", "0")
    assert "scale_m" in shown


@pytest.mark.usefixtures("mosaiks_stored")
def test_images_are_embedded(tmp_path: Path) -> None:
    """Files in, vectors out; unit length where asked for."""
    out = tmp_path / "images"
    done = run("embed-image", FIELD, FIELD, "--normalize", "--out", str(out))
    assert done.exit_code == 0, done.output
    with np.load(tmp_path / "images.npz") as written:
        np.testing.assert_allclose(np.linalg.norm(written["embeddings"], axis=1), 1, rtol=1e-5)


@pytest.mark.usefixtures("mosaiks_stored")
def test_user_supplied_pixels_are_embedded(tmp_path: Path) -> None:
    """A GeoTIFF that says all, and an array of which the options say the same, agree."""
    numbers = np.random.default_rng(0).integers(200, 4000, (12, 16, 16)).astype(np.uint16)
    bands = CARD.modalities["s2"].sensor.bands
    (tmp_path / "own.tif").write_bytes(geotiff(numbers, bands=bands, units="digital numbers"))
    np.save(tmp_path / "own.npy", numbers)
    flags = ["--bands", ",".join(bands), "--units", "digital numbers", "--crs", geotiffs.CRS]
    flags += ["--transform", ",".join(map(str, geotiffs.TRANSFORM)), "--nodata=1"]
    more = ["--modality", "sentinel-2", "--time", "2023-06-11", "--grid"]
    lines = [
        orjson.loads(run("embed-pixels", str(tmp_path / name), *options, *more).stdout)
        for name, options in (("own.tif", []), ("own.npy", flags))
    ]
    assert lines[0]["data"] == lines[1]["data"]
    metas = [EmbeddingMeta.model_validate(line["meta"]) for line in lines]
    assert metas[0].grid == metas[1].grid is not None
    assert [meta.source for meta in metas] == ["GeoTIFF", "NumPy array"]
    assert [[scene.time for scene in meta.scenes or []] for meta in metas] == [
        ["2023-06-11T00:00:00Z"]
    ] * 2
    out = tmp_path / "out.npz"
    done = run("embed-pixels", str(tmp_path / "own.tif"), "--model", "rcf", "--out", str(out))
    assert done.exit_code == 0, done.output
    with np.load(out) as written:
        assert written["embeddings"].shape == (1, 1024)
    assert "units" in failed("embed-pixels", str(tmp_path / "own.npy"), *flags[:2])
    assert "such as 10,0,617420" in failed(
        "embed-pixels", str(tmp_path / "own.npy"), "--transform", "10,0"
    )


@pytest.mark.usefixtures("mosaiks_stored", "demo_archive")
def test_mistakes_are_explained(tmp_path: Path) -> None:
    """Every failure is a sentence."""
    (tmp_path / "note.txt").write_text("no image")
    point = ["--point", "34.066,-3.401"]
    assert "LON,LAT" in failed("embed", "mosaiks", "--point", "here", *JUNE)
    assert "available" in failed("embed", "nope", *point, *JUNE)
    assert "must be after start" in failed("embed", "mosaiks", *point, "--from", "2023-06-01",
                                           "--to", "2023-05-01")  # fmt: skip
    assert "no usable pixel" in failed("embed", "mosaiks", "--point", "0,0", *JUNE)
    assert "not an image" in failed("embed-image", str(tmp_path / "note.txt"))
    assert "no variant" in failed("models", "import", "mosaiks", "--variant", "huge")
    assert "fitted" in failed("models", "import", "mosaiks", "--variant", "rolf2021")
    assert "available" in failed("models", "describe", "nope")
    assert "does not hold" in failed("models", "remove", "mosaiks:0000")
    assert "not empty" in failed("demo-archive", str(tmp_path))


def image(folder: Path, name: str, seed: int) -> str:
    """A small PNG of noise."""
    pixels = np.random.default_rng(seed).integers(0, 255, (9, 11, 3), dtype=np.uint8)
    file = folder / name
    Image.fromarray(pixels).save(file)
    return str(file)


@pytest.mark.usefixtures("mosaiks_stored")
def test_many_images_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More files than one request takes: row i of the file belongs to image i."""
    monkeypatch.setattr(image_commands, "IMAGES_PER_REQUEST", 2)
    files = [image(tmp_path, f"{i}.png", i) for i in range(3)]
    out = tmp_path / "out.npz"
    assert run("embed-image", *files, "--out", str(out)).exit_code == 0
    with np.load(out) as written:
        assert written["inputs"].tolist() == files
        vectors = written["embeddings"]
    assert len(np.unique(vectors, axis=0)) == len(files)
    lines = run("embed-image", *reversed(files)).stdout.splitlines()
    for line, file, vector in zip(lines, reversed(files), vectors[::-1], strict=True):
        printed = orjson.loads(line)
        assert (printed["input"], printed["shape"]) == (file, [1024])
        assert EmbeddingMeta.model_validate(printed["meta"]).model == "mosaiks"
        np.testing.assert_allclose(printed["data"], vector, rtol=1e-6)


@pytest.mark.parametrize("point", ["here", "34.066", "1,2,3", "34.066;-3.4", "a,b", ""])
def test_invalid_points(point: str) -> None:
    """A point is two numbers; the message shows how."""
    shown = failed("embed", "mosaiks", "--point", point, *JUNE)
    assert "is not LON,LAT such as 34.066,-3.401" in shown


@pytest.mark.parametrize(("point", "field"), [("0,95", "lat"), ("nan,0", "lon")])
def test_points_outside_the_earth(point: str, field: str) -> None:
    """Coordinates outside the Earth: the message says which of the two is wrong."""
    assert f"Error: {field}: " in failed("embed", "mosaiks", "--point", point, *JUNE)


def test_the_version_is_that_of_the_package() -> None:
    """`--version` shows the version of the installed package."""
    assert run("--version").output == f"geobento, version {__version__}\n"


def test_settings_are_checked_before_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unusable variable is named, without a traceback."""
    monkeypatch.setenv("GEOBENTO_MAX_CLIENT_BATCH_SIZE", "many")
    assert "Error: GEOBENTO_MAX_CLIENT_BATCH_SIZE" in failed("embed-image", FIELD)


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """With GEOBENTO_URL the command line asks that server and no other."""
    monkeypatch.setenv("GEOBENTO_URL", "http://127.0.0.1:9")
    assert "Error: no GeoBento server responds at http://127.0.0.1:9" in failed(
        "embed-image", FIELD
    )


def test_checkpoints_that_cannot_be_read(tmp_path: Path) -> None:
    """Foreign files are an error message and not a traceback."""
    checkpoint, config = tmp_path / "a.pt", tmp_path / "a.json"
    checkpoint.write_bytes(b"no checkpoint")
    config.write_text('{"variant": "rolf2021"}')
    files = ["--checkpoint", str(checkpoint), "--config", str(config)]
    command = ["models", "import", "mosaiks"]
    assert "not a checkpoint of tensors" in failed(*command, *files)
    assert "belongs to a --checkpoint" in failed(*command, *files[2:])
    assert "not both" in failed(*command, *files, "--weights", "dummy")
    config.write_text("[]")
    assert "not a JSON object" in failed(*command, *files)


@pytest.mark.usefixtures("mosaiks_stored")
def test_an_output_folder_that_does_not_exist(tmp_path: Path) -> None:
    """The message names the missing folder."""
    failed("embed-image", FIELD, "--out", str(tmp_path / "missing" / "a.npz"))


def test_the_cache_is_shown_and_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With counts and sizes; before it is there, and while it is off."""
    folder = tmp_path / "patches"
    monkeypatch.setenv("GEOBENTO_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("GEOBENTO_CACHE_MB", "2")
    assert run("cache", "path").output == f"{folder}\n"
    assert "patches     0" in run("cache", "info").output
    assert not folder.exists()
    folder.mkdir()
    for digit in "ab":
        (folder / f"{digit * 64}.patch").write_bytes(bytes(2**19))
    monkeypatch.setenv("GEOBENTO_CACHE", "off")
    shown = run("cache", "info").output
    for part in ("no, GEOBENTO_CACHE is off", "patches     2", "1.0 of 2.0 MiB", "oldest use"):
        assert part in shown
    assert run("cache", "clear").output == "removed 2 patches, 1.0 MiB\n"
    assert not list(folder.iterdir())
    folder.rmdir()
    folder.write_text("")
    assert "cannot be read" in failed("cache", "info")
    assert "cannot be emptied" in failed("cache", "clear")
