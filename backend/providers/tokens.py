"""How many tokens a text is, for when an upstream does not say."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache

from backend.chat.context import estimate_tokens
from backend.chat.ports import TokenCounter

try:
    from rs_bpe import bpe
except ImportError:  # there is no wheel of it for every Python
    bpe = None  # type: ignore[assignment]

SLICE_CHARS = 32_768

logger = logging.getLogger(__name__)


def token_counter(encoding: str) -> TokenCounter:
    """By OpenAI's encoding of this name, or by the `bytes` alone. So counted it is right for models that use
    the encoding, and within a tenth or two for most others."""
    if encoding == "bytes":
        return estimate_tokens
    if bpe is None:
        logger.warning("rs-bpe is not installed: tokens that no upstream counts are estimated by their bytes")
        return estimate_tokens

    def count_tokens(text: str) -> int:
        """By slices: while one is counted, nobody else runs."""
        count, text = _counter(encoding), text.encode(errors="replace").decode()
        return sum(count(text[at : at + SLICE_CHARS]) for at in range(0, len(text), SLICE_CHARS))

    return count_tokens


@cache
def _counter(encoding: str) -> Callable[[str], int]:
    """Made when first needed: its vocabulary takes 65 MB."""
    count: Callable[[str], int] = getattr(bpe.openai, encoding)().count
    return count
