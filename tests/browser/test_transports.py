"""Server-sent events or Socket.IO: the person chooses, and no answer minds."""

from __future__ import annotations

import time
from typing import Any

import pytest
from playwright.sync_api import APIResponse, Error, Page, Route, WebSocketRoute, expect

from tests import clients
from tests.browser.chat import (
    answer,
    ask,
    choose,
    counting,
    finished,
    said,
    session_id,
    stored,
    wait_for_words,
)
from tests.browser.conftest import OpenPage
from tests.conftest import StartServer
from tests.line import line_to
from tests.servers import PATIENCE_S, Server

pytestmark = pytest.mark.browser

LIBRARY = "/static/vendor/socket.io/socket.io.esm.min.js"
# As where a proxy on the way does not know WebSockets.
NO_WEBSOCKETS = """
const Real = WebSocket;
window.WebSocket = class extends Real { constructor(url) { super(url.replace("/socket.io/", "/none/")); } };
"""


def wait_until_it_listens(server: Server) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while "session_join 200" not in server.log:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def followed(page: Page) -> str:
    """The text of the last answer, once it has ended."""
    return finished(page).locator(".prose").inner_text()


@pytest.mark.any_runtime
def test_the_choice_is_kept_and_its_library_loaded_when_it_is_needed(
    server: Server, open_page: OpenPage
) -> None:
    visit = open_page(server.url)
    page = visit.page
    paths: list[str] = []
    page.on("request", lambda request: paths.append(request.url.removeprefix(server.url)))
    choice = page.locator("#transport")
    expect(choice).to_have_value("sse")
    ask(page, "[[demo echo]] over events")
    expect(finished(page)).to_contain_text("over events")
    assert LIBRARY not in paths
    choose(page, "Answers come via", "socket")
    ask(page, "[[demo echo]] over a socket")
    expect(finished(page)).to_contain_text("over a socket")
    assert LIBRARY in paths
    assert paths.count("/api/chat/stream") == 1
    page.reload()
    expect(choice).to_have_value("socket")
    expect(finished(page)).to_contain_text("over a socket")
    assert visit.errors == []


@pytest.mark.any_runtime
def test_a_session_that_was_read_before_an_answer_ended_does_not_hide_it(
    server: Server, open_page: OpenPage
) -> None:
    page = open_page(server.url).page
    ask(page, "[[demo echo]] the first")
    expect(finished(page)).to_contain_text("the first")
    held: list[tuple[Route, APIResponse]] = []

    def hold_the_first(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append((route, route.fetch()))

    page.route("**/api/chat/sessions/*", hold_the_first)
    choose(page, "Answers come via", "socket")  # it looks whether it has missed something
    while not held:
        page.wait_for_timeout(10)
    ask(page, "[[demo echo]] the second")
    expect(finished(page)).to_contain_text("the second")
    ((route, response),) = held
    with page.expect_request_finished(lambda request: request == route.request):
        route.fulfill(response=response)
    page.wait_for_load_state("networkidle")
    expect(page.locator(".answer")).to_have_count(2)
    expect(finished(page)).to_contain_text("the second")


def test_an_answer_changes_over_in_the_middle_and_nothing_is_lost_or_doubled(
    share_server: StartServer, open_page: OpenPage
) -> None:
    server = share_server()
    with line_to(server.port) as line:
        page = open_page(line.url).page
        ask(page, counting(600, per_second=100))
        for words, transport in ((30, "socket"), (90, "sse"), (150, "socket"), (210, "sse"), (270, "socket")):
            wait_for_words(page, words)
            choose(page, "Answers come via", transport)
        wait_for_words(page, 330)
        line.cut()
        wait_for_words(page, 400)
        expect(page.get_by_role("button", name="Stop")).to_be_visible()
        text = followed(page)
    assert [text] == said(server, session_id(page))
    assert text.split() == [f"word{n}" for n in range(1, 601)]


def test_a_question_whose_acknowledgement_is_lost_is_asked_once(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url, transport="socket").page
    lost: list[str] = []

    def meet(socket: WebSocketRoute) -> None:
        upstream = socket.connect_to_server()

        def pass_on(message: str | bytes) -> None:
            if not lost and str(message).startswith("43"):
                lost.append(str(message))
                upstream.close()
                socket.close()
            else:
                socket.send(message)

        upstream.on_message(pass_on)

    page.route_web_socket("**/socket.io/*", meet)
    ask(page, counting(20, per_second=100))
    expect(finished(page).locator(".prose")).to_contain_text("word20")
    assert len(lost) == 1
    assert [each["role"] for each in stored(server, session_id(page))["messages"]] == ["user", "assistant"]


def test_where_websockets_do_not_get_through_it_polls(share_server: StartServer, open_page: OpenPage) -> None:
    server = share_server()
    page = open_page(server.url, transport="socket").page
    page.add_init_script(NO_WEBSOCKETS)
    page.reload()
    ask(page, counting(100, per_second=60))
    assert [followed(page)] == said(server, session_id(page))


@pytest.mark.any_runtime
def test_left_to_itself_the_page_takes_the_socket_and_falls_back_where_there_is_none(
    share_server: StartServer, open_page: OpenPage
) -> None:
    server = share_server()
    visit = open_page(server.url, transport="auto")
    page = visit.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(server.url)))
    ask(page, "[[demo echo]] the best way there is")
    expect(finished(page)).to_contain_text("the best way there is")
    assert "/api/chat/stream" not in asked
    page.route("**/socket.io/**", lambda route: route.abort())
    page.route_web_socket("**/socket.io/**", lambda socket: socket.close())
    page.reload()
    expect(page.locator("#transport")).to_have_value("auto")
    expect(answer(page)).to_contain_text("the best way there is")
    ask(page, counting(40, per_second=60))
    expect(answer(page)).to_contain_text("word1 ")
    assert followed(page).split()[-1] == "word40"
    assert "/api/chat/stream" in asked
    assert [each["role"] for each in stored(server, session_id(page))["messages"]] == [
        "user",
        "assistant",
    ] * 2


@pytest.mark.any_runtime
def test_where_no_news_come_one_looks_when_the_page_is_looked_at(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url).page
    ask(page, "[[demo echo]] to begin with")
    finished(page)
    clients.ask(server, "[[demo echo]] meanwhile", session_id=session_id(page)).all()
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator(".answer")).to_have_count(2)
    expect(finished(page)).to_contain_text("meanwhile")


def test_what_is_asked_in_one_tab_appears_in_the_other(
    start_server: StartServer, open_page: OpenPage
) -> None:
    server = start_server()
    page = open_page(server.url, transport="socket").page
    ask(page, "[[demo echo tps=0]] to begin with")
    expect(finished(page)).to_contain_text("to begin with")
    wait_until_it_listens(server)
    # In a browser of its own, over the other door.
    other = open_page(page.url).page
    expect(answer(other)).to_contain_text("to begin with")
    ask(other, counting(200, per_second=60))
    wait_for_words(page, 60)
    expect(page.locator(".question")).to_have_count(2)
    page.get_by_role("button", name="Stop").click()
    expect(finished(other).locator(".note")).to_have_text("Stopped.")
    expect(finished(page).locator(".note")).to_have_text("Stopped.")
    assert [followed(page), followed(other)] == said(server, session_id(page))[-1:] * 2
    # Their own questions are not shown twice.
    ask(page, "[[demo echo]] and mine")
    expect(finished(page)).to_contain_text("and mine")
    expect(page.locator(".question")).to_have_count(3)
    expect(page.locator(".answer")).to_have_count(3)


@pytest.mark.any_runtime
def test_a_draft_and_a_reader_are_left_alone_when_others_ask(
    start_server: StartServer, open_page: OpenPage
) -> None:
    server = start_server()
    page = open_page(server.url, transport="socket").page
    ask(page, "[[demo tps=0 tokens=2000]] at length")
    finished(page)
    page.locator(".messages").hover()
    page.mouse.wheel(0, -100_000)
    expect(page.locator(".question")).to_be_in_viewport()
    wait_until_it_listens(server)
    page.get_by_role("textbox", name="Your message").fill("half a tho")
    clients.ask(server, counting(20, per_second=100), session_id=session_id(page)).all()
    expect(finished(page)).to_contain_text("word20")
    expect(page.locator(".question").first).to_be_in_viewport()
    expect(page.get_by_role("textbox", name="Your message")).to_have_value("half a tho")


@pytest.mark.any_runtime
def test_a_chat_that_others_rename_or_delete_says_so(start_server: StartServer, open_page: OpenPage) -> None:
    server = start_server(DEMO_TOKENS_PER_SECOND="0")
    page = open_page(server.url, transport="socket").page
    ask(page, "[[demo echo]] short-lived")
    finished(page)
    path = f"{server.url}/api/chat/sessions/{session_id(page)}"
    wait_until_it_listens(server)
    server.pool.request("PATCH", path, json={"title": "Renamed elsewhere"})
    expect(page.get_by_role("heading", name="Renamed elsewhere")).to_be_visible()
    expect(page.locator(".session-link")).to_have_text("Renamed elsewhere")
    server.pool.request("DELETE", path)
    expect(page.locator("#notice")).to_have_text("This chat was deleted.")
    expect(page.locator(".session-link")).to_have_count(0)


def test_a_server_that_is_replaced_is_come_back_to_quietly(
    start_server: StartServer, open_page: OpenPage
) -> None:
    server = start_server(STORE_URL="sqlite:///var/chat.db")
    page = open_page(server.url, transport="socket").page
    ask(page, counting(150, per_second=60))
    wait_for_words(page, 20)
    assert server.stop() == 0, "it lets the answer end first"
    text = followed(page)
    assert text.split()[-1] == "word150"
    server.restart()
    clients.ask(server, "[[demo echo]] while you were away", session_id=session_id(page)).all()
    expect(finished(page)).to_contain_text("while you were away")
    assert said(server, session_id(page))[0] == text
    expect(page.locator(".note.problem")).to_have_count(0)


@pytest.mark.any_runtime
def test_a_question_that_is_stopped_before_the_server_has_it_is_not_sent_later(
    start_server: StartServer, open_page: OpenPage
) -> None:
    server = start_server(STORE_URL="sqlite:///var/chat.db")
    page = open_page(server.url, transport="socket").page
    ask(page, "[[demo echo]] before")
    finished(page)
    server.stop()
    ask(page, "[[demo echo]] after")
    page.get_by_role("button", name="Stop").click()
    note = page.locator(".question .note.problem")
    expect(note).to_contain_text("Not sent.", timeout=60_000)
    server.restart()
    clients.ask(server, "[[demo echo]] meanwhile", session_id="another").all()
    assert said(server, session_id(page)) == ["before"]
    note.get_by_role("button", name="Try again").click()
    expect(finished(page)).to_contain_text("after")
    assert said(server, session_id(page)) == ["before", "after"]


@pytest.mark.any_runtime
def test_a_refusal_that_names_a_running_answer_does_not_end_it(
    share_server: StartServer, open_page: OpenPage
) -> None:
    server = share_server()
    page = open_page(server.url).page
    running = clients.ask(server, counting(100, per_second=60), session_id="busy")
    events: list[dict[str, Any]] = page.evaluate(
        """async (streamId) => {
            const { ask, follow } = await import("/static/js/socket.js");
            const { signal } = new AbortController();
            const all = [];
            const following = follow(streamId, 0, signal);
            for await (const event of following) {
                all.push(event);
                if (all.length !== 3) continue;
                const body = JSON.stringify({ message: "me, too", session_id: "busy" });
                for await (const refused of ask(body, "k", signal)) all.push(refused);
            }
            return all;
        }""",
        running.stream_id,
    )
    (refused,) = [event for event in events if event["kind"] == "refused"]
    assert (refused["type"], refused["streamId"]) == ("session_busy", running.stream_id)
    assert events[-1]["kind"] == "done"
    tokens = "".join(event["text"] for event in events if event["kind"] == "token")
    assert tokens == events[-1]["full_response"]


HEARD = """async (steps) => {
    const { Heard } = await import("/static/js/heard.js");
    const { signal } = new AbortController();
    const heard = new Heard(4);
    const read = [];
    const reader = async (after) => {
        const events = [];
        read.push({ after, events });
        for await (const event of heard.read(after, signal)) events.push(event.text ?? event.kind);
    };
    const readers = [];
    for (const [step, ...rest] of steps) {
        if (step === "read") {
            if (!heard.suits(rest[0])) throw new Error("not suited");
            readers.push(reader(rest[0]));
        } else heard[step](...rest);
        await null;
    }
    heard.cut();
    await Promise.all(readers);
    return read;
}"""
LIVE = [["token", "five ", 5], ["token", "six seven ", 7], ["token", "eight ", 8], ["end", {"kind": "done"}]]


@pytest.mark.any_runtime
def test_who_has_less_than_came_is_told_the_whole_text_wherever_that_comes(
    server: Server, open_page: OpenPage
) -> None:
    """An answer that is sent from piece 5 on is read from there and, by another, from the start."""
    page = open_page(server.url).page
    rest = ["five ", "six seven ", "eight ", "done"]
    for at in range(len(LIVE)):
        said = "".join(["one two three four ", *(step[1] for step in LIVE[:at])])
        count = LIVE[at - 1][2] if at else 4
        steps = [*LIVE[:at], ["reset", said, count], *LIVE[at:]]
        read = page.evaluate(HEARD, [["read", 4], ["read", 0], *steps])
        assert read == [
            {"after": 4, "events": [*rest[:at], said, *rest[at:]]},
            {"after": 0, "events": [said, *rest[at:]]},
        ]


def test_who_comes_later_reads_on_from_any_tokens_end(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url).page
    assert page.evaluate(HEARD, [*LIVE, LIVE[0], ["read", 5], ["read", 7], ["read", 8]]) == [
        {"after": 5, "events": ["six seven ", "eight ", "done"]},
        {"after": 7, "events": ["eight ", "done"]},
        {"after": 8, "events": ["done"]},
    ]
    with pytest.raises(Error, match="not suited"):
        page.evaluate(HEARD, [*LIVE, ["read", 6]])
