"""The core with memory stores, on threads."""

from __future__ import annotations

from dataclasses import replace

from backend.chat.context import estimate_tokens
from backend.chat.conversations import Conversations
from backend.chat.engine import Engine
from backend.chat.events import Closing, Price
from backend.chat.log import Log
from backend.chat.peers import Peers
from backend.chat.ports import Admission, TokenCounter
from backend.chat.requests import Caller, ChatRequest
from backend.chat.rooms import Rooms
from backend.chat.sessions import Message
from backend.chat.tasks import Limits
from backend.providers.catalog import Catalog
from backend.stores.memory import MemorySessions, MemoryStreams
from tests.fakes.provider import Scripted
from tests.fakes.runtime import ThreadRuntime

ME = Caller("", "127.0.0.1")
ALICE = Caller("alice", "127.0.0.1")
BOB = Caller("bob", "127.0.0.1")
HELLO = ChatRequest("hello", session_id="s")


class World:
    """An engine on threads with memory stores and one provider."""

    def __init__(
        self,
        provider: Scripted,
        *admissions: Admission,
        limits: Limits | None = None,
        context_tokens: int = 8192,
        count_tokens: TokenCounter = estimate_tokens,
        price: Price | None = None,
        peers: Peers | None = None,
    ) -> None:
        self.runtime = ThreadRuntime()
        self.sessions = MemorySessions(self.runtime, None, 10**7, 100)
        self.streams = MemoryStreams(self.runtime, 3600, 10**7)
        catalog = Catalog([replace(provider.model(context_tokens=context_tokens), price=price)])
        rooms = Rooms()
        self.engine = Engine(
            catalog,
            self.sessions,
            self.streams,
            self.runtime,
            rooms,
            limits or Limits(),
            admissions,
            count_tokens=count_tokens,
            peers=peers,
        )
        self.conversations = Conversations(
            self.engine, catalog, self.sessions, self.streams, rooms, self.runtime
        )

    def ended(self, log: Log) -> Closing:
        assert log.wait_closed(10), "the answer did not end"
        assert log.closing is not None
        return log.closing

    def answer(self, session_id: str = "s") -> Message:
        return self.sessions.messages("", session_id)[-1]
