"""The exchange's ledger of one run, and the account as it stood after each of its lines.

Own arithmetic on purpose: nothing of the product is imported, because this is its judge.
Times are wall milliseconds since the epoch (float), prices and quantities are Decimal.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

Line = dict[str, Any]
ZERO = Decimal(0)
OURS = "milo-"
FORCED = "autoclose-"
AFTERMATH_MS = 100.0
"""A fault is over for everybody this long after its window."""
STOPS = frozenset({"STOP", "STOP_MARKET"})
OPEN_ORDER = frozenset({"NEW", "PARTIALLY_FILLED"})
OPEN_ALGO = frozenset({"NEW", "TRIGGERING"})
ENDLESS_MS = float("inf")


def read_lines(path: Path) -> list[Line]:
    """Return the lines of a JSONL file; a last line that a kill cut short is left out."""
    lines: list[Line] = []
    texts = path.read_text(encoding="utf-8").splitlines()
    for number, text in enumerate(texts, start=1):
        try:
            lines.append(json.loads(text))
        except ValueError:
            if number != len(texts):
                raise
    return lines


def decimal_of(value: Any) -> Decimal:
    """Return a wire number; what is absent or empty is 0."""
    return Decimal(str(value)) if value not in (None, "") else ZERO


def is_true(value: Any) -> bool:
    return value is True or str(value).lower() == "true"


@dataclass(frozen=True, slots=True)
class Id:
    """A client id of ours: `milo-<run>-<key>-<leg><attempt>`."""

    run: str
    key: str
    leg: str
    attempt: str


def parse_id(client_id: str) -> Id | None:
    """Return the parts of a client id of ours; None for anybody else's."""
    parts = client_id.split("-")
    if len(parts) != 4 or parts[0] != "milo" or not parts[3]:
        return None
    return Id(run=parts[1], key=parts[2], leg=parts[3][0], attempt=parts[3][1:])


@dataclass(frozen=True, slots=True)
class Window:
    """A time in which the exchange was unreachable or refused protection; aftermath included."""

    begin_ms: float
    end_ms: float

    def overlap_ms(self, begin_ms: float, end_ms: float) -> float:
        return max(0.0, min(self.end_ms, end_ms) - max(self.begin_ms, begin_ms))


def blocked_windows(lines: Iterable[Line]) -> list[Window]:
    """Return the times in which nobody could protect anything, merged and in order."""
    begun: dict[Any, float] = {}
    found: list[Window] = []
    for line in lines:
        if line["kind"] != "fault" or line.get("blocks", "none") not in ("all", "protective"):
            continue
        if line["at"] == "begin":
            begun.setdefault(line["id"], line["t"])
        elif line["at"] == "end" and line["id"] in begun:
            found.append(Window(begun.pop(line["id"]), line["t"] + AFTERMATH_MS))
    found += [Window(begin_ms, ENDLESS_MS) for begin_ms in begun.values()]
    merged: list[Window] = []
    for window in sorted(found, key=lambda item: item.begin_ms):
        if merged and window.begin_ms <= merged[-1].end_ms:
            last = merged.pop()
            window = Window(last.begin_ms, max(last.end_ms, window.end_ms))
        merged.append(window)
    return merged


def blocked_ms(windows: Sequence[Window], begin_ms: float, end_ms: float) -> float:
    """Return how much of the time lies in (merged) windows."""
    return sum(window.overlap_ms(begin_ms, end_ms) for window in windows)


def symbol_of(line: Line) -> str:
    return str(line.get("params", line).get("symbol", ""))


def is_close_request(line: Line) -> bool:
    """Whether a request line asks for a reduce-only regular order."""
    return (
        line["method"] == "POST"
        and line["path"].endswith("/order")
        and is_true(line["params"].get("reduceOnly"))
    )


def is_entry_request(line: Line) -> bool:
    return (
        line["method"] == "POST"
        and line["path"].endswith("/order")
        and not is_true(line["params"].get("reduceOnly"))
    )


@dataclass(slots=True)
class World:
    """The account as the ledger tells it, line by line."""

    positions: dict[str, Decimal] = field(default_factory=dict)
    orders: dict[Any, Line] = field(default_factory=dict)
    algos: dict[Any, Line] = field(default_factory=dict)
    opened_ms: dict[tuple[str, Any], float] = field(default_factory=dict)
    """When each order (kind, id) first appeared."""
    flat_since_ms: dict[str, float] = field(default_factory=dict)
    pending: dict[Any, Line] = field(default_factory=dict)
    """Requests that were received and not answered yet, by n."""
    wallet: Decimal = ZERO
    account: str = ""

    def take(self, line: Line) -> None:
        """Let the line happen."""
        kind = line["kind"]
        if kind == "start":
            self._start(line)
        elif kind == "request":
            self.pending[line["n"]] = line
        elif kind == "answer":
            self.pending.pop(line["n"], None)
        elif kind == "order":
            self._keep("order", self.orders, line["order_id"], line, OPEN_ORDER)
        elif kind == "algo":
            self._keep("algo", self.algos, line["algo_id"], line, {*OPEN_ALGO, "TRIGGERED"})
        elif kind == "position":
            self._move(line)
        elif kind == "account":
            self.wallet = decimal_of(line["wallet"])

    def _keep(
        self, kind: str, book: dict[Any, Line], key: Any, line: Line, live: Collection[str]
    ) -> None:
        """Keep what is open; what has ended is nobody's protection and no leftover."""
        self.opened_ms.setdefault((kind, key), line["t"])
        if line["symbol"] not in self.positions:
            self.positions[line["symbol"]] = ZERO
            self.flat_since_ms[line["symbol"]] = line["t"]
        if line["status"] in live:
            book[key] = line
        else:
            book.pop(key, None)

    def _start(self, line: Line) -> None:
        # What the process before had under way died with it.
        self.pending.clear()
        if line.get("account", "") != self.account:
            self.positions.clear()
            self.orders.clear()
            self.algos.clear()
            self.flat_since_ms.clear()
            self.account = line.get("account", "")
        if "wallet" in line:
            self.wallet = decimal_of(line["wallet"])

    def _move(self, line: Line) -> None:
        symbol, qty = line["symbol"], decimal_of(line["qty"])
        self.positions[symbol] = qty
        if qty:
            self.flat_since_ms.pop(symbol, None)
        else:
            self.flat_since_ms.setdefault(symbol, line["t"])

    def exit_side(self, symbol: str) -> str:
        return "SELL" if self.positions.get(symbol, ZERO) > 0 else "BUY"

    def live_stops(self, symbol: str) -> list[Line]:
        """Return the confirmed stops that cover the whole position."""
        qty, side = abs(self.positions.get(symbol, ZERO)), self.exit_side(symbol)
        return [
            algo
            for algo in self.algos.values()
            if algo["symbol"] == symbol
            and algo["type"] in STOPS
            and algo["side"] == side
            and self._covers(algo, qty)
            and self._is_live(algo)
        ]

    def _covers(self, algo: Line, qty: Decimal) -> bool:
        if is_true(algo.get("close_position")):
            return True
        return is_true(algo.get("reduce_only")) and decimal_of(algo.get("qty")) >= qty

    def _is_live(self, algo: Line) -> bool:
        if algo["status"] in OPEN_ALGO:
            return True
        order = self.orders.get(algo.get("order_id"))
        return algo["status"] == "TRIGGERED" and order is not None and self._is_open(order)

    def _is_open(self, order: Line) -> bool:
        return order["status"] in OPEN_ORDER

    def closing_qty(self, symbol: str) -> Decimal:
        """Return how much open closing orders and pending requests for such will close."""
        side, total = self.exit_side(symbol), ZERO
        named: set[str] = set()
        for order in self.orders.values():
            if order["symbol"] != symbol or order["side"] != side or not self._is_open(order):
                continue
            is_closing = is_true(order.get("reduce_only")) or is_true(order.get("close_position"))
            if is_closing or order["client_id"].startswith(FORCED):
                named.add(order["client_id"])
                total += decimal_of(order["qty"]) - decimal_of(order["filled"])
        for request in self.pending.values():
            params = request["params"]
            is_named = params.get("newClientOrderId") in named
            is_one = is_close_request(request) and symbol_of(request) == symbol
            if is_one and params.get("side") == side and not is_named:
                total += decimal_of(params.get("quantity"))
        return total

    def is_closing(self, symbol: str) -> bool:
        return self.closing_qty(symbol) >= abs(self.positions.get(symbol, ZERO))

    def is_exposed(self, symbol: str) -> bool:
        """Whether a position has neither a confirmed stop nor a closing order under way."""
        if not self.positions.get(symbol, ZERO):
            return False
        return not self.live_stops(symbol) and not self.is_closing(symbol)

    def leftovers(self, symbol: str) -> list[tuple[str, Any, Line]]:
        """Return open orders of ours on a symbol without a position: (kind, id, line)."""
        if self.positions.get(symbol, ZERO):
            return []
        found = [("order", key, line) for key, line in self.orders.items() if self._is_open(line)]
        found += [("algo", key, line) for key, line in self.algos.items() if self._is_live(line)]
        return [
            item
            for item in found
            if item[2]["symbol"] == symbol and item[2]["client_id"].startswith(OURS)
        ]
