"""Models in the list of OpenAI's API."""

from __future__ import annotations

from compat.openai import routes
from inference.importing import import_model
from models.galileo.model import Galileo
from tests.models import small


def test_only_models_of_texts_and_images_are_listed() -> None:
    """The others cannot be used with `/v1/embeddings`."""
    assert routes._has_embeddings(import_model("mosaiks").to_served_model())
    assert not routes._has_embeddings(small.stored(Galileo).to_served_model())
