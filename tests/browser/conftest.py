from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request, expect

from backend.runtime import LIBRARIES

PATIENCE_MS = 20_000
TRANSPORTS = ("sse", "socket")
TELL_VIOLATIONS = """
addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI, sample }) =>
    console.error("policy violated:", violatedDirective, blockedURI, sample));
"""


@dataclass
class Visit:
    """A page in a browser of its own, and everything it did that a page should not."""

    page: Page
    home: str
    errors: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    abroad: list[str] = field(default_factory=list)

    def watch(self) -> None:
        page = self.page
        page.add_init_script(TELL_VIOLATIONS)
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", self._interrupted)
        page.on("popup", lambda popup: self.abroad.append(popup.url))
        page.context.on("request", self._requested)

    @property
    def violations(self) -> list[str]:
        marks = ("policy violated", "Content Security Policy", "Trusted")
        return [error for error in self.errors if any(mark in error for mark in marks)]

    @property
    def thrown(self) -> list[str]:
        """Errors other than those of requests that failed."""
        failed = ("Failed to load resource", "WebSocket connection to")
        return [error for error in self.errors if not error.startswith(failed)]

    def _said(self, said: ConsoleMessage) -> None:
        if said.type == "error":
            self.errors.append(said.text)

    def _interrupted(self, dialog: Dialog) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def _requested(self, request: Request) -> None:
        if urlsplit(request.url).netloc != urlsplit(self.home).netloc:
            self.abroad.append(request.url)


OpenPage = Callable[..., Visit]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The page comes back over each transport, and from each runtime, but not over each from each."""
    if config.getoption("runtime"):
        return
    over = dict(zip(LIBRARIES, TRANSPORTS, strict=True))

    def is_wanted(item: pytest.Item) -> bool:
        params = getattr(getattr(item, "callspec", None), "params", {})
        each = item.path.name != "test_coming_back.py" or "transport" not in params
        return each or params["transport"] == over[params["runtime_name"]]

    config.hook.pytest_deselected(items=[item for item in items if not is_wanted(item)])
    items[:] = [item for item in items if is_wanted(item)]


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    """Each of the ways the page gets its answers."""
    name: str = request.param
    return name


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """`open_page(url, transport="socket", viewport=…)` is a visit by somebody new; with `auto` the page has
    to choose itself. No visit may end with a script error or a violated policy, or ask anything of another
    host."""
    expect.set_options(timeout=PATIENCE_MS)
    visits: list[Visit] = []

    def visit(url: str, transport: str = "sse", **options: Any) -> Visit:
        context = browser.new_context(**options)
        context.set_default_timeout(PATIENCE_MS)
        visits.append(Visit(context.new_page(), url))
        visits[-1].watch()
        if transport != "auto":
            chosen = f"localStorage['parley.transport'] ??= '{transport}'"
            context.add_init_script(f"if (location.pathname === '/') {chosen}")
        visits[-1].page.goto(url)
        return visits[-1]

    yield visit
    for each in visits:
        each.page.context.close()
    assert [each.thrown for each in visits if each.thrown] == []
    assert [each.abroad for each in visits if each.abroad] == []
