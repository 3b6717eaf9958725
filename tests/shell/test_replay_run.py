"""Recorded candles played through the embedded exchange in stepped runs."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from .commands import PROJECT, milo

MACD = PROJECT / "samples" / "macd_crossover.script"


def run_replay(folder: Path, market: Path, *more: str) -> dict[str, Any]:
    """Run a script stepped over a market file; return the summary."""
    result_file = folder / "result.json"
    result = milo(
        folder, "--market", str(market), "--loop", "live", "--speed", "max",
        "--json", str(result_file), *more,
    )  # fmt: skip
    assert result.code == 0, result.err + result.out
    summary: dict[str, Any] = json.loads(result_file.read_text())
    return summary


@pytest.fixture(scope="module")
def minute_market(shared_data: Path) -> Path:
    return shared_data / "klines" / "BTCUSDT_1m_perp_2025-05_2025-06.csv.gz"


@pytest.fixture(scope="module")
def macd_runs(
    tmp_path_factory: pytest.TempPathFactory, minute_market: Path
) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("macd")
    arguments = ("--symbol", "BTCUSDT", "--script", str(MACD), "--candles", "60")
    return [run_replay(folder, minute_market, *arguments) for _ in range(2)]


def test_two_stepped_runs_give_the_same_trades(macd_runs: list[dict[str, Any]]) -> None:
    first, second = macd_runs

    assert first["trades"]
    for name in ("trades", "candles", "evaluations", "signals", "orders", "fills"):
        assert first[name] == second[name], name


def test_the_run_ends_after_the_candles_asked_for(macd_runs: list[dict[str, Any]]) -> None:
    assert macd_runs[0]["candles"] == 60
    assert macd_runs[0]["script_errors"] == 0


def test_the_balance_is_the_start_plus_every_trade(macd_runs: list[dict[str, Any]]) -> None:
    run = macd_runs[0]

    profits = sum(Decimal(row["profit"]) for row in run["trades"])

    assert Decimal(run["final_balance"]) == Decimal(run["start_balance"]) + profits


def test_losses_at_the_stop_stay_within_the_risk(macd_runs: list[dict[str, Any]]) -> None:
    stopped = [row for row in macd_runs[0]["trades"] if row["reason"] == "stop"]

    for row in stopped:
        # 1 % of an equity that never was above 11,000 here, and a tick of rounding.
        assert -Decimal(row["profit"]) <= Decimal("110.5")


def test_a_market_that_ends_first_ends_the_run(tmp_path: Path) -> None:
    market = tmp_path / "short.csv"
    rows = ["open_time_ms,open,high,low,close,volume"]
    rows += [
        f"{1_700_000_100_000 + i * 300_000},{100 + i % 7},{108 + i % 7},"
        f"{95 + i % 7},{101 + i % 7},5"
        for i in range(100)
    ]
    market.write_text("\n".join(rows) + "\n")
    script = tmp_path / "quiet.script"
    script.write_text('timeframe = "5m"\ncondition_true = False\n')

    summary = run_replay(
        tmp_path, market, "--symbol", "SOLUSDT", "--script", str(script), "--candles", "1000"
    )

    assert summary["candles"] == 80
    assert summary["trades"] == []


GAPPED = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14, 15, 16, 17, 18]
"""Hours of a recording that lacks four."""


def test_a_gap_of_the_recording_is_no_reason_to_decide_a_candle_twice(tmp_path: Path) -> None:
    market = tmp_path / "gapped.csv"
    rows = [f"{1_700_006_400_000 + i * 3_600_000},100,103,98,101,5" for i in GAPPED]
    market.write_text("open_time_ms,open,high,low,close,volume\n" + "\n".join(rows) + "\n")
    script = tmp_path / "quiet.script"
    script.write_text('timeframe = "1h"\ncondition_true = False\n')
    result_file = tmp_path / "result.json"

    result = milo(
        tmp_path, "--market", str(market), "--symbol", "BTCUSDT", "--script", str(script),
        "--loop", "--speed", "max", "--json", str(result_file),
    )  # fmt: skip

    summary = json.loads(result_file.read_text())
    assert result.code == 0, result.err
    assert summary["candles"] == summary["evaluations"] == 12


WRONG_FILES = [
    pytest.param(["--balance"], "needs --symbol", id="nobody says whose candles"),
    pytest.param(["--balance", "--symbol", "BTCUSDT", "--funding", "MARKET"], "funding rate",
                 id="a candle file as funding rates"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "told"), WRONG_FILES)
def test_a_market_that_makes_no_sense_is_refused(
    tmp_path: Path, arguments: list[str], told: str
) -> None:
    market = tmp_path / "market.csv"
    rows = [f"{1_700_006_400_000 + i * 3_600_000},100,103,98,101,5" for i in range(50)]
    market.write_text("open_time_ms,open,high,low,close,volume\n" + "\n".join(rows) + "\n")
    given = [str(market) if text == "MARKET" else text for text in arguments]

    result = milo(tmp_path, "--market", str(market), *given)

    assert result.code == 2
    assert told in result.err
    assert len(result.err.strip().splitlines()) == 1
