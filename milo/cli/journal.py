"""The run's journal: numbers entries and commits them before anything is done about them."""

from __future__ import annotations

from collections.abc import Sequence

from milo.cli.context import Store
from milo.store import journal
from milo.store.journal import JournalEntry


class RunJournal:
    """Appends to one run of the venue's journal."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self.run_id = run_id
        self._next_seq = 1

    async def start(self, *, venue: str, header_json: str, now_ms: int) -> None:
        """Open the run."""
        await self._store.journal(
            lambda conn: journal.start_run(
                conn,
                run_id=self.run_id,
                venue=venue,
                header_json=header_json,
                started_ms=now_ms,
            )
        )

    async def append(self, entries: Sequence[tuple[int, str, str]]) -> None:
        """Commit entries (time_ms, kind, JSON body) in order."""
        first = self._next_seq
        self._next_seq += len(entries)
        rows = [
            JournalEntry(first + index, time_ms, kind, body)
            for index, (time_ms, kind, body) in enumerate(entries)
        ]
        await self._store.journal(lambda conn: journal.append(conn, self.run_id, rows))

    async def end(self, now_ms: int) -> None:
        """Note the run's orderly end."""
        await self._store.journal(lambda conn: journal.end_run(conn, self.run_id, ended_ms=now_ms))
