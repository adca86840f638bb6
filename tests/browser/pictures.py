"""Pictures of the page in every state a person may find it in: `python -m tests.browser.pictures FOLDER`.

Those that the README shows are made with it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.chat import ask, finished, new_chat
from tests.conftest import ARGS, CHROMIUM
from tests.servers import Server, servers

DESKTOP = {"viewport": {"width": 1280, "height": 800}}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
    "device_scale_factor": 2,
}
TALK = (
    "Explain how streaming APIs keep their promises",
    "A calm plan for a day in Lisbon",
    "Names for a cat",
)
ENV = {"STORE_URL": "memory://", "DEMO_TOKENS_PER_SECOND": "400"}


def talk(page: Page) -> None:
    for text in TALK:
        new_chat(page)
        ask(page, text)
        finished(page)


def empty(page: Page, _: Server) -> None:
    talk(page)
    new_chat(page)


def streaming(page: Page, _: Server) -> None:
    talk(page)
    new_chat(page)
    ask(page, "Compare three ways to stream an answer")
    page.locator(".answer.live .prose table td").nth(5).wait_for()


def code_and_table(page: Page, _: Server) -> None:
    ask(page, "Compare three ways to stream, with code")
    finished(page).locator("pre span[class^=hljs]").first.wait_for()
    page.locator(".answer table").evaluate("(table) => table.scrollIntoView({ block: 'center' })")


def reconnecting(page: Page, server: Server) -> None:
    ask(page, "Explain how streaming APIs keep their promises")
    page.locator(".answer.live .prose li").nth(1).wait_for()
    server.kill()
    page.get_by_text("reconnecting…").wait_for()


def error(page: Page, _: Server) -> None:
    ask(page, "[[demo fail=60]] Explain what can go wrong")
    page.locator(".note.problem").wait_for()


def rate_limited(page: Page, _: Server) -> None:
    for text in (*TALK, "And one more"):
        ask(page, text)
        page.locator("#stop").wait_for(state="hidden")
    page.locator(".note.wait").wait_for()


def signed_out(page: Page, _: Server) -> None:
    page.get_by_role("dialog", name="Sign in").wait_for()


def session_list(page: Page, _: Server) -> None:
    talk(page)
    page.locator(".session").nth(1).hover()
    page.locator(".more").nth(1).click()


def versions(page: Page, _: Server) -> None:
    ask(page, "[[demo tokens=60]] Why is the sky blue?")
    finished(page)
    page.get_by_role("button", name="Answer again").click()
    page.get_by_role("group", name="Versions").wait_for()
    finished(page)


STATES: dict[str, tuple[Callable[[Page, Server], None], dict[str, str], dict[str, Any]]] = {
    "empty": (empty, {}, DESKTOP),
    "streaming": (streaming, {"DEMO_TOKENS_PER_SECOND": "120"}, DESKTOP),
    "code-and-table": (code_and_table, {}, DESKTOP),
    "reconnecting": (reconnecting, {"DEMO_TOKENS_PER_SECOND": "40"}, DESKTOP),
    "error": (error, {}, DESKTOP),
    "rate-limited": (rate_limited, {"RATE_LIMIT": "3/minute"}, DESKTOP),
    "signed-out": (signed_out, {"AUTH": "required"}, DESKTOP),
    "session-list": (session_list, {}, DESKTOP),
    "versions": (versions, {}, DESKTOP),
    "phone": (code_and_table, {}, PHONE),
    "dark": (code_and_table, {}, {**DESKTOP, "color_scheme": "dark"}),
}


def take(browser: Browser, folder: Path, name: str) -> None:
    act, env, screen = STATES[name]
    with tempfile.TemporaryDirectory() as place, servers(Path(place)) as started:
        started.append(Server(Path(place), {**ENV, **env}))
        context = browser.new_context(**screen)
        page = context.new_page()
        page.goto(started[0].url)
        act(page, started[0])
        page.wait_for_timeout(100)  # what moves has come to rest
        page.screenshot(path=folder / f"{name}.png")
        context.close()


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        for name in STATES:
            take(browser, folder, name)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
