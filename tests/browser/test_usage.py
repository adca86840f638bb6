"""The usage page in Chromium, against the real server: what is shown is what the API says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from backend.ledger.records import Terms
from tests.access import signing
from tests.books import Books, books_of
from tests.browser.conftest import OpenPage
from tests.browser.test_page import PHONE
from tests.fakes.upstream import FakeUpstream
from tests.server.test_jobs import MODELS_FILE, send
from tests.servers import Server, servers

pytestmark = pytest.mark.browser

RUNTIMES = ("eventlet",)
"""What is seen here does not depend on it."""

ADMIN = signing.token(scope="admin")
NOW = datetime.now(UTC).strftime("%Y-%m")
KEYS: dict[str, str] = {}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, runtime_name: str) -> Iterator[Server]:
    """A server on which `busy` has asked two models, one of them by a group, `idle` nothing, and `slow` pays
    for what it takes."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "models.toml").write_text(MODELS_FILE + "[model.fake]\nprice = { input = 3.0, output = 5.0 }\n")
    with servers(folder) as started, FakeUpstream(tokens=40) as upstream:
        env = {"RUNTIME": runtime_name, "DEMO_TOKENS_PER_SECOND": "0", "JWT_SECRET": signing.SECRET}
        theirs = {"OPENAI_BASE_URL": upstream.base_url, "OPENAI_MODELS": "fake"}
        started.append(Server(folder, env | theirs))
        with books_of(started[0]) as books:
            KEYS["busy"] = books.team("busy", 50)
            KEYS["idle"] = books.team("idle", 0)
            KEYS["slow"] = books.team("slow", 9, Terms("consumption_tokens"))
        for model, asked in [("demo", "tokens=700"), ("demo", "fail=3"), ("chat-fast", "")]:
            body = {
                "job_type": "chat",
                "model": model,
                "messages": [{"role": "user", "content": f"[[demo {asked}]]"}],
            }
            send(started[0], "POST /api/jobs/create-and-call", body, KEYS["busy"])
        yield started[0]


@pytest.fixture
def books(shop: Server) -> Iterator[Books]:
    with books_of(shop) as books:
        yield books


def told(server: Server, path: str) -> Any:
    return send(server, f"GET /api/teams/{path}", None, ADMIN).json()


def sign_in(page: Page, key: str) -> None:
    page.get_by_label("Key or token").fill(key)
    page.keyboard.press("Enter")


def opened(open_page: OpenPage, server: Server, key: str, place: str = "", **options: Any) -> Page:
    page = open_page(f"{server.url}/usage{place}", **options).page
    sign_in(page, key)
    return page


def tile(page: Page, name: str) -> Locator:
    return page.locator(".tile").filter(has=page.get_by_text(name, exact=True)).locator("dd").first


def number(shown: str) -> float:
    """What a figure says."""
    return float(shown.replace(",", "").replace("$", "").replace("−", "-").removesuffix(" ms"))


def table(page: Page, chart: str) -> list[list[str]]:
    """Of a chart, its rows, the last of which is the month's; the first cell of each says what it is of."""
    section = page.locator(f"#{chart}")
    section.get_by_text("Table", exact=True).click()
    expect(section.locator("table")).to_be_visible()
    rows = section.locator("tbody tr, tfoot tr").all()
    return [row.locator("th, td").all_inner_texts() for row in rows]


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("", "Paste a key first."),
        ("two words", "This is no key: a key is one long word."),
        ("sk-" + "x" * 43, "not valid"),
        ("nonsense", "not valid"),
        (signing.token(), "This takes a token with the scope admin"),
    ],
)
def test_a_bad_key_is_told_and_not_kept(shop: Server, open_page: OpenPage, key: str, problem: str) -> None:
    page = opened(open_page, shop, key)
    expect(page.get_by_role("alert")).to_contain_text(problem)
    expect(page.locator("#report")).to_be_hidden()
    expect(page.get_by_label("Key or token")).to_be_focused()
    assert page.evaluate("[sessionStorage.length, localStorage.length]") == [0, 0]


def test_a_key_is_kept_by_its_tab_alone_until_one_signs_out(shop: Server, open_page: OpenPage) -> None:
    page = opened(open_page, shop, KEYS["busy"])
    expect(page.get_by_role("heading", level=1, name="busy")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", level=1, name="busy")).to_be_visible()
    assert page.evaluate("[sessionStorage.length, localStorage.length]") == [1, 0]
    assert KEYS["busy"] not in page.content() + page.url
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Key or token")).to_be_focused()
    assert page.evaluate("sessionStorage.length") == 0
    page.reload()
    expect(page.get_by_label("Key or token")).to_be_visible()


def test_what_is_shown_is_what_the_api_says(shop: Server, open_page: OpenPage) -> None:
    page = opened(open_page, shop, KEYS["busy"])
    expect(page.locator("#calls")).to_be_visible()
    usage, rows = told(shop, "busy/usage"), told(shop, "busy/usage/daily")["usage"]
    summary = usage["summary"]
    for name, value in [
        ("Credits spent", summary["credits_spent"]),
        ("Tokens", summary["total_tokens"]),
        ("Calls", summary["total_calls"]),
        ("Time to first token", summary["avg_ttft_ms"]),
        ("Jobs", summary["total_jobs"]),
    ]:
        assert number(tile(page, name).inner_text()) == value, name
    assert number(tile(page, "Spend").inner_text()) == pytest.approx(summary["total_cost_usd"], rel=0.01)
    expect(page.locator(".tile").filter(has_text="Calls")).to_contain_text("1 failed")
    models = sorted({row["model"] for row in rows})
    assert models == ["demo", "fake"]
    of = {
        "spend": lambda row: row["cost_usd"],
        "tokens": lambda row: row["prompt_tokens"] + row["completion_tokens"],
        "calls": lambda row: row["calls"],
    }
    for chart, value in of.items():
        *days, month = table(page, chart)
        assert [day for day, *_ in days] == sorted({row["day"] for row in rows})
        by_model = [sum(value(row) for row in rows if row["model"] == model) for model in models]
        assert [number(cell) for cell in month[1:]] == pytest.approx([*by_model, sum(by_model)])
        expect(page.locator(f"#{chart} .column .bar")).to_have_count(len(rows))
    shown = dict(row for row in table(page, "ttft"))
    for model in models:
        assert number(shown[model]) == usage["models"][model]["avg_ttft_ms"]
    for day, row in usage["days"].items():
        assert number(shown[day]) == row["avg_ttft_ms"]


def test_a_day_is_looked_at_with_the_keys(shop: Server, open_page: OpenPage) -> None:
    page = opened(open_page, shop, KEYS["busy"])
    bars, figure = page.locator("#calls .bars"), page.locator("#calls-figure")
    expect(figure).to_have_text("3")
    bars.focus()
    page.keyboard.press("ArrowRight")
    expect(figure).to_contain_text("·")
    for _ in range(datetime.now(UTC).day - 1):
        page.keyboard.press("ArrowRight")
    expect(figure).to_contain_text("· 3")
    page.keyboard.press("Escape")
    expect(figure).to_have_text("3")


def test_the_ledger_is_shown_page_by_page(shop: Server, open_page: OpenPage, books: Books) -> None:
    for amount in range(1, 26):
        books.accounts.grant("slow", amount, f"gift {amount}")
    page = opened(open_page, shop, KEYS["slow"])
    entries = told(shop, "slow/credits?limit=200")["entries"]
    ledger = page.get_by_role("region", name="Credit ledger")

    def shown() -> list[tuple[str, ...]]:
        return [tuple(row.locator("td.number").all_inner_texts()) for row in ledger.locator("tbody tr").all()]

    def expected(part: list[dict[str, Any]]) -> list[tuple[str, ...]]:
        return [
            (f"+{row['amount']}", str(row["balance"]["free"]), str(row["balance"]["held"])) for row in part
        ]

    expect(page.locator("#place")).to_have_text("1–20")
    assert shown() == expected(entries[:20])
    expect(ledger.locator("tbody tr").first).to_contain_text("Granted gift 25")
    expect(page.locator("#balance")).to_have_text("334 free · 0 held · 0 spent · 334 granted")
    page.get_by_role("button", name="Older").click()
    expect(page.locator("#place")).to_have_text("21–26")
    assert shown() == expected(entries[20:])
    expect(page.get_by_role("button", name="Older")).to_be_disabled()
    page.get_by_role("button", name="Newer").click()
    expect(page.locator("#place")).to_have_text("1–20")


def test_a_team_that_did_nothing_is_told_so(shop: Server, open_page: OpenPage) -> None:
    page = opened(open_page, shop, KEYS["idle"])
    expect(page.get_by_text("No calls in")).to_be_visible()
    expect(page.locator(".charts .card")).to_have_count(0)
    expect(tile(page, "Spend")).to_have_text("$0.00")
    expect(tile(page, "Time to first token")).to_have_text("–")
    expect(page.get_by_text("No credits have been granted yet.")).to_be_visible()


def test_months_are_turned_and_a_wrong_one_is_told(shop: Server, open_page: OpenPage) -> None:
    page = opened(open_page, shop, KEYS["busy"], "#team=busy&month=2026-13")
    expect(page.get_by_role("alert")).to_contain_text("2026-13 is no month")
    expect(page.locator("#figures")).to_be_hidden()
    page.get_by_label("Month", exact=True).last.fill(NOW)
    expect(page.locator("#calls")).to_be_visible()
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.get_by_role("button", name="The month after")).to_be_disabled()
    page.get_by_role("button", name="The month before").click()
    expect(page.get_by_text("No calls in")).to_be_visible()
    page.go_back()
    expect(page.locator("#calls")).to_be_visible()


def test_an_administrator_chooses_the_team(shop: Server, open_page: OpenPage) -> None:
    page = opened(open_page, shop, ADMIN)
    page.get_by_label("Team").select_option("idle")
    expect(page.get_by_text("No calls in")).to_be_visible()
    page.get_by_label("Team").select_option("busy")
    expect(page.get_by_role("heading", level=1, name="busy")).to_be_visible()
    expect(tile(page, "Calls")).to_have_text("3")
    page.reload()
    expect(page.get_by_role("heading", level=1, name="busy")).to_be_visible()


def test_a_key_that_is_revoked_meanwhile_is_asked_for_again(
    shop: Server, open_page: OpenPage, books: Books
) -> None:
    made, key = books.accounts.make_key("busy")
    page = opened(open_page, shop, key)
    expect(page.locator("#calls")).to_be_visible()
    send(shop, f"DELETE /api/admin/keys/{made.key_id}", None, ADMIN)
    page.get_by_role("button", name="The month before").click()
    expect(page.get_by_role("alert")).to_contain_text("no longer valid")
    expect(page.get_by_label("Key or token")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_sticks_out(shop: Server, open_page: OpenPage, scheme: str) -> None:
    page = opened(open_page, shop, KEYS["busy"], color_scheme=scheme, **PHONE)
    expect(page.locator("#calls .column .bar").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["viewport"]["width"]


def test_the_page_has_the_policy_of_the_chat_page(shop: Server) -> None:
    pages = [shop.pool.request("GET", f"{shop.url}{path}") for path in ("/", "/usage")]
    assert [page.status for page in pages] == [200, 200]
    for name in ("Content-Security-Policy", "Cache-Control", "Referrer-Policy"):
        assert pages[0].headers[name] == pages[1].headers[name]
    assert pages[1].headers["ETag"]
