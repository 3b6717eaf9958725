"""The ports of the core: what it asks of the world, as protocols (layer 0)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from milo.guard.words import Plan
from milo.model import (
    Balance,
    CommissionRate,
    Fill,
    FundingPayment,
    NewOrder,
    OrderReport,
    PositionReport,
    SymbolConfig,
)
from milo.secret import Secret


class Signer(Protocol):
    """Hold a venue's key pair and sign with it; the secret never leaves it."""

    @property
    def api_key(self) -> str:
        """The public half of the key, sent as a header."""
        ...

    def sign(self, payload: bytes) -> str:
        """Return the signature of exactly these bytes, as text that can go into a query."""
        ...


class TradingClient(Protocol):
    """What the trading core's shell asks of a venue; errors are those of milo.errors."""

    async def commission_rate(self, symbol: str) -> CommissionRate: ...
    async def symbol_config(self, symbol: str) -> SymbolConfig: ...
    async def balance(self) -> Balance: ...
    async def positions(self) -> tuple[PositionReport, ...]: ...
    async def open_orders(self, symbol: str | None = None) -> tuple[OrderReport, ...]: ...
    async def set_leverage(self, symbol: str, leverage: int) -> int: ...
    async def set_isolated(self, symbol: str, is_isolated: bool = True) -> None: ...
    async def place_order(self, order: NewOrder) -> OrderReport: ...
    async def cancel_order(self, symbol: str, client_id: str, *, is_conditional: bool) -> None: ...
    async def query_order(
        self, symbol: str, client_id: str, *, is_conditional: bool, is_urgent: bool = False
    ) -> OrderReport: ...
    async def recent_orders(
        self, symbol: str, *, is_conditional: bool, start_ms: int | None = None
    ) -> tuple[OrderReport, ...]: ...
    async def funding_payments(
        self, symbol: str, *, start_ms: int
    ) -> tuple[FundingPayment, ...]: ...
    async def user_trades(
        self,
        symbol: str,
        *,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int = 500,
        order_id: int | None = None,
    ) -> tuple[Fill, ...]: ...


class Guard(Protocol):
    """The process that watches stops when this one dies, as the trading core's shell sees it."""

    async def announce(self, plan: Plan) -> None:
        """Tell a plan before its entry is sent; GuardLost where the guard does not confirm it."""
        ...

    def may_send(self) -> bool:
        """Return whether the guard sends nothing now, and will not for a while."""
        ...

    async def until_may_send(self) -> None:
        """Wait until `may_send`: while the guard has taken over, or nothing is known of it."""
        ...

    def standing(self, plans: tuple[Plan, ...]) -> None:
        """Tell the whole list of what must be protected now."""
        ...


class Journal(Protocol):
    """Where events and commands are written before anything is done about them."""

    async def append(self, entries: Sequence[tuple[int, str, str]]) -> None:
        """Commit entries (time_ms, kind, JSON body) in order; StoreError where it cannot."""
        ...


class Console(Protocol):
    """Where a command talks with the person who gave it."""

    def say(self, text: str) -> None:
        """Print a line of the command's result."""
        ...

    def warn(self, text: str) -> None:
        """Print a line that is not the result: a warning, a hint."""
        ...

    def ask(self, prompt: str) -> str:
        """Return the line that the person types; ConfigError where nobody can."""
        ...

    def ask_secret(self, prompt: str) -> Secret:
        """As `ask`, without showing what is typed."""
        ...
