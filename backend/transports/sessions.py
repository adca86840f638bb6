"""Sessions over HTTP: make, list, read, change, delete, export."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from backend.chat.conversations import Conversations
from backend.chat.errors import InvalidRequest
from backend.chat.sessions import Changes
from backend.transports import web
from backend.wire import sessions as wire
from backend.wire.body import Body, read_body
from backend.wire.chat import SessionBody, parse
from backend.wire.queries import read_limit, read_versions


def blueprint(conversations: Conversations) -> Blueprint:
    door = Blueprint("sessions", __name__, url_prefix="/api/chat/sessions")

    @door.post("")
    def create() -> tuple[Response, int]:
        raw = web.body()
        changes = read_changes(read_body(raw) if raw.strip() else Body({}, ""))
        session = conversations.create(web.caller(), changes)
        return jsonify(wire.session_fields(session, (), None)), 201

    @door.get("")
    def listing() -> Response:
        limit = read_limit(request.args)
        before = wire.read_cursor(request.args.get("cursor"))
        found = conversations.list(web.caller(), limit + 1, before)
        page = found[:limit]
        cursor = wire.write_cursor(page[-1]) if len(found) > limit else None
        return jsonify(
            {"sessions": [wire.summary_fields(session) for session in page], "next_cursor": cursor}
        )

    @door.get("/<session_id>")
    def read(session_id: str) -> Response:
        return jsonify(whole(session_id, read_versions(request.args)))

    @door.patch("/<session_id>")
    def change(session_id: str) -> Response:
        changes = read_changes(read_body(web.body()))
        conversations.change(web.caller(), session_id, changes)
        return jsonify(whole(session_id))

    @door.delete("/<session_id>")
    def delete(session_id: str) -> Response:
        conversations.delete(web.caller(), session_id)
        return jsonify({"deleted": True, "session_id": session_id})

    @door.get("/<session_id>/export")
    def export(session_id: str) -> Response:
        kind = request.args.get("format", "markdown")
        versions = read_versions(request.args)
        if kind == "json":
            response = jsonify(whole(session_id, versions))
        elif kind == "markdown":
            found = conversations.snapshot(web.caller(), session_id)
            text = wire.markdown(found.session, found.messages if versions else found.path)
            response = Response(text, content_type="text/markdown; charset=utf-8")
        else:
            raise InvalidRequest("format must be markdown or json")
        ending = "md" if kind == "markdown" else "json"
        response.headers["Content-Disposition"] = f'attachment; filename="{session_id}.{ending}"'
        return response

    def whole(session_id: str, versions: bool = False) -> dict[str, object]:
        found = conversations.snapshot(web.caller(), session_id)
        return wire.session_fields(found.session, found.messages if versions else found.path, found.live)

    def read_changes(body: Body) -> Changes:
        changes: Changes = parse(SessionBody, body).model_dump(exclude_unset=True)  # type: ignore[assignment]
        return changes

    return door
