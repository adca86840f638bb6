"""What callers do with their sessions: read, listen, change, delete."""

from __future__ import annotations

from collections.abc import Sequence

from backend.chat.engine import Engine
from backend.chat.errors import NotFound, Unavailable
from backend.chat.ids import new_id
from backend.chat.log import Log
from backend.chat.news import News
from backend.chat.ports import Models, Runtime, SessionStore, StreamStore
from backend.chat.requests import Caller
from backend.chat.rooms import Listener, Rooms
from backend.chat.sessions import Changes, Session
from backend.chat.snapshot import Snapshot, snapshot


class Conversations:
    """Every session is its owner's: another's is one that never existed, and raises NotFound."""

    def __init__(
        self,
        engine: Engine,
        models: Models,
        sessions: SessionStore,
        streams: StreamStore,
        rooms: Rooms,
        runtime: Runtime,
    ) -> None:
        self._engine = engine
        self._models = models
        self._sessions = sessions
        self._streams = streams
        self._rooms = rooms
        self._runtime = runtime

    def create(self, caller: Caller, changes: Changes) -> Session:
        """A new, empty session. Raises ModelNotFound."""
        self._check(changes)
        now = self._runtime.now()
        title, model, system = changes.get("title"), changes.get("model"), changes.get("system")
        session = Session(caller.owner, new_id(), title, model, system, now, now)
        self._sessions.create(session)
        return session

    def list(self, caller: Caller, limit: int, before: tuple[str, str] | None) -> Sequence[Session]:
        """The caller's own, as `SessionStore.list`. Anonymous callers share an owner and are not shown
        each other's: they keep their own ids."""
        return [] if caller.anonymous else self._sessions.list(caller.owner, limit, before)

    def find(self, caller: Caller, session_id: str) -> Session:
        session = self._sessions.get(caller.owner, session_id)
        if session is None:
            raise unknown_session()
        return session

    def snapshot(self, caller: Caller, session_id: str) -> Snapshot:
        """The session with its messages and its running answer, as of one moment."""
        found = snapshot(self._sessions, self._streams, caller.owner, session_id)
        if found is None:
            raise unknown_session()
        return found

    def join(self, caller: Caller, session_id: str, listener: Listener) -> Log | None:
        """Have the listener told of all that becomes of the session from now on; gives the answer that
        is running already."""
        self.find(caller, session_id)
        is_new = self._rooms.join(caller.owner, session_id, listener)
        try:
            return self._streams.running(caller.owner, session_id)
        except Unavailable:
            if is_new:
                self._rooms.leave(caller.owner, session_id, listener)
            raise

    def leave(self, caller: Caller, session_id: str, listener: Listener) -> None:
        self._rooms.leave(caller.owner, session_id, listener)

    def change(self, caller: Caller, session_id: str, changes: Changes) -> None:
        """Raises ModelNotFound, too."""
        self._check(changes)
        if self._sessions.update(caller.owner, session_id, changes) is None:
            raise unknown_session()
        if "title" in changes:
            live = self._streams.running(caller.owner, session_id)
            self._rooms.tell(caller.owner, News(session_id, "title", live))

    def delete(self, caller: Caller, session_id: str) -> None:
        """Forget it, stopping what runs in it."""
        self._stop_in(caller, session_id)
        deleted = self._sessions.delete(caller.owner, session_id)
        self._stop_in(caller, session_id)  # whoever asked in between
        self._streams.forget(caller.owner, session_id)
        if not deleted:
            raise unknown_session()
        self._rooms.tell(caller.owner, News(session_id, "deleted"))

    def _check(self, changes: Changes) -> None:
        if changes.get("model") is not None:
            self._models.find(changes["model"])

    def _stop_in(self, caller: Caller, session_id: str) -> None:
        if running := self._streams.running(caller.owner, session_id):
            self._engine.stop(caller, running.header.stream_id)


def unknown_session() -> NotFound:
    return NotFound("There is no such session")
