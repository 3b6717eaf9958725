"""The account of a backtest: one wallet, positions of several symbols, and their rows (layer 1).

Money, prices and quantities are ints e8, as in the embedded exchange, whose arithmetic this is:
wallet = start + realised profit - fees + funding to the last digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from milo.backtest.ledger import Trade
from milo.backtest.slot import Settlements
from milo.exchange.account import (
    Position,
    bankruptcy_price,
    funding_payment,
    increase_position,
    initial_margin,
    notional_of,
    reduce_position,
)
from milo.exchange.fixed import cut, times
from milo.exchange.rules import SymbolRules
from milo.intervals import DAY_MS
from milo.model import Direction, EntryIntent, ExitReason
from milo.money import ZERO

_UNIT = Decimal("0.00000001")


def decimal_of(value_e8: int) -> Decimal:
    """Return ints e8 as a decimal."""
    return value_e8 * _UNIT


@dataclass(slots=True, kw_only=True)
class OpenTrade:
    """A position that a script opened, with what its rows will tell; amounts e8."""

    script: str
    intent: EntryIntent
    leverage: int
    entry_index: int
    entry_ms: int
    entry_price: int
    entry_qty: int
    risk: Decimal
    """What the whole position was planned to lose at its stop."""
    stop_price: Decimal
    target_price: Decimal | None
    liquidation: int
    """At the entry; 0 where there is none."""
    fees: int
    """Paid and in no row yet."""
    funding: int = 0
    """Settled and in no row yet."""

    @property
    def direction(self) -> Direction:
        return self.intent.direction


@dataclass(slots=True, kw_only=True)
class Exit:
    """How a position, or a part of it, ends."""

    index: int
    time_ms: int
    price: int
    reason: ExitReason
    is_gap: bool = False
    is_extreme: bool = False
    is_ambiguous: bool = False


class Purse:
    """The wallet, and every change of it in time order; prices, quantities and money e8."""

    def __init__(self, start: int, taker_fee: int) -> None:
        self.start = start
        self.wallet = start
        self.taker_fee = taker_fee
        self.realized = 0
        self.fees = 0
        self.funding = 0
        self.locked = 0
        """What isolated positions hold."""
        self.trades: list[Trade] = []
        self.change_ms: list[int] = []
        self.change_wallet: list[int] = []
        self.change_symbol: list[str] = []
        self._day = -1
        self._day_wallet = start

    @property
    def available(self) -> int:
        """What a new position may use; below 0 where fees ate into it."""
        return self.wallet - self.locked

    def day_wallet(self, time_ms: int) -> int:
        """Return the wallet with which the UTC day began; call it before a change on that day."""
        day = time_ms // DAY_MS
        if day != self._day:
            self._day, self._day_wallet = day, self.wallet
        return self._day_wallet

    def open(self, position: Position, signed_qty: int, price: int, leverage: int, ms: int) -> int:
        """Open a position at `price` and return the fee."""
        self.day_wallet(ms)
        fee = times(notional_of(price, signed_qty), self.taker_fee)
        self.locked += increase_position(position, signed_qty, price, leverage)
        self._change(position.symbol, ms, -fee)
        self.fees += fee
        return fee

    def can_open(self, qty: int, price: int, leverage: int) -> bool:
        """Return whether the available balance carries the margin, as the exchange asks for it."""
        return initial_margin(price, qty, leverage) <= self.available

    def close(self, position: Position, trade: OpenTrade, qty: int, exit_: Exit) -> None:
        """Close `qty` of the position at the exit's price as taker, and write its row."""
        fee = times(notional_of(exit_.price, qty), self.taker_fee)
        self._close(position, trade, qty, exit_, fee)

    def liquidate(
        self, position: Position, trade: OpenTrade, exit_: Exit, rules: SymbolRules
    ) -> None:
        """Close the position by force where the market is at the exit's price.

        Beyond the bankruptcy price the insurance fund takes over: loss and fee together are never
        more than the isolated wallet.
        """
        bankrupt = bankruptcy_price(position)
        is_long = position.qty > 0
        exit_.price = max(exit_.price, bankrupt) if is_long else min(exit_.price, bankrupt)
        left = position.wallet + position.unrealized(exit_.price)
        fee = times(notional_of(exit_.price, position.qty), rules.liquidation_fee)
        self._close(position, trade, abs(position.qty), exit_, max(0, min(fee, left)))

    def settle(
        self,
        position: Position,
        trade: OpenTrade,
        due: Settlements,
        places: range,
        kept: int | None,
    ) -> int:
        """Settle funding one time after the other, and return the place of what is due next.

        `kept`: with no more than that in the isolated wallet, what comes next is not settled yet;
        None: at once.
        """
        for place in places:
            rate = due.rates_e8[place]
            if rate:
                time_ms = due.times_ms[place]
                self.day_wallet(time_ms)
                amount = funding_payment(position, due.marks_e8[place], rate)
                position.wallet += amount
                self.locked += amount
                self._change(position.symbol, time_ms, amount)
                self.funding += amount
                trade.funding += amount
            if kept is None or position.wallet <= kept:
                return place + 1
        return places.stop

    def close_on_paper(self, position: Position, trade: OpenTrade, exit_: Exit) -> None:
        """Write the row of a position that is still open; the wallet does not change."""
        profit = position.unrealized(exit_.price)
        self._write(position, trade, abs(position.qty), exit_, profit, 0, is_open=True)

    def _close(self, position: Position, trade: OpenTrade, qty: int, exit_: Exit, fee: int) -> None:
        self.day_wallet(exit_.time_ms)
        held = abs(position.qty)
        realized, released = reduce_position(position, qty, exit_.price)
        self.locked -= released
        self._change(position.symbol, exit_.time_ms, realized - fee)
        self.realized += realized
        self.fees += fee
        self._write(position, trade, qty, exit_, realized, fee, held=held)

    def _change(self, symbol: str, time_ms: int, amount: int) -> None:
        self.wallet += amount
        self.change_ms.append(time_ms)
        self.change_wallet.append(self.wallet)
        self.change_symbol.append(symbol)

    def _write(
        self,
        position: Position,
        trade: OpenTrade,
        qty: int,
        exit_: Exit,
        profit: int,
        fee: int,
        *,
        held: int = 0,
        is_open: bool = False,
    ) -> None:
        """Write a row; a part bears its share of what the position has paid until now."""
        is_part = not is_open and qty != held
        fees = cut(trade.fees * qty, held) if is_part else trade.fees
        funding = cut(trade.funding * qty, held) if is_part else trade.funding
        trade.fees -= fees
        trade.funding -= funding
        qty_decimal = decimal_of(qty)
        self.trades.append(
            Trade(
                script=trade.script,
                symbol=position.symbol,
                direction=trade.intent.direction,
                qty=qty_decimal,
                leverage=trade.leverage,
                entry_index=trade.entry_index,
                entry_ms=trade.entry_ms,
                entry_price=decimal_of(trade.entry_price),
                exit_index=exit_.index,
                exit_ms=exit_.time_ms,
                exit_price=decimal_of(exit_.price),
                exit_reason=exit_.reason,
                stop_price=trade.stop_price,
                target_price=trade.target_price,
                liquidation_price=decimal_of(trade.liquidation) if trade.liquidation else None,
                profit=decimal_of(profit),
                fees=decimal_of(fees + fee),
                funding=decimal_of(funding) if funding else ZERO,
                risk=trade.risk
                if qty == trade.entry_qty
                else trade.risk * qty_decimal / decimal_of(trade.entry_qty),
                is_open=is_open,
                is_ambiguous=exit_.is_ambiguous,
                is_gap=exit_.is_gap,
                is_extreme=exit_.is_extreme,
            )
        )
