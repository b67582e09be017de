"""GeoBento: images and regions into vectors.

>>> from geobento import PointBuffer, TemporalSpec, get_embedding
>>> get_embedding("mosaiks", spatial=PointBuffer(34.066, -3.401, 1000),
...               temporal=TemporalSpec.range("2023-06-01", "2023-07-01"))  # doctest: +SKIP
"""

from geobento.client.functions import (
    embed_pixels,
    get_embedding,
    get_embeddings_batch,
    inspect_patch,
    plan_embedding,
)
from geobento.client.http import AsyncClient, Client
from geobento.client.image_functions import (
    classify_images,
    describe_model,
    get_image_embeddings,
    get_text_embeddings,
    list_models,
)
from geobento.schemas.cards import ModelCard, ServedModel
from geobento.schemas.embedding import Classification, ClassificationMeta, Embedding, EmbeddingMeta
from geobento.schemas.errors import (
    GeoBentoError,
    MissingExtra,
    ModelError,
    ModelNotFound,
    NoImageryError,
    QuotaError,
    SettingsError,
    SourceError,
    SpecError,
)
from geobento.schemas.plan import EmbeddingPlan, Inspection
from geobento.schemas.specs import (
    BBox,
    FetchSpec,
    InputPrepSpec,
    MultiPolygon,
    OutputSpec,
    PointBuffer,
    Polygon,
    SensorSpec,
    TemporalSpec,
)
from geobento.version import __version__

__all__ = [
    "AsyncClient",
    "BBox",
    "Classification",
    "ClassificationMeta",
    "Client",
    "Embedding",
    "EmbeddingMeta",
    "EmbeddingPlan",
    "FetchSpec",
    "GeoBentoError",
    "InputPrepSpec",
    "Inspection",
    "MissingExtra",
    "ModelCard",
    "ModelError",
    "ModelNotFound",
    "MultiPolygon",
    "NoImageryError",
    "OutputSpec",
    "PointBuffer",
    "Polygon",
    "QuotaError",
    "SensorSpec",
    "ServedModel",
    "SettingsError",
    "SourceError",
    "SpecError",
    "TemporalSpec",
    "__version__",
    "classify_images",
    "describe_model",
    "embed_pixels",
    "get_embedding",
    "get_embeddings_batch",
    "get_image_embeddings",
    "get_text_embeddings",
    "inspect_patch",
    "list_models",
    "plan_embedding",
]
