"""Encoded images to images."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from geobento.schemas.cards import ImageInput
from geobento.schemas.errors import GeoBentoError, InvalidImage, PayloadTooLarge
from models.preprocessing.jpeg_draft import can_decode_at_half_size
from pipeline.inputs.decompression import check_decompression_bomb
from pipeline.inputs.raster_uploads import TIFF_MAGIC, read_raster

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP")
ACCEPTED_FORMATS = "JPEG, PNG, WebP, TIFF, GIF and BMP, of 8 or 16 bits a channel"
_BITS, _PHOTOMETRIC, _TILE_WIDTH, _TILE_HEIGHT, _SAMPLE_FORMAT = 258, 262, 322, 323, 339
_ORIENTATION, _PLANAR_CONFIGURATION, _SEPARATE_PLANES = 274, 284, 2
MAX_BANDS = 4
"""Maximum number of bands of an image: colours and alpha."""
_URLSAFE_TO_STANDARD = str.maketrans("-_", "+/", "\r\n\t")


def is_url(payload: str | bytes) -> bool:
    """Whether an image is given as an address on the web."""
    return isinstance(payload, str) and payload[:8].lower().startswith(("http://", "https://"))


def decode_payload(payload: str | bytes) -> bytes:
    """The bytes of an image given as bytes, base64 or a data URL.

    Base64 may have line breaks, the URL-safe alphabet (`-` and `_`), and no padding. A blank
    inside is refused: it is what an unescaped `+` becomes in a form.

    Raises:
        InvalidImage: It is neither.
    """
    if isinstance(payload, bytes):
        return payload
    text = payload
    if payload[:5].lower() == "data:":
        head, comma, text = payload.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise InvalidImage("a data URL needs the form data:image/jpeg;base64,...")
    elif is_url(payload):
        raise InvalidImage(
            "images are not fetched from URLs here (GEOBENTO_ALLOW_IMAGE_URLS is off); send "
            "base64, a data URL or a file"
        )
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        pass
    text = text.strip().translate(_URLSAFE_TO_STANDARD).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise InvalidImage(
            "this is not valid base64; accepted: base64 (line breaks, the URL-safe alphabet and "
            "missing padding are fine, blanks are not), a data URL with base64, or a file upload"
        ) from None


def decode_image(data: bytes, max_megapixels: float, spec: ImageInput | None = None) -> Image.Image:
    """The first frame of an image, upright, as 8-bit RGB.

    Transparency is dropped, 16-bit values keep their high byte, colour profiles are not applied.

    Args:
        data: The file.
        max_megapixels: Most pixels of the file, millions.
        spec: Input that the image is prepared for. With it, a JPEG that is large enough for no
            visible difference (`models.preprocessing.jpeg_draft`) is decoded at half its size, in a
            third of the time.

    Raises:
        InvalidImage: The bytes are not an image, or a damaged one.
        PayloadTooLarge: It has more pixels than allowed.
    """
    if not data:
        raise InvalidImage(f"the image is empty; accepted: {ACCEPTED_FORMATS}")
    try:
        check_decompression_bomb(data)
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            _check_megapixels("the image", width, height, max_megapixels)
            if isinstance(image, TiffImageFile):
                _check_tiff(image, max_megapixels)
                if image.tag_v2.get(_PLANAR_CONFIGURATION) == _SEPARATE_PLANES:
                    orientation = image.tag_v2.get(_ORIENTATION, 1)
                    return _decode_with_gdal(data, max_megapixels, orientation)
            if spec is not None and can_decode_at_half_size(width, height, spec):
                image.draft(None, (width // 2, height // 2))
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return _to_rgb(image)
    except UnidentifiedImageError:
        if data.startswith(TIFF_MAGIC):
            return _decode_with_gdal(data, max_megapixels)
        raise InvalidImage(
            f"this is not an image that is read here; accepted: {ACCEPTED_FORMATS}"
        ) from None
    except Image.DecompressionBombError:
        raise PayloadTooLarge(
            f"the image is too large; accepted: up to {max_megapixels:g} megapixels"
        ) from None
    except (GeoBentoError, MemoryError):
        raise
    except Exception as error:  # decoders raise whatever a damaged file leads them to
        raise InvalidImage(f"the image is damaged or incomplete: {error}") from None


def _decode_with_gdal(data: bytes, max_megapixels: float, orientation: int = 1) -> Image.Image:
    """A TIFF that Pillow does not read, such as three bands of 16 bits as rasterio writes them.

    Of files with a plane per band, Pillow reads some wrong without an error. The first three bands
    are red, green and blue; the first of one or two bands is grey.
    """
    try:
        pixels = read_raster(data, int(max_megapixels * 1e6)).pixels
    except GeoBentoError as error:
        error.field = None
        raise
    if pixels.dtype not in (np.uint8, np.uint16):
        raise InvalidImage(
            f"the TIFF has {pixels.dtype} values; accepted: unsigned integers of 8 and 16 bits"
        )
    if len(pixels) > MAX_BANDS:
        raise InvalidImage(
            f"the TIFF has {len(pixels)} bands; accepted: an image of up to {MAX_BANDS}. Pixels of "
            "a sensor go to /geo_embedding"
        )
    bands = pixels[:3] if len(pixels) >= 3 else pixels[:1]
    high = bands if bands.dtype == np.uint8 else (bands >> 8).astype(np.uint8)
    channels = high[0] if len(high) == 1 else np.ascontiguousarray(high.transpose(1, 2, 0))
    image = Image.fromarray(channels).convert("RGB")
    image.getexif()[_ORIENTATION] = orientation
    ImageOps.exif_transpose(image, in_place=True)
    return image


def _check_megapixels(subject: str, width: int, height: int, max_megapixels: float) -> None:
    if width * height > max_megapixels * 1e6:
        raise PayloadTooLarge(
            f"{subject} has {width} x {height} pixels; "
            f"accepted: up to {max_megapixels:g} megapixels"
        )


def _check_tiff(image: TiffImageFile, max_megapixels: float) -> None:
    """Check what only TIFFs can have: tiles larger than the image, and numbers with a sign."""
    tile = image.tag_v2.get(_TILE_WIDTH, 0), image.tag_v2.get(_TILE_HEIGHT, 0)
    _check_megapixels("a tile of the image", *tile, max_megapixels)
    if any(code not in (1, 4) for code in image.tag_v2.get(_SAMPLE_FORMAT, ())):
        raise InvalidImage("the TIFF has signed or floating point values; accepted: unsigned")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F"):
        raise InvalidImage("the image has 32 bits a channel; accepted: 8 and 16 bits")
    if image.mode.startswith("I"):
        tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
        high = (np.asarray(image) >> (tags.get(_BITS, (16,))[0] - 8)).astype(np.uint8)
        inverted = tags and tags.get(_PHOTOMETRIC, 0) == 0
        return Image.fromarray(255 - high if inverted else high).convert("RGB")
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
