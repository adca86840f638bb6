"""Whatever happens to the line, the page or the server: the whole answer, or a sentence."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import Request, Route, WebSocket, expect

from tests.browser.chat import (
    answer,
    ask,
    counting,
    finished,
    new_chat,
    said,
    session_id,
    stored,
    wait_for_words,
)
from tests.browser.conftest import PATIENCE_MS, OpenPage
from tests.conftest import StartServer
from tests.line import line_to
from tests.servers import Server

pytestmark = pytest.mark.browser

AFTER = re.compile(r"(?<=[?&])after=(\d+)")
RESUMED = re.compile(r'"chat_resume",.*"after":(\d+)')


def test_a_reload_in_the_middle_brings_the_whole_rest(
    share_server: StartServer, open_page: OpenPage, transport: str
) -> None:
    server = share_server()
    page = open_page(server.url, transport=transport).page
    ask(page, counting(300, per_second=60))
    wait_for_words(page, 40)
    page.reload()
    wait_for_words(page, 60)
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    text = finished(page).locator(".prose").text_content()
    assert text is not None
    assert [text.strip()] == said(server, session_id(page))
    assert text.split()[-1] == "word300"


def test_a_cut_line_is_taken_up_where_it_broke(
    share_server: StartServer, open_page: OpenPage, transport: str
) -> None:
    server = share_server()
    offsets: list[int] = []

    def requested(request: Request) -> None:
        offsets.extend(map(int, AFTER.findall(request.url)))
        offsets.extend(map(int, RESUMED.findall(request.post_data or "")))

    def opened(socket: WebSocket) -> None:
        socket.on("framesent", lambda frame: offsets.extend(map(int, RESUMED.findall(str(frame)))))

    with line_to(server.port) as line:
        page = open_page(line.url, transport=transport).page
        page.on("request", requested)
        page.on("websocket", opened)
        ask(page, counting(400, per_second=60))
        for cut, word in enumerate((20, 60, 100), 1):
            wait_for_words(page, word)
            line.cut()
            deadline = time.monotonic() + PATIENCE_MS / 1000
            while sum(offset >= 20 for offset in offsets) < cut:
                assert time.monotonic() < deadline, "the page does not come back"
                page.wait_for_timeout(10)
        text = finished(page).locator(".prose").text_content()
    assert text is not None
    assert [text.strip()] == said(server, session_id(page))


@pytest.mark.any_runtime
def test_a_page_that_is_ahead_of_the_server_takes_over_its_text(
    share_server: StartServer, open_page: OpenPage
) -> None:
    server = share_server()

    def further_on(route: Route) -> None:
        headers = {name: value for name, value in route.request.headers.items() if name != "last-event-id"}
        route.continue_(url=AFTER.sub("after=5000", route.request.url), headers=headers)

    with line_to(server.port) as line:
        page = open_page(line.url).page
        page.route(AFTER, further_on)
        ask(page, counting(200, per_second=60))
        wait_for_words(page, 30)
        line.cut()
        wait_for_words(page, 60)
        text = finished(page).locator(".prose").text_content()
    assert text is not None
    assert [text.strip()] == said(server, session_id(page))


@pytest.mark.any_runtime
@pytest.mark.parametrize("status", [204, 404, 410])
def test_an_answer_that_can_no_longer_be_followed_is_shown_as_stored(
    share_server: StartServer, open_page: OpenPage, status: int
) -> None:
    server = share_server()
    with line_to(server.port) as line:
        page = open_page(line.url).page
        page.route(AFTER, lambda route: route.fulfill(status=503))
        ask(page, counting(100, per_second=60))
        wait_for_words(page, 10)
        live = stored(server, session_id(page))["live_stream"]["stream_id"]
        line.cut()
        expect(answer(page)).to_contain_text("reconnecting…")
        followed = server.pool.request("GET", f"{server.url}/api/chat/streams/{live}")
        assert b'"done"' in followed.data
        page.route(AFTER, lambda route: route.fulfill(status=status))
        expect(finished(page).locator(".prose")).to_contain_text("word100")
        expect(page.locator(".answer .note")).to_have_count(0)


def test_a_question_whose_line_is_lost_is_asked_once(server: Server, open_page: OpenPage) -> None:
    with line_to(server.port) as line:
        page = open_page(line.url).page
        line.lose_next_answer()
        ask(page, counting(20, per_second=100))
        expect(finished(page).locator(".prose")).to_contain_text("word20")
        assert line.lost_answers == 1
    assert [each["role"] for each in stored(server, session_id(page))["messages"]] == ["user", "assistant"]


@pytest.mark.any_runtime
def test_a_question_that_finds_no_line_can_be_taken_back_and_sent_later(
    server: Server, open_page: OpenPage
) -> None:
    page = open_page(server.url).page
    page.route("**/api/chat/stream", lambda route: route.abort())
    ask(page, "[[demo echo]] Anybody there?")
    expect(answer(page)).to_contain_text("reconnecting…")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".question .note")).to_contain_text("Not sent.")
    expect(page.get_by_role("textbox", name="Your message")).to_have_value("[[demo echo]] Anybody there?")
    page.unroute("**/api/chat/stream")
    page.get_by_role("button", name="Try again").click()
    expect(finished(page).locator(".prose")).to_have_text("Anybody there?")
    expect(page.locator(".question")).to_have_count(1)
    expect(page.get_by_role("textbox", name="Your message")).to_have_value("")


def test_an_answer_runs_on_while_another_chat_is_in_view(
    share_server: StartServer, open_page: OpenPage, transport: str
) -> None:
    server = share_server()
    page = open_page(server.url, transport=transport).page
    ask(page, counting(300, per_second=60))
    wait_for_words(page, 5)
    new_chat(page)
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    ask(page, "[[demo echo]] something else")
    expect(finished(page)).to_contain_text("something else")
    page.locator(".session-link", has_text="word1").click()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(finished(page).locator(".prose")).to_contain_text("word300")
    assert [answer(page).locator(".prose").inner_text()] == said(server, session_id(page))


def test_a_killed_server_leaves_a_sentence_and_no_spinner(
    start_server: StartServer, open_page: OpenPage, transport: str
) -> None:
    server = start_server()
    page = open_page(server.url, transport=transport).page
    ask(page, counting(2000, per_second=40))
    wait_for_words(page, 20)
    server.kill()
    expect(answer(page)).to_contain_text("reconnecting…")
    server.restart()
    expect(finished(page).locator(".note.problem")).to_be_visible()
    expect(answer(page).locator(".prose")).to_contain_text("word10 ")
    expect(answer(page)).not_to_contain_text("reconnecting…")
    page.reload()
    expect(finished(page).locator(".note.problem")).to_be_visible()
    messages = stored(server, session_id(page))["messages"]
    assert [each["status"] for each in messages] == ["done", "interrupted"]
    ask(page, counting(5, per_second=100))
    expect(finished(page)).to_contain_text("word5")


def test_a_busy_chat_shows_the_answer_it_is_giving(share_server: StartServer, open_page: OpenPage) -> None:
    page = open_page(share_server().url).page
    ask(page, "[[demo echo tps=0]] hello")
    finished(page)
    other = page.context.new_page()
    other.goto(page.url)
    expect(answer(other)).to_contain_text("hello")
    ask(page, counting(300, per_second=60))
    wait_for_words(page, 1)
    ask(other, "and what about me?")
    wait_for_words(other, 2)
    expect(other.locator("#notice")).to_contain_text("still answering another question")
    expect(other.get_by_role("textbox", name="Your message")).to_have_value("and what about me?")
    other.get_by_role("button", name="Stop").click()
    expect(finished(page).locator(".note")).to_have_text("Stopped.")


@pytest.mark.any_runtime
def test_the_event_reader_does_not_care_where_the_bytes_are_cut(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url).page
    body = (
        ': hello\n: ping\r\nid: s:1\ndata: {"token": "a\u2028b\u0085 é🎉"}\n\n'
        "id: s:2\r\ndata:two\r\ndata:  lines\r\n\r\nevent: x\rid: s:3\rdata: three\r\r"
        "retry: 5\ndata\n\ndata: cut off\n"
    )
    expected = [
        ["s:1", '{"token": "a\u2028b\u0085 é🎉"}'],
        ["s:2", "two\n lines"],
        ["s:3", "three"],
        ["s:3", ""],
    ]
    results = page.evaluate(
        """async (body) => {
            const { EventParser } = await import("/static/js/sse.js");
            const bytes = new TextEncoder().encode(body);
            const read = (...pieces) => {
                const parser = new EventParser();
                const decoder = new TextDecoder();
                return pieces.flatMap((piece) => [...parser.feed(decoder.decode(piece, { stream: true }))])
                    .map(({ id, data }) => [id, data]);
            };
            const halves = Array.from(bytes, (_, at) => read(bytes.slice(0, at), bytes.slice(at)));
            return [...halves, read(...Array.from(bytes, (byte) => Uint8Array.of(byte)))];
        }""",
        body,
    )
    assert len(results) > 100
    assert all(result == expected for result in results)
