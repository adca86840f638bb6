"""Questions edited and answers given again: what was there before stays within reach."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from tests import clients
from tests.browser.chat import answer, ask, counting, finished, session_id, stored, wait_for_words
from tests.browser.conftest import OpenPage
from tests.browser.test_transports import wait_until_it_listens
from tests.conftest import StartServer
from tests.servers import Server

pytestmark = pytest.mark.browser

RUNTIMES = ("gevent",)
"""What is seen here does not depend on it: test_transports and test_coming_back try both."""


def versions(page: Page) -> Locator:
    return page.get_by_role("group", name="Versions")


def edit(page: Page, number: int, text: str) -> None:
    page.locator(".question").nth(number).hover()
    page.get_by_role("button", name="Edit the question").nth(number).click()
    page.get_by_role("textbox", name="Your question").fill(text)
    page.keyboard.press("Enter")


def bubbles(page: Page) -> Locator:
    return page.locator(".question .bubble")


def test_an_answer_is_given_again_and_the_first_stays(
    server: Server, open_page: OpenPage, transport: str
) -> None:
    page = open_page(server.url, transport=transport).page
    ask(page, "Why is the sky blue?")
    first = finished(page).locator(".prose").inner_text()
    page.get_by_role("button", name="Answer again").click()
    expect(versions(page)).to_have_text("2/2")
    finished(page)
    expect(page.locator(".answer")).to_have_count(1)
    expect(bubbles(page)).to_have_text(["Why is the sky blue?"])
    page.get_by_role("button", name="The version before").click()
    expect(versions(page)).to_have_text("1/2")
    assert answer(page).locator(".prose").inner_text() == first
    expect(page.get_by_role("button", name="The version before")).to_be_disabled()
    page.reload()
    expect(versions(page)).to_have_text("2/2")
    page.get_by_role("button", name="The version before").click()
    assert answer(page).locator(".prose").inner_text() == first


def test_an_edited_question_begins_a_branch_that_the_model_alone_sees(
    server: Server, open_page: OpenPage, transport: str
) -> None:
    page = open_page(server.url, transport=transport).page
    for text in ("[[demo echo]] one", "[[demo echo]] two", "[[demo echo]] three"):
        ask(page, text)
        expect(finished(page)).to_contain_text(text.rpartition(" ")[2])
    edit(page, 1, "[[demo echo]] zwei")
    expect(finished(page)).to_contain_text("zwei")
    expect(bubbles(page)).to_have_text(["[[demo echo]] one", "[[demo echo]] zwei"])
    expect(versions(page)).to_have_text("2/2")
    ask(page, "[[demo echo]] drei")
    expect(finished(page)).to_contain_text("drei")
    page.get_by_role("button", name="The version before").click()
    expect(bubbles(page)).to_have_text(["[[demo echo]] one", "[[demo echo]] two", "[[demo echo]] three"])
    # Here, too, one goes on, after what is in view.
    ask(page, "[[demo echo]] four")
    expect(finished(page)).to_contain_text("four")
    wanted = ["one", "two", "three", "four"]
    expect(bubbles(page)).to_have_text([f"[[demo echo]] {word}" for word in wanted])
    page.reload()
    expect(bubbles(page)).to_have_text([f"[[demo echo]] {word}" for word in wanted])
    shown = stored(server, session_id(page))["messages"]
    assert [each["content"] for each in shown if each["role"] == "user"] == [
        f"[[demo echo]] {word}" for word in wanted
    ]
    assert len(stored(server, f"{session_id(page)}?versions=all")["messages"]) == 12
    page.get_by_role("button", name="The next version").click()
    expect(bubbles(page)).to_have_text([f"[[demo echo]] {word}" for word in ("one", "zwei", "drei")])


def test_editing_can_be_left_and_begun_from_the_keyboard(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url).page
    ask(page, "[[demo echo]] helo")
    finished(page)
    page.get_by_role("textbox", name="Your message").press("ArrowUp")
    box = page.get_by_role("textbox", name="Your question")
    expect(box).to_be_focused()
    expect(box).to_have_value("[[demo echo]] helo")
    page.keyboard.press("Escape")
    expect(box).to_have_count(0)
    expect(bubbles(page)).to_be_visible()
    page.get_by_role("textbox", name="Your message").press("ArrowUp")
    box.fill("[[demo echo]] hello")
    box.press("Enter")
    expect(finished(page)).to_contain_text("hello")
    expect(versions(page)).to_have_text("2/2")


def test_an_edit_that_is_left_behind_waits_in_the_box(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url).page
    box = page.get_by_role("textbox", name="Your message")
    ask(page, "[[demo echo]] as it was")
    finished(page)
    box.press("ArrowUp")
    page.get_by_role("textbox", name="Your question").fill("[[demo echo]] as it was to be")
    page.reload()
    expect(box).to_have_value("[[demo echo]] as it was to be")
    box.fill("")
    box.press("ArrowUp")
    page.get_by_role("textbox", name="Your question").fill("[[demo echo]] once more")
    page.get_by_role("link", name="New chat").first.click()
    expect(box).to_have_value("")
    page.locator(".session-link").first.click()
    expect(box).to_have_value("[[demo echo]] once more")


def test_an_answer_that_broke_off_is_tried_again_in_its_place(
    share_server: StartServer, open_page: OpenPage
) -> None:
    page = open_page(share_server(DEMO_TOKENS_PER_SECOND="0").url).page
    ask(page, "[[demo echo]] before")
    finished(page)
    ask(page, "[[demo fail=3]] and now")
    expect(finished(page).locator(".note.problem")).to_be_visible()
    page.get_by_role("button", name="Try again").click()
    expect(versions(page)).to_have_text("2/2")
    expect(finished(page).locator(".note.problem")).to_be_visible()
    edit(page, 1, "[[demo echo]] at last")
    expect(finished(page)).to_contain_text("at last")
    expect(versions(page)).to_have_text("3/3")
    ask(page, "[[demo echo]] and on")
    expect(finished(page)).to_contain_text("and on")
    page.reload()
    expect(bubbles(page)).to_have_text(
        ["[[demo echo]] before", "[[demo echo]] at last", "[[demo echo]] and on"]
    )


def test_while_an_answer_runs_nothing_else_is_asked_and_a_reload_is_in_the_right_branch(
    share_server: StartServer, open_page: OpenPage
) -> None:
    page = open_page(share_server().url).page
    ask(page, "[[demo echo tps=0]] first")
    finished(page)
    edit(page, 0, counting(200, per_second=50))
    wait_for_words(page, 10)
    expect(page.get_by_role("button", name="Edit the question")).to_be_hidden()
    expect(versions(page)).to_be_hidden()
    page.reload()
    wait_for_words(page, 30)
    page.get_by_role("button", name="Stop").click()
    finished(page)
    expect(versions(page)).to_have_text("2/2")


def test_a_version_that_is_refused_gives_the_one_before_back(
    start_server: StartServer, open_page: OpenPage
) -> None:
    page = open_page(start_server(MAX_MESSAGE_CHARS="40", DEMO_TOKENS_PER_SECOND="0").url).page
    ask(page, "[[demo echo]] short enough")
    finished(page)
    edit(page, 0, "far too long a question for this server to take")
    expect(page.locator("#notice")).to_contain_text("shorten it")
    expect(bubbles(page)).to_have_text("[[demo echo]] short enough")
    expect(answer(page)).to_contain_text("short enough")
    expect(page.get_by_role("textbox", name="Your message")).to_have_value(
        "far too long a question for this server to take"
    )


def test_what_others_ask_takes_nobody_away_from_an_earlier_version_or_what_they_write(
    start_server: StartServer, open_page: OpenPage
) -> None:
    server = start_server()
    page = open_page(server.url, transport="socket").page
    ask(page, "[[demo echo tps=0]] first")
    finished(page)
    edit(page, 0, "[[demo echo tps=0]] second")
    expect(finished(page)).to_contain_text("second")
    page.get_by_role("button", name="The version before").click()
    wait_until_it_listens(server)
    asked = clients.ask(server, counting(60, per_second=30), session_id=session_id(page))
    expect(page.locator("#notice")).to_have_text("Another version of this chat is being answered.")
    expect(bubbles(page)).to_have_text("[[demo echo tps=0]] first")
    asked.all()
    expect(page.locator("#notice")).to_be_hidden()
    # The other goes on in the other version, and here one writes at this one.
    page.get_by_role("textbox", name="Your message").press("ArrowUp")
    box = page.get_by_role("textbox", name="Your question")
    box.fill("[[demo echo tps=0]] half a th")
    asked = clients.ask(server, counting(60, per_second=30), session_id=session_id(page))
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(box).to_have_value("[[demo echo tps=0]] half a th")
    box.press("Enter")
    expect(page.locator("#notice")).to_have_text("Wait for the answer, or stop it first.")
    expect(box).to_have_value("[[demo echo tps=0]] half a th")
    asked.all()
    expect(page.locator("#stop")).to_be_hidden()
    expect(page.locator("#notice")).to_be_hidden()
    box.press("Enter")
    expect(finished(page)).to_contain_text("half a th")
    expect(versions(page)).to_have_text("3/3")


def test_two_who_ask_for_another_answer_at_once_get_one_and_no_draft(
    share_server: StartServer, open_page: OpenPage
) -> None:
    server = share_server()
    page = open_page(server.url).page
    ask(page, "[[demo echo tps=20]] " + "word " * 30)
    finished(page)
    other = open_page(page.url).page
    expect(answer(other)).to_contain_text("word")
    page.get_by_role("button", name="Answer again").click()
    expect(page.locator(".answer.live .prose")).to_contain_text("word")
    other.get_by_role("button", name="Answer again").click()
    expect(other.locator(".answer.live .prose")).to_contain_text("word word")
    finished(other)
    expect(other.get_by_role("textbox", name="Your message")).to_have_value("")
    expect(other.locator("#notice")).to_be_hidden()
    expect(versions(other)).to_have_text("2/2")
    expect(versions(page)).to_have_text("2/2")
