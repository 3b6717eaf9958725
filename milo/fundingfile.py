"""Funding rates from the lines of a CSV file (layer 1).

Read are files with a header that names a time and a rate (`funding_time_ms,funding_rate`, or the
exchange's published `calc_time,funding_interval_hours,last_funding_rate`), and the same two forms
without a header. A column of symbols may say whose the rates are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from milo.errors import ConfigError
from milo.klinefile import BadRow
from milo.model import FundingRate

FORM = "funding_time_ms,funding_rate or calc_time,funding_interval_hours,last_funding_rate"
MOST_RATE = Decimal("0.1")
"""No exchange has settled more than a few percent at once; a price in its place is far above."""
_KEPT_BAD_ROWS = 1_000
_MS_FROM, _MS_UNTIL = 1_230_768_000_000, 4_102_444_800_000  # 2009 to 2100
_TIMES = ("fundingtimems", "fundingtime", "calctime", "timestampms", "timestamp", "timems", "time")
_RATES = ("fundingrate", "lastfundingrate", "rate")
_SYMBOLS = ("symbol", "contract", "contracts")


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingRows:
    """The settlements of a file, each time once, oldest first, and the rows that were left out."""

    rates: tuple[FundingRate, ...]
    duplicates: int
    """Rows equal to an earlier one."""
    bad: tuple[BadRow, ...]
    """The first 1,000 by line."""
    bad_count: int


@dataclass(frozen=True, slots=True)
class _Columns:
    time: int
    rate: int
    symbol: int | None


def parse_funding(lines: Iterable[str], *, name: str, symbol: str | None) -> FundingRows:
    """Read the lines of a funding file; rows that are no settlements are reported and left out.

    `symbol`: whose the rates are; None where the file's own column must say it. Raises ConfigError,
    with `name` in its text, where there is no settlement, or nobody says whose they are.
    """
    found: dict[tuple[str, int], tuple[Decimal, int]] = {}
    bad: list[BadRow] = []
    bad_count = duplicates = 0
    columns: _Columns | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        cells = [cell.strip().strip('"') for cell in line.split(",")]
        if columns is None:
            columns, is_header = _columns_of(cells, name)
            if columns.symbol is None and symbol is None:
                raise ConfigError(f"{name} does not say whose rates it holds: add --symbol")
            if is_header:
                continue
        try:
            row = _row(cells, columns, symbol)
            known, line_of = found.setdefault((row.symbol, row.time_ms), (row.rate, number))
            if known != row.rate:
                raise ValueError(f"differs from line {line_of}, which has the same time")
            duplicates += line_of != number
        except ValueError as error:
            bad_count += 1
            if len(bad) < _KEPT_BAD_ROWS:
                bad.append(BadRow(number, str(error)))
    if not found:
        first = f": line {bad[0].line}: {bad[0].reason}" if bad else ""
        raise ConfigError(f"{name} holds no funding rates{first}; needed are the columns {FORM}")
    return FundingRows(
        rates=_in_order(found), duplicates=duplicates, bad=tuple(bad), bad_count=bad_count
    )


def _in_order(found: Mapping[tuple[str, int], tuple[Decimal, int]]) -> tuple[FundingRate, ...]:
    return tuple(
        FundingRate(symbol=symbol, time_ms=time_ms, rate=rate)
        for (symbol, time_ms), (rate, _) in sorted(found.items())
    )


def _columns_of(cells: list[str], name: str) -> tuple[_Columns, bool]:
    """Return where time, rate and symbol stand, and whether these cells are a header."""
    if cells[0].isdecimal():
        return _Columns(0, 1 if len(cells) == 2 else 2, None), False
    names = ["".join(filter(str.isalnum, cell.lower())) for cell in cells]
    time, rate, symbol = (
        next((names.index(alias) for alias in aliases if alias in names), None)
        for aliases in (_TIMES, _RATES, _SYMBOLS)
    )
    if time is None or rate is None:
        raise ConfigError(f"{name} is not a funding file: needed are the columns {FORM}")
    return _Columns(time, rate, symbol), True


def _row(cells: list[str], columns: _Columns, symbol: str | None) -> FundingRate:
    if len(cells) <= max(columns.time, columns.rate, columns.symbol or 0):
        raise ValueError(f"has {len(cells)} columns only")
    owner = symbol
    if columns.symbol is not None:
        owner = cells[columns.symbol].upper()
        if not owner.isalnum():
            raise ValueError(f"{cells[columns.symbol]!r:.60} is not a symbol")
        if symbol is not None and owner != symbol:
            raise ValueError(f"is of {owner:.40}, not of {symbol}")
    assert owner is not None
    return FundingRate(
        symbol=owner, time_ms=_time(cells[columns.time]), rate=_rate(cells[columns.rate])
    )


def _time(text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) <= 13:
        time_ms = int(text)
        if _MS_FROM <= time_ms < _MS_UNTIL:
            return time_ms
    raise ValueError(f"{text!r:.60} is no time in ms UTC (2009 to 2100)")


def _rate(text: str) -> Decimal:
    try:
        if "_" in text or not text.isascii():
            raise InvalidOperation
        rate = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r:.60} is not a number") from None
    if not rate.is_finite() or abs(rate) > MOST_RATE:
        raise ValueError(f"{text!r:.60} is no funding rate (0.0001 is 0.01 %)")
    return rate
