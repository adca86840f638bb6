"""The package: its twin is up to date, its types tell right from wrong, and it needs what it says."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from generate import twins
from parley_client import AsyncParley, Parley
from tests.servers import ROOT

CLIENT = ROOT / "client"

RIGHT = """
import asyncio
from pydantic import BaseModel
from parley_client import Done, Parley, RateLimited, SaaSLLMClient, Token

class Person(BaseModel):
    name: str
    age: int

async def program(api_url: str, virtual_key: str, team_id: str) -> int:
    async with SaaSLLMClient(api_url, virtual_key, team_id) as client:
        job_id = await client.create_job("chat")
        async for chunk in client.chat_stream(
            model_group="chat-fast", messages=[{"role": "user", "content": "Hello"}]
        ):
            if chunk.choices and "content" in chunk.choices[0].delta:
                print(chunk.choices[0].delta["content"], end="", flush=True)
        person = await client.structured_output(
            model_group="chat-fast", messages=[{"role": "user", "content": "?"}], response_model=Person
        )
        async for growing in client.structured_output_stream("chat-fast", [], Person):
            print(growing.name.upper())
        result = await client.complete_job()
        print(job_id.upper(), result.costs.total_cost_usd + 1)
        return person.age

def threads() -> str:
    with Parley() as client:
        stream = client.stream_chat("hi", "session")
        try:
            for event in stream:
                if isinstance(event, Token):
                    print(event.token.upper())
                elif isinstance(event, Done):
                    print(event.finish_reason)
        except RateLimited as error:
            print(error.retry_after)
        return client.sessions.get("session").messages[0].content

asyncio.run(program("", "", ""))
"""

WRONG = {
    'client.create_job(5)': "arg-type",
    'client.stream_chat("hi", sesion_id="s")': "call-arg",
    'client.stream_chat("hi").read().full_respons': "attr-defined",
    'client.structured_output("m", [], Person).agee': "attr-defined",
    'client.structured_output("m", [], dict)': "type-var",
    'client.complete_job("done")': "arg-type",
    'client.sessions.get("s").title.upper()': "union-attr",
    'client.chat("m", [], job_id="j").choices[0].massage': "attr-defined",
    'client.chat("m", "Hello")': "arg-type",
    'len(client.chat_stream("m", []))': "arg-type",
}  # fmt: skip


def mypy(folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    (folder / "program.py").write_text(program)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file",
        "",
        "--cache-dir",
        str(folder / "cache"),
    ]
    env = {"MYPYPATH": str(CLIENT), "PATH": ""}
    return subprocess.run(
        [*command, "program.py"],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_program_is_judged_by_its_types(tmp_path: Path) -> None:
    right = mypy(tmp_path, RIGHT)
    assert right.returncode == 0, right.stdout
    head = "from pydantic import BaseModel\nfrom parley_client import Parley\n\n"
    head += "class Person(BaseModel):\n    age: int\n\nclient = Parley()\n"
    wrong = mypy(tmp_path, head + "\n".join(WRONG))
    found = {}
    for line in wrong.stdout.splitlines()[:-1]:
        if ": error: " in line:
            number = int(line.split(":")[1]) - head.count("\n") - 1
            found[list(WRONG)[number]] = line.rpartition("[")[2].rstrip("]")
    assert found == WRONG, wrong.stdout


def test_the_synchronous_twin_is_up_to_date() -> None:
    made = dict(twins())
    assert {path for path, text in made.items() if path.read_text("utf-8") != text} == set()
    assert set((CLIENT / "parley_client" / "_sync").glob("*.py")) == set(made)


def test_both_clients_can_do_the_same() -> None:
    def names(kind: type) -> set[str]:
        return {name.replace("aclose", "close") for name in dir(kind) if not name.startswith("_")}

    assert names(AsyncParley) == names(Parley)


def test_it_needs_httpx_and_pydantic_and_nothing_else() -> None:
    project = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]
    assert [each.partition(">")[0] for each in project["dependencies"]] == ["httpx", "pydantic"]
    allowed = {*sys.stdlib_module_names, "httpx", "pydantic", "pydantic_core", "parley_client"}
    for path in (CLIENT / "parley_client").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert str(node.module).partition(".")[0] in allowed, path
            elif isinstance(node, ast.Import):
                assert {name.name.partition(".")[0] for name in node.names} <= allowed, path


@pytest.mark.parametrize(
    "path",
    [CLIENT / "generate.py", *sorted(CLIENT.glob("parley_client/**/*.py"))],
    ids=lambda path: path.name,
)
def test_a_file_is_about_one_thing(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) < 250
