"""Builds everything from a Config; the map of the program."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Flask

from backend import __version__
from backend.access.origins import Origins
from backend.chat.caps import Caps
from backend.chat.conversations import Conversations
from backend.chat.engine import Engine, Limits
from backend.chat.ports import Model, Runtime, SessionStore, StreamStore
from backend.chat.rooms import Rooms
from backend.config import Config
from backend.providers.catalog import Catalog
from backend.providers.demo import Demo
from backend.providers.openai import OpenAI, TimeLimits, Upstream
from backend.reference import asyncapi, openapi
from backend.reference.schemas import Bounds
from backend.stores.database import Database
from backend.stores.memory import MemorySessions, MemoryStreams
from backend.stores.sqlite import SqliteStreams
from backend.stores.sqlite_sessions import SqliteSessions
from backend.transports import chat, openai, ops, pages, reference, sessions, web

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_CONTEXT_TOKENS = 8192


@dataclass(frozen=True, slots=True)
class Program:
    """A program that is ready to serve: `app` answers requests, `engine` is run beside it."""

    app: Flask
    engine: Engine


def build(config: Config, runtime: Runtime) -> Program:
    """Raises Misconfigured."""
    catalog = Catalog(models(config), config.default_model)
    session_store, stream_store = stores(config, runtime)
    limits = Limits(config.max_answer_tokens, config.max_answer_chars, config.detach_grace_s)
    admissions = [Caps(config.max_streams, config.max_streams_per_caller)]
    rooms = Rooms()
    engine = Engine(catalog, session_store, stream_store, runtime, rooms, limits, admissions)
    engine.recover()
    conversations = Conversations(engine, catalog, session_store, stream_store, rooms, runtime)

    chat_limits = chat.ChatLimits(
        config.max_message_chars, config.max_answer_tokens, config.partial_max_chars
    )
    store_kind = config.store_url.partition(":")[0]
    about = ops.About(__version__, runtime.name, store_kind, tuple(catalog.names), catalog.default)
    app = Flask("parley", static_folder=None)
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.url_map.merge_slashes = False
    app.json.sort_keys = False  # type: ignore[attr-defined]
    web.install(app, Origins(config.host, config.allowed_hosts, config.cors_origins))
    app.register_blueprint(chat.blueprint(engine, chat_limits))
    app.register_blueprint(sessions.blueprint(conversations))
    app.register_blueprint(openai.blueprint(engine, config.max_answer_tokens))
    app.register_blueprint(ops.blueprint(engine, session_store, about))
    app.register_blueprint(reference.blueprint(*documents(config)))
    app.register_blueprint(pages.blueprint(ROOT / "static"))
    return Program(app, engine)


def models(config: Config) -> list[Model]:
    """Every upstream's models in the order of their upstreams, then the built-in one."""
    limits = TimeLimits(
        connect_s=config.upstream_connect_s,
        first_byte_s=config.upstream_first_byte_s,
        between_s=config.upstream_between_s,
        total_s=config.upstream_total_s,
    )
    found = []
    for row in config.upstreams:
        upstream = Upstream(
            row.name, row.base_url, row.api_key, limits, max_tokens_field=row.max_tokens_field
        )
        provider = OpenAI(upstream)
        for model in row.models:
            context = config.context_tokens.get(model.name, DEFAULT_CONTEXT_TOKENS)
            found.append(Model(model.name, provider, model.upstream_name, context))
    context = config.context_tokens.get("demo", DEFAULT_CONTEXT_TOKENS)
    return [*found, Model("demo", Demo(config.demo_tokens_per_second), "demo", context)]


def documents(config: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `/openapi.json` and `/asyncapi.json` say."""
    bounds = Bounds(config.max_message_chars, config.max_answer_tokens)
    return openapi.document(__version__, bounds), asyncapi.document(
        __version__, bounds, urlsplit(config.url()).netloc
    )


def stores(config: Config, runtime: Runtime) -> tuple[SessionStore, StreamStore]:
    """The session store and the stream store of `STORE_URL`."""
    if config.store_url == "memory://":
        return (
            MemorySessions(
                runtime, config.session_ttl_s, config.memory_max_bytes, config.memory_max_sessions
            ),
            MemoryStreams(runtime, config.stream_ttl_s, config.memory_max_bytes),
        )
    database = Database(Path(config.store_url.removeprefix("sqlite:///")), runtime)
    return (
        SqliteSessions(database, runtime, config.session_ttl_s),
        SqliteStreams(database, runtime, config.stream_ttl_s),
    )
