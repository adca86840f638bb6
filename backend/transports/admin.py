"""Teams, keys, credits and model groups, for who holds a token with the scope `admin`."""

from __future__ import annotations

from hashlib import sha256

from flask import Blueprint, Response, jsonify, request

from backend.access.keyring import Keyring
from backend.chat.errors import Conflict, Forbidden, IdempotencyMismatch
from backend.ledger.desk import Desk
from backend.ledger.grouping import Grouping
from backend.transports import web
from backend.wire import admin as wire
from backend.wire.body import Body, read_body
from backend.wire.chat import idempotency_key, parse
from backend.wire.queries import read_page


def blueprint(desk: Desk, grouping: Grouping, keyring: Keyring) -> Blueprint:
    door = Blueprint("admin", __name__, url_prefix="/api/admin")

    @door.before_request
    def enter() -> None:
        if not web.caller().admin:
            raise Forbidden("This takes a token with the scope admin")

    @door.post("/teams")
    def create_team() -> tuple[Response, int]:
        asked = parse(wire.TeamBody, read_body(web.body()))
        team, key = desk.accounts.create_team(
            asked.team_id,
            wire.terms_of(asked),
            asked.credits,
            asked.rate_limit,
            asked.model_groups,
            web.caller().owner,
        )
        return jsonify({**wire.team_fields(team), "virtual_key": key}), 201

    @door.get("/teams")
    def list_teams() -> Response:
        limit, offset = read_page(request.args)
        return jsonify({"teams": [wire.team_fields(team) for team in desk.accounts.teams(limit, offset)]})

    @door.get("/teams/<team_id>")
    def read_team(team_id: str) -> Response:
        return jsonify(wire.team_fields(desk.accounts.team(team_id)))

    @door.patch("/teams/<team_id>")
    def change_team(team_id: str) -> Response:
        asked = parse(wire.TeamChanges, read_body(web.body()))
        team = desk.accounts.change_team(team_id, wire.changes_of(asked))
        keyring.forget()
        return jsonify(wire.team_fields(team))

    @door.post("/teams/<team_id>/credits")
    def grant(team_id: str) -> Response:
        asked, who = parse(wire.GrantBody, read_body(web.body())), web.caller().owner
        key = idempotency_key(request.headers.get("Idempotency-Key"))
        once = None if key is None else sha256(key.encode("utf-8", "replace")).hexdigest()
        try:
            credits = desk.accounts.grant(team_id, asked.amount, asked.reason, who, once)
        except Conflict as exc:
            raise IdempotencyMismatch from exc
        return jsonify({"team_id": team_id, "credits": wire.credits_fields(credits)})

    @door.post("/teams/<team_id>/keys")
    def create_key(team_id: str) -> tuple[Response, int]:
        raw = web.body()
        asked = parse(wire.KeyBody, read_body(raw) if raw.strip() else Body({}, ""))
        key, text = desk.accounts.make_key(team_id, asked.expires_at)
        return jsonify({**wire.key_fields(key), "virtual_key": text}), 201

    @door.get("/teams/<team_id>/keys")
    def list_keys(team_id: str) -> Response:
        limit, offset = read_page(request.args)
        return jsonify({"keys": [wire.key_fields(key) for key in desk.accounts.keys(team_id, limit, offset)]})

    @door.delete("/keys/<key_id>")
    def revoke_key(key_id: str) -> Response:
        key = desk.accounts.revoke_key(key_id)
        keyring.forget()
        return jsonify(wire.key_fields(key))

    @door.get("/model-groups")
    def list_groups() -> Response:
        found = grouping.every()
        rows = [group_fields(name, *found[name]) for name in sorted(found)]
        return jsonify({"model_groups": rows})

    @door.put("/model-groups/<name>")
    def put_group(name: str) -> Response:
        asked = parse(wire.GroupBody, read_body(web.body()))
        grouping.put(name, asked.members)
        return jsonify(group_fields(name, "admin", asked.members))

    @door.delete("/model-groups/<name>")
    def delete_group(name: str) -> Response:
        grouping.delete(name)
        return jsonify({"deleted": True, "name": name})

    return door


def group_fields(name: str, source: str, members: object) -> dict[str, object]:
    return {"name": name, "members": members, "source": source}
