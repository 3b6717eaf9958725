"""Mouse, wheel, fingers, keys and buttons on the chart page, in a real Chromium."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Serve, Visit, see
from tests.chart_market import ChartMarket, round_trip


def test_keys_zoom_scroll_and_move_the_crosshair(
    market: ChartMarket, serve: Serve, visit: Visit
) -> None:
    page = visit(serve(market))
    box = page.page.locator("#chart-box")
    box.focus()
    spacing = page.evaluate("() => chart.spacing")

    box.press("+")
    zoomed = page.evaluate("() => chart.spacing")
    box.press("-")
    back = page.evaluate("() => chart.spacing")
    right = page.evaluate("() => chart.right")
    box.press("Shift+ArrowLeft")
    scrolled = page.evaluate("() => chart.right")
    box.press("Home")

    assert zoomed > spacing * 1.2
    assert back == pytest.approx(spacing)
    assert scrolled < right
    see(page.page.locator("#legend")).to_contain_text("01 Jan 2026 00:00 UTC")
    see(page.page.locator("#spoken")).to_contain_text("01 Jan 2026 00:00")
    box.press("ArrowRight")
    see(page.page.locator("#spoken")).to_contain_text("01 Jan 2026 01:00")
    box.press("End")
    assert page.evaluate("() => chart.crosshairIndex() === chart.series.last") is True
    box.press("Escape")
    assert page.evaluate("() => chart.crosshair") is None
    page.assert_clean()


def test_buttons_do_what_keys_do(market: ChartMarket, serve: Serve, visit: Visit) -> None:
    page = visit(serve(market))
    spacing = page.evaluate("() => chart.spacing")

    page.page.get_by_role("button", name="Zoom in").click()
    assert page.evaluate("() => chart.spacing") > spacing
    page.page.get_by_role("button", name="Oldest candle").click()
    assert page.evaluate("() => chart.slotOf(0)") < 1
    page.page.get_by_role("button", name="Live").click()
    assert page.evaluate("() => chart.isFollowing") is True


def test_wheel_zooms_around_the_cursor(market: ChartMarket, serve: Serve, visit: Visit) -> None:
    page = visit(serve(market))
    box = page.page.locator("#chart-box").bounding_box()
    slot_there = "() => [chart.slotOf(500), chart.spacing]"
    page.page.mouse.move(box["x"] + 500, box["y"] + 200)
    slot, spacing = page.evaluate(slot_there)

    page.page.mouse.wheel(0, -240)

    page.page.wait_for_timeout(100)
    new_slot, new_spacing = page.evaluate(slot_there)
    assert new_spacing > spacing
    assert new_slot == pytest.approx(slot, abs=1e-6)


def test_drag_pans_by_the_distance(market: ChartMarket, serve: Serve, visit: Visit) -> None:
    page = visit(serve(market))
    box = page.page.locator("#chart-box").bounding_box()
    x = "() => chart.xOf(150)"
    before = page.evaluate(x)

    page.page.mouse.move(box["x"] + 400, box["y"] + 200)
    page.page.mouse.down()
    page.page.mouse.move(box["x"] + 520, box["y"] + 230, steps=4)
    page.page.mouse.up()

    assert page.evaluate(x) == pytest.approx(before + 120, abs=0.5)


def test_crosshair_shows_the_candle_under_the_mouse(
    market: ChartMarket, serve: Serve, visit: Visit
) -> None:
    market.change(trades=round_trip(market.now.candles))
    page = visit(serve(market))
    box = page.page.locator("#chart-box").bounding_box()
    x = page.evaluate("() => chart.xOf(148)")

    page.page.mouse.move(box["x"] + x, box["y"] + 200)

    candle = market.now.candles.candle(148)
    legend = page.page.locator("#legend")
    for value in (candle.open, candle.high, candle.low, candle.close):
        see(legend).to_contain_text(f"{value:,.1f}")
    see(legend).to_contain_text("◀ target SELL 0.05")
    see(legend).to_contain_text("+12.35")
    page.page.mouse.move(5, 5)
    see(legend).to_contain_text("07 Jan 2026 15:00")


def test_fingers_pan_and_pinch(market: ChartMarket, serve: Serve, visit: Visit) -> None:
    page = visit(serve(market), viewport={"width": 390, "height": 844}, has_touch=True)
    box = page.page.locator("#chart-box").bounding_box()
    cdp = page.page.context.new_cdp_session(page.page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        touches = [
            {"x": box["x"] + x, "y": box["y"] + y, "id": number}
            for number, (x, y) in enumerate(points)
        ]
        cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    spacing, x = page.evaluate("() => [chart.spacing, chart.xOf(150)]")
    touch("touchStart", (100, 150))
    for step in range(1, 9):
        touch("touchMove", (100 + 10 * step, 150))
    touch("touchEnd")
    panned = page.evaluate("() => chart.xOf(150)")
    touch("touchStart", (120, 150), (180, 150))
    for step in range(1, 9):
        touch("touchMove", (120 - 5 * step, 150), (180 + 5 * step, 150))
    touch("touchEnd")

    assert 60 <= panned - x <= 81
    assert page.evaluate("() => chart.spacing") > spacing * 1.5
    page.assert_clean()


def test_symbol_and_interval_can_be_switched(
    market: ChartMarket, serve: Serve, visit: Visit
) -> None:
    page = visit(serve(market))

    page.page.locator("#symbol").select_option("ETHUSDT")
    page.page.get_by_role("button", name="4h").click()

    see(page.page.get_by_role("button", name="4h")).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("() => document.title").endswith("ETHUSDT 4h · Milo")
    assert page.page.url.endswith("/?symbol=ETHUSDT&interval=4h")
    page.assert_clean()


def test_price_axis_is_dragged_to_scale_and_clicked_twice_to_follow_again(
    market: ChartMarket, serve: Serve, visit: Visit
) -> None:
    page = visit(serve(market))
    box = page.page.locator("#chart-box").bounding_box()
    axis = box["x"] + page.evaluate("() => chart.plotWidth") + 20
    height = "() => Math.abs(chart.yOf(30000) - chart.yOf(30100))"
    before, spacing = page.evaluate(height), page.evaluate("() => chart.spacing")

    page.page.mouse.move(axis, box["y"] + 200)
    page.page.mouse.down()
    page.page.mouse.move(axis, box["y"] + 120, steps=4)
    page.page.mouse.up()
    stretched = page.evaluate(height)
    top = page.evaluate("() => chart.yOf(30000)")
    page.page.mouse.move(box["x"] + 300, box["y"] + 120)
    page.page.mouse.down()
    page.page.mouse.move(box["x"] + 310, box["y"] + 170, steps=4)
    page.page.mouse.up()
    moved = page.evaluate("() => chart.yOf(30000)")
    page.page.mouse.dblclick(axis, box["y"] + 120)

    assert stretched > before * 1.3
    assert moved == pytest.approx(top + 50, abs=1), "a fixed range moves with the mouse"
    page.evaluate("() => chart.drawNow()")
    assert page.evaluate("() => chart.ranges.size") == 0
    assert page.evaluate("() => chart.spacing") == spacing
    page.assert_clean()


def test_keys_scale_the_price_and_switch_to_logarithms(
    market: ChartMarket, serve: Serve, visit: Visit
) -> None:
    page = visit(serve(market))
    box = page.page.locator("#chart-box")
    height = "() => { chart.drawNow(); return chart.yOf(30000) - chart.yOf(30100); }"
    before = page.evaluate(height)

    box.press("Shift+ArrowUp")
    stretched = page.evaluate(height)
    box.press("a")
    followed = page.evaluate(height)
    box.press("g")
    bent = page.evaluate("() => { chart.drawNow(); return chart.paint.scale.isLog; }")

    assert stretched > before * 1.1
    assert followed == pytest.approx(before)
    assert bent is True
    page.assert_clean()


def test_older_rows_are_asked_for_once_until_they_come(
    market: ChartMarket, serve: Serve, visit: Visit
) -> None:
    page = visit(serve(market))

    asked = page.evaluate(
        """async () => {
          const { Series } = await import("/static/chart/columns.js");
          const row = (k) => [k * 3600000, 10, 12, 9, 11, 1];
          const columns = (from, to) => {
            const rows = Array.from({ length: to - from }, (_, k) => row(from + k));
            const names = ["openMs", "open", "high", "low", "close", "volume"];
            return Object.fromEntries(names.map((name, c) =>
              [name, Float64Array.from(rows, (one) => one[c])]));
          };
          const series = new Series({ interval: "1h", intervalMs: 3600000 });
          series.put(5000, columns(5000, 6000));
          let asked = 0;
          chart.needsOlder = () => { asked += 1; };
          chart.setSeries(series);
          chart.drawNow();
          const counts = [asked];
          chart.goFirst();
          chart.drawNow();
          chart.panBy(10);
          chart.drawNow();
          counts.push(asked);
          const x = chart.xOf(5010);
          chart.update(() => series.put(4000, columns(4000, 5000)));
          counts.push(Math.abs(chart.xOf(5010) - x) < 1e-6);
          chart.goFirst();
          chart.drawNow();
          counts.push(asked, chart.slotOf(0) < series.slotOf(4000));
          return counts;
        }"""
    )

    assert asked == [0, 1, True, 2, True]
