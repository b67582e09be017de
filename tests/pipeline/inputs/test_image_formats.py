"""Formats, modes and orientations of images; files that are rejected."""

from __future__ import annotations

import base64
import struct
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from geobento.schemas.cards import ImageInput
from geobento.schemas.errors import InvalidImage, PayloadTooLarge
from pipeline.inputs.images import decode_image, decode_payload
from tests.pipeline.inputs.image_files import (
    BEST,
    GREY,
    HIGH,
    LEFT,
    NOISE,
    PALETTE,
    RGB,
    TILED,
    TURNS,
    alpha,
    bmp,
    chunk,
    encoded,
    foreign_profile,
    many_frames,
    png,
    tiff,
    ycck,
)

MASKS_565 = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
LUMA = np.asarray(Image.fromarray(RGB).convert("L").convert("RGB"))

READ: dict[str, tuple[bytes, NDArray[Any], int]] = {
    "png 16 bit grey": (png(GREY, 0), HIGH, 0),
    "png 16 bit rgb": (png(RGB.astype(np.uint16) * 256 + 77, 2), RGB, 0),
    "png 16 bit rgba": (png(alpha(RGB.astype(np.uint16) * 256, 9), 6), RGB, 0),
    "png 16 bit grey alpha": (png(np.dstack([GREY, GREY[::-1]]), 4), HIGH, 0),
    "png 8 bit grey alpha": (png(alpha(LUMA[..., :1], 3), 4), LUMA, 0),
    "png rgba": (png(alpha(RGB, 0), 6), RGB, 0),
    "png rgb, one colour clear": (
        png(RGB, 2, chunk(b"tRNS", struct.pack(">HHH", *LEFT))),
        RGB,
        0,
    ),
    "png palette, one colour clear": (encoded(PALETTE, "PNG", transparency=1), RGB, 0),
    "png palette, half clear": (encoded(PALETTE, "PNG", transparency=b"\x80\x20"), RGB, 0),
    "png 1 bit": (
        png(np.full((3, 1), 0b10110000, np.uint8), 0, depth=1),
        np.tile(np.array([1, 0, 1, 1, 0, 0, 0, 0])[None, :, None] * 255, (3, 1, 3)),
        0,
    ),
    "png 2 bit": (
        png(np.full((3, 1), 0b00011011, np.uint8), 0, depth=2),
        np.tile(np.array([0, 85, 170, 255])[None, :, None], (3, 1, 3)),
        0,
    ),
    "gif palette, one colour clear": (encoded(PALETTE, "GIF", transparency=1), RGB, 0),
    "gif animated": (many_frames("GIF"), RGB, 0),
    "png animated": (many_frames("PNG"), RGB, 0),
    "webp animated": (many_frames("WEBP"), RGB, 0),
    "webp rgba": (encoded(alpha(RGB, 255), "WEBP", lossless=True), RGB, 0),
    "tiff pages": (many_frames("TIFF"), RGB, 0),
    "tiff lzw": (encoded(RGB, "TIFF", compression="tiff_lzw"), RGB, 0),
    "tiff deflate": (encoded(RGB, "TIFF", compression="tiff_adobe_deflate"), RGB, 0),
    "tiff bits of a fax": (
        encoded(Image.fromarray(RGB[..., 0] > 99), "TIFF", compression="group4"),
        np.repeat((RGB[..., :1] > 99) * 255, 3, axis=2),
        0,
    ),
    "tiff tiles": (
        tiff(
            np.pad(RGB, ((0, 8), (0, 4), (0, 0))),
            tags={**TILED, 256: [12], 257: [8], 322: [16], 323: [16], 325: [768]},
        ),
        RGB,
        0,
    ),
    "tiff 16 bit rgb": (tiff(RGB.astype(np.uint16) * 256 + 77), RGB, 0),
    "tiff 16 bit rgb, big-endian": (tiff(RGB.astype(np.uint16) * 256 + 77, ">"), RGB, 0),
    "tiff 16 bit grey": (tiff(GREY), HIGH, 0),
    "tiff 16 bit grey, big-endian": (tiff(GREY, ">"), HIGH, 0),
    "tiff 16 bit grey, white is 0": (tiff(GREY, tags={262: [0]}), 255 - HIGH, 0),
    "tiff 8 bit grey, white is 0": (tiff(RGB[..., 0], tags={262: [0]}), 255 - RGB[..., [0] * 3], 0),
    "tiff 12 bit grey": (
        tiff(np.tile(np.array([0x12, 0x3F, 0xFF], np.uint8), (8, 6)), tags={256: [12], 258: [12]}),
        np.tile(np.array([0x12, 0xFF])[None, :, None], (8, 6, 3)),
        0,
    ),
    "tiff cmyk": (encoded(Image.fromarray(RGB).convert("CMYK"), "TIFF"), RGB, 1),
    "jpeg cmyk": (
        encoded(Image.fromarray(RGB).convert("CMYK"), "JPEG", **BEST["JPEG"]),
        RGB,
        6,
    ),
    "jpeg ycck": (ycck(), RGB, 6),
    "jpeg progressive": (
        encoded(RGB, "JPEG", **BEST["JPEG"], progressive=True),
        RGB,
        6,
    ),
    "jpeg grey": (encoded(LUMA[..., 0], "JPEG", **BEST["JPEG"]), LUMA, 6),
    "jpeg with a tail": (
        encoded(RGB, "JPEG", **BEST["JPEG"]) + b"\xff\xdaPK" * 999,
        RGB,
        6,
    ),
    "mpo": (many_frames("MPO"), RGB, 6),
    "bmp 32 bit": (bmp(12, 8, 32, 0, alpha(RGB[::-1, :, ::-1], 0).tobytes()), RGB, 0),
    "bmp top down": (bmp(12, -8, 32, 0, alpha(RGB[:, :, ::-1], 0).tobytes()), RGB, 0),
    "bmp 16 bit": (
        bmp(2, 1, 16, 3, struct.pack("<HH", 0xF800, 0x07E0), MASKS_565),
        np.array([[[255, 0, 0], [0, 255, 0]]]),
        0,
    ),
    "bmp run lengths": (
        bmp(3, 1, 8, 1, b"\x02\x00\x01\x01\x00\x00\x00\x01", b"\x32\x64\xc8\0" + bytes(255 * 4)),
        np.array([[LEFT, LEFT, (0, 0, 0)]]),
        0,
    ),
    "bmp palette": (encoded(PALETTE, "BMP"), RGB, 0),
    "profile of another colour space": (foreign_profile(), RGB, 0),
    "no end mark": (png(RGB, 2)[:-12], RGB, 0),
    "1 x 1": (encoded(RGB[:1, :1], "PNG"), RGB[:1, :1], 0),
    "1 x 3000": (
        encoded(np.resize(RGB[0, 0], (3000, 1, 3)), "GIF"),
        np.resize(LEFT, (3000, 1, 3)),
        0,
    ),
    "long text beside the image": (
        png(RGB, 2, chunk(b"tEXt", b"prompt\0" + b"x" * 2**21)),
        RGB,
        0,
    ),
}


@pytest.mark.parametrize("name", READ)
def test_read(name: str) -> None:
    """Decoded to the right pixels, up to the loss of the format."""
    data, expected, loss = READ[name]
    image = decode_image(data, 1)
    assert image.mode == "RGB"
    result = np.asarray(image).astype(int)
    assert result.shape == expected.shape
    assert np.abs(result - expected).max() <= loss


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_orientation_in_every_format(kind: str, orientation: int) -> None:
    """All eight ways to hold a camera, wherever the format keeps them."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = BEST.get(kind, {})
    ramp = np.arange(96, dtype=np.uint8).reshape(8, 12, 1) * [1, 2, 0]
    result = decode_image(encoded(ramp.astype(np.uint8), kind, exif=exif, **options), 1)
    expected = TURNS[orientation - 1](ramp)
    assert result.size == expected.shape[1::-1]
    assert np.abs(np.asarray(result).astype(int) - expected).max() <= (8 if kind == "JPEG" else 0)


REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "empty"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "JPEG, PNG"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "JPEG, PNG"),
    "html": (b"<!doctype html><title>404</title>", "JPEG, PNG"),
    "icon": (encoded(RGB, "ICO"), "JPEG, PNG"),
    "jpeg 2000": (encoded(RGB, "JPEG2000"), "JPEG, PNG"),
    "avif": (encoded(RGB, "AVIF"), "JPEG, PNG"),
    "portable anymap": (encoded(RGB, "PPM"), "JPEG, PNG"),
    "png of no pixels": (png(np.zeros((0, 0), np.uint8), 0), "JPEG, PNG"),
    "tiff float": (tiff(GREY.astype(np.float32), tags={339: [3]}), "floating point"),
    "tiff signed 16 bit": (tiff(GREY, tags={339: [2]}), "signed"),
    "tiff signed 8 bit": (tiff(RGB[..., 0], tags={339: [2]}), "signed"),
    "tiff 32 bit": (tiff(GREY.astype(np.uint32)), "8 and 16 bits"),
    "tiff of twelve bands": (tiff(np.zeros((4, 4, 12), np.uint16)), "12 bands; accepted"),
    "bigtiff that points nowhere": (b"II+\0\x08\0\0\0" + b"\xff" * 40, "damaged|JPEG, PNG"),
    "bigtiff of a million fields": (
        b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 10**6),
        "1000000 fields; accepted: up to 65536",
    ),
    "bigtiff of a million strips": (
        b"MM\0+\0\x08\0\0" + struct.pack(">QQHHQQ", 16, 1, 273, 4, 10**6, 0),
        r"1000000 values \(tag 273\)",
    ),
    "png with a flipped bit": (png(NOISE, 2)[:-30] + b"~" + png(NOISE, 2)[-29:], "damaged"),
    "png with packed text": (
        png(RGB, 2, chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**24)))),
        "damaged",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    """A clear error and no guess."""
    data, message = REFUSED[name]
    with pytest.raises(InvalidImage, match=message):
        decode_image(data, 1)


@pytest.mark.parametrize("missing", [1, 2, 3, 10, 100, 1000])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("spec", [None, ImageInput(modality="rgb", size=1, resize="squash")])
def test_a_cut_jpeg_is_refused(missing: int, progressive: bool, spec: ImageInput | None) -> None:
    """However little is missing, and at half the size, too: the rest is not filled with grey."""
    data = encoded(NOISE, "JPEG", quality=90, progressive=progressive)
    with pytest.raises(InvalidImage, match="damaged or incomplete"):
        decode_image(data[:-missing], 1, spec)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_large_jpegs_are_decoded_at_half_their_size(mode: str, orientation: int) -> None:
    """Where the model resizes far enough; upright, and the same image."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    whole = Image.fromarray(NOISE[:2, :3]).resize((120, 80), Image.Resampling.BICUBIC).convert(mode)
    data = encoded(whole, "JPEG", quality=95, exif=exif)
    spec = ImageInput(modality="rgb", size=8, resize="squash")
    half = decode_image(data, 1, spec)
    assert half.size == ((60, 40) if orientation == 1 else (40, 60))
    expected = np.asarray(decode_image(data, 1).resize(half.size, Image.Resampling.BOX)).astype(int)
    assert np.abs(np.asarray(half) - expected).max() <= 6


@pytest.mark.parametrize(
    ("data", "spec"),
    [
        (encoded(NOISE, "JPEG"), ImageInput(modality="rgb")),
        (encoded(NOISE, "JPEG"), ImageInput(modality="rgb", size=7, resize="squash")),
        (encoded(NOISE[:63], "JPEG"), ImageInput(modality="rgb", size=1, resize="squash")),
        (encoded(NOISE, "PNG"), ImageInput(modality="rgb", size=1, resize="squash")),
    ],
)
def test_other_images_are_decoded_in_full(data: bytes, spec: ImageInput) -> None:
    """Taken as they are, too small, odd, or no JPEG: nothing changes."""
    np.testing.assert_array_equal(
        np.asarray(decode_image(data, 1, spec)), np.asarray(decode_image(data, 1))
    )


TEXT = base64.b64encode(bytes(range(256))).decode()


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        base64.encodebytes(bytes(range(256))).decode(),
        "\r\n".join(TEXT[i : i + 64] for i in range(0, len(TEXT), 64)),
        f"  {TEXT}\n",
        base64.urlsafe_b64encode(bytes(range(256))).decode(),
        TEXT.rstrip("="),
        base64.urlsafe_b64encode(bytes(range(256))).decode().rstrip("="),
        f"data:image/png;base64,{TEXT}",
        f"data:image/png;base64,\n{base64.encodebytes(bytes(range(256))).decode()}",
        f"data:image/png;name=a.png;base64,{TEXT}",
    ],
)
def test_ways_to_write_base64(text: str) -> None:
    """What tools write is read: wrapped lines, the URL-safe alphabet, no padding."""
    assert decode_payload(text) == bytes(range(256))


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace("+", " "),
        TEXT[:-3],
        TEXT[:8] + "=" + TEXT[8:],
        TEXT[:8] + "*" + TEXT[8:],
        TEXT + "ä",
        "field.jpg",
        "data:image/png;base64,%89",
    ],
)
def test_invalid_base64(text: str) -> None:
    """An unescaped plus sign, a lost end, a file name: the error says what is accepted."""
    with pytest.raises(InvalidImage, match=r"not valid base64; accepted: base64 .* blanks are not"):
        decode_payload(text)


def raster(pixels: NDArray[Any], **options: Any) -> bytes:
    """A TIFF as rasterio writes it."""
    profile = {"driver": "GTiff", "dtype": pixels.dtype.name, "count": len(pixels)}
    with MemoryFile() as memory:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with memory.open(**profile, height=8, width=12, **options) as file:
                file.write(pixels)
        return bytes(memory.read())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize("photometric", ["MINISBLACK", "RGB"])
@pytest.mark.parametrize("compress", [None, "deflate"])
@pytest.mark.parametrize("bands", [3, 4])
def test_rasters_of_several_bands(
    dtype: type[np.generic], interleave: str, photometric: str, compress: str | None, bands: int
) -> None:
    """The first three are red, green and blue, whatever the file says of colours."""
    factor = 1 if dtype is np.uint8 else 257
    channels = [*RGB.transpose(2, 0, 1), RGB[..., 0]][:bands]
    options = {"compress": compress} if compress else {}
    data = raster(
        np.stack(channels).astype(dtype) * dtype(factor),
        interleave=interleave, photometric=photometric, **options,
    )  # fmt: skip
    np.testing.assert_array_equal(np.asarray(decode_image(data, 1)), RGB)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_raster_of_grey_and_alpha(dtype: type[np.generic]) -> None:
    """The alpha band is dropped, as of other images."""
    high = np.iinfo(dtype).max  # type: ignore[type-var]
    grey = (GREY >> 8).astype(np.uint8) if dtype is np.uint8 else GREY
    pixels = np.stack([grey, np.full_like(grey, high)])
    data = raster(pixels, photometric="MINISBLACK", alpha="YES")
    np.testing.assert_array_equal(np.asarray(decode_image(data, 1)), HIGH)


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_rasters_of_other_numbers_are_refused(dtype: type[np.generic]) -> None:
    """Their range is not known."""
    data = raster(np.zeros((3, 8, 12), dtype))
    with pytest.raises(InvalidImage, match="accepted: unsigned") as caught:
        decode_image(data, 1)
    assert caught.value.field is None


def test_large_rasters_are_refused() -> None:
    """By the limit of images."""
    with pytest.raises(PayloadTooLarge):
        decode_image(raster(np.zeros((3, 8, 12), np.uint16)), 95e-6)
