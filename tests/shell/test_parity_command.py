"""`--parity` as a user runs it: a session on the embedded exchange, decided again."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.script_runs import walk

from .commands import Finished, milo

CROSSING = """
timeframe = "1h"
coin = "BTCUSDT"
fast = await calculate_ema(data, 3)
slow = await calculate_ema(data, 8)
condition_true = len(data) > 1 and fast[-1] > slow[-1] and fast[-2] <= slow[-2]
action_if_true = "long(1%risk@5x,sl=2%,rr=2)"
"""


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a script has run on forming candles of a recorded market."""
    folder = tmp_path_factory.mktemp("session")
    rows = [
        f"{row.open_ms},{row.open:.2f},{row.high + 0.01:.2f},{row.low - 0.01:.2f},"
        f"{row.close:.2f},{row.volume:.3f}"
        for row in walk(300, seed=4)
    ]
    (folder / "m.csv").write_text("open_time_ms,open,high,low,close,volume\n" + "\n".join(rows))
    (folder / "s.script").write_text(CROSSING)
    done = milo(
        folder, "--market", "m.csv", "--script", "s.script", "--symbol", "BTCUSDT",
        "--loop", "live", "--speed", "max", "--candles", "80",
    )  # fmt: skip
    assert done.code == 0, done.err
    return folder


@pytest.fixture
def folder(session: Path, tmp_path: Path) -> Path:
    shutil.copytree(session, tmp_path, dirs_exist_ok=True)
    return tmp_path


def parity(folder: Path, *more: str) -> Finished:
    return milo(folder, "--parity", "last", "--market", "m.csv", "--symbol", "BTCUSDT", *more)


def content(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(parity(folder, "--json", "-").out)
    return found


def database(folder: Path, name: str) -> sqlite3.Connection:
    (path,) = (folder / "data").glob(f"sim-market-*/{name}")
    return sqlite3.connect(path, isolation_level=None)


def test_the_same_inputs_give_the_same_decisions(folder: Path) -> None:
    done = parity(folder)

    assert done.code == 0, done.out + done.err
    assert "unexplained: 0" in done.out


def test_decisions_on_forming_candles_are_told_apart(folder: Path) -> None:
    found = content(folder)

    assert found["evaluations"] > 300
    assert found["counts"]["forming"] > 0
    assert found["counts"]["unexplained"] == 0
    assert {row["cause"] for row in found["differences"]} == {"forming"}


def test_a_changed_recorded_action_is_unexplained(folder: Path) -> None:
    conn = database(folder, "journal.db")
    conn.execute("DROP TRIGGER evaluations_stay")
    conn.execute("UPDATE evaluations SET action = 'close' WHERE price IS NULL AND number = "
                 "(SELECT max(number) FROM evaluations WHERE price IS NULL)")  # fmt: skip
    conn.close()

    done = parity(folder)

    assert done.code == 1
    assert "recorded close" in done.out


def test_a_changed_script_is_said_and_its_decisions_are_unexplained(folder: Path) -> None:
    path = folder / "s.script"
    path.write_text(CROSSING.replace("data, 8", "data, 12"))
    conn = database(folder, "journal.db")
    conn.execute("DROP TRIGGER histories_stay")
    conn.execute("UPDATE histories SET path = ?", (str(path),))
    conn.close()

    found = content(folder)

    assert any("script was changed" in note for note in found["notes"])
    assert found["counts"]["unexplained"] > 0


def test_a_changed_candle_of_the_span_is_listed(folder: Path) -> None:
    conn = database(folder, "market.db")
    conn.execute("UPDATE klines SET volume = volume + 1 WHERE open_ms = "
                 "(SELECT max(open_ms) FROM klines)")  # fmt: skip
    conn.close()

    found = content(folder)

    assert [row["note"] for row in found["differences"] if row["cause"] == "unexplained"] == [
        "the stored candle is another one than the run saw"
    ]


def test_a_changed_candle_before_the_run_no_longer_hashes(folder: Path) -> None:
    conn = database(folder, "market.db")
    conn.execute("UPDATE klines SET volume = volume + 1 WHERE open_ms = "
                 "(SELECT min(open_ms) FROM klines)")  # fmt: skip
    conn.close()

    assert any("no longer hash as recorded" in note for note in content(folder)["notes"])


def test_a_run_without_such_a_record_says_so(folder: Path) -> None:
    conn = database(folder, "journal.db")
    conn.execute("DROP TRIGGER histories_remain")
    conn.execute("DELETE FROM histories")
    conn.close()

    done = parity(folder)

    assert done.code == 2
    assert "made by an earlier Milo" in done.err
