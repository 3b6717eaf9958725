"""ApiClient and WebSocketManager against the embedded exchange, a process of its own."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import aiohttp
import pytest

from api_client import ApiClient
from milo.clock import VenueClock
from milo.errors import OrderNotFound, Refused, Unauthorized
from milo.events import (
    AccountEvent,
    AlgoEvent,
    KlineEvent,
    MarkPriceEvent,
    OrderEvent,
    StreamEvent,
)
from milo.model import Instrument, NewOrder, OrderStatus, OrderType, Side
from milo.money import ceil_to, floor_to, nearest_to
from milo.ops.exchange_process import EmbeddedExchange, launch
from milo.wire.dialects import BINANCE
from milo.wire.sign import HmacSigner
from milo.wire.streams import kline_stream, mark_price_stream
from websocket_manager import WebSocketManager

SYMBOL = "BTCUSDT"

E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Bench:
    """A stepped exchange with its client, its streams and its control socket."""

    exchange: EmbeddedExchange
    client: ApiClient
    streams: WebSocketManager
    control: aiohttp.ClientWebSocketResponse
    instrument: Instrument
    seen: list[StreamEvent]

    async def step(self) -> bool:
        """Take what has arrived, report idle, and say whether the exchange moved."""
        while not self.streams.is_drained:
            await self.take()
        consumed = self.streams.consumed_counts()
        await self.control.send_str(json.dumps({"op": "idle", "consumed": consumed}))
        reply = json.loads(await self.control.receive_str(timeout=10))
        for label, sent in reply["sent"].items():
            await self.take_up_to(label, sent)
        return bool(reply["moved"])

    async def take(self) -> StreamEvent:
        async with asyncio.timeout(10):
            item = await self.streams.next()
        self.streams.consumed(item)
        self.seen.append(item.event)
        return item.event

    async def take_up_to(self, label: str, sent: int) -> None:
        while self.streams.consumed_counts().get(label, sent) < sent:
            await self.take()

    async def until(self, kind: type[E]) -> E:
        """Return the next event of this kind that was not seen before."""
        while True:
            event = await self.take()
            if isinstance(event, kind):
                return event

    async def price(self) -> Decimal:
        return (await self.client.mark_price(SYMBOL)).mark


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    exchange = await launch(tmp_path, ["--port", "0", "--speed", "max", "--seed", "1"])
    address = exchange.address
    clock = VenueClock(speed=0.0)
    signer = HmacSigner(address.api_key, address.api_secret)
    client = ApiClient(dialect=BINANCE, rest_url=address.rest_url, clock=clock, signer=signer)
    streams = WebSocketManager(dialect=BINANCE, ws_url=address.ws_url, clock=clock, labelled=True)
    try:
        async with client, streams, exchange.control() as control:
            await client.sync_clock()
            instruments = await client.exchange_info()
            streams.open_user(await client.new_listen_key())
            await streams.wait_open(10)
            yield Bench(exchange, client, streams, control, instruments[SYMBOL], [])
    finally:
        await exchange.stop()


def market(side: Side, client_id: str, qty: Decimal, *, reduces: bool = False) -> NewOrder:
    return NewOrder(
        symbol=SYMBOL,
        side=side,
        type=OrderType.MARKET,
        client_id=client_id,
        qty=qty,
        is_reduce_only=reduces,
    )


def bracket(kind: OrderType, client_id: str, trigger: Decimal) -> NewOrder:
    return NewOrder(
        symbol=SYMBOL,
        side=Side.SELL,
        type=kind,
        client_id=client_id,
        trigger_price=trigger,
        is_close_position=True,
    )


async def open_long(bench: Bench, client_id: str = "t-e") -> Decimal:
    """Open a long position of about 1,000 USDT; return its quantity."""
    qty = ceil_to(Decimal(1_000) / await bench.price(), bench.instrument.market_step)
    await bench.client.set_isolated(SYMBOL)
    await bench.client.set_leverage(SYMBOL, 5)
    await bench.client.place_order(market(Side.BUY, client_id, qty))
    return qty


async def test_market_data_is_read(bench: Bench) -> None:
    now_ms = await bench.client.server_time()

    rows = await bench.client.klines(SYMBOL, "1h", limit=10)
    price = await bench.client.mark_price(SYMBOL)
    rates = await bench.client.funding_rates(SYMBOL, limit=3)

    assert len(rows) == 10
    assert rows[-1][6] >= now_ms > rows[-2][6]
    assert all(row[3] <= min(row[1], row[4]) <= max(row[1], row[4]) <= row[2] for row in rows)
    assert price.mark > 0
    assert price.next_funding_ms > now_ms
    assert [rate.time_ms for rate in rates] == sorted(rate.time_ms for rate in rates)
    assert all(rate.time_ms <= now_ms for rate in rates)


async def test_the_account_and_its_settings_are_read_and_set(bench: Bench) -> None:
    client = bench.client

    balance = await client.balance()
    await client.set_isolated(SYMBOL)
    await client.set_isolated(SYMBOL)
    await client.set_hedge_mode(False)
    leverage = await client.set_leverage(SYMBOL, 7)
    config = await client.symbol_config(SYMBOL)
    brackets = await client.leverage_brackets()
    fees = await client.commission_rate(SYMBOL)

    assert (balance.wallet, balance.available, balance.unrealized) == (10_000, 10_000, 0)
    assert (leverage, config.leverage, config.is_isolated) == (7, 7, True)
    assert not await client.is_hedge_mode()
    assert brackets[SYMBOL][0].floor == 0
    assert (fees.maker, fees.taker) == (Decimal("0.0002"), Decimal("0.0005"))
    assert await client.positions() == ()
    assert await client.open_orders() == ()


async def test_an_entry_with_its_bracket_is_confirmed_by_answers_and_by_the_stream(
    bench: Bench,
) -> None:
    qty = await open_long(bench)
    entry = await bench.until(OrderEvent)
    while entry.fill is None:
        entry = await bench.until(OrderEvent)
    price = entry.fill.price
    tick = bench.instrument.tick
    stop = await bench.client.place_order(
        bracket(OrderType.STOP_MARKET, "t-s", floor_to(price * Decimal("0.97"), tick))
    )
    target = await bench.client.place_order(
        bracket(OrderType.TAKE_PROFIT_MARKET, "t-t", ceil_to(price * Decimal("1.06"), tick))
    )
    confirmed = [await bench.until(AlgoEvent), await bench.until(AlgoEvent)]

    (position,) = await bench.client.positions()
    orders = await bench.client.open_orders(SYMBOL)
    (fill,) = await bench.client.user_trades(SYMBOL)
    asked = await bench.client.query_order(SYMBOL, "t-e", is_conditional=False)

    assert position.qty == qty == fill.qty
    assert position.entry_price == price == fill.price == asked.avg_price
    assert asked.status is OrderStatus.FILLED
    assert fill.fee == entry.fill.fee > 0
    assert fill.trade_id == entry.fill.trade_id
    assert {order.client_id for order in orders} == {"t-s", "t-t"}
    assert all(order.is_conditional and order.is_close_position for order in orders)
    assert [event.report.venue_id for event in confirmed] == [stop.venue_id, target.venue_id]
    assert any(
        isinstance(event, AccountEvent) and event.positions and event.positions[0].qty == qty
        for event in bench.seen
    )


async def test_a_bracket_is_cancelled_and_the_position_closed(bench: Bench) -> None:
    qty = await open_long(bench)
    tick = bench.instrument.tick
    trigger = floor_to(await bench.price() * Decimal("0.9"), tick)
    await bench.client.place_order(bracket(OrderType.STOP_MARKET, "t-s", trigger))

    await bench.client.cancel_order(SYMBOL, "t-s", is_conditional=True)
    await bench.client.place_order(market(Side.SELL, "t-x", qty, reduces=True))

    assert await bench.client.open_orders() == ()
    assert await bench.client.positions() == ()
    balance = await bench.client.balance()
    assert 9_990 < balance.wallet < 10_010
    assert balance.wallet == balance.available


async def test_refusals_carry_the_exchanges_own_codes(bench: Bench) -> None:
    client, tick = bench.client, bench.instrument.tick
    price = await bench.price()
    above, below = (nearest_to(price * Decimal(x), tick) for x in ("1.1", "0.9"))
    stop = bracket(OrderType.STOP_MARKET, "t-s", below)
    codes = []

    async def refused(order: NewOrder) -> None:
        with pytest.raises(Refused) as raised:
            await client.place_order(order)
        codes.append(raised.value.code)

    await refused(stop)
    await refused(replace(market(Side.BUY, "t-1", Decimal(1)), symbol="NOPEUSDT"))
    await refused(
        replace(
            market(Side.BUY, "t-2", bench.instrument.min_qty),
            type=OrderType.LIMIT,
            price=nearest_to(Decimal(20_000), tick),
        )
    )
    await refused(market(Side.SELL, "t-3", Decimal(1), reduces=True))
    await refused(market(Side.BUY, "t-4", Decimal("1.00000001")))
    await refused(market(Side.BUY, "t-5", bench.instrument.market_max_qty))
    await open_long(bench)
    await refused(replace(stop, trigger_price=above))
    await client.place_order(stop)
    await refused(replace(stop, client_id="t-6"))

    assert codes[0] == -4509
    assert codes[1] == -1121
    assert codes[2] == -4164
    assert codes[3] == -2022
    assert codes[4] in (-1111, -4023)
    assert codes[5] in (-2019, -2027)
    assert codes[6:] == [-2021, -4130]


@pytest.mark.parametrize("is_conditional", [False, True])
async def test_orders_that_are_not_there_are_not_found(bench: Bench, is_conditional: bool) -> None:
    with pytest.raises(OrderNotFound):
        await bench.client.cancel_order(SYMBOL, "nobody", is_conditional=is_conditional)
    with pytest.raises(OrderNotFound):
        await bench.client.query_order(SYMBOL, "nobody", is_conditional=is_conditional)


async def test_wrong_keys_are_told_from_a_wrong_signature(bench: Bench) -> None:
    address = bench.exchange.address
    clock = VenueClock(speed=0.0)
    clock.sync(await bench.client.server_time())
    stranger = HmacSigner("stranger", address.api_secret)
    forger = HmacSigner(address.api_key, "guess")
    codes = []
    for signer in (stranger, forger):
        async with ApiClient(
            dialect=BINANCE, rest_url=address.rest_url, clock=clock, signer=signer
        ) as client:
            with pytest.raises(Refused) as raised:
                await client.balance()
            codes.append((type(raised.value), raised.value.code))

    assert codes[0][0] is Unauthorized
    assert codes[0][1] in (-2014, -2015)
    assert codes[1] == (Refused, -1022)


async def test_a_listen_key_is_kept_and_an_unknown_one_is_refused(bench: Bench) -> None:
    key = await bench.client.new_listen_key()

    await bench.client.keep_listen_key(key)
    await bench.client.close_listen_key(key)

    with pytest.raises(Refused) as raised:
        await bench.client.keep_listen_key(key)
    assert raised.value.code == -1125


async def test_each_step_brings_the_next_candle_frame_until_a_stop_is_hit(bench: Bench) -> None:
    bench.streams.open_market([kline_stream(SYMBOL, "1m"), mark_price_stream(SYMBOL)])
    await bench.streams.wait_open(10)
    await open_long(bench)
    price = await bench.price()
    close = floor_to(price * Decimal("0.9995"), bench.instrument.tick)
    await bench.client.place_order(bracket(OrderType.STOP_MARKET, "t-s", close))

    for _ in range(20_000):
        await bench.step()
        if not await bench.client.positions():
            break
    await bench.step()

    counts = Counter(type(event).__name__ for event in bench.seen)
    klines = [event for event in bench.seen if isinstance(event, KlineEvent)]
    algos = [event for event in bench.seen if isinstance(event, AlgoEvent)]
    fills = [e.fill for e in bench.seen if isinstance(e, OrderEvent) and e.fill is not None]
    assert counts["KlineEvent"] > 3
    assert counts["StreamReset"] == 0
    assert [event.event_ms for event in klines] == sorted(event.event_ms for event in klines)
    assert any(isinstance(event, MarkPriceEvent) for event in bench.seen)
    assert algos[-1].report.status in (OrderStatus.FINISHED, OrderStatus.TRIGGERED)
    assert algos[-1].report.triggered_venue_id == fills[-1].venue_id
    assert fills[-1].price == close
    assert await bench.client.open_orders() == ()
    closed = [event for event in klines if event.is_closed]
    assert all(
        later.candle.open_ms - earlier.candle.open_ms == 60_000
        for earlier, later in pairwise(closed)
    )


async def test_candles_of_the_stream_are_those_of_rest(bench: Bench) -> None:
    bench.streams.open_market([kline_stream(SYMBOL, "1m")])
    await bench.streams.wait_open(10)
    for _ in range(40):
        await bench.step()
    streamed = {
        event.candle.open_ms: event.candle
        for event in bench.seen
        if isinstance(event, KlineEvent) and event.is_closed
    }

    rows = await bench.client.klines(SYMBOL, "1m", start_ms=min(streamed))

    asked = {row[0]: row for row in rows}
    assert len(streamed) >= 5
    for open_ms, candle in streamed.items():
        assert asked[open_ms][1:6] == (
            candle.open,
            candle.high,
            candle.low,
            candle.close,
            candle.volume,
        )
