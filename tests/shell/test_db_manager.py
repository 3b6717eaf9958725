"""DBManager: threads, transactions, cancellation, and files that are not as they should be."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from db_manager import DBManager
from milo.errors import InvariantBroken, StoreError
from milo.store import connections, journal, klines, maintenance
from milo.store.migrations import JOURNAL, MARKET

MINUTE = 60_000
WAIT_S = 20


def rows(count: int, first: int = 0) -> list[klines.KlineRow]:
    return [(index * MINUTE, 2.0, 3.0, 1.0, 2.5, 7.0) for index in range(first, first + count)]


def put(conn: sqlite3.Connection, count: int = 1, first: int = 0) -> int:
    return klines.upsert_klines(conn, "BTCUSDT", "1m", rows(count, first))


def counted(conn: sqlite3.Connection) -> int:
    return klines.count_klines(conn, "BTCUSDT", "1m")


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}


class Blocker:
    """Work that holds its thread and transaction until it is released."""

    def __init__(self, count: int = 1) -> None:
        self._count = count
        self._begun = threading.Event()
        self._released = threading.Event()

    def __call__(self, conn: sqlite3.Connection) -> int:
        stored = put(conn, self._count)
        self._begun.set()
        assert self._released.wait(WAIT_S)
        return stored

    async def begun(self) -> None:
        assert await asyncio.to_thread(self._begun.wait, WAIT_S)

    def release(self) -> None:
        self._released.set()


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[DBManager]:
    async with DBManager(tmp_path / "sim") as opened:
        yield opened


async def test_opening_makes_both_databases_with_wal_and_their_own_care(db: DBManager) -> None:
    def settings(conn: sqlite3.Connection) -> list[object]:
        names = ("journal_mode", "foreign_keys", "user_version", "application_id")
        return [conn.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    # Inside a transaction too, synchronous reads back what commits are done with.
    def synchronous(conn: sqlite3.Connection) -> int:
        return int(conn.execute("PRAGMA synchronous").fetchone()[0])

    assert await db.write(settings) == ["wal", 1, MARKET.version, MARKET.application_id]
    assert await db.journal(settings) == ["wal", 1, JOURNAL.version, JOURNAL.application_id]
    assert await db.write(synchronous) == 1
    assert await db.journal(synchronous) == 2


async def test_written_candles_are_there_after_reopening(tmp_path: Path) -> None:
    async with DBManager(tmp_path) as db:
        await db.write(lambda conn: put(conn, 3))

    async with DBManager(tmp_path) as db:
        assert await db.read(counted) == 3


async def test_closing_leaves_no_log_files(tmp_path: Path) -> None:
    async with DBManager(tmp_path) as db:
        await db.write(lambda conn: put(conn, 3))
        await db.read(counted)

    assert names_in(tmp_path) == ["journal.db", "market.db"]


async def test_history_database_needs_no_journal(tmp_path: Path) -> None:
    async with DBManager(tmp_path, market_name="history.db", with_journal=False) as db:
        await db.write(put)
        with pytest.raises(StoreError, match=r"history\.db was opened without a journal"):
            await db.journal(lambda conn: None)

    assert names_in(tmp_path) == ["history.db"]


async def test_work_that_raises_leaves_nothing(db: DBManager) -> None:
    def work(conn: sqlite3.Connection) -> None:
        put(conn, 5)
        raise LookupError("no")

    with pytest.raises(LookupError):
        await db.write(work)

    assert await db.read(counted) == 0


async def test_work_that_ends_the_transaction_itself_is_a_bug(db: DBManager) -> None:
    with pytest.raises(InvariantBroken, match="ended its transaction itself"):
        await db.write(lambda conn: conn.execute("COMMIT"))

    assert await db.write(put) == 1


async def test_reading_goes_on_while_a_write_is_under_way(db: DBManager) -> None:
    blocker = Blocker(500)
    writing = asyncio.create_task(db.write(blocker))
    await blocker.begun()

    async with asyncio.timeout(WAIT_S):
        during = await db.read(counted)
    blocker.release()
    await writing

    assert during == 0
    assert await db.read(counted) == 500


async def test_bulk_writing_does_not_delay_the_journal(db: DBManager) -> None:
    blocker = Blocker()
    writing = asyncio.create_task(db.write(blocker))
    await blocker.begun()

    async with asyncio.timeout(WAIT_S):
        await db.journal(
            lambda conn: journal.start_run(
                conn, run_id="r1", venue="sim", header_json="{}", started_ms=1
            )
        )
        entry = journal.JournalEntry(1, 2, "signal", "{}")
        await db.journal(lambda conn: journal.append(conn, "r1", [entry]))
        found = await db.read_journal(lambda conn: journal.read_run(conn, "r1"))
    is_still_writing = not writing.done()
    blocker.release()
    await writing

    assert found == [entry]
    assert is_still_writing


async def test_a_reader_sees_one_moment_throughout(db: DBManager) -> None:
    begun, released = threading.Event(), threading.Event()

    def twice(conn: sqlite3.Connection) -> tuple[int, int]:
        before = counted(conn)
        begun.set()
        assert released.wait(WAIT_S)
        return before, counted(conn)

    reading = asyncio.create_task(db.read(twice))
    await asyncio.to_thread(begun.wait, WAIT_S)
    await db.write(lambda conn: put(conn, 9))
    released.set()

    assert await reading == (0, 0)
    assert await db.read(counted) == 9


async def test_readers_cannot_write(db: DBManager) -> None:
    with pytest.raises(StoreError, match="is read-only"):
        await db.read(put)


async def test_writes_happen_in_the_order_of_the_calls_beyond_the_queue(db: DBManager) -> None:
    seen: list[int] = []

    await asyncio.gather(*(db.write(lambda conn, n=n: seen.append(n)) for n in range(2_500)))

    assert seen == list(range(2_500))


async def test_cancelling_a_waiting_call_drops_its_work(db: DBManager) -> None:
    blocker = Blocker()
    first = asyncio.create_task(db.write(blocker))
    await blocker.begun()
    second = asyncio.create_task(db.write(lambda conn: put(conn, 5, first=10)))
    await asyncio.sleep(0)

    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    blocker.release()
    await first

    assert await db.read(counted) == 1


async def test_cancelling_a_call_under_way_lets_it_finish(db: DBManager) -> None:
    blocker = Blocker(4)
    writing = asyncio.create_task(db.write(blocker))
    await blocker.begun()

    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    blocker.release()

    assert await db.write(counted) == 4


async def test_failure_after_cancelling_is_logged(
    db: DBManager, caplog: pytest.LogCaptureFixture
) -> None:
    blocker = Blocker()

    def work(conn: sqlite3.Connection) -> None:
        blocker(conn)
        raise StoreError("no room")

    writing = asyncio.create_task(db.write(work))
    await blocker.begun()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    blocker.release()

    assert await db.write(counted) == 0
    assert "store_job_failed_after_cancel" in caplog.text


async def test_closing_finishes_what_was_asked_for(tmp_path: Path) -> None:
    db = DBManager(tmp_path)
    await db.open()
    blocker = Blocker()
    writes = [asyncio.create_task(db.write(blocker))]
    writes += [asyncio.create_task(db.write(lambda conn, n=n: put(conn, 1, n))) for n in range(9)]
    await blocker.begun()

    closing = asyncio.create_task(db.close())
    await asyncio.sleep(0)
    blocker.release()
    await closing

    assert all(write.done() and write.exception() is None for write in writes)
    async with DBManager(tmp_path) as reopened:
        assert await reopened.read(counted) == 9


async def test_a_closed_store_refuses_work_and_may_be_closed_again(tmp_path: Path) -> None:
    async with DBManager(tmp_path) as db:
        pass

    with pytest.raises(StoreError, match=r"market\.db is closed"):
        await db.write(put)
    await db.close()


async def test_closing_ends_the_threads(tmp_path: Path) -> None:
    async with DBManager(tmp_path) as db:
        await db.read(counted)
        mine = [thread for thread in threading.enumerate() if thread.name.startswith("store ")]

    for thread in mine:
        await asyncio.to_thread(thread.join, WAIT_S)
    assert mine
    assert not any(thread.is_alive() for thread in mine)


async def test_two_programs_may_open_a_new_folder_at_once(tmp_path: Path) -> None:
    stores = [DBManager(tmp_path) for _ in range(6)]

    await asyncio.gather(*(store.open() for store in stores))
    await asyncio.gather(
        *(s.write(lambda conn, n=n: put(conn, 1, n)) for n, s in enumerate(stores))
    )

    assert await stores[0].read(counted) == 6
    await asyncio.gather(*(store.close() for store in stores))


async def test_read_only_opening_reads_beside_a_writer(db: DBManager) -> None:
    await db.write(lambda conn: put(conn, 2))

    async with DBManager(db.market_path.parent, read_only=True) as reader:
        assert await reader.read(counted) == 2
        with pytest.raises(StoreError, match="opened for reading only"):
            await reader.write(put)
        with pytest.raises(StoreError, match="opened for reading only"):
            await reader.journal(lambda conn: None)


async def test_read_only_opening_of_nothing_says_how_to_fill_it(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no database at .*market\.db yet: fill it"):
        await DBManager(tmp_path, read_only=True).open()

    assert names_in(tmp_path) == []


async def test_paths_may_hold_any_character(tmp_path: Path) -> None:
    folder = tmp_path / "a b?c#d%20e&f=1" / "比特币"

    async with DBManager(folder) as db:
        await db.write(put)

    assert (folder / "market.db").is_file()


async def expect_refusal(folder: Path, match: str) -> None:
    """Opening must fail with one line, and leave every file as it is."""
    before = contents_of(folder)
    with pytest.raises(StoreError, match=match) as caught:
        await DBManager(folder).open()
    assert "\n" not in str(caught.value)
    assert contents_of(folder).items() >= before.items()


@pytest.mark.parametrize("name", ["market.db", "journal.db"])
async def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"open_time,open,high,low,close\n" * 200)

    await expect_refusal(tmp_path, f"{name} is not a database or is damaged")


async def test_another_programs_database_is_refused_and_kept(tmp_path: Path) -> None:
    conn = sqlite3.connect(tmp_path / "market.db")
    conn.execute("CREATE TABLE theirs (x)")
    conn.close()

    await expect_refusal(tmp_path, r"market\.db is not a market data database of Milo")


async def test_databases_in_each_others_place_are_refused(tmp_path: Path) -> None:
    async with DBManager(tmp_path):
        pass
    (tmp_path / "journal.db").replace(tmp_path / "market.db")

    await expect_refusal(tmp_path, r"market\.db is not a market data database of Milo")


async def test_a_newer_database_is_refused_and_kept(tmp_path: Path) -> None:
    async with DBManager(tmp_path) as db:
        await db.write(lambda conn: conn.execute("PRAGMA user_version = 999"))

    await expect_refusal(
        tmp_path, rf"made by a newer Milo \(schema 999, this one knows {MARKET.version}\)"
    )


async def test_an_older_database_cannot_be_read_without_writing(tmp_path: Path) -> None:
    async with DBManager(tmp_path) as db:
        await db.write(lambda conn: conn.execute("PRAGMA user_version = 0"))

    with pytest.raises(StoreError, match="made by an older Milo"):
        await DBManager(tmp_path, read_only=True).open()


async def test_a_cut_off_database_is_reported_as_damaged_and_kept(tmp_path: Path) -> None:
    async with DBManager(tmp_path) as db:
        await db.write(lambda conn: put(conn, 20_000))
    path = tmp_path / "market.db"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])

    with pytest.raises(StoreError, match=r"the database is damaged: .*market\.db"):
        async with DBManager(tmp_path) as db:
            await db.read(lambda conn: klines.load_candles(conn, "BTCUSDT", "1m"))

    assert path.stat().st_size == len(whole) // 2


async def test_damage_is_found_by_maintenance(tmp_path: Path) -> None:
    async with DBManager(tmp_path) as db:
        await db.write(lambda conn: put(conn, 20_000))
    path = tmp_path / "market.db"
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = b"\xff" * 4096
    path.write_bytes(content)

    async with DBManager(tmp_path) as db:
        with pytest.raises(StoreError, match=r"the database is damaged: .*market\.db"):
            await db.maintain_daily(now_ms=1)


async def test_a_folder_in_the_databases_place_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "market.db").mkdir()

    await expect_refusal(tmp_path, r"cannot open .*market\.db")


async def test_a_file_in_the_folders_place_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "sim").write_text("")

    with pytest.raises(StoreError, match="cannot make the folder"):
        await DBManager(tmp_path / "sim").open()


async def test_a_lock_of_another_program_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "BUSY_MS", 20)
    async with DBManager(tmp_path) as db:
        other = sqlite3.connect(tmp_path / "market.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(StoreError, match=r"market\.db is locked by another program"):
            await db.write(put)

        other.execute("ROLLBACK")
        other.close()
        assert await db.write(put) == 1


async def test_a_full_disk_is_named_and_nothing_is_half_written(db: DBManager) -> None:
    await db.write(lambda conn: put(conn, 10))

    def too_much(conn: sqlite3.Connection) -> None:
        # The way SQLite itself lets a disk appear full.
        conn.execute("PRAGMA max_page_count = 1")
        put(conn, 50_000, first=1_000)

    with pytest.raises(StoreError, match="the disk is full: nothing was written"):
        await db.write(too_much)
    await db.write(lambda conn: conn.execute("PRAGMA max_page_count = 1000000"))

    assert await db.read(counted) == 10
    assert await db.read(maintenance.find_damage) is None
    assert await db.write(lambda conn: put(conn, 10, first=10)) == 10


async def test_maintenance_is_due_once_a_day(db: DBManager) -> None:
    day = 86_400_000

    done = [await db.maintain_daily(now_ms=now) is not None for now in (1, 2, day, day + 1, 0)]

    assert done == [True, False, False, True, True]


async def test_maintenance_gives_deleted_room_back(db: DBManager) -> None:
    await db.write(lambda conn: put(conn, 50_000))
    await db.write(lambda conn: klines.discard_from(conn, 100 * MINUTE))

    report = await db.maintain_daily(now_ms=1)

    assert report is not None
    assert report.is_vacuumed
    assert report.bytes_after * 10 < report.bytes_before
    assert await db.read(counted) == 100
    analysed = await db.read(
        lambda conn: conn.execute("SELECT count(*) FROM sqlite_stat1").fetchone()[0]
    )
    assert analysed > 0


async def test_maintenance_leaves_a_nearly_full_disk_alone(
    db: DBManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    await db.write(lambda conn: put(conn, 1_000))
    monkeypatch.setattr(maintenance, "_ROOM_FACTOR", 1e18)

    report = await db.maintain_daily(now_ms=1)

    assert report is not None
    assert not report.is_vacuumed


async def test_closing_breaks_maintenance_off(tmp_path: Path) -> None:
    db = DBManager(tmp_path)
    await db.open()
    await db.write(lambda conn: put(conn, 200_000))

    maintaining = asyncio.create_task(db.maintain_daily(now_ms=1))
    await asyncio.sleep(0)
    await db.close()

    with pytest.raises(StoreError, match="was interrupted"):
        await maintaining
    async with DBManager(tmp_path) as reopened:
        assert await reopened.read(maintenance.find_damage) is None
        assert await reopened.read(counted) == 200_000
