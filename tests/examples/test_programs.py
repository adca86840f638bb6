"""The examples without a browser, on what they print."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.books import books_of
from tests.examples.conftest import EXAMPLES, TEAM, Customer, run

pytestmark = pytest.mark.server

FILES = {
    "README.md",
    "example_basic_usage.py",
    "example_streaming.py",
    "example_streaming_chain_server.py",
    "example_streaming_chain_ui.html",
    "example_structured_outputs.py",
    "typed_client.py",
}
SAYS = {
    "example_basic_usage.py": r"(?s)^job (\S+)\n\ndraft: .+\n\nreview: .+\n\nbill of \1: completed\n"
    r"  draft: \d+ tokens of chat-smart in \d+ ms\n  review: \d+ tokens of chat-fast in \d+ ms\n"
    r"  together: \d+ tokens, 0\.000000 USD\n  credits left: \d+\n$",
    "example_streaming.py": r"(?s)^## Hello\n.+\n\n\d+ tokens in, \d+ out\n"
    r"0\.000000 USD; credits left: \d+\n$",
    "example_structured_outputs.py": r"(?s)^person: .+, \d+\nresume, step 1: .+\nresume: .+, \d+ positions\n"
    r"sentiment: (positive|neutral|negative) \(\d+%\), because .+\n  1 attempt, \d+ tokens, .+ USD\n"
    r"3 calls, one bill; credits left: \d+\n$",
}
PROGRAM = """
import asyncio
from pydantic import BaseModel
from typed_client import SaaSLLMClient

class Person(BaseModel):
    name: str
    age: int

async def main(api_url, virtual_key, team_id):
    async with SaaSLLMClient(api_url, virtual_key, team_id) as client:
        job_id = await client.create_job("chat")
        async for chunk in client.chat_stream(
            model_group="chat-fast", messages=[{{"role": "user", "content": "Hello"}}]
        ):
            if chunk.choices and "content" in chunk.choices[0].delta:
                print(chunk.choices[0].delta["content"], end="", flush=True)
        person = await client.structured_output(
            model_group="chat-fast",
            messages=[{{"role": "user", "content": "Ada is 36"}}],
            response_model=Person,
        )
        result = await client.complete_job()
        print(person.age, result.job_id == job_id, result.costs.credit_applied)

asyncio.run(main("{url}", "{key}", "{team}"))
"""


@pytest.mark.parametrize("name", sorted(SAYS))
def test_an_example_does_a_job_and_shows_its_bill(name: str, customer: Customer, tmp_path: Path) -> None:
    with books_of(customer.server) as books:
        before = books.credits(TEAM)
        done = run(EXAMPLES / name, customer.env, tmp_path)
        after = books.credits(TEAM)
    assert done.returncode == 0, done.stderr
    assert re.search(SAYS[name], done.stdout), done.stdout
    assert (after.spent - before.spent, after.held) == (1, 0)


@pytest.mark.parametrize("name", [*sorted(SAYS), "example_streaming_chain_server.py"])
def test_without_a_key_it_says_how_to_get_one(name: str, customer: Customer, tmp_path: Path) -> None:
    done = run(EXAMPLES / name, {**customer.env, "PARLEY_KEY": ""}, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "python -m backend team create examples --credits 100" in done.stderr
    assert "export PARLEY_TEAM=examples PARLEY_KEY=sk-…" in done.stderr


@pytest.mark.parametrize("name", sorted(SAYS))
def test_what_fails_is_one_sentence(name: str, customer: Customer, tmp_path: Path) -> None:
    done = run(EXAMPLES / name, {**customer.env, "PARLEY_KEY": "sk-" + "x" * 43}, tmp_path)
    assert done.returncode == 1
    assert re.fullmatch(r"Unauthorized: .+\n", done.stderr), done.stderr


def test_a_program_beside_them_has_the_client_from_the_same_place(customer: Customer, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(url=customer.server.url, key=customer.key, team=TEAM))
    done = run(program, {**customer.env, "PYTHONPATH": str(EXAMPLES)}, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("## Hello\n")
    assert done.stdout.endswith("36 True True\n")


def test_the_readme_names_every_file_and_no_other() -> None:
    assert {path.name for path in EXAMPLES.iterdir() if path.is_file()} == FILES
    readme = (EXAMPLES / "README.md").read_text("utf-8")
    assert set(re.findall(r"\]\((.+?)\)", readme)) == FILES - {"README.md"}
