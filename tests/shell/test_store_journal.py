"""The journal keeps what was written, in order, whatever anybody tries."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from milo.errors import StoreError
from milo.store import journal
from milo.store.connections import open_writer
from milo.store.journal import JournalEntry
from milo.store.migrations import JOURNAL


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    opened = open_writer(tmp_path / "journal.db", JOURNAL, is_durable=True)
    journal.start_run(opened, run_id="r1", venue="sim", header_json='{"seed":1}', started_ms=5)
    yield opened
    opened.close()


def entry(seq: int) -> JournalEntry:
    return JournalEntry(seq, 1_000 + seq, "event", f'{{"n":{seq}}}')


def test_entries_come_back_in_order(conn: sqlite3.Connection) -> None:
    journal.append(conn, "r1", [entry(1), entry(2)])
    journal.append(conn, "r1", [])
    journal.append(conn, "r1", [entry(3)])

    assert journal.read_run(conn, "r1") == [entry(1), entry(2), entry(3)]
    assert journal.read_run(conn, "r1", after_seq=2) == [entry(3)]
    assert journal.last_seq(conn, "r1") == 3


def test_runs_are_listed_as_they_were_started(conn: sqlite3.Connection) -> None:
    journal.start_run(conn, run_id="a0", venue="aster", header_json="{}", started_ms=3)
    journal.end_run(conn, "r1", ended_ms=9)

    runs = journal.list_runs(conn)

    assert [(run.run_id, run.venue, run.started_ms, run.ended_ms) for run in runs] == [
        ("r1", "sim", 5, 9),
        ("a0", "aster", 3, None),
    ]
    assert runs[0].header_json == '{"seed":1}'


def test_entries_of_runs_do_not_mix(conn: sqlite3.Connection) -> None:
    journal.start_run(conn, run_id="r2", venue="sim", header_json="{}", started_ms=6)
    journal.append(conn, "r1", [entry(1)])
    journal.append(conn, "r2", [entry(7), entry(8)])

    assert journal.read_run(conn, "r1") == [entry(1)]
    assert journal.read_run(conn, "r2") == [entry(7), entry(8)]


@pytest.mark.parametrize("seqs", [[2, 4], [2, 2], [1], [4]])
def test_a_hole_or_a_repetition_is_refused(conn: sqlite3.Connection, seqs: list[int]) -> None:
    journal.append(conn, "r1", [entry(1), entry(2)])

    with pytest.raises(StoreError, match="does not follow entry"):
        journal.append(conn, "r1", [entry(seq) for seq in seqs])


def test_a_run_is_started_once(conn: sqlite3.Connection) -> None:
    with pytest.raises(StoreError, match="has a run r1 already"):
        journal.start_run(conn, run_id="r1", venue="sim", header_json="{}", started_ms=5)


def test_entries_need_their_run(conn: sqlite3.Connection) -> None:
    with pytest.raises(StoreError, match="has no run r9"):
        journal.append(conn, "r9", [entry(1)])


def test_a_run_ends_once(conn: sqlite3.Connection) -> None:
    journal.end_run(conn, "r1", ended_ms=9)

    with pytest.raises(StoreError, match="no open run r1"):
        journal.end_run(conn, "r1", ended_ms=10)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET body = '{}'",
        "DELETE FROM entries",
        "INSERT OR REPLACE INTO entries VALUES ('r1', 1, 0, 'x', '{}')",
        "DELETE FROM runs",
        "UPDATE runs SET venue = 'binance'",
        "UPDATE runs SET started_ms = 0",
        "INSERT OR REPLACE INTO runs VALUES ('r1', 'x', '{}', 1, NULL)",
    ],
)
def test_the_database_refuses_to_forget(conn: sqlite3.Connection, statement: str) -> None:
    journal.append(conn, "r1", [entry(1)])

    with pytest.raises(sqlite3.IntegrityError, match="the journal"):
        conn.execute(statement)

    assert journal.read_run(conn, "r1") == [entry(1)]


def test_an_end_once_noted_stays(conn: sqlite3.Connection) -> None:
    journal.end_run(conn, "r1", ended_ms=9)

    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        conn.execute("UPDATE runs SET ended_ms = 10")


def test_the_tail_of_a_run_is_its_first_entry_and_what_follows_the_newest_of_a_kind(
    conn: sqlite3.Connection,
) -> None:
    kinds = ["config", "book", "event", "book", "event", "event"]
    rows = [JournalEntry(n, 1_000, kind, "{}") for n, kind in enumerate(kinds, start=1)]
    journal.append(conn, "r1", rows)

    assert [seq for seq, *_ in journal.iterate_tail(conn, "r1", kind="book")] == [1, 4, 5, 6]
    assert [seq for seq, *_ in journal.iterate_tail(conn, "r1", kind="no such")] == list(
        range(1, 7)
    )
    assert list(journal.iterate_tail(conn, "no such run", kind="book")) == []
