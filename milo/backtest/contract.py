"""Under which rules a symbol is traded in a backtest: filters and leverage brackets (layer 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from milo.candles import Candles, Floats
from milo.exchange.feed import E8, price_tick_e8
from milo.exchange.instruments import (
    DataFacts,
    SymbolSpec,
    own_table,
    spec_for_data,
)
from milo.exchange.rules import SymbolRules, rules_of
from milo.model import Instrument, LeverageBracket
from milo.money import ONE, ZERO, decimals_of

_SAMPLED_ROWS = 5_000
_FINEST_PLACES = 8
_NO_LIMIT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """One symbol's rules, as sizing reads them and as the account's arithmetic reads them."""

    instrument: Instrument
    brackets: tuple[LeverageBracket, ...]
    rules: SymbolRules
    """The same in ints e8."""
    origin: str
    """Where the filters come from, for people."""
    brackets_origin: str
    """Where the leverage brackets come from, for people."""

    @property
    def note(self) -> str:
        """One sentence for the report."""
        return (
            f"{self.instrument.symbol}: filters from {self.origin}, "
            f"leverage brackets from {self.brackets_origin}"
        )


def contract_of(
    instrument: Instrument,
    brackets: Sequence[LeverageBracket],
    *,
    origin: str = "the venue",
    brackets_origin: str = "the venue",
) -> Contract:
    """Return the contract of a stored instrument with its leverage brackets (ascending).

    Raises ValueError where there is no bracket, or where a number is finer than 1e-8.
    """
    if not brackets:
        raise ValueError(f"{instrument.symbol} has no leverage brackets")
    spec = SymbolSpec(
        instrument=instrument,
        brackets=tuple(brackets),
        contract_type="PERPETUAL",
        price_precision=decimals_of(instrument.tick) if instrument.tick else _FINEST_PLACES,
        qty_precision=decimals_of(instrument.step) if instrument.step else _FINEST_PLACES,
        max_orders=_NO_LIMIT,
        price_up=ONE,
        price_down=ZERO,
        raw={},
        origin=origin,
        brackets_origin=brackets_origin,
    )
    return _contract(spec)


def rules_for(
    symbol: str, candles: Candles, known: Mapping[str, SymbolSpec] | None = None
) -> Contract:
    """Return the contract of a symbol of which no instrument is stored, as a replay has it.

    `known` (by default Milo's own table) gives filters and brackets where it has the symbol; one
    that it lacks is a small altcoin whose tick is what its prices show. A tick that is too coarse
    for the candles, and price limits that they leave, give way to what the candles need: `origin`
    says so. Raises ValueError without candles.
    """
    table = own_table() if known is None else known
    return _contract(spec_for_data(table.get(symbol), symbol, facts_of(candles)))


def facts_of(candles: Candles) -> DataFacts:
    """Return what the prices of a symbol show; ValueError without candles.

    The tick is read from at most 5,000 candles, spread evenly, the first and the last included.
    """
    if not len(candles):
        raise ValueError("no candles")
    return DataFacts(
        price_tick_e8=_tick_of(candles),
        low_e8=_e8(float(candles.low.min())),
        high_e8=_e8(float(candles.high.max())),
        last_e8=_e8(float(candles.close[-1])),
    )


def _tick_of(candles: Candles) -> int:
    count = len(candles)
    rows = np.linspace(0, count - 1, min(count, _SAMPLED_ROWS)).astype(np.int64)
    columns = (candles.open, candles.high, candles.low, candles.close)
    return price_tick_e8([_scaled(prices[rows]) for prices in columns])


def _scaled(prices: Floats) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    whole = np.floor(prices)
    scaled: np.ndarray[tuple[int], np.dtype[np.int64]] = whole.astype(np.int64) * E8
    scaled += np.rint((prices - whole) * E8).astype(np.int64)
    return scaled


def _e8(price: float) -> int:
    return round(price * E8)


def _contract(spec: SymbolSpec) -> Contract:
    return Contract(
        instrument=spec.instrument,
        brackets=spec.brackets,
        rules=rules_of(spec),
        origin=spec.origin,
        brackets_origin=spec.brackets_origin,
    )
