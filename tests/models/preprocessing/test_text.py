"""Texts to token ids."""

from __future__ import annotations

import json

import numpy as np
import pytest

from geobento.schemas.cards import TextInput
from geobento.schemas.errors import InvalidRequest, PayloadTooLarge
from models.clip.openai import Clip
from models.clip.openclip import OpenClipXlmRoberta
from models.optional_import import optional_import
from models.preprocessing import text as preprocessing_text
from models.preprocessing.text import Tokenizer

CLIP = Clip.card
OPEN_CLIP = OpenClipXlmRoberta.card

pytest.importorskip("ftfy")

SENTENCES = (
    "A photo of a cat sitting on a red sofa.",
    "aerial view  of a\tharbour\nwith boats",
    "Luftbild eines Hafens \u2013 mit Booten, ÄÖÜß",
    "caf\u00c3\u00a9 &amp; cr&egrave;me &lt;3",
    "naïve façade ½ \ufb01ne \u21165 \u2460",
    "日本の港 🚢⛵️ and don't they're 12,345.67",
    "<|endoftext|> is a word like others?",
    "x " * 200,
    "a",
)


def spec(of: object) -> TextInput:
    """The text input of a card."""
    assert isinstance(of, TextInput)
    return of


@pytest.fixture(scope="module")
def released() -> bytes:
    """CLIP's vocabulary as the hub has it, made from the merges that open_clip ships."""
    open_clip, transformers = optional_import("open_clip"), optional_import("transformers")
    original = open_clip.tokenizer.SimpleTokenizer()
    marks = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {marks.get(word, word): number for word, number in original.encoder.items()}
    merges = [pair for pair, _ in sorted(original.bpe_ranks.items(), key=lambda item: item[1])]
    made = transformers.CLIPTokenizer(vocab=vocabulary, merges=merges)
    content: str = made.backend_tokenizer.to_str()
    return content.encode()


@pytest.mark.parametrize("sentence", [text for text in SENTENCES if "endoftext" not in text])
def test_ids_are_those_of_the_reference_tokenizer(released: bytes, sentence: str) -> None:
    """Cleaning, byte pairs, marks and truncation agree with the original code."""
    ours = Tokenizer(released, spec(CLIP.text)).tokenize(sentence)
    original = optional_import("open_clip").tokenizer.SimpleTokenizer()(sentence)[0].numpy()
    expected = original[: int(original.argmax()) + 1]
    np.testing.assert_array_equal(ours.ids[: ours.num_tokens], expected)
    assert ours.truncated == (len(original) == 77 == len(expected) and len(sentence) > 77)
    assert (ours.ids[ours.num_tokens :] == 49407).all()


@pytest.mark.parametrize("card", [CLIP, OPEN_CLIP], ids=lambda card: str(card.id))
@pytest.mark.parametrize("sentence", SENTENCES)
def test_shape_of_ids(card: object, sentence: str) -> None:
    """Ids begin and end with the marks and are filled up to a multiple of 16, at most 77."""
    text = spec(card.text)  # type: ignore[attr-defined]
    result = Tokenizer(preprocessing_text.dummy_tokenizer_json(text), text).tokenize(sentence)
    assert result.ids.dtype == np.int64
    assert len(result.ids) in (16, 32, 48, 64, 77)
    assert len(result.ids) - result.num_tokens < 16
    assert result.ids[0] == text.begin
    assert result.ids[result.num_tokens - 1] == text.end
    assert (result.ids[result.num_tokens :] == text.pad).all()
    assert result.truncated == (len(preprocessing_text.clean_text(sentence).encode()) + 2 > 77)


def test_texts_are_cleaned() -> None:
    """Broken encoding, entities and white space are mended, case stays."""
    assert preprocessing_text.clean_text("  caf\u00c3\u00a9 &amp;amp;\n Crème  ") == "café & Crème"


def test_rejected_texts() -> None:
    """Empty and endless texts are refused, with a word on what is accepted."""
    tokenizer = Tokenizer(preprocessing_text.dummy_tokenizer_json(spec(CLIP.text)), spec(CLIP.text))
    for empty in ("", "  \n", "&nbsp;"):
        with pytest.raises(InvalidRequest, match="empty"):
            tokenizer.tokenize(empty)
    with pytest.raises(PayloadTooLarge, match="accepted: up to 100000"):
        tokenizer.tokenize("a" * 100_001)


def test_files_that_are_no_tokenizer_of_the_model(released: bytes) -> None:
    """Another model's vocabulary, other JSON and noise are refused before anything is stored."""
    with pytest.raises(ValueError, match="expected to begin with 0"):
        Tokenizer(released, spec(OPEN_CLIP.text))
    for content in (b"{}", b"\x00\x01", json.dumps({"model": {}}).encode()):
        with pytest.raises(ValueError, match="not a tokenizer"):
            Tokenizer(content, spec(CLIP.text))


def test_settings_inside_a_file_do_not_matter(released: bytes) -> None:
    """Length and filling that a file was written with are not taken over."""
    record = json.loads(released)
    record["truncation"] = {
        "direction": "Right",
        "max_length": 5,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    text = spec(CLIP.text)
    plain = Tokenizer(released, text).tokenize(SENTENCES[0])
    odd = Tokenizer(json.dumps(record).encode(), text).tokenize(SENTENCES[0])
    np.testing.assert_array_equal(plain.ids, odd.ids)
