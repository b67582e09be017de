"""Base classes of the records in requests and responses."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from geobento.schemas.nulls import without_absent


class Record(BaseModel):
    """A frozen record without unknown fields. Docstrings of its fields are their descriptions."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class FiniteRecord(Record):
    """A record of numbers that JSON can hold. Names of its fields may begin with `model_`."""

    model_config = ConfigDict(allow_inf_nan=False, protected_namespaces=())


class RequestRecord(FiniteRecord):
    """A record of a request: null means absent for every optional field that takes no null."""

    @model_validator(mode="before")
    @classmethod
    def _nulls_are_absent(cls, data: Any) -> Any:
        return without_absent(data, cls.model_fields)
