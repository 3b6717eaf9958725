"""`--backtest --why TIME` as a user runs it: real processes over imported candles."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from milo.clock import iso_minute
from tests.script_runs import HOUR_MS, START_MS, walk

from .commands import Finished, milo, stored

COUNT = 400
CROSSING = """
timeframe = "1h"
coin = "BTCUSDT"
fast = await calculate_ema(data, 9)
slow = await calculate_ema(data, 21)
crossed = len(data) > 1 and fast[-1] > slow[-1] and fast[-2] <= slow[-2]
condition_true = crossed
action_if_true = "long(1%risk@5x,sl=2%,rr=2)"
print("gap", fast[-1] - slow[-1])
"""
ALWAYS = 'coin = "BTCUSDT"\ncondition_true = True\naction_if_true = "long(1%risk@3x,sl=20%)"\n'
READING = CROSSING + "condition_true = condition_true and available_balance > 0\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("why")
    for symbol, interval, seed, count in (
        ("BTCUSDT", "1h", 4, COUNT), ("ETHUSDT", "1h", 5, 300), ("ETHUSDT", "4h", 6, 100),
    ):  # fmt: skip
        step = HOUR_MS * int(interval[0])
        stored(folder, walk(count, seed, step), symbol, interval)
    return folder


def backtest(folder: Path, texts: Sequence[str], *more: str) -> Finished:
    arguments = []
    for number, text in enumerate(texts):
        path = folder / f"s{number}.script"
        path.write_text(text.strip() + "\n")
        arguments += ["--script", str(path)]
    return milo(folder, "--backtest", *arguments, *more)


def stories(folder: Path, texts: Sequence[str], time_ms: int, *more: str) -> list[dict[str, Any]]:
    done = backtest(folder, texts, "--why", str(time_ms), "--json", "-", *more)
    assert done.code == 0, done.err
    content = json.loads(done.out)
    assert content["time"] == time_ms
    candles: list[dict[str, Any]] = content["candles"]
    return candles


def first_trade(folder: Path, text: str) -> dict[str, Any]:
    done = backtest(folder, [text], "--json", "-")
    trade: dict[str, Any] = json.loads(done.out)["trades"][0]
    return trade


def test_entry_is_explained_from_the_condition_to_the_fill(folder: Path) -> None:
    trade = first_trade(folder, CROSSING)
    signal_ms = trade["entry_time"] - HOUR_MS

    # A time within the candle means that candle.
    done = backtest(folder, [CROSSING], "--why", iso_minute(signal_ms + HOUR_MS // 2))
    (story,) = stories(folder, [CROSSING], signal_ms)

    assert (done.code, done.err) == (0, "")
    for words in (
        f"candle {iso_minute(signal_ms)}", "condition_true is true", "fast[-1] > slow[-1]",
        "LINE BY LINE", "PRINTED", "GATES", "risk wanted", "WHAT HAPPENED", "opened long",
    ):  # fmt: skip
        assert words in done.out
    opened = story["outcome"]["opened"]
    assert story["action"] == "long(1%risk@5x,sl=2%,rr=2)"
    assert opened["entry_time"] == trade["entry_time"]
    for told, row in (
        ("qty", "qty"), ("entry_price", "entry_price"), ("stop", "stop_price"),
        ("target", "target_price"), ("liquidation", "liquidation_price"),
    ):  # fmt: skip
        assert opened[told] == trade[row]
    assert all(gate["passed"] for gate in story["gates"])


def test_false_condition_is_shown_with_its_values(folder: Path) -> None:
    trade = first_trade(folder, CROSSING)

    (story,) = stories(folder, [CROSSING], trade["entry_time"])

    (failed,) = [step for step in story["steps"] if step["text"] == "fast[-2] <= slow[-2]"]
    assert (story["condition"], story["action"]) == (False, "donothing")
    assert (failed["held"], failed["decides"]) == (False, True)
    left, right = map(float, failed["value"].split(" <= "))
    assert left > right
    assert story["account"]["position"]["side"] == "long"
    assert "the long stays open" in story["happened"][0]


def test_script_that_reads_the_account_tells_the_same(folder: Path) -> None:
    time_ms = first_trade(folder, CROSSING)["entry_time"] - HOUR_MS

    (plain,), (reading,) = (stories(folder, [text], time_ms) for text in (CROSSING, READING))

    for name in ("action", "account", "gates", "size", "outcome", "prints", "open_time"):
        assert reading[name] == plain[name]
    (read,) = [step for step in reading["steps"] if step["text"] == "available_balance > 0"]
    assert (read["value"], read["held"]) == ("10000 > 0", True)


def test_script_that_is_decided_bar_by_bar_tells_the_same(folder: Path) -> None:
    time_ms = first_trade(folder, CROSSING)["entry_time"] - HOUR_MS
    slowly = CROSSING + "found = sorted([1, 2], key=lambda x: -x)\n"

    (plain,), (batched,) = (stories(folder, [text], time_ms) for text in (CROSSING, slowly))

    assert (batched["action"], batched["outcome"]) == (plain["action"], plain["outcome"])


def test_refused_entry_tells_which_gate_and_what_it_would_have_been(folder: Path) -> None:
    (story,) = stories(folder, [ALWAYS], START_MS + 50 * HOUR_MS, "--max-leverage", "2")

    refused = [gate for gate in story["gates"] if not gate["passed"]]
    assert [gate["gate"] for gate in refused] == ["leverage"]
    assert "above the limit of 2x" in story["refusal"]
    assert story["outcome"] is None
    assert {"risk wanted", "quantity"} <= {row["label"] for row in story["size"]}


def test_signal_for_the_open_side_says_why_nothing_changed(folder: Path) -> None:
    (story,) = stories(folder, [ALWAYS], START_MS + 9 * HOUR_MS)

    assert story["account"]["position"]["entry_time"] == START_MS + HOUR_MS
    assert "a long is open already since" in story["happened"][0]
    assert (story["gates"], story["outcome"]) == ([], None)


def test_last_candle_has_no_open_to_fill_at(folder: Path) -> None:
    time_ms = START_MS + (COUNT - 1) * HOUR_MS
    alone = ALWAYS.replace("True\n", f"len(data) == {COUNT}\n", 1)

    (story,), (at_close,) = (
        stories(folder, [alone], time_ms, *more) for more in ([], ["--fill", "close"])
    )

    assert "the last candle" in story["happened"][0]
    assert at_close["outcome"]["opened"]["side"] == "long"


def test_each_script_of_a_run_tells_its_own_candle(folder: Path) -> None:
    other = ALWAYS.replace("BTCUSDT", "ETHUSDT") + 'timeframe = "4h"\n'
    time_ms = START_MS + 10 * HOUR_MS

    hour, four = stories(folder, [CROSSING, other], time_ms, "--max-positions", "1")
    late_ms = START_MS + 400 * HOUR_MS - 1
    (late,) = stories(folder, [CROSSING, other], late_ms)[1:]

    assert (hour["symbol"], hour["open_time"]) == ("BTCUSDT", time_ms)
    assert (four["symbol"], four["open_time"]) == ("ETHUSDT", START_MS + 8 * HOUR_MS)
    assert late["open_time"] == START_MS + 396 * HOUR_MS


def test_script_without_a_candle_there_is_told_beside_the_others(folder: Path) -> None:
    other = ALWAYS.replace("BTCUSDT", "ETHUSDT")
    time_ms = START_MS + 350 * HOUR_MS

    done = backtest(folder, [CROSSING, other], "--why", str(time_ms))

    assert done.code == 0
    assert "s0 on BTCUSDT 1h" in done.out
    assert "s1 on" not in done.out
    assert "ETHUSDT 1h: no candle is stored there; the nearest: 2026-01-13 11:00 UTC" in done.err


def test_candle_on_which_the_script_failed_shows_error_and_values(folder: Path) -> None:
    failing = 'coin = "BTCUSDT"\nshare = 10\nratio = share / (len(data) - 6)\n' + ALWAYS

    done = backtest(folder, [failing], "--why", str(START_MS + 5 * HOUR_MS))
    (story,) = stories(folder, [failing], START_MS + 5 * HOUR_MS)

    assert "ZeroDivisionError" in done.out
    assert "nothing: the script failed" in done.out
    assert "ZeroDivisionError" in story["error"]
    assert (story["condition"], story["action"]) == (None, "donothing")
    assert ("share = 10", "10") in [(step["text"], step["value"]) for step in story["steps"]]


def test_halted_script_says_since_when(folder: Path) -> None:
    halting = ALWAYS + "rest = 1 / max(0, len(data) - 20)\n"

    (story,) = stories(folder, [halting], START_MS + 50 * HOUR_MS)

    assert story["halted_time"] == START_MS + 4 * HOUR_MS
    assert story["action"] == "donothing"


@pytest.mark.parametrize(
    ("time", "more", "words"),
    [
        ("2025-01-01", [], ["no candle is stored there", "2026-01-01 00:00"]),
        ("2030-01-01", [], ["no candle is stored there", "2026-01-17 15:00"]),
        ("2026-01-02", ["--timerange", "20260103-"], ["--timerange", "2026-01-03 00:00"]),
        ("2026-01-02", ["--html", "x.html"], ["--html belongs to the report"]),
        ("soon", [], ["--why soon", "2025-05-10T12:00"]),
    ],
)
def test_time_without_a_candle_names_the_nearest(
    folder: Path, time: str, more: list[str], words: list[str]
) -> None:
    done = backtest(folder, [CROSSING], "--why", time, *more)

    assert (done.code, done.out) == (2, "")
    for word in words:
        assert word in done.err


def test_why_belongs_to_a_backtest(tmp_path: Path) -> None:
    done = milo(tmp_path, "--script", "x.script", "--why", "2026-01-01")

    assert done.code == 2
    assert "--why belongs to --backtest" in done.err
