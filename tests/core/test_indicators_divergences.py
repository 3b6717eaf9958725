"""Divergences: kinds, windows, when they appear and when they are final."""

from __future__ import annotations

import csv
import gzip
from itertools import islice
from math import isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milo import ta
from milo.candles import Candles
from milo.ta import detect_divergences, find_extremum_in_window, zigzag
from milo.ta.divergences import Divergences, DivergenceSearch


def point(index: int, value: float, kind: str, confirmed_index: int | None) -> dict[str, Any]:
    return {
        "index": index,
        "time": None,
        "value": value,
        "type": kind,
        "confirmed": confirmed_index is not None,
        "confirmed_index": confirmed_index,
    }


def pair(kind: str, first: float, second: float) -> list[dict[str, Any]]:
    other = "peak" if kind == "low" else "low"
    return [point(2, first, kind, 3), point(5, 50.0, other, 6), point(8, second, kind, 9)]


def rsi_with(first: float, second: float) -> list[float]:
    values = [50.0] * 12
    values[2], values[8] = first, second
    return values


@pytest.mark.parametrize(
    ("kind", "prices", "rsi", "name"),
    [
        ("low", (10.0, 9.0), (30.0, 35.0), "bullish"),
        ("low", (10.0, 11.0), (30.0, 25.0), "hidden_bullish"),
        ("peak", (90.0, 91.0), (70.0, 65.0), "bearish"),
        ("peak", (90.0, 89.0), (70.0, 75.0), "hidden_bearish"),
        ("low", (10.0, 9.0), (30.0, 25.0), None),
        ("low", (10.0, 11.0), (30.0, 35.0), None),
        ("peak", (90.0, 91.0), (70.0, 75.0), None),
        ("low", (10.0, 10.0), (30.0, 35.0), None),
        ("low", (10.0, 9.0), (30.0, 30.0), None),
        ("peak", (90.0, 90.0), (70.0, 65.0), None),
    ],
)
def test_kinds_and_ties(
    kind: str, prices: tuple[float, float], rsi: tuple[float, float], name: str | None
) -> None:
    found = detect_divergences(rsi_with(*rsi), pair(kind, *prices), None, 0, 0)

    assert [item["type"] for item in found] == ([name] if name else [])


def test_an_item_tells_all() -> None:
    rows = [(60_000 * i, 1.0, 1.0, 1.0, 1.0, 1.0) for i in range(12)]
    candles = Candles.from_rows(rows)

    found = detect_divergences(rsi_with(30.0, 35.0), pair("low", 10.0, 9.0), candles, 1, 0)

    assert found == [
        {
            "type": "bullish",
            "startIndex": 2,
            "endIndex": 8,
            "startPrice": 10.0,
            "endPrice": 9.0,
            "startRSI": 30.0,
            "endRSI": 35.0,
            "confirmed": True,
            "startTime": 120_000,
            "endTime": 480_000,
        }
    ]


def test_windows_reach_to_both_sides_of_the_pivots() -> None:
    rsi = [50.0] * 12
    rsi[0], rsi[10] = 20.0, 30.0
    points = pair("low", 10.0, 9.0)

    assert detect_divergences(rsi, points, None, 1, 1) == []
    (found,) = detect_divergences(rsi, points, None, 2, 2)
    assert (found["startRSI"], found["endRSI"]) == (20.0, 30.0)


def test_default_window_is_three_before() -> None:
    rsi = rsi_with(50.0, 50.0)
    rsi[5], rsi[0] = 40.0, 30.0

    (found,) = detect_divergences(rsi, pair("low", 10.0, 9.0))

    assert (found["startRSI"], found["endRSI"]) == (30.0, 40.0)


def test_undefined_rsi_is_passed_over() -> None:
    rsi = [nan, nan, 30.0, *[40.0] * 9]

    assert [d["type"] for d in detect_divergences(rsi, pair("low", 10.0, 9.0))] == ["bullish"]


def test_no_divergence_without_any_rsi_around_a_pivot() -> None:
    rsi = [nan] * 5 + [40.0] * 7

    for later in (9.0, 11.0):
        assert detect_divergences(rsi, pair("low", 10.0, later), None, 2, 0) == []
        assert detect_divergences(rsi, pair("peak", 10.0, later), None, 2, 0) == []
    assert detect_divergences([nan] * 12, pair("peak", 10.0, 9.0)) == []


def test_provisional_pivot_gives_an_unconfirmed_item() -> None:
    points = [*pair("low", 10.0, 9.0)[:2], point(8, 9.0, "low", None)]

    (found,) = detect_divergences(rsi_with(30.0, 35.0), points, None, 0, 0)

    assert found["confirmed"] is False


@pytest.mark.parametrize(("right", "is_confirmed"), [(0, True), (3, True), (4, False)])
def test_item_is_final_once_the_window_to_the_right_is_there(
    right: int, is_confirmed: bool
) -> None:
    # The later pivot is at 8 of 12 candles: three come after it.
    rsi = [60.0] * 12
    rsi[1], rsi[7] = 30.0, 35.0

    (found,) = detect_divergences(rsi, pair("low", 10.0, 9.0), None, 1, right)

    assert found["confirmed"] is is_confirmed
    assert (found["startRSI"], found["endRSI"]) == (30.0, 35.0)


@st.composite
def markets(draw: st.DrawFn) -> list[float]:
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    steps = rng.integers(-3, 4, size=draw(st.integers(0, 120)))
    return (100.0 + np.cumsum(steps)).tolist()


@settings(deadline=None)
@given(markets(), st.integers(0, 6), st.integers(0, 6))
def test_nothing_repaints_and_each_item_becomes_final_when_it_should(
    closes: list[float], left: int, right: int
) -> None:
    rsi = ta.rsi(closes, 5)
    swings = zigzag(closes)
    final_at = {p.index: max(p.confirmed_index or 0, p.index + right) for p in swings.pivots}
    final = [
        item
        for item in detect_divergences(rsi, swings.points(), closes, left, right)
        if item["confirmed"]
    ]

    for count in range(len(closes) + 1):
        items = detect_divergences(rsi[:count], swings.points(count), closes[:count], left, right)
        confirmed = [item for item in items if item["confirmed"]]
        assert confirmed == final[: len(confirmed)]
        assert confirmed == [item for item in final if final_at[item["endIndex"]] < count]
        assert items[: len(confirmed)] == confirmed


@settings(deadline=None)
@given(markets(), st.integers(0, 6), st.integers(0, 6), st.booleans())
def test_divergences_of_prefixes_are_those_of_a_new_search(
    closes: list[float], left: int, right: int, is_backwards: bool
) -> None:
    rsi = ta.rsi(closes, 5)
    swings = zigzag(closes)
    open_ms = np.arange(len(closes)) * 60_000
    at_once = Divergences(swings, left, right)
    counts = list(range(len(closes) + 1))
    if is_backwards:
        counts.reverse()

    for count in counts:
        points = swings.points(count, open_ms)
        shared, number, newest = at_once.items(rsi[:count], swings.swings(count, open_ms), count)
        assert shared[:number] + newest == detect_divergences(
            rsi[:count], points, None, left, right
        )


@pytest.mark.data
def test_nothing_repaints_on_real_candles(shared_data: Path) -> None:
    with gzip.open(shared_data / "klines" / "SOLUSDT_5m_perp_2025-04_2026-05.csv.gz", "rt") as file:
        closes = [float(row[4]) for row in islice(csv.reader(file), 1, 3_001)]
    rsi = ta.rsi(closes)
    swings = zigzag(closes)
    at_once = DivergenceSearch(20, 0)
    final = [
        item for item in detect_divergences(rsi, swings.points(), None, 20, 0) if item["confirmed"]
    ]

    assert len(final) > 30
    for count in range(0, len(closes) + 1, 61):
        points = zigzag(closes[:count]).points()
        items = detect_divergences(ta.rsi(closes[:count]), points, None, 20, 0)
        confirmed = [item for item in items if item["confirmed"]]
        assert points == swings.points(count)
        assert items == at_once.items(rsi[:count], points)
        assert confirmed == final[: len(confirmed)]


def test_rsi_of_other_candles_is_refused() -> None:
    points = pair("low", 10.0, 9.0)

    with pytest.raises(ValueError, match="rsi has 5 values, data has 12 candles"):
        detect_divergences([50.0] * 5, points, [0.0] * 12)
    with pytest.raises(ValueError, match="rsi has 5 values, but a pivot is at 5"):
        detect_divergences([50.0] * 5, points)
    with pytest.raises(ValueError, match="a pivot was confirmed at 9"):
        detect_divergences([50.0] * 9, points)


@pytest.mark.parametrize(("name", "left", "right"), [("left", -1, 0), ("right", 0, 1.0)])
def test_windows_that_are_no_number_of_candles_are_refused(
    name: str, left: Any, right: Any
) -> None:
    with pytest.raises(ValueError, match=f"{name}_window must be"):
        detect_divergences([50.0], [], None, left, right)
    with pytest.raises(ValueError, match=f"{name} must be"):
        find_extremum_in_window([50.0], 0, left, right, True)


@pytest.mark.parametrize("bad", [{"type": "low", "value": 1.0}, {"type": "low"}, 3])
def test_what_is_no_swing_point_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="what calculate_zigzag returns"):
        detect_divergences([50.0], [bad])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((3, 2, 1, True), {"value": 1.0, "index": 2}),
        ((3, 2, 1, False), {"value": 9.0, "index": 4}),
        ((0, 5, 0, True), {"value": 5.0, "index": 0}),
        ((6, 0, 9, False), {"value": 2.0, "index": 6}),
        ((3, 9, 9, False), {"value": 9.0, "index": 4}),
    ],
)
@pytest.mark.parametrize("form", [list, tuple, np.array])
def test_extremum_of_a_window(
    arguments: tuple[int, int, int, bool], expected: dict[str, Any], form: Any
) -> None:
    values = form([5.0, 4.0, 1.0, 1.0, 9.0, 9.0, 2.0])

    assert find_extremum_in_window(values, *arguments) == expected


def test_extremum_passes_over_nans() -> None:
    values = [nan, 3.0, nan, 2.0]

    assert find_extremum_in_window(values, 1, 1, 2, True) == {"value": 2.0, "index": 3}
    empty = find_extremum_in_window(values, 2, 0, 0, True)
    assert isnan(empty["value"])
    assert empty["index"] is None


@pytest.mark.parametrize("index", [3, 100])
def test_extremum_around_a_place_outside_is_an_index_error(index: int) -> None:
    with pytest.raises(IndexError, match=f"index {index} is outside a series of 3"):
        find_extremum_in_window([1.0, 2.0, 3.0], index, 0, 0, True)
