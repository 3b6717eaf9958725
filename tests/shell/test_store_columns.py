"""Column files beside a database: always what SQLite says, whoever changed it and whatever died."""

from __future__ import annotations

import mmap
import os
import random
import shutil
import sqlite3
import stat
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from milo.candles import Candles
from milo.clock import wall_ms
from milo.columnfile import PAGE, mapped_candles
from milo.errors import StoreError
from milo.klinefile import KlineRow
from milo.store import klines
from milo.store.columns import column_path, load_columns, open_columns
from milo.store.connections import bring_up_to_date, open_reader, open_writer
from milo.store.migrations import MARKET, Schema

MINUTE = 60_000
START = 1_700_000_040_000
COLUMNS = ("open_ms", "open", "high", "low", "close", "volume")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


@pytest.fixture
def conn(path: Path) -> Iterator[sqlite3.Connection]:
    opened = open_writer(path, MARKET, is_durable=False)
    yield opened
    opened.close()


def row(index: int, close: float = 2.5) -> KlineRow:
    return (START + index * MINUTE, 2.0, 3.0, 1.0, close, float(index))


def put(conn: sqlite3.Connection, *indices: int, symbol: str = "BTCUSDT") -> None:
    klines.upsert_klines(conn, symbol, "1m", [row(index) for index in indices])


def bits(candles: Candles) -> list[bytes]:
    return [getattr(candles, name).tobytes() for name in COLUMNS]


def cached(path: Path, symbol: str = "BTCUSDT") -> Candles:
    """Load through the column file, and prove that there is one now."""
    with open_columns(path, symbol, "1m") as columns:
        assert columns.problem == ""
        assert columns.path == column_path(path, symbol, "1m")
        assert columns.path.is_file()
        return columns.candles


def inode(path: Path, symbol: str = "BTCUSDT") -> int:
    return column_path(path, symbol, "1m").stat().st_ino


def stored(path: Path, symbol: str = "BTCUSDT") -> list[bytes]:
    reader = open_reader(path, MARKET)
    try:
        return bits(klines.load_candles(reader, symbol, "1m"))
    finally:
        reader.close()


def test_the_second_load_maps_what_the_first_one_wrote(
    conn: sqlite3.Connection, path: Path
) -> None:
    put(conn, *range(0, 3_000, 2))

    first = cached(path)
    written = inode(path)
    second = cached(path)

    assert inode(path) == written
    assert bits(first) == bits(second) == stored(path)
    assert not second.close.flags.writeable


def test_another_process_maps_the_same_file(conn: sqlite3.Connection, path: Path) -> None:
    put(conn, *range(1_000))
    child = (
        "import mmap, sys\n"
        "from milo.columnfile import mapped_candles\n"
        "memory = mmap.mmap(int(sys.argv[1]), 0, access=mmap.ACCESS_READ)\n"
        "print(mapped_candles(memoryview(memory)).volume.sum())\n"
    )

    with open_columns(path, "BTCUSDT", "1m") as columns:
        assert columns.file is not None
        put(conn, 1_000)
        cached(path)  # replaces the file under that name, not the one that is open
        told = subprocess.run(
            [sys.executable, "-c", child, str(columns.file)],
            pass_fds=[columns.file], capture_output=True, text=True, check=True,
        )  # fmt: skip

    assert float(told.stdout) == sum(range(1_000))


def test_closing_gives_the_descriptors_back_and_the_candles_stay(
    conn: sqlite3.Connection, path: Path
) -> None:
    put(conn, 1, 2, 3)
    kept = cached(path)
    before = os.listdir("/proc/self/fd")

    for _ in range(5):
        cached(path)

    assert os.listdir("/proc/self/fd") == before
    assert kept.volume.tolist() == [1.0, 2.0, 3.0]


def test_an_error_of_sqlite_keeps_no_descriptor(conn: sqlite3.Connection, path: Path) -> None:
    put(conn, 1, 2, 3)
    cached(path)
    reader = open_reader(path, MARKET)
    reader.close()
    before = os.listdir("/proc/self/fd")

    with pytest.raises(sqlite3.ProgrammingError):
        load_columns(path, reader, "BTCUSDT", "1m")

    assert os.listdir("/proc/self/fd") == before


def test_closing_twice_closes_nothing_else(conn: sqlite3.Connection, path: Path) -> None:
    put(conn, 1, 2, 3)
    columns = open_columns(path, "BTCUSDT", "1m")
    columns.close()
    other = os.open(path, os.O_RDONLY)

    columns.close()

    os.close(other)


WHERE = f"symbol = 'BTCUSDT' AND open_ms = {START + 500 * MINUTE}"
VALUES = "'1m', {open_ms}, 2, 3, 1, 1.5, 7"
CHANGES = {
    "one value": f"UPDATE klines SET volume = 0.5 WHERE {WHERE}",
    "all values": "UPDATE klines SET close = close * 1.01",
    "one fewer": f"DELETE FROM klines WHERE {WHERE}",
    "the last fewer": f"DELETE FROM klines WHERE open_ms = {START + 998 * MINUTE}",
    "into a gap": f"INSERT INTO klines VALUES ('BTCUSDT', {VALUES})".format(
        open_ms=START + 501 * MINUTE
    ),
    "before all": f"INSERT INTO klines VALUES ('BTCUSDT', {VALUES})".format(
        open_ms=START - 5 * MINUTE
    ),
    "behind all": f"INSERT INTO klines VALUES ('BTCUSDT', {VALUES})".format(
        open_ms=START + 2_000 * MINUTE
    ),
    "replaced": f"INSERT OR REPLACE INTO klines VALUES ('BTCUSDT', {VALUES})".format(
        open_ms=START + 500 * MINUTE
    ),
    "replaced last": f"REPLACE INTO klines VALUES ('BTCUSDT', {VALUES})".format(
        open_ms=START + 998 * MINUTE
    ),
    "moved in time": f"UPDATE klines SET open_ms = open_ms + {MINUTE} WHERE {WHERE}",
    "moved to another series": f"UPDATE klines SET symbol = 'ETHUSDT' WHERE {WHERE}",
    "moved from another series": "UPDATE klines SET symbol = 'BTCUSDT' WHERE symbol = 'DOGE'",
    "replaced by a move": "UPDATE OR REPLACE klines SET symbol = 'BTCUSDT' WHERE symbol = 'OTHER'",
    "deleted and put back otherwise": f"""
        CREATE TEMP TABLE kept AS SELECT * FROM klines WHERE {WHERE};
        DELETE FROM klines WHERE {WHERE};
        INSERT INTO klines SELECT symbol, interval, open_ms, open, high, low, 1.5, volume FROM kept;
    """,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whoever_changes_a_candle_makes_the_file_stale(
    conn: sqlite3.Connection, path: Path, change: str
) -> None:
    put(conn, *range(0, 1_000, 2))
    put(conn, 3, symbol="DOGE")
    klines.upsert_klines(conn, "OTHER", "1m", [row(500, close=1.25)])
    before = bits(cached(path))

    # As the sqlite3 shell opens it: without any setting of ours.
    other = sqlite3.connect(path)
    other.executescript(change)
    other.close()

    after = bits(cached(path))
    assert after != before
    assert after == stored(path)


def test_a_series_emptied_has_no_candles_and_may_be_filled_again(
    conn: sqlite3.Connection, path: Path
) -> None:
    put(conn, 1, 2, 3)
    cached(path)

    conn.execute("DELETE FROM klines")
    with open_columns(path, "BTCUSDT", "1m") as columns:
        assert (len(columns.candles), columns.file, columns.problem) == (0, None, "")
    klines.upsert_klines(conn, "BTCUSDT", "1m", [row(1), row(2, close=1.5), row(3)])

    assert cached(path).close.tolist() == [2.5, 1.5, 2.5]


def test_candles_of_a_market_that_went_back_are_forgotten(
    conn: sqlite3.Connection, path: Path
) -> None:
    put(conn, *range(10))
    cached(path)

    klines.discard_from(conn, START + 5 * MINUTE)

    assert len(cached(path)) == 5


def test_what_changes_nothing_of_the_series_leaves_the_file(
    conn: sqlite3.Connection, path: Path
) -> None:
    put(conn, *range(100))
    cached(path)
    written = inode(path)

    put(conn, *range(50))
    put(conn, 1, 2, symbol="ETHUSDT")
    klines.upsert_klines(conn, "BTCUSDT", "3m", [(START + MINUTE, 2.0, 3.0, 1.0, 2.0, 1.0)])
    conn.execute("BEGIN")
    put(conn, 200)
    conn.execute("ROLLBACK")
    conn.execute("VACUUM")

    cached(path)
    assert inode(path) == written


def test_a_grown_series_is_continued_without_reading_it_anew(
    conn: sqlite3.Connection, path: Path
) -> None:
    put(conn, *range(5_000))
    cached(path)
    put(conn, *range(5_000, 5_010))
    statements: list[str] = []
    conn.set_trace_callback(statements.append)

    with load_columns(path, conn, "BTCUSDT", "1m") as columns:
        grown = bits(columns.candles)

    conn.set_trace_callback(None)
    reads = [text for text in statements if "volume" in text]
    assert len(reads) == 1
    assert f"open_ms >= {START + 4_000 * MINUTE}" in reads[0]
    assert grown == stored(path)
    assert bits(cached(path)) == grown


def test_a_copy_that_grew_in_another_way_is_not_continued(
    conn: sqlite3.Connection, path: Path, tmp_path: Path
) -> None:
    put(conn, *range(10))
    copy = tmp_path / "copy.db"
    other = sqlite3.connect(copy)
    conn.backup(other)
    other.close()
    put(conn, 10, 11)
    cached(path)

    other = open_writer(copy, MARKET, is_durable=False)
    klines.upsert_klines(other, "BTCUSDT", "1m", [row(10, close=1.5), row(11), row(12)])
    other.backup(conn)
    other.close()

    assert cached(path).close.tolist() == [2.5] * 10 + [1.5, 2.5, 2.5]


def test_another_database_under_the_same_name_is_not_mixed_up(path: Path, tmp_path: Path) -> None:
    for close in (2.5, 1.5):
        conn = open_writer(path, MARKET, is_durable=False)
        klines.upsert_klines(conn, "BTCUSDT", "1m", [row(1), row(2, close=close), row(3)])
        conn.close()
        assert cached(path).close.tolist() == [2.5, close, 2.5]
        for file in tmp_path.glob("history.db*"):
            if file.is_file():
                file.unlink()


def test_any_run_of_changes_gives_what_sqlite_says(conn: sqlite3.Connection, path: Path) -> None:
    rng = random.Random(5)

    def upsert(count: int, first: int) -> None:
        indices = [first + step * rng.randint(1, 3) for step in range(count)]
        rows = [row(index, rng.choice([1.5, 2.5])) for index in indices]
        klines.upsert_klines(conn, "BTCUSDT", "1m", rows)

    changes: list[Callable[[], object]] = [
        lambda: upsert(rng.randint(1, 400), rng.randint(0, 3_000)),
        lambda: upsert(rng.randint(1, 3), 3_000 + rng.randint(0, 400)),
        lambda: klines.discard_from(conn, START + rng.randint(0, 3_500) * MINUTE),
        lambda: conn.execute("DELETE FROM klines WHERE open_ms % 7 = ?", (rng.randrange(7),)),
        lambda: conn.execute(
            "DELETE FROM klines WHERE open_ms = (SELECT max(open_ms) FROM klines)"
        ),
        lambda: conn.execute(
            "UPDATE klines SET close = 1.75 WHERE open_ms = ?",
            (START + rng.randint(0, 3_000) * MINUTE,),
        ),
        lambda: None,
    ]
    for _ in range(150):
        rng.choice(changes)()
        with load_columns(path, conn, "BTCUSDT", "1m") as columns:
            assert columns.problem == ""
            assert bits(columns.candles) == bits(klines.load_candles(conn, "BTCUSDT", "1m"))


def test_an_open_transaction_decides_what_is_seen(conn: sqlite3.Connection, path: Path) -> None:
    put(conn, 1, 2)
    reader = open_reader(path, MARKET)
    reader.execute("BEGIN")
    klines.last_open_ms(reader, "BTCUSDT", "1m")
    put(conn, 3)
    cached(path)

    with load_columns(path, reader, "BTCUSDT", "1m") as columns:
        assert len(columns.candles) == 2
    assert reader.in_transaction
    reader.close()

    assert len(cached(path)) == 3


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 0x10
    path.write_bytes(content)


def relabel(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8:12] = struct.pack("<I", 99)
    content[88:92] = struct.pack("<I", zlib.crc32(content[:88]))
    path.write_bytes(content)


def through_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "header": lambda path: flip(path, 60),
    "times": lambda path: flip(path, PAGE + 8),
    "last volume": lambda path: flip(path, path.stat().st_size - PAGE),
    "cut": lambda path: os.truncate(path, PAGE + 100),
    "cut in the header": lambda path: os.truncate(path, 50),
    "empty": lambda path: os.truncate(path, 0),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "longer": lambda path: os.truncate(path, path.stat().st_size + PAGE),
    "another layout": relabel,
    "a link": through_link,
    "a pipe": as_pipe,
    "writable for others": lambda path: path.chmod(0o666),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_built_again(
    conn: sqlite3.Connection, path: Path, damage: Callable[[Path], object]
) -> None:
    put(conn, *range(2_000))
    cached(path)

    damage(column_path(path, "BTCUSDT", "1m"))

    assert bits(cached(path)) == stored(path)
    kind = column_path(path, "BTCUSDT", "1m").lstat().st_mode
    assert stat.S_ISREG(kind)
    assert stat.S_IMODE(kind) == 0o600


def test_the_file_of_another_series_is_not_taken(conn: sqlite3.Connection, path: Path) -> None:
    put(conn, 1, 2)
    klines.upsert_klines(conn, "ETHUSDT", "1m", [row(1, close=1.5), row(2)])
    cached(path)
    cached(path, "ETHUSDT")
    # Even where the marks would fit.
    conn.execute("UPDATE series_versions SET version = 1, rewritten = 1")
    for symbol in ("BTCUSDT", "ETHUSDT"):
        column_path(path, symbol, "1m").unlink()
        cached(path, symbol)

    shutil.copy(column_path(path, "ETHUSDT", "1m"), column_path(path, "BTCUSDT", "1m"))

    assert cached(path).close.tolist() == [2.5, 2.5]


def test_files_and_folder_are_their_owners_alone(conn: sqlite3.Connection, path: Path) -> None:
    put(conn, 1)

    cached(path)

    file = column_path(path, "BTCUSDT", "1m")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [found.name for found in file.parent.iterdir()] == [file.name]


def test_the_folder_can_be_deleted_at_any_time(conn: sqlite3.Connection, path: Path) -> None:
    put(conn, 1, 2)
    kept = cached(path)

    shutil.rmtree(column_path(path, "BTCUSDT", "1m").parent)

    assert kept.volume.tolist() == [1.0, 2.0]
    assert bits(cached(path)) == bits(kept)


def test_without_a_folder_to_write_to_the_candles_come_all_the_same(
    conn: sqlite3.Connection, path: Path
) -> None:
    put(conn, 1, 2)
    column_path(path, "BTCUSDT", "1m").parent.write_text("in the way")

    with open_columns(path, "BTCUSDT", "1m") as columns:
        assert columns.candles.volume.tolist() == [1.0, 2.0]
        assert (columns.file, columns.path) == (None, None)
        assert "cannot be written" in columns.problem


def test_a_full_disk_leaves_the_candles_and_no_rubbish(
    conn: sqlite3.Connection, path: Path
) -> None:
    put(conn, *range(2_000))
    child = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from milo.store.columns import open_columns\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "with open_columns(Path(sys.argv[1]), 'BTCUSDT', '1m') as columns:\n"
        "    print(len(columns.candles), columns.problem)\n"
    )

    told = subprocess.run(
        [sys.executable, "-c", child, str(path)], capture_output=True, text=True, check=True
    )

    assert told.stdout.startswith("2000 ")
    assert "cannot be written" in told.stdout
    assert list(column_path(path, "BTCUSDT", "1m").parent.iterdir()) == []


def test_a_table_of_versions_that_somebody_emptied_is_not_trusted(
    conn: sqlite3.Connection, path: Path
) -> None:
    put(conn, 1, 2)
    cached(path)

    conn.execute("DELETE FROM series_versions")
    conn.execute("UPDATE klines SET close = 1.5")

    assert cached(path).close.tolist() == [1.5, 1.5]
    conn.execute("DELETE FROM series_versions")
    with open_columns(path, "BTCUSDT", "1m") as columns:
        assert columns.candles.close.tolist() == [1.5, 1.5]
        assert "version" in columns.problem


def test_what_a_dead_process_left_is_removed_after_an_hour(
    conn: sqlite3.Connection, path: Path
) -> None:
    put(conn, 1)
    cached(path)
    folder = column_path(path, "BTCUSDT", "1m").parent
    old, young = folder / ".abc.X-1m-0.columns", folder / ".def.X-1m-0.columns"
    for file, age_s in ((old, 7_200), (young, 60)):
        file.write_bytes(b"half")
        os.utime(file, (wall_ms() / 1000 - age_s,) * 2)

    put(conn, 2)
    cached(path)

    assert not old.exists()
    assert young.exists()


SYMBOLS = (
    "BTCUSDT", "btcusdt", "币安人生USDT", "../../etc/passwd", "a/b", "a\\b", "a b", ".", "..",
    "-rf", "x" * 500, "x" * 501, "ПРИВЕТ", "BTC_USDT", "BTC-USDT", "\N{PILE OF POO}", "a\nb",
)  # fmt: skip


def test_any_symbol_gets_a_file_of_its_own_in_the_folder(
    conn: sqlite3.Connection, path: Path
) -> None:
    for number, symbol in enumerate(SYMBOLS, 1):
        put(conn, *range(number), symbol=symbol)

    lengths = [len(cached(path, symbol)) for symbol in SYMBOLS]

    assert lengths == list(range(1, len(SYMBOLS) + 1))
    folder = column_path(path, "BTCUSDT", "1m").parent
    assert len(list(folder.iterdir())) == len(SYMBOLS)


def test_names_differ_on_disks_that_do_not_tell_small_from_capital() -> None:
    paths = {
        str(column_path(Path("history.db"), symbol, interval)).lower()
        for symbol in SYMBOLS
        for interval in ("1m", "1M")
    }

    assert len(paths) == 2 * len(SYMBOLS)


OLDER = Schema(title=MARKET.title, application_id=MARKET.application_id, steps=MARKET.steps[:1])


def test_a_database_of_an_older_milo_is_brought_up_to_date(path: Path) -> None:
    older = open_writer(path, OLDER, is_durable=False)
    put_old = "INSERT INTO klines VALUES ('BTCUSDT', '1m', ?, ?, ?, ?, ?, ?)"
    older.executemany(put_old, [row(index) for index in range(10)])
    older.close()
    with pytest.raises(StoreError, match="made by an older Milo"):
        open_reader(path, MARKET)

    assert len(cached(path)) == 10
    conn = open_writer(path, MARKET, is_durable=False)
    put(conn, 4, 10)
    klines.upsert_klines(conn, "BTCUSDT", "1m", [row(5, close=1.5)])
    conn.close()

    assert bits(cached(path)) == stored(path)
    with pytest.raises(StoreError, match="made by a newer Milo"):
        open_writer(path, OLDER, is_durable=False)


def test_a_missing_database_is_not_made(path: Path) -> None:
    bring_up_to_date(path, MARKET)
    with pytest.raises(StoreError, match="no database at"):
        open_columns(path, "BTCUSDT", "1m")

    assert list(path.parent.iterdir()) == []


LOADING = """
import sys
from pathlib import Path
from milo.store import klines
from milo.store.columns import load_columns
from milo.store.connections import open_reader
from milo.store.migrations import MARKET

path = Path(sys.argv[1])
conn = open_reader(path, MARKET)
names = ("open_ms", "open", "high", "low", "close", "volume")
print("ready", flush=True)
sys.stdin.readline()
for _ in range(15):
    conn.execute("BEGIN")
    with load_columns(path, conn, "BTCUSDT", "1m") as columns:
        assert not columns.problem, columns.problem
        truth = klines.load_candles(conn, "BTCUSDT", "1m")
        for name in names:
            assert getattr(columns.candles, name).tobytes() == getattr(truth, name).tobytes()
    conn.execute("ROLLBACK")
"""


def test_processes_that_build_at_once_while_another_writes_all_end_well(
    conn: sqlite3.Connection, path: Path
) -> None:
    put(conn, *range(4_000))
    loaders = [
        subprocess.Popen(
            [sys.executable, "-c", LOADING, str(path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    for loader in loaders:
        assert loader.stdout is not None
        assert loader.stdout.readline() == "ready\n"
    for loader in loaders:
        assert loader.stdin is not None
        loader.stdin.write("\n")
        loader.stdin.flush()

    rng, newest = random.Random(3), 4_000
    while any(loader.poll() is None for loader in loaders):
        newest += 1
        put(conn, newest)
        if newest % 5 == 0:
            klines.upsert_klines(conn, "BTCUSDT", "1m", [row(rng.randrange(4_000), close=1.5)])

    for loader in loaders:
        _, errors = loader.communicate()
        assert loader.returncode == 0, errors
    assert bits(cached(path)) == stored(path)
    folder = column_path(path, "BTCUSDT", "1m").parent
    assert len(list(folder.iterdir())) == 1


def test_the_mapped_pages_are_those_of_the_file(conn: sqlite3.Connection, path: Path) -> None:
    put(conn, *range(1_000))

    with open_columns(path, "BTCUSDT", "1m") as columns:
        assert columns.file is not None
        memory = mmap.mmap(columns.file, 0, access=mmap.ACCESS_READ)

    assert bits(mapped_candles(memoryview(memory))) == bits(columns.candles)
    maps = Path("/proc/self/maps").read_text()
    assert maps.count(str(column_path(path, "BTCUSDT", "1m"))) == 2
