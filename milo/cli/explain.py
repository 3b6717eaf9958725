"""`--explain ACTION --symbol S`: what an action would do now, worked out by the trading core.

Nothing is sent. The price is the newest of --interval's candles, as a script would see it there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from milo import gates
from milo.cli.context import App
from milo.cli.protection import stop_of, target_of
from milo.cli.venue import OpenVenue, Purpose, open_venue
from milo.errors import ConfigError, EngineError
from milo.gates.verdict import GateInput, SizedInput
from milo.intervals import open_of
from milo.model import (
    AmountKind,
    Balance,
    CommissionRate,
    EntryIntent,
    ExitIntent,
    Instrument,
    Intent,
    LeverageBracket,
    OrderReport,
    PositionReport,
    SymbolConfig,
)
from milo.money import ZERO, decimals_of, from_float, plain, shown
from milo.orders.ids import is_ours
from milo.orders.lots import market_step
from milo.orders.protection import Unprotectable, explicit_stop
from milo.orders.sizing import (
    EntryRefused,
    ExitRefused,
    Sized,
    SizingInput,
    loss_per_unit,
    profit_per_unit,
    size_entry,
    size_exit,
)
from milo.script.actions import parse_action
from milo.ta import atr

CANDLES = 499
ATR_PERIOD = 14
REFUSED_CODE = 2

Row = tuple[str, str]


class NotSent(EngineError):
    """The engine would send nothing for this action; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The operator's limits on one entry, as the core has them."""

    max_entry_risk: Decimal = ZERO
    max_leverage: int = 0
    allowed_symbols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What the engine would know at this moment; the position is the symbol's, if there is one."""

    instrument: Instrument
    brackets: tuple[LeverageBracket, ...]
    fees: CommissionRate
    config: SymbolConfig | None
    """None where nothing is set on the account: leverage comes with the order."""
    balance: Balance
    position: PositionReport | None
    is_position_ours: bool
    price: Decimal
    atr: Decimal | None
    limits: Limits

    def price_text(self, price: Decimal) -> str:
        return shown(price, decimals_of(self.instrument.tick))

    def sizing_input(self) -> SizingInput:
        """Return what an entry is sized with; an opposite position's margin counts as free."""
        position = self.position
        freed = ZERO if position is None else position.isolated_margin - position.unrealized
        return SizingInput(
            price=self.price,
            atr=self.atr,
            equity=self.balance.equity,
            available=self.balance.available + freed,
            instrument=self.instrument,
            brackets=self.brackets,
            fees=self.fees,
        )


async def run(app: App) -> int:
    """Print what the action would do; exit code 2 where it would be refused."""
    text = app.arguments.values[0]
    try:
        intent = parse_action(text)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    symbol = app.config.only_symbol
    async with open_venue(app, Purpose(needs_keys=True)) as venue:
        limits = Limits(
            max_entry_risk=app.config.max_risk / 100,
            max_leverage=app.config.max_leverage,
            allowed_symbols=app.config.symbols or (),
        )
        situation = await _read(venue, symbol, app.config.interval[0], limits)
        title = f"{text} on {symbol}, {venue.title}"
        if venue.is_real and not app.config.live:
            title += " (read only: a run would need --live)"
    app.console.say(title)
    try:
        rows = explained(intent, text, situation)
    except (NotSent, EntryRefused, ExitRefused, Unprotectable) as error:
        rows = [*_account_rows(situation), ("refused", str(error))]
    width = max(len(label) for label, _ in rows)
    for label, value in rows:
        app.console.say(f"  {label:<{width}}  {value}")
    return REFUSED_CODE if rows[-1][0] == "refused" else 0


def explained(intent: Intent | None, action: str, situation: Situation) -> list[Row]:
    """Return the lines (label, text) about an action.

    Raises NotSent, EntryRefused, ExitRefused or Unprotectable where the engine would not send it.
    """
    match intent:
        case EntryIntent():
            return _entry_rows(intent, action, situation)
        case ExitIntent():
            return [*_account_rows(situation), *exit_rows(intent, situation)]
        case None:
            return [*_account_rows(situation), ("sends", "nothing")]


def _account_rows(situation: Situation) -> list[Row]:
    balance = situation.balance
    rows = [
        ("price", situation.price_text(situation.price)),
        ("account", f"equity {shown(balance.equity)}, available {shown(balance.available)} USDT"),
    ]
    position = situation.position
    if position is not None:
        owner = "" if situation.is_position_ours else ", not opened by Milo"
        entry = situation.price_text(position.entry_price)
        rows.append(
            ("open", f"{position.direction} {plain(abs(position.qty))} @ {entry}{owner}"),
        )
    return rows


def _entry_rows(intent: EntryIntent, action: str, situation: Situation) -> list[Row]:
    position = situation.position
    _ask_gates(intent, action, situation)
    if position is not None and position.direction is intent.direction:
        raise NotSent(f"a {intent.direction} is open already: the engine keeps it as it is")
    given = situation.sizing_input()
    sized = size_entry(intent, given)
    skip = gates.ask_sized(
        SizedInput(
            loss_at_stop=sized.loss_at_stop,
            equity=situation.balance.equity,
            max_risk=situation.limits.max_entry_risk,
        )
    )
    if skip is not None:
        raise NotSent(skip.reason)
    rows = _account_rows(situation)
    if position is not None:
        rows.append(("first", f"the {position.direction} is closed at market, then sized again"))
    return rows + arithmetic_rows(intent, situation) + sized_rows(intent, sized, situation)


def _ask_gates(intent: EntryIntent, action: str, situation: Situation) -> None:
    position = situation.position
    is_foreign = position is not None and not situation.is_position_ours
    skip = gates.ask(
        GateInput(
            instrument=situation.instrument,
            is_account_known=True,
            may_trade=True,
            foreign_qty=position.qty if position is not None and is_foreign else ZERO,
            unexplained_qty=ZERO,
            action=action,
            leverage=intent.leverage,
            max_leverage=situation.limits.max_leverage,
            allowed_symbols=situation.limits.allowed_symbols,
        )
    )
    if skip is not None:
        raise NotSent(skip.reason)


def arithmetic_rows(intent: EntryIntent, situation: Situation) -> list[Row]:
    """Return how the quantity comes about, before the account's and the exchange's limits.

    Raises Unprotectable where the stop cannot be placed.
    """
    equity, price = situation.balance.equity, situation.price
    share = equity * intent.amount / 100
    part = f"{plain(intent.amount)} % of the equity {shown(equity)} = {shown(share)} USDT"
    if intent.amount_kind is not AmountKind.RISK or intent.stop is None:
        text = f"{shown(share)} x {plain(intent.leverage)} / {situation.price_text(price)}"
        return [("margin wanted", part), ("quantity wanted", text)]
    given = situation.sizing_input()
    stop = explicit_stop(intent.stop, intent.direction, price, given.atr, given.instrument)
    unit, distance = loss_per_unit(price, stop, given.fees), abs(price - stop)
    prices = f"{situation.price_text(price)} to the stop {situation.price_text(stop)}"
    return [
        ("risk wanted", part),
        (
            "loss of one unit",
            f"{prices}: {situation.price_text(distance)} + fees {plain_digits(unit - distance)} "
            f"= {plain_digits(unit)} USDT",
        ),
        (
            "quantity wanted",
            f"{shown(share)} / {plain_digits(unit)} = {plain_digits(share / unit)}, "
            f"in steps of {plain(market_step(given.instrument))}",
        ),
    ]


def plain_digits(value: Decimal) -> str:
    """Return a number with eight significant digits, and no exponent."""
    return plain(Decimal(f"{value:.8g}"))


def sized_rows(intent: EntryIntent, sized: Sized, situation: Situation) -> list[Row]:
    """Return what would be sent: quantity, leverage, stop, target, and what they mean."""
    direction = intent.direction
    protection, equity = sized.protection, situation.balance.equity
    loss = f"{shown(sized.loss_at_stop)} USDT ({_percent(sized.loss_at_stop, equity)} of equity)"
    kind = "engine's own stop" if protection.is_default_stop else "stop"
    rows = [
        ("quantity", f"{direction} {plain(sized.qty)} {situation.instrument.base_asset}"),
        ("notional", f"{shown(sized.notional)} USDT"),
        ("leverage", _leverage_text(sized, situation.config)),
        ("margin", f"{shown(sized.margin)} USDT isolated"),
        (kind, _level(protection.stop_price, situation)),
        ("loss at the stop", f"{loss}, taker fees of both sides included"),
    ]
    if protection.target_price is not None and sized.profit_at_target is not None:
        rows += [
            ("target", _level(protection.target_price, situation)),
            ("profit there", f"{shown(sized.profit_at_target)} USDT after fees"),
        ]
    rows.append(("liquidation", _liquidation_text(sized, situation)))
    return rows + [("note", text) for text in sized.notes]


def _leverage_text(sized: Sized, config: SymbolConfig | None) -> str:
    changes: list[str] = []
    if config is None:
        return f"{sized.leverage}x"
    if config.leverage != sized.leverage:
        changes.append(f"set from {config.leverage}x before the entry")
    if not config.is_isolated:
        changes.append("margin set to isolated before the entry")
    return ", ".join([f"{sized.leverage}x", *changes])


def _liquidation_text(sized: Sized, situation: Situation) -> str:
    liquidation = sized.protection.liquidation
    if liquidation is None:
        return "none"
    behind = abs(sized.protection.stop_price - liquidation)
    return (
        f"{_level(liquidation, situation)}, {situation.price_text(behind)} "
        f"({_percent(behind, situation.price)} of the price) behind the stop"
    )


def _level(price: Decimal, situation: Situation) -> str:
    change = (price / situation.price - 1) * 100
    return f"{situation.price_text(price)} ({change:+.2f} %)"


def _percent(part: Decimal, whole: Decimal) -> str:
    return f"{part / whole * 100:.2f} %"


def exit_rows(intent: ExitIntent, situation: Situation) -> list[Row]:
    """Return what an exit closes and leaves; raises NotSent or ExitRefused."""
    position = situation.position
    if position is None:
        raise NotSent(f"no position is open on {situation.instrument.symbol}")
    if not situation.is_position_ours:
        raise NotSent("Milo did not open the position: a script's exit leaves it alone")
    held = abs(position.qty)
    qty = size_exit(intent, held, situation.instrument)
    profit = qty * profit_per_unit(
        position.direction, position.entry_price, situation.price, situation.fees
    )
    rest = held - qty
    left = f"{plain(rest)}, stop and target stay" if rest else "nothing, stop and target end"
    return [
        ("closes", f"{plain(qty)} of {plain(held)} at market, about {_notional(qty, situation)}"),
        ("profit", f"{shown(profit)} USDT at this price, taker fees of both sides deducted"),
        ("left", left),
    ]


def _notional(qty: Decimal, situation: Situation) -> str:
    return f"{shown(qty * situation.price)} USDT"


async def _read(venue: OpenVenue, symbol: str, interval: str, limits: Limits) -> Situation:
    client = venue.client
    instrument = await venue.instrument(symbol)
    brackets, fees, config = await asyncio.gather(
        client.leverage_brackets(), client.commission_rate(symbol), client.symbol_config(symbol)
    )
    balance, positions, orders, candles = await asyncio.gather(
        client.balance(),
        client.positions(),
        client.open_orders(symbol),
        client.klines(symbol, interval, limit=CANDLES),
    )
    if not candles or symbol not in brackets:
        raise EngineError(f"{venue.name} has no {interval} candles or no brackets of {symbol} now")
    position = next((p for p in positions if p.symbol == symbol and p.qty), None)
    closed = [row for row in candles if row[0] < open_of(venue.clock.now_ms(), interval)]
    return Situation(
        instrument=instrument,
        brackets=brackets[symbol],
        fees=fees,
        config=config,
        balance=balance,
        position=position,
        is_position_ours=position is not None and _is_ours(position, orders),
        price=from_float(candles[-1][4]),
        atr=_atr(closed),
        limits=limits,
    )


def _is_ours(position: PositionReport, orders: Sequence[OrderReport]) -> bool:
    """Whether a run would adopt the position: a stop or a target of ours stands by it."""
    brackets = (stop_of(position, orders), target_of(position, orders))
    return any(order is not None and is_ours(order.client_id) for order in brackets)


def _atr(rows: Sequence[tuple[int, float, float, float, float, float, int]]) -> Decimal | None:
    high, low, close = (np.array([row[column] for row in rows]) for column in (2, 3, 4))
    values = atr(high, low, close, ATR_PERIOD)
    newest = float(values[-1]) if len(values) else float("nan")
    return from_float(newest) if newest == newest else None
