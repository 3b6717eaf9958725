"""What scripts read: candles, series, prefixes, and the names of one candle."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milo.candles import Candles
from milo.model import Candle
from milo.script.faults import ScriptFault
from milo.script.history import History
from milo.script.names import INDICATOR_NAMES
from milo.script.protocol import MAX_REPLY_BYTES, Result, WirePlot, candle_frames, reply_frame
from milo.script.runner import BudgetFault
from milo.ta import INDICATORS
from tests.script_runs import HOUR_MS, START_MS, Script, fault, run, walk

CANDLES = walk(300)


def printed(text: str, candles: Candles = CANDLES, forming: Candle | None = None) -> list[str]:
    return Script(text).run(candles, forming).printed.splitlines()


def after(candles: Candles) -> Candle:
    """Return a candle that forms behind the last one."""
    last = candles.candle(-1)
    return Candle(last.open_ms + HOUR_MS, last.close, last.close * 1.01, last.close, 61_234.5, 3.25)


def test_item_and_attribute_of_a_candle_are_the_same_plain_float() -> None:
    last = CANDLES.candle(-1)

    lines = printed(
        """
        c = data[-1]
        print(c["close"] == c.close == lastclose, isinstance(c.close, float), c.time)
        print([c[name] for name in ("open", "high", "low", "close", "volume")])
        print(len(c), list(c), "close" in c, "price" in c, c.get("x", 7), dict(c) == c)
        print({**c}["volume"] == volume, isinstance(c.time, int))
        """
    )

    assert lines == [
        f"True True {last.open_ms}",
        str([last.open, last.high, last.low, last.close, last.volume]),
        "6 ['time', 'open', 'high', 'low', 'close', 'volume'] True False 7 True",
        "True True",
    ]


def test_data_is_a_sequence() -> None:
    lines = printed(
        """
        closes = [c.close for c in data]
        print(len(data), len(closes), closes[0] == data[0].close, data[-1] in data)
        print([c.close for c in reversed(data)][:3] == closes[::-1][:3])
        print(data[True].close == closes[1], list(data)[5] == data[5], len(list(zip(data, closes))))
        print(len(data[-200:]), len(data[:10]), len(data[:-10]), len(data[5:2]), len(data[::7]))
        print(data[-200:][0] == data[100], data[::-1][0] == data[-1], data[10:20][-1].time)
        print(len(data[:10][-3:]), data[:10][-1] == data[9], len(data[:1000]), len(data[:-1000]))
        """
    )

    assert lines == [
        "300 300 True True",
        "True",
        "True True 300",
        "200 10 290 0 43",
        f"True True {START_MS + 19 * HOUR_MS}",
        "3 True 300 0",
    ]


def test_backward_slices_from_before_the_first_item_are_empty() -> None:
    lines = printed(
        """
        rsi = await calculate_rsi(data)
        print(len(data[-1000::-1]), len(data[:0][::-1]), len(data[:5][-10::-2]), len(data[5::-1]))
        print(len(rsi[-1000::-1]), len(rsi[:0][::-1]), len(rsi[:5][-10::-2]), len(rsi[5::-1]))
        """
    )

    assert lines == ["0 0 0 6"] * 2


def test_backward_slice_of_an_empty_history_shows_no_memory() -> None:
    assert printed("print(len(data[::-1]), list(data[::-2]))", Candles.empty()) == ["0 []"]


def test_names_of_the_newest_candle() -> None:
    last = CANDLES.candle(-1)

    lines = printed(
        "print(lastclose, open, high, low, volume)\n"
        "print(previousclose == data[-2].close, averagevolume, available_balance)\n"
        "print(chart_data[-1] == data[-1], live_candle, len(chart_data))"
    )

    assert lines[0] == f"{last.close} {last.open} {last.high} {last.low} {last.volume}"
    assert lines[1].split()[0] == "True"
    assert float(lines[1].split()[1]) == pytest.approx(CANDLES.volume[-14:].mean())
    assert lines[2] == "True None 300"


def test_forming_candle_is_the_last_of_data_and_no_part_of_chart_data() -> None:
    forming = after(CANDLES)

    lines = printed(
        """
        print(len(data), len(chart_data), data[-1].close, live_candle["close"], lastclose)
        print(data[-2] == chart_data[-1], live_candle == data[-1], previousclose == data[-2].close)
        rsi, before = await calculate_rsi(data), await calculate_rsi(chart_data)
        print(len(rsi), len(before), list(rsi)[20:300] == list(before)[20:], rsi[-1] != before[-1])
        """,
        forming=forming,
    )

    assert lines == [
        "301 300 61234.5 61234.5 61234.5",
        "True True True",
        "301 300 True True",
    ]


def test_forming_candle_leaves_no_trace_in_the_next_evaluation() -> None:
    history = History()
    history.extend(candle_frames(CANDLES, 0)[5:])
    script = Script("print(len(data), lastclose, data[-1].close, len(list(data)))")
    forming = after(CANDLES)
    closed_later = Candle(forming.open_ms, 1.0, 2.0, 0.5, 1.5, 9.0)

    with_forming = script.run(CANDLES, forming).printed
    grown = script.run(CANDLES.appended(closed_later)).printed

    assert with_forming == "301 61234.5 61234.5 301\n"
    assert grown == "301 1.5 1.5 301\n"


def test_empty_history_gives_nan_and_empty_sequences() -> None:
    lines = printed(
        """
        print(len(data), lastclose, previousclose, averagevolume, list(data))
        rsi = await calculate_rsi(data)
        print(len(rsi), await calculate_average_volume(data), await calculate_zigzag(data))
        """,
        Candles.empty(),
    )

    assert lines == ["0 nan nan nan []", "0 nan []"]


def test_series_is_read_only_with_plain_floats() -> None:
    lines = printed(
        """
        rsi = await calculate_rsi(data, 14)
        print(len(rsi), isinstance(rsi[-1], float), rsi[0] != rsi[0], rsi[-1] == rsi[299])
        print(list(rsi[-3:]) == [rsi[-3], rsi[-2], rsi[-1]], len(rsi[:10]), max(rsi[-50:]) <= 100)
        print(rsi == None, rsi != None, [x for x in rsi][-1] == rsi[-1], rsi[::-1][0] == rsi[-1])
        print(sum(1 for x in rsi if math.isnan(x)), bool(rsi), f"{rsi[-1]:.1f}" != "")
        """
    )

    assert lines == [
        "300 True True True",
        "True 10 True",
        "False True True True",
        "14 True True",
    ]


def test_pairs_are_tuples_of_series() -> None:
    lines = printed(
        """
        pair = await calculate_macd(data)
        line, signal = pair
        k, d = await calculate_stochastic(data, k_period=14, d_period=3)
        print(isinstance(pair, tuple), len(pair), len(line), k[-1] >= 0, d[-1] <= 100)
        """
    )

    assert lines == ["True 2 300 True True"]


def test_indicator_equals_the_function_behind_it() -> None:
    script = Script("r = await calculate_rsi(data)\nfor x in r:\n    print(x)")
    rsi = next(spec for spec in INDICATORS if spec.name == "calculate_rsi")

    lines = script.run(CANDLES).printed.splitlines()

    assert lines == [str(value) for value in rsi.function(CANDLES.close, 14).tolist()]


PREFIX_CALLS = {
    "sma": "await calculate_sma(w, 10)",
    "ema": "await calculate_ema(w, 10)",
    "rsi": "await calculate_rsi(w)",
    "atr": "await calculate_atr(w)",
    "obv": "await calculate_obv(w)",
    "macd": "(await calculate_macd(w))[1]",
    "stochastic": "(await calculate_stochastic(w))[1]",
    "ema_of_rsi": "await calculate_ema_internal(await calculate_rsi(w), 5)",
    "dema": "await calculate_dema(await calculate_ema(w, 3), 5)",
    "zigzag": "await calculate_zigzag(w)",
    "divergences": "await detect_divergences(await calculate_rsi(w), await calculate_zigzag(w), w)",
}


@pytest.mark.parametrize("call", PREFIX_CALLS.values(), ids=PREFIX_CALLS.keys())
@settings(max_examples=20, deadline=None)
@given(length=st.integers(0, 300))
def test_indicator_of_a_prefix_is_what_the_candles_up_to_there_give(call: str, length: int) -> None:
    of_prefix = printed(f"w = data[:{length}]\nprint(list({call}))")
    of_shorter = printed(f"w = data\nprint(list({call}))", CANDLES.prefix(length))

    assert of_prefix == of_shorter


def test_slice_that_does_not_begin_at_the_first_candle_starts_afresh() -> None:
    part = Candles.from_rows([(c.open_ms, c.open, c.high, c.low, c.close, c.volume)
                              for c in list(CANDLES)[-200:]])  # fmt: skip
    of_slice = printed("print(list(await calculate_rsi(data[-200:])))")
    of_list = printed(
        "print(list(await calculate_rsi([dict(c) for c in data if c.time >= data[100].time])))"
    )
    of_part = printed("print(list(await calculate_rsi(data)))", part)

    assert of_slice == of_part == of_list


def test_indicator_of_a_loop_over_history_is_computed_once() -> None:
    script = Script(
        """
        total = 0.0
        for i in range(20, len(data)):
            window = data[:i + 1]
            rsi = await calculate_rsi(window, 14)
            line, signal = await calculate_macd(window)
            total += rsi[-1]
        rsi = await calculate_rsi(data)
        print(total == sum(rsi[20:]))
        """
    )

    assert script.run(walk(3000)).printed == "True\n"
    assert script.runner.session.awaits == 2 * 2980 + 1


def test_own_candles_and_lists_work_as_series() -> None:
    lines = printed(
        """
        own = [{"close": float(i), "high": i + 1, "low": i - 1, "volume": 1} for i in range(60)]
        sma = await calculate_sma(own, 3)
        atr = await calculate_atr(own, 5)
        ema = await calculate_ema_internal([1, 2.0, 3, 4], 2)
        print(list(sma)[-2:], atr[-1], list(ema), len(await calculate_zigzag(own, 50)))
        print(await find_extremum_in_window([3, 1, 2], 1, 1, 1, True))
        print(list(await calculate_dema((1.0, 2.0, 3.0), 1)), await calculate_average_volume(own))
        """
    )

    assert lines == [
        "[57.0, 58.0] 2.0 [nan, 1.5, 2.5, 3.5] 2",
        "{'value': 1.0, 'index': 1}",
        "[1.0, 2.0, 3.0] 1.0",
    ]


def test_swing_points_and_divergences_are_mappings_with_times() -> None:
    lines = printed(
        """
        points = await classify_swing_points(await calculate_zigzag(data), data)
        first = points[0]
        print(len(points) > 5, sorted(first), first["time"] == data[first["index"]].time)
        rsi = await calculate_rsi(data)
        found = await detect_divergences(rsi, points, data, 5, 2)
        print(len(found) > 0, sorted(found[0]) if found else None)
        points[0]["label"] = "mine"
        again = await calculate_zigzag(data)
        print("label" in again[0])
        """
    )

    assert lines == [
        "True ['confirmed', 'confirmed_index', 'index', 'label', 'time', 'type', 'value'] True",
        "True ['confirmed', 'endIndex', 'endPrice', 'endRSI', 'endTime', 'startIndex',"
        " 'startPrice', 'startRSI', 'startTime', 'type']",
        "False",
    ]


def test_every_indicator_can_be_called() -> None:
    calls = {
        "calculate_ema_internal": "await calculate_ema_internal([1.0, 2.0], 1)",
        "calculate_dema": "await calculate_dema([1.0, 2.0], 1)",
        "classify_swing_points": "await classify_swing_points([], data)",
        "find_extremum_in_window": "await find_extremum_in_window([1.0], 0, 0, 0, is_min=True)",
        "detect_divergences": "await detect_divergences(await calculate_rsi(data), [], data)",
    }
    for spec in INDICATORS:
        period = ", 5" if any(item.is_required for item in spec.parameters) else ""
        call = calls.get(spec.name, f"await {spec.name}(data{period})")

        assert run(f"x = {call}\nprint('ok')").printed == "ok\n", spec.name
    assert len(INDICATOR_NAMES) == len(INDICATORS)


def test_positions_and_balance_are_the_accounts() -> None:
    position = {
        "symbol": "BTCUSDT", "side": "long", "qty": 0.5, "entry_price": 60_000.0,
        "unrealized_pnl": 12.5, "stop": 59_000.0, "take": None,
    }  # fmt: skip
    script = Script(
        "for p in open_positions:\n    print(p['side'], p['qty'], p['take'], p)\n"
        "print(available_balance)"
    )

    found = script.run(CANDLES, balance=1234.5, positions=[position])

    assert found.printed == f"long 0.5 None {position}\n1234.5\n"


def test_action_builders_make_the_result() -> None:
    found = run(
        """
        condition_true = True
        action_if_true = long(risk=1, leverage=10, sl="2%", rr=3)
        action_if_false = close(50)
        print(short(margin=5, leverage=3), close())
        """
    )

    assert (found.outcome.if_true, found.outcome.if_false) == (
        "long(1%risk@10x,sl=2%,rr=3)",
        "close(50%)",
    )
    assert found.printed == "short(5%margin@3x) close(100%)\n"


def test_inputs_have_defaults_and_can_be_set() -> None:
    text = "n = param('period', 14, 5, 50)\nf = param('factor', default=-0.5)\nprint(n, f)"
    script = Script(text, inputs={"period": 20})

    assert [item.name for item in script.checked.header.inputs] == ["period", "factor"]
    assert (run(text).printed, script.run(CANDLES).printed) == ("14 -0.5\n", "20 -0.5\n")


def test_plots_and_marks_are_collected() -> None:
    found = run(
        """
        rsi = await calculate_rsi(data)
        plot(rsi, "RSI", pane="momentum")
        plot(lastclose, "close")
        plot([1, 2.5], "list")
        plot(rsi[:3], "not yet")
        mark("up\\n\\x1b[2J")
        """
    )

    names = [(name, pane) for name, pane in found.plots]
    assert names == [
        ("RSI", "momentum"),
        ("close", "price"),
        ("list", "price"),
        ("not yet", "price"),
    ]
    assert found.plots[("list", "price")] == 2.5
    assert math.isnan(found.plots[("not yet", "price")])
    assert found.marks == ["up ?[2J"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("for i in range(40):\n    plot(i, str(i))", "more than 32 plots"),
        ("for i in range(40):\n    mark(i)", "more than 16 marks"),
    ],
)
def test_plots_and_marks_are_capped(text: str, words: str) -> None:
    assert words in fault(text).message


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_too_many_awaits_end_the_evaluation_even_inside_try() -> None:
    script = Script(
        """
        while True:
            try:
                while True:
                    x = await calculate_rsi(data)
            except Exception:
                pass
        """,
        max_awaits=1000,
    )

    with pytest.raises(BudgetFault) as caught:
        script.run(CANDLES)

    assert (caught.value.kind, caught.value.line) == ("awaits", 5)


def test_history_grows_beyond_its_first_capacity() -> None:
    long = walk(2500)
    history = History()
    history.extend(candle_frames(long.prefix(1000), 0)[5:])
    for index in range(1000, 2500):
        history.extend(candle_frames(long.prefix(index + 1), index)[5:])

    base = history.base(b"")

    assert len(base) == 2500
    np.testing.assert_array_equal(base.column("close"), long.close)
    np.testing.assert_array_equal(base.open_ms, long.open_ms)
    assert base.row(1234).close == long.close[1234]


def test_unfinished_generator_ends_with_its_evaluation() -> None:
    script = Script(
        "def g():\n    try:\n        yield 1\n    finally:\n        print('end')\n"
        "it = g()\nprint(next(it))"
    )

    assert script.run(CANDLES).printed == "1\nend\n"


def test_generators_that_hold_each_other_end_with_their_evaluation() -> None:
    script = Script(
        """
        def g(box, count):
            try:
                yield
            finally:
                print("end of", count)
        box = []
        box.append(g(box, len(data)))
        next(box[0])
        """
    )

    assert [script.run(CANDLES.prefix(n)).printed for n in (5, 6)] == ["end of 5\n", "end of 6\n"]


def test_largest_answer_fits_into_a_frame() -> None:
    script = Script(
        r"""
        wide = chr(0x10000)
        for i in range(32):
            plot(-1.2345678901234567e-300, wide * 61 + f"{i:03}", pane=wide * 64)
        for i in range(16):
            mark(wide * 500)
        print('"' * 20000)
        action_if_true = action_if_false = wide * 200
        """
    )

    found = script.run(CANDLES)
    reply = Result(
        request=2**31,
        condition=False,
        if_true=found.outcome.if_true,
        if_false=found.outcome.if_false,
        printed=found.printed,
        dropped_bytes=2**62,
        warnings=found.outcome.warnings,
        plots=tuple(WirePlot(name=n, pane=p, value=v) for (n, p), v in found.plots.items()),
        marks=tuple(found.marks),
    )

    assert 50_000 < len(reply_frame(reply)) <= MAX_REPLY_BYTES


def test_script_fault_is_told_with_its_line() -> None:
    assert str(ScriptFault("no", line=3)) == "line 3: no"


def test_divergences_of_known_points_are_those_of_any_points() -> None:
    result = run(
        """
        wrong, seen = [], 0
        for i in range(len(data)):
            window = data[:i + 1]
            rsi = await calculate_rsi(window, 5)
            points = await calculate_zigzag(window)
            for windows in ((3, 0), (0, 0), (2, 4)):
                found = await detect_divergences(rsi, points, window, *windows)
                seen += len(found)
                # A list is not known from before.
                if found != await detect_divergences(list(rsi), points, window, *windows):
                    wrong.append(i)
            if len(points) > 3:
                points[-1]["value"] *= 1.5
                found = await detect_divergences(rsi, points, window)
                if found != await detect_divergences(list(rsi), points, window):
                    wrong.append(i)
        condition_true = seen > 100
        print(wrong)
        """,
        walk(250),
    )

    assert result.condition
    assert result.printed == "[]\n"
