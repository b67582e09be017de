"""Options of a model, checked against its card. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geobento.schemas.cards import ModelCard
from geobento.schemas.options import check_option


def read_option(card: ModelCard, options: Mapping[str, Any], name: str, **keywords: Any) -> Any:
    """The value of an option; the default of the card where it is not set.

    Args:
        card: Card whose `config_schema` describes the option.
        options: Options of the request.
        name: Name of the option.
        keywords: Keywords of the schema that depend on the weights, such as `maximum`.

    Raises:
        ModelError: The value is not accepted.
    """
    schema = card.config_schema["properties"][name] | keywords
    value = options.get(name, schema.get("default"))
    check_option(card.id, name, value, schema, "model_config")
    return value


def read_integer(card: ModelCard, options: Mapping[str, Any], name: str, **keywords: Any) -> int:
    """As `read_option`; JSON schema takes 4.0 for an integer, too."""
    return int(read_option(card, options, name, **keywords))
