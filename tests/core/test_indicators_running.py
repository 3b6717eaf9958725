"""Going on candle by candle gives, bit for bit, what computing the whole gives."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import FrameType
from typing import Any

import numpy as np
import pytest

from milo.candles import Candles
from milo.model import Candle
from milo.script.history import History
from milo.script.protocol import candle_frames
from milo.ta import INDICATORS, IndicatorSpec, Returns, ZigZag
from milo.ta.divergences import DivergenceSearch, detect_divergences
from milo.ta.running import RunningIndicators, opened
from tests.script_runs import Script, packed_row

Columns = dict[str, np.ndarray[Any, Any]]

SPECS = {spec.name: spec for spec in INDICATORS}
SERIES = [
    spec for spec in INDICATORS if spec.returns in (Returns.SERIES, Returns.TUPLE, Returns.LAST)
]
GROWING = [*SERIES, SPECS["calculate_zigzag"]]
PERIODS = [1, 2, 3, 5, 7, 14, 16, 20, 33, 64, 65, 100]
MARKETS = ["walk", "standing", "ticks", "crash", "nasty"]
NASTY = [1e-300, 1e-9, 0.1, 1 / 3, 1.0, 100.1, 1e8, 1e100, 1e200]


def columns_of(market: str, count: int, seed: int) -> Columns:
    """Make candles; some have no range, some no volume."""
    rng = np.random.default_rng(seed)
    close = np.round(np.exp(np.cumsum(rng.normal(size=count)) * 0.01) * 50_000, 1)
    if market == "standing":
        for start in rng.integers(0, count, 6).tolist():
            close[start : start + int(rng.integers(2, 600))] = close[start]
    elif market == "ticks":
        close = np.maximum(np.cumsum(rng.integers(-1, 2, count)) * 0.5 + 500, 1.0)
    elif market == "crash":
        close[count // 2 :] *= 1e-5
    elif market == "nasty":
        close = rng.choice(NASTY, count)
    wick = np.where(rng.random((3, count)) < 0.3, 0.0, rng.random((3, count)) * 0.02)
    high, low = close * (1 + wick[0]), close * (1 - wick[1])
    volume = np.where(rng.random(count) < 0.1, 0.0, rng.random(count) * 1e4)
    volume[count // 3 : count // 2] = 0.0
    # A series that begins late, like the average of an indicator.
    values = close.copy()
    values[: seed % 9] = np.nan
    names = {"open": low + (high - low) * wick[2], "high": high, "low": low, "close": close}
    return {**names, "volume": volume, "values": values}


def some_parameters(spec: IndicatorSpec, rng: random.Random) -> tuple[Any, ...]:
    found: list[Any] = []
    for parameter, typical in zip(spec.parameters, spec.typical_arguments(), strict=True):
        if parameter.is_whole and rng.random() < 0.8:
            found.append(max(int(parameter.minimum), rng.choice(PERIODS)))
        elif parameter.name == "threshold":
            found.append(rng.choice([None, 0.0, 0.5, 3.0]))
        else:
            found.append(typical)
    return tuple(found)


def cut(spec: IndicatorSpec, columns: Columns, count: int) -> tuple[np.ndarray[Any, Any], ...]:
    return tuple(columns[name][:count].copy() for name in spec.takes)


def shown(answer: Any) -> list[Any]:
    """Return an answer in a form that compares by bits; all NaNs are alike."""
    if isinstance(answer, ZigZag):
        return [answer.points(), [repr(pivot) for pivot in answer.pivots]]
    arrays = answer if isinstance(answer, tuple) else (answer,)
    return [np.where(np.isnan(values), np.nan, values).tobytes() for values in arrays]


@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize("spec", GROWING, ids=lambda spec: spec.name)
def test_any_order_of_candles_gives_what_the_whole_gives(spec: IndicatorSpec, market: str) -> None:
    for seed in range(4):
        rng = random.Random(f"{spec.name} {market} {seed}")
        columns = columns_of(market, rng.choice([40, 150, 900]), seed)
        parameters = some_parameters(spec, rng)
        running = RunningIndicators()
        for count, event in events(rng, len(columns["close"])):
            if event == "restart":
                running = RunningIndicators()
            seen = cut(spec, columns, count)
            if event == "forming":
                for column in seen:
                    column[-1] *= rng.choice([1.0, 1.0001, 0.5])
            running.begin(is_forming=event == "forming")

            found = running.answer((spec.name,), spec, parameters, seen)

            assert shown(found) == shown(spec.function(*seen, *parameters)), (seed, count, event)


def events(rng: random.Random, length: int) -> Iterator[tuple[int, str]]:
    """Say how many candles there are at each look, and what is special about it."""
    count = rng.choice([0, 1, 5, length // 3])
    while count < length:
        yield count, rng.choice(["closed", "closed", "closed", "restart"])
        for _ in range(rng.choice([0, 0, 1, 3])):
            yield count + 1, "forming"
        count += rng.choice([1, 1, 1, 1, 2, 5, 25, 300])
    yield length, "closed"


@pytest.mark.parametrize("spec", SERIES, ids=lambda spec: spec.name)
def test_one_more_candle_needs_no_whole_computation(spec: IndicatorSpec) -> None:
    columns = columns_of("walk", 400, 3)
    parameters = spec.typical_arguments()
    lengths: list[int] = []

    def counted(*arguments: Any) -> Any:
        lengths.append(len(arguments[0]))
        return spec.function(*arguments)

    running = RunningIndicators()
    for count in range(300, 400):
        running.begin(is_forming=bool(count % 2))
        running.answer(
            ("x",), replace(spec, function=counted), parameters, cut(spec, columns, count)
        )

    # The first look is a closed one of 300 candles.
    assert lengths == [300]


@pytest.mark.parametrize(
    "spec", [*(spec for spec in GROWING if spec.source != "TA-Lib"), SPECS["calculate_bbands"]],
    ids=lambda spec: spec.name,
)  # fmt: skip
def test_a_step_that_was_broken_off_anywhere_leaves_nothing_false(spec: IndicatorSpec) -> None:
    columns = columns_of("walk", 300, 5)
    parameters = spec.typical_arguments()
    expected = shown(spec.function(*cut(spec, columns, 300), *parameters))

    for lines in range(1_000):
        running = RunningIndicators()
        for count in (297, 298):
            running.answer((), spec, parameters, cut(spec, columns, count))
        is_done = broken_off_after(
            lines, lambda running=running: running.answer(  # type: ignore[misc]
                (), spec, parameters, cut(spec, columns, 299)
            ),
        )  # fmt: skip

        assert shown(running.answer((), spec, parameters, cut(spec, columns, 300))) == expected
        if is_done:
            return
    raise AssertionError("one candle takes more than a thousand lines")


def broken_off_after(lines: int, work: Callable[[], Any]) -> bool:
    """Raise in the midst of the work, as the end of a script's time does; True if it was over."""
    left = lines

    def on_event(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if "/milo/ta/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            left -= 1
            if left < 0:
                sys.settrace(None)
                raise TimeoutError
        return on_event

    before = sys.gettrace()
    sys.settrace(on_event)
    try:
        work()
    except TimeoutError:
        return False
    finally:
        sys.settrace(before)
    return True


def assert_steps(spec: IndicatorSpec, parameters: tuple[Any, ...], columns: Columns) -> None:
    whole = spec.function(*cut(spec, columns, len(columns["close"])), *parameters)
    running = RunningIndicators()
    for count in range(50, len(whole) + 1):
        found = running.answer((), spec, parameters, cut(spec, columns, count))

        assert shown(found[-1:]) == shown(whole[:count][-1:]), count
    assert shown(found) == shown(whole)


def test_rsi_of_markets_that_stand_still_again_and_again() -> None:
    rng = np.random.default_rng(1)
    parts = [rng.normal(size=40), np.zeros(1_200), rng.normal(size=40), np.zeros(1_200)]
    close = 100 + np.cumsum(np.concatenate(parts))

    assert_steps(SPECS["calculate_rsi"], (2,), {"close": close})


def test_sma_of_a_price_that_leaves_the_range_of_a_running_sum() -> None:
    # Each half alone stays within 1 : 64 of where it began.
    path = np.concatenate((0.98 ** np.arange(150.0), 0.98 ** np.arange(150.0, -200.0, -1.0)))
    close = path * np.random.default_rng(1).uniform(0.9, 1.1, len(path))

    assert_steps(SPECS["calculate_sma"], (14,), {"close": close})


def test_atr_of_a_market_that_died() -> None:
    close = np.full(2_600, 7.0)
    close[:20] += np.random.default_rng(1).random(20)

    assert_steps(SPECS["calculate_atr"], (3,), {"high": close, "low": close, "close": close})


def test_values_that_are_not_finite_are_computed_whole() -> None:
    spec = SPECS["calculate_ema_internal"]
    values = np.linspace(1.0, 2.0, 60)
    values[40], values[50] = np.inf, np.nan
    running = RunningIndicators()

    for count in range(20, 61):
        found = running.answer((), spec, (9,), (values[:count].copy(),))

        assert shown(found) == shown(spec.function(values[:count].copy(), 9))
    assert opened(spec, (values,), (9,)) is None


def test_indicators_that_nobody_asks_for_any_more_are_forgotten() -> None:
    spec = SPECS["calculate_sma"]
    close = np.linspace(1.0, 2.0, 200)
    running = RunningIndicators()

    for count in range(50, 200):
        running.begin(is_forming=False)
        running.answer((count,), spec, (count - 40,), (close[:count],))

    assert len(running) <= 4


@pytest.mark.parametrize(("left", "right"), [(3, 0), (20, 0), (2, 6)])
def test_a_search_that_remembers_answers_like_one_that_does_not(left: int, right: int) -> None:
    rng = random.Random(left)
    columns = columns_of("walk", 600, left)
    close = columns["close"]
    times = Candles.from_columns(np.arange(600) * 60_000, *[close] * 5)
    rsi = SPECS["calculate_rsi"].function(close, 14)
    several = [SPECS["calculate_zigzag"].function(close, None, 1.2 + k / 20) for k in range(7)]
    search = DivergenceSearch(left, right)
    found_any = False

    for _ in range(400):
        count = rng.choice([rng.randint(0, 600), 600])
        is_forming = count > 0 and rng.random() < 0.3
        seen = rsi[:count].copy()
        if is_forming:
            seen[-1] *= rng.choice([0.5, 1.5])
        # Often the same one, sometimes another that begins like it.
        swings = several[max(0, rng.randint(-7, 6))]
        points = swings.points(count, times.open_ms)
        if rng.random() < 0.1:
            points = points[-9:]
        change = rng.random()
        if change < 0.2 and points:
            # Scripts may change what they were given.
            rng.choice(points)["value"] *= 1.1
        elif change < 0.3 and points:
            del points[rng.randrange(len(points))]
        data = times.prefix(count)

        found = search.items(seen, points, data, count - is_forming)

        assert found == detect_divergences(seen, points, data, left, right)
        found_any = found_any or bool(found)
        for item in found:
            item["type"] = "changed by the script"
    assert found_any


EVERYTHING = """
rsi = await calculate_rsi(data, {p})
ema_of_rsi = await calculate_ema_internal(rsi, {q})
line, signal = await calculate_macd(data, {p}, {q})
k, d = await calculate_stochastic(data, {p}, 3)
of_k = await calculate_dema(k, {q})
again = await calculate_ema_internal(ema_of_rsi, {q})
series = [await calculate_sma(data, {p}), await calculate_ema(data, {q}), rsi, ema_of_rsi, line,
    signal, await calculate_atr(data, {p}), await calculate_obv(data), k, d, of_k, again]
points = await calculate_zigzag(data, {threshold})
prefix = await calculate_rsi(data[:len(data) // 2], {p})
closed = await calculate_rsi(chart_data, {p})
print([values[-1] for values in series], [values[len(data) // 2] for values in series])
print(await calculate_average_volume(data, {p}), points[-9:], len(points))
print((await classify_swing_points(points, data))[-3:])
print((await detect_divergences(rsi, points, data, {q}, {r}))[-9:])
print(len(prefix), list(prefix) == list(rsi)[:len(prefix)] or prefix[-1], len(closed), closed[-1])
print(list(await calculate_ema(data[-50:], {q}))[-1])
"""


@pytest.mark.parametrize("seed", range(8))
def test_a_script_sees_the_same_live_as_in_one_go(seed: int) -> None:
    rng = random.Random(seed)
    columns = columns_of(MARKETS[seed % 4], 420, seed)
    candles = Candles.from_columns(
        np.arange(420) * 60_000, *(columns[name] for name in ("open", "high", "low", "close")),
        columns["volume"],
    )  # fmt: skip
    numbers = {"p": rng.choice(PERIODS), "q": rng.choice(PERIODS), "r": rng.choice([0, 4])}
    text = EVERYTHING.format(**numbers, threshold=rng.choice(["None", "0.5", "None, 1.2"]))
    live, once = Script(text), Script(text)
    history = History()
    for count, event in events(rng, len(candles)):
        is_forming = event == "forming"
        known = count - is_forming
        if known == 0:
            continue
        if event == "restart" or known < len(history):
            history.clear()
        rows = candle_frames(candles.prefix(known), len(history))[5:]
        if rows:
            history.extend(rows)
        forming = None
        if is_forming:
            last = candles.candle(known)
            close = last.close * rng.choice([1.0, 0.97, 1.02])
            forming = replace(
                last, close=close, high=max(last.high, close), low=min(last.low, close)
            )

        live.runner.evaluate(history.base(_packed(forming)), len(history), (10_000.0, []))

        expected = once.run(candles.prefix(known), forming).printed
        assert "".join(live.runner.session.printed) == expected, (count, event)


def _packed(forming: Candle | None) -> bytes:
    return b"" if forming is None else packed_row(forming)


LOOP = """
for count in range(1, len(data) + 1):
    window = data[:count]
    rsi = await calculate_rsi(window, 14)
    points = await calculate_zigzag(window)
    swings = await classify_swing_points(points, window)
    found = await detect_divergences(rsi, points, window, 20, 2)
"""


def calls_in(work: Callable[[], Any]) -> int:
    """Return how many functions of milo.ta the work calls: a time that no other process shares."""
    calls = 0

    def on_event(frame: FrameType, event: str, _: Any) -> None:
        nonlocal calls
        calls += event == "call" and "/milo/ta/" in frame.f_code.co_filename

    before = sys.getprofile()
    sys.setprofile(on_event)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


LOOP_WITH_MORE = """
for count in range(1, len(data) + 1):
    window = data[:count]
    rsi = await calculate_rsi(window, 14)
    points = await calculate_zigzag(window)
    others = await calculate_zigzag(window, None, 1.5)
    found = await detect_divergences(rsi, points, window, 20, 2)
    found = await detect_divergences(rsi, others, window, 20, 2)
    found = await detect_divergences(rsi, points[-6:], window, 20, 2)
"""


@pytest.mark.parametrize("text", [LOOP, LOOP_WITH_MORE])
def test_a_loop_over_prefixes_computes_nothing_twice(text: str) -> None:
    columns = columns_of("walk", 1_600, 11)
    candles = Candles.from_columns(
        np.arange(1_600) * 60_000,
        *(columns[name] for name in ("open", "high", "low", "close", "volume")),
    )
    script = Script(text)

    half = calls_in(lambda: script.run(candles.prefix(800)))
    whole = calls_in(lambda: script.run(candles))

    assert whole < 2.2 * half


def test_one_more_candle_costs_the_same_after_a_long_history() -> None:
    counts = []
    for length in (500, 4_000):
        columns = columns_of("walk", length + 2, 12)
        running = RunningIndicators()
        for count in (length, length + 1):
            for spec in GROWING:
                running.answer(
                    (spec.name,), spec, spec.typical_arguments(), cut(spec, columns, count)
                )
        counts.append(
            calls_in(
                lambda length=length, columns=columns, running=running: [  # type: ignore[misc]
                    running.answer(
                        (spec.name,), spec, spec.typical_arguments(), cut(spec, columns, length + 2)
                    )
                    for spec in GROWING
                ]
            )
        )

    assert counts[1] <= counts[0] + 5
