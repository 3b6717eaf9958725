"""`--backtest` as a user runs it: real processes over imported candles."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milo.candles import Candles
from milo.resampling import resampled
from milo.store.columns import open_columns
from milo.store.connections import close_reader, open_reader
from milo.store.klines import list_series
from milo.store.migrations import MARKET
from tests.script_runs import HOUR_MS, START_MS, walk

from .commands import Finished, milo, stored

CANDLES = walk(1_500, seed=4)
CROSSING = """
timeframe = "1h"
coin = "BTCUSDT"
fast = await calculate_ema(data, 9)
slow = await calculate_ema(data, 21)
condition_true = len(data) > 1 and fast[-1] > slow[-1] and fast[-2] <= slow[-2]
action_if_true = "long(1%risk@5x,sl=2%,rr=2)"
"""
ANYWHERE = CROSSING.replace('coin = "BTCUSDT"\n', "")
FALLING = CROSSING.replace("BTCUSDT", "ETHUSDT").replace("long", "short")


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imported")
    stored(folder, CANDLES)
    stored(folder, walk(1_200, seed=5), symbol="ETHUSDT")
    return folder


@pytest.fixture
def folder(imported: Path, tmp_path: Path) -> Path:
    """A folder whose store holds hourly candles of two symbols."""
    shutil.copytree(imported / "data", tmp_path / "data")
    return tmp_path


def backtest(folder: Path, *texts: str, more: Sequence[str] = ()) -> Finished:
    arguments = []
    for number, text in enumerate(texts):
        path = folder / f"s{number}.script"
        path.write_text(text.strip() + "\n")
        arguments += ["--script", str(path)]
    return milo(folder, "--backtest", *arguments, *more)


def report(folder: Path, *texts: str, more: Sequence[str] = ()) -> dict[str, Any]:
    done = backtest(folder, *texts, more=[*more, "--json", "-"])
    assert done.code == 0, done.err
    content: dict[str, Any] = json.loads(done.out)
    return content


def time_of(index: int) -> int:
    return START_MS + index * HOUR_MS


def test_report_shows_figures_assumptions_and_writes_a_page(folder: Path) -> None:
    done = backtest(folder, CROSSING, more=["--html", "page.html", "--balance", "2500"])

    assert (done.code, done.err) == (0, "")
    for words in (
        "s0 on BTCUSDT 1h", "1,500 candles", "2,500.00 USDT", "ASSUMPTIONS", "REALISM", "sha256",
    ):  # fmt: skip
        assert words in done.out
    assert "<!doctype html>" in (folder / "page.html").read_text()


def test_trades_follow_the_signals_at_the_next_open(folder: Path) -> None:
    content = report(folder, CROSSING, more=["--fee", "0", "--funding-assumed", "0"])

    first = content["trades"][0]
    index = (first["entry_time"] - START_MS) // HOUR_MS
    assert float(first["entry_price"]) == pytest.approx(round(CANDLES.open[index], 2))
    assert content["stats"]["fees"] == "0"
    assert len(content["trades"]) >= 10


def test_script_that_reads_the_account_gives_the_same_trades_in_turns(folder: Path) -> None:
    reading = CROSSING + "condition_true = condition_true and available_balance > 0\n"

    at_once, in_turns = report(folder, CROSSING), report(folder, reading)

    assert in_turns["trades"] == at_once["trades"]
    assert len(at_once["trades"]) > 0


def test_one_script_may_read_the_account_and_another_not(folder: Path) -> None:
    reading = FALLING + "condition_true = condition_true and len(open_positions) < 2\n"

    content = report(folder, CROSSING, reading)
    apart = report(folder, CROSSING, FALLING)

    assert content["trades"] == apart["trades"]
    assert {row["symbol"] for row in content["trades"]} == {"BTCUSDT", "ETHUSDT"}


def test_one_script_runs_on_each_symbol_that_is_listed(folder: Path) -> None:
    listed = report(folder, ANYWHERE, more=["--symbol", "BTCUSDT,ETHUSDT"])
    apart = report(folder, CROSSING, CROSSING.replace("BTCUSDT", "ETHUSDT"))

    assert [(row["script"], row["symbol"]) for row in listed["trades"]] == [
        ("s0", row["symbol"]) for row in apart["trades"]
    ]
    assert [row["net"] for row in listed["trades"]] == [row["net"] for row in apart["trades"]]
    assert [one["symbol"] for one in listed["scripts"]] == ["BTCUSDT", "ETHUSDT"]


def test_every_candle_is_proved_also_beside_a_script_that_reads_the_account(folder: Path) -> None:
    reading = FALLING + "condition_true = condition_true and available_balance > 0\n"

    content = report(folder, CROSSING, reading, more=["--prove"])
    sampled = report(folder, CROSSING, reading)

    checked = [one["scripts"][0]["proof"]["checked"] for one in (content, sampled)]
    assert checked[0] == len(CANDLES)
    assert 0 < checked[1] < len(CANDLES)


def test_timerange_limits_what_is_decided_but_not_the_history(folder: Path) -> None:
    once = CROSSING + "condition_true = len(data) == 1001\n"

    inside = report(folder, once, more=["--timerange", "20260201-20260301"])
    outside = report(folder, once, more=["--timerange", "20260201-20260210"])

    assert [row["entry_time"] for row in inside["trades"]] == [time_of(1001)]
    assert outside["trades"] == []
    assert inside["stats"]["start_time"] == time_of(31 * 24)


def test_an_input_of_the_script_is_set_and_shown(folder: Path) -> None:
    text = CROSSING.replace("21", 'int(param("slow", 21, 10, 60))')

    content = report(folder, text, more=["--set", "slow=34"])

    assert content["trades"] != report(folder, text)["trades"]
    assert '"slow"' in json.dumps(content["scripts"])


def test_candles_on_which_a_script_fails_are_told_with_their_line(folder: Path) -> None:
    text = CROSSING + "x = 1 / (len(data) % 500)\n"

    done = backtest(folder, text)

    assert done.code == 0
    assert "ZeroDivisionError" in done.out
    assert "line 7" in done.out


@pytest.mark.parametrize(
    ("texts", "more", "words"),
    [
        ((CROSSING, CROSSING), (), "both trade BTCUSDT; one script a symbol"),
        ((CROSSING,), ("--timerange", "20300101-"), "holds no candle of BTCUSDT 1h: stored are"),
        ((CROSSING,), ("--intrabar", "1m"), "no 1m candles of BTCUSDT"),
        ((CROSSING,), ("--intrabar", "4h"), "4h is not finer than the script's 1h"),
        ((CROSSING,), ("--html", "nowhere/page.html"), "no such folder"),
        ((CROSSING.replace("BTC", "XRP"),), (), "there are BTCUSDT 1h, ETHUSDT 1h"),
        (("import os",), (), "os"),
        ((CROSSING,), ("--symbol", "BTCUSDT,ETHUSDT"), "no script runs on ETHUSDT of --symbol: s0"),
        ((ANYWHERE, CROSSING), ("--symbol", "BTCUSDT,ETHUSDT"), "both trade BTCUSDT"),
    ],
)
def test_what_cannot_be_tested_is_one_clear_error(
    folder: Path, texts: tuple[str, ...], more: tuple[str, ...], words: str
) -> None:
    done = backtest(folder, *texts, more=more)

    assert done.code == 2
    assert words in done.err
    assert done.out == ""


def test_without_any_candles_the_error_says_how_to_store_some(tmp_path: Path) -> None:
    done = backtest(tmp_path, CROSSING)

    assert done.code == 2
    assert "store some with --import-klines FILE" in done.err


def test_imported_funding_rates_count_as_known_and_a_second_import_changes_nothing(
    folder: Path,
) -> None:
    file = folder / "funding.csv"
    rows = [f"{START_MS + index * 8 * HOUR_MS + 3},8,0.0002" for index in range(200)]
    text = "\n".join(["calc_time,funding_interval_hours,last_funding_rate", *rows, "x,8,1"])
    file.write_text(text)
    before = report(folder, CROSSING)["funding"]

    told = milo(folder, "--import-funding", str(file), "--symbol", "BTCUSDT")
    again = milo(folder, "--import-funding", str(file), "--symbol", "BTCUSDT")

    assert (told.code, again.code) == (0, 0), told.err
    assert "line 202: 'x' is no time in ms UTC" in told.err
    assert "200 new or changed" in told.out
    assert "0 new or changed, 200 unchanged" in again.out
    after = report(folder, CROSSING)["funding"]
    assert before["unknown"] == before["settlements"] == after["settlements"] > 0
    assert after["unknown"] == 0


def stored_candles(folder: Path) -> Candles:
    with open_columns(folder / "data" / "history.db", "BTCUSDT", "1h") as columns:
        return columns.candles


def series_of(folder: Path) -> list[tuple[str, str]]:
    conn = open_reader(folder / "data" / "history.db", MARKET)
    try:
        return list_series(conn)
    finally:
        close_reader(conn)


def notes_of(content: dict[str, Any]) -> list[str]:
    return [row["text"] for row in content["assumptions_in_words"] if row["name"] == "note"]


def test_longer_candles_are_made_of_stored_ones_and_those_that_are_stored_win(folder: Path) -> None:
    slow = CROSSING.replace("1h", "4h")
    finer = ["--intrabar", "2h", "--timerange", "20260102-"]
    hours = stored_candles(folder)
    before = series_of(folder)

    made = report(folder, slow, more=finer)
    after = series_of(folder)
    for interval in ("2h", "4h"):
        # As the exchange would have them.
        stored(folder, resampled(hours, "1h", interval).candles, interval=interval, wider=0.0)
    as_stored = report(folder, slow, more=finer)

    assert made["trades"] == as_stored["trades"]
    assert len(made["trades"]) > 3
    assert after == before
    told = [note for note in notes_of(made) if "made of stored" in note]
    assert told == ["BTCUSDT: 4h made of stored 1h", "BTCUSDT: 2h made of stored 1h"]
    assert not any("made of stored" in note for note in notes_of(as_stored))


def test_candles_with_missing_parts_are_left_out_and_counted(tmp_path: Path) -> None:
    hours = CANDLES.prefix(601)
    columns = (hours.open_ms, hours.open, hours.high, hours.low, hours.close, hours.volume)
    stored(tmp_path, Candles.from_columns(*(np.delete(column, 9) for column in columns)))

    content = report(tmp_path, CROSSING.replace("1h", "4h"))

    assert content["markets"][0]["candles"] == 149
    assert any(
        "4h made of stored 1h; 2 candles left out of which some 1h are missing" in note
        for note in notes_of(content)
    )


def test_finer_candles_are_never_made_of_longer_ones(folder: Path) -> None:
    done = backtest(folder, CROSSING, more=["--intrabar", "30m"])

    assert done.code == 2
    assert "--intrabar 30m: no 30m candles of BTCUSDT" in done.err


def test_a_symbol_that_a_script_passes_over_is_told(folder: Path) -> None:
    other = backtest(folder, CROSSING, more=["--symbol", "ETHUSDT"])
    same = backtest(folder, CROSSING, more=["--symbol", "BTCUSDT"])

    assert (other.code, same.code) == (0, 0)
    assert "s0: runs on BTCUSDT, the coin that it names, not on --symbol ETHUSDT" in other.err
    assert same.err == ""


def test_two_scripts_of_one_file_name_are_told_apart(folder: Path) -> None:
    arguments = []
    for place, text in (("a", CROSSING), ("b", FALLING)):
        (folder / place).mkdir()
        (folder / place / "same.script").write_text(text.strip() + "\n")
        arguments += ["--script", str(folder / place / "same.script")]

    done = milo(folder, "--backtest", *arguments, "--json", "-")

    content = json.loads(done.out)
    by_script = content["stats"]["by_script"]
    assert sorted(by_script) == ["same", "same (2)"]
    assert sum(group["count"] for group in by_script.values()) == len(content["trades"])
    assert [slot["script"] for slot in content["slots"]] == ["same", "same (2)"]
