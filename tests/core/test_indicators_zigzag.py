"""ZigZag: where legs reverse, what is confirmed when, and that nothing repaints."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import indicator_reference as reference
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milo.candles import Candles
from milo.ta import Pivot, PivotKind, SwingPoint, classify_swing_points, zigzag

ticks = st.lists(st.integers(90, 110), max_size=60).map(lambda found: [float(x) for x in found])
# Closes in whole dollars and these percentages are compared exactly, ties included.
percentages = st.sampled_from([0.0, 1.0, 3.5, 5.0, 20.0])


@st.composite
def walks(draw: st.DrawFn) -> list[float]:
    """Random closes; many begin wild and calm down, so that the moving threshold falls."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    count = draw(st.integers(0, 50))
    calm = draw(st.sampled_from([1.0, 0.97, 0.9, 0.7]))
    return (
        100 * np.exp(np.cumsum(rng.normal(size=count) * 0.05 * calm ** np.arange(count)))
    ).tolist()


def plain(pivots: list[Pivot]) -> list[tuple[int, str, float, int | None]]:
    return [(p.index, p.kind.value, p.value, p.confirmed_index) for p in pivots]


def expected_of(found: list[dict[str, Any]]) -> list[tuple[int, str, float, int | None]]:
    return [(p["index"], p["type"], float(p["value"]), p["confirmed_index"]) for p in found]


@settings(deadline=None)
@given(ticks, percentages)
def test_pivots_of_a_fixed_threshold_are_those_of_a_search_from_scratch(
    closes: list[float], threshold: float
) -> None:
    expected = reference.zigzag_pivots(reference.exact(closes), threshold)

    assert plain(zigzag(closes, threshold).pivots) == expected_of(expected)


@settings(deadline=None)
@given(walks(), st.sampled_from([0.25, 1.0, 2.2]))
def test_pivots_of_the_moving_threshold_are_those_of_a_search_from_scratch(
    closes: list[float], factor: float
) -> None:
    expected = reference.zigzag_pivots(reference.exact(closes), None, factor)

    assert plain(zigzag(closes, factor=factor).pivots) == expected_of(expected)


@settings(deadline=None)
@given(st.one_of(ticks, walks()), st.one_of(st.none(), percentages))
def test_confirmed_points_of_a_prefix_are_a_prefix(
    closes: list[float], threshold: float | None
) -> None:
    whole = zigzag(closes, threshold)
    final = [point for point in whole.points() if point["confirmed"]]

    for count in range(len(closes) + 1):
        points = whole.points(count)
        confirmed = [point for point in points if point["confirmed"]]

        assert points == zigzag(closes[:count], threshold).points()
        assert confirmed == final[: len(confirmed)]
        assert [p["index"] for p in points] == sorted({p["index"] for p in points})
        assert all(p["index"] < count for p in points)
        assert all((p["confirmed_index"] or 0) < count for p in points)


@settings(deadline=None)
@given(st.one_of(ticks, walks()), st.one_of(st.none(), percentages))
def test_only_the_running_extreme_is_provisional(
    closes: list[float], threshold: float | None
) -> None:
    points = zigzag(closes, threshold).points()

    assert [p["confirmed"] for p in points] == [True] * (len(points) - 1) + [False] * bool(points)
    for first, second in pairwise(points):
        assert {first["type"], second["type"]} == {"peak", "low"}
        leg = closes[first["index"] + 1 : second["index"] + 1]
        extreme = max(leg) if second["type"] == "peak" else min(leg)
        assert second["value"] == leg[-1] == extreme
        assert extreme not in leg[:-1]
    if points:
        assert points[-1]["confirmed_index"] is None
        tail = closes[points[-1]["index"] :]
        extreme = max(tail) if points[-1]["type"] == "peak" else min(tail)
        assert points[-1]["value"] == extreme == tail[0]


def test_threshold_is_in_percent_and_must_be_exceeded() -> None:
    closes = [100.0, 110.0, 104.5, 104.4, 90.0]

    found = zigzag(closes, threshold=5.0).points()

    # 104.5 is 5 % below 110: not more. 104.4 is.
    assert found == [
        point(0, 100.0, "low", 1),
        point(1, 110.0, "peak", 3),
        point(4, 90.0, "low", None),
    ]


def test_moving_threshold_is_in_the_same_unit() -> None:
    # Moves of 1 % throughout: factor x 1 % is what a leg must exceed.
    up = [100 * 1.01**i for i in range(10)]
    closes = up + [up[-1] * 0.99**i for i in range(1, 10)]

    by_factor = zigzag(closes, factor=2.5).pivots
    by_percent = zigzag(closes, threshold=2.5).pivots

    assert plain(by_factor) == plain(by_percent)
    assert plain(by_factor) == [(0, "low", 100.0, 3), (9, "peak", up[-1], 12)]


def test_extreme_from_before_the_confirmation_is_kept() -> None:
    # The dip to 95 does not exceed the threshold of its time; when calm has lowered the threshold,
    # 96 does. The low of the new leg is the dip, not the candle that confirmed the peak.
    closes = [80.0, 100.0, 95.0, 96.0] + [96.0] * 30

    found = zigzag(closes).points()

    assert [(p["index"], p["type"]) for p in found[-2:]] == [(1, "peak"), (2, "low")]


def test_first_of_equal_closes_is_the_extreme() -> None:
    found = zigzag([100.0, 110.0, 110.0, 100.0, 100.0], threshold=5).points()

    assert [p["index"] for p in found] == [0, 1, 3]


@pytest.mark.parametrize(
    "closes", [[], [100.0], [100.0, 100.0], [0.0] * 20, [100.0, 101.0, 102.0]], ids=str
)
def test_no_leg_no_points(closes: list[float]) -> None:
    assert zigzag(closes).points() == []


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.0, 1e-300, 1e-9, 1.0, 1e8, 1e300, -1.0]), max_size=30))
def test_odd_prices_do_no_harm(closes: list[float]) -> None:
    for threshold in (None, 0.0, 5.0):
        whole = zigzag(closes, threshold)
        for count in range(len(closes) + 1):
            assert whole.points(count) == zigzag(closes[:count], threshold).points()


def test_points_carry_the_time_of_their_candle() -> None:
    closes = [100.0, 110.0, 100.0, 110.0]
    rows = [(60_000 * i, close, close, close, close, 1.0) for i, close in enumerate(closes)]
    candles = Candles.from_rows(rows)

    found = zigzag(candles.close, 5).points(3, candles.open_ms)

    assert [(p["index"], p["time"]) for p in found] == [(0, 0), (1, 60_000), (2, 120_000)]
    assert all(type(p["time"]) is int and type(p["value"]) is float for p in found)


def test_points_are_the_callers_own() -> None:
    swings = zigzag([100.0, 110.0, 100.0], 5)
    swings.points()[0]["value"] = 1.0

    assert swings.points()[0]["value"] == 100.0


@pytest.mark.parametrize("count", [-1, 4])
def test_prefix_outside_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        zigzag([1.0, 2.0, 3.0]).points(count)


def test_too_few_times_are_refused() -> None:
    with pytest.raises(ValueError, match="2 times for 3 candles"):
        zigzag([1.0, 2.0, 3.0]).points(open_ms=np.array([0, 1]))


@pytest.mark.parametrize("bad", [-0.1, float("nan"), float("inf"), "5", True])
def test_thresholds_and_factors_that_are_no_percentage_are_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="threshold must be a number"):
        zigzag([1.0, 2.0], bad)
    with pytest.raises(ValueError, match="factor must be a number"):
        zigzag([1.0, 2.0], None, bad)


def test_golden_pivots_are_reproduced() -> None:
    path = Path(__file__).parent.parent / "golden" / "indicators.json"
    golden = json.loads(path.read_text())

    found = zigzag([row[4] for row in golden["candles"]])

    assert plain(found.pivots) == expected_of(golden["zigzag(factor 2.2)"])


def test_labels_compare_with_the_point_before_of_the_same_type() -> None:
    values = [5, 10, 6, 11, 6, 11, 4, 10, 5]
    points = [
        point(i, float(value), "peak" if i % 2 else "low", i + 1) for i, value in enumerate(values)
    ]

    labelled = classify_swing_points(points)

    assert [p["label"] for p in labelled] == ["L", "H", "HL", "HH", "L", "H", "LL", "LH", "HL"]
    assert [{k: v for k, v in p.items() if k != "label"} for p in labelled] == points
    assert "label" not in points[0]


def test_labels_take_missing_times_from_the_candles() -> None:
    rows = [(60_000 * i, 1.0, 1.0, 1.0, 1.0, 1.0) for i in range(3)]

    labelled = classify_swing_points([point(2, 1.0, "low", None)], Candles.from_rows(rows))

    assert labelled[0]["time"] == 120_000


@pytest.mark.parametrize("bad", [{}, {"type": "low"}, {"type": "top", "value": 1.0}, 5, None])
def test_what_is_no_swing_point_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="what calculate_zigzag returns"):
        classify_swing_points([bad])


def point(index: int, value: float, kind: str, confirmed_index: int | None) -> SwingPoint:
    return {
        "index": index,
        "time": None,
        "value": value,
        "type": PivotKind(kind).value,
        "confirmed": confirmed_index is not None,
        "confirmed_index": confirmed_index,
    }
