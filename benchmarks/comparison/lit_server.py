"""CLIP behind LitServe, as LitServe's documentation has it; runs in an environment of its own."""

from __future__ import annotations

import argparse
import base64
import io
from typing import Any

import litserve
import torch
from PIL import Image
from transformers import AutoImageProcessor, CLIPVisionModelWithProjection

BATCH = 32
BATCH_TIMEOUT_S = 0.01


class Clip(litserve.LitAPI):  # type: ignore[misc]
    """Images as base64 in JSON, vectors as base64 of float32."""

    def __init__(self, folder: str, threads: int) -> None:
        super().__init__(max_batch_size=BATCH, batch_timeout=BATCH_TIMEOUT_S)
        self.folder = folder
        self.threads = threads

    def setup(self, device: str) -> None:
        """Load it."""
        torch.set_num_threads(self.threads)
        processors: Any = AutoImageProcessor
        self.processor = processors.from_pretrained(self.folder)
        network: Any = CLIPVisionModelWithProjection.from_pretrained(
            self.folder, dtype=torch.bfloat16
        )
        self.network = network.to(device).eval()

    def decode_request(self, request: dict[str, str]) -> torch.Tensor:
        """From a request to pixels."""
        image = Image.open(io.BytesIO(base64.b64decode(request["image"]))).convert("RGB")
        pixels: torch.Tensor = self.processor(images=image, return_tensors="pt")["pixel_values"]
        return pixels[0]

    def predict(self, pixels: torch.Tensor) -> torch.Tensor:
        """From a batch of pixels to its vectors."""
        with torch.inference_mode():
            seen: Any = self.network(pixel_values=pixels.to(torch.bfloat16))
            vectors: torch.Tensor = seen.image_embeds.float()
            return vectors

    def encode_response(self, vector: torch.Tensor) -> dict[str, str]:
        """The answer."""
        return {"embedding": base64.b64encode(vector.numpy().tobytes()).decode()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    chosen = parser.parse_args()
    server = litserve.LitServer(
        Clip(chosen.folder, chosen.threads),
        accelerator="cpu",
        workers_per_device=chosen.workers,
        timeout=300,
    )
    server.run(host="127.0.0.1", port=chosen.port, generate_client_file=False, log_level="warning")
