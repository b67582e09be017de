"""Files of pixels to arrays."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pyproj import CRS

from geobento.schemas.errors import GeoBentoError, InvalidImage, PayloadTooLarge
from pipeline.inputs import raster_uploads
from tests import geotiffs
from tests.geotiffs import geotiff

LIMIT = 100_000
RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(1, 4000, (3, 20, 30)).astype(np.uint16)


def npy(
    array: NDArray[Any], version: tuple[int, int] | None = (1, 0), *, pickled: bool = False
) -> bytes:
    """An array as a file."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=version, allow_pickle=pickled)
    return stream.getvalue()


def header(shape: str, kind: str = "'<f4'", data: bytes = b"") -> bytes:
    """An `.npy` file with a header as it is written."""
    text = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def test_a_geotiff_with_all_metadata() -> None:
    """Values as stored, names of bands, units, reference system, region, and where data are."""
    mask = RANDOM.integers(0, 2, (20, 30)).astype(bool)
    file = raster_uploads.read_raster(
        geotiff(PIXELS, bands=("B4", "B3", "B2"), units="digital numbers", mask=mask, nodata=None),
        LIMIT,
    )
    np.testing.assert_array_equal(file.pixels, PIXELS)
    assert file.pixels.dtype == np.uint16
    assert (file.file_type, file.bands, file.units) == (
        "GeoTIFF",
        ("B4", "B3", "B2"),
        "digital numbers",
    )
    assert file.crs is not None
    assert CRS(file.crs).to_authority(min_confidence=100) == ("EPSG", "32736")
    assert file.transform == geotiffs.TRANSFORM
    assert file.scaling == ()
    np.testing.assert_array_equal(file.mask, mask)


def test_a_geotiff_without_metadata() -> None:
    """What a file leaves open stays open."""
    file = raster_uploads.read_raster(geotiff(PIXELS, crs=None, transform=None), LIMIT)
    assert (file.bands, file.units, file.crs, file.transform) == (None, None, None, None)
    assert (file.nodata, file.mask, file.scaling) == (None, None, ())


def test_a_geotiff_with_some_metadata() -> None:
    """Names of some bands are none; units have to be the same; a scale is returned as stored."""
    file = raster_uploads.read_raster(
        geotiff(
            PIXELS, bands=("B4", "B3", ""), units=("m", "m", "K"), scales=(1, 1, 0.5), nodata=7
        ),
        LIMIT,
    )
    assert (file.bands, file.units, file.nodata) == (None, None, 7)
    assert file.scaling == ((1.0, 0.0), (1.0, 0.0), (0.5, 0.0))


@pytest.mark.parametrize("code", ["EPSG:3857", "EPSG:3035", "EPSG:4326", "ESRI:54009"])
def test_reference_systems_come_as_definitions_that_are_known(code: str) -> None:
    """Those too that other libraries write with names of files."""
    crs = raster_uploads.read_raster(geotiff(PIXELS, crs=code), LIMIT).crs
    assert crs is not None
    assert ":".join(CRS(crs).to_authority(min_confidence=100)) == code
    assert "grids" not in crs


@pytest.mark.parametrize("compress", ["lzw", "deflate", "zstd"])
def test_compressed_tiles(compress: str) -> None:
    """The usual ways to lay out a GeoTIFF."""
    data = geotiff(PIXELS, compress=compress, tiled=True, blockxsize=16, blockysize=16)
    np.testing.assert_array_equal(raster_uploads.read_raster(data, LIMIT).pixels, PIXELS)


@pytest.mark.parametrize(
    "array",
    [
        PIXELS,
        PIXELS.astype(">f4"),
        np.asfortranarray(PIXELS.astype(np.float64)),
        np.stack([PIXELS, PIXELS + 1]).astype(np.int16),
        PIXELS.astype(np.float16)[:, ::2],
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_arrays(array: NDArray[Any], version: tuple[int, int]) -> None:
    """Any order of bytes and axes; nothing is known but the values."""
    file = raster_uploads.read_raster(npy(array, version), LIMIT)
    np.testing.assert_array_equal(file.pixels, array)
    assert file.pixels.dtype == array.dtype
    assert (file.file_type, file.bands, file.units, file.crs) == ("NumPy array", None, None, None)


def zipped() -> bytes:
    """An `.npz` file."""
    stream = io.BytesIO()
    np.savez(stream, PIXELS)
    return stream.getvalue()


def archive() -> bytes:
    """A GeoTIFF in a zip file."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("a.tif", geotiff(PIXELS))
    return stream.getvalue()


VRT = b"""<VRTDataset rasterXSize="20" rasterYSize="20"><VRTRasterBand dataType="Byte" band="1">
<SimpleSource><SourceFilename relativeToVRT="0">/etc/passwd</SourceFilename></SimpleSource>
</VRTRasterBand></VRTDataset>"""
BAD_FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "accepted: a GeoTIFF or an .npy file"),
    "text": (lambda: b"/etc/passwd", "accepted: a GeoTIFF or an .npy file"),
    "vrt": (lambda: VRT, "accepted: a GeoTIFF or an .npy file"),
    "vrt with a bom": (lambda: b"\xef\xbb\xbf" + VRT, "accepted: a GeoTIFF or an .npy file"),
    "vrt in a tiff": (lambda: b"II*\0" + VRT, "damaged"),
    "png": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(99), "accepted: a GeoTIFF or an .npy file"),
    "npz": (zipped, "accepted: a GeoTIFF or an .npy file"),
    "zip": (archive, "accepted: a GeoTIFF or an .npy file"),
    "only the magic": (lambda: b"MM\0*", "damaged"),
    "half a geotiff": (lambda: geotiff(PIXELS)[:2000], "damaged"),
    "complex geotiff": (lambda: geotiff(PIXELS.astype(np.complex64)), "complex64"),
    "complex integers": (
        lambda: geotiff(PIXELS.astype(np.complex64), dtype="complex_int16"),
        "complex_int16",
    ),
    "objects": (lambda: npy(np.array([[["a"]]], object), pickled=True), "object"),
    "words": (lambda: npy(np.array([[["a"]]])), "<U1"),
    "booleans": (lambda: npy(PIXELS > 7), "bool"),
    "complex": (lambda: npy(PIXELS.astype(np.complex128)), "complex128"),
    "records": (lambda: header("(1, 2, 2)", "[('a', '<f4')]", bytes(16)), "accepted: integers"),
    "times": (lambda: npy(PIXELS.astype("M8[s]")), "accepted: integers"),
    "one band": (lambda: npy(PIXELS[0]), "(20, 30)"),
    "five axes": (lambda: npy(PIXELS[None, None]), "accepted: (C, H, W)"),
    "no pixels": (lambda: npy(PIXELS[:, :0]), "(3, 0, 30)"),
    "less than none": (lambda: header("(-1, -2, 2)", data=bytes(16)), "(-1, -2, 2)"),
    "half an array": (lambda: npy(PIXELS)[:-1], "needs 3600"),
    "more than an array": (lambda: npy(PIXELS) + b"\0", "needs 3600"),
    "an array of terabytes": (lambda: header("(10**12, 9, 9)"), "damaged"),
    "a lie of terabytes": (lambda: header("(1000000000000, 9, 9)"), "needs 324000000000000"),
    "version 3": (lambda: npy(PIXELS, (3, 0)), "version 1.0 or 2.0"),
    "an array's magic": (lambda: b"\x93NUMPY", "damaged"),
    "code for a header": (lambda: header("__import__('os').getcwd()"), "damaged"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_files_that_are_refused(name: str) -> None:
    """Other formats, above all those that point to further files, damage, and no numbers."""
    make, message = BAD_FILES[name]
    with pytest.raises(InvalidImage) as caught:
        raster_uploads.read_raster(make(), LIMIT)
    assert message in caught.value.message
    assert caught.value.field == "pixels"
    assert "vsimem" not in caught.value.message


def zeros(height: int, width: int, **profile: Any) -> bytes:
    """A GeoTIFF of empty blocks, which is small."""
    rows = geotiff(np.zeros((1, 8, 8), np.uint8), **profile)
    # Height and width are in the header alone, where no block is stored.
    order = "<" if rows[:2] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}I", rows, 4)
    (fields,) = struct.unpack_from(f"{order}H", rows, start)
    changed = bytearray(rows)
    for field in range(fields):
        at = start + 2 + 12 * field
        (tag,) = struct.unpack_from(f"{order}H", rows, at)
        if tag in (256, 257):
            value = width if tag == 256 else height
            struct.pack_into(f"{order}HII", changed, at + 2, 4, 1, value)
    return bytes(changed)


TOO_LARGE: dict[str, tuple[Callable[[], bytes], str]] = {
    "many pixels": (lambda: geotiff(np.zeros((1, 400, 400), np.uint8)), "160,000 pixels"),
    "a bomb": (
        lambda: geotiff(np.zeros((1, 4000, 5000), np.uint8), compress="deflate"),
        "20,000,000 pixels",
    ),
    "a lie": (lambda: zeros(2_000_000_000, 2), "4,000,000,000 pixels"),
    "a large tile": (
        lambda: geotiff(
            np.zeros((1, 16, 16), np.uint8),
            tiled=True,
            blockxsize=2048,
            blockysize=2048,
            compress="deflate",
        ),
        "a tile of the file has 4,194,304 pixels",
    ),
    "many bands": (
        lambda: geotiff(
            np.zeros((1500, 300, 300), np.uint8), compress="deflate", interleave="pixel",
            sparse_ok=True, dtype="float64",
        ),
        "1,080,000,000 bytes",
    ),
    "an array": (lambda: npy(np.zeros((1, 400, 400), np.uint8)), "160,000 pixels"),
}  # fmt: skip


@pytest.mark.parametrize("name", TOO_LARGE)
def test_files_that_are_too_large(name: str) -> None:
    """Small files that would be large in memory are rejected by their headers."""
    make, message = TOO_LARGE[name]
    data = make()
    assert len(data) < 2_000_000
    with pytest.raises(PayloadTooLarge, match=message) as caught:
        raster_uploads.read_raster(data, LIMIT)
    assert caught.value.field == "pixels"


def test_too_many_parts() -> None:
    """A strip for every pixel would have the reader make a record of each."""
    data = bytearray(geotiff(PIXELS))
    (start,) = struct.unpack_from("<I", data, 4)
    (fields,) = struct.unpack_from("<H", data, start)
    offsets = next(
        at
        for at in range(start + 2, start + 2 + 12 * fields, 12)
        if struct.unpack_from("<H", data, at) == (273,)
    )
    struct.pack_into("<I", data, offsets + 4, 10_000_000)
    with pytest.raises(InvalidImage, match="10000000 values"):
        raster_uploads.read_raster(bytes(data), LIMIT)


@pytest.mark.parametrize("good", [geotiff(PIXELS, compress="lzw"), npy(PIXELS)], ids=len)
def test_damage_is_never_a_surprise(good: bytes) -> None:
    """Whatever bytes are changed or cut off, there are pixels or one of our errors."""
    random = np.random.default_rng(1)
    fields = []
    for _ in range(300):
        data = np.frombuffer(good, np.uint8).copy()
        # Most changes where the structure is.
        reach = len(data) if random.random() < 0.3 else 200
        regions = random.integers(0, reach, random.integers(1, 6))
        data[regions] = random.integers(0, 256, len(regions))
        end = len(data) if random.random() < 0.7 else random.integers(0, len(data))
        try:
            raster_uploads.read_raster(data[:end].tobytes(), LIMIT)
        except GeoBentoError as error:
            fields.append(error.field)
    assert len(fields) > 100
    assert set(fields) == {"pixels"}
