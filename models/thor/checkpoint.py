"""Names in THOR's released files."""

from __future__ import annotations

from models.checkpoints.conversion import Checkpoint

FILE_BANDS = {
    "S2:Red": "B4", "S2:Green": "B3", "S2:Blue": "B2", "S2:NIR": "B8", "S2:RE1": "B5",
    "S2:RE2": "B6", "S2:RE3": "B7", "S2:RE4": "B8A", "S2:SWIR1": "B11", "S2:SWIR2": "B12",
    "S2:CoastAerosal": "B1", "S2:WaterVapor": "B9", "S1:VV": "VV", "S1:VH": "VH", "S1:HV": "HV",
    "S1:HH": "HH",
}  # fmt: skip
"""Bands in the released files -> ours."""
FILE_KERNELS = "encoder.ind_patch_embed.patch_embed."
TRAINING_ONLY = ("decoder_", "decode_", "pos_embed", "ref_pos_embed")
"""Parts that the reference implementation ignores, too."""
CHECKPOINT = Checkpoint(
    drop=(
        f"{FILE_KERNELS}S3:",
        *(f"encoder.band_embed.group{number}" for number in range(5, 10)),
        *(f"{prefix}{part}" for prefix in ("", "encoder.") for part in TRAINING_ONLY),
    ),
    rename={
        **{f"{FILE_KERNELS}{name}.": f"kernels.{band}." for name, band in FILE_BANDS.items()},
        FILE_KERNELS: "kernels.",
        "encoder.": "",
    },
)
"""The encoder without the parts that read Sentinel-3."""
