"""The account over REST: balance, positions, settings, margin tables, listen key (layer 1)."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from milo.errors import ProtocolError
from milo.model import (
    AccountConfig,
    Balance,
    CommissionRate,
    KeyPermissions,
    LeverageBracket,
    PositionReport,
    SymbolConfig,
)
from milo.wire.dialects import Dialect
from milo.wire.limits import Cost
from milo.wire.rest import Effect, Request, Security, WireStruct, decode, given, read_nothing

SETTLEMENT_ASSET = "USDT"
"""The only asset whose balance the engine counts."""


class _Asset(WireStruct):
    asset: str
    wallet_balance: Decimal
    unrealized_profit: Decimal
    available_balance: Decimal


class _Account(WireStruct):
    total_wallet_balance: Decimal
    total_unrealized_profit: Decimal
    available_balance: Decimal
    assets: tuple[_Asset, ...] = ()


_ACCOUNT = msgspec.json.Decoder(_Account)


def balance(dialect: Dialect) -> Request[Balance]:
    """Return the request for the USDT balance, isolated positions' profit included."""
    return Request(
        method="GET",
        path=dialect.account_path,
        security=Security.SIGNED,
        cost=Cost(weight=dialect.account_weight),
        parse=_read_balance,
    )


def _read_balance(body: bytes) -> Balance:
    account = decode(body, _ACCOUNT, what="account")
    for row in account.assets:
        if row.asset == SETTLEMENT_ASSET:
            return Balance(
                wallet=row.wallet_balance,
                available=row.available_balance,
                unrealized=row.unrealized_profit,
            )
    # In single-asset mode, the only one that isolated margin allows, the totals are USDT alone.
    return Balance(
        wallet=account.total_wallet_balance,
        available=account.available_balance,
        unrealized=account.total_unrealized_profit,
    )


class _Position(WireStruct):
    symbol: str
    position_amt: Decimal
    entry_price: Decimal
    mark_price: Decimal
    un_realized_profit: Decimal
    liquidation_price: Decimal
    isolated_margin: Decimal = Decimal(0)
    update_time: int = 0
    leverage: Decimal | None = None
    margin_type: str | None = None


_POSITIONS = msgspec.json.Decoder(list[_Position])


def positions(dialect: Dialect) -> Request[tuple[PositionReport, ...]]:
    """Return the request for all open positions; symbols without one are left out."""
    return Request(
        method="GET",
        path=dialect.position_path,
        security=Security.SIGNED,
        cost=Cost(weight=dialect.account_weight),
        parse=_read_positions,
    )


def _read_positions(body: bytes) -> tuple[PositionReport, ...]:
    rows = decode(body, _POSITIONS, what="positionRisk")
    return tuple(
        PositionReport(
            symbol=row.symbol,
            qty=row.position_amt,
            entry_price=row.entry_price,
            mark_price=row.mark_price,
            unrealized=row.un_realized_profit,
            liquidation_price=max(row.liquidation_price, Decimal(0)),
            isolated_margin=row.isolated_margin,
            update_ms=row.update_time,
        )
        for row in rows
        if row.position_amt
    )


# --- settings -----------------------------------------------------------------------------------


class _SymbolConfig(WireStruct):
    symbol: str
    margin_type: str
    leverage: int


_SYMBOL_CONFIGS = msgspec.json.Decoder(list[_SymbolConfig])
_IS_ISOLATED = {"ISOLATED": True, "CROSSED": False, "CROSS": False}


def symbol_config(dialect: Dialect, symbol: str) -> Request[SymbolConfig]:
    """Return the request for a symbol's leverage and margin type."""

    def read_config(body: bytes) -> SymbolConfig:
        for row in decode(body, _SYMBOL_CONFIGS, what="symbolConfig"):
            if row.symbol == symbol:
                return _config(row.symbol, row.margin_type, row.leverage)
        raise ProtocolError(f"unreadable answer (symbolConfig): {symbol} is not in it")

    def read_position(body: bytes) -> SymbolConfig:
        for row in decode(body, _POSITIONS, what="positionRisk"):
            if row.symbol == symbol and row.margin_type and row.leverage is not None:
                return _config(row.symbol, row.margin_type, int(row.leverage))
        raise ProtocolError(f"unreadable answer (positionRisk): {symbol} is not in it")

    is_direct = dialect.has_symbol_config
    return Request(
        method="GET",
        path="/fapi/v1/symbolConfig" if is_direct else dialect.position_path,
        params=given(("symbol", symbol)),
        security=Security.SIGNED,
        cost=Cost(weight=dialect.account_weight),
        parse=read_config if is_direct else read_position,
    )


def _config(symbol: str, margin_type: str, leverage: int) -> SymbolConfig:
    is_isolated = _IS_ISOLATED.get(margin_type.upper())
    if is_isolated is None:
        raise ProtocolError(f"unknown margin type {margin_type!r} of {symbol}")
    return SymbolConfig(symbol=symbol, leverage=leverage, is_isolated=is_isolated)


class _Leverage(WireStruct):
    leverage: int


_LEVERAGE = msgspec.json.Decoder(_Leverage)


def set_leverage(symbol: str, leverage: int) -> Request[int]:
    """Return the request that sets a symbol's leverage; its answer is the leverage in force."""
    return Request(
        method="POST",
        path="/fapi/v1/leverage",
        params=given(("symbol", symbol), ("leverage", leverage)),
        security=Security.SIGNED,
        effect=Effect.SETTING,
        parse=lambda body: decode(body, _LEVERAGE, what="leverage").leverage,
    )


def set_isolated(symbol: str, is_isolated: bool) -> Request[None]:
    """Return the request that sets a symbol's margin type; "no change" comes as error -4046."""
    return Request(
        method="POST",
        path="/fapi/v1/marginType",
        params=given(("symbol", symbol), ("marginType", "ISOLATED" if is_isolated else "CROSSED")),
        security=Security.SIGNED,
        effect=Effect.SETTING,
        parse=read_nothing,
    )


class _Dual(WireStruct):
    dual_side_position: bool


_DUAL = msgspec.json.Decoder(_Dual)


def is_hedge_mode() -> Request[bool]:
    return Request(
        method="GET",
        path="/fapi/v1/positionSide/dual",
        security=Security.SIGNED,
        cost=Cost(weight=30),
        parse=lambda body: decode(body, _DUAL, what="position mode").dual_side_position,
    )


def set_hedge_mode(is_hedge: bool) -> Request[None]:
    """Return the request that sets the account's mode; "no change" comes as error -4059."""
    return Request(
        method="POST",
        path="/fapi/v1/positionSide/dual",
        params=given(("dualSidePosition", "true" if is_hedge else "false")),
        security=Security.SIGNED,
        effect=Effect.SETTING,
        parse=read_nothing,
    )


class _Multi(WireStruct):
    multi_assets_margin: bool


_MULTI = msgspec.json.Decoder(_Multi)


def is_multi_assets() -> Request[bool]:
    """Return the request that tells whether other assets than USDT back positions."""
    return Request(
        method="GET",
        path="/fapi/v1/multiAssetsMargin",
        security=Security.SIGNED,
        cost=Cost(weight=30),
        parse=lambda body: decode(body, _MULTI, what="asset mode").multi_assets_margin,
    )


class _AccountConfig(WireStruct):
    can_trade: bool
    dual_side_position: bool
    multi_assets_margin: bool


_ACCOUNT_CONFIG = msgspec.json.Decoder(_AccountConfig)


def account_config() -> Request[AccountConfig]:
    """Return the request for the account's modes; only for `dialect.has_account_config`."""
    return Request(
        method="GET",
        path="/fapi/v1/accountConfig",
        security=Security.SIGNED,
        cost=Cost(weight=5),
        parse=_read_account_config,
    )


def _read_account_config(body: bytes) -> AccountConfig:
    row = decode(body, _ACCOUNT_CONFIG, what="accountConfig")
    return AccountConfig(
        can_trade=row.can_trade,
        is_hedge=row.dual_side_position,
        is_multi_assets=row.multi_assets_margin,
    )


class _KeyPermissions(WireStruct):
    enable_withdrawals: bool
    enable_futures: bool
    ip_restrict: bool


_KEY_PERMISSIONS = msgspec.json.Decoder(_KeyPermissions)


def key_permissions() -> Request[KeyPermissions]:
    """Return the request for the key's own rights; it goes to `Venue.permissions_url`.

    Source: exchange documentation, "Get API Key Permission" of the wallet interface.
    """
    return Request(
        method="GET",
        path="/sapi/v1/account/apiRestrictions",
        security=Security.SIGNED,
        parse=_read_key_permissions,
    )


def _read_key_permissions(body: bytes) -> KeyPermissions:
    row = decode(body, _KEY_PERMISSIONS, what="apiRestrictions")
    return KeyPermissions(
        can_withdraw=row.enable_withdrawals,
        can_trade_futures=row.enable_futures,
        is_ip_bound=row.ip_restrict,
    )


# --- tables -------------------------------------------------------------------------------------


class _Bracket(WireStruct):
    initial_leverage: int
    notional_floor: Decimal
    notional_cap: Decimal
    maint_margin_ratio: Decimal
    cum: Decimal


class _Brackets(WireStruct):
    symbol: str
    brackets: list[_Bracket]


_BRACKETS = msgspec.json.Decoder(list[_Brackets])


def leverage_brackets() -> Request[dict[str, tuple[LeverageBracket, ...]]]:
    return Request(
        method="GET",
        path="/fapi/v1/leverageBracket",
        security=Security.SIGNED,
        parse=read_leverage_brackets,
    )


def read_leverage_brackets(body: bytes) -> dict[str, tuple[LeverageBracket, ...]]:
    """Return each symbol's margin table by rising notional; symbols without one are left out."""
    rows = decode(body, _BRACKETS, what="leverageBracket")
    return {row.symbol: _table(row) for row in rows if row.brackets}


def _table(row: _Brackets) -> tuple[LeverageBracket, ...]:
    return tuple(
        LeverageBracket(
            floor=step.notional_floor,
            cap=step.notional_cap,
            max_leverage=step.initial_leverage,
            maint_ratio=step.maint_margin_ratio,
            cum=step.cum,
        )
        for step in sorted(row.brackets, key=lambda step: step.notional_floor)
    )


class _Commission(WireStruct):
    maker_commission_rate: Decimal
    taker_commission_rate: Decimal


_COMMISSION = msgspec.json.Decoder(_Commission)


def commission_rate(symbol: str) -> Request[CommissionRate]:
    return Request(
        method="GET",
        path="/fapi/v1/commissionRate",
        params=given(("symbol", symbol)),
        security=Security.SIGNED,
        cost=Cost(weight=20),
        parse=_read_commission,
    )


def _read_commission(body: bytes) -> CommissionRate:
    row = decode(body, _COMMISSION, what="commissionRate")
    return CommissionRate(maker=row.maker_commission_rate, taker=row.taker_commission_rate)


# --- listen key ---------------------------------------------------------------------------------


class _ListenKey(WireStruct):
    listen_key: str


_LISTEN_KEY = msgspec.json.Decoder(_ListenKey)
_LISTEN_KEY_PATH = "/fapi/v1/listenKey"


def new_listen_key() -> Request[str]:
    """Return the request for the user stream's key: the one in force, or a new one."""
    return Request(
        method="POST",
        path=_LISTEN_KEY_PATH,
        security=Security.KEY,
        effect=Effect.SETTING,
        parse=lambda body: decode(body, _LISTEN_KEY, what="listenKey").listen_key,
    )


def keep_listen_key(key: str) -> Request[None]:
    """Return the request that gives the key another hour; -1125 if it is already gone."""
    return _with_listen_key("PUT", key)


def close_listen_key(key: str) -> Request[None]:
    return _with_listen_key("DELETE", key)


def _with_listen_key(method: str, key: str) -> Request[None]:
    return Request(
        method=method,
        path=_LISTEN_KEY_PATH,
        params=given(("listenKey", key)),
        security=Security.KEY,
        effect=Effect.SETTING,
        parse=read_nothing,
    )
