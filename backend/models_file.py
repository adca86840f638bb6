"""`MODELS_FILE`: more upstreams than the environment has variables for, what their models can take and cost,
and groups of them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backend.chat.errors import Misconfigured
from backend.chat.events import Price


@dataclass(frozen=True, slots=True)
class ModelRow:
    """`name` is what callers ask for, `upstream_name` what the upstream knows."""

    name: str
    upstream_name: str


@dataclass(frozen=True, slots=True)
class UpstreamRow:
    """An OpenAI-compatible upstream and its models. `continues` is how it is asked to go on with an answer,
    None if it cannot. `limits_s` are its own time limits, by what stands behind `UPSTREAM_` in the variable
    for all, in lower case."""

    name: str
    base_url: str
    api_key: str | None = field(repr=False)
    models: tuple[ModelRow, ...]
    max_tokens_field: str = "max_tokens"
    continues: str | None = None
    limits_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A model in a group, by its name and, if there are several of that, its upstream's."""

    model: str
    upstream: str | None
    rank: int
    weight: float


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A name for several models."""

    name: str
    members: tuple[MemberRow, ...]
    cooldown_s: float


@dataclass(frozen=True, slots=True)
class ModelsFile:
    """`context_tokens` and `prices` by model name, for models of any upstream."""

    upstreams: tuple[UpstreamRow, ...] = ()
    groups: tuple[GroupRow, ...] = ()
    context_tokens: Mapping[str, int] = field(default_factory=dict)
    prices: Mapping[str, Price] = field(default_factory=dict)


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


Seconds = Annotated[float, Field(gt=0, le=86_400)]
Usd = Annotated[float, Field(ge=0, le=1_000_000)]


class _Upstream(_Table):
    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    base_url: str = Field(pattern=r"^https?://[^/\s]+")
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    models: list[Annotated[str, Field(pattern=r"^\S{1,200}$")]] = Field(min_length=1)
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    continues: Literal["prefill", "prefix", "repeated_prefix", "continue_final_message"] | None = None
    connect_s: Seconds | None = None
    first_byte_s: Seconds | None = None
    between_s: Seconds | None = None
    total_s: Seconds | None = None


class _Price(_Table):
    """US dollars per million tokens."""

    input: Usd
    output: Usd
    cached_input: Usd | None = None


class _Model(_Table):
    upstream_name: str | None = None
    context_tokens: int | None = Field(default=None, ge=256)
    price: _Price | None = None


class _Member(_Table):
    model: str
    upstream: str | None = None
    rank: int | None = None
    weight: float = Field(default=1, gt=0, le=1_000_000)


class _Group(_Table):
    members: list[_Member] = Field(min_length=1)
    cooldown_s: Annotated[float, Field(ge=0, le=86_400)] = 30.0


class _File(_Table):
    upstream: list[_Upstream] = []
    model: dict[str, _Model] = {}
    group: dict[str, _Group] = {}


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
        groups=tuple(_group(name, group) for name, group in file.group.items()),
        context_tokens={
            name: model.context_tokens for name, model in file.model.items() if model.context_tokens
        },
        prices={name: _price(model.price) for name, model in file.model.items() if model.price},
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
    limits_s = upstream.model_dump(
        include={"connect_s", "first_byte_s", "between_s", "total_s"}, exclude_none=True
    )
    url = upstream.base_url.rstrip("/")
    return UpstreamRow(upstream.name, url, key, rows, upstream.max_tokens_field, upstream.continues, limits_s)


def _group(name: str, group: _Group) -> GroupRow:
    """Who says no rank has its place in the list."""
    members = [
        MemberRow(member.model, member.upstream, place if member.rank is None else member.rank, member.weight)
        for place, member in enumerate(group.members)
    ]
    return GroupRow(name, tuple(members), group.cooldown_s)


def _price(price: _Price) -> Price:
    """In picodollars a token: a millionth of a millionth of a dollar is what a dollar for a million tokens
    has a million of."""
    cached = price.input if price.cached_input is None else price.cached_input
    pico = (round(Decimal(str(usd)) * 10**6) for usd in (price.input, price.output, cached))
    return Price(*pico)
