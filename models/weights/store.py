"""The BentoML model store: weights with everything that says what they are."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import bentoml
import orjson
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models import ModelStore
from bentoml._internal.models.model import MODEL_YAML_FILENAME
from bentoml.exceptions import NotFound as TagNotFound
from safetensors import SafetensorError

from geobento.schemas.cards import ServedModel, TextInput
from geobento.schemas.errors import ModelStoreError
from inference.batches import LoadedModel
from inference.cpu_pool import get_cpu_pool
from inference.precision import (
    Calibration,
    Precision,
    choose_precision,
    compare_vectors,
    example_vectors,
    has_int8_hardware,
)
from models.base import Model
from models.preprocessing.text import Tokenizer
from models.registry import get_model_class
from models.types import Config, Tensors

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
TOKENIZER_FILE = "tokenizer.json"
STORE_LABEL = "geobento"
LATEST_FILE = "latest"
"""File beside the versions of a model, with the newest in it."""
CALIBRATED_PRECISIONS: tuple[Precision, ...] = ("bfloat16", "int8")
"""Number formats that are compared with float32 when a model is saved."""


@dataclass(frozen=True)
class StoredModel:
    """A model as it lies in the store.

    Attributes:
        tag: ``name:version``; the version is a digest of weights and configuration.
        path: Its folder.
        created: When it was saved.
        metadata: model, variant, weights (``seeded``, ``imported``, ``dummy``, ``none``), source,
            revision, sha256, config_sha256, tokenizer_sha256 (empty: none),
            bfloat16 and int8 (what they cost; empty where a model has nothing for them, missing
            where that could not be measured), licence, preprocessing (digest).
    """

    tag: str
    path: Path
    created: datetime
    metadata: Mapping[str, Any]

    @cached_property
    def config(self) -> Config:
        """Architecture record, read when first needed.

        Raises:
            ModelStoreError: It is not what was saved.
        """
        file = self.path / CONFIG_FILE
        self._verify(file, "config_sha256")
        config: Config = orjson.loads(file.read_bytes())
        return config

    def model(self) -> Model:
        """The model without its weights: enough to describe it and to prepare inputs."""
        has_tokenizer = bool(self.metadata.get("tokenizer_sha256"))
        opener = self._load_tokenizer if has_tokenizer else None
        return get_model_class(self.metadata["model"])(self.config, opener)

    def _load_tokenizer(self, spec: TextInput) -> Tokenizer:
        file = self.path / TOKENIZER_FILE
        self._verify(file, "tokenizer_sha256")
        return Tokenizer(file.read_bytes(), spec)

    def to_served_model(self) -> ServedModel:
        """What the service tells about it."""
        model = self.model()
        return ServedModel(
            tag=self.tag,
            variant=self.metadata["variant"],
            dim=model.dim,
            weights=self.metadata["weights"],
            sha256=self.metadata["sha256"],
            created=self.created,
            preprocessing=self.metadata["preprocessing"],
            modalities=list(model.modalities()),
            card=model.card.with_all_options(),
        )

    @property
    def is_on_the_fly(self) -> bool:
        """Whether its vectors come from a forward pass, not from a finished product."""
        return get_model_class(self.metadata["model"]).card.kind == "on_the_fly"

    def resolve_device(self, service_device: str) -> str:
        """Where it runs: on the device of the service, or where nothing is computed the CPU."""
        return service_device if self.is_on_the_fly else "cpu"

    @property
    def calibration(self) -> Calibration:
        """What other number formats than float32 cost this model."""
        return {
            name: self.metadata[name] for name in CALIBRATED_PRECISIONS if self.metadata.get(name)
        }

    def resolve_precision(self, requested: str, device: str) -> Precision:
        """The number format to compute in; `requested` as in the setting of that name."""
        return choose_precision(requested, self.model().card, self.calibration, device)

    def load(self, device: str = "cpu", precision: Precision = "float32") -> LoadedModel:
        """The model with its weights.

        Raises:
            ModelStoreError: The weights are not those that were saved, do not fit the network,
                or were saved under another preprocessing than this version has.
        """
        self._verify(self.path / WEIGHTS_FILE, "sha256")
        model = self.model()
        if model.card.preprocessing_digest() != self.metadata["preprocessing"]:
            raise ModelStoreError(
                f"{self.tag} was saved under another preprocessing than this version of GeoBento "
                f"has; run: geobento models import {model.card.id}"
            )
        return get_cpu_pool(device).on_all_cores(lambda: self._loaded(model, device, precision))

    def _loaded(self, model: Model, device: str, precision: Precision) -> LoadedModel:
        from safetensors.torch import load_file

        network = model.network()
        try:
            # Assigned, not copied: on a CPU the weights stay the file, mapped into memory.
            network.load_state_dict(load_file(self.path / WEIGHTS_FILE), strict=True, assign=True)
        except (RuntimeError, SafetensorError) as error:
            raise ModelStoreError(f"the weights of {self.tag} do not fit: {error}") from error
        return LoadedModel(model, network, device, precision)

    def _verify(self, file: Path, digest: str) -> None:
        found = _file_sha256(file)
        if found != self.metadata.get(digest):
            raise ModelStoreError(
                f"{file.name} of {self.tag} is damaged: its sha256 is {found}, was "
                f"{self.metadata.get(digest)} when saved; remove and import the model again"
            )


def save(
    cls: type[Model],
    config: Config,
    tensors: Tensors,
    *,
    variant: str,
    weights: str,
    source: str,
    revision: str | None,
    tokenizer: bytes | None = None,
) -> StoredModel:
    """Put a model into the store, whole or not at all; saving the same twice is one entry.

    Where it is there already, but what number formats cost it is not (another processor saved it,
    or an earlier version did), that is added.

    Args:
        cls: Its family.
        config: Architecture record.
        tensors: Weights under the names of the network.
        variant: Variant of the card.
        weights: ``seeded``, ``imported``, ``dummy`` or ``none``.
        source: Where the weights came from.
        revision: Version of the source, if it has one.
        tokenizer: Its ``tokenizer.json``, for a model that reads texts.
    """
    from safetensors.torch import save_file

    from models.weights.initialization import on_meta

    expected = on_meta(cls(config).network).state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in expected.items()}
    if shapes != wanted:
        wrong = sorted(set(shapes.items()) ^ set(wanted.items()))
        raise ModelStoreError(f"the weights do not fit the network of {cls.card.id}: {wrong[:6]}")
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    record = orjson.dumps(config, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2)
    version = _content_version(
        contiguous, record, tokenizer or b"", variant, weights, cls.card.preprocessing_digest()
    )
    tag = f"{cls.card.id}:{version}"
    present = _get_or_none(tag)
    if present is not None and all(
        name in present.metadata for name in _calibratable_precisions(cls)
    ):
        return present
    evidence = _calibrate(cls, config, contiguous, with_texts=tokenizer is not None)
    if present is not None:
        return _update_metadata(present, {**evidence, **present.metadata})
    with _create_entry(tag, labels={STORE_LABEL: cls.card.id}) as created:
        folder = Path(created.path)
        save_file(contiguous, folder / WEIGHTS_FILE)
        (folder / CONFIG_FILE).write_bytes(record)
        if tokenizer is not None:
            (folder / TOKENIZER_FILE).write_bytes(tokenizer)
        created.info.metadata.update(
            model=cls.card.id,
            variant=variant,
            weights=weights,
            source=source,
            revision=revision or "",
            sha256=_file_sha256(folder / WEIGHTS_FILE),
            config_sha256=_file_sha256(folder / CONFIG_FILE),
            tokenizer_sha256="" if tokenizer is None else _file_sha256(folder / TOKENIZER_FILE),
            **evidence,
            licence=cls.card.weights.licence,
            preprocessing=cls.card.preprocessing_digest(),
        )
    stored = _get_or_none(tag)
    assert stored is not None
    return stored


@contextmanager
def _create_entry(tag: str, labels: dict[str, str]) -> Iterator[bentoml.Model]:
    """An entry to be filled, which is in the store when all of it is on the disk, or never.

    BentoML copies into the store file by file. Whoever looks there meanwhile, or after a copy that
    was cut off, finds an entry that cannot be read, and with it none of the others.
    """
    name, _, version = tag.partition(":")
    models = Path(BentoMLContainer.model_store.get()._path)
    if models.is_mount():
        with bentoml.models.create(tag, labels=labels) as created:
            yield created
        return
    with TemporaryDirectory(prefix="models-", dir=models.parent) as beside:
        with bentoml.models.create(tag, labels=labels, _model_store=ModelStore(beside)) as created:
            yield created
        (models / name).mkdir(exist_ok=True)
        try:
            (Path(beside) / name / version).rename(models / name / version)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # as the file system says it
                raise
            return  # who saved the same at the same time was first
        (Path(beside) / name / LATEST_FILE).replace(models / name / LATEST_FILE)


def _update_metadata(stored: StoredModel, updates: Mapping[str, Any]) -> StoredModel:
    """A stored model of which more is known now."""
    entry = bentoml.models.get(stored.tag)
    entry.info.metadata.update(updates)
    unfinished = stored.path / f"{uuid4()}.part"  # others may be adding the same
    with unfinished.open("w", encoding="utf-8") as stream:
        entry.info.dump(stream)
    unfinished.replace(stored.path / MODEL_YAML_FILENAME)
    return replace(stored, metadata=dict(entry.info.metadata))


def _calibratable_precisions(cls: type[Model]) -> list[Precision]:
    """Number formats that this processor can tell the cost of."""
    return [
        name
        for name in CALIBRATED_PRECISIONS
        if name in cls.card.precisions and (name != "int8" or has_int8_hardware("cpu"))
    ]


def _calibrate(
    cls: type[Model], config: Config, tensors: Tensors, *, with_texts: bool
) -> dict[str, Any]:
    """What the number formats that can be measured cost these weights."""

    def loaded(precision: Precision) -> LoadedModel:
        model = cls(config, _no_tokenizer if with_texts else None)
        network = model.network()
        network.load_state_dict(tensors, strict=True)
        return LoadedModel(model, network, precision=precision)

    if not (formats := _calibratable_precisions(cls)):
        return {}
    exact = example_vectors(loaded("float32"))
    found: dict[str, Any] = {}
    for precision in formats:
        rounded = loaded(precision)
        is_other = rounded.precision == precision
        found[precision] = compare_vectors(exact, example_vectors(rounded)) if is_other else {}
    return found


def _no_tokenizer(spec: TextInput) -> Tokenizer:
    raise AssertionError("invented texts need no tokenizer")


def list_models() -> list[StoredModel]:
    """All models of this project in the store, newest first within a name."""
    found = [entry for entry in bentoml.models.list() if STORE_LABEL in entry.info.labels]
    found.sort(key=lambda entry: entry.info.creation_time, reverse=True)
    found.sort(key=lambda entry: str(entry.tag.name))
    return [from_bentoml_model(entry) for entry in found]


def get_model(name: str) -> StoredModel:
    """The newest stored model of an id or alias, or the one of ``id:version`` or ``id:variant``.

    An alias that stands for a variant finds no other.

    Raises:
        ModelNotFound: The catalog has no such model.
        ModelStoreError: The catalog has it, the store does not.
    """
    asked, _, version = name.strip().lower().partition(":")
    card = get_model_class(asked).card
    variants = card.variants_of(asked)
    for stored in list_models():
        stored_name, _, stored_version = stored.tag.partition(":")
        variant = stored.metadata["variant"]
        if (
            stored_name == card.id
            and variant in variants
            and version in ("", "latest", stored_version, variant.lower())
        ):
            return stored
    raise ModelStoreError(
        f"the model store does not hold {name!r}; run: geobento models import "
        f"{card.name_to_import(asked)}"
    )


def _model_and_variant(stored: StoredModel) -> tuple[str, str]:
    return stored.metadata["model"], stored.metadata["variant"]


def select_models(names: tuple[str, ...]) -> list[StoredModel]:
    """The models to serve: those named, or the newest of every variant in the store."""
    if names:
        chosen = {stored.tag: stored for stored in map(get_model, names)}
    else:
        newest: dict[tuple[str, str], StoredModel] = {}
        for stored in list_models():
            newest.setdefault(_model_and_variant(stored), stored)
        chosen = {stored.tag: stored for stored in newest.values()}
    if len(set(map(_model_and_variant, chosen.values()))) < len(chosen):
        raise ModelStoreError(f"one version of each variant can be served, got {', '.join(chosen)}")
    return list(chosen.values())


def remove(name: str) -> str:
    """Delete a model from the store; returns its tag."""
    stored = get_model(name)
    bentoml.models.delete(stored.tag)
    return stored.tag


def _get_or_none(tag: str) -> StoredModel | None:
    try:
        return from_bentoml_model(bentoml.models.get(tag))
    except TagNotFound:
        return None


def from_bentoml_model(entry: bentoml.Model) -> StoredModel:
    """An entry of the BentoML model store as one of ours."""
    return StoredModel(
        str(entry.tag), Path(entry.path), entry.info.creation_time, dict(entry.info.metadata)
    )


def _content_version(tensors: Tensors, config: bytes, tokenizer: bytes, *parts: str) -> str:
    digest = hashlib.sha256(config)
    digest.update(tokenizer)
    for part in parts:
        digest.update(part.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _file_sha256(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ModelStoreError(f"{file.name} is missing from the model store") from error
