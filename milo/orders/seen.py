"""Which executions the book has already taken in: each counts once, however often it is told.

Executions come twice (stream and REST), late, and in any order; trade ids rise with time.
"""

from __future__ import annotations

from dataclasses import dataclass

KEPT = 1000
"""Ids remembered one by one; a still older one, that many executions late, counts as seen."""


@dataclass(frozen=True, slots=True)
class SeenTrades:
    """A set of trade ids, bounded: all at or below `floor` count as seen."""

    ids: frozenset[int] = frozenset()
    floor: int = 0

    def __contains__(self, trade_id: int) -> bool:
        return trade_id <= self.floor or trade_id in self.ids

    def with_id(self, trade_id: int) -> SeenTrades:
        """Return the set with one id more, without the oldest where it is full."""
        ids = self.ids | {trade_id}
        if len(ids) <= KEPT:
            return SeenTrades(ids, self.floor)
        oldest = min(ids)
        return SeenTrades(ids - {oldest}, oldest)


NOTHING_SEEN = SeenTrades()
