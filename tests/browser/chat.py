"""What a person does at the page and sees there, and what the server has kept of it."""

from __future__ import annotations

import json
import re
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.servers import Server


def ask(page: Page, text: str) -> None:
    page.get_by_role("textbox", name="Your message").fill(text)
    page.keyboard.press("Enter")


def new_chat(page: Page) -> None:
    page.get_by_role("link", name="New chat").first.click()
    expect(page.get_by_role("heading", name="What would you like to know?")).to_be_visible()


def choose(page: Page, setting: str, option: str) -> None:
    """In the settings."""
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("combobox", name=setting).select_option(option)
    page.get_by_role("button", name="Done").click()


def do_with(page: Page, title: str, item: str) -> None:
    """Choose from the menu of a chat in the list."""
    page.locator(".session", has_text=title).first.hover()
    page.get_by_role("button", name=f"More of “{title}”").click()
    page.get_by_role("menuitem", name=item).click()


def answer(page: Page) -> Locator:
    """The last one."""
    return page.locator(".answer").last


def finished(page: Page) -> Locator:
    """The last answer, when nothing more will come."""
    expect(page.locator("#stop")).to_be_hidden()
    expect(answer(page)).not_to_have_class(re.compile("live"))
    return answer(page)


def wait_for_words(page: Page, count: int) -> None:
    """Until the answer to `counting` has got to its word number `count`, none left out, and goes on."""
    words = "".join(f"word{n} " for n in range(1, count + 1))
    expect(page.locator(".answer.live .prose")).to_contain_text(words)


def counting(words: int, per_second: int) -> str:
    """A question which is answered with this many numbered words, as plain text."""
    return f"[[demo echo tps={per_second}]] " + " ".join(f"word{n}" for n in range(1, words + 1))


def session_id(page: Page) -> str:
    expect(page).to_have_url(re.compile(r"#/s/[\w-]+$"))
    return page.url.rpartition("/")[2]


def stored(server: Server, session_id: str, token: str | None = None) -> dict[str, Any]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    response = server.pool.request("GET", f"{server.url}/api/chat/sessions/{session_id}", headers=headers)
    assert response.status == 200
    session: dict[str, Any] = json.loads(response.data)
    return session


def said(server: Server, session_id: str, token: str | None = None) -> list[str]:
    """The stored answers."""
    messages = stored(server, session_id, token)["messages"]
    return [each["content"] for each in messages if each["role"] == "assistant"]
