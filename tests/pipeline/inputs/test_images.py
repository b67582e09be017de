"""Encoded images to pixels."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from geobento.schemas.errors import InvalidImage, PayloadTooLarge
from pipeline.inputs.images import decode_image, decode_payload

RGB = np.zeros((8, 12, 3), np.uint8)
RGB[:, :6] = (200, 100, 50)
RGB[:, 6:] = (20, 40, 250)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The file of an image."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(data: bytes) -> NDArray[np.int64]:
    """What a file is decoded to."""
    image = decode_image(data, 1)
    assert image.mode == "RGB"
    return np.asarray(image).astype(np.int64)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "GIF", "WEBP", "JPEG"])
def test_formats(kind: str) -> None:
    """Every format that is named in the documentation; lossy ones to within their loss."""
    options = {"lossless": True} if kind == "WEBP" else {}
    result = pixels(encoded(Image.fromarray(RGB), kind, **options))
    inner = np.r_[0:4, 8:12]
    assert np.abs(result - RGB)[:, inner].max() <= (12 if kind == "JPEG" else 0)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "CMYK"])
def test_colour_models(mode: str) -> None:
    """Grey, palette, alpha, two tones and CMYK all become RGB of the same image."""
    image = Image.fromarray(RGB).convert(mode)
    result = pixels(encoded(image, "TIFF" if mode == "CMYK" else "PNG"))
    assert np.abs(result - np.asarray(image.convert("RGB")).astype(int)).max() <= 1


def test_sixteen_bits() -> None:
    """The high byte is kept; values are not cut off at 255."""
    grey = (np.arange(96, dtype=np.uint32).reshape(8, 12) * 680).astype(np.uint16)
    result = pixels(encoded(Image.fromarray(grey), "PNG"))
    np.testing.assert_array_equal(result[..., 0], grey >> 8)


def test_the_camera_was_held_upright() -> None:
    """The orientation that a camera recorded is applied."""
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show rotated by 90 degrees clockwise
    result = pixels(encoded(Image.fromarray(RGB), "PNG", exif=exif))
    np.testing.assert_array_equal(result, np.rot90(RGB, -1))


def test_the_first_frame_counts() -> None:
    """An animation is its first image."""
    other = Image.fromarray(RGB[:, ::-1].copy())
    data = encoded(Image.fromarray(RGB), "PNG", save_all=True, append_images=[other])
    np.testing.assert_array_equal(pixels(data), RGB)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_damaged_files_are_refused(kind: str, share: float) -> None:
    """Half an image is no image."""
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    with pytest.raises(InvalidImage):
        decode_image(data[: int(len(data) * share)], 1)


@pytest.mark.parametrize("data", [b"", b"text", b"%PDF-1.4", b"<svg></svg>", b"\x00" * 100])
def test_other_files_are_refused(data: bytes) -> None:
    """The message lists what is accepted."""
    with pytest.raises(InvalidImage, match="JPEG, PNG"):
        decode_image(data, 1)


def _png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        size, check = struct.pack(">I", len(content)), zlib.crc32(kind + content)
        return size + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")


@pytest.mark.parametrize("side", [1200, 50_000])
def test_bombs_are_refused_before_they_are_unpacked(side: int) -> None:
    """The size is read from the header; nothing is decoded."""
    with pytest.raises(PayloadTooLarge, match="accepted: up to 1 megapixels"):
        decode_image(_png_header(side, side), 1)


def test_payloads() -> None:
    """Bytes, base64 and data URLs are the same; anything else is explained."""
    text = base64.b64encode(b"image").decode()
    assert decode_payload(b"image") == b"image"
    assert decode_payload(text) == b"image"
    assert decode_payload(f"data:image/png;base64,{text}") == b"image"
    assert decode_payload(f"DATA:;BASE64,{text}") == b"image"
    for wrong, message in [
        ("data:image/png,abc", "form data:image"),
        ("data:image/png;base64", "form data:image"),
        ("http://example.com/a.png", "not fetched"),
        ("cGlj dHVyZQ==", "base64"),
        ("ä", "base64"),
    ]:
        with pytest.raises(InvalidImage, match=message):
            decode_payload(wrong)


def test_transparent_pixels_keep_their_colour() -> None:
    """Alpha is dropped and not blended, in images and in palettes."""
    alpha = np.zeros((8, 12, 1), np.uint8)
    clear = Image.fromarray(np.concatenate([RGB, alpha], axis=2))
    np.testing.assert_array_equal(pixels(encoded(clear, "PNG")), RGB)
    palette = Image.fromarray(RGB).quantize(4)
    data = encoded(palette, "PNG", transparency=palette.getpixel((0, 0)))
    np.testing.assert_array_equal(pixels(data), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda x: x),
        (2, lambda x: x[:, ::-1]),
        (3, lambda x: x[::-1, ::-1]),
        (4, lambda x: x[::-1]),
        (5, lambda x: x.transpose(1, 0, 2)),
        (6, lambda x: np.rot90(x, -1)),
        (7, lambda x: np.rot90(x.transpose(1, 0, 2), 2)),
        (8, np.rot90),
        (9, lambda x: x),
    ],
)
def test_every_orientation(orientation: int, turn: Any) -> None:
    """All eight ways to hold a camera; a value that does not exist is ignored."""
    image = np.arange(8 * 12 * 3, dtype=np.uint16).reshape(8, 12, 3) % 251
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(image.astype(np.uint8)), "PNG", exif=exif)
    np.testing.assert_array_equal(pixels(data), turn(image))


def test_the_pixel_limit_is_inclusive() -> None:
    """An image of exactly as many pixels as allowed is read; one row more is not."""
    data = encoded(Image.new("RGB", (100, 10)), "PNG")
    assert decode_image(data, 0.001).size == (100, 10)
    with pytest.raises(PayloadTooLarge, match="100 x 11 pixels"):
        decode_image(encoded(Image.new("RGB", (100, 11)), "PNG"), 0.001)


def test_16_bit_tiffs() -> None:
    """A TIFF of 16 bits in either byte order is read like a PNG of 16 bits."""
    grey = (np.arange(96).reshape(8, 12) * 680).astype(np.uint16)
    for mode in ("I;16", "I;16B"):
        values = grey.astype("<u2" if mode == "I;16" else ">u2")
        image = Image.frombytes(mode, (12, 8), values.tobytes())
        result = pixels(encoded(image, "TIFF"))
        np.testing.assert_array_equal(result, np.repeat((grey >> 8)[..., None], 3, axis=2))


@pytest.mark.parametrize(("tag", "kind"), [(0x0100, 2), (0x0201, 7), (0x010E, 11)])
def test_a_camera_that_writes_odd_metadata(tag: int, kind: int) -> None:
    """A turned JPEG with a metadata field of the wrong type is an image, or refused as damaged."""
    entries = [(0x0112, 3, 1, 6), (tag, kind, 1, 0x41)]
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries))
    exif += b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    data = encoded(Image.fromarray(RGB), "JPEG", exif=exif)
    with suppress(InvalidImage):
        assert decode_image(data, 1).mode == "RGB"


@pytest.mark.parametrize("kind", [2, 5, 11])
def test_a_tiff_whose_offsets_are_no_numbers(kind: int) -> None:
    """A strip offset of the wrong type is a damaged file and no crash."""
    data = bytearray(encoded(Image.fromarray(RGB), "TIFF"))
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    entries = [directory + 2 + 12 * i for i in range(count)]
    (offsets,) = (at for at in entries if struct.unpack_from("<H", data, at) == (273,))
    struct.pack_into("<H", data, offsets + 2, kind)
    with pytest.raises(InvalidImage):
        decode_image(bytes(data), 1)
