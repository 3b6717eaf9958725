"""History columns and live messages: a page that puts them together has what the engine has."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import random
import struct
from typing import Any

import numpy as np
import pytest

from milo.candles import Candles
from milo.charts.history import CANDLE_NAMES, HistoryRequest, history_body, overview_columns
from milo.charts.indicators import LINE_NAMES, ChartIndicators
from milo.charts.live import PULSE_MS, LiveFeed, tail_change
from milo.charts.snapshot import ChartSnapshot
from milo.charts.views import SeriesViews
from milo.ta import ema, macd, rsi, stochastic
from tests.chart_market import HOUR_MS, after, line, long_position, round_trip, snapshot_of, walk


def unpacked(body: bytes) -> tuple[dict[str, Any], dict[str, list[float]], list[list[float]]]:
    """Return header, columns by name, and the overview's columns, as a page reads them."""
    (length,) = struct.unpack_from("<I", body)
    header = json.loads(body[4 : 4 + length])
    start = 4 + length
    assert start % 8 == 0
    columns = {}
    for name in header["columns"]:
        columns[name] = list(struct.unpack_from(f"<{header['count']}d", body, start))
        start += 8 * header["count"]
    overview = []
    for _ in range(3 if header["buckets"] else 0):
        overview.append(list(struct.unpack_from(f"<{header['buckets']}d", body, start)))
        start += 8 * header["buckets"]
    assert start == len(body)
    return header, columns, overview


def numbers(rows: list[list[Any]]) -> list[list[float | None]]:
    """Return rows with None for NaN, which JSON has no form for."""
    return [[None if v is None or math.isnan(v) else float(v) for v in row] for row in rows]


def history(snapshot: ChartSnapshot, **wanted: int) -> tuple[Any, Any, Any]:
    return unpacked(history_body(SeriesViews("run").of(snapshot), HistoryRequest(**wanted)))


def test_history_holds_the_candles_and_what_scripts_see_of_them() -> None:
    candles = walk(400)

    header, columns, _ = history(snapshot_of(candles))

    assert (header["first"], header["count"], header["total"]) == (0, 400, 400)
    assert header["columns"] == [*CANDLE_NAMES, *LINE_NAMES]
    assert columns["openMs"] == candles.open_ms.tolist()
    assert columns["close"] == candles.close.tolist()
    line, signal = macd(candles.close, 12, 26, 9)
    k, d = stochastic(candles.high, candles.low, candles.close, 14, 3)
    expected = {
        "ema20": ema(candles.close, 20),
        "ema200": ema(candles.close, 200),
        "rsi": rsi(candles.close, 14),
        "macd": line,
        "macdSignal": signal,
        "stochK": k,
        "stochD": d,
    }
    assert sorted(expected) == sorted(LINE_NAMES)
    for name, values in expected.items():
        assert np.array_equal(columns[name], values, equal_nan=True), name


@pytest.mark.parametrize(
    ("wanted", "rows"),
    [
        ({"end": 100, "count": 30}, (70, 100)),
        ({"end": 10, "count": 30}, (0, 10)),
        ({"end": 0, "count": 30}, (0, 0)),
        ({"end": 9_999, "count": 30}, (370, 400)),
        ({"count": 0}, (400, 400)),
    ],
)
def test_any_part_of_the_history_can_be_had(wanted: dict[str, int], rows: tuple[int, int]) -> None:
    candles = walk(400)

    header, columns, _ = history(snapshot_of(candles), **wanted)

    first, end = rows
    assert (header["first"], header["count"]) == (first, end - first)
    assert columns["open"] == candles.open[first:end].tolist()
    whole = history(snapshot_of(candles))[1]
    assert np.array_equal(columns["ema20"], whole["ema20"][first:end], equal_nan=True)


def test_items_that_touch_the_rows_come_with_them() -> None:
    whole, _, _ = history(snapshot_of(walk(400)))

    part, _, _ = history(snapshot_of(walk(400)), end=260, count=60)

    indices = [point["index"] for point in part["zigzag"]]
    inside = [point for point in whole["zigzag"] if 200 <= point["index"] < 260]
    assert [p for p in part["zigzag"] if 200 <= p["index"] < 260] == inside
    # The lines to the neighbours on both sides.
    assert indices[0] < 200 <= indices[1]
    assert indices[-2] < 260 <= indices[-1]
    assert part["divergences"] == [
        item
        for item in whole["divergences"]
        if item["endIndex"] >= 200 and item["startIndex"] < 260
    ]
    assert whole["divergences"]


@pytest.mark.parametrize("wanted", [{"end": -1}, {"count": 200_001}, {"buckets": 4_001}])
def test_numbers_out_of_range_are_refused(wanted: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must"):
        HistoryRequest(**wanted)


@pytest.mark.parametrize("buckets", [1, 7, 160, 500])
def test_overview_keeps_every_extreme(buckets: int) -> None:
    candles = walk(160)

    low, high, close = overview_columns(candles, buckets)

    assert len(low) == len(high) == len(close) == min(buckets, 160)
    assert (low.min(), high.max()) == (candles.low.min(), candles.high.max())
    assert close[-1] == candles.close[-1]
    edges = [round(part * 160 / len(low) - 0.499) for part in range(len(low) + 1)]
    for part, (start, end) in enumerate(itertools.pairwise(edges)):
        assert low[part] == candles.low[start:end].min()


def test_forming_values_are_those_of_the_closed_candle_that_follows() -> None:
    indicators = ChartIndicators()
    candles = walk(230)
    for step in range(40):
        coming = after(candles, 30_000.0 + 37.0 * math.sin(step))
        live = indicators.forming(candles, coming)
        candles = candles.appended(coming)
        closed = ChartIndicators().closed(candles)
        assert live == {name: values.item(-1) for name, values in closed.items()}
        if step % 3 == 0:
            assert np.array_equal(indicators.closed(candles)["rsi"], closed["rsi"], equal_nan=True)


def test_forming_values_cost_the_engines_candles_no_room() -> None:
    candles = walk(100)
    ChartIndicators().forming(candles, after(candles, 31_000.0))

    first = candles.appended(after(candles, 30_000.0))
    assert first.close[-1] == 30_000.0
    assert len(candles) == 100


class Page:
    """A page that does with the messages what static/lib/socket.js does."""

    def __init__(self) -> None:
        self.feed = LiveFeed()
        self.rows: list[list[float]] = []
        self.items: dict[str, list[Any]] = {}
        self.members: dict[str, Any] = {}
        self.live: Any = None
        self.seq = 0
        self.settled: int | None = None

    def watch_again(self, series: str) -> None:
        """Ask once more, as after a lost connection, with what is here."""
        swings = [item["index"] for item in self.items["zigzag"] if item["confirmed"]]
        self.settled = max(swings, default=0)
        self.feed = LiveFeed(series=series, total=len(self.rows), settled=self.settled)
        self.seq = 0

    def look(self, views: SeriesViews, snapshot: ChartSnapshot, now_ms: int) -> bool:
        view = views.of(snapshot)
        text = self.feed.message(snapshot, view, now_ms)
        if text is None:
            return False
        message = json.loads(text)
        self.seq += 1
        assert message["seq"] == self.seq
        if message.get("reload"):
            header, columns, _ = unpacked(history_body(view, HistoryRequest()))
            self.rows = [list(row) for row in zip(*columns.values(), strict=True)]
            self.items = {name: header[name] for name in ("zigzag", "divergences")}
        elif self.settled is not None:
            for name, key in (("zigzag", "index"), ("divergences", "endIndex")):
                self.items[name] = [i for i in self.items[name] if i[key] < self.settled]
        self.settled = None
        self.rows += message.get("rows", [])
        for name, key in (("zigzag", "index"), ("divergences", "startIndex")):
            change = message.get(name)
            if change is not None:
                kept = [item for item in self.items[name] if item[key] < change["from"]]
                self.items[name] = kept + change["items"]
        self.live = message.get("live", self.live)
        for name in ("meta", "position", "trades", "log"):
            if name in message:
                self.members[name] = message[name]
        return True


@pytest.mark.parametrize("seed", range(12))
def test_page_has_what_a_new_page_gets_however_seldom_it_looks(seed: int) -> None:
    chance = random.Random(seed)
    views = SeriesViews("run")
    page = Page()
    candles = walk(chance.randint(0, 60), seed=seed)
    if not len(candles):
        candles = Candles.empty().appended(walk(1).candle(0))
    snapshot = snapshot_of(candles)
    for step in range(60):
        forming = after(candles, 30_000.0 + chance.uniform(-900.0, 900.0))
        if chance.random() < 0.5:
            candles = candles.appended(forming)
            forming = after(candles, forming.close + 5.0)
        snapshot = dataclasses.replace(snapshot, candles=candles, forming=forming)
        if chance.random() < 0.2 and len(candles) > 30:
            snapshot = dataclasses.replace(
                snapshot,
                trades=round_trip(candles) if chance.random() < 0.5 else (),
                position=long_position(candles) if chance.random() < 0.5 else None,
                log=(line(str(step)),),
            )
        if chance.random() < 0.4:
            page.look(views, snapshot, step)
            if chance.random() < 0.3:
                page.watch_again(views.of(snapshot).series)
    page.look(views, snapshot, 61)

    fresh = Page()
    fresh.look(SeriesViews("run"), snapshot, 0)
    assert numbers(page.rows) == numbers(fresh.rows)
    assert page.live == fresh.live
    assert page.members == fresh.members
    for name, key in (("zigzag", "index"), ("divergences", "startIndex")):
        found, expected = page.items[name], fresh.items[name]
        assert sorted(found, key=lambda i: json.dumps(i)) == sorted(
            expected, key=lambda i: json.dumps(i)
        ), key


def test_nothing_new_is_no_message_until_the_pulse() -> None:
    views = SeriesViews("run")
    page = Page()
    snapshot = snapshot_of(walk(30), forming=after(walk(30), 30_500.0))

    assert page.look(views, snapshot, 0)
    assert not page.look(views, dataclasses.replace(snapshot, clock_ms=9), PULSE_MS - 1)
    assert page.look(views, snapshot, PULSE_MS)


def test_page_that_has_the_history_gets_only_what_followed() -> None:
    views = SeriesViews("run")
    candles = walk(50)
    series = views.of(snapshot_of(candles)).series
    grown = candles.appended(after(candles, 31_000.0))

    text = LiveFeed(series=series, total=50).message(
        snapshot_of(grown), views.of(snapshot_of(grown)), 0
    )

    message = json.loads(text or b"")
    assert "reload" not in message
    assert [row[0] for row in message["rows"]] == [int(candles.open_ms[-1]) + HOUR_MS]
    assert message["zigzag"]["from"] <= 50


@pytest.mark.parametrize(
    ("series", "total"), [("other", 50), (None, 0), ("same", 51), ("same", -9_000)]
)
def test_page_with_another_history_loads_it_anew(series: str | None, total: int) -> None:
    views = SeriesViews("run")
    view = views.of(snapshot_of(walk(50)))
    named = view.series if series == "same" else series

    message = json.loads(
        LiveFeed(series=named, total=total).message(snapshot_of(walk(50)), view, 0) or b""
    )

    assert message["reload"] is True
    assert message["total"] == 50


def test_tail_change_names_the_first_item_that_differs() -> None:
    old = [{"index": 1, "v": 1}, {"index": 4, "v": 2}, {"index": 9, "v": 3}]

    assert tail_change(old, old, "index") is None
    assert tail_change(old, old[:2], "index") == {"from": 9, "items": []}
    assert tail_change(old, [*old[:2], {"index": 7, "v": 3}], "index") == {
        "from": 7,
        "items": [{"index": 7, "v": 3}],
    }


def test_mended_history_is_another_series() -> None:
    views = SeriesViews("run")
    whole = walk(30)
    rows = [(c.open_ms, c.open, c.high, c.low, c.close, c.volume) for c in whole]
    before = views.of(snapshot_of(Candles.from_rows(rows[:10] + rows[12:]))).series

    assert views.of(snapshot_of(whole)).series != before
