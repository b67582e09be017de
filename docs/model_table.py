"""The table for choosing a model: cards, and the speeds that `docs/benchmarks.md` has."""

from __future__ import annotations

from collections.abc import Mapping

from docs.markdown import code, table
from geobento.schemas.cards import ModelCard

SHORT_NAMES = {
    "COPERNICUS/S2_SR_HARMONIZED": "Sentinel-2",
    "COPERNICUS/S2_HARMONIZED": "Sentinel-2 L1C",
    "COPERNICUS/S1_GRD_FLOAT": "Sentinel-1",
    "GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL": "annual vectors",
    "Germany/Brandenburg/orthos/20cm": "aerial images",
    "USGS/SRTMGL1_003": "elevation",
    "GOOGLE/DYNAMICWORLD/V1": "land cover",
    "ESA/WorldCereal/2021/MODELS/v100": "crops",
    "ECMWF/ERA5_LAND/MONTHLY_AGGR": "weather",
    "IDAHO_EPSCOR/TERRACLIMATE": "water balance",
    "NOAA/VIIRS/DNB/MONTHLY_V1/VCMCFG": "night lights",
    "projects/sat-io/open-datasets/ORNL/LANDSCAN_GLOBAL": "population",
}
"""Collections as the table calls them; others stand there under their ids."""

USES = {
    "mosaiks": "texture and color without learned weights; regressions of what a region is like",
    "dofa": "any set of optical or radar bands, told apart by wavelength",
    "thor": "Sentinel-1 and Sentinel-2 at their own resolutions, patches of any size",
    "clip_vit_large_patch14": "search of images by text, zero-shot classification",
    "dino_v2_vits14": "similar images, near-duplicates, linear probes",
    "open_clip_vit_b32": "search of images by text in about a hundred languages",
    "anysat": "time series and aerial images together: crops, forests, land cover",
    "galileo": "time series with weather, elevation and land cover: crops, change over a year",
    "remoteclip": "search of aerial and satellite images by text",
    "satmaepp": "fine-tuning and linear probes on aerial images or ten bands of Sentinel-2",
    "gse": "annual vectors of every 10 m, read and not computed",
}
"""What a model is for, in the fewest words; of others the first sentence of the summary."""


def models_table(cards: list[ModelCard], benchmarks: str) -> str:
    """One row per model.

    Args:
        cards: In the order of the registry.
        benchmarks: Text of `docs/benchmarks.md`.
    """
    speeds = cpu_speeds(benchmarks)
    header = ("model", "what for", "reads", "dim", "parameters", "items/s on a CPU", "licence")
    return table(header, [_row(card, speeds) for card in cards])


def aliases_table(cards: list[ModelCard]) -> str:
    """One row per model that has other names."""
    rows = [(f"`{card.id}`", code(card.aliases)) for card in cards if card.aliases]
    return table(("model", "aliases"), rows)


def cpu_speeds(benchmarks: str) -> dict[tuple[str, str, str], str]:
    """Items a second by model, variant and input, from the table of models alone.

    Returns:
        In bfloat16 where the table has that, else in float32.
    """
    speeds = {}
    rows = benchmarks.partition("\n| model | variant | input |")[2].partition("\n\n")[0]
    for line in rows.splitlines()[2:]:
        model, variant, modality, _, float32, bfloat16, *_ = (
            text.strip() for text in line.split("|")[1:-1]
        )
        speeds[model, variant, modality] = f"{float(bfloat16 or float32):.3g}"
    return speeds


def _row(card: ModelCard, speeds: Mapping[tuple[str, str, str], str]) -> tuple[str, ...]:
    variant = card.variants[card.default_variant]
    main_input = card.default_modality or (card.image.modality if card.image else "")
    speed = next(
        (
            f"{speeds[key]} ({name})"
            for name in (main_input, *card.modalities, "rgb", "image")
            if (key := (card.id, card.default_variant, name)) in speeds
        ),
        "",
    )
    return (
        f"[`{card.id}`](models/{card.id}.md)",
        USES.get(card.id) or card.summary.partition(".")[0],
        reads(card),
        str(variant.dim),
        f"{variant.parameters / 1e6:.0f} M" if variant.parameters else "",
        speed,
        card.licence.partition(",")[0],
    )


def reads(card: ModelCard) -> str:
    """Inputs of a model in words."""
    inputs = ["images"] if card.image is not None else []
    inputs += ["texts"] if card.text is not None else []
    collections = [spec.sensor.collection for spec in card.modalities.values()]
    return ", ".join([*inputs, *(SHORT_NAMES.get(name, name) for name in collections)])
