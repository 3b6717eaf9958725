"""A symbol's trading rules as ints, read once from its spec. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from milo.exchange.instruments import SymbolSpec, to_e8

MAKER_FEE_E8 = 20_000
"""0.0002 of the notional: VIP 0."""
TAKER_FEE_E8 = 50_000
"""0.0005 of the notional: VIP 0."""

MAX_OPEN_ALGOS = 200
"""Open conditional orders over all symbols (since 2025-12-29)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bracket:
    """One step of the margin table, e8: applies to notionals in (floor, cap]."""

    floor: int
    cap: int
    max_leverage: int
    ratio: int
    cum: int
    """Maintenance margin = notional * ratio - cum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LotRule:
    """Quantity limits, e8."""

    min_qty: int
    max_qty: int
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolRules:
    """What orders of a symbol are judged by; prices, quantities, money and ratios in e8."""

    symbol: str
    is_trading: bool
    price_places: int
    qty_places: int
    tick: int
    min_price: int
    max_price: int
    lot: LotRule
    market_lot: LotRule
    min_notional: int
    price_up: int
    price_down: int
    max_orders: int
    liquidation_fee: int
    brackets: tuple[Bracket, ...]

    @property
    def max_leverage(self) -> int:
        return self.brackets[0].max_leverage

    @property
    def shown_tick(self) -> int:
        """The distance of bid and ask from the last price; 1e-8 where the filter is off."""
        return self.tick or 1

    def bracket_of(self, notional: int) -> Bracket:
        """Return the bracket of a notional; beyond the table, the last one."""
        for bracket in self.brackets:
            if notional <= bracket.cap:
                return bracket
        return self.brackets[-1]

    def max_notional(self, leverage: int) -> int:
        """Return the largest notional that the leverage may carry; 0 where none."""
        allowed = [bracket.cap for bracket in self.brackets if bracket.max_leverage >= leverage]
        return max(allowed, default=0)


def rules_of(spec: SymbolSpec) -> SymbolRules:
    """Return the rules of a symbol; ValueError where a number is finer than e8."""
    instrument = spec.instrument
    return SymbolRules(
        symbol=instrument.symbol,
        is_trading=instrument.is_trading,
        price_places=spec.price_precision,
        qty_places=spec.qty_precision,
        tick=to_e8(instrument.tick),
        min_price=to_e8(instrument.min_price),
        max_price=to_e8(instrument.max_price),
        lot=LotRule(
            min_qty=to_e8(instrument.min_qty),
            max_qty=to_e8(instrument.max_qty),
            step=to_e8(instrument.step),
        ),
        market_lot=LotRule(
            min_qty=to_e8(instrument.market_min_qty),
            max_qty=to_e8(instrument.market_max_qty),
            step=to_e8(instrument.market_step),
        ),
        min_notional=to_e8(instrument.min_notional),
        price_up=to_e8(spec.price_up),
        price_down=to_e8(spec.price_down),
        max_orders=spec.max_orders,
        liquidation_fee=to_e8(instrument.liquidation_fee),
        brackets=tuple(
            Bracket(
                floor=to_e8(bracket.floor),
                cap=to_e8(bracket.cap),
                max_leverage=bracket.max_leverage,
                ratio=to_e8(bracket.maint_ratio),
                cum=to_e8(bracket.cum),
            )
            for bracket in spec.brackets
        ),
    )
