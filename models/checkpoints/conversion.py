"""Released checkpoints as state dicts of our networks, described as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.checkpoints import files
from models.types import Config, Tensors


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """How the names of a released checkpoint become those of the network.

    The steps run in the order of the attributes. The result is compared with the network's own
    names and shapes afterwards, so a name that no rule covers is an error.

    Attributes:
        key: Entry of the file that holds the tensors, or several that are tried in turn, where
            the file itself does not; None: `model` or `state_dict`.
        drop: Prefixes of names that are left out, such as those of a decoder.
        rename: Prefix of a name -> its replacement; the first that fits is applied.
        replace: Part of a name -> its replacement; all are applied, in this order.
    """

    key: str | tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    replace: Mapping[str, str] = field(default_factory=dict)

    def read(self, path: Path) -> Tensors:
        """The tensors of a checkpoint file, under the names in the file.

        Raises:
            CheckpointError: The file holds no tensors under `key`, or is damaged.
        """
        keys = (self.key,) if isinstance(self.key, str) else self.key
        return files.read_tensors(path, keys or files.STATE_DICT_KEYS)

    def convert(self, checkpoint: Tensors) -> Tensors:
        """The tensors under the names of the network; floating point ones as float32.

        Raises:
            CheckpointError: Two names become the same one.
        """
        tensors: Tensors = {}
        for name, tensor in checkpoint.items():
            if name.startswith(self.drop):
                continue
            new_name = self._rename(name)
            if new_name in tensors:
                raise files.CheckpointError(
                    f"several tensors of the checkpoint become {new_name}, among them {name}"
                )
            tensors[new_name] = tensor.float() if tensor.is_floating_point() else tensor
        return tensors

    def _rename(self, name: str) -> str:
        for prefix, replacement in self.rename.items():
            if name.startswith(prefix):
                name = replacement + name.removeprefix(prefix)
                break
        for part, replacement in self.replace.items():
            name = name.replace(part, replacement)
        return name


def stated_sizes(stated: Mapping[str, Any], default: Config) -> Config:
    """The entries of a default configuration, with the values that another one states."""
    return {name: stated.get(name, value) for name, value in default.items()}
