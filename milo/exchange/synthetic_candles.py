"""How a simulated symbol's minute becomes a candle: ticks, steps, wicks and volume. Pure.

The arithmetic keeps to what milo.exchange.factor allows, so that it is the same everywhere.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from milo.exchange.factor import (
    MINUTES,
    Factor,
    Floats,
    Words,
    random_words,
    sixteenths,
    stream_key,
    uniforms,
)
from milo.exchange.feed import E8, Columns
from milo.exchange.instrument_table import PROFILES, Profile
from milo.exchange.instruments import SymbolSpec, to_e8
from milo.intervals import MINUTE_MS

MARKET_VOL = 0.47
"""Annual volatility of the movement that all symbols share."""

_OWN_REVERSION_DAYS = 220.0
_MINUTES_A_YEAR = 365.0 * MINUTES
_DOLLARS = ("USDT", "USDC", "FDUSD", "BUSD", "USD1", "USD")

# In half of the real minutes the next one opens where the last one closed.
_OPEN_SHIFTS = np.array([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, -1, -1, -1, 2, -2], dtype=np.float64)
_SHIFT_BITS = 12
_WORDS_A_MINUTE = 3
_E_SCALE = 6.0 / 65_536.0**2
"""Makes the sum of two squared triangular numbers one of mean 2, as -2 ln(uniform) has."""
_LIVELIEST = 12.0


@dataclass(frozen=True, slots=True)
class Market:
    """One symbol: its own movement, and how levels become ticks and steps."""

    own: Factor
    profile: Profile
    key: Words
    tick_e8: int
    step_e8: int
    lowest: float
    """In ticks, as the highest and the anchor."""
    highest: float
    anchor: float


def make_candles(market: Market, first_day: int, prices: Floats, vol: Floats) -> Columns:
    """Make the minutes of whole days from the prices at their bounds (days x 1441, in ticks).

    `vol` is the volatility within each minute. The extremes are those of a random walk between
    open and close; the volume grows with the range that the minute covered.
    """
    count = len(prices)
    words = random_words(
        market.key, first_day * MINUTES * _WORDS_A_MINUTE, count * MINUTES * _WORDS_A_MINUTE
    )
    lots = sixteenths(words).reshape(count, MINUTES, _WORDS_A_MINUTE, 4)
    start = prices[:, :-1]
    opened = np.rint(start) + _OPEN_SHIFTS[lots[:, :, 2, 0] >> _SHIFT_BITS]
    opened = np.clip(opened, market.lowest, market.highest)
    closed = np.clip(np.rint(prices[:, 1:]), market.lowest, market.highest)
    spread = start * vol
    high = np.maximum(_reach(opened, closed, spread, lots[:, :, 0], 1.0), opened)
    low = np.minimum(_reach(opened, closed, spread, lots[:, :, 1], -1.0), opened)
    high = np.minimum(np.maximum(high, closed), market.highest)
    low = np.maximum(np.minimum(low, closed), market.lowest)
    qty, trades = _traded(market, start, high - low, lots[:, :, 2, 1])
    lean = (closed - opened) / (high - low + 1.0)
    taker = np.floor(qty * (0.35 + 0.15 * lean + 0.3 * (lots[:, :, 2, 2] / 65_536.0)))
    typical = _whole(np.floor((opened + high + low + closed) / 4.0))
    tick, step = market.tick_e8, market.step_e8
    # tick * step is a whole number of 1e-8 for every real pair of them; // is for the others.
    common = math.gcd(tick * step, E8)
    scale, divisor = tick * step // common, E8 // common
    return Columns(
        (first_day * MINUTES + np.arange(count * MINUTES, dtype=np.int64)) * MINUTE_MS,
        _whole(opened) * tick,
        _whole(high) * tick,
        _whole(low) * tick,
        _whole(closed) * tick,
        _whole(qty) * step,
        _whole(qty) * typical * scale // divisor,
        _whole(trades),
        _whole(taker) * step,
        _whole(taker) * typical * scale // divisor,
    )


def _reach(
    opened: Floats, closed: Floats, spread: Floats, lots: NDArray[np.uint16], sign: float
) -> Floats:
    """Return the extreme of a random walk from `opened` to `closed`, rounded to ticks.

    Source: the maximum M of a Brownian bridge, P(M > m) = exp(-2 (m - a)(m - b) / variance).
    """
    parts = lots.astype(np.float64)
    first = parts[:, :, 0] + parts[:, :, 1] - 65_535.0
    second = parts[:, :, 2] + parts[:, :, 3] - 65_535.0
    exponential = (first * first + second * second) * _E_SCALE
    move = closed - opened
    beyond = np.sqrt(move * move + spread * spread * exponential)
    return np.rint((opened + closed + sign * beyond) / 2.0)


def _traded(
    market: Market, prices: Floats, reach: Floats, lots: NDArray[np.uint16]
) -> tuple[Floats, Floats]:
    """Return the minute's quantity (in steps, at least 1) and its number of trades."""
    profile = market.profile
    common = profile.beta * MARKET_VOL
    usual = math.sqrt((common * common + profile.own_vol * profile.own_vol) / _MINUTES_A_YEAR)
    activity = np.minimum(reach / (prices * usual), _LIVELIEST)
    luck = lots / 65_536.0
    share = (0.10 + 0.30 * activity + 0.06 * activity * activity) * (0.4 + 1.8 * luck * luck)
    notional = profile.turnover / MINUTES * share
    unit = (market.tick_e8 / E8) * (market.step_e8 / E8)
    trade = 300.0 + math.sqrt(profile.turnover) / 20.0
    return np.maximum(np.floor(notional / (prices * unit)), 1.0), 1.0 + np.floor(notional / trade)


def _whole(values: Floats) -> NDArray[np.int64]:
    return values.reshape(-1).astype(np.int64)


def market_of(spec: SymbolSpec, seed: int) -> Market:
    """Return how the symbol moves: by its asset's profile, else as a middling altcoin."""
    instrument = spec.instrument
    is_dollar = instrument.quote_asset in _DOLLARS
    name = instrument.base_asset if is_dollar else spec.symbol
    # A filter of 0 is switched off; then the precision is the grid.
    tick_e8 = to_e8(instrument.tick) or 10 ** (8 - min(spec.price_precision, 8))
    step_e8 = to_e8(instrument.step) or 10 ** (8 - min(spec.qty_precision, 8))
    lowest = max(math.ceil(_ticks(instrument.min_price, tick_e8)), 1)
    highest = math.floor(_ticks(instrument.max_price, tick_e8)) or 10**9
    profile = PROFILES.get(name) if is_dollar else None
    anchor = profile.price * E8 / tick_e8 if profile else 0.0
    if profile is None or anchor < 200 or not 4 * lowest <= anchor <= highest / 4:
        anchor = _unknown_anchor(spec.symbol, lowest, highest)
        profile = Profile(price=anchor * tick_e8 / E8, beta=1.25, own_vol=0.80, turnover=4e7)
    # Near the profile's price: not the round number itself, and not the same for every seed.
    luck = float(uniforms(random_words(stream_key(seed, f"{name}/anchor"), 0, 1))[0])
    return Market(
        own=Factor(seed, name, annual_vol=profile.own_vol, reversion_days=_OWN_REVERSION_DAYS),
        profile=profile,
        key=stream_key(seed, f"{name}/candles"),
        tick_e8=tick_e8,
        step_e8=step_e8,
        lowest=float(lowest),
        highest=float(highest),
        anchor=anchor * (1.0 + 0.06 * (luck - 0.5)),
    )


def _ticks(price: Decimal, tick_e8: int) -> Decimal:
    return price * E8 / tick_e8


def _unknown_anchor(symbol: str, lowest: int, highest: int) -> float:
    """Return a price in ticks for a symbol without a profile: the same for every seed.

    Between 2,000 and 50,000 ticks, as most real prices are, and well inside the price filter.
    """
    digest = hashlib.sha256(f"milo anchor|{symbol}".encode()).digest()
    luck = int.from_bytes(digest[:4], "big") / 2.0**32
    anchor = 2_000.0 * (1.0 + 24.0 * luck * luck)
    return min(max(anchor, 4.0 * lowest), max(highest / 4.0, 1.0))
