"""What a request may say outside its body, and what an answer says in its headers."""

from __future__ import annotations

from backend.ledger.records import STATUSES
from backend.reference.schemas import Schema
from backend.wire.chat import MAX_KEY_CHARS, SESSION_ID
from backend.wire.queries import ALL_VERSIONS, MAX_LIMIT, MAX_OFFSET
from backend.wire.queries import LIMIT as DEFAULT_LIMIT

EVENT_ID = r"^(([A-Za-z0-9_-]{1,64}:)?[0-9]{1,15})?$"


def in_path(name: str, about: str, pattern: str) -> Schema:
    return _parameter("path", name, about, {"type": "string", "pattern": pattern}, required=True)


def in_query(name: str, about: str, **schema: object) -> Schema:
    return _parameter("query", name, about, schema)


def in_header(name: str, about: str, **schema: object) -> Schema:
    return _parameter("header", name, about, {"type": "string", **schema})


def _parameter(place: str, name: str, about: str, schema: Schema, required: bool = False) -> Schema:
    return {"name": name, "in": place, "required": required, "description": about, "schema": schema}


COMPLETION_ID = in_path(
    "stream_id", "From `X-Stream-Id`, or a completion's `id`.", r"^(chatcmpl-)?[A-Za-z0-9_-]{1,64}$"
)
MODEL_NAME = in_path("name", "From `/v1/models`; it may have slashes.", r"^[^/\x00][^\x00]{0,199}$")
STREAM_ID = in_path("stream_id", "From `X-Stream-Id`, or an event's `id`.", r"^[A-Za-z0-9_-]{1,64}$")
SESSION_ID_IN_PATH = in_path("session_id", "From `X-Session-Id`, or chosen when asking.", SESSION_ID)

JOB_ID = in_path("job_id", "From making the job.", r"^[A-Za-z0-9_.-]{1,64}$")
TEAM_ID = in_path("team_id", "The team's name.", r"^[A-Za-z0-9_.-]{1,64}$")
KEY_ID = in_path("key_id", "From making or listing keys.", r"^[A-Za-z0-9_.-]{1,64}$")
GROUP_NAME = in_path("name", "The group's name.", r"^[A-Za-z0-9_.-]{1,64}$")

IDEMPOTENCY_KEY = in_header(
    "Idempotency-Key",
    "The same key with the same body joins the answer that is running or done; another body is 422.",
    minLength=1,
    maxLength=MAX_KEY_CHARS,
)
JOB_IDEMPOTENCY_KEY = in_header(
    "Idempotency-Key",
    "The same key with the same body is answered as it was; another body is 422.",
    minLength=1,
    maxLength=MAX_KEY_CHARS,
)
STREAM_RESUME = in_header(
    "X-Stream-Resume",
    "`1` numbers the events, and has the answer go on when its reader leaves, who can then come back.",
)
LAST_EVENT_ID = in_header(
    "Last-Event-ID",
    "The `id` of the last event one has, `<stream_id>:<count>`; wins over `after`. Empty: from the start.",
    pattern=EVENT_ID,
)
AFTER = in_query(
    "after", "The `count` of the last piece one has. Or nothing.", type="string", pattern=EVENT_ID
)
PARTIAL = in_query(
    "partial",
    "Whether every event repeats the text so far.",
    enum=["true", "false", "1", "0"],
    default="true",
)
LIMIT = in_query(
    "limit", "So many at most.", type="integer", minimum=1, maximum=MAX_LIMIT, default=DEFAULT_LIMIT
)
OFFSET = in_query("offset", "So many are left out.", type="integer", minimum=0, maximum=MAX_OFFSET, default=0)
JOB_STATUS = in_query("status", "Only these.", enum=list(STATUSES))
PERIOD = in_query(
    "period",
    "A month, `2026-11`, or a day, `2026-11-20`, in UTC; without it this month.",
    type="string",
    pattern=r"^[12][0-9]{3}-(0[13578]|1[02])(-(0[1-9]|[12][0-9]|3[01]))?$"
    r"|^[12][0-9]{3}-(0[469]|11)(-(0[1-9]|[12][0-9]|30))?$"
    r"|^[12][0-9]{3}-02(-(0[1-9]|1[0-9]|2[0-8]))?$",
)
ONCE = in_header(
    "Idempotency-Key", "With the same key it is granted once.", minLength=1, maxLength=MAX_KEY_CHARS
)
CURSOR = in_query("cursor", "`next_cursor` of the page before.", type="string")
VERSIONS = in_query("versions", "With it every version, else the newest alone.", enum=[ALL_VERSIONS])
FORMAT = in_query("format", "Text to read, or everything.", enum=["markdown", "json"], default="markdown")


def _header(about: str, required: bool = True, **schema: object) -> Schema:
    return {"description": about, "required": required, "schema": schema}


HEADERS: dict[str, Schema] = {
    "X-Request-Id": _header(
        "Yours, if it has 1 to 64 of `A-Za-z0-9._-`; else one of ours. The server's log has it.",
        type="string",
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
    ),
    "X-Stream-Id": _header("What to resume and stop by.", type="string"),
    "X-Call-Id": _header("The call's id, which is its stream's as well.", type="string"),
    "X-Upstream": _header("The upstream that answers, if one does.", required=False, type="string"),
    "X-Upstream-Tried": _header(
        "How many were asked for it, if that is known.", required=False, type="integer", minimum=0
    ),
    "X-Session-Id": _header("The session it belongs to.", type="string"),
    "X-Question-Id": _header("The message that it answers.", required=False, type="string"),
    "Content-Disposition": _header("The name of the download.", type="string"),
    "Retry-After": _header("Whole seconds.", type="integer", minimum=0),
    "X-Should-Retry": _header(
        "There when it is too long to wait for: OpenAI's SDKs then do not.", required=False, const="false"
    ),
    "WWW-Authenticate": _header("How to sign in.", const="Bearer"),
    "X-RateLimit-Limit": _header(
        "So many answers may be begun in a time, if bounded.",
        required=False,
        type="integer",
        minimum=1,
    ),
    "X-RateLimit-Remaining": _header("So many of them are left.", required=False, type="integer", minimum=0),
    "X-RateLimit-Reset": _header(
        "When there are more, in seconds since the epoch.", required=False, type="integer", minimum=0
    ),
}
