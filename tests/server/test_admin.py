"""Teams, keys, credits and model groups, managed over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from tests.access import signing
from tests.books import books_of
from tests.reference.documents import closed, served
from tests.server.test_jobs import MODELS_FILE, send
from tests.server.test_jobs_hostile import until
from tests.servers import Server, servers, several
from tests.sockets import Socket

pytestmark = pytest.mark.server

ADMIN = signing.token(scope="chat admin")
HELLO = [{"role": "user", "content": "[[demo tokens=5]] Hello"}]
GROUP = """
[group.told]
members = [{ model = "demo" }]
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, runtime_name: str) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "models.toml").write_text(MODELS_FILE + GROUP)
    with servers(folder) as started:
        env = {"DEMO_TOKENS_PER_SECOND": "0", "JWT_SECRET": signing.SECRET, **several(runtime_name)}
        started.append(Server(folder, env))
        yield started[0]


def admin(server: Server, route: str, body: Any = None, status: int = 200, **headers: str) -> Any:
    answer = send(server, route.replace(" ", " /api/admin/", 1), body, ADMIN, **headers)
    assert answer.status == status, answer.data
    return answer.json()


def test_a_team_is_made_and_managed(shop: Server) -> None:
    team = admin(shop, "POST teams", {"team_id": "acme", "credits": 5, "rate_limit": "60/minute"}, 201)
    key = team.pop("virtual_key")
    assert team["credits"] == {"granted": 5, "free": 5, "held": 0, "spent": 0}
    assert admin(shop, "GET teams/acme") == team
    assert team in admin(shop, "GET teams")["teams"]
    assert admin(shop, "POST teams", {"team_id": "acme"}, 409)["type"] == "invalid_request"
    assert send(shop, "POST /v1/chat/completions", {"model": "demo", "messages": HELLO}, key).status == 200
    assert admin(shop, "GET teams/acme")["credits"] == {"granted": 5, "free": 4, "held": 0, "spent": 1}
    changed = admin(shop, "PATCH teams/acme", {"budget_mode": "consumption_usd", "rate_limit": None})
    assert (changed["budget_mode"], changed["rate_limit"]) == ("consumption_usd", None)
    assert changed["credits_per_dollar"] == team["credits_per_dollar"]
    assert admin(shop, "GET teams/nobody", None, 404)["type"] == "not_found"
    with books_of(shop) as books:
        assert books.accounts.entries("acme", 10)[-1].who == "user:alice"


def test_credits_are_whole_and_granted_once(shop: Server) -> None:
    admin(shop, "POST teams", {"team_id": "rich"}, 201)
    once = {"Idempotency-Key": "k" * 255}
    for _ in range(2):
        balance = admin(shop, "POST teams/rich/credits", {"amount": 7, "reason": "a gift"}, **once)
        assert balance == {"team_id": "rich", "credits": {"granted": 7, "free": 7, "held": 0, "spent": 0}}
    for other in ({"amount": 8, "reason": "a gift"}, {"amount": 7, "reason": "another"}):
        assert admin(shop, "POST teams/rich/credits", other, 422, **once)["type"] == "idempotency_mismatch"
    for _ in range(2):
        back = {"amount": -7, "reason": "back"}
        balance = admin(shop, "POST teams/rich/credits", back, **{"Idempotency-Key": "back"})
        assert balance["credits"] == {"granted": 0, "free": 0, "held": 0, "spent": 0}
    admin(shop, "POST teams/rich/credits", back, 400, **{"Idempotency-Key": "k" * 256})
    for amount in (-1, 0, 1.5, 1e300, "1", None, True, 10**16):
        admin(shop, "POST teams/rich/credits", {"amount": amount, "reason": "x"}, 400)
    for text in ('{"amount": NaN, "reason": "x"}', '{"amount": 1}', '{"amount": 1, "reason": ""}'):
        url = f"{shop.url}/api/admin/teams/rich/credits"
        headers = {"Authorization": f"Bearer {ADMIN}"}
        assert shop.pool.request("POST", url, body=text, headers=headers).status == 400
    for credits in (-1, 1.5, "1", 10**16):
        admin(shop, "POST teams", {"team_id": "odd", "credits": credits}, 400)
    for more in ({"budget_mode": "free"}, {"rate_limit": "x"}, {"colour": "red"}, {"tokens_per_credit": 0}):
        admin(shop, "POST teams", {"team_id": "odd", **more}, 400)
        admin(shop, "PATCH teams/rich", more, 400)
    admin(shop, "GET teams/odd", None, 404)


def test_a_key_is_shown_once_and_revoked_at_once(shop: Server, runtime_name: str) -> None:
    admin(shop, "POST teams", {"team_id": "keyed", "credits": 5}, 201)
    made = admin(shop, "POST teams/keyed/keys", None, 201)
    key = made.pop("virtual_key")
    listed = admin(shop, "GET teams/keyed/keys")["keys"]
    assert made in listed
    assert len(listed) == 2
    assert key not in str(listed)
    assert send(shop, "POST /api/jobs", {"job_type": "a"}, key).status == 201
    assert admin(shop, f"DELETE keys/{made['key_id']}")["revoked_at"]
    if runtime_name == "eventlet":  # where there is one process
        assert send(shop, "POST /api/jobs", {"job_type": "a"}, key).status == 401
        assert send(shop, "POST /v1/chat/completions", {"messages": HELLO}, key).status == 401
    old = admin(shop, "POST teams/keyed/keys", {"expires_at": "2020-01-01T00:00:00Z"}, 201)["virtual_key"]
    assert send(shop, "POST /api/jobs", {"job_type": "a"}, old).status == 401
    admin(shop, "POST teams/keyed/keys", {"expires_at": "tomorrow"}, 400)
    admin(shop, "DELETE keys/nothing", None, 404)


def test_groups_are_made_changed_and_deleted(shop: Server) -> None:
    def found() -> dict[str, tuple[str, list[str]]]:
        rows = admin(shop, "GET model-groups")["model_groups"]
        return {row["name"]: (row["source"], row["members"]) for row in rows}

    default = ("default", ["demo"])
    assert found() == {"chat-fast": default, "chat-smart": default, "told": ("file", ["demo"])}
    assert admin(shop, "PUT model-groups/mine", {"members": ["demo"]})["members"] == ["demo"]
    assert found()["mine"] == ("admin", ["demo"])
    admin(shop, "PUT model-groups/chat-fast", {"members": ["demo"]})
    assert found()["chat-fast"] == ("admin", ["demo"])
    admin(shop, "DELETE model-groups/chat-fast")
    assert found()["chat-fast"] == default
    admin(shop, "DELETE model-groups/mine")
    admin(shop, "DELETE model-groups/mine", None, 404)
    for name in ("told", "demo"):
        admin(shop, f"PUT model-groups/{name}", {"members": ["demo"]}, 409)
        admin(shop, f"DELETE model-groups/{name}", None, 409)
    admin(shop, "DELETE model-groups/chat-smart", None, 409)
    for members in ([], ["nothing"], ["told"], "demo", [1], ["demo", "demo"]):
        admin(shop, "PUT model-groups/mine", {"members": members}, 400)


def test_a_new_group_can_be_asked(shop: Server) -> None:
    """In the other processes a little later."""

    def gives(status: int) -> bool:
        body = {"model": "fresh", "messages": HELLO}
        answers = [send(shop, "POST /v1/chat/completions", body) for _ in range(6)]
        return {answer.status for answer in answers} == {status}

    admin(shop, "PUT model-groups/fresh", {"members": ["demo"]})
    until(lambda: gives(200))
    admin(shop, "DELETE model-groups/fresh")
    until(lambda: gives(404))


@pytest.mark.parametrize(
    ("token", "status"),
    [(None, 401), ("anonymous", 401), (signing.token(), 403), (signing.token(scope="administrator"), 403),
     (signing.token(scope=["admin"]), 403), ("x", 401)],
    ids=["none", "anonymous", "no scope", "another scope", "a list", "nonsense"],
)  # fmt: skip
def test_only_who_may_manages(shop: Server, token: str | None, status: int) -> None:
    for route in ("GET /api/admin/teams", "POST /api/admin/teams", "DELETE /api/admin/keys/a"):
        assert send(shop, route, {"team_id": "sly"}, token).status == status
    assert send(shop, "GET /api/teams/acme/usage", None, token).status == status


def test_a_teams_key_manages_nothing_and_an_admin_sees_usage(shop: Server) -> None:
    key = admin(shop, "POST teams", {"team_id": "curious"}, 201)["virtual_key"]
    assert send(shop, "GET /api/admin/teams", None, key).status == 403
    assert send(shop, "GET /api/teams/curious/usage", None, ADMIN).json()["team_id"] == "curious"
    assert send(shop, "GET /api/teams/curious/jobs", None, ADMIN).json()["jobs"] == []
    assert send(shop, "GET /api/teams/nobody/jobs", None, ADMIN).status == 404


def test_a_socket_with_a_key_is_its_team(shop: Server) -> None:
    key = admin(shop, "POST teams", {"team_id": "plugged", "credits": 1}, 201)["virtual_key"]
    socket = Socket(shop, key)
    assert socket.call("chat_stream", {"message": "[[demo tokens=5]] Hello"})["ok"] is True
    socket.answer()
    refused = socket.call("chat_stream", {"message": "[[demo tokens=5]] Hello"})
    assert (refused["code"], refused["type"]) == (402, "insufficient_credits")
    assert admin(shop, "GET teams/plugged")["credits"]["spent"] == 1


def test_with_auth_off_keys_and_admins_are_asked_all_the_same(
    tmp_path_factory: pytest.TempPathFactory, runtime_name: str
) -> None:
    with servers(folder := tmp_path_factory.mktemp("off")) as started:
        started.append(
            server := Server(folder, {"AUTH": "off", "RUNTIME": runtime_name, "JWT_SECRET": signing.SECRET})
        )
        assert send(server, "POST /api/jobs", {"job_type": "a"}).status == 401
        assert send(server, "POST /api/jobs", {"job_type": "a"}, "sk-" + "a" * 42).status == 401
        assert not (folder / "var" / "ledger.db").exists(), "for what cannot be a key"
        assert send(server, "POST /api/jobs", {"job_type": "a"}, "sk-" + "a" * 43).status == 401
        key = admin(server, "POST teams", {"team_id": "acme"}, 201)["virtual_key"]
        assert send(server, "POST /api/jobs", {"job_type": "a"}, key).status == 201
        assert send(server, "GET /api/admin/teams", None, signing.token()).status == 403


def test_real_answers_have_the_shapes_and_no_other_field(shop: Server) -> None:
    document = served("openapi")

    def check(answer: Any, model: str) -> None:
        jsonschema_rs.Draft202012Validator(closed(document, model)).validate(answer)

    team = admin(shop, "POST teams", {"team_id": "shapes", "credits": 9}, 201)
    key = team["virtual_key"]
    check(team, "NewTeam")
    check(admin(shop, "GET teams"), "TeamList")
    check(admin(shop, "GET teams/shapes"), "Team")
    check(admin(shop, "POST teams/shapes/credits", {"amount": 1, "reason": "x"}), "Balance")
    check(made := admin(shop, "POST teams/shapes/keys", {}, 201), "NewKey")
    check(admin(shop, "GET teams/shapes/keys"), "KeyList")
    check(admin(shop, f"DELETE keys/{made['key_id']}"), "Key")
    check(admin(shop, "PUT model-groups/shapes", {"members": ["demo"]}), "ModelGroup")
    check(admin(shop, "GET model-groups"), "ModelGroupList")
    check(admin(shop, "DELETE model-groups/shapes"), "ModelGroupDeleted")

    def team_s(route: str, body: Any = None) -> Any:
        return send(shop, route, body, key).json()

    call = {"model": "demo", "messages": HELLO}
    check(job := team_s("POST /api/jobs", {"job_type": "a"}), "JobCreated")
    path = f"/api/jobs/{job['job_id']}"
    check(team_s(f"POST {path}/llm-call", call), "CallResult")
    broken = {"model": "demo", "messages": [{"role": "user", "content": "[[demo fail=0]] Hello"}]}
    check(team_s(f"POST {path}/llm-call", broken), "Error")
    check(team_s(f"PATCH {path}/metadata", {"metadata": {"a": 1}}), "Job")
    check(team_s(f"GET {path}/costs"), "JobCosts")
    check(team_s(f"GET {path}"), "Job")
    check(team_s(f"POST {path}/complete", {}), "JobResult")
    check(team_s("POST /api/jobs/create-and-call", {"job_type": "b", **call}), "OneCallJob")
    check(team_s("GET /api/teams/shapes/jobs"), "JobList")
    check(team_s("GET /api/teams/shapes/usage"), "TeamUsage")
    check(team_s(f"POST {path}/llm-call", {}), "Error")
