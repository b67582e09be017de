"""Weights of a CLIP in the layout of the transformers library, from that of open_clip."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geobento.schemas.cards import ImageInput, TextInput

if TYPE_CHECKING:
    import torch

    from models.weights.stored_model import StoredModel

Tensors = Mapping[str, "torch.Tensor"]

TOWERS = {"visual.": "vision_model.", "": "text_model."}
RENAMED_TENSORS = {
    "logit_scale": "logit_scale",
    "text_projection": "text_projection.weight",
    "visual.proj": "visual_projection.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
}
TRANSPOSED = ("text_projection", "visual.proj")
"""Applied from the right in open_clip, from the left in transformers."""
RENAMED_PARTS = {
    "ln_pre": "pre_layrnorm",
    "ln_post": "post_layernorm",
    "ln_final": "final_layer_norm",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
TENSOR_NAME = re.compile(
    r"(?P<tower>visual\.)?(?:transformer\.resblocks\.(?P<layer>\d+)\.)?"
    r"(?P<part>.+?)[._](?P<kind>weight|bias)"
)


def convert_tensors(open_clip: Tensors) -> dict[str, torch.Tensor]:
    """The same weights under the names of ``transformers.CLIPModel``.

    Raises:
        ValueError: A name is not of a CLIP with vision transformer.
    """
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in open_clip.items():
        if name in RENAMED_TENSORS:
            renamed[RENAMED_TENSORS[name]] = tensor.T.contiguous() if name in TRANSPOSED else tensor
            continue
        if (found := TENSOR_NAME.fullmatch(name)) is None:
            raise ValueError(f"{name!r} is not of a CLIP with vision transformer")
        tower = TOWERS[found["tower"] or ""]
        before = tower if found["layer"] is None else f"{tower}encoder.layers.{found['layer']}."
        if found["part"] == "attn.in_proj":
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                renamed[f"{before}self_attn.{letter}_proj.{found['kind']}"] = part.contiguous()
        elif found["part"] in RENAMED_PARTS:
            renamed[f"{before}{RENAMED_PARTS[found['part']]}.{found['kind']}"] = tensor
        else:
            raise ValueError(f"{name!r} is not of a CLIP with vision transformer")
    return renamed


def clip_config(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """The ``config.json`` that belongs to them, from the architecture record of a RemoteCLIP."""
    vision, text = architecture["vision"], architecture["text"]
    common = {
        "hidden_act": "quick_gelu" if architecture["quick_gelu"] else "gelu",
        "layer_norm_eps": 1e-5,
        "projection_dim": architecture["embed_dim"],
    }
    return {
        "model_type": "clip",
        "architectures": ["CLIPModel"],
        "projection_dim": architecture["embed_dim"],
        "vision_config": {
            **common,
            "hidden_size": vision["width"],
            "intermediate_size": 4 * vision["width"],
            "num_hidden_layers": vision["layers"],
            "num_attention_heads": vision["width"] // vision["head_width"],
            "image_size": vision["image_size"],
            "patch_size": vision["patch_size"],
        },
        "text_config": {
            **common,
            "hidden_size": text["width"],
            "intermediate_size": 4 * text["width"],
            "num_hidden_layers": text["layers"],
            "num_attention_heads": text["heads"],
            "max_position_embeddings": text["context_length"],
            "vocab_size": text["vocab_size"],
            "eos_token_id": 2,
        },
    }


def preprocessor_config(image: ImageInput) -> dict[str, Any]:
    """The ``preprocessor_config.json``."""
    return {
        "image_processor_type": "CLIPImageProcessor",
        "processor_class": "CLIPProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": image.size},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": image.crop, "width": image.crop},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(image.mean),
        "image_std": list(image.std),
    }


def make_vocabulary(text: TextInput) -> dict[str, int]:
    """A ``vocab.json`` of single bytes: enough for a server that only sees images."""
    from models.optional_import import optional_import

    alphabet = sorted(optional_import("tokenizers").pre_tokenizers.ByteLevel.alphabet())
    letters = [*alphabet, *(letter + "</w>" for letter in alphabet)]
    return {letter: number for number, letter in enumerate(letters)} | {
        "<|startoftext|>": text.begin,
        "<|endoftext|>": text.end,
    }


def write_model(stored: StoredModel, cache_dir: Path) -> Path:
    """The folder with a stored RemoteCLIP as the peers load it, made if need be."""
    from safetensors.torch import load_file, save_file

    from models.weights.stored_model import WEIGHTS_FILE

    folder = cache_dir / stored.tag.replace(":", "-")
    if folder.exists():
        return folder
    card = stored.model().card
    assert card.image is not None
    assert card.text is not None
    files = {
        "config.json": clip_config(stored.config),
        "preprocessor_config.json": preprocessor_config(card.image),
        "tokenizer_config.json": {"tokenizer_class": "CLIPTokenizer"},
        "vocab.json": make_vocabulary(card.text),
    }
    begun = folder.with_suffix(".begun")
    shutil.rmtree(begun, ignore_errors=True)
    begun.mkdir(parents=True)
    for name, content in files.items():
        (begun / name).write_text(json.dumps(content))
    (begun / "merges.txt").write_text("#version: 0.2\n")
    weights = convert_tensors(load_file(stored.path / WEIGHTS_FILE))
    save_file(weights, begun / "model.safetensors", metadata={"format": "pt"})
    begun.rename(folder)
    return folder
