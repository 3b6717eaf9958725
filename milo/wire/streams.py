"""Stream frames become events: market data here, the account's events in `user_events` (layer 1).

A frame is JSON text, either the event itself or {stream, data} around it. It is read twice: once
for its kind, once into exactly the fields that we use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from urllib.parse import quote

import msgspec
from msgspec import field

from milo.errors import ProtocolError
from milo.events import BookTickerEvent, IgnoredEvent, KlineEvent, MarkPriceEvent, StreamEvent
from milo.model import Candle
from milo.wire.dialects import Dialect
from milo.wire.market import numbers_of
from milo.wire.rest import WireStruct, decimal_or_zero
from milo.wire.user_events import USER_EVENTS

# --- names and addresses ------------------------------------------------------------------------


def kline_stream(symbol: str, interval: str) -> str:
    return f"{symbol.lower()}@kline_{interval}"


def mark_price_stream(symbol: str) -> str:
    """Return the name of the mark-price stream with an event each second."""
    return f"{symbol.lower()}@markPrice@1s"


def book_ticker_stream(symbol: str) -> str:
    return f"{symbol.lower()}@bookTicker"


def market_paths(dialect: Dialect, streams: Sequence[str]) -> list[str]:
    """Return the paths of the connections that together carry these streams.

    A routed venue serves best prices and depth elsewhere than candles: asked for on the wrong
    route they connect, and stay silent.
    """
    paths = []
    for route in dict.fromkeys((dialect.market_route, dialect.public_route)):
        names = [name for name in dict.fromkeys(streams) if _route_of(dialect, name) == route]
        for start in range(0, len(names), dialect.max_streams):
            page = "/".join(quote(name, safe="@!") for name in names[start:][: dialect.max_streams])
            paths.append(f"{route}/stream?streams={page}")
    return paths


def user_path(dialect: Dialect, listen_key: str) -> str:
    return f"{dialect.user_route}/ws/{quote(listen_key, safe='')}"


def _route_of(dialect: Dialect, stream: str) -> str:
    kind = stream.partition("@")[2] or stream
    is_public = kind.startswith(("bookTicker", "!bookTicker", "depth"))
    return dialect.public_route if is_public else dialect.market_route


# --- frames -------------------------------------------------------------------------------------


class _Envelope(msgspec.Struct):
    kind: str = field(name="e", default="")
    stream: str = ""
    payload: msgspec.Raw = field(name="data", default=msgspec.Raw())


class _Candle(msgspec.Struct):
    open_ms: int = field(name="t")
    interval: str = field(name="i")
    open: str = field(name="o")
    high: str = field(name="h")
    low: str = field(name="l")
    close: str = field(name="c")
    volume: str = field(name="v")
    is_closed: bool = field(name="x")


class _Kline(msgspec.Struct):
    event_ms: int = field(name="E")
    symbol: str = field(name="s")
    candle: _Candle = field(name="k")


class _MarkPrice(WireStruct):
    event_ms: int = field(name="E")
    symbol: str = field(name="s")
    mark: Decimal = field(name="p")
    index: Decimal = field(name="i")
    next_funding_ms: int = field(name="T")
    rate: msgspec.Raw = field(name="r", default=msgspec.Raw())


class _BookTicker(WireStruct):
    event_ms: int = field(name="E")
    symbol: str = field(name="s")
    bid: Decimal = field(name="b")
    bid_qty: Decimal = field(name="B")
    ask: Decimal = field(name="a")
    ask_qty: Decimal = field(name="A")


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_KLINE = msgspec.json.Decoder(_Kline)
_MARK_PRICE = msgspec.json.Decoder(_MarkPrice)
_BOOK_TICKER = msgspec.json.Decoder(_BookTicker)

Frame = bytes | str


def read_frame(frame: Frame) -> StreamEvent:
    """Return the event of a text frame; IgnoredEvent for what we have no use for.

    Raises ProtocolError for a frame that is no JSON, and for one of a kind that we do use which
    lacks a field or names an unknown state.
    """
    try:
        return _read(frame)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"unreadable stream frame: {error}") from error


def _read(frame: Frame) -> StreamEvent:
    if frame[:1] in (b"[", "["):
        msgspec.json.decode(frame, type=msgspec.Raw)
        return IgnoredEvent(name="list")
    envelope = _ENVELOPE.decode(frame)
    payload = frame
    kind = envelope.kind
    if envelope.stream:
        payload = bytes(envelope.payload)
        if not payload.startswith(b"{"):
            return IgnoredEvent(name=envelope.stream)
        kind = _ENVELOPE.decode(payload).kind
    reader = _READERS.get(kind)
    if reader is None:
        return IgnoredEvent(name=kind or envelope.stream or "reply")
    return reader(payload)


def _read_kline(payload: Frame) -> StreamEvent:
    frame = _KLINE.decode(payload)
    row = frame.candle
    numbers = numbers_of(row.open, row.high, row.low, row.close, row.volume)
    return KlineEvent(
        symbol=frame.symbol,
        interval=row.interval,
        candle=Candle(row.open_ms, *numbers),
        is_closed=row.is_closed,
        event_ms=frame.event_ms,
    )


def _read_mark_price(payload: Frame) -> StreamEvent:
    frame = _MARK_PRICE.decode(payload)
    return MarkPriceEvent(
        symbol=frame.symbol,
        mark=frame.mark,
        index=frame.index,
        # Empty for contracts that pay no funding.
        funding_rate=decimal_or_zero(frame.rate),
        next_funding_ms=frame.next_funding_ms,
        event_ms=frame.event_ms,
    )


def _read_book_ticker(payload: Frame) -> StreamEvent:
    frame = _BOOK_TICKER.decode(payload)
    return BookTickerEvent(
        symbol=frame.symbol,
        bid=frame.bid,
        bid_qty=frame.bid_qty,
        ask=frame.ask,
        ask_qty=frame.ask_qty,
        event_ms=frame.event_ms,
    )


_READERS: dict[str, Callable[[Frame], StreamEvent]] = {
    "kline": _read_kline,
    "markPriceUpdate": _read_mark_price,
    "bookTicker": _read_book_ticker,
    **USER_EVENTS,
}
