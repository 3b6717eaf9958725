"""Dialects: what differs between exchanges of this protocol; the known venues (layer 1).

A new exchange is one `Dialect` in `DIALECTS` and one row in `VENUES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from milo.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One exchange's way of speaking the protocol."""

    name: str
    has_algo_service: bool
    """Conditional orders go to `/fapi/v1/algoOrder`; else to `/fapi/v1/order` with stopPrice."""
    has_symbol_config: bool
    """Leverage and margin type come from `symbolConfig`; else from `positionRisk`."""
    has_account_config: bool
    """`accountConfig` tells all modes at once; else each has a request of its own."""
    account_path: str
    position_path: str
    market_route: str
    """Prefix of the WebSocket path for candles and mark prices."""
    public_route: str
    """Prefix of the WebSocket path for best prices and depth."""
    user_route: str
    max_streams: int
    """How many streams one connection may carry."""
    account_weight: int = 5


BINANCE = Dialect(
    name="binance",
    has_algo_service=True,
    has_symbol_config=True,
    has_account_config=True,
    account_path="/fapi/v3/account",
    position_path="/fapi/v3/positionRisk",
    market_route="/market",
    public_route="/public",
    user_route="/private",
    max_streams=1024,
)
"""Binance USD-M since the Algo service (2025-12) and the routed WebSockets (2026-04)."""

ASTER = Dialect(
    name="aster",
    has_algo_service=False,
    has_symbol_config=False,
    has_account_config=False,
    account_path="/fapi/v4/account",
    position_path="/fapi/v2/positionRisk",
    market_route="",
    public_route="",
    user_route="",
    max_streams=200,
    account_weight=10,
)
"""Aster with V1 (HMAC) keys: stops are ordinary orders, WebSocket paths are not routed."""

DIALECTS: tuple[Dialect, ...] = (BINANCE, ASTER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue:
    """Where an exchange is reached; `is_real` means that its money is real."""

    name: str
    title: str
    rest_url: str
    ws_url: str
    dialect: Dialect
    is_real: bool
    permissions_url: str | None = None
    """Where a key's own rights can be asked for; None where nowhere."""


# The demo exchange's stream host has moved before; newest sources (2026-07 to 2026-09) agree on
# this one. `ws_url` is a setting for the day on which it moves again.
_VENUES = (
    Venue(
        name="binance",
        title="Binance USD-M futures",
        rest_url="https://fapi.binance.com",
        ws_url="wss://fstream.binance.com",
        dialect=BINANCE,
        is_real=True,
        permissions_url="https://api.binance.com",
    ),
    Venue(
        name="binance-demo",
        title="Binance demo trading",
        rest_url="https://demo-fapi.binance.com",
        ws_url="wss://demo-fstream.binance.com",
        dialect=BINANCE,
        is_real=False,
    ),
    Venue(
        name="aster",
        title="Aster",
        rest_url="https://fapi.asterdex.com",
        ws_url="wss://fstream.asterdex.com",
        dialect=ASTER,
        is_real=True,
    ),
)

VENUES: dict[str, Venue] = {venue.name: venue for venue in _VENUES}
"""The venues known by name; the embedded exchange names its own addresses when it starts."""


def dialect_named(name: str) -> Dialect:
    """Return the dialect of that name; ValueError names the known ones."""
    for dialect in DIALECTS:
        if dialect.name == name:
            return dialect
    known = ", ".join(dialect.name for dialect in DIALECTS)
    raise ValueError(f"unknown dialect {name!r}; known: {known}")


_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def place_of(url: str, *, schemes: tuple[str, str]) -> str:
    """Return `host:port` of a venue's address; ConfigError where it is none of these schemes."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"not an address of a venue: {url!r} ({error})") from error
    if parts.scheme not in schemes or not parts.hostname:
        raise ConfigError(f"not an address of a venue: {url!r}; it starts with {schemes[-1]}://")
    return f"{parts.hostname}:{port or _DEFAULT_PORTS[parts.scheme]}"
