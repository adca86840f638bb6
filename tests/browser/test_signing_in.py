"""Who signs in at the page goes on with what they did; who leaves takes everything along."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.access import signing
from tests.browser.chat import (
    answer,
    ask,
    counting,
    do_with,
    finished,
    new_chat,
    said,
    session_id,
    stored,
    wait_for_words,
)
from tests.browser.conftest import OpenPage
from tests.conftest import StartServer
from tests.line import line_to
from tests.server.test_access import token_of

pytestmark = pytest.mark.browser

RUNTIMES = ("gevent",)
"""What is seen here does not depend on it: test_transports and test_coming_back try both."""

STRICT = {"AUTH": "required", "JWT_SECRET": signing.SECRET}
EXPIRED_FOR_S = 20
"""Within the 30 s by which a token may be late: it is good for 10 s more."""


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog", name="Sign in")


def sign_in(page: Page, token: str) -> None:
    """In the dialog, which is open."""
    dialog(page).get_by_label("Token").fill(token)
    page.keyboard.press("Enter")
    expect(dialog(page)).to_be_hidden()


def dying_token() -> str:
    return signing.token(exp=int(time.time()) - EXPIRED_FOR_S)


def run_out(page: Page) -> None:
    """As if the token had expired meanwhile."""
    page.evaluate(
        'async (token) => { (await import("/static/js/identity.js")).identity.token = token; }',
        signing.token(exp=1),
    )


def box(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Your message")


def test_a_wrong_token_is_told_in_the_dialog_and_a_right_one_lets_in(
    start_server: StartServer, open_page: OpenPage
) -> None:
    server = start_server(AUTH="required")
    token = token_of(server, "--sub", "alice").strip()
    page = open_page(server.url).page
    expect(dialog(page)).to_be_visible()
    field = dialog(page).get_by_label("Token")
    expect(field).to_be_focused()
    for wrong, sentence in (
        ("", "Paste a token first"),
        ("two words", "one long word"),
        (signing.token(), "not valid"),
    ):
        field.fill(wrong)
        page.keyboard.press("Enter")
        expect(dialog(page).get_by_role("alert")).to_contain_text(sentence)
        expect(field).to_be_focused()
    sign_in(page, f"Bearer {token}")
    expect(page.locator("#who")).to_have_text("Signed in as alice")
    expect(box(page)).to_be_focused()
    ask(page, "[[demo echo tps=0]] it works")
    expect(finished(page)).to_contain_text("it works")
    page.reload()
    expect(finished(page)).to_contain_text("it works")
    expect(page.locator(".session-link")).to_have_count(1)
    assert token not in page.url
    assert token not in page.evaluate("JSON.stringify(localStorage) + document.cookie")
    assert token not in server.log


def test_a_question_waits_until_one_has_signed_in(
    start_server: StartServer, open_page: OpenPage, transport: str
) -> None:
    page = open_page(start_server(**STRICT, DEMO_TOKENS_PER_SECOND="0").url, transport=transport).page
    expect(dialog(page)).to_be_visible()
    page.keyboard.press("Escape")
    ask(page, "[[demo echo]] let me in")
    expect(dialog(page)).to_be_visible()
    dialog(page).get_by_role("button", name="Cancel").click()
    expect(page.locator(".question .note")).to_contain_text("You are not signed in.")
    expect(box(page)).to_have_value("[[demo echo]] let me in")
    expect(page.get_by_role("button", name="Send")).to_be_enabled()
    page.get_by_role("button", name="Try again").click()
    sign_in(page, signing.token())
    expect(finished(page).locator(".prose")).to_have_text("let me in")
    expect(page.locator(".question")).to_have_count(1)
    expect(box(page)).to_have_value("")


def test_a_token_that_expires_on_an_open_socket_is_renewed_in_mid_answer(
    start_server: StartServer, open_page: OpenPage
) -> None:
    server = start_server(**STRICT, RECHECK_S="1")
    page = open_page(server.url, transport="socket").page
    sign_in(page, dying_token())
    ask(page, counting(1500, per_second=50))
    wait_for_words(page, 10)
    box(page).fill("what I am writing meanwhile")
    expect(dialog(page)).to_be_visible()
    expect(dialog(page)).to_contain_text("no longer valid")
    token = signing.token()
    sign_in(page, token)
    expect(box(page)).to_have_value("what I am writing meanwhile")
    expect(page.locator(".answer.live .line")).to_have_text("")
    page.get_by_role("button", name="Stop").click()
    expect(finished(page).locator(".note")).to_have_text("Stopped.")
    text = answer(page).locator(".prose").inner_text()
    assert [text.strip()] == [each.strip() for each in said(server, session_id(page), token)]
    assert text.split() == [f"word{n}" for n in range(1, len(text.split()) + 1)]


def test_a_token_that_expires_is_renewed_when_the_line_is_taken_up(
    start_server: StartServer, open_page: OpenPage, transport: str
) -> None:
    server = start_server(**STRICT)
    with line_to(server.port) as line:
        page = open_page(line.url, transport=transport).page
        sign_in(page, signing.token())
        ask(page, counting(400, per_second=60))
        wait_for_words(page, 20)
        # Whatever asks: the list of chats may be first, and the answer after that was declined.
        page.add_locator_handler(dialog(page), lambda asked: asked.press("Escape"), no_wait_after=True)
        run_out(page)
        line.cut()
        expect(finished(page).locator(".note")).to_contain_text("You are not signed in.")
        answer(page).get_by_role("button", name="Sign in").click()
        page.remove_locator_handler(dialog(page))
        token = signing.token()
        sign_in(page, token)
        expect(finished(page).locator(".prose")).to_contain_text("word400")
        text = answer(page).locator(".prose").inner_text()
    assert [text] == said(server, session_id(page), token)


def test_signing_out_forgets_everything(
    start_server: StartServer, open_page: OpenPage, transport: str
) -> None:
    server = start_server(**STRICT)
    page = open_page(server.url, transport=transport).page
    token = signing.token()
    sign_in(page, token)
    ask(page, "[[demo echo tps=0]] my secret")
    finished(page)
    secret = page.url
    ask(page, counting(3000, per_second=60))
    wait_for_words(page, 5)
    box(page).fill("a secret draft")
    page.get_by_role("button", name="Sign out").click()
    expect(dialog(page)).to_be_visible()
    expect(page.get_by_text("secret")).to_have_count(0)
    expect(page.locator(".session-link")).to_have_count(0)
    assert page.url == f"{server.url}/#/"
    kept = page.evaluate("JSON.stringify(sessionStorage) + JSON.stringify(localStorage)")
    assert "secret" not in kept
    assert token not in kept
    # Nor does the next one see it, who knows the address.
    sign_in(page, signing.token(sub="bob"))
    expect(box(page)).to_have_value("")
    page.goto(secret)
    expect(page.locator("#notice")).to_have_text("That chat is no longer on the server.")
    expect(page.get_by_text("secret")).to_have_count(0)


def test_each_has_their_own_list_and_takes_it_everywhere(
    start_server: StartServer, open_page: OpenPage
) -> None:
    server = start_server(JWT_SECRET=signing.SECRET, DEMO_TOKENS_PER_SECOND="0")
    page = open_page(server.url).page
    links = page.locator(".session-link")
    ask(page, "Of nobody in particular")
    finished(page)
    box(page).fill("half a thought")
    page.get_by_role("button", name="Sign in").click()
    sign_in(page, signing.token())
    expect(page.get_by_role("heading", name="What would you like to know?")).to_be_visible()
    expect(box(page)).to_have_value("half a thought")
    expect(links).to_have_count(0)
    for text in ("Of Alice", "Of Alice, too"):
        new_chat(page)
        ask(page, text)
        finished(page)
    expect(links).to_have_text(["Of Alice, too", "Of Alice"])

    elsewhere = open_page(server.url).page
    elsewhere.get_by_role("button", name="Sign in").click()
    sign_in(elsewhere, signing.token())
    expect(elsewhere.locator(".session-link")).to_have_text(["Of Alice, too", "Of Alice"])
    do_with(elsewhere, "Of Alice, too", "Delete")
    expect(elsewhere.locator(".session-link")).to_have_text(["Of Alice"])
    elsewhere.goto(f"{server.url}/usage")  # what was deleted stays so, though it could have been undone

    new_chat(page)
    page.reload()
    expect(links).to_have_text(["Of Alice"])
    page.get_by_role("button", name="Sign out").click()
    expect(links).to_have_text(["Of nobody in particular"])


def test_who_signs_out_leaves_no_chat_half_deleted_nor_its_title(
    start_server: StartServer, open_page: OpenPage
) -> None:
    server = start_server(JWT_SECRET=signing.SECRET, DEMO_TOKENS_PER_SECOND="0")
    page = open_page(server.url).page
    page.get_by_role("button", name="Sign in").click()
    token = signing.token()
    sign_in(page, token)
    ask(page, "A private matter")
    finished(page)
    chat = session_id(page)
    do_with(page, "A private matter", "Delete")
    with page.expect_response(lambda response: response.request.method == "DELETE") as deleting:
        page.get_by_role("button", name="Sign out").click()
    assert deleting.value.status == 200
    expect(page.locator("#toast")).to_be_hidden()
    assert "A private matter" not in page.content()
    headers = {"Authorization": f"Bearer {token}"}
    assert server.pool.request("GET", f"{server.url}/api/chat/sessions/{chat}", headers=headers).status == 404


def test_somebody_else_who_signs_in_after_an_expiry_sees_nothing_of_the_first(
    start_server: StartServer, open_page: OpenPage, transport: str
) -> None:
    server = start_server(**STRICT, DEMO_TOKENS_PER_SECOND="0")
    page = open_page(server.url, transport=transport).page
    sign_in(page, signing.token())
    ask(page, "[[demo echo]] of Alice alone")
    finished(page)
    run_out(page)
    ask(page, "[[demo echo]] and this, too")
    expect(dialog(page)).to_contain_text("no longer valid")
    sign_in(page, signing.token(sub="bob"))
    expect(page.locator("#who")).to_have_text("Signed in as bob")
    expect(page.get_by_text("of Alice alone")).to_have_count(0)
    expect(page.locator(".session-link")).to_have_count(0)


def test_who_asks_too_often_may_wait_or_take_it_back(
    start_server: StartServer, open_page: OpenPage, transport: str
) -> None:
    env = {"RATE_LIMIT": "1/minute", "DEMO_TOKENS_PER_SECOND": "0"}
    page = open_page(start_server(**env).url, transport=transport).page
    ask(page, "the first")
    finished(page)
    ask(page, "the second")
    note = page.locator(".question .note.wait")
    expect(note).to_contain_text(re.compile(r"this one is sent in \d+ s"))
    before = note.inner_text()
    expect(note).not_to_have_text(before)
    expect(page.locator(".note.problem")).to_have_count(0)
    note.get_by_role("button", name="Do not send").click()
    expect(page.locator(".question")).to_have_text(["the first"])
    expect(box(page)).to_have_value("the second")


def test_instructions_for_a_new_chat_hold_for_a_first_question_that_has_to_wait(
    start_server: StartServer, open_page: OpenPage
) -> None:
    server = start_server(RATE_LIMIT="1/second", DEMO_TOKENS_PER_SECOND="0")
    page = open_page(server.url).page
    ask(page, "[[demo echo]] before")
    finished(page)
    new_chat(page)
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("textbox", name="Instructions").fill("Answer in verse")
    page.get_by_role("button", name="Done").click()
    bodies: list[Any] = []
    page.route("**/api/chat/stream", lambda route: limited_once(route, bodies))
    ask(page, "[[demo echo]] after a while")
    expect(finished(page)).to_contain_text("after a while")
    assert len(bodies) == 2
    assert bodies[0] == bodies[1]
    assert stored(server, session_id(page))["system"] == "Answer in verse"


def limited_once(route: Route, bodies: list[Any]) -> None:
    """As if there were no room for the first of what is asked."""
    bodies.append((route.request.post_data_json, route.request.headers["idempotency-key"]))
    if len(bodies) > 1:
        route.continue_()
        return
    error = {"error": "Too many", "code": 429, "type": "rate_limited", "request_id": "r"}
    route.fulfill(status=429, json=error, headers={"Retry-After": "2"})


def test_a_question_that_waits_is_in_the_box_again_when_another_is_asked(
    start_server: StartServer, open_page: OpenPage
) -> None:
    server = start_server(RATE_LIMIT="1/hour")
    page = open_page(server.url).page
    ask(page, "[[demo echo]] before")
    finished(page)
    new_chat(page)
    ask(page, "the first that waits")
    expect(page.locator(".question .note.wait")).to_be_visible()
    ask(page, "the second")
    expect(page.locator(".question", has_text="the second")).to_have_count(1)
    expect(box(page)).to_have_value("the first that waits")
    expect(page.locator(".question .note.wait")).to_be_visible()
    page.get_by_role("button", name="Do not send").click()
    expect(page.get_by_role("heading", name="What would you like to know?")).to_be_visible()
    expect(box(page)).to_have_value("the second\n\nthe first that waits")
