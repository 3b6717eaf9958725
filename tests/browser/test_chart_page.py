"""The chart page in a real Chromium: what it draws, how it moves, and what it must never do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from milo.candles import Candles
from milo.charts.snapshot import ChartScript, LogKind, RunState
from tests.browser.conftest import Serve, Visit, Watched, see
from tests.chart_market import (
    HOSTILE_TEXT,
    START_MS,
    ChartMarket,
    line,
    long_position,
    snapshot_of,
    walk,
)

COLOUR_AT = """([x, y]) => {
  const { ctx, dpr } = chart;
  const { data } = ctx.getImageData(Math.round(x * dpr), Math.round(y * dpr), 1, 1);
  return Array.from(data.slice(0, 3));
}"""
# Clean candles: nothing else is drawn over them.
ONLY_CANDLES = """() => {
  Object.assign(chart.layers, {
    zigzag: false, divergences: false, trades: false, averages: false,
  });
  chart.drawNow();
}"""
NO_WEBSOCKET = """
window.WebSocket = class extends EventTarget {
  static OPEN = 1;
  constructor() { super(); setTimeout(() => this.dispatchEvent(new Event("close"))); }
  close() {}
  send() {}
};"""
BODIES = """() => {
  const { series, ctx, dpr } = chart;
  const pixel = (x, y) => Array.from(ctx.getImageData(x, y, 1, 1).data.slice(0, 3)).join();
  const found = [];
  const [from, to] = [series.firstFrom(chart.slotOf(0)) + 1, series.closed];
  for (let i = from; i < to; i += 1) {
    const y = Math.round(chart.yOf((series.open[i] + series.close[i]) / 2) * dpr);
    const height = Math.abs(chart.yOf(series.open[i]) - chart.yOf(series.close[i])) * dpr;
    const x = Math.round(chart.xOf(i) * dpr);
    const lastPrice = chart.yOf(series.close[series.last]) * dpr;
    if (height < 8 || Math.abs(y - lastPrice) < 3 * dpr) continue; // its line crosses candles
    const row = [];
    for (let dx = -4 * dpr; dx <= 4 * dpr; dx += 1) row.push(pixel(x + dx, y));
    found.push({ isUp: series.close[i] >= series.open[i], middle: pixel(x, y), row });
  }
  return found;
}"""


def rgb(text: str) -> str:
    """`rgb(47, 129, 214)` as `47,129,214`."""
    return text.removeprefix("rgb(").removesuffix(")").replace(" ", "")


def theme(page: Watched, name: str) -> str:
    return rgb(page.evaluate("(name) => chart.theme[name]", name))


def colour_at(page: Watched, x: float, y: float) -> str:
    return ",".join(str(part) for part in page.evaluate(COLOUR_AT, [x, y]))


@pytest.mark.parametrize(
    ("scheme", "width"),
    [("light", 360), ("dark", 390), ("light", 1280), ("dark", 1280), ("dark", 2560)],
)
def test_page_loads_without_a_complaint_and_asks_nobody_else(
    market: ChartMarket, serve: Serve, visit: Visit, scheme: str, width: int
) -> None:
    page = visit(serve(market), viewport={"width": width, "height": 800}, color_scheme=scheme)

    see(page.page.locator("#venue")).to_have_text("SIMULATED")
    see(page.page.locator("#run")).to_contain_text("simulated market (seed 1)")
    overflow = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
    assert overflow == 0
    page.assert_clean()


def test_page_says_unisolated_only_where_a_script_is_not_locked_in(
    market: ChartMarket, serve: Serve, visit: Visit
) -> None:
    page = visit(serve(market))
    badge = page.page.locator("#unisolated")
    see(badge).to_be_hidden()

    market.change(unisolated="no filter of system calls")

    see(badge).to_have_text("UNISOLATED")
    see(badge).to_have_attribute("title", "no filter of system calls")
    page.assert_clean()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("scale", [1, 2])
def test_candles_are_drawn_hollow_for_up_and_filled_for_down(
    market: ChartMarket, serve: Serve, visit: Visit, scheme: str, scale: int
) -> None:
    page = visit(serve(market), color_scheme=scheme, device_scale_factor=scale)
    page.evaluate(ONLY_CANDLES)
    up, down, surface = (theme(page, name) for name in ("up", "down", "surface"))

    bodies = page.evaluate(BODIES)

    assert page.evaluate("() => chart.canvas.width") > 900 * scale
    assert len(bodies) > 50
    for body in bodies:
        if body["isUp"]:
            assert body["row"].count(up) == 2 * scale, "two edges"
            assert body["middle"] != up
        else:
            assert body["middle"] == down
            assert up not in body["row"]
    assert any(body["middle"] == surface for body in bodies if body["isUp"])


def test_position_is_shown_with_entry_stop_and_target(
    market: ChartMarket, serve: Serve, visit: Visit
) -> None:
    position = long_position(market.now.candles)
    market.change(position=position)

    page = visit(serve(market))

    # The code that draws positions is fetched when there is one.
    page.evaluate("async () => { await import('/static/chart/marks.js'); chart.drawNow(); }")
    axis_x = page.evaluate("() => chart.plotWidth + 4")
    levels = {"entry": position.entry_price, "stop": position.stop_price,
              "target": position.target_price}  # fmt: skip
    for name, price in levels.items():
        y = page.evaluate("(price) => chart.yOf(price)", float(price or 0))
        colours = {colour_at(page, axis_x, y + dy) for dy in (-8, 0, 8)}
        assert theme(page, name) in colours, name
    panel = page.page.locator("#position")
    see(panel).to_contain_text("▲ Long 10×")
    see(panel).to_contain_text("−12.35 USDT")
    for price in levels.values():
        see(panel).to_contain_text(f"{price:,.1f}")


def test_stop_that_the_venue_has_not_confirmed_is_said(
    market: ChartMarket, serve: Serve, visit: Visit
) -> None:
    market.change(position=replace(long_position(market.now.candles), stop_price=None))

    page = visit(serve(market))

    see(page.page.locator("#position")).to_contain_text("not confirmed yet")


@pytest.mark.parametrize("layer", ["zigzag", "divergences"])
def test_overlay_is_drawn_and_can_be_hidden(
    market: ChartMarket, serve: Serve, visit: Visit, layer: str
) -> None:
    page = visit(serve(market))
    page.page.locator("#fit").click()
    colours = [theme(page, name) for name in {"zigzag": ["zigzag"]}.get(layer, ["bull", "bear"])]
    count = """(colours) => {
      chart.drawNow();
      const { data } = chart.ctx.getImageData(0, 0, chart.canvas.width, chart.canvas.height);
      let found = 0;
      for (let k = 0; k < data.length; k += 4) {
        if (colours.includes(`${data[k]},${data[k + 1]},${data[k + 2]}`)) found += 1;
      }
      return found;
    }"""

    shown = page.evaluate(count, colours)
    page.page.locator(f"#layer-{layer}").uncheck()
    hidden = page.evaluate(count, colours)

    assert shown > 60
    assert hidden == 0


def test_forming_candle_follows_the_market(market: ChartMarket, serve: Serve, visit: Visit) -> None:
    market.form_candle(30_111.1)
    page = visit(serve(market))
    legend = page.page.locator("#legend")
    see(legend).to_contain_text("30,111.1")
    see(legend).to_contain_text("forming")

    market.form_candle(30_222.2)

    see(legend).to_contain_text("30,222.2")
    market.close_candle(30_333.3)
    see(legend).to_contain_text("30,333.3")
    see(legend).not_to_contain_text("forming")
    assert page.evaluate("() => [chart.series.closed, chart.series.hasForming]") == [161, False]
    page.assert_clean()


def test_only_what_is_new_is_sent_after_the_history(
    market: ChartMarket, serve: Serve, visit: Visit
) -> None:
    page = visit(serve(market))
    page.page.wait_for_timeout(1_200)
    market.close_candle(31_000.0)

    page.until("() => chart.series.close[chart.series.closed - 1] === 31000")
    assert [url for url in page.requests if "/data" in url] == []
    assert len([url for url in page.requests if "/history?count=5000" in url]) == 1


def test_older_candles_come_when_the_view_nears_them(serve: Serve, visit: Visit) -> None:
    market = ChartMarket(snapshot_of(walk(13_000)))
    page = visit(serve(market))
    assert page.evaluate("() => chart.series.first") == 8_000
    before = page.evaluate("() => [chart.right, chart.series.openMs[12_000]]")

    page.evaluate("() => chart.panBy((13_000 - 8_200) * chart.spacing)")
    page.until("() => chart.series.first <= 3_000", 10)

    assert before[1] == page.evaluate("() => chart.series.openMs[12_000]")
    assert page.evaluate("() => chart.right") == pytest.approx(before[0] - 4_800, abs=1)
    assert page.evaluate("() => chart.swings.items.length") > 100
    page.assert_clean()


def test_a_lost_message_is_noticed(market: ChartMarket, serve: Serve, visit: Visit) -> None:
    page = visit(serve(market))
    page.evaluate("() => { source.live.socket.seq += 5; }")
    market.close_candle(31_000.0)

    page.until("() => chart.series.close[chart.series.closed - 1] === 31000")
    page.assert_clean()


def test_without_a_websocket_the_page_asks_again_and_again(
    market: ChartMarket, serve: Serve, visit: Visit
) -> None:
    page = visit(serve(market), before=NO_WEBSOCKET)
    page.until("() => chart.series.count === 160", 15)
    market.close_candle(31_000.0)

    page.until("() => chart.series.close[chart.series.closed - 1] === 31000")
    assert any("/data" in url for url in page.requests)


def test_hidden_page_asks_nothing_and_catches_up_when_shown(
    market: ChartMarket, serve: Serve, visit: Visit
) -> None:
    page = visit(serve(market))
    hide = """(isHidden) => {
      Object.defineProperty(document, "hidden", { value: isHidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hide, True)
    market.close_candle(31_111.1)
    asked = market.asked
    page.page.wait_for_timeout(2_500)  # longer than two polls: nothing may happen
    assert market.asked - asked <= 1, "one answer may have been under way"

    page.evaluate(hide, False)

    see(page.page.locator("#legend")).to_contain_text("31,111.1")


def test_lines_of_scripts_are_text_and_nothing_else(
    market: ChartMarket, serve: Serve, visit: Visit
) -> None:
    market.change(
        log=(line(HOSTILE_TEXT), line(HOSTILE_TEXT, LogKind.ERROR)),
        alert=HOSTILE_TEXT,
        title=HOSTILE_TEXT,
        state=RunState.HALTED,
    )

    page = visit(serve(market))
    page.page.get_by_role("tab", name="Log").click()

    see(page.page.locator("#log li").first).to_contain_text(HOSTILE_TEXT)
    see(page.page.locator("#banner")).to_have_text(HOSTILE_TEXT)
    assert page.page.locator("img").count() == 0
    assert page.page.title() != "owned"
    page.assert_clean()


def test_names_of_scripts_symbols_and_venues_are_text_and_nothing_else(
    market: ChartMarket, serve: Serve, visit: Visit
) -> None:
    script = ChartScript(
        name=HOSTILE_TEXT,
        symbol=HOSTILE_TEXT,
        interval="1h",
        last_action=HOSTILE_TEXT,
        last_condition=True,
    )
    market.change(
        symbol=HOSTILE_TEXT,
        symbols=(HOSTILE_TEXT, "BTCUSDT"),
        intervals=(HOSTILE_TEXT, "1h"),
        venue=HOSTILE_TEXT,
        title=HOSTILE_TEXT,
        is_simulated=False,
        script=script,
    )

    page = visit(serve(market))

    see(page.page.locator("#script-name")).to_have_text(HOSTILE_TEXT)
    see(page.page.locator("#venue")).to_have_text(f"PAPER {HOSTILE_TEXT.upper()}")
    see(page.page.locator("#title")).to_have_text(HOSTILE_TEXT)
    see(page.page.locator("#symbol option").first).to_have_text(HOSTILE_TEXT)
    see(page.page.locator("#intervals button").first).to_have_text(HOSTILE_TEXT)
    assert page.page.locator("img").count() == 0
    assert page.page.title() != "owned"
    page.assert_clean()


def test_lost_server_is_said_and_found_again_without_a_reload(
    market: ChartMarket, serve: Serve, visit: Visit
) -> None:
    chart = serve(market)
    page = visit(chart)
    age = page.page.locator("#age")
    see(age).to_contain_text("old")

    chart.stop()

    see(age).to_contain_text("stale since", timeout=15_000)
    see(page.page.locator("#banner")).to_contain_text("Milo does not answer")
    page.page.get_by_role("button", name="Zoom in").click()
    spacing = page.evaluate("() => chart.spacing")
    market.close_candle(32_100.5)
    serve(market, chart.port)
    see(page.page.locator("#legend")).to_contain_text("32,100.5", timeout=15_000)
    see(page.page.locator("#banner")).to_be_hidden()
    assert page.evaluate("() => chart.spacing") == spacing


def test_silent_market_is_said(market: ChartMarket, serve: Serve, visit: Visit) -> None:
    market.change(market_age_ms=45_000)

    page = visit(serve(market))

    see(page.page.locator("#age")).to_contain_text("stale since")
    see(page.page.locator("#banner")).to_contain_text("the market sends nothing")


def test_no_candles_yet_says_what_to_do(serve: Serve, visit: Visit) -> None:
    page = visit(serve(ChartMarket(snapshot_of(Candles.empty()))), phase="empty")

    see(page.page.locator("#phase")).to_contain_text("No candles of BTCUSDT 1h yet")
    see(page.page.locator("#phase")).to_contain_text("--initdb BTCUSDT")
    page.assert_clean()


def test_unknown_symbol_offers_the_way_back(
    market: ChartMarket, serve: Serve, visit: Visit
) -> None:
    page = visit(serve(market), "/?symbol=NOPE", phase="error")
    see(page.page.locator("#phase")).to_contain_text("did you mean BTCUSDT?")

    page.page.locator("#retry").click()

    see(page.page.locator("body")).to_have_attribute("data-phase", "chart")
    assert page.page.url.endswith("/")


def test_gap_keeps_its_room(serve: Serve, visit: Visit) -> None:
    rows = [(c.open_ms, c.open, c.high, c.low, c.close, c.volume) for c in walk(80)]
    market = ChartMarket(snapshot_of(Candles.from_rows(rows[:60] + rows[65:])))

    page = visit(serve(market))

    assert page.evaluate("() => chart.series.slot[60] - chart.series.slot[59]") == 6
    middle = page.evaluate("() => (chart.xOf(59) + chart.xOf(60)) / 2")
    colours = {colour_at(page, middle, 200 + dy) for dy in range(24)}
    assert {theme(page, "gap"), theme(page, "hatch")} <= colours


def test_cheap_coins_show_all_their_digits(serve: Serve, visit: Visit) -> None:
    candles = walk(60, price=0.0000123, decimals=7)
    market = ChartMarket(snapshot_of(candles, price_decimals=7))

    page = visit(serve(market))

    see(page.page.locator("#legend")).to_contain_text(f"{candles.candle(-1).close:.7f}")


def test_picture_is_the_same_when_drawn_again(
    market: ChartMarket, serve: Serve, visit: Visit
) -> None:
    page = visit(serve(market))
    drawn = "() => { chart.drawNow(); return chart.canvas.toDataURL(); }"

    assert page.evaluate(drawn) == page.evaluate(drawn)


def test_scales_and_texts_are_right(market: ChartMarket, serve: Serve, visit: Visit) -> None:
    page = visit(serve(market))

    found = page.evaluate(
        """async (start) => {
          const { PriceScale, priceStep, priceTicks, timeTicks } =
            await import("/static/chart/scale.js");
          const format = await import("/static/lib/format.js");
          const { Series } = await import("/static/chart/columns.js");
          const series = new Series({ interval: "1h", intervalMs: 3600000 });
          const row = (k) => [start + k * 3600000, 1, 2, 0.5, 1.5, 3];
          series.append(Array.from({ length: 96 }, (_, k) => row(k)), null);
          return {
            steps: [priceStep(100, 5, 0.1), priceStep(1, 100, 0.1), priceStep(7, 4, 1)],
            ticks: priceTicks(new PriceScale(99.95, 101.02, 0, 200), 40, 0.01),
            days: timeTicks(series, 0, 95, 20).map((tick) => [tick.slot, tick.label]),
            price: [[1234.5, 2], [0.0000123, 7], [30000.123, 1]]
              .map(([value, decimals]) => format.price(value, decimals)),
            decimal: [format.decimal("-1234567.1230"), format.decimal("0.5")],
            money: [format.money("-0.004", true), format.money("12.345", true)],
            left: [format.countdown(59999), format.countdown(3601000), format.countdown(90061000)],
          };
        }""",
        START_MS,
    )

    assert found["steps"] == [20, pytest.approx(0.1), 2]
    assert found["ticks"] == pytest.approx([100.0, 100.25, 100.5, 100.75, 101.0])
    assert found["days"] == [[0, "2026"], [24, "2 Jan"], [48, "3 Jan"], [72, "4 Jan"]]
    assert found["price"] == ["1,234.50", "0.0000123", "30,000.123"]
    assert found["decimal"] == ["−1,234,567.1230", "0.5"]
    assert found["money"] == ["0.00", "+12.35"]
    assert found["left"] == ["0:59", "1:00:01", "1d 01:01:01"]


def test_other_pages_cannot_read_the_data(market: ChartMarket, serve: Serve, visit: Visit) -> None:
    victim = serve(market)
    attacker = visit(serve(ChartMarket(snapshot_of(walk(5)))))
    asked = market.asked

    # The browser's own content policy would stop this page: ask from one without any.
    attacker.page.goto("data:text/html,<p>attack")
    outcome = attacker.evaluate(
        """async (url) => {
          try {
            const answer = await fetch(`${url}/data`);
            return `read ${answer.status}`;
          } catch (error) {
            return "refused";
          }
        }""",
        victim.url,
    )

    assert outcome == "refused"
    assert market.asked == asked


def test_long_history_draws_and_zooms_to_all(serve: Serve, visit: Visit) -> None:
    market = ChartMarket(snapshot_of(walk(6_000)))
    page = visit(serve(market))

    page.page.locator("#fit").click()
    page.until("() => chart.series.count === 6000")
    page.page.locator("#fit").click()

    shown = page.evaluate("() => [chart.series.count, chart.xOf(0), chart.xOf(4999)]")
    assert shown[0] == 6_000
    assert -1 <= shown[1] < shown[2] <= page.evaluate("() => chart.plotWidth")
    first = page.evaluate("() => chart.series.openMs[0]")
    assert first == START_MS
