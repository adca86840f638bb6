"""A team, what it used day by day, and how its credits moved."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from backend.chat.ports import Runtime
from backend.ledger.desk import Desk
from backend.transports.jobs import check_seen, own_team
from backend.wire import teams as wire
from backend.wire.admin import credits_fields, team_fields
from backend.wire.queries import read_page


def blueprint(desk: Desk, runtime: Runtime) -> Blueprint:
    door = Blueprint("teams", __name__, url_prefix="/api")

    @door.get("/team")
    def own() -> Response:
        return jsonify(team_fields(desk.accounts.team(own_team())))

    @door.get("/teams/<team_id>/usage/daily")
    def daily_usage(team_id: str) -> Response:
        check_seen(team_id)
        limit, offset = read_page(request.args)
        period = request.args.get("period") or runtime.now()[: len("2026-11")]
        found = desk.accounts.daily_usage(team_id, period, limit, offset)
        rows = [wire.cell_fields(cell) for cell in found]
        told = {"team_id": team_id, "period": period, "usage": rows}
        return jsonify({**told, "limit": limit, "offset": offset})

    @door.get("/teams/<team_id>/credits")
    def credits(team_id: str) -> Response:
        check_seen(team_id)
        limit, offset = read_page(request.args)
        now, lines = desk.accounts.statement(team_id, limit, offset)
        entries = [wire.line_fields(line) for line in lines]
        told = {"team_id": team_id, "credits": credits_fields(now), "entries": entries}
        return jsonify({**told, "limit": limit, "offset": offset})

    return door
