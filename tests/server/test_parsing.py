"""Bodies to typed requests, or to the error that answers them."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from geobento.schemas.errors import GeoBentoError, InvalidRequest, UnsupportedMediaType
from geobento.schemas.requests import (
    GeoEmbeddingRequest,
    ImageEmbeddingRequest,
    PixelEmbeddingRequest,
)
from server import parsing


def read(content: bytes, kind: str | None, files: str | None = "images") -> Any:
    """What a body is read as."""
    headers = [] if kind is None else [(b"content-type", kind.encode("latin-1"))]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    scope = {"type": "http", "method": "POST", "headers": headers, "query_string": b""}
    request = Request(scope, receive)
    return asyncio.run(parsing.read_request(request, ImageEmbeddingRequest, files))


def read_image(content: bytes, query: str) -> Any:
    """What a bare image with a query string is read as."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    scope = {
        "type": "http",
        "method": "POST",
        "headers": [(b"content-type", b"image/jpeg")],
        "query_string": query.encode(),
    }
    return asyncio.run(
        parsing.read_request(Request(scope, receive), ImageEmbeddingRequest, "images")
    )


def test_a_bare_image() -> None:
    """The body is the image; everything else is in the query string, checked as ever."""
    request = read_image(b"\xff\xd8", "model=7&normalize=true&config=%7B%22a%22:1%7D")
    assert request == ImageEmbeddingRequest(
        model="7", images=[b"\xff\xd8"], normalize=True, config={"a": 1}
    )
    assert read_image(b"x", "").field == "model"
    assert read_image(b"x", "model=m&model=n").field == "model"
    assert read_image(b"x", "model=m&colour=red").field == "colour"
    assert read_image(b"x", "model=m&normalize=perhaps").field == "normalize"


def read_pixels(content: bytes, kind: str) -> Any:
    """What a body is read as where regions come as JSON and pixels as a form."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    headers = [(b"content-type", kind.encode())]
    scope = {"type": "http", "method": "POST", "headers": headers, "query_string": b""}
    request = Request(scope, receive)
    requested = parsing.read_request(
        request, GeoEmbeddingRequest, form=(PixelEmbeddingRequest, "pixels")
    )
    return asyncio.run(requested)


def form(data: dict[str, Any], files: list[tuple[str, bytes]]) -> tuple[bytes, str]:
    """A multipart body and its content type, as an HTTP client writes them."""
    parts = [(name, ("file", content)) for name, content in files]
    request = httpx.Request("POST", "http://test", data=data, files=parts)
    return request.read(), request.headers["content-type"]


def test_json_with_and_without_a_content_type() -> None:
    """JSON is what is meant where nothing is said."""
    text = b'{"model": "m", "images": ["aa"], "normalize": true}'
    for kind in ("application/json", "application/json; charset=utf-8", None):
        request = read(text, kind)
        assert request == ImageEmbeddingRequest(model="m", images=["aa"], normalize=True)


def test_a_form_with_files() -> None:
    """Files in their order, other fields as JSON values, the model's name as text."""
    content, kind = form(
        {"model": "123", "normalize": "false", "config": '{"a": 1}', "encoding": "base64"},
        [("images", b"one\r\n"), ("images", b"\x00two")],
    )
    request = read(content, kind)
    assert request == ImageEmbeddingRequest(
        model="123", images=[b"one\r\n", b"\x00two"], normalize=False, config={"a": 1},
        encoding="base64",
    )  # fmt: skip


def test_a_form_with_text_instead_of_a_file() -> None:
    """A data URL in a form field is an image too."""
    content, kind = form({"model": "m", "images": "data:image/png;base64,aa"}, [("x", b"")])
    assert read(content, kind).field == "x"
    fields = "--b\r\nContent-Disposition: form-data; name="
    content = (f'{fields}"model"\r\n\r\nm\r\n{fields}"images"\r\n\r\naa\r\n--b--\r\n').encode()
    assert read(content, "multipart/form-data; boundary=b").images == ["aa"]


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (b"", "application/json", "required"),
        (b"{", "application/json", "not valid JSON"),
        (b"\xff\xfe", "application/json", "JSON"),
        (b"[]", "application/json", "object"),
        (b"x", "multipart/form-data", "boundary"),
        (b"x", "multipart/form-data; boundary=b", ""),
    ],
)
def test_bodies_that_cannot_be_read(content: bytes, kind: str, message: str) -> None:
    """Each is the client's fault, and says why."""
    error = read(content, kind)
    assert isinstance(error, InvalidRequest)
    assert message in error.message


def test_fields_that_do_not_belong() -> None:
    """A field given twice, a file where a value belongs."""
    content, kind = form({"model": ["a", "b"]}, [("images", b"x")])
    assert read(content, kind).field == "model"
    content, kind = form({"model": "m"}, [("images", b"x"), ("normalize", b"true")])
    assert "not a file" in read(content, kind).message


def test_other_content_types() -> None:
    """415 with what is accepted, which depends on the route."""
    error = read(b"model=m", "application/x-www-form-urlencoded")
    assert isinstance(error, UnsupportedMediaType)
    assert "multipart/form-data or, for a single image, image/*" in error.message
    error = read(b"", "multipart/form-data; boundary=b", files=None)
    assert isinstance(error, UnsupportedMediaType)
    assert "accepted: application/json" in error.message


@given(
    st.binary(max_size=300),
    st.sampled_from(["application/json", "multipart/form-data; boundary=b", "image/jpeg", ""]),
)
@settings(max_examples=150, deadline=None)
def test_random_bytes_never_raise(content: bytes, kind: str) -> None:
    """Whatever comes in, an error comes out that can be answered."""
    for prefix in (b"", b"--b\r\nContent-Disposition: form-data; name="):
        assert isinstance(read(prefix + content, kind), GeoBentoError)


def part(headers: bytes, content: bytes = b"m") -> bytes:
    """A multipart body of one part."""
    return b"--b\r\n" + headers + b"\r\n\r\n" + content + b"\r\n--b--\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Disposition: form-data",
        b"Content-Disposition: attachment",
        b"X-Other: y",
        b"no header at all",
    ],
)
def test_parts_without_a_name(headers: bytes) -> None:
    """A part that belongs to no field is refused, not guessed."""
    error = read(part(headers), "multipart/form-data; boundary=b")
    assert isinstance(error, InvalidRequest)
    assert error.message.startswith("the multipart body cannot be read: ")


def test_the_content_type_is_read_whatever_its_case() -> None:
    """Header values are written in many ways."""
    request = read(b'{"model": "m", "images": ["aa"]}', "Application/JSON ; charset=UTF-8")
    assert request == ImageEmbeddingRequest(model="m", images=["aa"])
    content, kind = form({"model": "m"}, [("images", b"x")])
    boundary = kind.partition("=")[2]
    assert read(content, f'Multipart/Form-Data; boundary="{boundary}"').images == [b"x"]


def test_a_form_field_that_does_not_exist() -> None:
    """Unknown fields are refused in forms as they are in JSON."""
    content, kind = form({"model": "m", "colour": "1"}, [("images", b"x")])
    error = read(content, kind)
    assert (error.field, error.status) == ("colour", 400)


def test_a_form_value_of_the_wrong_kind() -> None:
    """A value that is neither JSON nor what the field takes is named."""
    content, kind = form({"model": "m", "normalize": "perhaps"}, [("images", b"x")])
    assert read(content, kind).field == "normalize"


def test_a_client_that_goes_away() -> None:
    """A connection that closes in the middle of the body is no crash."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    for kind in (b"application/json", b"multipart/form-data; boundary=b"):
        headers = [(b"content-type", kind)]
        scope = {"type": "http", "method": "POST", "headers": headers, "query_string": b""}
        request = Request(scope, receive)
        error = asyncio.run(parsing.read_request(request, ImageEmbeddingRequest, "images"))
        assert isinstance(error, InvalidRequest)
        assert "closed before the body was complete" in error.message


@pytest.mark.parametrize("charset", ["undefined", "punycode"])
def test_a_form_in_an_odd_charset(charset: str) -> None:
    """Nothing is raised, whatever codec the content type names."""
    content = part(b'Content-Disposition: form-data; name="model"', b"\\")
    error = read(content, f"multipart/form-data; boundary=b; charset={charset}")
    assert isinstance(error, InvalidRequest)


def test_a_form_with_pixels() -> None:
    """A file; words as they are, also those that could be JSON; everything else as JSON."""
    content, kind = form(
        {
            "model": "m",
            "bands": '["B2", "B3"]',
            "units": "1",
            "crs": "EPSG:32736",
            "transform": "[10, 0, 0, 0, -10, 0]",
            "times": '["2023-06-11"]',
            "nodata": "NaN",
            "model_config": '{"a": 1}',
            "output": '{"mode": "grid"}',
            "input_prep": "tile",
            "encoding": "base64",
        },
        [("pixels", b"one\r\n")],
    )
    request = read_pixels(content, kind)
    assert isinstance(request, PixelEmbeddingRequest)
    assert (request.pixels, request.bands, request.units) == (b"one\r\n", ("B2", "B3"), "1")
    assert (request.crs, request.transform) == ("EPSG:32736", (10, 0, 0, 0, -10, 0))
    assert request.times[0].isoformat() == "2023-06-11T00:00:00+00:00"
    assert request.nodata is not None
    assert math.isnan(request.nodata)
    assert request.config == {"a": 1}
    assert (request.output.mode, request.encoding) == ("grid", "base64")
    assert request.input_prep.mode == "tile"  # type: ignore[union-attr]


def test_a_form_without_pixels() -> None:
    """It says what is missing."""
    content = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--b--\r\n'
    error = read_pixels(content, "multipart/form-data; boundary=b")
    assert isinstance(error, InvalidRequest)
    assert (error.field, error.message) == ("pixels", "pixels: this parameter is required")


def test_a_region_goes_as_json_beside_pixels() -> None:
    """The type of the body decides between the two."""
    region = b'{"type": "PointBuffer", "lon": 1, "lat": 2, "buffer_m": 3}'
    request = read_pixels(b'{"model": "m", "spatial": ' + region + b"}", "application/json")
    assert isinstance(request, GeoEmbeddingRequest)
    error = read_pixels(b"x", "image/tiff")
    assert isinstance(error, UnsupportedMediaType)
    assert error.message.endswith("accepted: application/json or multipart/form-data")


@pytest.mark.parametrize(
    ("fields", "files", "field", "message"),
    [
        ({}, [("pixels", b"a"), ("pixels", b"b")], "pixels", "more than once"),
        ({"bands": "B2,B3"}, [("pixels", b"a")], "bands", "a list as JSON"),
        ({"bands": ["B2", "B3"]}, [("pixels", b"a")], "bands", ""),
        ({"times": "2023-06-11"}, [("pixels", b"a")], "times", "a list as JSON"),
        ({"times": '["yesterday"]'}, [("pixels", b"a")], "times.0", ""),
        ({"transform": "[1, 2]"}, [("pixels", b"a")], "transform.2", "required"),
        ({"nodata": "none"}, [("pixels", b"a")], "nodata", "number"),
        ({"spatial": "{}"}, [("pixels", b"a")], "spatial", "no such parameter"),
        ({"config": "{}"}, [("pixels", b"a")], "config", "no such parameter"),
        ({}, [("pixels", b"a"), ("bands", b"b")], "bands", "not a file"),
    ],
)
def test_forms_with_pixels_that_are_refused(
    fields: dict[str, Any], files: list[tuple[str, bytes]], field: str, message: str
) -> None:
    """With the field at fault."""
    error = read_pixels(*form({"model": "m"} | fields, files))
    assert isinstance(error, InvalidRequest)
    assert error.field == field
    assert message in error.message


@pytest.mark.parametrize("name", ["images[]", "image", "file"])
def test_files_under_another_name(name: str) -> None:
    """The error says where files go."""
    error = read(*form({"model": "m"}, [(name, b"x")]))
    assert isinstance(error, InvalidRequest)
    assert error.field == name
    assert error.message == f"there is no field {name!r}; files go into 'images'"


@pytest.mark.parametrize("encoding", ["gzip", "BR", "deflate, gzip"])
def test_compressed_bodies_are_refused_by_name(encoding: str) -> None:
    """Else their bytes would be called invalid JSON."""
    headers = [(b"content-type", b"application/json"), (b"content-encoding", encoding.encode())]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"\x1f\x8b", "more_body": False}

    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    error = asyncio.run(parsing.read_request(request, ImageEmbeddingRequest))
    assert isinstance(error, UnsupportedMediaType)
    assert encoding.lower() in error.message
