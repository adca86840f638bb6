"""An image in an answer is fetched when its reader asks for it, from a host that the server allows."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, Request, Route, expect

from tests.browser.axe import violations
from tests.browser.chat import answer, ask, finished
from tests.browser.conftest import OpenPage, Visit
from tests.conftest import StartServer
from tests.servers import Server

pytestmark = pytest.mark.browser

RUNTIMES = ("eventlet",)
"""What is seen here does not depend on it: test_transports and test_coming_back try both."""

PNG = b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
ALLOWED = "https://img.test:443, https://*.wild.test:8443"
IMAGE = "https://img.test/map.png"


@pytest.fixture
def server(start_server: StartServer) -> Server:
    return start_server(IMAGE_HOSTS=ALLOWED)


class Host:
    """Serves images to a page, under any name."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self.asked: list[Request] = []
        self.gone = False
        visit.page.route(lambda url: not url.startswith(visit.home), self._serve)

    def _serve(self, route: Route) -> None:
        self.asked.append(route.request)
        if self.gone:
            route.fulfill(status=404)
        else:
            route.fulfill(content_type="image/png", body=PNG)

    @property
    def urls(self) -> list[str]:
        """What has been asked for, each time."""
        return [request.url for request in self.asked]


@pytest.fixture
def visit(server: Server, open_page: OpenPage) -> Iterator[Visit]:
    visit = open_page(server.url)
    yield visit
    visit.abroad.clear()  # the tests say themselves what may be asked for


def shows(page: Page) -> Locator:
    return answer(page).get_by_role("button", name="Show the image")


def test_an_image_is_loaded_when_it_is_asked_for(visit: Visit) -> None:
    page, host = visit.page, Host(visit)
    ask(page, f"[[demo echo]] See ![the map]({IMAGE}) here.")
    for _ in ("as it came", "as it is stored"):
        prose = finished(page).locator(".prose")
        expect(prose.get_by_role("link", name="the map")).to_have_attribute("href", IMAGE)
        expect(shows(page)).to_have_attribute("title", "It is loaded from img.test")
        assert host.urls == []
        assert violations(page) == []
        page.reload()
    shows(page).click()
    image = answer(page).get_by_role("img", name="the map")
    expect(image).to_have_js_property("naturalWidth", 1)
    expect(shows(page)).to_have_count(0)
    expect(answer(page).get_by_role("link", name="the map")).to_be_focused()
    assert violations(page) == []
    assert host.urls == [IMAGE]
    assert "referer" not in host.asked[0].all_headers()


def test_only_images_of_hosts_that_the_server_names_can_be_asked_for(visit: Visit) -> None:
    page, host = visit.page, Host(visit)
    refused = (
        "http://img.test/", "https://img.test:444/", "https://img.test.evil.test/", "https://evil.test/img.test",
        "https://wild.test:8443/", "https://a.wild.test/", "https://awild.test:8443/", "data:image/png,A",
        "https://img.test@evil.test/", "javascript:window.hit=1", "//evil.test/x", "/static/favicon.svg",
    )  # fmt: skip
    allowed = (IMAGE, "https://a.wild.test:8443/x", "https://a.b.wild.test:8443/x", "https://IMG.test:443/y")
    images = [f"![no]({url})" for url in refused] + [f"![yes]({url})" for url in allowed]
    ask(page, f"[[demo echo]] {' '.join(images)}")
    finished(page)
    expect(shows(page)).to_have_count(len(allowed))
    for _ in allowed:
        shows(page).first.click()
    expect(answer(page).get_by_role("img", name="yes")).to_have_count(len(allowed))
    expect(answer(page).get_by_role("img", name="no")).to_have_count(0)
    assert len(host.urls) == len(allowed)
    assert visit.violations == []


def test_an_image_that_cannot_be_loaded_is_a_link_again(visit: Visit) -> None:
    page, host = visit.page, Host(visit)
    host.gone = True
    ask(page, f"[[demo echo]] ![the map]({IMAGE})")
    finished(page)
    shows(page).click()
    expect(page.locator("[role=status]", has_text="The image cannot be loaded")).to_have_count(1)
    expect(answer(page).locator("img")).to_have_count(0)
    expect(answer(page).get_by_role("link", name="the map")).to_have_attribute("href", IMAGE)
    host.gone = False
    shows(page).click()
    expect(answer(page).get_by_role("img", name="the map")).to_have_js_property("naturalWidth", 1)
    assert host.urls == [IMAGE, IMAGE]


@pytest.mark.parametrize("hosts", ["", "https:"], ids=["links only", "from anywhere"])
def test_what_is_no_address_is_no_image_and_leaves_the_rest_alone(
    start_server: StartServer, open_page: OpenPage, hosts: str
) -> None:
    page = open_page(start_server(IMAGE_HOSTS=hosts).url).page
    images = " ".join(
        f"![{name}]({url})"
        for name, url in {
            "no host": "http://", "port": "https://bad.test:99999/a", "address": "https://[zz]/a",
            "percent": "https://%/x", "nothing": "https://exa%00mple/",
        }.items()
    )  # fmt: skip
    ask(page, f"[[demo echo]] See {images} and the end.")
    for _ in ("as it came", "as it is stored"):
        expect(finished(page).locator(".prose")).to_contain_text("and the end.")
        expect(answer(page).locator(".prose")).to_contain_text("percent")
        expect(shows(page)).to_have_count(0)
        page.reload()


def test_an_image_in_a_link_is_its_text(visit: Visit) -> None:
    page = visit.page
    ask(
        page,
        f"[[demo echo]] [![badge]({IMAGE})](https://target.test/) and [**a ![map]({IMAGE})**](https://b.test/)",
    )
    links = finished(page).locator(".prose a").evaluate_all("all => all.map((a) => [a.textContent, a.href])")
    assert links == [["badge", "https://target.test/"], ["a map", "https://b.test/"]]
    expect(shows(page)).to_have_count(0)


def test_the_same_image_is_shown_in_each_place(visit: Visit) -> None:
    page, host = visit.page, Host(visit)
    ask(page, f"[[demo echo]] ![one]({IMAGE}) and\n\n- ![two]({IMAGE})")
    finished(page)
    shows(page).last.click()
    expect(answer(page).get_by_role("img")).to_have_count(2)
    expect(shows(page)).to_have_count(0)
    assert set(host.urls) == {IMAGE}


def test_an_image_stays_while_the_answer_grows_on(visit: Visit) -> None:
    page, host = visit.page, Host(visit)
    words = " ".join(f"word{n}" for n in range(120))
    ask(page, f"[[demo echo tps=40]] ![the map]({IMAGE}) and [late] {words}\n\n[late]: https://late.test/\n")
    shows(page).click()
    expect(finished(page).get_by_role("link", name="late")).to_have_attribute("href", "https://late.test/")
    expect(answer(page).get_by_role("img", name="the map")).to_have_count(1)
    expect(answer(page).locator(".prose")).to_contain_text("word119")
    assert set(host.urls) == {IMAGE}
