"""The reference in Chromium, against the real server."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Request, Route, expect

from tests.browser.conftest import OpenPage
from tests.browser.test_page import PHONE
from tests.clients import get
from tests.conftest import StartServer
from tests.servers import PATIENCE_S, Server

pytestmark = pytest.mark.browser

RUNTIMES = ("eventlet",)
"""What is seen here does not depend on it: test_transports and test_coming_back try both."""

TOKEN = "a-token-that-nobody-keeps"


def form(page: Page, operation: str) -> Locator:
    """An operation's section, its form open."""
    section = page.locator(f"#{operation}")
    section.get_by_text("Try it").click()
    return section


def body(section: Locator) -> Locator:
    return section.get_by_label("Response body")


def answered(section: Locator, words: str) -> None:
    expect(section.locator(".answered")).to_have_text(words)
    expect(section.locator(".result")).to_have_attribute("aria-busy", "false")


def test_every_operation_and_every_event_is_shown(server: Server, open_page: OpenPage) -> None:
    visit = open_page(f"{server.url}/docs")
    page = visit.page
    expect(page.get_by_role("heading", level=1)).to_contain_text("Parley API")
    operations = [row for item in get(server, "/openapi.json")["paths"].values() for row in item.values()]
    for operation in operations:
        expect(page.locator(f"#{operation['operationId']} h3")).to_have_text(operation["summary"])
    for event in get(server, "/asyncapi.json")["operations"]:
        expect(page.locator(f"#event-{event} .route")).to_contain_text(event)
    for file in ("openapi.json", "asyncapi.json"):
        expect(page.locator(".files").get_by_role("link", name=file, exact=True)).to_have_attribute(
            "href", f"/{file}"
        )
    expect(page.locator("main")).not_to_contain_text("[object ")
    expect(page.locator("main")).not_to_contain_text("undefined")
    assert visit.errors == []


def test_bounds_are_those_of_this_server(start_server: StartServer, open_page: OpenPage) -> None:
    page = open_page(f"{start_server(MAX_MESSAGE_CHARS='777').url}/docs").page
    expect(page.locator("#askQuestion")).to_contain_text("at most 777 characters")


def test_an_answer_is_shown_as_it_comes_and_leads_on(server: Server, open_page: OpenPage) -> None:
    page = open_page(f"{server.url}/docs").page
    asking = form(page, "askQuestion")
    question = {"message": "[[demo tokens=60 tps=40]] Hi", "partial": False}
    asking.get_by_label("body").fill(json.dumps(question))
    asking.get_by_role("button", name="Send").click()
    expect(body(asking)).to_contain_text('"count": 3')
    expect(body(asking)).not_to_contain_text('"done": true')
    expect(body(asking)).to_contain_text('"done": true')
    answered(asking, "200 OK")
    asking.get_by_role("button", name="Read the session").click()
    reading = page.locator("#readSession")
    reading.get_by_role("button", name="Send").click()
    answered(reading, "200 OK")
    expect(body(reading)).to_contain_text('"role": "assistant"')


def test_reading_can_be_stopped(server: Server, open_page: OpenPage) -> None:
    page = open_page(f"{server.url}/docs").page
    asking = form(page, "askQuestion")
    asking.get_by_label("body").fill(json.dumps({"message": "[[demo hang=3]] Hi"}))
    asking.get_by_role("button", name="Send").click()
    expect(body(asking)).to_contain_text('"count": 3')
    asking.get_by_role("button", name="Stop reading").click()
    expect(asking.locator(".result")).to_contain_text("You stopped reading")
    expect(asking.get_by_role("button", name="Stop reading")).to_be_hidden()


def test_a_refusal_is_shown_with_its_status(server: Server, open_page: OpenPage) -> None:
    reading = form(open_page(f"{server.url}/docs").page, "readSession")
    reading.get_by_label("session_id").fill("no-such")
    reading.get_by_role("button", name="Send").click()
    answered(reading, "404 NOT FOUND")
    expect(body(reading)).to_contain_text('"type": "not_found"')


def test_a_token_is_sent_but_neither_shown_nor_kept(server: Server, open_page: OpenPage) -> None:
    page = open_page(f"{server.url}/docs").page
    sent: list[str | None] = []
    asking = form(page, "listSessions")
    page.on("request", lambda request: sent.append(header(request)))
    page.get_by_label("Bearer token").fill(TOKEN)
    expect(asking.locator(".code")).to_contain_text('-H "Authorization: Bearer $TOKEN"')
    asking.get_by_role("button", name="Send").click()
    expect(asking.locator(".answered")).to_be_visible()
    assert sent == [f"Bearer {TOKEN}"]
    assert TOKEN not in page.content()
    assert (
        page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
        == '[{},{},""]'
    )
    page.reload()
    expect(page.get_by_label("Bearer token")).to_have_value("")


def header(request: Request) -> str | None:
    return request.header_value("authorization")


def test_the_curl_line_does_what_the_form_does(server: Server, open_page: OpenPage) -> None:
    page = open_page(f"{server.url}/docs").page
    asking = form(page, "askQuestion")
    question = '[[demo echo]] It\'s $HOME, `id` & \\"that\\"'
    asking.get_by_label("body").fill(f'{{"message": "{question}"}}')
    asking.get_by_label("Idempotency-Key").fill("it's one")
    line = asking.locator(".code code").inner_text()
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    said = json.loads(done.stdout.splitlines()[-2].removeprefix("data: "))
    assert said["full_response"].strip() == 'It\'s $HOME, `id` & "that"'


def test_a_document_is_text_whatever_it_says(server: Server, open_page: OpenPage) -> None:
    bad = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    document = get(server, "/openapi.json")

    def is_prose(name: str, value: Any) -> bool:
        return name in ("summary", "description") and isinstance(value, str)

    def poisoned(node: Any) -> Any:
        if isinstance(node, dict):
            return {name: bad if is_prose(name, value) else poisoned(value) for name, value in node.items()}
        return [poisoned(child) for child in node] if isinstance(node, list) else node

    def answer(route: Route) -> None:
        route.fulfill(json=poisoned(document))

    visit = open_page(f"{server.url}/health")
    visit.page.route("**/openapi.json", answer)
    visit.page.goto(f"{server.url}/docs")
    expect(visit.page.locator("#askQuestion h3")).to_have_text(bad)
    assert visit.page.locator("main img, main script").count() == 0
    assert visit.dialogs == []


def test_a_server_that_is_away_is_told_of(server: Server, open_page: OpenPage) -> None:
    visit = open_page(f"{server.url}/health")
    visit.page.route("**/openapi.json", lambda route: route.abort())
    visit.page.goto(f"{server.url}/docs")
    expect(visit.page.locator("#waiting")).to_contain_text("cannot be drawn")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_sticks_out_and_the_contents_lead_there(
    server: Server, open_page: OpenPage, scheme: str
) -> None:
    page = open_page(f"{server.url}/docs", color_scheme=scheme, **PHONE).page
    page.locator("main details").evaluate_all("all => { for (const each of all) each.open = true; }")
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["viewport"]["width"]
    page.get_by_text("Contents", exact=True).click()
    page.locator(".contents-list").get_by_role("link", name="Stop an answer").click()
    expect(page.locator("#stopStream")).to_be_in_viewport()
    expect(page.locator(".contents-list")).to_be_hidden()
