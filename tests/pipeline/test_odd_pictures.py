"""Images as they come from scanners, cameras, editors and people with bad intentions."""

from __future__ import annotations

import base64
import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from geobento.schemas.cards import ImageInput
from geobento.schemas.errors import GeoBentoError, InvalidImage, PayloadTooLarge
from pipeline.inputs.decompression import MAX_JPEG_SCANS, MAX_TIFF_VALUES
from pipeline.inputs.images import decode_image, decode_payload
from tests.conftest import ROOT

Tags = Mapping[int, Sequence[int]]
TILED: Tags = {273: [], 278: [], 279: [], 324: [8]}
LEFT, RIGHT = (200, 100, 50), (20, 40, 250)
RGB = np.zeros((8, 12, 3), np.uint8)
RGB[:, :6], RGB[:, 6:] = LEFT, RIGHT
GREY = np.arange(96, dtype=np.uint16).reshape(8, 12) * 680
HIGH = np.repeat((GREY >> 8)[..., None], 3, axis=2)
NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
BEST: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 100, "subsampling": 0},
    "MPO": {"quality": 100, "subsampling": 0},
    "WEBP": {"lossless": True},
}
TURNS: list[Callable[[NDArray[Any]], NDArray[Any]]] = [
    lambda x: x,
    lambda x: x[:, ::-1],
    lambda x: x[::-1, ::-1],
    lambda x: x[::-1],
    lambda x: x.transpose(1, 0, 2),
    lambda x: np.rot90(x, -1),
    lambda x: np.rot90(x.transpose(1, 0, 2), 2),
    np.rot90,
]


def encoded(image: Image.Image | NDArray[Any], kind: str, **options: object) -> bytes:
    """The file of an image."""
    buffer = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    """A part of a PNG."""
    size, check = struct.pack(">I", len(content)), zlib.crc32(kind + content)
    return size + kind + content + struct.pack(">I", check)


def png(pixels: NDArray[Any], colour: int, *chunks: bytes, depth: int | None = None) -> bytes:
    """A PNG of pixels (H, W) or (H, W, C); bits below 8 are packed already."""
    height, width = pixels.shape[:2]
    depth = depth or 8 * pixels.itemsize
    if depth < 8:
        width = width * 8 // depth
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(row.dtype.newbyteorder(">")).tobytes() for row in pixels)
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(rows, 9))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def tiff(
    pixels: NDArray[Any], order: Literal["<", ">"] = "<", tags: Tags = MappingProxyType({})
) -> bytes:
    """An uncompressed TIFF of pixels (H, W) or (H, W, C), with further or other tags."""
    height, width, channels = (*pixels.shape, 1)[:3]
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    fields: dict[int, Sequence[int]] = {
        256: [width],
        257: [height],
        258: [8 * pixels.itemsize] * channels,
        259: [1],
        262: [2 if channels > 1 else 1],
        273: [8],
        277: [channels],
        278: [height],
        279: [len(data)],
        **tags,
    }
    fields = {tag: values for tag, values in fields.items() if len(values)}
    directory, extra = struct.pack(f"{order}H", len(fields)), b""
    behind = 8 + len(data) + 2 + 12 * len(fields) + 4
    for tag, values in sorted(fields.items()):
        content = np.asarray(values).astype(f"{order}u4").tobytes()
        directory += struct.pack(f"{order}HHI", tag, 4, len(values))
        if len(values) == 1:
            directory += content
        else:
            directory += struct.pack(f"{order}I", behind + len(extra))
            extra += content
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", 8 + len(data))
    return head + data + directory + bytes(4) + extra


def bmp(
    width: int, height: int, bits: int, packing: int, body: bytes, between: bytes = b""
) -> bytes:
    """A BMP with what stands between header and pixels (palette, masks)."""
    start = 54 + len(between)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, packing, len(body), 1, 1, 0, 0)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + info + between + body


def ycck() -> bytes:
    """A JPEG of Adobe's kind: CMYK, whose first three parts are stored as YCbCr."""
    inks = Image.fromarray(255 - RGB).convert("YCbCr")
    planes = [*inks.split(), Image.new("L", (12, 8), 255)]
    stored = Image.merge("CMYK", [plane.point(lambda value: 255 - value) for plane in planes])
    data = bytearray(encoded(stored, "JPEG", **BEST["JPEG"]))
    data[data.index(b"Adobe") + 11] = 2
    return bytes(data)


def many_frames(kind: str) -> bytes:
    """An animation whose first frame is the image."""
    others = [Image.new("RGB", (12, 8), (i % 256, i // 256, 7)) for i in range(1, 6)]
    options = BEST.get(kind, {})
    return encoded(RGB, kind, save_all=True, append_images=others, duration=20, **options)


def foreign_profile() -> bytes:
    """An image in Lab's idea of colours."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    return encoded(RGB, "PNG", icc_profile=profile.tobytes())


def alpha(values: NDArray[Any], opacity: int) -> NDArray[Any]:
    """Pixels with a channel of opacity."""
    return np.dstack([values, np.full((8, 12), opacity, values.dtype)])


PALETTE = Image.fromarray(RGB).quantize(2)
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
    found = np.asarray(image).astype(int)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= loss


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_orientation_in_every_format(kind: str, orientation: int) -> None:
    """All eight ways to hold a camera, wherever the format keeps them."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = BEST.get(kind, {})
    ramp = np.arange(96, dtype=np.uint8).reshape(8, 12, 1) * [1, 2, 0]
    found = decode_image(encoded(ramp.astype(np.uint8), kind, exif=exif, **options), 1)
    expected = TURNS[orientation - 1](ramp)
    assert found.size == expected.shape[1::-1]
    assert np.abs(np.asarray(found).astype(int) - expected).max() <= (8 if kind == "JPEG" else 0)


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
    "tiff of twelve bands": (tiff(np.zeros((4, 4, 12), np.uint16)), "8 or 16 bits"),
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
    data, says = REFUSED[name]
    with pytest.raises(InvalidImage, match=says):
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
def test_what_is_no_base64(text: str) -> None:
    """An unescaped plus sign, a lost end or a file name is told, with what is accepted."""
    with pytest.raises(InvalidImage, match=r"not valid base64; accepted: base64 .* blanks are not"):
        decode_payload(text)


def zeros(count: int) -> bytes:
    """Zeros, packed."""
    packer = zlib.compressobj(1)
    blocks = [packer.compress(bytes(2**20)) for _ in range(count // 2**20)]
    return b"".join(blocks) + packer.compress(bytes(count % 2**20)) + packer.flush()


def png_of(side: int, packed: bytes) -> bytes:
    """A grey PNG that claims to be square."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", packed), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tile_bomb(side: int) -> bytes:
    """A TIFF of 16 x 16 pixels in a tile that is larger."""
    packed = np.frombuffer(zeros(side * side), np.uint8)
    size = {256: [16], 257: [16], 259: [8], 322: [side], 323: [side], 325: [packed.size]}
    return tiff(packed[None], tags={**TILED, **size})


def strip_bomb(count: int, order: Literal["<", ">"] = "<") -> bytes:
    """A TIFF of as many strips, all in one region."""
    rows = {257: [count], 278: [1], 273: [8] * count, 279: [1] * count}
    return tiff(np.zeros((1, 1), np.uint8), order, rows)


def scan_bomb(count: int) -> bytes:
    """A JPEG whose last scan is there as often."""
    data = encoded(Image.new("L", (64, 64)), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan * count + b"\xff\xd9"


def webp_claim(side: int) -> bytes:
    """A WebP that claims to be square and large, and holds little."""
    data = bytearray(encoded(RGB, "WEBP", lossless=True))
    start = data.index(b"VP8L") + 9
    (bits,) = struct.unpack_from("<I", data, start)
    size = (side - 1) | (side - 1) << 14
    struct.pack_into("<I", data, start, bits & ~0xFFFFFFF | size)
    return bytes(data)


def frame_bomb(count: int) -> bytes:
    """A GIF of as many frames."""
    first = encoded(PALETTE, "GIF")
    frame = first[first.index(b",", 13 + 6) : -1]
    return first[:-1] + (b"!\xf9\x04\0\x01\0\0\0" + frame) * count + b";"


BOMBS: dict[str, tuple[Callable[[], bytes], type[GeoBentoError] | None]] = {
    "png of 20,000 x 20,000": (lambda: png_of(20_000, zeros(20_000 * 20_001)), PayloadTooLarge),
    "png of 10,000 x 10,000": (lambda: png_of(10_000, zeros(10_000 * 10_001)), PayloadTooLarge),
    "png that claims 2^31 - 1": (lambda: png_of(2**31 - 1, b""), PayloadTooLarge),
    "jpeg that claims 65,500": (
        lambda: encoded(RGB, "JPEG").replace(b"\x08\0\x08\0\x0c", b"\x08" + b"\xff\xdc" * 2),
        PayloadTooLarge,
    ),
    "gif that claims 65,535": (
        lambda: encoded(PALETTE, "GIF").replace(b"\x0c\0\x08\0", b"\xff" * 4),
        PayloadTooLarge,
    ),
    "webp that claims 16,383": (lambda: webp_claim(16_383), PayloadTooLarge),
    "webp that claims 12,000": (lambda: webp_claim(12_000), PayloadTooLarge),
    "bmp that claims 60,000": (lambda: bmp(60_000, 60_000, 8, 1, b"\0\1"), PayloadTooLarge),
    "tiff with a tile of 20,000": (lambda: tile_bomb(20_000), PayloadTooLarge),
    "tiff of a million strips": (lambda: strip_bomb(1_000_000), InvalidImage),
    "jpeg of ten thousand scans": (lambda: scan_bomb(10_000), InvalidImage),
    "gif of ten thousand frames": (lambda: frame_bomb(10_000), None),
    "png with a gigabyte of text": (
        lambda: png(RGB, 2, chunk(b"zTXt", b"k\0\0" + zeros(2**30))),
        InvalidImage,
    ),
    "png with international text": (
        lambda: png(RGB, 2, chunk(b"iTXt", b"k\0\1\0\0\0" + zeros(2**28))),
        InvalidImage,
    ),
    "png with a large profile": (
        lambda: png(RGB, 2, chunk(b"iCCP", b"k\0\0" + zeros(2**28))),
        InvalidImage,
    ),
}

MEASURE = """
import sys
from pipeline.inputs.images import decode_image

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

for file in sys.argv[1:]:
    data = open(file, "rb").read()
    before = peak()
    try:
        decode_image(data, 64)
        answer = "None"
    except Exception as error:
        answer = type(error).__name__
    print(answer, (peak() - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's count of memory")
def test_bombs_cost_nothing(tmp_path: Path) -> None:
    """Small files of large images are refused before any memory is spent on them."""
    files = [tmp_path / str(position) for position in range(len(BOMBS))]
    for file, (made, _) in zip(files, BOMBS.values(), strict=True):
        file.write_bytes(made())
    command = [sys.executable, "-W", "ignore", "-c", MEASURE, *map(str, files)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    for (name, (_, error)), line in zip(BOMBS.items(), lines, strict=True):
        answer, mebibytes = line.split()
        assert answer == (error.__name__ if error else "None"), name
        assert int(mebibytes) < 40, name


@pytest.mark.parametrize("order", ["<", ">"])
def test_as_many_strips_as_allowed(order: Literal["<", ">"]) -> None:
    """The bound on strips is not in the way of real files; one more is refused."""
    assert decode_image(strip_bomb(MAX_TIFF_VALUES, order), 1).size == (1, MAX_TIFF_VALUES)
    with pytest.raises(InvalidImage, match=r"65537 values \(tag 273\).*up to 65536"):
        decode_image(strip_bomb(MAX_TIFF_VALUES + 1, order), 1)


def test_as_many_scans_as_allowed() -> None:
    """The bound on scans is not in the way of real files, nor of films behind the image."""
    own = scan_bomb(0).count(b"\xff\xda")
    assert decode_image(scan_bomb(MAX_JPEG_SCANS - own), 1).size == (64, 64)
    assert decode_image(scan_bomb(0) + b"\xff\xda\0\x01" * 999, 1).size == (64, 64)
    with pytest.raises(InvalidImage, match="too many scans; accepted: up to 64"):
        decode_image(scan_bomb(MAX_JPEG_SCANS - own + 1), 1)


@pytest.mark.parametrize("keep", [4, 7, 8, 9, 30, 60])
@pytest.mark.parametrize("magic", [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"])
def test_damaged_tiff_directories(magic: bytes, keep: int) -> None:
    """A directory that is cut or lies elsewhere is damage and no crash."""
    data = tiff(np.zeros((4, 4), np.uint8), "<" if magic[:1] == b"I" else ">")
    with pytest.raises(InvalidImage):
        decode_image(magic + data[4:keep], 1)
