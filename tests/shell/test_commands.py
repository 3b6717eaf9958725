"""The commands on the embedded exchange, run as processes."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest

from milo.cli.backfill import FUNDING_PAGE

from .commands import PROJECT, milo

BAD_USE = [
    pytest.param(["--nonsense"], "unrecognized", id="unknown flag"),
    pytest.param([], "no command", id="no command"),
    pytest.param(["--balance", "--initdb", "BTCUSDT"], "do not go together", id="two commands"),
    pytest.param(["--balance", "--exchange", "binnance"], "binance", id="unknown venue"),
    pytest.param(["--initdb", "BTCUSDC", "--interval", "1h"], "BTCUSDT", id="unknown symbol"),
    pytest.param(["--initdb", "BTCUSDT", "--interval", "7m"], "7m", id="unknown interval"),
    pytest.param(["--script", "missing.script"], "missing.script", id="missing script"),
    pytest.param(["--balance", "--market", "missing.csv"], "missing.csv", id="missing market"),
    pytest.param(["--balance", "--speed", "0"], "--speed", id="bad speed"),
    pytest.param(["--balance", "--loop"], "--loop", id="loop without script"),
    pytest.param(["--closeposition", "1"], "no open position", id="nothing to close"),
    pytest.param(["--balance", "--faults", "lousy"], "lossy", id="unknown faults"),
    pytest.param(["--balance", "--faults", "lossy", "--speed", "max"], "--speed X", id="stepped"),
    pytest.param(
        ["--balance", "--exchange", "http://127.0.0.1:9", "--ledger", "x"],
        "embedded exchange",
        id="ledger elsewhere",
    ),
    pytest.param(
        ["--balance", "--exchange", "https://me:hush@example.org"], "no password", id="login in URL"
    ),
    pytest.param(["--balance", "--exchange", "http://[x"], "not a URL", id="broken URL"),
    pytest.param(["--import-klines", "x.csv"], "--symbol", id="import without symbol"),
]


@pytest.mark.parametrize(("arguments", "told"), BAD_USE)
def test_wrong_use_is_one_clear_line_and_exit_code_2(
    tmp_path: Path, arguments: list[str], told: str
) -> None:
    result = milo(tmp_path, *arguments)

    assert result.code == 2, result
    assert told in result.err
    assert result.err.startswith("error: ")
    assert len(result.err.strip().splitlines()) == 1
    assert "Traceback" not in result.err


def test_faults_and_ledger_reach_the_exchange(tmp_path: Path) -> None:
    first = milo(tmp_path, "--balance")
    second = milo(
        tmp_path, "--balance", "--faults", "slow", "--fault-seed", "3", "--ledger", "told.jsonl"
    )

    assert first.code == 0, first.err
    assert second.code == 0, second.err
    lines = [json.loads(line) for line in (tmp_path / "told.jsonl").read_text().splitlines()]
    kinds = [line["kind"] for line in lines]
    assert (kinds[0], kinds[-1]) == ("start", "end")
    assert {"request", "answer"} <= set(kinds)


def test_initdb_fills_the_store_and_again_fetches_nothing_new(tmp_path: Path) -> None:
    first = milo(tmp_path, "--initdb", "BTCUSDT", "ETHUSDT", "--interval", "1h,4h")
    second = milo(tmp_path, "--initdb", "BTCUSDT", "--interval", "1h")

    assert first.code == 0, first.err
    assert first.out.count("5,000 candles") == 4
    assert second.code == 0, second.err
    # At most the one candle that closed between the two commands.
    assert re.search(r"^[01] new candles", second.out, re.MULTILINE)


def test_initdb_fetches_funding_in_pages_and_refills_what_is_missing(tmp_path: Path) -> None:
    fetch = ("--initdb", "BTCUSDT", "--interval", "4h")
    first = milo(tmp_path, *fetch)
    [database] = tmp_path.glob("**/market.db")
    with contextlib.closing(sqlite3.connect(database)) as conn, conn:
        whole = conn.execute("SELECT * FROM funding_rates ORDER BY time_ms").fetchall()
        times = [row[1] for row in whole]
        conn.execute(
            "DELETE FROM funding_rates WHERE time_ms < ? OR time_ms BETWEEN ? AND ?",
            (times[40], times[1_000], times[1_009]),
        )

    second = milo(tmp_path, *fetch)

    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert len(whole) > 2 * FUNDING_PAGE
    assert f"BTCUSDT  {len(whole):,} new funding rates" in first.out
    with contextlib.closing(sqlite3.connect(database)) as conn:
        again = conn.execute("SELECT * FROM funding_rates ORDER BY time_ms").fetchall()
    # The clock goes on: both ends may have moved by a settlement.
    assert whole[1:] == [row for row in again if row[1] in set(times)][-len(whole) + 1 :]


def test_indicators_are_printed_for_symbol_and_interval(tmp_path: Path) -> None:
    result = milo(tmp_path, "--print-indicators", "--symbol", "ETHUSDT", "--interval", "4h")

    assert result.code == 0, result.err
    assert "ETHUSDT 4h" in result.out
    assert "calculate_rsi(14)" in result.out
    assert "nan" not in result.out.lower()


def test_balance_starts_at_ten_thousand_and_survives_a_restart(tmp_path: Path) -> None:
    first = milo(tmp_path, "--balance", "--balance-start", "2500")
    second = milo(tmp_path, "--balance")

    assert "2,500.00 USDT" in first.out
    assert "2,500.00 USDT" in second.out


def test_a_position_is_opened_listed_and_closed(tmp_path: Path) -> None:
    script = tmp_path / "always.script"
    script.write_text(
        'timeframe = "1h"\ncoin = "BTCUSDT"\ncondition_true = True\n'
        'action_if_true = "long(1%risk@10x,sl=2%,rr=3)"\n'
    )

    once = milo(tmp_path, "--script", str(script))
    listed = milo(tmp_path, "--listopenpositions", "--json", str(tmp_path / "rows.json"))
    refused = milo(tmp_path, "--closeposition", "BTCUSDT", text="no\n")
    closed = milo(tmp_path, "--closeposition", "1", "--yes")
    after = milo(tmp_path, "--listopenpositions")

    assert once.code == 0, once.err
    assert "stop" in once.out
    assert "target" in once.out
    assert "1  BTCUSDT long  protected  script always" in listed.out
    row = json.loads((tmp_path / "rows.json").read_text())["positions"][0]
    assert row["is_protected"] is True
    assert row["script"] == "always"
    assert row["leverage"] == 10
    assert Decimal(row["stop_price"]) < Decimal(row["entry_price"]) < Decimal(row["target_price"])
    assert "BTCUSDT long 0." in refused.out
    assert refused.code == 2
    assert closed.code == 0, closed.err
    assert "no open position" in after.out


def test_all_positions_are_closed_at_once(tmp_path: Path) -> None:
    script = tmp_path / "short.script"
    script.write_text('condition_true = True\naction_if_true = "short(5%margin@3x)"\n')
    milo(tmp_path, "--script", str(script), "--symbol", "SOLUSDT", "--interval", "15m")

    closed = milo(tmp_path, "--closeallpositions", "--yes")

    assert closed.code == 0, closed.err
    assert "SOLUSDT: closed" in closed.out


def test_one_script_is_evaluated_on_each_symbol_that_is_listed(tmp_path: Path) -> None:
    script = tmp_path / "wait.script"
    script.write_text('print("here")\ncondition_true = False\n')

    told = milo(
        tmp_path, "--script", str(script), "--symbol", "BTCUSDT,ETHUSDT", "--interval", "1d"
    )

    assert told.code == 0, told.err
    for symbol in ("BTCUSDT", "ETHUSDT"):
        assert f"script wait: {symbol} 1d" in told.out
        assert f"wait {symbol} on the candle of" in told.out
        assert f"  wait {symbol} | " in told.out


@pytest.mark.parametrize("command", [["--print-indicators"], ["--explain", "close"]])
def test_command_for_one_symbol_refuses_a_list(tmp_path: Path, command: list[str]) -> None:
    told = milo(tmp_path, *command, "--symbol", "BTCUSDT,ETHUSDT")

    assert told.code == 2
    assert "--symbol BTCUSDT,ETHUSDT: only one symbol can be used here" in told.err


def test_show_config_names_each_origin_and_masks_the_password(tmp_path: Path) -> None:
    (tmp_path / "milo.toml").write_text('interval = "4h"\nseed = 7\n')

    result = milo(
        tmp_path,
        "--show-config",
        "--symbol",
        "ethusdt",
        env={"MILO_SEED": "9", "MILO_KEY_PASSWORD": "hush-hush"},
    )

    rows = {line.split()[0]: line.split()[1:] for line in result.out.splitlines()}
    assert rows["symbol"] == ["ETHUSDT", "flag"]
    assert rows["seed"] == ["9", "environment"]
    assert rows["interval"][:2] == ["4h", "file"]
    assert rows["exchange"] == ["sim", "default"]
    assert "hush" not in result.out + result.err


def test_check_accepts_every_sample_and_refuses_an_import(tmp_path: Path) -> None:
    bad = tmp_path / "bad.script"
    bad.write_text("import os\ncondition_true = True\n")
    samples = [str(path) for path in sorted((PROJECT / "samples").glob("*.script"))]

    good = milo(tmp_path, "--check", *samples)
    refused = milo(tmp_path, "--check", str(bad))

    assert good.code == 0, good.out
    assert len(samples) >= 5
    assert refused.code == 2
    assert "line 1" in refused.out


def test_two_scripts_on_one_symbol_are_refused(tmp_path: Path) -> None:
    sample = str(PROJECT / "samples" / "macd_crossover.script")

    result = milo(tmp_path, "--script", sample, "--script", sample, "--loop")

    assert result.code == 2
    assert "one script a symbol" in result.err


def test_a_real_venue_without_keys_says_how_to_store_them(tmp_path: Path) -> None:
    result = milo(tmp_path, "--balance", "--exchange", "binance")

    assert result.code == 2
    assert "--set-keys binance" in result.err


def test_keys_are_stored_encrypted_and_a_wrong_password_is_told(tmp_path: Path) -> None:
    stored = milo(
        tmp_path, "--set-keys", "binance", text="the-key\nthe-secret\nlong enough\nlong enough\n"
    )
    wrong = milo(
        tmp_path, "--balance", "--exchange", "binance", env={"MILO_KEY_PASSWORD": "not that one"}
    )

    assert stored.code == 0, stored.err
    text = (tmp_path / "data" / "keys.json").read_text()
    assert "the-key" not in text
    assert "the-secret" not in text
    assert (tmp_path / "data" / "keys.json").stat().st_mode & 0o777 == 0o600
    assert wrong.code == 2
    assert "wrong password" in wrong.err
