"""How the page gets its data: lost messages and servers, older history, locked doors, size."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from chart_handler import STATIC_FOLDER
from milo.web.sessions import Sessions
from milo.web.static_files import load_static_files
from tests.browser.conftest import Serve, Visit, Watched, see
from tests.chart_market import ChartMarket, snapshot_of, walk

SCRIPT_LIMIT = 20_000
RAW_LIMIT = 80_000
MOST_REQUESTS = 15
# The page's own sockets, with what they sent; every message that `isLost` names never arrives.
COUNTING = """
window.asked = [];
window.isLost = () => false;
window.WebSocket = class extends WebSocket {
  constructor(...options) {
    super(...options);
    this.addEventListener("message", (event) => {
      if (isLost(JSON.parse(event.data))) event.stopImmediatePropagation();
    });
  }
  send(text) {
    asked.push(JSON.parse(text));
    super.send(text);
  }
};"""
HIDE = """(isHidden) => {
  Object.defineProperty(document, "hidden", { value: isHidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
SMALL_PARTS = """() => {
  const fetchAll = source.fetch.bind(source);
  source.fetch = (asked) => fetchAll({ ...asked, count: Math.min(asked.count, 900) });
}"""
NEWEST = "() => chart.series.close[chart.series.closed - 1]"


def watches(page: Watched) -> list[dict[str, Any]]:
    return [one["watch"] for one in page.evaluate("() => asked") if "watch" in one]


def test_a_message_that_never_came_is_asked_for_again(
    market: ChartMarket, serve: Serve, visit: Visit
) -> None:
    page = visit(serve(market), before=COUNTING)
    assert len(watches(page)) == 1
    page.evaluate(
        """() => {
          window.isLost = (message) => {
            if (!message.rows?.length) return false;
            window.isLost = () => false;
            return true;
          };
        }"""
    )

    market.close_candle(31_000.0)
    page.until("() => asked.length === 2")
    market.close_candle(32_000.0)
    page.until(f"() => ({NEWEST})() === 32000")

    assert page.evaluate("() => Array.from(chart.series.close.slice(160, 162))") == [31_000, 32_000]
    first, again = watches(page)
    assert (again["series"], again["total"]) == (first["series"], 160)
    assert len([url for url in page.requests if "/history?count=5000" in url]) == 1
    page.assert_clean()


def test_swings_and_divergences_are_the_same_after_a_new_question(
    market: ChartMarket, serve: Serve, visit: Visit
) -> None:
    chart = serve(market)
    page = visit(chart)
    for step in range(6):
        if step % 2:
            page.evaluate("() => { source.live.socket.seq += 5; }")
        market.close_candle(30_000.0 + 900.0 * (-1) ** step)
        page.until(f"() => chart.series.closed === {161 + step}")
    # What is not confirmed yet comes with the next message.
    page.page.wait_for_timeout(300)
    listed = "() => JSON.stringify(source.items)"

    assert page.evaluate(listed) == visit(chart).evaluate(listed)


def test_view_stays_at_its_time_when_the_server_was_started_anew(
    serve: Serve, visit: Visit
) -> None:
    market = ChartMarket(snapshot_of(walk(13_000)))
    chart = serve(market)
    page = visit(chart)
    page.evaluate("() => { window.isSame = true; chart.panBy(7_000 * chart.spacing); }")
    page.until("() => chart.series.first <= 3_000")
    shown = "() => chart.series.timeOfSlot(Math.round(chart.right))"
    before = page.evaluate(shown)
    name = page.evaluate("() => source.name")

    chart.stop()
    market.close_candle(31_000.0)
    serve(market, chart.port)
    page.until(f"() => source.name !== '' && source.name !== '{name}'", 20)
    page.until("() => chart.series.closed === 13_001")

    assert page.evaluate(shown) == before
    assert page.evaluate("() => window.isSame") is True


def test_fit_and_home_load_the_whole_history(serve: Serve, visit: Visit) -> None:
    page = visit(serve(ChartMarket(snapshot_of(walk(9_000)))))
    page.evaluate(SMALL_PARTS)

    page.page.locator("#fit").click()
    page.until("() => chart.series.first === 0 && chart.xOf(0) >= -1")
    assert page.evaluate("() => chart.visible()[1]") == 9_000
    assert page.evaluate("() => source.items.zigzag.length") == page.evaluate(
        "() => new Set(source.items.zigzag.map((item) => item.index)).size"
    )

    other = visit(serve(ChartMarket(snapshot_of(walk(9_000)))))
    other.evaluate(SMALL_PARTS)
    other.page.locator("#chart-box").press("Home")
    other.until("() => chart.series.first === 0 && chart.visible()[0] === 0")
    assert other.evaluate("() => chart.crosshairIndex()") == 0
    other.assert_clean()


def test_another_selection_ends_what_was_asked_for_before(serve: Serve, visit: Visit) -> None:
    page = visit(serve(ChartMarket(snapshot_of(walk(9_000)))))
    failed: list[str] = []
    page.page.on("requestfailed", lambda request: failed.append(request.url))

    page.evaluate("() => { chart.fit(); chart.drawNow(); source.select('BTCUSDT', '1h'); }")
    page.until("() => source.name !== '' && chart.series.closed === 9_000")

    assert any("end=" in url for url in failed)


def test_a_page_that_stands_still_catches_up_and_delays_nobody(
    market: ChartMarket, serve: Serve, visit: Visit
) -> None:
    chart = serve(market)
    stalled, other = visit(chart), visit(chart)
    stalled.evaluate(
        """() => { setTimeout(() => {
          const end = performance.now() + 2_500;
          while (performance.now() < end);
        }); }"""
    )
    for step in range(5):
        market.close_candle(30_000.0 + step)
        other.until(f"() => ({NEWEST})() === {30_000 + step}", 2.0)

    stalled.until(f"() => ({NEWEST})() === 30004")
    times = stalled.evaluate("() => Array.from(chart.series.openMs.slice(0, chart.series.closed))")
    assert len(times) == 165
    assert len({later - earlier for earlier, later in itertools.pairwise(times)}) == 1


def test_refused_socket_is_done_without_until_it_can_be_had(
    market: ChartMarket, serve: Serve, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("milo.web.pushing.MOST_PAGES", 0)
        page = visit(serve(market))
        assert page.evaluate("() => source.live.feed !== null")
        page.until("() => chart.series.count === 160")
        market.close_candle(31_000.0)
        page.until(f"() => ({NEWEST})() === 31000")
    polls = len([url for url in page.requests if "/data" in url])

    page.evaluate(HIDE, True)
    page.evaluate(HIDE, False)
    page.until("() => source.live.feed === null && source.live.socket.seq > 0")
    market.close_candle(32_000.0)
    page.until(f"() => ({NEWEST})() === 32000")

    assert polls > 1
    assert page.evaluate("() => source.name") != ""


def test_locked_page_says_which_link_to_open(
    market: ChartMarket, serve: Serve, visit: Visit
) -> None:
    page = visit(serve(market, sessions=Sessions()), phase="locked")

    see(page.page.locator("#phase-title")).to_have_text("This chart is locked")
    see(page.page.locator("#phase-text")).to_contain_text("Open the link that Milo printed")
    assert page.page.locator("#unlock").count() == 0
    assert market.asked == 0


def test_password_opens_the_door(market: ChartMarket, serve: Serve, visit: Visit) -> None:
    page = visit(serve(market, sessions=Sessions(password="fall")), phase="locked")
    field = page.page.get_by_label("Password")
    # Letters are keys of the chart, except in here.
    field.press_sequentially("gal")
    see(field).to_have_value("gal")
    field.press("Enter")
    see(page.page.get_by_role("alert").filter(has_text="not the password")).to_be_visible()

    field.fill("fall")
    page.page.get_by_role("button", name="Unlock").click()

    see(page.page.locator("body")).to_have_attribute("data-phase", "chart")
    page.until("() => source.live.socket.seq > 0")
    assert page.page.locator("#unlock").count() == 0


def test_session_that_ends_locks_the_page(market: ChartMarket, serve: Serve, visit: Visit) -> None:
    chart = serve(market, sessions=Sessions(password="fall"))
    page = visit(chart, phase="locked")
    page.page.get_by_label("Password").fill("fall")
    page.page.get_by_role("button", name="Unlock").click()
    see(page.page.locator("body")).to_have_attribute("data-phase", "chart")

    chart.stop()
    serve(market, chart.port, sessions=Sessions(password="other"))

    see(page.page.locator("body")).to_have_attribute("data-phase", "locked", timeout=20_000)


def test_range_slider_moves_through_the_whole_history(serve: Serve, visit: Visit) -> None:
    page = visit(serve(ChartMarket(snapshot_of(walk(20_000)))))
    window = page.page.get_by_role("slider", name="Candles shown")
    see(window).to_have_attribute("aria-valuemax", "19999")
    assert int(window.get_attribute("aria-valuenow") or 0) > 19_000
    band = page.page.locator("#range").bounding_box()
    shown = page.evaluate("() => chart.visible()[1] - chart.visible()[0]")

    page.page.mouse.click(band["x"] + band["width"] / 4, band["y"] + 20)
    page.until("() => chart.series.first <= 5_000 && chart.visible()[1] < 6_000")
    assert page.evaluate("() => chart.visible()[1] - chart.visible()[0]") == pytest.approx(
        shown, abs=3
    )

    # The axis may still widen by a digit.
    page.until(
        """() => document.querySelector(".range-window").getAttribute("aria-valuenow")
          === String(chart.visible()[0])"""
    )
    first = page.evaluate("() => chart.visible()[0]")
    window.press("ArrowRight")
    page.until(f"() => chart.visible()[0] > {first}")
    edge = page.page.get_by_role("slider", name="Last candle shown")
    last = page.evaluate("() => chart.visible()[1]")
    edge.press("PageUp")
    page.until(f"() => chart.visible()[1] > {last}")
    window.press("Home")
    page.until("() => chart.series.first === 0 && chart.visible()[0] === 0")
    window.press("End")
    page.until("() => chart.isFollowing")
    page.assert_clean()


def test_range_slider_is_dragged_by_its_edges(serve: Serve, visit: Visit) -> None:
    page = visit(serve(ChartMarket(snapshot_of(walk(8_000)))))
    see(page.page.get_by_role("slider", name="Candles shown")).to_be_visible()
    edge = page.page.get_by_role("slider", name="First candle shown").bounding_box()
    last = page.evaluate("() => chart.visible()[1]")
    x, y = edge["x"] + edge["width"] / 2, edge["y"] + edge["height"] / 2

    page.page.mouse.move(x, y)
    page.page.mouse.down()
    page.page.mouse.move(x - 300, y, steps=4)
    page.page.mouse.up()

    page.until("() => chart.series.first === 0 || chart.visible()[0] < 6_000")
    assert page.evaluate("() => chart.visible()[1]") == pytest.approx(last, abs=40)
    page.assert_clean()


def test_first_picture_needs_few_and_small_files(
    market: ChartMarket, serve: Serve, visit: Visit
) -> None:
    page = visit(serve(market))
    page.page.get_by_role("slider").first.wait_for()
    paths = [url.removeprefix(page.origin) for url in page.requests]
    files = load_static_files(STATIC_FOLDER)

    first = paths[: paths.index("/static/page.js")]
    named = ["index.html" if path == "/" else path.removeprefix("/static/") for path in first]
    loaded = [files[name] for name in named if not name.startswith("/history")]
    scripts = [file for file in loaded if file.mime_type == "text/javascript"]

    assert [path for path in first if path.startswith("/history")] == ["/history?count=5000"]
    assert sum(len(file.packed or file.body) for file in scripts) <= SCRIPT_LIMIT
    assert sum(len(file.body) for file in loaded) <= RAW_LIMIT
    assert len(paths) <= MOST_REQUESTS, paths


def test_every_module_runs_as_it_is_served(market: ChartMarket, serve: Serve, visit: Visit) -> None:
    page = visit(serve(market))
    names = [name for name in load_static_files(STATIC_FOLDER) if name.endswith(".js")]

    exported = page.evaluate(
        """async (names) => {
          const found = {};
          for (const name of names) found[name] = Object.keys(await import(`/static/${name}`));
          return found;
        }""",
        names,
    )

    for name in names:
        source = (STATIC_FOLDER / name).read_text()
        for kind in ("function", "class", "const"):
            for line in source.splitlines():
                if line.startswith(f"export {kind} "):
                    wanted = line.split()[2].split("(")[0]
                    assert wanted in exported[name], (name, wanted, json.dumps(exported[name]))
    page.assert_clean()
