"""Every variable, read once: from the environment, else from `.env`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from backend.chat.errors import Misconfigured
from backend.chat.events import Price
from backend.models_file import GroupRow, ModelRow, ModelsFile, UpstreamRow, read_models_file
from backend.values import (
    SHARED_STORES,
    database,
    hosts,
    image_hosts,
    log_format,
    log_level,
    one_of,
    origins,
    port,
    positive,
    rate,
    seconds,
    some_seconds,
    store,
    switch,
    whole,
    workers,
)

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def variable(name: str, read: Callable[[str], Any], default: Any, *, secret: bool = False) -> Any:
    """A field of Config that the variable `name` sets; `read` raises ValueError saying what it takes."""
    return field(default=default, repr=not secret, metadata={"name": name, "read": read})


@dataclass(frozen=True, slots=True)
class Config:
    """What a program is built from. Seconds end in `_s`; None means no limit."""

    host: str = variable("HOST", str, "127.0.0.1")
    port: int = variable("PORT", port, 5000)
    runtime: str = variable("RUNTIME", one_of("eventlet", "gevent"), "eventlet")
    workers: int = variable("WORKERS", workers, 1)
    start_s: float = variable("START_S", some_seconds, 60.0)
    store_url: str = variable("STORE_URL", store, "sqlite:///var/chat.db", secret=True)
    database_url: str = variable("DATABASE_URL", database, "sqlite:///var/ledger.db", secret=True)
    job_ttl_s: float = variable("JOB_TTL", some_seconds, 86_400.0)
    call_lease_s: float = variable("CALL_LEASE_S", some_seconds, 120.0)
    allowed_hosts: frozenset[str] = variable("ALLOWED_HOSTS", hosts, frozenset())
    cors_origins: frozenset[str] = variable("CORS_ORIGINS", origins, frozenset())
    image_hosts: frozenset[str] = variable("IMAGE_HOSTS", image_hosts, frozenset())
    auth: str = variable("AUTH", one_of("optional", "required", "off"), "optional")
    jwt_algorithm: str = variable("JWT_ALGORITHM", one_of("HS256", "RS256", "ES256", "EdDSA"), "HS256")
    jwt_secret: str | None = variable("JWT_SECRET", str, None, secret=True)
    jwt_public_key: str | None = variable("JWT_PUBLIC_KEY", str, None, secret=True)
    jwks_url: str | None = variable("JWKS_URL", str, None)
    jwt_issuer: str | None = variable("JWT_ISSUER", str, None)
    jwt_audience: str | None = variable("JWT_AUDIENCE", str, None)
    rate_limit: str | None = variable("RATE_LIMIT", rate, "30/minute")
    address_limit: str | None = variable("ADDRESS_LIMIT", rate, "600/minute")
    trusted_proxies: int = variable("TRUSTED_PROXIES", whole, 0)
    default_model: str | None = variable("DEFAULT_MODEL", str, None)
    demo_tokens_per_second: float = variable("DEMO_TOKENS_PER_SECOND", seconds, 60.0)
    upstream_connect_s: float = variable("UPSTREAM_CONNECT_S", some_seconds, 5.0)
    upstream_first_byte_s: float = variable("UPSTREAM_FIRST_BYTE_S", some_seconds, 60.0)
    upstream_between_s: float = variable("UPSTREAM_BETWEEN_S", some_seconds, 30.0)
    upstream_total_s: float = variable("UPSTREAM_TOTAL_S", some_seconds, 600.0)
    max_message_chars: int = variable("MAX_MESSAGE_CHARS", positive, 32_000)
    max_answer_tokens: int = variable("MAX_ANSWER_TOKENS", positive, 4096)
    max_messages: int = variable("MAX_MESSAGES", positive, 2048)
    max_choices: int = variable("MAX_CHOICES", positive, 16)
    tokenizer: str = variable("TOKENIZER", one_of("o200k_base", "cl100k_base", "bytes"), "o200k_base")
    max_answer_chars: int = variable("MAX_ANSWER_CHARS", positive, 1_000_000)
    max_metadata_bytes: int = variable("MAX_METADATA_BYTES", positive, 65_536)
    max_streams: int = variable("MAX_STREAMS", positive, 2000)
    max_streams_per_caller: int = variable("MAX_STREAMS_PER_CALLER", positive, 20)
    max_body_bytes: int = variable("MAX_BODY_BYTES", positive, 1_048_576)
    head_timeout_s: float = variable("HEAD_TIMEOUT", some_seconds, 10.0)
    body_timeout_s: float = variable("BODY_TIMEOUT", some_seconds, 10.0)
    max_handshakes_per_address: int = variable("MAX_HANDSHAKES_PER_ADDRESS", positive, 256)
    handshake_s: float = variable("HANDSHAKE_TIMEOUT", some_seconds, 15.0)
    recheck_s: float = variable("RECHECK_S", some_seconds, 10.0)
    max_followed_per_socket: int = variable("MAX_FOLLOWED_PER_SOCKET", positive, 100)
    partial_max_chars: int = variable("PARTIAL_MAX_CHARS", whole, 16_384)
    memory_max_bytes: int = variable("MEMORY_MAX_BYTES", positive, 268_435_456)
    memory_max_sessions: int = variable("MEMORY_MAX_SESSIONS", positive, 10_000)
    detach_grace_s: float | None = variable("DETACH_GRACE", seconds, None)
    stream_ttl_s: float = variable("STREAM_TTL", some_seconds, 3600.0)
    session_ttl_s: float | None = variable("SESSION_TTL", some_seconds, None)
    lease_s: float = variable("LEASE_S", some_seconds, 10.0)
    continue_interrupted: bool = variable("CONTINUE_INTERRUPTED", switch, False)
    drain_s: float = variable("DRAIN_S", seconds, 30.0)
    log_level: str = variable("LOG_LEVEL", log_level, "info")
    log_format: str = variable("LOG_FORMAT", log_format, "text")
    metrics_token: str | None = variable("METRICS_TOKEN", str, None, secret=True)
    upstreams: tuple[UpstreamRow, ...] = ()
    groups: tuple[GroupRow, ...] = ()
    context_tokens: Mapping[str, int] = field(default_factory=dict)
    prices: Mapping[str, Price] = field(default_factory=dict)

    @property
    def secrets(self) -> list[str]:
        """What no log may show."""
        keys = [row.api_key for row in self.upstreams]
        urls = (self.store_url, self.database_url)
        passwords = [unquote(urlsplit(url).password or "") for url in urls]
        return [secret for secret in (*keys, *passwords, self.jwt_secret, self.metrics_token) if secret]

    def url(self, port: int | None = None) -> str:
        """Where it listens, as one would type it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port if port is None else port}"


def load(environ: Mapping[str, str], folder: Path) -> Config:
    """The Config that `environ` and, for what it leaves out, `folder/.env` describe.

    Raises Misconfigured with a sentence that says what to set. An empty variable is one not set, but for
    a secret: who meant to set that must not get another one.
    """
    written = _written(folder / ".env")
    given = {**written, **{name: value for name, value in environ.items() if value}}
    if "" in (written.get("JWT_SECRET"), environ.get("JWT_SECRET", "-").strip()):
        raise Misconfigured("JWT_SECRET is empty; set it to 32 random bytes or more, or take it out")
    env = {name: value.strip() for name, value in given.items() if value and value.strip()}
    values = {}
    for row in fields(Config):
        text = env.get(row.metadata.get("name", ""))
        if text is not None:
            values[row.name] = _read(row.metadata["name"], row.metadata["read"], text, shown=row.repr)
    models = _models_file(env, folder)
    upstreams = (*known_upstreams(env), *models.upstreams)
    names = [row.name for row in upstreams]
    if twice := {name for name in names if names.count(name) > 1}:
        raise Misconfigured(
            f"There are several upstreams with the name {min(twice)}; rename one in MODELS_FILE"
        )
    config = Config(
        **values,
        upstreams=upstreams,
        groups=models.groups,
        context_tokens=models.context_tokens,
        prices=models.prices,
    )
    anybody = config.host not in LOOPBACK and config.auth != "required"
    if anybody and env.get("ALLOW_ANONYMOUS") != "1":
        raise Misconfigured(
            f"HOST={config.host} lets anybody on the network in; set AUTH=required, "
            "or ALLOW_ANONYMOUS=1 if that is meant"
        )
    if config.workers > 1 and not config.store_url.startswith(SHARED_STORES):
        raise Misconfigured(
            f"WORKERS={config.workers} needs a store that processes share: set STORE_URL=redis://..."
        )
    if config.continue_interrupted and not config.store_url.startswith(SHARED_STORES):
        raise Misconfigured(
            "CONTINUE_INTERRUPTED=1 needs a store that outlives a process: set STORE_URL=redis://..."
        )
    return config


def _written(path: Path) -> dict[str, str | None]:
    try:
        lines = parse_stream(StringIO(path.read_text("utf-8"))) if path.exists() else ()
        for line in lines:
            if line.error:
                raise Misconfigured(f"{path.name}, line {line.original.line}, is not NAME=value")
        return dict(dotenv_values(path))
    except (UnicodeDecodeError, OSError) as exc:
        raise Misconfigured(f"{path.name} cannot be read as UTF-8 text; save it as that") from exc


def known_upstreams(env: Mapping[str, str]) -> list[UpstreamRow]:
    """Those that have variables of their own; each is there when its key is set, OpenAI's also when only
    its address is (a model server of one's own needs no key)."""
    rows = []
    if env.get("OPENAI_API_KEY") or env.get("OPENAI_BASE_URL"):
        url = env.get("OPENAI_BASE_URL", "https://api.openai.com/v1")
        models = env.get("OPENAI_MODELS", "gpt-4o-mini")
        # OpenAI's own newer models refuse the older name; servers made after it may know no other.
        own = (urlsplit(url).hostname or "").endswith("openai.com")
        bound = "max_completion_tokens" if own else "max_tokens"
        rows.append(UpstreamRow("openai", url, env.get("OPENAI_API_KEY"), _model_rows(models), bound))
    if env.get("GEMINI_API_KEY"):
        url = "https://generativelanguage.googleapis.com/v1beta/openai"
        models = env.get("GEMINI_MODELS", "gemini-2.5-flash")
        rows.append(UpstreamRow("gemini", url, env["GEMINI_API_KEY"], _model_rows(models)))
    for row in rows:
        if urlsplit(row.base_url).scheme not in ("http", "https") or not urlsplit(row.base_url).hostname:
            raise Misconfigured("OPENAI_BASE_URL must be an address such as https://api.example.org/v1")
    return rows


def _model_rows(text: str) -> tuple[ModelRow, ...]:
    return tuple(ModelRow(name.strip(), name.strip()) for name in text.split(",") if name.strip())


def _models_file(env: Mapping[str, str], folder: Path) -> ModelsFile:
    named = env.get("MODELS_FILE")
    path = folder / (named or "models.toml")
    if not named and not path.exists():
        return ModelsFile()
    return read_models_file(path, env)


def _read(name: str, read: Callable[[str], Any], text: str, *, shown: bool) -> Any:
    try:
        return read(text)
    except ValueError as exc:
        given = f", not {text!r}" if shown else ""
        raise Misconfigured(f"{name} must be {exc}{given}") from exc
