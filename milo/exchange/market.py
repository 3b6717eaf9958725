"""Open the market that an embedded exchange plays: simulated or recorded, with its instruments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from milo.errors import ConfigError
from milo.exchange.feed import Feed
from milo.exchange.instruments import (
    OWN_ORIGIN,
    SpecTable,
    own_table,
    spec_for_data,
    with_brackets,
)
from milo.exchange.recorded_file import load_brackets, load_exchange_info
from milo.exchange.replay import ReplayFeed
from milo.exchange.synthetic import SyntheticFeed


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Which files to replay, and from when; see ReplayFeed."""

    path: Path
    symbol: str
    timeframe: str | None = None
    start_ms: int | None = None
    funding_path: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """A feed and the instruments that are traded on it: a spec for each of its symbols."""

    feed: Feed
    table: SpecTable
    notes: tuple[str, ...]
    """What a user should know about it, one line each."""


def load_table(exchange_info: Path | None = None, brackets: Path | None = None) -> SpecTable:
    """Return our own instruments, or those of a recorded exchangeInfo, with recorded brackets.

    Raises ConfigError where a file is not what it should be.
    """
    table = own_table() if exchange_info is None else load_exchange_info(exchange_info)
    if brackets is None:
        return table
    return with_brackets(table, load_brackets(brackets), brackets.name)


def open_market(
    *,
    seed: int = 1,
    recording: Recording | None = None,
    exchange_info: Path | None = None,
    brackets: Path | None = None,
) -> Market:
    """Return the simulated market of `seed`, or the recording if there is one.

    Raises ConfigError where a file is not what it should be.
    """
    table = load_table(exchange_info, brackets)
    if recording is None:
        return Market(feed=SyntheticFeed(seed, table), table=table, notes=())
    symbol = recording.symbol
    if exchange_info is not None and symbol not in table:
        raise ConfigError(f"{exchange_info}: it does not list the symbol {symbol}")
    feed = ReplayFeed(
        recording.path,
        symbol,
        recording.timeframe,
        recording.start_ms,
        recording.funding_path,
    )
    spec = spec_for_data(table.get(symbol), symbol, feed.facts)
    if symbol not in table and brackets is not None:
        spec = with_brackets({symbol: spec}, load_brackets(brackets), brackets.name)[symbol]
    notes = feed.notes
    if spec.origin != OWN_ORIGIN:
        notes += (f"instrument {symbol}: {spec.origin}",)
    return Market(feed=feed, table={symbol: spec}, notes=notes)
