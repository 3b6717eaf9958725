"""What of the venue's records the book still needs: fills and funding that may lack. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from milo.model import Fill
from milo.orders.book import Book, SymbolBook
from milo.orders.fills import FUNDING_KEPT

FILLS_OVERLAP_MS = 120_000
"""Fills are read from so long before what is known to be whole; the core drops what it has."""
FUNDING_EVERY_MS = 15 * 60_000
"""The stream tells of funding; asking costs much, and is done so often by the venue's clock, after
a gap of the stream, and where executions turn up that it has not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """From when on a symbol's records are to be read; None: the newest that there are."""

    fills_ms: int | None
    funding_ms: int | None
    """None: no funding payment can be missing."""


def wanted_records(book: Book) -> Mapping[str, Wanted]:
    """Return, by symbol, what may have happened without our having seen it.

    Symbols on which nothing of ours is open, or may be, or was since funding was read, are left
    out.
    """
    return {
        symbol: Wanted(
            fills_ms=max(0, _fills_from(state) - FILLS_OVERLAP_MS) or None,
            funding_ms=_funding_from(book, state),
        )
        for symbol, state in book.symbols.items()
        if state.trade is not None or _is_something_open(state) or _has_ended_since(book, state)
    }


def is_funding_due(book: Book, now_ms: int) -> bool:
    """Whether all funding is to be read with the account now."""
    return book.is_account_stale or now_ms - book.funding_ms >= FUNDING_EVERY_MS


def has_news(state: SymbolBook, fills: Iterable[Fill]) -> bool:
    """Whether there are executions that the stream has not told: it may lack payments as well."""
    return any(fill.trade_id not in state.seen for fill in fills)


def _fills_from(state: SymbolBook) -> int:
    if state.trade is not None and state.flat_reads:
        # The venue has no such position: the record that tells of its end was overlooked.
        return state.trade.entry_ms
    return max(state.fill_ms, state.read_ms)


def _is_something_open(state: SymbolBook) -> bool:
    return any(own.is_missing or not own.is_complete for own in state.orders.values())


def _has_ended_since(book: Book, state: SymbolBook) -> bool:
    return bool(state.ended) and state.ended[-1].exit_ms >= book.funding_ms


def _funding_from(book: Book, state: SymbolBook) -> int | None:
    """Return from when on payments may be missing: since the entry, but not beyond memory."""
    starts = [own.entering.signal.candle_open_ms for own in state.orders.values()
              if own.entering is not None and (own.is_missing or not own.is_complete)]  # fmt: skip
    starts += [ended.entry_ms for ended in state.ended if ended.exit_ms >= book.funding_ms]
    if state.trade is not None:
        starts.append(state.trade.entry_ms)
    if not starts:
        return None
    seen = state.funding_seen
    remembered_ms = seen[0].time_ms if len(seen) > FUNDING_KEPT else 0
    return max(min(starts), remembered_ms)
