"""The models callers may ask for, as a Config describes them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from backend.chat.errors import Misconfigured
from backend.chat.ports import Model, Provider
from backend.config import Config
from backend.models_file import GroupRow, MemberRow, UpstreamRow
from backend.providers.demo import Demo
from backend.providers.groups import Group, Member
from backend.providers.openai import OpenAI, TimeLimits, Upstream

logger = logging.getLogger(__name__)

DEFAULT_CONTEXT_TOKENS = 8192


def models(config: Config) -> list[Model]:
    """Every upstream's models in the order of their upstreams, then the built-in one, then the groups.
    Raises Misconfigured."""
    demo = model(config, "demo", "demo", Demo(config.demo_tokens_per_second), "parley", continues=True)
    upstreams = [(row, upstream_of(config, row)) for row in config.upstreams]
    single = [*(m for row, upstream in upstreams for m in models_of(config, row, OpenAI(upstream))), demo]
    names = {known.name for known in single}
    for name in {*config.prices, *config.context_tokens} - names - {group.name for group in config.groups}:
        logger.warning("MODELS_FILE: [model.%s] is about no model that there is here", name)
    if not config.groups:
        return single
    # In a group the next upstream is asked, instead of the same one again.
    asked_once = [(row, OpenAI(replace(upstream, retries=0))) for row, upstream in upstreams]
    members = [*(m for row, provider in asked_once for m in models_of(config, row, provider)), demo]
    return [*single, *(group_of(config, row, members, names) for row in config.groups)]


def upstream_of(config: Config, row: UpstreamRow) -> Upstream:
    limits = TimeLimits(
        connect_s=config.upstream_connect_s,
        first_byte_s=config.upstream_first_byte_s,
        between_s=config.upstream_between_s,
        total_s=config.upstream_total_s,
    )
    return Upstream(
        row.name,
        row.base_url,
        row.api_key,
        replace(limits, **row.limits_s),
        max_tokens_field=row.max_tokens_field,
        continues=row.continues,
    )


def models_of(config: Config, row: UpstreamRow, provider: Provider) -> list[Model]:
    continues = row.continues is not None
    return [
        model(config, known.name, known.upstream_name, provider, row.name, continues=continues)
        for known in row.models
    ]


def model(
    config: Config, name: str, upstream_name: str, provider: Provider, owned_by: str, *, continues: bool
) -> Model:
    context = config.context_tokens.get(name, DEFAULT_CONTEXT_TOKENS)
    return Model(name, provider, upstream_name, context, owned_by, config.prices.get(name), continues)


def group_of(config: Config, row: GroupRow, known: Sequence[Model], taken: set[str]) -> Model:
    """A model that is as good as its members: what does not fit into one of them is not sent to any."""
    if row.name in taken:
        raise Misconfigured(f"MODELS_FILE: the group {row.name!r} has the name of a model; rename it")
    found = [member_of(row, member, known) for member in row.members]
    members = [
        Member(model.owned_by, model.provider, model.upstream_name, member.rank, member.weight, model.price)
        for member, model in zip(row.members, found, strict=True)
    ]
    context = config.context_tokens.get(row.name, min(model.context_tokens for model in found))
    continues = all(model.continues for model in found)
    return Model(row.name, Group(members, row.cooldown_s), row.name, context, continues=continues)


def member_of(row: GroupRow, member: MemberRow, known: Sequence[Model]) -> Model:
    for model in known:
        if model.name == member.model and member.upstream in (None, model.owned_by):
            return model
    where = f" of the upstream {member.upstream!r}" if member.upstream else ""
    raise Misconfigured(
        f"MODELS_FILE: the group {row.name!r} names the model {member.model!r}{where}, which there is not; "
        f"there are {', '.join(sorted({model.name for model in known}))}"
    )
