"""The chain of servers, from a real browser to the bill."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
import urllib3
from playwright.sync_api import Browser, Page, expect

from backend.ledger.records import Job
from tests.books import Books, books_of
from tests.examples.conftest import EXAMPLES, TEAM, Customer, command
from tests.programs import until
from tests.servers import PATIENCE_S

pytestmark = [pytest.mark.server, pytest.mark.browser]

SLOW = "[[demo tokens=40 tps=20]] Say hello"
QUICK = "[[demo tokens=40 tps=0]] Say hello"


class Chain:
    """The example's server as a process, and what can be asked of it without a browser."""

    def __init__(self, customer: Customer, folder: Path) -> None:
        self.log_path = folder / "chain.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                command(EXAMPLES / "example_streaming_chain_server.py"),
                cwd=folder, env={**customer.env, "CHAIN_PORT": "0"}, stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        assert self.process.stdout is not None
        with self.process.stdout as said:
            self.url = said.readline().decode().rpartition(" ")[2].strip()
        assert self.url, self.log_path.read_text()
        self.pool = urllib3.PoolManager(retries=False, timeout=PATIENCE_S)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> urllib3.BaseHTTPResponse:
        return self.pool.request(method, self.url + path, json=body, headers=headers)

    def ask(self, message: str, *, stream: bool, answer_id: str | None = None) -> str:
        answer_id = answer_id or token_hex(16)
        body = {"id": answer_id, "message": message, "stream": stream}
        assert self.send("POST", "/answers", body).status == 202
        return answer_id

    def end(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)
        self.pool.clear()


@contextmanager
def chained(customer: Customer, folder: Path) -> Iterator[Chain]:
    chain = Chain(customer, folder)
    try:
        yield chain
    finally:
        chain.end()


@pytest.fixture(scope="module")
def chain(customer: Customer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with chained(customer, tmp_path_factory.mktemp("chain")) as chain:
        yield chain


@pytest.fixture(scope="module")
def books(customer: Customer) -> Iterator[Books]:
    with books_of(customer.server) as books:
        yield books


@pytest.fixture
def page(browser: Browser, chain: Chain) -> Iterator[Page]:
    """The example's page; no script of it may fail."""
    expect.set_options(timeout=PATIENCE_S * 1000)
    context = browser.new_context()
    page, thrown = context.new_page(), []
    page.on("pageerror", lambda error: thrown.append(str(error)))
    page.goto(chain.url)
    yield page
    context.close()
    assert thrown == []


def jobs(books: Books) -> list[Job]:
    """The newest first."""
    return list(books.ledger.jobs(TEAM, 1000))


def ask(page: Page, message: str, *, stream: bool) -> None:
    page.get_by_label("Your question").fill(message)
    page.get_by_label("Stream the answer").set_checked(stream)
    page.get_by_role("button", name="Ask").click()


def answered(page: Page) -> str:
    """The text on the page, when nothing more will come."""
    expect(page.get_by_role("status")).to_have_text("done")
    expect(page.get_by_label("Bill")).to_be_visible()
    return page.locator("#answer").text_content() or ""


@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "whole"])
def test_the_page_shows_the_answer_and_its_bill(
    stream: bool, page: Page, books: Books, customer: Customer
) -> None:
    bodies: list[str] = []
    page.on("response", lambda answer: bodies.append(f"{answer.url} {answer.all_headers()}"))
    before = len(jobs(books))
    ask(page, QUICK, stream=stream)
    text = answered(page)
    job, *_ = jobs(books)
    (call,) = books.ledger.calls(TEAM, job.job_id)
    assert (len(jobs(books)), job.status, job.charged) == (before + 1, "completed", 1)
    assert call.completion_tokens == 40
    assert text.startswith("## Say hello")
    assert page.locator("#tokens").text_content() == str(call.prompt_tokens + call.completion_tokens)
    assert page.locator("#job").text_content() == job.job_id
    assert page.locator("#credits").text_content() == str(books.credits(TEAM).free)
    assert customer.key not in page.content() + "".join(bodies)


def test_tokens_are_shown_as_they_come(page: Page) -> None:
    ask(page, SLOW, stream=True)
    expect(page.locator("#answer")).to_contain_text("##")
    expect(page.locator("#answer.live")).to_be_visible()
    begun = len(page.locator("#answer").text_content() or "")
    assert len(answered(page)) > begun


@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "whole"])
def test_a_page_that_is_loaded_again_goes_on(stream: bool, page: Page, books: Books) -> None:
    ask(page, SLOW, stream=stream)
    expect(page.get_by_role("status")).to_have_text(re.compile("^(streaming|waiting)"))
    before = len(jobs(books))
    page.reload()
    assert answered(page).startswith("## Say hello")
    page.reload()
    assert answered(page).startswith("## Say hello")
    assert len(jobs(books)) <= before + 1
    assert jobs(books)[0].charged == 1


@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "whole"])
def test_a_browser_that_goes_away_loses_nothing_and_is_billed_once(
    stream: bool, page: Page, books: Books, chain: Chain
) -> None:
    spent = books.credits(TEAM).spent
    ask(page, SLOW, stream=stream)
    expect(page.get_by_role("status")).to_have_text(re.compile("^(streaming|waiting)"))
    kept = page.evaluate("JSON.parse(sessionStorage['chain.answer']).id")
    page.close()
    until(lambda: jobs(books)[0].charged is not None, "the job has its bill")
    answer = chain.send("GET", f"/answers/{kept}").json()
    (call,) = books.ledger.calls(TEAM, jobs(books)[0].job_id)
    assert (call.completion_tokens, call.state) == (40, "done")
    assert answer["bill"]["job_id"] == jobs(books)[0].job_id
    assert books.credits(TEAM).spent == spent + 1


def test_reading_on_after_any_event_gives_exactly_the_rest(chain: Chain) -> None:
    path = f"/answers/{chain.ask(QUICK, stream=True)}/events"
    events = chain.send("GET", path).data.decode().split("\n\n")[:-1]
    assert events[-1].splitlines()[1] == "event: bill"
    for n in range(len(events) + 1):
        rest = chain.send("GET", path, **{"Last-Event-ID": str(n)}).data.decode()
        assert rest.split("\n\n")[:-1] == events[n:]


def test_an_id_that_is_sent_twice_is_one_job(chain: Chain, books: Books) -> None:
    before = len(jobs(books))
    answer_id = chain.ask(QUICK, stream=True)
    chain.ask(QUICK, stream=True, answer_id=answer_id)
    whole = chain.send("GET", f"/answers/{answer_id}").json()
    chain.ask(QUICK, stream=True, answer_id=answer_id)
    assert chain.send("GET", f"/answers/{answer_id}").json() == whole
    assert len(jobs(books)) == before + 1
    other = {"id": answer_id, "message": "Another", "stream": True}
    assert chain.send("POST", "/answers", other).status == 409


def test_a_call_that_fails_is_told_and_costs_nothing(page: Page, books: Books) -> None:
    spent = books.credits(TEAM).spent
    ask(page, "[[demo fail=3]] Say hello", stream=True)
    expect(page.get_by_role("status")).to_have_text("The demo model failed, as its script says")
    expect(page.get_by_label("Bill")).to_be_hidden()
    until(lambda: jobs(books)[0].status == "failed", "the job has failed")
    assert (books.credits(TEAM).spent, books.credits(TEAM).held) == (spent, 0)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/answers", {"id": "short", "message": "a", "stream": True}, 400),
        ("POST", "/answers", {"id": "a" * 32, "message": " ", "stream": True}, 400),
        ("POST", "/answers", {"id": "a" * 32, "message": "a"}, 400),
        ("POST", "/answers", None, 415),
        ("GET", f"/answers/{'b' * 32}", None, 404),
        ("GET", f"/answers/{'b' * 32}/events", None, 404),
    ],
)
def test_what_cannot_be_is_refused(method: str, path: str, body: Any, status: int, chain: Chain) -> None:
    assert chain.send(method, path, body).status == status


def test_another_host_name_is_refused(chain: Chain) -> None:
    assert chain.send("GET", "/", Host="evil.example").status == 400


def test_a_server_that_is_ended_first_writes_its_answers_to_their_end(
    customer: Customer, books: Books, tmp_path: Path
) -> None:
    with chained(customer, tmp_path) as chain:
        before = len(jobs(books))
        chain.ask(SLOW, stream=True)
        until(lambda: len(jobs(books)) > before and jobs(books)[0].status == "in_progress", "the call runs")
        chain.process.terminate()
        assert chain.process.wait(PATIENCE_S) == 0
        assert (jobs(books)[0].status, jobs(books)[0].charged) == ("completed", 1)
