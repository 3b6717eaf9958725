"""What the chart draws, pixel by pixel, against what the raw data say it should.

Each test paints one layer alone in a colour of its own on an empty canvas, reads the picture back,
and compares the highest and lowest pixel of every column with values that are computed here anew.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import struct
from dataclasses import dataclass
from typing import Any

import pytest

from milo.ta.momentum import rsi
from tests.browser.conftest import Serve, Visit, Watched
from tests.chart_market import HOUR_MS, START_MS, ChartMarket, snapshot_of, walk

COUNT = 9_000
WHITE = "rgb(255, 255, 255)"
GAP_AT = 6_100
"""Five hours are missing before this candle."""

# A chart of our own, beside the page's: only what a test turns on is drawn.
SETUP = """async ([candles, swings, width, height]) => {
  const { Series } = await import("/static/chart/columns.js");
  const { Chart } = await import("/static/chart/view.js");
  const frame = document.createElement("div");
  Object.assign(frame.style, { position: "fixed", left: 0, top: 0, width: width + "px",
    height: height + "px", zIndex: 9 });
  const canvases = [0, 1].map(() => document.createElement("canvas"));
  for (const canvas of canvases) Object.assign(canvas.style, { position: "absolute", width: "100%",
    height: "100%" });
  frame.append(...canvases);
  document.body.append(frame);
  const own = new Chart(frame, ...canvases);
  const series = new Series({ interval: "1h", intervalMs: 3600000, names: ["ema20"] });
  series.append(candles, null);
  own.decimals = 1;
  own.setSeries(series);
  own.setItems({ zigzag: swings });
  globalThis.own = own;
}"""
PAINT = """([layers, tokens, first, last, isLog]) => {
  const theme = new Proxy({ font: "sans-serif" }, {
    get: (known, name) => known[name] ?? tokens[name] ?? "rgb(0, 0, 0)" });
  const off = { zigzag: false, averages: false, volume: false, rsi: false };
  Object.assign(own.layers, off, layers);
  own.isLog = isLog;
  own.theme = theme;
  own.showRange(first, last);
  own.drawNow();
  const { ctx, canvas, paint, series } = own;
  const { data, width } = ctx.getImageData(0, 0, paint.right, paint.panes[0].bottom);
  const columns = [];
  for (let x = 0; x < width; x += 1) {
    let top = -1, bottom = -1;
    for (let y = 0; y < paint.panes[0].bottom; y += 1) {
      const k = (y * width + x) * 4;
      if (data[k] + data[k + 1] + data[k + 2] === 0) continue;
      if (top < 0) top = y;
      bottom = y;
    }
    columns.push([top, bottom]);
  }
  const { low, high, top, bottom } = paint.scale;
  return { columns, right: own.right, spacing: paint.spacing, edge: paint.right,
    scale: [low, high, top, bottom], slots: Array.from(series.slot.slice(0, series.end)) };
}"""


@dataclass(frozen=True)
class Drawn:
    """A picture's columns, and how slots and prices map to it."""

    columns: list[list[int]]
    right: float
    spacing: float
    edge: float
    scale: list[float]
    slots: list[float]
    is_log: bool

    def x_of(self, slot: float) -> float:
        return self.edge - (self.right - slot) * self.spacing

    def y_of(self, price: float) -> float:
        low, high, top, bottom = self.scale
        if self.is_log:
            low, high, price = math.log(low), math.log(high), math.log(price)
        return top + (high - price) * (bottom - top) / (high - low)


def rows_with_a_gap() -> list[list[float]]:
    return [
        [
            c.open_ms + (5 * HOUR_MS if index >= GAP_AT else 0),
            *(c.open, c.high, c.low, c.close, c.volume),
            c.close * (1.0 + 0.004 * math.sin(index / 7)),
        ]
        for index, c in enumerate(walk(COUNT, seed=7))
    ]


def swings_of(rows: list[list[float]]) -> list[dict[str, Any]]:
    """Return swing points at odd distances, so that many share a pixel where all are in view."""
    rng = random.Random(3)
    places, index = [], 2
    while index < len(rows):
        places.append(index)
        index += rng.choice((2, 3, 5, 11))
    return [
        {
            "index": place,
            "value": rows[place][2] if k % 2 else rows[place][3],
            "type": "peak" if k % 2 else "low",
            "label": "",
            "confirmed": True,
        }
        for k, place in enumerate(places)
    ]


@pytest.fixture
def rows() -> list[list[float]]:
    return rows_with_a_gap()


@pytest.fixture
def page(serve: Serve, visit: Visit, rows: list[list[float]]) -> Watched:
    page = visit(serve(ChartMarket(snapshot_of(walk(20)))))
    page.evaluate(SETUP, [rows, swings_of(rows), 700, 420])
    return page


def drawn(
    page: Watched,
    layers: dict[str, bool],
    colours: dict[str, str],
    view: tuple[int, int],
    *,
    is_log: bool = False,
) -> Drawn:
    found = page.evaluate(PAINT, [layers, colours, *view, is_log])
    return Drawn(**found, is_log=is_log)


VIEWS = [(0, COUNT - 1), (3_000, 8_203), (5_907, 6_309), (GAP_AT - 40, GAP_AT + 60)]


def by_column(drawn: Drawn, slots: list[tuple[float, int]]) -> dict[int, list[int]]:
    """Return which places stand in each pixel column."""
    columns: dict[int, list[int]] = {}
    for slot, place in slots:
        columns.setdefault(math.floor(drawn.x_of(slot)), []).append(place)
    return columns


def test_candles_reach_exactly_from_low_to_high_in_every_column(
    page: Watched, rows: list[list[float]]
) -> None:
    for view, is_log in itertools.product(VIEWS[:3], (False, True)):
        picture = drawn(page, {}, {"up": WHITE, "down": WHITE}, view, is_log=is_log)
        check_candles(picture, rows, view)


def check_candles(picture: Drawn, rows: list[list[float]], view: tuple[int, int]) -> None:
    assert picture.spacing < 2, "columns are drawn, not bodies"
    expected = by_column(picture, [(picture.slots[i], i) for i in range(COUNT)])
    checked = 0
    last_y = round(picture.y_of(rows[-1][4]))
    for x, places in expected.items():
        if not 0 <= x < picture.edge - 1:
            continue
        top = round(picture.y_of(max(rows[i][2] for i in places)))
        bottom = max(top + 1, round(picture.y_of(min(rows[i][3] for i in places)))) - 1
        found_top, found_bottom = picture.columns[x]
        if found_top == last_y or found_bottom == last_y:  # the dots of the last price
            continue
        # A candle on the edge of two columns may stand in either: allow for nothing else.
        near = [i for i in range(places[0] - 1, places[-1] + 2) if 0 <= i < COUNT]
        is_sharp = all(
            abs(picture.x_of(picture.slots[i]) - round(picture.x_of(picture.slots[i]))) > 1e-6
            for i in near
        )
        if is_sharp:
            assert (found_top, found_bottom) == (top, bottom), (view, x)
            checked += 1
    assert checked > 0.7 * min(picture.edge, view[1] - view[0])


def test_lines_lose_no_extreme_where_points_outnumber_pixels(
    page: Watched, rows: list[list[float]]
) -> None:
    swings = [(item["index"], item["value"]) for item in swings_of(rows)]
    averages = [(index, row[6]) for index, row in enumerate(rows)]
    for view in VIEWS[:2]:
        picture = drawn(page, {"zigzag": True, "averages": False}, {"zigzag": WHITE}, view)
        check_line(picture, swings, rows[-1][4])
        picture = drawn(page, {"averages": True, "zigzag": False}, {"line1": WHITE}, view)
        check_line(picture, averages, rows[-1][4])


def check_line(picture: Drawn, points: list[tuple[int, float]], last_close: float) -> None:
    expected = by_column(picture, [(picture.slots[i], k) for k, (i, _) in enumerate(points)])

    last_y = round(picture.y_of(last_close))
    checked = 0
    for x, places in expected.items():
        if not 1 <= x < picture.edge - 1:
            continue
        own = [points[k][1] for k in places]
        # A stroke is wider than a column: its neighbours' points show in it.
        first = expected.get(x - 1, places)[0] - 1
        last = expected.get(x + 1, places)[-1] + 1
        near = [value for _, value in points[max(0, first) : last + 1]]
        found_top, found_bottom = picture.columns[x]
        assert found_top >= 0, f"a hole in column {x}"
        if last_y in (found_top, found_bottom):
            continue
        # It reaches every point of the column, and goes no further than to the next ones.
        assert found_top <= picture.y_of(max(own)) + 1, x
        assert found_bottom >= picture.y_of(min(own)) - 2, x
        assert found_top >= picture.y_of(max(near)) - 2, x
        assert found_bottom <= picture.y_of(min(near)) + 2, x
        checked += 1
    assert checked > 0.7 * min(picture.edge, len(expected))


def test_zigzag_is_one_line_that_passes_through_every_swing(
    page: Watched, rows: list[list[float]]
) -> None:
    view = VIEWS[3]
    picture = drawn(page, {"zigzag": True}, {"zigzag": WHITE}, view)
    points = [(picture.x_of(picture.slots[s["index"]]), picture.y_of(s["value"]))
              for s in swings_of(rows)]  # fmt: skip
    last_y = round(picture.y_of(rows[-1][4]))

    seen = [(x, y) for x, y in points if 4 < x < picture.edge - 4]
    first, last = round(seen[0][0]), round(seen[-1][0])

    assert len(seen) > 10
    assert all(picture.columns[x][0] >= 0 for x in range(first, last)), "a hole in the line"
    for (x, y), before, after in zip(seen[1:-1], seen, seen[2:], strict=False):
        is_peak = y < min(before[1], after[1])
        if not is_peak and y < max(before[1], after[1]):
            continue  # the line goes on: made-up swings need not turn
        reach = picture.columns[math.floor(x)][0 if is_peak else 1]
        if abs(reach - last_y) > 1:
            assert abs(reach - y) <= 3, (x, y, reach)


def test_divergence_is_drawn_where_it_crosses_a_view_that_holds_neither_end(
    page: Watched, rows: list[list[float]]
) -> None:
    start, end = 4_000, 6_000
    item = {
        "type": "bearish", "startIndex": start, "endIndex": end, "confirmed": True,
        "startPrice": rows[4_990][2], "endPrice": rows[5_010][2] * 1.001,
        "startRSI": 60.0, "endRSI": 50.0,
    }  # fmt: skip
    page.evaluate("(item) => own.setItems({ zigzag: [], divergences: [item] })", item)

    picture = drawn(page, {"divergences": True}, {"bear": WHITE}, (4_950, 5_049))

    x_start, x_end = picture.x_of(picture.slots[start]), picture.x_of(picture.slots[end])
    y_start, y_end = picture.y_of(item["startPrice"]), picture.y_of(item["endPrice"])
    assert x_start < 0
    assert x_end > picture.edge
    for x in (5, picture.edge / 4, picture.edge - 5):
        top, bottom = picture.columns[round(x)]
        y = y_start + (y_end - y_start) * (x - x_start) / (x_end - x_start)
        assert top - 2 <= y <= bottom + 2
    page.evaluate("() => own.setItems({ zigzag: [], divergences: [] })")


def test_rows_can_be_put_before_and_after_and_give_the_same_picture(
    page: Watched, rows: list[list[float]]
) -> None:
    outcome = page.evaluate(
        """async (rows) => {
          const { Series } = await import("/static/chart/columns.js");
          const names = ["openMs", "open", "high", "low", "close", "volume", "ema20"];
          const columns = (from, to) => Object.fromEntries(names.map((name, k) =>
            [name, Float64Array.from(rows.slice(from, to), (row) => row[k])]));
          const make = () => new Series({ interval: "1h", intervalMs: 3600000, names: ["ema20"] });
          const whole = make();
          whole.append(rows, null);
          const parts = make();
          parts.put(6500, columns(6500, 7000));
          parts.least("low"); parts.most("ema20"); // pyramids that must follow
          parts.put(6050, columns(6050, 6500));
          parts.append(rows.slice(7000, 7001), rows[7001]);
          parts.append(rows.slice(7001, 8000), null);
          parts.put(0, columns(0, 6050));
          parts.append(rows.slice(8000), null);
          const worst = { low: 0, high: 0, slot: 0 };
          let seed = 5;
          const random = (n) => (seed = (seed * 48271) % 2147483647) % n;
          for (let k = 0; k < 3000; k += 1) {
            const from = random(rows.length), to = from + 1 + random(rows.length - from);
            let low = Infinity, high = -Infinity;
            for (let i = from; i < to; i += 1) {
              low = Math.min(low, rows[i][3]);
              high = Math.max(high, rows[i][6]);
            }
            if (parts.least("low").over(from, to) !== low) worst.low += 1;
            if (parts.most("ema20").over(from, to) !== high) worst.high += 1;
          }
          const shift = whole.slot[0] - parts.slot[0];
          for (let i = 0; i < rows.length; i += 1) {
            if (whole.slot[i] - parts.slot[i] !== shift) worst.slot += 1;
          }
          let refused = "";
          try { parts.put(20000, columns(0, 3)); } catch (error) { refused = error.name; }
          return { ...worst, ends: [parts.first, parts.closed, parts.hasForming],
            gaps: [whole.gaps, parts.gaps], refused };
        }""",
        rows,
    )

    assert outcome == {
        "low": 0, "high": 0, "slot": 0, "ends": [0, COUNT, False],
        "gaps": [[GAP_AT], [GAP_AT]], "refused": "RangeError",
    }  # fmt: skip


def test_binary_history_becomes_a_series(page: Watched, rows: list[list[float]]) -> None:
    names = ["openMs", "open", "high", "low", "close", "volume", "ema20"]
    header = {"first": 120, "count": 3, "total": 123, "columns": names, "buckets": 2}
    text = json.dumps(header).encode()
    text += b" " * (-(4 + len(text)) % 8)
    some = [*rows[120:122], [*rows[122][:6], math.nan]]
    values = [row[k] for k in range(7) for row in some] + [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    body = struct.pack("<I", len(text)) + text + struct.pack(f"<{len(values)}d", *values)

    found = page.evaluate(
        """async (bytes) => {
          const { decodeHistory } = await import("/static/chart/history.js");
          const { Series } = await import("/static/chart/columns.js");
          const { header, columns, overview } = decodeHistory(Uint8Array.from(bytes).buffer);
          const series = new Series({ interval: "1h", intervalMs: 3600000, names: ["ema20"] });
          series.put(header.first, columns);
          return [series.first, series.closed, series.close[121], series.columns.ema20[121],
            Number.isNaN(series.columns.ema20[122]), Array.from(overview.close)];
        }""",
        list(body),
    )

    assert found == [120, 123, rows[121][4], rows[121][6], True, [5.0, 6.0]]


def test_history_of_the_server_is_drawn_with_its_panes(serve: Serve, visit: Visit) -> None:
    market = ChartMarket(snapshot_of(walk(400)))
    page = visit(serve(market))

    found = page.evaluate(
        """async () => {
          const { decodeHistory } = await import("/static/chart/history.js");
          const { Series } = await import("/static/chart/columns.js");
          const load = async (query) => {
            const answer = await fetch(`/history?symbol=BTCUSDT&interval=1h&${query}`);
            return decodeHistory(await answer.arrayBuffer());
          };
          const { header, columns } = await load("count=150");
          const older = await load(`count=150&end=${header.first}`);
          const names = header.columns.slice(6);
          const series = new Series({ interval: "1h", intervalMs: 3600000, names });
          series.put(header.first, columns);
          chart.layers.macd = chart.layers.stochastic = true;
          chart.setSeries(series);
          chart.setItems(header);
          chart.drawNow();
          const panes = chart.paint.panes.map(({ name, lines }) => [name, ...lines]);
          chart.update(() => series.put(older.header.first, older.columns));
          chart.drawNow();
          const { rsi, macd, macdSignal, macdHistogram } = series.columns;
          const isDifference = Array.from({ length: 300 }, (_, k) => k + 100)
            .every((i) => Object.is(macdHistogram[i], macd[i] - macdSignal[i]));
          return { panes, rows: [series.first, series.end], close: series.close[100],
            rsi: rsi[399], swings: chart.swings.items.length, isDifference };
        }"""
    )

    candles = market.now.candles
    assert found["panes"] == [
        ["price", "ema20", "ema200"], ["volume"], ["rsi", "rsi"],
        ["macd", "macd", "macdSignal"], ["stochastic", "stochK", "stochD"],
    ]  # fmt: skip
    assert found["isDifference"] is True
    assert found["rows"] == [100, 400]
    assert found["close"] == float(candles.close[100])
    assert found["rsi"] == pytest.approx(float(rsi(candles.close, 14)[-1]))
    assert found["swings"] > 3
    page.assert_clean()


ZONES = [
    # zone, a time (UTC), hours that its clocks are ahead
    ("UTC", "2026-03-29T00:30:00Z", 0),
    ("Europe/Berlin", "2026-03-29T00:59:00Z", 1),
    ("Europe/Berlin", "2026-03-29T01:00:00Z", 2),
    ("Europe/Berlin", "2026-10-25T00:59:00Z", 2),
    ("Europe/Berlin", "2026-10-25T01:00:00Z", 1),
    ("America/New_York", "2026-03-08T07:00:00Z", -4),
    ("Asia/Seoul", "2026-06-01T00:00:00Z", 9),
    ("Asia/Kathmandu", "2026-06-01T00:00:00Z", 5.75),
    ("Australia/Lord_Howe", "2026-04-04T14:59:00Z", 11),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z", 10.5),
]


def test_ticks_stand_at_round_wall_times_on_days_when_clocks_change(page: Watched) -> None:
    found = page.evaluate(
        """async ([zones, start]) => {
          const { Series } = await import("/static/chart/columns.js");
          const { timeTicks, zoneOffset } = await import("/static/chart/scale.js");
          const day = (text) => {
            const series = new Series({ interval: "1h", intervalMs: 3600000 });
            const first = Date.parse(text);
            const row = (k) => [first + k * 3600000, 1, 2, 1, 2, 1];
            series.append(Array.from({ length: 72 }, (_, k) => row(k)), null);
            return timeTicks(series, 0, 71, 5, "Europe/Berlin").map(({ slot, label }) =>
              [new Date(series.timeOfSlot(slot)).toISOString().slice(5, 16), label]);
          };
          return {
            offsets: zones.map(([zone, time]) => zoneOffset(Date.parse(time), zone) / 3600000),
            spring: day("2026-03-28T12:00:00Z"),
            autumn: day("2026-10-24T12:00:00Z"),
          };
        }""",
        [[[zone, time] for zone, time, _ in ZONES], START_MS],
    )

    assert found["offsets"] == [hours for _, _, hours in ZONES]
    assert found["spring"][:6] == [
        ["03-28T17:00", "18:00"], ["03-28T23:00", "29 Mar"], ["03-29T04:00", "06:00"],
        ["03-29T10:00", "12:00"], ["03-29T16:00", "18:00"], ["03-29T22:00", "30 Mar"],
    ]  # fmt: skip
    assert found["autumn"][:6] == [
        ["10-24T16:00", "18:00"], ["10-24T22:00", "25 Oct"], ["10-25T05:00", "06:00"],
        ["10-25T11:00", "12:00"], ["10-25T17:00", "18:00"], ["10-25T23:00", "26 Oct"],
    ]  # fmt: skip
