"""Builds everything from a Config; the map of the program."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Flask
from flask_limiter import Limiter
from limits.strategies import RateLimiter
from werkzeug.middleware.proxy_fix import ProxyFix

from backend import __version__
from backend.access.gate import Gate
from backend.access.keyring import Holder, Keyring
from backend.access.keys import Keys, open_keys
from backend.access.origins import Origins
from backend.access.rates import Budget, Refusals
from backend.access.tokens import Tokens
from backend.chat.caps import Caps
from backend.chat.conversations import Conversations
from backend.chat.engine import Engine
from backend.chat.ports import Admission, Runtime
from backend.chat.rooms import Rooms
from backend.chat.tasks import Limits
from backend.config import Config
from backend.ledger import checks
from backend.ledger.admission import Billing
from backend.ledger.desk import Desk
from backend.ledger.grouping import Grouping
from backend.ledger.reconciler import Reconciler
from backend.ledger.records import JobLimits
from backend.ledger.settler import Settler
from backend.models import Offer, offer
from backend.providers.catalog import Catalog
from backend.providers.tokens import token_counter
from backend.store_url import HERE, Windows, introduce, stores
from backend.telemetry.meters import Meters
from backend.telemetry.siblings import Siblings
from backend.transports import admin, chat, jobs, metrics, openai, ops, pages, reference, sessions, teams, web
from backend.transports.lines import WSGI
from backend.transports.sockets import SocketLimits, Sockets
from backend.wire.completions import CompletionBounds

DEFAULT_GROUPS = ("chat-fast", "chat-smart")
SETTLE_S = 3.0
"""How long the end waits for calls on their way into the ledger."""
ROOT = Path(__file__).resolve().parent.parent
SECRET_FILE = Path("var/jwt.key")
"""Where the secret of tokens is kept when none is set, from the working directory."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program that is ready to serve: `app` answers requests; beside it run the `loops`, and each of
    `chores` is to be done every second or so; one may wait without holding up another. `close` is called when
    nothing is served any more."""

    app: Flask
    engine: Engine
    sockets: Sockets
    chores: Sequence[Callable[[], None]]
    loops: Sequence[Callable[[], None]]
    close: Callable[[], None]


def build(
    config: Config, runtime: Runtime, websocket: Callable[..., WSGI], siblings_folder: Path | None = None
) -> Program:
    """`websocket` serves engine.io's connections, as its drivers do; in the folder, if there is one, metrics
    are shared with other workers. Raises Misconfigured."""
    app = Flask("parley", static_folder=None)
    keys = None if config.auth == "off" else keys_of_tokens(config)
    job_limits = JobLimits(config.job_ttl_s, config.call_lease_s, config.max_metadata_bytes)
    desk = Desk(config.database_url, runtime, job_limits)
    keyring = Keyring(lambda key: holder_of(desk, key), runtime.monotonic)
    gate = Gate(
        tokens_of(config, keys) if keys else None,
        config.auth == "required",
        Refusals(moving_windows(), config.address_limit) if config.address_limit else None,
        keyring,
        cache(lambda: tokens_of(config, keys_of_tokens(config))),
    )

    offered = offer(config)
    catalog = Catalog(offered.models, config.default_model, offered.group)
    grouping = Grouping(
        desk,
        runtime,
        default_groups(catalog.default, offered),
        {row.name: [member.model for member in row.members] for row in config.groups},
        offered.single,
        catalog.is_fixed,
        catalog.regroup,
    )
    kept = stores(config, runtime)
    budget = Budget(moving_windows(kept.windows), config.rate_limit)
    limits = Limits(
        config.max_answer_tokens,
        config.max_answer_chars,
        config.detach_grace_s,
        config.continue_interrupted,
    )
    caps = Caps(config.max_streams, config.max_streams_per_caller, kept.of_caller)
    count_tokens = token_counter(config.tokenizer)
    settler = Settler(desk, runtime)
    billing = Billing(desk, settler, catalog, runtime, count_tokens, config.max_answer_tokens, budget.check)
    admissions: list[Admission] = [caps, billing, budget]
    rooms = Rooms(kept.peers)
    store_kind = config.store_url.partition(":")[0]
    meters = Meters(__version__, store_kind, runtime)
    engine = Engine(
        catalog,
        kept.sessions,
        kept.streams,
        runtime,
        rooms,
        limits,
        admissions,
        meters.answers,
        count_tokens,
        kept.peers,
    )
    reconciler = Reconciler(desk, settler, kept.streams, catalog, runtime, count_tokens, config.call_lease_s)
    meters.count_running(lambda: engine.live_count)
    meters.count_settling(lambda: settler.settling)
    introduce(kept.peers, engine.stop_here, rooms.hear)
    if not kept.peers.shared:
        engine.recover()
    conversations = Conversations(engine, catalog, kept.sessions, kept.streams, rooms, runtime)

    chat_limits = chat.ChatLimits(
        config.max_message_chars, config.max_answer_tokens, config.partial_max_chars
    )
    image_hosts = sorted(config.image_hosts)
    about = ops.About(
        __version__, runtime.name, store_kind, tuple(catalog.names), catalog.default, tuple(image_hosts)
    )
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.url_map.merge_slashes = False
    app.json.sort_keys = False  # type: ignore[attr-defined]
    signed_in = config.auth == "required"
    origins = Origins(config.host, config.allowed_hosts, config.cors_origins, signed_in)
    web.install(app, origins, gate, budget, meters)
    app.register_blueprint(chat.blueprint(engine, chat_limits, meters))
    app.register_blueprint(sessions.blueprint(conversations))
    app.register_blueprint(openai.blueprint(engine, completion_bounds(config), catalog, meters))
    app.register_blueprint(
        jobs.blueprint(engine, desk, reconciler.settle_left, completion_bounds(config), runtime, meters)
    )
    app.register_blueprint(teams.blueprint(desk, runtime))
    app.register_blueprint(admin.blueprint(desk, grouping, keyring))
    app.register_blueprint(ops.blueprint(engine, kept.sessions, about))
    siblings = Siblings(siblings_folder, os.getpid(), meters.exposition) if siblings_folder else None
    expose = siblings.together if siblings else meters.exposition
    behind_proxy = config.trusted_proxies > 0
    app.register_blueprint(metrics.blueprint(expose, config.metrics_token, behind_proxy=behind_proxy))
    app.register_blueprint(
        reference.blueprint(
            lambda: described(runtime, config, "openapi", config.auth),
            lambda: described(runtime, config, "asyncapi", urlsplit(config.url()).netloc),
        )
    )
    app.register_blueprint(pages.blueprint(ROOT / "static", image_hosts))
    socket_limits = SocketLimits(
        config.max_body_bytes,
        config.workers == 1,
        config.max_handshakes_per_address,
        config.handshake_s,
        config.recheck_s,
        config.max_followed_per_socket,
    )
    door = Sockets(
        app, engine, conversations, gate, origins, runtime, websocket, socket_limits, chat_limits, meters
    )
    # Around everything, so that no door sees an address that is not the client's.
    app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
        app.wsgi_app, x_for=config.trusted_proxies, x_proto=0, x_host=0, x_port=0, x_prefix=0
    )
    chores = [engine.tend, door.tend, reconciler.tend, grouping.tend, *kept.chores]
    if keys:
        chores.append(keys.tend)
    if kept.peers.shared:
        chores.append(engine.recover)
    if siblings:
        chores.append(siblings.tend)

    def close() -> None:
        settler.close(SETTLE_S)
        kept.close()
        desk.close()

    return Program(app, engine, door, chores, [meters.lag.watch, *kept.loops], close)


def default_groups(default: str, offered: Offer) -> dict[str, list[str]]:
    """Groups that are there unless they are told otherwise: the default model, and the built-in one for when
    that fails."""
    first = [default] if default in offered.single else []
    return {name: list(dict.fromkeys([*first, "demo"])) for name in DEFAULT_GROUPS}


def holder_of(desk: Desk, key: str) -> Holder:
    """Whose virtual key it is. Raises Unauthorized and Unavailable."""
    checks.virtual_key(key)
    team, _ = desk.accounts.holder(key)
    models = None if team.model_groups is None else frozenset(team.model_groups)
    return Holder(team.team_id, team.rate_limit, models)


def described(runtime: Runtime, config: Config, how: str, said: str) -> Mapping[str, Any]:
    """The document of one of the rooms in `reference`, loaded for it: most servers are never asked."""

    def make() -> Mapping[str, Any]:
        schemas, room = (importlib.import_module(f"backend.reference.{name}") for name in ("schemas", how))
        bounds = schemas.Bounds(config.max_message_chars, completion_bounds(config))
        document: Mapping[str, Any] = room.document(__version__, bounds, said)
        return document

    return runtime.offload(make)


def tokens_of(config: Config, keys: Keys) -> Tokens:
    return Tokens(config.jwt_algorithm, keys, config.jwt_issuer, config.jwt_audience)


def keys_of_tokens(config: Config) -> Keys:
    """Raises Misconfigured."""
    return open_keys(
        config.jwt_algorithm, config.jwt_secret, SECRET_FILE, config.jwt_public_key, config.jwks_url
    )


def moving_windows(counted: Windows = HERE) -> RateLimiter:
    """What limits are counted with. Flask-Limiter's own checks see HTTP only: it is made on an app
    that answers nobody, so that they are not in the way of ours."""
    limiter = Limiter(
        lambda: "",
        app=Flask("limits"),
        strategy="moving-window",
        storage_uri=counted.uri,
        storage_options=counted.options,
    )
    return limiter.limiter


def completion_bounds(config: Config) -> CompletionBounds:
    return CompletionBounds(config.max_answer_tokens, config.max_messages, config.max_choices)
