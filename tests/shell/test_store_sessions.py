"""What scripts saw and answered, as the journal keeps it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from milo.backtest.session import RecordedEvaluation, RecordedHistory, RecordedPrice
from milo.model import Candle
from milo.store import journal, sessions
from milo.store.connections import open_writer
from milo.store.migrations import JOURNAL

HISTORY = RecordedHistory(
    script=0,
    name="s",
    path="/s.script",
    text_sha256="a",
    inputs={"period": 14.0},
    symbol="BTCUSDT",
    timeframe="1h",
    first_ms=0,
    last_ms=1,
    candles_sha256="b",
    reads_account=False,
    is_live_loop=True,
)
PRICE = RecordedPrice(
    number=1, script=0, time_ms=5, is_closed=False, candle=Candle(2, 1.0, 2.0, 0.5, 1.5, 3.0)
)
EVALUATION = RecordedEvaluation(
    number=2, script=0, time_ms=6, open_ms=2, price=1, action="donothing"
)


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    opened = open_writer(tmp_path / "journal.db", JOURNAL, is_durable=True)
    journal.start_run(opened, run_id="r1", venue="sim", header_json="{}", started_ms=1)
    sessions.save_history(opened, "r1", HISTORY)
    sessions.append_records(opened, "r1", [PRICE, EVALUATION])
    yield opened
    opened.close()


def test_records_come_back_as_they_were(conn: sqlite3.Connection) -> None:
    assert sessions.read_histories(conn, "r1") == [HISTORY]
    assert sessions.read_records(conn, "r1") == [PRICE, EVALUATION]


@pytest.mark.parametrize("change", ["UPDATE", "DELETE", "REPLACE", "INSERT"])
@pytest.mark.parametrize("table", ["histories", "prices", "evaluations"])
def test_the_database_refuses_to_forget(conn: sqlite3.Connection, table: str, change: str) -> None:
    statement = {
        "UPDATE": f"UPDATE {table} SET script = 1",
        "DELETE": f"DELETE FROM {table}",
        "REPLACE": f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}",
        "INSERT": f"INSERT OR IGNORE INTO {table} SELECT * FROM {table}",
    }[change]

    with pytest.raises(sqlite3.IntegrityError, match="the journal"):
        conn.execute(statement)

    assert sessions.read_histories(conn, "r1") == [HISTORY]
    assert sessions.read_records(conn, "r1") == [PRICE, EVALUATION]
