"""What README.md, the files of docs/ and .env.example say is so; their examples are run as they stand."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import urllib3
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.chat_completion import Choice
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from playwright.sync_api import Browser, Page

from backend.app import build
from backend.chat.errors import ParleyError
from backend.chat.events import Price
from backend.config import Config, load
from backend.models import models
from backend.providers.demo import Script
from backend.reference.routes import operations
from backend.runtime import WebSocketWSGI
from backend.telemetry.lines import FIELDS
from backend.wire.completions import FORBIDDEN
from backend.wire.errors import OPENAI_CODES
from tests.browser.conftest import PATIENCE_MS
from tests.conftest import StartServer
from tests.fakes.runtime import ThreadRuntime
from tests.line import Line, line_to
from tests.servers import PATIENCE_S, ROOT, Server

RUNTIMES = ("eventlet",)
"""The default, which an example meets first: what clients are told by each is tried elsewhere."""

README = (ROOT / "README.md").read_text("utf-8")
API = (ROOT / "docs" / "api.md").read_text("utf-8")
OPENAI = (ROOT / "docs" / "openai.md").read_text("utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")
DASH = "–"
ADDRESS = "http://127.0.0.1:5000"
QUESTION = "Say hello"
BEFORE_THE_CUT = 200
"""So many bytes of an answer an example has shown when its line is cut."""

needs_node = pytest.mark.skipif(
    shutil.which("node") is None, reason="node, which runs the documents' JavaScript, is not installed"
)


def part(text: str, heading: str) -> str:
    """What stands under a heading, up to the next of any level."""
    return re.split(rf"^#+ {re.escape(heading)}.*$", text, maxsplit=1, flags=re.M)[1].split("\n#")[0]


def section(text: str, heading: str, level: str = "###") -> str:
    """The same, up to the next of its level or above; `#` at the start of a line of code is no heading."""
    rest = re.split(rf"^{level} {re.escape(heading)}$", text, maxsplit=1, flags=re.M)[1]
    return re.split(rf"^#{{2,{len(level)}}} ", rest, maxsplit=1, flags=re.M)[0]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.M | re.S)


def rows(text: str) -> Iterator[list[str]]:
    """A table's rows, cell by cell, without its head."""
    for line in re.findall(r"^\|(.+)\|$", text, flags=re.M)[2:]:
        yield [cell.strip() for cell in line.split("|")]


def variables() -> dict[str, str]:
    """README's table of variables: their defaults as written."""
    return {row[0].strip("`"): row[1].strip("`") for row in rows(part(README, "Settings"))}


def own_variables() -> dict[str, Any]:
    """Those that are fields of Config, with what the code has as the default."""
    return {row.metadata["name"]: row for row in fields(Config) if "name" in row.metadata}


def other_variables() -> set[str]:
    """Those that the code reads besides."""
    source = (ROOT / "backend" / "config.py").read_text("utf-8")
    return set(re.findall(r'\benv(?:\.get\(|\[)"([A-Z_]+)"', source))


def get(server: Server, path: str) -> Any:
    headers = {"Accept": "application/json"}
    return server.pool.request("GET", f"{server.url}{path}", headers=headers).json()


def ask(server: Server, **body: Any) -> urllib3.BaseHTTPResponse:
    return server.pool.request("POST", f"{server.url}/api/chat/stream", json=body)


def events_of(answer: urllib3.BaseHTTPResponse) -> list[dict[str, Any]]:
    return [json.loads(data) for data in re.findall(rb"^data: (.*)$", answer.data, flags=re.M)]


# Variables


def test_the_table_has_every_variable_and_no_other() -> None:
    assert set(variables()) == set(own_variables()) | other_variables()


@pytest.mark.parametrize("name", sorted(own_variables()))
def test_a_default_in_the_table_is_the_one_in_the_code(name: str) -> None:
    row, written = own_variables()[name], variables()[name]
    if written == DASH:
        assert row.default in (None, frozenset())
    else:
        assert row.metadata["read"](written) == row.default


def test_the_upstreams_of_the_table_are_those_of_the_code(tmp_path: Path) -> None:
    openai, gemini = load({"OPENAI_API_KEY": "k", "GEMINI_API_KEY": "k"}, tmp_path).upstreams
    assert openai.base_url == variables()["OPENAI_BASE_URL"]
    assert [model.name for model in openai.models] == [variables()["OPENAI_MODELS"]]
    assert [model.name for model in gemini.models] == [variables()["GEMINI_MODELS"]]


def test_the_example_of_env_has_every_variable_and_changes_nothing(tmp_path: Path) -> None:
    example = (ROOT / ".env.example").read_text("utf-8")
    names = re.findall(r"^#([A-Z_]+)=", example, flags=re.M)
    assert sorted(names) == sorted(variables())
    # An empty secret is not one that is not set: it is refused.
    (tmp_path / ".env").write_text(re.sub(r"^#(?=(?!JWT_SECRET)[A-Z_]+=)", "", example, flags=re.M))
    assert load({}, tmp_path) == Config()


def test_the_example_of_a_models_file_is_one(tmp_path: Path) -> None:
    (example,) = blocks(README, "toml")
    (tmp_path / "models.toml").write_text(example)
    config = load({"GROQ_API_KEY": "k"}, tmp_path)
    assert [upstream.name for upstream in config.upstreams] == ["groq", "local"]
    assert config.upstreams[0].models[0].upstream_name == "llama-3.3-70b-versatile"
    assert config.context_tokens == {"llama": 131072, "demo": 4096}
    assert config.upstreams[1].limits_s == {"first_byte_s": 120, "between_s": 60}
    assert config.prices == {"llama": Price(590_000, 790_000, 590_000)}
    assert [(row.rank, row.weight) for row in config.groups[0].members] == [(0, 3), (0, 1), (2, 1)]
    assert [model.name for model in models(config)] == ["llama", "qwen/qwen3-32b", "mistral", "demo", "smart"]


# Routes, errors, fields


def routes() -> set[str]:
    app = build(Config(store_url="memory://", auth="off"), ThreadRuntime(), WebSocketWSGI).app
    return {
        f"{method} {rule.rule}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def test_the_table_of_routes_is_the_map_of_the_app() -> None:
    assert {row[0].strip("`") for row in rows(part(README, "Routes"))} == routes()


@pytest.mark.parametrize("route", sorted(routes()))
def test_the_api_document_tells_of_every_route(route: str) -> None:
    assert re.search(rf"{re.escape(route)}[`?]", API)


def test_the_table_of_metrics_is_what_is_exposed() -> None:
    app = build(Config(store_url="memory://"), ThreadRuntime(), WebSocketWSGI).app
    exposed = app.test_client().get("/metrics", base_url="http://localhost").get_data(as_text=True)
    families = set(re.findall(r"^# TYPE (\S+)", exposed, flags=re.M))
    assert {row[0].strip("`") for row in rows(part(OPERATIONS, "Metrics"))} == families


def test_the_alerts_and_remedies_name_metrics_that_there_are() -> None:
    told = {row[0].strip("`") for row in rows(part(OPERATIONS, "Metrics"))}
    named = set(re.findall(r"parley_[a-z_]+", OPERATIONS))
    assert {name.removesuffix("_bucket") for name in named} == told


def test_the_fields_of_a_log_line_are_all_told() -> None:
    told = {name for row in rows(part(OPERATIONS, "Logs")) for name in re.findall(r"`(\w+)`", row[0])}
    assert told == {"ts", "level", "logger", "message", "traceback", *FIELDS}


def test_the_table_of_errors_is_the_tree_of_errors() -> None:
    def leaves(kind: type[ParleyError]) -> Iterator[type[ParleyError]]:
        for child in kind.__subclasses__():
            yield from leaves(child)
            if hasattr(child, "type"):
                yield child

    table = {(row[0].strip("`"), int(row[1])) for row in rows(part(API, "Errors"))}
    outside_the_tree = {("invalid_request", 405), ("invalid_request", 414), ("invalid_request", 431)}
    assert table == {(kind.type, kind.status) for kind in leaves(ParleyError)} | outside_the_tree


def test_the_table_of_errors_of_openais_dialect_is_what_its_route_answers() -> None:
    told = {
        (int(row[0]), code) for row in rows(part(OPENAI, "Errors")) for code in re.findall(r"`(\w+)`", row[2])
    }
    kinds = [kind for row in operations() if "/v1/" in row.route for kind in row.refusals]
    codes = {(kind.status, OPENAI_CODES.get(kind.type, ("", kind.type))[1]) for kind in kinds}
    assert told == codes | {(status, "upstream_error") for status in (400, 409, 422)}


def test_the_table_of_requests_has_every_field_of_openais_sdk() -> None:
    told = {name for row in rows(part(OPENAI, "Requests")) for name in re.findall(r"`(\w+)`", row[0])}
    assert set(CompletionCreateParamsStreaming.__annotations__) | set(FORBIDDEN) <= told


def test_the_tables_of_answers_have_every_field_of_openais_sdk() -> None:
    told = set(re.findall(r"\w+", " ".join(row[0] for row in rows(part(OPENAI, "Answers")))))
    assert {*ChatCompletion.model_fields, *ChatCompletionChunk.model_fields, *Choice.model_fields} <= told


def test_the_directives_of_the_demo_model_are_all_told() -> None:
    told = {row[0].strip("`").partition("=")[0] for row in rows(part(API, "The demo model's directives"))}
    assert told == {row.name for row in fields(Script)}


def field_names(value: Any) -> Iterator[str]:
    """Every name in a JSON value, however deep."""
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for child in value:
            yield from field_names(child)


@pytest.mark.server
def test_every_field_of_an_answer_is_told(server: Server) -> None:
    said = []
    for message in ("[[demo tokens=3]] Say hello", "[[demo fail=2]] Say hello"):
        answer = ask(server, message=message, session_id="fields")
        said += events_of(answer)
        said.append(get(server, f"/api/chat/streams/{answer.headers['X-Stream-Id']}"))
    for path in ("/api/chat/sessions/fields", "/api/chat/sessions", "/api/status"):
        said.append(get(server, path))
    assert [name for name in sorted({*field_names(said)}) if not re.search(rf'["`]{name}["`]', API)] == []


# The documents themselves


def anchors(text: str) -> set[str]:
    """The headings' anchors, as code hosts make them."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", prose, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "docs/api.md",
        "docs/openai.md",
        "docs/operations.md",
        "docs/deploying.md",
        "docs/scaling.md",
        "CHANGELOG.md",
        "examples/README.md",
    ],
)
def test_every_link_leads_somewhere(name: str) -> None:
    path = ROOT / name
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target.read_text("utf-8")), link


def test_pictures_are_light() -> None:
    pictures = list((ROOT / "docs" / "img").iterdir())
    assert pictures
    assert [picture.name for picture in pictures if picture.stat().st_size > 200_000] == []


def test_the_map_of_rooms_has_every_room() -> None:
    drawn = blocks(part(README, "The rooms"), "text")[0]
    backend = ROOT / "backend"
    rooms = [f"{path.name}/" for path in backend.iterdir() if (path / "__init__.py").is_file()]
    files = [path.name for path in backend.glob("*.py") if path.name != "__init__.py"]
    assert [name for name in rooms + files if f"  {name} " not in drawn] == []


# Examples


@pytest.fixture
def slow(share_server: StartServer) -> Server:
    """A server whose answers take long enough to be cut; its log begins with the test."""
    server = share_server(DEMO_TOKENS_PER_SECOND="100", STORE_URL="memory://")
    server.log_path.write_bytes(b"")
    return server


@pytest.fixture
def line(slow: Server) -> Iterator[Line]:
    with line_to(slow.port) as line:
        yield line


def answer_to(question: str, server: Server) -> str:
    """What the demo model says to it, in full."""
    text: str = events_of(ask(server, message=f"[[demo tps=0]]{question}"))[-1]["full_response"]
    return text


def run_over(line: Line, folder: Path, *command: str) -> str:
    """What a program writes whose line is cut in the middle of it."""
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    assert process.stdout is not None
    begun = b""
    try:
        while len(begun) < BEFORE_THE_CUT and (more := process.stdout.read(1000)):
            begun += more
        line.cut()
        rest, complaints = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 0, complaints.decode()
    assert complaints == b""
    return (begun + rest).decode()


def assert_resumed(server: Server) -> None:
    resumed = r"(GET /api/chat/streams/\S+|GET /v1/chat/completions/\S+|chat_resume) 200"
    assert re.search(resumed, server.log)


@pytest.mark.server
@pytest.mark.parametrize(
    "heading", ["Python, standard library only", "Python with httpx", "Socket.IO in Python"]
)
def test_a_python_example_goes_on_over_a_cut_line(
    heading: str, slow: Server, line: Line, tmp_path: Path
) -> None:
    (example,) = blocks(section(API, heading), "python")
    assert ADDRESS in example
    if "import httpx" in example and find_spec("httpx") is None:
        pytest.fail("httpx, which an example uses, is missing: it belongs in the dev extra", pytrace=False)
    (tmp_path / "example.py").write_text(example.replace(ADDRESS, line.url))
    said = run_over(line, tmp_path, sys.executable, "-W", "error", "example.py")
    assert said.startswith(answer_to(QUESTION, slow))
    assert_resumed(slow)


def test_every_python_example_is_run() -> None:
    assert len(blocks(API, "python")) == 3
    (resuming,) = blocks(section(OPENAI, "Coming back", "##"), "python")
    assert [*SDK_EXAMPLES, resuming] == [*blocks(README, "python"), *blocks(OPENAI, "python")]


SDK_EXAMPLES = [*blocks(README, "python"), *blocks(section(OPENAI, "Setting up", "##"), "python")]


@pytest.mark.server
@pytest.mark.parametrize("example", SDK_EXAMPLES, ids=lambda example: example.split()[1])
def test_an_example_of_an_sdk_works(example: str, server: Server, tmp_path: Path) -> None:
    assert ADDRESS in example
    (tmp_path / "example.py").write_text(example.replace(ADDRESS, server.url))
    done = subprocess.run(
        [sys.executable, "-W", "error", "example.py"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT / "client")},
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.server
@pytest.mark.parametrize(
    ("language", "command"),
    [("python", [sys.executable, "-W", "error"]), pytest.param("js", ["node"], marks=needs_node)],
)
def test_an_example_of_coming_back_to_a_completion_goes_on_over_a_cut_line(
    language: str, command: list[str], slow: Server, line: Line, tmp_path: Path
) -> None:
    (example,) = blocks(section(OPENAI, "Coming back", "##"), language)
    assert ADDRESS in example
    (tmp_path / "example.mjs").write_text(example.replace(ADDRESS, line.url))
    said = run_over(line, tmp_path, *command, "example.mjs")
    assert said == answer_to(QUESTION, slow)
    assert_resumed(slow)


@pytest.mark.server
@pytest.mark.parametrize("number", range(len(blocks(API, "sh"))))
def test_a_curl_example_of_the_api_works(number: int, server: Server, tmp_path: Path) -> None:
    said = run_shell(blocks(API, "sh")[number], server, tmp_path)
    assert '"error"' not in said


@pytest.mark.server
@pytest.mark.parametrize("number", range(len(blocks(OPENAI, "sh"))))
def test_a_curl_example_of_the_openai_document_works(number: int, server: Server, tmp_path: Path) -> None:
    said = run_shell(blocks(OPENAI, "sh")[number], server, tmp_path)
    assert '"error"' not in said
    assert "data: [DONE]" in said


@pytest.mark.server
@pytest.mark.parametrize("number", range(len(blocks(README, "sh"))))
def test_a_curl_example_of_the_readme_works(number: int, server: Server, tmp_path: Path) -> None:
    said = run_shell(blocks(README, "sh")[number], server, tmp_path)
    assert '"done": true' in said or "data: [DONE]" in said


def run_shell(example: str, server: Server, folder: Path) -> str:
    assert ADDRESS in example
    done = subprocess.run(
        ["sh", "-c", example.replace(ADDRESS, server.url)],
        cwd=folder, capture_output=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


PRINTS = """
import { ask } from "./parley.js";
for await (const { token } of ask({ message: "Say hello" }, { base: process.argv[2] })) {
  if (token) process.stdout.write(token);
}
"""

# Just enough of React for a hook: state, and effects and callbacks that heed what they depend on.
REACT = """
let current = null;
const slot = (make) => {
  const { slots } = current;
  const at = current.at++;
  return (slots[at] ??= make());
};
const changed = (before, after) => !before || before.some((value, at) => !Object.is(value, after[at]));
export function useState(initial) {
  const owner = current;
  const mine = slot(() => ({ value: initial }));
  mine.set ??= (next) => {
    mine.value = typeof next === "function" ? next(mine.value) : next;
    owner.render();
  };
  return [mine.value, mine.set];
}
export const useRef = (initial) => slot(() => ({ current: initial }));
export function useCallback(call, needs) {
  const mine = slot(() => ({}));
  if (changed(mine.needs, needs)) Object.assign(mine, { call, needs });
  return mine.call;
}
export function useEffect(effect, needs) {
  const owner = current;
  const mine = slot(() => ({}));
  if (!changed(mine.needs, needs)) return;
  mine.needs = needs;
  owner.effects.push(() => {
    mine.undo?.();
    mine.undo = effect();
    owner.undo = mine.undo;
  });
}
export function mount(hook) {
  const owner = { slots: [], at: 0, effects: [] };
  owner.render = () => {
    current = Object.assign(owner, { at: 0 });
    owner.now = hook();
    for (const effect of owner.effects.splice(0)) effect();
  };
  owner.render();
  return owner;
}
"""

# A conversation over a line that is cut, a reload in mid-answer, and a stop.
CONVERSES = """
import { mount } from "react";
import { useChat } from "./useChat.js";
const base = process.argv[2];
const open = () => mount(() => useChat({ sessionId: "react", base }));
const until = async (ready) => {
  while (!ready()) await new Promise((resolve) => setTimeout(resolve, 10));
};
const last = (chat) => chat.now.messages.at(-1).content;

const first = open();
await until(() => first.now.status === "ready");
first.now.send("Say hello");
await until(() => last(first).length > 200);
console.log(".".repeat(300));
await until(() => first.now.status === "ready");
console.log(last(first));

first.now.send("[[demo hang=20]] Say hello");
await until(() => last(first).length > 40);
first.undo();
const second = open();
await until(() => second.now.status === "answering" && last(second).length > 40);
await second.now.stop();
await until(() => second.now.status === "ready");
console.log(JSON.stringify([second.now.messages.map(({ role }) => role), first.now.error, second.now.error]));
"""


def javascript(folder: Path, **files: str) -> None:
    """A folder of modules, `parley` and the given ones."""
    (folder / "package.json").write_text('{"type": "module"}')
    files["parley"] = blocks(section(API, "JavaScript"), "js")[0]
    for name, text in files.items():
        (folder / f"{name}.js").write_text(text)


@pytest.mark.server
@needs_node
def test_the_javascript_example_goes_on_over_a_cut_line(slow: Server, line: Line, tmp_path: Path) -> None:
    javascript(tmp_path, prints=PRINTS)
    said = run_over(line, tmp_path, "node", "prints.js", line.url)
    assert said == answer_to(QUESTION, slow)
    assert_resumed(slow)


@pytest.mark.server
@needs_node
def test_the_javascript_example_over_socket_io_goes_on_over_a_cut_line(
    slow: Server, line: Line, tmp_path: Path
) -> None:
    (example,) = blocks(section(API, "Socket.IO in JavaScript"), "js")
    assert ADDRESS in example
    (tmp_path / "node_modules").symlink_to(ROOT / "tests" / "node" / "node_modules")
    (tmp_path / "example.mjs").write_text(example.replace(ADDRESS, line.url))
    said = run_over(line, tmp_path, "node", "example.mjs")
    assert said.endswith(f"\n{answer_to(QUESTION, slow)}\n(stop)\n")
    assert_resumed(slow)


@pytest.mark.server
@needs_node
def test_the_react_hook_resumes_reloads_and_stops(slow: Server, line: Line, tmp_path: Path) -> None:
    react = tmp_path / "node_modules" / "react"
    react.mkdir(parents=True)
    (react / "package.json").write_text('{"type": "module", "main": "index.js"}')
    (react / "index.js").write_text(REACT)
    javascript(tmp_path, useChat=blocks(section(API, "React"), "jsx")[0], converses=CONVERSES)
    said = run_over(line, tmp_path, "node", "converses.js", line.url)
    assert answer_to(QUESTION, slow) in said
    assert said.splitlines()[-1] == '[["user","assistant","user","assistant"],null,null]'
    assert_resumed(slow)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    page.set_default_timeout(PATIENCE_MS)
    yield page
    page.close()


@pytest.mark.server
@pytest.mark.browser
@pytest.mark.parametrize(
    "example",
    [blocks(section(API, "JavaScript"), "js")[1], *blocks(section(API, "EventSource"), "js")],
    ids=["fetch", "EventSource"],
)
def test_an_example_for_the_browser_goes_on_over_a_cut_line(
    example: str, slow: Server, line: Line, page: Page
) -> None:
    parley = blocks(section(API, "JavaScript"), "js")[0]
    page.route("**/parley.js", lambda route: route.fulfill(body=parley, content_type="text/javascript"))
    page.goto(f"{line.url}/health")  # a page without a policy, so that it takes our script
    page.set_content('<p id="answer"></p>')
    page.add_script_tag(content=example, type="module")
    shown = "document.querySelector('#answer').textContent"
    page.wait_for_function(f"{shown}.length > {BEFORE_THE_CUT}")
    line.cut()
    expected = answer_to(QUESTION, slow)
    page.wait_for_function(f"{shown}.length >= {len(expected)}")
    assert page.evaluate(shown) == expected
    assert_resumed(slow)


@pytest.mark.server
@pytest.mark.browser
def test_the_example_for_the_browser_in_the_readme_works(server: Server, page: Page) -> None:
    page.goto(f"{server.url}/health")
    page.set_content("<body></body>")
    page.add_script_tag(content=blocks(README, "js")[0], type="module")
    expected = answer_to(QUESTION, server)
    shown = "document.body.textContent"
    page.wait_for_function(f"{shown}.includes({json.dumps(expected)})")
