"""DBManager: the SQLite files of one venue's folder and the threads that own them.

market.db (candles, instruments, funding; synchronous=NORMAL) and journal.db (synchronous=FULL)
have one writer thread each, so that bulk work never delays the journal, and one reader thread
each. The SQL lives in milo.store; DBManager runs its functions.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from milo.clock import wall_ms
from milo.errors import InvariantBroken, StoreError
from milo.store.connections import close_reader, close_writer, open_reader, open_writer
from milo.store.faults import store_error
from milo.store.maintenance import Maintenance, maintain_if_due
from milo.store.migrations import JOURNAL, MARKET

T = TypeVar("T")

_QUEUE_SIZE = 1_000
_OPS_BETWEEN_LOOKS = 10_000

_log = logging.getLogger(__name__)


class DBManager:
    """The store of one folder; an async context manager.

    `write`, `read`, `journal` and `read_journal` run a function of a connection in a thread, in the
    order of the calls; when 1,000 calls wait for a thread, further callers wait before they queue.
    Cancelling a call drops work that has not begun; work that has begun is finished, and its
    transaction is committed or rolled back as a whole.
    All raise StoreError, one clear line with the path, for whatever SQLite complains about, and
    whatever the function itself raises.
    """

    def __init__(
        self,
        folder: Path,
        *,
        read_only: bool = False,
        market_name: str = "market.db",
        with_journal: bool = True,
    ) -> None:
        self.market_path = market = folder / market_name
        self.journal_path = journal = folder / "journal.db"
        self._is_read_only = read_only
        self._has_journal = with_journal
        self._is_closing = False
        self._market_writer = _Lane(
            market, lambda: open_writer(market, MARKET, is_durable=False), close_writer
        )
        self._journal_writer = _Lane(
            journal, lambda: open_writer(journal, JOURNAL, is_durable=True), close_writer
        )
        self._market_reader = _Lane(market, lambda: open_reader(market, MARKET), close_reader)
        self._journal_reader = _Lane(journal, lambda: open_reader(journal, JOURNAL), close_reader)

    async def __aenter__(self) -> DBManager:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Make, migrate and check the databases; read-only ones must be there already."""
        try:
            if not self._is_read_only:
                await self._market_writer.run(_nothing)
                if self._has_journal:
                    await self._journal_writer.run(_nothing)
            await self._market_reader.run(_nothing)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish what was asked for, checkpoint and close; nothing may be asked afterwards.

        Maintenance under way is broken off.
        """
        if self._is_closing:
            return
        self._is_closing = True
        async with AsyncExitStack() as stack:
            # Called in reverse: a writer that closes last leaves a database without a log file.
            stack.push_async_callback(self._journal_writer.close)
            stack.push_async_callback(self._market_writer.close)
            stack.push_async_callback(self._journal_reader.close)
            stack.push_async_callback(self._market_reader.close)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the market database in one transaction; it is rolled back if it raises."""
        self._check_writable(self.market_path)
        return await self._market_writer.run(lambda conn: _transact(conn, work))

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on a read-only connection to the market database, within one snapshot."""
        return await self._market_reader.run(lambda conn: _look(conn, work))

    async def journal(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the journal in one transaction; on return it is on the disk for good."""
        self._check_writable(self.journal_path)
        self._check_journal()
        return await self._journal_writer.run(lambda conn: _transact(conn, work))

    async def read_journal(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on a read-only connection to the journal, within one snapshot."""
        self._check_journal()
        return await self._journal_reader.run(lambda conn: _look(conn, work))

    async def maintain_daily(self, *, now_ms: int | None = None) -> Maintenance | None:
        """Check, analyse and compact the market database if the last time is a day ago.

        Returns None where it is not due. Market writes wait meanwhile (seconds on a large file);
        the journal and readers do not. Call it when nothing is under way. `now_ms`: wall time.
        """
        self._check_writable(self.market_path)
        moment = wall_ms() if now_ms is None else now_ms
        return await self._market_writer.run(lambda conn: self._maintain(conn, moment))

    def _maintain(self, conn: sqlite3.Connection, now_ms: int) -> Maintenance | None:
        # VACUUM of a large file would keep Ctrl-C waiting; broken off, it leaves all as it was.
        conn.set_progress_handler(lambda: int(self._is_closing), _OPS_BETWEEN_LOOKS)
        try:
            return maintain_if_due(conn, now_ms)
        finally:
            conn.set_progress_handler(None, 0)

    def _check_writable(self, path: Path) -> None:
        if self._is_read_only:
            raise StoreError(f"{path} was opened for reading only")

    def _check_journal(self) -> None:
        if not self._has_journal:
            raise StoreError(f"{self.market_path} was opened without a journal")


class _Lane:
    """One thread that owns one connection and carries out one job after the other."""

    def __init__(
        self,
        path: Path,
        connect: Callable[[], sqlite3.Connection],
        disconnect: Callable[[sqlite3.Connection], None],
    ) -> None:
        self._path = path
        self._connect = connect
        self._disconnect = disconnect
        self._connection: sqlite3.Connection | None = None
        self._is_closing = False
        self._slots = asyncio.Semaphore(_QUEUE_SIZE)
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"store {path.name}")

    async def run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Carry out `job` in the lane's thread; the connection is made for the first one."""
        if self._is_closing:
            raise StoreError(f"{self._path} is closed")
        async with self._slots:
            future = self._pool.submit(self._carry_out, job)
            try:
                return await asyncio.wrap_future(future)
            except asyncio.CancelledError:
                # Nobody waits for the outcome any more, but a failure must not go unseen.
                future.add_done_callback(self._log_failure)
                raise

    async def close(self) -> None:
        """Wait for the jobs that were asked for, close the connection, end the thread."""
        self._is_closing = True
        for _ in range(_QUEUE_SIZE):
            await self._slots.acquire()
        try:
            await asyncio.wrap_future(self._pool.submit(self._hang_up))
        finally:
            self._pool.shutdown(wait=False)

    def _carry_out(self, job: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._connection is None:
                self._connection = self._connect()
            return job(self._connection)
        except sqlite3.Error as error:
            raise store_error(error, self._path) from error

    def _hang_up(self) -> None:
        if self._connection is None:
            return
        try:
            self._disconnect(self._connection)
        except sqlite3.Error as error:
            raise store_error(error, self._path) from error
        finally:
            self._connection = None

    def _log_failure(self, future: Future[Any]) -> None:
        if not future.cancelled() and (error := future.exception()) is not None:
            _log.error("store_job_failed_after_cancel path=%s error=%s", self._path, error)


def _nothing(conn: sqlite3.Connection) -> None:
    """Do nothing: the connection's checks are the job."""


def _transact(conn: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    conn.execute("BEGIN IMMEDIATE")
    try:
        result = work(conn)
        if not conn.in_transaction:
            raise InvariantBroken("work on the store ended its transaction itself")
        conn.execute("COMMIT")
        return result
    finally:
        # SQLite has rolled back by itself after some errors, such as a full disk.
        if conn.in_transaction:
            conn.execute("ROLLBACK")


def _look(conn: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    conn.execute("BEGIN")
    try:
        return work(conn)
    finally:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
