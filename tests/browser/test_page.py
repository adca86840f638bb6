"""The page in Chromium, against the real server."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.chat import answer, ask, counting, finished, new_chat, said, session_id, wait_for_words
from tests.browser.conftest import OpenPage
from tests.conftest import StartServer
from tests.servers import Server

pytestmark = pytest.mark.browser

RUNTIMES = ("gevent",)
"""What is seen here does not depend on it: test_transports and test_coming_back try both."""

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def test_an_answer_appears_as_markdown_with_its_figures(
    start_server: StartServer, open_page: OpenPage
) -> None:
    page = open_page(start_server(DEMO_TOKENS_PER_SECOND="150").url).page
    expect(page.get_by_role("combobox", name="Model")).to_have_value("demo")
    ask(page, "Explain how streaming APIs keep their promises")
    expect(page.locator(".question")).to_have_text("Explain how streaming APIs keep their promises")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(answer(page).locator(".figures")).to_contain_text(re.compile(r"\d+ tokens·?\d+\.\d tokens/s"))
    done = finished(page)
    expect(done.locator("h2")).to_have_count(1)
    expect(done.locator("table td").first).to_be_visible()
    expect(done.locator("pre code span[class^=hljs]").first).to_be_visible()
    for figure in (r"\d tokens/s", r"first after \d+ ms", r"\d\.\d s", r"\d prompt tokens", "demo"):
        expect(done.locator(".figures")).to_contain_text(re.compile(figure))
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("The answer is complete")


def test_an_ordinary_visit_is_without_an_error_or_a_violated_policy(
    server: Server, open_page: OpenPage
) -> None:
    visit = open_page(server.url)
    page = visit.page
    page.get_by_role("button", name="Python").click()
    finished(page)
    page.reload()
    expect(answer(page).locator("pre code span[class^=hljs]").first).to_be_visible()
    page.get_by_role("button", name="Copy the code").click()
    new_chat(page)
    assert visit.errors == []
    assert visit.abroad == []


def test_stopping_keeps_what_is_there_and_says_so(
    share_server: StartServer, open_page: OpenPage, transport: str
) -> None:
    server = share_server()
    page = open_page(server.url, transport=transport).page
    ask(page, counting(2000, per_second=40))
    wait_for_words(page, 10)
    page.get_by_role("button", name="Stop").click()
    expect(finished(page).locator(".note")).to_have_text("Stopped.")
    kept = answer(page).locator(".prose").text_content()
    assert kept is not None
    assert [kept.strip()] == [text.strip() for text in said(server, session_id(page))]
    page.reload()
    expect(finished(page).locator(".note")).to_have_text("Stopped.")
    ask(page, counting(5, per_second=100))
    expect(finished(page)).to_contain_text("word5")


def test_chats_are_listed_and_linked(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url).page
    ask(page, "First matter at hand")
    finished(page)
    first = page.url
    new_chat(page)
    ask(page, "Second matter at hand")
    finished(page)
    second = page.url
    assert first != second
    links = page.locator(".session-link")
    expect(links).to_have_text(["Second matter at hand", "First matter at hand"])

    page.go_back()
    page.go_back()
    expect(page).to_have_url(first)
    expect(page.locator(".question")).to_have_text("First matter at hand")
    links.first.click()
    expect(page.locator(".question")).to_have_text("Second matter at hand")

    elsewhere = open_page(server.url).page
    elsewhere.goto(first)
    expect(elsewhere.locator(".question")).to_have_text("First matter at hand")
    expect(elsewhere.locator(".session-link")).to_have_text(["First matter at hand"])


def test_a_chat_that_is_gone_leaves_the_list(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url).page
    ask(page, "Soon forgotten")
    finished(page)
    server.pool.request("DELETE", f"{server.url}/api/chat/sessions/{session_id(page)}")
    page.reload()
    expect(page.locator("#notice")).to_have_text("That chat is no longer on the server.")
    expect(page.locator(".session-link")).to_have_count(0)


def test_a_refused_question_keeps_its_text(
    start_server: StartServer, open_page: OpenPage, transport: str
) -> None:
    page = open_page(
        start_server(MAX_MESSAGE_CHARS="40", DEMO_TOKENS_PER_SECOND="0").url, transport=transport
    ).page
    long = "far too long a question for this server to take"
    ask(page, long)
    expect(page.locator(".question .note")).to_contain_text("shorten it")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    box = page.get_by_role("textbox", name="Your message")
    expect(box).to_have_value(long)
    ask(page, "a short one")
    expect(finished(page).locator("h2")).to_be_visible()
    expect(page.locator(".question")).to_have_text(["a short one"])


def test_a_failing_model_is_told_at_the_answer(server: Server, open_page: OpenPage, transport: str) -> None:
    page = open_page(server.url, transport=transport).page
    ask(page, "[[demo fail=10]] Will this work out?")
    expect(finished(page).locator(".note.problem")).to_contain_text("The demo model failed")
    page.reload()
    expect(finished(page).locator(".note.problem")).to_contain_text("The demo model failed")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".answer")).to_have_count(1)
    expect(finished(page).locator(".note.problem")).to_contain_text("The demo model failed")
    expect(page.get_by_role("group", name="Versions")).to_have_text("2/2")


def test_a_reader_who_went_up_is_left_there(share_server: StartServer, open_page: OpenPage) -> None:
    page = open_page(share_server().url).page
    ask(page, counting(3000, per_second=200))
    latest = page.get_by_role("button", name="Latest")
    wait_for_words(page, 300)
    expect(latest).to_be_hidden()
    page.locator(".messages").hover()
    page.mouse.wheel(0, -100_000)
    expect(latest).to_be_visible()
    expect(page.locator(".question")).to_be_in_viewport()
    wait_for_words(page, 450)
    place = page.locator("#scroller").evaluate("(scroller) => scroller.scrollTop")
    wait_for_words(page, 700)
    assert page.locator("#scroller").evaluate("(scroller) => scroller.scrollTop") == place
    expect(page.locator(".question")).to_be_in_viewport()
    latest.click()
    expect(latest).to_be_hidden()
    page.get_by_role("button", name="Stop").click()
    expect(finished(page).locator(".figures")).to_be_in_viewport()


def test_on_a_phone_the_list_is_a_drawer(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url, **PHONE).page
    ask(page, "On the road")
    finished(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    drawer = page.get_by_role("navigation", name="Chats")
    expect(drawer).to_be_hidden()
    page.get_by_role("button", name="Chats", exact=True).tap()
    expect(drawer).to_be_visible()
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    page.get_by_role("button", name="Chats", exact=True).tap()
    drawer.get_by_role("link", name="New chat").tap()
    expect(drawer).to_be_hidden()
    expect(page.get_by_role("heading", name="What would you like to know?")).to_be_visible()
    page.get_by_role("button", name="Chats", exact=True).tap()
    drawer.get_by_role("link", name="On the road").tap()
    expect(page.locator(".question")).to_have_text("On the road")
    page.get_by_role("button", name="Chats", exact=True).tap()
    drawer.get_by_role("button", name="More of “On the road”").tap()
    page.get_by_role("menuitem", name="Delete").tap()
    expect(drawer.locator(".session")).to_have_count(0)
