"""Sessions over HTTP: make, list, read, change, delete, export."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from backend.chat.engine import Engine, new_id
from backend.chat.errors import InvalidRequest, NotFound
from backend.chat.ports import Models, Runtime, SessionStore
from backend.chat.sessions import Changes, Session
from backend.transports import web
from backend.wire import sessions as wire
from backend.wire.body import Body, read_body
from backend.wire.chat import SessionBody, parse


def blueprint(engine: Engine, store: SessionStore, models: Models, runtime: Runtime) -> Blueprint:
    door = Blueprint("sessions", __name__, url_prefix="/api/chat/sessions")

    @door.post("")
    def create() -> tuple[Response, int]:
        raw = web.body()
        changes = read_changes(read_body(raw) if raw.strip() else Body({}, ""))
        now = runtime.now()
        session = Session(
            web.caller().owner,
            new_id(),
            changes.get("title"),
            changes.get("model"),
            changes.get("system"),
            now,
            now,
        )
        store.create(session)
        return jsonify(wire.session_fields(session, (), None)), 201

    @door.get("")
    def listing() -> Response:
        limit = wire.read_limit(request.args.get("limit"))
        before = wire.read_cursor(request.args.get("cursor"))
        caller = web.caller()
        # Anonymous callers share an owner, and are not shown each other's: they keep their own ids.
        found = [] if caller.anonymous else store.list(caller.owner, limit + 1, before)
        page = found[:limit]
        cursor = wire.write_cursor(page[-1]) if len(found) > limit else None
        return jsonify(
            {"sessions": [wire.summary_fields(session) for session in page], "next_cursor": cursor}
        )

    @door.get("/<session_id>")
    def read(session_id: str) -> Response:
        return jsonify(whole(session_id))

    @door.patch("/<session_id>")
    def change(session_id: str) -> Response:
        changes = read_changes(read_body(web.body()))
        if store.update(web.caller().owner, session_id, changes) is None:
            raise unknown_session()
        return jsonify(whole(session_id))

    @door.delete("/<session_id>")
    def delete(session_id: str) -> Response:
        if not engine.forget(web.caller(), session_id):
            raise unknown_session()
        return jsonify({"deleted": True, "session_id": session_id})

    @door.get("/<session_id>/export")
    def export(session_id: str) -> Response:
        kind = request.args.get("format", "markdown")
        if kind == "json":
            response = jsonify(whole(session_id))
        elif kind == "markdown":
            session = known(session_id)
            text = wire.markdown(session, store.messages(session.owner, session_id))
            response = Response(text, content_type="text/markdown; charset=utf-8")
        else:
            raise InvalidRequest("format must be markdown or json")
        ending = "md" if kind == "markdown" else "json"
        response.headers["Content-Disposition"] = f'attachment; filename="{session_id}.{ending}"'
        return response

    def known(session_id: str) -> Session:
        session = store.get(web.caller().owner, session_id)
        if session is None:
            raise unknown_session()
        return session

    def whole(session_id: str) -> dict[str, object]:
        found = engine.snapshot(web.caller(), session_id)
        if found is None:
            raise unknown_session()
        return wire.session_fields(found.session, found.messages, found.live)

    def read_changes(body: Body) -> Changes:
        asked = parse(SessionBody, body)
        if asked.model is not None:
            models.find(asked.model)
        changes: Changes = asked.model_dump(exclude_unset=True)  # type: ignore[assignment]
        return changes

    return door


def unknown_session() -> NotFound:
    return NotFound("There is no such session")
