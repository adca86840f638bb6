"""`MODELS_FILE`: more upstreams than the environment has variables for, and what their models can take."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backend.chat.errors import Misconfigured


@dataclass(frozen=True, slots=True)
class ModelRow:
    """`name` is what callers ask for, `upstream_name` what the upstream knows."""

    name: str
    upstream_name: str


@dataclass(frozen=True, slots=True)
class UpstreamRow:
    """An OpenAI-compatible upstream and its models."""

    name: str
    base_url: str
    api_key: str | None = field(repr=False)
    models: tuple[ModelRow, ...]
    max_tokens_field: str = "max_tokens"


@dataclass(frozen=True, slots=True)
class ModelsFile:
    """`context_tokens` by model name, for models of any upstream."""

    upstreams: tuple[UpstreamRow, ...] = ()
    context_tokens: Mapping[str, int] = field(default_factory=dict)


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Upstream(_Table):
    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    base_url: str = Field(pattern=r"^https?://[^/\s]+")
    api_key_env: str | None = None
    models: list[str] = Field(min_length=1)
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"


class _Model(_Table):
    upstream_name: str | None = None
    context_tokens: int | None = Field(default=None, ge=256)


class _File(_Table):
    upstream: list[_Upstream] = []
    model: dict[str, _Model] = {}


def read_models_file(path: Path, env: Mapping[str, str]) -> ModelsFile:
    """Keys stand in variables that the file names (`api_key_env`). Raises Misconfigured."""
    try:
        file = _File.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as exc:
        raise Misconfigured(f"MODELS_FILE {path} cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise Misconfigured(f"MODELS_FILE {path} is not TOML: {exc}") from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Misconfigured(f"MODELS_FILE {path}, {place}: {first['msg']}") from exc
    return ModelsFile(
        upstreams=tuple(_row(upstream, file.model, env) for upstream in file.upstream),
        context_tokens={
            name: model.context_tokens for name, model in file.model.items() if model.context_tokens
        },
    )


def _row(upstream: _Upstream, models: Mapping[str, _Model], env: Mapping[str, str]) -> UpstreamRow:
    key = None
    if upstream.api_key_env is not None:
        key = env.get(upstream.api_key_env)
        if not key:
            raise Misconfigured(f"Upstream {upstream.name} wants its key in {upstream.api_key_env}; set it")
    rows = tuple(
        ModelRow(name, (models[name].upstream_name if name in models else None) or name)
        for name in upstream.models
    )
    return UpstreamRow(upstream.name, upstream.base_url.rstrip("/"), key, rows, upstream.max_tokens_field)
