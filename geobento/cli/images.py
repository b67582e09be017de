"""Commands for images and texts."""

from __future__ import annotations

from pathlib import Path

import click
import orjson

from geobento.cli.options import OutputFile
from geobento.cli.output import progress_bar, write_embeddings
from geobento.client import image_functions
from geobento.schemas.embedding import Embedding

IMAGES_PER_REQUEST = 16


@click.command("embed-image")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--model", default="mosaiks", show_default=True, help="Id or alias.")
@click.option("--normalize/--no-normalize", default=None, help="Unit length; default: the card's.")
@click.option("--out", type=OutputFile(), help="Write an .npz file.")
def embed_image(
    files: tuple[Path, ...], model: str, normalize: bool | None, out: Path | None
) -> None:
    """Embed images."""
    embeddings: list[Embedding] = []
    with progress_bar() as progress:
        task = progress.add_task("images", total=len(files))
        for first in range(0, len(files), IMAGES_PER_REQUEST):
            batch = files[first : first + IMAGES_PER_REQUEST]
            embeddings += image_functions.get_image_embeddings(model, batch, normalize=normalize)
            progress.advance(task, len(batch))
    write_embeddings(embeddings, [str(file) for file in files], out)


@click.command("embed-text")
@click.argument("texts", nargs=-1, required=True)
@click.option("--model", default="clip_vit_large_patch14", show_default=True, help="Id or alias.")
@click.option("--normalize/--no-normalize", default=None, help="Unit length; default: the card's.")
@click.option("--out", type=OutputFile(), help="Write an .npz file.")
def embed_text(
    texts: tuple[str, ...], model: str, normalize: bool | None, out: Path | None
) -> None:
    """Embed texts, in the space of the model's images."""
    write_embeddings(
        image_functions.get_text_embeddings(model, texts, normalize=normalize), list(texts), out
    )


@click.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--class", "classes", multiple=True, required=True, help="A class; may be repeated.")
@click.option("--template", default="{}", show_default=True, help="Prompt; {} stands for a class.")
@click.option("--model", default="clip_vit_large_patch14", show_default=True, help="Id or alias.")
def classify(files: tuple[Path, ...], classes: tuple[str, ...], template: str, model: str) -> None:
    """Classify images (zero-shot): a probability per class."""
    for file, classification in zip(
        files,
        image_functions.classify_images(model, files, classes, template=template),
        strict=True,
    ):
        line = {
            "input": str(file),
            "probabilities": dict(zip(classes, classification.probabilities.tolist(), strict=True)),
            "meta": classification.meta.model_dump(mode="json"),
        }
        click.echo(orjson.dumps(line))
