"""Build the Bento: the models chosen by `GEOBENTO_MODELS`, the code, and the packages they need.

Run by ``make bento``. What `bentofile.yaml` says holds, except for its packages and its image,
which suit every model: here there is no package that the chosen models do without, and no
compiler.
"""

from __future__ import annotations

import argparse
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import bentoml
import yaml
from bentoml.images import Image

from deploy.lock import PYTHON, lock, pins
from geobento.config import settings
from geobento.schemas.errors import GeoBentoError
from models.registry import get_model_class
from models.weights import store

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("gee", "geoparquet", "redis", "tracing")
"""Extras that no model needs."""


def packages(models: list[str], extras: list[str]) -> list[str]:
    """Lines of the requirements of an image.

    Args:
        models: Ids of the models.
        extras: Extras besides.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    roots = list(project["dependencies"])
    for extra in ("serve", *extras):
        roots += project["optional-dependencies"][extra]
    for model in models:
        roots += get_model_class(model).requirements
    return lock(roots, pins((ROOT / "constraints.txt").read_text()))


def image(folder: str) -> Image:
    """Debian with Python and nothing to compile with.

    Args:
        folder: What the user of the image may write, for a volume.
    """
    made = Image(
        base_image=f"python:{PYTHON}-slim",
        distro="none",
        python_version=PYTHON,
        lock_python_packages=False,
    )
    return made.run(f"install -d -o bentoml -g bentoml {folder}")


def build(extras: list[str]) -> bentoml.Bento:
    """Build the Bento of what is in `GEOBENTO_MODELS`, or in the model store.

    Args:
        extras: Extras besides those that the models need.
    """
    from service import svc

    options: dict[str, Any] = yaml.safe_load((ROOT / "bentofile.yaml").read_text())
    environment = {entry["name"]: entry["value"] for entry in options["envs"]}
    del options["docker"]
    models = [entry.metadata["model"] for entry in store.select_models(settings.get().models)]
    options["python"] = {"packages": packages(models, extras), "lock_packages": False}
    svc.image = image(environment["GEOBENTO_DATA_DIR"])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bentofile.yaml"
        file.write_text(yaml.safe_dump(options))
        return bentoml.bentos.build_bentofile(str(file), build_ctx=str(ROOT))


def main() -> None:
    """Build, and print the tag."""
    parser = argparse.ArgumentParser(description="Build the Bento of the chosen models.")
    parser.add_argument("--extras", default="", help=f"separated by commas: {', '.join(EXTRAS)}")
    extras = {extra.strip() for extra in parser.parse_args().extras.split(",")} - {""}
    if extras - set(EXTRAS):
        parser.error(f"extras are {', '.join(EXTRAS)}; models bring along what they need")
    try:
        built = build(sorted(extras))
    except GeoBentoError as error:
        raise SystemExit(error.message) from None
    print(built.tag)


if __name__ == "__main__":
    main()
