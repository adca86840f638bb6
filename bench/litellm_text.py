"""What is told of LiteLLM's proxy beside Parley, in docs/performance.md and in the terminal."""

from __future__ import annotations

from bench.figures import Compared
from bench.litellm import compared_subjects
from bench.servers import UPSTREAM
from bench.tables import brief, number, table

TEXT = """{day}, `make bench-litellm`: Parley and the proxy of LiteLLM {version} relay the same upstream,
unpaced. Medians of {runs}.

{rows}

`/v1` is Parley's `POST /v1/chat/completions`, asked in OpenAI's format as LiteLLM is; the other row is its
`POST /api/chat/stream`. LiteLLM ran as its documentation advises for production and load tests: one worker,
uvicorn on uvloop, the provider `openai/`, no database, no Redis, no callbacks, no retries,
`set_verbose: false`, `LITELLM_LOG=ERROR`, `LITELLM_MODE=PRODUCTION`; and, in its favour, with
`disable_streaming_logging` and without a key to check. It keeps nothing; Parley kept each answer, to be
resumed.

Before that the run checked LiteLLM's proxy as Parley's upstream: the text of its `mock_response` came out of
`/v1/chat/completions`, streamed and whole, and out of `/api/chat/stream`.
"""


def litellm_text(compared: Compared) -> str:
    runs = f"{compared.runs} runs" if compared.runs > 1 else "one run"
    rows = compared_table(compared)
    return TEXT.format(day=compared.day, version=compared.version, runs=runs, rows=rows).strip()


def compared_table(compared: Compared) -> str:
    one, some = compared.streams
    head = (
        "server", f"tokens/s, {some} streams", "core", "others", "load", f"first token ms, {some} streams",
        f"first token ms, {one} stream", "added to the upstream's", "memory MiB",
    )  # fmt: skip
    own_ms = compared.alone(UPSTREAM).first_ms
    rows = []
    for subject in compared_subjects(compared.runtime):
        alone, among, itself = compared.alone(subject), compared.some(subject), subject == UPSTREAM
        failed = f" ({alone.failed + among.failed:.0f} unanswered)" if alone.failed or among.failed else ""
        rows.append([
            subject.name + failed,
            number(among.tokens_per_s),
            "–" if itself else f"{among.core:.0%}",
            "–" if itself else f"{among.others:.0%}",
            f"{among.load:.0%}",
            brief(among.first_ms),
            brief(alone.first_ms),
            "–" if itself else brief(alone.first_ms - own_ms),
            number(among.peak_kib / 1024),
        ])  # fmt: skip
    return table(head, rows)
