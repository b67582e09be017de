"""The command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest
from click.testing import CliRunner, Result

from geobento.cli import main
from geobento.embedding import EmbeddingMeta
from tests.conftest import ROOT

FIELD = str(ROOT / "tests" / "data" / "field.jpg")
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
    """Also those that live in other rooms."""
    shown = run("--help").output
    for command in ("models", "demo-archive", "embed", "embed-image"):
        assert command in shown


def test_models_are_imported_listed_and_described(mosaiks_stored: object) -> None:
    """Importing twice is one entry; the card is JSON."""
    first, second = run("models", "import", "mosaiks"), run("models", "import", "rcf")
    assert first.output == second.output
    assert first.output.strip() in run("models", "list").output
    assert orjson.loads(run("models", "describe", "mosaiks").output)["id"] == "mosaiks"


@pytest.mark.usefixtures("mosaiks_stored", "demo_archive")
def test_places_are_embedded(tmp_path: Path) -> None:
    """Several points, to a file with vectors, inputs and metadata."""
    out = tmp_path / "places.npz"
    points = ["--point", "34.066,-3.401", "--point=11.03,48.01"]
    done = run("embed", "mosaiks", *points, "--buffer", "200", *JUNE, "--out", str(out))
    assert done.exit_code == 0, done.output
    with np.load(out) as written:
        assert written["embeddings"].shape == (2, 1024)
        assert written["inputs"].tolist() == ["34.066,-3.401", "11.03,48.01"]
        meta = EmbeddingMeta.model_validate_json(str(written["meta"][1]))
    assert meta.imagery is not None
    assert meta.imagery.grid.crs == "EPSG:32632"
    assert [path.name for path in tmp_path.iterdir()] == ["places.npz"]


@pytest.mark.usefixtures("mosaiks_stored", "demo_archive")
def test_a_grid_is_printed_as_a_line_of_json() -> None:
    """Without --out, one line per place."""
    done = run("embed", "mosaiks", "--point", "34.066,-3.401", "--buffer", "100", *JUNE, "--grid")
    line = orjson.loads(done.stdout)
    assert line["shape"] == [1024, 1, 1]


@pytest.mark.usefixtures("mosaiks_stored")
def test_pictures_are_embedded(tmp_path: Path) -> None:
    """Files in, vectors out; unit length where asked for."""
    out = tmp_path / "pictures"
    done = run("embed-image", FIELD, FIELD, "--normalize", "--out", str(out))
    assert done.exit_code == 0, done.output
    with np.load(tmp_path / "pictures.npz") as written:
        np.testing.assert_allclose(np.linalg.norm(written["embeddings"], axis=1), 1, rtol=1e-5)


@pytest.mark.usefixtures("mosaiks_stored", "demo_archive")
def test_mistakes_are_explained(tmp_path: Path) -> None:
    """Every failure is a sentence."""
    (tmp_path / "note.txt").write_text("no picture")
    point = ["--point", "34.066,-3.401"]
    assert "LON,LAT" in failed("embed", "mosaiks", "--point", "here", *JUNE)
    assert "available" in failed("embed", "nope", *point, *JUNE)
    assert "must be after start" in failed("embed", "mosaiks", *point, "--from", "2023-06-01",
                                           "--to", "2023-05-01")  # fmt: skip
    assert "no usable pixel" in failed("embed", "mosaiks", "--point", "0,0", *JUNE)
    assert "not a picture" in failed("embed-image", str(tmp_path / "note.txt"))
    assert "no variant" in failed("models", "import", "mosaiks", "--variant", "huge")
    assert "fitted" in failed("models", "import", "mosaiks", "--variant", "rolf2021")
    assert "available" in failed("models", "describe", "nope")
    assert "does not hold" in failed("models", "remove", "mosaiks:0000")
    assert "not empty" in failed("demo-archive", str(tmp_path))
