"""Image files of unusual formats, for tests."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

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
