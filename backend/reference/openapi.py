"""The HTTP API as an OpenAPI 3.1 document."""

from __future__ import annotations

from backend.reference import answers, completions, jobs, routes
from backend.reference.operations import Operation, written
from backend.reference.parameters import HEADERS
from backend.reference.schemas import Bounds, Schema, components
from backend.wire import admin, calls
from backend.wire.chat import ChatBody, SessionBody

MODELS = (
    ChatBody,
    SessionBody,
    answers.Error,
    completions.OpenAIError,
    answers.Token,
    answers.Done,
    answers.Broken,
    answers.Reset,
    answers.StreamState,
    answers.Stopped,
    answers.Session,
    answers.SessionList,
    answers.Deleted,
    completions.ChatCompletion,
    completions.ChatCompletionChunk,
    completions.Model,
    completions.ModelList,
    completions.PromptChunk,
    completions.PromptError,
    calls.JobBody,
    calls.EndBody,
    calls.MetadataBody,
    admin.TeamBody,
    admin.TeamChanges,
    admin.GrantBody,
    admin.KeyBody,
    admin.GroupBody,
    jobs.JobCreated,
    jobs.Job,
    jobs.JobList,
    jobs.CallResult,
    jobs.JobCosts,
    jobs.JobResult,
    jobs.OneCallJob,
    jobs.TeamUsage,
    jobs.DailyUsage,
    jobs.CreditLedger,
    jobs.Team,
    jobs.NewTeam,
    jobs.TeamList,
    jobs.Balance,
    jobs.Key,
    jobs.NewKey,
    jobs.KeyList,
    jobs.ModelGroup,
    jobs.ModelGroupList,
    jobs.ModelGroupDeleted,
    answers.Health,
    answers.Ready,
    answers.Status,
)
TAGS = {
    "chat": "Ask, come back, stop.",
    "sessions": "Conversations that are kept.",
    "completions": "For what speaks OpenAI's chat completions.",
    "jobs": "Several calls of models, one business operation, one bill; for teams, by their virtual keys.",
    "managing": "Teams, keys, credits and model groups; for tokens with the scope `admin`.",
    "running it": "Probes, and this document.",
}
ABOUT = """\
A chat backend for large language models. An answer is kept while it is written: whoever loses the
line goes on at the next token.

A body is read as JSON whatever its `Content-Type` says. Decide by an error's `type`. Answers may grow fields.
The events of the Socket.IO door are told in `/asyncapi.json`.

Any address may also refuse with 405 (not with this method), 414 and 431 (too long), or 400 (no proper HTTP).
"""
SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "key": {"type": "http", "scheme": "bearer", "description": "A team's virtual key, `sk-…`."},
    "metrics": {"type": "http", "scheme": "bearer", "description": "The server's `METRICS_TOKEN`."},
}


SECURITY: dict[str, list[Schema]] = {
    "off": [],
    "optional": [{}, {"bearer": []}],
    "required": [{"bearer": []}],
}


def document(version: str, bounds: Bounds, auth: str) -> Schema:
    """The document, for this server with these settings; `auth` is one of SECURITY."""
    schemas = components(MODELS)
    bounds.limit(schemas["ChatBody"])
    for name in ("JobBody", "EndBody", "MetadataBody"):
        bounds.open(schemas[name])
    return {
        "openapi": "3.1.0",
        "info": {"title": "Parley", "version": version, "description": ABOUT},
        "tags": [{"name": name, "description": about} for name, about in TAGS.items()],
        "security": SECURITY[auth],
        "paths": _paths(routes.operations()),
        "components": {
            "schemas": {**schemas, **bounds.bodies()},
            "headers": HEADERS,
            "securitySchemes": SCHEMES,
        },
    }


def _paths(rows: tuple[Operation, ...]) -> Schema:
    paths: Schema = {}
    for row in rows:
        paths.setdefault(row.path, {})[row.method] = written(row)
    return paths
