"""What scripts saw and answered in each run, append-only, in journal.db (layer 2)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

from milo.backtest.session import (
    RecordedEvaluation,
    RecordedHistory,
    RecordedPrice,
    SessionRecord,
)
from milo.model import Candle


def save_history(conn: sqlite3.Connection, run_id: str, history: RecordedHistory) -> None:
    """Write what a script of a run begins with; once for each."""
    conn.execute(
        "INSERT INTO histories VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            run_id, history.script, history.name, history.path, history.text_sha256,
            json.dumps(dict(history.inputs), sort_keys=True), history.symbol, history.timeframe,
            history.first_ms, history.last_ms, history.candles_sha256, history.reads_account,
            history.is_live_loop,
        ),
    )  # fmt: skip


def read_histories(conn: sqlite3.Connection, run_id: str) -> list[RecordedHistory]:
    """Return the scripts of a run in order; none where it was recorded by an earlier Milo."""
    rows = conn.execute(
        """SELECT script, name, path, text_sha256, inputs, symbol, timeframe, first_ms, last_ms,
                  candles_sha256, reads_account, is_live_loop
           FROM histories WHERE run_id = ? ORDER BY script""",
        (run_id,),
    )
    return [
        RecordedHistory(
            script=row[0],
            name=row[1],
            path=row[2],
            text_sha256=row[3],
            inputs=json.loads(row[4]),
            symbol=row[5],
            timeframe=row[6],
            first_ms=row[7],
            last_ms=row[8],
            candles_sha256=row[9],
            reads_account=bool(row[10]),
            is_live_loop=bool(row[11]),
        )
        for row in rows
    ]


def append_records(conn: sqlite3.Connection, run_id: str, records: Iterable[SessionRecord]) -> None:
    """Append records of a run."""
    prices, evaluations = [], []
    for record in records:
        if isinstance(record, RecordedPrice):
            candle = record.candle
            prices.append(
                (
                    run_id, record.number, record.script, record.time_ms, record.is_closed,
                    candle.open_ms, candle.open, candle.high, candle.low, candle.close,
                    candle.volume,
                )
            )  # fmt: skip
        else:
            evaluations.append(
                (
                    run_id, record.number, record.script, record.time_ms, record.open_ms,
                    record.price, record.action, record.account_json,
                )
            )  # fmt: skip
    conn.executemany("INSERT INTO prices VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", prices)
    conn.executemany("INSERT INTO evaluations VALUES (?, ?, ?, ?, ?, ?, ?, ?)", evaluations)


def read_records(conn: sqlite3.Connection, run_id: str) -> list[SessionRecord]:
    """Return the records of a run in the order in which they were made."""
    prices = conn.execute(
        """SELECT number, script, time_ms, is_closed, open_ms, open, high, low, close, volume
           FROM prices WHERE run_id = ?""",
        (run_id,),
    )
    evaluations = conn.execute(
        """SELECT number, script, time_ms, open_ms, price, action, account
           FROM evaluations WHERE run_id = ?""",
        (run_id,),
    )
    records: list[SessionRecord] = [
        RecordedPrice(
            number=row[0],
            script=row[1],
            time_ms=row[2],
            is_closed=bool(row[3]),
            candle=Candle(*row[4:]),
        )
        for row in prices
    ]
    records += [
        RecordedEvaluation(
            number=row[0],
            script=row[1],
            time_ms=row[2],
            open_ms=row[3],
            price=row[4],
            action=row[5],
            account_json=row[6],
        )
        for row in evaluations
    ]
    return sorted(records, key=lambda record: record.number)
