"""Decompression bombs, and limits that real files do not reach."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from geobento.schemas.errors import GeoBentoError, InvalidImage, PayloadTooLarge
from pipeline.inputs.decompression import MAX_JPEG_SCANS, MAX_TIFF_VALUES
from pipeline.inputs.images import decode_image
from tests.conftest import ROOT
from tests.pipeline.inputs.image_files import PALETTE, RGB, TILED, bmp, chunk, encoded, png, tiff


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
    """A TIFF of as many strips, all at one offset of the file."""
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
