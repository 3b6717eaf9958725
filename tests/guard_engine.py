"""An engine for the tests of the guard: a process that enters a position and then dies or stalls.

Run as `python -m tests.guard_engine DATA_DIR STOP_SHARE WHAT`: the stop is planned at that share of
the price (0.8: 20 % below). WHAT: `die` (kill -9 of itself right after the entry), `die-before`
(between the plan and the entry's request), `stall` (SIGSTOP of itself), or `leave` (say goodbye).
It speaks with the guard through the link that the engine uses, and never places a stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from api_client import ApiClient
from milo.clock import VenueClock
from milo.guard.link import GuardLink
from milo.guard.words import Plan
from milo.model import Direction, NewOrder, OrderType
from milo.money import floor_to
from milo.ops.exchange_process import attach
from milo.ops.guard_process import GuardKeeper
from milo.orders.ids import Leg, client_id
from milo.wire.dialects import BINANCE
from milo.wire.sign import HmacSigner

SYMBOL = "BTCUSDT"
RUN_ID = "0test000"
KEY = "0123456789"
QTY = Decimal("0.01")
TICK = Decimal("0.1")


@dataclass
class Engine:
    """A link to the guard and a client of the exchange, as an engine has them."""

    client: ApiClient
    link: GuardLink
    keeper: GuardKeeper
    told: list[str] = field(default_factory=list)
    """What the link said."""
    takeovers: int = 0
    taken_over: asyncio.Event = field(default_factory=asyncio.Event)

    async def plan(self, stop_share: str, *, direction: Direction = Direction.LONG) -> Plan:
        """Return a plan whose stop lies at that share of the price."""
        price = (await self.client.mark_price(SYMBOL)).mark
        return Plan(
            symbol=SYMBOL,
            direction=direction,
            run_id=RUN_ID,
            key=KEY,
            entry_id=client_id(RUN_ID, KEY, Leg.ENTRY),
            qty=QTY,
            stop_price=floor_to(price * Decimal(stop_share), TICK),
            is_entry_open=True,
            tick=TICK,
            step=Decimal("0.001"),
            max_qty=Decimal(120),
        )

    async def enter(self, plan: Plan) -> None:
        """Send the entry of a plan, as a market order."""
        order = NewOrder(
            symbol=plan.symbol,
            side=plan.direction.entry_side,
            type=OrderType.MARKET,
            client_id=plan.entry_id,
            qty=plan.qty,
        )
        await self.client.place_order(order)


@contextlib.asynccontextmanager
async def client_of(data_dir: Path) -> AsyncIterator[ApiClient]:
    """A client of the embedded exchange that runs on this data directory."""
    exchange = await attach(data_dir / "sim")
    assert exchange is not None
    address = exchange.address
    async with ApiClient(
        dialect=BINANCE,
        rest_url=address.rest_url,
        clock=VenueClock(speed=float(address.speed)),
        signer=HmacSigner(address.api_key, address.api_secret),
    ) as client:
        await client.sync_clock()
        yield client


@contextlib.asynccontextmanager
async def engine_on(data_dir: Path) -> AsyncIterator[Engine]:
    """An engine with an open link whose task runs; the guard is left to itself at the end."""
    folder = data_dir / "sim"
    exchange = await attach(folder)
    assert exchange is not None
    async with client_of(data_dir) as client:
        keeper = GuardKeeper(
            folder,
            ["--data-dir", str(data_dir)],
            venue=exchange.address.rest_url,
            password=None,
        )
        told: list[str] = []
        link = GuardLink(
            keeper,
            run_id=RUN_ID,
            pid=os.getpid(),
            symbols=(SYMBOL,),
            on_problem=told.append,
        )
        engine = Engine(client=client, link=link, keeper=keeper, told=told)

        def count() -> None:
            engine.takeovers += 1
            engine.taken_over.set()

        link.on_takeover = count
        await link.open()
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(link.run())
            # A task that is cancelled before it began hangs nothing up.
            await asyncio.sleep(0)
            yield engine
            running.cancel()


async def main(data_dir: Path, stop_share: str, what: str) -> None:
    """Enter, and end as asked."""
    async with engine_on(data_dir) as engine:
        plan = await engine.plan(stop_share)
        await engine.link.announce(plan)
        if what == "die-before":
            os.kill(os.getpid(), signal.SIGKILL)
        await engine.enter(plan)
        print("entered", flush=True)
        if what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif what == "stall":
            os.kill(os.getpid(), signal.SIGSTOP)
            # Awake again: nothing may be sent before the guard has said so.
            print(f"may send at once: {engine.link.may_send()}", flush=True)
            await engine.link.until_may_send()
            await engine.taken_over.wait()
            print("told of the takeover", flush=True)
            await asyncio.sleep(3600)
        elif what == "leave":
            await engine.link.bye(ends_guard=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
