"""Files that want a token, as those of Planetary Computer do."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

from geobento.schemas.errors import SourceError
from imagery.stac.catalogs.factory import SUBSCRIPTION_KEY_HEADER, open_preset
from imagery.stac.catalogs.presets import PRESETS, CatalogPreset
from imagery.stac.http import HostAllowlist, HttpJsonClient
from imagery.stac.signing import SasTokenSigner
from imagery.stac.source import StacSource
from tests.imagery.queries import bands_of, query, scene
from tests.imagery.stac_server import Fault, StacServer
from tests.imagery.world import write_catalog

LATER = time.monotonic() + 600


def preset(stac: StacServer, folder: Path) -> CatalogPreset:
    """Planetary Computer, as far as a test has it."""
    return CatalogPreset(
        name="stand-in-computer",
        url=stac.api(folder),
        collections=PRESETS["planetary-computer"].collections,
        hosts=(stac.url.split("//")[1],),
        token_url=f"{stac.url}/token",
    )


def test_signed_files_are_read(
    stac: StacServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One token for all files of a container, asked for with the key; files get it, others not."""
    write_catalog([scene(day) for day in (10, 11, 12)], ("B4", "B8"), tmp_path)
    stac.reset(signed=True)
    catalog = open_preset(
        preset(stac, tmp_path), subscription_key="the-key", deadline=time.monotonic() + 20
    )
    sample = StacSource(catalog).fetch(query())
    np.testing.assert_array_equal(
        sample.pixels, np.median([bands_of(scene(day)) for day in (10, 11, 12)], axis=0)
    )
    assert sample.provenance is not None
    assert sample.provenance.source == "stand-in-computer"
    (request,) = stac.requests("token")
    assert request["path"] == "/token/127/files"
    assert request["headers"][SUBSCRIPTION_KEY_HEADER.lower()] == "the-key"
    assert all("sig=secret%2F" in request["path"] for request in stac.requests("files"))
    for request in (*stac.requests("search"), *stac.requests("files")):
        assert SUBSCRIPTION_KEY_HEADER.lower() not in request["headers"]
    assert "secret" not in str(sample)


def test_tokens_are_not_disclosed(
    stac: StacServer, tmp_path: Path, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither errors nor the log have the token of a file that cannot be read."""
    caplog.set_level(logging.DEBUG)
    write_catalog([scene(10)], ("B4", "B8"), tmp_path)
    stac.reset(signed=True, faults={"files": [Fault(status=503)] * 100})
    catalog = open_preset(preset(stac, tmp_path), deadline=time.monotonic() + 20)
    with pytest.raises(SourceError) as caught:
        StacSource(catalog).fetch(query())
    assert stac.requests("token")
    assert caplog.records
    assert "secret" not in caplog.text + caught.value.message


def test_a_token_is_replaced_before_its_end(stac: StacServer) -> None:
    """It is kept while it lasts, and asked for again shortly before its end."""
    url = httpx.URL("https://account.blob.core.windows.net/container/a/b.tif")
    for token_s, requests in ((3600, 1), (119, 3)):
        stac.reset(token_s=token_s)
        sign = SasTokenSigner(
            f"{stac.url}/token",
            HttpJsonClient(HostAllowlist([stac.url.split("//")[1]], allow_http=True)),
        )
        signed = [str(sign(url, LATER)) for _ in range(3)]
        assert len(stac.requests("token")) == len(set(signed)) == requests
        assert signed[0].startswith(f"{url}?se=never&sig=secret%2F")
        assert stac.requests("token")[0]["path"] == "/token/account/container"
    sign(url.copy_with(path="/other/b.tif"), LATER)
    assert stac.requests("token")[-1]["path"] == "/token/account/other"


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        '{"token": "a"}',
        '{"token": "a", "msft:expiry": "soon"}',
        '{"token": "a", "msft:expiry": "2030-01-01T00:00:00"}',
        '{"token": 3, "msft:expiry": "2030-01-01T00:00:00Z"}',
        '{"token": "a\\n", "msft:expiry": "2030-01-01T00:00:00Z"}',
    ],
)
def test_an_answer_without_a_token(stac: StacServer, body: str) -> None:
    """Whatever else is answered is an error that says so."""
    stac.reset(faults={"token": [Fault(body=body)]})
    sign = SasTokenSigner(
        f"{stac.url}/token",
        HttpJsonClient(HostAllowlist([stac.url.split("//")[1]], allow_http=True)),
    )
    with pytest.raises(SourceError, match="has no token"):
        sign(httpx.URL("https://account.blob.core.windows.net/container/b.tif"), LATER)


def test_names_of_containers_are_names(stac: StacServer) -> None:
    """An address cannot make the service ask for something else than a token."""
    sign = SasTokenSigner(
        f"{stac.url}/token",
        HttpJsonClient(HostAllowlist([stac.url.split("//")[1]], allow_http=True)),
    )
    for path in ("/..%2Fadmin/b.tif", "/b.tif", "//b.tif"):
        with pytest.raises(SourceError, match="outside of any storage container"):
            sign(httpx.URL(f"https://account.blob.core.windows.net{path}"), LATER)
    assert stac.requests("token") == []
