"""A session at one moment, read from two stores that change beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from backend.chat.log import Log
from backend.chat.ports import SessionStore, StreamStore
from backend.chat.sessions import Message, Session
from backend.chat.versions import newest_path, path_to

ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All its messages, oldest first. `live` is the answer that is being given to the last message of the
    path; None if that has all it will get."""

    session: Session
    messages: Sequence[Message]
    live: Log | None

    @property
    def path(self) -> Sequence[Message]:
        """The conversation as it goes now: without the versions beside it."""
        if self.live is not None:
            return path_to(self.messages, self.live.header.question_id)
        return newest_path(self.messages)


def snapshot(sessions: SessionStore, streams: StreamStore, owner: str, session_id: str) -> Snapshot | None:
    """The session, None if there is none.

    Between the reads an answer may end and a question be asked, so that a question would stand there
    without its answer; then it is read again, for as long as that can be chance.
    """
    for _ in range(ATTEMPTS):
        live = streams.running(owner, session_id)
        session = sessions.get(owner, session_id)
        if session is None:
            return None
        messages = sessions.messages(owner, session_id)
        seen = Snapshot(replace(session, message_count=len(messages)), messages, _shown(live, messages))
        if seen.live or not messages or messages[-1].role != "user":
            break
    return seen


def _shown(live: Log | None, messages: Sequence[Message]) -> Log | None:
    """The running answer, unless it is among the messages already or its question is not yet."""
    ids = {message.id for message in messages}
    if live is None or live.header.message_id in ids or live.header.question_id not in ids:
        return None
    return live
