"""The real engine with a kill switch: dies by SIGKILL at a named step of an entry.

`python -m tests.chaos.engine --step entry-sent --nth 1 -- --script ...`. The product is untouched:
only the makers that `main` hands to its commands are wrapped, in this process.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import main as milo
from api_client import ApiClient
from milo.events import OrderEvent
from milo.model import NewOrder, OrderReport
from milo.orders.ids import Leg, leg_of
from tests.chaos.schedule import STEPS
from websocket_manager import WebSocketManager

_NAMES = {
    Leg.ENTRY: "entry",
    Leg.STOP: "stop",
    Leg.TARGET: "target",
    Leg.CLOSE: "close",
    Leg.REVERSE: "close",
}


class KillSwitch:
    """Counts the occurrences of one step and ends the process at the n-th."""

    def __init__(self, *, step: str, nth: int, delay_ms: int, arm_ms: int, told: Path) -> None:
        self._step = step
        self._left = nth
        self._delay_s = delay_ms / 1000
        self._armed_s = time.monotonic() + arm_ms / 1000
        self._told = told
        self._lock = threading.Lock()

    def at(self, step: str) -> None:
        """Say that a step is reached; may not return."""
        with self._lock:
            if step != self._step or time.monotonic() < self._armed_s:
                return
            self._left -= 1
            if self._left != 0:
                return
        if step.endswith("-sent"):
            # The request is only about to leave: die while it is under way.
            threading.Timer(self._delay_s, self._die).start()
        else:
            self._die()

    def _die(self) -> None:
        self._told.write_text(self._step)
        os.kill(os.getpid(), signal.SIGKILL)


def main(argv: Sequence[str] | None = None) -> int:
    """Run Milo's own command line with the switch built in; return its exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    cut = given.index("--")
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.engine")
    parser.add_argument("--step", choices=STEPS, required=True)
    parser.add_argument("--nth", type=int, default=1)
    parser.add_argument("--delay-ms", type=int, default=5)
    parser.add_argument("--arm-ms", type=int, default=0, help="count from so long after the start")
    parser.add_argument("--told", type=Path, required=True, help="written just before dying")
    options = parser.parse_args(given[:cut])
    switch = KillSwitch(
        step=options.step,
        nth=options.nth,
        delay_ms=options.delay_ms,
        arm_ms=options.arm_ms,
        told=options.told,
    )
    real_makers = milo._makers
    milo._makers = lambda early: _wrapped(real_makers(early), switch)
    return milo.main(given[cut + 1 :])


def _wrapped(makers: Any, switch: KillSwitch) -> Any:
    return dataclasses.replace(
        makers,
        client=lambda **given: _client_class(switch)(**given),
        streams=lambda **given: _streams_class(switch)(**given),
        manager=lambda **given: makers.manager(**_watched(given, switch)),
    )


def _watched(given: dict[str, Any], switch: KillSwitch) -> dict[str, Any]:
    changed = {**given, "journal": _Journal(given["journal"], switch)}
    if given.get("guard") is not None:
        changed["guard"] = _Guard(given["guard"], switch)
    return changed


def _client_class(switch: KillSwitch) -> type[ApiClient]:
    class Client(ApiClient):
        """Tells the switch of every order and setting."""

        async def place_order(self, order: NewOrder) -> OrderReport:
            leg = leg_of(order.client_id)
            name = "" if leg is None else _NAMES[leg]
            switch.at(f"{name}-before-send")
            switch.at(f"{name}-sent")
            report = await super().place_order(order)
            switch.at(f"{name}-answered")
            return report

        async def set_leverage(self, symbol: str, leverage: int) -> int:
            answer = await super().set_leverage(symbol, leverage)
            switch.at("settings-made")
            return answer

    return Client


def _streams_class(switch: KillSwitch) -> type[WebSocketManager]:
    class Streams(WebSocketManager):
        """Tells the switch of an entry's execution before anybody handles it."""

        async def next(self) -> Any:
            item = await super().next()
            event = item.event
            is_fill = isinstance(event, OrderEvent) and event.fill is not None
            if is_fill and leg_of(event.report.client_id) is Leg.ENTRY:
                switch.at("fill-seen")
            return item

    return Streams


class _Wrapper:
    """Passes everything on but what a subclass watches."""

    def __init__(self, inner: Any, switch: KillSwitch) -> None:
        self._inner = inner
        self._switch = switch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Journal(_Wrapper):
    """Tells of an entry's and a stop's commit, before anything is done about it."""

    async def append(self, entries: Sequence[tuple[int, str, str]]) -> None:
        await self._inner.append(entries)
        for _, kind, body in entries:
            if kind == "command.Enter":
                self._switch.at("signal-journaled")
            elif kind == "command.Place" and _leg_in(body) is Leg.STOP:
                self._switch.at("stop-journaled")


def _leg_in(body: str) -> Leg | None:
    return leg_of(json.loads(body)["order"]["client_id"])


class _Guard(_Wrapper):
    """Tells once the guard has acknowledged the plan of an entry."""

    async def announce(self, *given: Any, **named: Any) -> Any:
        announce: Callable[..., Any] = self._inner.announce
        answer = await announce(*given, **named)
        self._switch.at("guard-told")
        return answer


if __name__ == "__main__":
    sys.exit(main())
