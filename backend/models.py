"""The models callers may ask for, as a Config describes them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from backend.chat.errors import Misconfigured, ModelNotFound
from backend.chat.events import Price
from backend.chat.ports import Model, Provider
from backend.config import Config
from backend.models_file import GroupRow, MemberRow, UpstreamRow
from backend.providers.demo import Demo
from backend.providers.groups import Group, Member
from backend.providers.openai import OpenAI, TimeLimits, Upstream

logger = logging.getLogger(__name__)

DEFAULT_CONTEXT_TOKENS = 8192
COOLDOWN_S = 30.0
"""Of groups that are no rows of a file."""


@dataclass(frozen=True, slots=True)
class Offer:
    """`models` is all that can be asked for; `group` makes a name for some of `single`, the models that are
    no groups themselves. Raises NotFound for a name that is none of them."""

    models: list[Model]
    single: frozenset[str]
    group: Callable[[str, Sequence[str]], Model]


def offer(config: Config) -> Offer:
    """Raises Misconfigured."""
    single, members = single_models(config)
    names = {known.name for known in single}
    groups = [group_of(config, row, members, names) for row in config.groups]

    def group(name: str, wanted: Sequence[str]) -> Model:
        for known in wanted:
            if known not in names:
                raise ModelNotFound(f"There is no model {known!r} that could be in a group")
        rows = tuple(MemberRow(known, None, rank, 1) for rank, known in enumerate(wanted))
        return group_of(config, GroupRow(name, rows, COOLDOWN_S), members, names)

    return Offer([*single, *groups], frozenset(names), group)


def models(config: Config) -> list[Model]:
    """Every upstream's models in the order of their upstreams, then the built-in one, then the groups.
    Raises Misconfigured."""
    return offer(config).models


def single_models(config: Config) -> tuple[list[Model], list[Model]]:
    """Those that are no groups: as they are asked by themselves, and as members of a group."""
    demo = model(config, "demo", "demo", Demo(config.demo_tokens_per_second), "parley", continues=True)
    upstreams = [(row, upstream_of(config, row)) for row in config.upstreams]
    single = [*(m for row, upstream in upstreams for m in models_of(config, row, OpenAI(upstream))), demo]
    names = {known.name for known in single}
    for name in {*config.prices, *config.context_tokens} - names - {group.name for group in config.groups}:
        logger.warning("MODELS_FILE: [model.%s] is about no model that there is here", name)
    # In a group the next upstream is asked, instead of the same one again.
    asked_once = [(row, OpenAI(replace(upstream, retries=0))) for row, upstream in upstreams]
    members = [*(m for row, provider in asked_once for m in models_of(config, row, provider)), demo]
    return single, members


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
        Member(
            model.owned_by,
            model.provider,
            model.upstream_name,
            member.rank,
            member.weight,
            model.price,
            model.name,
        )
        for member, model in zip(row.members, found, strict=True)
    ]
    context = config.context_tokens.get(row.name, min(model.context_tokens for model in found))
    continues = all(model.continues for model in found)
    own = config.prices.get(row.name)
    dearest = dearest_of([price for price in (own, *(model.price for model in found)) if price])
    group = Group(members, row.cooldown_s)
    return Model(row.name, group, row.name, context, price=own, continues=continues, dearest=dearest)


def dearest_of(prices: Sequence[Price]) -> Price | None:
    """What tokens cost at most, whoever of them answers."""
    if not prices:
        return None
    parts = ("prompt", "completion", "cached")
    return Price(*(max(getattr(price, part) for price in prices) for part in parts))


def member_of(row: GroupRow, member: MemberRow, known: Sequence[Model]) -> Model:
    for model in known:
        if model.name == member.model and member.upstream in (None, model.owned_by):
            return model
    where = f" of the upstream {member.upstream!r}" if member.upstream else ""
    raise Misconfigured(
        f"MODELS_FILE: the group {row.name!r} names the model {member.model!r}{where}, which there is not; "
        f"there are {', '.join(sorted({model.name for model in known}))}"
    )
