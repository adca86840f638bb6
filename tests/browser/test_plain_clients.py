"""What a web developer writes in five minutes, in the real browser."""

from __future__ import annotations

import pytest

from tests.browser.conftest import OpenPage
from tests.clients import ask, get
from tests.line import line_to
from tests.servers import Server

pytestmark = pytest.mark.browser

RUNTIMES = ("eventlet",)
"""What is seen here does not depend on it: test_transports and test_coming_back try both."""

NAIVE_FETCH = """
async (message) => {
  const response = await fetch("/api/chat/stream", { method: "POST", body: JSON.stringify({ message }) });
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return { text, ended: false };
    const lines = (rest + decoder.decode(value, { stream: true })).split("\\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: ")) continue;
      const event = JSON.parse(line.slice(6));
      if (event.done) return { text, ended: event.full_response === text };
      text += event.token;
    }
  }
}
"""

EVENT_SOURCE = """
(url) => {
  window.seen = { text: "", opens: 0, closed: false, done: false };
  const source = new EventSource(url);
  source.onopen = () => window.seen.opens++;
  source.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    if (event.done) window.seen.done = true;
    else window.seen.text += event.token;
  };
  source.onerror = () => { window.seen.closed = source.readyState === EventSource.CLOSED; };
}
"""


def test_a_page_that_only_fetches_and_splits_lines_works(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url).page
    assert page.evaluate(NAIVE_FETCH, "[[demo echo]] héllo\u2028wörld 😀 end") == {
        "text": "héllo\u2028wörld 😀 end",
        "ended": True,
    }


def test_an_event_source_on_a_running_stream_survives_a_cut_and_ends_by_itself(
    server: Server, open_page: OpenPage
) -> None:
    words = " ".join(f"word{n}" for n in range(200))
    following = ask(server, f"[[demo echo tps=40]] {words}", session_id="s")
    with line_to(server.port) as line:
        page = open_page(line.url, bypass_csp=True).page
        page.evaluate(EVENT_SOURCE, f"/api/chat/streams/{following.stream_id}?partial=false")
        page.wait_for_function("window.seen.text.includes('word20 ')")
        line.cut()
        page.wait_for_function("window.seen.closed", timeout=60_000)
        seen = page.evaluate("window.seen")
    assert seen["opens"] == 2, "it came back once, and not again after the end"
    assert seen["done"]
    assert seen["text"] == words
    assert get(server, "/api/chat/sessions/s")["messages"][-1]["content"] == words
