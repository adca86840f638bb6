"""What a model writes is looked at, and does nothing."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.chat import ask, finished
from tests.browser.conftest import OpenPage
from tests.servers import Server

pytestmark = pytest.mark.browser

RUNTIMES = ("eventlet",)
"""What is seen here does not depend on it: test_transports and test_coming_back try both."""

HOSTILE = """\
<script>window.hit = 1; alert(1)</script>

A <b onmouseover="window.hit=1">tag</b> <img src=x onerror="window.hit=1"> <svg onload="window.hit=1"></svg>

<iframe src="javascript:parent.hit=1"></iframe><object data="http://evil.test/o"></object>

<form action="http://evil.test/"><input name=q><button>go</button></form><base href="http://evil.test/">

<meta http-equiv="refresh" content="0;url=http://evil.test/"><style>body{background:url(http://evil.test/s)}</style>

![pixel](http://evil.test/p.png) ![bad](javascript:window.hit=1)

[one](javascript:window.hit=1) [two](data:text/html,<script>alert(1)</script>) [three](vbscript:x)
[four](JaVaScRiPt:window.hit=1) [five](java&#10;script:window.hit=1) <javascript:window.hit=1>
[six](//evil.test/) [good](https://good.test/ "title")

<details open ontoggle="window.hit=1"><summary>more</summary></details>

```html"><img src=x onerror=window.hit=1>
<script>window.hit = 1</script>
```

| a |
|---|
| <img src=x onerror=window.hit=1> |

the end of it
"""


def test_a_hostile_answer_does_nothing(server: Server, open_page: OpenPage) -> None:
    visit = open_page(server.url)
    page = visit.page
    ask(page, f"[[demo echo]] {HOSTILE}")
    for _ in ("as it came", "as it is stored"):
        prose = finished(page).locator(".prose")
        expect(prose).to_contain_text("the end of it")
        forbidden = "script, img, svg, iframe, object, embed, form, input, base, meta, style, link, [style]"
        expect(prose.locator(forbidden)).to_have_count(0)
        attributes = prose.locator("*").evaluate_all("all => all.flatMap((each) => each.getAttributeNames())")
        assert not [name for name in attributes if name.startswith("on")]
        links = prose.locator("a[href]").evaluate_all(
            "all => all.map((a) => [a.textContent, a.href, a.rel, a.target])"
        )
        safe = ["noopener noreferrer", "_blank"]
        assert links == [["pixel", "http://evil.test/p.png", *safe], ["good", "https://good.test/", *safe]]
        for text in ("one", "two", "four", "five"):
            prose.get_by_text(text, exact=True).first.click()
        # Shown, not swallowed: what a model says in tags can be read.
        expect(prose).to_contain_text("<script>window.hit = 1; alert(1)</script>")
        page.reload()
    assert page.evaluate("window.hit") is None
    assert visit.dialogs == []
    assert visit.abroad == []
    assert visit.errors == []


def test_markup_that_reached_the_sanitiser_would_be_harmless_too(server: Server, open_page: OpenPage) -> None:
    visit = open_page(server.url)
    html = visit.page.evaluate(
        """async (html) => {
            const { sanitise } = await import("/static/js/markdown.js");
            const box = document.createElement("div");
            box.append(sanitise(html));
            document.body.append(box);
            return box.innerHTML;
        }""",
        '<script>window.hit=1</script><img src=x onerror="window.hit=1"><a href="javascript:window.hit=1" '
        'onclick="window.hit=1" style="x" id="status">a</a><a href="https://good.test/">b</a>'
        '<p class="note problem">c</p><svg><style><img src=x onerror=window.hit=1></style></svg>'
        "<math><mtext><table><mglyph><style><img src=x onerror=window.hit=1>",
    )
    assert '<a>a</a><a href="https://good.test/">b</a><p>c</p>' in html
    assert not re.search(r"<(script|img|svg|math|style|mglyph)|on\w+=", html.replace("&lt;", ""))
    assert visit.page.evaluate("window.hit") is None
    assert visit.dialogs == []
    # The browser says that it blocked a handler when the sanitiser parses one.
    assert visit.violations == visit.errors
    visit.errors.clear()


def test_a_question_is_shown_as_it_was_typed(server: Server, open_page: OpenPage) -> None:
    visit = open_page(server.url)
    typed = "<img src=x onerror=window.hit=1> **not bold**\n  and a second line"
    visit.page.get_by_role("textbox", name="Your message").fill(typed)
    visit.page.keyboard.press("Enter")
    finished(visit.page)
    for _ in ("as asked", "as stored"):
        assert visit.page.locator(".question .bubble").text_content() == typed
        assert visit.page.evaluate("window.hit") is None
        visit.page.reload()
        finished(visit.page)
