"""The guard as a real process, against a real exchange and engines that really die or stall."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from api_client import ApiClient
from milo.clock import monotonic_s
from milo.errors import GuardLost
from milo.model import NewOrder, OrderReport, OrderType, Side
from milo.ops.exchange_process import launch
from milo.ops.folder_lock import GUARD_LOCK, holder_of
from milo.ops.guard_process import running_guard
from milo.store.guard_plans import GuardPlans
from tests.guard_engine import KEY, QTY, RUN_ID, SYMBOL, client_of, engine_on

from .commands import PROJECT, environment, milo

PROMISE_S = 3.0
GENEROUS_S = 20.0
ALWAYS_MS = 600_000
LEDGER = "ledger.jsonl"
GUARDS_STOP = f"milo-{RUN_ID}-{KEY}-s9"
GUARDS_CLOSE = f"milo-{RUN_ID}-{KEY}-c9"


@dataclass
class Scene:
    """A running exchange, and a client that looks at it from outside."""

    data_dir: Path
    client: ApiClient

    @property
    def folder(self) -> Path:
        return self.data_dir / "sim"

    async def position(self) -> Decimal:
        """The signed position."""
        return sum((p.qty for p in await self.client.positions()), Decimal(0))

    async def stops(self) -> list[OrderReport]:
        """All conditional orders that stand."""
        return [order for order in await self.client.open_orders(SYMBOL) if order.is_conditional]

    async def until_stop(self, timeout_s: float = GENEROUS_S) -> OrderReport:
        """Wait until a stop stands; return it."""
        async with asyncio.timeout(timeout_s):
            while not (found := await self.stops()):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)
            return found[0]

    async def until_safe(self, timeout_s: float = GENEROUS_S) -> None:
        """Wait until the exchange's own ledger shows a stop, or nothing open."""
        async with asyncio.timeout(timeout_s):
            while not self._is_safe():  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)

    def _is_safe(self) -> bool:
        quantities = [Decimal(line["qty"]) for line in self.of_kind("position")]
        standing = {line["algo_id"]: line["status"] == "NEW" for line in self.of_kind("algo")}
        return not quantities or not quantities[-1] or any(standing.values())

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """Return the ledger's lines of a kind, oldest first; the last may be under way."""
        text = (self.data_dir / LEDGER).read_text()
        lines = [json.loads(part) for part in text[: text.rfind("\n") + 1].splitlines()]
        return [line for line in lines if line["kind"] == kind]

    async def until_flat(self, timeout_s: float = GENEROUS_S) -> None:
        """Wait until nothing is open."""
        async with asyncio.timeout(timeout_s):
            while await self.position():  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)

    @contextlib.contextmanager
    def engine(self, what: str, *, stop_share: str = "0.8") -> Iterator[subprocess.Popen[str]]:
        """An engine process; killed at the end."""
        arguments = [str(self.data_dir), stop_share, what]
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.guard_engine", *arguments],
            stdout=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
            env=environment(),
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


async def line_of(process: subprocess.Popen[str]) -> str:
    """Return the next line that a process prints."""
    assert process.stdout is not None
    async with asyncio.timeout(GENEROUS_S):
        return (await asyncio.to_thread(process.stdout.readline)).strip()


async def until(is_so: Callable[[], bool], timeout_s: float = GENEROUS_S) -> None:
    async with asyncio.timeout(timeout_s):
        while not is_so():  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def scene_with(tmp_path: Path, *faults: dict[str, object]) -> AsyncIterator[Scene]:
    """An exchange that fails in these ways, from its start on."""
    data_dir = tmp_path / "data"
    arguments = ["--speed", "10", "--seed", "1", "--ledger", str(data_dir / LEDGER)]
    if faults:
        schedule = tmp_path / "faults.json"
        rows = [
            {"id": number, "at_ms": 0, "for_ms": ALWAYS_MS, **fault}
            for number, fault in enumerate(faults, start=1)
        ]
        schedule.write_text(json.dumps({"seed": 1, "faults": rows}))
        arguments += ["--faults", str(schedule)]
    exchange = await launch(data_dir / "sim", arguments)
    try:
        async with client_of(data_dir) as client:
            yield Scene(data_dir, client)
    finally:
        guard = holder_of(data_dir / "sim", GUARD_LOCK)
        if guard is not None:
            os.kill(guard, signal.SIGKILL)
        await exchange.stop()


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene_with(tmp_path) as scene:
        yield scene


async def test_the_stop_of_an_engine_that_was_killed_stands_within_the_promise(
    scene: Scene,
) -> None:
    with scene.engine("die") as process:
        assert await line_of(process) == "entered"
        began_s = monotonic_s()
        stop = await scene.until_stop()
        took_s = monotonic_s() - began_s

    assert took_s < PROMISE_S
    assert stop.client_id.startswith(GUARDS_STOP)
    assert stop.type is OrderType.STOP_MARKET
    assert stop.side is Side.SELL
    assert stop.is_close_position
    assert await scene.position() == QTY


@pytest.mark.parametrize(
    "fault",
    [
        {"name": "answer_lost", "on": "stop", "count": 1},
        {"name": "request_lost", "on": "stop", "count": 2},
        {"name": "unknown_503", "on": "stop", "count": 2, "executed": True},
        {"name": "unknown_503", "on": "stop", "count": 2, "executed": False},
        {"name": "unavailable_503", "on": "stop", "count": 3},
        {"name": "refuse_code", "on": "stop", "count": 1, "code": -4509},
        {"name": "refuse_code", "on": "stop", "code": -2010},
        {"name": "unavailable_503", "on": "read"},
        {"name": "slow", "on": "stop", "count": 1, "delay_ms": 1500},
        {"name": "invisible", "on": "stop"},
    ],
    ids=lambda fault: "-".join(str(value) for value in fault.values()),
)
async def test_the_promise_holds_where_the_exchange_fails(
    tmp_path: Path, fault: dict[str, object]
) -> None:
    async with scene_with(tmp_path, fault) as scene:
        with scene.engine("die") as process:
            assert await line_of(process) == "entered"
            began_s = monotonic_s()
            await scene.until_safe()
            took_s = monotonic_s() - began_s

    assert took_s < PROMISE_S


async def test_a_stalled_engine_is_replaced_and_asks_before_it_sends_again(scene: Scene) -> None:
    with scene.engine("stall") as process:
        assert await line_of(process) == "entered"
        began_s = monotonic_s()
        await scene.until_stop()
        took_s = monotonic_s() - began_s
        process.send_signal(signal.SIGCONT)
        first, second = await line_of(process), await line_of(process)

    assert took_s < PROMISE_S
    assert first == "may send at once: False"
    assert second == "told of the takeover"


async def test_a_position_whose_stop_is_passed_already_is_closed(scene: Scene) -> None:
    with scene.engine("die", stop_share="1.2") as process:
        assert await line_of(process) == "entered"
        began_s = monotonic_s()
        await scene.until_flat()
        took_s = monotonic_s() - began_s

    assert took_s < PROMISE_S
    assert not await scene.stops()


async def test_an_entry_that_arrives_after_the_engine_died_gets_its_stop(scene: Scene) -> None:
    with scene.engine("die-before") as process:
        await asyncio.to_thread(process.wait, GENEROUS_S)
        await asyncio.sleep(1.5)
        await _buy(scene, f"milo-{RUN_ID}-{KEY}-e")
        began_s = monotonic_s()
        stop = await scene.until_stop()
        took_s = monotonic_s() - began_s

    assert took_s < PROMISE_S
    assert stop.client_id.startswith(GUARDS_STOP)


async def test_positions_that_are_not_planned_are_left_alone(scene: Scene) -> None:
    order = NewOrder(
        symbol="ETHUSDT", side=Side.BUY, type=OrderType.MARKET, client_id="mine", qty=Decimal(1)
    )
    await scene.client.place_order(order)

    with scene.engine("die") as process:
        assert await line_of(process) == "entered"
        await scene.until_stop()
        await asyncio.sleep(2.5)

    assert not await scene.client.open_orders("ETHUSDT")
    assert [p.qty for p in await scene.client.positions() if p.symbol == "ETHUSDT"] == [1]


async def test_nothing_is_opened_while_there_is_no_guard(scene: Scene) -> None:
    async with engine_on(scene.data_dir) as engine:
        plan = await engine.plan("0.8")
        first = engine.link.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: engine.link.pid is None)
        with pytest.raises(GuardLost):
            await engine.link.announce(plan)
        # What protects may go out: the guard is dead.
        async with asyncio.timeout(GENEROUS_S):
            await engine.link.until_may_send()
        await until(lambda: engine.link.pid not in (None, first))
        await engine.link.announce(plan)
        await until(lambda: engine.takeovers == 1)
        await engine.link.bye(ends_guard=True)


async def test_a_guard_that_hangs_is_replaced_by_another(scene: Scene) -> None:
    async with engine_on(scene.data_dir) as engine:
        first = engine.link.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        await until(lambda: engine.link.pid not in (None, first))
        await engine.link.announce(await engine.plan("0.8"))
        await engine.link.bye(ends_guard=True)

    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


async def test_an_engine_that_stands_still_right_after_its_goodbye_ends_in_order(
    scene: Scene,
) -> None:
    async with engine_on(scene.data_dir) as engine:
        await engine.link.bye(ends_guard=True)
        # The next beat is due in the very moment in which the connection's end is seen.
        time.sleep(0.4)  # noqa: ASYNC251 - the whole process is to stand still
        await asyncio.sleep(0.1)


async def test_plans_outlive_the_guard_that_was_told_them(scene: Scene) -> None:
    with scene.engine("stall") as process:
        assert await line_of(process) == "entered"
        guard = running_guard(scene.folder)
        assert guard is not None
        os.kill(guard.pid, signal.SIGKILL)
        process.kill()
        assert not await scene.stops()
        async with engine_on(scene.data_dir):
            # A new engine that dies before it knows anything of the position.
            pass
        stop = await scene.until_stop()

    assert stop.client_id.startswith(GUARDS_STOP)


async def test_a_plan_that_cannot_be_read_does_not_keep_the_guard_from_the_others(
    scene: Scene,
) -> None:
    with scene.engine("stall") as process:
        assert await line_of(process) == "entered"
        guard = running_guard(scene.folder)
        assert guard is not None
        os.kill(guard.pid, signal.SIGKILL)
        await until(lambda: holder_of(scene.folder, GUARD_LOCK) is None)
        process.kill()
    plans = GuardPlans(scene.folder)
    plans.change(kept=[("broken", "0old0run", "{}", 0, 0)])
    plans.close()

    async with engine_on(scene.data_dir):
        pass
    stop = await scene.until_stop()

    assert stop.client_id.startswith(GUARDS_STOP)


async def test_a_ban_is_waited_for_even_with_what_protects(tmp_path: Path) -> None:
    ban = {"name": "banned_418", "at_ms": 5_000, "for_ms": 3_000}
    async with scene_with(tmp_path, ban) as scene:
        with scene.engine("die-before") as process:
            await asyncio.to_thread(process.wait, GENEROUS_S)
            await until(lambda: _has_tried_after_the_ban(scene))
        protective = {line["n"] for line in scene.of_kind("request") if line["protective"]}
        refused = [line for line in scene.of_kind("answer") if line["status"] == 418]

    assert refused
    assert len([line for line in refused if line["n"] in protective]) <= 2


def _has_tried_after_the_ban(scene: Scene) -> bool:
    ends = [line["t"] for line in scene.of_kind("fault") if line["at"] == "end"]
    tries = [line["t"] for line in scene.of_kind("request") if line["protective"]]
    return bool(ends) and max(tries, default=0) > ends[0]


async def test_a_stop_that_stands_is_not_doubled_by_the_next_takeover(scene: Scene) -> None:
    with scene.engine("die") as process:
        assert await line_of(process) == "entered"
        stop = await scene.until_stop()
        async with engine_on(scene.data_dir) as engine:
            await engine.link.until_may_send()
        await asyncio.sleep(2.0)

    assert [order.client_id for order in await scene.stops()] == [stop.client_id]


async def test_a_guard_whose_session_ends_in_order_ends_once_a_stop_stands(scene: Scene) -> None:
    with scene.engine("leave") as process:
        assert await line_of(process) == "entered"
        guard = running_guard(scene.folder)
        assert guard is not None
        await scene.until_stop()
        await until(lambda: holder_of(scene.folder, GUARD_LOCK) is None)

    assert not (scene.folder / "guard.json").exists()


async def test_a_second_guard_on_the_same_venue_is_refused(scene: Scene) -> None:
    async with engine_on(scene.data_dir) as engine:
        second = await asyncio.to_thread(
            milo, scene.data_dir.parent, "--guard", timeout_s=GENEROUS_S
        )
        await engine.link.bye(ends_guard=True)

    assert second.code == 2
    assert "another guard watches" in second.err


async def test_a_guard_alone_says_what_it_watches_and_ends_in_order(scene: Scene) -> None:
    process = _guard_alone(scene)
    try:
        said = await line_of(process)
        process.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(process.wait, GENEROUS_S)
    finally:
        process.kill()
        process.communicate()

    assert said.startswith("guard: watching simulated market")
    assert code == 143
    assert not (scene.folder / "guard.json").exists()


def test_a_guard_without_an_exchange_says_so(tmp_path: Path) -> None:
    done = milo(tmp_path, "--guard")

    assert done.code == 2
    assert "no embedded exchange runs" in done.err


async def _buy(scene: Scene, client_id: str) -> None:
    order = NewOrder(
        symbol=SYMBOL, side=Side.BUY, type=OrderType.MARKET, client_id=client_id, qty=QTY
    )
    await scene.client.place_order(order)


def _guard_alone(scene: Scene) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROJECT / "main.py"), "--guard", "--data-dir", str(scene.data_dir)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=scene.data_dir,
        env=environment(),
    )
