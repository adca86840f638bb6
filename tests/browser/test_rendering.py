"""Answers as they grow: however a text is cut, what is seen in the end is what the whole of it looks like."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import answer, ask, finished, said, session_id
from tests.browser.conftest import OpenPage
from tests.conftest import StartServer
from tests.servers import Server

pytestmark = pytest.mark.browser

RUNTIMES = ("eventlet",)
"""What is seen here does not depend on it."""

DRAWING = """
const { Prose } = await import("/static/js/prose/prose.js");
const late = [];
const begin = () => {
    const place = document.createElement("div");
    const prose = new Prose(place, () => late.push(prose));
    return { place, prose, more: (text) => { prose.append(text); prose.work(Infinity); } };
};
const end = ({ place, prose }) => {
    prose.end();
    prose.work(Infinity);
    return place;
};
const grown = (parts) => {
    const begun = begin();
    parts.forEach(begun.more);
    return end(begun);
};
// Where there is hardly any time to draw in between.
const hurried = (parts) => {
    const begun = begin();
    parts.forEach((text, n) => {
        begun.prose.append(text);
        begun.prose.work(n % 3 === 2 ? Infinity : 0);
    });
    return end(begun);
};
const look = (place) => {
    const copy = place.cloneNode(true);
    copy.normalize();
    return copy.innerHTML;
};
"""
"""`grown(parts)` is where an answer that came in these parts was drawn; `look` is its HTML."""

TEXTS = {
    "headings": (
        "# One\n\nTwo\n===\n\nThree\n---\n\n#### Four ##\n#Not\n\n####### seven\n\na\nb\n---\n\n"
        "---\n\n***\n- - -\n"
    ),
    "crlf": ("# One\r\n\r\n- a\r\n- b\r\n\r\n```py\r\nx = 1\r\n\r\ny = 2\r\n```\r\nend\rlone\r\n"),
    "tabs": (
        "-\tone\n\n\ttwo\n\n\t\tcode\n\n>\t\tquoted code\n\n1.\tten\n\n\tmore\n\n"
        "\tcode\twith\ttabs\n\n\n\n\tand more\n"
    ),
    "fences": (
        "````md\n```js\nlet x = `1`;\n```\n````\n~~~ python extra\n```\n~~~\n\n> ```\n"
        "> in a quote\nout of it\n\n- ```sh\n  ls\n  ```\n- after\n\n```no ` fence``` text\n\n"
        "   ```\n   indented\n  two\n```\n"
    ),
    "open fence": "Here:\n\n```python\ndef f():\n    return '''\n\n  text\n",
    "html": (
        '<div>\n<b>bold</b> <i onclick="x">no</i>\n\n</div>\n\n<!-- a\n\ncomment -->\nafter\n\n'
        "<details>\n<summary>More</summary>\n\ntext\n\n</details>\n\n"
        "<b>bare</b> and <br> and H<sub>2</sub>O &amp; &copy; <x-y>\ntext\n<pre>\n\nin\n</pre>\n"
    ),
    "setext": "a\nb\n===\nc\n---\n- d\n---\n> e\n---\nf\n-\n\n[x]: /u\n===\n",
    "lazy": ("> one\ntwo\n\n> - a\nb\n> c\n\n1. one\ntwo\n   three\n\n> > deep\n> back\nlazy\n"),
    "tight": "- a\n- b\n  - c\n  - d\n    1. e\n    2. f\n- g\n",
    "loose": ("- a\n- b\n\n- c\n\n1. x\n\n   y\n2. z\n\n- t\n  - u\n\n    v\n- w\n\n* q\n  > r\n  >\n* s\n"),
    "empty items": ("-\n- a\n-   \n\n- b\n\n-\n\n  no\n\n+ x\n1.\n2. y\n\n10) z\n11) zz\n1) zzz\n"),
    "starts": "7. seven\n8. eight\n\ntext\n2. not a list\n1. a list\n\n003. three\n",
    "tasks": ("- [ ] open\n- [x] done\n- [X] **done**\n- [y] no\n- [ ]no\n1. [x] one\n- [ ]\n"),
    "tables": (
        "| a | b |\n|---|:-:|\n| 1 | `x|y` |\n| 2 \\| 3 | **b** | extra |\n| only |\n\nfoo\nx | y\n"
        "--|--\n1 | 2\n> quote\n\n| no | table |\n| -- |\n\n| a |\n|---|\n# heading\n\n"
        "- | a | b |\n  |--:|---|\n  | 1 | 2 |\n\n| late |\n"
    ),
    "long table": "| n | m |\n|---|---|\n" + "".join(f"| {n} | *m* |\n" for n in range(103)) + "it\n",
    "rules": "a\n\n---\nb\n***\nc\n___\n\n* * *\n\n-----\n--\n\n+++\n",
    "references": (
        "[one] and [two][1] and [Three][] ![img][one] [none]\n\n- [one]\n\n| [one] | b |\n"
        '|---|---|\n| x | [two][1] |\n\n# [one]\n\n[one]: https://one.test/ "First"\n'
        "[1]: <https://two.test/a b>\n[three]:\n  https://three.test\n'T'\n\n"
        "[one]: https://other.test\n[bad]: \n\n> [quoted]: https://quoted.test\n\n[quoted] [Ḿ]\n\n"
        "[ḿ]: https://m.test\n"
    ),
    "emphasis": (
        "**bold *both* bold** _it_ ~~del~~ ~one~ ***x*** snake_case_word 2*3*4 **open\n"
        "still** * alone _\n\n`code ** x` ``a ` b``  \nhard\\\n"
        'break [link *em*](https://l.test "t") <https://auto.test> https://bare.test/x_y_z. me@mail.test\n'
    ),
    "open": "text **bold and `code and [link](https://x",
    "math": (
        "Price $5 and $6, $a_1*b*c_2$ and \\(x_1 * y_2\\) *em $*$ em*\n\n$$\n\\frac{a}{b} * c_*\n"
        "\\\\ x\n$$\n\n\\[ a*b*c \\]\n\n\\[\nx\n\\]\nafter $$y*z*w$$ in\n\n$$ never\n\n"
        "closed \\[ not \\] math\n"
    ),
    "scripts": (
        "שלום **עולם** abc\n\n- مرحبا\n- hello\n\n"
        "👩\u200d👩\u200d👧\u200d👦 🇩🇪 e\u0301\u0323 𝒳𝒴 🏽 a\u0300\u0301\u0302\n\n> اقتباس\n\n"
        "| א | b |\n|---|---|\n| 👍🏽 | ñ |\n"
    ),
    "indented": ("    code\n\n    more\n\n\n  text\n      lazy text\n\n1. a\n\n       code\n"),
    "spaces": "   \n\n  a  \n  b   \n\n\n\nx\xa0y\n\tc\n- \n\n\n",
    "escapes": ("\\*no\\* \\# \\[x\\] \\` &lt; &#42; \\\\ \\\n\n\\- a\n\n1\\. b\n\n5 * 3 < 4 > 2 & x\n"),
}
"""What is easily mistaken when only part of it is there."""

WORDS = (
    "word", "**", "*", "_", "`", "``", "```", "~~~", "\n", "\n\n", "\n", " ", "  ", "    ", "\t",
    "- ", "1. ", "2) ", "> ", "# ", "## ", "|", "| a | b |\n|---|---|\n", "[", "](", ")", "]",
    "[x]", "[x]: /u\n", "<b>", "</b>", "<div>", "---", "===", "$", "$$", "\\", "\\(", "\\)", "!",
    "\r\n", "\r", "~~", "&amp;", "https://x.test ", "é", "👍🏽", "שלום", "- [ ] ", "<!--", "-->",
    "\n- ", "\n  - ", "\n> ", "\n\n    ",
)  # fmt: skip
"""What the texts of chance are made of."""


def parts(text: str, rng: random.Random) -> list[str]:
    """A text cut in random places: also within what is two characters to JavaScript, as tokens may be."""
    units = text.encode("utf-16-le", "surrogatepass")
    count = len(units) // 2
    size = rng.choice((1, 3, 8, 40))
    places = [0, *(n for n in range(1, count) if rng.random() < 1 / size), count]
    return [units[2 * a : 2 * b].decode("utf-16-le", "surrogatepass") for a, b in pairwise(places)]


def differences(page: Page, cases: list[list[str]]) -> list[Any]:
    script = f"""async (cases) => {{
        {DRAWING}
        return cases.map((units) => {{
            const parts = units.map((codes) => String.fromCharCode(...codes));
            const other = look(grown([parts.join("")]));
            const one = [grown, hurried].map((way) => look(way(parts))).find((each) => each !== other);
            if (one === undefined) return null;
            const at = [...one].findIndex((mark, nth) => mark !== other[nth]);
            const around = (html) => html.slice(Math.max(0, at - 60), at + 60);
            return [parts, around(one), around(other)];
        }}).filter(Boolean).slice(0, 3);
    }}"""
    return page.evaluate(script, [[codes(part) for part in case] for case in cases])


def codes(text: str) -> list[int]:
    """As JavaScript counts, which JSON cannot say of half a character."""
    units = text.encode("utf-16-le", "surrogatepass")
    return [int.from_bytes(units[n : n + 2], "little") for n in range(0, len(units), 2)]


@pytest.fixture
def page(server: Server, open_page: OpenPage) -> Page:
    return open_page(server.url).page


def test_a_text_looks_the_same_however_it_came(page: Page) -> None:
    rng = random.Random(1)
    each = [text for text in TEXTS.values() for _ in range(8)]
    all_of_them = ["\n\n".join(rng.sample(list(TEXTS.values()), 5)) for _ in range(10)]
    assert differences(page, [parts(text, rng) for text in each + all_of_them]) == []


def test_a_text_of_chance_looks_the_same_however_it_came(page: Page) -> None:
    rng = random.Random(2)
    texts = ["".join(rng.choices(WORDS, k=rng.randint(3, 60))) for _ in range(300)]
    assert differences(page, [parts(text, rng) for text in texts]) == []


OWN_WAYS = {"html", "math", "escapes", "lazy", "long table"}
"""Where marked differs: it shows what tags do, knows no formulas, does not let a line go on lazily in a list
in a quote, as CommonMark has it, and has one body for all rows of a table."""


def test_blocks_are_those_that_marked_finds(page: Page) -> None:
    texts = [text for name, text in TEXTS.items() if name not in OWN_WAYS]
    script = f"""async (texts) => {{
        {DRAWING}
        const {{ Marked }} = await import("/static/vendor/marked/marked.esm.js");
        const {{ default: purify }} = await import("/static/vendor/dompurify/purify.es.js");
        const renderer = {{
            checkbox: ({{ checked }}) => (checked ? "☑ " : "☐ "),
            image: ({{ href, text }}) => `<span><a href="${{href}}">${{text}}</a></span>`,
        }};
        const marked = new Marked({{ renderer }});
        const kept = ["href", "start", "align"];
        const blocks = "p, h1, h2, h3, h4, ul, ol, li, blockquote, pre, table, thead, tbody, tr, th, td, hr";
        const plain = (place) => {{
            place.querySelectorAll(".code-head").forEach((head) => head.remove());
            for (const each of place.querySelectorAll(".code, .table, .part, li > p")) {{
                each.replaceWith(" ", ...each.childNodes, " ");
            }}
            for (const each of place.querySelectorAll(blocks)) each.replaceWith(" ", each, " ");
            for (const each of place.querySelectorAll("*")) {{
                const others = each.getAttributeNames().filter((name) => !kept.includes(name));
                others.forEach((name) => each.removeAttribute(name));
            }}
            return place.innerHTML.replace(/\\s+/g, " ").replace(/ ?(<[^>]*>) ?/g, "$1");
        }};
        return texts.map((text) => {{
            const place = document.createElement("div");
            place.append(purify.sanitize(marked.parse(text), {{ RETURN_DOM_FRAGMENT: true }}));
            return [plain(grown([text])), plain(place)];
        }});
    }}"""
    for ours, theirs in page.evaluate(script, texts):
        assert ours == theirs


HALF = [
    ("Some **bold te", "<p>Some <strong>bold te</strong></p>"),
    ("Some **bold text*", "<p>Some <strong>bold text</strong></p>"),
    ("Some **", "<p>Some</p>"),
    ("*it **both", "<p><em>it <strong>both</strong></em></p>"),
    ("5 * 3 and snake_case", "<p>5 * 3 and snake_case</p>"),
    ("`code **x", "<p><code>code **x</code></p>"),
    ("a `", "<p>a</p>"),
    ("see [the text](htt", "<p>see the text</p>"),
    ("see [the text](https://x.test)", '<p>see <a href="https://x.test">the text</a></p>'),
    ("```", ""),
    ("```py", "<pre><code></code></pre>"),
    ("```py\nx = 1\n``", "<pre><code>x = 1</code></pre>"),
    ("text\n-", "<p>text</p>"),
    ("text\n- i", "<p>text</p><ul><li><p>i</p></li></ul>"),
    ("- [x", ""),
    ("1", ""),
    ("## He", "<h2>He</h2>"),
    ("| a | b", "<table><thead><tr><th>a</th><th>b</th></tr></thead></table>"),
    ("| a | b |\n", "<table><thead><tr><th>a</th><th>b</th></tr></thead></table>"),
    ("| a | b |\n|--", "<table><thead><tr><th>a</th><th>b</th></tr></thead></table>"),
    ("$$\nx_1*y_2*", "<div>$$\nx_1*y_2*</div>"),
    ("[x]: htt", "<p></p>"),
]
"""Beginnings, and what is seen of them; what is not yet known to be one thing or another is not shown."""


def test_what_is_half_there_looks_as_it_will_be(page: Page) -> None:
    script = f"""(beginnings) => (async () => {{
        {DRAWING}
        return beginnings.map((text) => {{
            const begun = begin();
            [...text].forEach(begun.more);
            const {{ place }} = begun;
            place.querySelectorAll(".code-head").forEach((head) => head.remove());
            const boxes = place.querySelectorAll("div:not(.math), span");
            boxes.forEach((box) => box.replaceWith(...box.childNodes));
            for (const each of place.querySelectorAll("*")) {{
                const others = each.getAttributeNames().filter((name) => name !== "href");
                others.forEach((name) => each.removeAttribute(name));
            }}
            place.normalize();
            return place.innerHTML.trimEnd();
        }});
    }})()"""
    seen = page.evaluate(script, [text for text, _ in HALF])
    assert dict(zip([text for text, _ in HALF], seen, strict=True)) == dict(HALF)


FORMULAS = [
    ("It is $a_1*b*c_2$, *and $*$ it*.", ["$a_1*b*c_2$", "$*$"]),
    ("Then \\(x_1 * y_2\\), $$y*z*w$$ and \\[ a \\]", ["\\(x_1 * y_2\\)", "$$y*z*w$$", "\\[ a \\]"]),
    (
        "$$\n\\frac{a}{b} * c_*\n\\\\ x\n$$\n\\[\nx*y*z\n\\]",
        ["$$\n\\frac{a}{b} * c_*\n\\\\ x\n$$", "\\[\nx*y*z\n\\]"],
    ),
    ("It costs $5, or $6 to $7; US$5 to US$ 6, \\$x$ and $ x $ or `$y$`", []),
]


def test_formulas_stay_as_they_were_written_and_money_is_none(page: Page) -> None:
    script = f"""async (texts) => {{
        {DRAWING}
        const formulas = (place) => [...place.querySelectorAll(".math")].map((each) => each.textContent);
        return texts.map((text) => formulas(grown([text])));
    }}"""
    assert page.evaluate(script, [text for text, _ in FORMULAS]) == [found for _, found in FORMULAS]


LONG = {
    "prose": "## Heading\n\nSome **bold** text with `code` and [a link](https://x.test).\n\n- one\n- two\n\n",
    "code": "x = 'a string'  # and what it is for\n",
    "list": "- an item with **bold** text\n  - and one in it\n",
    "quote": "> > quoted **text** that goes on\n",
    "table": "| one | **two** | three |\n",
    "paragraph": "words with **bold** ones, `code`, and more of them ",
    "word": "endless",
}
BEFORE = {"code": "```py\n", "table": "| a | b | c |\n|---|---|---|\n"}


def test_a_token_changes_as_little_late_as_early(page: Page) -> None:
    """How much of the page changes is what can be counted; what it costs, `make bench-page` measures."""
    script = f"""async ([before, part, times]) => {{
        {DRAWING}
        const {{ place, prose, more }} = begin();
        document.body.append(place);
        const watcher = new MutationObserver(() => {{}});
        watcher.observe(place, {{ subtree: true, childList: true, characterData: true, attributes: true }});
        more(before);
        const tokens = part.repeat(times).match(/.{{1,8}}/gs);
        const quarter = tokens.length >> 2;
        let changed = 0;
        const counts = [0, 1, 2, 3].map((nth) => {{
            tokens.slice(nth * quarter, (nth + 1) * quarter).forEach((token) => {{
                more(token);
                for (const {{ addedNodes, removedNodes, type }} of watcher.takeRecords()) {{
                    changed += type === "childList" ? addedNodes.length + removedNodes.length : 1;
                }}
            }});
            return changed;
        }});
        const kept = place.firstElementChild;
        const first = kept.textContent.slice(0, 20);
        prose.end();
        prose.work(Infinity);
        const atEnd = watcher.takeRecords().length;
        return [counts, atEnd, kept.isConnected && kept.textContent.startsWith(first)];
    }}"""
    for name, part in LONG.items():
        counts, at_end, stays = page.evaluate(script, [BEFORE.get(name, ""), part, 20_000 // len(part)])
        early, late = counts[0], counts[3] - counts[2]
        assert late <= early * 1.2 + 20, name
        assert at_end <= 40, name
        assert stays, name


def test_what_is_selected_stays_selected(page: Page) -> None:
    script = f"""async () => {{
        {DRAWING}
        const {{ place, prose, more }} = begin();
        document.body.append(place);
        more("First **paragraph** of it.\\n\\n- item one\\n- item t");
        getSelection().selectAllChildren(place.querySelector("li"));
        const item = ["wo", " of", " **the", " list**\\n", "\\n", "- loose", "\\n\\n"];
        [...item, "# Head", "ing\\n\\n", "end"].forEach(more);
        const ofItem = String(getSelection());
        getSelection().selectAllChildren(place.querySelector("strong"));
        prose.end();
        prose.work(Infinity);
        return [ofItem.trim(), String(getSelection())];
    }}"""
    assert page.evaluate(script) == ["item one", "paragraph"]


def test_only_what_a_late_definition_is_about_is_drawn_again(page: Page) -> None:
    script = f"""async () => {{
        {DRAWING}
        const {{ place, prose, more }} = begin();
        const lines = Array.from({{ length: 400 }}, (_, nth) => (nth % 100 ? "Text [other]" : "See [this]"));
        more(lines.join("\\n\\n") + "\\n\\n| [this] | b |\\n|---|---|\\n| `x` | [This][] |\\n\\n");
        const watcher = new MutationObserver(() => {{}});
        watcher.observe(place, {{ subtree: true, childList: true, characterData: true }});
        more("[this]: https://x.test\\n\\nEnd");
        const changed = new Set(watcher.takeRecords().map(({{ target }}) => target));
        return [place.querySelectorAll("a").length, changed.size];
    }}"""
    links, changed = page.evaluate(script)
    assert links == 6
    assert changed <= 10


def test_drawing_stops_when_its_time_is_over_and_goes_on_later(page: Page) -> None:
    script = f"""async (texts) => {{
        {DRAWING}
        return texts.map((text) => {{
            const begun = begin();
            begun.prose.append(text);
            begun.prose.end();
            let slices = 1;
            while (!begun.prose.work(performance.now())) slices++;
            return [slices, look(begun.place) === look(grown([text]))];
        }});
    }}"""
    late = "\n\n[x]: https://x.test\n"
    texts = [BEFORE.get(name, "") + part * 200 + "[x]" + late for name, part in LONG.items()]
    for name, (slices, is_same) in zip(LONG, page.evaluate(script, [*texts]), strict=True):
        assert slices > 1, name
        assert is_same, name


ANSWER = """A paragraph.

```python
total = 0
```

| a | b |
|---|---|
| 1 | 2 |

שלום עולם

- مرحبا
"""


def test_code_and_tables_are_reached_by_keyboard_and_code_is_copied(
    server: Server, open_page: OpenPage
) -> None:
    page = open_page(server.url, permissions=["clipboard-read", "clipboard-write"]).page
    ask(page, f"[[demo echo]] {ANSWER}")
    prose = finished(page).locator(".prose")
    for name in ("Code, python", "Table"):
        region = prose.get_by_role("region", name=name)
        expect(region).to_have_attribute("tabindex", "0")
        region.focus()
        expect(region).to_be_focused()
    expect(prose.locator(".code-head")).to_contain_text("python")
    prose.get_by_role("button", name="Copy the code").click()
    expect(prose.locator(".copy")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "total = 0"
    directions = "(all) => all.map((each) => getComputedStyle(each).direction)"
    assert prose.locator("p").evaluate_all(directions) == ["ltr", "rtl", "rtl"]
    assert prose.locator("ul").evaluate_all(directions) == ["rtl"]


def test_a_long_answer_is_all_there_as_it_came_and_as_it_is_stored(
    share_server: StartServer, open_page: OpenPage
) -> None:
    """Of 100,000 characters, most of them in one block of code, which is drawn in parts."""
    server = share_server(DEMO_TOKENS_PER_SECOND="0", MAX_ANSWER_TOKENS="30000")
    page = open_page(server.url).page
    code = "```python\n" + "".join(f"line_{n} = '{n}'  # what it is for\n" for n in range(60))
    ask(page, f"[[demo echo tokens=25000]] {code}")
    for _ in ("as it came", "as it is stored"):
        expect(finished(page)).not_to_have_attribute("aria-busy", "true")
        prose = answer(page).locator(".prose")
        expect(prose.locator(".part span[class^=hljs]").first).to_be_visible()
        (answered,) = said(server, session_id(page))
        assert len(answered) > 100_000
        shown, selected = prose.locator("code").evaluate(
            """(code) => {
                getSelection().selectAllChildren(code);
                return [code.textContent, String(getSelection())];
            }"""
        )
        assert shown == answered.removeprefix("```python\n").rstrip("\n")
        assert selected.rstrip("\n") == shown
        page.reload()
