"""The page for everyone: by keyboard alone, by ear, on any screen, in any script."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.axe import violations
from tests.browser.chat import answer, ask, counting, finished, wait_for_words
from tests.browser.conftest import OpenPage
from tests.conftest import StartServer
from tests.servers import Server

pytestmark = pytest.mark.browser

RUNTIMES = ("eventlet",)
"""What is seen here does not depend on it: test_transports and test_coming_back try both."""

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DESKTOP = {"viewport": {"width": 1280, "height": 800}}


@pytest.mark.parametrize(
    "screen",
    [
        {**DESKTOP, "color_scheme": "light"},
        {**PHONE, "color_scheme": "dark"},
    ],
    ids=["desktop light", "phone dark"],
)
def test_no_state_of_the_page_violates_the_guidelines(
    share_server: StartServer, open_page: OpenPage, screen: dict[str, Any]
) -> None:
    server = share_server(RATE_LIMIT="6/minute", TRUSTED_PROXIES="1", ALLOWED_HOSTS="*")
    # Each its own caller.
    headers = {"X-Forwarded-For": f"10.0.0.{len(str(screen))}"}
    page = open_page(server.url, extra_http_headers=headers, **screen).page
    assert violations(page) == [], "empty"
    ask(page, "Show [[demo tps=150]] code and a table")
    expect(page.locator(".answer.live .prose").locator("h2")).to_be_visible()
    assert violations(page) == [], "streaming"
    finished(page)
    assert violations(page) == [], "code and a table"
    page.get_by_role("button", name="Answer again").click()
    finished(page)
    page.get_by_role("button", name="The version before").click()
    assert violations(page) == [], "versions"
    page.get_by_role("textbox", name="Your message").press("ArrowUp")
    assert violations(page) == [], "editing"
    page.keyboard.press("Escape")
    ask(page, "[[demo fail=5]] it breaks off")
    expect(finished(page).locator(".note.problem")).to_be_visible()
    assert violations(page) == [], "broken off"
    page.get_by_role("button", name="Settings").click()
    assert violations(page) == [], "settings"
    page.keyboard.press("Escape")
    page.locator("body").press("?")
    assert violations(page) == [], "shortcuts"
    page.keyboard.press("Escape")
    if screen.get("is_mobile"):
        page.get_by_role("button", name="Chats", exact=True).tap()
    page.get_by_role("button", name="More of").first.click()
    assert violations(page) == [], "a chat's menu"
    page.get_by_role("menuitem", name="Rename").click()
    assert violations(page) == [], "renaming"
    page.keyboard.press("Escape")
    page.get_by_role("button", name="More of").first.click()
    page.get_by_role("menuitem", name="Delete").click()
    assert violations(page) == [], "deleted"
    if screen.get("is_mobile"):
        page.keyboard.press("Escape")
    page.get_by_role("button", name="Undo").click()
    finished(page)
    for n in range(6):
        ask(page, f"[[demo echo tps=0]] {n}")
        expect(page.locator("#stop")).to_be_hidden()
        if page.locator(".note.wait").count():
            break
    expect(page.locator(".note.wait")).to_be_visible()
    assert violations(page) == [], "too many questions"


def test_signed_out_violates_no_guideline(start_server: StartServer, open_page: OpenPage) -> None:
    page = open_page(start_server(AUTH="required").url).page
    expect(page.get_by_role("dialog", name="Sign in")).to_be_visible()
    assert violations(page) == []
    page.get_by_role("button", name="Sign in").last.click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert violations(page) == []


def test_everything_can_be_done_with_the_keyboard(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url).page
    keys = page.keyboard
    keys.type("[[demo echo]] by keyboard")
    keys.press("Enter")
    expect(finished(page)).to_contain_text("by keyboard")
    tab_to(page, "Edit the question", backwards=True)
    keys.press("Enter")
    keys.press("Control+a")
    keys.type("[[demo echo]] with no mouse")
    keys.press("Enter")
    expect(finished(page)).to_contain_text("with no mouse")
    tab_to(page, "The version before", backwards=True)
    keys.press("Enter")
    expect(answer(page)).to_contain_text("by keyboard")
    expect(page.get_by_role("button", name="The next version")).to_be_focused()
    tab_to(page, "More of “[[demo echo]] by keyboard”", backwards=True)
    keys.press("Enter")
    expect(page.get_by_role("menuitem", name="Rename")).to_be_focused()
    keys.press("ArrowUp")
    expect(page.get_by_role("menuitem", name="Delete")).to_be_focused()
    keys.press("Home")
    keys.press("ArrowDown")
    expect(page.get_by_role("menuitem", name="Export as Markdown")).to_be_focused()
    keys.press("Escape")
    expect(page.get_by_role("menu")).to_be_hidden()
    expect(page.get_by_role("button", name="More of")).to_be_focused()
    keys.press("?")
    shortcuts = page.get_by_role("dialog", name="Keyboard")
    for text in ("Send", "Search the chats", "New chat", "Settings", "Stop the answer"):
        expect(shortcuts).to_contain_text(text)
    keys.press("Escape")
    keys.press("/")
    expect(page.get_by_role("textbox", name="Your message")).to_be_focused()
    keys.type("[[demo tps=10]] slowly")
    keys.press("Enter")
    expect(page.locator(".answer.live h2")).to_be_visible()
    page.get_by_role("searchbox").fill("key")
    keys.press("Escape")
    expect(page.get_by_role("searchbox")).to_have_value("")
    page.get_by_role("button", name="More of").first.click()
    keys.press("Escape")
    expect(page.get_by_role("menu")).to_be_hidden()
    expect(page.locator("#stop")).to_be_visible()
    keys.press("Escape")
    expect(finished(page).locator(".note")).to_contain_text("Stopped.")
    keys.press("Control+Shift+o")
    expect(page.get_by_role("heading", name="What would you like to know?")).to_be_visible()
    keys.press("Control+,")
    expect(page.get_by_role("dialog", name="Settings")).to_be_visible()


def tab_to(page: Page, name: str, *, backwards: bool = False) -> None:
    named = "document.activeElement.getAttribute('aria-label')"
    for _ in range(40):
        page.keyboard.press("Shift+Tab" if backwards else "Tab")
        if page.evaluate(named) == name:
            return
    raise AssertionError(f"{name} cannot be reached")


def test_who_listens_hears_what_happens_and_not_every_token(
    share_server: StartServer, open_page: OpenPage
) -> None:
    page = open_page(share_server().url).page
    page.evaluate("""() => {
        window.heard = [];
        new MutationObserver((changes) => changes.forEach(({ target }) => {
            const live = (target.closest ? target : target.parentElement)
                .closest("[aria-live], [role=alert]");
            if (live) heard.push(live.textContent);
        })).observe(document.body, { subtree: true, childList: true, characterData: true });
    }""")
    ask(page, counting(60, per_second=60))
    expect(answer(page)).to_have_attribute("aria-busy", "true")
    finished(page)
    heard: list[str] = page.evaluate("heard")
    assert [text for text in heard if text] == ["Answering", "The answer is complete"]


@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_any_script_and_any_length_fits(server: Server, open_page: OpenPage, screen: dict[str, Any]) -> None:
    page = open_page(server.url, **screen).page
    arabic = "السلام عليكم ورحمة الله"
    ask(page, f"[[demo echo]] {arabic}")
    finished(page)
    right = "(element) => getComputedStyle(element).direction"
    assert answer(page).locator(".prose > *").first.evaluate(right) == "rtl"
    ask(page, f"{arabic} [[demo echo]]")
    assert page.locator(".bubble").last.evaluate(right) == "rtl"
    finished(page)
    ask(page, "[[demo echo]] " + "Donaudampfschifffahrt" * 60)
    finished(page)
    width = screen["viewport"]["width"]
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for each in page.locator(".bubble, .prose > *").all():
        box = each.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width


def test_who_wants_less_motion_gets_none(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url, reduced_motion="reduce").page
    ask(page, counting(400, per_second=60))
    wait_for_words(page, 3)
    moving: Callable[[], int] = lambda: page.evaluate("document.getAnimations().length")  # noqa: E731
    assert moving() == 0
    page.get_by_role("button", name="Stop").click()
    finished(page)
