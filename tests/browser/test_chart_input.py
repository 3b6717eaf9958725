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
