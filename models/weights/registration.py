"""Entries of the BentoML model store; no other file of this package imports BentoML.

BentoML's public API copies a model into the store file by file, and cannot change the metadata of
an entry. For both, this file uses the folder layout of the store and three private names
(`BentoMLContainer.model_store`, `ModelStore`, `MODEL_YAML_FILENAME`; BentoML 1.4.40).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import bentoml
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models import ModelStore
from bentoml._internal.models.model import MODEL_YAML_FILENAME
from bentoml.exceptions import NotFound
from filelock import FileLock

from models.weights.stored_model import StoredModel

STORE_LABEL = "geobento"
"""Label of this project's entries; its value is the id of the model."""
LATEST_FILE = "latest"
"""File beside the versions of a model that names the newest one."""
LOCK_FILE = "geobento.lock"
"""Locked while the metadata of an entry changes. BentoML skips files at the top of the store."""

WriteFiles = Callable[[Path], Mapping[str, Any]]
"""Writes the files of a model into a folder and returns the metadata of the entry."""


def list_entries() -> list[StoredModel]:
    """All entries of this project, in no particular order."""
    return [
        to_stored_model(entry)
        for entry in bentoml.models.list()
        if STORE_LABEL in entry.info.labels
    ]


def find_entry(tag: str) -> StoredModel | None:
    """The entry of a full tag; None if there is none."""
    try:
        return to_stored_model(bentoml.models.get(tag))
    except NotFound:
        return None


def to_stored_model(entry: bentoml.Model) -> StoredModel:
    """A BentoML model as a `StoredModel`."""
    return StoredModel(
        str(entry.tag), Path(entry.path), entry.info.creation_time, dict(entry.info.metadata)
    )


def create_entry(tag: str, write_files: WriteFiles) -> None:
    """Add an entry to the store, whole or not at all.

    The entry is built in a folder beside the store and moved in. BentoML would copy it file by
    file, and a reader of an unfinished entry fails for the whole list of models. If another process
    saves the same tag first, its entry stays. A store that is a mount point has no such folder
    beside it on the same file system; BentoML copies there.

    Args:
        tag: ``name:version``.
        write_files: Called with the folder of the new entry.
    """
    name, _, version = tag.partition(":")
    models = _store_folder()
    if models.is_mount():
        _create(tag, write_files, BentoMLContainer.model_store.get())
        return
    with TemporaryDirectory(prefix="models-", dir=models.parent) as staging:
        _create(tag, write_files, ModelStore(staging))
        (models / name).mkdir(exist_ok=True)
        try:
            (Path(staging) / name / version).rename(models / name / version)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # depends on the file system
                raise
            return
        (Path(staging) / name / LATEST_FILE).replace(models / name / LATEST_FILE)


def _create(tag: str, write_files: WriteFiles, target: ModelStore) -> None:
    labels = {STORE_LABEL: tag.partition(":")[0]}
    with bentoml.models.create(tag, labels=labels, _model_store=target) as created:
        created.info.metadata.update(write_files(Path(created.path)))


def add_metadata(tag: str, values: Mapping[str, Any]) -> StoredModel:
    """Add values to the metadata of an entry; values that are there already stay.

    Args:
        tag: ``name:version`` of an entry.
        values: Metadata by name.
    """
    # Without the lock, of two processes that add different values, one would lose its own.
    with FileLock(_store_folder() / LOCK_FILE):
        entry = bentoml.models.get(tag)
        missing = {name: value for name, value in values.items() if name not in entry.info.metadata}
        if missing:
            entry.info.metadata.update(missing)
            file = Path(entry.path) / MODEL_YAML_FILENAME
            unfinished = file.with_name(f"{MODEL_YAML_FILENAME}.part")
            with unfinished.open("w", encoding="utf-8") as stream:
                entry.info.dump(stream)
            unfinished.replace(file)  # readers do not take the lock
        return to_stored_model(entry)


def delete_entry(tag: str) -> None:
    """Delete an entry with its files."""
    bentoml.models.delete(tag)


def _store_folder() -> Path:
    return Path(BentoMLContainer.model_store.get()._path)
