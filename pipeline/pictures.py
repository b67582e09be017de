"""Encoded pictures to pictures."""

from __future__ import annotations

import base64
import binascii
import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from geobento.errors import GeoBentoError, InvalidImage, PayloadTooLarge

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP")
ACCEPTED = "JPEG, PNG, WebP, TIFF, GIF and BMP"


def is_url(payload: str | bytes) -> bool:
    """Whether a picture is given as an address on the web."""
    return isinstance(payload, str) and payload[:8].lower().startswith(("http://", "https://"))


def payload_bytes(payload: str | bytes) -> bytes:
    """The bytes of a picture given as bytes, base64 or a data URL.

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
    elif payload[:8].lower().startswith(("http://", "https://")):
        raise InvalidImage("pictures are not fetched from URLs; send base64, a data URL or a file")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidImage(
            "this is not valid base64; accepted: base64, a data URL with base64, or a file upload"
        ) from None


def decode(data: bytes, max_megapixels: float) -> Image.Image:
    """The first frame of a picture, upright, as 8-bit RGB.

    Transparency is dropped, 16-bit values keep their high byte.

    Raises:
        InvalidImage: The bytes are not a picture, or a damaged one.
        PayloadTooLarge: It has more pixels than allowed.
    """
    if not data:
        raise InvalidImage(f"the picture is empty; accepted: {ACCEPTED}")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_megapixels * 1e6:
                raise PayloadTooLarge(
                    f"the picture has {width} x {height} pixels; accepted: up to "
                    f"{max_megapixels:g} megapixels"
                )
            image.load()
            return _rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        raise InvalidImage(f"this is not a picture; accepted: {ACCEPTED}") from None
    except Image.DecompressionBombError:
        raise PayloadTooLarge(
            f"the picture is too large; accepted: up to {max_megapixels:g} megapixels"
        ) from None
    except (GeoBentoError, MemoryError):
        raise
    except Exception as error:  # decoders raise whatever a damaged file leads them to
        raise InvalidImage(f"the picture is damaged or incomplete: {error}") from None


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F"):
        raise InvalidImage("the picture has 32 bits a channel; accepted: 8 and 16 bits")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64) >> 8
        return Image.fromarray(values.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    return image.convert("RGB")
