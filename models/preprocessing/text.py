"""Texts as token ids: cleaned, tokenized, padded. Pure."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.cards import TextInput
from geobento.schemas.errors import InvalidRequest, PayloadTooLarge
from models.optional_import import optional_import
from models.types import Inputs

MAX_CHARACTERS = 100_000
PAD_MULTIPLE = 16
"""Texts are padded to a multiple of this, so that those of about one length share a forward pass
and short ones do not pay for long ones."""


@dataclass(frozen=True)
class TokenizedText:
    """A text as its model reads it.

    Attributes:
        ids: (L,) int64, padded to a multiple of `PAD_MULTIPLE` or to the model's limit.
        num_tokens: Tokens of the text, without padding.
        truncated: Whether the text had more.
    """

    ids: NDArray[np.int64]
    num_tokens: int
    truncated: bool

    def to_inputs(self, spec: TextInput) -> Inputs:
        """Inputs of the network."""
        return {spec.modality: self.ids}


class Tokenizer:
    """A vocabulary with its rules, from a ``tokenizer.json``.

    Args:
        content: The file.
        spec: How its model reads texts.

    Raises:
        ValueError: The file is not a tokenizer, or lacks the begin and end tokens.
    """

    def __init__(self, content: bytes, spec: TextInput) -> None:
        tokenizers = optional_import("tokenizers")
        self._spec = spec
        try:
            self._tokenizer: Any = tokenizers.Tokenizer.from_buffer(content)
        except Exception as error:  # the library raises plain exceptions
            raise ValueError(f"this is not a tokenizer.json: {error}") from None
        # Some files carry settings for padding and truncation.
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        ids = self._tokenizer.encode("a").ids
        if len(ids) < 3 or (ids[0], ids[-1]) != (spec.begin, spec.end):
            raise ValueError(
                f"the tokenizer writes {ids} for 'a'; expected to begin with {spec.begin} and "
                f"to end with {spec.end}"
            )

    @property
    def vocab_size(self) -> int:
        """Number of tokens in the vocabulary."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def tokenize(self, text: str) -> TokenizedText:
        """A text as token ids.

        Raises:
            InvalidRequest: The text is empty.
            PayloadTooLarge: The text is very long.
        """
        if len(text) > MAX_CHARACTERS:
            raise PayloadTooLarge(
                f"the text has {len(text)} characters; accepted: up to {MAX_CHARACTERS}"
            )
        cleaned = clean_text(text)
        if not cleaned:
            raise InvalidRequest("the text is empty")
        # Special tokens spelled out in the text are plain text.
        ids = self._tokenizer.encode(cleaned).ids
        limit = self._spec.max_tokens
        count = min(len(ids), limit)
        length = min(-(-count // PAD_MULTIPLE) * PAD_MULTIPLE, limit)
        padded = np.full(length, self._spec.pad, np.int64)
        padded[:count] = [*ids[: count - 1], ids[-1]]
        return TokenizedText(padded, count, len(ids) > limit)


def clean_text(text: str) -> str:
    """A text as CLIP and OpenCLIP clean it: fixed encoding, HTML entities, single spaces."""
    ftfy = optional_import("ftfy")
    fixed: str = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(fixed.split())


def example_inputs(spec: TextInput, vocab_size: int, rng: np.random.Generator) -> Inputs:
    """Inputs of a random text, for warm-up and calibration."""
    ids = rng.integers(3, min(vocab_size, spec.begin or vocab_size), PAD_MULTIPLE)
    ids[0], ids[-1] = spec.begin, spec.end
    return {spec.modality: ids}


def dummy_tokenizer_json(spec: TextInput) -> bytes:
    """A ``tokenizer.json`` with one token per byte, for dummy weights."""
    tokenizers = optional_import("tokenizers")
    special = {"<begin>": spec.begin, "<end>": spec.end, "<pad>": spec.pad}
    taken = set(special.values())
    free = (number for number in range(10**6) if number not in taken)
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = dict(zip(alphabet, free, strict=False)) | special
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="<begin> $A <end>",
        special_tokens=[("<begin>", spec.begin), ("<end>", spec.end)],
    )
    content: str = tokenizer.to_str()
    return content.encode()
