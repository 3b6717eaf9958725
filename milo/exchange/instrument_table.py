"""The embedded exchange's own instruments: filters, and the character of each simulated market.

Pure data, written for Milo. Ticks, steps and minimum notionals are those that USD-M perpetuals had
in 2026; prices, volumes and volatilities are round numbers for the simulation only.
"""

from __future__ import annotations

from dataclasses import dataclass

from milo.intervals import DAY_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One perpetual against USDT; decimals as text, as the wire writes them."""

    base_asset: str
    tick: str
    """Its decimals, zeros included, are the wire's pricePrecision: often finer than the tick."""
    step: str
    min_price: str
    max_price: str
    max_qty: str
    market_max_qty: str
    min_notional: str = "5"
    tier: str = "mid"
    onboard_day: int = 18_262
    """Days since 1970-01-01."""

    @property
    def symbol(self) -> str:
        return self.base_asset + "USDT"

    @property
    def price_precision(self) -> int:
        return len(self.tick.partition(".")[2])

    @property
    def onboard_ms(self) -> int:
        return self.onboard_day * DAY_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How an asset moves in the simulated market."""

    price: float
    """USDT around 2026-01-01, and the level to which it reverts over the years."""
    beta: float
    """Its part in the common movement of all assets."""
    own_vol: float
    """Annual volatility of its own movement (0.5 = 50 %)."""
    turnover: float
    """USDT a day in a middling market."""


def _row(
    base_asset: str,
    tick: str,
    step: str,
    prices: tuple[str, str],
    max_qtys: tuple[str, str],
    *,
    min_notional: str = "5",
    tier: str = "mid",
) -> TableRow:
    return TableRow(
        base_asset=base_asset,
        tick=tick,
        step=step,
        min_price=prices[0],
        max_price=prices[1],
        max_qty=max_qtys[0],
        market_max_qty=max_qtys[1],
        min_notional=min_notional,
        tier=tier,
    )


TABLE: tuple[TableRow, ...] = (
    _row("BTC", "0.10", "0.001", ("500.00", "4000000"), ("1000", "120"),
         min_notional="50", tier="btc"),
    _row("ETH", "0.01", "0.001", ("30.00", "300000"), ("10000", "2000"),
         min_notional="20", tier="eth"),
    _row("BNB", "0.010", "0.01", ("5.000", "100000"), ("100000", "2000"), tier="large"),
    _row("SOL", "0.0100", "0.01", ("0.4000", "10000"), ("1000000", "50000"), tier="large"),
    _row("XRP", "0.0001", "0.1", ("0.0100", "10000"), ("10000000", "2000000"), tier="large"),
    _row("DOGE", "0.000010", "1", ("0.002000", "100"), ("50000000", "30000000"), tier="large"),
    _row("ADA", "0.00010", "1", ("0.01000", "1000"), ("10000000", "3000000")),
    _row("AVAX", "0.0010", "1", ("0.2000", "5000"), ("1000000", "50000")),
    _row("LINK", "0.001", "0.01", ("0.100", "10000"), ("500000", "100000")),
    _row("LTC", "0.01", "0.001", ("1.00", "20000"), ("10000", "5000"), min_notional="20"),
    _row("BCH", "0.01", "0.001", ("5.00", "50000"), ("10000", "1000"), min_notional="20"),
    _row("TRX", "0.00001", "1", ("0.00100", "100"), ("20000000", "5000000")),
    _row("DOT", "0.001", "0.1", ("0.050", "5000"), ("1000000", "100000")),
    _row("ATOM", "0.001", "0.01", ("0.050", "5000"), ("500000", "50000")),
    _row("NEAR", "0.0010", "1", ("0.0400", "2000"), ("5000000", "200000")),
    _row("APT", "0.00010", "0.1", ("0.04000", "2000"), ("1000000", "200000")),
    _row("ARB", "0.000100", "0.1", ("0.005000", "500"), ("10000000", "1000000")),
    _row("OP", "0.0001000", "0.1", ("0.0050000", "500"), ("10000000", "1000000")),
    _row("SUI", "0.000100", "0.1", ("0.010000", "1000"), ("10000000", "1000000")),
    _row("FIL", "0.001", "0.1", ("0.050", "5000"), ("1000000", "200000")),
    _row("UNI", "0.0010", "1", ("0.0500", "5000"), ("1000000", "100000")),
    _row("AAVE", "0.010", "0.1", ("1.000", "50000"), ("100000", "5000")),
    _row("ETC", "0.001", "0.01", ("0.100", "5000"), ("500000", "50000"), min_notional="20"),
    _row("XLM", "0.00001", "1", ("0.00500", "100"), ("20000000", "3000000")),
    _row("INJ", "0.0010000", "0.1", ("0.0500000", "5000"), ("500000", "50000"), tier="small"),
    _row("WIF", "0.0001000", "0.1", ("0.0050000", "500"), ("5000000", "500000"), tier="small"),
    _row("1000SHIB", "0.000001", "1", ("0.000100", "10"), ("100000000", "30000000")),
    _row("1000PEPE", "0.0000001", "1", ("0.0000100", "10"), ("200000000", "50000000")),
    _row("1000BONK", "0.0000010", "1", ("0.0000500", "10"), ("100000000", "30000000"),
         tier="small"),
)  # fmt: skip


def _profile(price: float, beta: float, own_vol: float, turnover_millions: float) -> Profile:
    return Profile(price=price, beta=beta, own_vol=own_vol, turnover=turnover_millions * 1e6)


PROFILES: dict[str, Profile] = {
    "BTC": _profile(90_000.0, 1.0, 0.10, 12_000),
    "ETH": _profile(3_000.0, 1.2, 0.38, 11_000),
    "BNB": _profile(870.0, 0.9, 0.40, 900),
    "SOL": _profile(130.0, 1.3, 0.55, 4_000),
    "XRP": _profile(1.90, 1.1, 0.60, 1_800),
    "DOGE": _profile(0.125, 1.35, 0.65, 1_100),
    "ADA": _profile(0.36, 1.25, 0.60, 350),
    "AVAX": _profile(12.8, 1.35, 0.65, 250),
    "LINK": _profile(12.6, 1.25, 0.60, 350),
    "LTC": _profile(79.0, 1.0, 0.55, 250),
    "BCH": _profile(590.0, 0.95, 0.55, 250),
    "TRX": _profile(0.285, 0.5, 0.40, 120),
    "DOT": _profile(1.85, 1.25, 0.65, 150),
    "ATOM": _profile(2.05, 1.2, 0.65, 60),
    "NEAR": _profile(1.55, 1.35, 0.75, 150),
    "APT": _profile(1.75, 1.35, 0.75, 120),
    "ARB": _profile(0.195, 1.4, 0.75, 150),
    "OP": _profile(0.275, 1.4, 0.80, 120),
    "SUI": _profile(1.45, 1.4, 0.75, 700),
    "FIL": _profile(1.32, 1.3, 0.75, 150),
    "UNI": _profile(5.80, 1.3, 0.70, 180),
    "AAVE": _profile(150.0, 1.3, 0.65, 150),
    "ETC": _profile(12.0, 1.15, 0.60, 100),
    "XLM": _profile(0.205, 1.1, 0.65, 90),
    "INJ": _profile(4.60, 1.4, 0.80, 60),
    "WIF": _profile(0.33, 1.5, 1.00, 120),
    "1000SHIB": _profile(0.0071, 1.3, 0.70, 120),
    "1000PEPE": _profile(0.0050, 1.45, 0.90, 600),
    "1000BONK": _profile(0.0085, 1.45, 0.95, 150),
}

BRACKETS: dict[str, tuple[tuple[int, int, str], ...]] = {
    # (notional cap in USDT, highest leverage, maintenance margin ratio), ascending
    "btc": (
        (100_000, 150, "0.004"), (600_000, 100, "0.005"), (3_000_000, 75, "0.0065"),
        (12_000_000, 50, "0.01"), (60_000_000, 25, "0.02"), (100_000_000, 20, "0.025"),
        (200_000_000, 10, "0.05"), (400_000_000, 5, "0.1"), (600_000_000, 4, "0.125"),
        (900_000_000, 3, "0.15"), (1_200_000_000, 2, "0.25"), (1_800_000_000, 1, "0.5"),
    ),
    "eth": (
        (250_000, 125, "0.004"), (800_000, 100, "0.005"), (3_000_000, 75, "0.0065"),
        (10_000_000, 50, "0.01"), (40_000_000, 25, "0.02"), (80_000_000, 20, "0.025"),
        (150_000_000, 10, "0.05"), (300_000_000, 5, "0.1"), (400_000_000, 4, "0.125"),
        (500_000_000, 3, "0.15"), (800_000_000, 2, "0.25"), (1_200_000_000, 1, "0.5"),
    ),
    "large": (
        (50_000, 100, "0.005"), (300_000, 75, "0.0065"), (1_000_000, 50, "0.01"),
        (4_000_000, 25, "0.02"), (8_000_000, 20, "0.025"), (40_000_000, 10, "0.05"),
        (80_000_000, 5, "0.1"), (100_000_000, 4, "0.125"), (200_000_000, 2, "0.25"),
        (400_000_000, 1, "0.5"),
    ),
    "mid": (
        (20_000, 75, "0.0065"), (150_000, 50, "0.01"), (500_000, 25, "0.02"),
        (1_500_000, 20, "0.025"), (6_000_000, 10, "0.05"), (12_000_000, 5, "0.1"),
        (15_000_000, 4, "0.125"), (25_000_000, 2, "0.25"), (40_000_000, 1, "0.5"),
    ),
    "small": (
        (10_000, 50, "0.01"), (60_000, 25, "0.02"), (200_000, 20, "0.025"),
        (1_000_000, 10, "0.05"), (2_500_000, 5, "0.1"), (4_000_000, 4, "0.125"),
        (6_000_000, 2, "0.25"), (10_000_000, 1, "0.5"),
    ),
}  # fmt: skip

LIQUIDATION_FEES: dict[str, str] = {
    "btc": "0.012500", "eth": "0.012500", "large": "0.015000", "mid": "0.015000",
    "small": "0.020000",
}  # fmt: skip

PRICE_BANDS: dict[str, tuple[str, str]] = {
    # (multiplierUp, multiplierDown) of PERCENT_PRICE, around the mark price
    "btc": ("1.0500", "0.9500"), "eth": ("1.0500", "0.9500"), "large": ("1.0500", "0.9500"),
    "mid": ("1.1000", "0.9000"), "small": ("1.1500", "0.8500"),
}  # fmt: skip
