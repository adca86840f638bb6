"""A typed client of Parley: chat whose answers go on over broken lines, and jobs with one bill.

`AsyncParley` and `Parley` are the same client for asyncio and for threads. `SaaSLLMClient` is another name of
`AsyncParley`.
"""

from __future__ import annotations

from parley_client._async.client import AsyncParley
from parley_client._async.sessions import AsyncSessions
from parley_client._async.streams import AsyncChatStream, AsyncChunkStream
from parley_client._async.structured import AsyncStructuredStream
from parley_client._sync.client import Parley
from parley_client._sync.sessions import Sessions
from parley_client._sync.streams import ChatStream, ChunkStream
from parley_client._sync.structured import StructuredStream
from parley_client.chat import (
    ChatEvent,
    Deleted,
    Done,
    Message,
    Reset,
    Session,
    SessionPage,
    SessionSummary,
    Stopped,
    StreamState,
    Token,
)
from parley_client.completions import Chunk, Completion, Usage
from parley_client.errors import (
    BadAnswer,
    Conflict,
    ConnectionFailed,
    ConnectionLost,
    Forbidden,
    IdempotencyMismatch,
    InsufficientCredits,
    Internal,
    Interrupted,
    InvalidOutput,
    InvalidRequest,
    ModelNotFound,
    NotFound,
    ParleyError,
    PayloadTooLarge,
    RateLimited,
    ServerError,
    SessionBusy,
    StreamExpired,
    Unauthorized,
    Unavailable,
    Unreachable,
    UnsupportedMediaType,
    UpstreamError,
    UpstreamTimeout,
    Verdict,
)
from parley_client.jobs import (
    Call,
    CallResult,
    Costs,
    CreditEntry,
    CreditLedger,
    Credits,
    DailyUsage,
    DayUsage,
    Job,
    JobCosts,
    JobPage,
    JobResult,
    ModelDay,
    ModelUsage,
    OneCallJob,
    Team,
    TeamUsage,
)
from parley_client.patience import Patience
from parley_client.requests import NEWEST
from parley_client.structured import Attempt, Structured

SaaSLLMClient = AsyncParley

__all__ = [
    "NEWEST",
    "AsyncChatStream",
    "AsyncChunkStream",
    "AsyncParley",
    "AsyncSessions",
    "AsyncStructuredStream",
    "Attempt",
    "BadAnswer",
    "Call",
    "CallResult",
    "ChatEvent",
    "ChatStream",
    "Chunk",
    "ChunkStream",
    "Completion",
    "Conflict",
    "ConnectionFailed",
    "ConnectionLost",
    "Costs",
    "CreditEntry",
    "CreditLedger",
    "Credits",
    "DailyUsage",
    "DayUsage",
    "Deleted",
    "Done",
    "Forbidden",
    "IdempotencyMismatch",
    "InsufficientCredits",
    "Internal",
    "Interrupted",
    "InvalidOutput",
    "InvalidRequest",
    "Job",
    "JobCosts",
    "JobPage",
    "JobResult",
    "Message",
    "ModelDay",
    "ModelNotFound",
    "ModelUsage",
    "NotFound",
    "OneCallJob",
    "Parley",
    "ParleyError",
    "Patience",
    "PayloadTooLarge",
    "RateLimited",
    "Reset",
    "SaaSLLMClient",
    "ServerError",
    "Session",
    "SessionBusy",
    "SessionPage",
    "SessionSummary",
    "Sessions",
    "Stopped",
    "StreamExpired",
    "StreamState",
    "Structured",
    "StructuredStream",
    "Team",
    "TeamUsage",
    "Token",
    "Unauthorized",
    "Unavailable",
    "Unreachable",
    "UnsupportedMediaType",
    "UpstreamError",
    "UpstreamTimeout",
    "Usage",
    "Verdict",
]
