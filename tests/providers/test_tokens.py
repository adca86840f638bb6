from __future__ import annotations

import logging

import pytest

from backend.chat.context import estimate_tokens
from backend.providers import tokens
from backend.providers.tokens import SLICE_CHARS, token_counter


@pytest.mark.parametrize(
    ("encoding", "text", "count"),
    [
        ("o200k_base", "", 0),
        ("o200k_base", "Hello, world!", 4),
        ("o200k_base", "tiktoken is great!", 6),
        ("cl100k_base", "tiktoken is great!", 6),
        ("o200k_base", "<|endoftext|>", 7),
    ],
)
def test_texts_are_counted_as_openai_counts_them(encoding: str, text: str, count: int) -> None:
    assert token_counter(encoding)(text) == count


def test_a_long_text_is_counted_by_slices() -> None:
    assert token_counter("o200k_base")("Hello " * SLICE_CHARS) == pytest.approx(SLICE_CHARS, rel=0.001)


def test_half_a_character_breaks_nothing() -> None:
    assert token_counter("o200k_base")("a\ud800") == 2


def test_without_the_tokenizer_bytes_are_counted_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tokens, "bpe", None)
    with caplog.at_level(logging.WARNING):
        assert token_counter("o200k_base") is estimate_tokens
    assert "rs-bpe" in caplog.text
    assert token_counter("bytes") is estimate_tokens
