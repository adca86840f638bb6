"""Builds everything from a Config; the map of the program."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from flask import Flask
from flask_limiter import Limiter
from limits.strategies import RateLimiter
from werkzeug.middleware.proxy_fix import ProxyFix

from backend import __version__
from backend.access.gate import Gate
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
from backend.models import models
from backend.providers.catalog import Catalog
from backend.providers.tokens import token_counter
from backend.reference import asyncapi, openapi
from backend.reference.schemas import Bounds
from backend.store_url import HERE, Windows, introduce, stores
from backend.telemetry.meters import Meters
from backend.telemetry.siblings import Siblings
from backend.transports import chat, metrics, openai, ops, pages, reference, sessions, web
from backend.transports.lines import WSGI
from backend.transports.sockets import SocketLimits, Sockets
from backend.wire.completions import CompletionBounds

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
    gate = Gate(
        Tokens(config.jwt_algorithm, keys, config.jwt_issuer, config.jwt_audience) if keys else None,
        config.auth == "required",
        Refusals(moving_windows(), config.address_limit) if config.address_limit else None,
    )

    catalog = Catalog(models(config), config.default_model)
    kept = stores(config, runtime)
    budget = Budget(moving_windows(kept.windows), config.rate_limit)
    limits = Limits(
        config.max_answer_tokens,
        config.max_answer_chars,
        config.detach_grace_s,
        config.continue_interrupted,
    )
    caps = Caps(config.max_streams, config.max_streams_per_caller, kept.of_caller)
    admissions: list[Admission] = [caps, budget]
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
        token_counter(config.tokenizer),
        kept.peers,
    )
    meters.count_running(lambda: engine.live_count)
    introduce(kept.peers, engine.stop_here, rooms.hear)
    if not kept.peers.shared:
        engine.recover()
    conversations = Conversations(engine, catalog, kept.sessions, kept.streams, rooms, runtime)

    chat_limits = chat.ChatLimits(
        config.max_message_chars, config.max_answer_tokens, config.partial_max_chars
    )
    about = ops.About(__version__, runtime.name, store_kind, tuple(catalog.names), catalog.default)
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.url_map.merge_slashes = False
    app.json.sort_keys = False  # type: ignore[attr-defined]
    signed_in = config.auth == "required"
    origins = Origins(config.host, config.allowed_hosts, config.cors_origins, signed_in)
    web.install(app, origins, gate, budget, meters)
    app.register_blueprint(chat.blueprint(engine, chat_limits, meters))
    app.register_blueprint(sessions.blueprint(conversations))
    app.register_blueprint(openai.blueprint(engine, completion_bounds(config), catalog, meters))
    app.register_blueprint(ops.blueprint(engine, kept.sessions, about))
    siblings = Siblings(siblings_folder, os.getpid(), meters.exposition) if siblings_folder else None
    expose = siblings.together if siblings else meters.exposition
    behind_proxy = config.trusted_proxies > 0
    app.register_blueprint(metrics.blueprint(expose, config.metrics_token, behind_proxy=behind_proxy))
    bounds = Bounds(config.max_message_chars, completion_bounds(config))
    app.register_blueprint(
        reference.blueprint(
            lambda: openapi.document(__version__, bounds, config.auth),
            lambda: asyncapi.document(__version__, bounds, urlsplit(config.url()).netloc),
        )
    )
    app.register_blueprint(pages.blueprint(ROOT / "static"))
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
    chores = [engine.tend, door.tend, *kept.chores, *([keys.tend] if keys else [])]
    if kept.peers.shared:
        chores.append(engine.recover)
    if siblings:
        chores.append(siblings.tend)
    return Program(app, engine, door, chores, [meters.lag.watch, *kept.loops], kept.close)


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
