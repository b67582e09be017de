"""Base classes of the records in requests and responses."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen record without unknown fields. Docstrings of its fields are their descriptions."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class FiniteRecord(Record):
    """A record of numbers that JSON can hold. Names of its fields may begin with `model_`."""

    model_config = ConfigDict(allow_inf_nan=False, protected_namespaces=())
