"""What docs/deploying/ ships can be deployed: it is parsed, linted, and run as far as that goes here."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values

from backend.access.tokens import mint
from backend.config import load
from tests.access.signing import SECRET
from tests.clients import call, resume
from tests.proxies import DEPLOYING, PROXIES
from tests.redises import Redis
from tests.servers import ROOT, Server, servers
from tests.sockets import Socket
from tests.test_docs import blocks, other_variables, own_variables, rows, section

DOCUMENT = (ROOT / "docs" / "deploying.md").read_text("utf-8")
CONTAINERFILE = (DEPLOYING / "Containerfile").read_text("utf-8")
REDIS_CONF = (DEPLOYING / "redis.conf").read_text("utf-8")
SERVICE = DEPLOYING / "parley.service"
DRAIN_S = own_variables()["DRAIN_S"].default
AFTER_DRAIN_S = 15
"""To save what was interrupted, and to send the ends."""
PASSWORD = "a-long-random-password"


# The container


def instructions() -> list[tuple[str, str]]:
    """Those of the Containerfile, with lines put together that are continued."""
    text = re.sub(r"^\s*#.*\n", "", CONTAINERFILE, flags=re.M).replace("\\\n", " ")
    return [(line.split()[0], " ".join(line.split()[1:])) for line in text.splitlines() if line.strip()]


def last(name: str) -> str:
    return [rest for word, rest in instructions() if word == name][-1]


def copied() -> list[str]:
    return [source for name, rest in instructions() if name == "COPY" for source in rest.split()[:-1]]


def test_all_that_the_image_copies_is_there_and_in_its_context() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert [name for name in copied() if not (ROOT / name).exists()] == []
    assert {f"!{name}" for name in copied()} == {line for line in ignored if line.startswith("!")}
    assert ignored.index("*") < min(ignored.index(f"!{name}") for name in copied())


def test_the_image_installs_what_is_locked_and_nothing_else() -> None:
    (install,) = [rest for name, rest in instructions() if name == "RUN" and "pip install" in rest]
    assert "--require-hashes" in install
    assert dict(rest.split("=") for name, rest in instructions() if name == "ARG") == {
        "REQUIREMENTS": "requirements.txt"
    }
    assert '-r "$REQUIREMENTS"' in install


def test_the_image_runs_what_the_procfile_says_and_not_as_root() -> None:
    (procfile,) = (ROOT / "Procfile").read_text("utf-8").splitlines()
    assert json.loads(last("CMD")) == procfile.removeprefix("web: ").split()
    user, group = map(int, last("USER").split(":"))
    assert user
    assert group
    assert last("STOPSIGNAL") == "SIGTERM"


def test_the_image_sets_variables_that_there_are() -> None:
    names = {pair.split("=")[0] for name, rest in instructions() if name == "ENV" for pair in rest.split()}
    assert names - {"PYTHONDONTWRITEBYTECODE"} <= set(own_variables())


# Kubernetes


@cache
def manifest() -> dict[str, Any]:
    """Its objects by their kinds."""
    text = (DEPLOYING / "kubernetes.yaml").read_text("utf-8")
    return {found["kind"]: found for found in yaml.safe_load_all(text)}


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = manifest()["Deployment"]["spec"]["template"]["spec"]
    return spec


def container() -> dict[str, Any]:
    (found,) = pod()["containers"]
    assert isinstance(found, dict)
    return found


def settings(filled: dict[str, str]) -> dict[str, str]:
    """The pod's variables, its empty secrets filled in."""
    secret: dict[str, str] = manifest()["Secret"]["stringData"]
    return {**manifest()["ConfigMap"]["data"], **secret, **filled}


def test_the_objects_of_the_manifest_mean_each_other() -> None:
    labels = manifest()["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert manifest()["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert manifest()["Service"]["spec"]["selector"] == labels
    assert manifest()["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert [spread["labelSelector"]["matchLabels"] for spread in pod()["topologySpreadConstraints"]] == [
        labels
    ]
    taken = {name: each["name"] for source in container()["envFrom"] for name, each in source.items()}
    assert taken == {
        "configMapRef": manifest()["ConfigMap"]["metadata"]["name"],
        "secretRef": manifest()["Secret"]["metadata"]["name"],
    }


def test_every_variable_of_the_manifest_is_one_and_together_they_serve(tmp_path: Path) -> None:
    filled = {"JWT_SECRET": SECRET, "STORE_URL": "rediss://parley:secret@redis:6379/0"}
    assert set(settings({})) <= set(own_variables()) | other_variables()
    config = load({"HOST": "0.0.0.0", **settings(filled)}, tmp_path)
    assert (config.auth, config.drain_s) == ("required", DRAIN_S)


def test_an_empty_secret_of_the_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="JWT_SECRET is empty"):
        load({"HOST": "0.0.0.0", **settings({})}, tmp_path)


def test_the_probes_ask_where_the_server_answers() -> None:
    (port,) = container()["ports"]
    assert port["containerPort"] == own_variables()["PORT"].default == int(last("EXPOSE"))
    probes = {name: container()[name]["httpGet"] for name in container() if name.endswith("Probe")}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startupProbe": "/health",
        "livenessProbe": "/health",
        "readinessProbe": "/ready",
    }
    assert {probe["port"] for probe in probes.values()} == {port["name"]}
    assert [each["targetPort"] for each in manifest()["Service"]["spec"]["ports"]] == [port["name"]]


def test_a_pod_is_given_the_time_to_end() -> None:
    command, before = container()["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    drain_s = float(settings({})["DRAIN_S"])
    assert pod()["terminationGracePeriodSeconds"] >= int(before) + drain_s + AFTER_DRAIN_S


def test_a_pod_may_do_little() -> None:
    of_pod, of_container = pod()["securityContext"], container()["securityContext"]
    assert of_pod["runAsNonRoot"]
    assert f"{of_pod['runAsUser']}:{of_pod['runAsGroup']}" == last("USER")
    assert of_container == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


# systemd


def unit() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_file(StringIO(SERVICE.read_text("utf-8")))
    return parser["Service"]


def test_the_unit_has_the_time_and_the_signals_that_an_end_needs() -> None:
    assert int(unit()["TimeoutStopSec"]) >= DRAIN_S + AFTER_DRAIN_S
    assert unit()["KillMode"] == "mixed", (
        "a signal for each process is a second one for a worker: it would not wait"
    )
    assert unit()["Type"] == "exec", "nothing sends READY=1"
    assert "sd_notify" not in "".join(path.read_text("utf-8") for path in (ROOT / "backend").rglob("*.py"))
    assert unit()["ExecStart"].split()[1:] == ["-m", "backend"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here to verify its unit")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    program = unit()["ExecStart"].split()[0]
    (tmp_path / "parley.service").write_text(SERVICE.read_text("utf-8").replace(program, sys.executable))
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "parley.service")]
    verified = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")


# The proxies


@pytest.mark.parametrize("kind", PROXIES)
def test_a_proxy_understands_its_configuration(kind: str, tmp_path: Path) -> None:
    proxy = PROXIES[kind](tmp_path, [5001, 5002])
    check = {"nginx": "-t", "haproxy": "-c"}[kind]
    checked = subprocess.run(
        [*proxy._command, check], cwd=tmp_path, capture_output=True, timeout=20, check=False
    )
    assert checked.returncode == 0, checked.stderr.decode()


# Redis


def commands_of_the_store() -> set[str]:
    """Every one that the code names, in Python or in a script."""
    files = [*(ROOT / "backend" / "stores" / "redis").glob("*.py"), ROOT / "backend/access/shared_windows.py"]
    source = "".join(path.read_text("utf-8") for path in files)
    named = re.findall(r'\(\s*"([A-Z]{3,})"', source) + re.findall(r"redis\.p?call\('([A-Z]+)'", source)
    return {name.lower() for name in named}


def allowed() -> set[str]:
    (line,) = re.findall(r"^user parley (.+)$", REDIS_CONF, flags=re.M)
    return {word[1:] for word in line.split() if word.startswith("+")}


def test_the_user_of_redis_may_do_what_the_store_does_and_no_more() -> None:
    of_the_client = {"ping", "select", "subscribe", "client|setinfo"}
    assert commands_of_the_store() == allowed() - of_the_client


@dataclass(frozen=True)
class Deployed:
    """Two processes on one Redis, each started from what the image has."""

    redis: Redis
    here: Server
    there: Server
    bearer: str


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("deployed")
    included = folder / "parley.conf"
    included.write_text(REDIS_CONF.replace(">PASSWORD", f">{PASSWORD}"))
    for name in copied():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / "image" / name)
    with Redis(folder / "redis", include=included) as redis, servers(folder) as started:
        url = f"redis://parley:{PASSWORD}@127.0.0.1:{redis.port}/0"
        env = {
            **settings({"STORE_URL": url, "JWT_SECRET": SECRET}),
            "PYTHONPATH": str(folder / "image"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "RATE_LIMIT": "100/minute",
            "ADDRESS_LIMIT": "100/minute",
        }
        folders = [folder / "here", folder / "there"]
        for each in folders:
            each.mkdir()
        with ThreadPoolExecutor() as pool:
            started += pool.map(lambda each: Server(each, env), folders)
        token = mint(SECRET.encode(), "alice", int(time.time()), 600, {})
        yield Deployed(redis, *started, token)


@pytest.mark.server
def test_what_the_image_has_is_enough_and_it_writes_nothing(deployed: Deployed) -> None:
    paths = ["/", "/static/js/connection.js", "/docs", "/ready", "/health"]
    pages = {path: deployed.here.pool.request("GET", f"{deployed.here.url}{path}").status for path in paths}
    assert pages == dict.fromkeys(paths, 200)
    assert [path.name for path in deployed.here.folder.iterdir()] == ["server.log"]


@pytest.mark.server
def test_the_health_check_of_the_image_passes_for_a_server_and_for_nothing_else(deployed: Deployed) -> None:
    command = last("HEALTHCHECK").split("CMD ")[1]
    _, *arguments = json.loads(command)
    for port, code in ((deployed.here.port, 0), (deployed.redis.port, 1)):
        asked = [each.replace("5000", str(port)) for each in arguments]
        done = subprocess.run([sys.executable, *asked], capture_output=True, timeout=20, check=False)
        assert done.returncode == code


@pytest.mark.server
def test_a_user_of_redis_with_these_commands_alone_is_denied_nothing(deployed: Deployed) -> None:
    here, there = deployed.here, deployed.there
    signed = {"Authorization": f"Bearer {deployed.bearer}"}
    listening = Socket(there, deployed.bearer)
    assert call(here, "POST", "/api/chat/sessions", {"title": "Tea"}, **signed)[0] == 201
    _, found = call(here, "GET", "/api/chat/sessions", **signed)
    path = f"/api/chat/sessions/{found['sessions'][0]['session_id']}"
    assert listening.call("session_join", {"session_id": found["sessions"][0]["session_id"]})["ok"]

    body = {"message": "[[demo hang=20]] go", "session_id": found["sessions"][0]["session_id"]}
    keyed = {**signed, "Idempotency-Key": "one"}
    url = f"{here.url}/api/chat/stream"
    asked = here.pool.request("POST", url, json=body, headers=keyed, preload_content=False)
    stream = f"/api/chat/streams/{asked.headers['X-Stream-Id']}"
    assert call(there, "POST", "/api/chat/stream", {**body, "message": "x"}, **signed)[0] == 409
    assert call(there, "POST", f"{stream}/stop", **signed)[1]["state"] == "stopped"
    assert here.pool.request("POST", url, json=body, headers=keyed).status == 200, "the same answer again"
    assert {name for name, _ in listening.until("session_updated")} >= {"session_updated"}

    assert call(there, "PATCH", path, {"title": "Coffee", "model": None}, **signed)[0] == 200
    assert len(call(there, "GET", path, **signed)[1]["messages"]) == 2
    assert call(here, "DELETE", path, **signed)[0] == 200
    assert call(there, "GET", stream, Accept="application/json", **signed)[0] in (404, 410)
    assert deployed.redis.command("ACL", "LOG") == []
    assert deployed.redis.command("CONFIG", "GET", "maxmemory-policy") == {"maxmemory-policy": "noeviction"}


@pytest.mark.server
def test_a_redis_that_is_killed_still_has_what_it_acknowledged_a_second_ago(deployed: Deployed) -> None:
    signed = {"Authorization": f"Bearer {deployed.bearer}"}
    body = {"message": "[[demo tokens=5]] Hi", "session_id": "kept", "partial": False}
    answer = deployed.here.pool.request(
        "POST", f"{deployed.here.url}/api/chat/stream", json=body, headers=signed
    )
    synced = int(time.time()) + 2
    while int(time.time()) < synced:
        time.sleep(0.05)
    deployed.redis.kill()
    deployed.redis.start()
    until_ready(deployed.there)
    _, kept = call(deployed.there, "GET", "/api/chat/sessions/kept", **signed)
    assert [message["status"] for message in kept["messages"]] == ["done", "done"]
    again = resume(deployed.there, answer.headers["X-Stream-Id"], **signed).all()
    assert again[-1].data["done"]


def until_ready(server: Server) -> None:
    while server.pool.request("GET", f"{server.url}/ready").status != 200:
        time.sleep(0.05)


# The document


def test_the_settings_for_one_machine_are_settings(tmp_path: Path) -> None:
    (written,) = blocks(section(DOCUMENT, "One machine", "##"), "ini")
    given = {name: value or "" for name, value in dotenv_values(stream=StringIO(written)).items()}
    assert set(given) <= set(own_variables()) | other_variables()
    config = load({**given, "JWT_SECRET": SECRET}, tmp_path)
    assert config.store_url.startswith("unix://")
    assert config.trusted_proxies == 1


def test_every_kind_of_key_in_redis_is_told() -> None:
    source = (ROOT / "backend" / "stores" / "redis" / "keys.py").read_text("utf-8")
    kinds = {"processes", *re.findall(r':(\w+)"$', source, flags=re.M)}
    table = {row[0].strip("`").rpartition(":")[2] for row in rows(section(DOCUMENT, "What is in it"))}
    assert kinds <= table
