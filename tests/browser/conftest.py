"""A real Chromium and the chart's real server, for tests that look at the page.

Without Playwright or a browser these tests are skipped, and say why; REQUIRE_BROWSER=1 makes that
a failure.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chart_handler import ChartHandler
from milo.clock import monotonic_s
from tests.chart_market import ChartMarket, snapshot_of, walk

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--force-color-profile=srgb",
    "--font-render-hinting=none",
)  # fmt: skip


def _missing(reason: str) -> None:
    if os.environ.get("REQUIRE_BROWSER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def _browser_path() -> str | None:
    named = os.environ.get("BROWSER_BIN")
    if named:
        return named if Path(named).is_file() else None
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def _is_root() -> bool:
    return os.name == "posix" and os.geteuid() == 0


# For this package alone: while Playwright lives, its event loop counts as running in the thread of
# the tests, and no test elsewhere could run one of its own.
@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """A Chromium with an empty profile."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("no playwright: pip install -r requirements-browser.txt; browser tests not run")
    path = _browser_path()
    if path is None:
        _missing("no chromium (or BROWSER_BIN names none): browser tests not run")
    # Chromium refuses its sandbox to root, which is who runs in most containers.
    flags = [*FLAGS, "--no-sandbox"] if _is_root() else list(FLAGS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=flags)
        yield chromium
        chromium.close()


class ServedChart:
    """The chart's server, on a loop and thread of its own: Playwright has one in the test's."""

    def __init__(self, market: ChartMarket, port: int = 0) -> None:
        self.market = market
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chart-server")
        self._thread.start()
        self._handler = ChartHandler(market, port=port)
        self._wait_for(self._handler.start())
        self.port = self._handler.port
        self.url = f"http://localhost:{self.port}"

    def stop(self) -> None:
        if self._loop.is_closed():
            return
        self._wait_for(self._handler.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _wait_for(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)


Serve = Callable[..., ServedChart]


def see(locator: Any) -> Any:
    """Return Playwright's `expect` of it: assertions that wait until they hold."""
    from playwright.sync_api import expect

    return expect(locator)


@pytest.fixture
def market() -> ChartMarket:
    return ChartMarket(snapshot_of(walk(160)))


@pytest.fixture
def serve(browser: Any) -> Iterator[Callable[..., ServedChart]]:
    """Start chart servers; they end with the test."""
    started: list[ServedChart] = []

    def start(market: ChartMarket, port: int = 0) -> ServedChart:
        started.append(ServedChart(market, port))
        return started[-1]

    yield start
    for chart in started:
        chart.stop()


# The first picture stands before the rest of the page is loaded and hears what changes.
HEARS = """() => source.live !== null
  && (source.live.socket.seq > 0 || source.live.feed !== null)"""


@dataclass
class Watched:
    """A page, and all that it said or asked for."""

    page: Any
    origin: str
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def evaluate(self, script: str, argument: Any = None) -> Any:
        return self.page.evaluate(script, argument)

    def until(self, script: str, timeout_s: float = 10.0) -> None:
        """Wait until the script returns true; the page's policy lets nobody else evaluate it."""
        end_s = monotonic_s() + timeout_s
        while not self.evaluate(script):
            assert monotonic_s() < end_s, script
            self.page.wait_for_timeout(20)

    def assert_clean(self) -> None:
        """Fail where the page complained or asked anybody else for anything."""
        assert self.complaints == []
        assert [url for url in self.requests if not url.startswith(f"{self.origin}/")] == []


Visit = Callable[..., Watched]


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Watched]]:
    """Open a page of a served chart in a fresh context, and wait for its candles and panels."""
    contexts = []

    def open_page(
        chart: ServedChart,
        path: str = "/",
        *,
        phase: str = "chart",
        before: str = "",
        **options: Any,
    ) -> Watched:
        viewport = {"width": 1280, "height": 800}
        context = browser.new_context(
            **{"viewport": viewport, "reduced_motion": "reduce"} | options
        )
        contexts.append(context)
        page = context.new_page()
        watched = Watched(page, chart.url)
        page.on("console", lambda message: watched.complaints.append(message.text))
        page.on("pageerror", lambda error: watched.complaints.append(str(error)))
        page.on("request", lambda request: watched.requests.append(request.url))
        if before:
            page.add_init_script(before)
        page.goto(chart.url + path)
        see(page.locator("body")).to_have_attribute("data-phase", phase)
        if phase == "chart":
            watched.until(HEARS)
        return watched

    yield open_page
    for context in contexts:
        context.close()
