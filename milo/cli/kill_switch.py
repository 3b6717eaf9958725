"""The kill switch of a running engine: a signal, or a file in the data directory.

It opens nothing any more in this run, closes every position of ours at market, and reports. The
file stays until a person deletes it, and as long as it is there no new run opens anything either.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path

from milo.cli.context import Manager
from milo.cli.operator import Operator
from milo.clock import monotonic_s
from milo.money import plain
from milo.orders.book import OpenTrade

KILL_FILE = "KILL"
_LOOK_EVERY_S = 0.2
_REPORT_AFTER_S = 10.0


def listen_for_kill() -> asyncio.Event:
    """Let SIGUSR1 set an event from now on: it must not end an engine that is only starting."""
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, asked.set)
    return asked


class KillSwitchWatch:
    """Throws the switch when it is told to and says what came of it."""

    def __init__(
        self, manager: Manager, operator: Operator, data_dir: Path, asked: asyncio.Event
    ) -> None:
        """`asked` is set when a person asks for it by signal."""
        self._manager = manager
        self._operator = operator
        self._file = data_dir / KILL_FILE
        self._asked = asked
        self._is_thrown = False

    async def run(self) -> None:
        """Watch signal and file for ever; report each time the switch was thrown."""
        while True:
            if self._asked.is_set():
                self._asked.clear()
                await self._throw("SIGUSR1")
            elif not self._is_thrown and self._file.exists():
                await self._throw(f"{self._file} is there: delete it to trade again")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._asked.wait()

    async def _throw(self, reason: str) -> None:
        self._is_thrown = True
        self._operator.problem(f"kill switch ({reason}): nothing is opened any more in this run")
        self._manager.halt(reason)
        await self._report()

    async def _report(self) -> None:
        deadline_s = monotonic_s() + _REPORT_AFTER_S
        while (still_open := self._open()) and monotonic_s() < deadline_s:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_EVERY_S / 4)
        if not still_open:
            self._operator.problem("kill switch: no position of Milo's is open")
        for symbol, trade in still_open:
            self._operator.problem(f"kill switch: {symbol} is still open, {_protection(trade)}")

    def _open(self) -> list[tuple[str, OpenTrade]]:
        return list(self._manager.book.open_trades())


def _protection(trade: OpenTrade) -> str:
    if trade.stop_price is None or not trade.is_stop_confirmed:
        return "WITHOUT a confirmed stop; it is being closed again and again"
    return f"its stop stands at {plain(trade.stop_price)}; it is being closed again and again"
