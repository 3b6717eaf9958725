"""What of the venue's records the book still needs: fills and funding that may lack. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from milo.orders.book import Book, SymbolBook
from milo.orders.fills import FUNDING_KEPT

FILLS_OVERLAP_MS = 120_000
"""Fills are read from so long before what is known to be whole; the core drops what it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """From when on a symbol's records are to be read; None: the newest that there are."""

    fills_ms: int | None
    funding_ms: int | None
    """None: no funding payment can be missing."""


def wanted_records(book: Book) -> Mapping[str, Wanted]:
    """Return, by symbol, what may have happened without our having seen it.

    Symbols on which nothing of ours is open, or may be, are left out. Funding is asked for only
    after a gap of the account's stream: it costs much, and the stream tells of it otherwise.
    """
    return {
        symbol: Wanted(
            fills_ms=max(0, max(state.fill_ms, state.read_ms) - FILLS_OVERLAP_MS) or None,
            funding_ms=_funding_from(state) if book.is_account_stale else None,
        )
        for symbol, state in book.symbols.items()
        if state.trade is not None or _is_something_open(state)
    }


def _is_something_open(state: SymbolBook) -> bool:
    return any(own.is_missing or not own.is_complete for own in state.orders.values())


def _funding_from(state: SymbolBook) -> int | None:
    """Return from when on payments may be missing: since the entry, but not beyond memory."""
    starts = [own.entering.signal.candle_open_ms for own in state.orders.values()
              if own.entering is not None and (own.is_missing or not own.is_complete)]  # fmt: skip
    if state.trade is not None:
        starts.append(state.trade.entry_ms)
    if not starts:
        return None
    seen = state.funding_seen
    remembered_ms = seen[0].time_ms if len(seen) > FUNDING_KEPT else 0
    return max(min(starts), remembered_ms)
