"""`--parity` on the fills of sessions on the embedded exchange."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.backtest_markets import START_MS

from .commands import Finished, milo

CROSSING = """
timeframe = "5m"
coin = "BTCUSDT"
fast = await calculate_ema(data, 3)
slow = await calculate_ema(data, 8)
condition_true = len(data) > 1
rises = fast[-1] > slow[-1]
up, down = "long(8%margin@10x,sl=0.3%,tp=0.5%)", "short(8%margin@10x,sl=0.3%,rr=1)"
action_if_true = up if rises else down
"""
PARTS = """
timeframe = "5m"
coin = "ETHUSDT"
x = (await calculate_rsi(data, 7))[-1]
condition_true = len(data) > 20
low = "long(1%risk@20x,sl=1.5atr,tp=3atr)"
action_if_true = low if x < 40 else ("close(50%)" if x < 65 else "close")
"""
BARE = """
timeframe = "15m"
coin = "SOLUSDT"
fast = await calculate_ema(data, 3)
slow = await calculate_ema(data, 8)
condition_true = len(data) > 1
action_if_true = "long(10%margin@50x)" if fast[-1] > slow[-1] else "short(10%margin@50x)"
"""
SCRIPTS = {"crossing": CROSSING, "parts": PARTS, "bare": BARE}
SPEED = ("--speed", "max")


def ran(folder: Path, *options: str, scripts: tuple[str, ...] = ("crossing",)) -> None:
    """Run scripts in a folder to their end."""
    named = []
    for name in scripts:
        (folder / f"{name}.script").write_text(SCRIPTS[name])
        named += ["--script", f"{name}.script"]
    done = milo(folder, *named, *options)
    assert done.code == 0, done.out + done.err


def parity(folder: Path, *more: str) -> Finished:
    return milo(folder, "--parity", "last", *more)


def content(folder: Path, *more: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(parity(folder, "--json", "-", *more).out)
    return found


def causes(found: dict[str, Any]) -> set[str]:
    return {row["cause"] for row in found["differences"] if row["about"] == "fill"}


@pytest.fixture(scope="module")
def forming(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which three scripts have run on forming candles."""
    folder = tmp_path_factory.mktemp("forming")
    ran(folder, "--loop", "live", *SPEED, "--candles", "60", scripts=tuple(SCRIPTS))
    return folder


@pytest.fixture
def folder(forming: Path, tmp_path: Path) -> Path:
    shutil.copytree(forming, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_recorded_decisions_fill_as_recorded(forming: Path) -> None:
    done = parity(forming)
    found = content(forming)

    assert done.code == 0, done.out
    assert found["fills"]["recorded"] > 60
    assert found["fills"]["along_path"] == found["fills"]["recorded"]
    # What the others are worth at that moment is known along the path only.
    assert causes(found) == {"forming", "path"}


@pytest.mark.parametrize(("name", "candles"), [("crossing", 80), ("parts", 100), ("bare", 80)])
def test_decisions_on_closed_candles_leave_nothing_for_forming_ones(
    tmp_path: Path, name: str, candles: int
) -> None:
    ran(tmp_path, "--loop", *SPEED, "--candles", str(candles), scripts=(name,))

    found = content(tmp_path)

    assert found["fills"]["recorded"] > 5
    assert causes(found) <= {"path"}
    assert found["fills"]["closed"] == found["fills"]["recorded"]


def test_a_candle_that_meets_both_levels_is_told_as_path(tmp_path: Path) -> None:
    # Up to the target first, then down beyond the stop: the rule for candles is the stop.
    prices = ["100,100.2,99.9,100"] * 20 + ["100,101.5,98,99", "99,99.2,98.9,99"]
    rows = [f"{START_MS + n * 3_600_000},{row},1" for n, row in enumerate(prices)]
    (tmp_path / "m.csv").write_text("open_time_ms,open,high,low,close,volume\n" + "\n".join(rows))
    (tmp_path / "once.script").write_text(
        'timeframe = "1h"\ncoin = "BTCUSDT"\ncondition_true = len(data) == 20\n'
        'action_if_true = "long(1%risk@5x,sl=1%,tp=1%)"\n'
    )
    market = ("--market", "m.csv", "--symbol", "BTCUSDT")
    done = milo(tmp_path, *market, "--script", "once.script", "--loop", *SPEED)
    assert done.code == 0, done.err

    found = content(tmp_path, *market)

    assert [
        (row["cause"], row["recorded"].split()[0], row["here"].split()[0])
        for row in found["differences"]
    ] == [("path", "target", "stop")]


def test_real_candles_fill_as_recorded(tmp_path: Path, shared_data: Path) -> None:
    market = (
        "--market", str(shared_data / "klines" / "BTCUSDT_1h_perp_2025-05_2025-12_full.csv.gz"),
        "--symbol", "BTCUSDT",
    )  # fmt: skip
    (tmp_path / "real.script").write_text(CROSSING.replace('"5m"', '"4h"'))
    done = milo(
        tmp_path, *market, "--script", "real.script", "--loop", "live", *SPEED, "--candles", "60"
    )
    assert done.code == 0, done.err

    found = content(tmp_path, *market)

    assert found["fills"]["recorded"] > 40
    assert "unexplained" not in causes(found)


def test_a_session_at_running_speed_fills_as_recorded(tmp_path: Path) -> None:
    ran(tmp_path, "--loop", "live", "--speed", "600", "--candles", "8", "--no-chart")

    found = content(tmp_path)

    assert found["fills"]["recorded"] > 1
    assert found["counts"]["unexplained"] == 0, found


def test_a_run_that_takes_up_a_position_is_compared_from_when_it_is_gone(tmp_path: Path) -> None:
    ran(tmp_path, "--loop", "live", *SPEED, "--candles", "11", scripts=("bare",))
    ran(tmp_path, "--loop", "live", *SPEED, "--candles", "25", scripts=("bare",))

    found = content(tmp_path)

    assert any("began with an open position" in note for note in found["notes"])
    assert found["fills"]["recorded"] > 1
    assert found["counts"]["unexplained"] == 0


FILLED = (
    "kind = 'event.OrderEvent' AND json_extract(body, '$.fill') IS NOT NULL "
    "AND json_extract(body, '$.report.client_id') LIKE '%-{leg}'"
)
MUTATIONS = {
    "an entry's price": ("$.fill.price", "e"),
    "an entry's quantity": ("$.fill.qty", "e"),
    "an entry's fee": ("$.fill.fee", "e"),
    "a stop's price": ("$.fill.price", "s"),
    "a stop's profit": ("$.fill.realized", "s"),
    "a reversal's fee": ("$.fill.fee", "r"),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_changed_recorded_fill_is_unexplained(folder: Path, mutation: str) -> None:
    path, leg = MUTATIONS[mutation]
    where = FILLED.format(leg=leg)
    changed(
        folder,
        f"UPDATE entries SET body = json_set(body, '{path}', "
        f"CAST(json_extract(body, '{path}') + 0.01 AS TEXT)) "
        f"WHERE seq = (SELECT seq FROM entries WHERE {where} ORDER BY seq LIMIT 1)",
    )

    done = parity(folder)

    assert done.code == 1
    assert "fills: forming" in done.out
    assert done.out.count("unexplained  ") == 1


def test_a_missing_recorded_fill_is_unexplained(folder: Path) -> None:
    where = FILLED.format(leg="e")
    changed(
        folder,
        "UPDATE entries SET body = json_set(body, '$.fill', NULL) "
        f"WHERE seq = (SELECT max(seq) FROM entries WHERE {where})",
    )

    found = content(folder)

    assert [row["recorded"] for row in found["differences"] if row["cause"] == "unexplained"] == [
        "(none)"
    ]


@pytest.mark.parametrize("field", ["qty", "exit_price", "reason", "funding", "profit"])
def test_a_changed_row_of_the_trade_list_is_unexplained(folder: Path, field: str) -> None:
    value = "target" if field == "reason" else "7"
    changed(
        folder,
        f"UPDATE entries SET body = json_set(body, '$.trade.{field}', '{value}') WHERE seq = "
        "(SELECT min(seq) FROM entries WHERE kind = 'command.RecordTrade')",
    )

    found = content(folder)

    rows = [row for row in found["differences"] if row["cause"] == "unexplained"]
    assert [row["note"] for row in rows] == ["the row of the trade list is another one"]


def changed(folder: Path, statement: str) -> None:
    """Change the journal, which its triggers would refuse."""
    (path,) = (folder / "data").glob("sim*/journal.db")
    conn = sqlite3.connect(path, isolation_level=None)
    conn.execute("DROP TRIGGER entries_stay")
    assert conn.execute(statement).rowcount == 1
    conn.close()
