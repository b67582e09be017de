"""Weights files from the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from geobento.schemas.errors import ModelError


def download(
    repository: str, revision: str, filenames: tuple[str, ...]
) -> tuple[Path, Path | None, str | None]:
    """Download a weights file and its configuration into the cache of the hub client.

    Args:
        repository: ``owner/name``.
        revision: Commit, tag or branch.
        filenames: The weights file and, if there is one, the configuration file.

    Returns:
        Path of the weights file, path of the configuration file, and the commit of both.

    Raises:
        ModelError: The hub cannot be reached, a file is missing there, or the repository is gated.
    """
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError
    except ImportError:
        raise ModelError(
            "huggingface_hub is not installed; run: make models, or pip install 'geobento[models]'"
        ) from None
    try:
        paths = [Path(hf_hub_download(repository, name, revision=revision)) for name in filenames]
    except GatedRepoError:
        raise ModelError(
            f"{repository} is gated: accept its licence on the hub and set HF_TOKEN"
        ) from None
    except LocalEntryNotFoundError:
        raise ModelError(
            f"the hub cannot be reached for {repository}; download {', '.join(filenames)} "
            "elsewhere and give the path"
        ) from None
    except HfHubHTTPError as error:
        raise ModelError(
            f"the hub does not give {', '.join(filenames)} of {repository}: {error}"
        ) from None
    # The cache is laid out as .../snapshots/<commit>/<file>.
    commit = paths[0].parent.name if paths[0].parent.parent.name == "snapshots" else None
    return paths[0], paths[1] if len(paths) > 1 else None, commit
