"""Mouse, wheel, keys and buttons on a backtest's page, in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.backtest_ledgers import golden_report, page_of, walk
from tests.browser.conftest import see

SPAN = "() => page.view.toMs - page.view.fromMs"


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """The golden report from a file; fails where the page complains or asks for anything."""
    file = tmp_path / "report.html"
    file.write_text(page_of(golden_report(), walk(1_210)), encoding="utf-8")
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url))
    page.goto(file.as_uri())
    see(page.locator("body")).to_have_attribute("data-phase", "ready")
    yield page
    assert said == [file.as_uri()]
    context.close()


def middle_of(box: Any) -> tuple[float, float]:
    rect = box.bounding_box()
    return rect["x"] + rect["width"] / 2, rect["y"] + rect["height"] / 2


def texts(page: Any, column: int) -> list[str]:
    cells = page.locator(f"#trade-body tr td:nth-child({column})")
    return [text.replace("\u2212", "-") for text in cells.all_inner_texts()]


def test_the_trade_list_sorts_by_a_column_and_back(opened: Any) -> None:
    head = opened.get_by_role("button", name="Net USDT")

    head.click()
    falling = [float(text.replace(",", "")) for text in texts(opened, 10)]
    head.click()
    rising = [float(text.replace(",", "")) for text in texts(opened, 10)]

    assert len(falling) == len(golden_report().ledger.trades)
    assert falling == sorted(falling, reverse=True)
    assert rising == sorted(falling)


@pytest.mark.parametrize("name", ["Long", "Short", "Won", "Lost"])
def test_the_trade_list_is_filtered(opened: Any, name: str) -> None:
    trades = golden_report().ledger.trades
    wanted = {
        "Long": sum(trade.direction.sign > 0 for trade in trades),
        "Short": sum(trade.direction.sign < 0 for trade in trades),
        "Won": sum(trade.net > 0 for trade in trades),
        "Lost": sum(trade.net < 0 for trade in trades),
    }

    opened.get_by_role("button", name=name, exact=True).click()

    assert len(texts(opened, 1)) == wanted[name] > 0
    see(opened.locator("#trade-count")).to_have_text(f"{wanted[name]} shown")


def test_a_click_on_a_trade_shows_it_with_its_stop_and_target(opened: Any) -> None:
    last = golden_report().ledger.trades[-1]

    opened.locator("#trade-body tr").first.click()

    assert opened.evaluate("() => page.view.fromMs") < last.entry_ms
    assert opened.evaluate(SPAN) < 200 * 3_600_000
    legend = opened.locator("#trade-legend")
    see(legend).to_contain_text(f"stop {last.stop_price:,}")
    see(legend).to_contain_text(f"target {last.target_price:,}")


def test_the_wheel_scrolls_the_page_until_the_chart_was_clicked(opened: Any) -> None:
    box = opened.locator("#price-box")
    opened.mouse.move(*middle_of(opened.locator("#equity-box")))
    span = opened.evaluate(SPAN)

    opened.mouse.wheel(0, 120)
    opened.wait_for_function("() => scrollY > 0")
    box.scroll_into_view_if_needed()
    box.click()
    opened.mouse.wheel(0, -300)

    opened.wait_for_function(f"() => ({SPAN})() < {span} * 0.9")


def test_both_charts_show_the_same_time(opened: Any) -> None:
    opened.locator("#equity-box").hover(position={"x": 300, "y": 100})

    when = opened.evaluate("() => page.view.pointedMs")

    assert when is not None
    opened.wait_for_function(
        "() => document.getElementById('price-legend').textContent.slice(0, 11) === "
        "document.getElementById('equity-legend').textContent.slice(0, 11)"
    )


def test_keys_and_buttons_zoom_and_show_all_again(opened: Any) -> None:
    box = opened.locator("#equity-box")
    whole = opened.evaluate(SPAN)

    box.focus()
    box.press("+")
    zoomed = opened.evaluate(SPAN)
    opened.get_by_role("button", name="All", exact=True).first.click()
    back = opened.evaluate(SPAN)
    box.press("Home")

    assert zoomed < whole * 0.9
    assert back == whole
    assert opened.evaluate("() => page.charts[0].crosshairIndex()") == 0


def test_a_drag_scrolls_and_stays_within_the_run(opened: Any) -> None:
    box = opened.locator("#equity-box")
    for _ in range(6):
        box.press("+")
    x, y = middle_of(box)
    before = opened.evaluate("() => page.view.fromMs")

    opened.mouse.move(x, y)
    opened.mouse.down()
    opened.mouse.move(x + 200, y, steps=4)
    opened.mouse.up()
    moved = opened.evaluate("() => page.view.fromMs")
    opened.evaluate("() => page.charts[0].panBy(1e9)")

    assert moved < before
    assert opened.evaluate("() => page.view.fromMs === page.view.firstMs") is True


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_never_scrolls_sideways(opened: Any, width: int) -> None:
    opened.set_viewport_size({"width": width, "height": 800})

    assert opened.evaluate("() => document.documentElement.scrollWidth") <= width
