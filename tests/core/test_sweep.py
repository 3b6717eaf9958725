"""Searches over inputs: which are tried, which is chosen, and what it is judged on."""

from __future__ import annotations

import itertools
import json
import random
import re
from dataclasses import replace
from math import inf

import numpy as np
import pytest

from milo.backtest.curve import sharpe
from milo.backtest.decisions import Decisions, Proof
from milo.backtest.html import sweep_page
from milo.backtest.layout import WIDTH, columns_of
from milo.backtest.luck import deflated_sharpe, expected_maximum, luck_of
from milo.backtest.search import InputRange, combinations, grid_size, ranges_of
from milo.backtest.sweep_text import LABELS, NO_WINDOWS, Sweep, sweep_content, sweep_text
from milo.backtest.walk import (
    POINTS,
    TRAIN_PARTS,
    Row,
    Score,
    best_first,
    row_item,
    row_of,
    walk_forward,
    windows_of,
)
from milo.model import ScriptInput
from milo.setting_values import RANKS

FAST = ScriptInput(name="fast", default=12, low=5, high=20)
STOP = ScriptInput(name="stop", default=2.0, low=0.5, high=4.0)
FREE = ScriptInput(name="free", default=1)
DAY_MS = 86_400_000


def score(value: float, *, trades: int = 50, daily: tuple[float, ...] = (1.0, 1.1)) -> Score:
    """Return the score of an equity at the ends of days; its ratios are all `value`."""
    equity = np.array(daily)
    returns = equity[1:] / equity[:-1] - 1.0
    falls = 1.0 - equity / np.maximum.accumulate(equity)
    return Score(
        total_return=daily[-1] - 1.0,
        cagr=value,
        buy_and_hold=0.01,
        sharpe=value,
        sortino=value,
        calmar=value,
        drawdown=float(falls.max()),
        profit_factor=value,
        expectancy_r=value,
        sqn=value,
        win_rate=0.5,
        trades=trades,
        wins=trades // 2,
        won=150.0,
        lost=100.0,
        liquidations=0,
        days=float(len(returns)),
        peak=float(equity.max()),
        trough=float(equity.min()),
        returns=len(returns),
        mean=float(returns.mean()),
        deviation=float(returns.std()),
        skewness=0.0,
        kurtosis=3.0,
        points=tuple(daily[-1] for _ in range(POINTS)),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fast=5:20:5", [("fast", (5, 10, 15, 20))]),
        ("fast=5:7", [("fast", (5, 6, 7))]),
        ("fast = 9|5|9 , stop=0.5:1.1:0.2", [("fast", (5, 9)), ("stop", (0.5, 0.7, 0.9, 1.1))]),
        ("free=-3", [("free", (-3,))]),
        ("fast=5:19:5", [("fast", (5, 10, 15))]),
        ("fast=5/8/13,stop=1:4", [("fast", (5, 8, 13)), ("stop", (1, 1.5, 2, 2.5, 3, 3.5, 4))]),
    ],
)
def test_ranges_are_read(text: str, expected: list[tuple[str, tuple[float, ...]]]) -> None:
    found = ranges_of(text, [FAST, STOP, FREE])

    assert [(item.name, item.values) for item in found] == expected
    assert all(isinstance(v, int) for item in found if item.name == "fast" for v in item.values)


def test_all_takes_the_inputs_that_have_a_range() -> None:
    fast, stop = ranges_of("all", [FAST, STOP, FREE])
    many, fine = ranges_of("all", [FAST, STOP, FREE], is_random=True)

    assert fast.values == (5, 7, 9, 11, 13, 15, 17, 19)
    assert stop.values == (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
    assert many.values == tuple(range(5, 21))
    assert (fine.values[1], fine.values[-1], len(fine.values)) == (0.505, 4.0, 701)
    few = replace(FAST, low=5, high=7)
    assert ranges_of("all", [few])[0].values == (5, 6, 7)
    assert [item.name for item in ranges_of("all", [FAST, STOP], held={"fast": 9.0})] == ["stop"]


@pytest.mark.parametrize("seed", range(3))
def test_round_steps_make_few_values_within_the_range(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(200):
        low = round(chance.uniform(-50, 50), chance.randint(0, 4))
        high = round(low + 10 ** chance.uniform(-3, 4), 6)
        item = ScriptInput(name="x", default=low, low=low, high=high)
        whole = ScriptInput(name="x", default=int(low), low=int(low), high=int(high) + 1)

        for one in (item, whole):
            (found,) = ranges_of("all", [one])
            assert 3 <= len(found.values) <= 10 or one is whole
            assert found.values[0] == one.low
            assert found.values[-1] <= (one.high or 0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("slow=1", "no input 'slow'; its inputs: fast, stop"),
        ("fast", "use name=lowest"),
        ("fast=", "use name=lowest"),
        ("fast=5:4:1", "not below"),
        ("fast=5:9:0", "above 0"),
        ("fast=5:9:1:1", "lowest:highest:step"),
        ("fast=a|b", "numbers are needed"),
        ("fast=1:inf:1", "lowest:highest:step"),
        ("fast=nan", "finite"),
        ("fast=4:9:1", "outside of its own range"),
        ("fast=5,fast=6", "given twice"),
        ("stop=0.5:4:0.0001", "more than 10,000"),
        ("fast=5.5/6", "takes whole numbers"),
        ("fast=5:9:1.5", "takes whole numbers"),
        ("", "use name=lowest"),
    ],
)
def test_ranges_that_cannot_be_are_told(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ranges_of(text, [FAST, STOP])


def test_no_input_with_a_range_is_told() -> None:
    with pytest.raises(ValueError, match="no input of the script has a range"):
        ranges_of("all", [FREE])


def test_grid_and_draws() -> None:
    ranges = (InputRange(name="a", values=(1, 2, 3)), InputRange(name="b", values=(4, 5)))

    grid = combinations(ranges, trials=None, seed=1)
    drawn = combinations(ranges, trials=4, seed=1)

    assert grid == [(1, 4), (1, 5), (2, 4), (2, 5), (3, 4), (3, 5)]
    assert len(set(drawn)) == 4
    assert set(drawn) < set(grid)
    assert drawn == combinations(ranges, trials=4, seed=1)
    assert drawn != combinations(ranges, trials=4, seed=2)
    assert combinations(ranges, trials=99, seed=1) == grid


def test_large_grids_are_refused_with_their_size_but_can_be_drawn_from() -> None:
    ranges = [InputRange(name=str(n), values=tuple(range(1_000))) for n in range(8)]

    assert grid_size(ranges) == 10**24
    with pytest.raises(ValueError, match="--trials"):
        combinations(ranges, trials=None, seed=1)
    assert len(combinations(ranges, trials=10, seed=1)) == 10


def test_windows_train_before_they_test_and_test_each_candle_once() -> None:
    windows = windows_of(100, 1_100, 5)

    assert len(windows) == 5
    for window in windows:
        assert window.train[1] == window.test[0]
        length = window.train[1] - window.train[0]
        assert length == pytest.approx(TRAIN_PARTS * (window.test[1] - window.test[0]), abs=4)
    for before, after in itertools.pairwise(windows):
        assert before.test[1] == after.test[0]
    assert windows[0].train[0] == 100
    assert windows[-1].test[1] == 1_100
    with pytest.raises(ValueError, match="too few"):
        windows_of(0, 7, 5)


def rows_of(chance: random.Random, count: int, windows: int) -> list[Row]:
    rows = []
    for number in range(count):
        scores = []
        for _ in range(1 + 2 * windows):
            daily = [1.0]
            for _ in range(10):
                daily.append(daily[-1] * (1 + chance.uniform(-0.02, 0.021)))
            scores.append(
                score(chance.uniform(-2, 2), trades=chance.randint(5, 40), daily=tuple(daily))
            )
        rows.append(Row(inputs=(number,), scores=tuple(scores)))
    return rows


@pytest.mark.parametrize("seed", range(5))
def test_what_is_chosen_knows_nothing_of_what_it_is_judged_on(seed: int) -> None:
    chance = random.Random(seed)
    windows = windows_of(0, 800, 5)
    rows = rows_of(chance, 30, 5)

    walk = walk_forward(rows, windows, "sharpe", 10)
    other = [
        replace(
            row,
            scores=tuple(
                s if place == 0 or place % 2 else score(chance.uniform(-9, 9))
                for place, s in enumerate(row.scores)
            ),
        )
        for row in rows
    ]

    assert [s.chosen for s in walk_forward(other, windows, "sharpe", 10).steps] == [
        s.chosen for s in walk.steps
    ]
    for number, step in enumerate(walk.steps):
        able = [row for row in rows if row.scores[1 + 2 * number].trades >= 10]
        best = max(able, key=lambda row: row.scores[1 + 2 * number].sharpe or -inf)
        assert step.chosen == best.inputs
        assert step.tested is best.scores[2 + 2 * number]
    product = np.prod([s.tested.growth for s in walk.steps if s.tested is not None])
    assert walk.total_return == pytest.approx(product - 1)


@pytest.mark.parametrize("seed", range(5))
def test_parts_together_are_what_their_curves_would_be_one_after_the_other(seed: int) -> None:
    chance = random.Random(seed)
    windows = windows_of(0, 800, 4)
    curves = []
    scores = [score(1.0)]
    for _ in range(4):
        daily = [1.0]
        for _ in range(chance.randint(3, 30)):
            daily.append(daily[-1] * (1 + chance.uniform(-0.1, 0.1)))
        curves.append(daily)
        scores += [score(1.0), score(1.0, daily=tuple(daily))]

    walk = walk_forward([Row(inputs=(1,), scores=tuple(scores))], windows, "sharpe", 10)

    whole = np.ones(1)
    for daily in curves:
        whole = np.concatenate((whole, whole[-1] * np.array(daily[1:])))
    falls = 1.0 - whole / np.maximum.accumulate(whole)
    assert walk.total_return == pytest.approx(whole[-1] - 1)
    assert walk.drawdown == pytest.approx(falls.max())
    assert walk.sharpe == pytest.approx(sharpe(whole[1:] / whole[:-1] - 1.0))
    assert walk.buy_and_hold == pytest.approx(1.01**4 - 1)
    assert (walk.trades, walk.win_rate, walk.profit_factor) == (200, 0.5, 1.5)
    grown = np.log(whole[-1]) / sum(len(daily) - 1 for daily in curves)
    assert walk.efficiency == pytest.approx(grown / np.log(1.1))


def test_nothing_is_chosen_where_nothing_traded() -> None:
    windows = windows_of(0, 80, 2)
    rows = [Row(inputs=(1,), scores=tuple(score(9.0, trades=3) for _ in range(5)))]

    walk = walk_forward(rows, windows, "sharpe", 10)

    assert [step.chosen for step in walk.steps] == [None, None]
    assert (walk.total_return, walk.drawdown, walk.sharpe, walk.efficiency) == (
        0.0,
        0.0,
        None,
        None,
    )


def test_equal_rows_keep_one_order_and_undefined_ones_are_left_out() -> None:
    undefined = replace(score(0.0), sharpe=None)
    rows = [
        Row(inputs=(3,), scores=(score(1.0),)),
        Row(inputs=(1,), scores=(score(1.0),)),
        Row(inputs=(2,), scores=(score(2.0),)),
        Row(inputs=(0,), scores=(undefined,)),
        Row(inputs=(9,), error="failed"),
    ]

    for shuffled in (rows, rows[::-1]):
        assert [row.inputs for row in best_first(shuffled, "sharpe", 0, 10)] == [(2,), (1,), (3,)]


def test_luck_grows_with_the_number_of_tries() -> None:
    chance = np.random.default_rng(4)
    draws = chance.normal(0.0, 0.5, (2_000, 100))
    rows = [Row(inputs=(n,), scores=(score(float(v)),)) for n, v in enumerate(draws[0])]
    expected = float(draws.max(axis=1).mean())

    luck, fewer = luck_of(rows, 10), luck_of(rows[:10], 10)

    assert luck is not None
    assert fewer is not None
    assert (luck.tried, luck.best) == (100, draws[0].max())
    assert luck.inputs == (int(draws[0].argmax()),)
    assert luck.expected_best == pytest.approx(expected, rel=0.15)
    assert fewer.expected_best < luck.expected_best
    assert luck_of(rows[:1], 10) is None
    assert luck_of(rows, 51) is None


def test_expected_maximum_is_that_of_normal_draws() -> None:
    chance = np.random.default_rng(5)
    for count in (10, 100, 1_000):
        drawn = chance.normal(0.0, 2.0, (4_000, count)).max(axis=1).mean()
        assert expected_maximum(count, 2.0) == pytest.approx(drawn, rel=0.05)
    assert expected_maximum(1, 2.0) == 0.0


def test_deflated_sharpe_is_the_probability_that_the_estimate_is_above_the_mark() -> None:
    # Of normal returns the estimate's deviation is about sqrt((1 + sharpe**2 / 2) / (days - 1)).
    chance = np.random.default_rng(6)
    days = chance.normal(0.1, 1.0, (20_000, 250))
    estimates = days.mean(axis=1) / days.std(axis=1)

    told = deflated_sharpe(0.1, 0.03, 250, 0.0, 3.0)

    assert told == pytest.approx((estimates > 0.03).mean(), abs=0.02)
    assert deflated_sharpe(0.1, 0.1, 250, 0.0, 3.0) == pytest.approx(0.5)
    assert deflated_sharpe(0.1, 0.0, 1, 0.0, 3.0) is None
    # Losses that come seldom and large make the same ratio less certain.
    assert (deflated_sharpe(0.1, 0.03, 250, -3.0, 20.0) or 1) < (told or 0)


def test_rows_survive_json() -> None:
    row = rows_of(random.Random(1), 1, 2)[0]

    assert row_of(json.loads(json.dumps(row_item(row)))) == row
    failed = Row(inputs=(1.5, 2), error="no")
    assert row_of(json.loads(json.dumps(row_item(failed)))) == failed
    with pytest.raises((KeyError, TypeError, ValueError)):
        row_of({"inputs": [1], "scores": [{"sharpe": 1}], "error": ""})


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("windows", [0, 3])
def test_sweep_is_told_within_the_terminal(windows: int, rank: str) -> None:
    chosen = windows_of(0, 600, windows) if windows else ()
    rows = [*rows_of(random.Random(2), 20, windows), Row(inputs=(99,), error="x" * 300)]
    rows[3] = replace(rows[3], failures=7, failure="line 4: no", is_halted=True)
    found = Sweep(
        title="script on BTCUSDT 1h",
        span_ms=(0, 600 * DAY_MS),
        times_ms=[n * DAY_MS for n in range(600)],
        ranges=(InputRange(name="a" * 60, values=tuple(range(100))),),
        size=100,
        wanted=40,
        rows=tuple(rows),
        windows=chosen,
        rank=rank,
        min_trades=10,
        resumed=2,
        taken=(("fees", "<b>none</b>"),),
        seconds=1.0,
    )

    text, page = sweep_text(found), sweep_page(found)
    content = json.loads(json.dumps(sweep_content(found)))

    assert max(map(columns_of, text.split("\n"))) <= WIDTH
    assert ("OUT OF SAMPLE" in text) == bool(windows)
    assert ("are IN SAMPLE" in text) == (not windows)
    assert text.index("OUT OF SAMPLE" if windows else "IN SAMPLE") < text.index("BEST IN SAMPLE")
    assert "21 of 40 combinations, drawn from a grid of 100" in text
    assert "FAILED  2 combinations" in text
    words = " ".join(text.split())
    assert "on 7 candles, then halted, first: line 4: no" in words
    assert "STOPPED before the end" in text
    assert f" {LABELS[rank]} " in text
    assert (content["done"], content["is_complete"], len(content["rows"])) == (21, False, 21)
    assert (content["out_of_sample"] is None) == (not windows)
    assert ("<svg" in page) == bool(windows)
    assert (NO_WINDOWS in page) == (not windows)
    assert "<b>" not in page
    assert "<script" not in page
    assert " style=" not in page


def test_map_of_two_inputs_shows_the_best_over_the_others() -> None:
    ranges = tuple(InputRange(name=name, values=(1, 2, 3)) for name in "abc")
    rows = [
        Row(inputs=(a, b, c), scores=(score(a - 2.0 + b / 10 + c / 100, trades=10 * c),))
        for a, b, c in itertools.product((1, 2, 3), repeat=3)
        if (a, b) != (2, 2)
    ]
    found = Sweep(
        title="script on BTCUSDT 1h", span_ms=(0, DAY_MS), times_ms=[0, DAY_MS], ranges=ranges,
        size=27, wanted=27, rows=tuple(rows), windows=(), rank="sharpe", min_trades=20, resumed=0,
        taken=(), seconds=1.0,
    )  # fmt: skip

    table = sweep_page(found).partition('<table class="heat">')[2].partition("</table>")[0]
    cells = re.findall(r'<td(?: class="(\w*)")?>([^<]*)</td>', table)

    # b/10 + c/100 with the best c = 3; nothing where nothing was tried.
    assert [text for _, text in cells] == [
        "-0.87", "-0.77", "-0.67", "0.13", "", "0.33", "1.13", "1.23", "1.33",
    ]  # fmt: skip
    assert [shade for shade, _ in cells] == ["l2", "l2", "l2", "g1", "", "g1", "g3", "g3", "g3"]


def test_decisions_of_a_part_are_those_of_the_whole() -> None:
    chance = random.Random(3)
    for _ in range(200):
        first, count = chance.randint(0, 9), chance.randint(2, 40)
        at = sorted({first, *(chance.randint(first, first + count - 1) for _ in range(6))})
        made = Decisions(
            first=first,
            count=count,
            at=np.array(at, np.int64),
            code=np.array([chance.randint(0, 2) for _ in at], np.int32),
            actions=("donothing", "close", "long(1%risk@5x,sl=2%)"),
            proof=Proof(is_lifted=True, checked=0, differing=0),
        )
        start = chance.randint(first, first + count - 1)
        end = chance.randint(start + 1, first + count)

        part = made.within(start, end)

        assert (part.first, part.count) == (start, end - start)
        assert part.at[0] == start
        assert [part.action_at(i) for i in range(start, end)] == [
            made.action_at(i) for i in range(start, end)
        ]
    with pytest.raises(ValueError, match="not decided"):
        made.within(first, first + count + 1)
