"""Detects decompression bombs from file headers. Pure."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from geobento.schemas.errors import InvalidImage

MAX_JPEG_SCANS = 64
"""Passes over a JPEG; a progressive one has about ten."""
MAX_TIFF_VALUES = 65_536
"""Values of one structural field of a TIFF, such as the offsets of its strips."""
_JPEG_SCAN = re.compile(rb"\xff\xda\x00(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")
_TIFF_STRUCTURE_TAGS = range(256, 351)
_TIFF_ASCII = 2
_TIFF_BYTE_ORDER = {b"II": "<", b"MM": ">"}


def check_decompression_bomb(data: bytes) -> None:
    """Check that an image has no more parts than images have.

    Decoders go over all pixels for every scan of a JPEG, and make a record for every strip of a
    TIFF, and cannot be interrupted.

    Raises:
        InvalidImage: It has.
    """
    if data[:2] == b"\xff\xd8" and sum(1 for _ in _JPEG_SCAN.finditer(data)) > MAX_JPEG_SCANS:
        raise InvalidImage(f"the JPEG has too many scans; accepted: up to {MAX_JPEG_SCANS}")
    if data[:2] in _TIFF_BYTE_ORDER:
        for tag, kind, count in _tiff_fields(data):
            if tag in _TIFF_STRUCTURE_TAGS and kind != _TIFF_ASCII and count > MAX_TIFF_VALUES:
                raise InvalidImage(
                    f"the TIFF has a field of {count} values (tag {tag}), such as strips or tiles; "
                    f"accepted: up to {MAX_TIFF_VALUES}"
                )


def _tiff_fields(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Tag, type and count of the fields in the first directory, as far as there is one."""
    order = _TIFF_BYTE_ORDER[data[:2]]
    try:
        (version,) = struct.unpack_from(f"{order}H", data, 2)
        if version == 43:  # BigTIFF
            (start,) = struct.unpack_from(f"{order}Q", data, 8)
            (fields,) = struct.unpack_from(f"{order}Q", data, start)
            start, field = start + 8, struct.Struct(f"{order}HHQQ")
        else:
            (start,) = struct.unpack_from(f"{order}I", data, 4)
            (fields,) = struct.unpack_from(f"{order}H", data, start)
            start, field = start + 2, struct.Struct(f"{order}HHII")
        if fields > MAX_TIFF_VALUES:
            raise InvalidImage(f"the TIFF has {fields} fields; accepted: up to {MAX_TIFF_VALUES}")
        for position in range(fields):
            tag, kind, count, _ = field.unpack_from(data, start + position * field.size)
            yield tag, kind, count
    except (struct.error, OverflowError):
        return  # damaged; the decoder says so
