"""The embedded exchange's instruments: our own table, recorded files, and what a replay needs.

Every symbol is kept as the raw entry of `GET /fapi/v1/exchangeInfo` (what is served) together with
the typed values read from it (what orders are judged by), so that the two can never differ.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from milo.errors import ConfigError
from milo.exchange.brackets import bracket_entries, tier_brackets, wrong_entry
from milo.exchange.feed import E8
from milo.exchange.instrument_table import (
    LIQUIDATION_FEES,
    PRICE_BANDS,
    TABLE,
    TableRow,
)
from milo.model import Instrument, LeverageBracket
from milo.money import decimals_of, plain

RawSymbol = Mapping[str, Any]
"""One entry of exchangeInfo's `symbols`, as it stands in the JSON."""

OWN_ORIGIN = "Milo's own table"

_NEVER_DELIVERED_MS = 4_133_404_800_000
_QUOTES = ("USDT", "USDC", "FDUSD", "BUSD", "USD1", "USD", "BTC", "ETH", "BNB")
_ORDER_TYPES = (
    "LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET",
    "TRAILING_STOP_MARKET",
)  # fmt: skip
_TIMES_IN_FORCE = ("GTC", "IOC", "FOK", "GTX", "GTD")


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolSpec:
    """What the embedded exchange knows of a symbol."""

    instrument: Instrument
    brackets: tuple[LeverageBracket, ...]
    """Ascending; the first floor is 0, each floor is the cap before it."""
    contract_type: str
    """PERPETUAL, CURRENT_QUARTER, ...; empty for some symbols that do not trade yet."""
    price_precision: int
    qty_precision: int
    max_orders: int
    """MAX_NUM_ORDERS: open orders a symbol."""
    price_up: Decimal
    """PERCENT_PRICE: a BUY may not be priced above mark * price_up."""
    price_down: Decimal
    raw: RawSymbol
    origin: str
    """Where the filters come from, for people."""
    brackets_origin: str
    """Where the leverage brackets come from, for people."""

    @property
    def symbol(self) -> str:
        return self.instrument.symbol

    @property
    def tick_e8(self) -> int:
        return to_e8(self.instrument.tick)

    @property
    def step_e8(self) -> int:
        return to_e8(self.instrument.step)

    @property
    def max_leverage(self) -> int:
        return self.brackets[0].max_leverage


SpecTable = dict[str, SymbolSpec]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """What a recording shows of its symbol."""

    price_tick_e8: int
    """The finest decimal place among its prices, as a power of ten."""
    low_e8: int
    high_e8: int
    last_e8: int


def to_e8(value: Decimal) -> int:
    """Return the decimal in units of 1e-8; ValueError if it is finer than that."""
    scaled = value * E8
    if scaled != scaled.to_integral_value():
        raise ValueError(f"{value} is finer than 1e-8")
    return int(scaled)


def from_e8(value: int) -> Decimal:
    return Decimal(value) / E8


def own_table() -> SpecTable:
    """Return our own perpetuals, by symbol, in the table's order."""
    return {row.symbol: _own_spec(row) for row in TABLE}


def exchange_info_json(table: Mapping[str, SymbolSpec], now_ms: int) -> dict[str, Any]:
    """Return the body of `GET /fapi/v1/exchangeInfo`."""
    assets = sorted({spec.raw.get("marginAsset", "USDT") for spec in table.values()})
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "futuresType": "U_MARGINED",
        "rateLimits": [
            _rate_limit("REQUEST_WEIGHT", "MINUTE", 1, 2400),
            _rate_limit("ORDERS", "MINUTE", 1, 1200),
            _rate_limit("ORDERS", "SECOND", 10, 300),
        ],
        "exchangeFilters": [],
        "assets": [
            {"asset": asset, "marginAvailable": True, "autoAssetExchange": "0"} for asset in assets
        ],
        "symbols": [spec.raw for spec in table.values()],
    }


def brackets_json(table: Mapping[str, SymbolSpec]) -> list[dict[str, Any]]:
    """Return the body of `GET /fapi/v1/leverageBracket`; numbers are JSON numbers there."""
    return [
        {"symbol": symbol, "brackets": bracket_entries(spec.brackets)}
        for symbol, spec in table.items()
    ]


def specs_of(body: Any, origin: str, source: str) -> SpecTable:
    """Return the symbols of a recorded exchangeInfo, in its order; `source` names it in errors.

    Brackets are our own: those of the symbol where we have it, else those of a small altcoin.
    Raises ConfigError, naming the file and the symbol, where something is missing or wrong.
    """
    if not isinstance(body, dict) or not isinstance(body.get("symbols"), list):
        raise ConfigError(f'{source}: not an exchangeInfo: it has no list "symbols"')
    own = own_table()
    table: SpecTable = {}
    for raw in body["symbols"]:
        name = raw.get("symbol") if isinstance(raw, dict) else None
        if not isinstance(name, str) or not name:
            raise ConfigError(f"{source}: an entry of symbols has no name: {str(raw)[:80]}")
        known = own.get(name)
        brackets = known.brackets if known else tier_brackets("small")
        brackets_origin = OWN_ORIGIN if known else "Milo's brackets for a small altcoin"
        try:
            table[name] = _spec_of(
                raw, brackets=brackets, origin=origin, brackets_origin=brackets_origin
            )
        except (KeyError, TypeError, ValueError, InvalidOperation) as error:
            raise ConfigError(f"{source}: {name}: {wrong_entry(error)}") from error
    if not table:
        raise ConfigError(f"{source}: holds no symbol")
    return table


def with_brackets(
    table: Mapping[str, SymbolSpec],
    brackets: Mapping[str, tuple[LeverageBracket, ...]],
    origin: str,
) -> SpecTable:
    """Return the table with those brackets where its symbols have them."""
    return {
        symbol: replace(spec, brackets=brackets[symbol], brackets_origin=origin)
        if symbol in brackets
        else spec
        for symbol, spec in table.items()
    }


def spec_for_data(known: SymbolSpec | None, symbol: str, facts: DataFacts) -> SymbolSpec:
    """Return a spec under which the recorded prices of `symbol` are legal.

    A known spec keeps everything but a tick that is too coarse for the data (BTCUSDT had 0.01 until
    2022, 0.1 since) and price limits that the data leaves. An unknown symbol gets the spec of an
    altcoin, its tick from the data; `origin` says so.
    """
    spec = known if known is not None else _unknown_spec(symbol, facts)
    tick = spec.instrument.tick
    needed = from_e8(facts.price_tick_e8)
    low, high = from_e8(facts.low_e8), from_e8(facts.high_e8)
    is_coarse = bool(tick) and needed % tick != 0
    is_outside = low < spec.instrument.min_price or high > spec.instrument.max_price
    if not is_coarse and not is_outside:
        return spec
    raw = copy.deepcopy(dict(spec.raw))
    price_filter = _filter_of(raw, "PRICE_FILTER")
    changes = []
    if is_coarse:
        price_filter["tickSize"] = plain(needed)
        raw["pricePrecision"] = max(spec.price_precision, decimals_of(needed))
        changes.append(f"tick {plain(needed)} instead of {plain(tick)}")
    if is_outside:
        price_filter["minPrice"] = plain(min(needed, tick) if tick else needed)
        price_filter["maxPrice"] = plain(max(spec.instrument.max_price, high * 100))
        changes.append("wider price limits")
    origin = f"{spec.origin}, with {' and '.join(changes)} to fit the recorded prices"
    return _spec_of(
        raw, brackets=spec.brackets, origin=origin, brackets_origin=spec.brackets_origin
    )


def _own_spec(row: TableRow) -> SymbolSpec:
    return _spec_of(
        _raw_symbol(row, "USDT"),
        brackets=tier_brackets(row.tier),
        origin=OWN_ORIGIN,
        brackets_origin=OWN_ORIGIN,
    )


def _unknown_spec(symbol: str, facts: DataFacts) -> SymbolSpec:
    """Make a spec for a symbol that no table knows: an altcoin at the price of its recording."""
    base_asset, quote = _assets_of(symbol)
    tick = from_e8(facts.price_tick_e8)
    thresholds = ((10_000, "0.001"), (100, "0.01"), (1, "0.1"))
    step = next((step for price, step in thresholds if facts.last_e8 >= price * E8), "1")
    row = TableRow(
        base_asset=base_asset,
        tick=plain(tick),
        step=step,
        min_price=plain(tick),
        max_price=plain(from_e8(facts.high_e8) * 100),
        max_qty="10000000",
        market_max_qty="1000000",
        tier="small",
    )
    return _spec_of(
        _raw_symbol(row, quote) | {"symbol": symbol, "pair": symbol},
        brackets=tier_brackets("small"),
        origin=f"derived from the recorded prices of {symbol}, which no table knows",
        brackets_origin="Milo's brackets for a small altcoin",
    )


def _assets_of(symbol: str) -> tuple[str, str]:
    for quote in _QUOTES:
        if symbol.endswith(quote) and symbol != quote:
            return symbol.removesuffix(quote), quote
    return symbol, "USDT"


def _raw_symbol(row: TableRow, quote: str) -> dict[str, Any]:
    """Return the exchangeInfo entry of a row: the fields and the order of the real one."""
    band_up, band_down = PRICE_BANDS[row.tier]
    is_major = row.tier in ("btc", "eth", "large")
    symbol = row.base_asset + quote
    return {
        "symbol": symbol,
        "pair": symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": _NEVER_DELIVERED_MS,
        "onboardDate": row.onboard_ms,
        "status": "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": row.base_asset,
        "quoteAsset": quote,
        "marginAsset": quote,
        "pricePrecision": row.price_precision,
        "quantityPrecision": decimals_of(Decimal(row.step)),
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500" if is_major else "0.1000",
        "liquidationFee": LIQUIDATION_FEES[row.tier],
        "marketTakeBound": "0.05" if is_major else "0.10",
        "maxMoveOrderLimit": 10_000,
        "filters": _raw_filters(row, band_up, band_down),
        "orderTypes": list(_ORDER_TYPES),
        "timeInForce": list(_TIMES_IN_FORCE),
        "permissionSets": [],
    }


def _raw_filters(row: TableRow, band_up: str, band_down: str) -> list[dict[str, Any]]:
    """MAX_NUM_ALGO_ORDERS is left out: the real exchange dropped it on 2025-12-29."""
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": row.min_price,
            "maxPrice": row.max_price,
            "tickSize": row.tick,
        },
        {
            "filterType": "LOT_SIZE",
            "minQty": row.step,
            "maxQty": row.max_qty,
            "stepSize": row.step,
        },
        {
            "filterType": "MARKET_LOT_SIZE",
            "minQty": row.step,
            "maxQty": row.market_max_qty,
            "stepSize": row.step,
        },
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        {"filterType": "MIN_NOTIONAL", "notional": row.min_notional},
        {
            "filterType": "PERCENT_PRICE",
            "multiplierUp": band_up,
            "multiplierDown": band_down,
            "multiplierDecimal": "4",
        },
        {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
    ]


def _spec_of(
    raw: RawSymbol,
    *,
    brackets: tuple[LeverageBracket, ...],
    origin: str,
    brackets_origin: str,
) -> SymbolSpec:
    """Read a raw entry; KeyError or ValueError say what is missing or wrong."""
    price = _filter_of(raw, "PRICE_FILTER")
    lot = _filter_of(raw, "LOT_SIZE")
    market_lot = _filter_of(raw, "MARKET_LOT_SIZE")
    band = _filter_of(raw, "PERCENT_PRICE")
    instrument = Instrument(
        symbol=_text(raw, "symbol"),
        base_asset=_text(raw, "baseAsset"),
        quote_asset=_text(raw, "quoteAsset"),
        status=_text(raw, "status"),
        tick=_amount(price, "tickSize"),
        min_price=_amount(price, "minPrice"),
        max_price=_amount(price, "maxPrice"),
        step=_amount(lot, "stepSize"),
        min_qty=_amount(lot, "minQty"),
        max_qty=_amount(lot, "maxQty"),
        market_step=_amount(market_lot, "stepSize"),
        market_min_qty=_amount(market_lot, "minQty"),
        market_max_qty=_amount(market_lot, "maxQty"),
        min_notional=_amount(_filter_of(raw, "MIN_NOTIONAL"), "notional"),
        liquidation_fee=_amount(raw, "liquidationFee"),
        onboard_ms=int(raw["onboardDate"]),
    )
    return SymbolSpec(
        instrument=instrument,
        brackets=brackets,
        contract_type=_text(raw, "contractType"),
        price_precision=int(raw["pricePrecision"]),
        qty_precision=int(raw["quantityPrecision"]),
        max_orders=int(_filter_of(raw, "MAX_NUM_ORDERS")["limit"]),
        price_up=_amount(band, "multiplierUp"),
        price_down=_amount(band, "multiplierDown"),
        raw=raw,
        origin=origin,
        brackets_origin=brackets_origin,
    )


def _filter_of(raw: RawSymbol, name: str) -> dict[str, Any]:
    for entry in raw["filters"]:
        if entry["filterType"] == name:
            found: dict[str, Any] = entry
            return found
    raise ValueError(f"it has no filter {name}")


def _text(raw: RawSymbol, key: str) -> str:
    value = raw[key]
    if not isinstance(value, str):
        raise ValueError(f"{key} is no text: {value!r}")
    return value


def _amount(raw: Mapping[str, Any], key: str) -> Decimal:
    value = Decimal(str(raw[key]))
    if not value.is_finite() or value < 0:
        raise ValueError(f"{key} is no amount: {raw[key]!r}")
    return value


def _rate_limit(kind: str, interval: str, count: int, limit: int) -> dict[str, Any]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": count, "limit": limit}
