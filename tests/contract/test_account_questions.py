"""What commands ask of an account, against the embedded exchange, a process of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from api_client import ApiClient
from milo.clock import VenueClock
from milo.errors import Refused
from milo.model import NewOrder, OrderType, Side
from milo.ops.exchange_process import launch
from milo.wire.dialects import BINANCE
from milo.wire.sign import HmacSigner

SYMBOL = "BTCUSDT"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[ApiClient]:
    exchange = await launch(tmp_path, ["--port", "0", "--speed", "max", "--seed", "1"])
    address = exchange.address
    signer = HmacSigner(address.api_key, address.api_secret)
    clock = VenueClock(speed=0.0)
    try:
        async with ApiClient(
            dialect=BINANCE, rest_url=address.rest_url, clock=clock, signer=signer
        ) as client:
            await client.sync_clock()
            yield client
    finally:
        await exchange.stop()


def market(qty: str, *, reduces: bool = False) -> NewOrder:
    return NewOrder(
        symbol=SYMBOL,
        side=Side.BUY,
        type=OrderType.MARKET,
        client_id="milo-test",
        qty=Decimal(qty),
        is_reduce_only=reduces,
    )


async def test_the_account_is_one_way_single_asset_and_may_trade(client: ApiClient) -> None:
    config = await client.account_config()

    assert config.can_trade
    assert not config.is_hedge
    assert not config.is_multi_assets
    assert not await client.is_multi_assets()


async def test_an_order_that_is_tried_is_not_placed(client: ApiClient) -> None:
    await client.try_order(market("0.01"))

    assert await client.positions() == ()
    assert await client.open_orders() == ()


async def test_an_order_that_would_be_refused_is_refused_when_tried(client: ApiClient) -> None:
    with pytest.raises(Refused) as refused:
        await client.try_order(market("0.01", reduces=True))

    assert refused.value.code == -2022


async def test_used_weight_follows_the_venue_and_stays_below_its_cap(client: ApiClient) -> None:
    before = client.weight_used

    await client.balance()

    assert client.weight_used == before + 5
    assert client.weight_cap == 2400
