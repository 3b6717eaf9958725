"""Candle files are imported whole or not at all, whatever the file and whoever dies."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from db_manager import DBManager
from milo.errors import ConfigError, StoreError
from milo.store import klines
from milo.store.candle_files import ReadStopped, read_kline_file
from milo.store.imports import ImportReport, import_klines, import_rows
from milo.store.maintenance import find_damage

T = TypeVar("T")

MINUTE = 60_000
START = 1_700_000_040_000
HEADER = "open_time_ms,open,high,low,close,volume\n"


def text_of(*indices: int, close: float = 2.5) -> str:
    return "".join(f"{START + index * MINUTE},2,3,1,{close},{index}\n" for index in indices)


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[DBManager]:
    async with history(tmp_path) as opened:
        yield opened


def history(folder: Path) -> DBManager:
    return DBManager(folder, market_name="history.db", with_journal=False)


async def load_file(db: DBManager, path: Path) -> ImportReport:
    return await import_klines(db, path, symbol="BTCUSDT", interval="1m")


async def test_a_file_is_stored_and_counted(db: DBManager, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(HEADER + text_of(0, 1, 2, 5, 4, 4))

    report = await load_file(db, path)

    assert report == ImportReport(
        symbol="BTCUSDT",
        interval="1m",
        rows=5,
        new=5,
        replaced=0,
        unchanged=0,
        gaps=((START + 3 * MINUTE, START + 3 * MINUTE),),
        first_open_ms=START,
        last_open_ms=START + 5 * MINUTE,
        duplicates=1,
        disordered=2,
    )


async def test_importing_again_tells_new_replaced_and_unchanged_apart(
    db: DBManager, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(HEADER + text_of(0, 1, 2))
    await load_file(db, path)
    path.write_text(HEADER + text_of(1) + text_of(2, close=1.5) + text_of(3))

    report = await load_file(db, path)

    assert (report.rows, report.new, report.replaced, report.unchanged) == (3, 1, 1, 1)
    loaded = await db.read(lambda conn: klines.load_candles(conn, "BTCUSDT", "1m"))
    assert loaded.close.tolist() == [2.5, 2.5, 1.5, 2.5]


async def test_gzip_is_known_by_its_content(db: DBManager, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(gzip.compress((HEADER + text_of(0, 1)).encode()))

    assert (await load_file(db, path)).new == 2


async def test_windows_text_is_read(db: DBManager, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbf" + (HEADER + text_of(0, 1)).replace("\n", "\r\n").encode())

    assert (await load_file(db, path)).new == 2


async def test_a_bad_row_refuses_the_whole_file(db: DBManager, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(HEADER + text_of(0, 1) + "x,2,3,1,2,0\n" + text_of(2) + "1,2\n")

    with pytest.raises(ConfigError, match=r"a\.csv: line 4: open time 'x'.*\(2 bad rows in all\)"):
        await load_file(db, path)

    assert await db.read(klines.list_series) == []


async def test_mark_prices_are_not_taken_for_candles(db: DBManager, tmp_path: Path) -> None:
    path = tmp_path / "mark.csv"
    path.write_text(f"open_time_ms,open,high,low,close\n{START},2,3,1,2\n")

    with pytest.raises(ConfigError, match="no volume column"):
        await load_file(db, path)


async def test_another_interval_is_refused(db: DBManager, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(HEADER + text_of(*range(60)))

    with pytest.raises(ConfigError, match="holds 1m candles, not 4h"):
        await import_klines(db, path, symbol="BTCUSDT", interval="4h")


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_kline_file(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.csv").startswith("no such file")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert "is a folder" in refused(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    assert "not an ordinary file" in refused(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "holds no candles"),
        (bytes(range(256)) * 20, "is not text"),
        (b"SQLite format 3\x00" + bytes(5_000), "is not a candle file"),
        (bytes(200_000), "lines without end"),
        ("你好,1,2,3,4,5\n".encode("utf-16"), "is not text"),
        (b"PK\x03\x04" + bytes(100), "zip archive: unpack it"),
        (b"<html><body>404</body></html>", "is not a candle file"),
        (b"\x1f\x8b" + bytes(100), "damaged"),
        (gzip.compress(text_of(*range(5_000)).encode())[:-20], "is cut off"),
        (gzip.compress(text_of(*range(5_000)).encode())[:9], "is cut off"),
        (gzip.compress(text_of(1).encode()) + b"more", "is damaged"),
        (gzip.compress(bytes(10_000_000)), "lines without end"),
        (gzip.compress(bytes(range(255, 0, -1)) * 20), "is not text"),
    ],
)
def test_what_is_no_candle_file_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(content)

    assert reason in refused(path)


def test_a_changed_byte_in_gzip_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    content = bytearray(gzip.compress(text_of(*range(5_000)).encode()))
    content[-6] ^= 1
    path.write_bytes(content)

    assert "damaged" in refused(path)


def test_reading_stops_when_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text_of(0, 1))

    with pytest.raises(ReadStopped):
        read_kline_file(path, should_stop=lambda: True)


class WatchedStore:
    """A store that tells when an import has come to its write."""

    def __init__(self, store: DBManager) -> None:
        self._store = store
        self.is_reached = asyncio.Event()

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self.is_reached.set()
        return await self._store.write(work)


async def test_cancelling_an_import_stores_nothing(db: DBManager, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(HEADER + text_of(*range(50_000)))
    released = threading.Event()
    store = WatchedStore(db)
    # Another write keeps the thread, so that the import still waits for it when it is cancelled.
    holding = asyncio.create_task(db.write(lambda conn: released.wait(20)))
    importing = asyncio.create_task(import_klines(store, path, symbol="BTCUSDT", interval="1m"))
    await store.is_reached.wait()

    importing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await importing
    released.set()

    assert await holding
    assert await db.read(klines.list_series) == []


async def test_cancelling_an_import_under_way_rolls_it_back(db: DBManager, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(HEADER + text_of(*range(20_000)))
    table = read_kline_file(path)
    begun, stopped = threading.Event(), threading.Event()

    def look() -> bool:
        begun.set()
        return stopped.wait(20)

    importing = asyncio.create_task(
        db.write(lambda conn: import_rows(conn, table, "BTCUSDT", should_stop=look))
    )
    await asyncio.to_thread(begun.wait, 20)
    stopped.set()

    with pytest.raises(ReadStopped, match="nothing was stored"):
        await importing
    assert await db.read(klines.list_series) == []


async def test_a_full_disk_leaves_the_history_as_it_was(db: DBManager, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(HEADER + text_of(0, 1))
    await load_file(db, path)
    await db.write(lambda conn: conn.execute("PRAGMA max_page_count = 1"))
    path.write_text(HEADER + text_of(*range(50_000)))

    with pytest.raises(StoreError, match="the disk is full"):
        await load_file(db, path)

    assert await db.read(lambda conn: klines.count_klines(conn, "BTCUSDT", "1m")) == 2
    assert await db.read(find_damage) is None


DYING_IMPORT = """
import asyncio, sys
from pathlib import Path
from db_manager import DBManager
from milo.store.candle_files import read_kline_file
from milo.store.imports import import_rows

def look() -> bool:
    print("rows", flush=True)
    return False

async def main() -> None:
    folder, path = map(Path, sys.argv[1:])
    table = read_kline_file(path)
    async with DBManager(folder, market_name="history.db", with_journal=False) as db:
        work = lambda conn: import_rows(conn, table, "ETHUSDT", should_stop=look)
        await db.write(work)
        print("committed", flush=True)
        sys.stdin.read()

asyncio.run(main())
"""


def kill_import_after(folder: Path, path: Path, project: Path, *, lines: int | None) -> None:
    """Run an import in a process of its own, kill -9 it after some progress lines (or the end)."""
    child = subprocess.Popen(
        [sys.executable, "-c", DYING_IMPORT, str(folder), str(path)],
        cwd=project,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        for count, line in enumerate(child.stdout, 1):
            if count == lines or line == "committed\n":
                break
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL


@pytest.mark.parametrize(("lines", "survives"), [(1, False), (6, False), (12, False), (None, True)])
async def test_kill_9_during_an_import_leaves_all_or_nothing(
    tmp_path: Path, project_dir: Path, lines: int | None, survives: bool
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(HEADER + text_of(*range(120_000)))
    before = tmp_path / "before.csv"
    before.write_text(HEADER + text_of(0, 1, 2))
    async with history(tmp_path) as db:
        await load_file(db, before)

    await asyncio.to_thread(kill_import_after, tmp_path, path, project_dir, lines=lines)

    async with history(tmp_path) as db:
        counts = {item.symbol: item.count for item in await db.read(klines.count_series)}
        assert counts == {"BTCUSDT": 3} | ({"ETHUSDT": 120_000} if survives else {})
        assert await db.read(find_damage) is None
        assert (await load_file(db, path)).rows == 120_000


@pytest.mark.data
async def test_recorded_candles_of_every_interval_are_imported(
    db: DBManager, shared_data: Path
) -> None:
    found: dict[str, tuple[int, int]] = {}
    for path in await asyncio.to_thread(lambda: sorted((shared_data / "klines").iterdir())):
        symbol, interval, kind = path.name.split("_")[:3]
        if kind == "mark":
            continue
        report = await import_klines(db, path, symbol=f"{symbol}-{kind}", interval=interval)
        found[path.name.split(".")[0]] = (report.rows, len(report.gaps))

    assert found["SOLUSDT_5m_perp_2025-04_2026-05"] == (116_425, 0)
    assert found["BTCUSDT_1m_perp_2025-05_2025-06"] == (43_199, 0)
    assert found["BTCUSDT_1d_perp_2020-09_2024-12"] == (1_570, 0)
    assert found["BTCUSDT_1h_perp_2025-05_2025-12_full"] == (5_420, 0)
    assert found["BTCUSDT_1h_spot_2021-04_2021-12"] == (6_541, 4)
