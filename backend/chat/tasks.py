"""What a writer has to do: for a question that was just asked, and for an answer that was left behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from backend.chat.errors import ModelNotFound
from backend.chat.events import Header
from backend.chat.log import Log
from backend.chat.ports import Model, Models, SessionStore
from backend.chat.requests import Asked, ChatRequest, Completion
from backend.chat.sessions import Message, Session, title_from
from backend.chat.versions import newest_path, path_to, unknown_message

PIECES_PER_TOKEN = 16
"""An upstream may send a token in pieces, and more of it than it counts, but not without end."""
MOST_HEIRS = 3
"""So often an answer is gone on with: it may be what its writers die of."""
MOST_AGE_S = 3600.0
"""Nobody waits any more for the rest of what was begun so long ago."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`detach_grace_s` None lets an answer that nobody follows run to its end. `goes_on`: so does one whose
    process dies, where others can write the rest."""

    max_answer_tokens: int = 4096
    max_answer_chars: int = 1_000_000
    detach_grace_s: float | None = None
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """Everything a writer needs, as plain data. `max_tokens` bounds the entries, `max_chars` what is in
    them. A `completion` stands for the system prompt, history, question and temperature."""

    model: Model
    system: str | None
    history: Sequence[Message]
    question: str
    temperature: float | None
    max_tokens: int
    max_chars: int
    completion: Completion | None = None

    @property
    def max_entries(self) -> int:
        """In a completion choices and pieces of tokens are entries too."""
        if self.completion is None:
            return self.max_tokens
        return self.max_tokens * self.completion.choices * PIECES_PER_TOKEN


class Tasks:
    """Makes them, of what is asked and what is kept."""

    def __init__(self, models: Models, sessions: SessionStore, limits: Limits) -> None:
        self._models = models
        self._sessions = sessions
        self._limits = limits

    def asked(self, session: Session | None, model: Model, request: ChatRequest) -> Asked | None:
        """What a header keeps of it, if others are to be able to go on with the answer: only what stands in a
        session can be read again."""
        if session is None or not self._limits.goes_on or not model.continues:
            return None
        return Asked(
            session.system if request.system is None else request.system,
            request.temperature,
            request.max_tokens or self._limits.max_answer_tokens,
        )

    def check(self, session: Session | None, request: ChatRequest) -> None:
        """Whether what it is to come after is there, before anything is spent on it. Raises NotFound."""
        if session is None or request.parent is None or request.parent.message_id is None:
            return
        parent_id = request.parent.message_id
        if self._sessions.find_message(session.owner, session.session_id, parent_id) is None:
            raise unknown_message()

    def begin(self, header: Header, session: Session | None, model: Model, request: ChatRequest) -> Task:
        """Save the question and gather what the writer needs. The log exists, so no other question can
        come between the history and this one. Raises NotFound if the session was deleted meanwhile."""
        history: Sequence[Message] = ()
        if session is not None:
            history = self._history(session, request)
            question = Message(
                header.question_id,
                "user",
                request.message,
                "done",
                header.created_at,
                parent_id=history[-1].id if history else None,
            )
            self._sessions.ask(session, question, title_from(request.message))
        kept_system = session.system if session else None
        return Task(
            model=model,
            system=kept_system if request.system is None else request.system,
            history=history,
            question=request.message,
            temperature=request.temperature,
            max_tokens=request.max_tokens or self._limits.max_answer_tokens,
            max_chars=self._limits.max_answer_chars,
            completion=request.completion,
        )

    def _history(self, session: Session, request: ChatRequest) -> Sequence[Message]:
        """What the question comes after."""
        messages: Sequence[Message] = ()
        if request.target_session_id:
            messages = self._sessions.messages(session.owner, session.session_id)
        if request.parent is None:
            return newest_path(messages)
        history = path_to(messages, request.parent.message_id)
        if not history and request.parent.message_id is not None:
            raise unknown_message()
        return history

    def goes_on(self, log: Log) -> bool:
        """Whether others may go on with it when its process is gone: what was asked is known, it is nothing
        but text, and not too many have tried."""
        header = log.header
        if not self._limits.goes_on or header.asked is None or header.epoch >= MOST_HEIRS:
            return False
        return all(entry.__class__ is str for entry in log.read(0).entries)

    def again(self, log: Log, now: str) -> Task | None:
        """The task of an answer that was left behind; None if it is too old, or nobody here can go on."""
        header = log.header
        if header.asked is None or header.session_id is None or not self.goes_on(log):
            return None
        if header.age_s(now) > MOST_AGE_S:
            return None
        try:
            model = self._models.find(header.model)
        except ModelNotFound:
            return None
        path = path_to(self._sessions.messages(header.owner, header.session_id), header.question_id)
        if not path or not model.continues:
            return None
        *history, question = path
        return Task(
            model=model,
            system=header.asked.system,
            history=history,
            question=question.content,
            temperature=header.asked.temperature,
            max_tokens=header.asked.max_tokens,
            max_chars=self._limits.max_answer_chars,
        )
