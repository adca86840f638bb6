"""Whatever becomes of the line, the tab or the server, as people have the page: on any screen, with the
transport left to it."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import answer, ask, counting, finished, said, session_id, wait_for_words
from tests.browser.conftest import OpenPage
from tests.conftest import StartServer

pytestmark = pytest.mark.browser

RUNTIMES = ("gevent",)
"""test_transports and test_coming_back try both."""

SCREENS = {
    "desktop": {"viewport": {"width": 1280, "height": 800}},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
}


@pytest.fixture(params=SCREENS)
def screen(request: pytest.FixtureRequest) -> dict[str, Any]:
    return SCREENS[request.param]


def words(page: Page) -> list[str]:
    """Of the last answer, once it has ended."""
    return finished(page).locator(".prose").inner_text().split()


def test_a_browser_that_goes_offline_comes_back_by_itself(
    share_server: StartServer, open_page: OpenPage, screen: dict[str, Any]
) -> None:
    server = share_server()
    page = open_page(server.url, transport="auto", **screen).page
    ask(page, counting(250, per_second=60))
    wait_for_words(page, 10)
    page.context.set_offline(True)
    # What is under way over an open socket the switch may let pass: it is cut as a network would.
    page.evaluate("import('/static/js/socket.js').then(({ close }) => close())")
    expect(answer(page)).to_contain_text("reconnecting…")
    expect(page.locator(".note.problem")).to_have_count(0)
    page.context.set_offline(False)
    wait_for_words(page, 60)
    assert words(page) == [f"word{n}" for n in range(1, 251)]
    ask(page, "[[demo echo]] and on")
    expect(finished(page)).to_contain_text("and on")


def test_a_tab_is_closed_and_the_answer_is_read_on_in_another_browser(
    share_server: StartServer, open_page: OpenPage, screen: dict[str, Any]
) -> None:
    server = share_server()
    page = open_page(server.url, transport="auto").page
    ask(page, counting(400, per_second=60))
    wait_for_words(page, 10)
    address = page.url
    page.close()
    elsewhere = open_page(address, transport="auto", **screen).page
    wait_for_words(elsewhere, 40)
    third = open_page(address, transport="auto").page
    assert words(elsewhere) == words(third) == [f"word{n}" for n in range(1, 401)]
    ask(third, counting(60, per_second=60))
    wait_for_words(elsewhere, 20)
    assert words(elsewhere) == [f"word{n}" for n in range(1, 61)]


def test_a_server_that_is_killed_and_started_again_leaves_what_there_was_and_a_way_on(
    start_server: StartServer, open_page: OpenPage, screen: dict[str, Any]
) -> None:
    server = start_server()
    page = open_page(server.url, transport="auto", **screen).page
    ask(page, counting(100, per_second=30))
    wait_for_words(page, 12)
    server.kill()
    expect(answer(page)).to_contain_text("reconnecting…")
    server.restart()
    note = finished(page).locator(".note.problem")
    expect(note).to_be_visible()
    expect(note).to_be_in_viewport()
    expect(answer(page)).to_contain_text("word12 ")
    note.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("group", name="Versions")).to_be_visible(timeout=60_000)
    assert words(page) == [f"word{n}" for n in range(1, 101)]
    page.get_by_role("button", name="The version before").click()
    expect(answer(page).locator(".note.problem")).to_be_visible()
    assert said(server, session_id(page))[-1].split() == [f"word{n}" for n in range(1, 101)]
