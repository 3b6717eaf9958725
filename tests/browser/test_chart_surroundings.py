"""What surrounds the chart: legend, panels, settings, languages, table, files, keys."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Serve, Visit, Watched, see
from tests.browser.talkative import ACTION, FIRED, talkative_market
from tests.chart_market import HOSTILE_TEXT, ChartMarket, round_trip

STATIC = Path(__file__).resolve().parents[2] / "static"
PHONE = {"width": 360, "height": 640}


def point_at(page: Watched, index: int) -> None:
    page.evaluate("(index) => chart.pointAt(index)", index)


def spoken(page: Watched) -> Any:
    return see(page.page.locator("#spoken"))


# --- what the script said ------------------------------------------------------------------------


def test_the_script_says_why_it_fired(serve: Serve, visit: Visit) -> None:
    page = visit(serve(talkative_market()))
    panel = page.page.locator("#panel-script")
    see(panel).to_contain_text("candle 159")

    point_at(page, FIRED[-1])

    see(panel).to_contain_text("✓ true")
    see(panel).to_contain_text("long(1%risk@10x,")
    see(panel).to_contain_text("fired")
    see(panel).to_contain_text(f"candle {FIRED[-1]}")
    point_at(page, FIRED[-1] + 1)
    see(panel).to_contain_text("✗ false")
    see(panel).to_contain_text("donothing")
    page.assert_clean()


def test_a_candle_that_the_script_did_not_see_says_so(serve: Serve, visit: Visit) -> None:
    market = talkative_market()
    market.form_candle(30_000.0)
    page = visit(serve(market))
    panel = page.page.locator("#panel-script")
    see(panel).to_contain_text("candle 159")  # nobody points: the newest that it did see

    point_at(page, 160)

    see(panel).to_contain_text("did not run on this candle")


def test_lines_and_marks_of_a_script_are_drawn_and_can_be_hidden(
    serve: Serve, visit: Visit
) -> None:
    page = visit(serve(talkative_market()))
    panes = "() => { chart.drawNow(); return chart.paint.panes.map((pane) => pane.name); }"
    see(page.page.locator("#legend")).to_contain_text("middle")
    assert page.evaluate(panes) == ["price", "volume", "rsi", "swing"]
    assert page.evaluate("() => chart.notes.size") == len(FIRED)

    page.page.get_by_label("swing").uncheck()
    page.page.get_by_label("Script marks").uncheck()

    assert page.evaluate(panes) == ["price", "volume", "rsi"]
    see(page.page.locator("#legend")).not_to_contain_text("move")
    candle = talkative_market().now.candles.candle(120)
    column = "() => chart.series.columns['plot:price\\nmiddle'][120]"
    assert page.evaluate(column) == (candle.high + candle.low) / 2
    page.assert_clean()


def test_lines_of_a_script_go_on_with_new_candles(serve: Serve, visit: Visit) -> None:
    market = talkative_market()
    page = visit(serve(market))
    trail = market.now.script and market.now.script.trail
    assert trail is not None
    newest = trail.since(159)[1][0]

    market.form_candle(30_100.0)
    page.until("() => chart.series.hasForming")
    market.close_candle(30_200.0)
    trail.add(int(market.now.candles.open_ms[-1]), newest.result, is_forming=False)

    value = newest.result.plots[0].value
    page.until(f"() => chart.series.columns['plot:price\\nmiddle'][160] === {value}")
    assert page.evaluate("() => chart.series.columns['plot:price\\nmiddle'][159]") == value


def test_a_pane_may_be_named_as_anything(serve: Serve, visit: Visit) -> None:
    market = talkative_market()
    page = visit(serve(market))

    shown = page.evaluate(
        """() => {
          const { series, plots } = chart;
          for (const name of ["__proto__", "constructor", "toString"]) {
            series.columns[`plot:${name}\\nx`] = series.close.slice();
            series.names.push(`plot:${name}\\nx`);
            plots.set(`plot:${name}\\nx`, name);
          }
          chart.drawNow();
          return chart.paint.panes.map(({ top, bottom }) => bottom > top).every(Boolean);
        }"""
    )

    assert shown is True
    page.assert_clean()


# --- legend, table, trades -----------------------------------------------------------------------


def test_legend_has_the_value_of_every_line_at_the_candle(serve: Serve, visit: Visit) -> None:
    page = visit(serve(talkative_market()))
    page.page.get_by_label("MACD").check()

    point_at(page, 120)

    legend = page.page.locator("#legend").inner_text()
    for label in ("EMA 20", "EMA 200", "RSI", "MACD", "Signal", "middle", "move"):
        assert label in legend
    rsi = page.evaluate("() => chart.series.columns.rsi[120].toFixed(0)")
    assert re.search(rf"RSI\s*{rsi}\b", legend)


def test_the_chart_does_not_jump_when_the_legend_gets_shorter(serve: Serve, visit: Visit) -> None:
    market = talkative_market()
    market.change(trades=round_trip(market.now.candles))
    page = visit(serve(market), viewport=PHONE)
    height = "() => chart.canvas.getBoundingClientRect().top"
    point_at(page, 148)
    page.page.wait_for_timeout(100)
    before = page.evaluate(height)

    point_at(page, 149)
    page.page.wait_for_timeout(100)

    assert page.evaluate(height) == before


def test_table_shows_the_last_candles_in_view(serve: Serve, visit: Visit) -> None:
    market = talkative_market()
    page = visit(serve(market))
    page.page.locator("#chart-box").press("t")
    table = page.page.locator("#table")
    see(table.locator("caption")).to_contain_text("50 candles up to 07 Jan 2026 15:00")
    rows = table.locator("tbody tr")
    see(rows).to_have_count(50)
    candle = market.now.candles.candle(-1)
    see(rows.first).to_contain_text(f"{candle.open:,.1f}")

    page.evaluate("() => { chart.panBy(20 * chart.spacing); }")

    see(table.locator("caption")).not_to_contain_text("07 Jan 2026 15:00")
    page.page.get_by_role("button", name="Table").click()
    see(table).to_be_hidden()
    page.assert_clean()


def test_a_trade_leads_to_its_candle(serve: Serve, visit: Visit) -> None:
    page = visit(serve(talkative_market()))
    page.page.get_by_role("tab", name="Trades").click()
    panel = page.page.locator("#panel-trades")
    see(panel).to_contain_text("target SELL 0.05")

    panel.locator("button").first.click()

    assert page.evaluate("() => chart.crosshairIndex()") == 148
    page.assert_clean()


# --- files ---------------------------------------------------------------------------------------


def test_csv_holds_every_digit_of_the_rows_in_view(
    serve: Serve, visit: Visit, tmp_path: Path
) -> None:
    market = talkative_market()
    page = visit(serve(market))
    with page.page.expect_download() as started:
        page.page.get_by_role("button", name="CSV").click()
    file = tmp_path / "rows.csv"
    started.value.save_as(file)

    rows = list(csv.DictReader(file.read_text().splitlines()))

    first, end = page.evaluate("() => chart.visible()")
    assert started.value.suggested_filename == "BTCUSDT-1h-20260107T1500Z.csv"
    assert len(rows) == end - first
    candle = market.now.candles.candle(-1)
    assert rows[-1]["time"] == "2026-01-07T15:00:00.000Z"
    assert [float(rows[-1][name]) for name in ("open", "high", "low", "close", "volume")] == [
        candle.open, candle.high, candle.low, candle.close, candle.volume,
    ]  # fmt: skip
    assert float(rows[-1]["middle"]) == (candle.high + candle.low) / 2
    see(page.page.locator("#spoken")).to_contain_text("BTCUSDT-1h-20260107T1500Z.csv")


def test_csv_is_no_program_and_has_no_powers_of_ten(serve: Serve, visit: Visit) -> None:
    page = visit(serve(talkative_market()))

    text = page.evaluate(
        """async () => {
          const { csvOf } = await import("/static/panels/save.js");
          const { series } = chart;
          series.columns['plot:price\\n=cmd|"x"!A1'] = series.close.map(() => 1.5e-7);
          series.names.push('plot:price\\n=cmd|"x"!A1');
          return csvOf(chart);
        }"""
    )

    head, first, *_ = csv.reader(text.splitlines())
    assert head[-1] == '\'=cmd|"x"!A1'
    assert first[-1] == "0.00000015"


def test_picture_is_saved_with_what_it_shows(serve: Serve, visit: Visit, tmp_path: Path) -> None:
    page = visit(serve(talkative_market()))
    with page.page.expect_download() as started:
        page.page.get_by_role("button", name="PNG").click()
    file = tmp_path / "chart.png"
    started.value.save_as(file)

    head = file.read_bytes()[:24]

    width, height = (int.from_bytes(head[at : at + 4], "big") for at in (16, 20))
    assert started.value.suggested_filename == "BTCUSDT-1h-20260107T1500Z.png"
    assert [width, height - 30] == page.evaluate("() => [chart.canvas.width, chart.canvas.height]")
    page.assert_clean()


# --- keys and speech -----------------------------------------------------------------------------


def test_keys_choose_the_pane_that_is_read(serve: Serve, visit: Visit) -> None:
    page = visit(serve(talkative_market()))
    box = page.page.locator("#chart-box")
    box.press("ArrowLeft")
    spoken(page).to_contain_text("07 Jan 2026 15:00")
    spoken(page).to_contain_text("condition false, action donothing")

    box.press("v")
    spoken(page).to_contain_text("Volume")
    box.press("r")
    spoken(page).to_contain_text(re.compile(r"RSI \d+"))
    box.press("ArrowLeft")
    spoken(page).to_contain_text(re.compile(r"07 Jan 2026 14:00, RSI \d+"))
    box.press("Shift+ArrowUp")
    assert page.evaluate("() => [...chart.ranges.keys()]") == ["rsi"]
    box.press("a")
    assert page.evaluate("() => [...chart.ranges.keys()]") == []
    box.press("m")  # it was hidden

    spoken(page).to_contain_text("Signal")
    see(page.page.get_by_label("MACD")).to_be_checked()
    box.press("p")
    spoken(page).to_contain_text("open")
    page.assert_clean()


def test_question_mark_tells_the_keys_and_escape_goes_back(serve: Serve, visit: Visit) -> None:
    page = visit(serve(talkative_market()))
    box = page.page.locator("#chart-box")

    box.press("?")

    see(page.page.get_by_role("dialog", name="Keys in the chart")).to_be_visible()
    page.page.keyboard.press("Escape")
    see(page.page.get_by_role("dialog")).to_have_count(0)
    see(box).to_be_focused()


def test_a_fill_is_spoken(serve: Serve, visit: Visit) -> None:
    market = talkative_market()
    market.change(trades=round_trip(market.now.candles)[:1])
    page = visit(serve(market))

    market.change(trades=round_trip(market.now.candles))

    spoken(page).to_contain_text("Exit by target: SELL 0.05 at")
    spoken(page).to_contain_text("profit +12.35 USDT")


# --- choices -------------------------------------------------------------------------------------


def test_times_switch_to_the_browsers_zone_and_back(serve: Serve, visit: Visit) -> None:
    page = visit(serve(talkative_market()), timezone_id="Asia/Seoul")
    legend = page.page.locator("#legend")
    see(legend).to_contain_text("07 Jan 2026 15:00 UTC")

    page.page.locator("#zone").click()

    see(legend).to_contain_text("08 Jan 2026 00:00 Seoul")
    see(page.page.locator("#panel-script")).to_contain_text("08 Jan 2026 00:00 Seoul")
    page.page.get_by_role("tab", name="Log").click()
    see(page.page.locator("#log li").first).to_contain_text("09:00:00")
    page.page.reload()
    see(legend).to_contain_text("08 Jan 2026 00:00 Seoul")
    page.page.locator("#zone").click()
    see(legend).to_contain_text("07 Jan 2026 15:00 UTC")


def test_theme_and_colours_are_kept_for_the_next_visit(serve: Serve, visit: Visit) -> None:
    page = visit(serve(talkative_market()), color_scheme="dark")
    surface = page.evaluate("() => chart.theme.surface")

    page.page.locator("#settings").click()
    page.page.get_by_label("Theme", exact=True).select_option("light")
    page.page.get_by_label("Colours").select_option("red-up")
    page.page.keyboard.press("Escape")
    page.page.reload()

    see(page.page.locator("body")).to_have_attribute("data-phase", "chart")
    assert page.evaluate("() => chart.theme.surface") != surface
    assert page.evaluate("() => chart.theme.up") == "rgb(220, 68, 70)"


def test_hidden_layers_stay_hidden_in_the_next_visit(serve: Serve, visit: Visit) -> None:
    page = visit(serve(talkative_market()))

    page.page.get_by_label("Volume").uncheck()
    page.page.get_by_label("Stochastic").check()
    page.page.reload()

    see(page.page.get_by_label("Volume")).not_to_be_checked()
    panes = page.evaluate("() => { chart.drawNow(); return chart.paint.panes.map((p) => p.name); }")
    assert panes == ["price", "rsi", "stochastic", "swing"]


@pytest.mark.parametrize("stored", ["{", "7", '["x"]', '{"volume": "no", "__proto__": {"a": 1}}'])
def test_settings_that_are_not_ours_do_no_harm(serve: Serve, visit: Visit, stored: str) -> None:
    garbage = "".join(
        f"localStorage.setItem('milo-{name}', {json.dumps(stored)});"
        for name in ("layers", "theme", "colours", "zone", "language")
    )

    page = visit(serve(talkative_market()), before=garbage)

    see(page.page.get_by_label("Volume")).to_be_checked()
    page.assert_clean()


@pytest.mark.parametrize(
    ("language", "badge", "state", "date"),
    [
        ("de-DE", "SIMULIERT", "läuft", "07. Jan. 2026 15:00 UTC"),
        ("fr-CA", "SIMULÉ", "en marche", "07 janv. 2026 15:00 UTC"),
        ("ko-KR", "모의", "실행 중", "2026년 1월 07일 15:00 UTC"),
        ("pt-BR", "SIMULATED", "running", "07 Jan 2026 15:00 UTC"),
    ],
)
def test_the_browsers_language_is_spoken(
    serve: Serve, visit: Visit, language: str, badge: str, state: str, date: str
) -> None:
    page = visit(serve(talkative_market()), locale=language)

    see(page.page.locator("#venue")).to_have_text(badge)
    see(page.page.locator("#script-state")).to_have_text(state)
    see(page.page.locator("#legend")).to_contain_text(date)
    shown = "en" if language == "pt-BR" else language[:2]
    assert page.evaluate("() => document.documentElement.lang") == shown
    assert [url for url in page.requests if "i18n" in url] == (
        [] if shown == "en" else [f"{page.origin}/static/i18n/{shown}.json"]
    )
    page.assert_clean()


def test_another_language_is_chosen_and_kept(serve: Serve, visit: Visit) -> None:
    page = visit(serve(talkative_market()))
    page.page.locator("#settings").click()

    page.page.get_by_label("Language").select_option("de")

    see(page.page.get_by_role("dialog", name="Einstellungen")).to_be_visible()
    see(page.page.locator("#choose-language")).to_be_focused()
    assert page.evaluate("() => chart.words.target") == "Ziel"
    page.page.keyboard.press("Escape")
    for role, name in (("tab", "Protokoll"), ("button", "Tabelle"), ("group", "Ebenen")):
        see(page.page.get_by_role(role, name=name)).to_be_visible()
    page.page.reload()
    see(page.page.locator("#panel-script")).to_contain_text("Bedingung")
    page.assert_clean()


@pytest.mark.parametrize("width", [360, 1280])
def test_a_language_of_long_words_fits(serve: Serve, visit: Visit, width: int) -> None:
    """`xx`: every text is half as long again, and says where one was forgotten."""
    english = (STATIC / "i18n" / "en.js").read_text()
    texts = json.loads(english[english.index("{", english.index("ENGLISH")) :].rstrip("\n;"))
    longer = {
        key: text if key.startswith("date.") else f"⟦{text}{'·' * (len(text) // 2)}⟧"
        for key, text in texts.items()
    }
    page = visit(serve(talkative_market()), viewport={"width": width, "height": 720})
    page.page.route("**/i18n/de.json", lambda route: route.fulfill(json=longer))
    page.evaluate("() => localStorage.setItem('milo-language', 'de')")
    page.page.reload()
    see(page.page.locator("#panel-script")).to_contain_text("⟦Condition")

    assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") == 0
    cut = page.evaluate(
        """() => [...document.querySelectorAll("button, label, dt, dd, h2, legend, .badge")]
          .filter((one) => one.offsetParent && one.scrollWidth > one.clientWidth + 1)
          .filter((one) => getComputedStyle(one).overflow !== "visible" || one.scrollWidth > 300)
          .map((one) => one.outerHTML)"""
    )
    assert cut == []
    labels = page.evaluate(
        """() => [...document.querySelectorAll("button, label, dt, h2, legend")]
          .filter((one) => one.offsetParent).map((one) => one.textContent.trim())"""
    )
    kept = re.compile(r"⟦|^(UTC|[◐⚙⇤←→−+?]|\d+[mhd]|BTCUSDT.*|middle|move|swing)$")
    assert [label for label in labels if not kept.search(label)] == []


# --- a phone -------------------------------------------------------------------------------------


def test_on_a_phone_the_panels_share_one_place(serve: Serve, visit: Visit) -> None:
    page = visit(serve(talkative_market()), viewport=PHONE, has_touch=True)
    tabs = page.page.get_by_role("tab")
    see(tabs).to_have_text(["Position", "Script", "Trades", "Log", "Layers"])
    bar = page.page.get_by_role("tablist").bounding_box()
    assert round(bar["y"] + bar["height"]) == PHONE["height"]

    tabs.nth(0).tap()

    see(page.page.get_by_role("tabpanel", name="Position")).to_be_visible()
    see(page.page.locator("#panel-script")).to_be_hidden()
    tabs.nth(4).tap()
    see(page.page.get_by_label("ZigZag")).to_be_visible()
    page.page.set_viewport_size({"width": 1280, "height": 720})
    see(page.page.get_by_role("tab")).to_have_text(["Script", "Trades", "Log"])
    for shown in ("#panel-position", "#panel-layers", "#panel-script"):
        see(page.page.locator(shown)).to_be_visible()
    page.assert_clean()


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
def test_everything_to_press_is_large_enough(serve: Serve, visit: Visit, width: int) -> None:
    page = visit(serve(talkative_market()), viewport={"width": width, "height": 720})

    small = page.evaluate(
        """() => [...document.querySelectorAll("button, select, label:has(input), [role=tab]")]
          .filter((one) => one.offsetParent)
          .map((one) => [one.outerHTML, one.getBoundingClientRect()])
          .filter(([, { width, height }]) => width < 24 || height < 24)
          .map(([html]) => html)"""
    )

    assert small == []


def test_tabs_are_walked_with_arrows(serve: Serve, visit: Visit) -> None:
    page = visit(serve(talkative_market()))
    page.page.get_by_role("tab", name="Script").focus()

    page.page.keyboard.press("ArrowLeft")

    see(page.page.get_by_role("tab", name="Log")).to_be_focused()
    see(page.page.get_by_role("tabpanel", name="Log")).to_be_visible()
    page.page.keyboard.press("Home")
    see(page.page.get_by_role("tab", name="Script")).to_be_focused()


# --- whose money ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "badge"),
    [
        ({"is_simulated": True}, "SIMULATED"),
        ({"is_simulated": False, "is_real": True, "venue": "binance"}, "LIVE BINANCE"),
        ({"is_simulated": False, "venue": "binance-test"}, "PAPER BINANCE-TEST"),
        ({"is_simulated": False, "venue": "stored"}, "STORED"),
    ],
)
@pytest.mark.parametrize("width", [360, 1280])
def test_every_screen_says_whose_money_it_is(
    market: ChartMarket, serve: Serve, visit: Visit, changes: dict[str, Any], badge: str, width: int
) -> None:
    market.change(**changes)

    page = visit(serve(market), viewport={"width": width, "height": 700})

    see(page.page.locator("#venue")).to_have_text(badge)
    see(page.page.locator("#venue")).to_be_in_viewport()


def test_what_scripts_say_is_text_and_nothing_else(serve: Serve, visit: Visit) -> None:
    market = talkative_market()
    script = market.now.script
    assert script is not None
    assert script.trail is not None
    newest = script.trail.since(159)[1][0].result
    hostile = newest.__class__(
        condition=True, action=ACTION, prints=(HOSTILE_TEXT,), warnings=(HOSTILE_TEXT,),
        plots=tuple(plot.__class__(name=HOSTILE_TEXT, pane=HOSTILE_TEXT, value=1.0)
                    for plot in newest.plots[:1]),
        marks=(HOSTILE_TEXT,),
    )  # fmt: skip
    script.trail.add(int(market.now.candles.open_ms[-1]), hostile, is_forming=False)

    # High enough for one pane more.
    page = visit(serve(market), viewport={"width": 1280, "height": 1000})

    see(page.page.locator("#panel-script pre").first).to_have_text(HOSTILE_TEXT)
    see(page.page.locator("#legend")).to_contain_text(HOSTILE_TEXT)
    page.page.locator("#chart-box").press("End")
    spoken(page).to_contain_text(HOSTILE_TEXT)
    page.page.locator("#chart-box").press("t")
    see(page.page.locator("#table thead")).to_contain_text(HOSTILE_TEXT)
    assert page.page.locator("img").count() == 0
    assert page.page.title() != "owned"
    page.assert_clean()
