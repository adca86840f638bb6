"""The list of chats: found, renamed, exported, deleted and got back."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import ask, choose, do_with, finished, new_chat, session_id, stored
from tests.browser.conftest import OpenPage
from tests.conftest import StartServer
from tests.servers import PATIENCE_S, Server

pytestmark = pytest.mark.browser

RUNTIMES = ("eventlet",)
"""What is seen here does not depend on it: test_transports and test_coming_back try both."""


def talk(page: Page, *titles: str) -> list[str]:
    """The ids of new chats, one of each title."""
    ids = []
    for title in titles:
        new_chat(page)
        ask(page, title)
        finished(page)
        ids.append(session_id(page))
    return ids


def status_of(server: Server, session_id: str) -> int:
    return server.pool.request("GET", f"{server.url}/api/chat/sessions/{session_id}").status


def wait_until_gone(server: Server, session_id: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while status_of(server, session_id) != 404:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_chats_are_found_by_any_words_of_their_titles(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url).page
    talk(page, "Plan a garden", "Rename my files", "Garden furniture")
    links = page.locator(".session-link")
    expect(page.get_by_role("heading", name="Today")).to_be_visible()
    page.keyboard.press("Control+k")
    search = page.get_by_role("searchbox", name="Search the chats")
    expect(search).to_be_focused()
    search.fill("GARD")
    expect(links).to_have_text(["Garden furniture", "Plan a garden"])
    search.fill("garden plan")
    expect(links).to_have_text(["Plan a garden"])
    search.fill("nothing like it")
    expect(page.get_by_text("No chat has that in its title.")).to_be_visible()
    search.fill("")
    expect(links).to_have_count(3)


def test_a_chat_is_renamed_here_and_on_the_server(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url).page
    (chat,) = talk(page, "A working title")
    do_with(page, "A working title", "Rename")
    name = page.get_by_role("textbox", name="Name of “A working title”")
    expect(name).to_be_focused()
    name.fill("Something else")
    page.keyboard.press("Escape")
    expect(page.locator(".session-link")).to_have_text("A working title")
    do_with(page, "A working title", "Rename")
    name.fill("  The real title ")
    page.keyboard.press("Enter")
    expect(page.locator(".session-link")).to_have_text("The real title")
    expect(page.get_by_role("heading", name="The real title")).to_be_visible()
    assert stored(server, chat)["title"] == "The real title"
    page.route("**/api/chat/sessions/*", lambda route: route.abort())
    do_with(page, "The real title", "Rename")
    page.keyboard.type("Lost")
    page.keyboard.press("Enter")
    expect(page.locator("#notice")).to_contain_text("The chat could not be renamed")
    expect(page.locator(".session-link")).to_have_text("The real title")


def test_what_is_deleted_can_be_got_back_for_a_while(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url).page
    kept, gone = talk(page, "To be kept", "To be gone")
    links = page.locator(".session-link")
    do_with(page, "To be gone", "Delete")
    expect(links).to_have_text(["To be kept"])
    expect(page.get_by_role("heading", name="What would you like to know?")).to_be_visible()
    expect(page.locator("#toast")).to_contain_text("“To be gone” is deleted.")
    page.get_by_role("button", name="Undo").click()
    expect(links).to_have_text(["To be gone", "To be kept"])
    expect(page.locator(".question")).to_have_text("To be gone")
    do_with(page, "To be gone", "Delete")
    assert status_of(server, gone) == 200
    page.reload()
    expect(links).to_have_text(["To be kept"])
    wait_until_gone(server, gone)
    page.clock.install()
    do_with(page, "To be kept", "Delete")
    page.clock.run_for(10_000)
    expect(page.locator("#toast")).to_be_hidden()
    wait_until_gone(server, kept)


def test_back_does_not_lead_into_a_deleted_chat(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url).page
    talk(page, "Here and gone")
    do_with(page, "Here and gone", "Delete")
    expect(page.get_by_role("heading", name="What would you like to know?")).to_be_visible()
    page.go_back()
    expect(page.locator("#notice")).to_contain_text("That chat is deleted")
    expect(page.locator(".question")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".question")).to_have_text("Here and gone")


def test_a_list_that_somebody_broke_is_no_obstacle(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url).page
    talk(page, "Still here")
    page.evaluate("""() => {
        const kept = JSON.parse(localStorage["parley.sessions"]);
        const broken = [null, 7, { id: "a" }, { id: "b", title: 5, at: "?" }];
        localStorage["parley.sessions"] = JSON.stringify([...broken, ...kept]);
    }""")
    page.reload()
    page.get_by_role("searchbox").fill("still")
    expect(page.locator(".session-link")).to_have_text("Still here")


def test_a_chat_that_cannot_be_deleted_comes_back(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url).page
    talk(page, "Not to be moved")
    page.route("**/api/chat/sessions/*", lambda route: route.abort())
    page.clock.install()
    do_with(page, "Not to be moved", "Delete")
    expect(page.locator(".session-link")).to_have_count(0)
    page.clock.run_for(10_000)
    expect(page.locator("#notice")).to_contain_text("The chat could not be deleted")
    expect(page.locator(".session-link")).to_have_text("Not to be moved")


@pytest.mark.parametrize(("item", "ending"), [("Export as Markdown", "md"), ("Export as JSON", "json")])
def test_a_chat_is_exported_as_a_file_of_its_name(
    server: Server, open_page: OpenPage, item: str, ending: str, tmp_path: Path
) -> None:
    page = open_page(server.url).page
    (chat,) = talk(page, "[[demo echo]] a/b: what now?")
    with page.expect_download() as downloading:
        do_with(page, "[[demo echo]] a/b: what now?", item)
    download = downloading.value
    assert download.suggested_filename == f"demo echo a b what now.{ending}"
    path = tmp_path / "export"
    download.save_as(path)
    text = path.read_text()
    if ending == "json":
        assert json.loads(text)["session_id"] == chat
    else:
        assert text.startswith("# ")
        assert "a/b: what now?" in text


def test_what_a_chat_is_told_to_heed_is_its_own_and_stays(
    start_server: StartServer, open_page: OpenPage
) -> None:
    server = start_server(DEMO_TOKENS_PER_SECOND="0")
    page = open_page(server.url).page
    instructions = page.get_by_role("textbox", name="Instructions")
    page.get_by_role("button", name="Settings").click()
    instructions.fill("Answer in verse")
    page.get_by_role("spinbutton", name="Temperature").fill("0.4")
    page.get_by_role("button", name="Done").click()
    with page.expect_request("**/api/chat/stream") as asking:
        ask(page, "Tell me of the sea")
    body = asking.value.post_data_json
    assert (body["system"], body["temperature"], body["model"]) == ("Answer in verse", 0.4, "demo")
    finished(page)
    first = session_id(page)
    assert stored(server, first)["system"] == "Answer in verse"
    new_chat(page)
    page.get_by_role("button", name="Settings").click()
    expect(instructions).to_have_value("")
    expect(page.get_by_role("spinbutton", name="Temperature")).to_have_value("0.4")
    page.keyboard.press("Escape")
    page.locator(".session-link").first.click()
    page.get_by_role("button", name="Settings").click()
    expect(instructions).to_have_value("Answer in verse")
    instructions.fill("Answer in prose")
    with page.expect_response("**/api/chat/sessions/*"):
        page.get_by_role("button", name="Done").click()
    assert stored(server, first)["system"] == "Answer in prose"


def test_the_colours_are_the_systems_or_the_chosen_ones_from_the_first_moment(
    server: Server, open_page: OpenPage
) -> None:
    page = open_page(server.url, color_scheme="dark").page
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    choose(page, "Colours", "light")
    light = page.evaluate(paper)
    assert light != dark
    for path in ("/", "/usage", "/docs"):
        page.goto(server.url + path)
        assert page.evaluate(paper) == light
    page.goto(server.url)
    choose(page, "Colours", "")
    assert page.evaluate(paper) == dark
