"""Sessions and their messages in a SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from backend.chat.ports import Runtime
from backend.chat.sessions import Changes, Message, Session
from backend.stores import records
from backend.stores.database import Database
from backend.stores.sqlite import SWEEP_EVERY_S, ago

SESSION_COLUMNS = "owner, session_id, title, model, system, created_at, updated_at, message_count"
SESSION = f"SELECT {SESSION_COLUMNS} FROM sessions"
MESSAGE_COLUMNS = "id, role, content, status, created_at, model, tokens, stream_id, closing, parent_id"
MESSAGE = f"SELECT {MESSAGE_COLUMNS} FROM messages"
HERE = "WHERE owner = ? AND session_id = ?"


class SqliteSessions:
    """Every call is one read or one commit; a session's messages go with it."""

    def __init__(self, database: Database, runtime: Runtime, ttl_s: float | None) -> None:
        self._database = database
        self._runtime = runtime
        self._ttl_s = ttl_s
        self._swept_s = runtime.monotonic()

    def create(self, session: Session) -> None:
        self._database.write(lambda db: insert_session(db, session))

    def get(self, owner: str, session_id: str) -> Session | None:
        row = self._database.read(lambda db: db.execute(f"{SESSION} {HERE}", (owner, session_id)).fetchone())
        return Session(*row) if row else None

    def list(self, owner: str, limit: int, before: tuple[str, str] | None) -> Sequence[Session]:
        where, values = "owner = ?", [owner]
        if before is not None:
            where, values = f"{where} AND (updated_at, session_id) < (?, ?)", [owner, *before]
        rows = self._database.read(
            lambda db: db.execute(
                f"{SESSION} WHERE {where} ORDER BY updated_at DESC, session_id DESC LIMIT ?", (*values, limit)
            ).fetchall()
        )
        return [Session(*row) for row in rows]

    def update(self, owner: str, session_id: str, changes: Changes) -> Session | None:
        session = self.get(owner, session_id)
        if session is None:
            return None
        updated = replace(session, updated_at=self._runtime.now(), **changes)
        self._database.write(
            lambda db: db.execute(
                f"UPDATE sessions SET title = ?, model = ?, system = ?, updated_at = ? {HERE}",
                (updated.title, updated.model, updated.system, updated.updated_at, owner, session_id),
            )
        )
        return updated

    def delete(self, owner: str, session_id: str) -> bool:
        gone: list[int] = []

        def work(db: sqlite3.Connection) -> None:
            gone.append(db.execute(f"DELETE FROM sessions {HERE}", (owner, session_id)).rowcount)

        self._database.write(work)
        return bool(gone[-1])

    def messages(self, owner: str, session_id: str) -> Sequence[Message]:
        rows = self._database.read(
            lambda db: db.execute(f"{MESSAGE} {HERE} ORDER BY number", (owner, session_id)).fetchall()
        )
        return [message_from(row) for row in rows]

    def ask(self, session: Session, question: Message, title: str) -> None:
        now = self._runtime.now()

        def work(db: sqlite3.Connection) -> None:
            insert_session(db, session)
            insert_message(db, session.owner, session.session_id, question, now)
            db.execute(
                f"UPDATE sessions SET title = coalesce(title, ?) {HERE}",
                (title, session.owner, session.session_id),
            )

        self._database.write(work)

    def answer(self, owner: str, session_id: str, answer: Message) -> None:
        now = self._runtime.now()

        def work(db: sqlite3.Connection) -> None:
            if db.execute(f"SELECT 1 FROM sessions {HERE}", (owner, session_id)).fetchone():
                insert_message(db, owner, session_id, answer, now)

        self._database.write(work)

    def find_message(self, owner: str, session_id: str, message_id: str) -> Message | None:
        row = self._database.read(
            lambda db: db.execute(f"{MESSAGE} {HERE} AND id = ?", (owner, session_id, message_id)).fetchone()
        )
        return message_from(row) if row else None

    def sweep(self) -> None:
        if self._ttl_s is None or self._runtime.monotonic() - self._swept_s < SWEEP_EVERY_S:
            return
        self._swept_s = self._runtime.monotonic()
        before = ago(self._ttl_s)
        self._database.write(lambda db: db.execute("DELETE FROM sessions WHERE updated_at < ?", (before,)))


def insert_session(db: sqlite3.Connection, session: Session) -> None:
    """One that is there already stays."""
    db.execute(
        "INSERT OR IGNORE INTO sessions (owner, session_id, title, model, system, created_at, updated_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (session.owner, session.session_id, session.title, session.model, session.system,
         session.created_at, session.updated_at),
    )  # fmt: skip


def insert_message(db: sqlite3.Connection, owner: str, session_id: str, message: Message, now: str) -> None:
    """One whose id is there already changes nothing."""
    closing = records.closing_to_json(message.closing) if message.closing else None
    added = db.execute(
        f"INSERT OR IGNORE INTO messages (owner, session_id, {MESSAGE_COLUMNS})"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (owner, session_id, message.id, message.role, message.content, message.status, message.created_at,
         message.model, message.tokens, message.stream_id, closing, message.parent_id),
    )  # fmt: skip
    if added.rowcount:
        db.execute(
            f"UPDATE sessions SET updated_at = ?, message_count = message_count + 1 {HERE}",
            (now, owner, session_id),
        )


def message_from(row: tuple[Any, ...]) -> Message:
    id_, role, content, status, created_at, model, tokens, stream_id, closing, parent_id = row
    ending = records.closing_from_json(closing) if closing else None
    return Message(id_, role, content, status, created_at, model, tokens, stream_id, ending, parent_id)
