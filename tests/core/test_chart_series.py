"""The JSON of GET /data: MILOBOT's shape, increments, bounds."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milo.candles import Candles
from milo.charts.members import iso_ms
from milo.charts.series import CANDLE_LIMIT, SeriesEncoder
from milo.charts.snapshot import ChartSnapshot
from milo.charts.views import SeriesViews
from milo.model import Candle
from tests.chart_market import (
    HOSTILE_TEXT,
    START_MS,
    after,
    golden_overlays,
    line,
    long_position,
    round_trip,
    snapshot_of,
    walk,
)


class Answers:
    """An encoder with the views that it shares with others."""

    def __init__(self, run_id: str, limit: int = CANDLE_LIMIT) -> None:
        self.views = SeriesViews(run_id)
        self.encoder = SeriesEncoder(limit=limit)


def ask(answers: Answers, snapshot: ChartSnapshot, since: str | None = None) -> Any:
    return json.loads(answers.encoder.body(snapshot, answers.views.of(snapshot), since))


def test_full_answer_has_the_four_members_of_milobot() -> None:
    candles = walk(160)
    forming = after(candles, 30_500.0)

    answer = ask(Answers("run"), snapshot_of(candles, forming=forming))

    assert len(answer["historical"]) == 160
    first = candles.candle(0)
    assert answer["historical"][0] == {
        "time": "2026-01-01T00:00:00Z",
        "open": first.open,
        "high": first.high,
        "low": first.low,
        "close": first.close,
        "volume": first.volume,
    }
    assert answer["liveCandle"]["close"] == 30_500.0
    assert answer["liveCandle"]["time"] == iso_ms(forming.open_ms)
    assert answer["zigzag"][0].keys() >= {"index", "value", "type", "label", "time"}
    assert answer["divergences"][0].keys() >= {
        "type", "startIndex", "endIndex", "startPrice", "endPrice", "startRSI", "endRSI",
        "startTime", "endTime",
    }  # fmt: skip


def test_overlay_indices_count_in_historical() -> None:
    answer = ask(Answers("run", limit=100), snapshot_of(walk(160)))

    rows = answer["historical"]
    assert len(rows) == 100
    for point in answer["zigzag"]:
        assert rows[point["index"]]["time"] == point["time"]
        assert rows[point["index"]]["close"] == point["value"]
    for item in answer["divergences"]:
        assert rows[item["startIndex"]]["time"] == item["startTime"]
        assert rows[item["endIndex"]]["time"] == item["endTime"]


def test_only_the_last_swing_point_is_provisional() -> None:
    points = ask(Answers("run"), snapshot_of(walk(160)))["zigzag"]

    assert [point["confirmed"] for point in points] == [True] * (len(points) - 1) + [False]


def test_overlays_equal_the_golden_file(project_dir: Path) -> None:
    golden = json.loads((project_dir / "tests/golden/chart_overlays.json").read_text())

    assert golden_overlays() == golden


def test_increment_holds_only_what_is_new() -> None:
    encoder = Answers("run")
    candles = walk(160)
    snapshot = snapshot_of(candles, trades=round_trip(candles), log=(line("a"),))
    full = ask(encoder, snapshot)

    same = ask(encoder, snapshot, full["cursor"])
    newer = ask(
        encoder, snapshot_of(candles.appended(after(candles, 31_000.0)), log=(line("b"),)),
        same["cursor"],
    )  # fmt: skip

    assert (full["increment"], same["increment"], newer["increment"]) == (False, True, True)
    assert same["historical"] == []
    assert [same[name] for name in ("zigzag", "divergences", "trades", "log")] == [None] * 4
    assert [row["close"] for row in newer["historical"]] == [31_000.0]
    assert newer["zigzag"][-1]["time"] == newer["historical"][0]["time"]
    assert newer["trades"] == []
    assert [entry["text"] for entry in newer["log"]] == ["b"]


def test_cursor_of_another_run_symbol_or_interval_gets_a_full_answer() -> None:
    snapshot = snapshot_of(walk(30))
    cursor = ask(Answers("run"), snapshot)["cursor"]

    assert not ask(Answers("other"), snapshot, cursor)["increment"]
    encoder = Answers("run")
    assert not ask(encoder, snapshot_of(walk(30), symbol="ETHUSDT"), cursor)["increment"]
    assert not ask(encoder, snapshot_of(walk(30), interval="4h"), cursor)["increment"]


def test_cursor_before_a_mended_gap_gets_a_full_answer() -> None:
    encoder = Answers("run")
    whole = walk(30)
    rows = [(c.open_ms, c.open, c.high, c.low, c.close, c.volume) for c in whole]
    cursor = ask(encoder, snapshot_of(Candles.from_rows(rows[:10] + rows[12:])))["cursor"]

    mended = ask(encoder, snapshot_of(whole), cursor)

    assert not mended["increment"]
    assert len(mended["historical"]) == 30


@given(st.text(max_size=80) | st.just("run.1.1.1") | st.just("a.-1.2.3.4"))
def test_any_text_as_cursor_gets_a_full_answer(text: str) -> None:
    answer = ask(Answers("run"), snapshot_of(walk(3)), text)

    assert answer["increment"] is False
    assert len(answer["historical"]) == 3


@given(st.lists(st.integers(min_value=0, max_value=4), max_size=8))
def test_increments_add_up_to_the_full_answer(closings: list[int]) -> None:
    encoder = Answers("run")
    candles = walk(5)
    rows = []
    cursor = None
    for count in closings:
        for _ in range(count):
            candles = candles.appended(after(candles, 30_000.0 + len(candles)))
        answer = ask(encoder, snapshot_of(candles), cursor)
        rows = answer["historical"] if not answer["increment"] else rows + answer["historical"]
        cursor = answer["cursor"]

    if closings:
        assert rows == ask(Answers("again"), snapshot_of(candles))["historical"]


def test_no_candles_is_an_empty_answer() -> None:
    answer = ask(Answers("run"), snapshot_of(Candles.empty()))

    assert (answer["historical"], answer["zigzag"], answer["divergences"]) == ([], [], [])
    assert answer["liveCandle"] is None


def test_prices_far_below_a_cent_keep_all_their_digits() -> None:
    candles = walk(40, price=0.0000123, decimals=10)
    snapshot = snapshot_of(candles, price_decimals=10)

    answer = ask(Answers("run"), snapshot)

    assert answer["historical"][5]["close"] == candles.candle(5).close
    assert answer["meta"]["priceDecimals"] == 10


def test_money_of_the_position_is_decimal_text() -> None:
    candles = walk(40)

    answer = ask(Answers("run"), snapshot_of(candles, position=long_position(candles)))

    position = answer["position"]
    assert position["direction"] == "long"
    assert position["quantity"] == "0.053"
    assert Decimal(position["entryPrice"]) == Decimal(str(candles.candle(-6).close))
    assert position["unrealized"] == "-12.345"
    assert position["openTime"] == iso_ms(candles.candle(-6).open_ms + 5)


def test_hostile_and_broken_text_survives_as_text() -> None:
    lines = (line(HOSTILE_TEXT), line("lone \ud800 surrogate"), line("x" * 5_000))

    answer = ask(Answers("run"), snapshot_of(walk(3), log=lines, alert="\udfff"))

    texts = [entry["text"] for entry in answer["log"]]
    assert texts[0] == HOSTILE_TEXT
    assert texts[1] == "lone ? surrogate"
    assert len(texts[2]) < 2_100
    assert answer["meta"]["alert"] == "?"


def test_answer_is_bounded_whatever_the_run_has_collected() -> None:
    candles = walk(300)
    snapshot = snapshot_of(
        candles, log=(line("x"),) * 5_000, trades=round_trip(candles) * 5_000
    )  # fmt: skip

    answer = ask(Answers("run", limit=50), snapshot)

    assert len(answer["historical"]) == 50
    assert len(answer["log"]) == 200
    assert len(answer["trades"]) == 1_000


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (START_MS, "2026-01-01T00:00:00Z"),
        (START_MS + 7, "2026-01-01T00:00:00.007Z"),
    ],
)
def test_times_are_iso_8601_utc(time_ms: int, text: str) -> None:
    assert iso_ms(time_ms) == text


def test_forming_candle_changes_nothing_of_the_closed_ones() -> None:
    encoder = Answers("run")
    candles = walk(50)
    before = ask(encoder, snapshot_of(candles))
    last = candles.candle(-1)
    spike = Candle(last.open_ms + 3_600_000, last.close, 99_999.0, 1.0, 50_000.0, 1.0)

    during = ask(encoder, snapshot_of(candles, forming=spike))

    assert [during[name] for name in ("historical", "zigzag", "divergences")] == [
        before[name] for name in ("historical", "zigzag", "divergences")
    ]
