"""Market data over REST: time, instruments, candles, mark price, funding (layer 1)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from math import isfinite

import msgspec

from milo.errors import ProtocolError
from milo.events import MarkPriceEvent
from milo.intervals import INTERVALS, back_from
from milo.model import FundingRate, Instrument
from milo.wire.limits import Cost, Limit, LimitKind
from milo.wire.rest import (
    Request,
    WireStruct,
    decimal_or_zero,
    decode,
    given,
    read_nothing,
)

KlineRow = tuple[int, float, float, float, float, float, int]
"""(open_ms, open, high, low, close, volume, close_ms); the last row may be still forming."""

EARLIEST_MS = 1_546_300_800_000
"""2019-01-01 UTC: the futures market is younger; nothing before is asked for."""

MAX_KLINES = 1500
BEST_KLINES = 499
"""The page size with the most candles for each unit of weight."""


def ping() -> Request[None]:
    return Request(method="GET", path="/fapi/v1/ping", parse=read_nothing)


class _Time(WireStruct):
    server_time: int


_TIME = msgspec.json.Decoder(_Time)


def server_time() -> Request[int]:
    return Request(method="GET", path="/fapi/v1/time", parse=_read_time)


def _read_time(body: bytes) -> int:
    return decode(body, _TIME, what="time").server_time


# --- exchangeInfo -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeInfo:
    """The venue's perpetual instruments and its limits."""

    instruments: dict[str, Instrument]
    limits: tuple[Limit, ...]
    skipped: tuple[str, ...]
    """Symbols with an impossible name, or whose rules are incomplete: no order would fit them."""


class _Filter(WireStruct):
    filter_type: str
    min_price: Decimal | None = None
    max_price: Decimal | None = None
    tick_size: Decimal | None = None
    min_qty: Decimal | None = None
    max_qty: Decimal | None = None
    step_size: Decimal | None = None
    notional: Decimal | None = None


class _Symbol(WireStruct):
    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    filters: list[_Filter]
    contract_type: str = ""
    liquidation_fee: Decimal | None = None
    onboard_date: int = 0


class _RateLimit(WireStruct):
    rate_limit_type: str
    interval: str
    interval_num: int
    limit: int


class _ExchangeInfo(WireStruct):
    symbols: list[_Symbol]
    rate_limits: tuple[_RateLimit, ...] = ()


_EXCHANGE_INFO = msgspec.json.Decoder(_ExchangeInfo)
_NAME = re.compile(r"\w[\w.-]{0,63}")
"""Names of symbols end up in files, on pages and in other names: letters of any script, no more."""
_PERPETUAL = frozenset({"PERPETUAL", "TRADIFI_PERPETUAL"})
_KINDS = frozenset(kind.value for kind in LimitKind)
_UNIT_S = {"SECOND": 1, "MINUTE": 60, "HOUR": 3_600, "DAY": 86_400}


def exchange_info() -> Request[ExchangeInfo]:
    return Request(method="GET", path="/fapi/v1/exchangeInfo", parse=read_exchange_info)


def read_exchange_info(body: bytes) -> ExchangeInfo:
    """Return instruments by symbol and the limits; only perpetual contracts are taken."""
    info = decode(body, _EXCHANGE_INFO, what="exchangeInfo")
    perpetual = [symbol for symbol in info.symbols if symbol.contract_type in _PERPETUAL]
    instruments = [instrument for symbol in perpetual if (instrument := _instrument(symbol))]
    known = {instrument.symbol: instrument for instrument in instruments}
    return ExchangeInfo(
        instruments=known,
        limits=tuple(limit for row in info.rate_limits if (limit := _limit(row))),
        skipped=tuple(symbol.symbol for symbol in perpetual if symbol.symbol not in known),
    )


def _limit(row: _RateLimit) -> Limit | None:
    # A kind of limit that is not ours to count (connections, say) is left to the venue's 429.
    if row.rate_limit_type not in _KINDS or row.interval not in _UNIT_S:
        return None
    window_s = row.interval_num * _UNIT_S[row.interval]
    return Limit(kind=LimitKind(row.rate_limit_type), window_s=window_s, cap=row.limit)


def _instrument(symbol: _Symbol) -> Instrument | None:
    filters = {found.filter_type: found for found in symbol.filters}
    price, lot = filters.get("PRICE_FILTER"), filters.get("LOT_SIZE")
    if price is None or lot is None or symbol.liquidation_fee is None:
        return None
    if _NAME.fullmatch(symbol.symbol) is None:
        return None
    if None in (price.tick_size, lot.step_size, lot.min_qty, lot.max_qty):
        return None
    market = filters.get("MARKET_LOT_SIZE", lot)
    notional = filters.get("MIN_NOTIONAL")
    assert price.tick_size is not None
    assert lot.step_size is not None
    assert lot.min_qty is not None
    assert lot.max_qty is not None
    return Instrument(
        symbol=symbol.symbol,
        base_asset=symbol.base_asset,
        quote_asset=symbol.quote_asset,
        status=symbol.status,
        tick=price.tick_size,
        min_price=price.min_price or Decimal(0),
        max_price=price.max_price or Decimal(0),
        step=lot.step_size,
        min_qty=lot.min_qty,
        max_qty=lot.max_qty,
        # A market filter of 0 is switched off; the ordinary one still holds.
        market_step=market.step_size or lot.step_size,
        market_min_qty=market.min_qty or lot.min_qty,
        market_max_qty=market.max_qty or lot.max_qty,
        min_notional=(notional.notional if notional else None) or Decimal(0),
        liquidation_fee=symbol.liquidation_fee,
        onboard_ms=symbol.onboard_date,
    )


# --- candles ------------------------------------------------------------------------------------


class _Kline(msgspec.Struct, array_like=True):
    open_ms: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    close_ms: int


_KLINES = msgspec.json.Decoder(list[_Kline])


def klines_weight(limit: int) -> int:
    """Return the weight of one page of `limit` candles."""
    if limit < 100:
        return 1
    if limit < 500:
        return 2
    return 5 if limit <= 1000 else 10


def klines(
    symbol: str,
    interval: str,
    *,
    start_ms: int | None = None,
    end_ms: int | None = None,
    limit: int = BEST_KLINES,
) -> Request[list[KlineRow]] | None:
    """Return the request for a page of candles, or None where all of it lies before 2019.

    Raises ValueError for an interval or a limit that no venue knows.
    """
    if interval not in INTERVALS:
        raise ValueError(f"unknown interval {interval!r}; known: {', '.join(INTERVALS)}")
    if not 1 <= limit <= MAX_KLINES:
        raise ValueError(f"limit must lie between 1 and {MAX_KLINES}: {limit}")
    if end_ms is not None and end_ms < EARLIEST_MS:
        return None
    if start_ms is not None:
        start_ms = max(start_ms, EARLIEST_MS)
    elif end_ms is not None and back_from(end_ms, interval, limit) < EARLIEST_MS:
        start_ms = EARLIEST_MS
    return Request(
        method="GET",
        path="/fapi/v1/klines",
        params=given(
            ("symbol", symbol),
            ("interval", interval),
            ("startTime", start_ms),
            ("endTime", end_ms),
            ("limit", limit),
        ),
        cost=Cost(weight=klines_weight(limit)),
        parse=read_klines,
    )


def read_klines(body: bytes) -> list[KlineRow]:
    """Return the rows oldest first; ProtocolError where one is not a candle."""
    rows = [_kline_row(row) for row in decode(body, _KLINES, what="klines")]
    if any(later[0] <= earlier[0] for earlier, later in pairwise(rows)):
        raise ProtocolError("unreadable answer (klines): open times do not rise")
    return rows


def _kline_row(row: _Kline) -> KlineRow:
    prices = numbers_of(row.open, row.high, row.low, row.close, row.volume)
    return (row.open_ms, *prices, row.close_ms)


def numbers_of(
    open_: str, high: str, low: str, close: str, volume: str
) -> tuple[float, float, float, float, float]:
    """Return a candle's numbers as floats; ProtocolError unless all are finite."""
    try:
        numbers = (float(open_), float(high), float(low), float(close), float(volume))
    except ValueError as error:
        raise ProtocolError(f"not a candle: {error}") from error
    if not isfinite(sum(numbers)):
        raise ProtocolError("not a candle: a number in it is not finite")
    return numbers


# --- mark price and funding ---------------------------------------------------------------------


class _PremiumIndex(WireStruct):
    symbol: str
    mark_price: Decimal
    index_price: Decimal
    next_funding_time: int
    time: int
    last_funding_rate: msgspec.Raw = msgspec.Raw()


_PREMIUM_INDEX = msgspec.json.Decoder(_PremiumIndex)


def mark_price(symbol: str) -> Request[MarkPriceEvent]:
    return Request(
        method="GET",
        path="/fapi/v1/premiumIndex",
        params=given(("symbol", symbol)),
        parse=_read_mark_price,
    )


def _read_mark_price(body: bytes) -> MarkPriceEvent:
    row = decode(body, _PREMIUM_INDEX, what="premiumIndex")
    return MarkPriceEvent(
        symbol=row.symbol,
        mark=row.mark_price,
        index=row.index_price,
        # Empty for contracts that pay no funding.
        funding_rate=decimal_or_zero(row.last_funding_rate),
        next_funding_ms=row.next_funding_time,
        event_ms=row.time,
    )


class _FundingRate(WireStruct):
    symbol: str
    funding_time: int
    funding_rate: Decimal


_FUNDING_RATES = msgspec.json.Decoder(list[_FundingRate])


def funding_rates(
    symbol: str, *, start_ms: int | None = None, end_ms: int | None = None, limit: int = 100
) -> Request[list[FundingRate]]:
    return Request(
        method="GET",
        path="/fapi/v1/fundingRate",
        params=given(
            ("symbol", symbol), ("startTime", start_ms), ("endTime", end_ms), ("limit", limit)
        ),
        cost=Cost(funding=1),
        parse=_read_funding_rates,
    )


def _read_funding_rates(body: bytes) -> list[FundingRate]:
    return [
        FundingRate(symbol=row.symbol, time_ms=row.funding_time, rate=row.funding_rate)
        for row in decode(body, _FUNDING_RATES, what="fundingRate")
    ]
