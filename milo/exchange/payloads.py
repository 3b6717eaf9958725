"""The JSON of answers about orders, trades and the account (layer 1).

Shapes: exchange-api.md section 2 and the exchange's documentation as of 2026-10; numbers are
strings, times ms. `avgPrice` and `cumQuote` are absent where an order is placed or cancelled.
"""

from __future__ import annotations

from typing import Any

from milo.exchange.account import Position, initial_margin, notional_of
from milo.exchange.clearing import Clearing
from milo.exchange.feed import E8
from milo.exchange.fixed import E16, cut, money, show, show_e16
from milo.exchange.rules import MAKER_FEE_E8, TAKER_FEE_E8, SymbolRules
from milo.exchange.state import ASSET, Algo, ExchangeState, Income, Order, Trade
from milo.model import Side

Json = dict[str, Any]

ADL_LOWEST = 1


def order_reply(order: Order, rules: SymbolRules, *, is_ack: bool = False) -> Json:
    """Return the answer to POST and DELETE of an order; an ACK tells nothing of fills."""
    executed = show(0 if is_ack else order.filled, rules.qty_places)
    return {
        "orderId": order.order_id,
        "symbol": order.symbol,
        "status": "NEW" if is_ack else order.status.value,
        "clientOrderId": order.client_id,
        "price": show(order.price, rules.price_places),
        "origQty": show(order.qty, rules.qty_places),
        "executedQty": executed,
        "cumQty": executed,
        "timeInForce": order.time_in_force,
        "type": order.type.value,
        "reduceOnly": order.is_reduce_only,
        "closePosition": order.is_close_position,
        "side": order.side.value,
        "positionSide": "BOTH",
        "stopPrice": show(order.stop_price, rules.price_places),
        "workingType": order.working_type,
        "priceProtect": order.is_price_protected,
        "origType": order.orig_type.value,
        "priceMatch": "NONE",
        "selfTradePreventionMode": order.stp_mode,
        "goodTillDate": 0,
        "updateTime": order.update_ms,
    }


def order_report(order: Order, rules: SymbolRules) -> Json:
    """Return an order as queries give it: with average price, quote and creation time."""
    body = order_reply(order, rules)
    del body["cumQty"]
    body["avgPrice"] = show(order.avg_price, rules.price_places)
    body["cumQuote"] = show(cut(order.quote_e16, E8))
    body["time"] = order.time_ms
    return body


def algo_reply(algo: Algo, rules: SymbolRules) -> Json:
    """Return the answer to POST algoOrder."""
    return {
        "algoId": algo.algo_id,
        "clientAlgoId": algo.client_id,
        "algoType": "CONDITIONAL",
        "orderType": algo.type.value,
        "symbol": algo.symbol,
        "side": algo.side.value,
        "positionSide": "BOTH",
        "timeInForce": algo.time_in_force,
        "quantity": show(algo.qty, rules.qty_places),
        "algoStatus": algo.status.value,
        "triggerPrice": show(algo.trigger_price, rules.price_places),
        "price": show(algo.price, rules.price_places),
        "icebergQuantity": None,
        "selfTradePreventionMode": algo.stp_mode,
        "workingType": algo.working_type,
        "priceMatch": "NONE",
        "closePosition": algo.is_close_position,
        "priceProtect": algo.is_price_protected,
        "reduceOnly": algo.is_reduce_only,
        "activatePrice": show(algo.activate_price, rules.price_places) if algo.is_trailing else "",
        "callbackRate": show(algo.callback_rate, 1) if algo.is_trailing else "",
        "createTime": algo.time_ms,
        "updateTime": algo.update_ms,
        "triggerTime": algo.trigger_ms,
        "goodTillDate": 0,
    }


def algo_report(algo: Algo, order: Order | None, rules: SymbolRules) -> Json:
    """Return a conditional order as queries give it: with the order that it became."""
    zero = show(0, rules.price_places)
    body = algo_reply(algo, rules)
    body |= {
        "actualOrderId": str(algo.order_id) if algo.order_id else "",
        "actualPrice": show(order.avg_price, rules.price_places) if order else zero,
        "actualQty": show(order.filled, rules.qty_places) if order else show(0, rules.qty_places),
        "actualType": order.type.value if order else "",
        "tpTriggerPrice": zero,
        "tpPrice": zero,
        "slTriggerPrice": zero,
        "slPrice": zero,
        "tpOrderType": "",
    }
    return body


def algo_cancelled(algo: Algo) -> Json:
    """Return the answer to DELETE algoOrder; its code is text there."""
    return {
        "algoId": algo.algo_id,
        "clientAlgoId": algo.client_id,
        "code": "200",
        "msg": "success",
    }


def trade_report(trade: Trade, rules: SymbolRules) -> Json:
    """Return one row of userTrades."""
    return {
        "buyer": trade.side is Side.BUY,
        "commission": money(trade.fee),
        "commissionAsset": ASSET,
        "id": trade.trade_id,
        "maker": trade.is_maker,
        "orderId": trade.order_id,
        "price": show(trade.price, rules.price_places),
        "qty": show(trade.qty, rules.qty_places),
        "quoteQty": show(notional_of(trade.price, trade.qty), 5),
        "realizedPnl": money(trade.realized),
        "side": trade.side.value,
        "positionSide": "BOTH",
        "symbol": trade.symbol,
        "time": trade.time_ms,
    }


def income_report(income: Income) -> Json:
    """Return one row of the statement."""
    return {
        "symbol": income.symbol,
        "incomeType": income.kind,
        "income": money(income.amount),
        "asset": ASSET,
        "info": income.info or income.kind,
        "time": income.time_ms,
        "tranId": income.income_id,
        "tradeId": str(income.trade_id) if income.trade_id else "",
    }


def commission_rate(symbol: str) -> Json:
    """Return GET commissionRate: the lowest tier's, for every symbol."""
    return {
        "symbol": symbol,
        "makerCommissionRate": show(MAKER_FEE_E8, 4),
        "takerCommissionRate": show(TAKER_FEE_E8, 4),
        "rpiCommissionRate": show(0, 4),
    }


def symbol_config(symbol: str, state: ExchangeState, rules: SymbolRules) -> Json:
    """Return one entry of GET symbolConfig."""
    leverage = state.leverage(symbol)
    return {
        "symbol": symbol,
        "marginType": "ISOLATED",
        "isAutoAddMargin": False,
        "leverage": leverage,
        "maxNotionalValue": show(rules.max_notional(leverage)),
    }


def account_config() -> Json:
    """Return GET accountConfig: one-way, single-asset, nothing to withdraw."""
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": False,
        "dualSidePosition": False,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
    }


class AccountPage:
    """The account's balances and positions at the last prices, as the answers show them."""

    def __init__(self, clearing: Clearing, update_ms: int) -> None:
        self._clearing = clearing
        self._state = clearing.state
        self._update_ms = update_ms
        self._held = self._state.held()
        self.unrealized = sum(p.unrealized(clearing.prices[p.symbol]) for p in self._held)
        self._maintenance = sum(clearing.maintenance(p) for p in self._held)
        self._position_margin = sum(self._initial_margin(p) for p in self._held)
        self._order_margin = clearing.orders_margin()

    def account(self, *, is_v2: bool = False) -> Json:
        """Return GET account: v3, or v2 with its flags and more columns."""
        body = self._totals()
        body["assets"] = [self._asset(is_v2=is_v2)]
        body["positions"] = [self._account_position(p, is_v2=is_v2) for p in self._shown()]
        return (account_config() | body) if is_v2 else body

    def balance(self) -> list[Json]:
        """Return GET balance."""
        return [
            {
                "accountAlias": "SgsRmilo",
                "asset": ASSET,
                "balance": money(self._state.wallet),
                "crossWalletBalance": money(self._clearing.cross_wallet()),
                "crossUnPnl": money(0),
                "availableBalance": money(self._available()),
                "maxWithdrawAmount": money(self._available()),
                "marginAvailable": True,
                "updateTime": self._update_ms,
            }
        ]

    def position_risk(self, symbol: str | None) -> list[Json]:
        """Return GET v3/positionRisk: symbols with a position or an open order."""
        wanted = [p for p in self._shown() if symbol in (None, p.symbol)]
        return [self._risk(position) for position in wanted]

    def position_risk_v2(self, symbols: list[str]) -> list[Json]:
        """Return GET v2/positionRisk: the symbols asked for, held or not."""
        return [self._risk_v2(self._state.position(symbol)) for symbol in symbols]

    def _available(self) -> int:
        return max(0, self._clearing.available())

    def _shown(self) -> list[Position]:
        symbols = {p.symbol for p in self._held} | set(self._state.open_orders)
        return [self._state.position(symbol) for symbol in sorted(symbols)]

    def _initial_margin(self, position: Position) -> int:
        price = self._clearing.prices[position.symbol]
        return initial_margin(price, position.qty, self._state.leverage(position.symbol))

    def _totals(self) -> Json:
        wallet, cross = self._state.wallet, self._clearing.cross_wallet()
        return {
            "totalInitialMargin": money(self._position_margin + self._order_margin),
            "totalMaintMargin": money(self._maintenance),
            "totalWalletBalance": money(wallet),
            "totalUnrealizedProfit": money(self.unrealized),
            "totalMarginBalance": money(wallet + self.unrealized),
            "totalPositionInitialMargin": money(self._position_margin),
            "totalOpenOrderInitialMargin": money(self._order_margin),
            "totalCrossWalletBalance": money(cross),
            "totalCrossUnPnl": money(0),
            "availableBalance": money(self._available()),
            "maxWithdrawAmount": money(self._available()),
        }

    def _asset(self, *, is_v2: bool) -> Json:
        totals = self._totals()
        body = {
            "asset": ASSET,
            "walletBalance": totals["totalWalletBalance"],
            "unrealizedProfit": totals["totalUnrealizedProfit"],
            "marginBalance": totals["totalMarginBalance"],
            "maintMargin": totals["totalMaintMargin"],
            "initialMargin": totals["totalInitialMargin"],
            "positionInitialMargin": totals["totalPositionInitialMargin"],
            "openOrderInitialMargin": totals["totalOpenOrderInitialMargin"],
            "crossWalletBalance": totals["totalCrossWalletBalance"],
            "crossUnPnl": totals["totalCrossUnPnl"],
            "availableBalance": totals["availableBalance"],
            "maxWithdrawAmount": totals["maxWithdrawAmount"],
            "updateTime": self._update_ms,
        }
        return body | {"marginAvailable": True} if is_v2 else body

    def _account_position(self, position: Position, *, is_v2: bool) -> Json:
        symbol = position.symbol
        rules, price = self._clearing.rules[symbol], self._clearing.prices[symbol]
        unrealized = position.unrealized(price)
        order_margin = self._clearing.order_margin(symbol)
        body = {
            "symbol": symbol,
            "positionSide": "BOTH",
            "positionAmt": show(position.qty, rules.qty_places),
            "unrealizedProfit": money(unrealized),
            "isolatedMargin": money(position.wallet + unrealized),
            "notional": money(_signed_notional(position, price)),
            "isolatedWallet": money(position.wallet),
            "initialMargin": money(self._initial_margin(position) + order_margin),
            "maintMargin": money(self._clearing.maintenance(position)),
            "updateTime": position.update_ms,
        }
        if not is_v2:
            return body
        leverage = self._state.leverage(symbol)
        return body | {
            "positionInitialMargin": money(self._initial_margin(position)),
            "openOrderInitialMargin": money(order_margin),
            "leverage": str(leverage),
            "isolated": True,
            "entryPrice": show_e16(position.entry_e16, rules.price_places),
            "breakEvenPrice": show_e16(position.break_even_e16(), rules.price_places),
            "maxNotional": show(rules.max_notional(leverage)),
            "bidNotional": "0",
            "askNotional": "0",
        }

    def _risk(self, position: Position) -> Json:
        symbol = position.symbol
        rules, price = self._clearing.rules[symbol], self._clearing.prices[symbol]
        unrealized = position.unrealized(price)
        order_margin = self._clearing.order_margin(symbol)
        margin = self._initial_margin(position)
        return {
            "symbol": symbol,
            "positionSide": "BOTH",
            "positionAmt": show(position.qty, rules.qty_places),
            "entryPrice": show_e16(position.entry_e16, rules.price_places),
            "breakEvenPrice": show_e16(position.break_even_e16(), rules.price_places),
            "markPrice": money(price),
            "unRealizedProfit": money(unrealized),
            "liquidationPrice": show(self._clearing.liquidation_price(symbol)),
            "isolatedMargin": money(position.wallet + unrealized),
            "notional": money(_signed_notional(position, price)),
            "marginAsset": ASSET,
            "isolatedWallet": money(position.wallet),
            "initialMargin": money(margin + order_margin),
            "maintMargin": money(self._clearing.maintenance(position)),
            "positionInitialMargin": money(margin),
            "openOrderInitialMargin": money(order_margin),
            "adl": ADL_LOWEST if position.qty else 0,
            "bidNotional": "0",
            "askNotional": "0",
            "updateTime": position.update_ms,
        }

    def _risk_v2(self, position: Position) -> Json:
        symbol = position.symbol
        rules, price = self._clearing.rules[symbol], self._clearing.prices[symbol]
        leverage = self._state.leverage(symbol)
        unrealized = position.unrealized(price)
        return {
            "symbol": symbol,
            "positionAmt": show(position.qty, rules.qty_places),
            "entryPrice": show_e16(position.entry_e16, rules.price_places),
            "breakEvenPrice": show_e16(position.break_even_e16(), rules.price_places),
            "markPrice": money(price),
            "unRealizedProfit": money(unrealized),
            "liquidationPrice": show(self._clearing.liquidation_price(symbol)),
            "leverage": str(leverage),
            "maxNotionalValue": show(rules.max_notional(leverage)),
            "marginType": "isolated",
            "isolatedMargin": money(position.wallet + unrealized),
            "isAutoAddMargin": "false",
            "positionSide": "BOTH",
            "notional": money(_signed_notional(position, price)),
            "isolatedWallet": money(position.wallet),
            "updateTime": position.update_ms,
        }


def _signed_notional(position: Position, price: int) -> int:
    return cut(position.qty * price * E8, E16)
